//! Who asks: the one registration, and everything it may prove itself with (RFC 6749 section 2.3, RFC 7523).

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::answer::Denial;
use super::jwt::{Jwt, PublicKey};
use crate::sim::control::Shared;
use crate::sim::http::{Request, percent_decoded};
use crate::sim::record::lock;
use crate::sim::{Options, Personality};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest an assertion may live, in seconds.
const LONGEST_ASSERTION: i64 = 600;

/// Whether an app has to prove itself when a person's grant is redeemed (RFC 6749 section 2.1). For client credentials it
/// always has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// It has nothing to prove itself with, and sending a proof is an error.
    Public,
    /// It has to.
    Confidential,
}

/// The registration.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) kind: ClientKind,
    pub(super) secrets: Vec<Secret>,
    pub(super) certificates: Vec<PublicKey>,
    /// What an outside issuer signed for it, word for word.
    pub(super) federated: Option<String>,
    pub(super) redirects: Vec<String>,
    /// The `jti` of the assertions that were used.
    used: HashSet<String>,
}

/// A secret that the app has or had.
#[derive(Debug)]
pub(super) struct Secret {
    pub(super) text: String,
    pub(super) expired: bool,
}

impl Registration {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            // Google gives installed apps a secret too, and wants it.
            kind: match options.personality {
                Personality::Gmail => ClientKind::Confidential,
                Personality::Microsoft | Personality::Dovecot => ClientKind::Public,
            },
            secrets: vec![Secret { text: options.client_secret.clone(), expired: false }],
            certificates: Vec::new(),
            federated: None,
            // Microsoft's portal takes no http://127.0.0.1.
            redirects: match options.personality {
                Personality::Microsoft => vec!["http://localhost".into()],
                Personality::Gmail | Personality::Dovecot => {
                    vec!["http://localhost".into(), "http://127.0.0.1".into()]
                }
            },
            used: HashSet::new(),
        }
    }

    fn check_secret(&self, secret: &str, id: &str) -> Result<(), Denial> {
        match self.secrets.iter().find(|known| known.text == secret) {
            Some(known) if !known.expired => Ok(()),
            Some(_) => Err(Denial::new(7_000_222, format!("The client secret keys of app '{id}' are expired."))),
            None => Err(Denial::new(7_000_215, "Invalid client secret provided.")),
        }
    }

    /// RFC 7523 section 3, and Microsoft's further wishes.
    fn check_assertion(&mut self, text: &str, id: &str, audience: &str, now: i64) -> Result<(), Denial> {
        if self.federated.as_deref() == Some(text) {
            return Ok(());
        }
        if self.certificates.is_empty() {
            return Err(Denial::new(700_213, "No matching federated identity record was found."));
        }
        let jwt = Jwt::read(text).ok_or_else(|| Denial::new(50027, "The client assertion is not a JWT."))?;
        let signed = |key| jwt.is_signed_by(key, &["RS256", "PS256"]);
        if !self.certificates.iter().any(signed) {
            let what = "The client assertion's signature is invalid, or its certificate is not registered.";
            return Err(Denial::new(700_027, what));
        }
        if jwt.text("iss") != Some(id) || jwt.text("sub") != Some(id) {
            return Err(Denial::new(700_021, "The client assertion's 'iss' and 'sub' have to be the 'client_id'."));
        }
        if jwt.text("aud") != Some(audience) {
            return Err(Denial::new(700_023, format!("The client assertion's audience has to be '{audience}'.")));
        }
        if !jwt.is_timely(now, LONGEST_ASSERTION) {
            return Err(Denial::new(700_024, "The client assertion is not within its valid time range."));
        }
        match jwt.text("jti") {
            Some(id) if !id.is_empty() && self.used.insert(id.into()) => Ok(()),
            Some(_) => Err(Denial::new(50013, "The client assertion was used before.").named("invalid_client")),
            None => Err(Denial::new(50027, "The client assertion has no 'jti'.")),
        }
    }

    /// Whether a browser may be sent there. Where the personality lets loopback addresses have any port (RFC 8252 section
    /// 7.3), the rest has to be the same; elsewhere all of it.
    pub(super) fn may_redirect_to(&self, uri: &str, personality: Personality) -> bool {
        self.redirects.iter().any(|registered| {
            if registered == uri {
                return true;
            }
            let (Ok(mut registered), Ok(mut asked)) = (Url::parse(registered), Url::parse(uri)) else { return false };
            let loopback = asked.scheme() == "http" && matches!(asked.host_str(), Some("localhost" | "127.0.0.1"));
            // Neither can fail: the URLs have hosts.
            let without_port = registered.set_port(None).and_then(|()| asked.set_port(None)).is_ok();
            personality != Personality::Dovecot && loopback && without_port && registered == asked
        })
    }
}

