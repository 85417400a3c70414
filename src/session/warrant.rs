//! What entitles a session to go on: the login it was opened with, for as long as there is such a login.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::config::{Account, Login, Protocol};
use crate::login::directory::Directory;
use crate::login::verify::Verified;

/// A session's login, and where to learn what became of it.
#[derive(Debug)]
pub(crate) struct Warrant {
    directory: watch::Receiver<Arc<Directory>>,
    account: Arc<Account>,
    login: usize,
    protocol: Protocol,
}

impl Warrant {
    pub(crate) fn of(verified: &Verified, protocol: Protocol, directory: watch::Receiver<Arc<Directory>>) -> Self {
        Self { directory, account: Arc::clone(&verified.account), login: verified.login, protocol }
    }

    /// The login it was opened with.
    pub(crate) fn login(&self) -> &Login {
        &self.account.logins[self.login]
    }

    /// Completes once the login is revoked, changed or over. A directory in which it ends by itself is replaced then,
    /// so that no session needs a timer of its own.
    pub(crate) async fn revoked(mut self) {
        loop {
            let directory = Arc::clone(&self.directory.borrow_and_update());
            if !directory.still_allows(&self.account.address, self.login(), self.protocol, SystemTime::now()) {
                return;
            }
            drop(directory);
            if self.directory.changed().await.is_err() {
                // Nobody is left who could revoke it.
                std::future::pending::<()>().await;
            }
        }
    }
}
