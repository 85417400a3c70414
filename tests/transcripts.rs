//! Golden dialogues of the login machines: each file of `tests/transcripts` is one dialogue, and the machine must speak
//! it word for word. The files are described in `tests/transcripts/README.md`.
//!
//! Every file is played in the rhythm it is written in, then with all the peer's octets at once, then one octet at a
//! time, then cut anywhere: the machine must write and tell the same each time.

#[path = "transcripts/script.rs"]
mod script;
#[path = "transcripts/seeds.rs"]
mod seeds;
#[path = "transcripts/sides.rs"]
mod sides;

use std::path::{Path, PathBuf};
use std::{fs, io};

use mailferry::proto::{Input, Step};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use script::{Item, Script};
use sides::Side;

#[test]
fn every_transcript_is_spoken_word_for_word() {
    let mut failures = Vec::new();
    for path in transcripts().unwrap() {
        let text = fs::read_to_string(&path).unwrap();
        if let Err(why) = check(&text) {
            failures.push(format!("{}: {why}", path.display()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn every_machine_has_its_transcripts() {
    let texts: Vec<String> = transcripts()
        .unwrap()
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for machine in sides::MACHINES {
        let header = format!("machine: {machine}");
        assert!(texts.iter().any(|text| text.lines().any(|line| line == header)), "no transcript of {machine}");
    }
}

#[test]
fn a_transcript_that_is_not_true_is_found_out() {
    let true_one =
        "machine: pop3-downstream\n\nS: +OK mailferry.local mailferry POP3 ready\nC: QUIT\nS: +OK Bye\n= close: Quit\n";
    assert_eq!(check(true_one), Ok(()));
    for (from, to) in [
        ("S: +OK Bye", "S: +OK bye"),
        ("= close: Quit", "= close: TooLong"),
        ("S: +OK Bye\n", ""),
        ("C: QUIT\nS: +OK Bye\n", "S: +OK Bye\nC: QUIT\n"),
        ("= close: Quit", "= relay"),
        ("C: QUIT", "C: CAPA"),
    ] {
        let false_one = true_one.replace(from, to);
        assert_ne!(false_one, true_one);
        assert!(check(&false_one).is_err(), "{false_one}");
    }
}

fn transcripts() -> io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let files: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    Ok(files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect())
}

fn check(text: &str) -> Result<(), String> {
    let script = Script::parse(text);
    sides::with_machine(&script, Checker { script: &script })
}

/// Compares a script with what its machine does.
struct Checker<'a> {
    script: &'a Script,
}

impl sides::Visitor for Checker<'_> {
    type Output = Result<(), String>;

    fn visit<M: Side>(self, new: impl Fn() -> M) -> Self::Output {
        let script = self.script;
        let as_written = play(new(), script, script.phases_as_written());
        same("as it is written", script.show(&script.items), script.show(&as_written.items))?;

        // What was sent ahead of its turn stands elsewhere among the lines, so only our own side is compared.
        let ours = script.show(&without_peer(&script.items));
        let left = script.after_the_end();
        let compare = |rhythm: &str, phases: Vec<Vec<Vec<u8>>>| -> Result<(), String> {
            let played = play(new(), script, phases);
            same(rhythm, ours.clone(), script.show(&without_peer(&played.items)))?;
            if script.ends_in_relay() {
                same("what is left for the relay", script::escape(&left), script::escape(&played.left))?;
            }
            Ok(())
        };
        let whole = script.phases();
        compare("all at once", whole.iter().map(|octets| vec![octets.clone()]).collect())?;
        compare("octet by octet", whole.iter().map(|octets| cut(octets, &[1])).collect())?;
        let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        runner
            .run(&proptest::collection::vec(1usize..40, 1..20), |sizes| {
                compare("cut", whole.iter().map(|octets| cut(octets, &sizes)).collect()).map_err(TestCaseError::fail)
            })
            .map_err(|error| error.to_string())
    }
}

fn same(rhythm: &str, expected: String, actual: String) -> Result<(), String> {
    if expected == actual {
        return Ok(());
    }
    Err(format!("played {rhythm}, expected\n{expected}but it went\n{actual}"))
}

fn without_peer(items: &[Item]) -> Vec<Item> {
    items.iter().filter(|item| !matches!(item, Item::Peer(_))).cloned().collect()
}

/// Cuts octets into pieces of the given sizes, which are used over and over.
fn cut(octets: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = octets;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (head, tail) = rest.split_at(rest.len().min(*size));
        pieces.push(head.to_vec());
        rest = tail;
    }
    pieces
}

/// What a machine did.
struct Played {
    items: Vec<Item>,
    /// What it had not used at its end, and all that came later.
    left: Vec<u8>,
}

/// Plays the peer's pieces against a machine; between two phases stands a TLS handshake.
fn play<M: Side>(mut machine: M, script: &Script, phases: Vec<Vec<Vec<u8>>>) -> Played {
    let mut phases = phases.into_iter().map(|pieces| pieces.into_iter());
    let mut pieces = phases.next().unwrap_or_default();
    let mut answers = script.answers();
    let mut input = Input::new();
    let mut items = Vec::new();
    loop {
        let mut out = Vec::new();
        let step = machine.advance(&mut input, &mut out);
        items.push(Item::Ours(out));
        match step {
            Ok(Step::NeedInput) => match pieces.next() {
                Some(piece) => {
                    input.extend(&piece);
                    items.push(Item::Peer(piece));
                    continue;
                }
                None => items.push(Item::Told("waits".into())),
            },
            Ok(Step::Flush) => continue,
            Ok(Step::StartTls) => {
                items.push(Item::Told("start TLS".into()));
                // What came before the handshake is never read as protocol: the driver drops it.
                input.clear();
                pieces = phases.next().unwrap_or_default();
                continue;
            }
            Ok(Step::Event(event)) => {
                items.extend(M::tell(&event).into_iter().map(Item::Told));
                if let Some(answer) = M::given_answer(&event, script) {
                    let mut out = Vec::new();
                    machine.answer(answer, &mut out);
                    items.push(Item::Ours(out));
                } else if M::ASKS {
                    let words = answers.next().unwrap_or_else(|| panic!("no answer to {:?}", M::tell(&event)));
                    items.push(Item::Answer(words.to_owned()));
                    let mut out = Vec::new();
                    machine.answer(M::read_answer(words), &mut out);
                    items.push(Item::Ours(out));
                }
                continue;
            }
            Ok(Step::Relay) => items.push(Item::Told("relay".into())),
            Ok(Step::Close(reason)) => items.push(Item::Told(format!("close: {reason:?}"))),
            Err(error) => items.push(Item::Told(format!("error: {error}"))),
        }
        break;
    }
    for piece in pieces.chain(phases.flatten()) {
        input.extend(&piece);
        items.push(Item::Peer(piece));
    }
    Played { items, left: input.unused().to_vec() }
}
