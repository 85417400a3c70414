//! The refresh token grant (RFC 6749 section 6), for whoever signed in once. A refresh token may be good for one use only:
//! it is spent under a lease that the store has written, and its successor is in the store before anyone sees the token.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::{Issued, WallClock};
use crate::config::Account;
use crate::oauth::answer::Refusal;
use crate::oauth::credentials::{TokenError, TokenFault};
use crate::oauth::endpoint::{Asked, Caller, Endpoint};
use crate::oauth::hints::{needs_person, shown, transient};
use crate::oauth::proof;
use crate::secret::SecretText;
use crate::store::{Leased, SignInId, SignInNumber, SignIns, StoreError};

/// How long nobody else may use a refresh token that has been taken up: longer than one exchange can take
/// ([`crate::net::http::HttpTimeouts::total`]), and short enough to be waited for when who took it up is dead.
pub(super) const LEASE: Duration = Duration::from_secs(45);

/// The pause before a lease that another has is asked for again.
const AGAIN: Duration = Duration::from_millis(500);

/// What is done with a refresh token.
type Exchange = Arc<dyn Fn(SecretText) -> ExchangeFuture + Send + Sync>;
type ExchangeFuture = Pin<Box<dyn Future<Output = Result<Issued, Refusal>> + Send>>;

/// Fetches with refresh tokens, and keeps them.
pub(super) struct Keeper {
    sign_ins: Arc<dyn SignIns>,
    wall: WallClock,
    /// Refresh tokens that took another's place when the store could not be written: the old one is worth nothing any
    /// more, so it must not be used before these are in the store.
    unsettled: Mutex<HashMap<SignInId, (SignInNumber, SecretText)>>,
    turns: TaskTracker,
}

/// What came of one try.
enum Turn {
    Done(Issued),
    /// Another has the lease.
    Busy,
    /// Somebody signed in or out meanwhile: what was fetched belongs to the past.
    Overtaken,
    SignedOut,
}

impl Keeper {
    pub(super) fn new(sign_ins: Arc<dyn SignIns>, wall: WallClock) -> Self {
        Self { sign_ins, wall, unsettled: Mutex::default(), turns: TaskTracker::new() }
    }

