//! How many sessions there may be, over all and from one address (of IPv6: one /64 network); and which of them is which.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::login::throttle::Origin;

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
    by_origin: HashMap<Origin, usize>,
}

/// One session's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    limits: Arc<SessionLimits>,
    origin: Origin,
    number: u64,
}

impl SessionLimits {
    /// At most `most` sessions, `most_per_address` of them from one address; loopback is exempt from the latter. Of IPv6 a
    /// /64 network counts as one address: one host commands all of it.
    #[must_use]
    pub fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, counts: Mutex::default() }
    }

    /// A place for a session from `address`, or `None` when there is none left.
    #[must_use]
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let origin = Origin::of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.most {
            return None;
        }
        if !origin.is_loopback() {
            let of_address = counts.by_origin.entry(origin).or_default();
            if *of_address >= self.most_per_address {
                return None;
            }
            *of_address += 1;
        }
        counts.all += 1;
        counts.ever += 1;
        Some(Place { limits: Arc::clone(self), origin, number: counts.ever })
    }

    /// How many sessions there are.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Place {
    /// The session's number: 1 for the first one that was let in, and no other has had it.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(of_address) = counts.by_origin.get_mut(&self.origin) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_origin.remove(&self.origin);
            }
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
    fn of_ipv6_a_network_counts_as_one_address() {
        let limits = Arc::new(SessionLimits::new(10, 2));
        let take = |address: &str| limits.take(address.parse().unwrap());
        let first = take("2001:db8:0:1::1").unwrap();
        let _second = take("2001:db8:0:1:ffff:ffff:ffff:ffff").unwrap();
        assert!(take("2001:db8:0:1::2").is_none(), "who has one address of a network has them all");
        let _neighbour = take("2001:db8:0:2::1").unwrap();
        drop(first);
        assert!(take("2001:db8:0:1::3").is_some());
        let mapped: Vec<_> = ["::ffff:192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3"].map(take).into();
        assert!(mapped.iter().all(Option::is_some), "addresses of IPv4 written as IPv6 are as many as there are");
    }

    #[test]
    fn loopback_is_exempt_from_the_limit_per_address() {
        let limits = Arc::new(SessionLimits::new(10, 1));
        let places: Vec<_> = (0..5).map(|_| limits.take([127, 0, 0, 1].into()).unwrap()).collect();
        assert_eq!(limits.taken(), places.len());
    }
}
