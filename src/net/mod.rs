//! Sockets and whom they speak for, TLS and its certificates, dialing, HTTP, and the browser's way back.

pub mod certificate;
mod connect_proxy;
pub mod dial;
pub mod http;
pub mod listener;
mod look_up;
#[cfg(any(test, fuzzing))]
pub mod memory;
pub mod proxy_header;
mod race;
pub mod redirect;
pub mod self_signed;
pub mod stream;
pub mod tls;
