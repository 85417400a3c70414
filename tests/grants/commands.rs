//! Accounts and logins made by a command, and a message sent by one: beside a gateway that runs, and without one.

use mailferry::config::Protocol;
use mailferry::control::LoginStatus;

use super::common::{Answer, PASSWORD};
use super::{ANN, Gateway, SCANNER, Stage, client, complaint, holds_all};

/// What stands behind a word in what a command printed.
fn word_after<'a>(text: &'a str, word: &str) -> &'a str {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("{word:?} is not in {text}"));
    rest.trim_start().split([' ', ',', '\n']).next().unwrap()
}

async fn logins(stage: &Stage) -> Vec<LoginStatus> {
    serde_json::from_str(&stage.prints(&["login", "list", "--json"]).await).unwrap()
}

async fn is_refused(gateway: &Gateway, username: &str, password: &str) {
    for protocol in [Protocol::Smtp, Protocol::Imap] {
        let Answer::Refused(reply) = gateway.log_in(protocol, username, password).await.1 else {
            panic!("{username} is let in")
        };
        assert!(reply.contains("535 5.7.8") || reply.contains("[AUTHENTICATIONFAILED]"), "{reply}");
    }
}

/// Runs `work` twice: where a gateway runs while commands are given, and where it is started for each look at them.
async fn both_ways(work: impl AsyncFn(&Stage, bool)) {
    for runs in [true, false] {
        let stage = Stage::microsoft("client-credentials", &client(true)).await;
        work(&stage, runs).await;
    }
}

/// Commands and looks at a gateway by turns: one gateway for all of them, or one for each look.
struct Turns<'a> {
    stage: &'a Stage,
    runs: Option<Gateway>,
}

impl<'a> Turns<'a> {
    async fn of(stage: &'a Stage, runs: bool) -> Self {
        Self { stage, runs: if runs { Some(stage.serve().await) } else { None } }
    }

    async fn look(&self, look: impl AsyncFn(&Gateway)) {
        match &self.runs {
            Some(gateway) => look(gateway).await,
            None => {
                let gateway = self.stage.serve().await;
                look(&gateway).await;
                gateway.stop().await;
            }
        }
    }
}

#[tokio::test]
async fn a_login_is_made_listed_given_another_password_and_ended() {
    both_ways(async |stage, runs| {
        let turns = Turns::of(stage, runs).await;
        let made = ["login", "add", SCANNER, "--device", "Scanner 3rd floor", "--from", "127.0.0.0/8"];
        let card = stage.prints(&made).await;
        let (id, username, first) =
            (word_after(&card, "login"), word_after(&card, "user"), word_after(&card, "password"));
        let id = id.trim_end_matches(':');
        assert_eq!((username, first.len()), ("scanner-3rd-floor", 16));
        turns
            .look(async |gateway| stage.sends(gateway, username, first, SCANNER).await)
            .await;

        let list = logins(stage).await;
        let login = list.iter().find(|login| login.username == username).unwrap();
        assert_eq!((login.id.unwrap().to_string().as_str(), login.device.as_str()), (id, "Scanner 3rd floor"));
        assert_eq!((login.account.as_str(), login.networks.as_slice()), (SCANNER, &["127.0.0.0/8".to_owned()][..]));
        assert!(login.used.is_some() && login.from.unwrap().is_loopback(), "{login:?}");
        assert!(list.iter().any(|login| login.id.is_none() && login.username == "scanner"));
        holds_all(&stage.prints(&["login", "list"]).await, &["from the file scanner:", "scanner-3rd-floor (Scanner"]);

        let new = stage.prints(&["login", "rotate", id, "--grace", "1h"]).await;
        assert!(new.ends_with(" (shown only now)\n") && card.ends_with(" (shown only now)\n"), "{new}");
        assert_eq!(word_after(&new, "user"), username);
        let (new_id, second) = (word_after(&new, "login").trim_end_matches(':'), word_after(&new, "password"));
        assert_ne!((new_id, second), (id, first));
        turns
            .look(async |gateway| {
                stage.sends(gateway, username, first, SCANNER).await;
                stage.sends(gateway, username, second, SCANNER).await;
            })
            .await;
        assert!(logins(stage).await.iter().any(|login| login.ends.is_some()));

        holds_all(&stage.prints(&["login", "revoke", id]).await, &["is revoked", "1 other password(s)"]);
        turns
            .look(async |gateway| {
                is_refused(gateway, username, first).await;
                stage.sends(gateway, username, second, SCANNER).await;
            })
            .await;
        let last = stage.prints(&["login", "rotate", new_id, "--grace", "0s"]).await;
        let third = word_after(&last, "password");
        turns
            .look(async |gateway| {
                is_refused(gateway, username, second).await;
                stage.sends(gateway, username, third, SCANNER).await;
            })
            .await;
        stage
            .prints(&["login", "revoke", word_after(&last, "login").trim_end_matches(':')])
            .await;
        turns
            .look(async |gateway| {
                is_refused(gateway, username, third).await;
                stage.sends(gateway, "scanner", PASSWORD, SCANNER).await;
            })
            .await;
        assert_eq!(logins(stage).await.len(), 1);
        holds_all(complaint(&stage.run(&["login", "revoke", id]).await, 2), &["there is no login", id]);
    })
    .await;
}

