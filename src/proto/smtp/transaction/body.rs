//! A message sent with DATA on its way upstream: clean stretches as they came, the rest rewritten in bulk, its header first
//! held where it has to carry the account's name.

use std::mem;

use super::Denied;
use crate::message::header::{Held, Look};
use crate::message::line_ends::{END_LINE, LineEnds};
use crate::message::sender::{Sender, rewritten};
use crate::proto::Input;

/// How much is rewritten at once, in octets: a message of nothing but bare LFs must not cost a system call a line.
pub(super) const BULK: usize = 8 * 1024;

/// A clean stretch shorter than this, with something to rewrite behind it, is copied and not forwarded, in octets.
const MIN_FORWARD: usize = 2 * 1024;

/// One message.
#[derive(Debug)]
pub(super) struct Body {
    ends: LineEnds,
    header: Header,
    /// How much of it has gone upstream.
    pub(super) octets: u64,
}

/// What is done with the header.
#[derive(Debug)]
enum Header {
    /// Nothing, or it is done.
    Passed,
    Held(Held),
    /// Written again, and on its way with what was held behind it.
    Written {
        rest: Written,
        ended: bool,
    },
}

/// Octets that were held and go upstream a piece at a time.
#[derive(Debug)]
pub(super) struct Written {
    octets: Vec<u8>,
    sent: usize,
}

/// What came of one step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passage {
    NeedInput,
    /// Something was used or written; there may be more.
    Moved,
    /// This much of the input goes as it is.
    Forward(usize),
    /// As above, and with it the message is over.
    ForwardLast(usize),
    /// The end of the message was written.
    Ended,
    /// Nothing more of it may go upstream, for `what` is too big. `ended`: there is nothing more.
    TooBig {
        ended: bool,
        what: Denied,
    },
}

impl Body {
    /// At its first octet.
    pub(super) const fn new(lone_lf_ends: bool, holds_header: bool) -> Self {
        let header = if holds_header { Header::Held(Held::new(true)) } else { Header::Passed };
        Self { ends: LineEnds::new(lone_lf_ends), header, octets: 0 }
    }

    /// How the rest of it is read if none of it is wanted.
    pub(super) fn into_ends(self) -> LineEnds {
        self.ends
    }

    /// How much of it is in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match &self.header {
            Header::Passed => 0,
            Header::Held(held) => held.len(),
            Header::Written { rest, .. } => rest.octets.len(),
        }
    }

    /// One step on. Not more than `most` octets go upstream.
    pub(super) fn advance(
        &mut self,
        input: &mut Input,
        out: &mut Vec<u8>,
        most: u64,
        sender: Option<&Sender<'_>>,
    ) -> Passage {
        match mem::replace(&mut self.header, Header::Passed) {
            Header::Passed if input.is_empty() => Passage::NeedInput,
            Header::Passed => self.pass(input, out, most),
            Header::Held(held) if input.is_empty() => {
                self.header = Header::Held(held);
                Passage::NeedInput
            }
            Header::Held(held) => self.hold(held, input, sender),
            Header::Written { mut rest, ended } => {
                let count = rest.send(out);
                if !self.counts(count, most) {
                    return Passage::TooBig { ended, what: Denied::Message };
                }
                match (rest.is_sent(), ended) {
                    (true, true) => end(out),
                    (true, false) => Passage::Moved,
                    (false, _) => {
                        self.header = Header::Written { rest, ended };
                        Passage::Moved
                    }
                }
            }
        }
    }

    fn pass(&mut self, input: &mut Input, out: &mut Vec<u8>, most: u64) -> Passage {
        let clean = self.ends.clean(input.unused());
        if clean.ended || clean.octets == input.len() || clean.octets >= MIN_FORWARD {
            let text = if clean.ended { clean.octets - END_LINE.len() } else { clean.octets };
            if !self.counts(text, most) {
                return Passage::TooBig { ended: false, what: Denied::Message };
            }
            self.ends.pass(clean);
            return if clean.ended { Passage::ForwardLast(clean.octets) } else { Passage::Forward(clean.octets) };
        }
        let before = out.len();
        let rewritten = self.ends.rewrite(input.unused(), out, BULK);
        input.skip(rewritten.used);
        if !self.counts(out.len() - before, most) {
            return Passage::TooBig { ended: rewritten.ended, what: Denied::Message };
        }
        if rewritten.ended { end(out) } else { Passage::Moved }
    }

    fn hold(&mut self, mut held: Held, input: &mut Input, sender: Option<&Sender<'_>>) -> Passage {
        let most = held.len() + BULK;
        let passed = self.ends.rewrite(input.unused(), held.octets(), most);
        input.skip(passed.used);
        self.header = match (held.look(passed.ended), sender) {
            (Look::Incomplete, _) => Header::Held(held),
            (Look::Whole, Some(sender)) => {
                Header::Written { rest: Written::new(rewritten(held, sender)), ended: passed.ended }
            }
            // A header is only held for a sender.
            (Look::TooLong, _) | (Look::Whole, None) => {
                return Passage::TooBig { ended: passed.ended, what: Denied::Header };
            }
        };
        Passage::Moved
    }

    /// Counts octets that are to go upstream; whether they may.
    fn counts(&mut self, octets: usize, most: u64) -> bool {
        self.octets = self.octets.saturating_add(octets as u64);
        self.octets <= most
    }
}

impl Written {
    pub(super) const fn new(octets: Vec<u8>) -> Self {
        Self { octets, sent: 0 }
    }

    /// How long the next piece is, and how much is left behind it.
    pub(super) fn next(&self) -> (usize, u64) {
        let left = self.octets.len() - self.sent;
        let count = BULK.min(left);
        (count, (left - count) as u64)
    }

    pub(super) const fn is_sent(&self) -> bool {
        self.sent == self.octets.len()
    }

    /// Appends the next piece; how long it is.
    pub(super) fn send(&mut self, out: &mut Vec<u8>) -> usize {
        let (count, _) = self.next();
        out.extend_from_slice(&self.octets[self.sent..self.sent + count]);
        self.sent += count;
        count
    }
}

/// Drops what there is of a message that nobody wants, up to its end; whether that was reached.
pub(super) fn swallow(ends: &mut LineEnds, input: &mut Input) -> bool {
    while !input.is_empty() {
        let clean = ends.clean(input.unused());
        ends.pass(clean);
        input.skip(clean.octets);
        if clean.ended {
            return true;
        }
        let rewritten = ends.rewrite(input.unused(), &mut Vec::new(), BULK);
        input.skip(rewritten.used);
        if rewritten.ended {
            return true;
        }
    }
    false
}

fn end(out: &mut Vec<u8>) -> Passage {
    out.extend_from_slice(END_LINE);
    Passage::Ended
}