    /// Fetches one token for `account`.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        endpoint: Endpoint,
        account: Arc<Account>,
        scopes: Vec<String>,
    ) -> Result<Issued, TokenError> {
        let id = SignInId::of(&account).ok_or_else(super::nobody)?;
        let address = account.address.clone();
        let exchange: Exchange = Arc::new(move |token| {
            let (endpoint, account, scopes) = (endpoint.clone(), Arc::clone(&account), scopes.clone());
            Box::pin(async move { refresh(&endpoint, &account, &token, &scopes).await })
        });
        self.exchange(id, &address, exchange).await
    }

    /// Completes when no exchange is under way. None may be begun any more.
    pub(super) async fn settled(&self) {
        self.turns.close();
        self.turns.wait().await;
    }

    async fn exchange(self: &Arc<Self>, id: SignInId, address: &str, exchange: Exchange) -> Result<Issued, TokenError> {
        let patience = Instant::now() + LEASE;
        loop {
            let (keeper, id, exchange) = (Arc::clone(self), id.clone(), Arc::clone(&exchange));
            // In a task of its own: an answer that nobody waits for any more has to be kept all the same.
            let turn = self.turns.spawn(async move { keeper.turn(&id, exchange).await }).await;
            match turn.unwrap_or_else(|_panicked| Err(transient("The refresh of the token was interrupted").into())) {
                Ok(Turn::Done(issued)) => return Ok(issued),
                Ok(Turn::SignedOut) => return Err(signed_out(address)),
                Ok(Turn::Busy | Turn::Overtaken) if Instant::now() >= patience => {
                    return Err(transient("Another process is using this sign-in"));
                }
                Ok(Turn::Busy) => sleep(AGAIN).await,
                Ok(Turn::Overtaken) => {}
                Err(refusal) => return Err(with_the_command(refusal, address)),
            }
        }
    }

    /// One try from the lease to its return.
    async fn turn(&self, id: &SignInId, exchange: Exchange) -> Result<Turn, Refusal> {
        self.settle_late(id).await?;
        let now = (self.wall)();
        let (number, refresh_token) = match self.sign_ins.lease(id, now, now + LEASE).await.map_err(store_fault)? {
            Leased::Taken { number, refresh_token } => (number, refresh_token),
            Leased::Busy { .. } => return Ok(Turn::Busy),
            Leased::SignedOut => return Ok(Turn::SignedOut),
        };
        let Issued { token, lives, refresh_token: rotated, .. } = match exchange(refresh_token.clone()).await {
            Ok(issued) => issued,
            Err(refusal) => {
                // Should the store not take it back, the lease ends by itself.
                drop(self.sign_ins.release(id, number).await);
                return Err(refusal);
            }
        };
        let rotated = rotated.filter(|rotated| *rotated != refresh_token);
        match (self.sign_ins.settle(id, number, rotated.clone(), (self.wall)()).await, rotated) {
            (Ok(true), _) => {}
            (Ok(false), _) => return Ok(Turn::Overtaken),
            (Err(error), Some(rotated)) => {
                self.unsettled().insert(id.clone(), (number, rotated));
                return Err(store_fault(error).into());
            }
            // Nothing new was to be kept.
            (Err(error), None) => tracing::warn!("a sign-in's use was not noted: {error}"),
        }
        Ok(Turn::Done(Issued { token, lives, refresh_token: None, refresh_lives: None, id_token: None }))
    }

    /// Gives the store what it could not take earlier.
    async fn settle_late(&self, id: &SignInId) -> Result<(), TokenError> {
        let late = self.unsettled().get(id).cloned();
        if let Some((number, rotated)) = late {
            // A later sign-in in its place is as good.
            self.sign_ins
                .settle(id, number, Some(rotated), (self.wall)())
                .await
                .map_err(store_fault)?;
            self.unsettled().remove(id);
        }
        Ok(())
    }

    fn unsettled(&self) -> MutexGuard<'_, HashMap<SignInId, (SignInNumber, SecretText)>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the endpoint, as the app the account names.
async fn refresh(
    endpoint: &Endpoint,
    account: &Account,
    token: &SecretText,
    scopes: &[String],
) -> Result<Issued, Refusal> {
    let client = account.app.client().ok_or_else(super::nobody)?;
    let ask = |id, proof| async move {
        endpoint
            .token(Caller { id, proof: &proof }, Asked::RefreshToken { token, scopes })
            .await
    };
    proof::ask(endpoint, client, ask).await
}

fn signed_out(address: &str) -> TokenError {
    let address = shown(address);
    needs_person(format!("Nobody is signed in for {address}"), format!("Run mailferry sign-in {address}"))
}

/// Where a person has to sign in again, the command for it is named.
fn with_the_command(refusal: Refusal, address: &str) -> TokenError {
    let again = ["invalid_grant", "interaction_required", "login_required"];
    let is_again = again.iter().any(|name| refusal.is(name));
    match *refusal.error {
        TokenError::NeedsPerson(fault) if is_again => {
            let hint = format!("{}. To sign in: mailferry sign-in {}", fault.hint, shown(address));
            TokenError::NeedsPerson(TokenFault { hint, ..fault })
        }
        error => error,
    }
}

fn store_fault(error: StoreError) -> TokenError {
    match error {
        StoreError::Unavailable(words) => transient(shown(&words)),
        StoreError::Unusable(words) => needs_person(
            shown(&words),
            "Without its store mailferry cannot open mailboxes for which somebody signed in",
        ),
    }
}

#[cfg(test)]
mod tests;
