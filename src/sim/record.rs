//! What the simulator saw: counters, the dialogue with its tokens shortened, and every breach of a grammar.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Protocol;

/// The most dialogue lines kept; the oldest go first.
const MAX_LINES: usize = 20_000;

/// Words longer than this are shortened in the dialogue: they are tokens, or might be.
const MAX_WORD: usize = 72;

/// Who said a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The client: in the demo, the gateway.
    ToProvider,
    /// The simulator.
    FromProvider,
}

/// Counters of one protocol.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) connections: usize,
    pub(super) open: usize,
    pub(super) logins_ok: usize,
    pub(super) logins_refused: usize,
    pub(super) received: u64,
    pub(super) resumed: usize,
}

/// Everything seen, behind one lock that is never held across an await.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) counts: [Counts; 4],
    pub(super) token_requests: usize,
    /// The same by their `grant_type`.
    pub(super) token_requests_by: HashMap<String, usize>,
    pub(super) invalid_grants: usize,
    pub(super) reused_refresh_tokens: usize,
    pub(super) last_ehlo_name: Option<String>,
    pub(super) violations: Vec<String>,
    pub(super) raw_smtp: Vec<Vec<u8>>,
    dialogue: VecDeque<(Protocol, Direction, String)>,
}

/// The record, and the bell that rings whenever it changes.
#[derive(Debug)]
pub(super) struct Record {
    seen: Mutex<Seen>,
    bell: watch::Sender<()>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self { seen: Mutex::default(), bell: watch::Sender::new(()) }
    }

    /// Reads or changes what was seen.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Changes what was seen and wakes everyone who waits for a change.
    pub(super) fn note<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.seen());
        self.ring();
        result
    }

    /// Changes one protocol's counters.
    pub(super) fn count(&self, protocol: Protocol, change: impl FnOnce(&mut Counts)) {
        self.note(|seen| change(&mut seen.counts[protocol as usize]));
    }

    /// Notes that a client broke a grammar. The text is ours or has been made printable.
    pub(super) fn violation(&self, protocol: Protocol, what: &str) {
        self.note(|seen| seen.violations.push(format!("{protocol:?}: {what}")));
    }

    /// Keeps one line of the dialogue, printable and with everything token-like shortened.
    pub(super) fn line(&self, protocol: Protocol, direction: Direction, line: &[u8]) {
        let shown = shorten(line, MAX_WORD);
        self.keep(protocol, direction, shown);
    }

    /// Keeps a line that is a credential, however short it is.
    pub(super) fn credential(&self, protocol: Protocol, line: &[u8]) {
        self.keep(protocol, Direction::ToProvider, shorten(line, 12));
    }

    /// Wakes everyone who waits for a change.
    pub(super) fn ring(&self) {
        self.bell.send_replace(());
    }

    pub(super) fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    fn keep(&self, protocol: Protocol, direction: Direction, shown: String) {
        let mut seen = self.seen();
        if seen.dialogue.len() == MAX_LINES {
            seen.dialogue.pop_front();
        }
        seen.dialogue.push_back((protocol, direction, shown));
        drop(seen);
        self.ring();
    }
}

impl Seen {
    pub(super) fn dialogue(&self) -> Vec<(Protocol, Direction, String)> {
        self.dialogue.iter().cloned().collect()
    }
}

/// A lock that a panicking test does not take away from the others.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a line printable, and cuts every word longer than `longest` down to its beginning and its length.
fn shorten(line: &[u8], longest: usize) -> String {
    let words = line.split(|&octet| octet == b' ').map(|word| {
        let shown = printable(&word[..word.len().min(longest)]);
        if word.len() <= longest {
            shown
        } else {
            format!("{}...({} octets)", &shown[..8.min(shown.len())], word.len())
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What can be printed as it is, and the rest escaped.
fn printable(octets: &[u8]) -> String {
    let one = |&octet: &u8| match octet {
        b' '..=b'~' => char::from(octet).to_string(),
        _ => octet.escape_ascii().to_string(),
    };
    octets.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_kept_whole() {
        let record = Record::new();
        let token = "x".repeat(73);
        record.line(Protocol::Imap, Direction::ToProvider, format!("A1 AUTHENTICATE XOAUTH2 {token}").as_bytes());
        record.credential(Protocol::Smtp, b"dXNlcj1hAWF1dGg9");
        let lines: Vec<_> = record.seen().dialogue().into_iter().map(|(_, _, line)| line).collect();
        assert_eq!(lines, ["A1 AUTHENTICATE XOAUTH2 xxxxxxxx...(73 octets)", "dXNlcj1h...(16 octets)"]);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(shorten(b"a\x1b[2J \x01b\xff", 72), "a\\x1b[2J \\x01b\\xff");
        assert_eq!(shorten(b"FLAGS (\\Seen) {\"a\":1}", 72), "FLAGS (\\Seen) {\"a\":1}");
    }
}
