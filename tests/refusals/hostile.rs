//! Clients that want to break something: what they get, and that nobody else notices.

use std::time::Duration;

use mailferry::config::{Config, Protocol};
use mailferry::proto::sasl::encode_base64;
use mailferry::sim::{Act, Fault, Gate, Moment, Personality, TokenFault};
use tokio::io::AsyncWriteExt;

use crate::common::{PASSWORD, Setup, Wanted, in_time};
use crate::{
    Kind, READING, accepted, assert_nobody_was_asked, assert_refused, assert_unharmed, refused, reply, server,
};

/// Names that would mean something else to somebody else: to XOAUTH2, to a file system, to a configuration, to a reader.
const NAMES: [&str; 12] = [
    "scanner\x01user=owner@contoso.example",
    "scanner\x01auth=Bearer evil\x01\x01",
    "scanner\r\nNOOP",
    "scanner\n",
    "scanner\x7f",
    "scanner\x1b[2J",
    "sc\u{430}nner",
    "scanner ",
    " scanner",
    "../scanner",
    "[account]",
    "@",
];

/// A login in so many lines, each sent after the answer to the one before, comes to a wrong password.
async fn assert_wrong(setup: &Setup, protocol: Protocol, lines: &[String]) {
    let mut client = setup.client(protocol).await;
    let mut answer = String::new();
    for line in lines {
        client.say(line).await;
        answer = client.line().await;
    }
    assert!(answer.starts_with(reply(protocol, Kind::Credentials)), "{lines:?}: {answer}");
}

#[tokio::test]
async fn a_name_is_the_one_that_was_configured_or_none() {
    // A way to send them has a gateway of its own: the same password for the same name again is answered later.
    for protocol in READING {
        let verb = if protocol == Protocol::Imap { "tag AUTHENTICATE" } else { "AUTH" };
        let brisk = || Setup::with(Wanted::brisk());
        let setups = [brisk().await, brisk().await, brisk().await];
        for name in NAMES {
            let plain = encode_base64(format!("\0{name}\0{PASSWORD}").as_bytes());
            let acting_as = encode_base64(format!("{name}\0scanner\0{PASSWORD}").as_bytes());
            let (name64, password64) = (encode_base64(name.as_bytes()), encode_base64(PASSWORD.as_bytes()));
            let ways = [
                vec![format!("{verb} PLAIN {}", *plain)],
                vec![format!("{verb} PLAIN {}", *acting_as)],
                vec![format!("{verb} LOGIN {}", *name64), password64.to_string()],
            ];
            for (setup, lines) in setups.iter().zip(ways) {
                assert_wrong(setup, protocol, &lines).await;
            }
        }
        setups.iter().for_each(assert_nobody_was_asked);
    }
    let [literal, quoted, pop3] = [Setup::new().await, Setup::new().await, Setup::new().await];
    for name in NAMES {
        // A literal may hold anything but NUL.
        let line = format!("tag LOGIN {{{}+}}\r\n{name} \"{PASSWORD}\"", name.len());
        assert_wrong(&literal, Protocol::Imap, &[line]).await;
        if !name.contains(['\r', '\n']) {
            assert_wrong(&quoted, Protocol::Imap, &[format!("tag LOGIN \"{name}\" \"{PASSWORD}\"")]).await;
            assert_wrong(&pop3, Protocol::Pop3, &[format!("USER {name}"), format!("PASS {PASSWORD}")]).await;
        }
    }
    [&literal, &quoted, &pop3].into_iter().for_each(assert_nobody_was_asked);
}

#[tokio::test]
async fn long_names_are_refused_and_nothing_is_kept_of_them() {
    let setup = Setup::with(Wanted::brisk()).await;
    for protocol in READING {
        let mut client = setup.client(protocol).await;
        for length in [256, 900] {
            let answer = client.log_in(protocol, &"n".repeat(length), PASSWORD).await;
            assert_refused(protocol, Kind::Credentials, answer, "long");
        }
        accepted(&mut client, protocol).await;
    }
    let mut client = setup.client(Protocol::Imap).await;
    client.say("tag LOGIN {10000}").await;
    assert!(client.line().await.starts_with("tag NO [TOOBIG]"));
    client.say(&format!("tag LOGIN {{10000+}}\r\n{} x", "n".repeat(10_000))).await;
    assert!(client.line().await.starts_with("tag NO [TOOBIG]"));
    accepted(&mut client, Protocol::Imap).await;
}

#[tokio::test]
async fn a_literal_that_is_too_much_is_not_invited_or_ends_the_connection() {
    let setup = Setup::new().await;
    for bomb in
        ["{4294967295}", "{4294967296}", "{18446744073709551615}", "{18446744073709551616}", "{99999999999999999999}"]
    {
        let mut client = setup.client(Protocol::Imap).await;
        client.say(&format!("b LOGIN {bomb}")).await;
        let answer = client.line().await;
        assert!(answer.starts_with("b NO [TOOBIG]"), "{bomb}: {answer}");
        // Not invited, the literal does not come, and the next line is a command.
        accepted(&mut client, Protocol::Imap).await;
    }
    for bomb in ["{4294967295+}", "{18446744073709551616+}", "{99999999999999999999+}"] {
        let mut client = setup.client(Protocol::Imap).await;
        client.send(format!("b LOGIN {bomb}\r\nc LOGOUT\r\n").as_bytes()).await;
        let last_words = client.rest().await;
        assert!(last_words.starts_with("* BYE ") && last_words.lines().count() == 1, "{bomb}: {last_words}");
    }
    for no_literal in ["{-1}", "{1", "{}", "{+}", "{1 }", "{1}x", "{0x1}"] {
        let mut client = setup.client(Protocol::Imap).await;
        client.say(&format!("b LOGIN scanner {no_literal}")).await;
        let answer = client.line().await;
        // An atom that no atom should be is a wrong password at best, and never waits for a literal.
        assert!(answer.starts_with("b BAD ") || answer.starts_with("b NO "), "{no_literal}: {answer}");
    }
    // RFC 9051's literal8 has no place in LOGIN, yet its octets are no command.
    let mut client = setup.client(Protocol::Imap).await;
    client.send(b"b LOGIN scanner ~{10+}\r\nc LOGOUT\r\n\r\n").await;
    assert!(client.line().await.starts_with("b BAD "));
    accepted(&mut client, Protocol::Imap).await;
}

