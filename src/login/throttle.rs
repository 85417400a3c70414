//! Who has guessed too often. Pure data: the caller brings the time and does the waiting.
//!
//! An attempt is counted when it begins and forgiven when it succeeds, so that a hundred guesses sent at once are
//! not a hundred free guesses.

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

/// How long an attempt from a slowed address waits.
pub const SLOWED: Duration = Duration::from_secs(5);

/// The longest wait on loopback, where nobody is ever shut out.
pub const LOOPBACK_SLOWED: Duration = Duration::from_secs(2);

/// What the first counted failure costs on loopback; each further one doubles it.
const LOOPBACK_FIRST: Duration = Duration::from_millis(100);

/// Pairs remembered; at 255 octets of name and ten failures each about 12 MiB when full.
const PAIRS: usize = 16 * 1024;

/// Addresses remembered, with up to [`NAMES_PER_ADDRESS`] names each.
const ADDRESSES: usize = 4 * 1024;

/// Where an attempt comes from, as coarse as a guesser can be pinned down: an IPv4 address, or an IPv6 /64, of which
/// one host commands every address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    network: IpAddr,
    loopback: bool,
}

impl Origin {
    /// The origin of a peer's address. `::ffff:a.b.c.d` counts as IPv4.
    #[must_use]
    pub fn of(peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        let network = match peer {
            IpAddr::V4(_) => peer,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        };
        Self { network, loopback: peer.is_loopback() }
    }

    /// Whether it is this machine.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.loopback
    }
}

/// What to do with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Check the password.
    Proceed,
    /// Wait this long, then check it.
    After(Duration),
    /// Do not check it: the pair is shut out.
    Blocked,
}

/// What is remembered of one (address, login) pair.
#[derive(Debug, Default)]
struct Pair {
    /// When, and with which password; each password once.
    failures: VecDeque<(Instant, Fingerprint)>,
    blocked_until: Option<Instant>,
}

/// The memory of failed logins.
#[derive(Debug)]
pub struct Throttle {
    limits: FailedLogins,
    pairs: Bounded<(Origin, String), Pair>,
    /// The names that failed from an origin, as hashes: only how many differ matters.
    names: Bounded<Origin, VecDeque<(Instant, u64)>>,
    hasher: RandomState,
}

impl Throttle {
    /// An empty memory.
    #[must_use]
    pub fn new(limits: FailedLogins) -> Self {
        Self::with_capacity(limits, PAIRS, ADDRESSES)
    }

    fn with_capacity(limits: FailedLogins, pairs: usize, addresses: usize) -> Self {
        Self { limits, pairs: Bounded::new(pairs), names: Bounded::new(addresses), hasher: RandomState::new() }
    }

    /// Whether an attempt may go on, and counts it until [`succeeded`](Self::succeeded) or
    /// [`withdrawn`](Self::withdrawn) says otherwise. Trying the same password again counts nothing.
    pub fn begin(&mut self, now: Instant, origin: Origin, name: &str, password: Fingerprint) -> Verdict {
        let within = self.limits.within;
        let allowed = self.allowed_failures();
        let pair = self.pairs.entry((origin, name.to_owned()), Pair::default);
        if pair.blocked_until.is_some_and(|until| now < until) {
            return Verdict::Blocked;
        }
        pair.blocked_until = None;
        forget_older(&mut pair.failures, now, within);
        let others = pair.failures.iter().filter(|(_, tried)| *tried != password).count();
        let known = others < pair.failures.len();
        if !origin.loopback && others >= allowed {
            return Verdict::Blocked;
        }
        if !known && pair.failures.len() < allowed {
            pair.failures.push_back((now, password));
        }
        let wait = self.wait(now, origin, others);
        if wait.is_zero() { Verdict::Proceed } else { Verdict::After(wait) }
    }

    /// The password was wrong, or right in the wrong place.
    pub fn failed(&mut self, now: Instant, origin: Origin, name: &str, password: Fingerprint) {
        let FailedLogins { within, block, .. } = self.limits;
        let allowed = self.allowed_failures();
        let pair = self.pairs.entry((origin, name.to_owned()), Pair::default);
        forget_older(&mut pair.failures, now, within);
        let known = pair.failures.iter().any(|(_, tried)| *tried == password);
        if !known && pair.failures.len() < allowed {
            pair.failures.push_back((now, password));
        }
        if !origin.loopback && pair.failures.len() >= allowed {
            pair.failures.clear();
            pair.blocked_until = now.checked_add(block);
        }

        let name = self.hasher.hash_one(name);
        let names = self.names.entry(origin, VecDeque::new);
        forget_older(names, now, within);
        names.retain(|(_, failed)| *failed != name);
        if names.len() >= NAMES_PER_ADDRESS {
            names.pop_front();
        }
        names.push_back((now, name));
    }

