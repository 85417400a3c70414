//! Who has guessed too often. Pure data: the caller brings the time and does the waiting.
//!
//! An attempt is counted when it begins and forgiven when it succeeds, so that a hundred guesses sent at once are
//! not a hundred free guesses. For the same reason those that are delayed stand in line, each behind the one before.
//! What was found out about a password that failed is kept as long as its failure: it need not be checked again.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

use super::bounded::Bounded;
use crate::config::{FailedLogins, MOST_COUNTED};

/// The keyed digest of a user name with a password: tells two wrong passwords apart without keeping either.
pub type Fingerprint = [u8; 32];

/// Failures over this many different names within the window slow an address.
pub const NAMES_PER_ADDRESS: usize = 50;

/// How long an attempt from a slowed address waits, at least.
pub const SLOWED: Duration = Duration::from_secs(5);

/// The longest distance between two attempts in a line on loopback, where nobody is ever shut out.
pub const LOOPBACK_SLOWED: Duration = Duration::from_secs(2);

/// The longest an attempt stands in line. It leaves most of a login's 25 s to the gate, the token and the dial.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long a password that has been found wrong waits for its answer when it comes again, at least. It stands in no
/// line: its answer costs nothing and tells nothing new.
pub const REPEATED: Duration = Duration::from_secs(1);

/// What the first counted failure costs on loopback; each further one doubles it.
const LOOPBACK_FIRST: Duration = Duration::from_millis(100);

/// Pairs remembered; at 255 octets of name and ten failures each about 12 MiB when full.
const PAIRS: usize = 16 * 1024;

/// Addresses remembered, with up to [`NAMES_PER_ADDRESS`] names each.
const ADDRESSES: usize = 4 * 1024;

/// Where an attempt comes from, as coarse as a guesser can be pinned down: an IPv4 address; an IPv6 /64, of which one
/// host commands every address; or this machine, any of whose users may call from all of 127.0.0.0/8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `None` is this machine.
    network: Option<IpAddr>,
}

impl Origin {
    /// The origin of a peer's address. `::ffff:a.b.c.d` counts as IPv4.
    #[must_use]
    pub fn of(peer: IpAddr) -> Self {
        let network = match peer.to_canonical() {
            peer if peer.is_loopback() => None,
            IpAddr::V6(address) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
            peer @ IpAddr::V4(_) => Some(peer),
        };
        Self { network }
    }

    /// Whether it is this machine.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.network.is_none()
    }
}

/// An attempt whose password may be checked.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    /// How long to wait before that: at most [`LONGEST_WAIT`].
    pub wait: Duration,
    /// Tells what this attempt has added from what others have.
    number: u64,
}

/// Why a password may not be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The pair is shut out.
    Blocked,
    /// It would wait longer than [`LONGEST_WAIT`]. It was not counted and may come again.
    Crowded,
}

/// What a check has found out about a password that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It fits none of the name's hashes, so it is wrong wherever it comes from.
    Wrong,
    /// It fits, but may not be used there. Elsewhere it may.
    Misplaced,
}

/// A password that failed, or that is being tried.
#[derive(Debug)]
struct Failure {
    at: Instant,
    password: Fingerprint,
    state: State,
}

/// How far a password has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The attempt of this number has added it and has not ended yet.
    Trying(u64),
    Checked(Found),
}

/// What is remembered of one (address, login) pair.
#[derive(Debug, Default)]
struct Pair {
    /// In the order they were made; each password once.
    failures: VecDeque<Failure>,
    blocked_until: Option<Instant>,
    /// The turn of the last one in line.
    last_turn: Option<Instant>,
}

/// What is remembered of an address.
#[derive(Debug, Default)]
struct Address {
    /// The names that failed, as hashes: only how many differ matters.
    names: VecDeque<(Instant, u64)>,
    /// The turn of the last one in the line of all its names.
    last_turn: Option<Instant>,
}

/// The memory of failed logins.
#[derive(Debug)]
pub struct Throttle {
    limits: FailedLogins,
    pairs: Bounded<(Origin, String), Pair>,
    addresses: Bounded<Origin, Address>,
    attempts: u64,
    hasher: RandomState,
}

impl Throttle {
    /// An empty memory.
    #[must_use]
    pub fn new(limits: FailedLogins) -> Self {
        Self::with_capacity(limits, PAIRS, ADDRESSES)
    }

    fn with_capacity(limits: FailedLogins, pairs: usize, addresses: usize) -> Self {
        Self {
            limits,
            pairs: Bounded::new(pairs),
            addresses: Bounded::new(addresses),
            attempts: 0,
            hasher: RandomState::new(),
        }
    }

