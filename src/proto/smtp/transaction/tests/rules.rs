//! What a login's mail may be: announced sizes, recipients, and whose name the envelope carries.

use super::super::{Denied, Options};
use super::driver::{Driver, FULL, in_message_of, options, with_envelope_of};
use crate::config::{MailRules, Recipients, SenderRule};
use crate::proto::CloseReason;

fn ruled(rules: MailRules) -> Options {
    Options { rules, ..options(FULL) }
}

#[test]
fn a_message_announced_as_too_big_is_refused_at_mail() {
    for (max_message, keywords) in [
        (Some(100), FULL),
        (None, &["PIPELINING", "SIZE 100"][..]),
        (Some(100), &["PIPELINING", "SIZE 1000"]),
        (Some(1000), &["SIZE 100"]),
    ] {
        let mut driver = Driver::new(Options { max_message, ..options(keywords) });
        driver.downstream_sends(b"MAIL FROM:<a@example.com> SIZE=101 BODY=8BITMIME\r\n");
        assert_eq!(driver.upstream_got(), "");
        assert_eq!(driver.downstream_got(), "552 5.3.4 Message too big\r\n");
        assert_eq!(driver.denials[0].what, Denied::Mail);
        driver.downstream_sends(b"MAIL FROM:<a@example.com> BODY=8BITMIME SIZE=99999999999999999999999\r\n");
        assert_eq!(driver.downstream_got(), "552 5.3.4 Message too big\r\n");
        driver.downstream_sends(b"MAIL FROM:<a@example.com> size=100 BODY=8BITMIME\r\n");
        assert_eq!(driver.upstream_got(), "MAIL FROM:<a@example.com> BODY=8BITMIME\r\n");
    }
}

#[test]
fn the_smaller_size_is_offered() {
    for (max_message, upstreams, shown) in [
        (Some(50), "250-SIZE 100\r\n", "250-SIZE 50\r\n250 DSN\r\n"),
        (Some(500), "250-SIZE 100\r\n", "250-SIZE 100\r\n250 DSN\r\n"),
        (None, "250-SIZE 100\r\n", "250-SIZE 100\r\n250 DSN\r\n"),
        (None, "250-SIZE\r\n", "250-SIZE\r\n250 DSN\r\n"),
        (Some(50), "250-SIZE 0\r\n", "250-SIZE 50\r\n250 DSN\r\n"),
        (Some(50), "", "250-DSN\r\n250 SIZE 50\r\n"),
        (None, "", "250 DSN\r\n"),
    ] {
        let mut driver = Driver::new(Options { max_message, ..options(FULL) });
        driver.downstream_sends(b"EHLO x\r\n");
        driver.upstream_sends(format!("250-mail\r\n{upstreams}250 DSN\r\n").as_bytes());
        assert_eq!(driver.downstream_got(), format!("250-mail\r\n{shown}"));
    }
}

#[test]
fn other_recipients_are_refused_in_their_turn() {
    let recipients = vec![Recipients::Domain("contoso.com".into()), Recipients::Address("boss@example.com".into())];
    let mut driver = Driver::new(ruled(MailRules { recipients: Some(recipients), ..MailRules::default() }));
    driver.downstream_sends(
        b"MAIL FROM:<a@contoso.com>\r\nRCPT TO:<Ann@CONTOSO.com>\r\nRCPT TO:<x@example.com>\r\n\
          RCPT TO:<BOSS@example.com>\r\nRCPT TO:<a@sub.contoso.com>\r\n\
          RCPT TO:<\"a@contoso.com\"@example.com>\r\nRCPT TO:<x@contoso.com.evil.example>\r\n",
    );
    assert_eq!(
        driver.upstream_got(),
        "MAIL FROM:<a@contoso.com>\r\nRCPT TO:<Ann@CONTOSO.com>\r\nRCPT TO:<BOSS@example.com>\r\n"
    );
    assert_eq!(driver.downstream_got(), "");
    driver.upstream_sends(b"250 mail\r\n250 ann\r\n250 boss\r\n");
    let no = "550 5.7.1 This login may not write to this recipient\r\n";
    assert_eq!(driver.downstream_got(), format!("250 mail\r\n250 ann\r\n{no}250 boss\r\n{no}{no}{no}"));
    assert_eq!(driver.denials.len(), 4);
    assert_eq!(driver.denials[0].what, Denied::Recipient(b"x@example.com".into()));
    assert_eq!(driver.denials[0].sender, b"a@contoso.com");
}

