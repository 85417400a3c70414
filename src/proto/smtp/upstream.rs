//! SMTP up to the login where we are the client (RFC 5321, 3207, 4954): greeting, EHLO, STARTTLS, AUTH with a
//! token. It refreshes no token and sends no mail.

use std::mem;

use zeroize::Zeroizing;

use super::extensions::Extensions;
use super::reply::{ReplyLine, ReplyReader};
use crate::proto::ProtoError::UpstreamMisbehaved;
use crate::proto::sasl::bearer::Bearer;
use crate::proto::sasl::decode_challenge;
use crate::proto::{
    CloseReason, Credential, Input, Machine, OCTETS_BEFORE_TLS, ProtoError, RefusalKind, Step, UpstreamEvent,
    UpstreamRefusal, said,
};

/// What an upstream login needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Our name in EHLO: a domain or an address literal.
    pub hostname: String,
    /// Whether STARTTLS is demanded. If not, the channel is fit for a token as it is.
    pub starttls: bool,
}

/// The client's side of the dialogue up to the login.
pub struct Upstream {
    plan: Plan,
    state: State,
    replies: ReplyReader,
}

enum State {
    Awaiting(Expected),
    /// The driver does the handshake. All we learnt before it is forgotten (RFC 3207 section 4.2).
    Handshaking,
    /// The session has been asked for the credential.
    AwaitingCredential {
        mechanism: Bearer,
        extensions: Extensions,
    },
    LoggedIn,
    /// The session is still to be told.
    Refusing(UpstreamRefusal),
    /// The session knows; the upstream is still to be told goodbye.
    Refused,
    Over,
}

/// The reply that comes next.
enum Expected {
    Greeting,
    /// To EHLO. `fit`: the channel may carry a token.
    Extensions {
        fit: bool,
    },
    StartTls,
    /// To AUTH. An initial response could pass the 512 octets of a command line (RFC 4954 section 4), so the token
    /// waits for the prompt.
    Prompt {
        mechanism: Bearer,
        response: Zeroizing<String>,
        extensions: Extensions,
    },
    /// To the token. `challenge` is what a failing server says before its final reply.
    Verdict {
        mechanism: Bearer,
        extensions: Extensions,
        challenge: Option<Vec<u8>>,
    },
}

/// What a reply led to.
enum Next {
    Await(Expected),
    Handshake,
    LogIn(Bearer, Extensions),
    LoggedIn(Extensions),
    Refused(UpstreamRefusal),
}

impl Upstream {
    /// A client that waits for the greeting.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { plan, state: State::Awaiting(Expected::Greeting), replies: ReplyReader::default() }
    }
}

impl Machine for Upstream {
    type Event = UpstreamEvent<Extensions>;
    type Answer = Credential;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<Self::Event>, ProtoError> {
        loop {
            let expected = match mem::replace(&mut self.state, State::Over) {
                State::Awaiting(expected) => expected,
                State::Handshaking => self.plan.say_ehlo(true, out),
                asked @ State::AwaitingCredential { .. } => {
                    self.state = asked;
                    return Ok(Step::NeedInput);
                }
                State::LoggedIn => {
                    self.state = State::LoggedIn;
                    return Ok(Step::Relay);
                }
                State::Refusing(refusal) => {
                    self.state = State::Refused;
                    return Ok(Step::Event(UpstreamEvent::Refused(refusal)));
                }
                State::Refused => {
                    out.extend_from_slice(b"QUIT\r\n");
                    return Ok(Step::Close(CloseReason::Refused));
                }
                State::Over => return Ok(Step::Close(CloseReason::Refused)),
            };
            let Some(reply) = self.replies.read(input)? else {
                self.state = State::Awaiting(expected);
                return Ok(Step::NeedInput);
            };
            match self.plan.on_reply(expected, &reply, out)? {
                Next::Await(expected) => self.state = State::Awaiting(expected),
                Next::Handshake if !input.is_empty() => return Err(OCTETS_BEFORE_TLS),
                Next::Handshake => {
                    self.state = State::Handshaking;
                    return Ok(Step::StartTls);
                }
                Next::LogIn(mechanism, extensions) => {
                    self.state = State::AwaitingCredential { mechanism, extensions };
                    return Ok(Step::Event(UpstreamEvent::CredentialWanted));
                }
                Next::LoggedIn(extensions) => {
                    self.state = State::LoggedIn;
                    return Ok(Step::Event(UpstreamEvent::LoggedIn(extensions)));
                }
                Next::Refused(refusal) => self.state = State::Refusing(refusal),
            }
        }
    }

