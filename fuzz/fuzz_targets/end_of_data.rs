#![no_main]
//! Where a message ends, in any pieces: there, and only there, where a slow search finds CRLF.CRLF.

use libfuzzer_sys::fuzz_target;
use mailferry::message::body::EndOfData;

fuzz_target!(|data: &[u8]| {
    let [piece, message @ ..] = data else { return };
    let behind_data_line = [b"\r\n", message].concat();
    let end = behind_data_line.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 3);
    for size in [usize::MAX, 1, usize::from(*piece) + 1] {
        assert_eq!(end_in_pieces(message, size), end, "in pieces of {size}");
    }
});

fn end_in_pieces(message: &[u8], size: usize) -> Option<usize> {
    let mut end = EndOfData::new();
    let mut before = 0;
    for piece in message.chunks(size) {
        let scanned = end.scan(piece);
        if scanned.ended {
            return Some(before + scanned.octets);
        }
        assert_eq!(scanned.octets, piece.len(), "all of a message that has not ended belongs to it");
        before += piece.len();
    }
    None
}