#[test]
fn a_domain_that_may_be_written_to_is_no_way_to_others() {
    let recipients = vec![Recipients::Domain("contoso.com".into()), Recipients::Address("a%b@contoso.com".into())];
    let mut driver = Driver::new(ruled(MailRules { recipients: Some(recipients), ..MailRules::default() }));
    for path in [
        "v%evil.example@contoso.com",
        "evil.example!v@contoso.com",
        "\"v@evil.example\"@contoso.com",
        "\"v\"@contoso.com",
    ] {
        driver.downstream_sends(format!("RCPT TO:<{path}>\r\n").as_bytes());
        assert_eq!(driver.downstream_got(), "550 5.7.1 This login may not write to this recipient\r\n", "{path}");
    }
    driver.downstream_sends(b"RCPT TO:<a%b@contoso.com>\r\n");
    assert_eq!(driver.upstream_got(), "RCPT TO:<a%b@contoso.com>\r\n", "it was named");
}

#[test]
fn who_tries_which_recipients_there_are_is_not_heard_out() {
    let recipients = Some(vec![Recipients::Domain("contoso.com".into())]);
    for (rules, reply) in
        [(MailRules { recipients, ..MailRules::default() }, None), (MailRules::default(), Some("550 no\r\n"))]
    {
        let mut driver = Driver::new(ruled(rules));
        for count in 1..=100 {
            assert_eq!(driver.ending, None, "after {}", count - 1);
            driver.downstream_sends(format!("RCPT TO:<a{count}@example.com>\r\n").as_bytes());
            driver.upstream_sends(reply.unwrap_or_default().as_bytes());
        }
        assert_eq!(driver.ending, Some(Ok(CloseReason::TooManyErrors)));
        let said = driver.downstream_got();
        assert_eq!(said.lines().count(), 101);
        assert!(said.ends_with("\r\n421 4.7.0 Too many refused recipients\r\n"), "{said}");
    }
    // What may be taken later is no try.
    let mut driver = with_envelope_of(options(FULL));
    for _ in 0..150 {
        driver.downstream_sends(b"RCPT TO:<a@example.com>\r\n");
        driver.upstream_sends(b"452 4.5.3 too many\r\n");
    }
    assert_eq!(driver.ending, None);
}

#[test]
fn the_envelope_carries_the_account() {
    let force = SenderRule::Force { from_name: None, reply_to: None };
    for sender in [SenderRule::Envelope, force] {
        let mut driver = Driver::new(ruled(MailRules { sender, ..MailRules::default() }));
        driver.downstream_sends(b"MAIL FROM:<printer@lan> BODY=8BITMIME\r\n");
        driver.upstream_sends(b"550 no\r\n");
        driver.downstream_sends(b"MAIL FROM:<>\r\n");
        driver.upstream_sends(b"250 bounce\r\n");
        driver.downstream_sends("RSET\r\nMAIL FROM:<büro@lan>\r\n".as_bytes());
        assert_eq!(
            driver.upstream_got(),
            "MAIL FROM:<scans@contoso.com> BODY=8BITMIME\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<scans@contoso.com>\r\n"
        );
        assert_eq!(driver.refusals[0].sender, b"scans@contoso.com");
    }
}

#[test]
fn an_envelope_rule_leaves_the_header_alone() {
    let mut driver = in_message_of(ruled(MailRules { sender: SenderRule::Envelope, ..MailRules::default() }));
    driver.downstream_sends(b"From: x\r\n\r\n.\r\n");
    assert_eq!(driver.upstream_got(), "From: x\r\n\r\n.\r\n");
}
