//! A small strict HTTP/1.1 server (RFC 9112): a connection is one GET or one POST of a form, one answer, and closed.

use std::fmt::Write as _;

use super::endpoint::{self, Duty};
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

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// A request, understood.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) basic: Option<String>,
    /// The fields of the query, and behind them those of the body.
    pub(super) form: Vec<(String, String)>,
}

impl Request {
    /// A field of the form.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A field of the form that has to be there and not empty.
    pub(super) fn required(&self, name: &str) -> Result<&str, endpoint::Denial> {
        let value = self.field(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| endpoint::Denial::missing(name))
    }

    /// Whether its sender proves nothing about themselves.
    pub(super) fn proves_nothing(&self) -> bool {
        self.basic.is_none() && self.field("client_secret").is_none() && self.field("client_assertion").is_none()
    }

    /// The URL it was sent to, as its sender knows it.
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }
}

/// Answers one request.
pub(super) async fn serve(wire: &mut Wire) -> Flow<()> {
    let request = read_request(wire).await?;
    let duty = request
        .as_ref()
        .ok()
        .and_then(|request| Duty::of(request, wire.shared.options.personality));
    let answer = match &request {
        Ok(request) if duty == Some(Duty::Token) && request.method == Method::Post => {
            wire.shared.record.note(|seen| {
                seen.token_requests += 1;
                let grant = request.field("grant_type").unwrap_or_default();
                *seen.token_requests_by.entry(grant.into()).or_default() += 1;
            });
            return answer_token_request(wire, request).await;
        }
        Ok(request) => endpoint::answer(&wire.shared, request, duty),
        Err(why) => Err(*why),
    };
    let answer = answer.unwrap_or_else(|why| {
        wire.violation(why);
        CannedAnswer::new(400).body("text/plain", why)
    });
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
            TokenFault::Aadsts(number) => answer = Some(endpoint::refusal(&wire.shared, number)),
            TokenFault::Echo => answer = Some(endpoint::echo(&wire.shared, request)),
            TokenFault::Error(name) => answer = Some(endpoint::error(&wire.shared, request, name)),
            TokenFault::Member(name, value) => answer = Some(endpoint::with_member(answer_so_far(), name, value)),
            TokenFault::LoseAnswer => {
                answer_so_far();
                return Ok(());
            }
            TokenFault::HoldAnswer(gate) => {
                let held = answer_so_far();
                gate.pass().await;
                answer = Some(held);
            }
            TokenFault::DelayAnswer(delay) => {
                let delayed = answer_so_far();
                tokio::time::sleep(delay).await;
                answer = Some(delayed);
            }
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
    if endpoint::is_invalid_grant(&answer) {
        wire.shared.record.note(|seen| seen.invalid_grants += 1);
    }
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
    let head = match read_head(&head) {
        Ok(head) => head,
        Err(why) => return Ok(Err(why)),
    };
    let body = wire.octets(head.length).await?;
    let Some(mut form) = read_form(head.query.as_bytes()) else { return Ok(Err("the query is not a form")) };
    let Some(in_body) = read_form(&body) else { return Ok(Err("the body is not a form")) };
    if head.method == Method::Post && !form.is_empty() {
        // RFC 6749 sections 2.3.1 and 3.2: what a URI holds ends up in logs.
        return Ok(Err("a POST has a query"));
    }
    // RFC 6749 section 3.2.
    let is_twice = |(at, (name, _)): (usize, &(String, String))| in_body[..at].iter().any(|(other, _)| other == name);
    if in_body.iter().enumerate().any(is_twice) {
        return Ok(Err("a field of the form came twice"));
    }
    form.extend(in_body);
    let Head { method, path, host, basic, .. } = head;
    let shown: Vec<_> = form
        .iter()
        .map(|(name, value)| format!("{name}={}", shown_value(name, value)))
        .collect();
    let verb = if method == Method::Get { "GET" } else { "POST" };
    let line = format!("{verb} {path} {}", shown.join(" "));
    wire.shared.record.line(wire.protocol, Direction::ToProvider, line.as_bytes());
    Ok(Ok(Request { method, path, host, basic, form }))
}

fn shown_value<'a>(name: &str, value: &'a str) -> &'a str {
    let harmless = matches!(
        name,
        "client_id" | "grant_type" | "scope" | "response_type" | "redirect_uri" | "code_challenge_method" | "prompt"
    );
    if harmless { value } else { "[...]" }
}

/// What a request's head says.
struct Head {
    method: Method,
    path: String,
    query: String,
    host: String,
    /// The credentials of the Basic scheme.
    basic: Option<String>,
    /// How long the body is.
    length: usize,
}

fn read_head(head: &[String]) -> Result<Head, &'static str> {
    let (first, fields) = head.split_first().ok_or("there is no request line")?;
    let (method, target) = match (first.strip_prefix("POST "), first.strip_prefix("GET ")) {
        (Some(rest), _) => (Method::Post, rest),
        (None, Some(rest)) => (Method::Get, rest),
        (None, None) => return Err("neither a GET nor a POST"),
    };
    let target = target
        .strip_suffix(" HTTP/1.1")
        .filter(|target| target.starts_with('/') && !target.contains(' '))
        .ok_or("not a request of HTTP/1.1")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
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
    let host = host.ok_or("there is no Host")?.to_owned();
    let basic = basic.and_then(|value| value.strip_prefix("Basic ")).map(String::from);
    let length = match method {
        Method::Get if length.is_some_and(|length| length != "0") => return Err("a GET has a body"),
        Method::Get => 0,
        Method::Post => {
            let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
            if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
                return Err("the body is announced as something that is not a form");
            }
            let length = length.and_then(|length| length.parse().ok());
            length
                .filter(|&length| length <= MAX_BODY)
                .ok_or("the body's length is missing or too great")?
        }
    };
    Ok(Head { method, path: path.into(), query: query.into(), host, basic, length })
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
