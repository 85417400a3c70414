//! Whose sign-in it is: somebody else's opens nothing, and nothing of it is kept.

use mailferry::config::Protocol;
use mailferry::sim::{ClientKind, IdTokens};

use super::common::{Answer, PASSWORD};
use super::{ANN, Gateway, SCANNER, Stage, client, complaint, holds_all, printed};

/// A gateway that waits for a person of Microsoft's.
async fn waiting() -> (Stage, Gateway) {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    stage.control().set_client_kind(ClientKind::Public);
    let gateway = stage.serve().await;
    (stage, gateway)
}

#[tokio::test]
async fn somebody_elses_sign_in_is_not_kept_and_both_are_named() {
    let (stage, gateway) = waiting().await;
    let output = stage.sign_in_as(ANN).await;
    holds_all(
        complaint(&output, 1),
        &[&format!("{ANN} signed in"), &format!("{SCANNER} is not let in"), "was not kept", "535 5.7.3"],
    );
    stage.is_signed_out(&gateway).await;
    // The mistake is mended by signing in again, as the right one.
    printed(&stage.sign_in_as(SCANNER).await);
    stage.is_ready_by(Some(SCANNER)).await;
    stage.sends_and_reads(&gateway).await;
    // And the right one stays when somebody makes it later.
    complaint(&stage.sign_in_as(ANN).await, 1);
    stage.is_ready_by(Some(SCANNER)).await;
    stage.sends_and_reads(&gateway).await;
}

#[tokio::test]
async fn who_may_open_a_shared_mailbox_is_kept_with_both_names() {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    // Microsoft sends as a mailbox only for those who log in as themselves.
    let shared = stage.configuration("microsoft", "authorization-code", &client(false)).replace(
        "app = \"main\"\n[[account.login]]",
        &format!("app = \"main\"\nidentity = {{ smtp = \"{ANN}\" }}\n[[account.login]]"),
    );
    assert!(shared.contains("identity"));
    stage.write(&shared);
    let gateway = stage.serve().await;
    complaint(&stage.sign_in_as(ANN).await, 1);
    stage.is_signed_out(&gateway).await;

    stage.control().share_mailbox(SCANNER, ANN);
    let said = printed(&stage.sign_in_as(ANN).await);
    let kept = format!("{SCANNER} is signed in as {ANN}, which opens {SCANNER} over smtp, imap\n");
    assert!(said.ends_with(&kept), "{said}");
    stage.is_ready_by(Some(ANN)).await;
    assert_eq!(stage.account(SCANNER).await.address, SCANNER);
    stage.sends_and_reads(&gateway).await;
    assert_eq!(stage.control().submissions().last().unwrap().account, ANN);
    // The list for people has both in one place.
    let list = stage.prints(&["accounts"]).await;
    holds_all(&list, &[&format!("ready         {SCANNER}"), &format!("signed in as {ANN} on ")]);
}

#[tokio::test]
async fn without_an_id_token_a_real_login_decides() {
    for nothing in [IdTokens::Withheld, IdTokens::Nameless] {
        let (stage, gateway) = waiting().await;
        stage.control().set_id_tokens(nothing);
        let logins = stage.control().logins_ok(mailferry::sim::Protocol::Imap);
        let output = stage.sign_in_as(ANN).await;
        holds_all(complaint(&output, 1), &["does not say who signed in", SCANNER, "was not kept"]);
        stage.is_signed_out(&gateway).await;
        let said = printed(&stage.sign_in_as(SCANNER).await);
        holds_all(
            &said,
            &["is signed in (the provider does not say as whom), which opens scanner@contoso.example over smtp, imap"],
        );
        assert_eq!(stage.control().logins_ok(mailferry::sim::Protocol::Imap), logins + 1);
        stage.is_ready_by(None).await;
        stage.sends_and_reads(&gateway).await;
    }
}

#[tokio::test]
async fn another_name_of_the_same_person_is_proven_by_a_login() {
    let (stage, gateway) = waiting().await;
    stage
        .control()
        .set_id_tokens(IdTokens::Naming("s.canner@contoso.example".into()));
    let said = printed(&stage.sign_in_as(SCANNER).await);
    holds_all(&said, &["s.canner@contoso.example signed in; trying whether that opens scanner@contoso.example"]);
    stage.is_ready_by(Some("s.canner@contoso.example")).await;
    stage.sends_and_reads(&gateway).await;
}

#[tokio::test]
async fn what_cannot_be_tried_is_not_kept() {
    let (stage, gateway) = waiting().await;
    stage.control().set_id_tokens(IdTokens::Withheld);
    for protocol in [mailferry::sim::Protocol::Smtp, mailferry::sim::Protocol::Imap] {
        stage.control().close_door(protocol).await;
    }
    holds_all(complaint(&stage.sign_in_as(SCANNER).await, 1), &["cannot be tried now", "was not kept"]);
    stage.is_signed_out(&gateway).await;
    assert!(matches!(gateway.log_in(Protocol::Imap, "scanner", PASSWORD).await.1, Answer::Refused(_)));
}
