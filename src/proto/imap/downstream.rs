//! The side that faces a legacy program: greeting to login (RFC 3501 sections 3.1 and 6.1 to 6.2), as the server.
//!
//! Answers everything itself; the upstream hears of a session only once its password has been found right.

use std::borrow::Cow;
use std::mem;

use crate::proto::mistakes::{Mistake, Mistakes};
use crate::proto::sasl::exchange::{Exchange, Progress};
use crate::proto::{
    Access, CloseReason, FLUSH_AT, Input, LoginAnswer, LoginRequest, Machine, Mechanism, OCTETS_BEHIND_STARTTLS,
    ProtoError, Step, is_tls_hello,
};

use super::authenticate::{self, Reading};
use super::capability::Capabilities;
use super::command::{Command, Tag, Verb};
use super::framing::{Excess, Framed, Framer};
use super::response::{CONTINUATION, UNTAGGED, write};

/// What a listener offers.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The name in the greeting.
    pub hostname: String,
    /// What may be done on this channel.
    pub access: Access,
    /// What may be done once TLS is on, where STARTTLS is offered.
    pub after_starttls: Option<Access>,
    /// What every upstream behind this listener has beyond the basic set: IDLE, NAMESPACE, UIDPLUS, UNSELECT.
    pub capabilities: Vec<String>,
}

/// A refusal of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The response code (RFC 5530), as in `AUTHENTICATIONFAILED`; empty where there is none.
    pub code: &'static str,
    /// What the reader is told.
    pub text: Cow<'static, str>,
}

/// One session, from the greeting to the completion of its login.
pub struct Downstream {
    offer: Offer,
    /// Whether the other side has asked for the list: it then expects the new one untagged as well.
    listed: bool,
    mistakes: Mistakes,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Greeting,
    AwaitingCommand(Framer),
    /// AUTHENTICATE goes on.
    AwaitingMessage {
        tag: Tag,
        exchange: Exchange,
    },
    /// The session is asked.
    AwaitingAnswer {
        tag: Tag,
    },
    LoggedIn,
    Ended(CloseReason),
}

/// The next state, and the step to return now, if any.
type Turn = (State, Option<Step<LoginRequest>>);

impl Downstream {
    /// A session to come; the first `advance` greets.
    #[must_use]
    pub fn new(offer: Offer) -> Self {
        Self { offer, listed: false, mistakes: Mistakes::none(), state: State::Greeting }
    }

    fn greet(&self, out: &mut Vec<u8>) -> Turn {
        let Offer { hostname, .. } = &self.offer;
        write(out, UNTAGGED, format_args!("OK [CAPABILITY {}] {hostname} mailferry ready", self.offer.list()));
        ready()
    }

    fn read_command(&mut self, mut framer: Framer, input: &mut Input, out: &mut Vec<u8>) -> Turn {
        match framer.next(input) {
            Framed::Incomplete => (State::AwaitingCommand(framer), Some(Step::NeedInput)),
            Framed::LiteralAwaited => {
                write(out, CONTINUATION, "OK");
                (State::AwaitingCommand(framer), None)
            }
            Framed::Command(octets) => match Command::parse(&octets) {
                Some(command) => self.obey(command, out),
                None => {
                    write(out, UNTAGGED, "BAD A command begins with a tag and a verb");
                    self.count(Mistake::Unknown, out)
                }
            },
            Framed::Excessive { start, excess } => {
                let reply = match excess {
                    Excess::Length => "BAD Command too long",
                    Excess::Literal => "NO [TOOBIG] Literal too long",
                    Excess::Literals => "BAD Too many literals",
                };
                match Tag::cut_from(&start) {
                    Some((tag, _)) => write(out, tag, reply),
                    None => write(out, UNTAGGED, reply),
                }
                self.count(Mistake::Malformed, out)
            }
            Framed::Endless => endless(out),
        }
    }

