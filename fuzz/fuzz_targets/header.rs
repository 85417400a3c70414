#![no_main]
//! Any header, written anew for an account: one From, which is the account's, and no field that was not there.

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use mailferry::message::header::{Field, Held, Look};
use mailferry::message::sender::{Sender, rewritten};

/// The fields that may go and those that may come.
const OURS: [&str; 12] = [
    "From",
    "Sender",
    "Return-Path",
    "X-Sender",
    "X-OriginatorOrg",
    "Authentication-Results",
    "DKIM-Signature",
    "Reply-To",
    "Mail-Reply-To",
    "Mail-Followup-To",
    "Date",
    "Message-ID",
];

/// Families of fields that may go.
const GONE: [&str; 3] = ["Resent-", "X-MS-Exchange-", "ARC-"];

fuzz_target!(|data: &[u8]| {
    let [options, message @ ..] = data else { return };
    let is_stuffed = options & 1 == 1;
    let name = (options & 2 == 2).then(|| String::from_utf8_lossy(&message[..message.len().min(40)]).into_owned());
    let sender = Sender {
        address: "scans@contoso.com",
        name: name.as_deref(),
        reply_to: (options & 4 == 4).then_some("it@contoso.com"),
        hostname: "gateway.example",
        now: SystemTime::UNIX_EPOCH,
        unguessable: 42,
    };
    let Some(held) = hold(message, is_stuffed, usize::from(options >> 3) + 1) else { return };
    let before = others(&held);
    let rest = held.rest().to_vec();
    let again = hold(&rewritten(held, &sender), is_stuffed, usize::MAX).expect("what was short enough still is");
    assert_eq!(others(&again), before);
    let body = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")).or(rest.strip_prefix(b"\r")).unwrap_or(&rest);
    assert_eq!(again.rest(), [b"\r\n", body].concat());
    let froms: Vec<Vec<u8>> = again.fields().filter(|field| field.is("From")).map(|field| field.value()).collect();
    assert_eq!(froms.len(), 1);
    assert!(froms[0].ends_with(b"<scans@contoso.com>"), "{}", froms[0].escape_ascii());
    assert!(!again.fields().any(|field| field.is("Sender") || field.is("DKIM-Signature")));
    assert!(!again.fields().any(|field| GONE.iter().any(|family| field.begins(family))));
});

/// A message that came in such pieces, if its header is no longer than may be.
fn hold(message: &[u8], is_stuffed: bool, size: usize) -> Option<Held> {
    let mut held = Held::new(is_stuffed);
    for piece in message.chunks(size) {
        held.octets().extend_from_slice(piece);
        match held.look(false) {
            Look::TooLong => return None,
            Look::Incomplete => {}
            Look::Whole => return Some(held),
        }
    }
    (held.look(true) == Look::Whole).then_some(held)
}

/// The fields that are none of ours, line by line.
fn others(held: &Held) -> Vec<Vec<Vec<u8>>> {
    let is_ours = |field: &Field<'_>| OURS.iter().any(|name| field.is(name)) || GONE.iter().any(|start| field.begins(start));
    let fields = held.fields().filter(|field| !is_ours(field));
    fields.map(|field| field.lines().map(<[u8]>::to_vec).collect()).collect()
}
