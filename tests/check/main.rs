//! `mailferry check` on set-ups that are broken: what is said names the cause and the cure, and the status tells programs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod set_ups;

use std::path::Path;

use common::program::{Running, finish, finish_with, program};
use common::{ADDRESS, HASH};
use mailferry::sim::{self, Act, Fault, Moment, Personality, Protocol, Simulator};
use set_ups::{Broken, SECRET, broken};
use tempfile::TempDir;

/// A provider, and a folder with a configuration that fits it, but for what is broken.
struct Stage {
    provider: Simulator,
    folder: TempDir,
}

impl Stage {
    async fn set(broken: &Broken) -> Self {
        let options = sim::Options {
            mailboxes: vec![ADDRESS.into()],
            personality: broken.personality,
            ..sim::Options::default()
        };
        let provider = Simulator::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let stage = Self { provider, folder };
        (broken.prepare)(&stage.provider, stage.folder.path());
        std::fs::write(stage.path().join("ca.pem"), stage.provider.ca_pem()).unwrap();
        let text = (broken.edit)(stage.configuration(broken));
        set_ups::write_private(&stage.path().join("mailferry.toml"), &text);
        if let Some(token) = broken.signed_in.then(|| stage.refresh_token(ADDRESS)) {
            let command = program(stage.path(), &["--config", "mailferry.toml", "sign-in", ADDRESS, "--refresh-token"]);
            let output = finish_with(command, format!("{token}\n").into_bytes()).await;
            assert!(output.status.success(), "{}: {output:?}", broken.name);
        } else if broken.has_run {
            let output = finish(program(stage.path(), &["--config", "mailferry.toml", "accounts"])).await;
            assert!(output.status.success(), "{}: {output:?}", broken.name);
        }
        (broken.breaks)(&stage.provider, stage.path());
        if let Some(door) = broken.closed {
            stage.provider.control().close_door(door).await;
        }
        stage
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn refresh_token(&self, user: &str) -> String {
        let scopes = ["openid", "email", "offline_access"].into_iter().chain(set_ups::RIGHTS);
        let scopes: Vec<_> = scopes.collect();
        self.provider.control().add_refresh_token(user, &scopes).unwrap()
    }

    /// The configuration as it would be right.
    fn configuration(&self, broken: &Broken) -> String {
        let (provider, app) = (&self.provider, broken.app);
        let [send, imap, pop3] = set_ups::RIGHTS;
        let options = sim::Options::default();
        format!(
            "state_dir = \"state\"\nhostname = \"gateway.example\"\n\
             [[listener]]\nprotocol = \"smtp\"\nbind = \"127.0.0.1:0\"\n\
             [provider.simulated]\ntoken_url = \"{}\"\nauthorization_url = \"{}\"\n\
             scopes = [{}]\nca = \"ca.pem\"\n\
             smtp = {{ host = \"localhost\", port = {}, tls = \"starttls\" }}\n\
             imap = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n\
             pop3 = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n\
             [app.contoso]\nprovider = \"simulated\"\n{app}\n\
             [[account]]\naddress = \"{ADDRESS}\"\napp = \"contoso\"\n\
             [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{}\"\n",
            provider.token_url().replace(&options.tenant, "{tenant}"),
            provider.authorization_url().replace(&options.tenant, "{tenant}"),
            match broken.app {
                set_ups::PERSON =>
                    format!("\"openid\", \"email\", \"offline_access\", \"{send}\", \"{imap}\", \"{pop3}\""),
                set_ups::SERVICE => "\"https://mail.google.com/\"".into(),
                _ => "\"https://outlook.office365.com/.default\"".into(),
            },
            provider.smtp().port(),
            provider.imap().port(),
            provider.pop3().port(),
            HASH.trim(),
        )
    }

    async fn check(&self) -> (Option<i32>, String) {
        let output = finish(program(self.path(), &["--config", "mailferry.toml", "check"])).await;
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }
}

#[tokio::test]
async fn each_says_the_cause_and_the_cure() {
    let mut wrong = Vec::new();
    for broken in broken() {
        let stage = Stage::set(&broken).await;
        let (status, said) = stage.check().await;
        // The cause is not said twice.
        let is_said = |words: &str, most| (1..=most).contains(&said.matches(words).count());
        let missing: Vec<_> = [(broken.cause, 1), (broken.cure, usize::MAX)]
            .into_iter()
            .filter(|&(words, most)| !is_said(words, most))
            .collect();
        if status != Some(broken.status) || !missing.is_empty() {
            wrong.push(format!("{}: status {status:?}, not so {missing:?}:\n{said}", broken.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_same_set_ups_are_right_where_nothing_is_broken() {
    for app in [SECRET, set_ups::PERSON, set_ups::CERTIFICATE] {
        let broken =
            Broken { app, signed_in: app == set_ups::PERSON, prepare: set_ups::certified, ..Broken::named("nothing") };
        let (status, said) = Stage::set(&broken).await.check().await;
        assert_eq!(status, Some(0), "{app}: {said}");
        assert_eq!(said.matches("ok    ").count(), 5, "{said}");
    }
    let google = Broken {
        app: set_ups::SERVICE,
        personality: Personality::Gmail,
        edit: set_ups::without_tenant,
        prepare: set_ups::service_account,
        ..Broken::named("nothing")
    };
    let (status, said) = Stage::set(&google).await.check().await;
    assert_eq!(status, Some(0), "{said}");
}

#[tokio::test]
async fn rights_that_have_not_spread_are_waited_for() {
    let refused = || {
        let words = "430 4.2.0 STOREDRV; mailbox logon failure; failed to process message";
        Fault::At(Moment::CommandDue, Act::Say(words.into()))
    };
    let stage = Stage::set(&Broken::named("rights that have not spread")).await;
    stage.provider.control().fail_next(Protocol::Smtp, 1, refused());
    let (status, said) = stage.check().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("the right has not spread yet"), "{said}");
    assert!(said.contains("Add-MailboxPermission"), "{said}");
    let (status, said) = stage.check().await;
    assert_eq!(status, Some(0), "{said}");

    stage.provider.control().fail_next(Protocol::Smtp, 1, refused());
    let command = program(stage.path(), &["--config", "mailferry.toml", "check", "--wait"]);
    let mut waiting = Running::start_for_output(command);
    waiting.says("the right has not spread yet").await;
    waiting.says("wait  1 step(s) failed; trying again in 30 seconds").await;
}
