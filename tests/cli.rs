//! The program itself: its commands, what they print, and their exit statuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;
use std::process::Output;

use common::program::{Running, finish, program};
use common::{ADDRESS, Answer, Client, PASSWORD, Wanted};
use mailferry::config::Protocol;
use mailferry::sim::{self, Act, Control, Fault, Moment, Refusal, Simulator};
use tempfile::TempDir;

/// A provider, and a folder with a configuration for it.
struct Stage {
    provider: Simulator,
    folder: TempDir,
}

impl Stage {
    async fn set() -> Self {
        Self::with(Wanted::default()).await
    }

    async fn with(mut wanted: Wanted) -> Self {
        wanted.provider.mailboxes.push("user0@contoso.example".into());
        let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let stage = Self { provider, folder };
        stage.write(&common::configuration_text(&stage.provider, &stage.folder, &wanted));
        stage
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("mailferry.toml")
    }

    /// Writes the configuration, for its owner's eyes only.
    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
        set_mode(&self.file(), 0o600);
    }

    fn change(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.file()).unwrap();
        assert!(text.contains(from), "{from:?} is not in {text}");
        self.write(&text.replace(from, to));
    }

    fn control(&self) -> &Control {
        self.provider.control()
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        finish(program(self.folder.path(), &[&["--config", "mailferry.toml"], arguments].concat())).await
    }

    /// Runs `check`, which must end with this status; its lines.
    async fn check(&self, arguments: &[&str], status: i32) -> Vec<String> {
        let output = self.run(&[&["check"], arguments].concat()).await;
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(status), ""), "{}", text(&output.stdout));
        text(&output.stdout).lines().map(str::to_owned).collect()
    }

    fn serve(&self) -> Running {
        Running::start(program(self.folder.path(), &["--config", "mailferry.toml", "serve"]))
    }
}

#[cfg(unix)]
fn set_mode(file: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_: &std::path::Path, _: u32) {}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

/// The one line of `check` that reports a failure.
fn failure(lines: &[String]) -> &str {
    let mut failures = lines.iter().filter(|line| line.starts_with("FAIL  "));
    let failure = failures.next().unwrap_or_else(|| panic!("no failure in {lines:#?}"));
    assert_eq!(failures.next(), None, "more than one failure");
    failure
}

fn holds_all(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line}");
    }
}

#[tokio::test]
async fn the_demo_shows_both_sides_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let output = finish(program(folder.path(), &["demo", "--once"])).await;
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{}", text(&output.stdout));
    let lines: Vec<_> = text(&output.stdout).lines().map(str::trim).collect();
    for expected in [
        "== The scanner sends a message over SMTP ==",
        "S: 250-AUTH PLAIN LOGIN",
        "S: 235 2.7.0 Authentication successful",
        "C: AUTH XOAUTH2",
        "== A mail program reads it over IMAP ==",
        "C: a2 SELECT INBOX",
        "S: * OK The Microsoft Exchange IMAP4 service is ready. [UwBJAE0A]",
        "== An old program fetches it over POP3 ==",
        "S: +OK User successfully authenticated.",
    ] {
        assert!(lines.contains(&expected), "{expected:?} is not in {lines:#?}");
    }
    assert!(lines.last().unwrap().starts_with("Passed: "));

    // Passwords and tokens are cut after a few characters, wherever they stand.
    let begins = |start: &str| *lines.iter().find(|line| line.starts_with(start)).unwrap();
    let password = begins("C: a1 LOGIN office ").strip_prefix("C: a1 LOGIN office ").unwrap();
    let (start, _) = password.split_once("...(16 characters)").unwrap();
    assert_eq!(begins("C: PASS "), format!("C: PASS {start}...(16 characters)"));
    assert_eq!(start.len(), 4);
    assert!(begins("C: AUTH PLAIN ").ends_with(" characters)"));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("C: dXNlcj1") && line.ends_with(" octets)")),
        "a shortened token"
    );
    for word in lines.iter().flat_map(|line| line.split([' ', '"'])) {
        assert!(!word.starts_with(start) || word.starts_with(&format!("{start}...(")), "the password in {word}");
        assert!(word.len() < 80, "too long to be no secret: {word}");
    }
}

/// A disk that is full: what was asked for is not there, and the status says so.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_standard_output_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["check", "--help"], &["--version"], &["demo", "--once"]] {
        let mut command = program(folder.path(), arguments);
        command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let output = finish(command).await;
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{arguments:?}: {said}");
        holds_all(said, &["mailferry: ", "standard output", "No space left"]);
    }
}

#[tokio::test]
async fn help_names_every_command_and_the_exit_statuses() {
    let folder = tempfile::tempdir().unwrap();
    let output = finish(program(folder.path(), &["--help"])).await;
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    holds_all(text(&output.stdout), &["serve", "demo", "check", "passwd", "--config", "Exit status: 0 done, 1"]);
    for command in ["serve", "demo", "check", "passwd"] {
        let output = finish(program(folder.path(), &[command, "--help"])).await;
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{command}");
        holds_all(text(&output.stdout), &[&format!("Usage: mailferry {command}"), "--config"]);
    }
}

