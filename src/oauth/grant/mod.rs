//! How each kind of grant gets a token: one file a kind. Nothing here caches or retries.

mod client_credentials;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::credentials::TokenError;
use super::hints::needs_person;
use crate::config::{App, Grant};
use crate::net::http::HttpClient;
use crate::secret::AccessToken;

/// A token as it was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: AccessToken,
    /// How long it lives from now on.
    pub lives: Duration,
}

/// A token, some time from now.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Issued, TokenError>> + Send>>;

/// What the token service fetches tokens with: the network, or a test's script.
pub trait Fetch: Send + Sync + 'static {
    /// Fetches one token for `app`, from its provider, now.
    fn fetch(&self, app: Arc<App>) -> FetchFuture;
}

/// What time the wall clock shows.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Fetches over HTTP, with one client a provider: each may have roots of its own.
pub struct HttpFetch {
    clients: HashMap<String, HttpClient>,
    wall: WallClock,
}

impl HttpFetch {
    /// Fetches with `clients`, whose keys are the names of the providers.
    #[must_use]
    pub fn new(clients: HashMap<String, HttpClient>, wall: WallClock) -> Self {
        Self { clients, wall }
    }
}

impl Fetch for HttpFetch {
    fn fetch(&self, app: Arc<App>) -> FetchFuture {
        let client = self.clients.get(&app.provider.name).cloned();
        let wall = Arc::clone(&self.wall);
        Box::pin(async move {
            let Some(http) = client else {
                let what = format!("The provider {} was not known when mailferry started", app.provider.name);
                return Err(needs_person(what, "Start it again"));
            };
            match &app.grant {
                Grant::ClientCredentials { tenant, client_id, client_secret } => {
                    client_credentials::fetch(&app.provider, tenant.as_deref(), client_id, client_secret, http, wall)
                        .await
                }
            }
        })
    }
}

/// What a token is good for: accounts whose apps have equal keys share one token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GrantKey {
    token_url: String,
    tenant: Option<String>,
    client_id: String,
    scopes: Vec<String>,
}

impl GrantKey {
    pub(crate) fn of(app: &App) -> Self {
        let Grant::ClientCredentials { tenant, client_id, .. } = &app.grant;
        Self {
            token_url: app.provider.token_url.0.clone(),
            tenant: tenant.clone(),
            client_id: client_id.clone(),
            scopes: app.provider.scopes.clone(),
        }
    }
}