    /// The password was right: the pair starts afresh.
    pub fn succeeded(&mut self, origin: Origin, name: &str) {
        self.pairs.remove(&(origin, name.to_owned()));
    }

    /// The password was never checked: the attempt counts for nothing.
    pub fn withdrawn(&mut self, origin: Origin, name: &str, password: Fingerprint) {
        let pair = self.pairs.entry((origin, name.to_owned()), Pair::default);
        pair.failures.retain(|(_, tried)| *tried != password);
    }

    fn allowed_failures(&self) -> usize {
        // The configuration allows no more than `MOST_COUNTED`, so what is kept of a pair has a bound.
        usize::try_from(self.limits.count.min(MOST_COUNTED)).unwrap_or(usize::MAX)
    }

    /// How long an attempt waits after `others` other passwords of its pair have failed.
    fn wait(&self, now: Instant, origin: Origin, others: usize) -> Duration {
        let recent = |names: &VecDeque<(Instant, u64)>| {
            names
                .iter()
                .filter(|(at, _)| now.saturating_duration_since(*at) < self.limits.within)
                .count()
        };
        let many_names = self.names.get(&origin).is_some_and(|names| recent(names) >= NAMES_PER_ADDRESS);
        match (origin.loopback, many_names) {
            (true, true) => LOOPBACK_SLOWED,
            (true, false) if others > 0 => {
                let doublings = u32::try_from(others - 1).unwrap_or(u32::MAX);
                LOOPBACK_FIRST
                    .saturating_mul(2_u32.saturating_pow(doublings))
                    .min(LOOPBACK_SLOWED)
            }
            (false, true) => SLOWED,
            (_, false) => Duration::ZERO,
        }
    }
}

