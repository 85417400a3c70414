//! Plays an SMTP transaction between two sides that say whatever the input says, and watches what it does.

use std::collections::VecDeque;
use std::time::SystemTime;

use mailferry::config::{MailRules, SenderRule};
use mailferry::proto::smtp::extensions::Extensions;
use mailferry::proto::smtp::reply::{MAX_REPLY_LINE, MAX_REPLY_LINES, ReplyLine};
use mailferry::proto::smtp::transaction::{EnvelopeRefusal, Flow, MessageReport, Options, Pipes, Stamp, Transaction};
use mailferry::proto::{CloseReason, FLUSH_AT, Input, ProtoError};

use crate::dialogue::Dialogue;
use crate::witness::Witness;

/// More steps than this between two reads could only be an endless loop.
const MOST_STEPS: usize = 400_000;

/// What one call for the downstream may write: one command line, one queue of our own replies, or one piece of a message
/// with other line ends, too much.
const MOST_FOR_DOWNSTREAM: usize = FLUSH_AT + 3 * 4096;

/// What one call for the upstream may write: its longest reply too much.
const MOST_FOR_UPSTREAM: usize = MOST_FOR_DOWNSTREAM + MAX_REPLY_LINES * MAX_REPLY_LINE;

/// What is held of what the downstream sent, beyond the last piece that was read.
const MOST_HELD: usize = 64 * 1024;

/// When and with what luck every message is sent.
const STAMP: Stamp = Stamp { number: 0, now: SystemTime::UNIX_EPOCH, unguessable: 42 };

/// What anyone can see of a session.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    to_upstream: Vec<u8>,
    to_downstream: Vec<u8>,
    reports: Vec<MessageReport>,
    refusals: Vec<EnvelopeRefusal>,
    ending: Option<Result<CloseReason, ProtoError>>,
}

/// Both sides talk at will: the parts are the downstream's and the upstream's by turns.
///
/// # Panics
/// When the machine goes out of bounds, or sends upstream what an upstream would read otherwise than it does.
pub fn holds_whoever_talks(dialogue: &Dialogue) {
    let mut session = Session::new(dialogue);
    for (at, part) in dialogue.parts.iter().enumerate() {
        if at % 2 == 0 {
            session.downstream_sends(part, usize::MAX);
        } else {
            session.upstream_sends(part, usize::MAX);
        }
    }
    if dialogue.option(3) {
        session.upstream_ends();
    }
}

/// The downstream sends all its parts without waiting, and the upstream answers with one of its own whenever nothing
/// else moves: then no cut of either stream makes a difference.
///
/// # Panics
/// When one does.
pub fn plays_alike(dialogue: &Dialogue) {
    let [whole, pieces @ ..] = dialogue.sizes();
    let expected = play(dialogue, whole);
    for size in pieces {
        assert_eq!(play(dialogue, size), expected, "in pieces of {size}");
    }
}

fn play(dialogue: &Dialogue, size: usize) -> Seen {
    let mut session = Session::new(dialogue);
    let downstream: Vec<u8> = dialogue.parts.iter().step_by(2).flatten().copied().collect();
    session.downstream_sends(&downstream, size);
    for part in dialogue.parts.iter().skip(1).step_by(2) {
        session.upstream_sends(part, size);
    }
    if session.seen.ending == Some(Ok(CloseReason::TooBig)) {
        // How much of such a message has gone upstream before it was too much is not promised.
        session.seen.to_upstream.clear();
    }
    session.seen
}

struct Session {
    machine: Transaction,
    /// What the downstream has sent and nobody has read, in pieces.
    unread: VecDeque<Vec<u8>>,
    from_downstream: Input,
    from_upstream: Input,
    witness: Witness,
    /// How many MAILs were let pass.
    admitted: u64,
    seen: Seen,
}

impl Session {
    fn new(dialogue: &Dialogue) -> Self {
        let offers = [(0, "PIPELINING"), (1, "CHUNKING"), (2, "SMTPUTF8")];
        let offers = offers.into_iter().filter(|(option, _)| dialogue.option(*option)).map(|(_, keyword)| keyword);
        let line = |text: &str| ReplyLine { code: 250, last: false, text: text.into() };
        let offer: Vec<ReplyLine> = ["mail.example"].into_iter().chain(offers).map(line).collect();
        let options = Options {
            hostname: "gateway.example".into(),
            extensions: Extensions::parse(&offer),
            masked: vec!["SMTPUTF8".into()],
            account: "scans@contoso.com".into(),
            max_message: dialogue.option(4).then_some(200),
            rules: MailRules {
                sender: if dialogue.option(5) {
                    SenderRule::Force { from_name: None, reply_to: None }
                } else {
                    SenderRule::Keep
                },
                lone_lf_ends_message: dialogue.option(6),
                ..MailRules::default()
            },
        };
        Self {
            machine: Transaction::new(options),
            unread: VecDeque::new(),
            from_downstream: Input::new(),
            from_upstream: Input::new(),
            witness: Witness::default(),
            admitted: 0,
            seen: Seen::default(),
        }
    }

