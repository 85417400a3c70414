//! A tunnel through an HTTP proxy with CONNECT (RFC 9110 section 9.3.6).

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine};
use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::config::{ConnectProxy, Server, UpstreamTls};
use crate::secret::redacted;
use crate::telemetry::log::PeerText;

/// The largest head of a response that is read, interim responses included, in octets.
const MAX_HEAD: usize = 8 * 1024;

/// How many header fields a response may have.
const MAX_FIELDS: usize = 64;

/// How much of a proxy's words is shown, in octets before it is escaped.
const MAX_REASON: usize = 80;

/// Has `proxy`, at the other end of `stream`, open a tunnel to `server`. It gets the name and resolves it itself.
///
/// What came behind the response's head is the server's and stays unread; where TLS comes first, a server has nothing to
/// say, so there it is an error.
///
/// # Errors
/// When the proxy refuses, what it says is not HTTP or has no end, or the connection breaks. The text is printable and
/// says what to do.
pub(super) async fn open_tunnel(stream: &mut TcpStream, proxy: &ConnectProxy, server: &Server) -> io::Result<()> {
    let authority = authority(server)?;
    let failed = |what: &str| {
        let ConnectProxy { host, port, .. } = proxy;
        io::Error::other(format!("the proxy {host}:{port} opened no tunnel to {authority}: {what}"))
    };
    let basic = proxy
        .credentials
        .as_ref()
        .map(|credentials| Zeroizing::new(BASE64_STANDARD.encode(credentials.expose())));
    let asked = async {
        stream.write_all(&request(&authority, basic.as_ref())).await?;
        read_head(stream).await
    };
    let (code, reason, behind) = match asked.await {
        Ok(head) => head,
        Err(NoHead::Broken(error)) => return Err(failed(&error.to_string())),
        Err(NoHead::NotHttp) => return Err(failed(&format!("it does not speak HTTP ({CHECK_PROXY})"))),
        Err(NoHead::Endless) => return Err(failed(&format!("its answer has no end ({CHECK_PROXY})"))),
    };
    if !(200..300).contains(&code) {
        let told = proxy.credentials.as_ref().map(|credentials| credentials.expose());
        let password = told.and_then(|told| told.split_once(':')).map(|(_, password)| password);
        let basic = basic.as_ref().map(|basic| basic.as_str());
        let secrets: Vec<&str> = [told, password, basic].into_iter().flatten().collect();
        let reason = redacted(reason.as_bytes(), &secrets);
        let reason = PeerText(&reason[..reason.len().min(MAX_REASON)]);
        return Err(failed(&format!("{code} {reason} ({})", cure(code, basic.is_some()))));
    }
    if behind && server.tls == UpstreamTls::Implicit {
        return Err(failed("the server speaks before TLS does (set tls = \"starttls\", or the port for implicit TLS)"));
    }
    Ok(())
}

const CHECK_PROXY: &str = "check that [upstream] proxy names an HTTP proxy and its port";

/// What to do about a response that is no success.
const fn cure(code: u16, has_credentials: bool) -> &'static str {
    match code {
        407 if has_credentials => "it refuses the user name or the password in [upstream] proxy",
        407 => "put a user name and a password into the URL of [upstream] proxy",
        403 => "it forbids this; have CONNECT to this host and port allowed there",
        502..=504 => "it could not reach the server itself",
        _ => CHECK_PROXY,
    }
}

/// The server as a request names it. Hosts are checked when they are read from the file; that one cannot break the
/// request is looked at here too.
fn authority(server: &Server) -> io::Result<String> {
    let Server { host, port, .. } = server;
    if host.is_empty()
        || !host
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b".-_:".contains(&octet))
    {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a host that cannot be told to a proxy"));
    }
    Ok(super::authority(host, *port))
}

