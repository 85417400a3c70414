//! Tests of the rewritten header: what a reader finds in it, whatever the device wrote.

use proptest::prelude::*;

use super::super::header::Look;
use super::*;

const ADDRESS: &str = "scans@contoso.com";

fn sender() -> Sender<'static> {
    Sender {
        address: ADDRESS,
        name: None,
        reply_to: None,
        hostname: "gateway.example",
        now: SystemTime::UNIX_EPOCH,
        unguessable: 0x2a,
    }
}

fn rewritten_by(message: &[u8], sender: &Sender<'_>) -> String {
    let mut held = Held::new(true);
    held.octets().extend_from_slice(message);
    assert_eq!(held.look(true), Look::Whole);
    String::from_utf8_lossy(&rewritten(held, sender)).into_owned()
}

#[track_caller]
fn becomes(message: &str, expected: &str) {
    let ours = format!("{message}Date: x\r\nMessage-ID: <y>\r\n\r\nbody\r\n");
    let expected = format!("{expected}Date: x\r\nMessage-ID: <y>\r\n\r\nbody\r\n");
    assert_eq!(rewritten_by(ours.as_bytes(), &sender()), expected);
}

#[test]
fn a_scanner_gets_the_accounts_address() {
    becomes("From: Scanner <scanner>\r\nTo: a@b.c\r\n", "From: \"Scanner\" <scans@contoso.com>\r\nTo: a@b.c\r\n");
    becomes("From: Scanner\r\n", "From: \"Scanner\" <scans@contoso.com>\r\n");
    becomes("From: \r\n", "From: <scans@contoso.com>\r\n");
    becomes("", "From: <scans@contoso.com>\r\n");
}

#[test]
fn the_old_address_is_where_replies_go() {
    let ours = "From: <scans@contoso.com>\r\n";
    becomes("From: it@contoso.com\r\n", &format!("{ours}Reply-To: <it@contoso.com>\r\n"));
    becomes("From: IT\r\n <it@contoso.com>\r\n", "From: \"IT\" <scans@contoso.com>\r\nReply-To: <it@contoso.com>\r\n");
    becomes("From: it@contoso.com (IT)\r\n", "From: \"IT\" <scans@contoso.com>\r\nReply-To: <it@contoso.com>\r\n");
    becomes("From: SCANS@contoso.com\r\n", ours);
    becomes("From: it@contoso.com\r\nReply-To: x@y\r\n", &format!("{ours}Reply-To: x@y\r\n"));
    for no_address in [".it@contoso.com", "i..t@contoso.com", "root@localhost", "a@b@c.d", "<a@b..c>", "<a@b.c\0>"] {
        becomes(&format!("From: {no_address}\r\n"), ours);
    }
}

#[test]
fn a_name_that_looks_like_an_address_goes() {
    let expected = "From: <scans@contoso.com>\r\nReply-To: <printer@domain.com>\r\n";
    becomes("From: printer@domain.com <printer@domain.com>\r\n", expected);
    becomes("From: \"ceo@contoso.com\" <printer@domain.com>\r\n", expected);
    for odd in [
        "ceo\u{ff20}contoso.com",
        "ceo\u{fe6b}contoso.com",
        "ceo \u{ff1c}a\u{ff1e}",
        "\u{202e}oec",
        "c\u{ad}eo",
        "ceo\u{200b}",
        "ceo\u{2028}x",
        "ceo\u{2029}x",
        "ceo\u{2066}x",
        "ceo\u{e0041}",
    ] {
        let encoded = format!("From: =?UTF-8?B?{}?= <printer@domain.com>\r\n", STANDARD.encode(odd));
        becomes(&encoded, expected);
    }
}

#[test]
fn every_other_word_for_the_sender_goes() {
    becomes(
        "from : a\r\nSENDER: b@c.d\r\n e\r\nFrom:c@d.e\r\n \r\nDKIM-Signature: v=1;\r\n b=x\r\n.From: g\r\nX-From: h\r\n",
        "From: \"a\" <scans@contoso.com>\r\nReply-To: <c@d.e>\r\nX-From: h\r\n",
    );
    for gone in [
        "Resent-From: ceo@contoso.com",
        "resent-sender : ceo@contoso.com",
        ".Resent-Date: x",
        "Return-Path: <ceo@contoso.com>",
        "X-Sender: ceo",
        "X-OriginatorOrg: contoso.com",
        "X-MS-Exchange-Organization-AuthAs: Internal",
        "x-ms-exchange-crosstenant-id: 1",
        "Authentication-Results: mx;\r\n spf=pass",
        "ARC-Seal: i=1",
    ] {
        becomes(&format!("{gone}\r\nTo: x\r\n"), "From: <scans@contoso.com>\r\nTo: x\r\n");
    }
    for stays in ["Resent: a", "X-MS-Exchange: b", "ARC: c", "X-Senders: d", "Mail-Reply-To: e", "Mail-Followup-To: f"]
    {
        becomes(&format!("{stays}\r\n"), &format!("From: <scans@contoso.com>\r\n{stays}\r\n"));
    }
}

