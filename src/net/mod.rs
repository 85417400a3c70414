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

/// A host and a port as HTTP and URLs have them: an IPv6 address stands in brackets (RFC 3986 section 3.2.2).
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
