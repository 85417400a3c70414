//! What devices put behind DATA.

use std::sync::Arc;

use mailferry::config::{Config, MailRules, SenderRule};
use mailferry::sim::{self, Fault};

use super::common::{ADDRESS, Setup, Wanted};
use super::{PLAIN, RCPT, go_on, play};

/// Sends `data` as it is behind a 354 as the sender `from`, and says what the provider kept of it. The provider, as
/// Exchange does, takes nothing in another's name where `strict`.
async fn sent(data: &str, from: &str, strict: bool, change: fn(&mut Config)) -> String {
    let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
    if strict {
        setup.control().fail(sim::Protocol::Smtp, Fault::RefuseOtherSenders);
    }
    let (login, mail) = (format!("AUTH PLAIN {PLAIN}\r\n"), format!("MAIL FROM:<{from}>\r\n"));
    let lines = [("EHLO x\r\n", "250"), (&*login, "235"), (&*mail, "250"), (RCPT, "250"), ("DATA\r\n", "354")];
    let mut client = play(&setup, &lines).await;
    go_on(&mut client, &[(data, "250"), ("QUIT\r\n", "221")]).await;
    setup.deserted().await;
    assert_eq!(setup.control().violations(), Vec::<String>::new());
    let messages = setup.control().submissions();
    assert_eq!(messages.len(), 1, "one message and not two");
    String::from_utf8(messages[0].octets.clone()).unwrap()
}

async fn arrived(data: &str) -> String {
    sent(data, ADDRESS, false, |_| {}).await
}

/// As [`arrived`], at a provider that is strict, by a login with `sender = "force"`.
async fn forced(data: &str) -> String {
    sent(data, "scanner", true, |config| {
        rules(config).sender = SenderRule::Force { from_name: None, reply_to: None };
    })
    .await
}

fn rules(config: &mut Config) -> &mut MailRules {
    &mut Arc::make_mut(&mut config.accounts[0]).logins[0].mail
}

#[tokio::test]
async fn a_dot_counts_from_the_first_octet_of_the_message() {
    assert_eq!(arrived("..first\r\n.\r\n").await, ".first\r\n");
    assert_eq!(arrived(".\r\n").await, "");
}

#[tokio::test]
async fn a_line_of_any_length_passes() {
    let line = "x".repeat(100_000);
    let data = format!("Subject: long\r\n\r\n{line}\r\n.\r\n");
    assert_eq!(arrived(&data).await, format!("Subject: long\r\n\r\n{line}\r\n"));
}

#[tokio::test]
async fn bare_line_ends_become_whole_ones() {
    for (end, who) in [("\n", "domoticz"), ("\r", "msmtp"), ("\r\r\n", "mailsend")] {
        let data = format!("Subject: alarm{end}{end}open{end}\r\n.\r\n");
        // The last end stands before a CRLF: a CR there is a part of it.
        let last = if end == "\r" { "" } else { "\r\n" };
        assert_eq!(arrived(&data).await, format!("Subject: alarm\r\n\r\nopen\r\n{last}"), "{who}");
    }
}

#[tokio::test]
async fn a_device_that_ends_with_lf_dot_lf_may_be_told_so() {
    let change: fn(&mut Config) = |config| rules(config).lone_lf_ends_message = true;
    assert_eq!(sent("Subject: alarm\n\nopen\n.\n", ADDRESS, false, change).await, "Subject: alarm\r\n\r\nopen\r\n");
}

#[tokio::test]
async fn a_ricoh_that_names_the_user_in_from_is_accepted() {
    let message = forced("From: ann@contoso.example\r\nSubject: scan\r\n\r\n.\r\n").await;
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines[0], format!("From: <{ADDRESS}>"), "{message}");
    assert!(lines.contains(&"Reply-To: <ann@contoso.example>"), "{message}");
}

#[tokio::test]
async fn an_at_without_quotes_in_the_name_does_no_harm() {
    let message = forced(&format!("From: {ADDRESS} <{ADDRESS}>\r\nSubject: scan\r\n\r\n.\r\n")).await;
    let from: Vec<_> = message.lines().filter(|line| line.starts_with("From:")).collect();
    assert_eq!(from, [format!("From: <{ADDRESS}>")], "{message}");
}

#[tokio::test]
async fn what_is_missing_of_from_date_and_message_id_is_added() {
    let message = forced("Subject: scan\r\n\r\nscan\r\n.\r\n").await;
    for field in ["From: ", "Date: ", "Message-ID: "] {
        assert_eq!(message.lines().filter(|line| line.starts_with(field)).count(), 1, "{message}");
    }
    assert!(message.ends_with("Subject: scan\r\n\r\nscan\r\n"), "{message}");
}
