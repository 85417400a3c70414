//! Devices that cannot log in: their address opens a login at the first MAIL, and nothing else does.

use mailferry::config::Protocol;
use mailferry::sim::{self, Fault, Refusal};

use crate::common::{Answer, Client, PASSWORD, Setup, Wanted};
use crate::{SSL, behind_a_proxy, from, greeted, v1, v2};

const RECIPIENT: &str = "RCPT TO:<someone@contoso.example>";
const LOGIN_FIRST: &str = "530 5.7.0 Authentication required";

/// The office's login for `scanner`, and closer ones for `user0` and `user1`.
fn office() -> Wanted {
    let login = |name: &str, networks: &str, further: &str| {
        format!(
            "[[account.login]]\nusername = \"{name}\"\nwithout_password = true\nprotocols = [\"smtp\"]\nnetworks = [{networks}]\n{further}\n"
        )
    };
    let account = |address: &str| format!("[[account]]\naddress = \"{address}\"\napp = \"contoso\"\n");
    let mut wanted = behind_a_proxy();
    wanted.listener_keys = "proxy_protocol = [\"127.0.0.0/8\"]\n\
        allow = [\"192.168.0.0/16\", \"10.0.0.0/8\", \"127.0.0.0/8\", \"fd00:1::/32\"]\n\
        plaintext_login = [\"192.168.7.0/24\", \"10.0.0.0/8\", \"127.0.0.0/8\"]\n"
        .into();
    for name in ["floor", "device", "office"] {
        wanted.provider.mailboxes.push(format!("{name}@contoso.example"));
    }
    wanted.tables = [
        account("office@contoso.example"),
        login("office", "\"192.168.0.0/16\", \"fd00:1::/48\"", ""),
        account("floor@contoso.example"),
        login("floor", "\"192.168.7.0/24\"", ""),
        account("device@contoso.example"),
        login("device", "\"192.168.7.9\", \"fd00:1::9\"", "tls = \"required\""),
    ]
    .concat();
    wanted
}

/// Sends a message; the MAIL is said already.
async fn finish(client: &mut Client) {
    assert!(client.ask(RECIPIENT).await.starts_with("250 "));
    assert!(client.ask("DATA").await.starts_with("354 "));
    assert!(client.ask("Subject: scan\r\n\r\nscan\r\n.").await.starts_with("250 "));
}

/// The accounts that messages went out by.
fn senders(setup: &Setup) -> Vec<String> {
    setup
        .control()
        .submissions()
        .into_iter()
        .map(|submission| submission.account)
        .collect()
}

#[tokio::test]
async fn the_login_with_the_longest_prefix_sends() {
    let setup = Setup::with(office()).await;
    for (header, account) in [
        (v1("192.168.7.8"), "floor"),
        (v1("192.168.8.9"), "office"),
        (v2("192.168.7.9", SSL), "device"),
        (v2("fd00:1::8", b""), "office"),
        (v2("fd00:1::9", SSL), "device"),
        (v2("::ffff:192.168.7.8", b""), "floor"),
    ] {
        let mut client = greeted(&setup, Protocol::Smtp, &header).await;
        let mail = format!("MAIL FROM:<{account}@contoso.example>");
        let answer = client.ask(&mail).await;
        assert!(answer.starts_with("250 "), "{account}: {answer}");
        finish(&mut client).await;
        // And a second one over the same connection.
        assert!(client.ask(&mail).await.starts_with("250 "));
        finish(&mut client).await;
        let address = format!("{account}@contoso.example");
        assert_eq!(senders(&setup)[senders(&setup).len() - 2..], [address.clone(), address]);
    }
    assert_eq!(setup.gateway.password_computations(), 0);
    assert_eq!(setup.control().violations(), Vec::<String>::new());
}

