//! Reads what a token endpoint answered, as providers really answer: expiry as text, web pages instead of JSON,
//! errors under status 200. Pure; knows no HTTP library and no OAuth library.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::credentials::TokenError;
use super::grant::Issued;
use super::hints::{self, OAuthError, is_passing_status, needs_person, shown};
use crate::net::http::HttpAnswer;
use crate::secret::{AccessToken, redacted};

/// How long a token lives where the provider does not say, or not so that one could believe it.
const ASSUMED_LIFE: Duration = Duration::from_secs(3600);

/// The longest life that is believed. Microsoft's longest is 28 hours.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// RFC 6749 sections 5.1 and 5.2, the fields that are looked at but one.
#[derive(Deserialize)]
struct Fields {
    #[serde(default, deserialize_with = "wiped")]
    access_token: Option<Zeroizing<String>>,
    token_type: Option<String>,
    error: Option<Value>,
    suberror: Option<Value>,
    error_codes: Option<Value>,
    error_description: Option<Value>,
}

/// The one that is read by itself.
#[derive(Deserialize)]
struct Life {
    expires_in: Option<Value>,
}

fn wiped<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::deserialize(text)?.map(Zeroizing::new))
}

/// The token in an answer, or what the answer means instead. `now` is the wall clock, for dates in headers; `secrets` are
/// what the endpoint was told and may repeat.
///
/// # Errors
/// [`TokenError::Transient`] where asking again may help, [`TokenError::NeedsPerson`] where it will not. Neither holds
/// the token or one of the secrets, nor peer text that is not escaped and cut.
pub fn read(answer: &HttpAnswer, now: SystemTime, secrets: &[Zeroizing<String>]) -> Result<Issued, TokenError> {
    let retry_after = answer.retry_after.map(|retry| retry.wait(now));
    let Some((fields, life)) = fields(&answer.body) else {
        return Err(not_json(answer, retry_after, secrets));
    };
    if fields.error.is_some() || !(200..300).contains(&answer.status) {
        return Err(hints::explain(&OAuthError { status: answer.status, retry_after, ..oauth_error(fields, secrets) }));
    }
    let Some(mut token) = fields.access_token else {
        return Err(needs_person("The token endpoint's answer holds no access_token", "Check token_url"));
    };
    // RFC 6749 section 7.1: a token of a type one does not know must not be used.
    if !fields
        .token_type
        .as_deref()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
    {
        let kind = shown(&without(secrets, fields.token_type.as_deref().unwrap_or("none")));
        return Err(needs_person(
            format!("The token endpoint gave a token of the type {kind}, not Bearer"),
            "Check token_url and the app's registration",
        ));
    }
    let token = AccessToken::parse(std::mem::take(&mut *token)).ok_or_else(|| {
        needs_person(
            "The token endpoint gave a token that is empty, too long, or holds characters no token has",
            "Check token_url",
        )
    })?;
    Ok(Issued { token, lives: life, refresh_token: None, refresh_lives: None, id_token: None })
}

/// The fields with the life they tell. A number no float can hold fails the whole reading; then it is left out.
fn fields(body: &[u8]) -> Option<(Fields, Duration)> {
    let life = match serde_json::from_slice::<Life>(body) {
        Ok(told) => life(told.expires_in.as_ref()),
        Err(_) => ASSUMED_LIFE,
    };
    serde_json::from_slice(body).ok().map(|fields| (fields, life))
}

fn life(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match seconds {
        Some(seconds) if seconds.is_finite() && seconds >= 1.0 => Duration::try_from_secs_f64(seconds.trunc())
            .unwrap_or(LONGEST_LIFE)
            .min(LONGEST_LIFE),
        _ => ASSUMED_LIFE,
    }
}

