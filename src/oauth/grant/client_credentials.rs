//! The client credentials grant (RFC 6749 section 4.4): the app itself, no person. Bound to no mailbox.

use super::{Issued, WallClock};
use crate::config::Provider;
use crate::net::http::HttpClient;
use crate::oauth::credentials::TokenError;
use crate::oauth::endpoint::ClientCredentials;
use crate::oauth::hints::needs_person;
use crate::secret::SecretText;

/// Fetches one token.
pub(super) async fn fetch(
    provider: &Provider,
    tenant: Option<&str>,
    client_id: &str,
    client_secret: &SecretText,
    http: HttpClient,
    wall: WallClock,
) -> Result<Issued, TokenError> {
    let Some(url) = provider.token_url.resolve(tenant) else {
        let what = format!("The token URL of the provider {} needs a tenant", provider.name);
        return Err(needs_person(what, "Set tenant to the directory's domain or id"));
    };
    ClientCredentials { url, client_id, client_secret, scopes: &provider.scopes }
        .ask(http, wall)
        .await
}
