//! What a login's mail may be and what is done to it: sizes, recipients, the account's name, a device's own end of data.

use std::sync::Arc;

use mailferry::config::{Account, Config, MailRules, Protocol, Recipients, SenderRule};
use mailferry::sim::{self, Fault};

use super::common::{ADDRESS, Client, Setup, Wanted};
use super::{MAIL, RCPT, expect, part, taken};

/// The account of the login `scanner`, to be changed.
fn account(config: &mut Config) -> &mut Account {
    Arc::make_mut(&mut config.accounts[0])
}

fn rules(config: &mut Config) -> &mut MailRules {
    &mut account(config).logins[0].mail
}

fn force(config: &mut Config) {
    rules(config).sender = SenderRule::Force { from_name: None, reply_to: None };
}

/// A client that has logged in where something is configured otherwise.
async fn logged_in(change: fn(&mut Config)) -> (Setup, Client) {
    let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
    let client = setup.logged_in(Protocol::Smtp).await;
    (setup, client)
}

/// Up to the 354, as a device that names itself.
async fn begin(client: &mut Client) {
    expect(client, "MAIL FROM:<scanner>", "250 ").await;
    expect(client, RCPT, "250 ").await;
    expect(client, "DATA", "354 ").await;
}

#[tokio::test]
async fn a_scanner_is_accepted_with_the_accounts_name_and_refused_with_its_own() {
    let scan = "From: Scanner <scanner>\r\nTo: a@b\r\n\r\nscan\r\n.";
    let (setup, mut client) = logged_in(|_| {}).await;
    setup.control().fail(sim::Protocol::Smtp, Fault::RefuseOtherSenders);
    expect(&mut client, MAIL, "250 ").await;
    expect(&mut client, RCPT, "250 ").await;
    expect(&mut client, "DATA", "354 ").await;
    expect(&mut client, scan, "554 5.2.252 SendAsDenied").await;
    part(&setup, client).await;

    let (setup, mut client) = logged_in(force).await;
    setup.control().fail(sim::Protocol::Smtp, Fault::RefuseOtherSenders);
    for _ in 0..2 {
        begin(&mut client).await;
        expect(&mut client, scan, "250 2.0.0 ").await;
    }
    part(&setup, client).await;
    let messages = taken(setup.control());
    let ids: Vec<_> = messages.iter().map(|message| message.lines().nth(2).unwrap()).collect();
    assert!(
        ids[0].starts_with("Message-ID: <") && ids[0].ends_with("@gateway.example>") && ids[0] != ids[1],
        "{ids:?}"
    );
    for message in &messages {
        assert!(message.starts_with(&format!("From: \"Scanner\" <{ADDRESS}>\r\nDate: ")), "{message}");
        assert!(message.ends_with(">\r\nTo: a@b\r\n\r\nscan\r\n"), "{message}");
    }
    assert_eq!(setup.control().submissions()[0].from, ADDRESS);
}

#[tokio::test]
async fn fifty_megabytes_pass_behind_a_new_header() {
    let (setup, mut client) = logged_in(force).await;
    setup.control().fail(sim::Protocol::Smtp, Fault::RefuseOtherSenders);
    begin(&mut client).await;
    client.send(b"From: Scanner\n\n").await;
    let piece = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(16 * 1024);
    for _ in 0..50 {
        client.send(&piece).await;
    }
    client.send(b".\r\n").await;
    assert!(client.line().await.starts_with("250 2.0.0 "));
    let message = setup.control().submissions().pop().unwrap().octets;
    assert!(message.ends_with(&piece));
    assert_eq!(message.len() - message.windows(4).position(|end| end == b"\r\n\r\n").unwrap() - 4, 50 * piece.len());
    part(&setup, client).await;
}

