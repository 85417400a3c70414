//! The authorization code grant (RFC 6749 section 4.1) with PKCE (RFC 7636) and state: a browser goes to the provider, and
//! comes back with a code. How it comes back, through a listener or through a person's clipboard, is not known here.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::{Origin, Url, form_urlencoded};

use super::{Obtained, SignIn};
use crate::oauth::credentials::TokenError;
use crate::oauth::endpoint::Asked;
use crate::oauth::hints::{self, OAuthError, needs_person, transient};
use crate::secret::SecretText;

/// The longest address that is taken from a person, in octets.
const MAX_PASTED: usize = 16 * 1024;

/// Hosts of Microsoft's authorization endpoints: in each cloud, and for personal accounts.
const MICROSOFT: [&str; 4] =
    ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.live.com"];

/// A browser that was sent to the provider.
pub struct AuthorizationCode {
    sign_in: SignIn,
    url: Url,
    /// Where answers may come from.
    issuer: Origin,
    redirect_uri: String,
    state: SecretText,
    verifier: SecretText,
}

impl SignIn {
    /// Begins a sign-in in a browser, which is to come back to `redirect_uri`, as it is registered.
    ///
    /// # Errors
    /// When the provider has no such endpoint.
    pub fn authorization_code(self, redirect_uri: &str) -> Result<AuthorizationCode, TokenError> {
        let provider = &self.account.app.provider;
        let mut url = self.endpoint_at(provider.authorization_url.as_ref(), "authorization_url")?.url;
        let (state, verifier) = (random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose().as_bytes()));
        let issuer = url.origin();
        let habits = habits(url.host_str().unwrap_or_default(), &self.scopes);
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client()?.id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.scopes.join(" "))
            .append_pair("state", state.expose())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("login_hint", &self.account.address)
            .extend_pairs(habits);
        Ok(AuthorizationCode { sign_in: self, url, issuer, redirect_uri: redirect_uri.into(), state, verifier })
    }
}

/// What a provider wants to be told beyond the RFC, so that the person is asked who they are (a browser may still be
/// signed in as somebody else) and a refresh token comes.
fn habits(host: &str, scopes: &[String]) -> &'static [(&'static str, &'static str)] {
    if host == "accounts.google.com" {
        &[("access_type", "offline"), ("prompt", "select_account consent")]
    } else if MICROSOFT.contains(&host) {
        // Asking for consent would shut out those for whom only an administrator may consent.
        &[("prompt", "select_account")]
    } else if scopes.iter().any(|scope| scope == "offline_access") {
        // OpenID Connect Core section 11 grants that scope to nobody who was not asked.
        &[("prompt", "consent")]
    } else {
        &[]
    }
}

/// 256 bits that nobody can guess, as text that needs no escaping.
fn random() -> Result<SecretText, TokenError> {
    let mut octets = [0; 32];
    rand::fill(&mut octets).map_err(|_| transient("The operating system gives no random numbers"))?;
    Ok(SecretText::new(URL_SAFE_NO_PAD.encode(octets)))
}

impl AuthorizationCode {
    /// Where the browser has to go.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the query of a redirect answers this request: whether it carries its state. Takes as long whether the first
    /// octet differs or the last.
    #[must_use]
    pub fn is_answered_by(&self, query: &str) -> bool {
        single(query, "state").is_ok_and(|state| state.map(SecretText::new).as_ref() == Some(&self.state))
    }

    /// Whether what a person copied is an answer to this request: one that is not costs nothing to be asked for again.
    #[must_use]
    pub fn is_answered_by_pasted(&self, text: &str) -> bool {
        text.len() <= MAX_PASTED && self.is_answered_by(query_of(text))
    }

    /// Takes the address that a person copied from their browser, or what follows the `?` in it.
    ///
    /// # Errors
    /// As [`AuthorizationCode::answered`].
    pub async fn pasted(&self, text: &str) -> Result<Obtained, TokenError> {
        if text.len() > MAX_PASTED {
            return Err(self.not_the_answer("What was pasted is too long"));
        }
        self.answered(query_of(text)).await
    }

    /// Takes the query of a redirect and exchanges the code in it.
    ///
    /// # Errors
    /// When it is not the answer to this request, when the provider says no, or when it gives no refresh token.
    pub async fn answered(&self, query: &str) -> Result<Obtained, TokenError> {
        let code = self.code(query)?;
        let asked = Asked::Code { code: &code, verifier: &self.verifier, redirect_uri: &self.redirect_uri };
        let issued = self.sign_in.ask(&self.sign_in.endpoint, asked).await?;
        self.sign_in.obtained(issued)
    }