    fn downstream_sends(&mut self, octets: &[u8], size: usize) {
        self.unread.extend(octets.chunks(size).map(<[u8]>::to_vec));
        self.read_downstream();
    }

    fn read_downstream(&mut self) {
        while self.is_open() && self.machine.wants_downstream(self.from_downstream.len()) {
            self.goes_on(Self::advance_downstream);
            // What it has just used may have been the command whose answer it waits for.
            if !self.machine.wants_downstream(self.from_downstream.len()) {
                break;
            }
            let Some(piece) = self.unread.pop_front() else { break };
            assert!(self.from_downstream.len() <= MOST_HELD || !self.is_open(), "the input grows");
            self.from_downstream.extend(&piece);
        }
    }

    fn upstream_sends(&mut self, octets: &[u8], size: usize) {
        for piece in octets.chunks(size) {
            self.from_upstream.extend(piece);
            self.goes_on(Self::advance_upstream);
        }
        self.read_downstream();
    }

    fn upstream_ends(&mut self) {
        let mut pipes = Pipes::default();
        self.machine.upstream_gone(&mut pipes);
        assert!(pipes.to_upstream.is_empty());
        assert!(pipes.to_downstream.iter().filter(|octet| **octet == b'\n').count() <= 1);
        self.send(pipes);
    }

    fn is_open(&self) -> bool {
        self.seen.ending.is_none()
    }

    /// Calls until nothing more can be done.
    fn goes_on(&mut self, advance: impl Fn(&mut Self) -> Result<Flow, ProtoError>) {
        for _ in 0..MOST_STEPS {
            if !self.is_open() {
                return;
            }
            match advance(self) {
                Ok(Flow::NeedInput) => return,
                Ok(Flow::Flush) => {}
                Ok(Flow::Forward { octets }) => {
                    let mut data = Vec::new();
                    assert_eq!(self.from_downstream.take_into(octets, &mut data), octets, "more than there is");
                    assert!(octets > 0, "nothing");
                    self.witness.hears(&data);
                    self.seen.to_upstream.append(&mut data);
                }
                Ok(Flow::Message(report)) => {
                    self.witness.agrees_with(&report);
                    self.is_in_order(&report);
                    self.seen.reports.push(report);
                }
                Ok(Flow::Envelope(refusal)) => self.seen.refusals.push(refusal),
                Ok(Flow::Denied(_)) => {}
                Ok(Flow::MailWanted) => {
                    self.admitted += 1;
                    self.machine.admit(Ok(Stamp { number: self.admitted, ..STAMP }));
                }
                Ok(Flow::Close(reason)) => self.seen.ending = Some(Ok(reason)),
                Err(error) => self.seen.ending = Some(Err(error)),
            }
            assert!(!(self.machine.is_between_messages() && self.machine.has_body_in_flight()));
            let mails = self.machine.mails();
            assert!(mails.is_sorted() && mails.last().is_none_or(|mail| *mail <= self.admitted), "{mails:?}");
        }
        panic!("the machine does not come to an end");
    }

    /// Messages are told of in the order of their MAILs; some upstreams take data without one.
    fn is_in_order(&self, report: &MessageReport) {
        let last = self.seen.reports.iter().map(|report| report.mail).max().unwrap_or_default();
        assert!(report.mail == 0 || (last..=self.admitted).contains(&report.mail), "{report:?} behind {last}");
    }

    fn advance_downstream(&mut self) -> Result<Flow, ProtoError> {
        let mut pipes = Pipes::default();
        let flow = self.machine.from_downstream(&mut self.from_downstream, &mut pipes);
        assert!(pipes.to_upstream.len().max(pipes.to_downstream.len()) <= MOST_FOR_DOWNSTREAM);
        self.send(pipes);
        flow
    }

    fn advance_upstream(&mut self) -> Result<Flow, ProtoError> {
        let mut pipes = Pipes::default();
        let said = self.from_upstream.unused().to_vec();
        let flow = self.machine.from_upstream(&mut self.from_upstream, &mut pipes);
        assert!(pipes.to_upstream.is_empty() && pipes.to_downstream.len() <= MOST_FOR_UPSTREAM);
        if flow.is_ok() {
            self.witness.says(&said[..said.len() - self.from_upstream.len()]);
        }
        self.send(pipes);
        flow
    }

    fn send(&mut self, mut pipes: Pipes) {
        for line in pipes.to_downstream.split_inclusive(|octet| *octet == b'\n') {
            let is_reply = line.ends_with(b"\r\n") && line[..3].iter().all(u8::is_ascii_digit);
            assert!(is_reply && matches!(line[3], b' ' | b'-'), "no reply: {:?}", String::from_utf8_lossy(line));
        }
        self.witness.hears(&pipes.to_upstream);
        assert!(self.witness.has_whole_commands(), "a command is written whole");
        self.seen.to_upstream.append(&mut pipes.to_upstream);
        self.seen.to_downstream.append(&mut pipes.to_downstream);
    }
}
