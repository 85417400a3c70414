//! How each kind of grant gets a token: one file a kind. Nothing here caches or retries.

mod client_credentials;
mod command;
mod refresh_token;
mod service_account;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::credentials::TokenError;
use super::endpoint::Endpoint;
use super::hints::needs_person;
use crate::config::{Account, App, Grant};
use crate::net::http::HttpClient;
use crate::secret::{AccessToken, SecretText};
use crate::store::SignIns;

/// What a token endpoint issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: AccessToken,
    /// How long it lives from now on.
    pub lives: Duration,
    /// What the next one can be fetched with, where the provider gave that.
    pub refresh_token: Option<SecretText>,
    /// How long that lives, where the provider gave it a time: Google's do 7 days while the app is being tested.
    pub refresh_lives: Option<Duration>,
    /// Who signed in, where the provider tells (OpenID Connect Core section 2). Unread.
    pub id_token: Option<SecretText>,
}

/// One token that is wanted.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// Who asks.
    pub app: Arc<App>,
    /// Whose mailbox it is to open, where a token opens one only.
    pub account: Option<Arc<Account>>,
    /// What it is to be good for.
    pub scopes: Vec<String>,
}

impl TokenRequest {
    /// What `account` needs.
    #[must_use]
    pub fn of(account: &Arc<Account>) -> Self {
        let app = Arc::clone(&account.app);
        let scopes = app.scopes(&account.protocols());
        let bound = app.grant.is_bound_to_a_user();
        Self { app, account: bound.then(|| Arc::clone(account)), scopes }
    }
}

/// A token, some time from now.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Issued, TokenError>> + Send>>;

/// What the token service fetches tokens with: the network, or a test's script.
pub trait Fetch: Send + Sync + 'static {
    /// Fetches one token, now.
    fn fetch(&self, request: TokenRequest) -> FetchFuture;

    /// Completes when nothing that must not be lost is under way. Nothing may be fetched any more.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

/// What time the wall clock shows.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Fetches over HTTP, with one client a provider: each may have roots of its own.
pub struct HttpFetch {
    clients: HashMap<String, HttpClient>,
    wall: WallClock,
    sign_ins: Arc<refresh_token::Keeper>,
}

impl HttpFetch {
    /// Fetches with `clients`, whose keys are the names of the providers, and with the refresh tokens in `sign_ins`.
    #[must_use]
    pub fn new(clients: HashMap<String, HttpClient>, wall: WallClock, sign_ins: Arc<dyn SignIns>) -> Self {
        let sign_ins = Arc::new(refresh_token::Keeper::new(sign_ins, WallClock::clone(&wall)));
        Self { clients, wall, sign_ins }
    }
}

impl Fetch for HttpFetch {
    fn fetch(&self, request: TokenRequest) -> FetchFuture {
        let http = self.clients.get(&request.app.provider.name).cloned();
        let wall = WallClock::clone(&self.wall);
        let sign_ins = Arc::clone(&self.sign_ins);
        Box::pin(async move {
            let app = Arc::clone(&request.app);
            match &app.grant {
                Grant::Command(command) => command::fetch(command).await,
                Grant::ClientCredentials(client) => {
                    let endpoint = token_endpoint(&app, http, wall)?;
                    Ok(client_credentials::fetch(&endpoint, client, &request.scopes).await?)
                }
                Grant::ServiceAccount(key_file) => {
                    let endpoint = token_endpoint(&app, http, wall)?;
                    let account = request.account.as_ref().ok_or_else(nobody)?;
                    Ok(service_account::fetch(&endpoint, key_file, &account.address, &request.scopes).await?)
                }
                Grant::DeviceCode(_) | Grant::AuthorizationCode { .. } => {
                    let endpoint = token_endpoint(&app, http, wall)?;
                    let account = request.account.ok_or_else(nobody)?;
                    sign_ins.fetch(endpoint, account, request.scopes).await
                }
            }
        })
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.sign_ins.settled())
    }
}

/// Where an app's tokens come from.
fn token_endpoint(app: &App, http: Option<HttpClient>, wall: WallClock) -> Result<Endpoint, TokenError> {
    let http = http.ok_or_else(|| {
        let what = format!("The provider {} was not known when mailferry started", app.provider.name);
        needs_person(what, "Start it again")
    })?;
    Endpoint::of(&app.provider.token_url, "token_url", app, http, wall)
}

/// A token that opens one mailbox was asked for without a mailbox: a fault of ours.
pub(super) fn nobody() -> TokenError {
    needs_person("A token for nobody was asked for", "This is a fault of mailferry; please report it")
}

/// What a token is good for: accounts whose requests have equal keys share one token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GrantKey {
    provider: String,
    token_url: String,
    grant: &'static str,
    tenant: Option<String>,
    /// The app's id, or what stands for it: the service account's name in the file, the command.
    client: String,
    scopes: Vec<String>,
    /// Whom the token is bound to.
    user: Option<String>,
}

impl GrantKey {
    /// Whether such a token opens the mailbox `address` and no other.
    pub(crate) fn is_for(&self, address: &str) -> bool {
        self.user.as_deref().is_some_and(|user| user.eq_ignore_ascii_case(address))
    }

    pub(crate) fn of(request: &TokenRequest) -> Self {
        let TokenRequest { app, account, scopes } = request;
        let client = app.client();
        Self {
            provider: app.provider.name.clone(),
            token_url: app.provider.token_url.0.clone(),
            grant: app.grant.name(),
            tenant: client.and_then(|client| client.tenant.clone()),
            client: client.map_or(&app.name, |client| &client.id).clone(),
            scopes: scopes.clone(),
            user: account.as_ref().map(|account| account.address.to_ascii_lowercase()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
