//! SMTP after login (RFC 5321): between a downstream and an upstream that both have logged in, with an input and an output
//! on each side. It passes mail on, made fit for the upstream; it never parses as commands what was meant as message data.

mod body;
mod chunks;
mod command;
mod downstream;
mod ehlo;
mod envelope;
mod owed;
mod upstream;

#[cfg(test)]
mod tests;

use std::mem;
use std::time::SystemTime;

use crate::config::MailRules;
use crate::message::line_ends::LineEnds;
use crate::proto::smtp::envelope::Envelope;
use crate::proto::smtp::extensions::Extensions;
use crate::proto::smtp::reply::{Reply, ReplyReader};
use crate::proto::{CloseReason, FLUSH_AT};
use body::{Body, Written};
use chunks::{Chunks, HeldChunk};
use command::Chunk;
use owed::{Asked, Owed};

/// The longest command line taken, its end included. RFC 5321 section 4.5.3.1.4 says 512, extensions add to MAIL and RCPT.
const MAX_COMMAND_LINE: usize = 4096;

/// How many octets behind a DATA without its 354 are held before the downstream is no longer read.
const MAX_HELD: usize = 64 * 1024;

/// How many verbs that no server knows a session may send; with the last of them it ends.
const MAX_UNKNOWN_VERBS: u32 = 3;

/// How many recipients a session may have refused, here or for good by the upstream; with the last of them it ends. A
/// mailing list has some; more only has who tries which there are.
const MAX_REFUSED_RECIPIENTS: u32 = 100;

/// How much of a message that is too big is read for its end, in octets.
const MAX_SWALLOWED: u64 = 1024 * 1024 * 1024;

/// What the machine has to know of the session it is in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Our own name, for EHLO upstream. What the downstream calls itself is never passed on.
    pub hostname: String,
    /// What the upstream offered after login.
    pub extensions: Extensions,
    /// EHLO keywords to hide from the downstream beyond those that never pass, as `SMTPUTF8`.
    pub masked: Vec<String>,
    /// The address of the account that sends.
    pub account: String,
    /// The largest message it takes, in octets as they go upstream; `None`: what the upstream takes.
    pub max_message: Option<u64>,
    /// What the login's mail may be. Its rate is the session's to see to.
    pub rules: MailRules,
}

/// What the machine has written for either side. The driver sends it, in whatever order, and empties it.
#[derive(Debug, Default)]
pub struct Pipes {
    /// For the provider.
    pub to_upstream: Vec<u8>,
    /// For the legacy program.
    pub to_downstream: Vec<u8>,
}

impl Pipes {
    /// Whether everything was sent.
    #[must_use]
    pub const fn are_empty(&self) -> bool {
        self.to_upstream.is_empty() && self.to_downstream.is_empty()
    }

    /// Whether a command must wait: both it and an answer of ours need room.
    const fn are_full_for_commands(&self) -> bool {
        self.to_upstream.len() >= FLUSH_AT || self.are_full_for_replies()
    }

    /// Whether a reply must wait. An upstream that takes no more commands may be waiting to be read, so they do not count.
    const fn are_full_for_replies(&self) -> bool {
        self.to_downstream.len() >= FLUSH_AT
    }
}

/// What the driver has to do next. Whatever stands in the pipes is sent first, in every case, but for a command that its
/// upstream does not take: that one's replies are read meanwhile. For every flow but [`Flow::NeedInput`] and
/// [`Flow::Close`] the same call comes again.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// This side's input is used up, or must not be used yet: see [`Transaction::wants_downstream`].
    NeedInput,
    /// The pipes that this call writes to have grown as far as they should. Until some of that is sent, the same call
    /// gives the same and need not come.
    Flush,
    /// Exactly this many octets, at least one, at the front of the downstream's input go upstream unchanged, behind what
    /// stands in the pipe. The driver writes them and drops them from the input before it calls again.
    Forward {
        /// How many.
        octets: usize,
    },
    /// The upstream has accepted or refused one message: for the log.
    Message(MessageReport),
    /// The upstream has refused a sender or a recipient: for the log.
    Envelope(EnvelopeRefusal),
    /// Something was refused here, and the upstream knows nothing of it: for the log.
    Denied(Denial),
    /// A MAIL that would go upstream: may it? [`Transaction::admit`] comes before the next call.
    MailWanted,
    /// Close both sides. Every later call gives the same.
    Close(CloseReason),
}

