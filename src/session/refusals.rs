//! One bad device never silences the others: a login whose messages are refused for good, again and again in the same words,
//! is refused here for a while. Else the provider holds the whole mailbox back (Exchange: 5.2.251 to 5.2.255), and with it
//! every other device of the account.
//!
//! Counted is what is about the sender, the mailbox or a policy, since the next message meets it too. Not counted: what
//! passes (4xx), a recipient (RCPT, 5.1.1), a syntax (5.5), a size (5.3.4) or content (5.6, a virus): the next message may
//! be another. Words are the same if they mean the same; where nobody knows what they mean, without what differs each time
//! in them: numbers, names of hosts, addresses, and whatever the sender may have put there. Whose refusals are in ever other
//! words is refused too, a little later.
//!
//! When the while is over one message is tried, and no other before it is known what became of that one. If it is refused
//! in the same words, the next while is twice as long. An accepted message ends the while, and takes back no refusal: one
//! good message in between does not make four bad ones free.
//!
//! Where addresses share a login, each of them has its own refusals. All of an IPv6 /64 has a ceiling of four times as many,
//! for one host may have every address of it: beyond that all of it is refused for the first while, which no probe ends and
//! no other doubles.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::echo::without_echo;
use super::sender::Sender;
use super::words;
use crate::login::bounded::Bounded;
use crate::login::throttle::ADDRESSES_PER_NETWORK;
use crate::proto::RefusalKind;
use crate::proto::smtp::reply::ReplyLine;

/// How many refusals in the same words it takes.
const MOST: usize = 5;

/// How many it takes in whatever words.
const MOST_IN_ALL: usize = 15;

/// In what time.
const WITHIN: Duration = Duration::from_secs(10 * 60);

/// How long a login is refused here at first.
const FIRST_WHILE: Duration = Duration::from_secs(15 * 60);

/// How long at most.
const LONGEST_WHILE: Duration = Duration::from_secs(60 * 60);

/// For how long after a while it is remembered how long it was.
const PROBATION: Duration = Duration::from_secs(60 * 60);

/// How long the one message that is tried may take before another may be.
const PROBE: Duration = Duration::from_secs(5 * 60);

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

/// The refusals of the last while. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Refusals(Arc<Mutex<Bounded<Sender, Trouble>>>);

/// Leave to try the one message after a while. Dropped, it lets the next one try.
#[derive(Debug)]
#[must_use]
pub(crate) struct Probe {
    refusals: Refusals,
    sender: Sender,
    number: u64,
}

/// A while that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silenced {
    /// Who is held back: a login, an address of one, or a whole /64.
    pub(crate) whom: Sender,
    /// For how long.
    pub(crate) lasts: Duration,
}

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
    /// When it was refused in whatever words; the last ones, oldest first.
    times: VecDeque<Instant>,
    held: Option<Hold>,
    /// How many probes there have been.
    probes: u64,
}

/// Refusals in the same words.
#[derive(Debug)]
struct Kind {
    words: String,
    /// The last ones, oldest first.
    times: VecDeque<Instant>,
}

/// A while in which a login is refused here, or that is over.
#[derive(Debug)]
struct Hold {
    /// What it was for; `None` where no words came often enough, and there were too many of them.
    words: Option<String>,
    reply: Vec<u8>,
    until: Instant,
    lasted: Duration,
    /// The probe that is under way, and until when it is waited for.
    probe: Option<(u64, Instant)>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Bounded::new(MOST_LOGINS))))
    }
}

impl Refusals {
    /// Lets a message of `sender` pass. Of those that come when a while is over the first is the probe, and the others wait
    /// until that is dropped.
    ///
    /// # Errors
    /// [`Held`] if `sender` is held back now.
    pub(crate) fn pass(&self, sender: &Sender) -> Result<Option<Probe>, Held> {
        let now = Instant::now();
        let mut troubles = self.troubles();
        for sender in sender.with_network() {
            let Some(Trouble { held: Some(hold), .. }) = troubles.get(&sender) else { continue };
            let awaited = hold.probe.map_or(hold.until, |(_, until)| until.max(hold.until));
            if now < awaited {
                return Err(Held { reply: hold.reply.clone(), left: awaited - now });
            }
        }
        let Some(Trouble { held: Some(hold), probes, .. }) = troubles.get_mut(sender) else { return Ok(None) };
        if !hold.is_remembered(now) {
            return Ok(None);
        }
        *probes += 1;
        hold.probe = Some((*probes, now + PROBE));
        Ok(Some(Probe { refusals: self.clone(), sender: sender.clone(), number: *probes }))
    }

    /// The upstream has refused a message of `sender` with this last line of a reply. Who is held back, if that begins now.
    pub(crate) fn refused(&self, sender: &Sender, stage: Stage, reply: &[u8]) -> Option<Silenced> {
        let words = counted(stage, reply)?;
        let now = Instant::now();
        let mut troubles = self.troubles();
        let mut silenced = None;
        // The widest last, which is what is told: and the /64 is remembered longer than its addresses.
        for whom in sender.with_network() {
            let trouble = troubles.entry(whom.clone(), Trouble::default);
            let addresses = if whom.is_network() { ADDRESSES_PER_NETWORK as usize } else { 1 };
            let lasts = trouble.refused(&words, reply, now, addresses);
            silenced = lasts.map(|lasts| Silenced { whom, lasts }).or(silenced);
        }
        silenced
    }

