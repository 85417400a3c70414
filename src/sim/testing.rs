//! A client that sends octets as a test writes them and shows what comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Options, Personality, Protocol, Simulator};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const ANN: &str = "ann@contoso.example";
pub(super) const BOB: &str = "bob@contoso.example";

pub(super) async fn simulator(personality: Personality) -> Simulator {
    let mailboxes = vec![ANN.into(), BOB.into()];
    Simulator::start(Options { personality, mailboxes, ..Options::default() })
        .await
        .unwrap()
}

/// One whose IMAP and POP3 begin in the clear.
pub(super) async fn in_clear(personality: Personality) -> Simulator {
    let options = Options { personality, starttls: true, mailboxes: vec![ANN.into()], ..Options::default() };
    Simulator::start(options).await.unwrap()
}

trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

pub(super) struct Client {
    transport: Option<Box<dyn Transport>>,
    got: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        Self { transport: Some(Box::new(socket)), got: Vec::new() }
    }

    /// Connects and, where the protocol has TLS from the first octet, does the handshake.
    pub(super) async fn open(simulator: &Simulator, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Smtp => Self::connect(simulator.smtp()).await,
            Protocol::Imap => Self::connect(simulator.imap()).await.tls(simulator).await.unwrap(),
            Protocol::Pop3 => Self::connect(simulator.pop3()).await.tls(simulator).await.unwrap(),
            Protocol::Http => Self::connect(simulator.address(Protocol::Http)).await,
        }
    }

    pub(super) async fn tls(mut self, simulator: &Simulator) -> Result<Self, std::io::Error> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(simulator.ca_pem().as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        let clear = self.transport.take().unwrap();
        self.transport = Some(Box::new(connector.connect(name, clear).await?));
        Ok(self)
    }

    pub(super) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let transport = self.transport.as_mut().unwrap();
        transport.write_all(octets.as_ref()).await.unwrap();
        transport.flush().await.unwrap();
    }

    /// Everything up to and including the first line that begins with `begin`.
    pub(super) async fn until(&mut self, begin: &str) -> String {
        let mut from = 0;
        loop {
            while let Some(length) = self.got[from..].iter().position(|&octet| octet == b'\n') {
                let line = &self.got[from..from + length];
                from += length + 1;
                if line.starts_with(begin.as_bytes()) {
                    return String::from_utf8(self.got.drain(..from).collect()).unwrap();
                }
            }
            let more = self.more().await;
            assert!(more, "ended before {begin:?}: {}", self.got.escape_ascii());
        }
    }

    /// Sends and reads up to a line.
    pub(super) async fn ask(&mut self, octets: impl AsRef<[u8]>, begin: &str) -> String {
        self.send(octets).await;
        self.until(begin).await
    }

    /// Everything until the other side ends.
    pub(super) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.got)).unwrap()
    }

    /// Reads until this many octets are there.
    pub(super) async fn at_least(&mut self, count: usize) {
        while self.got.len() < count && self.more().await {}
        assert!(self.got.len() >= count);
    }

    async fn more(&mut self) -> bool {
        let mut chunk = [0; 4096];
        let read = self.transport.as_mut().unwrap().read(&mut chunk);
        // A test that would wait for ever shall fail instead.
        match tokio::time::timeout(PATIENCE, read).await.expect("nothing more was said") {
            Ok(count) => {
                self.got.extend_from_slice(&chunk[..count]);
                count > 0
            }
            // A server that hangs up with octets unread resets the connection.
            Err(_) => false,
        }
    }
}

/// An HTTP request for a token, byte by byte.
pub(super) fn token_request(path: &str, form: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

pub(super) const TOKEN_PATH: &str = "/contoso.example/oauth2/v2.0/token";
pub(super) const TOKEN_FORM: &str = "grant_type=client_credentials&client_id=11111111-2222-3333-4444-555555555555&\
    client_secret=simulated-client-secret&scope=https%3A%2F%2Foutlook.office365.com%2F.default";

/// Sends a form to the token endpoint: the head and the body of the answer.
pub(super) async fn post(simulator: &Simulator, path: &str, form: &str) -> (String, String) {
    let mut client = Client::open(simulator, Protocol::Http).await;
    client.send(token_request(path, form)).await;
    let answer = client.rest().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.into(), body.into())
}

pub(super) async fn token(simulator: &Simulator) -> String {
    let url = simulator.token_url();
    let path = url.splitn(4, '/').last().map(|path| format!("/{path}")).unwrap();
    let (head, body) = post(simulator, &path, TOKEN_FORM).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head} {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    answer["access_token"].as_str().unwrap().into()
}

pub(super) fn xoauth2(user: &str, token: &str) -> String {
    STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))
}

/// A session behind STARTTLS and EHLO.
pub(super) async fn smtp_tls(simulator: &Simulator) -> Client {
    let mut smtp = Client::open(simulator, Protocol::Smtp).await;
    smtp.until("220 ").await;
    smtp.ask("EHLO test.example\r\n", "250 ").await;
    smtp.ask("STARTTLS\r\n", "220 ").await;
    let mut smtp = smtp.tls(simulator).await.unwrap();
    smtp.ask("EHLO test.example\r\n", "250 ").await;
    smtp
}

/// A session that is logged in as [`ANN`].
pub(super) async fn logged_in(simulator: &Simulator, protocol: Protocol) -> Client {
    let response = xoauth2(ANN, &token(simulator).await);
    let mut client = match protocol {
        Protocol::Smtp => smtp_tls(simulator).await,
        _ => Client::open(simulator, protocol).await,
    };
    match protocol {
        Protocol::Smtp => {
            client.ask("AUTH XOAUTH2\r\n", "334 ").await;
            client.ask(format!("{response}\r\n"), "235 ").await;
        }
        Protocol::Imap => {
            client.until("* OK").await;
            client.ask(format!("a AUTHENTICATE XOAUTH2 {response}\r\n"), "a OK").await;
        }
        Protocol::Pop3 => {
            client.until("+OK").await;
            client.ask("AUTH XOAUTH2\r\n", "+ ").await;
            client.ask(format!("{response}\r\n"), "+OK").await;
        }
        Protocol::Http => {}
    }
    client
}
