//! Whatever the split and the interleaving: the same streams. Whatever the octets: no panic, bounded memory.

use proptest::prelude::*;

use super::super::owed::MAX_OWED;
use super::super::{MAX_HELD, MessageReport, Options};
use super::driver::{Driver, options};
use super::upstream::{SmallUpstream, UNWANTED};
use crate::config::{MailRules, Recipients, SenderRule};
use crate::message::line_ends::tests::{octets, reference};
use crate::proto::{CloseReason, ProtoError};

/// Something a downstream sends.
#[derive(Debug, Clone)]
enum Act {
    Says(Vec<u8>),
    Message(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
}

/// A message up to the end of its data, wherever in the octets that is.
fn message() -> impl Strategy<Value = Vec<u8>> {
    octets(60).prop_map(|octets| {
        let mut message = [octets.as_slice(), b"\r\n.\r\n"].concat();
        message.truncate(reference(&message).unwrap().1);
        message
    })
}

/// More than goes upstream at once.
fn large() -> impl Strategy<Value = Vec<u8>> {
    (60_000usize..150_000).prop_map(|length| b"\r\nQUIT".iter().copied().cycle().take(length).collect())
}

fn act() -> impl Strategy<Value = Act> {
    let line = proptest::sample::select(vec![
        "MAIL FROM:<a@example.com>",
        "mail from: b@example.com  AUTH=<>\tSIZE=10",
        "MAIL FROM:<bro\rken>",
        "MAIL FROM:<>",
        "RCPT TO:<c@example.com>",
        "RCPT TO:<nobody@example.com>",
        "RCPT TO:<>",
        "RSET",
        "NOOP x",
        "VRFY c",
        "VRFY \x01",
        "EHLO printer",
        "HELO [10.0.0.1]",
        "AUTH LOGIN",
        "STARTTLS",
        "XUNKNOWN",
        "BDAT 5 FIRST\r\n12345",
    ]);
    prop_oneof![
        12 => (line, prop_oneof![Just("\r\n"), Just("\n")]).prop_map(|(line, end)| Act::Says(format!("{line}{end}").into())),
        1 => (4097usize..8192).prop_map(|length| Act::Says([vec![b'y'; length - 1], b"\n".to_vec()].concat())),
        3 => message().prop_map(Act::Message),
        2 => proptest::collection::vec(prop_oneof![8 => octets(40), 1 => large()], 1..4).prop_map(Act::Chunks),
    ]
}

/// What the downstream sends all in all, and the messages in it.
fn script(acts: &[Act]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut sent = Vec::new();
    let mut messages = Vec::new();
    for act in acts {
        match act {
            Act::Says(octets) => sent.extend_from_slice(octets),
            Act::Message(message) => {
                // Behind a MAIL that was refused it would end the session.
                sent.extend_from_slice(b"RSET\r\nMAIL FROM:<a@example.com>\r\nDATA\r\n");
                sent.extend_from_slice(message);
                messages.push(reference(message).unwrap().0);
            }
            Act::Chunks(chunks) => {
                // What an earlier, unfinished message left behind must not count.
                sent.extend_from_slice(b"RSET\r\nMAIL FROM:<a@example.com>\r\n");
                for (at, chunk) in chunks.iter().enumerate() {
                    let last = if at + 1 == chunks.len() { " LAST" } else { "" };
                    sent.extend_from_slice(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
                    sent.extend_from_slice(chunk);
                }
                messages.push(chunks.concat());
            }
        }
    }
    (sent, messages)
}

/// What anyone can see of a session.
#[derive(Debug, PartialEq)]
struct Seen {
    to_upstream: Vec<u8>,
    to_downstream: Vec<u8>,
    reports: Vec<MessageReport>,
    ending: Option<Result<CloseReason, ProtoError>>,
    messages: Vec<Vec<u8>>,
    is_at_rest: bool,
}

/// Plays a session with a downstream that waits for nothing. `schedule` says who goes on next, and by how many octets;
/// when it is used up everyone goes on until nothing moves.
fn play(sent: &[u8], pipelining: bool, schedule: &[(u8, usize)]) -> Seen {
    play_by(MailRules::default(), sent, pipelining, schedule)
}

/// The same, for a login of which more is known.
fn play_by(rules: MailRules, sent: &[u8], pipelining: bool, schedule: &[(u8, usize)]) -> Seen {
    play_at(SmallUpstream::new(pipelining), Options { rules, ..options(keywords(pipelining)) }, sent, schedule)
}

const fn keywords(pipelining: bool) -> &'static [&'static str] {
    if pipelining { &["PIPELINING", "CHUNKING"] } else { &["CHUNKING"] }
}

/// The same, at this upstream.
fn play_at(mut upstream: SmallUpstream, options: Options, sent: &[u8], schedule: &[(u8, usize)]) -> Seen {
    let mut driver = Driver::new(options);
    let mut heard = 0;
    let mut sent = sent.to_vec();
    let mut go_on = |driver: &mut Driver, who: u8, most: usize| {
        let (stood, unsent) = (driver.to_upstream.len(), sent.len());
        let moved = match who % 3 {
            0 => {
                let count = most.min(sent.len());
                driver.downstream_sends(&sent.drain(..count).collect::<Vec<_>>());
                unsent - sent.len()
            }
            1 => {
                let count = most.min(driver.to_upstream.len() - heard);
                upstream.hears(&driver.to_upstream[heard..heard + count]);
                heard += count;
                count
            }
            _ => {
                let count = most.min(upstream.says.len());
                driver.upstream_sends(&upstream.says.drain(..count).collect::<Vec<_>>());
                count
            }
        };
        moved > 0 || driver.to_upstream.len() > stood
    };
    for &(who, most) in schedule {
        go_on(&mut driver, who, most);
    }
    while [0, 1, 2].into_iter().any(|who| go_on(&mut driver, who, usize::MAX)) {}
    let is_at_rest = driver.machine.is_between_messages();
    let ending = driver.ending;
    Seen {
        to_upstream: driver.to_upstream,
        to_downstream: driver.to_downstream,
        reports: driver.reports,
        ending,
        messages: upstream.messages,
        is_at_rest,
    }
}

/// Octets of a chunk, some of them more than goes upstream at once, some of them not for every upstream.
fn piece_of_text() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![3 => 0usize..40, 2 => 60_000usize..150_000];
    (length, proptest::option::weighted(0.3, any::<proptest::sample::Index>())).prop_map(|(length, unwanted)| {
        let mut octets: Vec<u8> = b"\r\n\r\nMAIL FROM:<e@f>".iter().copied().cycle().take(length).collect();
        // Behind the header, where nothing is written anew.
        if let (Some(at), text @ [_, ..]) = (unwanted, octets.get_mut(4..).unwrap_or_default()) {
            text[at.index(text.len())] = UNWANTED;
        }
        octets
    })
}

