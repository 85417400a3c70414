//! The device authorization grant (RFC 8628): a code is shown here and typed elsewhere, and the token endpoint is polled
//! until that has happened.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Obtained, SignIn};
use crate::oauth::answer::Refusal;
use crate::oauth::answer::device::DeviceAuthorization;
use crate::oauth::credentials::TokenError;
use crate::oauth::endpoint::{Asked, Caller, ClientProof};
use crate::oauth::grant::Issued;
use crate::oauth::hints::needs_person;
use crate::oauth::proof;

/// What a poll is slowed down by, each time it is told to (RFC 8628 section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The longest pause after a poll without an answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A code that waits to be typed.
pub struct DeviceSignIn {
    sign_in: SignIn,
    authorization: DeviceAuthorization,
    begun: Instant,
}

impl SignIn {
    /// Asks for a code.
    ///
    /// # Errors
    /// When the provider has no such endpoint, or gives no code.
    pub async fn device(self) -> Result<DeviceSignIn, TokenError> {
        let provider = &self.account.app.provider;
        let endpoint = &self.endpoint_at(provider.device_authorization_url.as_ref(), "device_authorization_url")?;
        let scopes = self.scopes.as_slice();
        let ask =
            |id, proof: ClientProof| async move { endpoint.device_code(Caller { id, proof: &proof }, scopes).await };
        let authorization = proof::ask(endpoint, self.client()?, ask).await?;
        Ok(DeviceSignIn { authorization, begun: Instant::now(), sign_in: self })
    }
}

impl DeviceSignIn {
    /// What the person is to be shown.
    #[must_use]
    pub const fn shown(&self) -> &DeviceAuthorization {
        &self.authorization
    }

    /// Waits until somebody has signed in with the code.
    ///
    /// # Errors
    /// When somebody declined, or nobody came in time.
    pub async fn wait(self) -> Result<Obtained, TokenError> {
        let (sign_in, code) = (&self.sign_in, &self.authorization.device_code);
        let issued = poll(&self.authorization, self.begun, || async move {
            sign_in.ask(&sign_in.endpoint, Asked::DeviceCode(code)).await
        });
        sign_in.obtained(issued.await?)
    }
}

/// Polls until the code is of no use any more.
async fn poll<F>(authorization: &DeviceAuthorization, begun: Instant, ask: impl Fn() -> F) -> Result<Issued, TokenError>
where
    F: Future<Output = Result<Issued, Refusal>>,
{
    let ends = begun + authorization.expires_in;
    let mut interval = authorization.interval;
    let mut pause = interval;
    loop {
        if Instant::now() + pause >= ends {
            return Err(nobody_came());
        }
        sleep(pause).await;
        let refusal = match ask().await {
            Ok(issued) => return Ok(issued),
            Err(refusal) => refusal,
        };
        pause = match verdict(&refusal) {
            Verdict::Wait => interval,
            Verdict::Slower => {
                interval += SLOWER;
                interval
            }
            // RFC 8628 section 3.5: who gets no answer asks ever less often.
            Verdict::NoAnswer => {
                let asked = refusal.error.fault().retry_after.unwrap_or_default();
                (pause * 2).min(LONGEST_PAUSE).max(asked)
            }
            Verdict::End => return Err(refusal.into()),
        };
    }
}

/// What an answer means for the next poll.
enum Verdict {
    Wait,
    Slower,
    NoAnswer,
    End,
}

/// RFC 8628 section 3.5. Microsoft has words and numbers of its own for the same; where the end is told, `hints` knows
/// both.
fn verdict(refusal: &Refusal) -> Verdict {
    if refusal.is("slow_down") {
        Verdict::Slower
    } else if refusal.is("authorization_pending") || refusal.has_code(70_016) {
        Verdict::Wait
    } else if matches!(*refusal.error, TokenError::Transient(_)) {
        Verdict::NoAnswer
    } else {
        Verdict::End
    }
}

