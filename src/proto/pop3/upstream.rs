//! POP3 to a provider: greeting, STLS where it is demanded (RFC 2595 section 4), AUTH in two steps, outcome. It never asks
//! for capabilities, which would cost every provider a round trip: a server that does not know XOAUTH2 says so before the
//! token is sent, and is then asked for OAUTHBEARER.

use std::mem;

use super::response::Response;
use crate::proto::line::Line;
use crate::proto::sasl::bearer::Bearer;
use crate::proto::sasl::decode_challenge;
use crate::proto::{
    CloseReason, Credential, Input, Machine, OCTETS_BEFORE_TLS, ProtoError, RefusalKind, Step, UpstreamEvent,
    UpstreamRefusal, said,
};

/// The longest line taken from an upstream, its end included, in octets. RFC 2449 section 4 says 512; a challenge of
/// JSON in base64 may be longer.
pub const MAX_RESPONSE_LINE: usize = 4096;

/// What is to be done at the provider.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Whether STLS is demanded. If not, the channel is fit for a token as it is.
    pub starttls: bool,
}

/// The machine. Every line leads to a later state, so the dialogue has six lines of the upstream at most.
#[derive(Debug)]
pub struct Upstream {
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitingGreeting {
        starttls: bool,
    },
    /// STLS was sent.
    AwaitingTls,
    /// The driver does the handshake. Nothing has been learnt before it that would have to be forgotten.
    Handshaking,
    /// AUTH was sent.
    AwaitingGoAhead {
        mechanism: Bearer,
    },
    /// The session has been asked for the credential.
    AwaitingCredential {
        mechanism: Bearer,
    },
    AwaitingOutcome {
        mechanism: Bearer,
    },
    AwaitingRefusal {
        mechanism: Bearer,
        challenge: Vec<u8>,
    },
    LoggedIn,
    /// The session is still to be told.
    Refusing(UpstreamRefusal),
    /// The session knows; the upstream is still to be told goodbye.
    Refused,
    Ended,
}

/// The next state, and the step to return now, if any.
type Turn = (State, Option<Step<UpstreamEvent<()>>>);

impl Upstream {
    /// A machine that waits for the greeting.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { state: State::AwaitingGreeting { starttls: plan.starttls } }
    }
}

