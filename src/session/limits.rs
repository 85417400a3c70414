//! How many sessions there may be, over all and from one address; and which of them is which.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
    by_address: HashMap<IpAddr, usize>,
}

/// One session's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    limits: Arc<SessionLimits>,
    address: IpAddr,
    number: u64,
}

impl SessionLimits {
    /// At most `most` sessions, `most_per_address` of them from one address; loopback is exempt from the latter.
    #[must_use]
    pub fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, counts: Mutex::default() }
    }

    /// A place for a session from `address`, or `None` when there is none left.
    #[must_use]
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.most {
            return None;
        }
        if !address.is_loopback() {
            let of_address = counts.by_address.entry(address).or_default();
            if *of_address >= self.most_per_address {
                return None;
            }
            *of_address += 1;
        }
        counts.all += 1;
        counts.ever += 1;
        Some(Place { limits: Arc::clone(self), address, number: counts.ever })
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
        if let Some(of_address) = counts.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&self.address);
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
    fn loopback_is_exempt_from_the_limit_per_address() {
        let limits = Arc::new(SessionLimits::new(10, 1));
        let places: Vec<_> = (0..5).map(|_| limits.take([127, 0, 0, 1].into()).unwrap()).collect();
        assert_eq!(limits.taken(), places.len());
    }
}
