//! Tests of the line ends: what is sent for what a device wrote, and that no split and no octets change where it ends.

use proptest::prelude::*;

use super::*;
use crate::proto::play::cut;

/// What goes upstream for the first message in `octets`, and how many of them are its own; written the slow way.
pub(crate) fn reference(octets: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = |at: usize| octets[at..].starts_with(b".\r\n") && (at == 0 || octets[..at].ends_with(b"\r\n"));
    let end = (0..octets.len()).find(|&at| end(at))?;
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut rest = &octets[..end];
    while let Some((&octet, after)) = rest.split_first() {
        let crs = rest.iter().take_while(|octet| **octet == b'\r').count();
        if octet == b'\n' || crs > 0 {
            lines.push(std::mem::take(&mut line));
            rest = if crs > 0 && rest.get(crs) == Some(&b'\n') { &rest[crs + 1..] } else { after };
        } else {
            line.push(octet);
            rest = after;
        }
    }
    for line in &mut lines {
        let nuls = line.iter().take_while(|octet| **octet == 0).count();
        if line[nuls..] == *b"." || line[nuls..].starts_with(b".\0") {
            line.insert(nuls, b'.');
        }
        line.extend_from_slice(b"\r\n");
    }
    lines.push(END_LINE.to_vec());
    Some((lines.concat(), end + END_LINE.len()))
}

/// What goes upstream for the first message in `pieces`, and how many octets were used.
fn sent(pieces: &[&[u8]], lone_lf_ends: bool, bulk: usize) -> (Vec<u8>, Option<usize>) {
    let mut ends = LineEnds::new(lone_lf_ends);
    let (mut out, mut before) = (Vec::new(), 0);
    for piece in pieces {
        let mut piece = *piece;
        while !piece.is_empty() {
            let clean = ends.clean(piece);
            ends.pass(clean);
            out.extend_from_slice(&piece[..clean.octets]);
            piece = &piece[clean.octets..];
            before += clean.octets;
            if clean.ended {
                return (out, Some(before));
            }
            let mut written = Vec::new();
            let Rewritten { used, ended } = ends.rewrite(piece, &mut written, bulk);
            assert!(written.len() <= bulk + MOST_BEYOND, "{} octets at once", written.len());
            out.extend_from_slice(&written);
            piece = &piece[used..];
            before += used;
            if ended {
                out.extend_from_slice(END_LINE);
                return (out, Some(before));
            }
        }
    }
    (out, None)
}

fn sent_whole(octets: &[u8]) -> (Vec<u8>, Option<usize>) {
    sent(&[octets], false, 4096)
}

/// Every form of a false end of data.
pub(crate) const FALSE_ENDS: [&[u8]; 22] = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n\0\0.\n",
    b"\r\n.\0\r\n",
    b"\r\n.\0\0\r\n",
    b"\r\n\0.\0\r\n",
    b"\r\n.\0\n",
    b"\r\n.\0\r",
    b"\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\n",
    b"\r\n.\rx",
    b"\r\n..\r\n",
    b"\n.\r\r\n",
    b"\n\r.\r\n",
    b"\r\n.\n\r\n",
];

#[test]
fn a_dot_alone_ends_an_empty_message() {
    assert_eq!(sent_whole(b".\r\nQUIT\r\n"), (b".\r\n".to_vec(), Some(3)));
}

#[test]
fn line_ends_become_crlf() {
    for (device, upstream) in [
        (&b"a\nb\r\n.\r\n"[..], &b"a\r\nb\r\n.\r\n"[..]),
        (b"a\rb\r\n.\r\n", b"a\r\nb\r\n.\r\n"),
        (b"a\r\r\r\nb\r\n.\r\n", b"a\r\nb\r\n.\r\n"),
        (b"a\r\rb\r\n.\r\n", b"a\r\n\r\nb\r\n.\r\n"),
        (b"a\n\nb\n\rc\r\n.\r\n", b"a\r\n\r\nb\r\n\r\nc\r\n.\r\n"),
        (b"a\r\r\n.\r\n", b"a\r\n.\r\n"),
        (b".a\r\n..\r\n.\r\n", b".a\r\n..\r\n.\r\n"),
        (b"a\n.b\n..\n.\r\n\r\n.\r\n", b"a\r\n.b\r\n..\r\n..\r\n\r\n.\r\n"),
    ] {
        assert_eq!(sent_whole(device), (upstream.to_vec(), Some(device.len())), "{}", device.escape_ascii());
    }
}

