//! The identity provider over HTTP: which request is whose duty, and what the duties share.

mod answer;
mod authorize;
mod client;
mod control;
mod device;
mod identity;
mod jwt;
mod page;
mod refresh;
mod scope;
mod service_account;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::time::Instant;

pub(super) use answer::{Denial, is_invalid_grant, with_member, without_secrets};
pub use client::ClientKind;
pub use identity::IdTokens;
pub use refresh::Rotation;
pub(super) use token::{echo, error, refusal, token};

use super::control::Shared;
use super::http::{CannedAnswer, Method, Request};
use super::record::{Record, lock};
use super::token::{Access, Tokens};
use super::{Options, Personality, Protocol};
use authorize::Codes;
use client::Registration;
use device::{Decision, Devices};
use refresh::SignIns;
use service_account::ServiceAccount;

/// The tenants that stand for many.
const SHARED_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

/// What the identity provider knows, each duty's part behind a lock of its own.
#[derive(Debug)]
pub(super) struct Issuer {
    registration: Mutex<Registration>,
    service_accounts: Mutex<Vec<ServiceAccount>>,
    codes: Mutex<Codes>,
    devices: Mutex<Devices>,
    sign_ins: Mutex<SignIns>,
    habits: Mutex<Habits>,
    id_tokens_given: Mutex<Vec<String>>,
}

/// How it does what it does.
#[derive(Debug)]
struct Habits {
    rotation: Rotation,
    id_tokens: IdTokens,
    /// How far its clock is ahead of this machine's, in seconds.
    clock_ahead: i64,
    /// Mailboxes, and who may open each beside its owner.
    lent: Vec<(String, String)>,
}

impl Issuer {
    pub(super) fn new(options: &Options) -> Self {
        let rotation = match options.personality {
            Personality::Microsoft => Rotation::Lenient,
            Personality::Gmail => Rotation::Never,
            Personality::Dovecot => Rotation::Strict,
        };
        Self {
            registration: Mutex::new(Registration::new(options)),
            service_accounts: Mutex::default(),
            codes: Mutex::default(),
            devices: Mutex::default(),
            sign_ins: Mutex::default(),
            habits: Mutex::new(Habits { rotation, id_tokens: IdTokens::Truthful, clock_ahead: 0, lent: Vec::new() }),
            id_tokens_given: Mutex::default(),
        }
    }

    /// Seconds since 1970, by its clock.
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        seconds.saturating_add(lock(&self.habits).clock_ahead)
    }

    fn rotation(&self) -> Rotation {
        lock(&self.habits).rotation
    }

    fn id_tokens(&self) -> IdTokens {
        lock(&self.habits).id_tokens.clone()
    }

    fn is_lent(&self, mailbox: &str, user: &str) -> bool {
        let same = |(lent, to): &(String, String)| lent.eq_ignore_ascii_case(mailbox) && to.eq_ignore_ascii_case(user);
        lock(&self.habits).lent.iter().any(same)
    }

    fn keep_id_token(&self, token: &str) {
        lock(&self.id_tokens_given).push(token.into());
    }

    /// Ends a sign-in and everything that came of it.
    fn end_sign_in(&self, tokens: &Tokens, sign_in: usize) {
        lock(&self.sign_ins).end(sign_in);
        tokens.revoke(&[sign_in]);
    }

    fn decide_device(&self, record: &Record, user_code: &str, decision: Decision<'_>) -> bool {
        let decided = lock(&self.devices).decide(user_code, decision, Instant::now());
        record.ring();
        decided
    }

    /// Every secret it has given out, but access tokens.
    fn issued(&self) -> Vec<String> {
        let mut issued: Vec<String> = lock(&self.sign_ins).issued().cloned().collect();
        issued.extend(lock(&self.codes).issued().cloned());
        issued.extend(lock(&self.devices).issued().cloned());
        issued.extend(lock(&self.id_tokens_given).iter().cloned());
        issued
    }
}

/// Where the duties are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    Token,
    Authorize,
    DeviceCode,
    DevicePage,
    Introspect,
}