/// Whether a grant is an app's own or a person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    App,
    Person,
}

/// Checks who asks. A proof that is there has to be right, whether it was needed or not.
pub(super) fn authenticate(shared: &Shared, request: &Request, whose: Whose) -> Result<(), Denial> {
    let mut registration = lock(&shared.issuer.registration);
    let (id, secret) = match &request.basic {
        Some(basic) => {
            let (id, secret) =
                read_basic(basic).ok_or_else(|| Denial::new(7_000_215, "The Authorization header is not valid."))?;
            if request.field("client_secret").is_some() {
                return Err(several_proofs());
            }
            (id, Some(secret))
        }
        None => (request.required("client_id")?.to_owned(), request.field("client_secret").map(String::from)),
    };
    let assertion = request.field("client_assertion");
    if secret.is_none() && assertion.is_none() && (whose == Whose::App || registration.kind == ClientKind::Confidential)
    {
        let what = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(Denial::new(7_000_218, what));
    }
    if id != shared.options.client_id {
        let what = format!("Application with identifier '{id}' was not found in the directory.");
        return Err(Denial::new(700_016, what));
    }
    if whose == Whose::Person && registration.kind == ClientKind::Public && (secret.is_some() || assertion.is_some()) {
        let what = "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
        return Err(Denial::new(700_025, what));
    }
    match (secret, assertion) {
        (Some(_), Some(_)) => Err(several_proofs()),
        (Some(secret), None) => registration.check_secret(&secret, &id),
        (None, Some(assertion)) => {
            if request.required("client_assertion_type")? != ASSERTION_TYPE {
                return Err(Denial::new(50027, "The client assertion's type is unknown."));
            }
            registration.check_assertion(assertion, &id, &request.url(), shared.issuer.now())
        }
        (None, None) => Ok(()),
    }
}

/// RFC 6749 section 2.3: one way in a request.
fn several_proofs() -> Denial {
    Denial::new(90014, "The request proves the client's identity in more than one way.")
}

/// Client id and secret from the Basic scheme, each form-encoded (RFC 6749 section 2.3.1).
fn read_basic(basic: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((percent_decoded(id)?, percent_decoded(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_matched_to_the_letter_but_for_a_loopback_port() {
        let mut registration = Registration::new(&Options::default());
        registration.redirects.push("http://127.0.0.1".into());
        registration.redirects.push("https://app.example/back".into());
        registration.redirects.push("http://localhost:8400/back".into());
        let fits = |uri| {
            let microsoft = registration.may_redirect_to(uri, Personality::Microsoft);
            (microsoft, registration.may_redirect_to(uri, Personality::Dovecot))
        };
        for both in ["http://localhost", "https://app.example/back", "http://localhost:8400/back"] {
            assert_eq!(fits(both), (true, true), "{both}");
        }
        for loopback in ["http://localhost:1234", "http://127.0.0.1:1234", "http://localhost:1/back"] {
            assert_eq!(fits(loopback), (true, false), "{loopback}");
        }
        for bad in [
            "https://app.example:444/back",
            "https://app.example/back/",
            "http://localhost:1234/other",
            "http://localhost:1234/?x=1",
            "https://localhost",
            "http://localhost.evil.example",
            "http://[::1]:1234",
            "nothing",
        ] {
            assert_eq!(fits(bad), (false, false), "{bad}");
        }
    }
}
