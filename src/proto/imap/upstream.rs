//! The side that faces the provider: greeting, STARTTLS where it is demanded, login with a token, as the client.

use std::mem;

use zeroize::Zeroizing;

use crate::proto::sasl::bearer::Bearer;
use crate::proto::sasl::decode_challenge;
use crate::proto::{
    CloseReason, Credential, Input, Machine, OCTETS_BEFORE_TLS, ProtoError, RefusalKind, Step, UpstreamEvent,
    UpstreamRefusal, said,
};

use super::capability::Capabilities;
use super::command::Tag;
use super::response::{Condition, Response, ResponseReader, Status};

/// How long an AUTHENTICATE line with its initial response may be, its end included. Exchange takes 10,240 octets
/// where nobody has changed it, and no other server is known to take fewer.
const MAX_INITIAL_RESPONSE_LINE: usize = 8 * 1024;

/// Commands, and in the log the stages of the dialogue.
const CAPABILITY: &str = "CAPABILITY";
const STARTTLS: &str = "STARTTLS";

/// What to do upstream.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whether STARTTLS is demanded. If not, the channel is fit for a token as it is.
    pub starttls: bool,
    /// What our tags begin with: 1 to 100 ASCII letters and digits that the other side cannot guess.
    pub tag: String,
}

/// One login to an upstream.
pub struct Upstream {
    /// Whether the channel may carry a token.
    fit: bool,
    tags: Tags,
    responses: ResponseReader,
    state: State,
}

/// The tags of our commands, each used once.
struct Tags {
    prefix: String,
    given: u32,
}

#[derive(Default)]
enum State {
    AwaitingGreeting,
    /// CAPABILITY was sent before the login.
    AwaitingOffer {
        offer: Capabilities,
    },
    /// STARTTLS was sent.
    AwaitingTls,
    /// The driver does the handshake. All we learnt before it is forgotten (RFC 3501 section 6.2.1).
    Handshaking,
    /// The session has been asked for the credential.
    AwaitingCredential {
        mechanism: Bearer,
        offer: Capabilities,
    },
    /// AUTHENTICATE was sent without the credential; it is ready for when it is asked for.
    AwaitingInvitation {
        mechanism: Bearer,
        message: Zeroizing<String>,
    },
    /// The credential was sent. `listed` came since then.
    AwaitingVerdict {
        mechanism: Bearer,
        challenge: Option<Vec<u8>>,
        listed: Capabilities,
    },
    /// CAPABILITY was sent after the login.
    AwaitingCapabilities {
        listed: Capabilities,
    },
    LoggedIn,
    /// The session is still to be told.
    Refusing {
        refusal: UpstreamRefusal,
        farewell: bool,
    },
    /// The session knows; whether the upstream still listens says `farewell`.
    Refused {
        farewell: bool,
    },
    #[default]
    Ended,
}

/// The next state, and the step to return now, if any.
type Turn = (State, Option<Step<UpstreamEvent<Capabilities>>>);

