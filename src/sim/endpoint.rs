//! The token endpoint: client credentials in, a token or an error in the provider's own form out.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Personality;
use super::clock::Date;
use super::control::Shared;
use super::http::{CannedAnswer, Request, percent_decoded};

/// Answers a token request (RFC 6749 section 4.4).
pub(super) fn token(shared: &Shared, request: &Request) -> CannedAnswer {
    match grant(shared, request) {
        Ok(answer) => answer,
        Err((number, what)) => refusal(shared, number, &what),
    }
}

/// Checks a request in the order in which Microsoft does; the error is a number and a sentence.
fn grant(shared: &Shared, request: &Request) -> Result<CannedAnswer, (u32, String)> {
    let options = &shared.options;
    let tenant = request
        .path
        .strip_prefix('/')
        .and_then(|path| path.strip_suffix("/oauth2/v2.0/token"));
    if tenant != Some(&options.tenant) {
        return Err((90002, format!("Tenant '{}' not found.", tenant.unwrap_or_default())));
    }
    let required = |name: &str| {
        let missing = || (900_144, format!("The request body must contain the following parameter: '{name}'."));
        request.field(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    if required("grant_type")? != "client_credentials" {
        return Err((70003, "The app requested an unsupported grant type.".into()));
    }
    let (client_id, client_secret) = match &request.basic {
        Some(basic) => read_basic(basic).ok_or_else(|| (7_000_215, "The Authorization header is not valid.".into()))?,
        None => {
            let id = required("client_id")?.to_owned();
            let missing =
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            (
                id,
                request
                    .field("client_secret")
                    .ok_or_else(|| (7_000_218, missing.into()))?
                    .to_owned(),
            )
        }
    };
    if client_id != options.client_id {
        return Err((700_016, format!("Application with identifier '{client_id}' was not found in the directory.")));
    }
    if client_secret != options.client_secret {
        return Err((7_000_215, "Invalid client secret provided.".into()));
    }
    let scope = required("scope")?;
    // Microsoft gives an application everything it was granted at one resource, and wants exactly that asked for.
    if options.personality == Personality::Microsoft && (scope.contains(' ') || !scope.ends_with("/.default")) {
        return Err((70011, "The provided value for the input parameter 'scope' is not valid.".into()));
    }
    let token = shared
        .tokens
        .issue(Instant::now())
        .map_err(|_| (90033, "A transient error has occurred.".into()))?;
    let lifetime = shared.tokens.lifetime().as_secs();
    let mut body = json!({ "token_type": "Bearer", "expires_in": lifetime });
    if options.personality == Personality::Microsoft {
        body["ext_expires_in"] = lifetime.into();
    }
    body["access_token"] = token.into();
    Ok(CannedAnswer::new(200)
        .header("Cache-Control", "no-store, no-cache")
        .json(body.to_string()))
}

/// Client id and secret from the Basic scheme, each form-encoded (RFC 6749 section 2.3.1).
fn read_basic(basic: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((percent_decoded(id)?, percent_decoded(secret)?))
}

/// An error as Microsoft writes it, or as RFC 6749 section 5.2 has it for everyone else.
pub(super) fn refusal(shared: &Shared, number: u32, what: &str) -> CannedAnswer {
    let (status, error) = match number {
        7_000_215 | 7_000_222 => (401, "invalid_client"),
        7_000_218 | 700_025 => (400, "invalid_client"),
        700_016 => (400, "unauthorized_client"),
        70003 => (400, "unsupported_grant_type"),
        70011 | 28002 | 28003 | 700_022 => (400, "invalid_scope"),
        90002 | 90038 | 900_144 => (400, "invalid_request"),
        500_011 => (400, "invalid_resource"),
        50074 | 50076 | 50079 | 50158 => (400, "interaction_required"),
        90006 | 90012 | 90024 | 90033 | 90055 | 50033 | 50087 => (503, "temporarily_unavailable"),
        _ => (400, "invalid_grant"),
    };
    let body = match shared.options.personality {
        Personality::Dovecot => json!({ "error": error, "error_description": what }),
        Personality::Microsoft => {
            let stamp = Date::now().stamp();
            let (trace, correlation) = ("0f0e0d0c-0b0a-0908-0706-050403020100", "00010203-0405-0607-0809-0a0b0c0d0e0f");
            json!({
                "error": error,
                "error_description": format!(
                    "AADSTS{number}: {what} Trace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {stamp}"
                ),
                "error_codes": [number],
                "timestamp": stamp,
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
            })
        }
    };
    CannedAnswer::new(status).json(body.to_string())
}

/// The refusal of an endpoint that repeats the client secret it was sent, in every place where it may say something.
pub(super) fn echo(shared: &Shared, request: &Request) -> CannedAnswer {
    let secret = request.field("client_secret").unwrap_or_default();
    let spelled: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    refusal(shared, 7_000_215, &format!("bad client_secret {secret}, sent as {spelled}."))
}

/// The same answer with one member of its JSON set to what `value` writes, or taken out. The text is put together by
/// hand, since it may be JSON that no parser takes.
pub(super) fn with_member(answer: CannedAnswer, name: &str, value: Option<&str>) -> CannedAnswer {
    let mut members: Map<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
    members.remove(name);
    let mut written: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    written.extend(value.map(|value| format!("\"{name}\":{value}")));
    answer.json(format!("{{{}}}", written.join(",")))
}

/// Says whether a token is good (RFC 7662). As every token opens every mailbox, `email` is the one that is asked about
/// where the caller names it, else the first.
pub(super) fn introspect(shared: &Shared, request: &Request) -> CannedAnswer {
    let active = request
        .field("token")
        .is_some_and(|token| shared.tokens.opens(token, Instant::now()));
    let email = request
        .field("email")
        .map(String::from)
        .or_else(|| shared.options.mailboxes.first().cloned());
    let body = if active { json!({ "active": true, "email": email }) } else { json!({ "active": false }) };
    CannedAnswer::new(200).json(body.to_string())
}

/// An answer's body for the record: a token is shortened by being one long word.
pub(super) fn without_secrets(body: &[u8]) -> String {
    let spaced = String::from_utf8_lossy(&body[..body.len().min(32 * 1024)])
        .replace(":\"", ": \"")
        .replace(",\"", ", \"");
    spaced.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::testing::{ANN, Client, TOKEN_FORM, TOKEN_PATH, post, simulator, token, token_request};
    use super::super::{CannedAnswer, Gate, Personality, Protocol, Simulator, TokenFault};

    async fn microsoft() -> Simulator {
        simulator(Personality::Microsoft).await
    }

    fn json(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    #[tokio::test]
    async fn a_token_is_given_as_microsoft_gives_it() {
        let simulator = microsoft().await;
        let (head, body) = post(&simulator, TOKEN_PATH, TOKEN_FORM).await;
        assert!(head.contains("\r\nContent-Type: application/json; charset=utf-8"), "{head}");
        let answer = json(&body);
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!((&answer["expires_in"], &answer["ext_expires_in"]), (&3599.into(), &3599.into()));
        assert_eq!(answer["access_token"].as_str().unwrap().len(), 1_800);
        assert_ne!(answer["access_token"].as_str().unwrap(), token(&simulator).await);
        assert_eq!(simulator.token_url(), format!("http://{}{TOKEN_PATH}", simulator.address(Protocol::Http)));
    }

    #[tokio::test]
    async fn errors_have_microsofts_codes() {
        let simulator = microsoft().await;
        let without = |field: &str| {
            let kept: Vec<_> = TOKEN_FORM.split('&').filter(|pair| !pair.starts_with(field)).collect();
            kept.join("&")
        };
        for (path, form, status, error, number) in [
            (TOKEN_PATH, TOKEN_FORM.replace("simulated", "wrong"), 401, "invalid_client", 7_000_215),
            (TOKEN_PATH, TOKEN_FORM.replace("1111", "2222"), 400, "unauthorized_client", 700_016),
            (TOKEN_PATH, TOKEN_FORM.replace(".default", "Mail.Send"), 400, "invalid_scope", 70011),
            (TOKEN_PATH, TOKEN_FORM.replace("client_credentials", "password"), 400, "unsupported_grant_type", 70003),
            (TOKEN_PATH, without("grant_type"), 400, "invalid_request", 900_144),
            (TOKEN_PATH, without("scope"), 400, "invalid_request", 900_144),
            (TOKEN_PATH, without("client_secret"), 400, "invalid_client", 7_000_218),
            ("/other.example/oauth2/v2.0/token", TOKEN_FORM.into(), 400, "invalid_request", 90002),
        ] {
            let (head, body) = post(&simulator, path, &form).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            let answer = json(&body);
            assert_eq!((answer["error"].as_str(), answer["error_codes"][0].as_u64()), (Some(error), Some(number)));
            let description = answer["error_description"].as_str().unwrap();
            assert!(description.starts_with(&format!("AADSTS{number}: ")) && description.contains("\r\n"));
        }
    }

    #[tokio::test]
    async fn client_credentials_may_come_by_basic() {
        let simulator = microsoft().await;
        let basic = "MTExMTExMTEtMjIyMi0zMzMzLTQ0NDQtNTU1NTU1NTU1NTU1OnNpbXVsYXRlZC1jbGllbnQtc2VjcmV0";
        let form = "grant_type=client_credentials&scope=x%2F.default";
        let request =
            token_request(TOKEN_PATH, form).replacen("Host", &format!("Authorization: Basic {basic}\r\nHost"), 1);
        let mut client = Client::open(&simulator, Protocol::Http).await;
        client.send(request).await;
        assert!(client.rest().await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn requests_that_are_not_strict_are_refused_and_noted() {
        let simulator = microsoft().await;
        let good = token_request(TOKEN_PATH, "a=b");
        for bad in [
            good.replace("POST", "GET"),
            good.replace("HTTP/1.1", "HTTP/1.0"),
            good.replace("Host: localhost\r\n", ""),
            good.replace("x-www-form-urlencoded", "json"),
            good.replace("Content-Length: 3", "Content-Length: 3\r\nContent-Length: 3"),
            good.replace("Content-Length: 3", "Transfer-Encoding: chunked"),
            good.replace("Content-Length: 3", "Content-Length: 99999999"),
            good.replace("Host:", "Host :"),
            good.replace("Host: localhost\r\n", "Host: localhost\n"),
            good.replace("a=b", "%zz"),
        ] {
            let mut client = Client::open(&simulator, Protocol::Http).await;
            client.send(&bad).await;
            let answer = client.rest().await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{bad}: {answer}");
        }
        assert_eq!(simulator.control().token_requests(), 0);
        assert!(simulator.control().violations().len() >= 10);
    }

    #[tokio::test]
    async fn the_answer_goes_wrong_as_told() {
        let simulator = microsoft().await;
        let control = simulator.control();
        let mut faulty = Vec::new();
        for fault in [
            TokenFault::Answer(CannedAnswer::new(429).header("Retry-After", "7").json("{}")),
            TokenFault::Answer(CannedAnswer::new(302).header("Location", "http://127.0.0.1:1/")),
            TokenFault::Answer(CannedAnswer::new(200).body("text/html", "<html>")),
            TokenFault::Aadsts(90033),
            TokenFault::Member("token_type", Some("\"mac\"")),
            TokenFault::Member("expires_in", Some("1e309")),
            TokenFault::Member("expires_in", None),
            TokenFault::ContentType("text/plain"),
            TokenFault::Padded(300_000),
        ] {
            control.fail_next_tokens(1, fault);
            faulty.push(post(&simulator, TOKEN_PATH, TOKEN_FORM).await);
        }
        let [limited, redirect, html, transient, mac, infinite, missing, plain, padded] = faulty.try_into().unwrap();
        assert!(limited.0.starts_with("HTTP/1.1 429 ") && limited.0.contains("\r\nRetry-After: 7"));
        assert!(redirect.0.starts_with("HTTP/1.1 302 ") && redirect.0.contains("\r\nLocation: "));
        assert!(html.0.contains("\r\nContent-Type: text/html") && html.1 == "<html>");
        assert!(transient.0.starts_with("HTTP/1.1 503 ") && json(&transient.1)["error"] == "temporarily_unavailable");
        assert_eq!(json(&mac.1)["token_type"], "mac");
        assert!(infinite.1.contains("\"expires_in\":1e309"), "{}", infinite.1);
        assert!(!missing.1.contains("\"expires_in\"") && json(&missing.1)["access_token"].is_string());
        assert!(plain.0.contains("\r\nContent-Type: text/plain") && json(&plain.1)["access_token"].is_string());
        assert_eq!(padded.1.len(), 300_000);
        assert_eq!(control.token_requests(), 9);

        control.fail_next_tokens(1, TokenFault::Close);
        let mut client = Client::open(&simulator, Protocol::Http).await;
        client.send(token_request(TOKEN_PATH, TOKEN_FORM)).await;
        assert_eq!(client.rest().await, "");

        let gate = Gate::new();
        control.fail_next_tokens(1, TokenFault::Hold(gate.clone()));
        let mut client = Client::open(&simulator, Protocol::Http).await;
        client.send(token_request(TOKEN_PATH, TOKEN_FORM)).await;
        gate.reached(1).await;
        assert_eq!(token(&simulator).await.len(), 1_800);
        gate.open();
        assert!(client.rest().await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn others_errors_and_tokens_have_no_microsoft_in_them() {
        let simulator = simulator(Personality::Dovecot).await;
        let (_, body) = post(&simulator, TOKEN_PATH, &TOKEN_FORM.replace("simulated", "wrong")).await;
        assert_eq!(
            json(&body),
            serde_json::json!({
                "error": "invalid_client", "error_description": "Invalid client secret provided."
            })
        );
        let (_, body) = post(&simulator, TOKEN_PATH, &TOKEN_FORM.replace(".default", "mail")).await;
        assert!(json(&body).get("ext_expires_in").is_none());
    }

    #[tokio::test]
    async fn introspection_knows_a_good_token() {
        let simulator = microsoft().await;
        let token = token(&simulator).await;
        let (_, body) = post(&simulator, "/introspect", &format!("token={token}&client_id=&client_secret=")).await;
        assert_eq!(json(&body), serde_json::json!({ "active": true, "email": ANN }));
        simulator.control().revoke_all_tokens();
        let (_, body) = post(&simulator, "/introspect", &format!("token={token}")).await;
        assert_eq!(json(&body), serde_json::json!({ "active": false }));
    }
}
