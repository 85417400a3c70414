#![no_main]
//! SASL messages: what decodes encodes back, and nothing panics.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::sasl;
use mailferry::secret::AccessToken;

fuzz_target!(|data: &[u8]| {
    let _ = sasl::xoauth2::decode_challenge(data);
    if let Ok(octets) = sasl::decode_base64(data, 4096) {
        assert!(octets.len() <= 4096);
        let again = sasl::encode_base64(&octets);
        assert_eq!(sasl::decode_base64(again.as_bytes(), 4096).unwrap(), octets);
    }
    if let Ok(plain) = sasl::plain::decode(data) {
        assert_eq!(*sasl::plain::encode(&plain.authzid, &plain.authcid, plain.password.expose()), data);
    }
    let Some((user, token)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once(' ')) else { return };
    let Some(token) = AccessToken::parse(token.to_owned()) else { return };
    if let Some(message) = sasl::xoauth2::encode(user, &token) {
        let message = sasl::decode_base64(message.as_bytes(), usize::MAX).unwrap();
        // One user and one token: no octet of either can have opened another field.
        assert_eq!(message.iter().filter(|octet| **octet == 1).count(), 3);
    }
});
