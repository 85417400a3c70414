//! No secret in what the command prints, whatever way a device logs in and however it goes wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailferry::config::Protocol;
use mailferry::sim::{self, Fault, Refusal};
use rustix::process::Signal;

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
