//! Message data that does not pass as it came: odd line ends, messages that are too big, headers that are written anew.

use super::super::{Denied, Options};
use super::driver::{Driver, FULL, in_message, in_message_of, options, with_envelope_of};
use crate::config::{MailRules, SenderRule};
use crate::message::header::MAX_HEADER;
use crate::message::line_ends::tests::FALSE_ENDS;
use crate::proto::CloseReason;

/// What our fields of a message look like in these tests.
const OURS: &str = "From: \"Scanner\" <scans@contoso.com>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
                    Message-ID: <0000000000000000000000000000002a@gateway.test>\r\n";

fn force() -> Options {
    let sender = SenderRule::Force { from_name: None, reply_to: None };
    Options { rules: MailRules { sender, ..MailRules::default() }, ..options(FULL) }
}

fn at_most(max_message: u64) -> Options {
    Options { max_message: Some(max_message), ..options(FULL) }
}

#[test]
fn a_false_end_of_data_is_none_upstream() {
    for form in FALSE_ENDS {
        let mut driver = in_message();
        driver.downstream_sends(&[b"a".as_slice(), form, b"MAIL FROM:<evil@example.com>\r\n"].concat());
        assert!(driver.machine.has_body_in_flight() && driver.reports.is_empty());
        let upstream = driver.upstream_got();
        assert!(!upstream.replace('\0', "").contains("\r\n.\r\n"), "{upstream:?}");
        driver.downstream_sends(b"\r\n.\r\n");
        driver.upstream_sends(b"250 one message\r\n");
        assert!(driver.upstream_got().ends_with("\r\n.\r\n"));
        assert_eq!(driver.reports.len(), 1);
    }
}

#[test]
fn what_was_sent_is_what_is_counted() {
    let mut driver = in_message();
    driver.downstream_sends(b"a\nb\n.\nc\r\n.\r\n");
    driver.upstream_sends(b"250 taken\r\n");
    assert_eq!(driver.upstream_got(), "a\r\nb\r\n..\r\nc\r\n.\r\n");
    assert_eq!(driver.reports[0].octets, 13);
}

#[test]
fn a_device_may_end_its_messages_with_lf_dot_lf() {
    let rules = MailRules { lone_lf_ends_message: true, ..MailRules::default() };
    let mut driver = in_message_of(Options { rules, ..options(FULL) });
    driver.downstream_sends(b"a\n.\nQUIT\n");
    assert_eq!(driver.upstream_got(), "a\r\n.\r\nQUIT\r\n");
}

#[test]
fn a_message_that_is_too_big_is_read_to_its_end_and_not_sent_to_it() {
    let mut driver = in_message_of(at_most(40_000));
    driver.downstream_sends(&b"0123456789\r\n".repeat(6000));
    assert_eq!(driver.downstream_got(), "", "devices read no reply before they have sent everything");
    assert!(driver.machine.has_body_in_flight());
    driver.downstream_sends(b".\r\nMAIL FROM:<b@example.com>\r\n");
    let upstream = driver.upstream_got();
    assert!(upstream.len() <= 40_000 && !upstream.contains("\r\n.\r\n") && !upstream.contains("MAIL"));
    assert!(driver.downstream_got().starts_with("552 5.3.4 Message too big\r\n421 "));
    assert_eq!(driver.ending, Some(Ok(CloseReason::TooBig)));
    let [denial] = driver.denials.as_slice() else { panic!("one denial") };
    assert_eq!((&denial.what, denial.sender.as_slice()), (&Denied::Message, b"a@example.com".as_slice()));
}

#[test]
fn a_message_is_too_big_by_one_octet() {
    for (octets, fits) in [(100, true), (101, false)] {
        for end in ["\r\n", "\n"] {
            let mut driver = in_message_of(at_most(100));
            let message = format!("{}{end}{}\r\n.\r\n", "x".repeat(48), "y".repeat(octets - 52));
            driver.downstream_sends(message.as_bytes());
            assert_eq!(driver.upstream_got().ends_with("\r\n.\r\n"), fits, "{octets}");
            assert_eq!(driver.ending.is_none(), fits);
        }
    }
}

#[test]
fn an_upstream_that_tires_of_half_a_message_changes_no_answer() {
    for said in [Some("421 4.4.2 idle\r\n"), Some("451 4.3.0 what\r\n"), None] {
        let mut driver = in_message_of(at_most(10));
        driver.downstream_sends(&[b'x'; 100]);
        match said {
            Some(said) => driver.upstream_sends(said.as_bytes()),
            None => driver.upstream_ends(),
        }
        assert_eq!(driver.downstream_got(), "552 5.3.4 Message too big\r\n");
    }
}

