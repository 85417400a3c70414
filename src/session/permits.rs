//! The permits of one session's messages that are announced or under way, each by the number of its MAIL. A client may send
//! several messages ahead of the replies: what becomes of one of them is said of no other's permit.

use super::clearance::Permit;

/// The permits there are. There are no more than the transaction has MAILs without an answer, and one for the next.
#[derive(Debug, Default)]
pub(super) struct Permits {
    /// Oldest first. While there are none this holds no memory: an idle session keeps little at hand.
    waiting: Vec<(u64, Permit)>,
    /// The number of the last MAIL that has passed; 0 before the first.
    last: u64,
}

impl Permits {
    /// Keeps `permit` for the next MAIL.
    pub(super) fn put(&mut self, permit: Permit) {
        self.waiting.reserve_exact(1);
        self.waiting.push((self.last + 1, permit));
    }

    /// Whether there is one for the next MAIL.
    pub(super) fn has_next(&self) -> bool {
        self.waiting.last().is_some_and(|(mail, _)| *mail > self.last)
    }

    /// The next MAIL passes. Says its number.
    pub(super) fn pass_next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Gives back those of MAILs that have come to nothing: neither among `mails`, which may still become messages, nor the
    /// next one.
    pub(super) fn give_back_all_but(&mut self, mails: &[u64]) {
        let last = self.last;
        self.waiting.retain(|(mail, _)| *mail > last || mails.contains(mail));
        self.hold_nothing_for_none();
    }

    /// The upstream has answered the message of this MAIL: it counts, and what is older has come to nothing, for messages
    /// are answered in the order of their MAILs. Whether there was a permit for it.
    pub(super) fn used(&mut self, mail: u64) -> bool {
        let mut had_one = false;
        self.waiting.retain_mut(|(number, permit)| {
            if *number == mail {
                permit.keep();
                had_one = true;
            }
            *number > mail
        });
        self.hold_nothing_for_none();
        had_one
    }

    fn hold_nothing_for_none(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }

    /// Lets all of them count, whatever becomes of their messages.
    pub(super) fn keep_all(&mut self) {
        for (_, permit) in &mut self.waiting {
            permit.keep();
        }
    }

    /// Gives back all that do not count by now.
    pub(super) fn give_back(&mut self) {
        self.waiting = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::super::clearance::{Caller, Clearance};
    use super::super::sender::Sender;
    use super::*;
    use crate::config::Rate;

    const CALLER: Caller = Caller { session: 7, peer: IpAddr::V4(Ipv4Addr::new(192, 168, 7, 20)) };

    /// How many more messages may be sent, of four in all.
    fn left(clearance: &Clearance) -> usize {
        let permits: Vec<_> = std::iter::from_fn(|| ask(clearance)).collect();
        permits.len()
    }

    fn ask(clearance: &Clearance) -> Option<Permit> {
        let sender = Sender::whole("scanner@contoso.example", "scanner");
        let rate = Rate { messages: 4, within: Duration::from_secs(3600) };
        clearance.ask(&sender, Some(rate), CALLER).ok()
    }

    /// A session that has passed so many MAILs.
    fn passed(clearance: &Clearance, mails: usize) -> Permits {
        let mut permits = Permits::default();
        for _ in 0..mails {
            permits.put(ask(clearance).unwrap());
            permits.pass_next();
        }
        permits
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_takes_its_own_permit_and_gives_back_older_ones() {
        let clearance = Clearance::default();
        let mut permits = passed(&clearance, 3);
        assert_eq!(left(&clearance), 1);
        assert!(permits.used(2), "the first one has come to nothing");
        assert_eq!((left(&clearance), permits.waiting.len()), (2, 1));
        assert!(!permits.used(2) && !permits.used(0), "no other one's is taken");
        permits.give_back_all_but(&[]);
        assert_eq!(left(&clearance), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_to_nothing_is_given_back_and_what_is_for_the_next_is_not() {
        let clearance = Clearance::default();
        let mut permits = passed(&clearance, 3);
        permits.give_back_all_but(&[1, 3]);
        assert_eq!((left(&clearance), permits.has_next()), (2, false));
        permits.put(ask(&clearance).unwrap());
        permits.give_back_all_but(&[]);
        assert_eq!((left(&clearance), permits.has_next()), (3, true));
        assert_eq!(permits.pass_next(), 4);
        permits.keep_all();
        permits.give_back();
        assert_eq!(left(&clearance), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn without_any_they_hold_no_memory() {
        let clearance = Clearance::default();
        let mut permits = passed(&clearance, 1);
        assert_eq!(permits.waiting.capacity(), 1);
        assert!(permits.used(1));
        assert_eq!(permits.waiting.capacity(), 0);
        let mut permits = passed(&clearance, 2);
        permits.give_back_all_but(&[]);
        assert_eq!(permits.waiting.capacity(), 0);
    }
}
