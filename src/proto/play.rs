//! Plays a dialogue against a machine in tests: the same octets whole, one by one, or cut anywhere.

use super::{CloseReason, Credential, Input, Machine, ProtoError, Step, UpstreamEvent};

/// What a machine did with a whole dialogue.
#[derive(Debug, PartialEq)]
pub(crate) struct Played<E> {
    /// Everything it wrote.
    pub(crate) out: Vec<u8>,
    /// Everything it told the session.
    pub(crate) events: Vec<E>,
    /// How it ended, or `None` while it waits for more.
    pub(crate) ending: Option<Ending>,
    /// What it had not used.
    pub(crate) left: Vec<u8>,
}

/// How a dialogue ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Ending {
    Relay,
    Close(CloseReason),
    Error(ProtoError),
}

impl<E> Played<E> {
    /// What it wrote, as text, for comparison with a transcript.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// Feeds `chunks` to `machine`, one after the other; `answer` is asked at every event. A [`Step::StartTls`] is
/// taken as a handshake that succeeded; nothing may have arrived before it that is not used up.
pub(crate) fn play<'a, M: Machine>(
    mut machine: M,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    mut answer: impl FnMut(&M::Event) -> Option<M::Answer>,
) -> Played<M::Event> {
    let mut input = Input::new();
    let mut played = Played { out: Vec::new(), events: Vec::new(), ending: None, left: Vec::new() };
    let mut chunks = chunks.into_iter();
    while played.ending.is_none() {
        match machine.advance(&mut input, &mut played.out) {
            Ok(Step::NeedInput) => match chunks.next() {
                Some(chunk) => input.extend(chunk),
                None => break,
            },
            Ok(Step::Flush) => {}
            Ok(Step::StartTls) => assert!(input.is_empty(), "octets in the clear would be read as if over TLS"),
            Ok(Step::Event(event)) => {
                if let Some(answer) = answer(&event) {
                    machine.answer(answer, &mut played.out);
                }
                played.events.push(event);
            }
            Ok(Step::Relay) => played.ending = Some(Ending::Relay),
            Ok(Step::Close(reason)) => played.ending = Some(Ending::Close(reason)),
            Err(error) => played.ending = Some(Ending::Error(error)),
        }
    }
    // After the end nothing is read, but what the peer had sent is still to be handed on.
    for chunk in chunks {
        input.extend(chunk);
    }
    input.take_into(usize::MAX, &mut played.left);
    played
}

/// As [`play`], for a login at an upstream: whenever the machine wants a credential, it gets this one. That it did is no
/// part of the events.
pub(crate) fn play_login<'a, C, M: Machine<Event = UpstreamEvent<C>, Answer = Credential>>(
    machine: M,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    credential: &Credential,
) -> Played<UpstreamEvent<C>> {
    let is_question = |event: &UpstreamEvent<C>| matches!(event, UpstreamEvent::CredentialWanted);
    let mut played = play(machine, chunks, |event| is_question(event).then(|| credential.clone()));
    played.events.retain(|event| !is_question(event));
    played
}

/// What a machine that demands TLS writes and tells until the handshake. No event of it is answered.
pub(crate) fn play_in_clear<'a, M: Machine>(
    mut machine: M,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Vec<M::Event>) {
    let (mut input, mut out, mut events) = (Input::new(), Vec::new(), Vec::new());
    let mut chunks = chunks.into_iter();
    loop {
        match machine.advance(&mut input, &mut out) {
            Ok(Step::NeedInput) => match chunks.next() {
                Some(chunk) => input.extend(chunk),
                None => break,
            },
            Ok(Step::Flush) => {}
            Ok(Step::Event(event)) => events.push(event),
            Ok(Step::StartTls | Step::Relay | Step::Close(_)) | Err(_) => break,
        }
    }
    (out, events)
}

/// Cuts `octets` into pieces of the given sizes, the last one holding the rest.
pub(crate) fn cut<'a>(octets: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::with_capacity(sizes.len() + 1);
    let mut rest = octets;
    for &size in sizes {
        let (head, tail) = rest.split_at(size.min(rest.len()));
        pieces.push(head);
        rest = tail;
    }
    pieces.push(rest);
    pieces
}
