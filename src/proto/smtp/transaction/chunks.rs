//! BDAT (RFC 3030): counted octets, never touched, but for a header that has to carry the account's name. That one is held
//! over as many chunks as it takes, and goes upstream in front of the rest of the chunk it ends in.

use super::body::{BULK, Written};
use super::command::Chunk;
use super::owed::Asked;
use super::{Denied, Flow, Pipes, State, Transaction};
use crate::message::header::{Held, Look};
use crate::message::sender::rewritten;
use crate::proto::Input;
use crate::proto::smtp::reply::Reply;

/// The message that comes in chunks.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// How much of it was announced.
    octets: u64,
    fate: Fate,
}

#[derive(Debug, Default)]
enum Fate {
    /// None has come.
    #[default]
    Open,
    /// Its header has not ended, and nothing of it has gone upstream.
    Held(Box<Held>),
    /// They go upstream as they come.
    Passing,
    /// One of them was refused here: what came before it must not become a message.
    Void,
}

/// A chunk whose octets are held.
#[derive(Debug)]
pub(super) struct HeldChunk {
    chunk: Chunk,
    /// How much of it is still to come.
    left: u64,
}

impl Chunks {
    /// RSET or EHLO: the upstream has forgotten them too.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// A new MAIL. What was refused here stays refused: the upstream still has the mail it belongs to.
    pub(super) fn next_mail(&mut self) {
        if !matches!(self.fate, Fate::Void) {
            self.reset();
        }
    }

    /// Whether there are some that the upstream does not know of.
    pub(super) const fn are_held(&self) -> bool {
        matches!(self.fate, Fate::Held(_))
    }

    /// How much of them is in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        if let Fate::Held(held) = &self.fate { held.len() } else { 0 }
    }
}

impl Transaction {
    pub(super) fn bdat(&mut self, chunk: Chunk, pipes: &mut Pipes) -> State {
        self.chunks.octets = self.chunks.octets.saturating_add(chunk.octets);
        if matches!(self.chunks.fate, Fate::Void) {
            let answer = Reply::new(503, "5.5.1", "The message was refused, RSET first");
            return State::SwallowingChunk { left: chunk.octets, answer };
        }
        if self.chunks.octets > self.options.max_message.unwrap_or(u64::MAX) {
            return self.void(chunk.octets);
        }
        if matches!(self.chunks.fate, Fate::Open) && self.holds_header() {
            self.chunks.fate = Fate::Held(Box::new(Held::new(false)));
        }
        if self.chunks.are_held() {
            return State::HoldingChunk(HeldChunk { chunk, left: chunk.octets });
        }
        self.announce(chunk, pipes);
        State::InChunk { left: chunk.octets }
    }

    /// The message is refused here, and the octets of this chunk that are still to come with it.
    fn void(&mut self, left: u64) -> State {
        self.chunks.fate = Fate::Void;
        let answer = super::too_big();
        self.deny(Denied::Message, &answer);
        State::SwallowingChunk { left, answer }
    }

    /// Sends BDAT.
    fn announce(&mut self, Chunk { octets, last }: Chunk, pipes: &mut Pipes) {
        let last_word = if last { " LAST" } else { "" };
        self.ask(Asked::Chunk { octets, last }, format!("BDAT {octets}{last_word}").as_bytes(), pipes);
        if last {
            self.chunks.reset();
        } else {
            self.chunks.fate = Fate::Passing;
        }
    }

    pub(super) fn hold_chunk(
        &mut self,
        HeldChunk { chunk, mut left }: HeldChunk,
        input: &mut Input,
        pipes: &mut Pipes,
    ) -> (State, Option<Flow>) {
        let Fate::Held(mut held) = std::mem::take(&mut self.chunks.fate) else {
            // Chunks are held one after the other, with nothing in between.
            return (State::AwaitingCommand, None);
        };
        left -= input.take_into(at_hand(left, input).min(BULK), held.octets()) as u64;
        match held.look(chunk.last && left == 0) {
            Look::TooLong => (self.void(left), None),
            Look::Whole => (self.send_held(*held, Chunk { octets: left, last: chunk.last }, pipes), None),
            Look::Incomplete => {
                self.chunks.fate = Fate::Held(held);
                if left > 0 {
                    let flow = input.is_empty().then_some(Flow::NeedInput);
                    return (State::HoldingChunk(HeldChunk { chunk, left }), flow);
                }
                self.owed
                    .ours(Reply::new(250, "2.0.0", format!("{} octets received", chunk.octets)));
                (State::AwaitingCommand, None)
            }
        }
    }

    /// What was held goes upstream as one chunk with what is still to come of the last one.
    fn send_held(&mut self, held: Held, rest: Chunk, pipes: &mut Pipes) -> State {
        let Some(sender) = self.sender() else { return self.void(rest.octets) };
        let head = Written::new(rewritten(held, &sender));
        self.announce(Chunk { octets: rest.octets.saturating_add(head.len() as u64), last: rest.last }, pipes);
        State::SendingHead { head, left: rest.octets }
    }
}

pub(super) fn send_head(mut head: Written, left: u64, pipes: &mut Pipes) -> State {
    head.send(&mut pipes.to_upstream);
    if head.is_sent() { State::InChunk { left } } else { State::SendingHead { head, left } }
}

pub(super) fn pass_chunk(left: u64, input: &Input) -> (State, Option<Flow>) {
    match at_hand(left, input) {
        _ if left == 0 => (State::AwaitingCommand, None),
        0 => (State::InChunk { left }, Some(Flow::NeedInput)),
        octets => (State::InChunk { left: left - octets as u64 }, Some(Flow::Forward { octets })),
    }
}

/// How many of `left` octets have come.
pub(super) fn at_hand(left: u64, input: &Input) -> usize {
    usize::try_from(left).map_or(input.len(), |left| left.min(input.len()))
}
