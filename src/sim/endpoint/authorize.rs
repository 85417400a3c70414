//! The authorization endpoint and its codes (RFC 6749 section 4.1, RFC 7636): for a browser, or for a test that plays one.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::answer::Denial;
use super::client::{self, Whose};
use super::page;
use super::refresh::Consent;
use super::token::scopes_of_a_person;
use crate::sim::control::Shared;
use crate::sim::http::{CannedAnswer, Request};
use crate::sim::record::lock;
use crate::sim::token::random_text;
use crate::sim::{Personality, Protocol};

/// How long a code waits to be redeemed (RFC 6749 section 4.1.2).
const LIFETIME: Duration = Duration::from_secs(600);

/// The codes given out, and who has agreed before.
#[derive(Debug, Default)]
pub(super) struct Codes {
    given: HashMap<String, Code>,
    agreed: HashSet<String>,
    /// Who every browser is signed in as already.
    pub(super) signed_in: Option<String>,
}

#[derive(Debug)]
struct Code {
    consent: Consent,
    redirect_uri: String,
    challenge: String,
    expires: Instant,
    redeemed: Option<Redeemed>,
}

/// What a code was redeemed for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Redeemed {
    pub(super) sign_in: usize,
}

impl Codes {
    /// Every code.
    pub(super) fn issued(&self) -> impl Iterator<Item = &String> {
        self.given.keys()
    }
}

/// What an app asks a browser to bring, in order.
#[derive(Debug)]
struct Wish {
    redirect_uri: String,
    state: Option<String>,
    scopes: Vec<String>,
    challenge: String,
    /// Google's words for a refresh token, and for asking again whoever agreed before.
    access_type_offline: bool,
    prompt_consent: bool,
}

/// Why a wish is not granted.
#[derive(Debug)]
pub(super) enum Refused {
    /// The person is told, and the browser goes nowhere (RFC 6749 section 4.1.2.1).
    Here(Denial),
    /// The app is told: the browser goes there.
    There(String),
}

/// What a person does about a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    Agree(&'a str),
    Decline,
}

/// Answers a browser. Two parameters of our own make it move on: `sign_in_as` with a user, and `decline`.
pub(super) fn show(shared: &Shared, request: &Request) -> CannedAnswer {
    let personality = shared.options.personality;
    let signed_in = lock(&shared.issuer.codes).signed_in.clone();
    let answer = match (request.field("sign_in_as"), request.field("decline")) {
        (Some(user), _) => Some(Answer::Agree(user)),
        (None, Some(_)) => Some(Answer::Decline),
        (None, None) => signed_in.as_deref().map(Answer::Agree),
    };
    let outcome = match answer {
        Some(answer) => decide(shared, request, answer),
        None => match read(shared, request) {
            Ok(_) => return choice(shared, request),
            Err(refused) => Err(refused),
        },
    };
    match outcome {
        Ok(target) | Err(Refused::There(target)) => CannedAnswer::new(302).header("Location", &target),
        Err(Refused::Here(denial)) => page::note(400, "Sign-in failed", &denial.description(personality)),
    }
}

/// The page on which a person says who they are.
fn choice(shared: &Shared, request: &Request) -> CannedAnswer {
    let hint = request.field("login_hint");
    let mut users = shared.options.mailboxes.clone();
    // Whom the app expects comes first.
    users.sort_by_key(|user| hint.is_none_or(|hint| !hint.eq_ignore_ascii_case(user)));
    let target = |name: &str, value: &str| {
        let pairs = request.form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = Serializer::new(String::new())
            .extend_pairs(pairs)
            .append_pair(name, value)
            .finish();
        format!("{}?{query}", request.path)
    };
    page::page(200, "Sign in to the simulated provider", &page::choice(&users, target))
}

/// What comes of a person's answer: where the browser goes.
pub(super) fn decide(shared: &Shared, request: &Request, answer: Answer<'_>) -> Result<String, Refused> {
    let wish = read(shared, request)?;
    let Answer::Agree(user) = answer else {
        let denial = Denial::new(65004, "The user declined to consent to access the app.");
        return Err(wish.refused(&denial, shared.options.personality));
    };
    let mut codes = lock(&shared.issuer.codes);
    let agreed_before = !codes.agreed.insert(user.to_ascii_lowercase());
    let has_offline_access = wish.scopes.iter().any(|scope| scope == "offline_access");
    let offline = match shared.options.personality {
        Personality::Microsoft => has_offline_access,
        Personality::Gmail => wish.access_type_offline && (wish.prompt_consent || !agreed_before),
        Personality::Dovecot => true,
    };
    let Ok(code) = random_text(160) else { return Err(Refused::Here(Denial::transient())) };
    let target = wish.target(&[("code", &code)]);
    let Wish { redirect_uri, scopes, challenge, .. } = wish;
    let consent = Consent { user: user.into(), scopes, offline };
    let expires = Instant::now() + LIFETIME;
    codes
        .given
        .insert(code, Code { consent, redirect_uri, challenge, expires, redeemed: None });
    Ok(target)
}