    /// The upstream has accepted a message of `sender`: what was wrong with all of them is not any more.
    pub(crate) fn accepted(&self, sender: &Sender) {
        if let Some(trouble) = self.troubles().get_mut(sender) {
            trouble.held = None;
        }
    }

    fn troubles(&self) -> MutexGuard<'_, Bounded<Sender, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut troubles = self.refusals.troubles();
        if let Some(Trouble { held: Some(hold), .. }) = troubles.get_mut(&self.sender)
            && hold.probe.is_some_and(|(number, _)| number == self.number)
        {
            hold.probe = None;
        }
    }
}

impl Hold {
    /// Whether it still counts how long it was.
    fn is_remembered(&self, now: Instant) -> bool {
        now < self.until + PROBATION
    }
}

impl Trouble {
    /// One more, of so many addresses. Of several together no while is longer than the first.
    fn refused(&mut self, words: &str, reply: &[u8], now: Instant, addresses: usize) -> Option<Duration> {
        let first = self.count(words, now, addresses);
        if self.held.as_ref().is_some_and(|hold| now < hold.until) {
            // Of a session that was let pass before.
            return None;
        }
        let before = self
            .held
            .as_ref()
            .filter(|hold| addresses == 1 && hold.is_remembered(now))
            .filter(|hold| hold.words.as_ref().is_none_or(|held| *held == words));
        let (lasts, words) = match before {
            Some(hold) => ((2 * hold.lasted).min(LONGEST_WHILE), hold.words.clone()),
            None => first?,
        };
        self.held = Some(Hold { words, reply: reply.to_vec(), until: now + lasts, lasted: lasts, probe: None });
        Some(lasts)
    }

    /// Counts a refusal. If there are too many of late for so many addresses: the first while, and the words it is for.
    fn count(&mut self, words: &str, now: Instant, addresses: usize) -> Option<(Duration, Option<String>)> {
        let (most, most_in_all) = (MOST * addresses, MOST_IN_ALL * addresses);
        let mut kind = match self.kinds.iter().position(|kind| kind.words == words) {
            Some(at) => self.kinds.remove(at),
            None => None,
        }
        .unwrap_or_else(|| Kind { words: words.to_owned(), times: VecDeque::new() });
        let same = add(&mut kind.times, now, most);
        let all = add(&mut self.times, now, most_in_all);
        self.kinds.push_back(kind);
        if self.kinds.len() > MOST_KINDS {
            self.kinds.pop_front();
        }
        let words = (same >= most).then(|| words.to_owned());
        (words.is_some() || all >= most_in_all).then_some((FIRST_WHILE, words))
    }
}

/// Adds `now`; how many times there are within [`WITHIN`], of which no more than `most` are kept.
fn add(times: &mut VecDeque<Instant>, now: Instant, most: usize) -> usize {
    times.retain(|at| now < *at + WITHIN);
    times.push_back(now);
    if times.len() > most {
        times.pop_front();
    }
    times.len()
}

/// What is compared of a refusal that counts.
fn counted(stage: Stage, reply: &[u8]) -> Option<String> {
    let line = ReplyLine::parse(reply).ok().filter(|line| line.code >= 500)?;
    let enhanced = line.enhanced().unwrap_or_default();
    let known = words::of_reply(reply);
    let text = same_each_time(&String::from_utf8_lossy(&line.text), !enhanced.is_empty());
    // Before there is a message nothing is said about what it holds.
    let is_about_content = stage == Stage::Message && CONTENT.iter().any(|word| text.contains(word));
    let is_about_the_sender = match (enhanced.split('.').nth(1), enhanced) {
        (_, "5.3.4") => false,
        _ if is_about_content && known.is_none() => false,
        _ if known.is_some_and(|known| matches!(known.kind, RefusalKind::Rights | RefusalKind::Policy)) => true,
        // Of the mailbox; a bad sender's address.
        (Some("2"), _) | (_, "5.1.7" | "5.1.8") => true,
        // A policy that has not seen a recipient yet.
        (Some("7"), _) | (None, _) => stage == Stage::Mail && !matches!(line.code, 500..=504 | 552 | 555),
        _ => false,
    };
    is_about_the_sender.then(|| {
        let text = known.map_or(&text[..], |known| known.what);
        let text = &text[..text.floor_char_boundary(COMPARED)];
        format!("{} {enhanced} {text}", line.code)
    })
}

/// A refusal's words without what differs each time, and without the enhanced status.
fn same_each_time(text: &str, has_status: bool) -> String {
    let text = without_echo(text).to_ascii_lowercase();
    let mut same = String::new();
    // What Microsoft puts in brackets is for its own people: hosts, times, numbers.
    let words = text.split('[').next().unwrap_or_default().split_ascii_whitespace();
    let mut before = "";
    for word in words.skip(usize::from(has_status)) {
        // What was taken out leaves nothing but dots.
        let was_taken_out = word.contains("...");
        let word = word.trim_matches(|edge: char| edge.is_ascii_punctuation());
        let differs = word.contains(|one: char| one.is_ascii_digit() || matches!(one, '@' | '.' | ':' | '='));
        let word = if differs || (was_taken_out && word.is_empty()) { "#" } else { word };
        if word != before {
            same.push_str(if same.is_empty() { "" } else { " " });
            same.push_str(word);
        }
        before = word;
    }
    same
}

#[cfg(test)]
mod tests;