    fn answer(&mut self, credential: Credential, out: &mut Vec<u8>) {
        self.state = match mem::replace(&mut self.state, State::Over) {
            State::AwaitingCredential { mechanism, extensions } => log_in(mechanism, extensions, &credential, out),
            unasked => unasked,
        };
    }
}

impl Plan {
    fn on_reply(&self, expected: Expected, reply: &[ReplyLine], out: &mut Vec<u8>) -> Result<Next, ProtoError> {
        match expected {
            Expected::Greeting => self.on_greeting(reply, out),
            Expected::Extensions { fit } => self.on_extensions(fit, reply, out),
            Expected::StartTls => on_starttls(reply),
            Expected::Prompt { mechanism, response, extensions } => {
                on_prompt(mechanism, &response, extensions, reply, out)
            }
            Expected::Verdict { mechanism, extensions, challenge } => {
                on_verdict(mechanism, extensions, challenge, reply, out)
            }
        }
    }

    fn on_greeting(&self, reply: &[ReplyLine], out: &mut Vec<u8>) -> Result<Next, ProtoError> {
        match code(reply) {
            220 => Ok(Next::Await(self.say_ehlo(!self.starttls, out))),
            400..=499 => Ok(refused(RefusalKind::Transient, "greeting", reply)),
            // 554 means "no SMTP service here" (RFC 5321 section 3.1): our address is blocked, or this is no submission
            // server. It stays so until someone acts, and no token changes it.
            500..=599 => Ok(refused(RefusalKind::Policy, "greeting", reply)),
            _ => Err(UpstreamMisbehaved("a greeting that neither welcomes nor refuses")),
        }
    }

    fn say_ehlo(&self, fit: bool, out: &mut Vec<u8>) -> Expected {
        out.extend_from_slice(b"EHLO ");
        out.extend_from_slice(self.hostname.as_bytes());
        out.extend_from_slice(b"\r\n");
        Expected::Extensions { fit }
    }

    fn on_extensions(&self, fit: bool, reply: &[ReplyLine], out: &mut Vec<u8>) -> Result<Next, ProtoError> {
        match code(reply) {
            250 if fit => Ok(on_offer(reply)),
            250 if Extensions::parse(reply).has("STARTTLS") => {
                out.extend_from_slice(b"STARTTLS\r\n");
                Ok(Next::Await(Expected::StartTls))
            }
            250 => Ok(refused(RefusalKind::Unsupported, "STARTTLS", reply)),
            400..=499 => Ok(refused(RefusalKind::Transient, "EHLO", reply)),
            // A server that knows HELO only has no extensions: neither STARTTLS nor AUTH.
            500 | 502 | 504 => Ok(refused(RefusalKind::Unsupported, "EHLO", reply)),
            // It dislikes our name or address, and that does not pass by itself.
            500..=599 => Ok(refused(RefusalKind::Policy, "EHLO", reply)),
            _ => Err(UpstreamMisbehaved("an answer to EHLO that is none")),
        }
    }
}

/// To EHLO on a channel that may carry a token.
fn on_offer(reply: &[ReplyLine]) -> Next {
    let extensions = Extensions::parse(reply);
    match Bearer::chosen(|name| extensions.has_mechanism(name)) {
        Some(mechanism) => Next::LogIn(mechanism, extensions),
        None => refused(RefusalKind::Unsupported, Bearer::Xoauth2.auth(), reply),
    }
}

fn log_in(mechanism: Bearer, extensions: Extensions, credential: &Credential, out: &mut Vec<u8>) -> State {
    let Some(response) = mechanism.message(credential) else {
        // The message's fields are parted by a control character: such a name could log in as somebody else.
        return State::Refusing(UpstreamRefusal {
            kind: RefusalKind::Policy,
            stage: mechanism.auth(),
            said: b"Not asked: the mailbox's name cannot be sent".to_vec(),
            challenge: None,
        });
    };
    out.extend_from_slice(mechanism.auth().as_bytes());
    out.extend_from_slice(b"\r\n");
    State::Awaiting(Expected::Prompt { mechanism, response, extensions })
}

