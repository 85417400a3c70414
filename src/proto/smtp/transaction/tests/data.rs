//! Golden dialogues: message data, taken and refused.

use super::super::{MAX_COMMAND_LINE, MAX_HELD};
use super::driver::{Driver, full, in_message, options, with_envelope};
use crate::proto::{CloseReason, ProtoError};

#[test]
fn a_message_sent_ahead_waits_for_the_354() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"DATA\r\nearly\r\n.\r\nNOOP\r\n");
    assert_eq!(driver.upstream_got(), "DATA\r\n");
    driver.upstream_sends(b"354 go\r\n");
    assert_eq!(driver.upstream_got(), "early\r\n.\r\nNOOP\r\n");
}

#[test]
fn no_more_than_the_bound_is_held_ahead_of_the_354() {
    let mut driver = with_envelope();
    driver.downstream_sends(&[b"DATA\r\n".as_slice(), &vec![b'x'; 4 * MAX_HELD]].concat());
    assert!((MAX_HELD..MAX_HELD + 16 * 1024).contains(&driver.held()));
    assert!(!driver.machine.wants_downstream(driver.held()));
    driver.upstream_sends(b"354 go\r\n");
    driver.read_downstream(usize::MAX);
    assert_eq!(driver.upstream_got().len(), "DATA\r\n".len() + 4 * MAX_HELD);
}

#[test]
fn a_message_ahead_of_a_refusal_ends_the_session_unread() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"DATA\r\nMAIL FROM:<evil@example.com>\r\n.\r\n");
    driver.upstream_sends(b"554 5.7.1 no\r\n");
    assert_eq!(driver.upstream_got(), "DATA\r\n");
    let said = driver.downstream_got();
    assert!(said.starts_with("554 5.7.1 no\r\n421 4.7.0 "), "{said}");
    assert_eq!(driver.ending, Some(Ok(CloseReason::RefusedData)));
    assert_eq!(driver.reports.len(), 1);
    assert!(!driver.reports[0].accepted);
}

#[test]
fn a_message_that_arrives_behind_the_refusal_is_not_read_as_commands() {
    for body in ["From: me\r\nMAIL FROM:<evil@example.com>\r\n", "\r\n", &"y".repeat(MAX_COMMAND_LINE)] {
        let mut driver = with_envelope();
        driver.downstream_sends(b"DATA\r\n");
        driver.upstream_sends(b"451 4.3.0 later\r\n");
        driver.downstream_sends(body.as_bytes());
        assert_eq!(driver.upstream_got(), "DATA\r\n");
        assert!(driver.downstream_got().starts_with("451 4.3.0 later\r\n421 4.7.0 "));
        assert_eq!(driver.ending, Some(Ok(CloseReason::RefusedData)));
    }
}

#[test]
fn a_downstream_that_waited_goes_on_after_a_refused_data() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"DATA\r\n");
    driver.upstream_sends(b"451 4.3.0 later\r\n");
    assert!(!driver.machine.is_between_messages(), "the transaction is still open");
    driver.downstream_sends(b"RSET\r\nXODD\r\n");
    driver.upstream_sends(b"250 ok\r\n");
    assert_eq!(driver.upstream_got(), "DATA\r\nRSET\r\n");
    assert_eq!(driver.downstream_got(), "451 4.3.0 later\r\n250 ok\r\n502 5.5.2 Command not recognised\r\n");
    assert!(driver.machine.is_between_messages());
    assert_eq!((driver.reports.len(), driver.reports[0].octets), (1, 0));
}

#[test]
fn chunks_pass_counted_and_binary() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"bdat 0005\r\n\0\r\n.\nBDAT 7 last\r\nQUIT\r\n.BDAT 0 LAST\r\n");
    assert_eq!(driver.upstream_got(), "BDAT 5\r\n\0\r\n.\nBDAT 7 LAST\r\nQUIT\r\n.BDAT 0 LAST\r\n");
    assert!(driver.machine.has_body_in_flight());
    driver.upstream_sends(b"250 ok\r\n");
    assert!(driver.reports.is_empty());
    driver.upstream_sends(b"250 taken\r\n503 no mail\r\n");
    assert_eq!(driver.reports.len(), 1);
    assert!(driver.reports[0].accepted);
    assert_eq!((driver.reports[0].octets, driver.reports[0].recipients), (12, 1));
}

