//! Reads what a device authorization endpoint answered (RFC 8628 section 3.2). Pure.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::{Endpoint, Refusal, fields, refuse_errors, seconds};
use crate::net::http::{HttpAnswer, is_loopback};
use crate::oauth::hints::{needs_person, shown};
use crate::secret::SecretText;

/// How long a code is good where the endpoint does not say so that one could believe it.
const ASSUMED_LIFE: Duration = Duration::from_secs(15 * 60);

/// The longest a code is waited for.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// The pause between two polls where the endpoint names none (RFC 8628 section 3.2).
const INTERVAL: Duration = Duration::from_secs(5);

/// The longest pause that is obeyed.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// The longest device code, in octets.
const MAX_DEVICE_CODE: usize = 8 * 1024;

/// The longest code a person is asked to type, in characters.
const MAX_USER_CODE: usize = 64;

/// The longest address a person is sent to, in octets.
const MAX_URL: usize = 2048;

const DEVICE: Endpoint = Endpoint { name: "device authorization endpoint", key: "device_authorization_url" };

/// A sign-in that waits for a person on another device.
#[derive(Debug, Clone)]
pub struct DeviceAuthorization {
    /// What it is asked after with.
    pub(crate) device_code: SecretText,
    /// What the person types. Printable.
    pub user_code: String,
    /// Where the person types it.
    pub verification_uri: Url,
    /// The same with the code in it, where the provider has that.
    pub verification_uri_complete: Option<Url>,
    /// How long the code is good.
    pub expires_in: Duration,
    /// The pause between two polls.
    pub(crate) interval: Duration,
}

#[derive(Deserialize)]
struct Fields {
    device_code: Option<String>,
    user_code: Option<String>,
    verification_uri: Option<String>,
    /// Google's name for it, from before the RFC.
    verification_url: Option<String>,
    verification_uri_complete: Option<String>,
}

/// Read apart: a number no float can hold fails the whole reading.
#[derive(Deserialize)]
struct Times {
    expires_in: Option<Value>,
    interval: Option<Value>,
}

/// The codes in an answer, or what the answer means instead. `now` is the wall clock, for dates in headers; `secrets` are
/// what the endpoint was told and may repeat.
///
/// # Errors
/// A [`Refusal`], without any code and without peer text that is not escaped and cut.
pub fn read(
    answer: &HttpAnswer,
    now: SystemTime,
    secrets: &[Zeroizing<String>],
) -> Result<DeviceAuthorization, Refusal> {
    refuse_errors(answer, now, &DEVICE, secrets)?;
    let fields: Fields = fields(answer, &DEVICE, secrets)?;
    let missing = |name: &str| {
        let what = format!("The device authorization endpoint's answer holds no usable {name}");
        Refusal::from(needs_person(what, "Check device_authorization_url"))
    };
    let device_code = fields
        .device_code
        .filter(|code| (1..=MAX_DEVICE_CODE).contains(&code.len()))
        .map(SecretText::new)
        .ok_or_else(|| missing("device_code"))?;
    let user_code = fields
        .user_code
        .map(|code| shown(&code))
        .filter(|code| (1..=MAX_USER_CODE).contains(&code.chars().count()))
        .ok_or_else(|| missing("user_code"))?;
    let verification_uri = fields
        .verification_uri
        .or(fields.verification_url)
        .and_then(|url| address(&url))
        .ok_or_else(|| missing("verification_uri"))?;
    let times = serde_json::from_slice(&answer.body).unwrap_or(Times { expires_in: None, interval: None });
    Ok(DeviceAuthorization {
        device_code,
        user_code,
        verification_uri,
        verification_uri_complete: fields.verification_uri_complete.and_then(|url| address(&url)),
        expires_in: seconds(times.expires_in.as_ref(), ASSUMED_LIFE, LONGEST_LIFE),
        interval: seconds(times.interval.as_ref(), INTERVAL, LONGEST_INTERVAL),
    })
}

