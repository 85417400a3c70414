//! How many messages a login may send in how long a time. Counts and nothing else: what is said is `clearance`'s part.
//!
//! A window slides over the time in steps of a sixtieth of it: in no stretch of the rate's length do more messages pass than
//! it says, and one that is due may have to wait a step longer.
//!
//! A message is counted when it is announced, so that many sessions at once send no more than one. Where nothing came of it,
//! the count is given back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::sender::Sender;
use crate::config::Rate;
use crate::login::bounded::Bounded;

/// How many windows are remembered. Of more the longest unused are forgotten: they have waited longest anyway.
const MOST_WINDOWS: usize = 16 * 1024;

/// Into how many steps a window is cut. A login costs this many entries at most.
const STEPS: u32 = 60;

/// What every login has sent of late. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Rates(Arc<Mutex<Bounded<Key, Window>>>);

/// Whose window it is. The rate is part of it: a login whose rate was changed begins anew, and two of one name do not count
/// by each other's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    sender: Sender,
    rate: Rate,
}

/// A message too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// Whose rate it is, or whose part of one: the login's, a /64's or an address's.
    pub(crate) whom: Sender,
    /// How many there may be.
    pub(crate) most: u32,
    /// How long until the next one may pass.
    pub(crate) wait: Duration,
    /// Whether it is the first since one was sent. One that came to nothing does not make it news again.
    pub(crate) first: bool,
}

/// One message that has been counted. Dropped without having been kept, it is given back.
#[derive(Debug)]
#[must_use]
pub(crate) struct Counted {
    rates: Rates,
    keys: Vec<Key>,
    at: Instant,
}

/// The messages of one login.
#[derive(Debug, Default)]
struct Window {
    /// When each step with a message in it began, and how many there were; oldest first.
    steps: VecDeque<(Instant, u32)>,
    /// Whether one was too many since the last one that was sent.
    exceeded: bool,
}

impl Default for Rates {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Bounded::new(MOST_WINDOWS))))
    }
}

impl Rates {
    /// Counts one more message of `sender`, if it may be sent. Of a login that several addresses share, each may use half of
    /// the rate, and so may each IPv6 /64 where there are others: so none of them takes it from all others.
    ///
    /// # Errors
    /// [`Exceeded`] if it may not; it is not counted then.
    pub(crate) fn take(&self, sender: &Sender, rate: Rate) -> Result<Counted, Exceeded> {
        let now = Instant::now();
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(sender, rate);
        for key in &keys {
            let is_part = key.sender.origin.is_some();
            let most = if is_part { rate.messages.div_ceil(2) } else { rate.messages };
            windows
                .entry(key.clone(), Window::default)
                .room(most, rate, now)
                .map_err(|(wait, first)| Exceeded { whom: key.sender.clone(), most, wait, first })?;
        }
        for key in &keys {
            windows.entry(key.clone(), Window::default).count(rate, now);
        }
        Ok(Counted { rates: self.clone(), keys, at: now })
    }

    /// Counts a message of `sender` that has been sent, whether it might be or not.
    pub(crate) fn count(&self, sender: &Sender, rate: Rate) {
        let now = Instant::now();
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(sender, rate) {
            let window = windows.entry(key, Window::default);
            window.count(rate, now);
            window.exceeded = false;
        }
    }
}

/// The login's window, and behind it that of the /64, unless that is all there is, and that of the address. Addresses without
/// end come last, and what came to nothing leaves no window: who has them makes no more than it may send messages.
fn keys(sender: &Sender, rate: Rate) -> Vec<Key> {
    let parts = sender.with_network().into_iter().rev();
    let parts = parts.filter(|part| part.origin.is_some() && !(part.is_network() && part.is_alone));
    let login = Sender::whole(&sender.account, &sender.login);
    [login].into_iter().chain(parts).map(|sender| Key { sender, rate }).collect()
}

impl Counted {
    /// The message was sent, or may have been.
    pub(crate) fn keep(&mut self) {
        let mut windows = self.rates.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in self.keys.drain(..) {
            if let Some(window) = windows.get_mut(&key) {
                window.exceeded = false;
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut windows = self.rates.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            let Some(window) = windows.get_mut(key) else { continue };
            window.give_back(self.at);
            if window.says_nothing() {
                windows.remove(key);
            }
        }
    }
}

impl Window {
    /// Whether there is room for one more; else how long there is none, and whether that is news.
    fn room(&mut self, most: u32, rate: Rate, now: Instant) -> Result<(), (Duration, bool)> {
        let step = rate.within / STEPS;
        // The last message of a step may have come at its end.
        let counts_until = |began: Instant| began + rate.within + step;
        while self.steps.front().is_some_and(|(began, _)| counts_until(*began) <= now) {
            self.steps.pop_front();
        }
        let sent: u64 = self.steps.iter().map(|(_, count)| u64::from(*count)).sum();
        if sent >= u64::from(most) {
            let free = self.steps.front().map_or(now, |(began, _)| counts_until(*began));
            let first = !std::mem::replace(&mut self.exceeded, true);
            return Err((free.saturating_duration_since(now), first));
        }
        Ok(())
    }

