//! The token service: one token a grant, fetched once for all who wait, refreshed ahead. What a token's age means is
//! `token`'s to say, what an answer means `answer`'s.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::credentials::{CredentialFuture, Credentials, Generation, TokenError, UpstreamCredential};
use super::grant::{Fetch, GrantKey, Issued, TokenRequest, WallClock};
use super::hints::transient;
use super::token::{Decision, GrantState, Moment, Token};
use crate::config::{Account, Protocol};

/// How long a fetch may go on behind, after those who waited have left.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Opens mailboxes: [`Credentials`] out of tokens.
pub struct TokenService(Arc<Inner>);

struct Inner {
    fetch: Arc<dyn Fetch>,
    wall: WallClock,
    /// How long a login waits for a fetch.
    patience: Duration,
    grants: Mutex<HashMap<GrantKey, Arc<Slot>>>,
    fetches: AtomicU64,
    tasks: TaskTracker,
    /// Nothing new is begun.
    stopping: CancellationToken,
    /// What is under way ends.
    cutting: CancellationToken,
}

/// What is known of an account's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStatus {
    /// When the token there is ends.
    pub ends: Option<SystemTime>,
    /// Why the last fetch brought none.
    pub error: Option<TokenError>,
}

/// One grant.
struct Slot {
    state: Mutex<SlotState>,
    /// Tells the keeper that the date of the next refresh may have changed.
    changed: Notify,
}

struct SlotState {
    grant: GrantState,
    /// What to ask for, as the latest login's configuration has it: a mended secret is picked up with the next fetch.
    request: TokenRequest,
    /// The fetch under way.
    flight: Option<Landing>,
    /// Counts sign-ins and sign-outs: what a fetch brings that began before one of them is not for this grant any more.
    epoch: u64,
}

/// How a fetch ended; nothing while it is under way.
type Landing = watch::Receiver<Option<Result<Token, TokenError>>>;

impl TokenService {
    /// A service that fetches with `fetch`; a login waits `patience` for a fetch, the fetch itself goes on behind.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>, patience: Duration, wall: WallClock) -> Self {
        Self(Arc::new(Inner {
            fetch,
            wall,
            patience,
            grants: Mutex::default(),
            fetches: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            cutting: CancellationToken::new(),
        }))
    }

    /// A person has signed in for `account`, and `issued` came of it. What a fetch brings that is under way belongs to an
    /// earlier sign-in and is dropped; logins that wait for it get this token.
    pub fn signed_in(&self, account: &Arc<Account>, issued: Issued) {
        self.signed_out(account);
        let slot = self.0.slot(&TokenRequest::of(account));
        let mut state = slot.state();
        state.grant.issued(&self.0.now(), issued, luck());
        drop(state);
        slot.changed.notify_one();
    }

    /// The sign-in for `account` is no more: neither is any token that came of it, for whatever app and scopes.
    pub fn signed_out(&self, account: &Arc<Account>) {
        let own = GrantKey::of(&TokenRequest::of(account));
        let grants = self.0.grants.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, slot) in grants.iter().filter(|(key, _)| **key == own || key.is_for(&account.address)) {
            slot.state().begin_again();
        }
    }

    /// What is known of `account`'s token; `None` where nobody has asked for one.
    #[must_use]
    pub fn status(&self, account: &Arc<Account>) -> Option<TokenStatus> {
        let slot = self.0.known(&TokenRequest::of(account))?;
        let (ends, error) = slot.state().grant.status(&self.0.now());
        Some(TokenStatus { ends, error })
    }

    /// Fetches a token for `account` although there may be a good one: a refresh token that is never used dies.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn exercise(&self, account: &Arc<Account>) -> Result<(), TokenError> {
        let slot = self.0.slot(&TokenRequest::of(account));
        let landing = {
            let mut state = slot.state();
            match state.flight.clone() {
                Some(landing) => landing,
                None if self.0.stopping.is_cancelled() => return Err(interrupted()),
                None => self.0.launch(&slot, &mut state),
            }
        };
        self.0.landed(landing).await.map(drop)
    }

    /// How many fetches have been started.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.0.fetches.load(Ordering::Relaxed)
    }

    /// Begins nothing new, waits at most `grace` for the fetches under way, since a refresh token may be on its way, and
    /// ends the rest. Logins that wait hear of a passing fault.
    pub async fn shutdown(&self, grace: Duration) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        let landed = async {
            self.0.tasks.wait().await;
            self.0.fetch.settled().await;
        };
        if timeout(grace, landed).await.is_err() {
            self.0.cutting.cancel();
            self.0.tasks.wait().await;
        }
    }
}

