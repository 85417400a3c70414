//! What the downstream sends: commands, and message data that must not be mistaken for them.

use std::mem;

use super::body::{Body, Passage, swallow};
use super::chunks::at_hand;
use super::command::{Chunk, Command};
use super::owed::Asked;
use super::{BlindData, Denied, Flow, MAX_COMMAND_LINE, MAX_SWALLOWED, MAX_UNKNOWN_VERBS, Pipes, State, Transaction};
use crate::message::line_ends::LineEnds;
use crate::proto::line::Skipped;
use crate::proto::smtp::reply::Reply;
use crate::proto::{CloseReason, Input, ProtoError};

/// The longest argument of VRFY or EXPN passed on, in octets.
const MAX_QUERY: usize = 512;

impl Transaction {
    /// Uses as much of what the downstream sent as it can. Any split of the same octets gives the same result,
    /// but for how much of a message that is too big has gone upstream.
    ///
    /// # Errors
    /// None so far: whatever a downstream sends has an answer. Both sides are called alike.
    pub fn from_downstream(&mut self, input: &mut Input, pipes: &mut Pipes) -> Result<Flow, ProtoError> {
        loop {
            if let Some(reason) = self.ending {
                return Ok(Flow::Close(reason));
            }
            if pipes.are_full_for_commands() {
                return Ok(Flow::Flush);
            }
            let flow;
            (self.state, flow) = match mem::replace(&mut self.state, State::AwaitingFarewell) {
                State::AwaitingCommand => self.next_command(input, pipes),
                State::SkippingLine { budget } => self.skip_line(budget, input),
                State::AwaitingGoAhead { held } => {
                    (State::AwaitingGoAhead { held: held || !input.is_empty() }, Some(Flow::NeedInput))
                }
                State::AwaitingAdmission { mail } => (State::AwaitingAdmission { mail }, Some(Flow::MailWanted)),
                State::Judged { mail, verdict } => (self.carry_out(&mail, verdict, pipes), None),
                State::InMessage(body) => self.pass_message(body, input, pipes),
                State::SwallowingMessage { ends, left } => self.swallow_message(ends, left, input),
                State::HoldingChunk(chunk) => self.hold_chunk(chunk, input),
                State::SendingHead { head, rest } => self.send_head(head, rest, pipes),
                State::InChunk(chunk) => self.pass_chunk(chunk, input, pipes),
                State::SwallowingChunk { rest, answer } => self.swallow_chunk(rest, answer, input),
                State::AwaitingFarewell => (State::AwaitingFarewell, Some(Flow::NeedInput)),
            };
            self.settle(pipes);
            // What is told comes first; the same call comes again.
            if let Some(denial) = self.told.take() {
                return Ok(Flow::Denied(*denial));
            }
            if let Some(flow) = flow {
                return Ok(flow);
            }
        }
    }

    fn next_command(&mut self, input: &mut Input, pipes: &mut Pipes) -> (State, Option<Flow>) {
        if !self.may_take_a_command() {
            return (State::AwaitingCommand, Some(Flow::NeedInput));
        }
        if mem::take(&mut self.reset_is_due) {
            self.ask(Asked::OurReset, b"RSET", pipes);
            return (State::AwaitingCommand, None);
        }
        let blind_data_possible = self.blind_data != BlindData::Excluded;
        match input.line(MAX_COMMAND_LINE) {
            Ok(None) => (State::AwaitingCommand, Some(Flow::NeedInput)),
            Ok(Some(line)) if blind_data_possible => match Command::parse_to_the_letter(&line) {
                None => (self.refuse_blind_data(), None),
                Some(command) => {
                    if matches!(command, Command::Mail(_) | Command::Rset | Command::Ehlo | Command::Helo) {
                        self.blind_data = BlindData::PossibleUntilTaken;
                    }
                    (self.obey(command, pipes), None)
                }
            },
            // Devices send blanks before the verb, as they do before the login.
            Ok(Some(line)) => (self.obey(Command::parse(line.trim_ascii_start()), pipes), None),
            Err(_) if blind_data_possible => (self.refuse_blind_data(), None),
            Err(_) => (State::SkippingLine { budget: 2 * MAX_COMMAND_LINE }, None),
        }
    }

