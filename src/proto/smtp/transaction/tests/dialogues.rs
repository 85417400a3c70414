//! Golden dialogues: commands and replies.

use super::super::{EnvelopeCommand, Flow, MAX_COMMAND_LINE, Pipes, Transaction};
use super::driver::{Driver, STAMP, full, in_message, options, with_envelope};
use crate::proto::smtp::reply::Reply;
use crate::proto::{CloseReason, FLUSH_AT, Input, ProtoError};

#[test]
fn a_message_passes_in_one_pipelined_group() {
    let mut driver = full();
    driver.downstream_sends(
        b"MAIL FROM: a@example.com SIZE=10 AUTH=<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<x@example.com>\r\nDATA\r\n",
    );
    assert_eq!(
        driver.upstream_got(),
        "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<x@example.com>\r\nDATA\r\n"
    );
    assert!(driver.machine.has_body_in_flight());
    driver.upstream_sends(
        b"250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n550 5.1.1 unknown\r\n354 Start mail input\r\n",
    );
    assert_eq!(
        driver.downstream_got(),
        "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n550 5.1.1 unknown\r\n354 Start mail input\r\n"
    );
    driver.downstream_sends(b"Subject: x\r\n\r\n..dot\r\n.\r\n");
    assert_eq!(driver.upstream_got(), "Subject: x\r\n\r\n..dot\r\n.\r\n");
    assert!(driver.machine.has_body_in_flight());
    driver.upstream_sends(b"250-2.0.0 OK\r\n250 2.0.0 queued as 4711\r\n");
    assert_eq!(driver.downstream_got(), "250-2.0.0 OK\r\n250 2.0.0 queued as 4711\r\n");
    let [refusal] = driver.refusals.as_slice() else { panic!("one refusal") };
    assert_eq!((refusal.command, refusal.sender.as_slice()), (EnvelopeCommand::Rcpt, b"a@example.com".as_slice()));
    assert_eq!(refusal.reply, b"550 5.1.1 unknown");
    let [report] = driver.reports.as_slice() else { panic!("one report") };
    assert!(report.accepted);
    assert_eq!(report.sender, b"a@example.com");
    assert_eq!(report.recipients, 1);
    assert_eq!(report.octets, "Subject: x\r\n\r\n..dot\r\n".len() as u64);
    assert_eq!(report.reply, b"250 2.0.0 queued as 4711");
    assert!(driver.machine.is_between_messages() && !driver.machine.has_body_in_flight());
}

