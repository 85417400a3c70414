//! HTTP for token endpoints: the one file that knows reqwest. No redirects, nothing unencrypted beyond this machine,
//! no answer larger than a megabyte. Reads no OAuth.

use std::error::Error as _;
use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Proxy, Response, redirect};
use thiserror::Error;
use tokio_util::bytes::Bytes;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::config::ConnectProxy;

/// The largest answer that is read, in octets.
pub const MAX_BODY: usize = 1024 * 1024;

/// The longest header value that is kept, in octets.
const MAX_HEADER: usize = 256;

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct HttpTimeouts {
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// Until the last octet of the answer.
    pub total: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), total: Duration::from_secs(30) }
    }
}

/// Posts forms. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    /// Uses the configuration's proxy, or the environment's where it has none.
    outward: Client,
    /// The configuration's proxy as an error names it, if there is one.
    proxy: Option<String>,
    /// Uses none: what is meant for this machine must not leave it, least of all unencrypted.
    direct: Client,
}

/// What came back, whatever its status.
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The `Retry-After` header, where it could be read.
    pub retry_after: Option<RetryAfter>,
    /// The `Content-Type` header, or nothing. Peer text.
    pub content_type: String,
    /// At most [`MAX_BODY`] octets. May hold a token.
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("content_type", &self.content_type)
            .field("body", &format_args!("[{} octets redacted]", self.body.len()))
            .finish()
    }
}

/// A `Retry-After` header (RFC 9110 section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// So long from now.
    After(Duration),
    /// Not before.
    At(SystemTime),
}

impl RetryAfter {
    /// Reads seconds or an HTTP-date; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) {
            // More digits than fit are a long time all the same.
            return Some(Self::After(Duration::from_secs(text.parse().unwrap_or(u64::MAX))));
        }
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self::At(date.into()))
    }

    /// How long that is from `now`; nothing for a date that has passed.
    #[must_use]
    pub fn wait(self, now: SystemTime) -> Duration {
        match self {
            Self::After(wait) => wait,
            Self::At(date) => date.duration_since(now).unwrap_or_default(),
        }
    }
}

/// Why there is no answer. The text may hold the URL and what the system or the TLS library said, never a form or a
/// body.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The client could not be built from its TLS configuration.
    #[error("the HTTP client cannot be made: {0}")]
    Setup(String),
    /// The URL is neither https nor http to this machine.
    #[error("{0} is not an https URL")]
    NotAllowed(String),
    /// No connection, or TLS failed.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The time was up.
    #[error("no answer in time")]
    TimedOut,
    /// The answer is larger than [`MAX_BODY`].
    #[error("the answer is larger than 1 MiB")]
    TooLarge,
    /// The connection broke, or what came was not HTTP.
    #[error("the exchange broke off: {0}")]
    Broken(String),
}

