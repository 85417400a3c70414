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
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::secret::SecretText;

pub(crate) use accounts::check_address;
pub use environment::Environment;
pub(crate) use environment::others_can_read;
pub use error::{ConfigError, ConfigErrors, Position};
pub(crate) use listeners::holds_private_key;
pub(crate) use logins::{MAX_SAME_USERNAME, check_hash, check_username};
pub use secrets::SecretSource;
pub use units::duration;
pub(crate) use units::{NETWORK, is_link_local, is_private, network};

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
    /// Sessions at once from one address (of IPv6: one /64 network); loopback is exempt.
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
    /// How long a login waits for its refusal whose user name no login can have.
    pub impossible_name: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(25),
            token: Duration::from_secs(10),
            dial: Duration::from_secs(12),
            half_closed: Duration::from_secs(60),
            first_octet: Duration::from_millis(300),
            impossible_name: Duration::from_secs(2),
        }
    }
}

/// The three protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Submission, RFC 6409.
    Smtp,
    /// RFC 3501 and 9051.
    Imap,
    /// RFC 1939.
    Pop3,
}

impl Protocol {
    /// All three, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::Smtp, Self::Imap, Self::Pop3];

    /// The name in the configuration and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `[[listener]]`.
#[derive(Debug)]
pub struct Listener {
    /// Shown in logs.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it listens. Port 0 takes any free port.
    pub bind: Vec<SocketAddr>,
    /// Who may connect.
    pub allow: Vec<IpNet>,
    /// From where a password is taken without TLS.
    pub plaintext_login: Vec<IpNet>,
    /// How connections are protected.
    pub tls: ListenerTls,
    /// What it shows under TLS; `None`: the certificate made in `state_dir`.
    pub certificate: Option<CertificateFiles>,
    /// Peers that may, and must, say with a PROXY header whom they speak for.
    pub proxy_protocol: Vec<IpNet>,
}

/// `[[listener]] tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerTls {
    /// Not at all.
    None,
    /// Whoever asks for it with STARTTLS or STLS.
    StartTls,
    /// From the first octet.
    Implicit,
    /// From the first octet where that begins a handshake, else as [`StartTls`](Self::StartTls).
    Auto,
}

/// A certificate chain and its private key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the listener's own certificate first.
    pub certificate: PathBuf,
    /// The key of the first certificate.
    pub private_key: PathBuf,
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

/// `[app.NAME]`: one registration at a provider.
#[derive(Debug)]
pub struct App {
    /// Its name in the file, or the account's address where it was written inline.
    pub name: String,
    /// Where it is registered.
    pub provider: Arc<Provider>,
    /// How it gets tokens.
    pub grant: Grant,
}

impl App {
    /// What it is at the provider; `None` where the grant needs no registration.
    #[must_use]
    pub const fn client(&self) -> Option<&Client> {
        match &self.grant {
            Grant::ClientCredentials(client) | Grant::DeviceCode(client) | Grant::AuthorizationCode { client, .. } => {
                Some(client)
            }
            Grant::ServiceAccount(_) | Grant::Command(_) => None,
        }
    }

    /// What a token for an account that speaks `protocols` is asked for: no more than these need.
    #[must_use]
    pub fn scopes(&self, protocols: &[Protocol]) -> Vec<String> {
        let Scopes { app, protocols: of_protocols, person } = &self.provider.scopes;
        if !self.grant.is_a_persons() {
            return app.clone();
        }
        let used = of_protocols.iter().filter(|(protocol, _)| protocols.contains(protocol));
        let mut scopes = Vec::new();
        for scope in used.flat_map(|(_, scopes)| scopes).chain(person) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        scopes
    }
}

/// How an app gets tokens.
#[derive(Debug)]
pub enum Grant {
    /// RFC 6749 section 4.4: the app for itself.
    ClientCredentials(Client),
    /// RFC 8628: a person, on another device.
    DeviceCode(Client),
    /// RFC 6749 section 4.1: a person, in a browser.
    AuthorizationCode {
        /// Who asks.
        client: Client,
        /// Where the browser is sent back to; `None` for `http://localhost` and a free port.
        redirect_uri: Option<Url>,
    },
    /// RFC 7523 section 2.1, Google's domain-wide delegation: the key file of a service account, JSON.
    ServiceAccount(SecretSource),
    /// A program and its arguments that print a token.
    Command(Vec<String>),
}

