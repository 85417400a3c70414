//! IMAP sessions, end to end: a legacy client, the gateway, a simulated provider.

#![allow(unreachable_pub, reason = "a test is no library")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod login;
mod relay;
mod scripted;

use common::{Client, PASSWORD, Setup};
use mailferry::sim::{Direction, Personality, Protocol as Server};

const PERSONALITIES: [Personality; 2] = [Personality::Microsoft, Personality::Dovecot];

/// The command that logs in, with any tag.
fn login_command(tag: &str) -> String {
    format!("{tag} LOGIN scanner \"{PASSWORD}\"")
}

/// Sends a command and reads what it is answered, its completion last.
async fn ask(client: &mut Client, command: &str) -> Vec<String> {
    client.say(command).await;
    answer(client, command.split(' ').next().unwrap()).await
}

/// Reads on to the completion of the command with this tag.
async fn answer(client: &mut Client, tag: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = client.line().await;
        assert!(!line.is_empty(), "the connection ended before {tag} was completed: {lines:?}");
        let complete = line.starts_with(&format!("{tag} "));
        lines.push(line);
        if complete {
            return lines;
        }
    }
}

/// Sends a command that succeeds.
async fn succeed(client: &mut Client, command: &str) -> Vec<String> {
    let lines = ask(client, command).await;
    let tag = command.split(' ').next().unwrap();
    assert!(lines.last().unwrap().starts_with(&format!("{tag} OK")), "{command}: {lines:?}");
    lines
}

/// What the gateway has said to the IMAP server, tags left out.
fn said_upstream(setup: &Setup) -> Vec<String> {
    let dialogue = setup.control().dialogue();
    let by_gateway = dialogue
        .into_iter()
        .filter(|(server, direction, _)| (*server, *direction) == (Server::Imap, Direction::ToProvider));
    by_gateway
        .map(|(_, _, line)| {
            line.split_once(' ')
                .map_or_else(|| line.clone(), |(_, command)| command.to_owned())
        })
        .collect()
}

/// The gateway has kept to the letter of IMAP.
fn assert_in_order(setup: &Setup) {
    assert_eq!(setup.control().violations(), Vec::<String>::new());
}