fn on_starttls(reply: &[ReplyLine]) -> Result<Next, ProtoError> {
    match code(reply) {
        220 => Ok(Next::Handshake),
        400..=499 => Ok(refused(RefusalKind::Transient, "STARTTLS", reply)),
        500..=599 => Ok(refused(RefusalKind::Unsupported, "STARTTLS", reply)),
        _ => Err(UpstreamMisbehaved("an answer to STARTTLS that is none")),
    }
}

fn on_prompt(
    mechanism: Bearer,
    response: &str,
    extensions: Extensions,
    reply: &[ReplyLine],
    out: &mut Vec<u8>,
) -> Result<Next, ProtoError> {
    match code(reply) {
        334 => {
            // So that no growth of the buffer leaves a copy of the token behind.
            out.reserve_exact(response.len() + 2);
            out.extend_from_slice(response.as_bytes());
            out.extend_from_slice(b"\r\n");
            Ok(Next::Await(Expected::Verdict { mechanism, extensions, challenge: None }))
        }
        400..=599 => Ok(refused(login_refusal(reply), mechanism.auth(), reply)),
        _ => Err(UpstreamMisbehaved("an answer to AUTH that is none")),
    }
}

fn on_verdict(
    mechanism: Bearer,
    extensions: Extensions,
    challenge: Option<Vec<u8>>,
    reply: &[ReplyLine],
    out: &mut Vec<u8>,
) -> Result<Next, ProtoError> {
    match code(reply) {
        235 if challenge.is_none() => Ok(Next::LoggedIn(extensions)),
        // A token fails in two steps at Gmail, Dovecot and others: a challenge that says why, then the final reply once it
        // has been answered.
        334 if challenge.is_none() => {
            out.extend_from_slice(mechanism.dismissal());
            let challenge = reply.first().map(|line| decode_challenge(&line.text));
            Ok(Next::Await(Expected::Verdict { mechanism, extensions, challenge }))
        }
        400..=599 => Ok(Next::Refused(UpstreamRefusal {
            kind: login_refusal(reply),
            stage: mechanism.auth(),
            said: in_one_line(reply),
            challenge,
        })),
        _ => Err(UpstreamMisbehaved("an answer to a token that is none")),
    }
}

/// Whose fault a refused login is, by code and enhanced status; the words change without notice.
fn login_refusal(reply: &[ReplyLine]) -> RefusalKind {
    match (code(reply), reply.iter().find_map(ReplyLine::enhanced)) {
        (400..=499, _) => RefusalKind::Transient,
        // Microsoft's switches: SMTP AUTH is off for the mailbox or the tenant; passwords are retired.
        (535, Some("5.7.139" | "5.7.30")) => RefusalKind::Policy,
        // "Credentials invalid" (RFC 4954 section 6): 5.7.8 by the RFC, 5.7.3 at Microsoft, 5.7.1 at Gmail.
        (535, _) => RefusalKind::Token,
        // The mechanism is unknown after all (RFC 4954 section 4), though EHLO offered it.
        (504, _) => RefusalKind::Unsupported,
        _ => RefusalKind::Policy,
    }
}

/// The code of a reply; all its lines have the same one.
fn code(reply: &[ReplyLine]) -> u16 {
    reply.first().map_or(0, |line| line.code)
}

fn refused(kind: RefusalKind, stage: &'static str, reply: &[ReplyLine]) -> Next {
    Next::Refused(UpstreamRefusal { kind, stage, said: in_one_line(reply), challenge: None })
}

/// A reply for the log: its code, then the text of every line.
fn in_one_line(reply: &[ReplyLine]) -> Vec<u8> {
    let mut words = code(reply).to_string().into_bytes();
    for line in reply {
        words.push(b' ');
        words.extend_from_slice(&line.text);
    }
    said(&words)
}

#[cfg(test)]
mod tests;
