//! A simulated provider: an OAuth identity provider, and SMTP, IMAP and POP3 servers that take its tokens and nothing else.
//!
//! `mailferry demo` shows itself against it, and the end-to-end tests break it in every way a provider can break. Its
//! grammar is its own and strict, and shares nothing with the gateway's machines but the line buffer: a mistake made
//! there is seen here. It listens on 127.0.0.1 only, keeps everything in memory and must never meet a real mailbox.

mod clock;
mod control;
mod endpoint;
mod faults;
mod http;
mod imap;
mod listener;
mod login;
mod mailbox;
mod oauthbearer;
mod pop3;
mod proxy;
mod record;
mod sasl;
mod smtp;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod wire;
mod xoauth2;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

pub use control::{Control, Submission};
pub use endpoint::{ClientKind, IdTokens, Rotation};
pub use faults::{Act, Certificate, Fault, Flood, Gate, Moment, Refusal, TokenFault};
pub use http::CannedAnswer;
pub use proxy::{Proxy, ProxyFault};
pub use record::Direction;
pub use sasl::Mechanism;

use control::Shared;
use endpoint::Duty;
use listener::Listening;

/// Whose habits the mail servers show where providers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// Exchange Online: a refused login is final at once, and capabilities are told only when asked for.
    Microsoft,
    /// Dovecot: a refused login is a challenge first, which the client has to answer. Beyond mail: an identity provider
    /// that keeps to the RFCs.
    Dovecot,
    /// Gmail: a challenge first too, refusals of several lines, and capabilities told behind the login unasked.
    Gmail,
}

/// One of the simulator's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Submission, with STARTTLS.
    Smtp,
    /// IMAP, with TLS as [`Options::starttls`] says.
    Imap,
    /// POP3, with TLS as [`Options::starttls`] says.
    Pop3,
    /// The identity provider, plain HTTP: the token endpoint and its like.
    Http,
}

impl Protocol {
    /// Every server there is.
    pub const ALL: [Self; 4] = [Self::Smtp, Self::Imap, Self::Pop3, Self::Http];
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose habits.
    pub personality: Personality,
    /// The addresses that have a mailbox. An app's token opens all of them, a person's that person's.
    pub mailboxes: Vec<String>,
    /// The tenant in the token endpoint's path.
    pub tenant: String,
    /// The registration that may ask for tokens.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// How long a token lives; `expires_in` says the same in whole seconds.
    pub token_lifetime: Duration,
    /// How long a token is, in octets, 32 to 16,384.
    pub token_length: usize,
    /// Whether IMAP and POP3 begin in the clear and offer STARTTLS and STLS, as SMTP always does; otherwise they have TLS
    /// from the first octet. Nobody logs in without TLS.
    pub starttls: bool,
    /// What EHLO announces and MAIL and the data are held to, in octets.
    pub max_message: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            personality: Personality::Microsoft,
            mailboxes: vec!["scanner@contoso.example".into()],
            tenant: "contoso.example".into(),
            client_id: "11111111-2222-3333-4444-555555555555".into(),
            client_secret: "simulated-client-secret".into(),
            token_lifetime: Duration::from_secs(3599),
            token_length: 1_800,
            starttls: false,
            max_message: 157_286_400,
        }
    }
}

/// A running provider. Dropping it ends its servers and every connection to them.
#[derive(Debug)]
pub struct Simulator {
    control: Control,
    addresses: [SocketAddr; 4],
    ca_pem: String,
    tenant: String,
    tasks: JoinSet<()>,
}

impl Simulator {
    /// Starts the four servers, each on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When a port cannot be had, or a certificate cannot be made.
    pub async fn start(options: Options) -> io::Result<Self> {
        let authority = tls::Authority::new()?;
        let ca_pem = authority.pem();
        let tenant = options.tenant.clone();
        let (shared, orders) = Shared::new(options, &authority)?;
        let control = Control::new(shared);
        let mut tasks = JoinSet::new();
        let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 4];
        for ((address, protocol), orders) in addresses.iter_mut().zip(Protocol::ALL).zip(orders) {
            let listening = Listening::bind()?;
            *address = listening.address();
            tasks.spawn(listening.serve(protocol, control.clone(), orders));
        }
        Ok(Self { control, addresses, ca_pem, tenant, tasks })
    }

    /// Where SMTP listens; it wants STARTTLS.
    #[must_use]
    pub const fn smtp(&self) -> SocketAddr {
        self.address(Protocol::Smtp)
    }

    /// Where IMAP listens.
    #[must_use]
    pub const fn imap(&self) -> SocketAddr {
        self.address(Protocol::Imap)
    }

    /// Where POP3 listens.
    #[must_use]
    pub const fn pop3(&self) -> SocketAddr {
        self.address(Protocol::Pop3)
    }

    /// The token endpoint.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.url(Duty::Token)
    }

    /// The authorization endpoint, where a browser is sent: the configuration's `authorization_url`.
    ///
    /// Beside the page with a link for each mailbox there is a short way for whoever drives a browser: `&sign_in_as=USER`
    /// behind the URL agrees as that user, and `&decline=yes` declines.
    #[must_use]
    pub fn authorization_url(&self) -> String {
        self.url(Duty::Authorize)
    }

    /// Where device codes come from: the configuration's `device_authorization_url`.
    #[must_use]
    pub fn device_authorization_url(&self) -> String {
        self.url(Duty::DeviceCode)
    }

    /// The page on which a person types a device's code. It takes a POST of `user_code` and `sign_in_as` or `decline`.
    #[must_use]
    pub fn device_page_url(&self) -> String {
        self.url(Duty::DevicePage)
    }

    /// Where a Dovecot may ask whether a token is good (RFC 7662).
    #[must_use]
    pub fn introspection_url(&self) -> String {
        self.url(Duty::Introspect)
    }

    /// The root, in PEM, that signed the certificate for `localhost` and 127.0.0.1.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What a test or the demo can ask and change while it runs.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Ends the servers and waits until they have.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }

    fn url(&self, duty: Duty) -> String {
        let personality = self.control.shared().options.personality;
        format!("http://{}{}", self.address(Protocol::Http), duty.path(personality, &self.tenant))
    }

    const fn address(&self, protocol: Protocol) -> SocketAddr {
        self.addresses[protocol as usize]
    }
}