    fn code(&self, query: &str) -> Result<SecretText, TokenError> {
        if !self.is_answered_by(query) {
            return Err(self.not_the_answer("The address does not belong to this sign-in"));
        }
        let parameter =
            |name| single(query, name).map_err(|Twice| self.not_the_answer("The address says a thing twice"));
        // RFC 9207: an answer that names another issuer was meant for another provider's code.
        if let Some(issuer) = parameter("iss")?
            && Url::parse(&issuer).map(|issuer| issuer.origin()).ok().as_ref() != Some(&self.issuer)
        {
            let what = format!("The answer comes from {}, not from the provider", hints::shown(&issuer));
            return Err(needs_person(what, "Do not go on; check authorization_url"));
        }
        if let Some(error) = parameter("error")? {
            let description = parameter("error_description")?;
            return Err(hints::explain(&OAuthError { status: 400, error, description, ..OAuthError::default() }));
        }
        let code = parameter("code")?.filter(|code| !code.is_empty());
        code.map(SecretText::new)
            .ok_or_else(|| self.not_the_answer("The address holds no code"))
    }

    /// The code has been asked for with secrets that end with this: only another sign-in helps.
    fn not_the_answer(&self, what: &str) -> TokenError {
        let address = hints::shown(&self.sign_in.account.address);
        needs_person(
            what,
            format!(
                "Run mailferry sign-in {address} again, open the URL that it shows, and give the whole address at which the \
                 browser ends"
            ),
        )
    }
}

/// A parameter is there more than once, which RFC 6749 section 3.1 forbids.
struct Twice;

/// The value of a parameter that may be there once.
fn single(query: &str, name: &str) -> Result<Option<String>, Twice> {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|(_, value)| value.into_owned())),
        (_, Some(_)) => Err(Twice),
    }
}