#[tokio::test]
async fn an_account_is_made_with_what_to_type_into_the_device() {
    both_ways(async |stage, runs| {
        let turns = Turns::of(stage, runs).await;
        let card = stage.prints(&["account", "add", ANN, "--device", "Copier"]).await;
        holds_all(&card, &["Type this into the device", "SMTP", "security: none", "shown only now", ANN]);
        assert!(!card.contains("sign-in"), "{card}");
        let (username, password) = (word_after(&card, "user "), word_after(&card, "password "));
        assert_eq!(username, "copier");
        turns
            .look(async |gateway| stage.sends(gateway, username, password, ANN).await)
            .await;
        assert!(!stage.account(ANN).await.from_the_file);
        holds_all(&stage.prints(&["check"]).await, &["1 account(s), and 1 made by commands\n"]);
        // What it was not made for it does not get.
        turns
            .look(async |gateway| {
                let answer = gateway.log_in(Protocol::Imap, username, password).await.1;
                assert!(matches!(answer, Answer::Refused(_)));
            })
            .await;
        let unknown = stage
            .run(&["account", "add", "--app", "other", "--device", "x", "b@contoso.example"])
            .await;
        holds_all(complaint(&unknown, 2), &["[app.other]", "there are: main"]);
        // What could never be used is not made at all.
        let unreachable = ["account", "add", "c@contoso.example", "--device", "x", "--from", "10.9.9.0/24"];
        let unreachable = stage.run(&unreachable).await;
        holds_all(complaint(&unreachable, 2), &["this login could never be used", "from 10.9.9.0/24"]);
        assert!(!stage.prints(&["accounts"]).await.contains("c@contoso.example"));
    })
    .await;
}

#[tokio::test]
async fn an_account_of_a_person_is_made_and_signed_in_for() {
    let stage = Stage::microsoft("authorization-code", &client(false)).await;
    let gateway = stage.serve().await;
    let card = stage.prints(&["account", "add", ANN, "--device", "Copier"]).await;
    holds_all(&card, &[&format!("Then sign in once: mailferry sign-in {ANN}")]);
    let mut command = stage.begin_sign_in(&[ANN]);
    let url = super::url_of(&mut command).await;
    super::browse(&stage, &url, ANN).await;
    super::printed(&super::in_time(command.output()).await);
    stage
        .sends(&gateway, word_after(&card, "user "), word_after(&card, "password "), ANN)
        .await;
    assert_eq!(stage.account(ANN).await.sign_in.unwrap().name.as_deref(), Some(ANN));
}

#[tokio::test]
async fn a_test_message_takes_the_real_path() {
    both_ways(async |stage, runs| {
        let _turns = Turns::of(stage, runs).await;
        let said = stage.prints(&["send-test", SCANNER, "--to", ANN]).await;
        assert!(said.starts_with("250 ") && said.lines().count() == 1, "{said}");
        let messages = stage.control().messages(ANN);
        let message = String::from_utf8(messages[0].clone()).unwrap();
        holds_all(&message, &["From: <scanner@contoso.example>\r\nTo: <ann@contoso.example>\r\nSubject: "]);
        let submission = &stage.control().submissions()[0];
        assert_eq!((submission.account.as_str(), submission.from.as_str()), (SCANNER, SCANNER));
        let unknown = stage.run(&["send-test", "b@contoso.example", "--to", ANN]).await;
        holds_all(complaint(&unknown, 2), &["b@contoso.example"]);
        stage.control().set_client_secret("another");
        stage.control().revoke_all_tokens();
        let output = stage.run(&["send-test", SCANNER, "--to", ANN]).await;
        let what = complaint(&output, 1);
        assert!(what.contains(if runs { "535 5.7.3" } else { "AADSTS7000222" }), "{what}");
        assert_eq!(stage.control().messages(ANN).len(), 1);
    })
    .await;
}