impl Upstream {
    /// A login to come; nothing is sent before the greeting.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let Plan { starttls, tag } = plan;
        Self {
            fit: !starttls,
            tags: Tags { prefix: tag, given: 0 },
            responses: ResponseReader::default(),
            state: State::AwaitingGreeting,
        }
    }

    fn command(&mut self, out: &mut Vec<u8>, command: &str) {
        out.extend_from_slice(format!("{} {command}\r\n", self.tags.next()).as_bytes());
    }

    fn react(&mut self, state: State, response: Response, out: &mut Vec<u8>) -> Result<Turn, ProtoError> {
        match response {
            Response::Untagged(condition) => match condition.status {
                Status::Bye => Ok((refuse(state, &condition), None)),
                // RFC 3501 section 7.1.4. It would be somebody else's session.
                Status::PreAuth => Err(ProtoError::UpstreamMisbehaved("logged in before anyone asked")),
                Status::Ok | Status::No | Status::Bad => self.react_to_condition(state, &condition, out),
            },
            Response::Capability(list) => Ok((state.listing(list)?, None)),
            Response::Continuation(text) => self.react_to_continuation(state, &text, out),
            Response::Completion { tag, condition } if self.tags.is_last(&tag) => {
                self.react_to_completion(state, &condition, out)
            }
            Response::Completion { .. } => Err(ProtoError::UpstreamMisbehaved("a completion of no command of ours")),
        }
    }

    fn react_to_condition(
        &mut self,
        state: State,
        condition: &Condition,
        out: &mut Vec<u8>,
    ) -> Result<Turn, ProtoError> {
        let list = condition.capabilities();
        match (state, condition.status) {
            (State::AwaitingGreeting, Status::Ok) => match list {
                Some(offer) => Ok(self.react_to_offer(offer, out)),
                None => Ok((self.ask_for_offer(out), None)),
            },
            (State::AwaitingGreeting, _) => Err(ProtoError::UpstreamMisbehaved("no greeting")),
            (state, _) => match list {
                Some(list) => Ok((state.listing(list)?, None)),
                None => Ok((state, None)),
            },
        }
    }

    fn ask_for_offer(&mut self, out: &mut Vec<u8>) -> State {
        self.command(out, CAPABILITY);
        State::AwaitingOffer { offer: Capabilities::default() }
    }

    fn react_to_offer(&mut self, offer: Capabilities, out: &mut Vec<u8>) -> Turn {
        let without = |stage| (give_up(RefusalKind::Unsupported, stage, offer.to_string().as_bytes()), None);
        if self.fit {
            let Some(mechanism) = Bearer::chosen(|name| offer.has(&format!("AUTH={name}"))) else {
                return without(CAPABILITY);
            };
            let asking = State::AwaitingCredential { mechanism, offer };
            return (asking, Some(Step::Event(UpstreamEvent::CredentialWanted)));
        }
        if !offer.has(STARTTLS) {
            return without(STARTTLS);
        }
        self.command(out, STARTTLS);
        (State::AwaitingTls, None)
    }

    fn authenticate(
        &mut self,
        mechanism: Bearer,
        offer: &Capabilities,
        credential: &Credential,
        out: &mut Vec<u8>,
    ) -> State {
        let Some(message) = mechanism.message(credential) else {
            // As over SMTP and POP3: the configuration is at fault, not the server.
            return give_up(RefusalKind::Policy, mechanism.authenticate(), b"the mailbox's name cannot be sent");
        };
        let command = format!("{} {}", self.tags.next(), mechanism.authenticate());
        let line = command.len() + " ".len() + message.len() + "\r\n".len();
        // As in `send`.
        out.reserve_exact(line);
        out.extend_from_slice(command.as_bytes());
        // RFC 4959 section 3.
        if offer.has("SASL-IR") && line <= MAX_INITIAL_RESPONSE_LINE {
            out.push(b' ');
            return send(mechanism, &message, out);
        }
        out.extend_from_slice(b"\r\n");
        State::AwaitingInvitation { mechanism, message }
    }

    fn react_to_continuation(&self, state: State, text: &[u8], out: &mut Vec<u8>) -> Result<Turn, ProtoError> {
        match state {
            State::AwaitingInvitation { mechanism, message } => Ok((send(mechanism, &message, out), None)),
            // Why a token fails is said in a challenge, and the command is completed only after its answer.
            State::AwaitingVerdict { mechanism, challenge: None, listed } => {
                out.extend_from_slice(mechanism.dismissal());
                let challenge = Some(decode_challenge(text.trim_ascii()));
                Ok((State::AwaitingVerdict { mechanism, challenge, listed }, None))
            }
            State::AwaitingVerdict { challenge: Some(_), .. } => {
                out.extend_from_slice(b"*\r\n");
                Err(ProtoError::UpstreamMisbehaved("a second challenge"))
            }
            _ => Err(ProtoError::UpstreamMisbehaved("a continuation request to no command of ours")),
        }
    }

    fn react_to_completion(
        &mut self,
        state: State,
        condition: &Condition,
        out: &mut Vec<u8>,
    ) -> Result<Turn, ProtoError> {
        match (state, condition.status) {
            (State::AwaitingOffer { offer }, Status::Ok) => {
                Ok(self.react_to_offer(condition.capabilities().unwrap_or(offer), out))
            }
            (State::AwaitingTls, Status::Ok) => Ok((State::Handshaking, Some(Step::StartTls))),
            (State::AwaitingVerdict { listed, .. }, Status::Ok) => {
                let listed = condition.capabilities().unwrap_or(listed);
                if listed.is_empty() {
                    self.command(out, CAPABILITY);
                    return Ok((State::AwaitingCapabilities { listed }, None));
                }
                Ok(log_in(listed))
            }
            // The login stands, even if this question was not welcome: what is wrong, the downstream hears at its own
            // first command, in the upstream's own words.
            (State::AwaitingCapabilities { listed }, _) => Ok(log_in(condition.capabilities().unwrap_or(listed))),
            (State::AwaitingInvitation { .. }, Status::Ok) => {
                Err(ProtoError::UpstreamMisbehaved("logged in without a credential"))
            }
            (state, _) => Ok((refuse(state, condition), None)),
        }
    }
}

