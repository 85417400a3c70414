//! Dialing an upstream: resolve, connect, a proxy's tunnel, and TLS where it comes first, each in its own time. STARTTLS is
//! the machine's to ask for, and until it has, the session gives out no credential.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, ClientConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::connect_proxy::open_tunnel;
use super::look_up::LookUps;
use super::race::{DeadAddresses, race};
use super::stream::Stream;
use super::tls;
use crate::config::{ConnectProxy, Server, UpstreamTls};
use crate::telemetry::log::PeerText;

/// How much is shown of what the system or the TLS library says, in octets before it is escaped.
const MAX_WORDS: usize = 240;

/// How long a connection is silent before the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(10 * 60);

/// How long the look-up and the connection may take. With [`TLS`] and the greeting's time it leaves the login a second of
/// the dial's twelve when everything is as slow as can be.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a proxy may take to open a tunnel. It has the server to connect to, but then its own connection took no time.
const TUNNEL: Duration = Duration::from_secs(5);

/// How long a TLS handshake may take.
const TLS: Duration = Duration::from_secs(3);

/// How long a server may take to greet.
pub(crate) const GREETING: Duration = Duration::from_secs(3);

/// Look-ups at once. Passwords are computed on the same threads as names are resolved, and a resolver that hangs must not
/// take them all.
static LOOK_UPS: LookUps = LookUps::new(64);

/// Addresses that whoever dials knows to be dead, for all providers.
static DEAD: DeadAddresses = DeadAddresses::new();

/// How a provider's servers are reached.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// What is trusted; shared, so that TLS sessions are resumed.
    pub(crate) tls: Arc<ClientConfig>,
    /// What opens tunnels to them, if anything.
    pub(crate) proxy: Option<Arc<ConnectProxy>>,
}

impl Way {
    /// The proxy, for a server whose connection is protected. What goes out in the clear is for this machine only, and a
    /// proxy may be another one.
    fn proxy_for(&self, server: &Server) -> Option<&ConnectProxy> {
        self.proxy.as_deref().filter(|_| server.tls != UpstreamTls::None)
    }
}

/// Connects to `server`: to whichever address of its name answers first, or through the proxy. No step takes longer than
/// its own time, nor beyond `until`.
///
/// # Errors
/// When the name has no address, none of them answers, the proxy refuses, the TLS handshake fails, or one of these has not
/// come to its end in time. The text names the step, is printable and short.
pub(crate) async fn dial(server: &Server, way: &Way, until: Instant) -> io::Result<Stream> {
    #[cfg(any(test, fuzzing))]
    if let Some(dialed) = super::memory::dialed() {
        return dialed;
    }
    let stream = match way.proxy_for(server) {
        Some(proxy) => tunnel(proxy, server, until).await?,
        None => connect(&server.host, server.port, until).await?,
    };
    stream.set_nodelay(true)?;
    set_keepalive(&stream);
    match server.tls {
        UpstreamTls::Implicit => start_tls(stream, server, &way.tls, until).await,
        UpstreamTls::StartTls | UpstreamTls::None => Ok(Stream::Plain(stream)),
    }
}

/// The TLS handshake on a connection that was plain so far.
///
/// # Errors
/// When it fails or takes too long, or the certificate is not one for the server's host.
pub(crate) async fn start_tls(
    stream: TcpStream,
    server: &Server,
    config: &Arc<ClientConfig>,
    until: Instant,
) -> io::Result<Stream> {
    let Server { host, port, .. } = server;
    let handshake = tls::start(stream, host, config);
    let started = within(TLS, until, handshake, || format!("TLS with {host}:{port} was not done in time")).await?;
    started.map_err(|error| step(&format!("TLS with {host}:{port} failed{}", hint(&error, server.tls)), &error))
}

/// What a failed handshake says about the configuration: TLS's own words name no key.
fn hint(error: &io::Error, tls: UpstreamTls) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(_)) if tls == UpstreamTls::Implicit => {
            " because the server does not begin with it on this port (set tls = \"starttls\", or the port for implicit TLS)"
        }
        Some(rustls::Error::InvalidCertificate(_)) => {
            " because of its certificate (set host to a name that is in it; a root of your own goes into ca)"
        }
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            " because the server has neither TLS 1.2 nor 1.3 as it is spoken today"
        }
        _ => "",
    }
}

/// Lets the kernel find out about peers that vanished. A connection works without it, so a refusal is no error.
pub(crate) fn set_keepalive(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

/// Waits for one step of a dial as long as the step may take, and never beyond `until`.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] with the `words`.
pub(crate) async fn within<T>(
    own: Duration,
    until: Instant,
    work: impl Future<Output = T>,
    words: impl FnOnce() -> String,
) -> io::Result<T> {
    let due = until.min(Instant::now() + own);
    timeout_at(due, work)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, words()))
}