#[test]
fn chunks_count_as_well() {
    let mut driver = with_envelope_of(at_most(10));
    driver.downstream_sends(b"BDAT 8\r\n12345678BDAT 3\r\nabcBDAT 1 LAST\r\nxRSET\r\nBDAT 10 LAST\r\n1234567890");
    assert_eq!(driver.upstream_got(), "BDAT 8\r\n12345678RSET\r\nRSET\r\nBDAT 10 LAST\r\n1234567890");
    driver.upstream_sends(b"250 eight\r\n250 forgotten\r\n250 reset\r\n503 no mail\r\n");
    assert_eq!(
        driver.downstream_got(),
        "250 eight\r\n552 5.3.4 Message too big\r\n503 5.5.1 The message was refused, RSET first\r\n\
         250 reset\r\n503 no mail\r\n"
    );
    assert_eq!(driver.denials.len(), 1);
}

#[test]
fn a_forced_header_carries_the_account_and_the_body_passes() {
    let body = "From: me\r\n\r\n..\r\nx\r\n";
    for header in
        ["From: Scanner <scanner>\r\nTo: b@example.com\r\n", "from:Scanner\nSender: x@y\n .\nTo: b@example.com\n"]
    {
        let mut driver = in_message_of(force());
        driver.downstream_sends(format!("{header}\r\n{body}.\r\nNOOP\r\n").as_bytes());
        assert_eq!(driver.upstream_got(), format!("{OURS}To: b@example.com\r\n\r\n{body}.\r\nNOOP\r\n"));
        driver.upstream_sends(b"250 taken\r\n");
        let octets = OURS.len() + "To: b@example.com\r\n\r\n".len() + body.len();
        assert_eq!(driver.reports[0].octets, octets as u64);
    }
}

#[test]
fn a_forced_message_may_be_a_header_or_a_body_or_nothing() {
    let nameless = OURS.replace("\"Scanner\" ", "");
    for (message, expected) in [
        ("From: Scanner\r\n", format!("{OURS}\r\n")),
        ("From: Scanner\r\n\r\n", format!("{OURS}\r\n")),
        ("From: Scanner\r\nhello\r\n", format!("{OURS}\r\nhello\r\n")),
        ("", format!("{nameless}\r\n")),
        ("..\r\n", format!("{nameless}\r\n..\r\n")),
    ] {
        let mut driver = in_message_of(force());
        driver.downstream_sends(format!("{message}.\r\n").as_bytes());
        assert_eq!(driver.upstream_got(), format!("{expected}.\r\n"), "{message:?}");
    }
}

#[test]
fn a_forced_header_that_is_too_long_is_refused_and_never_read_as_commands() {
    let mut driver = in_message_of(force());
    driver.downstream_sends(&b"MAIL: FROM:<x@example.com>\r\n".repeat(MAX_HEADER / 20));
    driver.downstream_sends(b"\r\nbody\r\n.\r\nMAIL FROM:<x@example.com>\r\n");
    assert_eq!(driver.upstream_got(), "");
    assert!(driver.downstream_got().starts_with("552 5.3.4 Message too big\r\n421 "));
    assert_eq!(driver.ending, Some(Ok(CloseReason::TooBig)));
    assert_eq!(driver.denials[0].what, Denied::Header, "and not the message, which may be larger");
    let mut driver = with_envelope_of(force());
    let header = b"X: y\r\n".repeat(MAX_HEADER / 5);
    driver.downstream_sends(&[format!("BDAT {} LAST\r\n", header.len()).as_bytes(), &header].concat());
    assert!(driver.downstream_got().ends_with("552 5.3.4 Message too big\r\n"));
    assert_eq!(driver.denials[0].what, Denied::Header);
}

#[test]
fn only_the_header_of_fifty_megabytes_is_held() {
    let mut driver = in_message_of(force());
    driver.downstream_sends(&[b"From: Scanner\r\n".as_slice(), &b"X: yyyyyyyyyyy\r\n".repeat(15_000)].concat());
    assert!(driver.held() + driver.machine.held() < 512 * 1024, "{}", driver.machine.held());
    assert!(driver.machine.held() > 200_000);
    driver.downstream_sends(b"\r\n");
    driver.upstream_got();
    let piece = b"0123456789abcde\n".repeat(64 * 1024);
    let mut octets = 0;
    for _ in 0..50 {
        driver.downstream_sends(&piece);
        octets += std::mem::take(&mut driver.to_upstream).len();
        assert!(driver.held() + driver.machine.held() < 1024);
    }
    assert_eq!(octets, 50 * (piece.len() + 64 * 1024));
}

