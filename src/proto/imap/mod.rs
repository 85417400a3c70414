//! IMAP (RFC 3501, 9051) up to the login, on both sides.

mod authenticate;
pub mod capability;
mod command;
pub mod downstream;
mod framing;
mod response;
pub mod upstream;
