//! A map that never holds more than so many entries: the one untouched for longest makes room. No clock.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map of bounded size. "Touched" means made, or asked for by `entry`: looking does not keep one alive.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    capacity: usize,
    touches: u64,
    entries: HashMap<K, (u64, V)>,
    oldest_first: BTreeMap<u64, K>,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    /// An empty map for at most `capacity` entries, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), touches: 0, entries: HashMap::new(), oldest_first: BTreeMap::new() }
    }

    /// What is kept for `key`.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// What is kept for `key`, to be changed without being touched.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// What is kept for `key`, to be changed; made by `fresh` where there is nothing yet.
    pub(crate) fn entry(&mut self, key: K, fresh: impl FnOnce() -> V) -> &mut V {
        self.touches += 1;
        let touch = self.touches;
        match self.entries.get(&key) {
            Some((before, _)) => {
                self.oldest_first.remove(before);
            }
            None if self.entries.len() >= self.capacity => {
                if let Some((_, evicted)) = self.oldest_first.pop_first() {
                    self.entries.remove(&evicted);
                }
            }
            None => {}
        }
        self.oldest_first.insert(touch, key.clone());
        let (touched, value) = self.entries.entry(key).or_insert_with(|| (touch, fresh()));
        *touched = touch;
        value
    }

    /// Keeps `value` for `key`, whatever was there.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        self.entry(key, || value);
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((touch, _)) = self.entries.remove(key) {
            self.oldest_first.remove(&touch);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_untouched_makes_room() {
        let mut map = Bounded::new(2);
        map.insert('a', 1);
        map.insert('b', 2);
        map.insert('a', 3);
        map.insert('c', 4);
        assert_eq!((map.get(&'a'), map.get(&'b'), map.get(&'c')), (Some(&3), None, Some(&4)));
    }

    proptest! {
        #[test]
        fn it_never_outgrows_its_capacity(touched in prop::collection::vec((0_u8..20, any::<bool>()), 0..200)) {
            let mut map = Bounded::new(7);
            for (key, keep) in touched {
                if keep {
                    map.insert(key, key);
                    prop_assert_eq!(map.get(&key), Some(&key));
                } else {
                    map.remove(&key);
                    prop_assert_eq!(map.get(&key), None);
                }
                prop_assert!(map.entries.len() <= 7);
                prop_assert_eq!(map.entries.len(), map.oldest_first.len());
            }
        }
    }
}
