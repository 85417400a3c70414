//! Every row, by the answer that it explains; and that no words of a peer decide or do anything.

use proptest::prelude::*;

use super::*;

fn error(error: &str, codes: &[u64]) -> OAuthError {
    OAuthError { status: 400, error: error.into(), codes: codes.to_vec(), ..OAuthError::default() }
}

fn told(name: &str, description: &str) -> OAuthError {
    OAuthError { description: Some(description.into()), ..error(name, &[]) }
}

fn needs_a_person(explained: &TokenError) -> bool {
    matches!(explained, TokenError::NeedsPerson(_))
}

#[test]
fn every_code_has_one_meaning() {
    let mut codes: Vec<u64> = aadsts::ROWS.iter().flat_map(|row| row.codes).copied().collect();
    let all = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all);
    for (at, row) in oauth::ROWS.iter().enumerate() {
        let hidden = oauth::ROWS[..at]
            .iter()
            .any(|earlier| earlier.error == row.error && row.said.contains(earlier.said));
        assert!(!hidden, "{} is never found", row.error);
    }
}

/// Each number with the error that it comes with, what it means and what to do.
const MICROSOFT: &[(u64, &str, &str, &str)] = &[
    (7_000_215, "invalid_client", "client secret is wrong", "Value, not its Secret ID"),
    (7_000_222, "invalid_client", "client secret has expired", "Make a new secret"),
    (7_000_218, "invalid_client", "none was sent", "Set client_secret"),
    (7_000_216, "invalid_client", "none was sent", "Set client_secret"),
    (700_025, "invalid_client", "must not send a client secret", "Remove client_secret"),
    (700_027, "invalid_client", "does not know the key", "Upload the certificate"),
    (700_024, "invalid_client", "not valid at this time", "clock"),
    (70_021, "invalid_client", "no federated credential", "issuer, subject and audience"),
    (700_211, "invalid_client", "no federated credential", "issuer, subject and audience"),
    (700_212, "invalid_client", "no federated credential", "issuer, subject and audience"),
    (700_213, "invalid_client", "no federated credential", "issuer, subject and audience"),
    (700_021, "invalid_client", "another app", "client_assertion"),
    (700_016, "unauthorized_client", "tenant does not know this app", "Check client_id and tenant"),
    (7_000_229, "invalid_client", "tenant does not know this app", "consented to the app"),
    (7_000_112, "unauthorized_client", "app is disabled", "Enterprise applications"),
    (50_011, "invalid_client", "sent back to", "Enter redirect_uri"),
    (500_113, "invalid_request", "sent back to", "Enter redirect_uri"),
    (90_002, "invalid_request", "no such tenant in this cloud", "Check tenant"),
    (90_038, "invalid_request", "no such tenant in this cloud", "tenant's own cloud"),
    (900_023, "invalid_request", "no such tenant in this cloud", "Check tenant"),
    (9_001_023, "invalid_request", "one certain tenant", "directory's domain or id"),
    (50_194, "invalid_request", "one tenant only", "directory's domain or id"),
    (500_011, "invalid_resource", "does not know the service", "Check the host in scopes"),
    (650_057, "invalid_resource", "does not list", "API permissions"),
    (70_011, "invalid_scope", "not one the provider grants", "Check scopes"),
    (28_002, "invalid_scope", "not one the provider grants", "Check scopes"),
    (28_003, "invalid_scope", "not one the provider grants", "Check scopes"),
    (700_022, "invalid_scope", "not one the provider grants", "all of one resource"),
    (1_002_012, "invalid_scope", "not one the provider grants", "ends in /.default"),
    (900_144, "invalid_request", "lacked a parameter", "empty value"),
    (90_014, "invalid_request", "lacked a parameter", "empty value"),
    (50_076, "invalid_grant", "second factor", "sign in again"),
    (50_079, "interaction_required", "second factor", "sign in again"),
    (50_074, "invalid_grant", "second factor", "sign in again"),
    (50_158, "interaction_required", "second factor", "sign in again"),
    (50_072, "interaction_required", "second factor", "sign in again"),
    (50_078, "invalid_grant", "second factor", "sign in again"),
    (50_126, "invalid_grant", "user name or password", "sign in again"),
    (50_173, "invalid_grant", "expired or was revoked", "sign in again"),
    (50_133, "invalid_grant", "expired or was revoked", "sign in again"),
    (70_008, "invalid_grant", "expired or was revoked", "sign in again"),
    (700_082, "invalid_grant", "expired or was revoked", "sign in again"),
    (70_043, "invalid_grant", "expired or was revoked", "sign in again"),
    (70_000, "invalid_grant", "expired or was revoked", "sign in again"),
    (54_005, "invalid_grant", "expired or was revoked", "sign in again"),
    (700_084, "invalid_grant", "ended after a day", "Mobile and desktop"),
    (50_020, "invalid_grant", "does not know the person", "an account of the tenant"),
    (50_034, "invalid_grant", "does not know the person", "provider outlook"),
    (50_053, "invalid_grant", "locked", "unlock it"),
    (50_055, "invalid_grant", "password has expired", "change it"),
    (50_057, "invalid_grant", "account is disabled", "enable it"),
    (50_105, "invalid_grant", "not assigned to the app", "Users and groups"),
    (65_001, "invalid_grant", "Nobody has consented", "grant consent"),
    (65_004, "invalid_grant", "Nobody has consented", "grant consent"),
    (90_094, "invalid_grant", "Nobody has consented", "grant consent"),
    (90_095, "invalid_grant", "Nobody has consented", "grant consent"),
    (53_003, "invalid_grant", "Conditional Access policy", "blocks device codes"),
    (530_032, "invalid_grant", "Conditional Access or device policy", "sign-in log names the policy"),
    (530_035, "invalid_grant", "Conditional Access or device policy", "sign-in log names the policy"),
    (50_131, "invalid_grant", "Conditional Access or device policy", "sign-in log names the policy"),
    (53_000, "interaction_required", "Conditional Access or device policy", "sign-in log names the policy"),
    (53_001, "interaction_required", "Conditional Access or device policy", "sign-in log names the policy"),
    (53_002, "interaction_required", "Conditional Access or device policy", "sign-in log names the policy"),
    (700_003, "invalid_grant", "Conditional Access or device policy", "sign-in log names the policy"),
    (50_097, "interaction_required", "Conditional Access or device policy", "sign-in log names the policy"),
    (50_129, "invalid_grant", "Conditional Access or device policy", "sign-in log names the policy"),
    (70_016, "authorization_pending", "Nobody has signed in", PASSES),
    (70_018, "bad_verification_code", "does not know the code", "new code"),
    (70_019, "expired_token", "in time", "new code"),
    (50_196, "invalid_grant", "same request too often", PASSES),
    (90_055, "temporarily_unavailable", "right now", PASSES),
    (90_024, "temporarily_unavailable", "right now", PASSES),
    (90_006, "server_error", "right now", PASSES),
    (90_033, "temporarily_unavailable", "right now", PASSES),
    (50_033, "server_error", "right now", PASSES),
    (50_087, "server_error", "right now", PASSES),
    (90_012, "server_error", "right now", PASSES),
];

