use proptest::prelude::*;

use super::*;

/// Reads a header from `octets` given in pieces of these sizes, over and over; what it announces and how many it took.
fn read_in(octets: &[u8], sizes: &[usize]) -> Result<(usize, Option<Announced>), NoHeader> {
    let (mut reader, mut at) = (HeaderReader::default(), 0);
    let mut sizes = sizes.iter().cycle();
    loop {
        let piece = &octets[at..(at + sizes.next().unwrap()).min(octets.len())];
        let (taken, announced) = reader.take(piece)?;
        assert!(taken <= piece.len() && reader.octets.len() <= MAX_V2);
        assert!(announced.is_some() || taken > 0 || piece.is_empty(), "it would never end");
        at += taken;
        if announced.is_some() || at == octets.len() {
            return Ok((at, announced));
        }
    }
}

fn read(octets: &[u8]) -> Result<Option<Announced>, NoHeader> {
    read_in(octets, &[octets.len().max(1)]).map(|(_, announced)| announced)
}

fn from(source: &str, encrypted: bool) -> Announced {
    Announced::Proxied { source: source.parse().unwrap(), encrypted }
}

/// A header of version 2.
fn v2_header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE, &[version_and_command, family], &length, rest].concat()
}

/// 192.0.2.7:50000 to 198.51.100.1:587.
const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 0x02, 0x4b];

/// 2001:db8::7 port 50000 to 2001:db8::1 port 587.
fn v6() -> Vec<u8> {
    let address = |last: u8| [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    [address(7), address(1), V4[8..].to_vec()].concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

#[test]
fn version_1_names_the_client() {
    for (line, announced) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 50000 587\r\n", from("192.0.2.7:50000", false)),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n", from("255.255.255.255:0", false)),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 1 587\r\n", from("[2001:db8::7]:1", false)),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 587\r\n", from("192.0.2.7:1", false)),
        ("PROXY UNKNOWN\r\n", Announced::Local),
        ("PROXY UNKNOWN ffff::1 whatever 1 2 3\r\n", Announced::Local),
    ] {
        assert_eq!(read(line.as_bytes()), Ok(Some(announced)), "{line:?}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!((longest.len(), read(longest.as_bytes())), (MAX_V1, Ok(Some(Announced::Local))));
}

#[test]
fn what_is_no_line_of_version_1_is_refused() {
    for line in [
        "EHLO device\r\n",
        "\u{16}\u{3}\u{1}",
        "proxy TCP4 192.0.2.7 198.51.100.1 50000 587\r\n",
        "PROXYTCP4 192.0.2.7 198.51.100.1 50000 587\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50000 587\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50000 587 \r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 50000 587\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50000 65536\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +5 587\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 05 587\r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 5 587\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 5 587\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 5 587\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 5 587\r\n",
        "PROXY TCP4 scanner.example 198.51.100.1 5 587\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 5 587\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 5 587\rX\r\n",
        "PROXY \r\n",
        "PROXY\r\n",
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line:?}");
    }
    let too_long = format!("PROXY UNKNOWN {}", "x".repeat(93));
    assert_eq!(too_long.len(), MAX_V1);
    assert!(read(too_long.as_bytes()).is_err(), "it is not waited for longer");
    assert_eq!(read(b"PROXY TCP4 192.0.2.7"), Ok(None));
}

#[test]
fn version_2_names_the_client() {
    let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 7], &v6()[16..]].concat();
    for (header, announced) in [
        (v2_header(0x21, 0x11, &V4), from("192.0.2.7:50000", false)),
        (v2_header(0x21, 0x21, &v6()), from("[2001:db8::7]:50000", false)),
        (v2_header(0x21, 0x21, &mapped), from("192.0.2.7:50000", false)),
        (v2_header(0x20, 0x00, &[]), Announced::Local),
        (v2_header(0x20, 0x11, &V4), Announced::Local),
        (v2_header(0x20, 0x9f, b"xx"), Announced::Local),
        (v2_header(0x21, 0x00, b"whatever"), Announced::Local),
        (v2_header(0x21, 0x31, &[0; 216]), Announced::Local),
        (v2_header(0x21, 0x12, &V4), Announced::Local),
    ] {
        assert_eq!(read(&header), Ok(Some(announced)), "{header:x?}");
    }
}

