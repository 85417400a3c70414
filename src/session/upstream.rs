//! The upstream's half of a login: a credential, a try with it, and another with a fresh token if this one was refused.

mod attempt;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use self::attempt::{OpenError, dial_and_log_in, refused};
use super::breaker::Breakers;
use super::drive::Side;
use super::failure::{Failure, FailureKind};
use super::protocol::Speaks;
use super::record::Record;
use super::{Shared, chance, words};
use crate::config::{Account, Config, Server};
use crate::net::dial::{self, Way};
use crate::net::tls;
use crate::oauth::credentials::{Generation, TokenError, UpstreamCredential};
use crate::proto::{RefusalKind, UpstreamRefusal};
use crate::secret::AccessToken;

/// An upstream that has let us in.
pub(crate) struct Upstream<P: Speaks> {
    pub(crate) side: Side,
    pub(crate) learnt: P::Learnt,
    pub(crate) account: Arc<Account>,
}

/// How each provider's servers are reached, and which of them cannot be reached now. Shared by all sessions.
#[derive(Debug)]
pub(crate) struct Upstreams {
    ways: HashMap<String, Way>,
    breakers: Breakers,
}

impl Upstreams {
    /// One way for each provider that an account uses or may come to use.
    ///
    /// # Errors
    /// When there is no root certificate at all to trust.
    pub(crate) fn new(config: &Config) -> Result<Self, rustls::Error> {
        let proxy = config.proxy.clone().map(Arc::new);
        let mut ways = HashMap::new();
        let used = config.accounts.iter().map(|account| &account.app);
        for app in used.chain(config.apps.values()) {
            let provider = &app.provider;
            if !ways.contains_key(&provider.name) {
                let way = Way { tls: tls::client_config(&provider.ca)?, proxy: proxy.clone() };
                ways.insert(provider.name.clone(), way);
            }
        }
        Ok(Self { ways, breakers: Breakers::default() })
    }

    /// For one provider in memory, where none of its ways leads anywhere.
    #[cfg(any(test, fuzzing))]
    pub(super) fn in_memory(provider: &str, tls: Arc<ClientConfig>) -> Self {
        let ways = HashMap::from([(provider.to_owned(), Way { tls, proxy: None })]);
        Self { ways, breakers: Breakers::default() }
    }

    /// Each provider's name and its TLS configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<ClientConfig>)> {
        self.ways.iter().map(|(name, way)| (name.as_str(), &way.tls))
    }

    fn of(&self, account: &Account) -> Option<&Way> {
        self.ways.get(&account.app.provider.name)
    }
}

/// Logs `account` in at `server`, for the session of this record if it is for one. A refused token is replaced once, if
/// the token service thinks that this could help.
pub(crate) async fn log_in<P: Speaks>(
    shared: &Shared,
    account: &Arc<Account>,
    server: &Server,
    record: Option<&Record>,
) -> Result<Upstream<P>, Failure> {
    let session = record.map(Record::session);
    let tell = |what: &dyn Fn() -> String| {
        if let Some(record) = record {
            record.tap.tell(what);
        }
    };
    tell(&|| format!("asks for a token for {}", account.address));
    let first = shared.credentials.credential(account, P::PROTOCOL, None).await?;
    tell(&|| format!("has a token, and logs in at {}:{}", server.host, server.port));
    let refusal = match open::<P>(shared, account, server, &first, session).await {
        Err(OpenError::Refused(refusal)) if is_about_token(&refusal) => refusal,
        other => return other.map_err(|error| failure(account, server, error)),
    };
    tracing::info!(
        session,
        account = account.address,
        server = server.host,
        "token refused; asking for a fresh one: {}",
        refused(&refusal)
    );
    tell(&|| format!("the token was refused: {}; asks for a fresh one", refused(&refusal)));
    let fresh = match shared
        .credentials
        .credential(account, P::PROTOCOL, Some(first.generation))
        .await
    {
        Ok(fresh) => fresh,
        // No other token would fare better, so this refusal is the last.
        Err(TokenError::Refused(_)) => return Err(failure(account, server, OpenError::Refused(refusal))),
        // The upstream's own words may be long: what a reply has no room for must not be the advice.
        Err(TokenError::NeedsPerson(fault)) => {
            let words = format!("{fault}. {}", refused(&refusal));
            return Err(Failure::new(FailureKind::NeedsPerson, words).having_tried());
        }
        Err(error @ TokenError::Transient(_)) => return Err(Failure::from(error).having_tried()),
    };
    match open::<P>(shared, account, server, &fresh, session).await {
        Err(OpenError::Refused(refusal)) if is_about_token(&refusal) => {
            // Told, so that the next login does not fetch yet another token for nothing.
            let _ = shared
                .credentials
                .credential(account, P::PROTOCOL, Some(fresh.generation))
                .await;
            Err(failure(account, server, OpenError::Refused(refusal)))
        }
        other => other.map_err(|error| failure(account, server, error).having_tried()),
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
    open::<P>(shared, account, server, &credential, None)
        .await
        .map_err(|error| failure(account, server, error))
}

/// Dials and logs in, within the dial's budget. A session dials if the server's breaker lets it; what a person has asked
/// for, and is for no session, always does.
async fn open<P: Speaks>(
    shared: &Shared,
    account: &Arc<Account>,
    server: &Server,
    credential: &UpstreamCredential,
    session: Option<u64>,
) -> Result<Upstream<P>, OpenError> {
    let endpoint = shared.upstreams.breakers.of(&account.app.provider.name, P::PROTOCOL, server);
    let mut dial = match session {
        Some(_) => endpoint.enter().await.map_err(OpenError::LeftAlone)?,
        None => endpoint.regardless(),
    };
    let until = Instant::now() + shared.config.budgets.dial;
    let work = dial_and_log_in::<P>(shared, account, server, credential, until, &mut dial);
    let opened = timeout_at(until, work).await.unwrap_or(Err(OpenError::TooSlow));
    match &opened {
        // Before the credential too: a server that refuses is there. One that is tired of a single device says so in its
        // greeting, and the others must not pay for it.
        Ok(_) | Err(OpenError::Refused(_)) => dial.succeeded(),
        Err(OpenError::InClear | OpenError::LeftAlone(_)) => {}
        // Neither reached nor not: this machine was short of something.
        Err(OpenError::Unreachable(error)) if dial::is_our_own_lack(error) => {}
        Err(error) => dial.failed(&error.to_string()),
    }
    opened
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
        OpenError::LeftAlone(_) => return Failure::unavailable(error.to_string()),
        OpenError::Lost(_) | OpenError::TooSlow | OpenError::InClear => {
            return Failure::unavailable(format!("{host}:{}: {error}. {CHECK_SERVER}", server.port));
        }
    };
    let meaning = words::of_login(refusal);
    let failure = Failure::new(meaning.failure(), format!("{address}: {meaning}. {host}: {error}"));
    // Before AUTH the provider has counted no login. From there on it has, and what it says of too many is transient: were
    // that free, whoever is told it could go on.
    if refusal.stage.starts_with("AUTH") { failure.having_tried() } else { failure }
}

/// Whether a refusal is about the token, so that another one may help.
fn is_about_token(refusal: &UpstreamRefusal) -> bool {
    words::of_login(refusal).kind == RefusalKind::Token
}

/// A tag that no server can guess and so no stray answer can carry.
pub(crate) fn unguessable_tag() -> String {
    // Without randomness a constant tag is merely guessable, and a wrong completion still fails the login.
    chance::octets::<8>().iter().fold(String::from("f"), |mut tag, octet| {
        let _ = write!(tag, "{octet:02x}");
        tag
    })
}
