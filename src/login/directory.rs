//! Which accounts and logins there are: those of the file and those of the store, as one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::{Account, Admission, Config, Login, LoginOrigin, MailRules, Protocol, Provider, SenderRule};
use crate::store::{StoredAccount, StoredLogin};

/// Accounts and logins at one moment.
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
                all.push(Account { address, app, identity: Vec::new(), max_message: None, logins: Vec::new() });
            }
        }
        for login in logins {
            let of_file = config.logins.get(&login.username);
            let free = of_file.is_none_or(|account| account.address.eq_ignore_ascii_case(&login.account));
            let account = all
                .iter_mut()
                .find(|account| account.address.eq_ignore_ascii_case(&login.account));
            if let Some(account) = account.filter(|_| free) {
                account.logins.push(as_login(login));
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
            (other.origin, &other.username, &other.admission) == (login.origin, &login.username, &login.admission)
        };
        self.account(address)
            .and_then(|account| account.logins.iter().find(same))
            .is_some_and(|login| login.protocols.contains(&protocol) && login.ends.is_none_or(|ends| ends > now))
    }
    /// The SMTP extensions that every provider behind these accounts has: what can be promised before the login says
    /// which account it is.
    #[must_use]
    pub fn common_smtp_extensions(&self) -> Vec<String> {
        let mut common = common(self.providers_of(Protocol::Smtp).map(|provider| &provider.smtp_extensions));
        let rewrites_headers = |login: &Login| {
            login.protocols.contains(&Protocol::Smtp) && matches!(login.mail.sender, SenderRule::Force { .. })
        };
        if self.accounts.iter().flat_map(|account| &account.logins).any(rewrites_headers) {
            // A header has to be whole before it can be rewritten.
            common.retain(|name| !["CHUNKING", "BINARYMIME"].contains(&name.to_ascii_uppercase().as_str()));
        }
        common
    }

    /// The IMAP capabilities that every provider behind these accounts has.
    #[must_use]
    pub fn common_imap_capabilities(&self) -> Vec<String> {
        common(self.providers_of(Protocol::Imap).map(|provider| &provider.imap_capabilities))
    }

    /// The providers that a login over `protocol` can lead to.
    fn providers_of(&self, protocol: Protocol) -> impl Iterator<Item = &Provider> {
        let leads_there = move |account: &&Arc<Account>| {
            account.app.provider.server(protocol).is_some()
                && account.logins.iter().any(|login| login.protocols.contains(&protocol))
        };
        self.accounts.iter().filter(leads_there).map(|account| &*account.app.provider)
    }

    /// When the next login ends by itself.
    #[must_use]
    pub fn next_end(&self) -> Option<SystemTime> {
        let logins = self.accounts.iter().flat_map(|account| &account.logins);
        logins.filter_map(|login| login.ends).min()
    }
}

/// What a login of the store means.
#[must_use]
pub fn as_login(stored: &StoredLogin) -> Login {
    Login {
        origin: LoginOrigin::Store(stored.id),
        username: stored.username.clone(),
        admission: Admission::Password(stored.password_hash.clone()),
        protocols: stored.protocols.clone(),
        networks: stored.networks.clone(),
        tls_required: false,
        mail: MailRules::default(),
        ends: stored.ends,
    }
}

