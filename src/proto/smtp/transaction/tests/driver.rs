//! Drives a transaction as the session does, with byte vectors for sockets.

use std::time::SystemTime;

use super::super::{
    Denial, EnvelopeRefusal, Flow, MAX_COMMAND_LINE, MessageReport, Options, Pipes, Stamp, Transaction,
};
use crate::proto::smtp::extensions::Extensions;
use crate::proto::smtp::reply::{MAX_REPLY_LINE, MAX_REPLY_LINES, Reply, ReplyLine};
use crate::proto::{CloseReason, FLUSH_AT, Input, ProtoError};

/// What the machine may write in one call for what the downstream sent: a command, a queue of our replies or a piece of a
/// message with other line ends too much.
const MAX_FROM_DOWNSTREAM: usize = FLUSH_AT + 3 * MAX_COMMAND_LINE;

/// What the machine may write in one call for what the upstream sent: one reply of 128 lines too much.
const MAX_FROM_UPSTREAM: usize = MAX_FROM_DOWNSTREAM + MAX_REPLY_LINES * MAX_REPLY_LINE;

/// When and with what luck every message is sent.
pub(super) const STAMP: Stamp = Stamp { number: 1, now: SystemTime::UNIX_EPOCH, unguessable: 42 };

/// Whose session it is.
pub(super) const ACCOUNT: &str = "scans@contoso.com";

/// An upstream's offer, from its keywords.
pub(super) fn offer(keywords: &[&str]) -> Extensions {
    let line = |text: &&str| ReplyLine { code: 250, last: false, text: text.as_bytes().to_vec() };
    Extensions::parse(&[&["mail.example"], keywords].concat().iter().map(line).collect::<Vec<_>>())
}

pub(super) fn options(keywords: &[&str]) -> Options {
    Options {
        hostname: "gateway.test".into(),
        extensions: offer(keywords),
        masked: vec!["SMTPUTF8".into()],
        account: ACCOUNT.into(),
        ..Options::default()
    }
}

pub(super) const FULL: &[&str] = &["PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8"];

/// A session with an upstream that offers everything.
pub(super) fn full() -> Driver {
    Driver::new(options(FULL))
}

/// A session with a mail transaction of one recipient, just before DATA.
pub(super) fn with_envelope() -> Driver {
    with_envelope_of(options(FULL))
}