#[test]
fn chunks_behind_a_refused_one_still_pass_as_counted_octets() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"BDAT 3\r\nabc");
    driver.upstream_sends(b"552 5.3.4 too big\r\n");
    driver.downstream_sends(b"BDAT 6 LAST\r\nRSET\r\nNOOP\r\n");
    driver.upstream_sends(b"503 5.5.1 no\r\n250 ok\r\n");
    assert_eq!(driver.upstream_got(), "BDAT 3\r\nabcBDAT 6 LAST\r\nRSET\r\nNOOP\r\n");
    assert_eq!(driver.downstream_got(), "552 5.3.4 too big\r\n503 5.5.1 no\r\n250 ok\r\n");
    assert_eq!(driver.reports.len(), 1, "the message was refused once");
    assert!(!driver.reports[0].accepted);
}

#[test]
fn chunks_that_cannot_pass_are_swallowed_to_the_octet() {
    let mut driver = Driver::new(options(&["PIPELINING"]));
    driver.downstream_sends(b"MAIL FROM:<a@example.com>\r\nBDAT 6 LAST\r\nRSET\r\nRSET\r\n");
    assert_eq!(driver.upstream_got(), "MAIL FROM:<a@example.com>\r\nRSET\r\n");
    driver.upstream_sends(b"250 sender\r\n250 reset\r\n");
    assert_eq!(driver.downstream_got(), "250 sender\r\n503 5.5.1 BDAT is not offered here\r\n250 reset\r\n");

    let mut driver = full();
    driver.downstream_sends(b"BDAT 6 ALL\r\nRSET\r\nBDAT 2 LAST LAST\r\nxyNOOP\r\n");
    assert_eq!(driver.upstream_got(), "NOOP\r\n");
    assert_eq!(driver.downstream_got(), "501 5.5.4 Syntax: BDAT size [LAST]\r\n".repeat(2));
}

#[test]
fn a_chunk_without_a_count_ends_the_session() {
    for line in ["BDAT\r\n", "BDAT LAST\r\n", "BDAT -1\r\n", "BDAT 18446744073709551616 LAST\r\n"] {
        let mut driver = full();
        driver.downstream_sends(format!("{line}RSET\r\n").as_bytes());
        assert_eq!(driver.upstream_got(), "", "{line:?}");
        assert_eq!(driver.downstream_got(), "501 5.5.4 Syntax: BDAT size [LAST]\r\n");
        assert_eq!(driver.ending, Some(Ok(CloseReason::RefusedData)));
    }
}

#[test]
fn a_huge_chunk_streams() {
    let mut driver = full();
    driver.downstream_sends(b"BDAT 18446744073709551615 LAST\r\n");
    driver.downstream_sends(&vec![b'x'; 200_000]);
    assert_eq!(driver.upstream_got().len(), "BDAT 18446744073709551615 LAST\r\n".len() + 200_000);
    assert_eq!(driver.held(), 0);
}

#[test]
fn a_refusal_in_the_middle_of_a_message_is_told_and_ends_the_session() {
    let mut driver = in_message();
    driver.downstream_sends(b"far too much\r\n");
    driver.upstream_sends(b"552 5.3.4 too big\r\n");
    assert_eq!(driver.downstream_got(), "552 5.3.4 too big\r\n");
    assert_eq!(driver.ending, Some(Ok(CloseReason::RefusedData)));
    let [report] = driver.reports.as_slice() else { panic!("one report") };
    assert_eq!((report.accepted, report.octets, report.sender.as_slice()), (false, 14, b"a@example.com".as_slice()));

    let mut driver = in_message();
    driver.upstream_sends(b"250 already?\r\n");
    assert!(matches!(driver.ending, Some(Err(ProtoError::UpstreamMisbehaved(_)))));
}
