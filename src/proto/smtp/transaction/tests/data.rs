//! Golden dialogues: message data, taken and refused.

use super::super::{Flow, MAX_COMMAND_LINE, MAX_HELD, Options, Pipes, Stamp, Transaction};
use super::driver::{Driver, FULL, STAMP, full, in_message, options, with_envelope, with_envelope_of};
use crate::proto::{CloseReason, Input, ProtoError};

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
fn chunks_behind_a_refused_one_go_nowhere() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"BDAT 3\r\nabc");
    driver.upstream_sends(b"552 5.3.4 too big\r\n");
    driver.downstream_sends(b"BDAT 6 LAST\r\nRSET\r\nNOOP\r\n");
    assert_eq!(driver.upstream_got(), "BDAT 3\r\nabcRSET\r\nNOOP\r\n", "with the last the message is over");
    driver.upstream_sends(b"250 forgotten\r\n250 ok\r\n");
    let swallowed = "503 5.5.1 The message was refused, RSET first\r\n";
    assert_eq!(driver.downstream_got(), format!("552 5.3.4 too big\r\n{swallowed}250 ok\r\n"));
    assert_eq!(driver.reports.len(), 1, "the message was refused once");
    assert!(!driver.reports[0].accepted);
    driver.downstream_sends(b"RSET\r\nMAIL FROM:<a@example.com>\r\nBDAT 1 LAST\r\nx");
    assert_eq!(driver.upstream_got(), "RSET\r\nMAIL FROM:<a@example.com>\r\nBDAT 1 LAST\r\nx");
}

#[test]
fn a_last_chunk_that_is_refused_is_the_end_of_its_message() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"BDAT 3 LAST\r\nabc");
    driver.upstream_sends(b"554 5.7.1 no\r\n");
    driver.downstream_sends(b"MAIL FROM:<a@example.com>\r\nBDAT 1 LAST\r\nx");
    assert_eq!(driver.upstream_got(), "BDAT 3 LAST\r\nabcMAIL FROM:<a@example.com>\r\nBDAT 1 LAST\r\nx");
}

/// A chunk of this many octets, each of which could begin a command.
fn chunk(octets: usize) -> Vec<u8> {
    b"RSET\r\n".iter().copied().cycle().take(octets).collect()
}

#[test]
fn no_count_of_the_downstream_goes_upstream() {
    for pipelining in [true, false] {
        let keywords: &[&str] = if pipelining { &["PIPELINING", "CHUNKING"] } else { &["CHUNKING"] };
        let mut driver = with_envelope_of(options(keywords));
        // A number of 32 bits would be 20.
        driver.downstream_sends(b"BDAT 4294967316 LAST\r\n");
        assert_eq!(driver.upstream_got(), "", "nothing is announced that is not there");
        driver.downstream_sends(&chunk(200_000));
        let piece = [b"BDAT 65536\r\n".as_slice(), &chunk(200_000)[..65536]].concat();
        assert!(driver.to_upstream.starts_with(&piece));
        assert_eq!(driver.to_upstream.len(), piece.len() * if pipelining { 3 } else { 1 });
        assert!(driver.held() <= MAX_HELD + 16 * 1024);
        for _ in 0..2 {
            driver.upstream_sends(b"250 taken\r\n");
            driver.read_downstream(usize::MAX);
        }
        assert_eq!(driver.to_upstream.len(), 3 * piece.len());
        assert_eq!(driver.downstream_got(), "", "the chunk has not ended");
        assert!(driver.machine.has_body_in_flight());
    }
}

#[test]
fn a_chunk_gets_one_reply_however_many_it_was() {
    for pipelining in [true, false] {
        let keywords: &[&str] = if pipelining { &["PIPELINING", "CHUNKING"] } else { &["CHUNKING"] };
        let mut driver = with_envelope_of(options(keywords));
        let sent = [b"BDAT 70000\r\n".as_slice(), &chunk(70_000), b"BDAT 65536 LAST\r\n", &chunk(65_536), b"NOOP\r\n"];
        driver.downstream_sends(&sent.concat());
        for (reply, told) in [("250 1", ""), ("250 2", "250 2\r\n"), ("250 3", "250 3\r\n"), ("250 4", "250 4\r\n")] {
            driver.upstream_sends(format!("{reply}\r\n").as_bytes());
            driver.read_downstream(usize::MAX);
            assert_eq!(driver.downstream_got(), told);
        }
        let pieces = [
            b"BDAT 65536\r\n".as_slice(),
            &chunk(65_536),
            b"BDAT 4464\r\n",
            &chunk(70_000)[65_536..],
            b"BDAT 65536 LAST\r\n",
            &chunk(65_536),
            b"NOOP\r\n",
        ];
        assert!(driver.to_upstream == pieces.concat());
        assert_eq!((driver.reports.len(), driver.reports[0].octets, driver.reports[0].accepted), (1, 135_536, true));
    }
}

