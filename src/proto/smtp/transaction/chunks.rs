//! BDAT (RFC 3030): counted octets, never touched, but for a header that has to carry the account's name. That one is held
//! over as many chunks as it takes, and goes upstream in front of the rest of the chunk it ends in.
//!
//! The downstream's counts are for us alone. An upstream that reads one of them otherwise, as a number of 32 bits or as
//! none at all, would take what follows for commands. So what goes upstream is cut anew, into chunks whose octets are all
//! at hand when they are announced. The downstream gets one reply to each of its own: the upstream's to the last piece of
//! it, or to the first that is refused; of a refused chunk nothing more is sent. So an upstream may never see the last chunk
//! of a message that is over for the downstream, and would take the next MAIL for a nested one: then RSET is ours to send.

use super::body::{BULK, Written};
use super::command::Chunk;
use super::owed::Asked;
use super::{Denied, Flow, MAX_HELD, MAX_SWALLOWED, Pipes, State, Transaction, was_refused};
use crate::message::header::{Held, Look};
use crate::message::sender::rewritten;
use crate::proto::smtp::reply::Reply;
use crate::proto::{CloseReason, Input};

/// The largest chunk announced, in octets: as much as may be held.
const MAX_PIECE: u64 = MAX_HELD as u64;

/// The message that comes in chunks.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// How much of it the downstream has announced.
    octets: u64,
    /// Which one of the session it is: an answer may come when the next has begun.
    message: u64,
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
    /// One of them was refused, here or upstream: what came before or comes behind it must not become a message.
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
    /// RSET or EHLO: the upstream has forgotten them too. Or the last of them was sent.
    pub(super) fn reset(&mut self) {
        *self = Self { message: self.message + 1, ..Self::default() };
    }

    /// Whether some have come, and neither the last nor a refusal: no other message can begin.
    pub(super) const fn have_begun(&self) -> bool {
        matches!(self.fate, Fate::Held(_) | Fate::Passing)
    }

    /// Whether one of them was, and neither the last nor RSET has come since.
    pub(super) const fn were_refused(&self) -> bool {
        matches!(self.fate, Fate::Void)
    }

    /// How much of them is in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        if let Fate::Held(held) = &self.fate { held.len() } else { 0 }
    }
}

impl Transaction {
    pub(super) fn bdat(&mut self, chunk: Chunk) -> State {
        if matches!(self.chunks.fate, Fate::Void) {
            return self.swallow(chunk, Some(was_refused()));
        }
        let octets = self.chunks.octets.checked_add(chunk.octets);
        let Some(octets) = octets.filter(|octets| *octets <= self.size()) else {
            return self.void(chunk, Denied::Message);
        };
        self.chunks.octets = octets;
        if matches!(self.chunks.fate, Fate::Open) && self.holds_header() {
            self.chunks.fate = Fate::Held(Box::new(Held::new(false)));
        }
        if matches!(self.chunks.fate, Fate::Held(_)) {
            return State::HoldingChunk(HeldChunk { chunk, left: chunk.octets });
        }
        State::InChunk(chunk)
    }

    /// Drops the octets of a chunk, and then says this. Too many of them are not waited for: no device sends them.
    pub(super) fn swallow(&mut self, rest: Chunk, answer: Option<Reply>) -> State {
        if rest.octets <= MAX_SWALLOWED {
            return State::SwallowingChunk { rest, answer };
        }
        if let Some(answer) = answer {
            self.owed.ours(answer);
        }
        self.owed
            .farewell(Reply::new(421, "4.3.0", "Closing, the chunk is too big to be read"), CloseReason::TooBig);
        State::AwaitingFarewell
    }

    /// The message is refused here, and the octets of this chunk that are still to come with it.
    fn void(&mut self, rest: Chunk, what: Denied) -> State {
        self.chunks.fate = Fate::Void;
        let answer = super::too_big();
        self.deny(what, &answer);
        self.swallow(rest, Some(answer))
    }