impl Machine for Upstream {
    type Event = UpstreamEvent<Capabilities>;
    type Answer = Credential;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<Self::Event>, ProtoError> {
        loop {
            let (state, step) = match mem::take(&mut self.state) {
                State::Handshaking => {
                    self.fit = true;
                    (self.ask_for_offer(out), None)
                }
                state @ State::AwaitingCredential { .. } => (state, Some(Step::NeedInput)),
                State::LoggedIn => (State::LoggedIn, Some(Step::Relay)),
                State::Refusing { refusal, farewell } => {
                    (State::Refused { farewell }, Some(Step::Event(UpstreamEvent::Refused(refusal))))
                }
                State::Refused { farewell } => {
                    if farewell {
                        self.command(out, "LOGOUT");
                    }
                    (State::Ended, Some(Step::Close(CloseReason::Refused)))
                }
                State::Ended => (State::Ended, Some(Step::Close(CloseReason::Refused))),
                waiting => match self.responses.read(input)? {
                    Some(response) => self.react(waiting, response, out)?,
                    None => (waiting, Some(Step::NeedInput)),
                },
            };
            if step == Some(Step::StartTls) && !input.is_empty() {
                return Err(OCTETS_BEFORE_TLS);
            }
            self.state = state;
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    fn answer(&mut self, credential: Credential, out: &mut Vec<u8>) {
        self.state = match mem::take(&mut self.state) {
            State::AwaitingCredential { mechanism, offer } => self.authenticate(mechanism, &offer, &credential, out),
            unasked => unasked,
        };
    }
}

impl State {
    /// Notes a capability list that came by itself.
    fn listing(self, list: Capabilities) -> Result<Self, ProtoError> {
        Ok(match self {
            Self::AwaitingGreeting => return Err(ProtoError::UpstreamMisbehaved("no greeting")),
            Self::AwaitingOffer { .. } => Self::AwaitingOffer { offer: list },
            Self::AwaitingVerdict { mechanism, challenge, .. } => {
                Self::AwaitingVerdict { mechanism, challenge, listed: list }
            }
            Self::AwaitingCapabilities { .. } => Self::AwaitingCapabilities { listed: list },
            other => other,
        })
    }

    /// Where in the dialogue this is, for the log.
    const fn stage(&self) -> &'static str {
        match self {
            Self::AwaitingGreeting => "greeting",
            Self::AwaitingOffer { .. } => CAPABILITY,
            Self::AwaitingTls => STARTTLS,
            Self::AwaitingInvitation { mechanism, .. } | Self::AwaitingVerdict { mechanism, .. } => {
                mechanism.authenticate()
            }
            _ => "after login",
        }
    }

    /// Whose fault a NO or BAD is (RFC 5530 section 3).
    fn classify(&self, condition: &Condition) -> RefusalKind {
        let code = condition.code().map(|(name, _)| name);
        match (code.as_deref(), self) {
            // Whoever ends the connection judges nobody.
            _ if condition.status == Status::Bye => RefusalKind::Transient,
            // Only what answers AUTHENTICATE is about the token: before it, whoever sits between us may be talking.
            (
                Some("AUTHENTICATIONFAILED" | "EXPIRED"),
                Self::AwaitingInvitation { .. } | Self::AwaitingVerdict { .. },
            ) => RefusalKind::Token,
            (
                Some("AUTHORIZATIONFAILED" | "NOPERM"),
                Self::AwaitingInvitation { .. } | Self::AwaitingVerdict { .. },
            ) => RefusalKind::Rights,
            // A referral (RFC 2221) is never followed: the token is for this host. WEBALERT is Gmail's, and names a
            // page for a person to visit.
            (Some("CONTACTADMIN" | "PRIVACYREQUIRED" | "REFERRAL" | "WEBALERT"), _) => RefusalKind::Policy,
            (Some("UNAVAILABLE" | "INUSE" | "LIMIT" | "SERVERBUG"), _) => RefusalKind::Transient,
            // A challenge is the mechanisms' own way to say that the token is no good.
            (_, Self::AwaitingVerdict { challenge: Some(_), .. }) if condition.status == Status::No => {
                RefusalKind::Token
            }
            // Microsoft's "NO AUTHENTICATE failed." has no code.
            (None, Self::AwaitingVerdict { .. }) if condition.status == Status::No => RefusalKind::Token,
            // RFC 3501 section 6.2.2: NO before the credential refuses the mechanism; and to STARTTLS, TLS.
            (None, Self::AwaitingInvitation { .. } | Self::AwaitingTls) if condition.status == Status::No => {
                RefusalKind::Unsupported
            }
            // BAD is never about the token: Exchange says it when it throttles, is out of service or is out of step.
            // Nor is a code that is none of the above, such as Gmail's "[ALERT] Too many simultaneous connections".
            _ => RefusalKind::Transient,
        }
    }
}

impl Tags {
    fn next(&mut self) -> String {
        self.given += 1;
        format!("{}{}", self.prefix, self.given)
    }

