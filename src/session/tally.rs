//! How many of something there are of each address, and of each IPv6 /64, of which one host may have every address.

use std::collections::HashMap;

use crate::login::throttle::Origin;

/// The count of each origin that has any.
#[derive(Debug, Default)]
pub(super) struct Tally(HashMap<Origin, usize>);

impl Tally {
    /// How many there are of `origin`.
    pub(super) fn of(&self, origin: Origin) -> usize {
        self.0.get(&origin).copied().unwrap_or_default()
    }

    /// One more of `origin`, and of its /64.
    pub(super) fn add(&mut self, origin: Origin) {
        for origin in origin.with_network() {
            *self.0.entry(origin).or_default() += 1;
        }
    }

    /// One of `origin` has gone. Of whom there are none nothing is remembered.
    pub(super) fn remove(&mut self, origin: Origin) {
        for origin in origin.with_network() {
            if let Some(count) = self.0.get_mut(&origin) {
                *count -= 1;
                if *count == 0 {
                    self.0.remove(&origin);
                }
            }
        }
    }

    /// Whether there are none of anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_in_its_network_too_and_whoever_has_gone_is_forgotten() {
        let at = |address: &str| Origin::of(address.parse().unwrap());
        let (first, second, office) = (at("2001:db8::1"), at("2001:db8::2"), at("192.0.2.1"));
        let mut tally = Tally::default();
        for origin in [first, first, second, office] {
            tally.add(origin);
        }
        let counts = |tally: &Tally| [first, second, first.network(), office].map(|origin| tally.of(origin));
        assert_eq!(counts(&tally), [2, 1, 3, 1]);
        tally.remove(first);
        tally.remove(second);
        assert_eq!(counts(&tally), [1, 0, 1, 1]);
        tally.remove(first);
        tally.remove(office);
        assert!(tally.is_empty());
    }
}