    /// The upstream has refused a piece of a chunk of this message, and the downstream has been told. `whole`: it was the
    /// last piece of its chunk.
    pub(super) fn chunk_refused(&mut self, message: u64, whole: bool) {
        // What else of that chunk has gone upstream is answered too, but not to the downstream.
        let is_all_sent = whole || self.owed.drop_chunk();
        if message != self.chunks.message {
            // All of the message was sent before that was known. An upstream to which the last piece alone is too much has
            // had the end from a sender like any other. One that refuses a piece before it was to see one chunk, not
            // several, and may discard the last with the others (RFC 3030 section 2) and keep the transaction. Nothing was
            // sent behind it but a RSET or EHLO of the downstream's own.
            self.reset_is_due |= !whole && self.owed.asked().all(|asked| matches!(asked, Asked::DroppedChunk));
            return;
        }
        self.chunks.fate = Fate::Void;
        let state = std::mem::replace(&mut self.state, State::AwaitingFarewell);
        self.state = match state {
            State::InChunk(chunk) | State::SendingHead { rest: chunk, .. } => {
                let answer = is_all_sent.then(was_refused);
                if is_all_sent {
                    self.owed.drop_last_chunk();
                }
                self.swallow(chunk, answer)
            }
            state => state,
        };
    }

    /// Sends BDAT for `octets` that are at hand, with `rest` of the downstream's chunk behind them.
    fn announce(&mut self, octets: usize, rest: Chunk, pipes: &mut Pipes) {
        let whole = rest.octets == 0;
        let last = whole && rest.last;
        let last_word = if last { " LAST" } else { "" };
        let ends_group = last && self.owed.awaits_pieces();
        let asked = Asked::Chunk { octets: octets as u64, whole, last, message: self.chunks.message, ends_group };
        self.ask(asked, format!("BDAT {octets}{last_word}").as_bytes(), pipes);
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
    ) -> (State, Option<Flow>) {
        let Fate::Held(mut held) = std::mem::take(&mut self.chunks.fate) else {
            // Chunks are held one after the other, with nothing in between.
            return (State::AwaitingCommand, None);
        };
        // As much at a time as does not depend on how it comes: so then do the pieces that it goes upstream in.
        let octets = at_hand(left.min(BULK as u64), input);
        if (octets as u64) < left.min(BULK as u64) {
            self.chunks.fate = Fate::Held(held);
            return (State::HoldingChunk(HeldChunk { chunk, left }), Some(Flow::NeedInput));
        }
        left -= input.take_into(octets, held.octets()) as u64;
        match held.look(chunk.last && left == 0) {
            Look::TooLong => (self.void(Chunk { octets: left, ..chunk }, Denied::Header), None),
            Look::Whole => (self.send_held(*held, Chunk { octets: left, last: chunk.last }), None),
            Look::Incomplete => {
                self.chunks.fate = Fate::Held(held);
                if left > 0 {
                    return (State::HoldingChunk(HeldChunk { chunk, left }), None);
                }
                self.owed
                    .ours(Reply::new(250, "2.0.0", format!("{} octets received", chunk.octets)));
                (State::AwaitingCommand, None)
            }
        }
    }

    /// What was held goes upstream, and then what is still to come of its last chunk.
    fn send_held(&mut self, held: Held, rest: Chunk) -> State {
        let Some(sender) = self.sender() else { return self.void(rest, Denied::Message) };
        let head = Written::new(rewritten(held, &sender));
        self.chunks.fate = Fate::Passing;
        State::SendingHead { head, rest }
    }

    pub(super) fn send_head(&mut self, mut head: Written, rest: Chunk, pipes: &mut Pipes) -> (State, Option<Flow>) {
        if !self.may_take_a_command() {
            return (State::SendingHead { head, rest }, Some(Flow::NeedInput));
        }
        let (octets, left) = head.next();
        self.announce(octets, Chunk { octets: rest.octets.saturating_add(left), ..rest }, pipes);
        head.send(&mut pipes.to_upstream);
        let state = match (left, rest.octets) {
            (0, 0) => State::AwaitingCommand,
            (0, _) => State::InChunk(rest),
            _ => State::SendingHead { head, rest },
        };
        (state, None)
    }

    pub(super) fn pass_chunk(&mut self, chunk: Chunk, input: &Input, pipes: &mut Pipes) -> (State, Option<Flow>) {
        let piece = chunk.octets.min(MAX_PIECE);
        let octets = at_hand(piece, input);
        if (octets as u64) < piece || !self.may_take_a_command() {
            return (State::InChunk(chunk), Some(Flow::NeedInput));
        }
        let rest = Chunk { octets: chunk.octets - piece, ..chunk };
        self.announce(octets, rest, pipes);
        let state = if rest.octets == 0 { State::AwaitingCommand } else { State::InChunk(rest) };
        (state, (octets > 0).then_some(Flow::Forward { octets }))
    }
}

/// How many of `left` octets have come.
pub(super) fn at_hand(left: u64, input: &Input) -> usize {
    usize::try_from(left).map_or(input.len(), |left| left.min(input.len()))
}
