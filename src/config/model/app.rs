//! A registration at a provider, and how it gets tokens.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::{Protocol, Provider, Scopes};
use crate::config::SecretSource;

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