#[test]
fn no_false_end_is_one_upstream() {
    for first in FALSE_ENDS {
        for second in FALSE_ENDS {
            let device = [b"a".as_slice(), first, b"MAIL FROM:<evil@example.com>", second, b"b\r\n.\r\n"].concat();
            let (upstream, end) = sent_whole(&device);
            assert_eq!(end, Some(device.len()), "{}", device.escape_ascii());
            let body = &upstream[..upstream.len() - END_LINE.len()];
            for line in body.split(|octet| *octet == b'\n') {
                let line: Vec<u8> = line.iter().copied().filter(|octet| !matches!(octet, 0 | b'\r')).collect();
                assert_ne!(line, b".", "{}", upstream.escape_ascii());
            }
        }
    }
}

#[test]
fn one_device_ends_its_messages_with_lf_dot_lf() {
    for (device, used) in [
        (&b"a\n.\nQUIT\n"[..], Some(4)),
        (b".\nQUIT\n", Some(2)),
        (b"a\r\n\n.\n", Some(6)),
        (b"a\r\n.\r\n", Some(6)),
        (b"a\r\n.\n", None),
        (b"a\r.\n", None),
        (b"a\n.\r", None),
        (b"a\n.\r\n", None),
    ] {
        assert_eq!(sent(&[device], true, 4096).1, used, "{}", device.escape_ascii());
        if used == Some(4) {
            assert_eq!(sent(&[device], true, 4096).0, b"a\r\n.\r\n");
            assert_eq!(sent(&[device], false, 4096).1, None);
        }
    }
}

#[test]
fn a_run_of_crs_needs_no_memory_and_loses_no_line() {
    let device = [b"a".as_slice(), &[b'\r'; MAX_CRS + 3], b"\n.\r\n"].concat();
    let expected = [b"a".as_slice(), &b"\r\n".repeat(4), b".\r\n"].concat();
    assert_eq!(sent_whole(&device), (expected, Some(device.len())));
    let device = [b"\n.".as_slice(), &[b'\r'; MAX_CRS + 3], b"x\r\n.\r\n"].concat();
    let expected = [b"\r\n..".as_slice(), &b"\r\n".repeat(MAX_CRS + 3), b"x\r\n.\r\n"].concat();
    assert_eq!(sent_whole(&device), (expected, Some(device.len())));
}

/// Octets of which messages with odd line ends are made.
pub(crate) fn octets(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => Just(b'\r'), 4 => Just(b'\n'), 3 => Just(b'.'), 1 => Just(0), 1 => Just(b'x'), 1 => any::<u8>()
    ];
    proptest::collection::vec(octet, 0..most)
}

proptest! {
    #[test]
    fn what_is_sent_ends_where_the_gateway_says_in_any_pieces(
        device in octets(120),
        sizes in proptest::collection::vec(0usize..8, 0..60),
        bulk in 1usize..40,
        lone_lf in any::<bool>(),
    ) {
        let device = [device.as_slice(), b"\r\n.\r\nQUIT\r\n"].concat();
        let (upstream, end) = sent(&[&device], lone_lf, 4096);
        prop_assert!(end.is_some());
        // The CRLF of the DATA line counts.
        let read = [b"\r\n", upstream.as_slice()].concat();
        let seen = read.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5);
        prop_assert_eq!(seen, Some(read.len()), "{}", upstream.escape_ascii());
        // Nor does it for a server that drops NULs.
        let read: Vec<u8> = read.into_iter().filter(|octet| *octet != 0).collect();
        let seen = read.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5);
        prop_assert_eq!(seen, Some(read.len()), "{}", upstream.escape_ascii());
        let without = upstream.strip_suffix(b"\r\n").unwrap().escape_ascii().to_string().replace("\\r\\n", "");
        prop_assert!(!without.contains("\\r") && !without.contains("\\n"), "{}", without);
        prop_assert_eq!(&sent(&cut(&device, &sizes), lone_lf, bulk), &(upstream.clone(), end));
        if !lone_lf {
            prop_assert_eq!(Some((upstream, end.unwrap())), reference(&device));
        }
    }

    #[test]
    fn clean_messages_are_not_touched(lines in proptest::collection::vec("[^\r\n\0]{0,12}", 0..20)) {
        let text: String = lines.iter().filter(|line| *line != ".").map(|line| format!("{line}\r\n")).collect();
        let device = format!("{text}.\r\n").into_bytes();
        let clean = LineEnds::new(false).clean(&device);
        prop_assert_eq!((clean.octets, clean.ended), (device.len(), true));
    }
}