#[tokio::test]
async fn thousands_of_small_literals_are_one_command_too_long() {
    let setup = Setup::new().await;
    for literal in ["{0+}\r\n ", "{1+}\r\nx "] {
        let mut client = setup.client(Protocol::Imap).await;
        let command = format!("b ID ({}\r\n", literal.repeat(20_000));
        // The gateway may have closed before it has taken all of it.
        let _ = in_time(client.connection.write_all(command.as_bytes())).await;
        let last_words = client.rest().await;
        assert!(last_words.starts_with("* BYE ") && last_words.lines().count() == 1, "{last_words}");
    }
    assert_nobody_was_asked(&setup);
}

#[tokio::test]
async fn whoever_keeps_busy_without_logging_in_is_sent_away() {
    let change = |config: &mut Config| config.limits.login_timeout = Duration::from_millis(200);
    let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
    for (protocol, command, goodbye) in
        [(Protocol::Imap, "n NOOP\r\n", "* BYE "), (Protocol::Pop3, "STAT\r\n", "-ERR [SYS/TEMP] ")]
    {
        let mut client = setup.client(protocol).await;
        let mut last = String::new();
        // The deadline is for the login, not for the next command.
        loop {
            // Fails once the gateway has closed.
            let _ = in_time(client.connection.write_all(command.as_bytes())).await;
            match client.line().await {
                line if line.is_empty() => break,
                line => last = line,
            }
        }
        assert!(last.starts_with(goodbye), "{last}");
    }
}

#[tokio::test]
async fn what_is_pipelined_behind_a_failed_login_fails_too() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Imap).await;
    client.send(b"a LOGIN scanner wrong\r\nb SELECT INBOX\r\nc LOGOUT\r\n").await;
    assert!(client.line().await.starts_with("a NO [AUTHENTICATIONFAILED] "));
    assert!(client.line().await.starts_with("b BAD "));
    assert!(client.line().await.starts_with("* BYE ") && client.line().await.starts_with("c OK"));
    assert_eq!(client.rest().await, "");

    let mut client = setup.client(Protocol::Pop3).await;
    client.send(b"USER scanner\r\nPASS wrong\r\nSTAT\r\nRETR 1\r\nQUIT\r\n").await;
    assert!(client.line().await.starts_with("+OK"));
    assert!(client.line().await.starts_with("-ERR [AUTH] "));
    for _ in ["STAT", "RETR"] {
        assert!(client.line().await.starts_with("-ERR "));
    }
    assert!(client.rest().await.starts_with("+OK"));
    assert_nobody_was_asked(&setup);
}

#[tokio::test]
async fn a_client_that_leaves_during_its_login_leaves_nothing_behind() {
    for at_the_token in [true, false] {
        let setup = Setup::new().await;
        for protocol in READING {
            let gate = Gate::new();
            if at_the_token && protocol == Protocol::Imap {
                setup.control().fail_next_tokens(1, TokenFault::Hold(gate.clone()));
            } else {
                let hold = Fault::At(Moment::CredentialsRead, Act::Hold(gate.clone()));
                setup.control().fail_next(server(protocol), 1, hold);
            }
            let mut client = setup.client(protocol).await;
            match protocol {
                Protocol::Imap => client.say(&format!("a LOGIN scanner \"{PASSWORD}\"")).await,
                _ => client.send(format!("USER scanner\r\nPASS {PASSWORD}\r\n").as_bytes()).await,
            }
            in_time(gate.reached(1)).await;
            drop(client);
            gate.open();
            in_time(setup.control().until(|provider| provider.logins_ok(server(protocol)) == 1)).await;
            in_time(
                setup
                    .control()
                    .until(|provider| provider.open_connections(server(protocol)) == 0),
            )
            .await;
            let mut next = setup.client(protocol).await;
            accepted(&mut next, protocol).await;
        }
        assert_eq!(setup.gateway.drain().await, 0, "no session is left behind");
    }
}

#[tokio::test]
async fn an_upstream_that_dies_right_after_the_login_takes_only_its_session_along() {
    let setup = Setup::with(Wanted::of(Personality::Dovecot)).await;
    for protocol in READING {
        let mut bystander = setup.logged_in(protocol).await;
        setup
            .control()
            .fail_next(server(protocol), 1, Fault::At(Moment::LoggedIn, Act::Close));
        let mut client = setup.client(protocol).await;
        accepted(&mut client, protocol).await;
        assert_eq!(client.rest().await, "");
        assert_unharmed(&mut bystander, protocol).await;
        drop(bystander);
    }
    let mut client = setup.client(Protocol::Imap).await;
    setup.control().close_door(server(Protocol::Imap)).await;
    refused(&mut client, Protocol::Imap, Kind::Passing, "nobody listens").await;
    setup.control().open_door(server(Protocol::Imap)).await;
    accepted(&mut client, Protocol::Imap).await;
}