    /// Whether `tag` names the command that is under way. Before the first there is none.
    fn is_last(&self, tag: &Tag) -> bool {
        self.given > 0 && tag.to_string() == format!("{}{}", self.prefix, self.given)
    }
}

fn send(mechanism: Bearer, message: &str, out: &mut Vec<u8>) -> State {
    // So that no growth of the buffer leaves a copy of the token behind.
    out.reserve_exact(message.len() + 2);
    out.extend_from_slice(message.as_bytes());
    out.extend_from_slice(b"\r\n");
    State::AwaitingVerdict { mechanism, challenge: None, listed: Capabilities::default() }
}

fn log_in(listed: Capabilities) -> Turn {
    (State::LoggedIn, Some(Step::Event(UpstreamEvent::LoggedIn(listed.after_login()))))
}

/// What a NO, BAD or BYE ends.
fn refuse(state: State, condition: &Condition) -> State {
    let (stage, kind) = (state.stage(), state.classify(condition));
    let challenge = match state {
        State::AwaitingVerdict { challenge, .. } => challenge,
        _ => None,
    };
    let refusal = UpstreamRefusal { kind, stage, said: said(&condition.said), challenge };
    // Who has said BYE reads no LOGOUT.
    State::Refusing { refusal, farewell: condition.status != Status::Bye }
}

/// The login cannot be tried: the upstream does not offer what it takes, or the user name has no place in the message.
fn give_up(kind: RefusalKind, stage: &'static str, words: &[u8]) -> State {
    let refusal = UpstreamRefusal { kind, stage, said: said(words), challenge: None };
    State::Refusing { refusal, farewell: true }
}

#[cfg(test)]
mod tests;