impl Drop for TokenService {
    fn drop(&mut self) {
        self.0.stopping.cancel();
        self.0.cutting.cancel();
    }
}

impl Credentials for TokenService {
    fn credential<'a>(
        &'a self,
        account: &'a Arc<Account>,
        protocol: Protocol,
        refused: Option<Generation>,
    ) -> CredentialFuture<'a> {
        Box::pin(async move {
            let token = self.0.token(TokenRequest::of(account), protocol, refused).await?;
            let user = account.user(protocol).to_owned();
            Ok(UpstreamCredential { user, token: token.value, generation: token.generation })
        })
    }
}

impl Inner {
    /// A token for a login. While the token endpoint is out of order the one there is serves on, for as long as it lives.
    async fn token(
        self: &Arc<Self>,
        request: TokenRequest,
        protocol: Protocol,
        refused: Option<Generation>,
    ) -> Result<Token, TokenError> {
        let slot = self.slot(&request);
        match self.good_token(&slot, request, protocol, refused).await {
            Err(error @ TokenError::Transient(_)) => slot.state().grant.last_resort(&self.now(), refused).ok_or(error),
            outcome => outcome,
        }
    }

    /// A token with life enough in it: the one there is, or a fresh one.
    async fn good_token(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        request: TokenRequest,
        protocol: Protocol,
        refused: Option<Generation>,
    ) -> Result<Token, TokenError> {
        let landing = {
            let now = self.now();
            let mut state = slot.state();
            if state.grant.is_idle(&now) {
                slot.changed.notify_one();
            }
            state.request = request;
            match state.grant.decide(&now, protocol, refused) {
                Decision::HandOut(token) => return Ok(token),
                Decision::Fail(error) => return Err(error),
                Decision::Fetch => match (state.flight.clone(), state.grant.pausing(&now)) {
                    (Some(landing), _) => landing,
                    // What is begun now would be cut off with a refresh token on its way.
                    _ if self.stopping.is_cancelled() => return Err(interrupted()),
                    (None, Some(error)) => return Err(error),
                    (None, None) => self.launch(slot, &mut state),
                },
            }
        };
        self.landed(landing).await
    }

    /// Waits for a fetch, as long as a login may.
    async fn landed(&self, mut landing: Landing) -> Result<Token, TokenError> {
        match timeout(self.patience, landing.wait_for(Option::is_some)).await {
            Ok(Ok(landed)) => landed.clone().unwrap_or_else(|| Err(interrupted())),
            Ok(Err(_gone)) => Err(interrupted()),
            Err(_elapsed) => Err(transient("The token endpoint has not answered in time")),
        }
    }

    fn known(&self, request: &TokenRequest) -> Option<Arc<Slot>> {
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        grants.get(&GrantKey::of(request)).map(Arc::clone)
    }

    fn slot(self: &Arc<Self>, request: &TokenRequest) -> Arc<Slot> {
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = grants.entry(GrantKey::of(request)).or_insert_with(|| {
            let state = SlotState { grant: GrantState::default(), request: request.clone(), flight: None, epoch: 0 };
            let slot = Arc::new(Slot { state: Mutex::new(state), changed: Notify::new() });
            let (inner, kept) = (Arc::clone(self), Arc::clone(&slot));
            self.tasks
                .spawn(async move { inner.stopping.run_until_cancelled(inner.keep_fresh(&kept)).await });
            slot
        });
        Arc::clone(slot)
    }

