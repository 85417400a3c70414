//! Who has guessed too often. Pure data: the caller brings the time and does the waiting.
//!
//! An attempt is counted when it begins and forgiven when it succeeds, so that a hundred guesses sent at once are
//! not a hundred free guesses. For the same reason those that are delayed stand in line, each behind the one before.
//! What was found out about a password that failed is kept as long as its failure: it need not be checked again.
//!
//! Over IPv6 one host commands every address of a /64, and an office has one /64 for all its hosts. So a pair is of one
//! address: who guesses there shuts out nobody else. Beside it the passwords are counted that fail for one name in all
//! of the /64, up to a ceiling of several pairs: past it the name is shut out there, but for addresses that it has
//! opened before.

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

/// How many pairs' failures all of a /64 may have for one name.
pub const ADDRESSES_PER_NETWORK: u32 = 4;

/// Pairs of a /64 and a name remembered; at forty failures each about 12 MiB when full.
const NETWORK_PAIRS: usize = 4 * 1024;

/// Addresses remembered, with up to [`NAMES_PER_ADDRESS`] names each.
const ADDRESSES: usize = 4 * 1024;

/// Where an attempt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This machine, any of whose users may call from all of 127.0.0.0/8.
    Here,
    /// One address.
    Address(IpAddr),
    /// An IPv6 /64, by its first address.
    Network(Ipv6Addr),
}

impl Origin {
    /// The origin of a peer's address. `::ffff:a.b.c.d` counts as IPv4.
    #[must_use]
    pub fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            peer if peer.is_loopback() => Self::Here,
            peer => Self::Address(peer),
        }
    }

    /// The same as coarse as a guesser can be pinned down: of an IPv6 address its /64, of which one host commands every
    /// address. Any other is that already.
    #[must_use]
    pub const fn network(self) -> Self {
        match self {
            Self::Address(IpAddr::V6(address)) => Self::Network(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            Self::Here | Self::Address(IpAddr::V4(_)) | Self::Network(_) => self,
        }
    }

    /// It, and behind it its /64 if it is an address of one.
    pub fn with_network(self) -> impl Iterator<Item = Self> {
        let network = self.network();
        std::iter::once(self).chain((network != self).then_some(network))
    }

    /// Whether it is all of a /64.
    #[must_use]
    pub const fn is_network(&self) -> bool {
        matches!(self, Self::Network(_))
    }

    /// Whether it is this machine.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        matches!(self, Self::Here)
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
#[derive(Debug, Clone, Copy)]
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

/// What is remembered of one (address, login) pair, or of one login in all of a /64.
#[derive(Debug, Default)]
struct Pair {
    /// In the order they were made; each password once.
    failures: VecDeque<Failure>,
    blocked_until: Option<Instant>,
    /// The turn of the last one in line.
    last_turn: Option<Instant>,
}

/// What is remembered of an address, or of all of a /64.
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
    /// By single addresses.
    pairs: Bounded<(Origin, String), Pair>,
    /// By /64s.
    network_pairs: Bounded<(Origin, String), Pair>,
    /// By /64s, and single addresses of IPv4.
    addresses: Bounded<Origin, Address>,
    attempts: u64,
    hasher: RandomState,
}

impl Throttle {
    /// An empty memory.
    #[must_use]
    pub fn new(limits: FailedLogins) -> Self {
        Self::with_capacity(limits, PAIRS, NETWORK_PAIRS, ADDRESSES)
    }

    fn with_capacity(limits: FailedLogins, pairs: usize, network_pairs: usize, addresses: usize) -> Self {
        Self {
            limits,
            pairs: Bounded::new(pairs),
            network_pairs: Bounded::new(network_pairs),
            addresses: Bounded::new(addresses),
            attempts: 0,
            hasher: RandomState::new(),
        }
    }

