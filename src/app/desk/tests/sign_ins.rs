//! Requests to sign in and out: what opens the account is kept, and nothing else.

use super::*;

#[tokio::test]
async fn a_name_that_is_the_accounts_address_is_enough() {
    let stage = Stage::with_ann().await;
    let done = stage
        .done(Request::SignIn(stage.sign_in(&["x9f3", "ANN@contoso.example"])))
        .await;
    assert_eq!(done, "ann@contoso.example is signed in as ANN@contoso.example");
    assert_eq!(stage.provider.control().logins_ok(sim::Protocol::Smtp), 0, "nothing had to be tried");
    assert_eq!(stage.kept().as_deref(), Some("first"));
    let ann = stage.accounts().await.pop().unwrap();
    let sign_in = ann.sign_in.unwrap();
    assert_eq!(
        (ann.state, sign_in.by.as_str(), sign_in.client_id.as_str()),
        (AccountState::Ready, "root", "for-people")
    );
    assert_eq!(sign_in.name.as_deref(), Some("ANN@contoso.example"));
    assert_eq!(stage.spent.lock().unwrap().len(), 0, "the token that came along is used");

    assert!(
        stage
            .done(Request::SignOut { account: ANN.into() })
            .await
            .contains("signed out")
    );
    assert_eq!((stage.kept(), stage.accounts().await[1].state), (None, AccountState::SignedOut));
    assert!(
        stage
            .refused(Request::SignOut { account: ANN.into() }, true)
            .await
            .contains("nobody is signed in")
    );
}

#[tokio::test]
async fn what_ends_within_a_month_is_shown() {
    let stage = Stage::with_ann().await;
    for (days, warnings) in [(40, 0), (10, 1)] {
        let sign_in = SignInRequest { refresh_lives: Some(days * 24 * 3600), ..stage.sign_in(&[ANN]) };
        stage.done(Request::SignIn(sign_in)).await;
        let [scanner, ann] = stage.accounts().await.try_into().unwrap();
        assert_eq!((scanner.warnings.len(), ann.warnings.len()), (0, warnings), "{days}: {ann:?}");
        assert!(ann.warnings.iter().all(|warning| warning.contains("within 10 days")), "{ann:?}");
    }
}

#[tokio::test]
async fn another_name_or_none_is_tried_for_real() {
    for (names, shown) in [
        (&["bob@contoso.example\x1b"][..], "as bob@contoso.example\\x1b"),
        (&[], "(the provider does not say as whom)"),
    ] {
        let stage = Stage::with_ann().await;
        let (answer, lines) = stage.ask_and_listen(Request::SignIn(stage.sign_in(names))).await;
        let expected =
            format!("ann@contoso.example is signed in {shown}, which opens ann@contoso.example over smtp, imap");
        assert_eq!(answer, Answer::Done(expected));
        assert_eq!(lines.len(), 1, "{lines:?}");
        let control = stage.provider.control();
        assert_eq!([sim::Protocol::Smtp, sim::Protocol::Imap].map(|protocol| control.logins_ok(protocol)), [1, 1]);
        assert_eq!(stage.kept().as_deref(), Some("first"));
        assert_eq!(control.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_sign_in_that_does_not_open_the_account_is_not_kept() {
    for with_token in [true, false] {
        for protocol in [sim::Protocol::Smtp, sim::Protocol::Imap] {
            let stage = Stage::with_ann().await;
            stage.provider.control().fail(protocol, Fault::RefuseLogin(Refused::Token));
            let mut request = stage.sign_in(&["bob@contoso.example"]);
            if !with_token {
                request.access_token = None;
            }
            let what = stage.refused(Request::SignIn(request), false).await;
            assert!(what.contains("bob@contoso.example") && what.contains(ANN) && what.contains("not kept"), "{what}");
            assert!(!what.contains(&stage.token[..20]) && !what.contains("first"), "{what}");
            assert_eq!((stage.kept(), stage.accounts().await[1].state), (None, AccountState::SignedOut));
            assert!(
                stage
                    .desk
                    .parts
                    .tokens
                    .status(stage.desk.parts.registry.directory().account(ANN).unwrap())
                    .is_none()
            );
        }
    }
}

#[tokio::test]
async fn an_earlier_sign_in_stays_when_a_later_one_is_refused() {
    let stage = Stage::with_ann().await;
    stage.done(Request::SignIn(stage.sign_in(&[ANN]))).await;
    stage
        .provider
        .control()
        .fail(sim::Protocol::Imap, Fault::RefuseLogin(Refused::Rights));
    let request = SignInRequest { refresh_token: "second".into(), ..stage.sign_in(&["bob@contoso.example"]) };
    stage.refused(Request::SignIn(request), false).await;
    assert_eq!((stage.kept().as_deref(), stage.accounts().await[1].state), (Some("first"), AccountState::Ready));
}

#[tokio::test]
async fn a_sign_in_by_a_newer_configuration_than_the_gateways_is_not_kept() {
    let stage = Stage::with_ann().await;
    let request = SignInRequest { id: "another app's".into(), ..stage.sign_in(&[ANN]) };
    let what = stage.refused(Request::SignIn(request), false).await;
    assert!(what.contains("Restart it"), "{what}");
    assert_eq!(stage.kept(), None);
}

#[tokio::test]
async fn where_nothing_can_be_tried_nothing_is_kept() {
    let stage = Stage::with_ann().await;
    for protocol in [sim::Protocol::Smtp, sim::Protocol::Imap] {
        stage.provider.control().fail(protocol, Fault::RefuseLogin(Refused::Temporary));
    }
    let what = stage.refused(Request::SignIn(stage.sign_in(&[])), false).await;
    assert!(what.contains("try again later"), "{what}");
    assert_eq!(stage.kept(), None);
    // One answer is enough.
    stage.provider.control().clear_faults();
    stage
        .provider
        .control()
        .fail(sim::Protocol::Imap, Fault::RefuseLogin(Refused::Temporary));
    let done = stage.done(Request::SignIn(stage.sign_in(&[]))).await;
    assert!(done.ends_with("over smtp"), "{done}");
}

#[tokio::test]
async fn a_refresh_token_alone_is_tried_and_its_successor_kept() {
    let stage = Stage::with_ann().await;
    let request = SignInRequest { access_token: None, ..stage.sign_in(&[]) };
    stage.done(Request::SignIn(request)).await;
    assert_eq!(*stage.spent.lock().unwrap(), ["first"]);
    assert_eq!(stage.kept().as_deref(), Some("first+"), "the first one is worth nothing any more");
    assert_eq!(stage.accounts().await[1].state, AccountState::Ready);
}

#[tokio::test]
async fn a_sign_in_where_nobody_signs_in_is_refused() {
    let stage = Stage::set().await;
    let request = SignInRequest { account: SCANNER.into(), ..stage.sign_in(&[SCANNER]) };
    assert!(
        stage
            .refused(Request::SignIn(request), true)
            .await
            .contains("client-credentials")
    );
    assert!(
        stage
            .refused(Request::SignOut { account: SCANNER.into() }, true)
            .await
            .contains("nobody signs in")
    );
    let id = stage.made(add_account(ANN, "people")).await;
    stage.done(Request::RevokeLogin { id }).await;
    let what = stage.refused(Request::SignIn(stage.sign_in(&[])), true).await;
    assert!(what.contains("mailferry login add ann@contoso.example"), "{what}");
    let request = SignInRequest { access_token: Some("a token".into()), ..stage.sign_in(&[ANN]) };
    stage.refused(Request::SignIn(request), false).await;
    assert_eq!(stage.kept(), None);
}
