//! A small upstream for the properties: strict about what it is sent, and with its own idea of where data ends.

use std::mem;

/// What the next octets are.
enum Expecting {
    Command,
    Message(Vec<u8>),
    Chunk { left: usize, last: bool },
}

/// What becomes of the chunks of a transaction.
enum Kept {
    Whole,
    Void,
}

/// An octet that a picky upstream does not take.
pub(super) const UNWANTED: u8 = b'!';

pub(super) struct SmallUpstream {
    expecting: Expecting,
    pipelining: bool,
    /// Whether it keeps to the order of RFC 5321 section 4.1.4, and refuses every chunk with [`UNWANTED`] in it; what is
    /// left of its message is void, and only its last chunk or RSET ends that (RFC 3030 section 2).
    pub(super) is_picky: bool,
    transaction: Option<Kept>,
    heard: Vec<u8>,
    /// What it has said and the gateway has not read.
    pub(super) says: Vec<u8>,
    /// The message that comes in chunks.
    chunks: Vec<u8>,
    /// Every message, as sent.
    pub(super) messages: Vec<Vec<u8>>,
}

impl SmallUpstream {
    pub(super) fn new(pipelining: bool) -> Self {
        Self {
            expecting: Expecting::Command,
            pipelining,
            is_picky: false,
            transaction: None,
            heard: Vec::new(),
            says: Vec::new(),
            chunks: Vec::new(),
            messages: Vec::new(),
        }
    }

    pub(super) fn hears(&mut self, octets: &[u8]) {
        self.heard.extend_from_slice(octets);
        while self.takes_one_thing() {}
    }

    fn takes_one_thing(&mut self) -> bool {
        match mem::replace(&mut self.expecting, Expecting::Command) {
            Expecting::Command => {
                let Some(end) = self.heard.iter().position(|octet| *octet == b'\n') else { return false };
                let line = String::from_utf8(self.heard.drain(..=end).collect()).unwrap();
                let line = line.strip_suffix("\r\n").expect("every command ends with CRLF");
                assert!(!line.contains(|char: char| char.is_control()), "{line:?}");
                assert!(self.pipelining || self.says.is_empty(), "{line:?} did not wait");
                self.obeys(line);
            }
            Expecting::Message(mut message) => {
                if self.heard.is_empty() {
                    self.expecting = Expecting::Message(message);
                    return false;
                }
                message.push(self.heard.remove(0));
                if message == b".\r\n" || message.ends_with(b"\r\n.\r\n") {
                    self.messages.push(message);
                    self.say("250-2.0.0 taken\r\n250 2.0.0 queued as 42");
                } else {
                    self.expecting = Expecting::Message(message);
                }
            }
            Expecting::Chunk { left, last } => {
                if self.heard.len() < left {
                    self.expecting = Expecting::Chunk { left, last };
                    return false;
                }
                self.chunks.extend(self.heard.drain(..left));
                if self.is_picky && (!self.keeps_chunks() || self.chunks.contains(&UNWANTED)) {
                    self.chunks.clear();
                    self.transaction = self.transaction.take().filter(|_| !last).map(|_| Kept::Void);
                    self.say("552 5.3.4 chunk refused");
                    return true;
                }
                if last {
                    self.messages.push(mem::take(&mut self.chunks));
                    self.transaction = None;
                }
                self.say("250 2.6.0 chunk taken");
            }
        }
        true
    }

    const fn keeps_chunks(&self) -> bool {
        matches!(self.transaction, Some(Kept::Whole))
    }

    fn obeys(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let ends_group = ["DATA", "EHLO", "NOOP", "VRFY", "QUIT"].contains(&verb);
        assert!(!ends_group || self.heard.is_empty(), "{verb} was not the last of its group");
        match verb {
            "MAIL" | "RCPT" => {
                let keyword = if verb == "MAIL" { "FROM:<" } else { "TO:<" };
                assert!(rest.starts_with(keyword), "{line:?}");
                assert!(!self.is_picky || self.transaction.is_some() == (verb == "RCPT"), "{line:?} is out of order");
                self.transaction.get_or_insert(Kept::Whole);
                self.say(if rest.contains("nobody") {
                    "550-5.1.1 no\r\n550 5.1.1 such user"
                } else {
                    "250 2.1.0 fine"
                });
            }
            "DATA" => {
                self.expecting = Expecting::Message(Vec::new());
                self.say("354 go ahead");
            }
            "BDAT" => {
                let (size, last) = rest.split_once(' ').unwrap_or((rest, ""));
                let left = size.parse().unwrap();
                assert!(left <= 64 * 1024, "a server may read {left} in other ways");
                self.expecting = Expecting::Chunk { left, last: last == "LAST" };
            }
            "EHLO" => {
                assert_eq!(rest, "gateway.test");
                let pipelining = if self.pipelining { "250-PIPELINING\r\n" } else { "" };
                self.say(&format!("250-mail.example\r\n250-AUTH XOAUTH2\r\n{pipelining}250-CHUNKING\r\n250 SMTPUTF8"));
            }
            "RSET" => {
                self.chunks.clear();
                self.transaction = None;
                self.say("250 2.0.0 flushed");
            }
            "NOOP" => self.say("250 2.0.0 nothing"),
            "VRFY" => self.say("252 2.5.2 perhaps"),
            "QUIT" => self.say("221 2.0.0 bye"),
            _ => panic!("{line:?} should not have come"),
        }
    }

    fn say(&mut self, reply: &str) {
        self.says.extend_from_slice(reply.as_bytes());
        self.says.extend_from_slice(b"\r\n");
    }
}
