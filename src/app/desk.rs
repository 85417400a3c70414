//! Answers what commands ask, out of the gateway's parts: the same whether through the control socket or without one.

mod accounts;
mod logins;
mod sign_in;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod trials;
mod watch;

use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;

use super::parts::Parts;
use crate::config::Account;
use crate::control::{Answer, AnswerFuture, Desk, Progress, Request};
use crate::login::directory::Directory;
use crate::oauth::credentials::TokenError;
use crate::store::StoreError;
use crate::telemetry::log::PeerText;

/// How many accounts are named to who named none of them.
const MOST_NAMED: usize = 20;

/// The desk of a gateway, or of a command where no gateway runs.
pub(super) struct FrontDesk {
    parts: Parts,
}

/// Why something is not done.
#[derive(Debug)]
struct Refusal {
    /// Whether the request is at fault.
    usage: bool,
    what: String,
}

impl Refusal {
    fn usage(what: impl Into<String>) -> Self {
        Self { usage: true, what: what.into() }
    }

    fn failed(what: impl Into<String>) -> Self {
        Self { usage: false, what: what.into() }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::failed(error.to_string())
    }
}

impl FrontDesk {
    pub(super) const fn new(parts: Parts) -> Self {
        Self { parts }
    }

    async fn answer(&self, request: Request, progress: Progress) -> Result<Answer, Refusal> {
        let parts = &self.parts;
        match request {
            Request::Accounts => accounts::list(parts).await,
            Request::Logins => logins::list(parts).await,
            Request::Check { account } => trials::check(parts, &account, &progress).await,
            Request::SignIn(request) => sign_in::sign_in(parts, request, &progress).await,
            Request::SignOut { account } => sign_in::sign_out(parts, &account).await,
            Request::AddAccount { app, login } => accounts::add(parts, &app, login).await,
            Request::AddLogin(login) => logins::add(parts, login).await,
            Request::RevokeLogin { id } => logins::revoke(parts, id).await,
            Request::RotateLogin { id, password_hash, grace } => logins::rotate(parts, id, password_hash, grace).await,
            Request::SendTest { account, to } => trials::send(parts, &account, &to).await,
            Request::Watch { from } => watch::watch(parts, from.as_deref(), &progress).await,
        }
    }
}

impl Desk for FrontDesk {
    fn handle(&self, request: Request, progress: Progress) -> AnswerFuture<'_> {
        Box::pin(async move {
            self.answer(request, progress)
                .await
                .unwrap_or_else(|Refusal { usage, what }| Answer::Failed { usage, what })
        })
    }
}

/// Said of a login that is made while who asked for it is told of a failure, with its number after it.
const LOST: &str = "whose password is not shown: rotate it with mailferry login rotate ";

/// `what` is in the store, which cannot be read back.
fn written(what: String, error: &StoreError) -> Refusal {
    Refusal::failed(format!("{what}; it takes effect as soon as the store can be read again: {error}"))
}

/// The account of that address.
fn account(directory: &Directory, address: &str) -> Result<Arc<Account>, Refusal> {
    directory.account(address).map(Arc::clone).ok_or_else(|| {
        let mut known: Vec<_> = directory.accounts.iter().map(|account| account.address.as_str()).collect();
        let more = known.len().saturating_sub(MOST_NAMED);
        known.truncate(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Refusal::usage(format!("there is no account {}; there are: {}{more}", shown(address), known.join(", ")))
    })
}

/// A text of somebody else's, fit for a terminal.
fn shown(text: &str) -> String {
    PeerText(text.as_bytes()).to_string()
}

/// A time, for people. `None` for one that no calendar has.
fn at(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}