fn nobody_came() -> TokenError {
    needs_person("Nobody signed in with the code in time", "Run the command again for a new code")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;
    use crate::net::http::tests::{response, scripted_each};
    use crate::oauth::answer;
    use crate::oauth::grant::tests::person;
    use crate::oauth::hints::{OAuthError, transient};
    use crate::oauth::sign_in::tests::{given, sign_in_at};
    use crate::secret::{AccessToken, SecretText};

    fn refusal(body: &str) -> Result<Issued, Refusal> {
        let answer = crate::net::http::HttpAnswer {
            status: 400,
            retry_after: None,
            content_type: "application/json".into(),
            body: body.as_bytes().to_vec().into(),
        };
        answer::read(&answer, std::time::SystemTime::UNIX_EPOCH, &[])
    }

    fn pending() -> Result<Issued, Refusal> {
        refusal(r#"{"error":"authorization_pending"}"#)
    }

    fn issued() -> Result<Issued, Refusal> {
        let token = AccessToken::parse("t".into()).unwrap();
        Ok(Issued { token, lives: Duration::from_secs(60), refresh_token: None, refresh_lives: None, id_token: None })
    }

    /// Polls an endpoint that answers so, and for ever as last. The seconds at which it was asked, and the outcome.
    async fn polled(script: Vec<Result<Issued, Refusal>>) -> (Vec<u64>, Result<Issued, TokenError>) {
        let authorization = DeviceAuthorization {
            device_code: SecretText::new("d".into()),
            user_code: "AB".into(),
            verification_uri: "https://example.com/device".parse().unwrap(),
            verification_uri_complete: None,
            expires_in: Duration::from_secs(900),
            interval: Duration::from_secs(5),
        };
        let begun = Instant::now();
        let (script, asked) = (Mutex::new(VecDeque::from(script)), Mutex::new(Vec::new()));
        let outcome = poll(&authorization, begun, || {
            asked.lock().unwrap().push(begun.elapsed().as_secs());
            let mut script = script.lock().unwrap();
            let answer = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
            std::future::ready(answer.unwrap())
        })
        .await;
        (asked.into_inner().unwrap(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_at_the_interval_until_somebody_has_signed_in() {
        let microsoft = || refusal(r#"{"error":"authorization_pending","error_codes":[70016]}"#);
        let (asked, outcome) = polled(vec![pending(), microsoft(), issued()]).await;
        assert_eq!(asked, [5, 10, 15]);
        assert!(outcome.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_down_adds_five_seconds_for_good() {
        let slow = || refusal(r#"{"error":"slow_down"}"#);
        let (asked, _) = polled(vec![slow(), pending(), slow(), pending(), issued()]).await;
        assert_eq!(asked, [5, 15, 25, 40, 55]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_network_does_not_end_it() {
        let dead = || Err(transient("no answer").into());
        let retry_after = Some(Duration::from_secs(100));
        let busy = Err(Refusal::explained(OAuthError { status: 429, retry_after, ..OAuthError::default() }));
        let (asked, outcome) = polled(vec![dead(), dead(), pending(), busy, issued()]).await;
        assert_eq!(asked, [5, 15, 35, 40, 140]);
        assert!(outcome.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn both_families_of_errors_end_it_at_once() {
        for (body, word) in [
            (r#"{"error":"access_denied"}"#, "denies"),
            (r#"{"error":"authorization_declined","error_codes":[70017]}"#, "declined"),
            (r#"{"error":"expired_token"}"#, "in time"),
            (r#"{"error":"expired_token","error_codes":[70019]}"#, "in time"),
            (r#"{"error":"bad_verification_code","error_codes":[70018]}"#, "code"),
            (r#"{"error":"invalid_grant"}"#, "no longer accepts"),
            (r#"{"error":"invalid_client"}"#, "id or secret"),
        ] {
            let (asked, outcome) = polled(vec![refusal(body)]).await;
            let Err(error @ TokenError::NeedsPerson(_)) = outcome else { panic!("{body}") };
            assert_eq!(asked, [5], "{body}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_comes_for_ever() {
        for always in [pending(), Err(transient("no answer").into()), refusal(r#"{"error":"slow_down"}"#)] {
            let (asked, outcome) = polled(vec![always]).await;
            let Err(TokenError::NeedsPerson(fault)) = outcome else { panic!("a new code is needed") };
            assert!(fault.what.contains("in time"), "{fault}");
            assert!(asked.last().is_some_and(|last| *last < 900), "{asked:?}");
        }
    }

    #[tokio::test]
    async fn the_whole_dialogue() {
        let code = r#"{"device_code":"d","user_code":"AB","verification_uri":"https://example.com/device"}"#;
        let pending = r#"{"error":"authorization_pending"}"#;
        let (url, served) = scripted_each(vec![
            response("HTTP/1.1 200 OK", code),
            response("HTTP/1.1 400 Bad Request", pending),
            response("HTTP/1.1 200 OK", &given(Some("r1"))),
        ])
        .await;
        let mut waiting = sign_in_at(url.as_str(), person()).device().await.unwrap();
        assert_eq!(waiting.shown().user_code, "AB");
        waiting.authorization.interval = Duration::ZERO;
        let obtained = waiting.wait().await.unwrap();
        assert_eq!((obtained.refresh_token.expose(), obtained.token.expose()), ("r1", "t0ken"));
        assert_eq!(obtained.names, ["user@example.com"]);
        let requests = served.await.unwrap();
        assert!(requests[0].starts_with("POST /device ") && requests[0].contains("scope=mail+offline_access"));
        assert!(requests[2].starts_with("POST /token ") && requests[2].contains("device_code=d"), "{requests:?}");
    }

    #[tokio::test]
    async fn a_provider_without_the_endpoint_is_named() {
        let mut sign_in = sign_in_at("https://example.com/token", person());
        let account = std::sync::Arc::get_mut(&mut sign_in.account).unwrap();
        let app = std::sync::Arc::get_mut(&mut account.app).unwrap();
        std::sync::Arc::get_mut(&mut app.provider).unwrap().device_authorization_url = None;
        let error = sign_in.device().await.err().unwrap();
        assert!(error.to_string().contains("has no device_authorization_url"), "{error}");
    }
}
