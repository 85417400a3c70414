//! What outlives the process: sign-ins with their refresh tokens, and the accounts and logins that commands made.
//!
//! Two keepers of the same contract: `sql` in a file, `memory` for tests and the demo. The file sees refresh tokens
//! only after `seal` has sealed them. Nothing here is held open across a request to a provider.

mod keys;
pub mod memory;
mod place;
mod seal;
pub mod sql;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use ipnet::IpNet;
use thiserror::Error;

pub use self::place::{check_private_file, discard_file, keep_file, make_folder, replace_file};
use crate::config::{Account, Protocol, StoreConfig};
use crate::secret::SecretText;

/// What a store answers, some time from now.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why the store did not do it. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It cannot be written now: the disk is full, or another process holds it. What is in it is whole.
    #[error("{0}")]
    Unavailable(String),
    /// It is no store of ours, is damaged, or the key is not the one it was sealed with.
    #[error("{0}")]
    Unusable(String),
}

/// Names a sign-in: provider, app and mailbox. Not the scopes, since a refresh token outlives a change of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignInId(String);

impl SignInId {
    /// The sign-in that opens `account`; `None` where its grant needs none.
    #[must_use]
    pub fn of(account: &Account) -> Option<Self> {
        let app = &account.app;
        if !app.grant.is_a_persons() {
            return None;
        }
        let client = app.client()?;
        let address = account.address.to_ascii_lowercase();
        let mut digest = Context::new(&SHA256);
        for part in [&app.provider.token_url.0, client.tenant.as_deref().unwrap_or_default(), &client.id, &address] {
            digest.update(&part.len().to_be_bytes());
            digest.update(part.as_bytes());
        }
        Some(Self(digest.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect()))
    }

    /// As it is written in the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SignInId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which sign-in of its name this is: a later one has a greater number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignInNumber(pub i64);

/// A sign-in that has just happened.
#[derive(Debug, Clone)]
pub struct NewSignIn {
    /// The mailbox it is for.
    pub account: String,
    /// The app it was given to.
    pub client_id: String,
    /// What further tokens are fetched with.
    pub refresh_token: SecretText,
    /// The name in the id token, where there was one.
    pub name: Option<String>,
    /// Who ran the command: a user of this machine.
    pub by: String,
    /// When.
    pub at: SystemTime,
    /// When it ends whatever is done with it, where the provider gave it a time.
    pub ends: Option<SystemTime>,
}

/// What is told of a sign-in: everything but its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Its name.
    pub id: SignInId,
    /// Which one of that name.
    pub number: SignInNumber,
    /// The mailbox it is for.
    pub account: String,
    /// The app it was given to.
    pub client_id: String,
    /// The name in the id token, where there was one.
    pub name: Option<String>,
    /// Who ran the command.
    pub by: String,
    /// When the person signed in.
    pub at: SystemTime,
    /// When its refresh token was last used with success, or given.
    pub exercised: SystemTime,
    /// When it ends whatever is done with it, where the provider gave it a time.
    pub ends: Option<SystemTime>,
    /// Until when somebody has the right to use it, if so.
    pub leased_until: Option<SystemTime>,
}

/// What came of asking for the right to use a refresh token.
#[derive(Debug, Clone)]
pub enum Leased {
    /// The right is the caller's, and that is written durably: the store can be written.
    Taken {
        /// Which sign-in the token belongs to.
        number: SignInNumber,
        /// The token.
        refresh_token: SecretText,
    },
    /// Another has it.
    Busy {
        /// Until when at most.
        until: SystemTime,
    },
    /// Nobody is signed in.
    SignedOut,
}

/// The longest time for which a lease is given. One that ends later was written by a clock that was wrong, and counts as
/// over.
pub const LONGEST_LEASE: Duration = Duration::from_secs(120);

/// Keeps sign-ins. Every change is on the disk before its future completes.
pub trait SignIns: Send + Sync {
    /// Keeps a new sign-in in place of any earlier one of that name, whoever holds a lease on that.
    fn sign_in(&self, id: &SignInId, new: NewSignIn) -> StoreFuture<'_, SignInNumber>;