fn oauth_error(fields: Fields, secrets: &[Zeroizing<String>]) -> OAuthError {
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(without(secrets, &text)),
        _ => None,
    };
    // Google's other APIs, and gateways before them, put an object where OAuth has a word.
    let (error, message) = match fields.error {
        Some(Value::Object(mut object)) => (text(object.remove("status")), text(object.remove("message"))),
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
fn not_json(answer: &HttpAnswer, retry_after: Option<Duration>, secrets: &[Zeroizing<String>]) -> TokenError {
    let status = answer.status;
    let kind = match shown(&without(secrets, &answer.content_type)) {
        kind if kind.is_empty() => "nothing readable".to_owned(),
        kind => kind,
    };
    match status {
        300..=399 => needs_person(
            format!("The token endpoint answers with a redirect ({status}), and redirects are not followed"),
            "Set token_url to the address it has moved to",
        ),
        _ if is_passing_status(status) => hints::explain(&OAuthError { status, retry_after, ..OAuthError::default() }),
        // A portal or filter that answers for the provider is gone when the network is right again.
        200..=299 => hints::transient(format!(
            "The token endpoint answers with {kind} instead of a token; something may stand between, or token_url is wrong"
        )),
        _ => needs_person(
            format!("The token endpoint answers with status {status} and {kind}"),
            "Check token_url, and whether a proxy or filter stands between",
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::http::RetryAfter;

    fn answer(status: u16, content_type: &str, body: &str) -> HttpAnswer {
        HttpAnswer {
            status,
            retry_after: None,
            content_type: content_type.into(),
            body: body.as_bytes().to_vec().into(),
        }
    }

    fn read_json(status: u16, body: &str) -> Result<Issued, TokenError> {
        read(&answer(status, "application/json", body), SystemTime::UNIX_EPOCH, &[])
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
    fn a_token_is_wiped_even_where_it_is_not_taken() {
        fn is_wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        let (fields, _) = fields(br#"{"access_token":"t0ken","token_type":"mac"}"#).unwrap();
        is_wiped(fields.access_token.as_ref().unwrap());
        for none in [r#"{"token_type":"Bearer"}"#, r#"{"access_token":null,"token_type":"Bearer"}"#] {
            let error = read_json(200, none).unwrap_err();
            assert!(error.to_string().contains("holds no access_token"), "{error}");
        }
    }

    #[test]
    fn no_fault_shows_the_token() {
        let error = read_json(200, r#"{"access_token":"hun ter2","token_type":"mac"}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("ter2"));
    }

    #[test]
    fn no_fault_shows_a_secret_that_the_endpoint_repeats() {
        let secrets = ["s3cr&t".to_owned(), "s3cr%26t".to_owned()].map(Zeroizing::new);
        for (status, kind, body) in [
            (401, "application/json", r#"{"error":"invalid_client","error_description":"bad client_secret s3cr&t"}"#),
            (401, "application/json", r#"{"error":"invalid_client","error_description":"not \u0073\u0033cr\u0026t"}"#),
            (401, "application/json", r#"{"error":"s3cr&t","error_description":"s3cr%26t"}"#),
            (403, "application/json", r#"{"error":{"status":"s3cr&t","message":"no s3cr&t here"}}"#),
            (200, "application/json", r#"{"access_token":"t","token_type":"s3cr&t"}"#),
            (200, "text/html; for=s3cr%26t", "<html>"),
            (404, "text/s3cr&t", "<html>"),
        ] {
            let error = read(&answer(status, kind, body), SystemTime::UNIX_EPOCH, &secrets).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("s3cr") && said.contains("[redacted]"), "{said}");
        }
    }

    #[test]
    fn a_web_page_is_no_token_and_passes() {
        let page = answer(200, "text/html; charset=utf-8", "<html>Please log in to the hotel</html>");
        let Err(TokenError::Transient(fault)) = read(&page, SystemTime::UNIX_EPOCH, &[]) else {
            panic!("a page passes")
        };
        assert!(fault.what.contains("text/html"), "{fault}");
        assert!(matches!(read_json(200, "{\"access_token\":\"t"), Err(TokenError::Transient(_))));
        assert!(matches!(read_json(200, "[]"), Err(TokenError::Transient(_))));
    }

    #[test]
    fn a_redirect_and_a_wrong_path_need_a_person() {
        for status in [301, 302, 307, 308, 400, 403, 404, 405] {
            let error = read(&answer(status, "text/html", "<html>"), SystemTime::UNIX_EPOCH, &[]).unwrap_err();
            assert!(matches!(error, TokenError::NeedsPerson(_)), "{status}");
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
            let Err(TokenError::Transient(fault)) = read(&answer, now, &[]) else { panic!("{status} passes") };
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
