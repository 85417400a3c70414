//! What the targets share: playing a machine whole and in pieces, and seeing that it makes no difference.

use mailferry::proto::{Input, Machine, Step};

/// More steps than this without using input up would be an endless loop.
const MOST_STEPS: usize = 100_000;

/// What a machine did.
#[derive(Debug, PartialEq)]
struct Played<E> {
    out: Vec<u8>,
    events: Vec<E>,
    /// The ending's Debug form, or nothing while the machine waits.
    ending: String,
    left: Vec<u8>,
}

/// Plays `octets` against a machine whole, one by one, and in pieces of the sizes that `data`'s first octet gives, and
/// sees that the machine does the same each time.
pub fn any_split_is_the_same<M: Machine>(
    data: &[u8],
    machine: impl Fn() -> M,
    answer: impl Fn(&M::Event) -> Option<M::Answer>,
) where
    M::Event: PartialEq + std::fmt::Debug,
{
    let Some((&size, octets)) = data.split_first() else { return };
    let whole = play(machine(), [octets], &answer);
    let single = play(machine(), octets.chunks(1), &answer);
    assert_eq!(whole, single);
    let pieces = play(machine(), octets.chunks(usize::from(size) + 1), &answer);
    assert_eq!(whole, pieces);
}

fn play<'a, M: Machine>(
    mut machine: M,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    answer: &impl Fn(&M::Event) -> Option<M::Answer>,
) -> Played<M::Event> {
    let mut input = Input::new();
    let mut played = Played { out: Vec::new(), events: Vec::new(), ending: String::new(), left: Vec::new() };
    let mut chunks = chunks.into_iter();
    for _ in 0..MOST_STEPS {
        match machine.advance(&mut input, &mut played.out) {
            Ok(Step::NeedInput) => match chunks.next() {
                Some(chunk) => input.extend(chunk),
                None => return finish(played, input, chunks),
            },
            Ok(Step::Flush) => {}
            Ok(Step::StartTls) => {
                // What follows belongs to the handshake, whose octets are not the machine's.
                played.ending = "StartTls".into();
                return finish(played, Input::new(), std::iter::empty());
            }
            Ok(Step::Event(event)) => {
                if let Some(answer) = answer(&event) {
                    machine.answer(answer, &mut played.out);
                }
                played.events.push(event);
            }
            Ok(step @ (Step::Relay | Step::Close(_))) => {
                played.ending = match step {
                    Step::Close(reason) => format!("{reason:?}"),
                    _ => "Relay".into(),
                };
                return finish(played, input, chunks);
            }
            Err(error) => {
                // How much was read before the fault showed depends on the pieces.
                played.ending = error.to_string();
                return finish(played, Input::new(), std::iter::empty());
            }
        }
    }
    panic!("the machine does not come to an end");
}

fn finish<'a, E>(mut played: Played<E>, mut input: Input, rest: impl Iterator<Item = &'a [u8]>) -> Played<E> {
    rest.for_each(|chunk| input.extend(chunk));
    input.take_into(usize::MAX, &mut played.left);
    played
}
