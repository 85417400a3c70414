//! How many sessions that an address has opened there may be at once: of a login, and of one address. Each of them has a
//! connection to the upstream, and costs whoever holds it nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clearance::Sender;
use crate::login::throttle::Origin;

/// How many sessions one address may have. Exchange lets a mailbox send over three connections at a time.
const MOST_OF_ADDRESS: usize = 3;

/// How many there may be of one login.
const MOST_OF_LOGIN: usize = 16;

/// The sessions there are. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<Sender, HashMap<Origin, usize>>>>);

/// One session's seat. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Crowd,
    login: Sender,
    origin: Origin,
}

impl Crowd {
    /// A seat for a session from `origin`, or `None` where too many are taken. Loopback may be many programs, and counts
    /// for the login alone.
    pub(super) fn seat(&self, sender: &Sender, origin: Origin) -> Option<Seat> {
        let login = Sender { origin: None, ..sender.clone() };
        let mut logins = self.logins();
        let taken = logins.get(&login);
        let of_login: usize = taken.map_or(0, |taken| taken.values().sum());
        let of_address = taken.and_then(|taken| taken.get(&origin)).copied().unwrap_or_default();
        let is_free = of_login < MOST_OF_LOGIN && (of_address < MOST_OF_ADDRESS || origin.is_loopback());
        is_free.then(|| {
            *logins.entry(login.clone()).or_default().entry(origin).or_default() += 1;
            Seat { crowd: self.clone(), login, origin }
        })
    }

    fn logins(&self) -> MutexGuard<'_, HashMap<Sender, HashMap<Origin, usize>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut logins = self.crowd.logins();
        let Some(taken) = logins.get_mut(&self.login) else { return };
        if let Some(count) = taken.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.origin);
            }
        }
        if taken.is_empty() {
            logins.remove(&self.login);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_three_seats_and_a_login_sixteen() {
        let crowd = Crowd::default();
        let sender = |login: &str| Sender { account: "a@b".into(), login: login.into(), origin: None };
        let at = |last: u8| Origin::of([192, 168, 7, last].into());
        let mut seats: Vec<_> = (0..3).map(|_| crowd.seat(&sender("floor"), at(66)).unwrap()).collect();
        assert!(crowd.seat(&sender("floor"), at(66)).is_none());
        assert!(crowd.seat(&sender("other"), at(66)).is_some());
        seats.extend((0..13).map(|last| crowd.seat(&sender("floor"), at(last)).unwrap()));
        assert!(crowd.seat(&sender("floor"), at(99)).is_none());
        seats.remove(0);
        let _seat = crowd.seat(&Sender { origin: Some(at(99)), ..sender("floor") }, at(99)).unwrap();
        assert!(crowd.seat(&sender("floor"), at(66)).is_none(), "whatever the sender's own key");
        let loopback = Origin::of([127, 0, 0, 1].into());
        let ours: Vec<_> = (0..5).map(|_| crowd.seat(&sender("mine"), loopback).unwrap()).collect();
        drop((seats, ours));
        assert_eq!(crowd.logins().len(), 1, "nothing is remembered of who has gone");
    }
}
