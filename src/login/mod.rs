//! Local logins: who may use which account. Knows nothing of the upstream and never sees a token.

mod bounded;
mod decoy;
pub mod directory;
mod gate;
pub mod throttle;
pub mod uses;
pub mod verify;
