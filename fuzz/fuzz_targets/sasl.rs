#![no_main]
//! SASL messages: what decodes encodes back, and no octet of one field opens another.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::sasl::plain::Plain;
use mailferry::proto::sasl::{decode_base64, decode_challenge, encode_base64, oauthbearer, xoauth2};
use mailferry::proto::{MAX_CREDENTIAL, MAX_SAID};
use mailferry::secret::AccessToken;

/// Less than many inputs decode to, so that the limit is met.
const MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    base64(data);
    plain(data);
    assert!(decode_challenge(data).len() <= MAX_SAID);
    if let Some((user, token)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) {
        login(user, token);
    }
});

fn base64(data: &[u8]) {
    if let Ok(octets) = decode_base64(data, MAX) {
        assert!(octets.len() <= MAX);
        // What came may lack its padding; what we write has it.
        let again = encode_base64(&octets);
        assert_eq!(again.trim_end_matches('=').as_bytes(), without_padding(data));
    }
    let text = encode_base64(data);
    assert_eq!(*decode_base64(text.as_bytes(), data.len()).expect("what we encode decodes"), data);
}

fn plain(data: &[u8]) {
    let Ok(plain) = Plain::decode(data) else { return };
    assert!([&*plain.authzid, &*plain.authcid, plain.password.expose()].iter().all(|part| part.len() <= MAX_CREDENTIAL));
    assert_eq!(*plain.encode(), data);
}

fn login(user: &str, token: &str) {
    let Some(token) = AccessToken::parse(token.to_owned()) else { return };
    let Some(message) = xoauth2::encode(user, &token) else { return };
    let message = decode_base64(message.as_bytes(), usize::MAX).expect("what we encode decodes");
    // One user and one token: no octet of either can have opened another field.
    assert_eq!(*message, format!("user={user}\x01auth=Bearer {}\x01\x01", token.expose()).into_bytes());
    assert_eq!(message.iter().filter(|octet| **octet == 1).count(), 3);
    let message = oauthbearer::encode(user, &token, "mail.example", 993).expect("the same users have a place in both");
    let message = decode_base64(message.as_bytes(), usize::MAX).expect("what we encode decodes");
    let fields: Vec<&[u8]> = message.split(|octet| *octet == 1).collect();
    let auth = format!("auth=Bearer {}", token.expose());
    assert_eq!(fields[1..], [&b"host=mail.example"[..], b"port=993", auth.as_bytes(), b"", b""]);
    // `n,a=` and the comma behind the user, which holds none itself.
    assert_eq!(fields[0].iter().filter(|octet| **octet == b',').count(), 2);
}

fn without_padding(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|octet| *octet != b'=').map_or(0, |at| at + 1);
    &text[..end]
}