#[test]
fn a_refusal_in_the_middle_of_a_chunk_is_told_once_and_its_rest_goes_nowhere() {
    for last in ["", " LAST"] {
        let mut driver = with_envelope();
        driver.downstream_sends(format!("BDAT 300000{last}\r\n").as_bytes());
        driver.downstream_sends(&chunk(140_000));
        let sent = driver.to_upstream.len();
        driver.upstream_sends(b"501 5.5.4 what\r\n");
        driver.downstream_sends(&chunk(300_000)[140_000..]);
        driver.upstream_sends(b"503 5.5.1 what\r\n");
        assert_eq!(driver.downstream_got(), "501 5.5.4 what\r\n");
        let reset = driver.to_upstream.split_off(sent);
        assert_eq!(reset, if last.is_empty() { &b""[..] } else { b"RSET\r\n" }, "{last:?}");
        driver.to_upstream.clear();
        driver.downstream_sends(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
        let rest = if last.is_empty() { "RSET\r\nNOOP\r\n" } else { "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n" };
        assert_eq!(driver.upstream_got(), rest, "{last:?}");
        assert_eq!((driver.reports.len(), driver.reports[0].accepted), (1, false));
    }
}

#[test]
fn a_chunk_whose_pieces_were_all_sent_has_no_second_answer() {
    let mut driver = with_envelope();
    driver.downstream_sends(
        &[b"BDAT 70000 LAST\r\n".as_slice(), &chunk(70_000), b"MAIL FROM:<c@example.com>\r\n"].concat(),
    );
    driver.upstream_sends(b"452 4.3.1 full\r\n503 5.5.1 what\r\n");
    driver.upstream_sends(b"250 forgotten\r\n250 next\r\n");
    assert_eq!(driver.downstream_got(), "452 4.3.1 full\r\n250 next\r\n");
    driver.downstream_sends(b"BDAT 1 LAST\r\nx");
    assert!(
        driver
            .upstream_got()
            .ends_with("RSET\r\nMAIL FROM:<c@example.com>\r\nBDAT 1 LAST\r\nx")
    );
}

#[test]
fn the_chunk_behind_a_refused_one_has_its_own_answer() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"BDAT 1\r\nxBDAT 100000 LAST\r\n");
    driver.downstream_sends(&chunk(70_000));
    driver.upstream_sends(b"452 4.3.1 full\r\n");
    driver.downstream_sends(&chunk(30_000));
    driver.upstream_sends(b"503 5.5.1 what\r\n");
    driver.downstream_sends(b"NOOP\r\n");
    assert_eq!(driver.downstream_got(), "452 4.3.1 full\r\n503 5.5.1 The message was refused, RSET first\r\n");
    assert!(driver.upstream_got().ends_with("RSETRSET\r\nNOOP\r\n"), "65536 octets went before the refusal");
}

/// At an upstream that has the first of many pieces of a last chunk, and refuses it with this; the rest is still to come.
fn refused_midway(keywords: &[&str], refusal: &str) -> Driver {
    let mut driver = with_envelope_of(options(keywords));
    driver.downstream_sends(&[b"BDAT 100000 LAST\r\n".as_slice(), &chunk(70_000)].concat());
    driver.upstream_sends(format!("{refusal}\r\n").as_bytes());
    assert_eq!(driver.downstream_got(), format!("{refusal}\r\n"));
    assert_eq!((driver.reports.len(), driver.reports[0].accepted), (1, false));
    driver.upstream_got();
    driver
}

