//! POP3 to a legacy client, from the greeting to the login. It decides nothing: who may log in, the session says.

use std::mem;

use super::command::{self, Auth, Command};
use super::response::{Refusal, write_err, write_line, write_ok};
use crate::proto::line::{Line, Skipped};
use crate::proto::mistakes::{Mistake, Mistakes};
use crate::proto::sasl::exchange::{Exchange, ExchangeError, Progress};
use crate::proto::{
    Access, CloseReason, FLUSH_AT, Input, LoginAnswer, LoginRequest, Machine, Mechanism, OCTETS_BEHIND_STARTTLS,
    ProtoError, Step, is_tls_hello, sasl,
};
use crate::secret::Password;

/// The longest command line, its end included, in octets. RFC 2449 section 4 says 255; old clients do not know it.
pub const MAX_COMMAND_LINE: usize = 1024;

const LINE_TOO_LONG: &str = "Line too long";

/// What a listener says of itself.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The name in the greeting.
    pub hostname: String,
    /// What may be done on this channel.
    pub access: Access,
    /// What may be done once TLS is on, where STLS is offered.
    pub after_starttls: Option<Access>,
    /// Capabilities beyond those every provider has (RFC 2449 section 5), one a line.
    pub capabilities: Vec<String>,
}

/// The machine. It asks [`LoginRequest`] and is told whether the client is let in.
#[derive(Debug)]
pub struct Downstream {
    offer: Offer,
    state: State,
    mistakes: Mistakes,
}

#[derive(Debug)]
enum State {
    BeforeGreeting,
    AwaitingLine(Expected),
    SkippingLongLine {
        budget: usize,
    },
    AwaitingAnswer,
    /// STLS was said, and is not yet answered.
    StartingTls(Access),
    LoggedIn,
    Ended(CloseReason),
}

/// What the client's next line is.
#[derive(Debug)]
enum Expected {
    Command { user: Option<Vec<u8>> },
    SaslMessage(Exchange),
}

impl Expected {
    const FRESH_COMMAND: Self = Self::Command { user: None };

    /// How long the line that `begun` belongs to may be.
    fn limit(&self, begun: &[u8]) -> usize {
        match self {
            Self::Command { .. } if !command::is_auth(begun) => MAX_COMMAND_LINE,
            _ => sasl::MAX_LINE,
        }
    }
}

/// Where a line led.
enum Outcome {
    Next(State),
    Asks(LoginRequest),
}

impl From<Expected> for Outcome {
    fn from(expected: Expected) -> Self {
        Self::Next(State::AwaitingLine(expected))
    }
}

impl Downstream {
    /// A machine that has said nothing yet.
    #[must_use]
    pub const fn new(offer: Offer) -> Self {
        Self { offer, state: State::BeforeGreeting, mistakes: Mistakes::none() }
    }

    fn on_line(&mut self, expected: Expected, line: &Line, out: &mut Vec<u8>) -> Outcome {
        match expected {
            Expected::Command { user } => self.on_command(Command::parse(line), user, out),
            // RFC 5034 section 4.
            Expected::SaslMessage(exchange) => self.on_progress(exchange.respond(line), out),
        }
    }

    fn on_command(&mut self, command: Command, user: Option<Vec<u8>>, out: &mut Vec<u8>) -> Outcome {
        match command {
            Command::Capa => self.write_capabilities(out),
            Command::Quit => {
                write_ok(out, "Bye");
                return Outcome::Next(State::Ended(CloseReason::Quit));
            }
            Command::User(_) | Command::Pass(_) | Command::Auth(_) | Command::ListMechanisms
                if !self.offer.access.password =>
            {
                Refusal::new("AUTH", "Passwords are not taken on this connection").write(out);
            }
            Command::User(name) => {
                write_ok(out, "Send the password");
                return Expected::Command { user: Some(name) }.into();
            }
            Command::Pass(password) => match user {
                Some(username) => {
                    let mechanism = Mechanism::Command;
                    return Outcome::Asks(LoginRequest { mechanism, authzid: Vec::new(), username, password });
                }
                None => write_err(out, "USER comes first"),
            },
            Command::ListMechanisms => {
                write_ok(out, "Mechanisms follow");
                write_multi_line(out, &["PLAIN", "LOGIN"]);
            }
            Command::Auth(auth) => return self.on_auth(&auth, out),
            Command::Surplus => {
                let next = Expected::Command { user };
                return Outcome::Next(self.on_mistake(Mistake::Malformed, "An argument too many", next, out));
            }
            Command::Incomplete => {
                let next = Expected::Command { user };
                return Outcome::Next(self.on_mistake(Mistake::Malformed, "Argument missing", next, out));
            }
            Command::StartTls => match self.offer.after_starttls {
                Some(access) => return Outcome::Next(State::StartingTls(access)),
                None => write_err(out, "Not offered"),
            },
            Command::NotBeforeLogin => write_err(out, "Log in first"),
            Command::NotOffered => write_err(out, "Not offered"),
            Command::Unknown => {
                let next = Expected::Command { user };
                return Outcome::Next(self.on_mistake(Mistake::Unknown, "Unknown command", next, out));
            }
        }
        Expected::Command { user }.into()
    }

    fn on_auth(&mut self, auth: &Auth, out: &mut Vec<u8>) -> Outcome {
        match Exchange::of(&auth.mechanism) {
            Some(exchange) => {
                self.on_progress(exchange.begin(auth.initial_response.as_ref().map(Password::expose)), out)
            }
            None => self.on_malformed("Unknown mechanism", out),
        }
    }

