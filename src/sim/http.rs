//! A small strict HTTP/1.1 server (RFC 9112): one POST of a form a connection, one answer, closed.

use std::fmt::Write as _;

use super::endpoint;
use super::faults::TokenFault;
use super::record::Direction;
use super::wire::{Flow, Wire};

const MAX_HEAD_LINE: usize = 8 * 1024;
const MAX_HEAD_LINES: usize = 64;
const MAX_BODY: usize = 64 * 1024;

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannedAnswer {
    /// The three-digit status.
    pub status: u16,
    /// Header fields beyond `Content-Length` and `Connection`.
    pub headers: Vec<(String, String)>,
    /// The body, of any type.
    pub body: Vec<u8>,
}

impl CannedAnswer {
    /// An answer without a body.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// With another header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// With this JSON as its body.
    #[must_use]
    pub fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.body("application/json; charset=utf-8", body)
    }

    fn write(&self) -> Vec<u8> {
        // Clients go by the number; RFC 9112 section 4 lets the reason be empty.
        let mut head =
            format!("HTTP/1.1 {} \r\nConnection: close\r\nContent-Length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            // Writing to a String cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// A request, understood.
pub(super) struct Request {
    pub(super) path: String,
    pub(super) basic: Option<String>,
    pub(super) form: Vec<(String, String)>,
}

impl Request {
    /// A field of the form.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Answers one request.
pub(super) async fn serve(wire: &mut Wire) -> Flow<()> {
    let request = read_request(wire).await?;
    let answer = match request {
        Ok(request) if request.path == "/introspect" => endpoint::introspect(&wire.shared, &request),
        Ok(request) => {
            wire.shared.record.note(|seen| seen.token_requests += 1);
            return answer_token_request(wire, &request).await;
        }
        Err(why) => {
            wire.violation(why);
            CannedAnswer::new(400).body("text/plain", why)
        }
    };
    send(wire, &answer).await
}

/// The token endpoint's answer, after everything that was planned to happen to it.
async fn answer_token_request(wire: &mut Wire, request: &Request) -> Flow<()> {
    let mut answer = None;
    let mut drip = None;
    for fault in wire.shared.plan.token_faults() {
        let mut answer_so_far = || answer.take().unwrap_or_else(|| endpoint::token(&wire.shared, request));
        match fault {
            TokenFault::Close => return Ok(()),
            TokenFault::Hold(gate) => gate.pass().await,
            TokenFault::Drip(pause) => drip = Some(pause),
            TokenFault::Answer(canned) => answer = Some(canned),
            TokenFault::Aadsts(number) => answer = Some(endpoint::refusal(&wire.shared, number, "Requested.")),
            TokenFault::Echo => answer = Some(endpoint::echo(&wire.shared, request)),
            TokenFault::Member(name, value) => answer = Some(endpoint::with_member(answer_so_far(), name, value)),
            TokenFault::Padded(length) => {
                let mut padded = answer_so_far();
                padded.body.resize(length.max(padded.body.len()), b' ');
                answer = Some(padded);
            }
            TokenFault::ContentType(kind) => {
                let plain = answer_so_far();
                let body = plain.body.clone();
                answer = Some(plain.body(kind, body));
            }
        }
    }
    let answer = answer.unwrap_or_else(|| endpoint::token(&wire.shared, request));
    let Some(pause) = drip else { return send(wire, &answer).await };
    for octet in answer.write() {
        wire.put(&[octet]);
        wire.flush().await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn send(wire: &mut Wire, answer: &CannedAnswer) -> Flow<()> {
    let shown = endpoint::without_secrets(&answer.body);
    wire.shared
        .record
        .line(wire.protocol, Direction::FromProvider, format!("{} {shown}", answer.status).as_bytes());
    wire.put(&answer.write());
    wire.flush().await
}

/// Reads a request; the error is the sentence for whoever sent it.
async fn read_request(wire: &mut Wire) -> Flow<Result<Request, &'static str>> {
    let mut head = Vec::new();
    loop {
        let Ok(line) = wire.unrecorded_line(MAX_HEAD_LINE).await? else { return Ok(Err("a header line is no line")) };
        if line.is_empty() {
            break;
        }
        if head.len() == MAX_HEAD_LINES {
            return Ok(Err("there are too many header fields"));
        }
        let Ok(line) = String::from_utf8(line) else { return Ok(Err("a header line is not UTF-8")) };
        head.push(line);
    }
    let (path, basic, length) = match read_head(&head) {
        Ok(head) => head,
        Err(why) => return Ok(Err(why)),
    };
    let body = wire.octets(length).await?;
    let Some(form) = read_form(&body) else { return Ok(Err("the body is not a form")) };
    let shown: Vec<_> = form
        .iter()
        .map(|(name, value)| format!("{name}={}", shown_value(name, value)))
        .collect();
    let line = format!("POST {path} {}", shown.join(" "));
    wire.shared.record.line(wire.protocol, Direction::ToProvider, line.as_bytes());
    Ok(Ok(Request { path, basic, form }))
}

fn shown_value<'a>(name: &str, value: &'a str) -> &'a str {
    if matches!(name, "client_id" | "grant_type" | "scope") { value } else { "[...]" }
}

/// Path, credentials of the Basic scheme, and the body's length.
fn read_head(head: &[String]) -> Result<(String, Option<String>, usize), &'static str> {
    let (first, fields) = head.split_first().ok_or("there is no request line")?;
    let target = first.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
    let path = target
        .filter(|path| path.starts_with('/') && !path.contains(' '))
        .ok_or("not a POST of HTTP/1.1")?;
    let (mut host, mut kind, mut length, mut basic) = (None, None, None, None);
    for field in fields {
        // RFC 9112 section 5.1: no space before the colon, and no folding.
        let (name, value) = field.split_once(':').ok_or("a header field has no colon")?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err("a header field's name has a space");
        }
        let value = value.trim_matches([' ', '\t']);
        let known = match name.to_ascii_lowercase().as_str() {
            "host" => &mut host,
            "content-type" => &mut kind,
            "content-length" => &mut length,
            "authorization" => &mut basic,
            "transfer-encoding" => return Err("the body is not announced by its length"),
            _ => continue,
        };
        if known.replace(value).is_some() {
            return Err("a header field that may come once came twice");
        }
    }
    host.ok_or("there is no Host")?;
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err("the body is announced as something that is not a form");
    }
    let length = length
        .and_then(|length| length.parse().ok())
        .filter(|&length| length <= MAX_BODY);
    let basic = basic.and_then(|value| value.strip_prefix("Basic ")).map(String::from);
    Ok((path.into(), basic, length.ok_or("the body's length is missing or too great")?))
}

/// Reads `application/x-www-form-urlencoded`.
fn read_form(body: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(body).ok()?;
    text.split('&').filter(|pair| !pair.is_empty()).map(read_pair).collect()
}

fn read_pair(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    Some((percent_decoded(name)?, percent_decoded(value)?))
}

/// Decodes percent signs and plus signs; `None` where the escape is none.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(octets).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
