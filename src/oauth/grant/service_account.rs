//! Google's service accounts with domain-wide delegation (RFC 7523 section 2.1): the account's key signs for the
//! mailbox's user.

use super::Issued;
use crate::config::SecretSource;
use crate::oauth::answer::Refusal;
use crate::oauth::assertion;
use crate::oauth::endpoint::Endpoint;
use crate::oauth::hints::needs_person;

/// Fetches one token that opens `user`'s mailbox. The key file is read each time, so that a new one is seen.
pub(super) async fn fetch(
    endpoint: &Endpoint,
    key_file: &SecretSource,
    user: &str,
    scopes: &[String],
) -> Result<Issued, Refusal> {
    let key_file = key_file.read().map_err(|what| needs_person(what, "Check service_account"))?;
    let assertion = assertion::of_service_account(&key_file, user, scopes, &endpoint.url, (endpoint.wall)())?;
    endpoint.by_assertion(&assertion).await
}