async fn connect(host: &str, port: u16, until: Instant) -> io::Result<TcpStream> {
    let until = until.min(Instant::now() + CONNECT);
    let looked_up = within(CONNECT, until, LOOK_UPS.addresses(host, port), || {
        format!("{host} was not found in time: the name server does not answer")
    });
    let addresses = looked_up
        .await?
        .map_err(|error| step(&format!("{host} was not found"), &error))?;
    race(addresses, &DEAD, until, TcpStream::connect)
        .await
        .map_err(|error| step(&format!("{host}:{port} does not answer"), &error))
}

/// A connection to `server` through `proxy`.
async fn tunnel(proxy: &ConnectProxy, server: &Server, until: Instant) -> io::Result<TcpStream> {
    let connected = connect(&proxy.host, proxy.port, until).await;
    let mut stream = connected.map_err(|error| io::Error::new(error.kind(), format!("the proxy: {error}")))?;
    let opening = open_tunnel(&mut stream, proxy, server);
    within(TUNNEL, until, opening, || {
        let Server { host, port, .. } = server;
        format!("the proxy {}:{} opened no tunnel to {host}:{port} in time", proxy.host, proxy.port)
    })
    .await??;
    Ok(stream)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::sim::{self, Certificate, Fault, Simulator};

    /// Longer than any test takes.
    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_is_named() {
        // RFC 6761 section 6.4: this name never resolves.
        let server = Server { host: "mail.invalid".into(), port: 993, tls: UpstreamTls::None };
        let error = connect(&server.host, server.port, soon()).await.unwrap_err().to_string();
        assert!(error.starts_with("mail.invalid was not found: "), "{error}");
    }

    #[tokio::test]
    async fn the_names_in_a_certificate_cannot_begin_a_line_nor_fill_the_log() {
        let provider = Simulator::start(sim::Options::default()).await.unwrap();
        let fault = Fault::Certificate(Certificate::HostileNames);
        provider.control().fail(sim::Protocol::Imap, fault);
        let root = CertificateDer::from_pem_slice(provider.ca_pem().as_bytes()).unwrap();
        let tls = tls::client_config(&[root]).unwrap();
        let server = Server { host: "localhost".into(), port: provider.imap().port(), tls: UpstreamTls::Implicit };
        let error = dial(&server, &Way { tls, proxy: None }, soon()).await.unwrap_err().to_string();
        assert!(error.contains("certificate") && error.contains("INFO"), "{error}");
        assert!(!error.chars().any(char::is_control), "{error:?}");
        assert!(error.len() < 600, "{error}");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_does_not_answer() {
        // "localhost" may have ::1 first, where nothing listens.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (dialed, accepted) = tokio::join!(connect("localhost", port, soon()), listener.accept());
        assert_eq!(dialed.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    }

    /// Dials a server on this machine that says this and then nothing, with TLS first; the error.
    async fn dialed(said: &'static [u8]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server { host: "127.0.0.1".into(), port, tls: UpstreamTls::Implicit };
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(said).await.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
        });
        let root = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let tls = tls::client_config(&[root.cert.der().clone()]).unwrap();
        let error = dial(&server, &Way { tls, proxy: None }, soon()).await.unwrap_err().to_string();
        serving.await.unwrap();
        error.replace(&port.to_string(), "993")
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_in_its_handshake_costs_the_handshakes_time() {
        let begun = Instant::now();
        assert_eq!(dialed(b"").await, "TLS with 127.0.0.1:993 was not done in time");
        assert_eq!(begun.elapsed().as_secs(), TLS.as_secs());
    }

    #[tokio::test]
    async fn what_is_older_than_tls_12_is_not_spoken() {
        // A ServerHello of TLS 1.1 (RFC 4346 section 7.4.1.3), and the alert of a server that knows no later one.
        let hello = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02RANDOMRANDOMRANDOMRANDOMRANDOM12\x00\x00\x2f\x00";
        for said in [&hello[..], b"\x15\x03\x02\x00\x02\x02\x46"] {
            let error = dialed(said).await;
            assert!(error.contains("neither TLS 1.2 nor 1.3"), "{error}");
        }
        let error = dialed(b"220 mail.example ESMTP\r\n").await;
        assert!(error.contains("set tls = \"starttls\""), "{error}");
    }

    #[test]
    fn what_goes_out_in_the_clear_goes_through_no_proxy() {
        let root = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let proxy = ConnectProxy { host: "proxy.example".into(), port: 3128, credentials: None };
        let way = Way { tls: tls::client_config(&[root.cert.der().clone()]).unwrap(), proxy: Some(Arc::new(proxy)) };
        for (tls, proxied) in [(UpstreamTls::Implicit, true), (UpstreamTls::StartTls, true), (UpstreamTls::None, false)]
        {
            let server = Server { host: "localhost".into(), port: 143, tls };
            assert_eq!(way.proxy_for(&server).is_some(), proxied, "{tls:?}");
        }
    }
}
