//! The upstream's half of a login: a credential, a connection, XOAUTH2; once more with a fresh token if this one was refused.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use rustls::ClientConfig;
use thiserror::Error;
use tokio::time::timeout;

use super::Shared;
use super::drive::{Lost, Outcome, Patience, Side};
use super::failure::{Failure, FailureKind};
use super::protocol::Speaks;
use crate::config::{Account, Config, Server};
use crate::net::stream::Stream;
use crate::net::{dial, tls};
use crate::oauth::credentials::{Generation, UpstreamCredential};
use crate::proto::{Credential, ProtoError, RefusalKind, UpstreamEvent, UpstreamRefusal};
use crate::secret::AccessToken;
use crate::telemetry::log::PeerText;

/// An upstream that has let us in.
pub(crate) struct Upstream<P: Speaks> {
    pub(crate) side: Side,
    pub(crate) learnt: P::Learnt,
    pub(crate) account: Arc<Account>,
}

/// The TLS configuration of each provider, shared by all its sessions so that TLS sessions are resumed.
#[derive(Debug)]
pub(crate) struct Upstreams(HashMap<String, Arc<ClientConfig>>);

impl Upstreams {
    /// One configuration for each provider that an account uses or may come to use.
    ///
    /// # Errors
    /// When there is no root certificate at all to trust.
    pub(crate) fn new(config: &Config) -> Result<Self, rustls::Error> {
        let mut configs = HashMap::new();
        let used = config.accounts.iter().map(|account| &account.app);
        for app in used.chain(config.apps.values()) {
            let provider = &app.provider;
            if !configs.contains_key(&provider.name) {
                configs.insert(provider.name.clone(), tls::client_config(&provider.ca)?);
            }
        }
        Ok(Self(configs))
    }

    /// Each provider's name and its configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<ClientConfig>)> {
        self.0.iter().map(|(name, config)| (name.as_str(), config))
    }

    pub(crate) fn of(&self, account: &Account) -> Option<&Arc<ClientConfig>> {
        self.0.get(&account.app.provider.name)
    }
}

/// Why one try at the upstream did not succeed.
#[derive(Debug, Error)]
enum OpenError {
    #[error("{0}")]
    Unreachable(std::io::Error),
    #[error("{0}")]
    Lost(Lost),
    #[error("it did not answer in time")]
    TooSlow,
    #[error("{}", refused(.0))]
    Refused(UpstreamRefusal),
}

/// Logs `account` in at `server`. A refused token is replaced once, if the token service thinks that this could help.
pub(crate) async fn log_in<P: Speaks>(
    shared: &Shared,
    account: &Arc<Account>,
    server: &Server,
) -> Result<Upstream<P>, Failure> {
    let first = token(shared, account, P::PROTOCOL, None).await?;
    let refusal = match open::<P>(shared, account, server, &first).await {
        Err(OpenError::Refused(refusal)) if refusal.kind == RefusalKind::Token => refusal,
        other => return other.map_err(|error| failure(account, server, error)),
    };
    tracing::info!(
        account = account.address,
        server = server.host,
        "token refused; asking for a fresh one: {}",
        refused(&refusal)
    );
    let fresh = match token(shared, account, P::PROTOCOL, Some(&first)).await {
        Ok(fresh) => fresh,
        // The service knows that no other token would fare better. The upstream's own words say most, but may be long:
        // what a reply has no room for must not be the advice.
        Err(failure) if failure.kind == FailureKind::NeedsPerson => {
            return Err(Failure { detail: format!("{}. {}", failure.detail, refused(&refusal)), ..failure });
        }
        Err(failure) => return Err(failure),
    };
    match open::<P>(shared, account, server, &fresh).await {
        Err(OpenError::Refused(refusal)) if refusal.kind == RefusalKind::Token => {
            // Told, so that the next login does not fetch yet another token for nothing.
            let _ = token(shared, account, P::PROTOCOL, Some(&fresh)).await;
            Err(failure(account, server, OpenError::Refused(refusal)))
        }
        other => other.map_err(|error| failure(account, server, error)),
    }
}

/// Logs `account` in at `server` with this token and no other.
pub(crate) async fn log_in_with<P: Speaks>(
    shared: &Shared,
    account: &Arc<Account>,
    server: &Server,
    token: &AccessToken,
) -> Result<Upstream<P>, Failure> {
    let user = account.user(P::PROTOCOL).to_owned();
    let credential = UpstreamCredential { user, token: token.clone(), generation: Generation(0) };
    open::<P>(shared, account, server, &credential)
        .await
        .map_err(|error| failure(account, server, error))
}

async fn token(
    shared: &Shared,
    account: &Arc<Account>,
    protocol: crate::config::Protocol,
    refused: Option<&UpstreamCredential>,
) -> Result<UpstreamCredential, Failure> {
    let refused = refused.map(|credential| credential.generation);
    Ok(shared.credentials.credential(account, protocol, refused).await?)
}

