//! How many sessions there may be, over all, from one address and from one IPv6 /64; and which of them is which.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::tally::Tally;
use crate::login::throttle::{ADDRESSES_PER_NETWORK, Origin};

/// Counts the sessions there are.
#[derive(Debug)]
pub struct SessionLimits {
    most: usize,
    most_per_address: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// How many there have ever been.
    ever: u64,
    /// Of each address, and of each IPv6 /64.
    by_origin: Tally,
}

/// One session's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    limits: Arc<SessionLimits>,
    /// Whom it counts against; `None` while a proxy has not said for whom it speaks, or where it speaks for nobody.
    origin: Option<Origin>,
    number: u64,
}

impl SessionLimits {
    /// At most `most` sessions, `most_per_address` of them from one address, and four times as many from one IPv6 /64;
    /// loopback is exempt from these two.
    #[must_use]
    pub fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, counts: Mutex::default() }
    }

    /// A place for a session from `address`, or `None` when there is none left.
    #[must_use]
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let origin = Origin::of(address);
        let mut counts = self.counts();
        let free = counts.all < self.most && counts.admit(origin, self.most_per_address);
        free.then(|| counts.place(self, Some(origin)))
    }

    /// A place for what a proxy has to say for whom it is: it counts against the limit over all, and against no address,
    /// or one proxy had no more sessions than one client. `None` when there is none left.
    #[must_use]
    pub fn take_for_proxy(self: &Arc<Self>) -> Option<Place> {
        let mut counts = self.counts();
        (counts.all < self.most).then(|| counts.place(self, None))
    }

    /// How many sessions there are.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn place(&mut self, limits: &Arc<SessionLimits>, origin: Option<Origin>) -> Place {
        self.all += 1;
        self.ever += 1;
        Place { limits: Arc::clone(limits), origin, number: self.ever }
    }

    /// Counts one more of `origin`, unless there are `most` already.
    fn admit(&mut self, origin: Origin, most: usize) -> bool {
        if origin.is_loopback() {
            return true;
        }
        // Four addresses' worth: one host commands all of a /64, and an office has one for all of its hosts.
        let most_of_network = most.saturating_mul(ADDRESSES_PER_NETWORK as usize);
        let network = origin.network();
        let is_crowded = network != origin && self.by_origin.of(network) >= most_of_network;
        if is_crowded || self.by_origin.of(origin) >= most {
            return false;
        }
        self.by_origin.add(origin);
        true
    }
}

impl Place {
    /// The session's number: 1 for the first one that was let in, and no other has had it.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Counts it against `address` from here on, whom a proxy has named. `false` where that address has no place left:
    /// then the place counts as before.
    #[must_use]
    pub fn belongs_to(&mut self, address: IpAddr) -> bool {
        let origin = Origin::of(address);
        let mut counts = self.limits.counts();
        let admitted = counts.admit(origin, self.limits.most_per_address);
        if admitted && let Some(before) = self.origin.replace(origin) {
            counts.by_origin.remove(before);
        }
        admitted
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limits.counts();
        counts.all -= 1;
        if let Some(origin) = self.origin {
            counts.by_origin.remove(origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let limits = Arc::new(SessionLimits::new(3, 2));
        let crowd = IpAddr::from([192, 0, 2, 1]);
        let first = limits.take(crowd).unwrap();
        let _second = limits.take(crowd).unwrap();
        assert!(limits.take(crowd).is_none());
        assert!(limits.take("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same address, written as IPv6");
        let _third = limits.take([192, 0, 2, 2].into()).unwrap();
        assert!(limits.take([127, 0, 0, 1].into()).is_none(), "the limit over all holds for loopback too");
        drop(first);
        let again = limits.take(crowd).unwrap();
        assert_eq!(again.number(), 4, "no number is given twice, and none to whom there was no place for");
        drop(again);
        assert_eq!(limits.taken(), 2, "a place is given back as soon as it is dropped");
    }

    #[test]
    fn of_ipv6_one_address_leaves_its_neighbours_their_places_and_a_network_has_those_of_four() {
        let limits = Arc::new(SessionLimits::new(20, 2));
        let take = |address: &str| limits.take(address.parse().unwrap());
        let crowd = [(); 2].map(|()| take("2001:db8:0:1::1").unwrap());
        assert!(take("2001:db8:0:1::1").is_none());
        let mut neighbours: Vec<_> = (2..8).map(|number| take(&format!("2001:db8:0:1::{number}")).unwrap()).collect();
        assert!(
            take("2001:db8:0:1:ffff:ffff:ffff:ffff").is_none(),
            "who has one address of a network may have them all"
        );
        let elsewhere = take("2001:db8:0:2::1").unwrap();
        neighbours.pop();
        neighbours.push(take("2001:db8:0:1:ffff:ffff:ffff:ffff").unwrap());
        let mapped: Vec<_> = (1..10).map(|number| take(&format!("::ffff:192.0.2.{number}"))).collect();
        assert!(mapped.iter().all(Option::is_some), "addresses of IPv4 written as IPv6 are as many as there are");
        drop((crowd, neighbours, mapped, elsewhere));
        assert!(limits.counts().by_origin.is_empty(), "nothing is remembered of who has gone");
    }

    #[test]
    fn loopback_is_exempt_from_the_limit_per_address() {
        let limits = Arc::new(SessionLimits::new(10, 1));
        let places: Vec<_> = (0..5).map(|_| limits.take([127, 0, 0, 1].into()).unwrap()).collect();
        assert_eq!(limits.taken(), places.len());
    }

    #[test]
    fn behind_a_proxy_each_client_has_its_own_limit_and_the_proxy_none() {
        let limits = Arc::new(SessionLimits::new(5, 1));
        let [mut first, mut second, mut third, _silent] = [(); 4].map(|()| limits.take_for_proxy().unwrap());
        assert!(first.belongs_to([192, 0, 2, 1].into()));
        assert!(!second.belongs_to([192, 0, 2, 1].into()), "the same client");
        assert!(limits.take([192, 0, 2, 1].into()).is_none(), "nor has it another place without the proxy");
        assert!(second.belongs_to([192, 0, 2, 2].into()));
        drop(first);
        assert!(third.belongs_to([192, 0, 2, 1].into()), "its place was given back");
        let _ours = limits.take([127, 0, 0, 1].into()).unwrap();
        let _fifth = limits.take_for_proxy().unwrap();
        assert!(limits.take_for_proxy().is_none(), "the limit over all holds for proxies");
        drop((second, third));
        assert_eq!(limits.taken(), 3);
        assert!(limits.counts().by_origin.is_empty(), "nothing is remembered of who has gone");
    }
}
