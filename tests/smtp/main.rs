//! SMTP sessions, end to end: a legacy client, the gateway, a simulated provider.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod data;
mod dialogue;
mod envelope;
mod hostile;
mod login;
mod lost;
mod refused;
mod rules;
mod upstream;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::{ADDRESS, Client, Setup, Wanted};
use mailferry::config::Protocol;
use mailferry::sim::{self, Control, Direction, Personality};

/// Both kinds of provider: tests that could fare differently at one of them go over both.
const BOTH: [Personality; 2] = [Personality::Microsoft, Personality::Dovecot];

/// The login `scanner` as PLAIN's one message, in base64.
const PLAIN: &str = "AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==";

const MAIL: &str = "MAIL FROM:<scanner@contoso.example>";
const RCPT: &str = "RCPT TO:<scanner@contoso.example>";

/// What a login is answered that may work by itself later.
const LATER: &str = "454 4.7.0 Temporarily unavailable, please try again later";

/// PLAIN's message for any octets, in base64.
fn plain(authzid: &[u8], username: &[u8], password: &[u8]) -> String {
    BASE64_STANDARD.encode([authzid, b"\0", username, b"\0", password].concat())
}

/// Sends a command and checks how the last line of its reply begins.
async fn expect(client: &mut Client, command: &str, start: &str) -> String {
    let reply = client.ask(command).await;
    assert!(reply.starts_with(start), "{command:?} was answered {reply:?}, not {start:?}");
    reply
}

/// Sends one message; its text comes without its last CRLF and with the dots it needs.
async fn send(client: &mut Client, text: &str) {
    expect(client, MAIL, "250 ").await;
    expect(client, RCPT, "250 ").await;
    expect(client, "DATA", "354 ").await;
    expect(client, &format!("{text}\r\n."), "250 2.0.0 O").await;
}

/// Says goodbye and waits until nothing is left; the provider has seen nothing that broke its rules.
async fn part(setup: &Setup, mut client: Client) {
    expect(&mut client, "QUIT", "221 ").await;
    assert_eq!(client.rest().await, "");
    setup.deserted().await;
    assert_eq!(setup.control().violations(), Vec::<String>::new());
}

/// The messages that the provider has taken, as they read there.
fn taken(control: &Control) -> Vec<String> {
    control
        .submissions()
        .into_iter()
        .map(|submission| String::from_utf8(submission.octets).unwrap())
        .collect()
}

/// What the provider's SMTP server was told, line by line.
fn told(control: &Control) -> Vec<String> {
    let to_server = |(protocol, direction, _): &(sim::Protocol, Direction, String)| {
        *protocol == sim::Protocol::Smtp && *direction == Direction::ToProvider
    };
    control
        .dialogue()
        .into_iter()
        .filter(to_server)
        .map(|(_, _, line)| line)
        .collect()
}

#[tokio::test]
async fn a_message_goes_through() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        send(&mut client, "Subject: hello\r\n\r\n..dots").await;
        part(&setup, client).await;
        assert_eq!(setup.control().messages(ADDRESS), [b"Subject: hello\r\n\r\n.dots\r\n"]);
    }
}
