//! Local logins: who may use which account. Knows nothing of the upstream and never sees a token.

mod bounded;
pub mod directory;
mod gate;
pub mod throttle;
pub mod uses;
pub mod verify;