#[test]
fn commands_behind_the_end_of_data_are_taken_up_before_its_answer() {
    let mut driver = in_message();
    driver.downstream_sends(b"one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
    assert_eq!(driver.upstream_got(), "one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
    driver.upstream_sends(b"250 first\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    driver.downstream_sends(b"two\r\n.\r\nQUIT\r\n");
    driver.upstream_sends(b"554 5.2.0 second\r\n221 bye\r\n");
    assert_eq!(driver.downstream_got(), "250 first\r\n250 ok\r\n250 ok\r\n354 go\r\n554 5.2.0 second\r\n221 bye\r\n");
    let seen: Vec<_> = driver
        .reports
        .iter()
        .map(|report| (report.accepted, report.sender.as_slice(), report.octets))
        .collect();
    assert_eq!(seen, [(true, b"a@example.com".as_slice(), 5), (false, b"", 5)]);
    assert_eq!(driver.ending, Some(Ok(CloseReason::Quit)));
}

#[test]
fn rset_midway_ends_the_transaction() {
    let mut driver = with_envelope();
    assert!(!driver.machine.is_between_messages());
    driver.downstream_sends(b"RSET now\r\nMAIL FROM:<c@example.com>\r\n");
    assert_eq!(driver.upstream_got(), "RSET\r\nMAIL FROM:<c@example.com>\r\n");
    driver.upstream_sends(b"250 ok\r\n");
    assert!(!driver.machine.is_between_messages(), "a MAIL is outstanding");
    driver.downstream_sends(b"RCPT TO:<b@example.com>\r\n");
    driver.upstream_sends(b"501 no\r\n503 5.5.1 MAIL first\r\n");
    assert!(driver.machine.is_between_messages());
    assert!(driver.reports.is_empty());
    let [refusal] = driver.refusals.as_slice() else { panic!("one refusal") };
    assert_eq!((refusal.command, refusal.sender.as_slice()), (EnvelopeCommand::Mail, b"c@example.com".as_slice()));
    assert_eq!(refusal.reply, b"501 no");
}

#[test]
fn an_upstream_without_pipelining_gets_one_command_at_a_time() {
    let mut driver = Driver::new(options(&[]));
    driver.downstream_sends(
        b"MAIL FROM:<a@example.com>\r\nSTARTTLS\r\nRCPT TO:<b@example.com>\r\nDATA\r\nhi\r\n.\r\nNOOP\r\nQUIT\r\n",
    );
    for (asked, answered) in [
        ("MAIL FROM:<a@example.com>\r\n", "250 ok\r\n"),
        ("RCPT TO:<b@example.com>\r\n", "250 ok\r\n"),
        ("DATA\r\n", "354 go\r\n"),
        ("hi\r\n.\r\n", "250 taken\r\n"),
        ("NOOP\r\n", "250 ok\r\n"),
        ("QUIT\r\n", "221 bye\r\n"),
    ] {
        assert_eq!(driver.upstream_got(), asked);
        if !asked.starts_with("DATA") {
            assert!(!driver.machine.wants_downstream(0), "after {asked:?}");
        }
        driver.upstream_sends(answered.as_bytes());
    }
    assert_eq!(
        driver.downstream_got(),
        "250 ok\r\n503 5.5.1 Too late for TLS\r\n250 ok\r\n354 go\r\n250 taken\r\n250 ok\r\n221 bye\r\n"
    );
    assert_eq!(driver.ending, Some(Ok(CloseReason::Quit)));
}

#[test]
fn commands_that_must_be_the_last_of_a_group_are() {
    for command in ["EHLO x", "HELO x", "NOOP", "VRFY a", "EXPN a", "HELP", "QUIT"] {
        let mut driver = full();
        driver.downstream_sends(format!("RSET\r\n{command}\r\nRSET\r\n").as_bytes());
        assert_eq!(driver.upstream_got().lines().count(), 2, "{command}");
        assert!(!driver.machine.wants_downstream(driver.held()));
    }
}

#[test]
fn local_answers_keep_their_place_in_a_pipeline() {
    let mut driver = full();
    driver.downstream_sends(b"MAIL FROM:<a@example.com>\r\nXFOO\r\nRCPT TO:<b\x01@example.com>\r\nAUTH PLAIN AGEAYg==\r\nRCPT TO:<c@example.com>\r\nXBAR\r\n");
    assert_eq!(driver.upstream_got(), "MAIL FROM:<a@example.com>\r\nRCPT TO:<c@example.com>\r\n");
    assert_eq!(driver.downstream_got(), "");
    driver.upstream_sends(b"250 sender\r\n");
    assert_eq!(
        driver.downstream_got(),
        "250 sender\r\n502 5.5.2 Command not recognised\r\n501 5.1.3 RCPT TO: bad address syntax\r\n503 5.5.1 Already logged in\r\n"
    );
    driver.upstream_sends(b"250-two\r\n250 lines\r\n");
    assert_eq!(driver.downstream_got(), "250-two\r\n250 lines\r\n502 5.5.2 Command not recognised\r\n");
}

#[test]
fn the_third_unknown_verb_ends_the_session_in_its_turn() {
    let mut driver = full();
    driver.downstream_sends(b"X\r\n\r\nRSET\r\nY\r\nRSET\r\n");
    assert_eq!(driver.upstream_got(), "RSET\r\n");
    assert_eq!(driver.downstream_got(), "502 5.5.2 Command not recognised\r\n".repeat(2));
    assert_eq!(driver.ending, None);
    driver.upstream_sends(b"250 ok\r\n");
    assert_eq!(driver.downstream_got(), "250 ok\r\n421 4.7.0 Too many unknown commands\r\n");
    assert_eq!(driver.ending, Some(Ok(CloseReason::TooManyErrors)));
}

#[test]
fn a_long_line_is_refused_and_a_longer_one_ends_the_session() {
    let mut driver = full();
    driver.downstream_sends(&[&vec![b'a'; 2 * MAX_COMMAND_LINE - 2], b"\r\nRSET\r\n".as_slice()].concat());
    assert_eq!(driver.downstream_got(), "500 5.5.6 Line too long\r\n");
    assert_eq!(driver.upstream_got(), "RSET\r\n");

    let mut driver = full();
    driver.downstream_sends(&vec![b'a'; 2 * MAX_COMMAND_LINE]);
    assert_eq!(driver.downstream_got(), "421 4.7.0 Line too long\r\n");
    assert_eq!(driver.ending, Some(Ok(CloseReason::TooLong)));
}

#[test]
fn the_queue_of_replies_is_bounded() {
    let mut driver = full();
    driver.downstream_sends(&b"RSET\r\n".repeat(1000));
    assert_eq!(driver.upstream_got().lines().count(), 64);
    assert!(!driver.machine.wants_downstream(0));
    driver.upstream_sends(b"250 ok\r\n");
    assert_eq!(driver.upstream_got().lines().count(), 1);
}

#[test]
fn what_is_written_in_one_call_is_bounded() {
    // The driver asserts the bound at every call.
    let mut driver = full();
    driver.downstream_sends(&b"STARTTLS\r\n".repeat(2000));
    assert_eq!(driver.downstream_got(), "503 5.5.1 Too late for TLS\r\n".repeat(2000));
    driver.downstream_sends(&format!("VRFY {}\r\n", "a".repeat(500)).into_bytes());
    driver.downstream_sends(
        &format!("MAIL FROM:<a@b> ENVID={}\r\n", "a".repeat(4000))
            .into_bytes()
            .repeat(64),
    );
    driver.upstream_sends(b"252 ok\r\n");
    driver.read_downstream(usize::MAX);
    assert_eq!(driver.upstream_got().lines().count(), 65);
}

#[test]
fn a_full_pipe_stops_only_what_is_written_to_it() {
    let (mut commands, mut replies) = (Input::new(), Input::new());
    let mut machine = Transaction::new(options(&["PIPELINING"]));
    commands.extend(b"RSET\r\n");
    machine.from_downstream(&mut commands, &mut Pipes::default()).unwrap();

    let mut pipes = Pipes { to_upstream: vec![b'x'; FLUSH_AT], ..Pipes::default() };
    replies.extend(b"2");
    assert_eq!(machine.from_upstream(&mut replies, &mut pipes), Ok(Flow::NeedInput));
    replies.extend(b"50 ok\r\n");
    assert_eq!(machine.from_upstream(&mut replies, &mut pipes), Ok(Flow::NeedInput));
    assert_eq!(pipes.to_downstream, b"250 ok\r\n");
    commands.extend(b"RSET\r\n");
    assert_eq!(machine.from_downstream(&mut commands, &mut pipes), Ok(Flow::Flush));

    let mut pipes = Pipes { to_downstream: vec![b'x'; FLUSH_AT], ..Pipes::default() };
    assert_eq!(machine.from_downstream(&mut commands, &mut pipes), Ok(Flow::Flush));
    assert_eq!(machine.from_upstream(&mut replies, &mut pipes), Ok(Flow::Flush));
    assert!(pipes.to_upstream.is_empty());
}

#[test]
fn ehlo_comes_back_without_what_is_not_for_the_downstream() {
    let mut driver = full();
    driver.downstream_sends(b"EHLO PhpStorm 9.0.3\r\n");
    assert_eq!(driver.upstream_got(), "EHLO gateway.test\r\n");
    driver.upstream_sends(
        b"250-XMAIL.example Hello [192.0.2.1]\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-auth LOGIN XOAUTH2\r\n\
          250-AUTH=LOGIN\r\n250-StartTLS\r\n250-BURL imap\r\n250-XCLIENT NAME\r\n250-X-EXPS NTLM\r\n250-VERP\r\n250-ETRN\r\n\
          250-ATRN\r\n250-BINARYMIME\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250 DSN\r\n",
    );
    assert_eq!(
        driver.downstream_got(),
        "250-XMAIL.example Hello [192.0.2.1]\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250-8BITMIME\r\n\
         250-CHUNKING\r\n250 DSN\r\n"
    );
}

#[test]
fn ehlo_offers_no_binarymime_alone_and_its_last_line_is_the_last() {
    let mut driver = full();
    driver.downstream_sends(b"EHLO x\r\n");
    driver.upstream_sends(b"250-mail.example\r\n250-BINARYMIME\r\n250-DSN\r\n250 AUTH XOAUTH2\r\n");
    assert_eq!(driver.downstream_got(), "250-mail.example\r\n250 DSN\r\n");
    // The upstream has taken CHUNKING and PIPELINING back, and both are believed gone.
    driver.upstream_got();
    driver.downstream_sends(b"BDAT 1 LAST\r\nxRSET\r\nRSET\r\n");
    assert_eq!(driver.upstream_got(), "RSET\r\n");
}

#[test]
fn helo_is_ehlo_upstream_and_one_line_downstream() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"HELO [192.168.1.21]\r\n");
    assert_eq!(driver.upstream_got(), "EHLO gateway.test\r\n");
    driver.upstream_sends(b"250-mail.example\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n");
    assert_eq!(driver.downstream_got(), "250 mail.example\r\n");
    assert!(driver.machine.is_between_messages(), "EHLO resets as RSET does");
    driver.downstream_sends(b"HELO\r\n");
    driver.upstream_sends(b"421-4.3.2 not\r\n421 4.3.2 now\r\n");
    assert_eq!(driver.downstream_got(), "421-4.3.2 not\r\n421 4.3.2 now\r\n");
}

#[test]
fn arguments_that_go_upstream_are_printable() {
    let mut driver = full();
    driver.downstream_sends(b"VRFY a\rRSET\r\n");
    driver.downstream_sends(&[b"EXPN ".as_slice(), &[b'l'; 600], b"\r\n"].concat());
    assert_eq!(driver.downstream_got(), "501 5.5.4 Bad argument\r\n".repeat(2));
    driver.downstream_sends(b"VRFY  some one \r\n");
    driver.upstream_sends(b"252 ok\r\n");
    driver.downstream_sends(b"NOOP secret\r\n");
    assert_eq!(driver.upstream_got(), "VRFY some one\r\nNOOP\r\n");
}

#[test]
fn international_addresses_need_smtputf8_on_their_mail() {
    let mut driver = full();
    let refused = "553 5.6.7 Non-ASCII addresses need SMTPUTF8\r\n";
    driver.downstream_sends("RCPT TO:<j\u{f6}rg@example.com>\r\nMAIL FROM:<j\u{f6}rg@example.com>\r\n".as_bytes());
    assert_eq!(driver.downstream_got(), refused.repeat(2));
    let international = "MAIL FROM:<a@example.com> SMTPUTF8\r\nRCPT TO:<j\u{f6}rg@example.com>\r\n";
    driver.downstream_sends(international.as_bytes());
    assert_eq!(driver.upstream_got(), international);
    driver.upstream_sends(b"250 ok\r\n250 ok\r\n");
    driver.downstream_got();
    driver.downstream_sends("RSET\r\nRCPT TO:<j\u{f6}rg@example.com>\r\n".as_bytes());
    driver.upstream_sends(b"250 ok\r\n");
    assert_eq!(driver.downstream_got(), format!("250 ok\r\n{refused}"));
}

#[test]
fn bad_envelopes_are_refused_here() {
    let mut driver = full();
    driver.downstream_sends(
        b"RCPT TO:<>\r\nMAIL FROM:<a\0b@example.com>\r\nMAIL FROM:<a@b> X==\r\nMAIL FROM:<a@b> X=1\r\nMAIL a@b\r\n",
    );
    assert_eq!(
        driver.downstream_got(),
        "501 5.1.3 RCPT TO: bad address syntax\r\n501 5.1.7 MAIL FROM: bad address syntax\r\n\
         501 5.5.4 MAIL FROM: bad parameter syntax\r\n555 5.5.4 MAIL FROM: parameter not supported\r\n501 5.5.4 MAIL FROM: FROM: or TO: is missing\r\n"
    );
    assert_eq!(driver.upstream_got(), "");
}

#[test]
fn an_upstream_that_is_lost_is_told_as_the_state_asks() {
    let lost = |mut driver: Driver| {
        driver.downstream_got();
        driver.upstream_ends();
        driver.downstream_sends(b"NOOP\r\n");
        driver.downstream_got()
    };
    assert!(lost(full()).starts_with("421 4.4.2 "));
    assert!(lost(with_envelope()).starts_with("421 4.4.2 "));
    assert!(lost(in_message()).starts_with("451 4.4.2 "));

    let mut answered = in_message();
    answered.downstream_sends(b"x\r\n.\r\n");
    answered.upstream_sends(b"250 taken\r\n");
    assert!(lost(answered).starts_with("421 4.4.2 "));

    for (sent, expected) in
        [("DATA\r\n", "451"), ("BDAT 3 LAST\r\nabc", "451"), ("BDAT 3\r\na", "451"), ("RSET\r\n", "421")]
    {
        let mut driver = with_envelope();
        driver.downstream_sends(sent.as_bytes());
        assert!(lost(driver).starts_with(&format!("{expected} 4.4.2 ")), "{sent:?}");
    }

    let mut unanswered = in_message();
    unanswered.downstream_sends(b"x\r\n.\r\n");
    assert!(lost(unanswered).starts_with("451 4.4.2 "));
}

#[test]
fn an_upstream_that_said_goodbye_needs_no_second_one() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"RSET\r\n");
    driver.upstream_sends(b"421 4.3.2 shutting down\r\n");
    assert_eq!(driver.ending, None);
    driver.upstream_ends();
    assert_eq!(driver.downstream_got(), "421 4.3.2 shutting down\r\n");

    let mut driver = full();
    driver.downstream_sends(b"QUIT\r\n");
    driver.upstream_ends();
    assert_eq!(driver.downstream_got(), "221 2.0.0 Bye\r\n");
}

