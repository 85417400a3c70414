//! No secret in what the command prints, whatever way a device logs in and however it goes wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailferry::config::Protocol;
use mailferry::sim::{self, Fault, Refusal};
use rustix::process::Signal;

use super::common::program::Running;
use super::common::{PASSWORD, Wanted, in_time};
use super::{Stage, send, transcripts};

const WRONG: &str = "n0t the password";

/// What nobody but the mail's reader is to see.
const MAIL: &str = "Meet me behind the old lighthouse";

/// Every way to log in, the lines to send each after the answer to the one before.
fn logins(protocol: Protocol, name: &str, password: &str) -> Vec<Vec<String>> {
    let plain = STANDARD.encode(format!("\0{name}\0{password}"));
    let (user, secret) = (STANDARD.encode(name), STANDARD.encode(password));
    let verb = if protocol == Protocol::Imap { "tag AUTHENTICATE" } else { "AUTH" };
    let mut ways = vec![
        vec![format!("{verb} PLAIN {plain}")],
        vec![format!("{verb} PLAIN"), plain],
        vec![format!("{verb} LOGIN"), user.clone(), secret.clone()],
        vec![format!("{verb} LOGIN {user}"), secret.clone()],
        // A password where none belongs.
        vec![password.to_owned()],
        vec![format!("{verb} {secret}")],
    ];
    match protocol {
        Protocol::Smtp => {}
        Protocol::Imap => ways.extend([
            vec![format!("tag LOGIN {name} \"{password}\"")],
            vec![format!("tag LOGIN {name} {{{}}}", password.len()), password.to_owned()],
        ]),
        Protocol::Pop3 => ways.extend([
            vec![format!("USER {name}"), format!("PASS {password}")],
            vec![format!("USER {password}"), format!("PASS {password}")],
        ]),
    }
    ways
}

#[tokio::test]
async fn no_secret_is_shown() {
    let provider = sim::Options { token_length: 96, ..Wanted::default().provider };
    let stage = Stage::set(Wanted { provider, ..Wanted::brisk() }).await;
    let mut watching = stage.watch(&[]).await;
    for protocol in Protocol::ALL {
        for password in [PASSWORD, WRONG] {
            for lines in logins(protocol, "scanner", password) {
                let mut device = stage.device(protocol).await;
                for line in &lines {
                    device.say(line).await;
                    device.line().await;
                }
            }
        }
    }
    stage
        .provider
        .control()
        .fail_next(sim::Protocol::Smtp, 1, Fault::RefuseLogin(Refusal::Echo));
    let mut device = stage.device(Protocol::Smtp).await;
    device.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    let mut device = stage.device(Protocol::Smtp).await;
    device.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    send(&mut device, &format!("Subject: {MAIL}\r\n\r\n{MAIL}")).await;
    device.ask("QUIT").await;
    let tokens = stage.provider.control().issued_tokens();
    assert!(!tokens.is_empty());
    watching.says("-- message accepted").await;
    watching.says("-- the session has ended: the client said goodbye").await;
    watching.signal(Signal::INT);
    let (status, said) = in_time(watching.ended_with_all()).await;
    assert_eq!(status, Some(0));
    let said = said + &transcripts(stage.folder.path()).concat();
    assert!(said.matches("(not shown)").count() > 40, "little was seen: {said}");
    for secret in [PASSWORD, WRONG, MAIL].into_iter().chain(tokens.iter().map(String::as_str)) {
        let spread: Vec<_> = (0..3)
            .map(|before| STANDARD.encode([&vec![b'x'; before], secret.as_bytes()].concat()))
            .map(|encoded| encoded[4..encoded.len() - 4].to_owned())
            .collect();
        for form in [secret.to_owned(), secret[..12].to_owned()].into_iter().chain(spread) {
            assert!(!said.contains(&form), "{form} is in: {said}");
        }
    }
}

/// What the command has said in all, once `last` was said, and its transcript.
async fn all_of(stage: &Stage, mut watching: Running, last: &str) -> String {
    watching.says(last).await;
    watching.signal(Signal::INT);
    let (status, said) = in_time(watching.ended_with_all()).await;
    assert_eq!(status, Some(0));
    said + &transcripts(stage.folder.path()).concat()
}

