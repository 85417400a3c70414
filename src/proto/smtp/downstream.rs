//! SMTP before login, where we are the server (RFC 5321, 4954): greets, answers what needs no login, takes a user name
//! and a password, and asks whether a client that does not log in may send mail. It decides on neither and takes no mail.

use super::auth::{self, LINE_TOO_LONG};
use super::command::{Command, MAX_COMMAND, Verb};
use super::reply::{Reply, write_lines};
use crate::proto::line::{LineTooLong, Skipped};
use crate::proto::mistakes::{Mistake, Mistakes};
use crate::proto::sasl::exchange::{Exchange, Progress};
use crate::proto::{
    Access, CloseReason, FLUSH_AT, Input, LoginAnswer, LoginRequest, Machine, OCTETS_BEHIND_STARTTLS, ProtoError, Step,
    is_tls_hello, sasl,
};

/// What the server says it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The name in the greeting: printable ASCII.
    pub hostname: String,
    /// What may be done on this channel.
    pub access: Access,
    /// What may be done once TLS is on, where STARTTLS is offered.
    pub after_starttls: Option<Access>,
    /// Extensions beyond the basic set, as EHLO keywords: those that every provider behind this server has.
    pub extensions: Vec<String>,
}

/// What the session has to decide on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// May this one log in?
    LoginRequested(LoginRequest),
    /// May this address send mail without logging in? The MAIL command that asks it is still in the input: where it may,
    /// the command goes to whoever reads next, and nothing is said.
    ByAddress,
}

/// The server's side of the dialogue up to the login.
pub struct Downstream {
    offer: Offer,
    state: State,
    mistakes: Mistakes,
}

/// A transition takes the state out; where it leaves none behind, a command is next.
#[derive(Default)]
enum State {
    AwaitingGreeting,
    #[default]
    AwaitingCommand,
    AwaitingResponse(Exchange),
    /// The rest of a line that is too long; it is answered when it ends.
    SkippingLine {
        budget: usize,
    },
    /// The session has a login request and has not answered.
    AwaitingAnswer,
    /// The session was asked about a MAIL command that still is in the input, and has not answered.
    AwaitingAdmission,
    /// That command was refused.
    SkippingMail,
    /// STARTTLS was said, and is not yet answered.
    StartingTls(Access),
    LoggedIn,
    Closing(CloseReason),
}

impl Downstream {
    /// A server that has not yet greeted.
    #[must_use]
    pub const fn new(offer: Offer) -> Self {
        Self { offer, state: State::AwaitingGreeting, mistakes: Mistakes::none() }
    }

    /// The longest line that may come now. An AUTH command carries a SASL response, so it may be as long as one.
    fn line_cap(&self, input: &Input) -> usize {
        let start = &input.unused()[..input.len().min(MAX_COMMAND)];
        match self.state {
            State::AwaitingResponse(_) => sasl::MAX_LINE,
            _ if Command::parse(start).verb == Some(Verb::Auth) => sasl::MAX_LINE,
            _ => MAX_COMMAND,
        }
    }

    /// Whether a whole MAIL command comes next. One that lacks everything but the verb is no mail to decide on.
    fn is_mail_next(input: &Input) -> bool {
        let start = &input.unused()[..input.len().min(MAX_COMMAND)];
        memchr::memchr(b'\n', start).is_some_and(|end| Command::parse(&start[..end]).verb == Some(Verb::Mail))
    }

    fn on_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Option<LoginRequest> {
        match std::mem::take(&mut self.state) {
            State::AwaitingResponse(exchange) => self.on_progress(exchange.respond(line), out),
            _ => self.on_command(Command::parse(line), out),
        }
    }

