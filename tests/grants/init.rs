//! `mailferry init`: from an empty folder to the first message, by a few questions.

use mailferry::config::Protocol;
use mailferry::sim::{Options, Personality};

use super::common::program::Running;
use super::{ANN, Gateway, SCANNER, Stage, holds_all, of, printed, run_with, text};

/// Answers `init` with one line for each question, eight at most. The result is what it printed.
async fn answered(stage: &Stage, answers: &[&str]) -> String {
    answered_to(stage, &["init"], answers).await
}

/// The same, with options.
async fn answered_to(stage: &Stage, command: &[&str], answers: &[&str]) -> String {
    assert!(answers.len() <= 8);
    // With one line fewer a question stays open: so many are asked and no more.
    let (_, but_last) = answers.split_last().unwrap();
    let unfinished = run_with(stage, command, &(but_last.join("\n") + "\n")).await;
    assert_eq!(unfinished.status.code(), Some(1));
    holds_all(text(&unfinished.stderr), &["standard input ended before the last question was answered"]);
    assert!(!stage.path("mailferry.toml").exists());
    printed(&run_with(stage, command, &(answers.join("\n") + "\n")).await)
}

/// Puts the simulator in Microsoft's place: a test cannot be Microsoft, and a person would leave the file as it is.
fn play_microsoft(stage: &Stage) {
    let tenant = Options::default().tenant;
    let provider = stage
        .provider_table("microsoft", "")
        .replace(&format!("/{tenant}/"), "/{tenant}/");
    let file = std::fs::read_to_string(stage.path("mailferry.toml")).unwrap();
    // Its ports are free ones here: others may use the usual ones on this machine.
    let file = file
        .replace("127.0.0.1:1587", "127.0.0.1:0")
        .replace("127.0.0.1:1143", "127.0.0.1:0")
        .replace("0.0.0.0:587", "127.0.0.1:0");
    stage.write(&(file + &provider));
}

fn typed<'a>(card: &'a str, name: &str) -> &'a str {
    let line = card.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap()
}

