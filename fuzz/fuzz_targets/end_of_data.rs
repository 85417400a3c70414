#![no_main]
//! The line ends of a message, in any pieces: what goes upstream ends there, and only there, where the gateway says that
//! the message ends, and that is where the device sent CRLF.CRLF.

use libfuzzer_sys::fuzz_target;
use mailferry::message::line_ends::{END_LINE, LineEnds, MOST_BEYOND};

/// What goes upstream, and how many octets of the message were used if it has ended.
type Sent = (Vec<u8>, Option<usize>);

fuzz_target!(|data: &[u8]| {
    let [piece, message @ ..] = data else { return };
    let behind_data_line = [b"\r\n", message].concat();
    let end = behind_data_line.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 3);
    for lone_lf in [false, true] {
        let (upstream, used) = sent(message, usize::MAX, lone_lf, usize::MAX);
        assert!(lone_lf || used == end, "{used:?}, not {end:?}");
        let read = [b"\r\n", upstream.as_slice()].concat();
        // As it is read by a server that keeps NULs, and by one that drops them.
        let without_nuls: Vec<u8> = read.iter().copied().filter(|octet| *octet != 0).collect();
        for read in [read, without_nuls] {
            let seen = read.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5);
            assert_eq!(seen, used.map(|_| read.len()), "{}", upstream.escape_ascii());
        }
        for (at, octet) in upstream.iter().enumerate() {
            match octet {
                b'\r' => assert_eq!(upstream.get(at + 1), Some(&b'\n'), "a bare CR"),
                b'\n' => assert!(upstream[..at].ends_with(b"\r"), "a bare LF"),
                _ => {}
            }
        }
        for size in [1, usize::from(*piece) + 1] {
            assert_eq!(sent(message, size, lone_lf, size), (upstream.clone(), used), "in pieces of {size}");
        }
    }
});

fn sent(message: &[u8], size: usize, lone_lf: bool, bulk: usize) -> Sent {
    let mut ends = LineEnds::new(lone_lf);
    let (mut out, mut before) = (Vec::new(), 0);
    for mut piece in message.chunks(size) {
        while !piece.is_empty() {
            let clean = ends.clean(piece);
            ends.pass(clean);
            out.extend_from_slice(&piece[..clean.octets]);
            before += clean.octets;
            piece = &piece[clean.octets..];
            if clean.ended {
                return (out, Some(before));
            }
            let mut written = Vec::new();
            let rewritten = ends.rewrite(piece, &mut written, bulk);
            assert!(written.len() <= bulk.saturating_add(MOST_BEYOND));
            out.append(&mut written);
            before += rewritten.used;
            piece = &piece[rewritten.used..];
            if rewritten.ended {
                out.extend_from_slice(END_LINE);
                return (out, Some(before));
            }
        }
    }
    (out, None)
}