#[tokio::test]
async fn who_has_no_such_login_is_told_to_log_in_and_loopback_is_nobody() {
    let setup = Setup::with(office()).await;
    for header in [v1("10.1.1.1"), v1("127.0.0.1"), v1("192.168.7.9"), v2("fd00:1::9", b""), v2("fd00:1:1::1", SSL)] {
        let mut client = greeted(&setup, Protocol::Smtp, &header).await;
        assert_eq!(client.ask("MAIL FROM:<floor@contoso.example>").await, LOGIN_FIRST, "{header:x?}");
        assert_eq!(client.ask(RECIPIENT).await, LOGIN_FIRST);
    }
    assert_eq!((setup.control().token_requests(), senders(&setup).len()), (0, 0));
    let mut client = from(&setup, "10.1.1.1").await;
    assert_eq!(client.ask("MAIL FROM:<a@b>").await, LOGIN_FIRST);
    assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted, "the session goes on");
}

#[tokio::test]
async fn a_password_still_opens_what_it_opens_and_a_wrong_one_takes_nothing_away() {
    let setup = Setup::with(office()).await;
    let mut client = from(&setup, "192.168.7.8").await;
    assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    assert!(client.ask("MAIL FROM:<scanner@contoso.example>").await.starts_with("250 "));
    finish(&mut client).await;
    assert_eq!(senders(&setup), ["scanner@contoso.example"]);

    let mut client = from(&setup, "192.168.7.8").await;
    // Its name with whatever password is no way in.
    for (name, password) in [("floor", ""), ("floor", PASSWORD), ("scanner", "wrong")] {
        let answer = client.log_in(Protocol::Smtp, name, password).await;
        assert!(matches!(&answer, Answer::Refused(line) if line.starts_with("5")), "{name}: {answer:?}");
        if name == "scanner" {
            // The third ended the session.
            client.rest().await;
        }
    }
    let mut client = from(&setup, "192.168.7.8").await;
    assert!(matches!(client.log_in(Protocol::Smtp, "scanner", "wrong").await, Answer::Refused(_)));
    assert!(client.ask("MAIL FROM:<floor@contoso.example>").await.starts_with("250 "));
    finish(&mut client).await;
    assert_eq!(senders(&setup)[1..], ["floor@contoso.example"]);
}

#[tokio::test]
async fn a_pipelining_device_is_read_in_order() {
    let setup = Setup::with(office()).await;
    let mut client = from(&setup, "192.168.7.8").await;
    client
        .send(format!("HELO x\r\nMAIL FROM:<floor@contoso.example>\r\n{RECIPIENT}\r\nDATA\r\n").as_bytes())
        .await;
    for start in ["250 ", "250 ", "250 ", "354 "] {
        let line = client.line().await;
        assert!(line.starts_with(start), "{line}");
    }
    assert!(client.ask("Subject: scan\r\n\r\nscan\r\n.").await.starts_with("250 "));
    assert_eq!(senders(&setup), ["floor@contoso.example"]);
}

#[tokio::test]
async fn what_fails_upstream_is_said_to_the_mail_and_the_next_one_may_succeed() {
    let setup = Setup::with(office()).await;
    let refusal = Fault::RefuseLogin(Refusal::Temporary);
    setup.control().fail_next(sim::Protocol::Smtp, 1, refusal);
    let mut client = from(&setup, "192.168.7.8").await;
    let answer = client.ask("MAIL FROM:<floor@contoso.example>").await;
    assert!(answer.starts_with("454 4.7.0 "), "{answer}");
    assert_eq!(client.ask(RECIPIENT).await, LOGIN_FIRST);
    assert!(client.ask("MAIL FROM:<floor@contoso.example>").await.starts_with("250 "));
    finish(&mut client).await;
}

#[tokio::test]
async fn mail_is_read_by_nobody_who_does_not_log_in() {
    let setup = Setup::with(office()).await;
    let mut client = greeted(&setup, Protocol::Imap, &v1("192.168.7.8")).await;
    client.say("a SELECT INBOX").await;
    assert!(!client.line().await.starts_with("a OK"));
    let mut client = greeted(&setup, Protocol::Pop3, &v1("192.168.7.8")).await;
    client.say("STAT").await;
    assert!(client.line().await.starts_with("-ERR"));
}
