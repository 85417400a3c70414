//! SMTP submission (RFC 5321, 6409) on both sides: login, and the mail after it.

mod auth;
pub mod command;
pub mod downstream;
pub mod envelope;
pub mod extensions;
pub mod reply;
pub mod transaction;
pub mod upstream;
