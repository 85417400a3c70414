//! Dialing an upstream: resolve, connect, and TLS where it comes first. STARTTLS is the machine's to ask for, and until it
//! has, the session gives out no credential.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::look_up::LookUps;
use super::stream::Stream;
use super::tls;
use crate::config::{Server, UpstreamTls};
use crate::telemetry::log::PeerText;

/// How much is shown of what the system or the TLS library says, in octets before it is escaped.
const MAX_WORDS: usize = 240;

/// How long a connection is silent before the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(10 * 60);

/// How long an address is waited for while the name has others: a silent first one must not use up the login's time.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_secs(3);

/// Look-ups at once. Passwords are computed on the same threads as names are resolved, and a resolver that hangs must not
/// take them all.
static LOOK_UPS: LookUps = LookUps::new(64);

/// Connects to `server`: every address its name has, in the resolver's order, until one answers.
///
/// # Errors
/// When the name has no address, none of them answers, or the TLS handshake fails. The text names the step, is printable
/// and short.
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
    let addresses = LOOK_UPS
        .addresses(&server.host, server.port)
        .await
        .map_err(|error| step(&format!("{} was not found", server.host), &error))?;
    let mut last = None;
    for (at, address) in addresses.iter().enumerate() {
        let connecting = TcpStream::connect(address);
        let connected = if at + 1 < addresses.len() {
            timeout(NEXT_ADDRESS_AFTER, connecting)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        } else {
            connecting.await
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(step(&format!("{}:{} does not answer", server.host, server.port), &error)),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other(format!("{} has no address", server.host))))
}

/// The error with the step before it. Its own words may quote the peer: TLS names every host of a certificate.
fn step(what: &str, error: &io::Error) -> io::Error {
    let words = error.to_string();
    let shown = &words[..words.floor_char_boundary(MAX_WORDS)];
    let cut = if shown.len() < words.len() { "..." } else { "" };
    io::Error::new(error.kind(), format!("{what}: {}{cut}", PeerText(shown.as_bytes())))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::sim::{self, Certificate, Fault, Simulator};

    #[tokio::test]
    async fn a_name_that_is_not_there_is_named() {
        // RFC 6761 section 6.4: this name never resolves.
        let server = Server { host: "mail.invalid".into(), port: 993, tls: UpstreamTls::None };
        let error = connect(&server).await.unwrap_err().to_string();
        assert!(error.starts_with("mail.invalid was not found: "), "{error}");
    }

    #[tokio::test]
    async fn the_names_in_a_certificate_cannot_begin_a_line_nor_fill_the_log() {
        let provider = Simulator::start(sim::Options::default()).await.unwrap();
        let fault = Fault::Certificate(Certificate::HostileNames);
        provider.control().fail(sim::Protocol::Imap, fault);
        let root = CertificateDer::from_pem_slice(provider.ca_pem().as_bytes()).unwrap();
        let config = tls::client_config(&[root]).unwrap();
        let server = Server { host: "localhost".into(), port: provider.imap().port(), tls: UpstreamTls::Implicit };
        let error = dial(&server, &config).await.unwrap_err().to_string();
        assert!(error.contains("certificate") && error.contains("INFO"), "{error}");
        assert!(!error.chars().any(char::is_control), "{error:?}");
        assert!(error.len() < 600, "{error}");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_does_not_answer() {
        // "localhost" may have ::1 first, where nothing listens.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server =
            Server { host: "localhost".into(), port: listener.local_addr().unwrap().port(), tls: UpstreamTls::None };
        let (dialed, accepted) = tokio::join!(connect(&server), listener.accept());
        assert_eq!(dialed.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    }
}