/// What a message may need of the world at its MAIL. The machine has no clock and no source of chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which of the session's MAILs that passed it is: the first is 1, and each has a greater one than those before it.
    pub number: u64,
    /// When it was.
    pub now: SystemTime,
    /// A number that nobody can guess.
    pub unguessable: u128,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageReport {
    /// The number of its MAIL, from the [`Stamp`]; 0 where the upstream takes data without one.
    pub mail: u64,
    /// Whether the upstream has taken it over.
    pub accepted: bool,
    /// The reverse-path without its brackets, empty for `<>`. Peer text.
    pub sender: Vec<u8>,
    /// How many recipients the upstream accepted.
    pub recipients: u32,
    /// The size of the message in octets as it was sent: with DATA's extra dots, without the final dot's line. What was
    /// refused before it was sent whole counts as far as it was sent; 0 if DATA itself was refused.
    pub octets: u64,
    /// The last line of the upstream's reply with its code, cut by [`said`](crate::proto::said). Peer text.
    pub reply: Vec<u8>,
}

/// A sender or a recipient that the upstream does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeRefusal {
    /// What was refused.
    pub command: EnvelopeCommand,
    /// The reverse-path without its brackets, empty for `<>`. Peer text.
    pub sender: Vec<u8>,
    /// As in [`MessageReport`]. Peer text.
    pub reply: Vec<u8>,
}

/// What the gateway itself refuses to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What it is.
    pub what: Denied,
    /// The reverse-path without its brackets, empty for `<>`. Peer text.
    pub sender: Vec<u8>,
    /// What the downstream is told.
    pub reply: Vec<u8>,
}

/// What can be refused here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// A message that was announced with MAIL.
    Mail,
    /// This recipient, without its brackets. Peer text.
    Recipient(Vec<u8>),
    /// A message that was not announced, or not truly.
    Message,
    /// A message whose header is too long to be rewritten.
    Header,
}

/// A command of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeCommand {
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
}

/// The machine. See the module's description.
#[derive(Debug)]
pub struct Transaction {
    /// Boxed: an idle session keeps little at hand.
    options: Box<Options>,
    state: State,
    owed: Owed,
    replies: ReplyReader,
    /// The mail transaction the upstream has open, by its own replies.
    open: Option<OpenMail>,
    /// Whether the last MAIL passed on said SMTPUTF8, so that its recipients may be international.
    international: bool,
    /// When the last MAIL was passed on, and its reverse-path.
    last_stamp: Stamp,
    last_sender: Vec<u8>,
    chunks: Chunks,
    /// Whether a message has ended for the downstream, and the upstream may not know: RSET goes first of all. Only
    /// [`from_downstream`](Self::from_downstream) sends it: the driver may be in the middle of a chunk before.
    reset_is_due: bool,
    /// Whether the last MAIL was refused here. What follows it belongs to none, or else to an older one.
    mail_was_refused: bool,
    blind_data: BlindData,
    unknown_verbs: u32,
    refused_recipients: u32,
    /// What is to be told before anything else is done.
    told: Option<Box<Denial>>,
    /// Whether the last reply was a 421: the upstream is about to close, and the downstream has been told.
    upstream_is_leaving: bool,
    ending: Option<CloseReason>,
}

/// What the next octets from the downstream are.
#[derive(Debug)]
enum State {
    /// A command line.
    AwaitingCommand,
    /// The rest of a command line that is too long; `budget` octets of it are still put up with.
    SkippingLine { budget: usize },
    /// Nothing before it is known whether this MAIL may pass.
    AwaitingAdmission { mail: Envelope },
    /// Nothing before what was decided on this MAIL is carried out.
    Judged { mail: Envelope, verdict: Result<Stamp, Reply> },
    /// A message sent ahead of the 354. Nothing of it is used until the answer to DATA is known.
    AwaitingGoAhead { held: bool },
    /// A message after the 354.
    InMessage(Box<Body>),
    /// The rest of a message that is too big; `left` octets of it are still put up with.
    SwallowingMessage { ends: LineEnds, left: u64, what: Denied },
    /// The rest of a BDAT chunk that is held for its header.
    HoldingChunk(HeldChunk),
    /// Nothing before the header that was held has been sent; then the rest of its chunk.
    SendingHead { head: Written, rest: Chunk },
    /// The rest of a BDAT chunk that goes upstream a piece at a time, and at least one more piece.
    InChunk(Chunk),
    /// The rest of a BDAT chunk that goes nowhere, and what is said after it, unless that was said already.
    SwallowingChunk { rest: Chunk, answer: Option<Reply> },
    /// Nothing that would be used any more.
    AwaitingFarewell,
}