/// The same, of another login.
pub(super) fn with_envelope_of(options: Options) -> Driver {
    let mut driver = Driver::new(options);
    driver.downstream_sends(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n");
    driver.upstream_sends(b"250 2.1.0 Sender OK\r\n");
    driver.upstream_sends(b"250 2.1.5 Recipient OK\r\n");
    driver.upstream_got();
    driver.downstream_got();
    driver
}

/// The same, with the 354 given.
pub(super) fn in_message() -> Driver {
    in_message_of(options(FULL))
}

/// The same, of another login.
pub(super) fn in_message_of(options: Options) -> Driver {
    let mut driver = with_envelope_of(options);
    driver.downstream_sends(b"DATA\r\n");
    driver.upstream_sends(b"354 go\r\n");
    driver.upstream_got();
    driver.downstream_got();
    driver
}

/// One session.
pub(super) struct Driver {
    pub(super) machine: Transaction,
    /// What the downstream has sent and the driver has not read.
    unread: Vec<u8>,
    from_downstream: Input,
    from_upstream: Input,
    /// Everything that was sent to either side and not yet looked at by the test.
    pub(super) to_upstream: Vec<u8>,
    pub(super) to_downstream: Vec<u8>,
    pub(super) reports: Vec<MessageReport>,
    pub(super) refusals: Vec<EnvelopeRefusal>,
    pub(super) denials: Vec<Denial>,
    pub(super) ending: Option<Result<CloseReason, ProtoError>>,
    /// What every MAIL is told.
    pub(super) verdict: Result<Stamp, Reply>,
}

impl Driver {
    pub(super) fn new(options: Options) -> Self {
        Self {
            machine: Transaction::new(options),
            unread: Vec::new(),
            from_downstream: Input::new(),
            from_upstream: Input::new(),
            to_upstream: Vec::new(),
            to_downstream: Vec::new(),
            reports: Vec::new(),
            refusals: Vec::new(),
            denials: Vec::new(),
            ending: None,
            verdict: Ok(STAMP),
        }
    }

    /// The downstream sends, and is read as far as the machine wants it.
    pub(super) fn downstream_sends(&mut self, octets: &[u8]) {
        self.unread.extend_from_slice(octets);
        self.read_downstream(usize::MAX);
    }

    /// The upstream sends.
    pub(super) fn upstream_sends(&mut self, octets: &[u8]) {
        if self.ending.is_some() {
            return;
        }
        self.from_upstream.extend(octets);
        loop {
            let mut pipes = Pipes::default();
            let flow = self.machine.from_upstream(&mut self.from_upstream, &mut pipes);
            assert!(pipes.to_upstream.is_empty() && pipes.to_downstream.len() <= MAX_FROM_UPSTREAM);
            if !self.follow(flow, pipes) {
                break;
            }
        }
        self.read_downstream(0);
    }

    /// Reads up to `most` octets from the downstream, in the driver's own pieces.
    pub(super) fn read_downstream(&mut self, mut most: usize) {
        while self.ending.is_none() && self.machine.wants_downstream(self.from_downstream.len()) {
            let count = most.min(self.unread.len()).min(16 * 1024);
            self.from_downstream.extend(&self.unread[..count]);
            self.unread.drain(..count);
            most -= count;
            loop {
                let mut pipes = Pipes::default();
                let flow = self.machine.from_downstream(&mut self.from_downstream, &mut pipes);
                assert!(pipes.to_upstream.len().max(pipes.to_downstream.len()) <= MAX_FROM_DOWNSTREAM);
                if !self.follow(flow, pipes) {
                    break;
                }
            }
            if count == 0 {
                break;
            }
        }
    }

    pub(super) fn upstream_ends(&mut self) {
        let mut pipes = Pipes::default();
        self.machine.upstream_gone(&mut pipes);
        assert!(pipes.to_upstream.is_empty());
        self.to_downstream.extend(pipes.to_downstream);
    }

    /// How much of what the downstream sent is in memory.
    pub(super) fn held(&self) -> usize {
        self.from_downstream.len()
    }

    /// Does what the machine asked for; says whether to call again.
    fn follow(&mut self, flow: Result<Flow, ProtoError>, pipes: Pipes) -> bool {
        self.to_upstream.extend(pipes.to_upstream);
        self.to_downstream.extend(pipes.to_downstream);
        match flow {
            Ok(Flow::NeedInput) => return false,
            Ok(Flow::Flush) => {}
            Ok(Flow::Forward { octets }) => {
                assert!(octets > 0);
                let moved = self.from_downstream.take_into(octets, &mut self.to_upstream);
                assert_eq!(moved, octets, "no more is forwarded than there is");
            }
            Ok(Flow::Message(report)) => self.reports.push(report),
            Ok(Flow::Envelope(refusal)) => self.refusals.push(refusal),
            Ok(Flow::Denied(denial)) => self.denials.push(denial),
            Ok(Flow::MailWanted) => self.machine.admit(self.verdict.clone()),
            Ok(Flow::Close(reason)) => self.ending = Some(Ok(reason)),
            Err(error) => self.ending = Some(Err(error)),
        }
        self.ending.is_none()
    }

    /// What the upstream was sent since the last look.
    pub(super) fn upstream_got(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.to_upstream)).unwrap()
    }

    /// What the downstream was sent since the last look.
    pub(super) fn downstream_got(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.to_downstream)).unwrap()
    }
}
