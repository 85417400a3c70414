//! The grants of a person: in a browser, with a code on another device, with a refresh token from elsewhere.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{ClientKind, Personality, Rotation};
use serde_json::Value;

use super::common::{Answer, PASSWORD, in_time};
use super::{SCANNER, Stage, client, complaint, holds_all, is_anywhere_in, of, printed, run_with, text, url_of};

/// What a sign-in as the mailbox's own person prints.
const DONE: &str = "scanner@contoso.example is signed in as scanner@contoso.example\n";

/// Signed out, signed in by `sign_in` beside the gateway that runs, and signed out again.
async fn comes_and_goes(stage: &Stage, sign_in: impl AsyncFnOnce(&Stage) -> String) {
    let gateway = stage.serve().await;
    stage.is_signed_out(&gateway).await;
    assert_eq!(sign_in(stage).await, DONE);
    stage.is_ready_by(Some(SCANNER)).await;
    stage.sends_and_reads(&gateway).await;

    // Nobody has to do anything when it is started again, and nothing lies about in clear.
    gateway.stop().await;
    let gateway = stage.serve().await;
    stage.sends_and_reads(&gateway).await;
    stage.is_ready_by(Some(SCANNER)).await;
    assert_eq!((stage.control().reused_refresh_tokens(), stage.control().invalid_grants()), (0, 0));
    for token in stage.control().issued_secrets() {
        assert!(!is_anywhere_in(&stage.path("state"), &token));
    }

    let said = stage.prints(&["sign-out", SCANNER]).await;
    assert!(said.starts_with("scanner@contoso.example is signed out here"), "{said}");
    stage.is_signed_out(&gateway).await;
    assert!(matches!(gateway.log_in(Protocol::Imap, "scanner", PASSWORD).await.1, Answer::Refused(_)));
    holds_all(complaint(&stage.run(&["sign-out", SCANNER]).await, 2), &["nobody is signed in", SCANNER]);
}

#[tokio::test]
async fn in_a_browser_that_comes_back() {
    for kind in [ClientKind::Public, ClientKind::Confidential] {
        let stage = Stage::microsoft("authorization-code", &client(kind == ClientKind::Confidential)).await;
        stage.control().set_client_kind(kind);
        stage.control().set_rotation(Rotation::Strict);
        comes_and_goes(&stage, async |stage| printed(&stage.sign_in_as(SCANNER).await)).await;
    }
}

#[tokio::test]
async fn in_a_browser_on_another_machine() {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    comes_and_goes(&stage, async |stage| {
        let mut command = stage.begin_sign_in(&[SCANNER]);
        let url = url_of(&mut command).await;
        assert!(url.contains("login_hint=scanner%40contoso.example"), "{url}");
        let back = stage.control().approve_authorization(&url, SCANNER).unwrap();
        assert!(back.starts_with("http://localhost:"), "{back}");
        command.says("paste it here").await;
        command.is_told(&back);
        printed(&in_time(command.output()).await)
    })
    .await;
}

#[tokio::test]
async fn in_a_browser_with_an_address_of_its_own() {
    let keys = client(false) + "redirect_uri = \"https://contoso.example/back\"";
    let stage = Stage::microsoft("authorization-code", &keys).await;
    stage.control().register_redirect("https://contoso.example/back");
    comes_and_goes(&stage, async |stage| {
        let mut command = stage.begin_sign_in(&[SCANNER]);
        let url = url_of(&mut command).await;
        command.says("paste it here").await;
        command.is_told(&stage.control().approve_authorization(&url, SCANNER).unwrap());
        printed(&in_time(command.output()).await)
    })
    .await;
}

#[tokio::test]
async fn in_a_browser_at_google() {
    let stage = Stage::bare(of(Personality::Gmail)).await;
    // Google wants to be told that a refresh token is wanted; at another address the URL has to say so.
    let url = stage.provider.authorization_url();
    let configuration = stage.configuration("google", "authorization-code", &client(true));
    stage.write(&configuration.replace(&url, &format!("{url}?access_type=offline&prompt=consent")));
    comes_and_goes(&stage, async |stage| printed(&stage.sign_in_as(SCANNER).await)).await;
}

