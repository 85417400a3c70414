//! The browser's way back from a sign-in (RFC 8252 section 7.3): a listener on this machine that takes one redirect. It
//! knows no OAuth; whether a query is the awaited one the caller says.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use url::{Host, Url};

/// The longest request head that is read, in octets.
const MAX_HEAD: usize = 8 * 1024;

/// The most header fields.
const MAX_HEADERS: usize = 64;

/// How long one connection may take.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// How many connections are served at once. A browser opens some ahead and leaves them silent.
const MAX_CONNECTIONS: usize = 16;

/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a free port is looked for that both loopback addresses have.
const TRIES: usize = 16;

/// Where a browser is sent back to when no address is configured. The port is not looked at there: any may be used.
pub const DEFAULT_URI: &str = "http://localhost";

/// Why there is no redirect.
#[derive(Debug, Error)]
pub enum RedirectError {
    /// The address is not one of this machine's loopback addresses with http.
    #[error("{0} is not an http address of this machine; nothing can be listened for there")]
    NotHere(Url),
    /// The port could not be had.
    #[error("cannot listen on port {port}: {error}")]
    Bind {
        /// The port.
        port: u16,
        /// What the operating system said.
        error: io::Error,
    },
    /// Nobody came.
    #[error("the browser did not come back in time")]
    TimedOut,
}

/// A redirect URI as it is to be sent: without the slash that nobody registers.
#[must_use]
pub fn text_of(uri: &Url) -> String {
    let text = uri.as_str();
    let bare = uri.path() == "/" && uri.query().is_none();
    if bare { text.trim_end_matches('/').to_owned() } else { text.to_owned() }
}

/// A listener for one redirect.
pub struct Redirect {
    sockets: Vec<TcpListener>,
    expected: Arc<Expected>,
    uri: String,
}

/// What a request must look like to be a redirect.
struct Expected {
    path: String,
    port: u16,
}

impl Redirect {
    /// Listens where `uri` leads; without one, on `http://localhost` and a free port. `localhost` is both loopback
    /// addresses, since a browser may take either.
    ///
    /// # Errors
    /// When the address is not this machine's, or the port is taken.
    pub async fn bind(uri: Option<&Url>) -> Result<Self, RedirectError> {
        let Some(uri) = uri else {
            let (port, sockets) = bind_free().await.map_err(|error| RedirectError::Bind { port: 0, error })?;
            let expected = Arc::new(Expected { path: "/".into(), port });
            return Ok(Self { sockets, expected, uri: format!("{DEFAULT_URI}:{port}") });
        };
        let not_here = || RedirectError::NotHere(uri.clone());
        let port = uri.port_or_known_default().ok_or_else(not_here)?;
        let (v4, v6) = (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
        let bound = match (uri.scheme(), uri.host()) {
            ("http", Some(Host::Domain("localhost"))) => bind_both(port).await,
            ("http", Some(Host::Ipv4(Ipv4Addr::LOCALHOST))) => TcpListener::bind(v4).await.map(|socket| vec![socket]),
            ("http", Some(Host::Ipv6(Ipv6Addr::LOCALHOST))) => TcpListener::bind(v6).await.map(|socket| vec![socket]),
            _ => return Err(not_here()),
        };
        let sockets = bound.map_err(|error| RedirectError::Bind { port, error })?;
        let expected = Arc::new(Expected { path: uri.path().to_owned(), port });
        Ok(Self { sockets, expected, uri: text_of(uri) })
    }

    /// Where the browser is to be sent back to.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Waits until a request comes whose query is `awaited`, and gives that query. Whatever else comes is answered and
    /// forgotten.
    ///
    /// # Errors
    /// When nobody comes within `time`.
    pub async fn wait(
        self,
        time: Duration,
        awaited: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<String, RedirectError> {
        let taker = Arc::new(Taker { awaited, taken: AtomicBool::new(false) });
        timeout(time, self.serve(&taker))
            .await
            .map_err(|_elapsed| RedirectError::TimedOut)
    }

    async fn serve<F>(&self, taker: &Arc<Taker<F>>) -> String
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        // Dropped at the end, which ends every connection.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                stream = self.accept(), if connections.len() < MAX_CONNECTIONS => {
                    let Ok(stream) = stream else {
                        // It was gone before it was taken, or descriptors are short for a while.
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    };
                    let (expected, taker) = (Arc::clone(&self.expected), Arc::clone(taker));
                    connections.spawn(async move { timeout(CONNECTION_TIME, answer(stream, &expected, &*taker)).await });
                }
                Some(ended) = connections.join_next() => {
                    if let Ok(Ok(Some(query))) = ended {
                        return query;
                    }
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        let accepted = match self.sockets.as_slice() {
            [one, other] => tokio::select! {
                accepted = one.accept() => accepted,
                accepted = other.accept() => accepted,
            },
            sockets => sockets[0].accept().await,
        };
        accepted.map(|(stream, _)| stream)
    }
}

/// Both loopback addresses on a port that is free.
async fn bind_free() -> io::Result<(u16, Vec<TcpListener>)> {
    for _ in 1..TRIES {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = first.local_addr()?.port();
        match with_second(first, port).await {
            // Another program has it there: another port.
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound.map(|sockets| (port, sockets)),
        }
    }
    Err(ErrorKind::AddrInUse.into())
}

async fn bind_both(port: u16) -> io::Result<Vec<TcpListener>> {
    with_second(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?, port).await
}

/// The IPv6 address beside the IPv4 one. A machine may lack it, but if another program has the port there, the code would
/// go to that.
async fn with_second(first: TcpListener, port: u16) -> io::Result<Vec<TcpListener>> {
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(error),
        Err(_no_ipv6) => Ok(vec![first]),
    }
}