#[test]
fn an_upstream_that_has_not_seen_the_last_chunk_is_told_to_forget_the_message() {
    let next = "MAIL FROM:<c@example.com>\r\nRCPT TO:<d@example.com>\r\nBDAT 1 LAST\r\nx";
    for pipelining in [true, false] {
        let keywords: &[&str] = if pipelining { FULL } else { &["CHUNKING"] };
        let mut driver = refused_midway(keywords, "452 4.3.1 full");
        assert_eq!(driver.upstream_got(), "", "a chunk may still be on its way upstream");
        assert!(!driver.machine.is_between_messages());
        driver.downstream_sends(&[&chunk(100_000)[70_000..], next.as_bytes()].concat());
        if pipelining {
            assert_eq!(driver.upstream_got(), format!("RSET\r\n{next}"));
            driver.upstream_sends(b"250 forgotten\r\n250 sender\r\n250 recipient\r\n");
        } else {
            assert_eq!(driver.upstream_got(), "RSET\r\n");
            assert!(!driver.machine.wants_downstream(0) && driver.machine.awaits_upstream(), "MAIL waits for its turn");
            for (reply, asked) in [
                ("250 forgotten", "MAIL FROM:<c@example.com>\r\n"),
                ("250 sender", "RCPT TO:<d@example.com>\r\n"),
                ("250 recipient", "BDAT 1 LAST\r\nx"),
            ] {
                driver.upstream_sends(format!("{reply}\r\n").as_bytes());
                assert_eq!(driver.upstream_got(), asked);
            }
        }
        driver.upstream_sends(b"250 taken\r\n");
        assert_eq!(driver.downstream_got(), "250 sender\r\n250 recipient\r\n250 taken\r\n", "of RSET it hears nothing");
        let report = &driver.reports[1];
        assert_eq!((report.accepted, report.sender.as_slice(), report.octets), (true, b"c@example.com".as_slice(), 1));
        assert!(driver.machine.is_between_messages());
    }
}

#[test]
fn a_reset_of_ours_is_no_message_and_nothing_to_wait_for() {
    let mut driver = refused_midway(FULL, "452 4.3.1 full");
    driver.downstream_sends(&chunk(100_000)[70_000..]);
    assert_eq!(driver.upstream_got(), "RSET\r\n");
    let machine = &driver.machine;
    assert!(!machine.is_between_messages(), "its answer is outstanding");
    assert!(!machine.has_body_in_flight() && !machine.awaits_upstream() && machine.wants_downstream(0));
    // Whatever the answer is.
    driver.upstream_sends(b"500 5.5.1 what\r\n");
    assert_eq!(driver.downstream_got(), "");
    assert!(driver.machine.is_between_messages() && driver.ending.is_none());
}

#[test]
fn an_upstream_that_is_about_to_close_says_so_to_a_reset_of_ours() {
    let mut driver = refused_midway(FULL, "452 4.3.1 full");
    driver.downstream_sends(&chunk(100_000)[70_000..]);
    driver.upstream_sends(b"421 4.3.2 shutting down\r\n");
    assert_eq!(driver.downstream_got(), "421 4.3.2 shutting down\r\n");
    assert_eq!(driver.ending, Some(Ok(CloseReason::Refused)), "what came behind it would answer something else");

    let mut driver = refused_midway(FULL, "421 4.3.2 shutting down");
    driver.downstream_sends(&chunk(100_000)[70_000..]);
    driver.upstream_ends();
    assert_eq!(driver.downstream_got(), "", "it was said already");
}

#[test]
fn a_last_chunk_refused_here_ends_the_message_upstream_too() {
    for pipelining in [true, false] {
        let keywords: &[&str] = if pipelining { FULL } else { &["CHUNKING"] };
        let mut driver = with_envelope_of(Options { max_message: Some(10), ..options(keywords) });
        driver.downstream_sends(b"BDAT 8\r\n12345678");
        driver.upstream_sends(b"250 eight\r\n");
        driver.downstream_sends(b"BDAT 6 LAST\r\nNOOP");
        assert_eq!(driver.upstream_got(), "BDAT 8\r\n12345678", "the chunk has not ended");
        driver.downstream_sends(b"\r\n");
        assert_eq!(driver.upstream_got(), "RSET\r\n");
        assert_eq!(driver.downstream_got(), "250 eight\r\n552 5.3.4 Message too big\r\n");
        assert!(!driver.machine.is_between_messages());
        driver.upstream_sends(b"250 forgotten\r\n");
        assert!(driver.machine.is_between_messages());
        driver.downstream_sends(b"MAIL FROM:<a@example.com>\r\n");
        assert_eq!(driver.upstream_got(), "MAIL FROM:<a@example.com>\r\n");
        assert_eq!(driver.downstream_got(), "");
    }
    // One that is not the last is not the end: the downstream knows that more has to come, or RSET.
    let mut driver = with_envelope_of(Options { max_message: Some(10), ..options(FULL) });
    driver.downstream_sends(b"BDAT 12\r\nRSET\r\nRSET\r\nVRFY a\r\n");
    assert_eq!(driver.upstream_got(), "VRFY a\r\n");
}

