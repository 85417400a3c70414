//! Dialing an upstream: resolve, connect, and TLS where it comes first. STARTTLS is the machine's to ask for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};

use super::stream::Stream;
use super::tls;
use crate::config::{Server, UpstreamTls};

/// How long a connection is silent before the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(10 * 60);

/// Connects to `server`: every address its name has, in the resolver's order, until one answers.
///
/// # Errors
/// When the name has no address, none of them answers, or the TLS handshake fails. The text names the step.
pub(crate) async fn dial(server: &Server, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    let stream = connect(server).await?;
    stream.set_nodelay(true)?;
    set_keepalive(&stream);
    match server.tls {
        UpstreamTls::Implicit => start_tls(stream, server, config).await,
        UpstreamTls::StartTls | UpstreamTls::None => Ok(Stream::Plain(stream)),
    }
}

/// The TLS handshake on a connection that was plain so far.
///
/// # Errors
/// When it fails, or the certificate is not one for the server's host.
pub(crate) async fn start_tls(stream: TcpStream, server: &Server, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    tls::start(stream, &server.host, config)
        .await
        .map_err(|error| step(&format!("TLS with {}:{} failed", server.host, server.port), &error))
}

/// Lets the kernel find out about peers that vanished. A connection works without it, so a refusal is no error.
pub(crate) fn set_keepalive(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

async fn connect(server: &Server) -> io::Result<TcpStream> {
    let target = (server.host.as_str(), server.port);
    let addresses = lookup_host(target)
        .await
        .map_err(|error| step(&format!("{} was not found", server.host), &error))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(step(&format!("{}:{} does not answer", server.host, server.port), &error)),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other(format!("{} has no address", server.host))))
}

fn step(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
