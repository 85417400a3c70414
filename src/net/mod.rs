//! Sockets, TLS, dialing, HTTP, and the browser's way back.

pub mod certificate;
pub mod dial;
pub mod http;
pub mod listener;
mod look_up;
pub mod proxy_header;
pub mod redirect;
pub mod self_signed;
pub mod stream;
pub mod tls;
