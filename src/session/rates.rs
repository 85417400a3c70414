//! How many messages a login may send in how long a time. Counts and nothing else: what is said is `clearance`'s part.
//!
//! A window slides over the time in steps of a sixtieth of it: in no stretch of the rate's length do more messages pass than
//! it says, and one that is due may have to wait a step longer.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clearance::Sender;
use crate::config::Rate;
use crate::login::bounded::Bounded;

/// How many logins are remembered. Of more the longest unused are forgotten: they have waited longest anyway.
const MOST_LOGINS: usize = 16 * 1024;

/// Into how many steps a window is cut. A login costs this many entries at most.
const STEPS: u32 = 60;

/// What every login has sent of late.
#[derive(Debug)]
pub(crate) struct Rates(Mutex<Bounded<Sender, Window>>);

/// A message too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// How long until the next one may pass.
    pub(crate) wait: Duration,
    /// Whether it is the first since one passed.
    pub(crate) first: bool,
}

/// The messages of one login.
#[derive(Debug, Default)]
struct Window {
    /// When each step with a message in it began, and how many there were; oldest first.
    steps: VecDeque<(Instant, u32)>,
    exceeded: bool,
}

impl Default for Rates {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(MOST_LOGINS)))
    }
}

impl Rates {
    /// Counts one more message of `sender`, if it may be sent.
    ///
    /// # Errors
    /// [`Exceeded`] if it may not; it is not counted then.
    pub(crate) fn take(&self, sender: &Sender, rate: Rate) -> Result<(), Exceeded> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.entry(sender.clone(), Window::default).take(rate, Instant::now())
    }
}

impl Window {
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Exceeded> {
        let step = rate.within / STEPS;
        // The last message of a step may have come at its end.
        let counts_until = |began: Instant| began + rate.within + step;
        while self.steps.front().is_some_and(|(began, _)| counts_until(*began) <= now) {
            self.steps.pop_front();
        }
        let sent: u64 = self.steps.iter().map(|(_, count)| u64::from(*count)).sum();
        if sent >= u64::from(rate.messages) {
            let free = self.steps.front().map_or(now, |(began, _)| counts_until(*began));
            let first = !std::mem::replace(&mut self.exceeded, true);
            return Err(Exceeded { wait: free.saturating_duration_since(now), first });
        }
        self.exceeded = false;
        match self.steps.back_mut() {
            Some((began, count)) if now < *began + step => *count += 1,
            _ => self.steps.push_back((now, 1)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    const RATE: Rate = Rate { messages: 3, within: Duration::from_secs(3600) };

    fn sender(login: &str) -> Sender {
        Sender { account: "scanner@contoso.example".into(), login: login.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_rate_a_login_waits_and_others_do_not() {
        let rates = Rates::default();
        let scanner = sender("scanner");
        for _ in 0..3 {
            assert_eq!(rates.take(&scanner, RATE), Ok(()));
            advance(Duration::from_secs(600)).await;
        }
        // The first was half an hour ago: it counts for another half, and a step.
        let wait = Duration::from_secs(1800 + 60);
        assert_eq!(rates.take(&scanner, RATE), Err(Exceeded { wait, first: true }));
        assert_eq!(rates.take(&scanner, RATE), Err(Exceeded { wait, first: false }));
        assert_eq!(rates.take(&sender("copier"), RATE), Ok(()));
        advance(wait).await;
        assert_eq!(rates.take(&scanner, RATE), Ok(()), "what was refused does not count");
        assert!(matches!(rates.take(&scanner, RATE), Err(Exceeded { first: true, .. })), "told anew");
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
                match window.take(rate, now) {
                    Ok(()) => passed.push(now),
                    Err(Exceeded { wait, .. }) => {
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
