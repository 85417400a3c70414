//! Client credentials, the forms of errors, and answers that go wrong.

use super::{Signer, ask, json, now};
use crate::sim::testing::{ANN, Client, TOKEN_FORM, TOKEN_PATH, post, simulator, token, token_request};
use crate::sim::{CannedAnswer, Gate, Personality, Protocol, Simulator, TokenFault};
use serde_json::Value;

async fn microsoft() -> Simulator {
    simulator(Personality::Microsoft).await
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
        ("/common/oauth2/v2.0/token", TOKEN_FORM.into(), 400, "invalid_request", 9_001_023),
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
    let request = token_request(TOKEN_PATH, form).replacen("Host", &format!("Authorization: Basic {basic}\r\nHost"), 1);
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
        good.replace("/token ", "/token?a=b "),
        good.replace("POST", "HEAD"),
        token_request(TOKEN_PATH, "a=b&a=b"),
    ] {
        let mut client = Client::open(&simulator, Protocol::Http).await;
        client.send(&bad).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad}: {answer}");
    }
    assert_eq!(simulator.control().token_requests(), 0);
    assert!(simulator.control().violations().len() >= 13);
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
        TokenFault::Aadsts(700_082),
        TokenFault::Error("invalid_scope"),
        TokenFault::Member("token_type", Some("\"mac\"")),
        TokenFault::Member("expires_in", Some("1e309")),
        TokenFault::Member("expires_in", None),
        TokenFault::ContentType("text/plain"),
        TokenFault::Padded(300_000),
    ] {
        control.fail_next_tokens(1, fault);
        faulty.push(post(&simulator, TOKEN_PATH, TOKEN_FORM).await);
    }
    let [limited, redirect, html, transient, dead, named, mac, infinite, missing, plain, padded] =
        faulty.try_into().unwrap();
    assert!(limited.0.starts_with("HTTP/1.1 429 ") && limited.0.contains("\r\nRetry-After: 7"));
    assert!(redirect.0.starts_with("HTTP/1.1 302 ") && redirect.0.contains("\r\nLocation: "));
    assert!(html.0.contains("\r\nContent-Type: text/html") && html.1 == "<html>");
    assert!(transient.0.starts_with("HTTP/1.1 503 ") && json(&transient.1)["error"] == "temporarily_unavailable");
    assert_eq!((&json(&dead.1)["error"], &json(&dead.1)["suberror"]), (&"invalid_grant".into(), &"bad_token".into()));
    assert_eq!(json(&named.1)["error"], "invalid_scope");
    assert_eq!(control.invalid_grants(), 1);
    assert_eq!(json(&mac.1)["token_type"], "mac");
    assert!(infinite.1.contains("\"expires_in\":1e309"), "{}", infinite.1);
    assert!(!missing.1.contains("\"expires_in\"") && json(&missing.1)["access_token"].is_string());
    assert!(plain.0.contains("\r\nContent-Type: text/plain") && json(&plain.1)["access_token"].is_string());
    assert_eq!(padded.1.len(), 300_000);
    assert_eq!((control.token_requests(), control.token_requests_by("client_credentials")), (11, 11));

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

const SCOPE: (&str, &str) = ("scope", "https://outlook.office365.com/.default");
const ID: &str = "11111111-2222-3333-4444-555555555555";

/// The AADSTS number of the answer to a secret; 0 for a token.
async fn with_secret(simulator: &Simulator, secret: &str) -> u64 {
    let form = [("grant_type", "client_credentials"), ("client_id", ID), ("client_secret", secret), SCOPE];
    ask(simulator, &form).await.1["error_codes"][0].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn a_secret_is_rotated_while_it_runs() {
    let simulator = microsoft().await;
    let control = simulator.control();
    control.add_client_secret("second");
    assert_eq!(with_secret(&simulator, "simulated-client-secret").await, 0);
    assert_eq!(with_secret(&simulator, "second").await, 0);
    control.expire_client_secret("simulated-client-secret");
    assert_eq!(with_secret(&simulator, "simulated-client-secret").await, 7_000_222);
    control.set_client_secret("third");
    assert_eq!(with_secret(&simulator, "second").await, 7_000_222);
    assert_eq!(with_secret(&simulator, "third").await, 0);
    assert_eq!(with_secret(&simulator, "fourth").await, 7_000_215);
    control.add_client_secret("second");
    assert_eq!(with_secret(&simulator, "second").await, 0);
}

/// The answer to a client assertion: 0 for a token, else the AADSTS number.
async fn with_assertion(simulator: &Simulator, assertion: &str) -> u64 {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", ID),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
        SCOPE,
    ];
    let (status, answer) = ask(simulator, &form).await;
    assert!(status == 200 || answer["error"] == "invalid_client", "{status} {answer}");
    answer["error_codes"][0].as_u64().unwrap_or(0)
}

