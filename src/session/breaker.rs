//! A circuit breaker for each upstream server: who cannot be reached is left alone for a while, so that forty devices do
//! not hammer a dead server, and each of them is answered at once.
//!
//! What counts is the way up to the credential: connection, TLS, greeting. What becomes of a credential is its account's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::chance::octets;
use crate::config::Server;

/// How many failures in a row open the breaker; and how many logins may dial a server at once before the first of them has
/// found out whether it lives.
const THRESHOLD: u32 = 5;

/// How long a server is left alone at first.
const FIRST_REST: Duration = Duration::from_secs(10);

/// The longest that it is left alone, whatever has happened.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// How long a server that was reached is believed to live.
const BELIEVED: Duration = Duration::from_secs(10);

/// One server's breaker. It knows no clock and no chance: both are passed in.
#[derive(Debug, Default)]
struct Breaker {
    state: State,
    /// Counts the changes of state, so that what was begun before one does not count after it.
    epoch: u64,
    /// How many dials have not come to anything yet, of this epoch.
    under_way: u32,
    reached: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Whoever comes may dial.
    Closed { failures: u32, since: Option<Instant> },
    /// Nobody may until then.
    Open { since: Instant, until: Instant, rest: Duration },
    /// One has been let through to see.
    Trial { since: Instant, rest: Duration },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0, since: None }
    }
}

/// May a login dial?
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// It may, and says what came of it with this number.
    Go(u64),
    /// Enough others are finding out.
    Wait,
    /// The server has failed for so long, and is next tried after so long.
    Rest { failing: Duration, left: Duration },
}

impl Breaker {
    fn ask(&mut self, now: Instant) -> Word {
        match self.state {
            State::Closed { failures, .. } => {
                let lives = failures == 0 && self.reached.is_some_and(|at| now.duration_since(at) < BELIEVED);
                if !lives && self.under_way + failures >= THRESHOLD {
                    return Word::Wait;
                }
            }
            State::Open { since, until, rest } if now >= until => self.enter(State::Trial { since, rest }),
            State::Open { since, until, .. } => {
                return Word::Rest { failing: now.duration_since(since), left: until.duration_since(now) };
            }
            State::Trial { since, .. } => {
                return Word::Rest { failing: now.duration_since(since), left: Duration::ZERO };
            }
        }
        self.under_way += 1;
        Word::Go(self.epoch)
    }

    /// The server was reached. For how long it had been given up, if it had been.
    fn succeeded(&mut self, dial: Option<u64>, now: Instant) -> Option<Duration> {
        self.settled(dial);
        self.reached = Some(now);
        match self.state {
            State::Closed { .. } => {
                self.state = State::default();
                None
            }
            State::Open { since, .. } | State::Trial { since, .. } => {
                self.enter(State::default());
                Some(now.duration_since(since))
            }
        }
    }

    /// The server was not reached. For how long it is left alone, if it has just been given up; `chance` shortens that by up
    /// to a quarter.
    fn failed(&mut self, dial: u64, now: Instant, chance: u8) -> Option<Duration> {
        if !self.settled(Some(dial)) {
            return None;
        }
        let (since, rest, is_news) = match self.state {
            State::Closed { failures, since } => {
                let (failures, since) = (failures + 1, since.unwrap_or(now));
                if failures < THRESHOLD {
                    self.state = State::Closed { failures, since: Some(since) };
                    return None;
                }
                (since, FIRST_REST, true)
            }
            State::Trial { since, rest } => (since, LONGEST_REST.min(rest * 2), false),
            // Nobody dials in this state.
            State::Open { .. } => return None,
        };
        let until = now + rest - rest / 4 * u32::from(chance) / 255;
        self.enter(State::Open { since, until, rest });
        is_news.then(|| until - now)
    }

    /// A dial was given up that has found out nothing.
    fn abandoned(&mut self, dial: u64, now: Instant) {
        if self.settled(Some(dial))
            && let State::Trial { since, rest } = self.state
        {
            self.enter(State::Open { since, until: now, rest });
        }
    }

    /// Takes a dial off the count; whether it was on it.
    fn settled(&mut self, dial: Option<u64>) -> bool {
        let counts = dial == Some(self.epoch);
        if counts {
            self.under_way = self.under_way.saturating_sub(1);
        }
        counts
    }

