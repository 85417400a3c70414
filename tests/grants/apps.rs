//! The grants that need nobody: the app for itself with each of its proofs, service accounts, and commands.

use mailferry::config::Protocol;
use mailferry::control::AccountState;
use mailferry::sim::{Options, Personality};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use super::common::{Answer, PASSWORD};
use super::{ANN, Gateway, SCANNER, Stage, client, complaint, holds_all, http, of};

/// Sends and reads, and nobody signs in or out.
async fn works_without_anybody(stage: &Stage, grant: &str) -> Gateway {
    let gateway = stage.serve().await;
    assert_eq!(stage.account(SCANNER).await.state, AccountState::Unused);
    stage.sends_and_reads(&gateway).await;
    let account = stage.account(SCANNER).await;
    assert_eq!((account.state, account.grant.as_str(), account.sign_in), (AccountState::Ready, grant, None));
    for command in ["sign-in", "sign-out"] {
        let output = stage.run(&[command, SCANNER]).await;
        holds_all(&complaint(&output, 2).to_lowercase(), &["nobody signs in", SCANNER, grant]);
    }
    stage.sends_and_reads(&gateway).await;
    gateway
}

/// Logs in until the gateway has fetched another token, which it does as soon as the one it has is not good enough.
async fn renewed(stage: &Stage, gateway: &Gateway) {
    let before = stage.control().token_requests();
    while stage.control().token_requests() == before {
        assert_eq!(gateway.log_in(Protocol::Imap, "scanner", PASSWORD).await.1, Answer::Accepted);
    }
}

/// Lets a token be good enough for one second: more than the quarter of an hour that a login wants it to live.
fn let_tokens_be_short(stage: &Stage) {
    stage.control().set_token_lifetime(std::time::Duration::from_secs(15 * 60 + 1));
}

/// An RSA key and a certificate for it, in PEM.
fn key_pair() -> (String, String) {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap();
    (pair.serialize_pem(), certificate.pem())
}

#[tokio::test]
async fn an_app_with_a_secret() {
    let stage = Stage::microsoft("client-credentials", &client(true)).await;
    works_without_anybody(&stage, "client-credentials").await;
    assert_eq!(stage.control().token_requests_by("client_credentials"), 1, "one token serves all");
}

#[tokio::test]
async fn an_app_with_a_certificate() {
    let keys = "client_certificate = { certificate = \"app.pem\", private_key = \"app.key\" }";
    let stage = Stage::microsoft("client-credentials", &(client(false) + keys)).await;
    let (key, certificate) = key_pair();
    stage.write_file("app.key", &key, 0o600);
    stage.write_file("app.pem", &certificate, 0o644);
    stage.control().register_certificate(&certificate).unwrap();
    let_tokens_be_short(&stage);
    let gateway = works_without_anybody(&stage, "client-credentials").await;
    // An assertion is good once: each request is given its own.
    renewed(&stage, &gateway).await;
    stage.sends_and_reads(&gateway).await;
}

#[tokio::test]
async fn an_app_with_an_assertion_that_changes() {
    let keys = "client_assertion = { file = \"assertion\" }";
    let stage = Stage::microsoft("client-credentials", &(client(false) + keys)).await;
    stage.write_file("assertion", "eyJhIjoxfQ.eyJmaXJzdCI6MX0.c2ln\n", 0o600);
    stage.control().set_federated_assertion(Some("eyJhIjoxfQ.eyJmaXJzdCI6MX0.c2ln"));
    let_tokens_be_short(&stage);
    let gateway = works_without_anybody(&stage, "client-credentials").await;
    stage.write_file("assertion", "eyJhIjoxfQ.eyJzZWNvbmQiOjF9.c2ln\n", 0o600);
    stage
        .control()
        .set_federated_assertion(Some("eyJhIjoxfQ.eyJzZWNvbmQiOjF9.c2ln"));
    renewed(&stage, &gateway).await;
    stage.sends_and_reads(&gateway).await;
}

#[tokio::test]
async fn a_service_account_of_google() {
    const EMAIL: &str = "mailferry@project.iam.gserviceaccount.example";
    let stage = Stage::bare(of(Personality::Gmail)).await;
    stage.write(&stage.configuration("google", "service-account", "service_account = { file = \"key.json\" }"));
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    stage.control().register_service_account(EMAIL, &pair.public_key_pem()).unwrap();
    let file = serde_json::json!({
        "type": "service_account",
        "private_key_id": "1",
        "private_key": pair.serialize_pem(),
        "client_email": EMAIL,
        "token_uri": stage.provider.token_url(),
    });
    stage.write_file("key.json", &file.to_string(), 0o600);
    works_without_anybody(&stage, "service-account").await;
    assert_eq!(stage.control().token_requests_by("urn:ietf:params:oauth:grant-type:jwt-bearer"), 1);
}

/// A token as a program of the user's would have got it.
async fn token_from_elsewhere(stage: &Stage) -> String {
    let Options { client_id, client_secret, .. } = Options::default();
    let form = format!(
        "grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}\
         &scope=https%3A%2F%2Foutlook.office365.com%2F.default"
    );
    let answer = http("POST", &stage.provider.token_url(), &form).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_command_that_prints_a_token_or_json() {
    for json in [false, true] {
        let stage = Stage::microsoft("command", "command = [\"./token\", \"me\"]").await;
        // It is started in whatever folder the gateway was, and given no more than its arguments.
        stage.write_file("token", "#!/bin/sh\ntest \"$1\" = me && cat \"$(dirname \"$0\")/printed\"\n", 0o700);
        let token = token_from_elsewhere(&stage).await;
        let printed = if json {
            serde_json::json!({"access_token": token, "expires_in": 3000}).to_string()
        } else {
            format!("{token}\n")
        };
        stage.write_file("printed", &printed, 0o600);
        works_without_anybody(&stage, "command").await;
        assert_eq!(stage.control().token_requests(), 1, "nobody but the command asks for tokens");
    }
}

#[tokio::test]
async fn accounts_share_what_an_app_gets() {
    let stage = Stage::microsoft("client-credentials", &client(true)).await;
    let hash = super::common::cheap_hash(b"of ann");
    stage.append(&format!(
        "[[account]]\naddress = \"{ANN}\"\napp = \"main\"\n\
         [[account.login]]\nusername = \"ann\"\npassword_hash = \"{hash}\"\n"
    ));
    let gateway = stage.serve().await;
    stage.sends_and_reads(&gateway).await;
    stage.sends(&gateway, "ann", "of ann", ANN).await;
    assert_eq!(stage.account(ANN).await.state, AccountState::Ready);
    assert_eq!(stage.control().token_requests(), 1);
}