/// A device that waits for nothing: its message comes behind a login and an envelope, and reads like commands.
#[tokio::test]
async fn no_part_of_a_message_is_shown_whatever_came_in_one_write_with_the_login() {
    let stage = Stage::set(Wanted::default()).await;
    let watching = stage.watch(&[]).await;
    let plain = STANDARD.encode(format!("\0scanner\0{PASSWORD}"));
    for stray in ["", "\r\n", "\r\n\r\n"] {
        let mut device = stage.device(Protocol::Smtp).await;
        let ahead = format!(
            "AUTH PLAIN {plain}\r\n{stray}MAIL FROM:<scanner@contoso.example>\r\nRCPT TO:<a@contoso.example>\r\nDATA\r\n"
        );
        device.send(ahead.as_bytes()).await;
        device.until("354 ").await;
        for line in ["Mail the PIN 4711 to Bob", "Helo my password is hunter2", "NOOP x-hunter2", "EHLO x-hunter2", "."]
        {
            device.say(line).await;
        }
        device.until("250 2.0.0 ").await;
        device.ask("QUIT").await;
    }
    let mut device = stage.device(Protocol::Smtp).await;
    for line in ["HELO my password is hunter2", "MAIL the PIN 4711 to Bob", "NOOP x-hunter2", "RSET 4711"] {
        device.ask(line).await;
    }
    drop(device);
    let said = all_of(&stage, watching, "#4 -- the session has ended").await;
    assert!(!said.contains("4711") && !said.contains("hunter2"), "{said}");
    assert!(said.contains("octets of a message)") && said.contains("device -> NOOP (not shown)"), "{said}");
    assert_eq!(said.matches("device -> DATA\n").count(), 6, "{said}");
    assert_eq!(said.matches("-- message accepted").count(), 6, "{said}");
}

/// A password with a line end in it, and one behind a literal that is too long, are commands to the letter.
#[tokio::test]
async fn no_answer_repeats_a_password_as_a_tag() {
    let stage = Stage::set(Wanted::brisk()).await;
    let watching = stage.watch(&[]).await;
    for octets in [
        "A1 LOGIN \"forced\" \"correct\r\nhorse77 battery\"\r\n",
        "A2 LOGIN forced {9999}\r\nhunter2secret with words\r\n",
        "A3 LOGIN forced {9999}\r\nabc12 with words\r\n",
    ] {
        let mut device = stage.device(Protocol::Imap).await;
        device.send(octets.as_bytes()).await;
        device.line().await;
        assert!(device.line().await.ends_with(" BAD Unknown command"));
    }
    let said = all_of(&stage, watching, "#3 -- the session has ended").await;
    for secret in ["horse77", "battery", "correct", "hunter2", "abc12", "with words"] {
        assert!(!said.contains(secret), "{secret} is in: {said}");
    }
    assert_eq!(said.matches("device <- (tag) BAD Unknown command").count(), 6, "{said}");
    assert!(said.contains("device -> A2 LOGIN (not shown)") && said.contains("device <- A1 BAD LOGIN takes"), "{said}");
}

/// Who may connect and no more cannot hide from a watcher what another device does.
#[tokio::test]
async fn nobody_blinds_a_watcher() {
    let stage = Stage::set(Wanted::default()).await;
    let watching = stage.watch(&[]).await;
    for flood in ["\n".repeat(4096), "NOOP\r\n".repeat(5000), "x".repeat(90_000)] {
        for _ in 0..4 {
            let mut device = stage.device(Protocol::Smtp).await;
            // It may have been closed before it has taken everything.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut device.connection, flood.as_bytes()).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut device.connection).await;
            device.rest().await;
        }
    }
    let mut device = stage.device(Protocol::Smtp).await;
    device.ask("EHLO XC-B8C463").await;
    device.ask("QUIT").await;
    let said = all_of(&stage, watching, "#13 -- the session has ended").await;
    let told: Vec<_> = said.lines().filter(|line| line.contains(" #13 ")).collect();
    for line in [" has connected to the listener", "device -> EHLO XC-B8C463", "device -> QUIT", "device <- 221 "] {
        assert_eq!(told.iter().filter(|told| told.contains(line)).count(), 2, "{line}: {told:?}");
    }
    // Twice: here and in the transcript.
    for session in 1..=12 {
        let told = said.matches(&format!(" #{session} ")).count();
        assert!((4..2 * 400).contains(&told), "session {session}: {told}");
    }
}