impl Machine for Upstream {
    type Event = UpstreamEvent<()>;
    type Answer = Credential;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<Self::Event>, ProtoError> {
        loop {
            // An error ends the dialogue, so it does not matter that it leaves the machine in this state.
            let (state, step) = match mem::replace(&mut self.state, State::Ended) {
                State::Handshaking => (say_auth(Bearer::Xoauth2, out), None),
                asked @ State::AwaitingCredential { .. } => (asked, Some(Step::NeedInput)),
                State::LoggedIn => (State::LoggedIn, Some(Step::Relay)),
                State::Refusing(refusal) => (State::Refused, Some(Step::Event(UpstreamEvent::Refused(refusal)))),
                State::Refused => {
                    // Its answer is not awaited: nothing it could say matters.
                    out.extend_from_slice(b"QUIT\r\n");
                    (State::Ended, Some(Step::Close(CloseReason::Refused)))
                }
                State::Ended => (State::Ended, Some(Step::Close(CloseReason::Refused))),
                waiting => match read_line(input)? {
                    Some(line) => waiting.on_line(&line, out)?,
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
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::AwaitingCredential { mechanism } => send_token(mechanism, &credential, out),
            unasked => unasked,
        };
    }
}

fn read_line(input: &mut Input) -> Result<Option<Line>, ProtoError> {
    input
        .line(MAX_RESPONSE_LINE)
        .map_err(|_| ProtoError::UpstreamMisbehaved("a response line of more than 4096 octets"))
}

impl State {
    fn on_line(self, line: &[u8], out: &mut Vec<u8>) -> Result<Turn, ProtoError> {
        let response = Response::parse(line)?;
        match (self, response) {
            (Self::AwaitingGreeting { starttls: true }, Response::Ok) => {
                out.extend_from_slice(b"STLS\r\n");
                Ok((Self::AwaitingTls, None))
            }
            (Self::AwaitingGreeting { starttls: false }, Response::Ok) => Ok((say_auth(Bearer::Xoauth2, out), None)),
            (Self::AwaitingGreeting { .. }, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Transient), "greeting", line, None))
            }
            (Self::AwaitingTls, Response::Ok) => Ok((Self::Handshaking, Some(Step::StartTls))),
            (Self::AwaitingTls, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Unsupported), "STLS", line, None))
            }
            (Self::AwaitingGoAhead { mechanism }, Response::Continue(_)) => {
                Ok((Self::AwaitingCredential { mechanism }, Some(Step::Event(UpstreamEvent::CredentialWanted))))
            }
            (Self::AwaitingGoAhead { mechanism }, Response::Err { code }) => {
                match (mechanism, kind(code, RefusalKind::Unsupported)) {
                    (Bearer::Xoauth2, RefusalKind::Unsupported) => Ok((say_auth(Bearer::Oauthbearer, out), None)),
                    (_, kind) => Ok(refused(kind, mechanism.auth(), line, None)),
                }
            }
            (Self::AwaitingOutcome { .. }, Response::Ok) => {
                Ok((Self::LoggedIn, Some(Step::Event(UpstreamEvent::LoggedIn(())))))
            }
            (Self::AwaitingOutcome { mechanism }, Response::Continue(challenge)) => {
                // The challenge says why it failed; only our answer brings the -ERR.
                out.extend_from_slice(mechanism.dismissal());
                Ok((Self::AwaitingRefusal { mechanism, challenge: decode_challenge(challenge) }, None))
            }
            (Self::AwaitingOutcome { mechanism }, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Token), mechanism.auth(), line, None))
            }
            (Self::AwaitingRefusal { mechanism, challenge }, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Token), mechanism.auth(), line, Some(challenge)))
            }
            (Self::AwaitingRefusal { .. }, Response::Continue(_)) => {
                out.extend_from_slice(b"*\r\n");
                Err(ProtoError::UpstreamMisbehaved("a second challenge"))
            }
            _ => Err(ProtoError::UpstreamMisbehaved("a POP3 response out of place")),
        }
    }
}

/// Never with an initial response: Microsoft closes the connection at a line this long.
fn say_auth(mechanism: Bearer, out: &mut Vec<u8>) -> State {
    out.extend_from_slice(mechanism.auth().as_bytes());
    out.extend_from_slice(b"\r\n");
    State::AwaitingGoAhead { mechanism }
}

fn send_token(mechanism: Bearer, credential: &Credential, out: &mut Vec<u8>) -> State {
    let Some(message) = mechanism.message(credential) else {
        out.extend_from_slice(b"*\r\n");
        let why = b"not tried: the mailbox's address is empty or holds a control character";
        return State::Refusing(refusal(RefusalKind::Policy, mechanism.auth(), why, None));
    };
    // At once, so that no growth of the buffer leaves a copy of the token behind.
    out.reserve(message.len() + 2);
    out.extend_from_slice(message.as_bytes());
    out.extend_from_slice(b"\r\n");
    State::AwaitingOutcome { mechanism }
}

fn refusal(kind: RefusalKind, stage: &'static str, line: &[u8], challenge: Option<Vec<u8>>) -> UpstreamRefusal {
    UpstreamRefusal { kind, stage, said: said(line), challenge }
}

fn refused(kind: RefusalKind, stage: &'static str, line: &[u8], challenge: Option<Vec<u8>>) -> Turn {
    (State::Refusing(refusal(kind, stage, line, challenge)), None)
}

/// Whose fault a refusal is: the code says it (RFC 2449 section 8.1, RFC 3206), or else the point it came at. `AUTH` is
/// no word of its own here: before the token was sent it cannot mean the token, after it nothing else is meant.
fn kind(code: Option<&[u8]>, otherwise: RefusalKind) -> RefusalKind {
    match code.map(<[u8]>::to_ascii_uppercase).as_deref() {
        Some(b"SYS/TEMP" | b"IN-USE" | b"LOGIN-DELAY") => RefusalKind::Transient,
        Some(b"SYS/PERM") => RefusalKind::Policy,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests;