#[test]
fn a_header_in_chunks_goes_with_the_chunk_it_ends_in() {
    for (last, rest) in [(" LAST", ""), ("", "BDAT 5 LAST\r\n\n.\n\r.")] {
        let mut driver = with_envelope_of(force());
        let chunk = "\r\nTo: b@example.com\n\n\r\n.\r\nBODY";
        let sent = format!("BDAT 11\r\nFrom: ScannBDAT 2\r\nerBDAT {}{last}\r\n{chunk}{rest}NOOP\r\n", chunk.len());
        driver.downstream_sends(sent.as_bytes());
        // What stood behind the header passes to the octet.
        let ours = format!("{OURS}To: b@example.com\r\n\r\n\r\n.\r\nBODY");
        assert_eq!(driver.upstream_got(), format!("BDAT {}{last}\r\n{ours}{rest}NOOP\r\n", ours.len()));
        assert_eq!(driver.downstream_got(), "250 2.0.0 11 octets received\r\n250 2.0.0 2 octets received\r\n");
    }
}

#[test]
fn a_held_header_is_a_chunk_of_its_own_before_a_body_that_is_not_there_yet() {
    let mut driver = with_envelope_of(force());
    let field = "X: yyyyyyyyyyy\r\n".repeat(1000);
    let message = format!("From: Scanner\r\n{field}\r\n{}", "QUIT\r\n".repeat(1000));
    driver.downstream_sends(format!("BDAT 900000 LAST\r\n{message}").as_bytes());
    // The header is found in what 8 KiB at a time bring.
    let head = format!("{OURS}{}", &message["From: Scanner\r\n".len()..16_384]);
    let (first, second) = head.split_at(8192);
    assert!(second.len() > 8192);
    let (second, third) = second.split_at(8192);
    let pieces = format!("BDAT 8192\r\n{first}BDAT 8192\r\n{second}BDAT {}\r\n{third}", third.len());
    assert_eq!(driver.upstream_got(), pieces);
    driver.upstream_sends(b"250 one\r\n452 4.3.1 full\r\n");
    assert_eq!(driver.downstream_got(), "452 4.3.1 full\r\n");
    driver.downstream_sends(&b"QUIT\r\n".repeat(20_000));
    assert_eq!(driver.upstream_got(), "");
    let rest = 900_000 - message.len() - b"QUIT\r\n".len() * 20_000;
    driver.downstream_sends(&vec![b'x'; rest]);
    assert_eq!(driver.upstream_got(), "RSET\r\n", "the upstream waits for the last chunk");
}

#[test]
fn a_held_header_is_not_lost_to_another_mail() {
    for command in ["MAIL FROM:<c@example.com>", "DATA"] {
        let mut driver = with_envelope_of(force());
        driver.downstream_sends(format!("BDAT 5\r\nFrom:{command}\r\n").as_bytes());
        assert_eq!(driver.upstream_got(), "");
        assert!(driver.downstream_got().ends_with("503 5.5.1 BDAT has begun\r\n"));
        assert!(driver.machine.held() > 0);
    }
}

#[test]
fn chunks_that_are_all_header_end_with_the_last() {
    let mut driver = with_envelope_of(force());
    driver.downstream_sends(b"BDAT 13\r\nFrom: ScannerBDAT 0 LAST\r\nNOOP\r\n");
    let expected = format!("{OURS}\r\n");
    assert_eq!(driver.upstream_got(), format!("BDAT {} LAST\r\n{expected}NOOP\r\n", expected.len()));
}

#[test]
fn chunks_with_an_endless_header_are_refused() {
    let mut driver = with_envelope_of(force());
    driver.downstream_sends(b"BDAT 300000\r\n");
    driver.downstream_sends(&b"X: y\r\n".repeat(50_000));
    driver.downstream_sends(b"BDAT 1 LAST\r\nxDATA\r\n");
    assert!(
        driver
            .downstream_got()
            .starts_with("552 5.3.4 Message too big\r\n503 5.5.1 The message was refused")
    );
    assert_eq!(driver.upstream_got(), "RSET\r\nDATA\r\n", "of the message nothing");
    assert_eq!(driver.machine.held(), 0);
}

#[test]
fn data_does_not_follow_a_chunk_that_is_held() {
    let mut driver = with_envelope_of(force());
    driver.downstream_sends(b"BDAT 5\r\nFrom:DATA\r\nFrom: evil\r\n");
    assert_eq!(driver.upstream_got(), "");
    assert!(driver.downstream_got().contains("503 5.5.1 BDAT has begun\r\n421 "));
}

#[test]
fn chunking_is_not_offered_where_headers_are_written_anew() {
    let mut driver = Driver::new(force());
    driver.downstream_sends(b"EHLO x\r\n");
    driver.upstream_sends(b"250-mail\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 PIPELINING\r\n");
    assert_eq!(driver.downstream_got(), "250-mail\r\n250 PIPELINING\r\n");
}