    /// Forgets a sign-in. Whether there was one.
    fn sign_out(&self, id: &SignInId) -> StoreFuture<'_, bool>;

    /// All of them.
    fn sign_ins(&self) -> StoreFuture<'_, Vec<SignIn>>;

    /// Asks for the right to use the refresh token from `now` to `until`; nobody else is given it in between.
    fn lease(&self, id: &SignInId, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Leased>;

    /// Gives the right back after a success at `now`, with the refresh token that takes the old one's place, where the
    /// provider gave one. It is kept also when the lease has run out meanwhile, but never over a later sign-in:
    /// `false` then.
    fn settle(
        &self,
        id: &SignInId,
        number: SignInNumber,
        rotated: Option<SecretText>,
        now: SystemTime,
    ) -> StoreFuture<'_, bool>;

    /// Gives the right back: nothing came of it and the refresh token is as it was.
    fn release(&self, id: &SignInId, number: SignInNumber) -> StoreFuture<'_, ()>;

    /// Tidies up at the end; what was kept is kept without it.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

/// An account that a command made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAccount {
    /// The mailbox.
    pub address: String,
    /// The `[app.NAME]` that opens it.
    pub app: String,
}

/// A login that a command made.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredLogin {
    /// Its number; never given again.
    pub id: i64,
    /// What it is: the words that `--device` gave, or nothing.
    pub device: String,
    /// The mailbox it opens.
    pub account: String,
    /// The user name, in lower case.
    pub username: String,
    /// A PHC string, argon2id.
    pub password_hash: String,
    /// What it may speak.
    pub protocols: Vec<Protocol>,
    /// From where; `None` where the listener decides alone.
    pub networks: Option<Vec<IpNet>>,
    /// When it was made.
    pub made: SystemTime,
    /// When it ends, where its password was replaced.
    pub ends: Option<SystemTime>,
}

impl fmt::Debug for StoredLogin {
    /// Leaves the hash out: it can be guessed at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, account, username, .. } = self;
        write!(f, "StoredLogin({id}, {account:?}, {username:?})")
    }
}

/// That a login was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginUse {
    /// The mailbox it opened.
    pub account: String,
    /// The user name.
    pub username: String,
    /// Its number in the store; 0 for one of the file.
    pub id: i64,
    /// When.
    pub at: SystemTime,
    /// From where.
    pub from: IpAddr,
}

/// Keeps the accounts and logins that commands made, and when logins were last used.
pub trait Logins: Send + Sync {
    /// All accounts.
    fn accounts(&self) -> StoreFuture<'_, Vec<StoredAccount>>;

    /// Keeps an account and a login for it, and forgets the logins numbered `ended`, or none of these; the same address
    /// again changes the account's app. The login's `id` is not looked at. The number it was given.
    fn add_account(&self, account: StoredAccount, login: StoredLogin, ended: Vec<i64>) -> StoreFuture<'_, i64>;

    /// All logins that have not ended by `now`; those that have are forgotten.
    fn logins(&self, now: SystemTime) -> StoreFuture<'_, Vec<StoredLogin>>;

    /// Keeps a login; its `id` is not looked at. The number it was given.
    fn add_login(&self, login: StoredLogin) -> StoreFuture<'_, i64>;

    /// Forgets a login. Whether there was one.
    fn revoke_login(&self, id: i64) -> StoreFuture<'_, bool>;

    /// Puts another password in a login's place: a new login like the old one, which itself ends at `old_ends`. The new
    /// one's number; `None` where there is no such login.
    fn rotate_login(
        &self,
        id: i64,
        password_hash: String,
        now: SystemTime,
        old_ends: SystemTime,
    ) -> StoreFuture<'_, Option<i64>>;

    /// The last use of each login that has been used.
    fn uses(&self) -> StoreFuture<'_, Vec<LoginUse>>;

    /// Takes note of uses, of several of one login the last.
    fn used(&self, uses: Vec<LoginUse>) -> StoreFuture<'_, ()>;
}

/// A whole store.
pub trait Store: SignIns + Logins {}

impl<T: SignIns + Logins> Store for T {}