/// What follows the `?` in an address, or all of it.
fn query_of(text: &str) -> &str {
    let text = text.trim().split('#').next().unwrap_or_default();
    text.split_once('?').map_or(text, |(_, query)| query)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::{Client, Grant, Proof, SecretSource};
    use crate::net::http::tests::{response, scripted};
    use crate::oauth::grant::tests::person;
    use crate::oauth::sign_in::tests::{given, sign_in_at};

    fn confidential() -> Grant {
        let secret = SecretSource::Fixed(SecretText::new("s".into()));
        let proof = Proof::Secrets(vec![secret]);
        let client = Client { tenant: None, id: "app".into(), proof, secret_expires: None };
        Grant::AuthorizationCode { client, redirect_uri: None }
    }

    fn begun() -> AuthorizationCode {
        sign_in_at("https://login.example.com/token", person())
            .authorization_code("http://localhost:8400")
            .unwrap()
    }

    fn parameters(url: &Url) -> HashMap<String, String> {
        url.query_pairs().into_owned().collect()
    }

    #[test]
    fn the_browser_is_sent_with_all_it_needs() {
        let begun = begun();
        let url = begun.url();
        assert!(url.as_str().starts_with("https://login.example.com/authorize?"), "{url}");
        let sent = parameters(url);
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", "http://localhost:8400"),
            ("scope", "mail offline_access openid"),
            ("code_challenge_method", "S256"),
            ("login_hint", "user@example.com"),
            ("prompt", "consent"),
            ("state", begun.state.expose()),
        ] {
            assert_eq!(sent[name], value, "{name}");
        }
        assert!(!url.as_str().contains(begun.verifier.expose()));
        assert!(!sent.contains_key("access_type"));
    }

    #[test]
    fn the_challenge_is_the_verifiers_hash() {
        let begun = begun();
        let hash = digest::digest(&digest::SHA256, begun.verifier.expose().as_bytes());
        assert_eq!(parameters(begun.url())["code_challenge"], URL_SAFE_NO_PAD.encode(hash));
        // RFC 7636 section 4.1.
        assert!((43..=128).contains(&begun.verifier.expose().len()));
        // RFC 7636 appendix B.
        let example = digest::digest(&digest::SHA256, b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(URL_SAFE_NO_PAD.encode(example), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn no_two_sign_ins_share_a_secret() {
        let (one, other) = (begun(), begun());
        assert!(one.state != other.state && one.verifier != other.verifier && one.state != one.verifier);
        assert!(one.state.expose().len() * 6 >= 128, "bits");
    }

    #[test]
    fn each_provider_is_told_what_it_wants_to_hear() {
        let offline = ["offline_access".to_owned()];
        assert_eq!(habits("login.microsoftonline.us", &offline), [("prompt", "select_account")]);
        assert!(habits("accounts.google.com", &[]).contains(&("access_type", "offline")));
        assert!(
            habits("accounts.google.com", &[])
                .iter()
                .any(|(_, value)| value.contains("consent"))
        );
        assert_eq!(habits("accounts.google.com.example.com", &[]), []);
        assert_eq!(habits("oauth.yandex.com", &["mail:smtp".to_owned()]), []);
    }

    #[test]
    fn only_its_own_state_answers_it() {
        let (begun, another) = (begun(), begun());
        let state = begun.state.expose();
        assert!(begun.is_answered_by(&format!("code=c&state={state}")));
        assert!(begun.is_answered_by(&format!("state={state}&error=access_denied")));
        for other in [
            "code=c".to_owned(),
            "code=c&state=".to_owned(),
            format!("code=c&state={}", &state[1..]),
            format!("code=c&state={state}x"),
            format!("code=c&state={state}&state={state}"),
            format!("code=c&state=x&state={state}"),
            format!("code=c&State={state}"),
            format!("code=c#state={state}"),
            format!("code=c&state={}", another.state.expose()),
        ] {
            assert!(!begun.is_answered_by(&other), "{other}");
        }
    }

    #[test]
    fn what_comes_back_is_read_with_care() {
        let begun = begun();
        let answer = |rest: &str| begun.code(&format!("state={}{rest}", begun.state.expose()));
        assert_eq!(answer("&code=a%2Bb&session_state=x").unwrap().expose(), "a+b");
        assert_eq!(answer("&code=c&iss=https%3A%2F%2Flogin.example.com%2Ft").unwrap().expose(), "c");
        for (bad, word) in [
            ("", "no code"),
            ("&code=", "no code"),
            ("&code=a&code=b", "twice"),
            ("&code=c&iss=https%3A%2F%2Fevil.example.com", "evil.example.com"),
            ("&code=c&iss=http%3A%2F%2Flogin.example.com", "not from the provider"),
            ("&code=c&iss=", "not from the provider"),
            ("&error=access_denied&code=c", "denies"),
            ("&error=consent_required", "consented"),
        ] {
            let error = answer(bad).unwrap_err();
            assert!(matches!(error, TokenError::NeedsPerson(_)), "{bad}");
            assert!(error.to_string().contains(word), "{bad}: {error}");
        }
        let shouted = answer("&error=server_error&error_description=%1b%5B2J%3Cscript%3E%0D%0A").unwrap_err();
        assert!(matches!(shouted, TokenError::Transient(_)));
        assert!(!shouted.to_string().chars().any(char::is_control), "{shouted}");
    }

    #[tokio::test]
    async fn a_pasted_address_is_as_good_as_a_redirect() {
        for (before, after) in [("http://localhost:8400/?", "#_=_"), (" localhost:8400?", "\r\n"), ("", "")] {
            let grant = if before.is_empty() { person() } else { confidential() };
            let (url, served) = scripted(response("HTTP/1.1 200 OK", &given(Some("r1")))).await;
            let begun = sign_in_at(url.as_str(), grant)
                .authorization_code("http://localhost:8400")
                .unwrap();
            let text = format!("{before}code=c0de&state={}{after}", begun.state.expose());
            let obtained = begun.pasted(&text).await.unwrap();
            assert_eq!((obtained.refresh_token.expose(), obtained.names.len()), ("r1", 1));
            let form = served.await.unwrap();
            assert!(form.contains("code=c0de") && form.contains(begun.verifier.expose()), "{form}");
            assert!(form.contains("redirect_uri=http%3A%2F%2Flocalhost%3A8400&") || form.ends_with("8400"), "{form}");
            assert_eq!(form.contains("client_secret=s"), !before.is_empty(), "{form}");
        }
    }

    #[tokio::test]
    async fn what_is_pasted_by_mistake_is_refused() {
        let begun = begun();
        let long = "x".repeat(MAX_PASTED + 1);
        for text in ["", "0.ARoA-just-the-code", "https://login.example.com/authorize?state=mine&code=c", &long] {
            assert!(!begun.is_answered_by_pasted(text), "{text}");
            let error = begun.pasted(text).await.unwrap_err().to_string();
            assert!(error.contains("whole address") && error.contains("mailferry sign-in user@example.com"), "{error}");
        }
        let state = begun.state.expose();
        assert!(begun.is_answered_by_pasted(&format!(" http://localhost:8400/?code=c&state={state}#_=_\n")));
    }
}