#[test]
fn every_number_of_microsofts_is_explained() {
    for (code, name, what, cure) in MICROSOFT {
        let description = format!("AADSTS{code}: In words.\r\nTrace ID: 1");
        let explained = explain(&OAuthError { description: Some(description), ..error(name, &[1, *code]) });
        let fault = explained.fault();
        assert!(fault.what.contains(what) && fault.hint.contains(cure), "{code}: {explained}");
        assert_eq!(needs_a_person(&explained), *cure != PASSES, "{code}");
        assert_eq!(fault.code, Some(format!("AADSTS{code}")));
        assert_eq!(fault.said, Some(format!("AADSTS{code}: In words.")));
    }
    let untold = aadsts::ROWS
        .iter()
        .flat_map(|row| row.codes)
        .find(|code| !MICROSOFT.iter().any(|(told, ..)| told == *code));
    assert_eq!(untold, None);
}

/// Each error by name, with what the provider says beside it, what it means and what to do.
const NAMED: &[(&str, &str, &str, &str)] = &[
    (
        "invalid_grant",
        "Token has been expired or revoked.",
        "expired or was revoked",
        "after 7 days, so publish the app",
    ),
    ("invalid_grant", "reauth related error (invalid_rapt)", "no sign-in last longer", "session control"),
    ("invalid_grant", "Invalid JWT Signature.", "service account's key", "Make a new key"),
    (
        "invalid_grant",
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat \
         and exp values in the JWT claim.",
        "not valid at this time",
        "clock",
    ),
    ("invalid_grant", "Invalid email or User ID", "no such user", "Check the account's address"),
    (
        "unauthorized_client",
        "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the \
         scopes requested.",
        "may not act for the users",
        "Domain-wide delegation",
    ),
    ("invalid_grant", "Bad Request", "no longer accepts", "sign in again"),
    ("interaction_required", "", "wants to see a person", "sign in again"),
    ("consent_required", "", "Nobody has consented", "grant consent"),
    ("login_required", "", "wants to see a person", "sign in again"),
    ("invalid_client", "The OAuth client was not found.", "app's id or secret", "Check client_id and client_secret"),
    ("unauthorized_client", "Unauthorized", "not allowed this grant", "Check client_id"),
    ("invalid_scope", "", "not one the provider grants", "Check scopes"),
    ("invalid_resource", "", "does not know the service", "Check the host in scopes"),
    ("invalid_request", "", "cannot make sense", "Check tenant"),
    ("unsupported_grant_type", "", "does not know this grant", "Check grant and token_url"),
    ("unsupported_response_type", "", "does not give this app a code", "Check authorization_url"),
    ("access_denied", "", "denies access", "agree to what is asked"),
    ("authorization_declined", "", "was declined", "agree to what is asked"),
    ("expired_token", "", "in time", "new code"),
    ("bad_verification_code", "", "does not know the code", "new code"),
    ("deleted_client", "The OAuth client was deleted.", "was deleted", "Make a new OAuth client"),
    ("disabled_client", "The OAuth client was disabled.", "is disabled", "Enable the OAuth client"),
    ("admin_policy_enforced", "", "organization does not let", "API controls"),
    ("org_internal", "", "one organization only", "audience External"),
    ("disallowed_useragent", "", "inside another program", "browser of its own"),
    ("redirect_uri_mismatch", "", "sent back to", "Desktop app"),
    ("temporarily_unavailable", "", "right now", PASSES),
    ("server_error", "", "right now", PASSES),
    ("slow_down", "", "right now", PASSES),
    ("authorization_pending", "", "right now", PASSES),
];

