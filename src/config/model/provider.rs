//! Where mailboxes are: token endpoints, scopes and mail servers.

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use url::Url;

use super::Protocol;

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// The name or address to dial; the name its certificate must have.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: UpstreamTls,
}

/// How a connection to an upstream is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamTls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, demanded.
    StartTls,
    /// None: loopback hosts only.
    None,
}
