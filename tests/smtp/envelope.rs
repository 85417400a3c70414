//! Envelopes as devices write them, and as the provider gets them.

use mailferry::config::Protocol;
use mailferry::sim;

use super::common::{ADDRESS, Setup, Wanted};
use super::{BOTH, MAIL, RCPT, expect, part};

/// MAIL as it is sent; the reverse-path and the parameters as they arrive.
const SENDERS: &[(&str, &str, &str)] = &[
    ("MAIL FROM:<scanner@contoso.example>", ADDRESS, ""),
    ("mail from:<scanner@contoso.example>", ADDRESS, ""),
    ("MAIL FROM: <scanner@contoso.example>", ADDRESS, ""),
    ("MAIL FROM :<scanner@contoso.example>", ADDRESS, ""),
    ("MAIL FROM:scanner@contoso.example", ADDRESS, ""),
    ("MAIL FROM: scanner@contoso.example", ADDRESS, ""),
    ("MAIL FROM:< scanner@contoso.example >", ADDRESS, ""),
    ("MAIL\tFROM:\t<scanner@contoso.example>\t", ADDRESS, ""),
    ("MAIL FROM:scanner@contoso.example SIZE=10", ADDRESS, ""),
    ("MAIL FROM:<scanner@contoso.example>  SIZE=10\t BODY=8BITMIME ", ADDRESS, "BODY=8BITMIME"),
    ("MAIL FROM:<scanner@contoso.example> AUTH=<>", ADDRESS, ""),
    ("MAIL FROM:<scanner@contoso.example> SIZE=10 AUTH=<>", ADDRESS, ""),
    ("MAIL FROM:<scanner@contoso.example> AUTH=scanner@contoso.example BODY=7BIT", ADDRESS, "BODY=7BIT"),
    ("MAIL FROM:<scanner@contoso.example> AUTH=", ADDRESS, ""),
    ("MAIL FROM:<>", "", ""),
    ("MAIL FROM: <> SIZE=3", "", ""),
    ("MAIL FROM:<local.@example.com>", "local.@example.com", ""),
    ("MAIL FROM:<@relay.example,@other.example:scanner@contoso.example>", ADDRESS, ""),
    ("MAIL FROM:<\"third floor\"@contoso.example>", "\"third floor\"@contoso.example", ""),
    ("MAIL FROM:<root@[192.0.2.7]>", "root@[192.0.2.7]", ""),
];

/// RCPT as it is sent; the forward-path as it arrives.
const RECIPIENTS: &[(&str, &str)] = &[
    ("RCPT TO:<scanner@contoso.example>", ADDRESS),
    ("rcpt to: scanner@contoso.example", ADDRESS),
    ("RCPT  TO:  <scanner@contoso.example>  ", ADDRESS),
    ("RCPT TO:<Postmaster>", "Postmaster"),
    ("RCPT TO:<a+b=c@contoso.example>", "a+b=c@contoso.example"),
    ("RCPT TO:<local.@example.com>", "local.@example.com"),
];

#[tokio::test]
async fn every_envelope_arrives_in_its_canonical_form() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        for (mail, ..) in SENDERS {
            expect(&mut client, mail, "250 2.1.0 ").await;
            for (rcpt, _) in RECIPIENTS {
                expect(&mut client, rcpt, "250 2.1.5 ").await;
            }
            expect(&mut client, "data ", "354 ").await;
            expect(&mut client, ".", "250 2.0.0 ").await;
        }
        part(&setup, client).await;
        let arrived = setup.control().submissions();
        assert_eq!(arrived.len(), SENDERS.len());
        for (submission, (mail, from, parameters)) in arrived.iter().zip(SENDERS) {
            assert_eq!((submission.from.as_str(), submission.parameters.as_str()), (*from, *parameters), "{mail}");
            let recipients: Vec<_> = RECIPIENTS.iter().map(|(_, path)| *path).collect();
            assert_eq!(submission.recipients, recipients);
        }
    }
}

#[tokio::test]
async fn parameters_of_extensions_pass() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    expect(&mut client, "MAIL FROM:<scanner@contoso.example> RET=HDRS ENVID=QQ314159 AUTH=<>", "250 ").await;
    expect(&mut client, "RCPT TO:<scanner@contoso.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@b.example", "250 ")
        .await;
    expect(&mut client, "DATA", "354 ").await;
    expect(&mut client, ".", "250 ").await;
    part(&setup, client).await;
    assert_eq!(setup.control().submissions()[0].parameters, "RET=HDRS ENVID=QQ314159");
}

#[tokio::test]
async fn what_cannot_be_read_in_one_way_goes_nowhere() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    let before = setup.control().received(sim::Protocol::Smtp);
    for (command, start) in [
        ("RCPT TO:<>", "501 5.1.3 "),
        ("RCPT TO:<a@b>\x0bRCPT TO:<evil@example.com>", "501 5.1.3 "),
        ("MAIL", "501 5.5.4 "),
        ("MAIL <scanner@contoso.example>", "501 5.5.4 "),
        ("MAIL FROM:", "501 5.1.7 "),
        ("MAIL FROM:<scanner@contoso.example", "501 5.1.7 "),
        ("MAIL FROM:<scanner@contoso.example>SIZE=1", "501 5.1.7 "),
        ("MAIL FROM:<scanner@contoso.example> SIZE=", "501 5.5.4 "),
        ("MAIL FROM:<a@b> <c@d>", "501 5.5.4 "),
        ("MAIL FROM:<a@b> XOORG=contoso.com", "555 5.5.4 "),
        ("MAIL FROM:<a@b\0>", "501 5.1.7 "),
        ("MAIL FROM:<a@b>\rRCPT TO:<evil@example.com>", "501 5.1.7 "),
        ("MAIL FROM:<a@b> ENVID=x\rRSET", "501 5.1.7 "),
        ("MAIL FROM:<\u{e9}cole@contoso.example>", "553 5.6.7 "),
        ("RCPT TO:<>", "503 5.5.1 "),
        ("VRFY a\rb", "501 5.5.4 "),
    ] {
        expect(&mut client, command, start).await;
    }
    assert_eq!(setup.control().received(sim::Protocol::Smtp), before, "the upstream heard nothing of it");
    expect(&mut client, MAIL, "250 ").await;
    expect(&mut client, RCPT, "250 ").await;
    part(&setup, client).await;
}