/// What all lists hold, in the first one's order.
fn common<'a>(mut lists: impl Iterator<Item = &'a Vec<String>>) -> Vec<String> {
    let mut common = lists.next().cloned().unwrap_or_default();
    for list in lists {
        common.retain(|name| list.contains(name));
    }
    common
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::Environment;

    const HASH: &str = include_str!("../../tests/common/cheap-hash.txt");

    fn config() -> Config {
        let text = format!(
            "hostname = \"gateway.example\"\n[[listener]]\nprotocol = \"smtp\"\nbind = \"127.0.0.1:0\"\n\
             [app.contoso]\nprovider = \"microsoft\"\ngrant = \"client-credentials\"\ntenant = \"contoso.example\"\n\
             client_id = \"id\"\nclient_secret = \"secret\"\n\
             [app.google]\nprovider = \"google\"\ngrant = \"authorization-code\"\nclient_id = \"id\"\n\
             client_secret = \"secret\"\n\
             [[account]]\naddress = \"scanner@contoso.example\"\napp = \"contoso\"\n\
             [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{}\"\n",
            HASH.trim()
        );
        Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap()
    }

    fn stored(id: i64, account: &str, username: &str) -> StoredLogin {
        StoredLogin {
            id,
            device: String::new(),
            account: account.into(),
            username: username.into(),
            password_hash: HASH.trim().into(),
            protocols: Protocol::ALL.to_vec(),
            networks: None,
            made: SystemTime::UNIX_EPOCH,
            ends: None,
        }
    }

    fn account(address: &str, app: &str) -> StoredAccount {
        StoredAccount { address: address.into(), app: app.into() }
    }

    fn opens<'a>(directory: &'a Directory, username: &str) -> Option<&'a str> {
        directory.logins.get(username).map(|account| account.address.as_str())
    }

    #[test]
    fn the_file_goes_first_and_the_store_adds_to_it() {
        let config = config();
        let accounts = [
            account("Scanner@Contoso.example", "google"),
            account("me@gmail.example", "google"),
            account("lost@contoso.example", "gone"),
        ];
        let logins = [
            stored(1, "SCANNER@contoso.example", "copier"),
            stored(2, "me@gmail.example", "me"),
            stored(3, "me@gmail.example", "scanner"),
            stored(4, "me@gmail.example", "copier"),
            stored(5, "nobody@contoso.example", "nobody"),
            stored(6, "lost@contoso.example", "lost"),
        ];
        let directory = Directory::with(&config, &accounts, &logins);
        let of_file = directory.account("scanner@CONTOSO.example").unwrap();
        assert_eq!((of_file.address.as_str(), of_file.app.name.as_str()), ("scanner@contoso.example", "contoso"));
        assert_eq!(directory.accounts.len(), 2, "an app that is not in the file any more opens nothing");
        assert_eq!(opens(&directory, "scanner"), Some("scanner@contoso.example"), "the file's name is not taken away");
        assert_eq!(opens(&directory, "copier"), Some("scanner@contoso.example"), "nor that of whoever came first");
        assert_eq!(opens(&directory, "me"), Some("me@gmail.example"));
        assert_eq!((opens(&directory, "nobody"), opens(&directory, "lost")), (None, None));
    }

    #[test]
    fn what_is_promised_holds_at_every_provider() {
        let config = config();
        let alone = Directory::of(&config);
        assert!(alone.common_imap_capabilities().contains(&"UIDPLUS".into()), "{:?}", alone.common_imap_capabilities());
        let accounts = [account("me@gmail.example", "google")];
        let unused = Directory::with(&config, &accounts, &[]);
        assert_eq!(unused.common_smtp_extensions(), alone.common_smtp_extensions());
        let both = Directory::with(&config, &accounts, &[stored(1, "me@gmail.example", "me")]);
        assert_ne!(both.common_smtp_extensions(), alone.common_smtp_extensions());
        assert!(
            both.common_smtp_extensions()
                .iter()
                .all(|name| alone.common_smtp_extensions().contains(name))
        );
    }

    #[test]
    fn chunks_are_not_promised_where_a_header_is_written_anew() {
        let mut config = config();
        let offers = |config: &Config| Directory::of(config).common_smtp_extensions().contains(&"CHUNKING".to_owned());
        assert!(offers(&config));
        let login = &mut Arc::make_mut(&mut config.accounts[0]).logins[0];
        login.mail.sender = SenderRule::Force { from_name: None, reply_to: None };
        assert!(!offers(&config));
        let account = Arc::make_mut(&mut config.accounts[0]);
        account.logins.push(account.logins[0].clone());
        account.logins[0].protocols = vec![Protocol::Imap];
        account.logins[1].mail = MailRules::default();
        assert!(offers(&config), "it sends nothing");
    }

    #[test]
    fn a_session_may_go_on_while_its_login_is_what_it_was() {
        let (config, now) = (config(), SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
        let with = |login: StoredLogin| Directory::with(&config, &[], &[login]);
        let as_made = stored(1, "scanner@contoso.example", "copier");
        let opened = with(as_made.clone()).account("scanner@contoso.example").unwrap().logins[1].clone();
        let allows =
            |directory: &Directory| directory.still_allows("scanner@contoso.example", &opened, Protocol::Imap, now);
        assert!(allows(&with(as_made.clone())));
        assert!(!allows(&Directory::of(&config)), "revoked");
        assert!(!allows(&with(StoredLogin { id: 2, ..as_made.clone() })), "another of the same name and password");
        assert!(!allows(&with(StoredLogin { password_hash: "other".into(), ..as_made.clone() })), "changed");
        assert!(!allows(&with(StoredLogin { protocols: vec![Protocol::Smtp], ..as_made.clone() })), "narrowed");
        let ends = |seconds| with(StoredLogin { ends: Some(now + Duration::from_secs(seconds)), ..as_made.clone() });
        assert!(allows(&ends(1)) && !allows(&ends(0)));
        assert_eq!(ends(7).next_end(), Some(now + Duration::from_secs(7)));
        assert_eq!(with(as_made.clone()).next_end(), None);
    }
}
