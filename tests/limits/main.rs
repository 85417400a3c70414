//! What strangers can take from the gateway, and that one session's misfortune is no other's.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[cfg(target_os = "linux")]
mod apart;
#[path = "../common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Answer, Client, PASSWORD, Setup, Wanted, let_pass};
use mailferry::config::{Config, Protocol};
use mailferry::sim::{self, Act, Fault, Gate, Moment};
use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;
use tokio::time::timeout;

/// How each protocol says goodbye.
const fn goodbye(protocol: Protocol, enhanced: &'static str) -> [&'static str; 2] {
    match protocol {
        Protocol::Smtp => ["421 ", enhanced],
        Protocol::Imap => ["* BYE ", ""],
        Protocol::Pop3 => ["-ERR ", "[SYS/TEMP] "],
    }
}

/// Waits until there are so many sessions.
async fn sessions_become(setup: &Setup, count: usize) {
    let counting = async {
        while setup.gateway.sessions() != count {
            yield_now().await;
        }
    };
    timeout(common::STUCK, counting).await.expect("sessions stay");
}

#[tokio::test]
async fn beyond_the_limit_of_sessions_there_is_a_goodbye_and_a_place_that_is_left_is_free() {
    for protocol in Protocol::ALL {
        let top = "[limits]\nsessions = 3".into();
        let setup = Setup::with(Wanted { top, ..Wanted::default() }).await;
        let mut held =
            vec![setup.logged_in(protocol).await, setup.client(protocol).await, setup.client(protocol).await];
        for protocol in Protocol::ALL {
            let mut surplus = Client::connect(setup.address(protocol)).await;
            let line = surplus.line().await;
            assert!(line.starts_with(&goodbye(protocol, "4.3.2 ").concat()), "{line}");
            assert_eq!(surplus.rest().await, "");
        }
        assert_eq!(setup.gateway.sessions(), 3);
        held.pop();
        sessions_become(&setup, 2).await;
        held.push(setup.logged_in(protocol).await);
    }
}

#[tokio::test]
async fn loopback_is_exempt_from_the_limit_per_address() {
    let top = "[limits]\nsessions_per_address = 1".into();
    let setup = Setup::with(Wanted { top, ..Wanted::default() }).await;
    let mut clients = Vec::new();
    for protocol in Protocol::ALL {
        clients.push(setup.logged_in(protocol).await);
    }
    assert_eq!(setup.gateway.sessions(), 3);
}

#[tokio::test]
async fn who_does_not_log_in_has_a_minute_however_busy() {
    for (protocol, line, answer) in
        [(Protocol::Smtp, "NOOP", "250 "), (Protocol::Imap, "a NOOP", "a OK"), (Protocol::Pop3, "CAPA", ".")]
    {
        let setup = Setup::new().await;
        let mut client = setup.client(protocol).await;
        for _ in 0..5 {
            let_pass(Duration::from_secs(10)).await;
            client.send(&line.as_bytes()[..1]).await;
            let_pass(Duration::from_millis(500)).await;
            client.say(&line[1..]).await;
            client.until(answer).await;
        }
        let_pass(Duration::from_secs(10)).await;
        // Half a minute is enough to be told, and too short for a clock that each command has set back.
        let told = timeout(Duration::from_secs(30), client.until(goodbye(protocol, "")[0]));
        let words = told.await.expect("the minute is over");
        assert!(words.starts_with(&goodbye(protocol, "4.4.2 ").concat()), "{words}");
        assert_eq!(client.rest().await, "");
        sessions_become(&setup, 0).await;
    }
}

#[tokio::test]
async fn what_a_login_takes_upstream_is_not_the_clients_time() {
    let change = |config: &mut Config| {
        let long = Duration::from_secs(60 * 60);
        (config.budgets.login, config.budgets.dial) = (long, long);
    };
    let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
    for (protocol, server, command, done) in [
        (Protocol::Smtp, sim::Protocol::Smtp, "NOOP", "250 "),
        (Protocol::Imap, sim::Protocol::Imap, "a NOOP", "a OK"),
        (Protocol::Pop3, sim::Protocol::Pop3, "NOOP", "+OK"),
    ] {
        let gate = Gate::new();
        let hold = Fault::At(Moment::CredentialsRead, Act::Hold(gate.clone()));
        setup.control().fail_next(server, 1, hold);
        let mut client = setup.client(protocol).await;
        let holding = async {
            gate.reached(1).await;
            let_pass(Duration::from_secs(90)).await;
            gate.open();
        };
        let (answer, ()) = tokio::join!(client.log_in(protocol, "scanner", PASSWORD), holding);
        assert_eq!(answer, Answer::Accepted, "{protocol}");
        client.say(command).await;
        // Fails where the connection ends before.
        client.until(done).await;
    }
}

#[tokio::test]
async fn who_is_silent_after_the_login_is_hung_up_on() {
    for (protocol, minutes, command, answer) in [
        (Protocol::Smtp, 10, "NOOP", "250 "),
        (Protocol::Imap, 35, "a NOOP", "a OK"),
        (Protocol::Pop3, 10, "NOOP", "+OK"),
    ] {
        let setup = Setup::new().await;
        let mut client = setup.logged_in(protocol).await;
        for _ in 0..3 {
            let_pass(Duration::from_secs((minutes - 1) * 60)).await;
            client.say(command).await;
            client.until(answer).await;
        }
        let_pass(Duration::from_secs(minutes * 60)).await;
        let rest = client.rest().await;
        if protocol == Protocol::Smtp {
            assert!(rest.starts_with("421 4.4.2 ") && rest.ends_with("\r\n"), "{rest}");
        } else {
            assert_eq!(rest, "", "after login the gateway says nothing of its own over {protocol}");
        }
        sessions_become(&setup, 0).await;
    }
}

#[tokio::test]
async fn an_endless_line_ends_its_own_session_and_no_other() {
    let setup = Setup::new().await;
    let mut neighbour = setup.logged_in(Protocol::Smtp).await;
    for protocol in Protocol::ALL {
        let mut client = setup.client(protocol).await;
        let line = vec![b'a'; 4 * 1024 * 1024];
        // It is not read to its end, and the rest meets a closed connection.
        let sent = client.connection.write_all(&line).await;
        assert!(sent.is_err() || !client.rest().await.is_empty());
        assert_eq!(neighbour.ask("NOOP").await[..4], *"250 ");
    }
    sessions_become(&setup, 1).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_stalls_itself_alone() {
    let setup = Setup::new().await;
    let message = [b"Subject: large\r\n\r\n".as_slice(), &b"0123456789abcdef\r\n".repeat(500_000)].concat();
    assert!(setup.control().deliver(common::ADDRESS, &message));
    let mut stalled = setup.logged_in(Protocol::Pop3).await;
    stalled.say("RETR 1").await;
    let mut brisk = setup.logged_in(Protocol::Imap).await;
    brisk.say("a SELECT INBOX").await;
    brisk.until("a OK").await;
    brisk.say("b FETCH 1 BODY.PEEK[]").await;
    brisk.until("* 1 FETCH").await;
    assert!(brisk.octets(message.len()).await == message);
    brisk.until("b OK").await;
    stalled.until("+OK").await;
    assert!(stalled.octets(message.len()).await == message, "nothing is lost for having waited");
    assert_eq!(stalled.line().await, ".");
}