#[test]
fn every_error_is_explained_by_its_name_and_by_the_providers_words() {
    for (name, description, what, cure) in NAMED {
        let explained = explain(&told(name, description));
        let fault = explained.fault();
        assert!(fault.what.contains(what) && fault.hint.contains(cure), "{name} {description}: {explained}");
        assert_eq!(needs_a_person(&explained), *cure != PASSES, "{name}");
        assert_eq!(fault.code.as_deref(), Some(*name));
    }
    for row in oauth::ROWS {
        let is_told = |(name, description, ..): &&(&str, &str, _, _)| {
            oauth::find(name, description).is_some_and(|found| std::ptr::eq(found, row))
        };
        assert!(NAMED.iter().any(|told| is_told(&told)), "{} {:?}", row.error, row.said);
    }
    for name in oauth::PASSING {
        assert!(NAMED.iter().any(|(told, ..)| told == name), "{name}");
    }
}

#[test]
fn what_passes_is_transient_however_it_is_told() {
    for passing in [
        error("temporarily_unavailable", &[90_055]),
        error("server_error", &[]),
        error("invalid_grant", &[50_196]),
        error("invalid_request", &[90_033]),
        OAuthError { status: 429, ..error("invalid_client", &[7_000_215]) },
        OAuthError { status: 503, ..error("invalid_grant", &[]) },
        OAuthError { status: 503, ..told("invalid_grant", "Token has been expired or revoked.") },
    ] {
        let explained = explain(&passing);
        assert!(matches!(explained, TokenError::Transient(_)), "{passing:?}");
        assert_eq!(explained.fault().hint, PASSES, "{passing:?}");
    }
}

#[test]
fn what_nobody_knows_needs_a_person() {
    for unknown in [error("something_new", &[]), error("invalid_grant", &[1_234_567]), error("", &[])] {
        assert!(needs_a_person(&explain(&unknown)), "{unknown:?}");
    }
}

#[test]
fn the_suberror_tells_missing_consent() {
    let explained = explain(&OAuthError { suberror: Some("consent_required".into()), ..error("invalid_grant", &[]) });
    assert!(explained.fault().hint.contains("grant consent"), "{explained}");
}

#[test]
fn numbers_in_the_description_explain_and_decide_nothing() {
    let throttled = explain(&told("invalid_client", "AADSTS90055: throttled"));
    assert!(needs_a_person(&throttled));
    assert_eq!(throttled.fault().code.as_deref(), Some("invalid_client"));
    assert!(throttled.fault().what.contains("id or secret"), "{throttled}");
    // As a redirect tells it.
    let declined = explain(&told("access_denied", "AADSTS65004: User declined to consent to access the app."));
    assert!(declined.fault().what.contains("Nobody has consented"), "{declined}");
    let elsewhere = explain(&told("access_denied", "It is not AADSTS65004: it is another thing."));
    assert!(elsewhere.fault().what.contains("denies"), "{elsewhere}");
    let otherwise =
        explain(&OAuthError { description: Some("AADSTS65004: x".into()), ..error("access_denied", &[700_016]) });
    assert!(otherwise.fault().what.contains("does not know this app"), "{otherwise}");
}

#[test]
fn an_explanation_fits_a_reply() {
    let rows = aadsts::ROWS.iter().map(|row| (row.what, row.cure));
    for (what, cure) in rows.chain(oauth::ROWS.iter().map(|row| (row.what, row.cure))) {
        assert!(what.len() + cure.len() < 300, "{what}. {cure}");
        assert!(!what.ends_with('.') && !cure.ends_with('.'), "{what}. {cure}");
    }
}

proptest! {
    #[test]
    fn whatever_the_peer_says_is_one_short_printable_line(error in ".*", description in "\\PC*|.*\\r\\n.*|(.|\\x1b|\\n){0,400}") {
        let explained = explain(&OAuthError {
            status: 400, error, description: Some(description), ..OAuthError::default()
        });
        let text = explained.to_string();
        prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        prop_assert!(text.chars().count() < 400 + 10 * MAX_SHOWN);
    }
}

#[test]
fn text_that_turns_lines_around_is_escaped() {
    assert_eq!(shown("\u{1b}[2Jhi\u{202e}there\nmore"), "\\u{1b}[2Jhi\\u{202e}there");
    assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_SHOWN + "...".len());
}
