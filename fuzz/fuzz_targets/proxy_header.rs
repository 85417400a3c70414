#![no_main]
//! What a proxy sends first, in pieces: the same announcement however it is cut, and no octet taken behind the header. The
//! first octet of the input says how large the pieces are.

use libfuzzer_sys::fuzz_target;
use mailferry::net::proxy_header::{Announced, HeaderReader, MAX_V2, NoHeader};

fn read(octets: &[u8], size: usize) -> Result<(usize, Option<Announced>), NoHeader> {
    let (mut reader, mut at) = (HeaderReader::default(), 0);
    loop {
        let piece = &octets[at..(at + size).min(octets.len())];
        let (taken, announced) = reader.take(piece)?;
        assert!(taken <= piece.len() && (announced.is_some() || taken > 0 || piece.is_empty()));
        at += taken;
        assert!(at <= MAX_V2);
        if announced.is_some() || at == octets.len() {
            return Ok((at, announced));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((size, octets)) = input.split_first() else { return };
    let whole = read(octets, octets.len().max(1));
    assert_eq!(read(octets, usize::from(*size).max(1)), whole);
    if let Ok((taken, Some(announced))) = whole {
        assert_eq!(read(&octets[..taken], 1), Ok((taken, Some(announced))));
        assert_eq!(read(&octets[..taken - 1], 1), Ok((taken - 1, None)));
    }
});
