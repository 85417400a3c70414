//! The client credentials grant (RFC 6749 section 4.4): the app itself, no person. Bound to no mailbox.

use super::{Issued, WallClock};
use crate::config::{Client, Proof, Provider};
use crate::net::http::HttpClient;
use crate::oauth::credentials::TokenError;
use crate::oauth::endpoint::ClientCredentials;
use crate::oauth::hints::needs_person;

/// Fetches one token.
pub(super) async fn fetch(
    provider: &Provider,
    client: &Client,
    scopes: &[String],
    http: HttpClient,
    wall: WallClock,
) -> Result<Issued, TokenError> {
    let Some(url) = provider.token_url.resolve(client.tenant.as_deref()) else {
        let what = format!("The token URL of the provider {} needs a tenant", provider.name);
        return Err(needs_person(what, "Set tenant to the directory's domain or id"));
    };
    let Proof::Secrets(secrets) = &client.proof else {
        return Err(needs_person("The app has no secret", "Set client_secret"));
    };
    let mut refused = needs_person("The app has no secret", "Set client_secret");
    for secret in secrets {
        let secret = secret.read().map_err(|what| needs_person(what, "Check client_secret"))?;
        let asked = ClientCredentials { url: url.clone(), client_id: &client.id, client_secret: &secret, scopes };
        match asked.ask(http.clone(), WallClock::clone(&wall)).await {
            Err(error @ TokenError::NeedsPerson(_)) => refused = error,
            outcome => return outcome,
        }
    }
    Err(refused)
}
