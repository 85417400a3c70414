//! POP3 (RFC 1939) up to the login, on both sides. After it every octet passes unchanged.

pub mod command;
pub mod downstream;
pub mod response;
pub mod upstream;