/// Dials and logs in, within the dial's budget.
async fn open<P: Speaks>(
    shared: &Shared,
    account: &Arc<Account>,
    server: &Server,
    credential: &UpstreamCredential,
) -> Result<Upstream<P>, OpenError> {
    let work = dial_and_log_in::<P>(shared, account, server, credential);
    timeout(shared.config.budgets.dial, work)
        .await
        .map_err(|_| OpenError::TooSlow)?
}

async fn dial_and_log_in<P: Speaks>(
    shared: &Shared,
    account: &Arc<Account>,
    server: &Server,
    credential: &UpstreamCredential,
) -> Result<Upstream<P>, OpenError> {
    let Some(tls) = shared.upstreams.of(account) else {
        return Err(OpenError::Unreachable(std::io::Error::other("no TLS configuration for this provider")));
    };
    let credential = Credential { user: credential.user.clone(), token: credential.token.clone() };
    let mut machine = P::upstream(shared, server, credential);
    let mut side = Side::new(dial::dial(server, tls).await.map_err(OpenError::Unreachable)?);
    // The whole of it is under the dial's budget.
    let mut patience = Patience::endless();
    let mut learnt = None;
    loop {
        match side.drive(&mut machine, &mut patience).await.map_err(OpenError::Lost)? {
            Outcome::Event(UpstreamEvent::LoggedIn(told)) => learnt = Some(told),
            Outcome::Event(UpstreamEvent::Refused(refusal)) => {
                // A polite goodbye, if it can be said; what matters has been learnt.
                let _ = side.drive(&mut machine, &mut patience).await;
                return Err(OpenError::Refused(refusal));
            }
            Outcome::StartTls => side = start_tls(side, server, tls).await?,
            Outcome::Relay => {
                let learnt = learnt.ok_or(OpenError::Lost(Lost::Gone))?;
                return Ok(Upstream { side, learnt, account: Arc::clone(account) });
            }
            Outcome::Close(_) => return Err(OpenError::Lost(Lost::Gone)),
        }
    }
}

/// STARTTLS. Anything that came in the clear before the handshake could have been injected on the way, so it ends the
/// connection (CVE-2021-38371).
async fn start_tls(side: Side, server: &Server, tls: &Arc<ClientConfig>) -> Result<Side, OpenError> {
    if !side.input.is_empty() {
        let injected = ProtoError::UpstreamMisbehaved("it sent something between STARTTLS and the handshake");
        return Err(OpenError::Lost(injected.into()));
    }
    match side.stream {
        Stream::Plain(stream) => dial::start_tls(stream, server, tls)
            .await
            .map(Side::new)
            .map_err(OpenError::Unreachable),
        Stream::Tls(_) => Err(OpenError::Lost(ProtoError::UpstreamMisbehaved("STARTTLS inside TLS").into())),
    }
}

/// An upstream's refusal, for the log and for the administrator.
fn refused(refusal: &UpstreamRefusal) -> String {
    let mut text = format!("{} was refused: {}", refusal.stage, PeerText(&refusal.said));
    if let Some(challenge) = &refusal.challenge {
        let _ = write!(text, " {}", PeerText(challenge));
    }
    text
}

/// What to do where a server is not heard of.
const CHECK_SERVER: &str =
    "If it stays so, check host, port and tls of the provider, and that no firewall stands between";

/// Whose fault it is, and what to do.
fn failure(account: &Account, server: &Server, error: OpenError) -> Failure {
    let (address, host) = (&account.address, &server.host);
    let refusal = match &error {
        OpenError::Refused(refusal) => refusal,
        // Says itself where it has failed.
        OpenError::Unreachable(_) => return Failure::unavailable(format!("{error}. {CHECK_SERVER}")),
        OpenError::Lost(_) | OpenError::TooSlow => {
            return Failure::unavailable(format!("{host}:{}: {error}. {CHECK_SERVER}", server.port));
        }
    };
    let (kind, advice) = match refusal.kind {
        RefusalKind::Token => (
            FailureKind::NeedsPerson,
            "the provider refuses a fresh token for this mailbox: check that the address is right and that the app may open it",
        ),
        RefusalKind::Rights => (
            FailureKind::MissingRights,
            "the app may not open this mailbox: grant it the right at the provider (Exchange: Add-MailboxPermission)",
        ),
        RefusalKind::Policy => (
            FailureKind::NeedsPerson,
            "a policy of the provider forbids it: an administrator must allow this protocol for the mailbox or the tenant",
        ),
        RefusalKind::Unsupported => (
            FailureKind::NeedsPerson,
            "the server does not offer what is needed: check host, port and tls of the provider",
        ),
        RefusalKind::Transient => (FailureKind::Unavailable, "the provider cannot take the login now"),
    };
    Failure::new(kind, format!("{address}: {advice}. {host}: {error}"))
}

/// A tag that no server can guess and so no stray answer can carry.
pub(crate) fn unguessable_tag() -> String {
    let mut octets = [0; 8];
    // The only error is a system without randomness, on which TLS could not have started either; a constant tag is
    // then merely guessable, and a wrong completion still fails the login.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    octets.iter().fold(String::from("f"), |mut tag, octet| {
        let _ = write!(tag, "{octet:02x}");
        tag
    })
}
