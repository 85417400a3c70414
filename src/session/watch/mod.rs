//! What a session tells somebody who watches it live: each step, redacted, and in the end what to change.
//!
//! A session that begins while nobody watches tells nothing and has nothing for it but an empty pointer. One that is watched
//! never waits for a watcher: what a slow one has no room for is counted, and the count is told. Of that room no session
//! takes what others need: whoever may connect could else blind the watcher.

pub(crate) mod advice;
mod dialogue;
mod room;
mod tap;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ipnet::IpNet;
use tokio::sync::mpsc;

pub(crate) use self::tap::{Tap, Watched, tls_name};
use crate::config::holds;

/// How many may watch at once.
const MOST: usize = 4;

/// How many lines wait for a watcher that is slower than the devices.
const WAITING: usize = 4096;

/// Which part of the room that is left one session may have taken. When a hundred sessions have each taken theirs, one that
/// has said nothing yet still has some.
const SHARE: usize = 32;

/// How many sessions are named whose lines are missing.
const LOST_NAMED: usize = 4;

/// Those who watch now. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How many there are: what a session asks that nobody may be watching.
    count: AtomicUsize,
    list: Mutex<Vec<Watcher>>,
}

#[derive(Debug)]
struct Watcher {
    /// Whose sessions; `None`: everybody's.
    from: Option<IpNet>,
    lines: mpsc::Sender<Told>,
    queue: Arc<Queue>,
}

/// What is known of the lines that wait for a watcher.
#[derive(Debug, Default)]
struct Queue {
    /// How many there are of each session. All connections that did not become one count as one.
    waiting: Mutex<HashMap<Option<u64>, usize>>,
    lost: Mutex<Lost>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) at: SystemTime,
    /// The session's number; `None` for a connection that did not become one.
    pub(crate) session: Option<u64>,
    /// What, in words: no secret, nothing that a terminal would obey.
    pub(crate) what: Arc<str>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", numbered(self.session), self.what)
    }
}

/// Lines that there was no room for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    lines: u64,
    /// Whose they were: as many sessions as are named.
    of: Vec<Option<u64>>,
    /// Whether some were those of others.
    and_of_others: bool,
}

impl Lost {
    fn add(&mut self, session: Option<u64>) {
        self.lines += 1;
        if self.of.contains(&session) {
            return;
        }
        if self.of.len() < LOST_NAMED {
            self.of.push(session);
        } else {
            self.and_of_others = true;
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, of, and_of_others } = self;
        let named = of.iter().map(|session| numbered(*session)).collect::<Vec<_>>().join(", ");
        let others = if *and_of_others { " and others" } else { "" };
        let (lines_are, it) = if *lines == 1 { ("line", "is") } else { ("lines", "are") };
        write!(f, "-- {lines} {lines_are} of {named}{others} {it} missing about here: more came than could be shown")
    }
}

/// A session as its lines begin; a connection that became none has no number.
fn numbered(session: Option<u64>) -> String {
    session.map_or_else(|| "#-".into(), |session| format!("#{session}"))
}

/// A watcher's own end. Dropped, it watches no more.
#[derive(Debug)]
pub(crate) struct Watch {
    watchers: Watchers,
    lines: mpsc::Receiver<Told>,
    queue: Arc<Queue>,
}

impl Watchers {
    /// Begins to watch sessions that begin from now on. `None` where too many watch already.
    pub(crate) fn watch(&self, from: Option<IpNet>) -> Option<Watch> {
        let mut list = self.list();
        if list.len() >= MOST {
            return None;
        }
        let (sender, lines) = mpsc::channel(WAITING);
        let queue = Arc::new(Queue::default());
        list.push(Watcher { from, lines: sender, queue: Arc::clone(&queue) });
        self.0.count.store(list.len(), Ordering::Relaxed);
        Some(Watch { watchers: self.clone(), lines, queue })
    }

    /// Whether anybody watches.
    pub(crate) fn are_there(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// Tells those who watch `peer`.
    fn tell(&self, session: Option<u64>, peer: IpAddr, what: &str) {
        let mut told = None;
        for watcher in self.list().iter() {
            if watcher.from.is_some_and(|from| !holds(&[from], peer)) {
                continue;
            }
            let told = told.get_or_insert_with(|| Told { at: SystemTime::now(), session, what: what.into() });
            watcher.tell(told.clone());
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    fn tell(&self, told: Told) {
        let mut waiting = self.queue.waiting();
        let session = told.session;
        let own = waiting.get(&session).copied().unwrap_or_default();
        if own < self.lines.capacity().div_ceil(SHARE) && self.lines.try_send(told).is_ok() {
            waiting.insert(session, own + 1);
        } else {
            self.queue.lost().add(session);
        }
    }
}

impl Queue {
    /// A line was fetched.
    fn fetched(&self, told: &Told) {
        let mut waiting = self.waiting();
        if let Some(left) = waiting.get_mut(&told.session) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                waiting.remove(&told.session);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Option<u64>, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The next thing that happens.
    pub(crate) async fn next(&mut self) -> Told {
        match self.lines.recv().await {
            Some(told) => {
                self.queue.fetched(&told);
                told
            }
            // The list holds the sender for as long as this is there.
            None => std::future::pending().await,
        }
    }

    /// What has happened and was not fetched yet.
    pub(crate) fn waiting(&mut self) -> Option<Told> {
        let told = self.lines.try_recv().ok()?;
        self.queue.fetched(&told);
        Some(told)
    }

    /// The lines that there was no room for since this was last asked, if any.
    pub(crate) fn lost(&self) -> Option<Lost> {
        let lost = std::mem::take(&mut *self.queue.lost());
        (lost.lines > 0).then_some(lost)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.lines.close();
        let mut list = self.watchers.list();
        list.retain(|watcher| !watcher.lines.is_closed());
        self.watchers.0.count.store(list.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