#[test]
fn an_upstream_without_the_message_is_not_told_to_forget_it() {
    // Of chunks that are not taken at all, DATA may still be the cure.
    let mut driver = with_envelope_of(options(&["PIPELINING"]));
    driver.downstream_sends(b"BDAT 6 LAST\r\nRSET\r\nBDAT 6 FIRST\r\nRSET\r\nDATA\r\n");
    assert_eq!(driver.upstream_got(), "DATA\r\n");
}

#[test]
fn a_last_chunk_sent_before_its_beginning_was_refused_is_forgotten_too() {
    let sent = [b"BDAT 140000 LAST\r\n".as_slice(), &chunk(140_000)].concat();
    let mut driver = with_envelope();
    driver.downstream_sends(&sent);
    driver.upstream_got();
    driver.upstream_sends(b"452 4.3.1 full\r\n");
    assert_eq!(driver.upstream_got(), "RSET\r\n", "some servers keep the transaction");
    driver.upstream_sends(b"503 5.5.1 what\r\n503 5.5.1 what\r\n250 forgotten\r\n");
    assert_eq!(driver.downstream_got(), "452 4.3.1 full\r\n");
    assert!(driver.machine.is_between_messages());

    // The last piece alone is refused: that was the end of it.
    let mut driver = with_envelope();
    driver.downstream_sends(&sent);
    driver.upstream_got();
    driver.upstream_sends(b"250 one\r\n250 two\r\n554 5.6.0 no\r\n");
    assert_eq!(driver.upstream_got(), "");
    assert!(driver.machine.is_between_messages());

    // What comes next waits for it.
    for next in ["MAIL FROM:<c@example.com>\r\n", "NOOP\r\n"] {
        let mut driver = with_envelope();
        driver.downstream_sends(&[&sent, next.as_bytes()].concat());
        driver.upstream_got();
        driver.upstream_sends(b"452 4.3.1 full\r\n");
        assert_eq!(driver.upstream_got(), format!("RSET\r\n{next}"));
        driver.upstream_sends(b"503 5.5.1 what\r\n503 5.5.1 what\r\n250 forgotten\r\n250 next\r\n");
        assert_eq!(driver.downstream_got(), "452 4.3.1 full\r\n250 next\r\n");
    }
}

#[test]
fn nothing_goes_behind_a_last_chunk_in_pieces_but_a_reset_where_one_is_refused() {
    let mut machine = Transaction::new(options(FULL));
    let (mut sent, mut said, mut pipes) = (Input::new(), Input::new(), Pipes::default());
    sent.extend(&[b"BDAT 140000 LAST\r\n".as_slice(), &chunk(140_000), b"MAIL FROM:<c@example.com>\r\n"].concat());
    while let Flow::Forward { octets } = machine.from_downstream(&mut sent, &mut pipes).unwrap() {
        sent.skip(octets);
    }
    assert!(!machine.wants_downstream(sent.len()), "not before all pieces are answered");
    said.extend(b"250 one\r\n");
    assert_eq!(machine.from_upstream(&mut said, &mut pipes), Ok(Flow::NeedInput));
    assert!(!machine.wants_downstream(sent.len()));
    said.extend(b"452 4.3.1 full\r\n");
    assert_eq!(machine.from_upstream(&mut said, &mut pipes), Ok(Flow::NeedInput));
    assert!(machine.wants_downstream(sent.len()) && !machine.is_between_messages());
    pipes.to_upstream.clear();
    assert_eq!(machine.from_downstream(&mut sent, &mut pipes), Ok(Flow::MailWanted));
    assert_eq!(pipes.to_upstream, b"RSET\r\n");
    assert!(machine.mails().is_empty(), "what the reset ends waits for nothing");
    machine.admit(Ok(STAMP));
    assert_eq!(machine.from_downstream(&mut sent, &mut pipes), Ok(Flow::NeedInput));
    assert_eq!(pipes.to_upstream, b"RSET\r\nMAIL FROM:<c@example.com>\r\n");
}