#[tokio::test]
async fn a_check_that_finds_nothing_wrong_says_so_step_by_step() {
    let stage = Stage::set().await;
    let lines = stage.check(&[], 0).await;
    let [configuration, token, smtp, imap, pop3] = &lines[..] else { panic!("{lines:#?}") };
    assert_eq!(configuration, "ok    configuration: 3 listener(s), 1 account(s)");
    assert_eq!(*token, format!("ok    {ADDRESS}: token from simulated"));
    assert!(smtp.starts_with(&format!("ok    {ADDRESS}: smtp: 250 ")), "{smtp}");
    assert!(imap.starts_with(&format!("ok    {ADDRESS}: imap: m1 OK ")), "{imap}");
    assert!(pop3.starts_with(&format!("ok    {ADDRESS}: pop3: +OK ")), "{pop3}");
    assert_eq!(stage.control().token_requests(), 1);
    assert_eq!(stage.control().violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_wrong_secret_is_found_at_the_token() {
    let stage = Stage::set().await;
    stage.change("simulated-client-secret", "the-id-of-the-secret");
    let lines = stage.check(&[], 1).await;
    holds_all(
        failure(&lines),
        &[ADDRESS, "token: AADSTS7000215: The client secret is wrong. Put the secret's Value, not its Secret ID"],
    );
    assert_eq!(lines.len(), 2, "without a token no server is tried: {lines:#?}");
    assert!(!lines.join("\n").contains("the-id-of-the-secret"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_found_and_the_others_are_tried() {
    let stage = Stage::set().await;
    stage.control().close_door(sim::Protocol::Imap).await;
    let lines = stage.check(&[], 1).await;
    let port = stage.provider.imap().port();
    holds_all(
        failure(&lines),
        &[ADDRESS, "imap: ", &format!("localhost:{port} does not answer"), "check host, port and tls of the provider"],
    );
    assert_eq!(lines.iter().filter(|line| line.starts_with("ok    ")).count(), 4, "{lines:#?}");
}

#[tokio::test]
async fn a_mailbox_that_is_refused_is_found() {
    let (smtp, imap) = (sim::Protocol::Smtp, sim::Protocol::Imap);
    for (server, refusal, words) in [
        (smtp, Refusal::Token, ["smtp: ", "535 5.7.3 Authentication unsuccessful", "may open this mailbox"]),
        (smtp, Refusal::Policy, ["smtp: ", "535 5.7.139 ", "An administrator must allow this protocol"]),
        (smtp, Refusal::Temporary, ["smtp: ", "454 4.7.0 ", "cannot take the login now"]),
        (imap, Refusal::Rights, ["imap: ", "NO [AUTHORIZATIONFAILED]", "the right to this mailbox"]),
    ] {
        let stage = Stage::set().await;
        stage.control().fail(server, Fault::RefuseLogin(refusal));
        let lines = stage.check(&[], 1).await;
        holds_all(failure(&lines), &[ADDRESS]);
        holds_all(failure(&lines), &words);
    }
}

#[tokio::test]
async fn rights_that_are_missing_behind_an_accepted_login_are_found() {
    let stage = Stage::set().await;
    let not_connected = Act::Say("BAD User is authenticated but not connected.".into());
    stage
        .control()
        .fail(sim::Protocol::Imap, Fault::At(Moment::CommandDue, not_connected));
    let lines = stage.check(&[], 1).await;
    holds_all(
        failure(&lines),
        &["imap: ", "BAD User is authenticated but not connected.", "Add-MailboxPermission", "half an hour"],
    );
}

#[tokio::test]
async fn offline_nobody_is_dialed() {
    let stage = Stage::set().await;
    stage.control().close_door(sim::Protocol::Http).await;
    assert_eq!(stage.check(&["--offline"], 0).await, ["ok    configuration: 3 listener(s), 1 account(s)"]);
    assert_eq!(stage.control().connections(sim::Protocol::Smtp), 0);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_shown_is_found_offline() {
    let listener_keys = "tls = \"auto\"\ncertificate = \"gone.pem\"\nprivate_key = \"gone.key\"\n".into();
    let stage = Stage::with(Wanted { listener_keys, ..Wanted::default() }).await;
    let lines = stage.check(&["--offline"], 1).await;
    let faults: Vec<_> = lines.iter().filter(|line| line.starts_with("FAIL  certificate: ")).collect();
    assert!(faults.len() == 1 && faults[0].contains("gone.pem"), "{lines:#?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_everybody_can_read_is_warned_of() {
    let stage = Stage::set().await;
    set_mode(&stage.file(), 0o644);
    let lines = stage.check(&["--offline"], 0).await;
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("warn  ") && line.contains("mailferry.toml")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn only_the_accounts_named_are_checked_and_an_unknown_one_is_bad_usage() {
    let stage = Stage::with(Wanted { crowd: 1, ..Wanted::default() }).await;
    let lines = stage.check(&["User0@contoso.example"], 0).await;
    assert!(lines[1..].iter().all(|line| line.contains("user0@contoso.example")), "{lines:#?}");
    let output = stage.run(&["check", "nobody@contoso.example"]).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    let known = format!("there are: {ADDRESS}, user0@contoso.example\n");
    assert_eq!(text(&output.stderr), format!("mailferry: there is no account nobody@contoso.example; {known}"));
}

#[tokio::test]
async fn waiting_for_rights_says_that_it_waits() {
    let stage = Stage::set().await;
    stage.control().fail(sim::Protocol::Pop3, Fault::RefuseLogin(Refusal::Rights));
    let arguments = ["--config", "mailferry.toml", "check", "--wait"];
    let mut check = Running::start_for_output(program(stage.folder.path(), &arguments));
    check.says("FAIL  ").await;
    check.says("wait  1 step(s) failed; trying again in 30 seconds").await;
}

#[tokio::test]
async fn a_bad_configuration_is_told_with_its_place() {
    let stage = Stage::set().await;
    stage.write("[log]\nlevel = \"info\"\ncolour = true\n");
    for command in [&["serve"][..], &["check"], &["check", "--offline"]] {
        let output = stage.run(command).await;
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{command:?}");
        let lines: Vec<_> = text(&output.stderr).lines().collect();
        assert!(lines[0].starts_with("mailferry: mailferry.toml:3:1: log.colour: unknown key"), "{lines:#?}");
        assert!(lines.iter().all(|line| line.starts_with("mailferry: ")), "{lines:#?}");
    }
    let output = finish(program(stage.folder.path(), &["--config", "nowhere.toml", "serve"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("mailferry: nowhere.toml: cannot be read: "));
}

#[tokio::test]
async fn a_door_to_the_network_is_not_opened() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let stage = Stage::set().await;
        stage.change("bind = \"127.0.0.1:0\"\nname = \"smtp\"", &format!("bind = \"{address}\"\nname = \"smtp\""));
        let output = stage.run(&["serve"]).await;
        assert_eq!(output.status.code(), Some(2), "{address}");
        let said = text(&output.stderr);
        holds_all(said, &["listener.allow: missing", address, "can be reached from the network"]);
        assert!(!said.contains("listening"), "{said}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let stage = Stage::set().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    stage.change("bind = \"127.0.0.1:0\"\nname = \"imap\"", &format!("bind = \"{address}\"\nname = \"imap\""));
    let output = stage.run(&["serve"]).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    let last = text(&output.stderr).lines().last().unwrap();
    holds_all(
        last,
        &["mailferry: ", &format!("cannot listen on {address} (listener imap)"), "Something else is running there"],
    );
}

/// The session that a line of the log is about.
fn session_of(line: &str) -> &str {
    let (_, number) = line.split_once(" session=").unwrap_or_else(|| panic!("no session in {line}"));
    number.split(' ').next().unwrap()
}

#[tokio::test]
async fn the_lines_of_one_session_carry_its_number() {
    let stage = Stage::set().await;
    let mut gateway = stage.serve();
    let smtp = gateway.listens(Protocol::Smtp).await;
    let mut clients = [Client::connect(smtp).await, Client::connect(smtp).await];
    let mut lines = [Vec::new(), Vec::new()];
    for (client, lines) in clients.iter_mut().zip(&mut lines) {
        client.reply().await;
        assert_ne!(client.log_in(Protocol::Smtp, "scanner", "another").await, Answer::Accepted);
        let failed = gateway.says("login failed").await;
        assert!(failed.contains("mechanism=\"AUTH PLAIN\""), "{failed}");
        lines.push(failed);
        assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    }
    for (client, lines) in clients.iter_mut().zip(&mut lines) {
        client.ask(&format!("MAIL FROM:<{ADDRESS}>")).await;
        client.ask(&format!("RCPT TO:<{ADDRESS}>")).await;
        client.ask("DATA").await;
        assert!(client.ask("Subject: x\r\n.").await.starts_with("250 "));
        lines.push(gateway.says("message accepted").await);
    }
    for (client, lines) in clients.iter_mut().zip(&mut lines) {
        client.ask("QUIT").await;
        lines.push(gateway.says("session ended").await);
    }
    let numbers = lines.map(|lines| lines.iter().map(|line| session_of(line).to_owned()).collect::<Vec<_>>());
    assert_eq!(numbers, [["1"; 3], ["2"; 3]]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_hang_up_is_logged_and_a_termination_ends_it_well() {
    use rustix::process::Signal;

    let stage = Stage::set().await;
    let mut gateway = stage.serve();
    let smtp = gateway.listens(Protocol::Smtp).await;
    gateway.signal(Signal::HUP);
    gateway.says("SIGHUP").await;
    let mut client = Client::connect(smtp).await;
    client.reply().await;
    assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    let mut stranger = Client::connect(smtp).await;
    stranger.reply().await;

    gateway.signal(Signal::TERM);
    for client in [&mut client, &mut stranger] {
        let goodbye = client.rest().await;
        assert!(goodbye.starts_with("421 4.3.2 ") && goodbye.ends_with("\r\n"), "{goodbye}");
    }
    assert_eq!(gateway.ended().await, Some(0));
}
