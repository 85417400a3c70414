//! The token endpoint (RFC 6749 section 3.2): which grant is it, is it good, and what is given for it.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::Denial;
use super::client::{self, Whose};
use super::identity::id_token;
use super::refresh::Consent;
use super::{authorize, check_tenant, device, scope, service_account};
use crate::sim::Personality;
use crate::sim::control::Shared;
use crate::sim::http::{CannedAnswer, Request};
use crate::sim::record::lock;
use crate::sim::token::Access;

/// RFC 8628 section 3.4.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 7523 section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Answers a token request.
pub(in crate::sim) fn token(shared: &Shared, request: &Request) -> CannedAnswer {
    grant(shared, request).unwrap_or_else(|denial| denial.answer(shared.options.personality))
}

/// The answer of a personality for an AADSTS number.
pub(in crate::sim) fn refusal(shared: &Shared, number: u32) -> CannedAnswer {
    Denial::new(number, "Requested.").answer(shared.options.personality)
}

/// The answer with this `error`.
pub(in crate::sim) fn error(shared: &Shared, request: &Request, error: &'static str) -> CannedAnswer {
    if error == "slow_down"
        && let Some(device_code) = request.field("device_code")
    {
        lock(&shared.issuer.devices).slow_down(device_code);
    }
    Denial::new(70000, "Requested.").named(error).answer(shared.options.personality)
}

/// The refusal of an endpoint that repeats the client secret it was sent, in every place where it may say something.
pub(in crate::sim) fn echo(shared: &Shared, request: &Request) -> CannedAnswer {
    let secret = request.field("client_secret").unwrap_or_default();
    let spelled: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let what = format!("bad client_secret {secret}, sent as {spelled}.");
    Denial::new(7_000_215, what).answer(shared.options.personality)
}

/// Checks a request in the order in which Microsoft does.
fn grant(shared: &Shared, request: &Request) -> Result<CannedAnswer, Denial> {
    let tenant = check_tenant(shared, request)?;
    match request.required("grant_type")? {
        "client_credentials" if tenant.is_some_and(|tenant| tenant != shared.options.tenant) => {
            Err(Denial::new(9_001_023, "The grant type is not supported over the /common or /consumers endpoints."))
        }
        "client_credentials" => client_credentials(shared, request),
        "authorization_code" => authorization_code(shared, request),
        "refresh_token" => refresh_token(shared, request),
        DEVICE_CODE => {
            let consent = device::redeem(shared, request)?;
            let sign_in = lock(&shared.issuer.sign_ins).begin(consent.clone());
            signed_in(shared, request, &consent, sign_in)
        }
        JWT_BEARER => {
            let access = service_account::redeem(shared, request)?;
            Ok(answer(issued(shared, access)?))
        }
        _ => Err(Denial::new(70003, "The app requested an unsupported grant type.")),
    }
}

/// An app for itself. Google has no such grant; here it is there for tests that are about mail alone.
fn client_credentials(shared: &Shared, request: &Request) -> Result<CannedAnswer, Denial> {
    client::authenticate(shared, request, Whose::App)?;
    let scope = request.required("scope")?;
    // Microsoft gives an application everything it was granted at one resource, and wants exactly that asked for.
    if shared.options.personality == Personality::Microsoft && (scope.contains(' ') || !scope.ends_with("/.default")) {
        return Err(Denial::new(70011, "The provided value for the input parameter 'scope' is not valid."));
    }
    Ok(answer(issued(shared, Access::App)?))
}

fn authorization_code(shared: &Shared, request: &Request) -> Result<CannedAnswer, Denial> {
    let begin = |consent: &Consent| lock(&shared.issuer.sign_ins).begin(consent.clone());
    let (consent, sign_in) = authorize::redeem(shared, request, begin)?;
    signed_in(shared, request, &consent, sign_in)
}

