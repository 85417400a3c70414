//! When logins were last used: noted here by sessions, carried to the store in batches by whoever looks after it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;

use crate::config::{Account, Login, LoginOrigin};
use crate::store::LoginUse;

/// The last use of each login, as far as the store does not know of it. There is at most one a login.
#[derive(Debug, Default)]
pub struct Uses {
    noted: Mutex<HashMap<Key, LoginUse>>,
    some: Notify,
}

/// A login's name in the store: account, user name and number.
type Key = (String, String, i64);

impl Uses {
    /// Takes note of a login of `account` that was accepted.
    pub fn note(&self, account: &Account, login: &Login, at: SystemTime, from: IpAddr) {
        let id = number(login);
        let (account, username) = (account.address.clone(), login.username.clone());
        self.noted()
            .insert(key(&account, &username, id), LoginUse { account, username, id, at, from });
        self.some.notify_one();
    }

    /// Completes when there is something to carry to the store.
    pub async fn some(&self) {
        self.some.notified().await;
    }

    /// What is noted, which stays.
    #[must_use]
    pub fn seen(&self) -> Vec<LoginUse> {
        self.noted().values().cloned().collect()
    }

    /// What is noted, to be carried to the store.
    #[must_use]
    pub fn take(&self) -> Vec<LoginUse> {
        self.noted().drain().map(|(_, noted)| noted).collect()
    }

    /// Gives back what the store did not take. What was noted since is newer and stays.
    pub fn give_back(&self, uses: Vec<LoginUse>) {
        let mut noted = self.noted();
        for old in uses {
            noted.entry(key(&old.account, &old.username, old.id)).or_insert(old);
        }
        drop(noted);
        self.some.notify_one();
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<Key, LoginUse>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(account: &str, username: &str, id: i64) -> Key {
    (account.to_ascii_lowercase(), username.to_owned(), id)
}

/// As the store counts logins: those of the file have none.
#[must_use]
pub const fn number(login: &Login) -> i64 {
    match login.origin {
        LoginOrigin::File => 0,
        LoginOrigin::Store(id) => id,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn used(seconds: u64) -> LoginUse {
        LoginUse {
            account: "Scanner@contoso.example".into(),
            username: "scanner".into(),
            id: 7,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            from: Ipv4Addr::LOCALHOST.into(),
        }
    }

    #[tokio::test]
    async fn what_the_store_did_not_take_never_hides_a_later_use() {
        let uses = Uses::default();
        uses.give_back(vec![used(1)]);
        uses.some().await;
        assert_eq!(uses.seen(), [used(1)]);
        let taken = uses.take();
        assert_eq!(uses.seen(), []);
        uses.give_back(vec![used(2)]);
        uses.give_back(taken);
        assert_eq!(uses.take(), [used(2)]);
    }
}