    /// Passes a command on or answers it; says what comes behind it.
    fn obey(&mut self, command: Command<'_>, pipes: &mut Pipes) -> State {
        match command {
            Command::Mail(arguments) => return self.mail(arguments),
            Command::Rcpt(arguments) => return self.recipient(arguments, pipes),
            Command::Data if self.mail_was_refused => self.refuse_data(no_mail()),
            Command::Data if self.chunks.have_begun() => self.refuse_data(Reply::new(503, "5.5.1", "BDAT has begun")),
            Command::Data if self.chunks.were_refused() => self.refuse_data(super::was_refused()),
            Command::Data => {
                self.ask(Asked::Data, b"DATA", pipes);
                return State::AwaitingGoAhead { held: false };
            }
            Command::Bdat(Ok(chunk)) if self.mail_was_refused => return self.swallow(chunk, Some(no_mail())),
            Command::Bdat(Ok(chunk)) if self.options.extensions.has("CHUNKING") => return self.bdat(chunk),
            Command::Bdat(Ok(chunk)) => {
                let answer = Reply::new(503, "5.5.1", "BDAT is not offered here");
                return self.swallow(chunk, Some(answer));
            }
            Command::Bdat(Err(bad)) => {
                let answer = Reply::new(501, "5.5.4", "Syntax: BDAT size [LAST]");
                let Some(octets) = bad.octets else {
                    // How much data follows is unknown, so none of it can be told from commands.
                    self.owed.farewell(answer, CloseReason::RefusedData);
                    return State::AwaitingFarewell;
                };
                return self.swallow(Chunk { octets, last: false }, Some(answer));
            }
            Command::Rset => {
                self.chunks.reset();
                self.international = false;
                self.ask(Asked::Rset, b"RSET", pipes);
            }
            Command::Noop => self.ask(Asked::Other, b"NOOP", pipes),
            Command::Help => self.ask(Asked::Other, b"HELP", pipes),
            Command::Vrfy(argument) => self.query(b"VRFY", argument, pipes),
            Command::Expn(argument) => self.query(b"EXPN", argument, pipes),
            Command::Ehlo => self.hello(true, pipes),
            Command::Helo => self.hello(false, pipes),
            Command::Quit => self.ask(Asked::Quit, b"QUIT", pipes),
            Command::Auth => self.owed.ours(Reply::new(503, "5.5.1", "Already logged in")),
            Command::StartTls => self.owed.ours(Reply::new(503, "5.5.1", "Too late for TLS")),
            Command::Unknown => return self.refuse_unknown(),
        }
        State::AwaitingCommand
    }

    /// Sends a command of ours, or one whose every octet was checked.
    pub(super) fn ask(&mut self, asked: Asked, command: &[u8], pipes: &mut Pipes) {
        pipes.to_upstream.extend_from_slice(command);
        pipes.to_upstream.extend_from_slice(b"\r\n");
        self.owed.upstreams(asked);
    }

    fn query(&mut self, verb: &[u8], argument: &[u8], pipes: &mut Pipes) {
        let argument = argument.trim_ascii();
        if argument.len() > MAX_QUERY || !argument.iter().all(|octet| matches!(octet, b' '..=b'~')) {
            return self.owed.ours(Reply::new(501, "5.5.4", "Bad argument"));
        }
        let separator: &[u8] = if argument.is_empty() { b"" } else { b" " };
        self.ask(Asked::Other, &[verb, separator, argument].concat(), pipes);
    }

    /// EHLO, whatever the downstream said: its own name may be anything, and the upstream has to keep its extensions.
    fn hello(&mut self, with_extensions: bool, pipes: &mut Pipes) {
        self.international = false;
        self.chunks.reset();
        let command = format!("EHLO {}", self.options.hostname);
        self.ask(Asked::Hello { with_extensions }, command.as_bytes(), pipes);
    }

    fn refuse_unknown(&mut self) -> State {
        self.unknown_verbs += 1;
        if self.unknown_verbs < MAX_UNKNOWN_VERBS {
            self.owed.ours(Reply::new(502, "5.5.2", "Command not recognised"));
            return State::AwaitingCommand;
        }
        self.owed
            .farewell(Reply::new(421, "4.7.0", "Too many unknown commands"), CloseReason::TooManyErrors);
        State::AwaitingFarewell
    }