#[tokio::test]
async fn chunking_is_not_offered_to_a_login_whose_header_is_rewritten_and_works_all_the_same() {
    let (setup, mut client) = logged_in(force).await;
    client.say("EHLO scanner").await;
    let offer = client.reply().await.join("\n");
    assert!(offer.contains("PIPELINING") && !offer.contains("CHUNKING") && !offer.contains("BINARYMIME"), "{offer}");
    setup.control().fail(sim::Protocol::Smtp, Fault::RefuseOtherSenders);
    expect(&mut client, "MAIL FROM:<scanner>", "250 ").await;
    expect(&mut client, RCPT, "250 ").await;
    client.send(b"BDAT 9\r\nFrom: ScaBDAT 14 LAST\r\nnner\r\n\r\n\n.\r\n.\r").await;
    assert_eq!(client.line().await, "250 2.0.0 9 octets received");
    assert!(client.line().await.starts_with("250 2.0.0 "));
    part(&setup, client).await;
    assert!(taken(setup.control())[0].ends_with("\r\n\r\n\n.\r\n.\r"));
}

#[tokio::test]
async fn a_message_that_is_too_big_is_refused_when_announced_and_cut_off_when_not() {
    let (setup, mut client) = logged_in(|config| account(config).max_message = Some(100_000)).await;
    client.say("EHLO scanner").await;
    assert!(client.reply().await.iter().any(|line| line.ends_with("SIZE 100000")));
    expect(&mut client, &format!("{MAIL} SIZE=100001"), "552 5.3.4 ").await;
    expect(&mut client, &format!("{MAIL} SIZE=100000"), "250 ").await;
    expect(&mut client, RCPT, "250 ").await;
    expect(&mut client, "DATA", "354 ").await;
    client.send(&b"RSET\r\n".repeat(100_000)).await;
    client.say(".").await;
    assert!(client.line().await.starts_with("552 5.3.4 "));
    let rest = client.rest().await;
    assert!(rest.starts_with("421 ") && rest.lines().count() == 1, "{rest}");
    setup.deserted().await;
    assert!(setup.control().submissions().is_empty());
    let raw = setup.control().raw_smtp().pop().unwrap();
    assert!(raw.len() <= 100_000 && !raw.ends_with(b".\r\n"));
}

#[tokio::test]
async fn other_recipients_are_refused_here() {
    let (setup, mut client) =
        logged_in(|config| rules(config).recipients = Some(vec![Recipients::Domain("contoso.example".into())])).await;
    expect(&mut client, MAIL, "250 ").await;
    expect(&mut client, "RCPT TO:<ceo@example.com>", "550 5.7.1 ").await;
    expect(&mut client, "RCPT TO:<ceo%example.com@contoso.example>", "550 5.7.1 ").await;
    expect(&mut client, RCPT, "250 ").await;
    expect(&mut client, "DATA", "354 ").await;
    expect(&mut client, "Subject: x\r\n.", "250 2.0.0 ").await;
    part(&setup, client).await;
    assert_eq!(setup.control().submissions()[0].recipients, [ADDRESS]);
}

#[tokio::test]
async fn who_tries_which_recipients_there_are_is_not_heard_out() {
    let (setup, mut client) =
        logged_in(|config| rules(config).recipients = Some(vec![Recipients::Domain("contoso.example".into())])).await;
    expect(&mut client, MAIL, "250 ").await;
    for _ in 0..100 {
        expect(&mut client, "RCPT TO:<ceo@example.com>", "550 5.7.1 ").await;
    }
    assert_eq!(client.rest().await, "421 4.7.0 Too many refused recipients\r\n");
    setup.deserted().await;
}

#[tokio::test]
async fn the_device_that_ends_with_lf_dot_lf_is_understood() {
    let (setup, mut client) = logged_in(|config| rules(config).lone_lf_ends_message = true).await;
    for _ in 0..2 {
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        expect(&mut client, "DATA", "354 ").await;
        client.send(b"Subject: alarm\n\nopen\n.\n").await;
        assert!(client.line().await.starts_with("250 2.0.0 "));
    }
    part(&setup, client).await;
    assert_eq!(setup.control().raw_smtp(), vec![b"Subject: alarm\r\n\r\nopen\r\n.\r\n".to_vec(); 2]);
}
