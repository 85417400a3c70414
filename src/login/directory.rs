//! Which accounts and logins there are: those of the file and those of the store, as one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::{Account, Config, Login, LoginOrigin, Protocol};
use crate::store::{StoredAccount, StoredLogin};

/// Accounts and logins at one moment. Sessions keep the one they began with.
#[derive(Debug, Default)]
pub struct Directory {
    /// The mailboxes.
    pub accounts: Vec<Arc<Account>>,
    /// Which account a login name opens: a name belongs to one account. Keys are [`Login::username`].
    pub logins: HashMap<String, Arc<Account>>,
}

impl Directory {
    /// What the file says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self::with(config, &[], &[])
    }

    /// What the file says, and what the store adds. Where both know an account, the file's app is used; a login name
    /// that leads elsewhere in the file is not taken from the store.
    #[must_use]
    pub fn with(config: &Config, accounts: &[StoredAccount], logins: &[StoredLogin]) -> Self {
        let mut all: Vec<Account> = config.accounts.iter().map(|account| Account::clone(account)).collect();
        for StoredAccount { address, app } in accounts {
            let known = all.iter().any(|account| account.address.eq_ignore_ascii_case(address));
            if let Some(app) = config.apps.get(app).filter(|_| !known) {
                let (address, app) = (address.clone(), Arc::clone(app));
                all.push(Account { address, app, identity: Vec::new(), logins: Vec::new() });
            }
        }
        for login in logins {
            let of_file = config.logins.get(&login.username);
            let free = of_file.is_none_or(|account| account.address.eq_ignore_ascii_case(&login.account));
            let account = all
                .iter_mut()
                .find(|account| account.address.eq_ignore_ascii_case(&login.account));
            if let Some(account) = account.filter(|_| free) {
                account.logins.push(Login {
                    origin: LoginOrigin::Store(login.id),
                    username: login.username.clone(),
                    password_hash: login.password_hash.clone(),
                    protocols: login.protocols.clone(),
                    networks: login.networks.clone(),
                    ends: login.ends,
                });
            }
        }
        let accounts: Vec<Arc<Account>> = all.into_iter().map(Arc::new).collect();
        let mut index = HashMap::new();
        for account in &accounts {
            for login in &account.logins {
                // The first one keeps the name: what a later command made must not take it away.
                index.entry(login.username.clone()).or_insert_with(|| Arc::clone(account));
            }
        }
        Self { accounts, logins: index }
    }

    /// The account of that address.
    #[must_use]
    pub fn account(&self, address: &str) -> Option<&Arc<Account>> {
        self.accounts
            .iter()
            .find(|account| account.address.eq_ignore_ascii_case(address))
    }

    /// Whether `login` of the account `address` is still as it was, at `now`, over `protocol`: a session that it opened
    /// may go on.
    #[must_use]
    pub fn still_allows(&self, address: &str, login: &Login, protocol: Protocol, now: SystemTime) -> bool {
        let same = |other: &&Login| {
            (other.origin, &other.username, &other.password_hash)
                == (login.origin, &login.username, &login.password_hash)
        };
        self.account(address)
            .and_then(|account| account.logins.iter().find(same))
            .is_some_and(|login| login.protocols.contains(&protocol) && login.ends.is_none_or(|ends| ends > now))
    }
}