fn request(authority: &str, basic: Option<&Zeroizing<String>>) -> Zeroizing<Vec<u8>> {
    let credentials = basic.map_or("", |basic| basic.as_str());
    // Made in one piece, so that no copy of the credentials is left behind.
    let mut request = Zeroizing::new(Vec::with_capacity(128 + 2 * authority.len() + credentials.len()));
    for part in ["CONNECT ", authority, " HTTP/1.1\r\nHost: ", authority, "\r\n"] {
        request.extend_from_slice(part.as_bytes());
    }
    if basic.is_some() {
        for part in ["Proxy-Authorization: Basic ", credentials, "\r\n"] {
            request.extend_from_slice(part.as_bytes());
        }
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// Why no head of a response was read.
enum NoHead {
    Broken(io::Error),
    NotHttp,
    Endless,
}

impl From<io::Error> for NoHead {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Reads the head of the final response and nothing behind it: the code, the reason, and whether there is more already.
async fn read_head(stream: &mut TcpStream) -> Result<(u16, String, bool), NoHead> {
    let mut head = Vec::new();
    let mut seen = vec![0; MAX_HEAD];
    let mut interim = 0;
    loop {
        // Looked at first: what is behind the head is not ours to take.
        let count = stream.peek(&mut seen[..MAX_HEAD - head.len()]).await?;
        if count == 0 {
            return Err(NoHead::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up")));
        }
        let before = head.len();
        head.extend_from_slice(&seen[..count]);
        let parsed = final_head(&head, &mut interim)?;
        let taken = parsed.as_ref().map_or(count, |parsed| parsed.2 - before);
        stream.read_exact(&mut seen[..taken]).await?;
        if let Some((code, reason, _)) = parsed {
            return Ok((code, reason, taken < count));
        }
        if head.len() == MAX_HEAD {
            return Err(NoHead::Endless);
        }
    }
}

/// The code, the reason and the end of the final response's head, if it is all there. `interim` is where it begins:
/// responses with a code below 200 come before it (RFC 9110 section 15.2).
fn final_head(octets: &[u8], interim: &mut usize) -> Result<Option<(u16, String, usize)>, NoHead> {
    loop {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut response = Response::new(&mut fields);
        let Status::Complete(length) = response.parse(&octets[*interim..]).map_err(|_| NoHead::NotHttp)? else {
            return Ok(None);
        };
        let code = response.code.ok_or(NoHead::NotHttp)?;
        let end = *interim + length;
        if code >= 200 {
            return Ok(Some((code, response.reason.unwrap_or_default().to_owned(), end)));
        }
        *interim = end;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::secret::SecretText;

    /// Asks a proxy that answers so and closes; what came of it, what the proxy heard, and what is left to be read.
    async fn tunnel(server: &Server, credentials: Option<&str>, answer: &[u8]) -> (io::Result<()>, String, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        let credentials = credentials.map(|text| SecretText::new(text.into()));
        let proxy = ConnectProxy { host: "proxy.example".into(), port: 3128, credentials };
        let serving = async {
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                assert!(theirs.read_buf(&mut heard).await.unwrap() > 0);
            }
            // A client that has read enough hangs up.
            let _ = theirs.write_all(answer).await;
            drop(theirs);
            String::from_utf8(heard).unwrap()
        };
        let asking = async {
            let opened = open_tunnel(&mut ours, &proxy, server).await;
            let mut left = Vec::new();
            if opened.is_ok() {
                ours.read_to_end(&mut left).await.unwrap();
            }
            drop(ours);
            (opened, left)
        };
        let ((opened, left), heard) = tokio::join!(asking, serving);
        (opened, heard, left)
    }

    fn server(host: &str, tls: UpstreamTls) -> Server {
        Server { host: host.into(), port: 993, tls }
    }

    #[tokio::test]
    async fn what_is_behind_the_head_is_the_servers() {
        let server = server("imap.example", UpstreamTls::StartTls);
        for head in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nVia: x\r\n\r\n",
            "HTTP/1.1 299 \r\n\r\n",
            "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let (opened, heard, left) = tunnel(&server, None, format!("{head}* OK hi\r\n").as_bytes()).await;
            opened.unwrap();
            assert_eq!(heard, "CONNECT imap.example:993 HTTP/1.1\r\nHost: imap.example:993\r\n\r\n");
            assert_eq!(left, b"* OK hi\r\n", "{head}");
        }
    }

    #[tokio::test]
    async fn nobody_speaks_before_tls_where_that_comes_first() {
        let implicit = server("imap.example", UpstreamTls::Implicit);
        let established = b"HTTP/1.1 200 OK\r\n\r\n* OK hi\r\n";
        tunnel(&implicit, None, &established[..19]).await.0.unwrap();
        let error = tunnel(&implicit, None, established).await.0.unwrap_err().to_string();
        assert!(error.contains("speaks before TLS") && error.contains("starttls"), "{error}");
    }

    #[tokio::test]
    async fn a_name_an_address_and_credentials_are_told_as_the_rfc_has_them() {
        let v6 = server("2001:db8::1", UpstreamTls::Implicit);
        let (opened, heard, _) = tunnel(&v6, Some("Aladdin:open sesame"), b"HTTP/1.1 200 OK\r\n\r\n").await;
        opened.unwrap();
        // RFC 7617 section 2.
        assert_eq!(
            heard,
            "CONNECT [2001:db8::1]:993 HTTP/1.1\r\nHost: [2001:db8::1]:993\r\n\
             Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
        );
        for host in ["", "a b", "a\r\nX: y", "a/b", "a@b", "\u{e9}.example"] {
            assert!(authority(&server(host, UpstreamTls::None)).is_err(), "{host:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do_and_shows_no_credentials() {
        let server = server("imap.example", UpstreamTls::Implicit);
        for (credentials, code, said) in [
            (None, 407, "put a user name"),
            (Some("user:a long password"), 407, "refuses the user name"),
            (None, 403, "have CONNECT to this host"),
            (None, 502, "could not reach"),
            (None, 504, "could not reach"),
            (None, 301, "names an HTTP proxy"),
            (None, 405, "names an HTTP proxy"),
        ] {
            let answer = format!("HTTP/1.1 {code} no user:a long password dXNlcjphIGxvbmcgcGFzc3dvcmQ=\r\n\r\n");
            let error = tunnel(&server, credentials, answer.as_bytes()).await.0.unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(&code.to_string()), "{error}");
            assert!(
                error.starts_with("the proxy proxy.example:3128 opened no tunnel to imap.example:993: "),
                "{error}"
            );
            if credentials.is_some() {
                assert!(!error.contains("a long password") && !error.contains("dXNlcjphIGxvbmc"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_does_not_show_the_password_alone() {
        let server = server("imap.example", UpstreamTls::Implicit);
        for (credentials, password) in [("user:s3cret", "s3cret"), ("user:a:long:password", "a:long:password")] {
            let answer = format!("HTTP/1.1 407 {password} is wrong, {password}!\r\n\r\n");
            let error = tunnel(&server, Some(credentials), answer.as_bytes())
                .await
                .0
                .unwrap_err()
                .to_string();
            assert!(!error.contains(password) && error.contains("407 [redacted] is wrong, [redacted]!"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused() {
        let server = server("imap.example", UpstreamTls::StartTls);
        let endless = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'x'; 2 * MAX_HEAD]].concat();
        let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        for (answer, said) in [
            (&b"220 mail.example ESMTP\r\n"[..], "does not speak HTTP"),
            (b"\x16\x03\x01\x02\x00", "does not speak HTTP"),
            (b"HTTP/1.1 20", "hung up"),
            (b"", "hung up"),
            (&endless, "has no end"),
            (fields.as_bytes(), "does not speak HTTP"),
            (interim.as_bytes(), "has no end"),
        ] {
            let error = tunnel(&server, None, answer).await.0.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
