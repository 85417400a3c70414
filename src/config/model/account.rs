//! A mailbox, who may use it, and what mail they may send.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use super::{App, Protocol};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