    fn on_progress(&mut self, progress: Progress, out: &mut Vec<u8>) -> Outcome {
        match progress {
            Progress::Prompting(exchange) => {
                // The space belongs to it even before nothing (RFC 5034 section 4): clients compare "+ ".
                write_line(out, &["+ ", exchange.prompt()]);
                Expected::SaslMessage(exchange).into()
            }
            Progress::Complete(request) => Outcome::Asks(request),
            Progress::Failed(error) => self.on_malformed(
                match error {
                    ExchangeError::Cancelled => "Authentication cancelled",
                    ExchangeError::Malformed => "Malformed authentication response",
                    ExchangeError::TooLong => "User name or password too long",
                },
                out,
            ),
        }
    }

    /// A mistake behind which everything begins anew.
    fn on_malformed(&mut self, why: &'static str, out: &mut Vec<u8>) -> Outcome {
        Outcome::Next(self.on_mistake(Mistake::Malformed, why, Expected::FRESH_COMMAND, out))
    }

    fn on_mistake(&mut self, mistake: Mistake, why: &'static str, next: Expected, out: &mut Vec<u8>) -> State {
        if self.mistakes.count(mistake) {
            Refusal::new("SYS/TEMP", mistake.too_many()).write(out);
            State::Ended(CloseReason::TooManyErrors)
        } else {
            write_err(out, why);
            State::AwaitingLine(next)
        }
    }

    /// RFC 2449 section 5. RESP-CODES and AUTH-RESP-CODE are promises about the whole session, and so the upstream's to
    /// make.
    fn write_capabilities(&self, out: &mut Vec<u8>) {
        write_ok(out, "Capabilities follow");
        let stls = self.offer.after_starttls.map(|_| "STLS");
        let login: &[&str] = if self.offer.access.password { &["USER", "SASL PLAIN LOGIN"] } else { &[] };
        let further = self.offer.capabilities.iter().map(String::as_str);
        let capabilities: Vec<&str> = stls
            .into_iter()
            .chain(login.iter().copied())
            .chain(["TOP", "UIDL"])
            .chain(further)
            .collect();
        write_multi_line(out, &capabilities);
    }
}

impl Machine for Downstream {
    type Event = LoginRequest;
    type Answer = LoginAnswer<(), Refusal>;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<LoginRequest>, ProtoError> {
        let enough = out.len() + FLUSH_AT;
        while out.len() < enough {
            match mem::replace(&mut self.state, State::AwaitingAnswer) {
                State::BeforeGreeting => {
                    // No timestamp in angle brackets: it would offer APOP (RFC 1939 section 7).
                    write_line(out, &["+OK ", &self.offer.hostname, " mailferry POP3 ready"]);
                    self.state = State::AwaitingLine(Expected::FRESH_COMMAND);
                }
                State::AwaitingLine(Expected::Command { .. }) if is_tls_hello(input.unused()) => {
                    self.state = State::Ended(CloseReason::TlsHello);
                }
                State::AwaitingLine(expected) => {
                    let limit = expected.limit(input.unused());
                    let line = match expected {
                        Expected::Command { .. } => input.line(limit),
                        Expected::SaslMessage(_) => input.other_line(limit),
                    };
                    match line {
                        Ok(Some(line)) => match self.on_line(expected, &line, out) {
                            Outcome::Next(state) => self.state = state,
                            Outcome::Asks(request) => return Ok(Step::Event(request)),
                        },
                        Ok(None) => {
                            self.state = State::AwaitingLine(expected);
                            return Ok(Step::NeedInput);
                        }
                        Err(_) => self.state = State::SkippingLongLine { budget: 2 * limit },
                    }
                }
                State::SkippingLongLine { mut budget } => match input.skip_line(&mut budget) {
                    Skipped::Whole => {
                        self.state = self.on_mistake(Mistake::Malformed, LINE_TOO_LONG, Expected::FRESH_COMMAND, out);
                    }
                    Skipped::SoFar => {
                        self.state = State::SkippingLongLine { budget };
                        return Ok(Step::NeedInput);
                    }
                    Skipped::OverBudget => {
                        write_err(out, LINE_TOO_LONG);
                        self.state = State::Ended(CloseReason::TooLong);
                    }
                },
                State::AwaitingAnswer => return Ok(Step::NeedInput),
                State::StartingTls(access) => {
                    write_ok(out, "Begin TLS");
                    if !input.is_empty() {
                        return Err(OCTETS_BEHIND_STARTTLS);
                    }
                    self.offer.access = access;
                    self.offer.after_starttls = None;
                    // A name that came in the clear is forgotten (RFC 2595 section 4).
                    self.state = State::AwaitingLine(Expected::FRESH_COMMAND);
                    return Ok(Step::StartTls);
                }
                State::LoggedIn => {
                    self.state = State::LoggedIn;
                    return Ok(Step::Relay);
                }
                State::Ended(reason) => {
                    self.state = State::Ended(reason);
                    return Ok(Step::Close(reason));
                }
            }
        }
        Ok(Step::Flush)
    }

    fn answer(&mut self, answer: Self::Answer, out: &mut Vec<u8>) {
        self.state = match answer {
            LoginAnswer::Accepted(()) => {
                write_ok(out, "Logged in");
                State::LoggedIn
            }
            LoginAnswer::Refused { reply, last } => {
                reply.write(out);
                if last {
                    State::Ended(CloseReason::TooManyErrors)
                } else {
                    State::AwaitingLine(Expected::FRESH_COMMAND)
                }
            }
        };
    }
}

/// The lines of a multi-line response and its end (RFC 1939 section 3).
fn write_multi_line(out: &mut Vec<u8>, lines: &[&str]) {
    for line in lines {
        write_line(out, &[line]);
    }
    write_line(out, &["."]);
}

#[cfg(test)]
mod tests;
