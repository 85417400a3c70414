//! The client credentials grant (RFC 6749 section 4.4): the app itself, no person. Bound to no mailbox.

use super::Issued;
use crate::config::Client;
use crate::oauth::answer::Refusal;
use crate::oauth::endpoint::{Asked, Caller, Endpoint};
use crate::oauth::proof;

/// Fetches one token.
pub(super) async fn fetch(endpoint: &Endpoint, client: &Client, scopes: &[String]) -> Result<Issued, Refusal> {
    let ask = |id, proof| async move {
        endpoint
            .token(Caller { id, proof: &proof }, Asked::ClientCredentials { scopes })
            .await
    };
    proof::ask(endpoint, client, ask).await
}
