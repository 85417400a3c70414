//! How many sessions that an address has opened there may be at once: of a login, of one address, and of one IPv6 /64, of
//! which one host may have every address. Each of them has a connection to the upstream, and costs whoever holds it nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::sender::Sender;
use super::tally::Tally;
use crate::login::throttle::Origin;

/// How many sessions one address may have. Exchange lets a mailbox send over three connections at a time.
const MOST_OF_ADDRESS: usize = 3;

/// How many all addresses of one /64 may have, where the login lets in others.
const MOST_OF_NETWORK: usize = 8;

/// How many loopback may have, which may be many programs, where the login lets in others.
const MOST_OF_LOOPBACK: usize = 12;

/// How many there may be of one login.
const MOST_OF_LOGIN: usize = 16;

/// The sessions there are. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<Sender, Taken>>>);

/// The seats of one login.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Those of each address, and of each /64.
    by_origin: Tally,
}

/// One session's seat. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Crowd,
    login: Sender,
    origin: Origin,
}

impl Crowd {
    /// A seat for a session from `origin`, or `None` where too many are taken.
    pub(super) fn seat(&self, sender: &Sender, origin: Origin) -> Option<Seat> {
        let login = Sender::whole(&sender.account, &sender.login);
        let mut logins = self.logins();
        if logins.get(&login).is_some_and(|taken| !taken.has_room(sender, origin)) {
            return None;
        }
        logins.entry(login.clone()).or_default().add(origin);
        Some(Seat { crowd: self.clone(), login, origin })
    }

    fn logins(&self) -> MutexGuard<'_, HashMap<Sender, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn has_room(&self, sender: &Sender, origin: Origin) -> bool {
        let has_room = |origin| self.by_origin.of(origin) < most_of(sender, origin);
        self.all < MOST_OF_LOGIN && origin.with_network().all(has_room)
    }

    fn add(&mut self, origin: Origin) {
        self.all += 1;
        self.by_origin.add(origin);
    }

    fn remove(&mut self, origin: Origin) {
        self.all -= 1;
        self.by_origin.remove(origin);
    }
}

/// How many seats `origin` may have of the login of `sender`. What has the login for itself leaves none to others: those who
/// sit on loopback, or in its one /64, are several all the same.
const fn most_of(sender: &Sender, origin: Origin) -> usize {
    match origin {
        Origin::Here if sender.origin.is_none() => MOST_OF_LOGIN,
        Origin::Network(_) if sender.is_alone => MOST_OF_LOGIN,
        Origin::Here => MOST_OF_LOOPBACK,
        Origin::Address(_) => MOST_OF_ADDRESS,
        Origin::Network(_) => MOST_OF_NETWORK,
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut logins = self.crowd.logins();
        let Some(taken) = logins.get_mut(&self.login) else { return };
        taken.remove(self.origin);
        if taken.all == 0 {
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
        let sender = |login: &str| Sender::whole("a@b", login);
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

    /// A seat of the login `floor` for who comes from there, where that is one of several addresses that it lets in.
    fn take(crowd: &Crowd, address: &str, is_alone: bool) -> Option<Seat> {
        let origin = Origin::of(address.parse().unwrap());
        crowd.seat(&Sender { origin: Some(origin), is_alone, ..Sender::whole("a@b", "floor") }, origin)
    }

    #[test]
    fn of_ipv6_a_network_has_eight_seats_and_loopback_twelve() {
        let crowd = Crowd::default();
        let take = |address: &str| take(&crowd, address, false);
        let mut seats: Vec<_> = (1..9).map(|host| take(&format!("2001:db8:0:1::{host}")).unwrap()).collect();
        assert!(
            take("2001:db8:0:1:ffff:ffff:ffff:ffff").is_none(),
            "who has one address of a network may have them all"
        );
        seats.extend((0..3).map(|_| take("2001:db8:0:2::1").unwrap()));
        assert!(take("2001:db8:0:2::1").is_none());
        seats.remove(0);
        seats.push(take("2001:db8:0:1:ffff:ffff:ffff:ffff").unwrap());
        drop(seats);
        let mut seats: Vec<_> = (0..12).map(|host| take(&format!("127.0.0.{host}")).unwrap()).collect();
        assert!(take("::1").is_none(), "loopback leaves the others some");
        seats.extend((1..5).map(|host| take(&format!("192.0.2.{host}")).unwrap()));
        assert!(take("192.0.2.5").is_none(), "each of them is one of the login's");
        drop(seats);
        assert!(crowd.logins().is_empty(), "nothing is remembered of who has gone");
    }

    #[test]
    fn what_has_a_login_for_itself_has_all_of_its_seats() {
        let crowd = Crowd::default();
        let loopback = Origin::of([127, 0, 0, 1].into());
        let whole = Sender::whole("a@b", "floor");
        let seats: Vec<_> = (0..16).map(|_| crowd.seat(&whole, loopback).unwrap()).collect();
        assert!(crowd.seat(&whole, loopback).is_none());
        drop(seats);
        let take = |host: u32| take(&crowd, &format!("2001:db8::{host}"), true);
        let mut seats: Vec<_> = (0..3).map(|_| take(1).unwrap()).collect();
        assert!(take(1).is_none(), "one address has three, whoever else may come");
        seats.extend((2..15).map(|host| take(host).unwrap()));
        assert!(take(20).is_none());
    }
}