    fn enter(&mut self, state: State) {
        (self.state, self.epoch, self.under_way) = (state, self.epoch + 1, 0);
    }
}

/// The breakers of all servers. There are as many as the configuration has servers.
#[derive(Debug, Default)]
pub(super) struct Breakers(Mutex<BTreeMap<(String, u16), Arc<Endpoint>>>);

impl Breakers {
    pub(super) fn of(&self, server: &Server) -> Arc<Endpoint> {
        let mut endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = endpoints.entry((server.host.clone(), server.port));
        Arc::clone(endpoint.or_insert_with(|| {
            Arc::new(Endpoint {
                name: format!("{}:{}", server.host, server.port),
                guarded: Mutex::default(),
                changed: Notify::new(),
            })
        }))
    }
}

/// One server's breaker, shared by whoever dials it.
#[derive(Debug)]
pub(super) struct Endpoint {
    name: String,
    guarded: Mutex<Guarded>,
    /// Tells those who wait that the breaker has learnt something.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Guarded {
    breaker: Breaker,
    /// The last failure, in words.
    said: String,
}

impl Endpoint {
    /// Waits until a login may dial; not long, for what is under way comes to something.
    ///
    /// # Errors
    /// That it may not, in words.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Dial, String> {
        loop {
            // Before the question, so that no answer to it is missed.
            let changed = self.changed.notified();
            {
                let mut guarded = self.guarded();
                match guarded.breaker.ask(Instant::now()) {
                    Word::Go(number) => {
                        return Ok(Dial { endpoint: Arc::clone(self), number: Some(number), open: true });
                    }
                    Word::Rest { failing, left } => return Err(self.refusal(failing, left, &guarded.said)),
                    Word::Wait => {}
                }
            }
            changed.await;
        }
    }

    /// Lets somebody dial who was sent by a person. It may close the breaker and does not open it.
    pub(super) fn regardless(self: &Arc<Self>) -> Dial {
        Dial { endpoint: Arc::clone(self), number: None, open: true }
    }

    fn refusal(&self, failing: Duration, left: Duration, said: &str) -> String {
        let (name, failing) = (&self.name, failing.as_secs());
        let next =
            if left.is_zero() { "is being tried".into() } else { format!("is tried in {} s", left.as_secs() + 1) };
        format!(
            "{name} has been out of reach for {failing} s and {next}; nothing else is sent there. The last failure: {said}"
        )
    }

    fn guarded(&self) -> MutexGuard<'_, Guarded> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody's leave to dial. Dropped before the end is known, it counts for nothing.
#[derive(Debug)]
pub(super) struct Dial {
    endpoint: Arc<Endpoint>,
    /// Its number at the breaker; `None` for one that was let through regardless.
    number: Option<u64>,
    /// What came of it is not known yet.
    open: bool,
}

impl Dial {
    /// The server was reached.
    pub(super) fn succeeded(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let endpoint = &self.endpoint;
        let given_up = endpoint.guarded().breaker.succeeded(self.number, Instant::now());
        if let Some(given_up) = given_up {
            let (server, seconds) = (&endpoint.name, given_up.as_secs());
            tracing::info!(server, seconds, "the server is reached again");
        }
        endpoint.changed.notify_waiters();
    }

    /// The server was not reached, unless that is known to be otherwise.
    pub(super) fn failed(&mut self, words: &str) {
        if !self.open {
            return;
        }
        self.open = false;
        let endpoint = &self.endpoint;
        let Some(number) = self.number else { return };
        let rest = {
            let mut guarded = endpoint.guarded();
            words.clone_into(&mut guarded.said);
            guarded.breaker.failed(number, Instant::now(), chance())
        };
        if let Some(rest) = rest {
            let (server, seconds) = (&endpoint.name, rest.as_secs() + 1);
            tracing::warn!(
                server,
                seconds,
                "the server could not be reached {THRESHOLD} times in a row; logins fail at once until it is tried again: {words}"
            );
        }
        endpoint.changed.notify_waiters();
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        if let (true, Some(number)) = (self.open, self.number) {
            self.endpoint.guarded().breaker.abandoned(number, Instant::now());
            self.endpoint.changed.notify_waiters();
        }
    }
}

/// What keeps many gateways from trying at the same moment.
fn chance() -> u8 {
    let [octet] = octets();
    octet
}

#[cfg(test)]
mod tests;