    fn obey(&mut self, Command { tag, verb }: Command, out: &mut Vec<u8>) -> Turn {
        match verb {
            Verb::Capability => {
                self.listed = true;
                write(out, UNTAGGED, format_args!("CAPABILITY {}", self.offer.list()));
                write(out, tag, "OK CAPABILITY completed");
            }
            Verb::Noop => write(out, tag, "OK NOOP completed"),
            Verb::Id => {
                write(out, UNTAGGED, r#"ID ("name" "mailferry")"#);
                write(out, tag, "OK ID completed");
            }
            Verb::Logout => {
                write(out, UNTAGGED, "BYE Logging out");
                write(out, tag, "OK LOGOUT completed");
                return (State::Ended(CloseReason::Quit), None);
            }
            Verb::StartTls => match self.offer.after_starttls {
                Some(access) => return self.start_tls(&tag, access, out),
                None => write(out, tag, "BAD STARTTLS is not offered here"),
            },
            Verb::Login { .. } | Verb::Authenticate { .. } if !self.offer.access.password => {
                write(out, tag, "NO [PRIVACYREQUIRED] No password is taken on this connection");
            }
            Verb::Login { username, password } => {
                let mechanism = Mechanism::Command;
                return ask(tag, LoginRequest { mechanism, authzid: Vec::new(), username, password });
            }
            Verb::Authenticate { mechanism, initial } => match authenticate::begin(mechanism, initial.as_ref()) {
                Some(progress) => return self.go_on(tag, progress, out),
                None => {
                    write(out, tag, "BAD Unknown mechanism: use PLAIN or LOGIN");
                    return self.count(Mistake::Malformed, out);
                }
            },
            Verb::Malformed(why) => {
                write(out, tag, format_args!("BAD {why}"));
                return self.count(Mistake::Malformed, out);
            }
            Verb::NotNow => write(out, tag, "BAD Log in first"),
            Verb::Unknown => {
                write(out, tag, "BAD Unknown command");
                return self.count(Mistake::Unknown, out);
            }
        }
        ready()
    }

    fn read_message(&mut self, tag: Tag, exchange: Exchange, input: &mut Input, out: &mut Vec<u8>) -> Turn {
        match authenticate::read(exchange, input) {
            Reading::Incomplete(exchange) => (State::AwaitingMessage { tag, exchange }, Some(Step::NeedInput)),
            Reading::Read(progress) => self.go_on(tag, progress, out),
            Reading::Endless => endless(out),
        }
    }

    fn go_on(&mut self, tag: Tag, progress: Progress, out: &mut Vec<u8>) -> Turn {
        match progress {
            Progress::Prompting(exchange) => {
                write(out, CONTINUATION, exchange.prompt());
                (State::AwaitingMessage { tag, exchange }, None)
            }
            Progress::Complete(request) => ask(tag, request),
            Progress::Failed(error) => {
                write(out, tag, format_args!("BAD {}", authenticate::why(error)));
                self.count(Mistake::Malformed, out)
            }
        }
    }

    /// What was said in the clear is forgotten (RFC 3501 section 6.2.1).
    fn start_tls(&mut self, tag: &Tag, access: Access, out: &mut Vec<u8>) -> Turn {
        write(out, tag, "OK Begin TLS");
        self.offer.access = access;
        self.offer.after_starttls = None;
        self.listed = false;
        (State::AwaitingCommand(Framer::default()), Some(Step::StartTls))
    }

    /// Who makes one mistake after the other speaks another protocol, or none.
    fn count(&mut self, mistake: Mistake, out: &mut Vec<u8>) -> Turn {
        if !self.mistakes.count(mistake) {
            return ready();
        }
        write(out, UNTAGGED, format_args!("BYE {}", mistake.too_many()));
        (State::Ended(CloseReason::TooManyErrors), None)
    }

    fn accept(&self, tag: &Tag, capabilities: &Capabilities, out: &mut Vec<u8>) -> State {
        if capabilities.is_empty() {
            write(out, tag, "OK Logged in");
            return State::LoggedIn;
        }
        if self.listed {
            write(out, UNTAGGED, format_args!("CAPABILITY {capabilities}"));
        }
        write(out, tag, format_args!("OK [CAPABILITY {capabilities}] Logged in"));
        State::LoggedIn
    }
}

impl Offer {
    /// The capabilities on the channel there is.
    fn list(&self) -> Capabilities {
        let starttls = self.after_starttls.map(|_| "STARTTLS");
        let login: &[&str] = if self.access.password { &["AUTH=PLAIN", "AUTH=LOGIN"] } else { &["LOGINDISABLED"] };
        let basic = ["IMAP4rev1", "SASL-IR", "ID"]
            .into_iter()
            .chain(starttls)
            .chain(login.iter().copied());
        Capabilities::new(basic.chain(self.capabilities.iter().map(String::as_str)))
    }
}

impl Machine for Downstream {
    type Event = LoginRequest;
    type Answer = LoginAnswer<Capabilities, Refusal>;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<LoginRequest>, ProtoError> {
        let full = out.len() + FLUSH_AT;
        loop {
            let (state, step) = match mem::take(&mut self.state) {
                State::Greeting => self.greet(out),
                State::AwaitingCommand(framer) if framer.is_fresh() && is_tls_hello(input.unused()) => {
                    (State::Ended(CloseReason::TlsHello), None)
                }
                State::AwaitingCommand(framer) => self.read_command(framer, input, out),
                State::AwaitingMessage { tag, exchange } => self.read_message(tag, exchange, input, out),
                state @ State::AwaitingAnswer { .. } => (state, Some(Step::NeedInput)),
                State::LoggedIn => (State::LoggedIn, Some(Step::Relay)),
                State::Ended(reason) => (State::Ended(reason), Some(Step::Close(reason))),
            };
            if step == Some(Step::StartTls) && !input.is_empty() {
                return Err(OCTETS_BEHIND_STARTTLS);
            }
            self.state = state;
            match step {
                Some(step) => return Ok(step),
                None if out.len() >= full => return Ok(Step::Flush),
                None => {}
            }
        }
    }

    fn answer(&mut self, answer: Self::Answer, out: &mut Vec<u8>) {
        self.state = match (mem::take(&mut self.state), answer) {
            (State::AwaitingAnswer { tag }, LoginAnswer::Accepted(capabilities)) => {
                self.accept(&tag, &capabilities, out)
            }
            (State::AwaitingAnswer { tag }, LoginAnswer::Refused { reply, last }) => {
                refuse(&tag, &reply, out);
                if last {
                    write(out, UNTAGGED, "BYE Too many failed logins");
                    State::Ended(CloseReason::TooManyErrors)
                } else {
                    State::AwaitingCommand(Framer::default())
                }
            }
            (unasked, _) => unasked,
        };
    }
}

fn ready() -> Turn {
    (State::AwaitingCommand(Framer::default()), None)
}

fn endless(out: &mut Vec<u8>) -> Turn {
    write(out, UNTAGGED, "BYE Command too long");
    (State::Ended(CloseReason::TooLong), None)
}

fn refuse(tag: &Tag, refusal: &Refusal, out: &mut Vec<u8>) {
    let Refusal { code, text } = refusal;
    if code.is_empty() {
        write(out, tag, format_args!("NO {text}"));
    } else {
        write(out, tag, format_args!("NO [{code}] {text}"));
    }
}

fn ask(tag: Tag, request: LoginRequest) -> Turn {
    (State::AwaitingAnswer { tag }, Some(Step::Event(request)))
}

#[cfg(test)]
mod tests;