    fn on_command(&mut self, command: Command<'_>, out: &mut Vec<u8>) -> Option<LoginRequest> {
        match command.verb {
            // RFC 5321 section 4.1.4 asks for EHLO first; devices say HELO or nothing, and log in all the same.
            Some(Verb::Auth) if self.offer.access.password => match auth::begin(command.arguments) {
                Ok(progress) => return self.on_progress(progress, out),
                Err(reply) => self.on_mistake(Mistake::Malformed, &reply, out),
            },
            Some(Verb::Auth) => CLEAR_CHANNEL.write(out),
            // The client's name is taken as it is: devices send empty and impossible ones, and it goes nowhere.
            Some(Verb::Ehlo) => self.offer.write(out),
            Some(Verb::Helo) => Reply::new(250, "", self.offer.hostname.clone()).write(out),
            Some(Verb::Noop | Verb::Rset) => OK.write(out),
            Some(Verb::Vrfy) => NOT_VERIFIED.write(out),
            Some(Verb::Help) => HELP.write(out),
            Some(Verb::Quit) => self.close(CloseReason::Quit, &GOODBYE, out),
            Some(Verb::StartTls) => match self.offer.after_starttls {
                None => NO_TLS.write(out),
                Some(access) if command.arguments.trim_ascii().is_empty() => self.state = State::StartingTls(access),
                Some(_) => self.on_mistake(Mistake::Malformed, &NO_ARGUMENT, out),
            },
            Some(Verb::Mail | Verb::Rcpt | Verb::Expn) => LOGIN_FIRST.write(out),
            // Clients that do not wait send the message next. It must not be read as commands, and where it would end
            // cannot be known.
            Some(Verb::Data | Verb::Bdat) => {
                LOGIN_FIRST.write(out);
                self.close(CloseReason::RefusedData, &DATA_NOT_TAKEN, out);
            }
            None => self.on_mistake(Mistake::Unknown, &UNKNOWN_COMMAND, out),
        }
        None
    }

    fn on_mistake(&mut self, mistake: Mistake, reply: &Reply, out: &mut Vec<u8>) {
        if self.mistakes.count(mistake) {
            self.close(CloseReason::TooManyErrors, &TOO_MANY_ERRORS, out);
        } else {
            reply.write(out);
        }
    }

    fn on_progress(&mut self, progress: Progress, out: &mut Vec<u8>) -> Option<LoginRequest> {
        match progress {
            Progress::Prompting(exchange) => {
                // The blank after 334 stands even where no text follows: clients look for it.
                out.extend_from_slice(b"334 ");
                out.extend_from_slice(exchange.prompt().as_bytes());
                out.extend_from_slice(b"\r\n");
                self.state = State::AwaitingResponse(exchange);
                None
            }
            Progress::Complete(request) => {
                self.state = State::AwaitingAnswer;
                Some(request)
            }
            Progress::Failed(error) => {
                self.on_mistake(Mistake::Malformed, &auth::reply(error), out);
                None
            }
        }
    }

    fn close(&mut self, reason: CloseReason, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(out);
        self.state = State::Closing(reason);
    }
}

impl Machine for Downstream {
    type Event = Event;
    type Answer = LoginAnswer<(), Reply>;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<Event>, ProtoError> {
        loop {
            match &mut self.state {
                State::AwaitingGreeting => {
                    Reply::new(220, "", format!("{} ESMTP mailferry ready", self.offer.hostname)).write(out);
                    self.state = State::AwaitingCommand;
                }
                State::SkippingLine { budget } => match input.skip_line(budget) {
                    Skipped::SoFar => return Ok(Step::NeedInput),
                    Skipped::OverBudget => self.close(CloseReason::TooLong, &FAR_TOO_LONG, out),
                    Skipped::Whole => {
                        self.state = State::AwaitingCommand;
                        self.on_mistake(Mistake::Malformed, &LINE_TOO_LONG, out);
                    }
                },
                State::AwaitingCommand if is_tls_hello(input.unused()) => {
                    self.state = State::Closing(CloseReason::TlsHello);
                }
                // Whether or not a password was wrong before: who may send mail by its address had no need to log in at
                // all, and a device whose password was changed is told by its failed login, not by losing its mail.
                State::AwaitingCommand if self.offer.access.by_address && Self::is_mail_next(input) => {
                    self.state = State::AwaitingAdmission;
                    return Ok(Step::Event(Event::ByAddress));
                }
                State::SkippingMail => {
                    // It is there as a whole.
                    let _ = input.line(MAX_COMMAND);
                    self.state = State::AwaitingCommand;
                }
                State::AwaitingCommand | State::AwaitingResponse(_) => {
                    let cap = self.line_cap(input);
                    let line = match self.state {
                        State::AwaitingResponse(_) => input.other_line(cap),
                        _ => input.line(cap),
                    };
                    match line {
                        Ok(None) => return Ok(Step::NeedInput),
                        Ok(Some(line)) => {
                            if let Some(request) = self.on_line(&line, out) {
                                return Ok(Step::Event(Event::LoginRequested(request)));
                            }
                        }
                        // Nothing of the line is used up yet, so the budget counts it from its start.
                        Err(LineTooLong) => self.state = State::SkippingLine { budget: 2 * cap },
                    }
                }
                State::AwaitingAnswer | State::AwaitingAdmission => return Ok(Step::NeedInput),
                State::StartingTls(access) => {
                    READY_FOR_TLS.write(out);
                    if !input.is_empty() {
                        return Err(OCTETS_BEHIND_STARTTLS);
                    }
                    // Nothing else was learnt that would have to be forgotten (RFC 3207 section 4.2).
                    self.offer = Offer { access: *access, after_starttls: None, ..self.offer.clone() };
                    self.state = State::AwaitingCommand;
                    return Ok(Step::StartTls);
                }
                State::LoggedIn => return Ok(Step::Relay),
                State::Closing(reason) => return Ok(Step::Close(*reason)),
            }
            if out.len() >= FLUSH_AT {
                return Ok(Step::Flush);
            }
        }
    }