impl Grant {
    /// The name in the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials(_) => "client-credentials",
            Self::DeviceCode(_) => "device-code",
            Self::AuthorizationCode { .. } => "authorization-code",
            Self::ServiceAccount(_) => "service-account",
            Self::Command(_) => "command",
        }
    }

    /// Whether a person has to sign in, and a refresh token is kept.
    #[must_use]
    pub const fn is_a_persons(&self) -> bool {
        matches!(self, Self::DeviceCode(_) | Self::AuthorizationCode { .. })
    }

    /// Whether a token opens one mailbox only.
    #[must_use]
    pub const fn is_bound_to_a_user(&self) -> bool {
        matches!(self, Self::DeviceCode(_) | Self::AuthorizationCode { .. } | Self::ServiceAccount(_))
    }
}

/// What an app is at its provider.
#[derive(Debug)]
pub struct Client {
    /// The tenant in the provider's URLs, where it has tenants.
    pub tenant: Option<String>,
    /// The app's id.
    pub id: String,
    /// How it proves to be that.
    pub proof: Proof,
    /// The day its secret ends, as the file says.
    pub secret_expires: Option<jiff::civil::Date>,
}

/// How an app proves who it is (RFC 6749 section 2.3).
#[derive(Debug)]
pub enum Proof {
    /// A public client: not at all.
    Public,
    /// A secret; where there are several, they are tried in order.
    Secrets(Vec<SecretSource>),
    /// An assertion signed with a private key (RFC 7523 section 2.2).
    Certificate {
        /// The certificate, a PEM file.
        certificate: PathBuf,
        /// Its private key, a PEM file.
        private_key: PathBuf,
    },
    /// An assertion that somebody else signed, read afresh each time.
    Assertion(SecretSource),
}

/// `[[account]]`: a mailbox.
#[derive(Debug, Clone)]
pub struct Account {
    /// The mailbox, and `user=` of XOAUTH2.
    pub address: String,
    /// The registration that opens it.
    pub app: Arc<App>,
    /// `user=` of XOAUTH2 where it is not the address: a shared mailbox is opened as one of its users.
    pub identity: Vec<(Protocol, String)>,
    /// The largest message it takes, in octets; `None`: what the provider takes.
    pub max_message: Option<u64>,
    /// Who may use it.
    pub logins: Vec<Login>,
}

impl Account {
    /// `user=` of XOAUTH2.
    #[must_use]
    pub fn user(&self, protocol: Protocol) -> &str {
        let other = self.identity.iter().find(|(of, _)| *of == protocol);
        other.map_or(&self.address, |(_, user)| user)
    }

    /// What its logins may speak and its provider has.
    #[must_use]
    pub fn protocols(&self) -> Vec<Protocol> {
        let used = |protocol: &Protocol| {
            self.app.provider.server(*protocol).is_some()
                && self.logins.iter().any(|login| login.protocols.contains(protocol))
        };
        Protocol::ALL.into_iter().filter(used).collect()
    }
}

/// `[[account.login]]`, or one that a command made.
#[derive(Clone)]
pub struct Login {
    /// Where it is written.
    pub origin: LoginOrigin,
    /// In lower case; ASCII without control characters, at most 255 octets.
    pub username: String,
    /// What lets it in.
    pub admission: Admission,
    /// What it may speak.
    pub protocols: Vec<Protocol>,
    /// From where; `None` where the listener decides alone.
    pub networks: Option<Vec<IpNet>>,
    /// Whether it may be used over TLS only.
    pub tls_required: bool,
    /// What mail it may send, and what is done to that mail.
    pub mail: MailRules,
    /// When it ends: a password that was replaced is taken a while longer.
    pub ends: Option<SystemTime>,
}

impl Login {
    /// The hash of its password, where it has one.
    #[must_use]
    pub fn password_hash(&self) -> Option<&str> {
        match &self.admission {
            Admission::Password(hash) => Some(hash),
            Admission::Address => None,
        }
    }
}

/// What lets a login in.
#[derive(Clone, PartialEq, Eq)]
pub enum Admission {
    /// The password to this hash: a PHC string, argon2id, within the bounds a login may cost.
    Password(String),
    /// `without_password`: an address in its networks, and nothing else. SMTP only.
    Address,
}