#[test]
fn behind_a_reset_of_the_downstreams_own_there_is_none_of_ours() {
    let mut driver = with_envelope_of(options(FULL));
    driver.downstream_sends(&[b"BDAT 140000\r\n".as_slice(), &chunk(140_000), b"RSET\r\nNOOP\r\n"].concat());
    driver.upstream_got();
    driver.upstream_sends(b"452 4.3.1 full\r\n503 5.5.1 what\r\n503 5.5.1 what\r\n250 reset\r\n250 ok\r\n");
    assert_eq!(driver.upstream_got(), "");
    assert_eq!(driver.downstream_got(), "452 4.3.1 full\r\n250 reset\r\n250 ok\r\n");
}

#[test]
fn a_downstream_that_has_left_is_heard_out() {
    let mut driver = with_envelope_of(options(&["CHUNKING"]));
    driver.downstream_sends(&[b"BDAT 70000 LAST\r\n".as_slice(), &chunk(69_999)].concat());
    assert!(driver.machine.awaits_upstream(), "one piece at a time");
    driver.upstream_sends(b"250 one\r\n");
    assert!(!driver.machine.awaits_upstream(), "an octet is missing");
}

#[test]
fn a_chunk_that_is_too_big_is_refused_and_one_beyond_reading_ends_the_session() {
    for keywords in [&["CHUNKING", "PIPELINING", "SIZE 1000"][..], &["PIPELINING"]] {
        let mut driver = with_envelope_of(options(keywords));
        driver.downstream_sends(b"BDAT 1073741824\r\n");
        assert_eq!(driver.ending, None);
        let mut driver = with_envelope_of(options(keywords));
        driver.downstream_sends(b"BDAT 1073741825 LAST\r\nRSET\r\n");
        assert_eq!(driver.upstream_got(), "");
        assert_eq!(driver.ending, Some(Ok(CloseReason::TooBig)));
        let said = driver.downstream_got();
        assert!(
            said.starts_with("5") && said.ends_with("\r\n421 4.3.0 Closing, the chunk is too big to be read\r\n"),
            "{said}"
        );
    }
    let mut driver = with_envelope_of(options(&["CHUNKING", "SIZE 10"]));
    driver.downstream_sends(b"BDAT 12\r\nRSET\r\nRSET\r\nRSET\r\n");
    assert_eq!(driver.upstream_got(), "RSET\r\n");
    assert_eq!(driver.downstream_got(), "552 5.3.4 Message too big\r\n");
}

#[test]
fn counts_do_not_add_up_to_less() {
    let mut driver = with_envelope_of(options(&["CHUNKING"]));
    driver.downstream_sends(b"BDAT 20\r\nRSET\r\nRSET\r\nRSET\r\nxy");
    driver.upstream_sends(b"250 ok\r\n");
    driver.upstream_got();
    driver.downstream_sends(b"BDAT 18446744073709551600 LAST\r\nRSET\r\n");
    assert_eq!(driver.upstream_got(), "");
    assert_eq!(driver.ending, Some(Ok(CloseReason::TooBig)));
}

#[test]
fn no_other_message_begins_among_chunks() {
    let mut driver = with_envelope_of(Options { max_message: Some(10), ..options(FULL) });
    driver.downstream_sends(b"BDAT 8\r\n12345678MAIL FROM:<a@example.com>\r\nBDAT 3\r\nabcDATA\r\n");
    driver.upstream_sends(b"250 eight\r\n");
    assert_eq!(driver.upstream_got(), "BDAT 8\r\n12345678");
    assert_eq!(
        driver.downstream_got(),
        "250 eight\r\n503 5.5.1 BDAT has begun\r\n552 5.3.4 Message too big\r\n503 5.5.1 The message was refused, RSET first\r\n"
    );
}

#[test]
fn a_lucky_first_line_makes_no_message_a_dialogue() {
    for first in
        ["Help needed in room 5", "Noop", "Data", "VRFY it", "MAIL FROM:<ceo@example.com>", "NOOP", "Mail from: Ann"]
    {
        for local in [true, false] {
            let mut driver = with_envelope();
            if local {
                driver.downstream_sends(b"MAIL FROM:<a\0b@example.com>\r\nDATA\r\n");
                assert!(
                    driver
                        .downstream_got()
                        .ends_with("503 5.5.1 MAIL was refused, send another first\r\n")
                );
            } else {
                driver.downstream_sends(b"DATA\r\n");
                driver.upstream_sends(b"451 4.3.0 later\r\n");
            }
            driver.upstream_got();
            driver.downstream_sends(format!("{first}\r\n\r\n").as_bytes());
            driver.upstream_sends(b"503 5.5.1 nested\r\n");
            driver.downstream_sends(b"RCPT TO:<x@example.com>\r\nDATA\r\nevil\r\n.\r\n");
            assert_eq!(driver.ending, Some(Ok(CloseReason::RefusedData)), "{first}");
            assert!(
                driver
                    .downstream_got()
                    .ends_with("421 4.7.0 Message data was refused; it must wait for the answer to DATA\r\n")
            );
            let upstream = driver.upstream_got();
            assert!(!upstream.contains("DATA") && !upstream.contains("RCPT"), "{upstream}");
        }
    }
}