/// Takes one query and no more.
struct Taker<F> {
    awaited: F,
    taken: AtomicBool,
}

impl<F: Fn(&str) -> bool> Taker<F> {
    fn takes(&self, query: &str) -> bool {
        (self.awaited)(query) && !self.taken.swap(true, Ordering::SeqCst)
    }
}

/// What is answered. Nothing of what came is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Taken,
    NotAwaited,
    NotFound,
    OnlyGet,
    WrongHost,
    NotHttp,
    TooLong,
}

impl Page {
    const fn status(self) -> &'static str {
        match self {
            Self::Taken => "200 OK",
            Self::NotAwaited | Self::NotHttp => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::OnlyGet => "405 Method Not Allowed\r\nAllow: GET",
            Self::WrongHost => "421 Misdirected Request",
            Self::TooLong => "431 Request Header Fields Too Large",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Taken => "mailferry has the provider's answer. Close this window; the terminal tells the rest.",
            Self::NotAwaited => "This does not belong to the sign-in that mailferry waits for. Start it again.",
            _ => "Nothing is here.",
        }
    }

    fn octets(self) -> Vec<u8> {
        let (status, words) = (self.status(), self.words());
        let page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>mailferry</title><p>{words}</p></html>\n"
        );
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n\
             X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{page}",
            page.len()
        )
        .into_bytes()
    }
}

/// Serves one connection: one request. The query, if it was the awaited one.
async fn answer<F: Fn(&str) -> bool>(mut stream: TcpStream, expected: &Expected, taker: &Taker<F>) -> Option<String> {
    let (page, query) = match read_head(&mut stream).await? {
        None => (Page::TooLong, None),
        Some(head) => match query_in(&head, expected) {
            Ok(query) if taker.takes(&query) => (Page::Taken, Some(query)),
            Ok(_) => (Page::NotAwaited, None),
            Err(page) => (page, None),
        },
    };
    // The browser may have gone; what it brought counts.
    if stream.write_all(&page.octets()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
    query
}

/// Reads up to the empty line. `Some(None)` where the head is too long, `None` where it never ends.
async fn read_head(stream: &mut TcpStream) -> Option<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if head.len() >= MAX_HEAD {
            return Some(None);
        }
        let room = MAX_HEAD - head.len();
        if stream.take(room as u64).read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Some(Some(head));
        }
    }
}

/// The query of a request that could be the redirect, or the page for one that cannot.
fn query_in(head: &[u8], expected: &Expected) -> Result<String, Page> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return Err(Page::NotHttp),
    }
    let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    // A page elsewhere whose name was made to lead here sends that name.
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_here(host.value, expected.port) => {}
        _ => return Err(Page::WrongHost),
    }
    if request.method != Some("GET") {
        return Err(Page::OnlyGet);
    }
    let target = request.path.ok_or(Page::NotHttp)?;
    match target.split_once('?') {
        Some((path, query)) if path == expected.path => Ok(query.to_owned()),
        None if target == expected.path => Err(Page::NotAwaited),
        _ => Err(Page::NotFound),
    }
}

/// Whether a Host field names this machine and the port (RFC 9110 section 7.2).
fn is_here(host: &[u8], port: u16) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let host = host.trim().to_ascii_lowercase();
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        host.strip_prefix(name)
            .is_some_and(|rest| rest == format!(":{port}") || (rest.is_empty() && port == 80))
    })
}

#[cfg(test)]
mod tests;