impl HttpClient {
    /// A client that trusts and offers what `tls` says. It holds no idle connections: tokens are fetched too rarely
    /// for one to be of use, and a stale one costs a failed request.
    ///
    /// With a `proxy`, everything under TLS goes through it and the environment's are not looked at; what is not under TLS
    /// stays on this machine.
    ///
    /// # Errors
    /// [`HttpError::Setup`].
    pub fn new(
        tls: &rustls::ClientConfig,
        timeouts: HttpTimeouts,
        proxy: Option<&ConnectProxy>,
    ) -> Result<Self, HttpError> {
        let builder = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(redirect::Policy::none())
                .connect_timeout(timeouts.connect)
                .timeout(timeouts.total)
                .pool_max_idle_per_host(0)
                .user_agent(concat!("mailferry/", env!("CARGO_PKG_VERSION")))
        };
        let setup = |error: reqwest::Error| HttpError::Setup(in_words(&error));
        let outward = match proxy {
            Some(proxy) => builder().proxy(through(proxy).map_err(setup)?),
            None => builder(),
        };
        Ok(Self {
            outward: outward.build().map_err(setup)?,
            proxy: proxy.map(|proxy| super::authority(&proxy.host, proxy.port)),
            direct: builder().no_proxy().build().map_err(setup)?,
        })
    }

    /// Sends `form` with `headers` and reads the answer, whatever its status.
    ///
    /// # Errors
    /// See [`HttpError`]; a status that means failure is an answer, not an error.
    pub async fn post_form(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        form: Zeroizing<Vec<u8>>,
    ) -> Result<HttpAnswer, HttpError> {
        let client = self.client_for(url)?;
        let request = headers
            .iter()
            .fold(client.post(url.clone()), |request, (name, value)| request.header(*name, *value));
        // Wiped once the last reference to it is gone.
        let response = request.body(Bytes::from_owner(form)).send().await.map_err(fault);
        let mut response = response.map_err(|error| self.with_proxy(url, error))?;
        let content_type = header(&response, &CONTENT_TYPE).unwrap_or_default();
        let retry_after = header(&response, &RETRY_AFTER).and_then(|text| RetryAfter::parse(&text));
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(fault)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(HttpError::TooLarge);
            }
            append(&mut body, &chunk);
        }
        Ok(HttpAnswer { status: response.status().as_u16(), retry_after, content_type, body })
    }

    fn client_for(&self, url: &Url) -> Result<&Client, HttpError> {
        match (url.scheme(), is_loopback(url)) {
            ("http", true) => Ok(&self.direct),
            ("https", true) if self.proxy.is_none() => Ok(&self.direct),
            ("https", _) => Ok(&self.outward),
            _ => Err(HttpError::NotAllowed(url.to_string())),
        }
    }

    /// The error, with the proxy that stands in the way where one does.
    fn with_proxy(&self, url: &Url, error: HttpError) -> HttpError {
        match (error, &self.proxy) {
            (HttpError::Unreachable(words), Some(proxy)) if url.scheme() == "https" => {
                HttpError::Unreachable(format!("{words}, through the proxy {proxy} (check [upstream] proxy)"))
            }
            (error, _) => error,
        }
    }
}

/// The proxy as reqwest has it: tunnels for all that it is asked for here, which is under TLS.
fn through(proxy: &ConnectProxy) -> reqwest::Result<Proxy> {
    let through = Proxy::all(format!("http://{}", super::authority(&proxy.host, proxy.port)))?;
    Ok(match &proxy.credentials {
        Some(credentials) => {
            let (user, password) = credentials
                .expose()
                .split_once(':')
                .unwrap_or_else(|| (credentials.expose(), ""));
            through.basic_auth(user, password)
        }
        None => through,
    })
}

/// Appends to a buffer, and wipes the one it outgrows: that holds pieces of a token.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let needed = body.len() + chunk.len();
    if needed > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * body.capacity())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

/// Whether a URL's host is this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn header(response: &Response, name: &reqwest::header::HeaderName) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    (value.len() <= MAX_HEADER).then(|| value.to_owned())
}

fn fault(error: reqwest::Error) -> HttpError {
    if error.is_timeout() {
        HttpError::TimedOut
    } else if error.is_connect() {
        HttpError::Unreachable(in_words(&error))
    } else {
        HttpError::Broken(in_words(&error))
    }
}