#[test]
fn a_recipient_mends_no_refused_data() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"DATA\r\n");
    driver.upstream_sends(b"554 5.5.1 No valid recipients\r\n");
    driver.downstream_sends(b"RCPT TO:<c@example.com>\r\n");
    driver.upstream_sends(b"250 2.1.5 fine\r\n");
    driver.downstream_sends(b"DATA\r\nSubject: evil\r\n.\r\n");
    assert_eq!(driver.upstream_got(), "DATA\r\nRCPT TO:<c@example.com>\r\n");
    assert_eq!(driver.ending, Some(Ok(CloseReason::RefusedData)));
}

#[test]
fn after_a_refused_data_one_command_at_a_time_goes_on() {
    let mut driver = with_envelope();
    driver.downstream_sends(b"RSET\r\nMAIL FROM:<a\0b@example.com>\r\nDATA\r\n");
    assert_eq!(driver.upstream_got(), "RSET\r\n");
    driver.upstream_sends(b"250 reset\r\n");
    driver.downstream_sends(b"NOOP\r\nRSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
    assert_eq!(driver.upstream_got(), "NOOP\r\n", "the RSET before was no sign that the refusal was read");
    driver.upstream_sends(b"250 noop\r\n");
    assert_eq!(driver.upstream_got(), "RSET\r\n");
    driver.upstream_sends(b"250 reset\r\n");
    assert_eq!(driver.upstream_got(), "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
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
    assert_eq!(driver.upstream_got().len(), 3 * ("BDAT 65536\r\n".len() + MAX_HELD));
    assert_eq!(driver.held(), 200_000 - 3 * MAX_HELD);
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

#[test]
fn each_message_is_told_of_by_the_number_of_its_mail() {
    let mut driver = full();
    let send = |driver: &mut Driver, number, rest: &str| {
        driver.verdict = Ok(Stamp { number, ..STAMP });
        driver.downstream_sends(format!("MAIL FROM:<a@example.com>\r\n{rest}").as_bytes());
    };
    let message = "RCPT TO:<b@example.com>\r\nBDAT 1 LAST\r\nx";
    send(&mut driver, 1, message);
    send(&mut driver, 2, message);
    send(&mut driver, 3, "");
    send(&mut driver, 4, "");
    assert_eq!(driver.machine.mails(), [1, 2, 3, 4], "the upstream may take any of them");
    driver.downstream_sends(b"RSET\r\n");
    assert_eq!(driver.machine.mails(), [1, 2, 3, 4], "nor is it known which of them it will end");
    send(&mut driver, 5, message);
    driver.upstream_sends(b"550 no\r\n503 no\r\n503 no\r\n");
    assert_eq!(
        (driver.machine.mails(), driver.reports.len()),
        (vec![2, 3, 4, 5], 0),
        "there is no message of a refused one"
    );
    driver.upstream_sends(b"250 ok\r\n250 ok\r\n250 ok\r\n");
    assert_eq!((driver.machine.mails(), driver.reports[0].mail), (vec![3, 4, 5], 2));
    driver.upstream_sends(b"250 ok\r\n503 nested\r\n250 reset\r\n250 ok\r\n250 ok\r\n554 no\r\n");
    assert_eq!((driver.machine.mails(), driver.reports[1].mail), (vec![], 5));
    send(&mut driver, 6, "");
    send(&mut driver, 7, "");
    driver.upstream_sends(b"250 ok\r\n503 nested\r\n");
    assert_eq!(driver.machine.mails(), [6], "the second one was not taken, and the first one is open still");
    driver.downstream_sends(b"RCPT TO:<b@example.com>\r\nDATA\r\n");
    driver.upstream_sends(b"250 ok\r\n354 go\r\n");
    driver.downstream_sends(b"x\r\n.\r\nEHLO x\r\n");
    assert_eq!(driver.machine.mails(), [6]);
    driver.upstream_sends(b"250 ok\r\n");
    assert_eq!((driver.machine.mails(), driver.reports[2].mail), (vec![], 6));
}