    /// Whether an attempt may go on, and counts it until [`succeeded`](Self::succeeded) or
    /// [`withdrawn`](Self::withdrawn) says otherwise. Trying the same password again counts nothing; one that was checked
    /// waits for at least [`REPEATED`]. Once the wait is over, [`found`](Self::found) tells whether to check it at all.
    /// `proven`: the name has been opened from this very address before, and so what others of its /64 do is not its
    /// concern.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn begin(
        &mut self,
        now: Instant,
        origin: Origin,
        name: &str,
        password: Fingerprint,
        proven: bool,
    ) -> Result<Attempt, Refused> {
        let within = self.limits.within;
        let (allowed, ceiling) = (self.allowed_failures(), self.allowed_of_network());
        let network = origin.network();
        let slowed = self
            .addresses
            .get_mut(&network)
            .filter(|address| address.names_failed(now, within) >= NAMES_PER_ADDRESS);
        // First: addresses without end must not push out what is remembered of others.
        let mut around = None;
        if network != origin && !proven {
            let pair = self.network_pairs.entry((network, name.to_owned()), Pair::default);
            let Seen { others, known } = pair.look(now, within, &password)?;
            if others >= ceiling {
                return Err(Refused::Blocked);
            }
            around = Some((pair, known));
        }
        let pair = self.pairs.entry((origin, name.to_owned()), Pair::default);
        let Seen { others, known } = pair.look(now, within, &password)?;
        if !origin.is_loopback() && others >= allowed {
            return Err(Refused::Blocked);
        }
        // Also one that fits and was misplaced: were it not, a second address of the /64 would be told so by the time.
        let known_around = around.as_ref().and_then(|(_, known)| *known);
        let checked = [known, known_around]
            .iter()
            .any(|known| matches!(known, Some(State::Checked(_))));
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
        let trying = Failure { at: now, password, state: State::Trying(self.attempts) };
        if let Some((around, None)) = around {
            around.add(trying, ceiling);
        }
        if known.is_none() {
            pair.add(trying, allowed);
        }
        Ok(Attempt { wait, number: self.attempts })
    }

    /// What is remembered of a password that has failed: of this pair, or anywhere in its /64.
    #[must_use]
    pub fn found(&self, now: Instant, origin: Origin, name: &str, password: &Fingerprint) -> Option<Found> {
        let within = self.limits.within;
        let pair = self.pairs.get(&(origin, name.to_owned()));
        let found = pair.and_then(|pair| pair.found(now, within, password));
        if found.is_some() || origin.network() == origin {
            return found;
        }
        let around = self.network_pairs.get(&(origin.network(), name.to_owned()))?;
        around.found(now, within, password)
    }

    /// The password was checked, and `found` not to open anything here.
    pub fn failed(&mut self, now: Instant, origin: Origin, name: &str, password: Fingerprint, found: Found) {
        let FailedLogins { within, block, .. } = self.limits;
        let (allowed, ceiling) = (self.allowed_failures(), self.allowed_of_network());
        let network = origin.network();
        let pair = self.pairs.entry((origin, name.to_owned()), Pair::default);
        pair.forget_older(now, within);
        if !pair.mark(&password, found) {
            pair.add(Failure { at: now, password, state: State::Checked(found) }, allowed);
        }
        if !origin.is_loopback() {
            pair.block_if_full(now, allowed, block);
        }
        let around = self.network_pairs.get_mut(&(network, name.to_owned()));
        if let Some(around) = around.filter(|_| network != origin) {
            around.forget_older(now, within);
            // What is not there was not counted: it came from an address that the name has opened before.
            if around.mark(&password, found) {
                around.block_if_full(now, ceiling, block);
            }
        }

        let name = self.hasher.hash_one(name);
        let names = &mut self.addresses.entry(network, Address::default).names;
        names.retain(|(at, failed)| *failed != name && recent(now, *at, within));
        if names.len() >= NAMES_PER_ADDRESS {
            names.pop_front();
        }
        names.push_back((now, name));
    }

    /// The password was right: the pair starts afresh. What others of its /64 have failed with stays.
    pub fn succeeded(&mut self, origin: Origin, name: &str, attempt: &Attempt) {
        self.pairs.remove(&(origin, name.to_owned()));
        take_back(&mut self.network_pairs, (origin.network(), name.to_owned()), attempt);
    }

    /// The password was never checked: the attempt counts for nothing. What other attempts have added stays.
    pub fn withdrawn(&mut self, origin: Origin, name: &str, attempt: &Attempt) {
        take_back(&mut self.pairs, (origin, name.to_owned()), attempt);
        take_back(&mut self.network_pairs, (origin.network(), name.to_owned()), attempt);
    }

    fn allowed_failures(&self) -> usize {
        // The configuration allows no more than `MOST_COUNTED`, so what is kept of a pair has a bound.
        usize::try_from(self.limits.count.min(MOST_COUNTED)).unwrap_or(usize::MAX)
    }

    /// How many passwords may fail for one name in all of a /64.
    fn allowed_of_network(&self) -> usize {
        let pairs = self.limits.count.saturating_mul(ADDRESSES_PER_NETWORK);
        usize::try_from(pairs.min(MOST_COUNTED)).unwrap_or(usize::MAX)
    }
}

/// Takes from a pair what this attempt has added to it, and forgets the pair if nothing is left.
fn take_back(pairs: &mut Bounded<(Origin, String), Pair>, key: (Origin, String), attempt: &Attempt) {
    let Some(pair) = pairs.get_mut(&key) else { return };
    pair.failures.retain(|failure| failure.state != State::Trying(attempt.number));
    if pair.failures.is_empty() && pair.blocked_until.is_none() {
        pairs.remove(&key);
    }
}

/// What there is about a password in a pair.
struct Seen {
    /// How many other passwords have failed, or are being tried.
    others: usize,
    /// How far this one has come.
    known: Option<State>,
}

impl Pair {
    /// What there is about `password`.
    ///
    /// # Errors
    /// [`Refused::Blocked`] while the pair is shut out.
    fn look(&mut self, now: Instant, within: Duration, password: &Fingerprint) -> Result<Seen, Refused> {
        if self.blocked_until.is_some_and(|until| now < until) {
            return Err(Refused::Blocked);
        }
        self.blocked_until = None;
        self.forget_older(now, within);
        let known = self.failures.iter().find(|failure| failure.password == *password);
        let known = known.map(|failure| failure.state);
        Ok(Seen { others: self.failures.len() - usize::from(known.is_some()), known })
    }

    /// Remembers one more, where there are fewer than `most`.
    fn add(&mut self, failure: Failure, most: usize) {
        if self.failures.len() < most {
            self.failures.push_back(failure);
        }
    }

    /// Keeps what was found out about a password; whether it is one of those here.
    fn mark(&mut self, password: &Fingerprint, found: Found) -> bool {
        let known = self.failures.iter_mut().find(|failure| failure.password == *password);
        known.map(|failure| failure.state = State::Checked(found)).is_some()
    }

    fn block_if_full(&mut self, now: Instant, most: usize, block: Duration) {
        if self.failures.len() >= most {
            self.failures.clear();
            self.blocked_until = now.checked_add(block);
        }
    }

    fn found(&self, now: Instant, within: Duration, password: &Fingerprint) -> Option<Found> {
        let failure = self.failures.iter().find(|failure| failure.password == *password)?;
        match failure.state {
            State::Checked(found) if recent(now, failure.at, within) => Some(found),
            State::Checked(_) | State::Trying(_) => None,
        }
    }

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
