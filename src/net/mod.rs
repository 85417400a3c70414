//! Sockets, TLS, dialing and HTTP.

pub mod dial;
pub mod http;
pub mod listener;
pub mod stream;
pub mod tls;