fn schedule() -> impl Strategy<Value = Vec<(u8, usize)>> {
    proptest::collection::vec((0u8..3, prop_oneof![4 => 0usize..8, 1 => 0usize..300]), 0..120)
}

proptest! {
    #[test]
    fn any_split_and_any_interleaving_give_the_same_streams(
        acts in proptest::collection::vec(act(), 0..14),
        quits in any::<bool>(),
        pipelining in any::<bool>(),
        schedule in schedule(),
    ) {
        let (mut sent, messages) = script(&acts);
        if quits {
            sent.extend_from_slice(b"QUIT\r\nMAIL FROM:<never@example.com>\r\n");
        }
        let whole = play(&sent, pipelining, &[]);
        prop_assert_eq!(&play(&sent, pipelining, &schedule), &whole);
        if whole.ending != Some(Ok(CloseReason::TooManyErrors)) {
            prop_assert_eq!(&whole.messages, &messages);
            prop_assert_eq!(whole.ending, quits.then_some(Ok(CloseReason::Quit)));
        }
    }

    #[test]
    fn so_they_do_where_headers_are_written_anew_and_recipients_are_chosen(
        acts in proptest::collection::vec(act(), 0..14),
        lone_lf_ends_message in any::<bool>(),
        pipelining in any::<bool>(),
        schedule in schedule(),
    ) {
        let rules = MailRules {
            sender: SenderRule::Force { from_name: None, reply_to: None },
            recipients: Some(vec![Recipients::Address("nobody@example.com".into())]),
            lone_lf_ends_message,
            ..MailRules::default()
        };
        let (sent, _) = script(&acts);
        let whole = play_by(rules.clone(), &sent, pipelining, &[]);
        prop_assert_eq!(&play_by(rules, &sent, pipelining, &schedule), &whole);
        for message in &whole.messages {
            prop_assert!(message.starts_with(b"From: "), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn a_message_refused_in_the_middle_of_its_chunks_is_in_nobodys_way(
        messages in proptest::collection::vec(proptest::collection::vec(piece_of_text(), 1..4), 1..5),
        force in any::<bool>(),
        pipelining in any::<bool>(),
        max_message in proptest::option::of(50_000u64..200_000),
        schedule in schedule(),
    ) {
        let (mut sent, mut replies, mut expected) = (Vec::new(), 0, Vec::new());
        for chunks in &messages {
            sent.extend_from_slice(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<c@example.com>\r\n");
            replies += 2 + chunks.len();
            for (at, chunk) in chunks.iter().enumerate() {
                let last = if at + 1 == chunks.len() { " LAST" } else { "" };
                sent.extend_from_slice(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
                sent.extend_from_slice(chunk);
            }
            let message = chunks.concat();
            if !message.contains(&UNWANTED) && max_message.is_none_or(|most| message.len() as u64 <= most) {
                expected.push(message);
            }
        }
        let sender = if force { SenderRule::Force { from_name: None, reply_to: None } } else { SenderRule::Keep };
        let rules = MailRules { sender, ..MailRules::default() };
        let options = Options { max_message, rules, ..options(keywords(pipelining)) };
        let mut upstream = SmallUpstream::new(pipelining);
        upstream.is_picky = true;
        // The upstream fails the test itself where a MAIL is nested.
        let seen = play_at(upstream, options, &sent, &schedule);
        prop_assert_eq!(seen.ending, None);
        prop_assert!(seen.is_at_rest);
        prop_assert_eq!(seen.to_downstream.iter().filter(|octet| **octet == b'\n').count(), replies);
        prop_assert_eq!(seen.messages.len(), expected.len());
        for (message, expected) in seen.messages.iter().zip(&expected) {
            let is_that = if force { message.starts_with(b"From: ") } else { message == expected };
            prop_assert!(is_that, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn a_message_ends_where_an_independent_search_finds_it(octets in octets(200), schedule in schedule()) {
        let body = [octets.as_slice(), b"\r\n.\r\n"].concat();
        let (message, length) = reference(&body).unwrap();
        let commands = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n".as_slice();
        let seen = play(&[commands, &body[..length]].concat(), true, &schedule);
        prop_assert_eq!(&seen.messages, std::slice::from_ref(&message));
        prop_assert_eq!(seen.to_upstream, [commands, &message].concat());
        prop_assert_eq!(seen.reports.len(), 1);
        prop_assert_eq!(seen.reports[0].octets, message.len() as u64 - 3);
    }

    #[test]
    fn no_octets_from_either_side_do_harm(
        pieces in proptest::collection::vec((any::<bool>(), piece()), 0..60),
        pipelining in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let mut driver = Driver::new(options(if pipelining { &["PIPELINING", "CHUNKING"] } else { &[] }));
        for (downstream, piece) in pieces {
            if downstream {
                driver.downstream_sends(&piece);
            } else {
                driver.upstream_sends(&piece);
            }
            prop_assert!(driver.held() <= MAX_HELD + 16 * 1024);
            prop_assert!(driver.machine.owed.asked().count() <= MAX_OWED);
            if driver.machine.is_between_messages() {
                prop_assert!(!driver.machine.has_body_in_flight());
            }
        }
        if ends {
            driver.upstream_ends();
        }
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::sample::select(vec![
            "MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n", "\r\n.\r\n", ".\r\n", "BDAT 3\r\n", "BDAT 0 LAST\r\n", "BDAT x\r\n",
            "BDAT 18446744073709551615\r\n", "RSET\r\n", "EHLO x\r\n", "HELO\r\n", "NOOP\r\n", "QUIT\r\n", "AUTH\r\n", "??\r\n",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        4 => proptest::sample::select(vec![
            "250 ok\r\n", "250-a\r\n", "354 go\r\n", "354-go\r\n", "554 no\r\n", "421 bye\r\n", "221 bye\r\n", "250-PIPELINING\r\n250 CHUNKING\r\n", "2",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (1000usize..40_000).prop_map(|length| vec![b'z'; length]),
        1 => (1usize..400).prop_map(|count| b"RCPT TO:<c@d>\r\nSTARTTLS\r\n".repeat(count)),
    ]
}
