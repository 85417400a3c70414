//! One bad device never silences the others: a login whose messages are refused for good, again and again in the same words,
//! is refused here for a while. Else the provider holds the whole mailbox back (Exchange: 5.2.251 to 5.2.255), and with it
//! every other device of the account.
//!
//! Counted is what is about the sender, the mailbox or a policy, since the next message meets it too. Not counted: what
//! passes (4xx), a recipient (RCPT, 5.1.1), a syntax (5.5), a size (5.3.4) or content (5.6, a virus): the next message may
//! be another. Words are the same without what differs each time in them: numbers, names of hosts, addresses.
//!
//! When the while is over one message is tried. If it is refused in the same words, the next while is twice as long. An
//! accepted message ends it all.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clearance::Sender;
use super::words;
use crate::login::bounded::Bounded;
use crate::proto::RefusalKind;
use crate::proto::smtp::reply::ReplyLine;

/// How many refusals in the same words it takes.
const MOST: usize = 5;

/// In what time.
const WITHIN: Duration = Duration::from_secs(10 * 60);

/// How long a login is refused here at first.
const FIRST_WHILE: Duration = Duration::from_secs(15 * 60);

/// How long at most.
const LONGEST_WHILE: Duration = Duration::from_secs(60 * 60);

/// For how long after a while it is remembered how long it was.
const PROBATION: Duration = Duration::from_secs(60 * 60);

/// How many logins are remembered: of those that have been refused the last ones.
const MOST_LOGINS: usize = 4096;

/// In how many different ways one login may be refused side by side.
const MOST_KINDS: usize = 4;

/// How much of a refusal's words is compared, in octets.
const COMPARED: usize = 160;

/// Words that say that a refusal is about what a message holds.
const CONTENT: [&str; 7] = ["virus", "malware", "spam", "content", "attachment", "phish", "dkim"];

/// Where in the dialogue the upstream refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The answer to MAIL.
    Mail,
    /// The answer to DATA, or to the message.
    Message,
}

/// The refusals of the last while.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<Bounded<Sender, Trouble>>);

/// What a login that is held back is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The upstream's own reply, one line. Peer text.
    pub(crate) reply: Vec<u8>,
    /// How much longer.
    pub(crate) left: Duration,
}

/// What is known of one login.
#[derive(Debug, Default)]
struct Trouble {
    kinds: VecDeque<Kind>,
    held: Option<Hold>,
}

/// Refusals in the same words.
#[derive(Debug)]
struct Kind {
    words: String,
    times: VecDeque<Instant>,
}

/// A while in which a login is refused here, or that is over.
#[derive(Debug)]
struct Hold {
    words: String,
    reply: Vec<u8>,
    until: Instant,
    lasted: Duration,
}

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(MOST_LOGINS)))
    }
}

impl Refusals {
    /// Whether `sender` is held back now.
    pub(crate) fn held(&self, sender: &Sender) -> Option<Held> {
        let now = Instant::now();
        let troubles = self.troubles();
        let hold = troubles.get(sender)?.held.as_ref()?;
        (now < hold.until).then(|| Held { reply: hold.reply.clone(), left: hold.until - now })
    }

    /// The upstream has refused a message of `sender` with this last line of a reply. For how long it is held back, if that
    /// begins now.
    pub(crate) fn refused(&self, sender: &Sender, stage: Stage, reply: &[u8]) -> Option<Duration> {
        let words = counted(stage, reply)?;
        let now = Instant::now();
        self.troubles()
            .entry(sender.clone(), Trouble::default)
            .refused(words, reply, now)
    }

    /// The upstream has accepted a message of `sender`: whatever was wrong is not any more.
    pub(crate) fn accepted(&self, sender: &Sender) {
        self.troubles().remove(sender);
    }

    fn troubles(&self) -> MutexGuard<'_, Bounded<Sender, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    fn refused(&mut self, words: String, reply: &[u8], now: Instant) -> Option<Duration> {
        if self.held.as_ref().is_some_and(|hold| now < hold.until) {
            // Of a session that was let pass before.
            return None;
        }
        let before = self
            .held
            .as_ref()
            .filter(|hold| now < hold.until + PROBATION && hold.words == words)
            .map(|hold| hold.lasted);
        let lasts = match before {
            Some(lasted) => (2 * lasted).min(LONGEST_WHILE),
            None if self.count(&words, now) < MOST => return None,
            None => FIRST_WHILE,
        };
        self.kinds.clear();
        self.held = Some(Hold { words, reply: reply.to_vec(), until: now + lasts, lasted: lasts });
        Some(lasts)
    }

    /// How many refusals in these words there are of late, with this one.
    fn count(&mut self, words: &str, now: Instant) -> usize {
        let mut kind = match self.kinds.iter().position(|kind| kind.words == words) {
            Some(at) => self.kinds.remove(at),
            None => None,
        }
        .unwrap_or_else(|| Kind { words: words.to_owned(), times: VecDeque::new() });
        kind.times.retain(|at| now < *at + WITHIN);
        kind.times.push_back(now);
        let count = kind.times.len();
        self.kinds.push_back(kind);
        if self.kinds.len() > MOST_KINDS {
            self.kinds.pop_front();
        }
        count
    }
}

/// What is compared of a refusal that counts.
fn counted(stage: Stage, reply: &[u8]) -> Option<String> {
    let line = ReplyLine::parse(reply).ok().filter(|line| line.code >= 500)?;
    let text = String::from_utf8_lossy(&line.text).to_ascii_lowercase();
    let enhanced = line.enhanced().unwrap_or_default();
    let known = words::of_reply(reply).map(|meaning| meaning.kind);
    let is_about_the_sender = match (enhanced.split('.').nth(1), enhanced) {
        (_, "5.3.4") => false,
        _ if CONTENT.iter().any(|word| text.contains(word)) && known.is_none() => false,
        _ if matches!(known, Some(RefusalKind::Rights | RefusalKind::Policy)) => true,
        // Of the mailbox; a bad sender's address.
        (Some("2"), _) | (_, "5.1.7" | "5.1.8") => true,
        // A policy that has not seen a recipient yet.
        (Some("7"), _) | (None, _) => stage == Stage::Mail && !matches!(line.code, 500..=504 | 552 | 555),
        _ => false,
    };
    is_about_the_sender.then(|| same_each_time(line.code, enhanced, &text))
}

/// A refusal without what differs each time.
fn same_each_time(code: u16, enhanced: &str, text: &str) -> String {
    let mut same = format!("{code} {enhanced}");
    // What Microsoft puts in brackets is for its own people: hosts, times, numbers.
    let words = text.split('[').next().unwrap_or_default().split_ascii_whitespace();
    let mut before = "";
    for word in words.skip(usize::from(!enhanced.is_empty())) {
        let word = word.trim_matches(|edge: char| edge.is_ascii_punctuation());
        let differs = word.contains(|one: char| one.is_ascii_digit() || matches!(one, '@' | '.' | ':' | '='));
        let word = if differs { "#" } else { word };
        if word != before && same.len() + word.len() < COMPARED {
            // A string cannot fail to be written to.
            let _ = write!(same, " {word}");
        }
        before = word;
    }
    same
}

#[cfg(test)]
mod tests;