    /// Whether an attempt may go on, and counts it until [`succeeded`](Self::succeeded) or
    /// [`withdrawn`](Self::withdrawn) says otherwise. Trying the same password again counts nothing; one that was checked
    /// waits for at least [`REPEATED`]. Once the wait is over, [`found`](Self::found) tells whether to check it at all.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn begin(
        &mut self,
        now: Instant,
        origin: Origin,
        name: &str,
        password: Fingerprint,
    ) -> Result<Attempt, Refused> {
        let within = self.limits.within;
        let allowed = self.allowed_failures();
        let slowed = self
            .addresses
            .get_mut(&origin)
            .filter(|address| address.names_failed(now, within) >= NAMES_PER_ADDRESS);
        let pair = self.pairs.entry((origin, name.to_owned()), Pair::default);
        if pair.blocked_until.is_some_and(|until| now < until) {
            return Err(Refused::Blocked);
        }
        pair.blocked_until = None;
        pair.forget_older(now, within);
        let others = pair.failures.iter().filter(|failure| failure.password != password).count();
        let known = pair.failures.iter().find(|failure| failure.password == password);
        let known = known.map(|failure| failure.state);
        if !origin.is_loopback() && others >= allowed {
            return Err(Refused::Blocked);
        }
        let checked = matches!(known, Some(State::Checked(_)));
        let before = if checked { pair.failures.len() } else { others };
        let delay = delay(origin, before, allowed, slowed.is_some());
        let wait = if checked {
            delay.max(REPEATED)
        } else if others == 0 {
            // A pair's first password stands in no line: behind a guesser of other names it would never get its turn.
            delay
        } else {
            pair.line_up(now, delay, slowed)?
        };
        self.attempts += 1;
        if known.is_none() && pair.failures.len() < allowed {
            pair.failures
                .push_back(Failure { at: now, password, state: State::Trying(self.attempts) });
        }
        Ok(Attempt { wait, number: self.attempts })
    }

    /// What is remembered of a password of this pair that has failed.
    #[must_use]
    pub fn found(&self, now: Instant, origin: Origin, name: &str, password: &Fingerprint) -> Option<Found> {
        let pair = self.pairs.get(&(origin, name.to_owned()))?;
        let failure = pair.failures.iter().find(|failure| failure.password == *password)?;
        match failure.state {
            State::Checked(found) if recent(now, failure.at, self.limits.within) => Some(found),
            State::Checked(_) | State::Trying(_) => None,
        }
    }

    /// The password was checked, and `found` not to open anything here.
    pub fn failed(&mut self, now: Instant, origin: Origin, name: &str, password: Fingerprint, found: Found) {
        let FailedLogins { within, block, .. } = self.limits;
        let allowed = self.allowed_failures();
        let pair = self.pairs.entry((origin, name.to_owned()), Pair::default);
        pair.forget_older(now, within);
        if let Some(known) = pair.failures.iter_mut().find(|failure| failure.password == password) {
            known.state = State::Checked(found);
        } else if pair.failures.len() < allowed {
            pair.failures
                .push_back(Failure { at: now, password, state: State::Checked(found) });
        }
        if !origin.is_loopback() && pair.failures.len() >= allowed {
            pair.failures.clear();
            pair.blocked_until = now.checked_add(block);
        }

        let name = self.hasher.hash_one(name);
        let names = &mut self.addresses.entry(origin, Address::default).names;
        names.retain(|(at, failed)| *failed != name && recent(now, *at, within));
        if names.len() >= NAMES_PER_ADDRESS {
            names.pop_front();
        }
        names.push_back((now, name));
    }

    /// The password was right: the pair starts afresh.
    pub fn succeeded(&mut self, origin: Origin, name: &str) {
        self.pairs.remove(&(origin, name.to_owned()));
    }

    /// The password was never checked: the attempt counts for nothing. What other attempts have added stays.
    pub fn withdrawn(&mut self, origin: Origin, name: &str, attempt: &Attempt) {
        let key = (origin, name.to_owned());
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        pair.failures.retain(|failure| failure.state != State::Trying(attempt.number));
        if pair.failures.is_empty() && pair.blocked_until.is_none() {
            self.pairs.remove(&key);
        }
    }

    fn allowed_failures(&self) -> usize {
        // The configuration allows no more than `MOST_COUNTED`, so what is kept of a pair has a bound.
        usize::try_from(self.limits.count.min(MOST_COUNTED)).unwrap_or(usize::MAX)
    }
}

impl Pair {
    fn forget_older(&mut self, now: Instant, within: Duration) {
        while self.failures.front().is_some_and(|failure| !recent(now, failure.at, within)) {
            self.failures.pop_front();
        }
    }

    /// Takes a place in the pair's line, and in that of a slowed address, and tells how long the wait is.
    fn line_up(&mut self, now: Instant, delay: Duration, slowed: Option<&mut Address>) -> Result<Duration, Refused> {
        if delay.is_zero() {
            return Ok(delay);
        }
        let last = self.last_turn.max(slowed.as_ref().and_then(|address| address.last_turn));
        let wait = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(now)) + delay;
        if wait > LONGEST_WAIT {
            return Err(Refused::Crowded);
        }
        let turn = now.checked_add(wait);
        self.last_turn = turn;
        if let Some(address) = slowed {
            address.last_turn = turn;
        }
        Ok(wait)
    }
}

impl Address {
    fn names_failed(&self, now: Instant, within: Duration) -> usize {
        self.names.iter().filter(|(at, _)| recent(now, *at, within)).count()
    }
}

/// The distance an attempt keeps from the one before, after `others` other passwords of its pair have failed.
fn delay(origin: Origin, others: usize, allowed: usize, slowed: bool) -> Duration {
    match (origin.is_loopback(), others) {
        (false, _) if slowed => SLOWED,
        (false, _) | (true, 0) => Duration::ZERO,
        (true, _) if slowed || others >= allowed => LOOPBACK_SLOWED,
        (true, _) => {
            let doublings = u32::try_from(others - 1).unwrap_or(u32::MAX);
            LOOPBACK_FIRST
                .saturating_mul(2_u32.saturating_pow(doublings))
                .min(LOOPBACK_SLOWED)
        }
    }
}

fn recent(now: Instant, at: Instant, within: Duration) -> bool {
    now.saturating_duration_since(at) < within
}

#[cfg(test)]
mod tests;