    /// What comes behind this DATA may be a message all the same.
    fn refuse_data(&mut self, answer: Reply) {
        self.owed.ours(answer);
        self.blind_data = BlindData::Possible;
    }

    /// The downstream sent its message without waiting for the 354, and it came behind the refusal.
    fn refuse_blind_data(&mut self) -> State {
        self.owed.farewell(super::data_was_refused(), CloseReason::RefusedData);
        State::AwaitingFarewell
    }

    fn skip_line(&mut self, mut budget: usize, input: &mut Input) -> (State, Option<Flow>) {
        match input.skip_line(&mut budget) {
            Skipped::Whole => {
                self.owed.ours(Reply::new(500, "5.5.6", "Line too long"));
                (State::AwaitingCommand, None)
            }
            Skipped::SoFar => (State::SkippingLine { budget }, Some(Flow::NeedInput)),
            Skipped::OverBudget => {
                self.owed
                    .farewell(Reply::new(421, "4.7.0", "Line too long"), CloseReason::TooLong);
                (State::AwaitingFarewell, None)
            }
        }
    }

    fn pass_message(&mut self, mut body: Box<Body>, input: &mut Input, pipes: &mut Pipes) -> (State, Option<Flow>) {
        let most = self.options.max_message.unwrap_or(u64::MAX);
        let flow = match body.advance(input, &mut pipes.to_upstream, most, self.sender().as_ref()) {
            Passage::NeedInput => Some(Flow::NeedInput),
            Passage::Moved => None,
            Passage::Forward(octets) => Some(Flow::Forward { octets }),
            Passage::ForwardLast(octets) => {
                self.owed.upstreams(Asked::EndOfData { octets: body.octets });
                return (State::AwaitingCommand, Some(Flow::Forward { octets }));
            }
            Passage::Ended => {
                self.owed.upstreams(Asked::EndOfData { octets: body.octets });
                return (State::AwaitingCommand, None);
            }
            Passage::TooBig { ended: false } => {
                let ends = body.into_ends();
                return (State::SwallowingMessage { ends, left: MAX_SWALLOWED }, None);
            }
            Passage::TooBig { ended: true } => return (self.refuse_message(), None),
        };
        (State::InMessage(body), flow)
    }

    /// The rest of a message that is too big. Devices read the reply only once they have sent everything. What the
    /// upstream has of it has no end, and gets none.
    fn swallow_message(&mut self, mut ends: LineEnds, left: u64, input: &mut Input) -> (State, Option<Flow>) {
        let before = input.len() as u64;
        if swallow(&mut ends, input) || before > left {
            return (self.refuse_message(), None);
        }
        (State::SwallowingMessage { ends, left: left - before }, Some(Flow::NeedInput))
    }

    fn refuse_message(&mut self) -> State {
        self.deny(Denied::Message, &super::too_big());
        self.owed.ours(super::too_big());
        let farewell = Reply::new(421, "4.3.0", "Closing, the message was not sent whole");
        self.owed.farewell(farewell, CloseReason::TooBig);
        State::AwaitingFarewell
    }

    fn swallow_chunk(&mut self, mut rest: Chunk, answer: Option<Reply>, input: &mut Input) -> (State, Option<Flow>) {
        rest.octets -= input.skip(at_hand(rest.octets, input)) as u64;
        if rest.octets > 0 {
            return (State::SwallowingChunk { rest, answer }, Some(Flow::NeedInput));
        }
        if let Some(answer) = answer {
            self.owed.ours(answer);
        }
        if rest.last && self.chunks.were_refused() {
            // For the downstream its message is over. The upstream has not seen the end of it.
            self.chunks.reset();
            self.reset_is_due = true;
        }
        (State::AwaitingCommand, None)
    }
}

/// The MAIL before was refused here, and the upstream does not know of it.
pub(super) fn no_mail() -> Reply {
    Reply::new(503, "5.5.1", "MAIL was refused, send another first")
}
