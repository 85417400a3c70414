//! The token endpoint: client credentials in, a token or an error in the provider's own form out.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Personality;
use super::clock::Date;
use super::control::Shared;
use super::http::{CannedAnswer, Request, percent_decoded};

/// Answers a token request (RFC 6749 section 4.4).
pub(super) fn token(shared: &Shared, request: &Request) -> CannedAnswer {
    match grant(shared, request) {
        Ok(answer) => answer,
        Err((number, what)) => refusal(shared, number, &what),
    }
}

/// Checks a request in the order in which Microsoft does; the error is a number and a sentence.
fn grant(shared: &Shared, request: &Request) -> Result<CannedAnswer, (u32, String)> {
    let options = &shared.options;
    let tenant = request
        .path
        .strip_prefix('/')
        .and_then(|path| path.strip_suffix("/oauth2/v2.0/token"));
    if tenant != Some(&options.tenant) {
        return Err((90002, format!("Tenant '{}' not found.", tenant.unwrap_or_default())));
    }
    let required = |name: &str| {
        let missing = || (900_144, format!("The request body must contain the following parameter: '{name}'."));
        request.field(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    if required("grant_type")? != "client_credentials" {
        return Err((70003, "The app requested an unsupported grant type.".into()));
    }
    let (client_id, client_secret) = match &request.basic {
        Some(basic) => read_basic(basic).ok_or((7_000_215, "The Authorization header is not valid.".into()))?,
        None => {
            let id = required("client_id")?.to_owned();
            let missing =
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            (id, request.field("client_secret").ok_or((7_000_218, missing.into()))?.to_owned())
        }
    };
    if client_id != options.client_id {
        return Err((700_016, format!("Application with identifier '{client_id}' was not found in the directory.")));
    }
    if client_secret != options.client_secret {
        return Err((7_000_215, "Invalid client secret provided.".into()));
    }
    let scope = required("scope")?;
    // Microsoft gives an application everything it was granted at one resource, and wants exactly that asked for.
    if options.personality == Personality::Microsoft && (scope.contains(' ') || !scope.ends_with("/.default")) {
        return Err((70011, "The provided value for the input parameter 'scope' is not valid.".into()));
    }
    let token = shared
        .tokens
        .issue(Instant::now())
        .map_err(|_| (90033, "A transient error has occurred.".into()))?;
    let lifetime = shared.tokens.lifetime().as_secs();
    let mut body = json!({ "token_type": "Bearer", "expires_in": lifetime });
    if options.personality == Personality::Microsoft {
        body["ext_expires_in"] = lifetime.into();
    }
    body["access_token"] = token.into();
    Ok(CannedAnswer::new(200)
        .header("Cache-Control", "no-store, no-cache")
        .json(body.to_string()))
}

/// Client id and secret from the Basic scheme, each form-encoded (RFC 6749 section 2.3.1).
fn read_basic(basic: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((percent_decoded(id)?, percent_decoded(secret)?))
}

/// An error as Microsoft writes it, or as RFC 6749 section 5.2 has it for everyone else.
pub(super) fn refusal(shared: &Shared, number: u32, what: &str) -> CannedAnswer {
    let (status, error) = match number {
        7_000_215 | 7_000_222 => (401, "invalid_client"),
        7_000_218 | 700_025 => (400, "invalid_client"),
        700_016 => (400, "unauthorized_client"),
        70003 => (400, "unsupported_grant_type"),
        70011 | 28002 | 28003 | 700_022 => (400, "invalid_scope"),
        90002 | 90038 | 900_144 => (400, "invalid_request"),
        500_011 => (400, "invalid_resource"),
        50074 | 50076 | 50079 | 50158 => (400, "interaction_required"),
        90006 | 90012 | 90024 | 90033 | 90055 | 50033 | 50087 => (503, "temporarily_unavailable"),
        _ => (400, "invalid_grant"),
    };
    let body = match shared.options.personality {
        Personality::Dovecot => json!({ "error": error, "error_description": what }),
        Personality::Microsoft => {
            let stamp = Date::now().stamp();
            let (trace, correlation) = ("0f0e0d0c-0b0a-0908-0706-050403020100", "00010203-0405-0607-0809-0a0b0c0d0e0f");
            json!({
                "error": error,
                "error_description": format!(
                    "AADSTS{number}: {what} Trace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {stamp}"
                ),
                "error_codes": [number],
                "timestamp": stamp,
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
            })
        }
    };
    CannedAnswer::new(status).json(body.to_string())
}

/// The same answer with one member of its JSON set to what `value` writes, or taken out. The text is put together by
/// hand, since it may be JSON that no parser takes.
pub(super) fn with_member(answer: CannedAnswer, name: &str, value: Option<&str>) -> CannedAnswer {
    let mut members: Map<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
    members.remove(name);
    let mut written: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    written.extend(value.map(|value| format!("\"{name}\":{value}")));
    answer.json(format!("{{{}}}", written.join(",")))
}

/// Says whether a token is good (RFC 7662). As every token opens every mailbox, `email` is the one that is asked about
/// where the caller names it, else the first.
pub(super) fn introspect(shared: &Shared, request: &Request) -> CannedAnswer {
    let active = request
        .field("token")
        .is_some_and(|token| shared.tokens.opens(token, Instant::now()));
    let email = request
        .field("email")
        .map(String::from)
        .or_else(|| shared.options.mailboxes.first().cloned());
    let body = if active { json!({ "active": true, "email": email }) } else { json!({ "active": false }) };
    CannedAnswer::new(200).json(body.to_string())
}

/// An answer's body for the record: a token is shortened by being one long word.
pub(super) fn without_secrets(body: &[u8]) -> String {
    let spaced = String::from_utf8_lossy(&body[..body.len().min(32 * 1024)]).replace(":\"", ": \"");
    spaced.replace(['\r', '\n'], " ")
}
