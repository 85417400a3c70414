//! Tokens that look after themselves: rotated, restarted, killed and starved, and nobody is asked for anything.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod day;
mod kills;
mod trouble;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::program::{Running, program};
use common::{Answer, Client, HASH, PASSWORD, in_time};
use mailferry::app::Gateway;
use mailferry::config::{Account, Config, Environment, Protocol};
use mailferry::sim::{self, Control, Personality, Rotation, Simulator};
use mailferry::store::sql::SqlStore;
use mailferry::store::{Leased, NewSignIn, SignInId, SignIns};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How many mailboxes there are, each with a sign-in of its own: `user0@contoso.example`, login `user0`, and so on.
const MAILBOXES: usize = 5;

/// How many sessions there are at a time.
const SESSIONS: usize = 50;

/// Longer than a token may grow before it is refreshed ahead, where it lives an hour; too short for a quiet session to be
/// ended.
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);

/// A provider, and a folder for gateways before it. The sign-ins are in the store.
struct House {
    provider: Simulator,
    folder: TempDir,
}

impl House {
    /// Everybody has signed in.
    async fn new(rotation: Rotation) -> Self {
        Self::with(rotation, "").await
    }

    /// As [`Self::new`], with these keys added to the app's table.
    async fn with(rotation: Rotation, app: &str) -> Self {
        let options = sim::Options {
            personality: Personality::Dovecot,
            mailboxes: (0..MAILBOXES).map(address).collect(),
            ..sim::Options::default()
        };
        let (client_id, client_secret) = (options.client_id.clone(), options.client_secret.clone());
        let provider = Simulator::start(options).await.unwrap();
        provider.control().set_rotation(rotation);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), provider.ca_pem()).unwrap();
        let key = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.path().join("key"));
        key.unwrap()
            .write_all(b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
            .unwrap();
        DirBuilder::new().mode(0o700).create(folder.path().join("store")).unwrap();
        // Where `app` may name them as its secrets.
        for name in ["new", "old"] {
            fs::write(folder.path().join(name), &client_secret).unwrap();
        }
        let house = Self { provider, folder };
        for name in ["a", "b"] {
            let text = house.text(name, &client_id, app);
            fs::write(house.file(name), text).unwrap();
        }
        for account in house.accounts() {
            house.sign_in(&account).await;
        }
        house
    }

    fn text(&self, name: &str, client_id: &str, app: &str) -> String {
        let mut text = format!("state_dir = \"{name}\"\nhostname = \"gateway.example\"\ndrain_timeout = \"1s\"\n");
        for protocol in Protocol::ALL {
            text += &format!("[[listener]]\nprotocol = \"{protocol}\"\nbind = \"127.0.0.1:0\"\n");
        }
        let provider = &self.provider;
        text += &format!(
            "[store]\nurl = \"sqlite:store/mailferry.db\"\nkey = {{ file = \"key\" }}\n\
             [provider.simulated]\ntoken_url = \"{}\"\nauthorization_url = \"{}\"\nscopes = [\"mail\"]\nca = \"ca.pem\"\n\
             smtp = {{ host = \"localhost\", port = {}, tls = \"starttls\" }}\n\
             imap = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n\
             pop3 = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n\
             [app.people]\nprovider = \"simulated\"\ngrant = \"authorization-code\"\nclient_id = \"{client_id}\"\n{app}\n",
            provider.token_url(),
            provider.authorization_url(),
            provider.smtp().port(),
            provider.imap().port(),
            provider.pop3().port(),
        );
        for number in 0..MAILBOXES {
            text += &format!(
                "[[account]]\naddress = \"{}\"\napp = \"people\"\n\
                 [[account.login]]\nusername = \"user{number}\"\npassword_hash = \"{}\"\n",
                address(number),
                HASH.trim()
            );
        }
        text
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.toml"))
    }

    /// The configuration of one of two gateways, `a` and `b`, that have the store in common.
    fn config(&self, name: &str) -> Config {
        let file = self.file(name);
        Config::parse(&fs::read_to_string(&file).unwrap(), &file, &Environment::of_process()).unwrap()
    }

    fn accounts(&self) -> Vec<Arc<Account>> {
        self.config("a").accounts
    }

    fn control(&self) -> &Control {
        self.provider.control()
    }

    fn refreshes(&self) -> usize {
        self.control().token_requests_by("refresh_token")
    }

    /// The store, beside the gateways that have it open.
    async fn store(&self) -> SqlStore {
        self.store_in(&self.folder.path().join("store")).await
    }

    async fn store_in(&self, folder: &Path) -> SqlStore {
        let mut config = self.config("a");
        config.store.database = folder.join("mailferry.db");
        SqlStore::open(&config.store, &config.state_dir).await.unwrap()
    }

    /// Signs somebody in, as of now.
    async fn sign_in(&self, account: &Account) {
        let scopes = account.app.scopes(&account.protocols());
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let refresh_token = self.control().add_refresh_token(&account.address, &scopes).unwrap();
        let new = NewSignIn {
            account: account.address.clone(),
            client_id: account.app.client().unwrap().id.clone(),
            refresh_token: mailferry::secret::SecretText::new(refresh_token),
            name: None,
            by: "root".into(),
            at: SystemTime::now(),
            ends: None,
        };
        let store = self.store().await;
        store.sign_in(&SignInId::of(account).unwrap(), new).await.unwrap();
        store.close().await;
    }

    async fn start(&self, name: &str) -> Gateway {
        let mut config = self.config(name);
        // Clients that were greeted wait for half an hour at once.
        config.limits.login_timeout = Duration::from_secs(24 * 3600);
        Gateway::start(config).await.unwrap()
    }

    /// The program itself, and where it speaks IMAP.
    async fn serve(&self) -> (Running, SocketAddr) {
        let mut gateway = Running::start(program(self.folder.path(), &["--config", "a.toml", "serve"]));
        let imap = gateway.listens(Protocol::Imap).await;
        (gateway, imap)
    }

    /// What the store holds, read from a copy: the mailbox, its refresh token, and whether somebody was at it.
    async fn kept(&self) -> Vec<Kept> {
        let copy = tempfile::tempdir_in(self.folder.path()).unwrap();
        // Who has just closed the store may still be tidying up: then what was copied is not of one moment.
        while self.copy_store(copy.path()).is_err() {
            tokio::task::yield_now().await;
        }
        let store = self.store_in(copy.path()).await;
        let mut kept = Vec::new();
        for sign_in in store.sign_ins().await.unwrap() {
            let now = SystemTime::now() + Duration::from_secs(3600);
            let leased = store.lease(&sign_in.id, now, now).await.unwrap();
            let Leased::Taken { refresh_token, .. } = leased else { panic!("{leased:?}") };
            let in_use = sign_in.leased_until.is_some();
            kept.push(Kept { account: sign_in.account, refresh_token: refresh_token.expose().to_owned(), in_use });
        }
        store.close().await;
        kept
    }

    fn copy_store(&self, to: &Path) -> std::io::Result<()> {
        for name in ["mailferry.db-wal", "mailferry.db-shm"] {
            let _ = fs::remove_file(to.join(name));
        }
        for entry in fs::read_dir(self.folder.path().join("store"))? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Nobody has lost anything: what the store holds is what the provider takes next.
    async fn nothing_is_lost(&self) {
        let kept = self.kept().await;
        assert_eq!(kept.len(), MAILBOXES);
        for kept in kept {
            assert!(self.takes(&kept), "{}", kept.account);
        }
    }

    /// Whether a refresh token is the one its provider takes next.
    fn takes(&self, kept: &Kept) -> bool {
        self.control().refresh_tokens(&kept.account).contains(&kept.refresh_token)
    }

    /// Waits until this many refreshes have been asked for and nobody is at a refresh token any more.
    async fn settled(&self, refreshes: usize) {
        in_time(self.control().until(|_| self.refreshes() >= refreshes)).await;
        let store = self.store().await;
        let settled = async {
            while store
                .sign_ins()
                .await
                .unwrap()
                .iter()
                .any(|sign_in| sign_in.leased_until.is_some())
            {
                tokio::task::yield_now().await;
            }
        };
        in_time(settled).await;
        store.close().await;
    }

    /// The provider has never seen what it would hold against anybody.
    fn is_in_order(&self) {
        assert_eq!(self.control().reused_refresh_tokens(), 0);
        assert_eq!(self.control().invalid_grants(), 0);
        self.asked_nobody();
        assert_eq!(self.control().violations(), Vec::<String>::new());
    }

    /// No person was sent to the provider.
    fn asked_nobody(&self) {
        let dialogue = self.control().dialogue();
        let asked = |line: &str| line.contains("authorize") || line.contains("device");
        assert!(
            !dialogue
                .iter()
                .any(|(protocol, _, line)| *protocol == sim::Protocol::Http && asked(line))
        );
        assert_eq!(self.control().token_requests(), self.refreshes());
    }
}

