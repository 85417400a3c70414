//! One connection: lines in and out, TLS, and the named moments at which something may go wrong.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::proto::line::Input;

use super::Protocol;
use super::control::Shared;
use super::faults::{Act, Flood, Moment};
use super::record::Direction;

/// How much is read at once, in octets.
const CHUNK: usize = 16 * 1024;

/// The dialogue is over: the peer has left, the transport failed, or it was to end here.
#[derive(Debug)]
pub(super) struct Hangup;

impl From<io::Error> for Hangup {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// A step of a dialogue, which goes on or ends.
pub(super) type Flow<T> = Result<T, Hangup>;

/// Why a line is none. It has been read to its end.
#[derive(PartialEq, Eq)]
pub(super) enum BadLine {
    /// A CR or LF that is not part of a CRLF, or a NUL (RFC 5321 section 2.3.8 and its like).
    StrayControl,
    /// Longer than the limit; what it began with, so that the answer can name an IMAP command's tag.
    TooLong { beginning: Vec<u8> },
}

impl BadLine {
    const fn what(&self) -> &'static str {
        match self {
            Self::StrayControl => "a line holds a bare CR, a bare LF or a NUL",
            Self::TooLong { .. } => "a line is too long",
        }
    }
}

trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// A connection.
pub(super) struct Wire {
    pub(super) shared: Arc<Shared>,
    pub(super) protocol: Protocol,
    /// `None` only while a handshake goes on or after it has failed.
    transport: Option<Box<dyn Transport>>,
    input: Input,
    out: Vec<u8>,
    chunk: Box<[u8]>,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, protocol: Protocol, shared: Arc<Shared>) -> Self {
        shared.record.count(protocol, |counts| {
            counts.connections += 1;
            counts.open += 1;
        });
        Self {
            shared,
            protocol,
            transport: Some(Box::new(socket)),
            input: Input::new(),
            out: Vec::new(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
        }
    }

    /// Writes a line; it is sent before anything more is read.
    pub(super) fn say(&mut self, line: &str) {
        self.shared.record.line(self.protocol, Direction::FromProvider, line.as_bytes());
        self.put(line.as_bytes());
        self.put(b"\r\n");
    }

    /// Writes octets as they are, outside the record of lines.
    pub(super) fn put(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }

    /// Sends what was written.
    pub(super) async fn flush(&mut self) -> Flow<()> {
        let transport = self.transport.as_mut().ok_or(Hangup)?;
        transport.write_all(&self.out).await?;
        transport.flush().await?;
        self.out.clear();
        Ok(())
    }

    /// Sends what was written and waits for more input. A caller may give up the wait and lose nothing once the sending
    /// is done.
    pub(super) async fn read(&mut self) -> Flow<()> {
        self.flush().await?;
        let transport = self.transport.as_mut().ok_or(Hangup)?;
        let count = transport.read(&mut self.chunk).await?;
        if count == 0 {
            return Err(Hangup);
        }
        self.input.extend(&self.chunk[..count]);
        self.shared
            .record
            .count(self.protocol, |counts| counts.received += count as u64);
        Ok(())
    }

    /// What has been read and not used.
    pub(super) fn unused(&self) -> &[u8] {
        self.input.unused()
    }

    /// Uses up octets that [`Self::unused`] has shown.
    pub(super) fn consume(&mut self, count: usize) {
        self.input.skip(count);
    }

    /// Cuts the next line, without its CRLF; `limit` counts the CRLF.
    pub(super) async fn line(&mut self, limit: usize) -> Flow<Result<Vec<u8>, BadLine>> {
        let line = self.unrecorded_line(limit).await?;
        match &line {
            Ok(line) => self.shared.record.line(self.protocol, Direction::ToProvider, line),
            Err(bad) => self.violation(bad.what()),
        }
        Ok(line)
    }

    /// Cuts the next line, which holds a credential.
    pub(super) async fn credential_line(&mut self, limit: usize) -> Flow<Result<Vec<u8>, BadLine>> {
        let line = self.unrecorded_line(limit).await?;
        match &line {
            Ok(line) => self.shared.record.credential(self.protocol, line),
            Err(bad) => self.violation(bad.what()),
        }
        Ok(line)
    }

    /// Cuts the next line and leaves the record to the caller.
    pub(super) async fn unrecorded_line(&mut self, limit: usize) -> Flow<Result<Vec<u8>, BadLine>> {
        let mut dropped = None;
        loop {
            let unused = self.input.unused();
            if let Some(end) = unused.iter().position(|&octet| octet == b'\n') {
                let line = unused[..end].to_vec();
                self.input.skip(end + 1);
                if end >= limit {
                    dropped.get_or_insert_with(|| beginning(&line));
                }
                return Ok(dropped.map_or_else(|| strict(line), |beginning| Err(BadLine::TooLong { beginning })));
            }
            // Little is kept of a line that is too long, so a line without end costs a server nothing.
            if unused.len() >= limit {
                dropped.get_or_insert_with(|| beginning(unused));
                self.input.clear();
            }
            self.read().await?;
        }
    }

    /// Takes exactly this many octets, whatever they are. The caller has bounded the number.
    pub(super) async fn octets(&mut self, count: usize) -> Flow<Vec<u8>> {
        let mut octets = Vec::new();
        while octets.len() < count {
            if self.input.is_empty() {
                self.read().await?;
            }
            self.input.take_into(count - octets.len(), &mut octets);
        }
        Ok(octets)
    }

    /// Does the server's part of a handshake. What had come in the clear is not carried over it (RFC 3207 section 4.2).
    pub(super) async fn start_tls(&mut self) -> Flow<()> {
        if !self.input.is_empty() {
            self.violation("octets came in the clear behind the request for TLS");
            self.input.clear();
        }
        self.flush().await?;
        let certificate = self.shared.plan.certificate(self.protocol);
        let acceptor = self.shared.acceptors.get(certificate);
        let clear = self.transport.take().ok_or(Hangup)?;
        let protected = acceptor.accept(clear).await?;
        if protected.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.shared.record.count(self.protocol, |counts| counts.resumed += 1);
        }
        self.transport = Some(Box::new(protected));
        Ok(())
    }

    /// Lets happen what was planned for a moment at which no answer is due; what is to be said then is said in addition.
    pub(super) async fn pass(&mut self, moment: Moment) -> Flow<()> {
        self.answered_otherwise(moment, "").await.map(drop)
    }

    /// Lets happen what was planned for a moment at which an answer is due; whether that was the answer. `tag` is put
    /// before what is said unless it is an untagged IMAP response.
    pub(super) async fn answered_otherwise(&mut self, moment: Moment, tag: &str) -> Flow<bool> {
        let mut answered = false;
        for act in self.shared.plan.acts(self.protocol, moment) {
            match act {
                Act::Close => {
                    self.flush().await?;
                    return Err(Hangup);
                }
                Act::Hold(gate) => {
                    self.flush().await?;
                    gate.pass().await;
                }
                Act::Say(text) => {
                    let tagged = !tag.is_empty() && !text.starts_with(['*', '+']);
                    self.say(&if tagged { format!("{tag} {text}") } else { text.clone() });
                    answered = true;
                    if ends_dialogue(moment, &text) {
                        self.flush().await?;
                        return Err(Hangup);
                    }
                }
                Act::Flood(flood) => match self.flood(flood).await? {},
            }
        }
        Ok(answered)
    }

    /// Says something until the peer has had enough.
    async fn flood(&mut self, flood: Flood) -> Flow<Infallible> {
        let opening = match self.protocol {
            Protocol::Smtp => "250-",
            Protocol::Imap => "* OK ",
            Protocol::Pop3 => "+OK ",
            Protocol::Http => "",
        };
        let block = match flood {
            Flood::Line => {
                self.put(opening.as_bytes());
                vec![b'x'; CHUNK]
            }
            Flood::Lines => format!("{opening}flood\r\n").repeat(CHUNK / 16).into_bytes(),
        };
        loop {
            self.put(&block);
            self.flush().await?;
        }
    }

    /// Keeps a line about data that the client sent, instead of the data.
    pub(super) fn note_data(&self, summary: &str) {
        self.shared
            .record
            .line(self.protocol, Direction::ToProvider, summary.as_bytes());
    }

    /// Keeps a line about an answer whose octets were written by [`Self::put`].
    pub(super) fn note_answer(&self, summary: &str) {
        self.shared
            .record
            .line(self.protocol, Direction::FromProvider, summary.as_bytes());
    }

    /// Notes that the client broke the rules.
    pub(super) fn violation(&self, what: &str) {
        self.shared.record.violation(self.protocol, what);
    }

    /// Sends what is left to send and ends the connection.
    pub(super) async fn finish(&mut self) {
        // The peer may be gone, and then there is nothing to end.
        if self.flush().await.is_ok()
            && let Some(mut transport) = self.transport.take()
        {
            let _ = transport.shutdown().await;
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.record.count(self.protocol, |counts| counts.open -= 1);
    }
}

fn beginning(line: &[u8]) -> Vec<u8> {
    line[..line.len().min(80)].to_vec()
}

/// A line up to its LF, without the CR that must end it.
fn strict(mut line: Vec<u8>) -> Result<Vec<u8>, BadLine> {
    let ended = line.pop() == Some(b'\r');
    if ended && !line.iter().any(|octet| matches!(octet, b'\r' | 0)) { Ok(line) } else { Err(BadLine::StrayControl) }
}

/// Whether a server hangs up after saying this.
fn ends_dialogue(moment: Moment, text: &str) -> bool {
    let welcome = ["220", "* OK", "* PREAUTH", "+OK"].iter().any(|begin| text.starts_with(begin));
    text.starts_with("421") || text.starts_with("* BYE") || moment == Moment::GreetingDue && !welcome
}
