//! What the downstream sends: commands, and message data that must not be mistaken for them.

use std::mem;

use super::command::{Chunk, Command};
use super::owed::Asked;
use super::{Flow, MAX_COMMAND_LINE, MAX_UNKNOWN_VERBS, Pipes, Stamp, State, Transaction};
use crate::message::body::{END_LINE, EndOfData};
use crate::proto::line::Skipped;
use crate::proto::smtp::envelope::{Envelope, EnvelopeError, Side};
use crate::proto::smtp::reply::Reply;
use crate::proto::{CloseReason, Input, ProtoError};

/// The longest argument of VRFY or EXPN passed on, in octets.
const MAX_QUERY: usize = 512;

impl Transaction {
    /// Uses as much of what the downstream sent as it can. Any split of the same octets gives the same result.
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
                state @ (State::AwaitingCommand | State::AwaitingCommandAfterRefusedData) => {
                    self.next_command(state, input, pipes)
                }
                State::SkippingLine { budget } => self.skip_line(budget, input),
                State::AwaitingGoAhead { held } => {
                    (State::AwaitingGoAhead { held: held || !input.is_empty() }, Some(Flow::NeedInput))
                }
                State::AwaitingAdmission { mail } => (State::AwaitingAdmission { mail }, Some(Flow::MailWanted)),
                State::Judged { mail, verdict } => (self.carry_out(&mail, verdict, pipes), None),
                State::InMessage { end, octets } => self.pass_message(end, octets, input),
                State::InChunk { left } => pass_chunk(left, input),
                State::SwallowingChunk { left, answer } => self.swallow_chunk(left, answer, input),
                State::AwaitingFarewell => (State::AwaitingFarewell, Some(Flow::NeedInput)),
            };
            self.settle(pipes);
            if let Some(flow) = flow {
                return Ok(flow);
            }
        }
    }

    fn next_command(&mut self, state: State, input: &mut Input, pipes: &mut Pipes) -> (State, Option<Flow>) {
        if !self.may_take_a_command() {
            return (state, Some(Flow::NeedInput));
        }
        let blind_data_possible = matches!(state, State::AwaitingCommandAfterRefusedData);
        match input.line(MAX_COMMAND_LINE) {
            Ok(None) => (state, Some(Flow::NeedInput)),
            // Where the line may be a message's, it has to be a command to the letter.
            Ok(Some(line)) if blind_data_possible => match Command::parse(&line) {
                Command::Unknown => (self.refuse_blind_data(), None),
                command => (self.obey(command, pipes), None),
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
            Command::Rcpt(arguments) => self.recipient(arguments, pipes),
            Command::Data => {
                self.ask(Asked::Data, b"DATA", pipes);
                return State::AwaitingGoAhead { held: false };
            }
            Command::Bdat(Ok(chunk)) if self.options.extensions.has("CHUNKING") => return self.bdat(chunk, pipes),
            Command::Bdat(Ok(chunk)) => {
                let answer = Reply::new(503, "5.5.1", "BDAT is not offered here");
                return State::SwallowingChunk { left: chunk.octets, answer };
            }
            Command::Bdat(Err(bad)) => {
                let answer = Reply::new(501, "5.5.4", "Syntax: BDAT size [LAST]");
                let Some(left) = bad.octets else {
                    // How much data follows is unknown, so none of it can be told from commands.
                    self.owed.farewell(answer, CloseReason::RefusedData);
                    return State::AwaitingFarewell;
                };
                return State::SwallowingChunk { left, answer };
            }
            Command::Rset => {
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
    fn ask(&mut self, asked: Asked, command: &[u8], pipes: &mut Pipes) {
        pipes.to_upstream.extend_from_slice(command);
        pipes.to_upstream.extend_from_slice(b"\r\n");
        self.owed.upstreams(asked);
    }

    fn mail(&mut self, arguments: &[u8]) -> State {
        match Envelope::parse(Side::Sender, arguments) {
            Err(error) => self.owed.ours(refusal(Side::Sender, error)),
            Ok(mail) if mail.is_international() && !mail.has("SMTPUTF8") => self.owed.ours(ascii_only()),
            Ok(mail) => return State::AwaitingAdmission { mail },
        }
        State::AwaitingCommand
    }

    fn carry_out(&mut self, mail: &Envelope, verdict: Result<Stamp, Reply>, pipes: &mut Pipes) -> State {
        match verdict {
            Ok(_) => {
                self.international = mail.has("SMTPUTF8");
                mail.write(&mut pipes.to_upstream);
                self.owed.upstreams(Asked::Mail { sender: mail.path.as_bytes().to_vec() });
            }
            Err(reply) => self.owed.ours(reply),
        }
        State::AwaitingCommand
    }

    fn recipient(&mut self, arguments: &[u8], pipes: &mut Pipes) {
        match Envelope::parse(Side::Recipient, arguments) {
            Err(error) => self.owed.ours(refusal(Side::Recipient, error)),
            Ok(recipient) if recipient.is_international() && !self.international => self.owed.ours(ascii_only()),
            Ok(recipient) => {
                recipient.write(&mut pipes.to_upstream);
                self.owed.upstreams(Asked::Rcpt);
            }
        }
    }

    fn bdat(&mut self, Chunk { octets, last }: Chunk, pipes: &mut Pipes) -> State {
        let last_word = if last { " LAST" } else { "" };
        self.ask(Asked::Chunk { octets, last }, format!("BDAT {octets}{last_word}").as_bytes(), pipes);
        State::InChunk { left: octets }
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

    fn pass_message(&mut self, mut end: EndOfData, octets: u64, input: &Input) -> (State, Option<Flow>) {
        if input.is_empty() {
            return (State::InMessage { end, octets }, Some(Flow::NeedInput));
        }
        let scanned = end.scan(input.unused());
        let octets = octets.saturating_add(scanned.octets as u64);
        let state = if scanned.ended {
            self.owed
                .upstreams(Asked::EndOfData { octets: octets.saturating_sub(END_LINE as u64) });
            State::AwaitingCommand
        } else {
            State::InMessage { end, octets }
        };
        (state, Some(Flow::Forward { octets: scanned.octets }))
    }

    fn swallow_chunk(&mut self, left: u64, answer: Reply, input: &mut Input) -> (State, Option<Flow>) {
        let left = left - input.skip(at_hand(left, input)) as u64;
        if left > 0 {
            return (State::SwallowingChunk { left, answer }, Some(Flow::NeedInput));
        }
        self.owed.ours(answer);
        (State::AwaitingCommand, None)
    }
}

fn pass_chunk(left: u64, input: &Input) -> (State, Option<Flow>) {
    match at_hand(left, input) {
        _ if left == 0 => (State::AwaitingCommand, None),
        0 => (State::InChunk { left }, Some(Flow::NeedInput)),
        octets => (State::InChunk { left: left - octets as u64 }, Some(Flow::Forward { octets })),
    }
}

/// How many of `left` octets have come.
fn at_hand(left: u64, input: &Input) -> usize {
    usize::try_from(left).map_or(input.len(), |left| left.min(input.len()))
}

/// RFC 6531 section 3.5.
fn ascii_only() -> Reply {
    Reply::new(553, "5.6.7", "Non-ASCII addresses need SMTPUTF8")
}

/// RFC 3463 sections 3.2 and 3.6: bad address syntax, bad arguments.
fn refusal(side: Side, error: EnvelopeError) -> Reply {
    let enhanced = match (error, side) {
        (EnvelopeError::Address, Side::Sender) => "5.1.7",
        (EnvelopeError::Address, Side::Recipient) => "5.1.3",
        (EnvelopeError::Keyword | EnvelopeError::Parameter, _) => "5.5.4",
    };
    Reply::new(501, enhanced, format!("{} {}: {error}", side.verb(), side.keyword()))
}