/// A web address a person may be sent to with a code. Written out again it is plain ASCII.
fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| url.as_str().len() <= MAX_URL)?;
    (url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)).then_some(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oauth::credentials::TokenError;

    fn answer(status: u16, body: &str) -> HttpAnswer {
        HttpAnswer {
            status,
            retry_after: None,
            content_type: "application/json".into(),
            body: body.as_bytes().to_vec().into(),
        }
    }

    fn read_json(body: &str) -> Result<DeviceAuthorization, Refusal> {
        read(&answer(200, body), SystemTime::UNIX_EPOCH, &[])
    }

    fn with(more: &str) -> Result<DeviceAuthorization, Refusal> {
        read_json(&format!(
            r#"{{"device_code":"d","user_code":"AB-12","verification_uri":"https://example.com/device"{more}}}"#
        ))
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let read = with(
            r#","verification_uri_complete":"https://example.com/device?user_code=AB-12","expires_in":1800,"interval":7"#,
        )
        .unwrap();
        assert_eq!((read.device_code.expose(), read.user_code.as_str()), ("d", "AB-12"));
        assert_eq!(read.verification_uri.as_str(), "https://example.com/device");
        assert_eq!(read.verification_uri_complete.unwrap().query(), Some("user_code=AB-12"));
        assert_eq!((read.expires_in.as_secs(), read.interval.as_secs()), (1800, 7));
    }

    #[test]
    fn times_that_are_missing_or_mad_are_assumed() {
        for (more, expires_in, interval) in [
            ("", 900, 5),
            (r#","expires_in":"600","interval":"2""#, 600, 2),
            (r#","expires_in":-1,"interval":0"#, 900, 5),
            (r#","expires_in":1e309,"interval":3"#, 900, 5),
            (r#","expires_in":1e12,"interval":1e12"#, 3600, 60),
        ] {
            let read = with(more).unwrap();
            assert_eq!((read.expires_in.as_secs(), read.interval.as_secs()), (expires_in, interval), "{more}");
        }
    }

    #[test]
    fn the_older_name_of_the_address_is_known() {
        let read =
            read_json(r#"{"device_code":"d","user_code":"c","verification_url":"https://www.google.com/device"}"#);
        assert_eq!(read.unwrap().verification_uri.host_str(), Some("www.google.com"));
    }

    #[test]
    fn what_a_person_could_not_use_is_refused() {
        let (long, url) = ("x".repeat(300), "https://example.com/");
        for (device_code, user_code, url) in [
            ("", "c", url),
            ("d", "", url),
            ("d", long.as_str(), url),
            ("d", "c", ""),
            ("d", "c", "javascript:alert(1)"),
            ("d", "c", "http://example.com/device"),
            ("d", "c", "file:///etc/passwd"),
        ] {
            let body =
                format!(r#"{{"device_code":"{device_code}","user_code":"{user_code}","verification_uri":"{url}"}}"#);
            let refusal = read_json(&body).unwrap_err();
            assert!(matches!(*refusal.error, TokenError::NeedsPerson(_)), "{body}");
        }
        let odd = with(r#","verification_uri_complete":"javascript:alert(1)""#).unwrap();
        assert!(odd.verification_uri_complete.is_none());
    }

    #[test]
    fn a_code_that_moves_the_cursor_is_escaped() {
        let body = r#"{"device_code":"d","user_code":"A\u001b[2J\u202e","verification_uri":"https://example.com/"}"#;
        assert_eq!(read_json(body).unwrap().user_code, "A\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn errors_and_pages_come_through() {
        let refusal =
            read(&answer(400, r#"{"error":"unauthorized_client","error_codes":[700016]}"#), SystemTime::now(), &[]);
        assert_eq!(refusal.unwrap_err().error.fault().code.as_deref(), Some("AADSTS700016"));
        assert!(matches!(*read_json("<html>").unwrap_err().error, TokenError::Transient(_)));
    }

    #[test]
    fn no_code_is_printed() {
        let read = read_json(r#"{"device_code":"hunter2","user_code":"c","verification_uri":"https://example.com/"}"#);
        assert!(!format!("{read:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(status in 100_u16..600, body in ".*|\\{\"(user_code|interval)\":.*\\}") {
            if let Err(refusal) = read(&answer(status, &body), SystemTime::UNIX_EPOCH, &[]) {
                prop_assert!(!refusal.to_string().chars().any(char::is_control));
            }
        }
    }
}