#[tokio::test]
async fn an_app_for_itself_from_nothing_to_the_first_message() {
    let stage = Stage::bare(of(Personality::Microsoft)).await;
    let Options { client_id, client_secret, .. } = Options::default();
    // Its last answer but one: to send and to read.
    let answers = [SCANNER, "1", "1", "", &client_id, &client_secret, "2", "Scanner 3rd floor"];
    let card = answered(&stage, &answers).await;
    holds_all(
        &card,
        &[
            "Written: ",
            &format!("New-ServicePrincipal -AppId {client_id}"),
            "Application SMTP.SendAsApp",
            &format!("Add-MailboxPermission -Identity {SCANNER}"),
            "check --wait",
            "127.0.0.1, port 1587, security: none",
            "127.0.0.1, port 1143, security: none",
        ],
    );
    let file = std::fs::read_to_string(stage.path("mailferry.toml")).unwrap();
    assert!(
        !file.contains(&client_secret) && !file.contains(typed(&card, "password ")) && !card.contains(&client_secret)
    );
    for private in ["mailferry.toml", "secrets/scanner@contoso.example"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(stage.path(private)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{private}");
    }
    // As it was written it is right.
    holds_all(&stage.prints(&["check", "--offline"]).await, &["ok    configuration: 2 listener(s), 1 account(s)"]);

    play_microsoft(&stage);
    holds_all(&stage.prints(&["check"]).await, &["smtp: 250 ", "imap: "]);
    let gateway = stage.serve().await;
    stage
        .sends(&gateway, typed(&card, "user "), typed(&card, "password "), SCANNER)
        .await;

    // Nothing that is there is overwritten.
    let again = run_with(&stage, &["init"], &(answers.join("\n") + "\n")).await;
    holds_all(super::complaint(&again, 2), &["mailferry.toml is there already"]);
}

#[tokio::test]
async fn a_person_from_nothing_to_the_first_message() {
    let stage = Stage::bare(of(Personality::Microsoft)).await;
    let client_id = Options::default().client_id;
    let card = answered(&stage, &[ANN, "1", "2", "", &client_id, "", "2", ""]).await;
    holds_all(&card, &[&format!("sign-in {ANN}"), &format!("Set-CASMailbox {ANN}"), "port 1587", "port 1143"]);
    play_microsoft(&stage);
    let gateway = stage.serve().await;
    let mut command = stage.begin_sign_in(&[ANN]);
    let url = super::url_of(&mut command).await;
    super::browse(&stage, &url, ANN).await;
    printed(&super::in_time(command.output()).await);
    stage
        .sends(&gateway, typed(&card, "user "), typed(&card, "password "), ANN)
        .await;
}

#[tokio::test]
async fn an_office_from_nothing_to_the_first_message() {
    let stage = Stage::bare(of(Personality::Microsoft)).await;
    let Options { client_id, client_secret, .. } = Options::default();
    let devices = "Scanner 3rd floor, Printer, Plotter=127.0.7.20";
    let answers = [SCANNER, "1", "1", "", &client_id, &client_secret, devices, "1"];
    let told = answered_to(&stage, &["init", "--devices", "127.0.0.0/8"], &answers).await;
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(told.contains("setcap cap_net_bind_service"), !is_root, "root needs no right: {told}");
    assert_eq!(told.contains("They are root's alone; "), is_root, "{told}");
    holds_all(&told, &["is for 127.0.0.0/8 alone", &format!("send-test {SCANNER} --to ")]);
    holds_all(
        &told,
        &[
            "Application SMTP.SendAsApp",
            "Type this into Scanner 3rd floor:",
            "127.0.0.1, port 587, security: SSL/TLS or STARTTLS, or none",
            "the certificate is mailferry's own",
            &format!("sender     {SCANNER}"),
            "size ",
            "Type this into Printer:",
            "Type this into Plotter:",
            "security: SSL/TLS or STARTTLS, or none if it knows neither",
            "let in by its address, 127.0.7.20",
            "recipients @",
        ],
    );
    assert!(!told.contains("FullAccess"), "they send only: {told}");
    let checked = run_with(&stage, &["check", "--offline"], "").await;
    holds_all(&printed(&checked), &["ok    configuration: 1 listener(s), 1 account(s)"]);
    assert_eq!(text(&checked.stderr), "", "nothing to be warned of");

    play_microsoft(&stage);
    let mut running = Running::start(stage.command(&["serve"]));
    let smtp = running.listens(Protocol::Smtp).await;
    let gateway = Gateway { running, smtp, imap: smtp };
    let cards: Vec<_> = told.split("Type this into ").skip(1).collect();
    for card in &cards[..2] {
        stage
            .sends(&gateway, typed(card, "user "), typed(card, "password "), SCANNER)
            .await;
    }
    assert_ne!(typed(cards[0], "password "), typed(cards[1], "password "));
}

#[tokio::test]
async fn a_public_network_is_warned_of_and_no_address_made_up_there() {
    let stage = Stage::bare(of(Personality::Microsoft)).await;
    let Options { client_id, client_secret, .. } = Options::default();
    let answers = [SCANNER, "1", "1", "", &client_id, &client_secret, "Scanner", "1"].join("\n") + "\n";
    // For documentation: no machine has an address there (RFC 5737).
    let output = run_with(&stage, &["init", "--devices", "203.0.113.0/24"], &answers).await;
    holds_all(text(&output.stderr), &["mailferry: 203.0.113.0/24 is not private: "]);
    let card = "SMTP       this machine's address as seen from 203.0.113.0/24 (it has none in there now), port 587, ";
    holds_all(text(&output.stdout), &[card]);
}

#[tokio::test]
async fn an_office_has_a_network_and_ports() {
    let stage = Stage::bare(of(Personality::Microsoft)).await;
    for (arguments, complaint) in [
        (&["--devices", "0.0.0.0/0"][..], "name the network that the devices are in"),
        (&["--devices", "office"], "it must be an address or a network"),
        (&["--devices", "192.168.7.0/24", "--port", "0"], "0 is not in 1..=65535"),
        (&["--port", "25"], "--devices"),
    ] {
        let output = run_with(&stage, &[&["init"], arguments].concat(), "").await;
        assert_eq!(output.status.code(), Some(2));
        holds_all(text(&output.stderr), &[complaint]);
    }
}