#[test]
fn what_is_no_header_of_version_2_is_refused() {
    let long = v2_header(0x21, 0x11, &[0; 2049]);
    assert!(read(&long[..16]).is_err(), "as soon as the length is known");
    assert_eq!(read(&v2_header(0x20, 0x00, &[0; 2048])), Ok(Some(Announced::Local)));
    for header in [
        v2_header(0x11, 0x11, &V4),
        v2_header(0x22, 0x11, &V4),
        v2_header(0x21, 0x41, &V4),
        v2_header(0x21, 0x13, &V4),
        v2_header(0x21, 0x11, &V4[..11]),
        v2_header(0x21, 0x21, &V4),
        v2_header(0x21, 0x31, &V4),
        v2_header(0x21, 0x11, &[&V4[..], b"x"].concat()),
        v2_header(0x21, 0x11, &[&V4[..], &[4, 0, 2, 0]].concat()),
        v2_header(0x21, 0x11, &[&V4[..], &field(SSL, &[1, 0, 0, 0])].concat()),
        v2_header(0x21, 0x11, &[&V4[..], &field(CHECKSUM, b"xyz")].concat()),
    ] {
        assert!(read(&header).is_err(), "{header:x?}");
    }
}

#[test]
fn only_the_ssl_field_says_that_the_client_speaks_tls() {
    let with = |fields: &[Vec<u8>]| read(&v2_header(0x21, 0x11, &[&V4[..], &fields.concat()].concat()));
    let alpn = field(0x01, b"smtp");
    for (fields, encrypted) in [
        (vec![field(SSL, &[1, 0, 0, 0, 0])], true),
        (vec![alpn.clone(), field(SSL, &[7, 0, 0, 0, 1, 0x21, 0, 7, b'T', b'L', b'S', b'v', b'1', b'.', b'3'])], true),
        (vec![field(SSL, &[6, 0, 0, 0, 0])], false),
        (vec![alpn], false),
        (vec![field(0x21, b"TLSv1.3")], false),
    ] {
        assert_eq!(with(&fields), Ok(Some(from("192.0.2.7:50000", encrypted))), "{fields:x?}");
    }
}

#[test]
fn a_checksum_that_is_there_must_be_right() {
    // CRC-32C of four zeros, which the field counts as.
    assert_eq!(checksum(b"", b""), 0x4867_4bc7);
    let header = |sum: u32| {
        let fields = [field(SSL, &[1, 0, 0, 0, 0]), field(CHECKSUM, &sum.to_be_bytes()), field(0x04, b"")].concat();
        v2_header(0x21, 0x11, &[&V4[..], &fields].concat())
    };
    let empty = header(0);
    let at = empty.len() - 7;
    let sum = checksum(&empty[..at], &empty[at + 4..]);
    assert_eq!(read(&header(sum)), Ok(Some(from("192.0.2.7:50000", true))));
    assert!(read(&header(sum ^ 1)).is_err());
    let mut damaged = header(sum);
    damaged[16] = 10;
    assert!(read(&damaged).is_err(), "another address");
}

/// Headers, nearly headers, and anything.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let rest = proptest::collection::vec(any::<u8>(), 0..80);
    let addresses = prop_oneof![Just(V4.to_vec()), Just(v6()), proptest::collection::vec(any::<u8>(), 0..40)];
    let fields = proptest::collection::vec(
        (prop_oneof![Just(SSL), Just(4), any::<u8>()], proptest::collection::vec(any::<u8>(), 0..9)),
        0..3,
    );
    let fields = fields.prop_map(|fields| {
        fields
            .iter()
            .map(|(kind, value)| field(*kind, value))
            .collect::<Vec<_>>()
            .concat()
    });
    prop_oneof![
        rest.clone(),
        ("PROXY (TCP4 [0-9.]{7,15} [0-9.]{7,15} [0-9]{1,5} [0-9]{1,5}|TCP6 ::[0-9a-f]{1,4} ::1 1 2|UNKNOWN[ -~]{0,100})\r?\n", rest.clone())
            .prop_map(|(line, rest)| [line.into_bytes(), rest].concat()),
        (0x20..0x23_u8, 0..0x34_u8, addresses, fields, rest).prop_map(|(command, family, addresses, fields, rest)| {
            [v2_header(command, family, &[addresses, fields].concat()), rest].concat()
        }),
    ]
}

proptest! {
    /// Rule 1, and that nothing behind the header is taken: the first octets that make a header do so whatever follows.
    #[test]
    fn any_split_reads_the_same_header(octets in octets(), sizes in proptest::collection::vec(1..30_usize, 1..5)) {
        let whole = read_in(&octets, &[octets.len().max(1)]);
        prop_assert_eq!(read_in(&octets, &sizes), whole);
        if let Ok((taken, Some(announced))) = whole {
            prop_assert_eq!(read(&octets[..taken]), Ok(Some(announced)));
            prop_assert_eq!(read(&octets[..taken - 1]), Ok(None), "it took more than it needed");
        }
    }
}
