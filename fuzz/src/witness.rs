//! An upstream that only listens: what it is sent must be whole commands and whole messages by its own, slow reading.

use std::collections::VecDeque;

use mailferry::proto::smtp::transaction::MessageReport;

/// What may go upstream (ARCHITECTURE.md); HELO goes as EHLO.
const VERBS: [&str; 11] =
    ["MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "EHLO", "QUIT"];

/// The largest chunk that is announced, in octets.
const MOST_ANNOUNCED: usize = 64 * 1024;

/// Listens to what goes upstream and to what the upstream answers.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    expecting: Expecting,
    /// The command that has not come to its end.
    begun: Vec<u8>,
    /// How many messages have come to theirs behind a DATA.
    messages: usize,
    unanswered: VecDeque<Asked>,
    /// The line of a reply that is under way.
    reply: Vec<u8>,
    /// The line that is under way of an upstream that may say anything.
    said: Vec<u8>,
    /// The message whose final answer came last, if nothing has been answered since.
    answered: Option<Answered>,
}

/// What the next octets are.
#[derive(Debug, Default)]
enum Expecting {
    #[default]
    Command,
    /// Nothing until DATA is answered.
    GoAhead,
    Message(Vec<u8>),
    Chunk {
        left: usize,
    },
}

#[derive(Debug)]
enum Asked {
    Data,
    EndOfData { octets: usize },
    Other,
}

#[derive(Debug)]
struct Answered {
    octets: usize,
    accepted: bool,
}

impl Witness {
    /// This went upstream, in this order with all else.
    pub(crate) fn hears(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let used = match &mut self.expecting {
                Expecting::Message(message) => {
                    let (used, ended) = hear_message(message, octets);
                    if ended {
                        self.messages += 1;
                        let octets = message.len() - 3;
                        self.unanswered.push_back(Asked::EndOfData { octets });
                        self.expecting = Expecting::Command;
                    }
                    used
                }
                Expecting::Chunk { left } => {
                    let (used, left) = (octets.len().min(*left), left.saturating_sub(octets.len()));
                    self.expect_chunk(left);
                    used
                }
                Expecting::Command | Expecting::GoAhead => self.hear_command(octets),
            };
            octets = &octets[used..];
        }
    }

    /// What belongs to the command at the front; how long that is.
    fn hear_command(&mut self, octets: &[u8]) -> usize {
        let Some(end) = octets.iter().position(|octet| *octet == b'\n') else {
            self.begun.extend_from_slice(octets);
            return octets.len();
        };
        self.begun.extend_from_slice(&octets[..=end]);
        let command = std::mem::take(&mut self.begun);
        let command = command.strip_suffix(b"\r\n").expect("a command ends with CRLF");
        let command = std::str::from_utf8(command).expect("a command is text");
        assert!(!command.chars().any(char::is_control), "{command:?}");
        assert!(matches!(self.expecting, Expecting::Command), "{command:?}, but expected is {:?}", self.expecting);
        let (verb, arguments) = command.split_once(' ').unwrap_or((command, ""));
        assert!(VERBS.contains(&verb), "{command:?}");
        let asked = match verb {
            "DATA" => {
                self.expecting = Expecting::GoAhead;
                Asked::Data
            }
            "BDAT" => {
                let left = arguments.trim_end_matches(" LAST").parse().expect("BDAT announces a number");
                assert!(left <= MOST_ANNOUNCED, "some servers could read {left} otherwise");
                self.expect_chunk(left);
                Asked::Other
            }
            _ => Asked::Other,
        };
        self.unanswered.push_back(asked);
        end + 1
    }

    /// Whether no command is begun that has not come to its end.
    pub(crate) fn has_whole_commands(&self) -> bool {
        self.begun.is_empty()
    }

    /// How many messages have come to their end behind a DATA.
    pub(crate) const fn messages(&self) -> usize {
        self.messages
    }

    fn expect_chunk(&mut self, left: usize) {
        self.expecting = if left == 0 { Expecting::Command } else { Expecting::Chunk { left } };
    }

    /// The machine has used this up of what the upstream said, and found no fault with it.
    pub(crate) fn says(&mut self, octets: &[u8]) {
        self.reply.extend_from_slice(octets);
        while let Some(end) = self.reply.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.reply.drain(..=end).collect();
            let code = std::str::from_utf8(&line[..3]).ok().and_then(|code| code.parse().ok());
            if line[3] != b'-' {
                self.is_answered(code.expect("a reply begins with a code"));
            }
        }
    }

    /// As [`says`](Self::says), before the machine has seen it. What is no reply answers nothing: it ends the session.
    pub(crate) fn says_anything(&mut self, octets: &[u8]) {
        self.said.extend_from_slice(octets);
        while let Some(end) = self.said.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.said.drain(..=end).collect();
            if is_reply(&line) {
                self.says(&line);
            }
        }
    }

    fn is_answered(&mut self, code: u16) {
        self.answered = None;
        match self.unanswered.pop_front() {
            Some(Asked::Data) if code == 354 => self.expecting = Expecting::Message(Vec::new()),
            Some(Asked::Data) => self.expecting = Expecting::Command,
            Some(Asked::EndOfData { octets }) => {
                self.answered = Some(Answered { octets, accepted: (200..300).contains(&code) });
            }
            Some(Asked::Other) | None => {}
        }
    }

    /// The machine told what became of a message.
    pub(crate) fn agrees_with(&self, report: &MessageReport) {
        if let Some(answered) = &self.answered {
            assert_eq!((report.octets, report.accepted), (answered.octets as u64, answered.accepted));
        }
    }
}

/// Whether this line, with its end, is one of a reply. A code may stand alone (RFC 5321 section 4.2.1).
fn is_reply(line: &[u8]) -> bool {
    let is_code = |code: &[u8]| code.len() == 3 && code.iter().all(u8::is_ascii_digit);
    line.split_at_checked(3)
        .is_some_and(|(code, rest)| is_code(code) && rest.first().is_some_and(|octet| b" -\r\n".contains(octet)))
}

/// Adds what belongs to the message; how much that is, and whether the message has ended with it.
fn hear_message(message: &mut Vec<u8>, octets: &[u8]) -> (usize, bool) {
    for (at, octet) in octets.iter().enumerate() {
        assert!(*octet == b'\n' || !message.ends_with(b"\r"), "a bare CR");
        assert!(*octet != b'\n' || message.ends_with(b"\r"), "a bare LF");
        message.push(*octet);
        // The CRLF of the DATA line counts: a dot alone ends an empty message (RFC 5321 section 4.1.1.4).
        if message == b".\r\n" || message.ends_with(b"\r\n.\r\n") {
            return (at + 1, true);
        }
    }
    (octets.len(), false)
}