/// Claims that are all in order, with one changed or taken out.
fn claims(simulator: &Simulator, jti: &str, changed: &str, value: Value) -> Value {
    let mut claims = serde_json::json!({
        "iss": ID, "sub": ID, "aud": simulator.token_url(), "jti": jti, "iat": now(), "exp": now() + 300,
    });
    match (changed, value) {
        ("", _) => {}
        (name, Value::Null) => _ = claims.as_object_mut().unwrap().remove(name),
        (name, value) => claims[name] = value,
    }
    claims
}

#[tokio::test]
async fn an_assertion_is_verified_in_every_part() {
    let simulator = microsoft().await;
    let (ours, other) = (Signer::new(), Signer::new());
    let good = claims(&simulator, "0", "", Value::Null);
    assert_eq!(with_assertion(&simulator, &ours.jwt("RS256", &good)).await, 700_213);
    simulator.control().register_certificate(&ours.certificate).unwrap();
    assert_eq!(with_assertion(&simulator, &ours.jwt("RS256", &good)).await, 0);
    assert_eq!(with_assertion(&simulator, &ours.jwt("PS256", &good)).await, 50013, "the same jti");
    let again = claims(&simulator, "1", "", Value::Null);
    assert_eq!(with_assertion(&simulator, &ours.jwt("PS256", &again)).await, 0);
    assert_eq!(with_assertion(&simulator, &other.jwt("RS256", &again)).await, 700_027);
    assert_eq!(with_assertion(&simulator, "rubbish").await, 50027);
    for (number, (claim, value, error)) in [
        ("iss", "someone".into(), 700_021),
        ("sub", Value::Null, 700_021),
        ("aud", "https://login.example/token".into(), 700_023),
        ("exp", (now() - 1).into(), 700_024),
        ("exp", (now() + 700).into(), 700_024),
        ("exp", Value::Null, 700_024),
        ("iat", (now() + 200).into(), 700_024),
        ("jti", Value::Null, 50027),
        ("jti", "".into(), 50013),
    ]
    .into_iter()
    .enumerate()
    {
        let bad = claims(&simulator, &format!("bad{number}"), claim, value.clone());
        assert_eq!(with_assertion(&simulator, &ours.jwt("RS256", &bad)).await, error, "{claim} {value}");
    }
    simulator.control().set_clock_ahead(1_000);
    let late = claims(&simulator, "late", "", Value::Null);
    assert_eq!(with_assertion(&simulator, &ours.jwt("RS256", &late)).await, 700_024);
}

#[tokio::test]
async fn a_federated_assertion_is_a_text_that_changes() {
    let simulator = microsoft().await;
    let control = simulator.control();
    control.set_federated_assertion(Some("first"));
    assert_eq!(with_assertion(&simulator, "first").await, 0);
    control.set_federated_assertion(Some("second"));
    assert_eq!(with_assertion(&simulator, "first").await, 700_213);
    assert_eq!(with_assertion(&simulator, "second").await, 0);
    control.set_federated_assertion(None);
    assert_eq!(with_assertion(&simulator, "second").await, 700_213);
}

#[tokio::test]
async fn one_proof_is_enough_and_two_are_too_many() {
    let simulator = microsoft().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", ID),
        ("client_secret", "simulated-client-secret"),
        ("client_assertion", "x"),
        SCOPE,
    ];
    assert_eq!(ask(&simulator, &form).await.1["error"], "invalid_request");
}

#[tokio::test]
async fn an_answer_can_be_lost_or_held_when_the_token_is_given() {
    let simulator = microsoft().await;
    let control = simulator.control();
    control.fail_next_tokens(1, TokenFault::LoseAnswer);
    let mut client = Client::open(&simulator, Protocol::Http).await;
    client.send(token_request(TOKEN_PATH, TOKEN_FORM)).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(control.issued_tokens().len(), 1);

    let gate = Gate::new();
    control.fail_next_tokens(1, TokenFault::HoldAnswer(gate.clone()));
    let mut client = Client::open(&simulator, Protocol::Http).await;
    client.send(token_request(TOKEN_PATH, TOKEN_FORM)).await;
    gate.reached(1).await;
    assert_eq!(control.issued_tokens().len(), 2);
    gate.open();
    assert!(client.rest().await.starts_with("HTTP/1.1 200 "));

    control.fail_next_tokens(1, TokenFault::DelayAnswer(std::time::Duration::from_secs(3600)));
    let mut client = Client::open(&simulator, Protocol::Http).await;
    client.send(token_request(TOKEN_PATH, TOKEN_FORM)).await;
    control.until(|control| control.token_requests() == 3).await;
    while control.issued_tokens().len() < 3 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(3600)).await;
    tokio::time::resume();
    assert!(client.rest().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_token_lives_as_long_as_was_said_last() {
    let simulator = microsoft().await;
    simulator.control().set_token_lifetime(std::time::Duration::from_secs(30));
    let (_, body) = post(&simulator, TOKEN_PATH, TOKEN_FORM).await;
    let token = json(&body)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(json(&body)["expires_in"], 30);
    for (passes, active) in [(29, true), (1, false)] {
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(passes)).await;
        tokio::time::resume();
        let (_, body) = post(&simulator, "/introspect", &format!("token={token}")).await;
        assert_eq!(json(&body)["active"], active, "after {passes} more seconds");
    }
}