/// Checks what an app asks for.
fn read(shared: &Shared, request: &Request) -> Result<Wish, Refused> {
    let personality = shared.options.personality;
    let here = |denial| Refused::Here(denial);
    super::check_tenant(shared, request).map_err(here)?;
    for (at, (name, _)) in request.form.iter().enumerate() {
        // RFC 6749 section 3.1.
        if request.form[..at].iter().any(|(other, _)| other == name) {
            return Err(here(Denial::new(90014, format!("The parameter '{name}' came more than once."))));
        }
    }
    let id = request.required("client_id").map_err(here)?;
    if id != shared.options.client_id {
        let what = format!("Application with identifier '{id}' was not found in the directory.");
        return Err(here(Denial::new(700_016, what)));
    }
    let redirect_uri = request.required("redirect_uri").map_err(here)?;
    if !lock(&shared.issuer.registration).may_redirect_to(redirect_uri, personality) {
        let what = format!("The redirect URI '{redirect_uri}' does not match those configured for the application.");
        return Err(here(Denial::new(50011, what)));
    }
    let mut wish = Wish {
        redirect_uri: redirect_uri.into(),
        state: request.field("state").map(String::from),
        scopes: Vec::new(),
        challenge: String::new(),
        access_type_offline: request.field("access_type") == Some("offline"),
        prompt_consent: request
            .field("prompt")
            .is_some_and(|prompt| prompt.split(' ').any(|word| word == "consent")),
    };
    match read_further(shared, request) {
        Ok((scopes, challenge)) => {
            wish.scopes = scopes;
            wish.challenge = challenge;
        }
        Err(denial) => return Err(wish.refused(&denial, personality)),
    }
    if wish.state.as_deref().is_none_or(str::is_empty) {
        // RFC 9700 section 4.7: nothing else ties the answer to the app's own request.
        shared.record.violation(Protocol::Http, "an authorization request has no state");
    }
    Ok(wish)
}

/// The scopes and the challenge: what is wrong with these, the app is told.
fn read_further(shared: &Shared, request: &Request) -> Result<(Vec<String>, String), Denial> {
    let invalid = |what: &str| Denial::new(90014, what);
    if request.required("response_type")? != "code" {
        return Err(invalid("The response type is not supported.").named("unsupported_response_type"));
    }
    if request.field("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("The response mode is not supported."));
    }
    let challenge = request.required("code_challenge")?;
    if request.field("code_challenge_method") != Some("S256") {
        return Err(invalid("The code challenge method has to be S256."));
    }
    if URL_SAFE_NO_PAD.decode(challenge).map(|octets| octets.len()) != Ok(digest::SHA256_OUTPUT_LEN) {
        return Err(invalid("The code challenge is not the base64url of a SHA-256."));
    }
    let scopes = scopes_of_a_person(shared, request.required("scope")?)?;
    Ok((scopes, challenge.into()))
}

impl Wish {
    /// Where the browser goes with these parameters and the state.
    fn target(&self, parameters: &[(&str, &str)]) -> String {
        let Ok(mut url) = Url::parse(&self.redirect_uri) else { return self.redirect_uri.clone() };
        let state = self.state.as_deref().map(|state| ("state", state));
        url.query_pairs_mut().extend_pairs(parameters.iter().copied().chain(state));
        url.into()
    }

    fn refused(&self, denial: &Denial, personality: Personality) -> Refused {
        let description = denial.description(personality);
        Refused::There(self.target(&[("error", denial.error(personality)), ("error_description", &description)]))
    }
}

/// The token endpoint's part (RFC 6749 section 4.1.3, RFC 7636 section 4.6). `begin` makes the sign-in of a code that is
/// good; a code that is redeemed twice ends what came of the first time.
pub(super) fn redeem(
    shared: &Shared,
    request: &Request,
    begin: impl FnOnce(&Consent) -> usize,
) -> Result<(Consent, usize), Denial> {
    client::authenticate(shared, request, Whose::Person)?;
    let text = request.required("code")?;
    let redirect_uri = request.required("redirect_uri")?;
    let verifier = request.required("code_verifier")?;
    let mut codes = lock(&shared.issuer.codes);
    let code = codes
        .given
        .get_mut(text)
        .ok_or_else(|| Denial::new(70000, "The authorization code is unknown."))?;
    if let Some(Redeemed { sign_in }) = code.redeemed {
        shared.issuer.end_sign_in(&shared.tokens, sign_in);
        return Err(Denial::new(54005, "The authorization code was already redeemed."));
    }
    if code.expires <= Instant::now() {
        return Err(Denial::new(70008, "The authorization code has expired."));
    }
    if code.redirect_uri != redirect_uri {
        let what = "The redirect URI is not the one that the authorization code was requested with.";
        return Err(Denial::new(500_112, what));
    }
    if !is_verifier(verifier)
        || URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes())) != code.challenge
    {
        return Err(Denial::new(501_481, "The code verifier does not match the code challenge."));
    }
    let sign_in = begin(&code.consent);
    code.redeemed = Some(Redeemed { sign_in });
    Ok((code.consent.clone(), sign_in))
}

/// RFC 7636 section 4.1.
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet))
}