#[test]
fn replies_nobody_asked_for_end_the_session() {
    let mut driver = full();
    driver.upstream_sends(b"421 4.4.1 idle\r\n");
    assert_eq!(driver.downstream_got(), "421 4.4.1 idle\r\n");
    assert_eq!(driver.ending, Some(Ok(CloseReason::Refused)));

    let mut driver = full();
    driver.upstream_sends(b"250 surprise\r\n");
    assert!(matches!(driver.ending, Some(Err(ProtoError::UpstreamMisbehaved(_)))));
    assert_eq!(driver.downstream_got(), "");
}

#[test]
fn an_answer_that_makes_no_sense_passes_nothing() {
    for (asked, answered) in
        [("DATA\r\n", "250 ok\r\n"), ("DATA\r\n", "334 x\r\n"), ("RSET\r\n", "354 go\r\n"), ("RSET\r\n", "hello\r\n")]
    {
        let mut driver = with_envelope();
        driver.downstream_sends(asked.as_bytes());
        driver.upstream_sends(answered.as_bytes());
        assert!(matches!(driver.ending, Some(Err(ProtoError::UpstreamMisbehaved(_)))), "{asked:?} {answered:?}");
        assert_eq!(driver.downstream_got(), "");
    }
}

#[test]
fn a_mail_that_may_not_pass_is_answered_in_its_turn_and_leaves_no_sender_behind() {
    for pipelining in [true, false] {
        let mut driver = Driver::new(options(if pipelining { &["PIPELINING"] } else { &[] }));
        driver.verdict = Err(Reply::new(450, "4.7.1", "Too many messages"));
        driver.downstream_sends(
            b"NOOP\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n",
        );
        driver.upstream_sends(b"250 noop\r\n");
        driver.upstream_sends(b"250 reset\r\n");
        assert_eq!(driver.upstream_got(), "NOOP\r\nRSET\r\n");
        let no_mail = "503 5.5.1 MAIL was refused, send another first\r\n";
        assert_eq!(
            driver.downstream_got(),
            format!("250 noop\r\n450 4.7.1 Too many messages\r\n{no_mail}{no_mail}250 reset\r\n")
        );
        assert!(driver.refusals.is_empty() && driver.machine.is_between_messages());
        driver.downstream_sends(b"RCPT TO:<b@example.com>\r\n");
        assert_eq!(driver.downstream_got(), no_mail);
        driver.verdict = Ok(STAMP);
        driver.downstream_sends(b"MAIL FROM:<a@example.com>\r\n");
        driver.upstream_sends(b"250 ok\r\n");
        driver.downstream_sends(b"RCPT TO:<b@example.com>\r\n");
        assert_eq!(driver.upstream_got(), "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n");
    }
}
