//! What a gateway and a command without one have in common: the store, tokens, logins, and the way to the upstreams.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::registry::Registry;
use super::{StartError, certificate};
use crate::config::{Account, Config};
use crate::drain::Drain;
use crate::login::verify::Verifier;
use crate::net::http::{HttpClient, HttpTimeouts};
use crate::net::tls::{self, Doors};
use crate::oauth::grant::{Fetch, HttpFetch, WallClock};
use crate::oauth::service::TokenService;
use crate::oauth::sign_in::SignIn;
use crate::oauth::upkeep::Upkeep;
use crate::session::limits::SessionLimits;
use crate::session::{Clearance, Nuisances, Shared, Upstreams, Watchers};
use crate::store::sql::SqlStore;
use crate::store::{SignIns, Store, StoreError};
use crate::system;

/// How long refreshes under way may go on when the process ends: a refresh token may be on its way.
const LAST_FETCHES: Duration = Duration::from_secs(10);

/// Makes what fetches tokens with the refresh tokens of a store.
pub(super) type Fetches = Arc<dyn Fn(Arc<dyn SignIns>) -> Arc<dyn Fetch> + Send + Sync>;

/// All of it. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) tokens: Arc<TokenService>,
    pub(super) fetches: Fetches,
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Arc<Registry>,
    keeping: Drain,
}

impl Parts {
    /// Puts it together and begins to look after it. `doors` are those of the listeners, where there will be any.
    ///
    /// # Errors
    /// When the store cannot be read, or something that every login needs is missing.
    pub(super) async fn assemble(config: Arc<Config>, store: Arc<dyn Store>, doors: Doors) -> Result<Self, StartError> {
        let upstreams = Upstreams::new(&config)?;
        let fetches = over_http(&config, &upstreams)?;
        Self::with(config, store, upstreams, fetches, doors).await
    }

    /// As [`Self::assemble`], with tokens from elsewhere.
    pub(super) async fn with(
        config: Arc<Config>,
        store: Arc<dyn Store>,
        upstreams: Upstreams,
        fetches: Fetches,
        doors: Doors,
    ) -> Result<Self, StartError> {
        let registry = Arc::new(Registry::open(Arc::clone(&config), Arc::clone(&store)).await?);
        let sign_ins: Arc<dyn SignIns> = Arc::<dyn Store>::clone(&store);
        let tokens = TokenService::new(fetches(sign_ins), config.budgets.token, wall_clock());
        let tokens = Arc::new(tokens);
        let sessions = affordable_sessions(config.limits.sessions);
        let shared = Arc::new(Shared {
            directory: registry.watch(),
            uses: Arc::clone(registry.uses()),
            verifier: Verifier::new(&config)?,
            credentials: Arc::<TokenService>::clone(&tokens),
            upstreams,
            limits: Arc::new(SessionLimits::new(sessions, config.limits.sessions_per_address)),
            nuisances: Nuisances::default(),
            clearance: Clearance::default(),
            watchers: Watchers::default(),
            doors,
            drain: Drain::default(),
            config,
        });
        let keeping = Drain::default();
        let (keeper, carrier) = (Arc::clone(&registry), Arc::clone(&registry));
        keeping.spawn(async move { keeper.keep_true().await });
        keeping.spawn(async move { carrier.carry_uses().await });
        Ok(Self { shared, tokens, fetches, store, registry, keeping })
    }

    /// Begins to look after certificates, after sign-ins that nobody uses, and after dates. For a gateway that stays.
    pub(super) fn begin_upkeep(&self) {
        for (shown, _) in self.shared.doors.shown() {
            self.keeping.spawn(Arc::clone(shown).keep_true());
        }
        let sign_ins: Arc<dyn SignIns> = Arc::<dyn Store>::clone(&self.store);
        let registry = Arc::clone(&self.registry);
        let accounts = Box::new(move || registry.directory().accounts.clone());
        let shared = Arc::clone(&self.shared);
        let others = Box::new(move || certificate::expiries(&shared.doors));
        let upkeep = Upkeep::new(Arc::clone(&self.tokens), sign_ins, accounts, wall_clock()).with(others);
        self.keeping.spawn(upkeep.run());
    }

    /// Finishes what must not be lost, after the last session.
    pub(super) async fn close(&self) {
        self.keeping.run(Duration::ZERO).await;
        tokio::join!(self.registry.close(), self.tokens.shutdown(LAST_FETCHES));
        self.store.close().await;
    }

    /// Stops everything now.
    pub(super) fn stop(&self) {
        self.shared.drain.stop();
        self.keeping.stop();
    }
}

/// Where everything is kept that must outlive the process.
///
/// # Errors
/// When it cannot be opened.
pub(super) async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let store = SqlStore::open(&config.store, &config.state_dir).await?;
    for sign_in in store.left_behind(SystemTime::now()).await? {
        let account = &sign_in.account;
        tracing::warn!(
            account,
            "a refresh was under way when mailferry last stopped; if the provider gave a new refresh token meanwhile, it is \
             lost and may be asked for by `mailferry sign-in {account}`"
        );
    }
    Ok(Arc::new(store))
}

pub(super) fn wall_clock() -> WallClock {
    Arc::new(SystemTime::now)
}

/// Fetches over HTTP, with a client for each provider that trusts what its mail servers' clients trust.
fn over_http(config: &Config, upstreams: &Upstreams) -> Result<Fetches, StartError> {
    let budget = config.budgets.token;
    // A login waits for its budget only; a slow answer still serves the next one.
    let timeouts = HttpTimeouts { connect: budget, total: 3 * budget };
    let mut clients = HashMap::new();
    for (provider, tls) in upstreams.iter() {
        clients.insert(provider.to_owned(), HttpClient::new(tls, timeouts, config.proxy.as_ref())?);
    }
    Ok(Arc::new(move |sign_ins| Arc::new(HttpFetch::new(clients.clone(), wall_clock(), sign_ins))))
}

/// Prepares a person's sign-in for `account`. What is obtained goes to an [`Office`](super::office::Office).
///
/// # Errors
/// When TLS cannot be verified, or nobody signs in for that account.
pub fn sign_in(config: &Config, account: Arc<Account>) -> Result<SignIn, StartError> {
    let tls = tls::client_config(&account.app.provider.ca)?;
    let client = HttpClient::new(&tls, HttpTimeouts::default(), config.proxy.as_ref())?;
    Ok(SignIn::new(account, client, wall_clock())?)
}

/// As many sessions as configured, or as the descriptor limit allows.
fn affordable_sessions(configured: usize) -> usize {
    match system::raise_descriptor_limit() {
        Some(affordable) if affordable < configured => {
            tracing::warn!(
                configured,
                affordable,
                "the descriptor limit allows fewer sessions than [limits] sessions; raise it (systemd: LimitNOFILE=)"
            );
            affordable
        }
        _ => configured,
    }
}