    fn answer(&mut self, answer: LoginAnswer<(), Reply>, out: &mut Vec<u8>) {
        let of_mail = matches!(self.state, State::AwaitingAdmission);
        match answer {
            LoginAnswer::Accepted(()) => {
                // MAIL has its answer from whoever takes it.
                if !of_mail {
                    LOGGED_IN.write(out);
                }
                self.state = State::LoggedIn;
            }
            LoginAnswer::Refused { reply, last } => {
                reply.write(out);
                if last {
                    self.close(CloseReason::TooManyErrors, &TOO_MANY_ERRORS, out);
                } else {
                    self.state = if of_mail { State::SkippingMail } else { State::AwaitingCommand };
                }
            }
        }
    }
}

impl Offer {
    /// Appends the reply to EHLO (RFC 5321 section 4.1.1.1). Its lines carry no enhanced status (RFC 2034 section 4).
    fn write(&self, out: &mut Vec<u8>) {
        let starttls = self.after_starttls.map(|_| "STARTTLS");
        let auth = self.access.password.then_some("AUTH PLAIN LOGIN");
        let basic = ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE"];
        let extensions = self.extensions.iter().map(String::as_str);
        let lines: Vec<&str> = [self.hostname.as_str()]
            .into_iter()
            .chain(starttls)
            .chain(auth)
            .chain(basic)
            .chain(extensions)
            .collect();
        write_lines(250, &lines, out);
    }
}

const HELP: Reply = Reply::fixed(214, "2.0.0", "Log in with AUTH, then send mail: RFC 5321 and RFC 4954");
const READY_FOR_TLS: Reply = Reply::fixed(220, "2.0.0", "Ready to start TLS");
const GOODBYE: Reply = Reply::fixed(221, "2.0.0", "Goodbye");
const LOGGED_IN: Reply = Reply::fixed(235, "2.7.0", "Authentication successful");
const OK: Reply = Reply::fixed(250, "2.0.0", "Ok");
const NOT_VERIFIED: Reply = Reply::fixed(252, "2.0.0", "Addresses are not verified before login");
const FAR_TOO_LONG: Reply = Reply::fixed(421, "4.7.0", "The line is far too long, closing");
const DATA_NOT_TAKEN: Reply = Reply::fixed(421, "4.7.0", "No message is taken before login, closing");
const TOO_MANY_ERRORS: Reply = Reply::fixed(421, "4.7.0", "Too many errors, closing");
const NO_ARGUMENT: Reply = Reply::fixed(501, "5.5.4", "STARTTLS has no argument");
const NO_TLS: Reply = Reply::fixed(502, "5.5.1", "STARTTLS is not offered here");
const UNKNOWN_COMMAND: Reply = Reply::fixed(502, "5.5.2", "The command is unknown");
const LOGIN_FIRST: Reply = Reply::fixed(530, "5.7.0", "Authentication required");
const CLEAR_CHANNEL: Reply =
    Reply::fixed(538, "5.7.11", "A password is not taken over a connection without encryption");

#[cfg(test)]
mod tests;