#[test]
fn a_header_ends_alike_for_every_reader() {
    for end in ["\r\n", "\n", "\r"] {
        let mut held = Held::new(false);
        held.octets()
            .extend_from_slice(format!("To: x\r\n{end}From: ceo@contoso.com\n").as_bytes());
        held.look(true);
        let out = String::from_utf8(rewritten(held, &sender())).unwrap();
        assert!(out.ends_with("\r\nTo: x\r\n\r\nFrom: ceo@contoso.com\n"), "{out:?}");
    }
}

#[test]
fn what_is_configured_rules() {
    let sender = Sender { name: Some("3rd \"floor\" \\"), reply_to: Some("it@contoso.com"), ..sender() };
    let header = rewritten_by(b"From: X <x@y.z>\r\nReply-To: a@b\r\nMail-Reply-To: a@b\r\nMAIL-FOLLOWUP-TO: a@b\r\nDate: x\r\nMessage-Id: y\r\n\r\n", &sender);
    assert_eq!(
        header,
        "From: \"3rd \\\"floor\\\" \\\\\" <scans@contoso.com>\r\nReply-To: <it@contoso.com>\r\nDate: x\r\nMessage-Id: y\r\n\r\n"
    );
}

#[test]
fn what_is_missing_is_added() {
    for (message, body) in [("Hello\r\n", "Hello\r\n"), ("", ""), ("\r\nHello\r\n", "Hello\r\n")] {
        let expected = "From: <scans@contoso.com>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
                        Message-ID: <0000000000000000000000000000002a@gateway.example>\r\n\r\n";
        assert_eq!(rewritten_by(message.as_bytes(), &sender()), format!("{expected}{body}"));
    }
}

#[test]
fn a_name_in_any_script_is_encoded() {
    for name in ["Büro 3. Stock", "スキャナー三階スキャナー三階スキャナー三階スキャナー三階", "=?UTF-8?Q?x?="]
    {
        let header = rewritten_by(b"", &Sender { name: Some(name), ..sender() });
        assert!(header.is_ascii() && header.lines().all(|line| line.len() <= 96), "{header}");
        let parsed = MessageParser::default().parse_headers(header.as_bytes()).unwrap();
        let from = parsed.from().unwrap().first().unwrap();
        assert_eq!((from.name(), from.address()), (Some(name), Some(ADDRESS)));
    }
    becomes(
        "From: =?ISO-8859-1?Q?B=FCro?= <x@y>\r\n",
        &format!("From: =?UTF-8?B?{}?= <scans@contoso.com>\r\n", STANDARD.encode("Büro")),
    );
}

/// Lines of which bad headers are made.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => proptest::sample::select(vec![
            "From: a <a@b.c>", "From : b@c.d", "FROM:\t\"x\\\" <y@z.w>", "From: (((", "From: \"", "From: g: a@b.c, d@e.f;",
            "From: =?utf-8?B?DQpGcm9tOiBldmlsQGV4YW1wbGUuY29t?= <a@b.c>", "From: <a@b.c\rx>", " folded", "\t", "Sender: x@y",
            "Reply-To: r@s.t", "Subject: x", "Date: y", ".From: d@o.t", ". fold", "garbage", "From root", "", "From\0: n", "X: \0",
            "Resent-From: e@v.l", "X-MS-Exchange-Organization-AuthAs: Internal", "ARC-Seal: x", "Return-Path: <e@v.l>",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
    ]
}

proptest! {
    #[test]
    fn there_is_one_from_and_it_is_the_account(
        lines in proptest::collection::vec(line(), 0..12),
        stuffed in any::<bool>(),
        name in proptest::option::of("\\PC{0,60}"),
    ) {
        let message = lines.join(&b"\r\n"[..]);
        let mut held = Held::new(stuffed);
        held.octets().extend_from_slice(&message);
        held.look(true);
        let kept: Vec<Vec<u8>> = held
            .fields()
            .filter(|field| !is_replaced(field, &sender()))
            .map(|field| field.lines().flatten().copied().collect())
            .collect();
        let out = rewritten(held, &Sender { name: name.as_deref(), ..sender() });
        let mut again = Held::new(stuffed);
        again.octets().extend_from_slice(&out);
        prop_assert_eq!(again.look(true), Look::Whole);
        let froms: Vec<_> = again.fields().filter(|field| field.is("From")).collect();
        prop_assert_eq!(froms.len(), 1);
        for other in ["Sender", "Resent-From", "X-MS-Exchange-Organization-AuthAs", "ARC-Seal", "Return-Path"] {
            prop_assert!(!again.fields().any(|field| field.is(other)), "{}", other);
        }
        let end = out.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        prop_assert_eq!(&out[end + 2..], again.rest(), "no reader sees another end of the header");
        let value = froms[0].value();
        prop_assert!(value.ends_with(b"<scans@contoso.com>"), "{}", value.escape_ascii());
        let parsed = MessageParser::default().parse_headers(&out).unwrap();
        prop_assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some(ADDRESS));
        let after: Vec<Vec<u8>> =
            again.fields().map(|field| field.lines().flatten().copied().collect()).collect();
        prop_assert!(after.ends_with(&kept), "every other field passes");
        prop_assert!((1..=4).contains(&(after.len() - kept.len())), "and none is made up");
    }
}
