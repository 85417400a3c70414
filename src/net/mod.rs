//! Sockets, TLS, dialing and HTTP.

pub mod dial;
pub mod http;
pub mod listener;
mod look_up;
pub mod stream;
pub mod tls;
