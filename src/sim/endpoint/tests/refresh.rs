//! Refresh tokens at the token endpoint.

use serde_json::Value;

use super::ask;
use crate::sim::testing::{ANN, BOB, Client, simulator, token_request};
use crate::sim::{ClientKind, Personality, Protocol, Rotation, Simulator, TokenFault};

const ID: (&str, &str) = ("client_id", "11111111-2222-3333-4444-555555555555");
const SEND: &str = "https://outlook.office.com/SMTP.Send";
const READ: &str = "https://outlook.office.com/IMAP.AccessAsUser.All";

async fn refresh(simulator: &Simulator, token: &str) -> (u16, Value) {
    ask(simulator, &[("grant_type", "refresh_token"), ID, ("refresh_token", token)]).await
}

fn text<'a>(answer: &'a Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member}: {answer}"))
}

#[tokio::test]
async fn microsoft_rotates_and_keeps_the_old_one() {
    let simulator = simulator(Personality::Microsoft).await;
    let control = simulator.control();
    let first = control.add_refresh_token(ANN, &[SEND, READ, "offline_access"]).unwrap();
    let (status, answer) = refresh(&simulator, &first).await;
    assert_eq!((status, text(&answer, "scope")), (200, &*format!("{SEND} {READ}")));
    let second = text(&answer, "refresh_token").to_owned();
    assert_ne!(first, second);
    assert_eq!(refresh(&simulator, &first).await.0, 200);
    assert_eq!((control.reused_refresh_tokens(), control.invalid_grants()), (1, 0));
    assert_eq!(refresh(&simulator, &second).await.0, 200);
    assert_eq!(control.token_requests_by("refresh_token"), 3);

    assert!(control.revoke_refresh_token(&second));
    let (status, answer) = refresh(&simulator, &second).await;
    assert_eq!((status, text(&answer, "error"), &answer["error_codes"][0]), (400, "invalid_grant", &50173.into()));
    assert_eq!((refresh(&simulator, "unknown").await.0, control.invalid_grants()), (400, 2));
    assert_eq!(refresh(&simulator, &first).await.0, 200);
    control.revoke_sign_ins(BOB);
    assert_eq!(refresh(&simulator, &first).await.0, 200);
    control.revoke_sign_ins(ANN);
    assert_eq!(refresh(&simulator, &first).await.0, 400);
    assert!(control.issued_tokens().is_empty() && control.refresh_tokens(ANN).is_empty());
}

#[tokio::test]
async fn a_second_use_under_strict_rotation_ends_everything() {
    let simulator = simulator(Personality::Microsoft).await;
    let control = simulator.control();
    control.set_rotation(Rotation::Strict);
    let others = control.add_refresh_token(ANN, &[SEND]).unwrap();
    let first = control.add_refresh_token(ANN, &[SEND]).unwrap();
    let second = text(&refresh(&simulator, &first).await.1, "refresh_token").to_owned();
    let (status, answer) = refresh(&simulator, &second).await;
    assert_eq!((status, control.reused_refresh_tokens()), (200, 0));
    let third = text(&answer, "refresh_token").to_owned();
    assert_eq!(control.issued_tokens().len(), 2);
    let (status, answer) = refresh(&simulator, &second).await;
    assert_eq!((status, text(&answer, "error")), (400, "invalid_grant"));
    assert_eq!((control.reused_refresh_tokens(), control.invalid_grants()), (1, 1));
    assert!(control.issued_tokens().is_empty(), "the access tokens are gone too");
    assert_eq!(refresh(&simulator, &third).await.0, 400, "the successor is gone too");
    assert_eq!(refresh(&simulator, &others).await.0, 200, "another sign-in is not");
}

#[tokio::test]
async fn an_answer_that_is_lost_has_rotated() {
    let simulator = simulator(Personality::Dovecot).await;
    let control = simulator.control();
    let first = control.add_refresh_token(ANN, &["mail"]).unwrap();
    control.fail_next_tokens(1, TokenFault::LoseAnswer);
    let form = super::form(&[("grant_type", "refresh_token"), ID, ("refresh_token", &first)]);
    let mut client = Client::open(&simulator, Protocol::Http).await;
    client.send(token_request(&super::target(&simulator.token_url()), &form)).await;
    assert_eq!(client.rest().await, "");
    let [current] = control.refresh_tokens(ANN).try_into().unwrap();
    assert_ne!(current, first);
    assert_eq!(refresh(&simulator, &first).await.0, 400);
    assert!(control.refresh_tokens(ANN).is_empty());
}

#[tokio::test]
async fn gmail_never_rotates_and_wants_its_secret() {
    let simulator = simulator(Personality::Gmail).await;
    let control = simulator.control();
    let token = control.add_refresh_token(ANN, &["https://mail.google.com/"]).unwrap();
    let (status, answer) = refresh(&simulator, &token).await;
    assert_eq!((status, text(&answer, "error")), (400, "invalid_client"));
    let form = [("grant_type", "refresh_token"), ID, ("refresh_token", &*token)];
    let with_secret = [&form[..], &[("client_secret", "simulated-client-secret")]].concat();
    for _ in 0..2 {
        let (status, answer) = ask(&simulator, &with_secret).await;
        assert!(status == 200 && answer.get("refresh_token").is_none(), "{answer}");
    }
    assert_eq!(control.reused_refresh_tokens(), 0);
    control.set_client_kind(ClientKind::Public);
    assert_eq!(refresh(&simulator, &token).await.0, 200);
    assert_eq!(ask(&simulator, &with_secret).await.1["error"], "invalid_client");
}

#[tokio::test]
async fn scopes_can_shrink_and_not_grow() {
    let simulator = simulator(Personality::Microsoft).await;
    let control = simulator.control();
    let token = control.add_refresh_token(ANN, &[SEND]).unwrap();
    let asked = async |scope: &str| {
        let form = [("grant_type", "refresh_token"), ID, ("refresh_token", &*token), ("scope", scope)];
        ask(&simulator, &form).await.1
    };
    let with_name = asked(&format!("{SEND} openid email offline_access")).await;
    assert!(with_name["id_token"].is_string(), "{with_name}");
    assert_eq!(asked(&format!("{SEND} {READ}")).await["suberror"], "consent_required");
    assert_eq!(
        asked("https://outlook.office365.com/SMTP.Send https://outlook.office.com/SMTP.Send").await["error_codes"][0],
        700_022
    );
    assert_eq!(asked("nonsense").await["error"], "invalid_scope");
}
