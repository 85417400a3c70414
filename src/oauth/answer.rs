//! Reads what a token endpoint answered, as providers really answer: expiry as text, web pages instead of JSON,
//! errors under status 200. Pure; knows no HTTP library and no OAuth library.

pub mod device;

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::credentials::TokenError;
use super::grant::Issued;
use super::hints::{self, OAuthError, is_passing_status, needs_person, shown};
use crate::net::http::HttpAnswer;
use crate::secret::{AccessToken, SecretText, redacted};

/// How long a token lives where the provider does not say, or not so that one could believe it.
const ASSUMED_LIFE: Duration = Duration::from_secs(3600);

/// The longest life that is believed. Microsoft's longest is 28 hours.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest time that is believed to be the end of a sign-in.
const LONGEST_SIGN_IN: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The longest refresh token that is kept, in octets. Microsoft's have some 2,000.
const MAX_REFRESH_TOKEN: usize = 16 * 1024;

/// The longest id token that is kept, in octets: a person in many groups has a long one.
const MAX_ID_TOKEN: usize = 64 * 1024;

/// Why an answer gave nothing. Prints as [`TokenError`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which error it was, where it was an error answer.
    which: Option<Which>,
    /// What it means. Boxed: it passes through many hands.
    pub(crate) error: Box<TokenError>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Which {
    /// OAuth's word for it.
    name: String,
    /// Microsoft's AADSTS numbers.
    codes: Vec<u64>,
}

impl Refusal {
    /// What an error answer means.
    pub(crate) fn explained(answer: OAuthError) -> Self {
        let error = Box::new(hints::explain(&answer));
        Self { which: Some(Which { name: answer.error, codes: answer.codes }), error }
    }

    /// Whether it is an error answer.
    pub(crate) const fn is_an_answer(&self) -> bool {
        self.which.is_some()
    }

    /// Whether it is the error of that name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.which.as_ref().is_some_and(|which| which.name == name)
    }

    /// Whether it bears that AADSTS number.
    pub(crate) fn has_code(&self, code: u64) -> bool {
        self.which.as_ref().is_some_and(|which| which.codes.contains(&code))
    }

    /// Whether the app's secret or signature is what is refused: another one may do.
    pub(crate) fn is_about_the_proof(&self) -> bool {
        self.is("invalid_client") || self.has_code(7_000_215) || self.has_code(7_000_222)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Refusal {}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self { which: None, error: Box::new(error) }
    }
}

impl From<Refusal> for TokenError {
    fn from(refusal: Refusal) -> Self {
        *refusal.error
    }
}

/// Which endpoint answered, for people.
struct Endpoint {
    name: &'static str,
    /// The key that says where it is.
    key: &'static str,
}

const TOKEN: Endpoint = Endpoint { name: "token endpoint", key: "token_url" };

/// RFC 6749 section 5.2, with Microsoft's additions.
#[derive(Deserialize)]
struct ErrorFields {
    error: Option<Value>,
    suberror: Option<Value>,
    error_codes: Option<Value>,
    error_description: Option<Value>,
}

/// RFC 6749 section 5.1, the fields that are looked at but two.
#[derive(Deserialize)]
struct TokenFields {
    #[serde(default, deserialize_with = "wiped")]
    access_token: Option<Zeroizing<String>>,
    token_type: Option<String>,
    refresh_token: Option<Value>,
    id_token: Option<Value>,
}

/// Those that are read by themselves: a number no float can hold fails the whole reading.
#[derive(Deserialize)]
struct Lives {
    expires_in: Option<Value>,
    /// Google's, for sign-ins that end: those of an app that is being tested do after 7 days.
    refresh_token_expires_in: Option<Value>,
}

fn wiped<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::deserialize(text)?.map(Zeroizing::new))
}