/// The error with all its causes: reqwest itself says no more than "error sending request".
fn in_words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::secret::SecretText;
    use crate::sim::{self, Simulator};

    /// A client with no roots at all: good for http to this machine and nothing else.
    pub(crate) fn client(timeouts: HttpTimeouts) -> HttpClient {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        HttpClient::new(&tls, timeouts, None).unwrap()
    }

    /// Reads one request up to the end of its form, sends `answer` in pieces, then closes. What it read comes back
    /// from the task.
    pub(crate) async fn scripted(answer: Vec<Vec<u8>>) -> (Url, JoinHandle<String>) {
        let (url, served) = scripted_each(vec![answer]).await;
        (url, tokio::spawn(async move { served.await.unwrap().remove(0) }))
    }

    /// The same for several requests, one after another: one answer each.
    pub(crate) async fn scripted_each(answers: Vec<Vec<Vec<u8>>>) -> (Url, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        let served = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !whole(&request) {
                    if stream.read_buf(&mut request).await.unwrap() == 0 {
                        break;
                    }
                }
                for piece in answer {
                    // A client that has seen enough hangs up; that is its right.
                    if stream.write_all(&piece).await.is_err() {
                        break;
                    }
                }
                requests.push(String::from_utf8(request).unwrap());
            }
            requests
        });
        (url, served)
    }

    fn whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        body.len() >= length.map_or(0, |length| length.parse().unwrap())
    }

    pub(crate) fn response(head: &str, body: &str) -> Vec<Vec<u8>> {
        vec![format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()]
    }

    async fn post(url: &Url) -> Result<HttpAnswer, HttpError> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        client(HttpTimeouts::default())
            .post_form(url, &headers, b"a=b&client_secret=hunter2".to_vec().into())
            .await
    }

    #[tokio::test]
    async fn a_form_goes_out_and_the_answer_comes_in() {
        let head = "HTTP/1.1 429 Slow Down\r\nContent-Type: application/json\r\nRetry-After: 17";
        let (url, served) = scripted(response(head, "{}")).await;
        let answer = post(&url).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (429, &b"{}"[..]));
        assert_eq!(answer.content_type, "application/json");
        assert_eq!(answer.retry_after, Some(RetryAfter::After(Duration::from_secs(17))));
        let request = served.await.unwrap();
        assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\na=b&client_secret=hunter2"), "{request}");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let head = format!("HTTP/1.1 307 Moved\r\nLocation: http://{}/", elsewhere.local_addr().unwrap());
        let (url, _served) = scripted(response(&head, "")).await;
        assert_eq!(post(&url).await.unwrap().status, 307);
        let accepted = tokio::time::timeout(Duration::ZERO, elsewhere.accept()).await;
        assert!(accepted.is_err(), "somebody went there");
    }

    #[tokio::test]
    async fn an_endless_body_is_cut_off() {
        let mut pieces = vec![b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n".to_vec()];
        pieces.extend((0..64).map(|_| vec![b'x'; 64 * 1024]));
        let (url, _served) = scripted(pieces).await;
        assert!(matches!(post(&url).await, Err(HttpError::TooLarge)));
    }

    #[tokio::test]
    async fn an_answer_that_never_ends_runs_out_of_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let brief = HttpTimeouts { connect: Duration::from_secs(10), total: Duration::from_millis(50) };
        let answer = client(brief).post_form(&url, &[], vec![].into()).await;
        assert!(matches!(answer, Err(HttpError::TimedOut)), "{answer:?}");
    }

    #[tokio::test]
    async fn errors_and_answers_show_no_form_and_no_body() {
        let (url, _served) = scripted(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhunter2".to_vec()]).await;
        let error = post(&url).await.unwrap_err();
        assert!(matches!(error, HttpError::Broken(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        let answer = HttpAnswer {
            status: 200,
            retry_after: None,
            content_type: String::new(),
            body: b"hunter2".to_vec().into(),
        };
        assert!(!format!("{answer:?}").contains("hunter2"));
    }

    #[test]
    fn a_body_grows_as_it_comes_and_is_wiped() {
        fn is_wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        let mut body = Zeroizing::new(Vec::new());
        let chunks = [&b"a"[..], b"", b"bcd", &[b'x'; 100], b"e"];
        for chunk in chunks {
            append(&mut body, chunk);
        }
        is_wiped(&body);
        assert_eq!(*body, chunks.concat());
    }

    #[tokio::test]
    async fn only_this_machine_is_spoken_to_without_tls() {
        for refused in ["http://login.example.com/token", "ftp://127.0.0.1/", "http://127.0.0.1.example.com/"] {
            let answer = post(&refused.parse().unwrap()).await;
            assert!(matches!(answer, Err(HttpError::NotAllowed(_))), "{refused}");
        }
        let client = client(HttpTimeouts::default());
        for direct in ["http://127.0.0.1:1/", "http://[::1]/", "https://localhost/"] {
            assert!(std::ptr::eq(client.client_for(&direct.parse().unwrap()).unwrap(), &client.direct));
        }
        let outward = client.client_for(&"https://login.example.com/".parse().unwrap()).unwrap();
        assert!(std::ptr::eq(outward, &client.outward));
    }

    /// A token request to this URL through that proxy, by a client that trusts the simulator.
    async fn post_through(proxy: &sim::Proxy, trusted: Option<&Simulator>, url: &str) -> Result<HttpAnswer, HttpError> {
        let root = trusted.map(|provider| CertificateDer::from_pem_slice(provider.ca_pem().as_bytes()).unwrap());
        let tls = crate::net::tls::client_config(root.as_slice()).unwrap();
        let credentials = Some(SecretText::new("mail:ferry and more".into()));
        let proxy = ConnectProxy { host: "127.0.0.1".into(), port: proxy.address().port(), credentials };
        let client = HttpClient::new(&tls, HttpTimeouts::default(), Some(&proxy)).unwrap();
        client
            .post_form(&url.parse().unwrap(), &[], b"client_secret=hunter2".to_vec().into())
            .await
    }

    #[tokio::test]
    async fn what_is_under_tls_goes_through_the_proxy_and_nothing_else_does() {
        let proxy = sim::Proxy::start().await.unwrap();
        proxy.demand("mail:ferry and more");
        let provider = Simulator::start(sim::Options::default()).await.unwrap();
        // No web server, but one under TLS: its greeting is no HTTP, and to get that far the tunnel must be verified.
        let url = format!("https://localhost:{}/token", provider.imap().port());
        let answer = post_through(&proxy, Some(&provider), &url).await;
        assert!(matches!(answer, Err(HttpError::Broken(_))), "{answer:?}");
        let answer = post_through(&proxy, None, &url).await;
        assert!(matches!(&answer, Err(HttpError::Unreachable(words)) if words.contains("certificate")), "{answer:?}");
        assert_eq!(proxy.asked(), vec![format!("localhost:{}", provider.imap().port()); 2]);
        assert_eq!(proxy.violations(), [""; 0]);
        let (plain, served) = scripted(response("HTTP/1.1 200 OK", "{}")).await;
        assert_eq!(post_through(&proxy, None, plain.as_str()).await.unwrap().status, 200);
        served.await.unwrap();
        assert_eq!(proxy.asked().len(), 2, "what is not under TLS stays here");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_named_without_its_password() {
        let proxy = sim::Proxy::start().await.unwrap();
        for fault in [sim::ProxyFault::Refuse(407), sim::ProxyFault::Refuse(502), sim::ProxyFault::Close] {
            proxy.fail_next(1, fault);
            let error = post_through(&proxy, None, "https://login.invalid/token")
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains("through the proxy 127.0.0.1:") && error.contains("[upstream] proxy"), "{error}");
            assert!(!error.contains("ferry and more") && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(proxy.asked(), ["login.invalid:443"; 3], "the proxy resolves names");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let epoch = SystemTime::UNIX_EPOCH;
        let date = RetryAfter::parse("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.wait(epoch + Duration::from_secs(784_111_777 - 30)), Duration::from_secs(30));
        assert_eq!(date.wait(epoch + Duration::from_secs(784_111_777 + 30)), Duration::ZERO);
        assert_eq!(RetryAfter::parse(" 120 "), Some(RetryAfter::After(Duration::from_secs(120))));
        assert_eq!(RetryAfter::parse(&"9".repeat(40)), Some(RetryAfter::After(Duration::from_secs(u64::MAX))));
        for bad in ["", "-1", "soon", "1.5", "\u{663}"] {
            assert_eq!(RetryAfter::parse(bad), None, "{bad}");
        }
    }
}
