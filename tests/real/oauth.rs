//! A token endpoint (RFC 6749 section 4.4) and an introspection endpoint (RFC 7662) of a few lines, on loopback.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) const CLIENT_ID: &str = "gateway";
pub(crate) const CLIENT_SECRET: &str = "app/secret+1";
pub(crate) const MAILBOX: &str = "user@example.com";

/// What every token begins with.
pub(crate) const TOKEN_START: &str = "token-that-nobody-may-see-";
/// As long as the tokens of today's providers, and short enough for Dovecot's 8192 octets of SASL response.
const TOKEN_LENGTH: usize = 4500;
const LARGEST_REQUEST: usize = 64 * 1024;

/// The endpoints. Their threads end with the process; each test has its own.
pub(crate) struct OAuthServer {
    pub(crate) port: u16,
    issued: Arc<Mutex<HashSet<String>>>,
}

impl OAuthServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("the address just bound").port();
        let issued = Arc::default();
        let shared = Arc::clone(&issued);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let issued = Arc::clone(&shared);
                // One request a connection; a peer that goes away in the middle of it is of no interest.
                thread::spawn(move || serve(stream, &issued).ok());
            }
        });
        Self { port, issued }
    }

    /// A token that the introspection endpoint will call active.
    pub(crate) fn issue(&self) -> String {
        issue(&self.issued)
    }

    /// How many tokens there are.
    pub(crate) fn issued(&self) -> usize {
        self.issued.lock().expect("no holder of this lock panics").len()
    }
}

fn issue(issued: &Mutex<HashSet<String>>) -> String {
    let mut issued = issued.lock().expect("no holder of this lock panics");
    let token = format!("{:x<TOKEN_LENGTH$}", format!("{TOKEN_START}{}-", issued.len()));
    issued.insert(token.clone());
    token
}

fn serve(mut stream: TcpStream, issued: &Mutex<HashSet<String>>) -> std::io::Result<()> {
    let request = Request::read(&stream)?;
    let (status, body) = match request.path.as_str() {
        "/token" => token(&request, issued),
        "/introspect" => introspect(&request, issued),
        _ => ("404 Not Found", "{}".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn token(request: &Request, issued: &Mutex<HashSet<String>>) -> (&'static str, String) {
    if !request.is_from(CLIENT_ID, CLIENT_SECRET) {
        return ("401 Unauthorized", r#"{"error":"invalid_client"}"#.to_owned());
    }
    if request.form.get("grant_type").map(String::as_str) != Some("client_credentials") {
        return ("400 Bad Request", r#"{"error":"unsupported_grant_type"}"#.to_owned());
    }
    let token = issue(issued);
    ("200 OK", format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#))
}

fn introspect(request: &Request, issued: &Mutex<HashSet<String>>) -> (&'static str, String) {
    let issued = issued.lock().expect("no holder of this lock panics");
    let active = request.form.get("token").is_some_and(|token| issued.contains(token));
    let body =
        if active { format!(r#"{{"active":true,"email":"{MAILBOX}"}}"#) } else { r#"{"active":false}"#.to_owned() };
    ("200 OK", body)
}

/// As much of an HTTP/1.1 request as the two endpoints look at.
struct Request {
    path: String,
    authorization: Option<String>,
    form: HashMap<String, String>,
}

impl Request {
    fn read(stream: &TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(stream.take(LARGEST_REQUEST as u64));
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut authorization) = (0, None);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => authorization = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; usize::min(length, LARGEST_REQUEST)];
        reader.read_exact(&mut body)?;
        let form = url::form_urlencoded::parse(&body).into_owned().collect();
        Ok(Self { path, authorization, form })
    }

    /// Whether the client says who it is, in either of the ways of RFC 6749 section 2.3.1.
    fn is_from(&self, id: &str, secret: &str) -> bool {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))));
        let in_form = |key: &str, value: &str| self.form.get(key).is_some_and(|found| found == value);
        self.authorization.as_deref() == Some(basic.as_str())
            || (in_form("client_id", id) && in_form("client_secret", secret))
    }
}