impl Duty {
    /// The path at a personality, for this tenant.
    pub(super) fn path(self, personality: Personality, tenant: &str) -> String {
        match (self, personality) {
            (Self::DevicePage, _) => "/device".into(),
            (Self::Introspect, _) => "/introspect".into(),
            (Self::Token, Personality::Gmail) => "/token".into(),
            (Self::Authorize, Personality::Gmail) => "/o/oauth2/v2/auth".into(),
            (Self::DeviceCode, Personality::Gmail) => "/device/code".into(),
            (Self::Token, _) => format!("/{tenant}/oauth2/v2.0/token"),
            (Self::Authorize, _) => format!("/{tenant}/oauth2/v2.0/authorize"),
            (Self::DeviceCode, _) => format!("/{tenant}/oauth2/v2.0/devicecode"),
        }
    }

    /// Whose duty a request is. What is posted to nowhere is taken for a token request, and refused as one.
    pub(super) fn of(request: &Request, personality: Personality) -> Option<Self> {
        let all = [Self::Authorize, Self::DeviceCode, Self::DevicePage, Self::Introspect, Self::Token];
        let tenant = tenant(request).unwrap_or_default();
        let duty = all.into_iter().find(|duty| duty.path(personality, tenant) == request.path);
        duty.or_else(|| (request.method == Method::Post).then_some(Self::Token))
    }
}

/// The tenant in a request's path; `None` where the path has none.
fn tenant(request: &Request) -> Option<&str> {
    request
        .path
        .strip_prefix('/')?
        .split_once("/oauth2/v2.0/")
        .map(|(tenant, _)| tenant)
}

/// Whether the tenant is one that is here; it, where the personality has tenants.
fn check_tenant<'a>(shared: &Shared, request: &'a Request) -> Result<Option<&'a str>, Denial> {
    let Options { personality, tenant: ours, .. } = &shared.options;
    let tenant = tenant(request);
    let is_here = match (personality, tenant) {
        (Personality::Gmail, _) => [Duty::Token, Duty::Authorize, Duty::DeviceCode]
            .iter()
            .any(|duty| duty.path(*personality, "") == request.path),
        (_, Some(tenant)) => tenant == ours || SHARED_TENANTS.contains(&tenant),
        (_, None) => false,
    };
    if is_here {
        return Ok(tenant.filter(|_| *personality != Personality::Gmail));
    }
    Err(Denial::new(90002, format!("Tenant '{}' not found.", tenant.unwrap_or_default())))
}

/// Answers everything but a token request; the error is the sentence for whoever sent it.
pub(super) fn answer(shared: &Shared, request: &Request, duty: Option<Duty>) -> Result<CannedAnswer, &'static str> {
    match (duty, request.method) {
        (Some(Duty::Authorize), Method::Get) => Ok(authorize::show(shared, request)),
        (Some(Duty::DevicePage), _) => Ok(device::show(shared, request)),
        (Some(Duty::DeviceCode), Method::Post) => Ok(device::begin(shared, request)),
        (Some(Duty::Introspect), Method::Post) => Ok(introspect(shared, request)),
        // A browser asks for an icon by itself, and for more.
        (None, _) => Ok(page::note(404, "Not found", "There is nothing here.")),
        (Some(Duty::Authorize), Method::Post) => Err("the authorization endpoint is asked with GET here"),
        (Some(_), _) => Err("not a POST of HTTP/1.1"),
    }
}

/// Says whether a token is good (RFC 7662). A person's token opens that person's mailbox; for an app's, which opens all,
/// `email` is the one that is asked about where the caller names it, else the first.
fn introspect(shared: &Shared, request: &Request) -> CannedAnswer {
    let access = request
        .field("token")
        .and_then(|token| shared.tokens.access(token, Instant::now()));
    let first = || shared.options.mailboxes.first().cloned();
    let body = match access {
        None => json!({ "active": false }),
        Some(Access::App) => {
            json!({ "active": true, "email": request.field("email").map(String::from).or_else(first) })
        }
        Some(Access::User { name, scopes, .. }) => {
            json!({ "active": true, "email": name, "scope": scopes.join(" ") })
        }
    };
    CannedAnswer::new(200).json(body.to_string())
}

/// Whether a person's token opens this mailbox over this protocol. At Microsoft, mailboxes that are shared with somebody
/// are opened by IMAP and POP3 only.
pub(super) fn opens(shared: &Shared, access: &Access, mailbox: &str, protocol: Protocol) -> bool {
    let Access::User { name, scopes, .. } = access else { return true };
    let personality = shared.options.personality;
    let own = name.eq_ignore_ascii_case(mailbox);
    let lent =
        !(personality == Personality::Microsoft && protocol == Protocol::Smtp) && shared.issuer.is_lent(mailbox, name);
    (own || lent) && scope::open(personality, scopes, protocol)
}
