//! The configuration, checked: plain data that every part reads and none changes.
//!
//! [`Config`] is what `mailferry.toml` means once every name in it has been resolved. `raw` is what the file says;
//! `shape` and `resolve` lead from one to the other and report every fault on the way.

mod accounts;
mod apps;
mod by_address;
mod environment;
mod error;
mod listeners;
mod load;
mod logins;
mod mail_rules;
mod model;
mod places;
mod presets;
mod providers;
mod proxy;
mod raw;
mod report;
mod resolve;
mod secrets;
mod shape;
mod units;
mod whole;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::secret::SecretText;

pub(crate) use accounts::check_address;
pub use environment::Environment;
pub(crate) use environment::others_can_read;
pub use error::{ConfigError, ConfigErrors, Position};
pub(crate) use listeners::holds_private_key;
pub(crate) use logins::{MAX_SAME_USERNAME, check_hash, check_username};
pub use model::{
    Account, Admission, App, CertificateFiles, Client, EndpointUrl, Grant, Listener, ListenerTls, Login, LoginOrigin,
    MailRules, Proof, Protocol, Provider, Rate, Recipients, Scopes, SenderRule, Server, UpstreamTls,
};
pub(crate) use places::{Place, in_words, listeners_in_words, places};
pub use secrets::SecretSource;
pub use units::duration;
pub(crate) use units::{NETWORK, is_link_local, is_private, is_single, loopback, network};

/// Everything the gateway needs to know before it starts.
#[derive(Debug)]
pub struct Config {
    /// Where the gateway keeps what it must remember.
    pub state_dir: PathBuf,
    /// `[store]`: where it keeps tokens and logins.
    pub store: StoreConfig,
    /// `[upstream] proxy`: what stands between us and every provider; `None`: nothing.
    pub proxy: Option<ConnectProxy>,
    /// The file this was read from, to be named in advice.
    pub file: PathBuf,
    /// The name in greetings and in the upstream EHLO.
    pub hostname: String,
    /// How long sessions may finish after SIGTERM.
    pub drain_timeout: Duration,
    /// What is logged, and how.
    pub log: Log,
    /// Bounds on what peers may take.
    pub limits: Limits,
    /// How long the gateway itself may take. Not a key: the contract fixes these, tests shorten them.
    pub budgets: Budgets,
    /// Where the legacy side connects.
    pub listeners: Vec<Arc<Listener>>,
    /// The mailboxes.
    pub accounts: Vec<Arc<Account>>,
    /// The apps that have a name: what an account made by a command may name.
    pub apps: HashMap<String, Arc<App>>,
    /// Which account a login name opens: a name belongs to one account. Keys are [`Login::username`].
    pub logins: HashMap<String, Arc<Account>>,
    /// What the file made one want to say to the administrator, without being wrong.
    pub warnings: Vec<String>,
}

/// `[store]`.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The SQLite file.
    pub database: PathBuf,
    /// The keys that seal what is in it: the first seals, all open. `None`: a file in `state_dir`, made at first start.
    pub keys: Option<Vec<SecretSource>>,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// A level or a tracing filter, as text that `tracing_subscriber::EnvFilter` takes.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions at once over all listeners.
    pub sessions: usize,
    /// Sessions at once from one address, and four times as many from one IPv6 /64; loopback is exempt.
    pub sessions_per_address: usize,
    /// The time from accept to the login, without what the gateway takes to check one.
    pub login_timeout: Duration,
    /// How long a logged-in SMTP session may be silent.
    pub idle_smtp: Duration,
    /// How long an IMAP session may be silent.
    pub idle_imap: Duration,
    /// How long a POP3 session may be silent.
    pub idle_pop3: Duration,
    /// When a guesser is shut out.
    pub failed_logins: FailedLogins,
}

impl Limits {
    /// How long a logged-in session may be silent.
    #[must_use]
    pub const fn idle(&self, protocol: Protocol) -> Duration {
        match protocol {
            Protocol::Smtp => self.idle_smtp,
            Protocol::Imap => self.idle_imap,
            Protocol::Pop3 => self.idle_pop3,
        }
    }
}

/// `[limits] failed_logins`.
#[derive(Debug, Clone, Copy)]
pub struct FailedLogins {
    /// Failures of one (address, login) pair that block it.
    pub count: u32,
    /// The window they are counted in.
    pub within: Duration,
    /// How long the block lasts.
    pub block: Duration,
}

/// The highest [`FailedLogins::count`]: each failure of each pair is remembered.
pub const MOST_COUNTED: u32 = 256;

/// How long the gateway may take for its own steps (the interface's section "Time").
#[derive(Debug, Clone, Copy)]
pub struct Budgets {
    /// From credentials to the answer.
    pub login: Duration,
    /// For the token, of these.
    pub token: Duration,
    /// From dial to the upstream's answer to AUTH, of these.
    pub dial: Duration,
    /// How long one side of a relay may go on after the other has ended, and an SMTP upstream may take for the rest.
    pub half_closed: Duration,
    /// How long a listener for both waits for the first octet of a TLS handshake before it greets.
    pub first_octet: Duration,
    /// How long a login waits for its refusal that cost the gateway nothing: whose user name no login can have, or whose
    /// password was not looked at.
    pub unchecked_login: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(25),
            token: Duration::from_secs(10),
            dial: Duration::from_secs(12),
            half_closed: Duration::from_secs(60),
            first_octet: Duration::from_millis(300),
            unchecked_login: Duration::from_secs(2),
        }
    }
}

/// `[upstream] proxy`: an HTTP proxy that opens tunnels with CONNECT (RFC 9110 section 9.3.6).
#[derive(Debug, Clone)]
pub struct ConnectProxy {
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `user:password` for its Basic authentication, where the URL has them.
    pub credentials: Option<SecretText>,
}

/// Whether one of `networks` holds `address`. An IPv4 address that came as an IPv6 one (`::ffff:…`) counts as IPv4.
#[must_use]
pub fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
