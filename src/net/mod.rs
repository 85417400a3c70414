//! Sockets, TLS, dialing and HTTP.

pub mod dial;
pub mod listener;
pub mod stream;
pub mod tls;