/// Whether the next line may be the message of a downstream that takes no notice of the refusal of its DATA. Then one
/// command comes at a time, and has to be one to the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlindData {
    /// It is a command.
    Excluded,
    /// It may be.
    Possible,
    /// It may be until the upstream takes the MAIL, RSET or EHLO that has come since.
    PossibleUntilTaken,
}

/// A mail transaction, from an accepted MAIL on.
#[derive(Debug)]
struct OpenMail {
    /// As its stamp has it.
    number: u64,
    sender: Vec<u8>,
    recipients: u32,
    /// What came in BDAT chunks so far.
    octets: u64,
}

impl Transaction {
    /// Between two sides that both have just logged in, with nothing outstanding on either.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options: Box::new(options),
            state: State::AwaitingCommand,
            owed: Owed::default(),
            replies: ReplyReader::default(),
            open: None,
            international: false,
            last_stamp: Stamp { number: 0, now: SystemTime::UNIX_EPOCH, unguessable: 0 },
            last_sender: Vec::new(),
            chunks: Chunks::default(),
            reset_is_due: false,
            mail_was_refused: false,
            blind_data: BlindData::Excluded,
            unknown_verbs: 0,
            refused_recipients: 0,
            told: None,
            upstream_is_leaving: false,
            ending: None,
        }
    }

    /// Whether the downstream is to be read, and `from_downstream` called, while its input holds `held` octets.
    ///
    /// It is not while as many replies are outstanding as may be (one, at an upstream without PIPELINING), while 64 KiB
    /// are held behind a DATA that has no answer yet or of a chunk that may not go on yet, and once the end of the session
    /// is settled. A reply from the upstream changes that: after `from_upstream`, ask again, and if the answer is yes call
    /// `from_downstream` even when nothing new was read.
    #[must_use]
    pub fn wants_downstream(&self, held: usize) -> bool {
        self.ending.is_none()
            && match self.state {
                State::AwaitingCommand => self.may_take_a_command(),
                State::AwaitingGoAhead { .. } => held < MAX_HELD,
                State::SendingHead { .. } | State::InChunk(_) => held < MAX_HELD || self.may_take_a_command(),
                State::SkippingLine { .. }
                | State::AwaitingAdmission { .. }
                | State::Judged { .. }
                | State::InMessage(_)
                | State::SwallowingMessage { .. }
                | State::HoldingChunk(_)
                | State::SwallowingChunk { .. } => true,
                State::AwaitingFarewell => false,
            }
    }

    /// Whether the end of the session is settled, and why. What stands in the pipes is still to be sent.
    #[must_use]
    pub const fn ending(&self) -> Option<CloseReason> {
        self.ending
    }

    /// Whether the session can end without harm: no reply outstanding, no mail transaction open, no message under way.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.owed.is_empty()
            && self.open.is_none()
            && !self.reset_is_due
            && matches!(self.state, State::AwaitingCommand)
    }

    /// Whether a message is under way: DATA or BDAT was sent, and its final answer has not come.
    #[must_use]
    pub fn has_body_in_flight(&self) -> bool {
        let arriving = matches!(
            self.state,
            State::AwaitingGoAhead { .. }
                | State::InMessage(_)
                | State::SwallowingMessage { .. }
                | State::HoldingChunk(_)
                | State::SendingHead { .. }
                | State::InChunk(_)
                | State::SwallowingChunk { .. }
        );
        arriving || self.owed.asked().any(Asked::is_about_message_data)
    }

    /// Whether an answer of the upstream is outstanding that needs nothing more from the downstream. Once it is not, a
    /// downstream that has closed its side has nothing left to wait for.
    #[must_use]
    pub fn awaits_upstream(&self) -> bool {
        match self.state {
            State::InMessage(_) | State::HoldingChunk(_) => false,
            // What the next piece needs may be there already, and wait for its turn.
            State::SendingHead { .. } | State::InChunk(_) => !self.may_take_a_command(),
            // So may the next command, behind what is answered to us alone.
            State::AwaitingCommand => self.owed.is_awaited() || !self.may_take_a_command(),
            _ => self.owed.is_awaited(),
        }
    }

    /// Answers [`Flow::MailWanted`]: the MAIL passes, or this is said to it in its turn. Recipients and messages that come
    /// behind it are then refused here, until a MAIL passes.
    pub fn admit(&mut self, verdict: Result<Stamp, Reply>) {
        self.state = match mem::replace(&mut self.state, State::AwaitingFarewell) {
            State::AwaitingAdmission { mail } => State::Judged { mail, verdict },
            state => state,
        };
    }

    /// How much of a message is in memory, beside what stands in the pipes.
    #[cfg(test)]
    fn held(&self) -> usize {
        let body = if let State::InMessage(body) = &self.state { body.held() } else { 0 };
        body + self.chunks.held()
    }

    /// Tells the downstream that the upstream's connection has ended, unless the upstream had said so itself. The driver
    /// then sends what stands in the pipe and closes; every later call gives [`Flow::Close`].
    pub fn upstream_gone(&mut self, pipes: &mut Pipes) {
        if self.ending.is_some() {
            return;
        }
        let next = self.owed.asked().find(|asked| !asked.is_silent());
        let (farewell, reason) = match next {
            Some(Asked::Quit) => (Some(Reply::new(221, "2.0.0", "Bye")), CloseReason::Quit),
            // The upstream may be tired of a message that gets no end.
            _ if matches!(self.state, State::SwallowingMessage { .. }) => (Some(too_big()), CloseReason::TooBig),
            // The downstream cannot know what became of its message: it has to send it again, so no 421.
            _ if self.has_body_in_flight() => (
                Some(Reply::new(451, "4.4.2", "The mail server's connection was lost, send again later")),
                CloseReason::Refused,
            ),
            None if self.upstream_is_leaving => (None, CloseReason::Refused),
            _ => (Some(Reply::new(421, "4.4.2", "The mail server's connection was lost")), CloseReason::Refused),
        };
        if let Some(farewell) = farewell {
            farewell.write(&mut pipes.to_downstream);
        }
        self.ending = Some(reason);
    }

    /// Room in the queue, no command before it that must be the last of its group, and one command at a time for an
    /// upstream that cannot take more (RFC 2920 sections 3, 3.1), or where the answer decides what the next line is.
    fn may_take_a_command(&self) -> bool {
        let several = self.blind_data == BlindData::Excluded && self.options.extensions.has("PIPELINING");
        if several { self.owed.takes_more() } else { self.owed.is_empty() }
    }

    /// The upstream has taken MAIL, RSET or EHLO.
    fn a_command_was_taken(&mut self) {
        if self.blind_data == BlindData::PossibleUntilTaken {
            self.blind_data = BlindData::Excluded;
        }
    }

    /// Says what is ours to say as far as its turn has come.
    fn settle(&mut self, pipes: &mut Pipes) {
        self.ending = self.ending.or_else(|| self.owed.say_ours(&mut pipes.to_downstream));
    }
}

/// Said behind the upstream's refusal to a downstream that had not waited for it.
fn data_was_refused() -> Reply {
    Reply::new(421, "4.7.0", "Message data was refused; it must wait for the answer to DATA")
}

/// Said to all that comes of a message in chunks behind a refused one.
fn was_refused() -> Reply {
    Reply::new(503, "5.5.1", "The message was refused, RSET first")
}

fn too_many_recipients() -> Reply {
    Reply::new(421, "4.7.0", "Too many refused recipients")
}

/// RFC 1870 section 6.3.
fn too_big() -> Reply {
    Reply::new(552, "5.3.4", "Message too big")
}