    /// Starts a fetch in a task of its own: whoever waits for it may leave.
    fn launch(self: &Arc<Self>, slot: &Arc<Slot>, state: &mut SlotState) -> Landing {
        let (landed, landing) = watch::channel(None);
        state.flight = Some(landing.clone());
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let (inner, slot, request, epoch) = (Arc::clone(self), Arc::clone(slot), state.request.clone(), state.epoch);
        self.tasks.spawn(async move {
            let fetched = tokio::select! {
                fetched = inner.fetched(request) => fetched,
                () = inner.cutting.cancelled() => Err(interrupted()),
            };
            let outcome = {
                let now = inner.now();
                let mut state = slot.state();
                if state.epoch != epoch {
                    // A late answer never takes the place of a later sign-in.
                    state.grant.latest().ok_or_else(interrupted)
                } else {
                    state.flight = None;
                    match fetched {
                        Ok(issued) => Ok(state.grant.issued(&now, issued, luck())),
                        Err(error) => {
                            state.grant.failed(&now, error.clone(), luck());
                            Err(error)
                        }
                    }
                }
            };
            landed.send_replace(Some(outcome));
            slot.changed.notify_one();
        });
        landing
    }

    /// Fetches within the limit. A fetch that panics is a fault like another.
    async fn fetched(&self, request: TokenRequest) -> Result<Issued, TokenError> {
        let fetch = Arc::clone(&self.fetch);
        let fetching = AbortOnDropHandle::new(tokio::spawn(async move { fetch.fetch(request).await }));
        match timeout(FETCH_LIMIT, fetching).await {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(_panicked)) => Err(interrupted()),
            Err(_elapsed) => Err(transient("The token endpoint does not answer")),
        }
    }

    /// Refreshes one grant ahead, for ever.
    async fn keep_fresh(self: &Arc<Self>, slot: &Arc<Slot>) {
        loop {
            let at = slot.state().grant.refresh_at(&self.now());
            tokio::select! {
                () = slot.changed.notified() => continue,
                () = sleep_until_some(at) => {}
            }
            let launched = {
                let mut state = slot.state();
                // It may have been put off, or the grant fallen out of use, while this slept.
                let due = state.grant.refresh_at(&self.now()).is_some_and(|at| at <= Instant::now());
                (due && state.flight.is_none()).then(|| self.launch(slot, &mut state))
            };
            match launched {
                None => slot.changed.notified().await,
                Some(mut landing) => {
                    // Its end is told through `changed` as well; an error here is the same end.
                    if let Ok(landed) = landing.wait_for(Option::is_some).await
                        && let Some(Err(error)) = &*landed
                    {
                        let app = &slot.state().request.app.name;
                        tracing::warn!(app, "a token could not be renewed ahead; the one there is serves on: {error}");
                    }
                }
            }
        }
    }

    fn now(&self) -> Moment {
        Moment { monotonic: Instant::now(), wall: (self.wall)() }
    }
}

impl SlotState {
    /// Forgets all that belonged to an earlier sign-in.
    fn begin_again(&mut self) {
        self.epoch += 1;
        self.flight = None;
        self.grant.begin_again();
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sleeps until then, or for ever.
async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A fetch ended without an outcome: the gateway is stopping, or something in it broke.
fn interrupted() -> TokenError {
    transient("The fetch of the token was interrupted")
}

/// A random number from 0 to 1. Without randomness, the middle: spreading is a courtesy, not a need.
fn luck() -> f64 {
    let mut octets = [0; 4];
    match aws_lc_rs::rand::fill(&mut octets) {
        Ok(()) => f64::from(u32::from_be_bytes(octets)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests;
