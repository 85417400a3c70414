//! Service accounts: a signed assertion is the grant (RFC 7523 section 2.1), in the name of a user of the domain.

use super::answer::Denial;
use super::jwt::{Jwt, PublicKey};
use super::scope;
use crate::sim::control::Shared;
use crate::sim::http::Request;
use crate::sim::record::lock;
use crate::sim::token::Access;

/// The longest an assertion may live, in seconds.
const LONGEST: i64 = 3600;

/// A service account and the keys that sign for it.
#[derive(Debug)]
pub(super) struct ServiceAccount {
    pub(super) email: String,
    pub(super) key: PublicKey,
}

/// What an assertion gives a token for.
pub(super) fn redeem(shared: &Shared, request: &Request) -> Result<Access, Denial> {
    let denied = |what: &str| Denial::new(70000, what);
    let jwt = Jwt::read(request.required("assertion")?).ok_or_else(|| denied("Invalid JWT: not one."))?;
    let issuer = jwt.text("iss").unwrap_or_default();
    let accounts = lock(&shared.issuer.service_accounts);
    let mut known = accounts.iter().filter(|account| account.email == issuer).peekable();
    if known.peek().is_none() {
        return Err(denied("Invalid grant: account not found"));
    }
    if !known.any(|account| jwt.is_signed_by(&account.key, &["RS256"])) {
        return Err(denied("Invalid JWT Signature."));
    }
    if jwt.text("aud") != Some(&request.url()) {
        return Err(denied("Invalid JWT: the audience is not this token endpoint."));
    }
    if !jwt.is_timely(shared.issuer.now(), LONGEST) {
        let what = "Invalid JWT: it has to live at most 60 minutes, from about now. Check iat, exp and the clock.";
        return Err(denied(what));
    }
    let asked = jwt.text("scope").unwrap_or_default();
    let scopes = scope::of_a_person(shared.options.personality, asked)
        .map_err(|_| Denial::new(70011, "The provided scope is empty or not a valid scope."))?;
    // Nobody delegated anything beyond mail to it.
    if scopes
        .iter()
        .any(|scope| ["openid", "email", "profile", "offline_access"].contains(&scope.as_str()))
    {
        let what = "Client is unauthorized to retrieve access tokens using this method, or for any of the scopes.";
        return Err(Denial::new(700_016, what));
    }
    let user = jwt.text("sub").unwrap_or(issuer);
    if user != issuer && shared.mailboxes.get(user).is_none() {
        return Err(denied("Invalid email or User ID"));
    }
    Ok(Access::User { name: user.into(), scopes, sign_in: None })
}
