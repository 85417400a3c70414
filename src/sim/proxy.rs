//! An HTTP proxy that opens tunnels with CONNECT (RFC 9110 section 9.3.6) and takes nothing else. It can refuse, hang and
//! babble like those that stand in offices.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::faults::Gate;
use super::record::lock;

/// The largest head of a request, in octets.
const MAX_HEAD: usize = 4096;

/// Something a proxy does instead of opening a tunnel.
#[derive(Debug, Clone)]
pub enum ProxyFault {
    /// It answers with this code.
    Refuse(u16),
    /// It hangs up without an answer.
    Close,
    /// It answers with these octets, and hangs up.
    Say(Vec<u8>),
    /// Its answer's head has no end.
    Endless,
    /// It waits until the gate opens, then does as it is asked.
    Hold(Gate),
    /// It opens the tunnel and puts these octets before what the server says, in one piece with its answer.
    Inject(Vec<u8>),
}

/// What a proxy shares with whoever started it.
#[derive(Debug, Default)]
struct State {
    /// `user:password` in base64, where it wants them.
    basic: Option<String>,
    faults: VecDeque<ProxyFault>,
    asked: Vec<String>,
    violations: Vec<String>,
}

/// A running proxy on a free port of 127.0.0.1. Dropping it ends it and every tunnel through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts one that asks for no password.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, state) = (listener.local_addr()?, Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut tunnels = JoinSet::new();
            loop {
                tokio::select! {
                    // An accept that fails concerns that peer only.
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        let state = Arc::clone(&shared);
                        // How a tunnel ended, both of its ends know.
                        tunnels.spawn(async move { drop(serve(stream, &state).await) });
                    },
                    Some(_) = tunnels.join_next() => {}
                }
            }
        });
        Ok(Self { address, state, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Wants this `user:password` from now on (RFC 7617).
    pub fn demand(&self, credentials: &str) {
        lock(&self.state).basic = Some(BASE64_STANDARD.encode(credentials));
    }

    /// Lets a fault happen to that many requests, behind those planned earlier.
    pub fn fail_next(&self, times: usize, fault: ProxyFault) {
        lock(&self.state).faults.extend(std::iter::repeat_n(fault, times));
    }

    /// What tunnels were asked for, in order: host and port as they came.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }

    /// Where a client broke the grammar. One in order leaves this empty.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.state).violations.clone()
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    let request = match parse(&head) {
        Ok(request) => request,
        Err(violation) => {
            lock(state).violations.push(violation.to_owned());
            return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    };
    let (welcome, fault) = {
        let mut state = lock(state);
        state.asked.push(request.authority.clone());
        (state.basic.is_none() || state.basic == request.basic, state.faults.pop_front())
    };
    let mut established = b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
    match fault {
        Some(ProxyFault::Refuse(code)) => return refuse(&mut stream, code).await,
        Some(ProxyFault::Close) => return Ok(()),
        Some(ProxyFault::Say(octets)) => return stream.write_all(&octets).await,
        Some(ProxyFault::Endless) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.write_all(b"X-Field: and there is more\r\n").await?;
            }
        }
        Some(ProxyFault::Hold(gate)) => gate.pass().await,
        Some(ProxyFault::Inject(octets)) => established.extend(octets),
        None => {}
    }
    if !welcome {
        return refuse(&mut stream, 407).await;
    }
    let Ok(mut server) = TcpStream::connect(&request.authority).await else {
        return refuse(&mut stream, 502).await;
    };
    stream.write_all(&established).await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

async fn refuse(stream: &mut TcpStream, code: u16) -> io::Result<()> {
    let field = if code == 407 { "Proxy-Authenticate: Basic realm=\"office\"\r\n" } else { "" };
    let answer = format!("HTTP/1.1 {code} Not This Way\r\n{field}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await
}

/// Everything up to the empty line; a client that sends more before it is answered has broken the rules.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// What is asked for.
struct Request {
    authority: String,
    basic: Option<String>,
}

/// A CONNECT request without a body; what is wrong with it otherwise.
fn parse(head: &[u8]) -> Result<Request, &'static str> {
    let head = std::str::from_utf8(head).map_err(|_| "a request that is no text")?;
    let head = head.strip_suffix("\r\n\r\n").ok_or("octets behind the head")?;
    if head.contains("\r\n\r\n") || head.replace("\r\n", "").contains(['\r', '\n']) {
        return Err("a stray CR or LF, or octets behind the head");
    }
    let (line, fields) = head.split_once("\r\n").ok_or("no Host")?;
    let authority = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
    let authority = authority.ok_or("not CONNECT, or not HTTP/1.1")?;
    let (host, port) = authority.rsplit_once(':').ok_or("no port")?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty()
        || host.contains([' ', '/', '@'])
        || host.contains(':') != bracketed
        || port.parse::<u16>().is_err()
    {
        return Err("a host or a port that is none");
    }
    let (mut hosts, mut basic) = (Vec::new(), None);
    for field in fields.split("\r\n") {
        let (name, value) = field.split_once(": ").ok_or("a field without a colon")?;
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts.push(value),
            "proxy-authorization" if basic.is_none() => {
                basic = Some(value.strip_prefix("Basic ").ok_or("not Basic")?.to_owned());
            }
            "user-agent" => {}
            // RFC 9110 section 9.3.6: a CONNECT request has no content.
            _ => return Err("a field that does not belong there"),
        }
    }
    if hosts != [authority] {
        return Err("Host is not the authority, once");
    }
    Ok(Request { authority: authority.to_owned(), basic })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clean_request_is_taken() {
        let request = parse(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nProxy-Authorization: Basic eA==\r\n\r\n")
            .unwrap_or_else(|_| panic!());
        assert_eq!((request.authority.as_str(), request.basic.as_deref()), ("a:1", Some("eA==")));
        assert!(parse(b"CONNECT [::1]:993 HTTP/1.1\r\nHost: [::1]:993\r\n\r\n").is_ok());
        for bad in [
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.0\r\nHost: a:1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\n\r\n",
            "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT ::1:993 HTTP/1.1\r\nHost: ::1:993\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 4\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nHost: a:1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\nHost: a:1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nEHLO\r\n\r\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