/// The token in an answer, or what the answer means instead. `now` is the wall clock, for dates in headers; `secrets` are
/// what the endpoint was told and may repeat.
///
/// # Errors
/// A [`Refusal`]; it holds neither a token nor one of the secrets, nor peer text that is not escaped and cut.
pub fn read(answer: &HttpAnswer, now: SystemTime, secrets: &[Zeroizing<String>]) -> Result<Issued, Refusal> {
    refuse_errors(answer, now, &TOKEN, secrets)?;
    let fields: TokenFields = fields(answer, &TOKEN, secrets)?;
    let Some(mut token) = fields.access_token else {
        return Err(needs_person("The token endpoint's answer holds no access_token", "Check token_url").into());
    };
    // RFC 6749 section 7.1: a token of a type one does not know must not be used.
    if !fields
        .token_type
        .as_deref()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
    {
        let kind = shown(&without(secrets, fields.token_type.as_deref().unwrap_or("none")));
        let what = format!("The token endpoint gave a token of the type {kind}, not Bearer");
        return Err(needs_person(what, "Check token_url and the app's registration").into());
    }
    let token = AccessToken::parse(std::mem::take(&mut *token)).ok_or_else(|| {
        needs_person(
            "The token endpoint gave a token that is empty, too long, or holds characters no token has",
            "Check token_url",
        )
    })?;
    let (lives, refresh_lives) = match serde_json::from_slice::<Lives>(&answer.body) {
        Ok(told) => (
            seconds(told.expires_in.as_ref(), ASSUMED_LIFE, LONGEST_LIFE),
            told.refresh_token_expires_in
                .map(|told| seconds(Some(&told), LONGEST_SIGN_IN, LONGEST_SIGN_IN)),
        ),
        Err(_) => (ASSUMED_LIFE, None),
    };
    let refresh_token = kept(fields.refresh_token, MAX_REFRESH_TOKEN);
    // Longer than anybody plans for, and what cannot be believed, is as good as not told.
    let refresh_lives = refresh_lives.filter(|lives| *lives < LONGEST_SIGN_IN);
    Ok(Issued { token, lives, refresh_token, refresh_lives, id_token: kept(fields.id_token, MAX_ID_TOKEN) })
}

/// A token that is carried on unread. One that is no text or too long is as good as none.
fn kept(value: Option<Value>, longest: usize) -> Option<SecretText> {
    match value {
        Some(Value::String(text)) => Some(SecretText::new(text)).filter(|text| {
            let octets = text.expose().as_bytes();
            (1..=longest).contains(&octets.len()) && octets.iter().all(|octet| (0x20..=0x7e).contains(octet))
        }),
        _ => None,
    }
}