#[tokio::test]
async fn whoever_declines_in_the_browser_is_told() {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    let gateway = stage.serve().await;
    let mut command = stage.begin_sign_in(&[SCANNER]);
    let url = url_of(&mut command).await;
    let back = stage.control().decline_authorization(&url).unwrap();
    super::http("GET", &back, "").await;
    let output = in_time(command.output()).await;
    holds_all(&complaint(&output, 1).to_lowercase(), &["declined"]);
    stage.is_signed_out(&gateway).await;
}

/// The code that a sign-in shows.
async fn code_of(command: &mut super::Running) -> String {
    let line = command.says("type the code").await;
    holds_all(&line, &["/device"]);
    command.says("  ").await.trim().to_owned()
}

#[tokio::test]
async fn with_a_code_on_another_device() {
    let stage = Stage::microsoft("device-code", &client(false)).await;
    stage
        .control()
        .set_device_times(Duration::from_secs(1), Duration::from_secs(900));
    comes_and_goes(&stage, async |stage| {
        let mut command = stage.begin_sign_in(&[SCANNER]);
        let code = code_of(&mut command).await;
        assert_eq!(stage.control().device_codes(), [code.as_str()]);
        assert!(stage.control().approve_device(&code, SCANNER));
        let output = in_time(command.output()).await;
        assert!(text(&output.stderr).contains('\u{2588}'), "there is a picture for a camera");
        printed(&output)
    })
    .await;
}

#[tokio::test]
async fn a_code_does_where_the_grant_is_a_browsers() {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    stage
        .control()
        .set_device_times(Duration::from_secs(1), Duration::from_secs(900));
    let gateway = stage.serve().await;
    let mut command = stage.begin_sign_in(&[SCANNER, "--device"]);
    let code = code_of(&mut command).await;
    assert!(stage.control().decline_device(&code));
    complaint(&in_time(command.output()).await, 1);
    stage.is_signed_out(&gateway).await;
    let mut command = stage.begin_sign_in(&["--device", SCANNER]);
    let code = code_of(&mut command).await;
    assert!(stage.control().approve_device(&code, SCANNER));
    assert_eq!(printed(&in_time(command.output()).await), DONE);
    stage.sends_and_reads(&gateway).await;
}

/// What Microsoft's people agree to elsewhere.
const SCOPES: [&str; 5] = [
    "https://outlook.office.com/SMTP.Send",
    "https://outlook.office.com/IMAP.AccessAsUser.All",
    "offline_access",
    "openid",
    "email",
];

#[tokio::test]
async fn with_a_refresh_token_from_elsewhere() {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    stage.control().set_rotation(Rotation::Strict);
    comes_and_goes(&stage, async |stage| {
        let token = stage.control().add_refresh_token(SCANNER, &SCOPES).unwrap();
        printed(&run_with(stage, &["sign-in", SCANNER, "--refresh-token"], &format!("{token}\n")).await)
    })
    .await;
    let output = run_with(&stage, &["sign-in", SCANNER, "--refresh-token"], "of-another-app\n").await;
    let complaint = complaint(&output, 1);
    assert!(!complaint.contains("of-another-app"), "{complaint}");
    holds_all(complaint, &["AADSTS"]);
}

#[tokio::test]
async fn without_a_gateway_a_sign_in_is_kept_for_the_next() {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    assert_eq!(printed(&stage.sign_in_as(SCANNER).await), DONE);
    let accounts: Value = serde_json::from_str(&stage.prints(&["accounts", "--json"]).await).unwrap();
    assert_eq!(accounts[0]["sign_in"]["name"], SCANNER);
    let gateway = stage.serve().await;
    stage.sends_and_reads(&gateway).await;
    stage.is_ready_by(Some(SCANNER)).await;
}

#[tokio::test]
async fn a_new_sign_in_mends_one_that_was_ended() {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    let gateway = stage.serve().await;
    printed(&stage.sign_in_as(SCANNER).await);
    gateway.stop().await;
    stage.control().revoke_sign_ins(SCANNER);
    let gateway = stage.serve().await;
    let Answer::Refused(reply) = gateway.log_in(Protocol::Smtp, "scanner", PASSWORD).await.1 else {
        panic!("it is let in")
    };
    holds_all(&reply, &["454 4.7.0 ", "AADSTS50173", &format!("mailferry sign-in {SCANNER}")]);
    assert_eq!(stage.account(SCANNER).await.state, mailferry::control::AccountState::NeedsPerson);
    printed(&stage.sign_in_as(SCANNER).await);
    stage.sends_and_reads(&gateway).await;
    stage.is_ready_by(Some(SCANNER)).await;
}
