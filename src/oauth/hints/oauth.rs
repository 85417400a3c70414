//! OAuth's own codes and those that Google has beside them: what each means and the one thing to do.

/// What an error code means, alone or where the provider's words say more. Words choose among explanations only: whether
/// a fault passes is never read from them.
pub(super) struct Row {
    pub(super) error: &'static str,
    /// What the description has to hold, in any case.
    pub(super) said: &'static str,
    pub(super) what: &'static str,
    pub(super) cure: &'static str,
}

const fn row(error: &'static str, what: &'static str, cure: &'static str) -> Row {
    Row { error, said: "", what, cure }
}

const fn told(error: &'static str, said: &'static str, what: &'static str, cure: &'static str) -> Row {
    Row { error, said, what, cure }
}

/// The codes of what passes: RFC 6749 section 4.1.2.1's two, and RFC 8628 section 3.5's.
pub(super) const PASSING: &[&str] = &["temporarily_unavailable", "server_error", "slow_down", "authorization_pending"];

/// The row of an error with this description.
pub(super) fn find(error: &str, description: &str) -> Option<&'static Row> {
    let description = description.to_ascii_lowercase();
    ROWS.iter()
        .find(|row| row.error == error && description.contains(&row.said.to_ascii_lowercase()))
}

/// Where an error has several rows, the one without words is the last.
pub(super) static ROWS: &[Row] = &[
    // Google's words for a sign-in that is over.
    told(
        "invalid_grant",
        "expired or revoked",
        "The earlier sign-in has expired or was revoked",
        "The mailbox's owner has to sign in again; while the app's publishing status is Testing, Google ends each \
         sign-in after 7 days, so publish the app",
    ),
    told(
        "invalid_grant",
        "invalid_rapt",
        "The organization lets no sign-in last longer",
        "The mailbox's owner has to sign in again; an administrator can trust the app in Google Cloud session control",
    ),
    // Google's words for a service account's assertion.
    told(
        "invalid_grant",
        "Invalid JWT Signature",
        "Google does not know the service account's key",
        "Make a new key for the service account and name its file in service_account",
    ),
    told("invalid_grant", "short-lived token", "The assertion is not valid at this time", "Set this machine's clock"),
    told(
        "invalid_grant",
        "Invalid email or User ID",
        "There is no such user for the service account to act as",
        "Check the account's address, and its identity if it has one",
    ),
    told(
        "unauthorized_client",
        "unauthorized to retrieve access tokens",
        "The service account may not act for the users of this domain",
        "An administrator has to enter its client id and the scope https://mail.google.com/ under Domain-wide delegation",
    ),
    // RFC 6749 sections 4.1.2.1 and 5.2, OpenID Connect Core section 3.1.2.6, RFC 8707 section 2.
    row(
        "invalid_grant",
        "The provider no longer accepts the earlier sign-in or consent",
        "The mailbox's owner has to sign in again, or an administrator has to consent again",
    ),
    row("interaction_required", "The provider wants to see a person", "The mailbox's owner has to sign in again"),
    row(
        "consent_required",
        "Nobody has consented to what the app asks for",
        "An administrator has to grant consent to the app",
    ),
    row("login_required", "The provider wants to see a person", "The mailbox's owner has to sign in again"),
    row("invalid_client", "The provider does not accept the app's id or secret", "Check client_id and client_secret"),
    row(
        "unauthorized_client",
        "The app is not allowed this grant",
        "Check client_id and tenant, and that the registration allows the configured grant",
    ),
    row("invalid_scope", "The scope is not one the provider grants", "Check scopes"),
    row("invalid_resource", "The provider does not know the service the scope names", "Check the host in scopes"),
    row("invalid_request", "The provider cannot make sense of the request", "Check tenant, client_id and scopes"),
    row("unsupported_grant_type", "The provider does not know this grant", "Check grant and token_url"),
    row(
        "unsupported_response_type",
        "The provider does not give this app a code",
        "Check authorization_url, and that the registration allows the grant authorization-code",
    ),
    row(
        "access_denied",
        "The provider denies access",
        "Sign in again and agree to what is asked; if nobody declined it, an administrator has to allow the app",
    ),
    // RFC 8628 section 3.5, and Microsoft's words for the same.
    row("authorization_declined", "The sign-in was declined", "Run the command again and agree to what is asked"),
    row("expired_token", "Nobody signed in with the code in time", "Run the command again for a new code"),
    row("bad_verification_code", "The provider does not know the code", "Run the command again for a new code"),
    // Google's, beside the standard.
    row(
        "deleted_client",
        "The app's registration was deleted",
        "Make a new OAuth client, put its id and secret into client_id and client_secret, and sign in again",
    ),
    row(
        "disabled_client",
        "The app's registration is disabled",
        "Enable the OAuth client in the Google Cloud console, or make a new one",
    ),
    row(
        "admin_policy_enforced",
        "The organization does not let its people use this app",
        "A Google Workspace administrator has to trust the app under Security, API controls",
    ),
    row(
        "org_internal",
        "The app is for the people of one organization only",
        "Sign in with an account of that organization, or make the app's audience External",
    ),
    row(
        "disallowed_useragent",
        "The provider lets nobody sign in inside another program",
        "Open the URL in a browser of its own",
    ),
    row(
        "redirect_uri_mismatch",
        "The registration does not know the address that the browser is sent back to",
        "Enter redirect_uri in the registration, to the letter; at Google, use a client of the type Desktop app",
    ),
];
