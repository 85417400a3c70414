//! An upstream that only listens: what it is sent must be whole commands and whole messages by its own, slow reading.

use std::collections::VecDeque;

use mailferry::proto::smtp::transaction::MessageReport;

/// What may go upstream (ARCHITECTURE.md); HELO goes as EHLO.
const VERBS: [&str; 11] =
    ["MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "EHLO", "QUIT"];

/// Listens to what goes upstream and to what the upstream answers.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    expecting: Expecting,
    unanswered: VecDeque<Asked>,
    /// The reply that is under way.
    reply: Vec<u8>,
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
    /// The machine wrote this upstream: commands.
    pub(crate) fn hears(&mut self, commands: &[u8]) {
        for command in commands.split_inclusive(|octet| *octet == b'\n') {
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
                    self.expect_chunk(left);
                    Asked::Other
                }
                _ => Asked::Other,
            };
            self.unanswered.push_back(asked);
        }
    }

    /// The downstream's octets went upstream unchanged: message data.
    pub(crate) fn takes(&mut self, data: &[u8]) {
        match &mut self.expecting {
            Expecting::Message(message) => {
                let before = message.len().saturating_sub(4);
                message.extend_from_slice(data);
                // The CRLF of the DATA line counts: a dot alone ends an empty message (RFC 5321 section 4.1.1.4).
                let dot_alone = message.starts_with(b".\r\n").then_some(3);
                let end = dot_alone.or_else(|| {
                    let found = message[before..].windows(5).position(|window| window == b"\r\n.\r\n");
                    found.map(|at| before + at + 5)
                });
                if let Some(end) = end {
                    assert_eq!(end, message.len(), "what follows the end of a message is none of it");
                    self.unanswered.push_back(Asked::EndOfData { octets: end - 3 });
                    self.expecting = Expecting::Command;
                }
            }
            Expecting::Chunk { left } => {
                let left = left.checked_sub(data.len()).expect("a chunk is as long as announced");
                self.expect_chunk(left);
            }
            other => panic!("message data, but expected is {other:?}"),
        }
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