/// What the store holds of one mailbox.
struct Kept {
    account: String,
    refresh_token: String,
    in_use: bool,
}

fn address(number: usize) -> String {
    format!("user{number}@contoso.example")
}

fn listens(gateway: &Gateway, protocol: Protocol) -> SocketAddr {
    let bound = gateway.bound().iter().find(|bound| bound.listener.protocol == protocol);
    bound.unwrap().address
}

/// Clients that have been greeted, spread over protocols and mailboxes.
async fn crowd(gateway: &Gateway, protocols: &[Protocol]) -> Vec<(Protocol, String, Client)> {
    let mut clients = Vec::new();
    for number in 0..SESSIONS {
        let protocol = protocols[number % protocols.len()];
        let mut client = Client::connect(listens(gateway, protocol)).await;
        assert!(!client.line().await.is_empty());
        clients.push((protocol, format!("user{}", number / protocols.len() % MAILBOXES), client));
    }
    clients
}

/// Lets all of them log in at once.
fn log_in(clients: Vec<(Protocol, String, Client)>) -> JoinSet<(Answer, Client)> {
    let mut logins = JoinSet::new();
    for (protocol, username, mut client) in clients {
        logins.spawn(async move { (client.log_in(protocol, &username, PASSWORD).await, client) });
    }
    logins
}

/// All of them are let in; their sessions go on.
async fn all_are_let_in(logins: JoinSet<(Answer, Client)>) -> Vec<Client> {
    let answered = logins.join_all().await;
    answered
        .into_iter()
        .map(|(answer, client)| (assert_eq!(answer, Answer::Accepted), client).1)
        .collect()
}

/// Numbers that look random and are the same each time.
struct Luck(u64);

impl Luck {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound
    }

    /// Lets others work for a while.
    async fn while_others_work(&mut self, longest: usize) {
        for _ in 0..self.below(longest) {
            tokio::task::yield_now().await;
        }
    }
}