/// Entries are in the order they were made, so the old ones are in front.
fn forget_older<T>(entries: &mut VecDeque<(Instant, T)>, now: Instant, within: Duration) {
    while entries
        .front()
        .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= within)
    {
        entries.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FailedLogins =
        FailedLogins { count: 10, within: Duration::from_secs(300), block: Duration::from_secs(900) };

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    fn password(number: u32) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint[..4].copy_from_slice(&number.to_be_bytes());
        fingerprint
    }

    fn fail(throttle: &mut Throttle, now: Instant, from: Origin, name: &str, number: u32) -> Verdict {
        let verdict = throttle.begin(now, from, name, password(number));
        if verdict != Verdict::Blocked {
            throttle.failed(now, from, name, password(number));
        }
        verdict
    }

    #[test]
    fn ten_failures_shut_the_pair_out_and_only_the_pair() {
        let mut throttle = Throttle::new(LIMITS);
        let (now, from) = (Instant::now(), origin("192.0.2.1"));
        for number in 0..10 {
            assert_eq!(fail(&mut throttle, now, from, "scanner", number), Verdict::Proceed);
        }
        assert_eq!(throttle.begin(now, from, "scanner", password(99)), Verdict::Blocked);
        assert_eq!(throttle.begin(now, from, "printer", password(99)), Verdict::Proceed);
        assert_eq!(throttle.begin(now, origin("192.0.2.2"), "scanner", password(99)), Verdict::Proceed);

        let almost = now + LIMITS.block - Duration::from_secs(1);
        assert_eq!(throttle.begin(almost, from, "scanner", password(99)), Verdict::Blocked);
        assert_eq!(throttle.begin(now + LIMITS.block, from, "scanner", password(99)), Verdict::Proceed);
    }

    #[test]
    fn guesses_sent_at_once_are_counted_before_any_has_failed() {
        let mut throttle = Throttle::new(LIMITS);
        let (now, from) = (Instant::now(), origin("192.0.2.1"));
        let passed = (0..100)
            .filter(|number| throttle.begin(now, from, "scanner", password(*number)) == Verdict::Proceed)
            .count();
        assert_eq!(passed, 10);
    }

    #[test]
    fn the_same_wrong_password_counts_once() {
        let mut throttle = Throttle::new(LIMITS);
        let (now, from) = (Instant::now(), origin("192.0.2.1"));
        for _ in 0..100 {
            assert_eq!(fail(&mut throttle, now, from, "scanner", 7), Verdict::Proceed);
        }
    }

    #[test]
    fn failures_age_out_of_the_window() {
        let mut throttle = Throttle::new(LIMITS);
        let (start, from) = (Instant::now(), origin("192.0.2.1"));
        for number in 0..40 {
            let now = start + LIMITS.within / 8 * number;
            assert_eq!(fail(&mut throttle, now, from, "scanner", number), Verdict::Proceed, "{number}");
        }
    }

    #[test]
    fn success_and_an_unchecked_attempt_are_forgiven() {
        let mut throttle = Throttle::new(LIMITS);
        let (now, from) = (Instant::now(), origin("192.0.2.1"));
        for number in 0..9 {
            fail(&mut throttle, now, from, "scanner", number);
        }
        assert_eq!(throttle.begin(now, from, "scanner", password(50)), Verdict::Proceed);
        throttle.withdrawn(from, "scanner", password(50));
        assert_eq!(throttle.begin(now, from, "scanner", password(51)), Verdict::Proceed);
        throttle.succeeded(from, "scanner");
        for number in 0..10 {
            assert_eq!(fail(&mut throttle, now, from, "scanner", number), Verdict::Proceed);
        }
        assert_eq!(throttle.begin(now, from, "scanner", password(60)), Verdict::Blocked);
    }

    #[test]
    fn loopback_is_delayed_ever_longer_but_never_blocked() {
        let mut throttle = Throttle::new(LIMITS);
        let (now, from) = (Instant::now(), origin("127.0.0.1"));
        let mut longest = Duration::ZERO;
        for number in 0..100 {
            let wait = match fail(&mut throttle, now, from, "scanner", number) {
                Verdict::Proceed => Duration::ZERO,
                Verdict::After(wait) => wait,
                Verdict::Blocked => panic!("loopback was blocked"),
            };
            assert!(wait >= longest && wait <= LOOPBACK_SLOWED, "{wait:?}");
            longest = wait;
        }
        assert_eq!(longest, LOOPBACK_SLOWED);
    }

    #[test]
    fn fifty_names_slow_the_whole_address() {
        let mut throttle = Throttle::new(LIMITS);
        let (now, from) = (Instant::now(), origin("2001:db8::1"));
        for number in 0..50 {
            assert_eq!(fail(&mut throttle, now, from, &format!("name{number}"), 1), Verdict::Proceed);
        }
        let same_network = origin("2001:db8::ffff:0:0:9");
        assert_eq!(throttle.begin(now, same_network, "other", password(1)), Verdict::After(SLOWED));
        assert_eq!(throttle.begin(now, origin("2001:db8:0:1::1"), "other", password(1)), Verdict::Proceed);
        let later = now + LIMITS.within;
        assert_eq!(throttle.begin(later, same_network, "other", password(1)), Verdict::Proceed);
    }

    #[test]
    fn one_name_failing_often_does_not_slow_its_neighbours() {
        let mut throttle = Throttle::new(FailedLogins { count: 200, ..LIMITS });
        let (now, from) = (Instant::now(), origin("192.0.2.1"));
        for number in 0..100 {
            fail(&mut throttle, now, from, "scanner", number);
        }
        assert_eq!(throttle.begin(now, from, "printer", password(1)), Verdict::Proceed);
    }

    #[test]
    fn random_names_push_out_the_oldest_memory() {
        let mut throttle = Throttle::with_capacity(LIMITS, 8, 8);
        let now = Instant::now();
        for number in 0..10 {
            fail(&mut throttle, now, origin("192.0.2.1"), "scanner", number);
        }
        for number in 0..8 {
            fail(&mut throttle, now, origin("192.0.2.9"), &format!("name{number}"), 1);
        }
        assert_eq!(throttle.begin(now, origin("192.0.2.1"), "scanner", password(99)), Verdict::Proceed);
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_the_same_origin() {
        assert_eq!(origin("::ffff:127.0.0.1"), origin("127.0.0.1"));
        assert!(origin("::1").is_loopback());
        assert_ne!(origin("::1"), origin("::2"));
    }
}