/// Passes an answer that is none of the error answers.
fn refuse_errors(
    answer: &HttpAnswer,
    now: SystemTime,
    endpoint: &Endpoint,
    secrets: &[Zeroizing<String>],
) -> Result<(), Refusal> {
    let retry_after = answer.retry_after.map(|retry| retry.wait(now));
    let Ok(fields) = serde_json::from_slice::<ErrorFields>(&answer.body) else {
        return Err(not_json(answer, retry_after, endpoint, secrets).into());
    };
    if fields.error.is_none() && (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(Refusal::explained(OAuthError { status: answer.status, retry_after, ..oauth_error(fields, secrets) }))
}

fn fields<F: DeserializeOwned>(
    answer: &HttpAnswer,
    endpoint: &Endpoint,
    secrets: &[Zeroizing<String>],
) -> Result<F, TokenError> {
    serde_json::from_slice(&answer.body).map_err(|_| not_json(answer, None, endpoint, secrets))
}

/// A number of whole seconds, however it is written. What nobody can believe is `assumed`.
pub(crate) fn seconds(written: Option<&Value>, assumed: Duration, longest: Duration) -> Duration {
    let seconds = match written {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match seconds {
        Some(seconds) if seconds.is_finite() && seconds >= 1.0 => {
            Duration::try_from_secs_f64(seconds.trunc()).unwrap_or(longest).min(longest)
        }
        _ => assumed,
    }
}

fn oauth_error(fields: ErrorFields, secrets: &[Zeroizing<String>]) -> OAuthError {
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(without(secrets, &text)),
        _ => None,
    };
    // Google's other APIs, and gateways before them, put an object where OAuth has a word.
    let (error, message) = match fields.error {
        Some(Value::Object(mut object)) => (text(object.remove("status")), text(object.remove("message"))),
        // A word that is known says nothing that was not known, and must be read whole.
        Some(Value::String(word)) if hints::is_known(&word) => (Some(word), None),
        error => (text(error), None),
    };
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    OAuthError {
        error: error.unwrap_or_default(),
        suberror: text(fields.suberror),
        codes: fields
            .error_codes
            .as_ref()
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(number)
            .collect(),
        description: text(fields.error_description).or(message),
        ..OAuthError::default()
    }
}

/// The endpoint's text without the secrets it repeats. Done once its JSON is read: there a secret can be spelled in many
/// ways.
fn without(secrets: &[Zeroizing<String>], text: &str) -> String {
    String::from_utf8_lossy(&redacted(text.as_bytes(), secrets)).into_owned()
}

/// No JSON object came: a web page, an empty body, half an answer.
fn not_json(
    answer: &HttpAnswer,
    retry_after: Option<Duration>,
    endpoint: &Endpoint,
    secrets: &[Zeroizing<String>],
) -> TokenError {
    let status = answer.status;
    let Endpoint { name, key } = endpoint;
    let kind = match shown(&without(secrets, &answer.content_type)) {
        kind if kind.is_empty() => "nothing readable".to_owned(),
        kind => kind,
    };
    match status {
        300..=399 => needs_person(
            format!("The {name} answers with a redirect ({status}), and redirects are not followed"),
            format!("Set {key} to the address it has moved to"),
        ),
        _ if is_passing_status(status) => hints::explain(&OAuthError { status, retry_after, ..OAuthError::default() }),
        // A portal or filter that answers for the provider is gone when the network is right again.
        200..=299 => hints::transient(format!(
            "The {name} answers with {kind} instead of what was asked for; something may stand between, or {key} is wrong"
        )),
        _ => needs_person(
            format!("The {name} answers with status {status} and {kind}"),
            format!("Check {key}, and whether a proxy or filter stands between"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::http::RetryAfter;

    fn answer(status: u16, content_type: &str, body: &str) -> HttpAnswer {
        let body = body.as_bytes().to_vec().into();
        HttpAnswer { status, retry_after: None, content_type: content_type.into(), body }
    }

    fn read_json(status: u16, body: &str) -> Result<Issued, TokenError> {
        Ok(read(&answer(status, "application/json", body), SystemTime::UNIX_EPOCH, &[])?)
    }

    fn lives(expires_in: &str) -> u64 {
        let body = format!(r#"{{"access_token":"t0ken","token_type":"Bearer","expires_in":{expires_in}}}"#);
        let issued = read_json(200, &body).unwrap_or_else(|error| panic!("{expires_in}: {error}"));
        assert_eq!(issued.token.expose(), "t0ken");
        issued.lives.as_secs()
    }

    #[test]
    fn a_life_is_read_however_it_is_written() {
        for (written, seconds) in
            [("4499", 4499), ("\"3599\"", 3599), ("3599.9", 3599), ("\" 60 \"", 60), ("1e3", 1000)]
        {
            assert_eq!(lives(written), seconds, "{written}");
        }
    }

    #[test]
    fn a_life_nobody_can_believe_is_an_hour() {
        for written in
            ["-1", "0", "null", "\"soon\"", "1e309", "-1e309", "\"1e999\"", "\"NaN\"", "[]", "{}", "true", "0.5"]
        {
            assert_eq!(lives(written), 3600, "{written}");
        }
        let missing = read_json(200, r#"{"access_token":"t","token_type":"bearer"}"#).unwrap();
        assert_eq!(missing.lives, ASSUMED_LIFE);
    }

    #[test]
    fn a_life_longer_than_any_is_cut() {
        for written in ["1e300", "18446744073709551615", "99999999999999999999999", "\"1e18\""] {
            assert_eq!(lives(written), LONGEST_LIFE.as_secs(), "{written}");
        }
    }

    #[test]
    fn only_bearer_tokens_of_clean_characters_are_taken() {
        for body in [
            r#"{"access_token":"t","token_type":"mac"}"#,
            r#"{"access_token":"t"}"#,
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"a b","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nb","token_type":"Bearer"}"#,
            r#"{"access_token":"a\u0001b","token_type":"Bearer"}"#,
            &format!(r#"{{"access_token":"{}","token_type":"Bearer"}}"#, "x".repeat(16 * 1024 + 1)),
        ] {
            assert!(matches!(read_json(200, body), Err(TokenError::NeedsPerson(_))), "{body}");
        }
        assert!(read_json(200, r#"{"access_token":"t","token_type":"BEARER","scope":"x","new":[1]}"#).is_ok());
    }

    #[test]
    fn no_fault_shows_the_token() {
        let error = read_json(200, r#"{"access_token":"hun ter2","token_type":"mac"}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("ter2"));
    }

    #[test]
    fn a_web_page_is_no_token_and_passes() {
        let page = answer(200, "text/html; charset=utf-8", "<html>Please log in to the hotel</html>");
        let read = read(&page, SystemTime::UNIX_EPOCH, &[]).map_err(TokenError::from);
        let Err(TokenError::Transient(fault)) = read else { panic!("a page passes") };
        assert!(fault.what.contains("text/html"), "{fault}");
        assert!(matches!(read_json(200, "{\"access_token\":\"t"), Err(TokenError::Transient(_))));
        assert!(matches!(read_json(200, "[]"), Err(TokenError::Transient(_))));
    }

    #[test]
    fn a_redirect_and_a_wrong_path_need_a_person() {
        for status in [301, 302, 307, 308, 400, 403, 404, 405] {
            let error = read(&answer(status, "text/html", "<html>"), SystemTime::UNIX_EPOCH, &[]).unwrap_err();
            assert!(matches!(*error.error, TokenError::NeedsPerson(_)), "{status}");
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
    }

    #[test]
    fn an_error_is_an_error_under_any_status() {
        for status in [200, 400, 401] {
            let body = r#"{"error":"invalid_client","error_codes":[7000222],"access_token":"t","token_type":"Bearer"}"#;
            let Err(TokenError::NeedsPerson(fault)) = read_json(status, body) else { panic!("{status}") };
            assert_eq!(fault.code.as_deref(), Some("AADSTS7000222"));
        }
        assert!(read_json(400, r#"{"access_token":"t","token_type":"Bearer"}"#).is_err(), "a token under 400");
    }

    #[test]
    fn a_refusal_keeps_the_word_and_the_numbers() {
        let refusal =
            |body: &str| read(&answer(400, "application/json", body), SystemTime::UNIX_EPOCH, &[]).unwrap_err();
        let pending = refusal(r#"{"error":"authorization_pending","error_codes":[70016]}"#);
        assert!(pending.is("authorization_pending") && !pending.is_about_the_proof());
        assert!(pending.has_code(70_016) && !pending.has_code(70_018));
        for wrong_secret in [
            r#"{"error":"invalid_client"}"#,
            r#"{"error":"invalid_client","error_codes":[700027]}"#,
            r#"{"error":"unauthorized_client","error_codes":[7000222]}"#,
            r#"{"error":"invalid_request","error_codes":["7000215"]}"#,
        ] {
            assert!(refusal(wrong_secret).is_about_the_proof(), "{wrong_secret}");
        }
        for other in [r#"{"error":"invalid_grant"}"#, "<html>", "{}"] {
            assert!(!refusal(other).is_about_the_proof(), "{other}");
        }
    }

    #[test]
    fn a_refresh_token_and_an_id_token_are_kept_unread() {
        let both = r#"{"access_token":"t","token_type":"Bearer","refresh_token":"r 1","id_token":"a.b.c"}"#;
        let issued = read_json(200, both).unwrap();
        assert_eq!(issued.refresh_token, Some(SecretText::new("r 1".into())));
        assert_eq!(issued.id_token, Some(SecretText::new("a.b.c".into())));
        let huge = format!("\"{}\"", "x".repeat(MAX_ID_TOKEN + 1));
        for odd in ["null", "\"\"", "5", "[\"r\"]", "\"a\\nb\"", &huge] {
            let body =
                format!(r#"{{"access_token":"t","token_type":"Bearer","refresh_token":{odd},"id_token":{odd}}}"#);
            let issued = read_json(200, &body).unwrap();
            assert_eq!((issued.refresh_token, issued.id_token), (None, None), "{odd}");
        }
    }

    #[test]
    fn an_object_where_a_word_should_be_is_read() {
        let body = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Not enabled"}}"#;
        let error = read_json(403, body).unwrap_err();
        assert_eq!(error.fault().code.as_deref(), Some("PERMISSION_DENIED"));
        assert!(error.to_string().contains("Not enabled"), "{error}");
    }

    #[test]
    fn retry_after_comes_along() {
        for (status, body) in [(429, ""), (503, "<html>"), (429, r#"{"error":"temporarily_unavailable"}"#)] {
            let retry_after = Some(RetryAfter::At(SystemTime::UNIX_EPOCH + Duration::from_secs(40)));
            let answer = HttpAnswer { retry_after, ..answer(status, "text/html", body) };
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
            let Err(TokenError::Transient(fault)) = read(&answer, now, &[]).map_err(TokenError::from) else {
                panic!("{status} passes")
            };
            assert_eq!(fault.retry_after, Some(Duration::from_secs(30)));
        }
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(status in 100_u16..600, content_type in ".*", body in ".*|\\{\"(error|expires_in)\":.*\\}") {
            if let Err(error) = read(&answer(status, &content_type, &body), SystemTime::now(), &[]) {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
        }
    }
}