/// What a login's mail may be, and what is done to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailRules {
    /// How many messages it may send.
    pub rate: Option<Rate>,
    /// To whom; `None`: to anyone.
    pub recipients: Option<Vec<Recipients>>,
    /// Whose name its mail carries.
    pub sender: SenderRule,
    /// Whether a dot between two bare LFs ends a message, as one device means it.
    pub lone_lf_ends_message: bool,
}

/// So many messages in so long a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; not 0.
    pub messages: u32,
    /// In what time.
    pub within: Duration,
}

/// Recipients a login may write to. Compared without case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// This one, in lower case.
    Address(String),
    /// All of a domain, in lower case, without the `@`.
    Domain(String),
}

/// `sender`: whose name a login's mail carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SenderRule {
    /// Whatever the device says.
    #[default]
    Keep,
    /// The envelope's sender is the account.
    Envelope,
    /// The envelope's sender and the header's are the account.
    Force {
        /// The name beside the address in From.
        from_name: Option<String>,
        /// Where replies go; `None`: to the device's own From, where that is an address.
        reply_to: Option<String>,
    },
}

/// Where a login is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoginOrigin {
    /// In the configuration file.
    File,
    /// In the store, under this number.
    Store(i64),
}

impl fmt::Debug for Login {
    /// Leaves the hash out: it can be guessed at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, protocols, networks, .. } = self;
        write!(f, "Login({username:?}, {protocols:?}, {networks:?})")
    }
}

/// A provider: a preset, a `[provider.NAME]`, or both.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name in the file.
    pub name: String,
    /// Where tokens come from. May hold `{tenant}`.
    pub token_url: EndpointUrl,
    /// Where a person signs in with a browser. May hold `{tenant}`.
    pub authorization_url: Option<EndpointUrl>,
    /// Where a person's code for another device comes from. May hold `{tenant}`.
    pub device_authorization_url: Option<EndpointUrl>,
    /// The grants by which it opens mailboxes, as the file names them; empty where that is not known.
    pub grants: Vec<&'static str>,
    /// How long a sign-in lives that nobody uses, where that is known.
    pub sign_in_lives: Option<Duration>,
    /// What a token is asked for.
    pub scopes: Scopes,
    /// Its submission server.
    pub smtp: Option<Server>,
    /// Its IMAP server.
    pub imap: Option<Server>,
    /// Its POP3 server.
    pub pop3: Option<Server>,
    /// SMTP extensions it surely has beyond the basic set, in upper case.
    pub smtp_extensions: Vec<String>,
    /// EHLO keywords to hide after login although it offers them, in upper case: it does not keep what they promise.
    pub smtp_masked: Vec<String>,
    /// IMAP capabilities it surely has beyond the basic set, in upper case.
    pub imap_capabilities: Vec<String>,
    /// Roots to trust beside the system's.
    pub ca: Vec<CertificateDer<'static>>,
}

impl Provider {
    /// The server for a protocol, if the provider has one.
    #[must_use]
    pub const fn server(&self, protocol: Protocol) -> Option<&Server> {
        match protocol {
            Protocol::Smtp => self.smtp.as_ref(),
            Protocol::Imap => self.imap.as_ref(),
            Protocol::Pop3 => self.pop3.as_ref(),
        }
    }
}

/// What a provider wants to be asked for (RFC 6749 section 3.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    /// By an app for itself, and by a service account.
    pub app: Vec<String>,
    /// For a person's mailbox, over each protocol.
    pub protocols: Vec<(Protocol, Vec<String>)>,
    /// For a person, beside these: what brings a refresh token and an id token.
    pub person: Vec<String>,
}

/// A URL of a provider that may need a tenant before it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl(pub(crate) String);

impl EndpointUrl {
    /// The URL, with `{tenant}` filled in. `None` where a tenant is needed and missing, or does not make a URL.
    #[must_use]
    pub fn resolve(&self, tenant: Option<&str>) -> Option<Url> {
        let text = match tenant {
            Some(tenant) => self.0.replace("{tenant}", tenant),
            None => self.0.clone(),
        };
        Url::parse(&text).ok().filter(|_| !text.contains(['{', '}']))
    }
}

/// An upstream server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The name or address to dial; the name its certificate must have.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: UpstreamTls,
}

/// How a connection to an upstream is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamTls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, demanded.
    StartTls,
    /// None: loopback hosts only.
    None,
}

/// Whether one of `networks` holds `address`. An IPv4 address that came as an IPv6 one (`::ffff:…`) counts as IPv4.
#[must_use]
pub fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
