//! The id_token: who signed in, or whom a test wants named (OpenID Connect Core section 2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::refresh::Consent;
use crate::sim::{Options, Personality};

/// What id_tokens say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdTokens {
    /// Who signed in.
    Truthful,
    /// This name, whoever signed in.
    Naming(String),
    /// No name: neither `preferred_username` nor `email`.
    Nameless,
    /// There are none, although `openid` was asked for.
    Withheld,
}

/// The id_token for a consent, which `issuer` gives at `now`; `None` where none was asked for or there are none. Its
/// signature is none: it comes straight from the token endpoint (section 3.1.3.7).
pub(super) fn id_token(
    said: &IdTokens,
    options: &Options,
    consent: &Consent,
    issuer: &str,
    now: i64,
) -> Option<String> {
    let has = |scope: &str| consent.scopes.iter().any(|granted| granted == scope);
    let name = match said {
        _ if !has("openid") => return None,
        IdTokens::Withheld => return None,
        IdTokens::Truthful => Some(consent.user.as_str()),
        IdTokens::Naming(name) => Some(name.as_str()),
        IdTokens::Nameless => None,
    };
    let mut claims = json!({
        "iss": issuer,
        "aud": options.client_id,
        "sub": subject(&consent.user),
        "iat": now,
        "exp": now + 3600,
    });
    if options.personality == Personality::Microsoft {
        claims["oid"] = format!("00000000-0000-0000-0000-{}", &subject(&consent.user)[..12]).into();
    }
    if let Some(name) = name {
        if options.personality != Personality::Gmail {
            claims["preferred_username"] = name.into();
        }
        if has("email") {
            claims["email"] = name.into();
            // Microsoft verifies none and says nothing.
            if options.personality == Personality::Gmail {
                claims["email_verified"] = true.into();
            }
        }
    }
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "simulated" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Some(format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("not a signature")))
}

/// A name for a user that says nothing about them.
fn subject(user: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, user.to_ascii_lowercase().as_bytes());
    digest.as_ref().iter().take(12).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(said: &IdTokens, personality: Personality, scopes: &[&str]) -> Option<Value> {
        let options = Options { personality, ..Options::default() };
        let scopes = scopes.iter().map(|&scope| scope.into()).collect();
        let consent = Consent { user: "ann@contoso.example".into(), scopes, offline: false };
        let token = id_token(said, &options, &consent, "http://issuer", 1_000)?;
        let claims = token.split('.').nth(1).unwrap();
        Some(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap())
    }

    #[test]
    fn it_names_whom_it_is_to_name() {
        let all = ["openid", "email"];
        let truth = claims(&IdTokens::Truthful, Personality::Microsoft, &all).unwrap();
        assert_eq!((&truth["preferred_username"], &truth["email"]), (&"ann@contoso.example".into(), &truth["email"]));
        assert_eq!((&truth["exp"], truth["oid"].as_str().unwrap().len()), (&4_600.into(), 36));
        let other = claims(&IdTokens::Naming("eve@x.example".into()), Personality::Microsoft, &all).unwrap();
        assert_eq!((&other["email"], &other["sub"]), (&"eve@x.example".into(), &truth["sub"]));
        let nameless = claims(&IdTokens::Nameless, Personality::Microsoft, &all).unwrap();
        assert!(nameless.get("email").is_none() && nameless.get("preferred_username").is_none());
        let google = claims(&IdTokens::Truthful, Personality::Gmail, &["openid"]).unwrap();
        assert!(google.get("email").is_none() && google.get("preferred_username").is_none());
        assert_eq!(claims(&IdTokens::Withheld, Personality::Gmail, &all), None);
        assert_eq!(claims(&IdTokens::Truthful, Personality::Gmail, &["email"]), None);
    }
}