/// RFC 6749 section 6. The successor exists before the answer is on its way: an answer that is lost takes it along.
fn refresh_token(shared: &Shared, request: &Request) -> Result<CannedAnswer, Denial> {
    client::authenticate(shared, request, Whose::Person)?;
    let token = request.required("refresh_token")?;
    let rotation = shared.issuer.rotation();
    let mut sign_ins = lock(&shared.issuer.sign_ins);
    let spent = sign_ins
        .spend(token, rotation)
        .ok_or_else(|| Denial::new(70000, "The provided refresh token is unknown."))?;
    if spent.reused {
        shared.record.note(|seen| seen.reused_refresh_tokens += 1);
    }
    if !sign_ins.holds(spent.sign_in) {
        shared.tokens.revoke(&[spent.sign_in]);
    }
    let mut consent = spent.consent?;
    if let Some(wanted) = request.field("scope") {
        let wanted = scopes_of_a_person(shared, wanted)?;
        if !scope::are_within(shared.options.personality, &wanted, &consent.scopes) {
            let what = "The user has not consented to these scopes.";
            return Err(match shared.options.personality {
                Personality::Microsoft => Denial::new(65001, what),
                _ => Denial::new(70011, what),
            });
        }
        consent.scopes = wanted;
    }
    let successor = sign_ins.rotate(token, rotation).map_err(|_| Denial::transient())?;
    drop(sign_ins);
    let mut body = of_a_person(shared, request, &consent, spent.sign_in)?;
    if let Some(successor) = successor {
        body["refresh_token"] = successor.into();
    }
    Ok(answer(body))
}

/// The answer to a person who has just signed in.
fn signed_in(shared: &Shared, request: &Request, consent: &Consent, sign_in: usize) -> Result<CannedAnswer, Denial> {
    let mut body = of_a_person(shared, request, consent, sign_in)?;
    if consent.offline {
        let token = lock(&shared.issuer.sign_ins).add(sign_in).map_err(|_| Denial::transient())?;
        body["refresh_token"] = token.into();
    }
    Ok(answer(body))
}

fn of_a_person(shared: &Shared, request: &Request, consent: &Consent, sign_in: usize) -> Result<Value, Denial> {
    let Consent { user, scopes, .. } = consent;
    let access = Access::User { name: user.clone(), scopes: scopes.clone(), sign_in: Some(sign_in) };
    let mut body = issued(shared, access)?;
    body["scope"] = scope::shown(scopes).into();
    let issuer = format!("http://{}", request.host);
    let said = shared.issuer.id_tokens();
    if let Some(token) = id_token(&said, &shared.options, consent, &issuer, shared.issuer.now()) {
        shared.issuer.keep_id_token(&token);
        body["id_token"] = token.into();
    }
    Ok(body)
}

/// An access token, as everybody gives it.
fn issued(shared: &Shared, access: Access) -> Result<Value, Denial> {
    let lifetime = shared.tokens.lifetime().as_secs();
    let token = shared.tokens.issue(access, Instant::now()).map_err(|_| Denial::transient())?;
    let mut body = json!({ "token_type": "Bearer", "expires_in": lifetime, "access_token": token });
    if shared.options.personality == Personality::Microsoft {
        body["ext_expires_in"] = lifetime.into();
    }
    Ok(body)
}

fn answer(body: Value) -> CannedAnswer {
    CannedAnswer::new(200)
        .header("Cache-Control", "no-store, no-cache")
        .json(body.to_string())
}

/// The scopes of a request in a person's name.
pub(super) fn scopes_of_a_person(shared: &Shared, text: &str) -> Result<Vec<String>, Denial> {
    scope::of_a_person(shared.options.personality, text).map_err(|unfit| match unfit {
        scope::Unfit::Unknown => Denial::new(70011, "The provided value for the input parameter 'scope' is not valid."),
        scope::Unfit::SeveralResources => Denial::new(700_022, "The scopes are of more than one resource."),
    })
}
