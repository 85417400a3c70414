//! Plays a login machine whole and in pieces, and sees that it makes no difference.

use std::fmt::Debug;

use mailferry::proto::{
    Credential, FLUSH_AT, Input, LoginAnswer, Machine, OCTETS_BEFORE_TLS, OCTETS_BEHIND_STARTTLS, ProtoError, Step, UpstreamEvent,
};
use mailferry::secret::AccessToken;

use crate::dialogue::Dialogue;

/// More steps than this could only be an endless loop: a step uses an octet up, fills the output or ends the dialogue.
const MOST_STEPS: usize = 400_000;

/// What one step may write beyond [`FLUSH_AT`]: the longest answer to one line.
const MOST_BEYOND: usize = 4096;

/// How a dialogue ends in which octets came in the clear that would be read as if they had come over TLS.
const IN_THE_CLEAR: &str = "octets in the clear before TLS";

/// What a machine did.
#[derive(Debug, PartialEq)]
struct Played<E> {
    out: Vec<u8>,
    events: Vec<E>,
    /// In words; nothing while the machine waits.
    ending: String,
    /// What is left for whoever reads next.
    left: Vec<u8>,
}

/// Sees that a machine does the same however the dialogue is cut. Between two parts stands a TLS handshake. `answer` is
/// asked at every event, and told how many came before.
///
/// # Panics
/// When it does not, when it does not end, and when it writes without bounds.
pub fn plays_alike<M: Machine>(
    dialogue: &Dialogue,
    machine: impl Fn() -> M,
    answer: impl Fn(usize) -> Option<M::Answer>,
) where
    M::Event: PartialEq + Debug,
{
    let [whole, pieces @ ..] = dialogue.sizes();
    let expected = play(machine(), &dialogue.parts, whole, &answer);
    for size in pieces {
        assert_eq!(play(machine(), &dialogue.parts, size, &answer), expected, "in pieces of {size}");
    }
}

/// The session's answer to a login: options 1 and 2 count the refusals before it is let in; the third is the last.
pub fn verdict<A, R>(dialogue: &Dialogue, before: usize, accepted: A, reply: R) -> LoginAnswer<A, R> {
    let refusals = usize::from(dialogue.option(1)) + 2 * usize::from(dialogue.option(2));
    if before < refusals {
        LoginAnswer::Refused { reply, last: before == 2 }
    } else {
        LoginAnswer::Accepted(accepted)
    }
}

/// As [`plays_alike`], for a machine that logs in at an upstream, and that asks for no credential in the clear where TLS
/// is demanded.
///
/// # Panics
/// As that does, and when it asks too early.
pub fn logs_in_alike<C, M>(dialogue: &Dialogue, starttls: bool, machine: impl Fn() -> M)
where
    C: PartialEq + Debug,
    M: Machine<Event = UpstreamEvent<C>, Answer = Credential>,
{
    let token = AccessToken::parse("token".into()).expect("a clean token");
    let credential = Credential { user: "scanner@contoso.example".into(), token, host: "mail.example".into(), port: 993 };
    // What is no question ignores the answer.
    plays_alike(dialogue, || Watched { machine: machine(), fit: !starttls }, |_| Some(credential.clone()));
}

/// An upstream machine that is watched for what it asks in the clear.
struct Watched<M> {
    machine: M,
    fit: bool,
}

impl<C, M: Machine<Event = UpstreamEvent<C>, Answer = Credential>> Machine for Watched<M> {
    type Event = UpstreamEvent<C>;
    type Answer = Credential;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<Self::Event>, ProtoError> {
        let step = self.machine.advance(input, out)?;
        match step {
            Step::StartTls => self.fit = true,
            Step::Event(UpstreamEvent::CredentialWanted) => assert!(self.fit, "a credential for a clear channel"),
            _ => {}
        }
        Ok(step)
    }

    fn answer(&mut self, credential: Credential, out: &mut Vec<u8>) {
        self.machine.answer(credential, out);
    }
}

fn play<M: Machine>(
    mut machine: M,
    parts: &[Vec<u8>],
    size: usize,
    answer: &impl Fn(usize) -> Option<M::Answer>,
) -> Played<M::Event> {
    let mut played = Played { out: Vec::new(), events: Vec::new(), ending: String::new(), left: Vec::new() };
    let mut parts = parts.iter();
    let mut pieces = parts.next().map(Vec::as_slice).unwrap_or_default().chunks(size);
    let mut input = Input::new();
    for _ in 0..MOST_STEPS {
        let mut out = Vec::new();
        let step = machine.advance(&mut input, &mut out);
        assert!(out.len() <= FLUSH_AT + MOST_BEYOND, "{} octets in one step", out.len());
        played.out.append(&mut out);
        match step {
            Ok(Step::NeedInput) => match pieces.next() {
                Some(piece) => {
                    input.extend(piece);
                    continue;
                }
                None => played.ending = "waits".into(),
            },
            Ok(Step::Flush) => continue,
            Ok(Step::StartTls) if pieces.len() > 0 => {
                // In one read with the rest, a machine would have seen that there is more.
                played.ending = IN_THE_CLEAR.into();
                return played;
            }
            Ok(Step::StartTls) => {
                assert!(input.is_empty(), "octets before the handshake would be read as if they came after it");
                pieces = parts.next().map(Vec::as_slice).unwrap_or_default().chunks(size);
                continue;
            }
            Ok(Step::Event(event)) => {
                if let Some(answer) = answer(played.events.len()) {
                    machine.answer(answer, &mut played.out);
                }
                played.events.push(event);
                continue;
            }
            Ok(Step::Relay) => played.ending = "relay".into(),
            Ok(Step::Close(reason)) => played.ending = format!("close: {reason:?}"),
            Err(OCTETS_BEFORE_TLS | OCTETS_BEHIND_STARTTLS) => {
                played.ending = IN_THE_CLEAR.into();
                return played;
            }
            Err(error) => {
                // How much had been read when the fault showed depends on the pieces, and nobody reads the rest.
                played.ending = error.to_string();
                return played;
            }
        }
        pieces.for_each(|piece| input.extend(piece));
        input.take_into(usize::MAX, &mut played.left);
        return played;
    }
    panic!("the machine does not come to an end");
}