    fn count(&mut self, rate: Rate, now: Instant) {
        match self.steps.back_mut() {
            Some((began, count)) if now < *began + rate.within / STEPS => *count = count.saturating_add(1),
            _ => self.steps.push_back((now, 1)),
        }
        // Only what is counted without having been asked for can be more.
        if self.steps.len() > STEPS as usize + 2 {
            self.steps.pop_front();
        }
    }

    /// Takes back a message that was counted at that time, unless it counts no more anyway.
    fn give_back(&mut self, at: Instant) {
        if let Some(step) = self.steps.iter().rposition(|(began, _)| *began <= at) {
            let (_, count) = &mut self.steps[step];
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.steps.remove(step);
            }
        }
    }

    /// Whether it might as well not be there.
    fn says_nothing(&self) -> bool {
        self.steps.is_empty() && !self.exceeded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use crate::login::throttle::Origin;

    const RATE: Rate = Rate { messages: 3, within: Duration::from_secs(3600) };

    fn sender(login: &str) -> Sender {
        Sender::whole("scanner@contoso.example", login)
    }

    /// One message that is sent.
    fn send(rates: &Rates, sender: &Sender, rate: Rate) -> Result<(), Exceeded> {
        rates.take(sender, rate).map(|mut counted| counted.keep())
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_rate_a_login_waits_and_others_do_not() {
        let rates = Rates::default();
        let scanner = sender("scanner");
        for _ in 0..3 {
            assert_eq!(send(&rates, &scanner, RATE), Ok(()));
            advance(Duration::from_secs(600)).await;
        }
        // The first was half an hour ago: it counts for another half, and a step.
        let wait = Duration::from_secs(1800 + 60);
        let exceeded = |first| Exceeded { whom: scanner.clone(), most: 3, wait, first };
        assert_eq!(send(&rates, &scanner, RATE), Err(exceeded(true)));
        assert_eq!(send(&rates, &scanner, RATE), Err(exceeded(false)));
        assert_eq!(send(&rates, &sender("copier"), RATE), Ok(()));
        advance(wait).await;
        assert_eq!(send(&rates, &scanner, RATE), Ok(()), "what was refused does not count");
        assert!(matches!(send(&rates, &scanner, RATE), Err(Exceeded { first: true, .. })), "told anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nothing_came_of_is_given_back_and_to_no_other_step() {
        let (rates, scanner) = (Rates::default(), sender("scanner"));
        for _ in 0..10 {
            drop(rates.take(&scanner, RATE).unwrap());
            advance(Duration::from_secs(61)).await;
        }
        assert_eq!(send(&rates, &scanner, RATE), Ok(()));
        advance(Duration::from_secs(600)).await;
        let late = rates.take(&scanner, RATE).unwrap();
        advance(Duration::from_secs(600)).await;
        let later = rates.take(&scanner, RATE).unwrap();
        assert!(rates.take(&scanner, RATE).is_err(), "it counts as long as it may be sent");
        drop(late);
        assert_eq!(send(&rates, &scanner, RATE), Ok(()));
        let wait = Duration::from_secs(3660 - 1200);
        assert_eq!(rates.take(&scanner, RATE).unwrap_err().wait, wait, "the first one still counts");
        advance(Duration::from_secs(4000)).await;
        // What it gives back is none of what has been counted since.
        for _ in 0..3 {
            assert_eq!(send(&rates, &scanner, RATE), Ok(()));
        }
        drop(later);
        assert!(rates.take(&scanner, RATE).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn two_rates_of_one_name_do_not_prune_each_other() {
        let (rates, scanner) = (Rates::default(), sender("scanner"));
        let short = Rate { messages: 1, within: Duration::from_secs(1) };
        for _ in 0..3 {
            assert_eq!(send(&rates, &scanner, RATE), Ok(()));
            advance(Duration::from_secs(60)).await;
            assert_eq!(send(&rates, &scanner, short), Ok(()));
        }
        assert!(rates.take(&scanner, RATE).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_uses_half_of_what_it_shares_and_all_together_the_whole() {
        let rates = Rates::default();
        let at = |last: u8| Sender { origin: Some(Origin::of([192, 0, 2, last].into())), ..sender("floor") };
        for _ in 0..2 {
            assert_eq!(send(&rates, &at(66), RATE), Ok(()));
        }
        let exceeded = rates.take(&at(66), RATE).unwrap_err();
        assert_eq!((exceeded.most, exceeded.whom), (2, at(66)));
        assert_eq!(send(&rates, &at(20), RATE), Ok(()));
        let exceeded = rates.take(&at(21), RATE).unwrap_err();
        assert_eq!((exceeded.most, exceeded.whom), (3, sender("floor")));
        rates.count(&at(22), RATE);
        advance(Duration::from_secs(4000)).await;
        assert_eq!(send(&rates, &at(66), RATE), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn of_ipv6_one_host_with_many_addresses_uses_half_of_what_it_shares_with_other_networks() {
        for (is_alone, passing) in [(false, 3), (true, 6)] {
            let (rates, rate) = (Rates::default(), Rate { messages: 6, ..RATE });
            let at = |network: u16, host: u16| {
                let peer = std::net::Ipv6Addr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
                Sender { origin: Some(Origin::of(peer.into())), is_alone, ..sender("floor") }
            };
            for host in 0..passing {
                assert_eq!(send(&rates, &at(1, host), rate), Ok(()), "{is_alone} {host}");
            }
            let windows = || rates.0.lock().unwrap().len();
            let before = windows();
            let exceeded = rates.take(&at(1, 99), rate).unwrap_err();
            assert_eq!(exceeded.whom.origin, (!is_alone).then(|| at(1, 99).origin.unwrap().network()));
            assert_eq!(windows(), before, "nothing is remembered of further addresses");
            assert_eq!(send(&rates, &at(2, 1), rate).is_ok(), !is_alone);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_to_nothing_makes_no_news_of_the_next_one_too_many() {
        let (rates, scanner) = (Rates::default(), sender("scanner"));
        let rate = Rate { messages: 1, ..RATE };
        for number in 0..3 {
            let _nothing = rates.take(&scanner, rate).unwrap();
            assert_eq!(rates.take(&scanner, rate).unwrap_err().first, number == 0, "{number}");
        }
        assert_eq!(send(&rates, &scanner, rate), Ok(()));
        assert!(rates.take(&scanner, rate).unwrap_err().first, "one was sent in between");
        rates.count(&scanner, rate);
        assert!(rates.take(&scanner, rate).unwrap_err().first, "and another, without having been asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_to_nothing_leaves_no_window() {
        let rates = Rates::default();
        let at = |host: u16| {
            let peer = std::net::Ipv6Addr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
            Sender { origin: Some(Origin::of(peer.into())), ..sender("floor") }
        };
        let windows = || rates.0.lock().unwrap().len();
        let waiting = rates.take(&at(1), RATE).unwrap();
        for host in 2..50 {
            drop(rates.take(&at(host), RATE).unwrap());
            assert_eq!(windows(), 3, "the login's, the network's and that of who waits");
        }
        drop(waiting);
        assert_eq!(windows(), 0);
        assert_eq!(send(&rates, &at(1), RATE), Ok(()));
        assert_eq!(windows(), 3);
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_holds_more_than_the_rate(
            messages in 1_u32..20,
            within in 1_u64..4000,
            pauses in prop::collection::vec(0_u64..200_000, 1..300),
        ) {
            let rate = Rate { messages, within: Duration::from_secs(within) };
            let (mut window, begun) = (Window::default(), Instant::now());
            let (mut now, mut passed) = (begun, Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                match window.room(messages, rate, now) {
                    Ok(()) => {
                        window.count(rate, now);
                        passed.push(now);
                    }
                    Err((wait, _)) => {
                        prop_assert!(wait <= rate.within + rate.within / STEPS);
                        let recent = passed.iter().filter(|at| **at + rate.within + rate.within / STEPS > now);
                        prop_assert!(recent.count() as u64 >= u64::from(messages), "refused without need");
                    }
                }
                prop_assert!(window.steps.len() <= STEPS as usize + 2);
            }
            for (index, first) in passed.iter().enumerate() {
                let inside = passed[index..].iter().take_while(|at| **at < *first + rate.within).count();
                prop_assert!(inside <= messages as usize);
            }
        }
    }
}
