//! SASL messages (RFC 4422): encode and decode, nothing else. Who asks for which, and when, is the machines' affair.

pub(crate) mod bearer;
pub(crate) mod exchange;
pub mod login;
pub mod oauthbearer;
pub mod plain;
pub mod xoauth2;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;
use zeroize::Zeroizing;

use super::said;

/// The longest line of a SASL exchange, its end included, in octets. RFC 4954 section 4 asks for 12,288; base64 of the
/// longest credentials or of a Microsoft token fits.
pub const MAX_LINE: usize = 16_384;

/// Why a SASL message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SaslError {
    /// Not base64, or not the message it should be.
    #[error("a SASL message that is malformed")]
    Malformed,
    /// More octets than the message may have.
    #[error("a SASL message that is too long")]
    TooLong,
}

/// Some devices leave the padding away, so it is asked for nowhere; what we write has it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64 (RFC 4648 section 4), padded or not.
///
/// # Errors
/// [`SaslError::TooLong`] when the result would have more than `max` octets, which is known before anything is
/// allocated; [`SaslError::Malformed`] when a character is not of the alphabet or padding stands elsewhere than at the
/// end.
pub fn decode_base64(text: &[u8], max: usize) -> Result<Zeroizing<Vec<u8>>, SaslError> {
    let length = decoded_length(text);
    if length > max {
        return Err(SaslError::TooLong);
    }
    let mut octets = Zeroizing::new(vec![0; length]);
    let written = BASE64.decode_slice(text, &mut octets).map_err(|_| SaslError::Malformed)?;
    octets.truncate(written);
    Ok(octets)
}

/// How many octets well-formed base64 of this length holds.
fn decoded_length(text: &[u8]) -> usize {
    let padding = text.iter().rev().take(2).take_while(|octet| **octet == b'=').count();
    let digits = text.len() - padding;
    digits / 4 * 3 + (digits % 4).saturating_sub(1)
}

/// Encodes base64 (RFC 4648 section 4), padded, on one line. What it encodes is as a rule a secret: the text is wiped
/// when dropped, and written where it stays.
#[must_use]
pub fn encode_base64(octets: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(octets.len().div_ceil(3) * 4));
    BASE64.encode_string(octets, &mut text);
    text
}

/// What a failure challenge of XOAUTH2 or OAUTHBEARER says, cut at [`MAX_SAID`](crate::proto::MAX_SAID) octets: JSON at the
/// providers that send one. A challenge that is not base64 is shown as it came. Peer text: escape it wherever it is shown.
#[must_use]
pub fn decode_challenge(text: &[u8]) -> Vec<u8> {
    match decode_base64(text, text.len()) {
        Ok(octets) => said(&octets),
        Err(_) => said(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::MAX_SAID;

    fn decode(text: &str) -> Result<Vec<u8>, SaslError> {
        decode_base64(text.as_bytes(), 64).map(|octets| octets.to_vec())
    }

    #[test]
    fn padding_may_be_left_away_and_nothing_else() {
        for (text, octets) in [("", ""), ("YQ==", "a"), ("YQ", "a"), ("YWI=", "ab"), ("YWI", "ab"), ("YWJj", "abc")] {
            assert_eq!(decode(text), Ok(octets.into()), "{text:?}");
        }
        for bad in ["Y", "YQ==YQ==", "Y=Q=", "=", "====", "YWJj=", "YW Jj", "YWJj\r", "YWJ-", "YWJ_", "YQ===", "*"] {
            assert_eq!(decode(bad), Err(SaslError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn the_limit_is_exact_and_comes_first() {
        let text = encode_base64(&[7; 10]);
        assert_eq!(decode_base64(text.as_bytes(), 10).unwrap().as_slice(), [7; 10]);
        assert_eq!(decode_base64(text.as_bytes(), 9), Err(SaslError::TooLong));
        assert_eq!(decode_base64(&[b'*'; MAX_LINE], 100), Err(SaslError::TooLong));
    }

    #[test]
    fn the_text_is_never_moved_while_it_grows() {
        for length in 0..200 {
            let text = encode_base64(&vec![1; length]);
            assert_eq!(text.capacity(), text.len());
        }
    }

    #[test]
    fn a_challenge_is_decoded_or_shown_as_it_came() {
        let dovecot = b"eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiJtYWlsIn0=";
        assert_eq!(decode_challenge(dovecot), br#"{"status":"401","schemes":"bearer","scope":"mail"}"#);
        assert_eq!(decode_challenge(b"not base64!"), b"not base64!");
        assert_eq!(decode_challenge(b""), b"");
        assert_eq!(decode_challenge(&[b'Y'; 4000]).len(), MAX_SAID);
        assert_eq!(decode_challenge(&[b'*'; 4000]).len(), MAX_SAID);
    }

    proptest! {
        #[test]
        fn what_we_encode_decodes(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = encode_base64(&octets);
            for text in [text.as_str(), text.trim_end_matches('=')] {
                let decoded = decode_base64(text.as_bytes(), octets.len()).unwrap();
                prop_assert_eq!(decoded.as_slice(), octets.as_slice());
            }
        }

        #[test]
        fn any_octets_decode_within_the_limit_or_not_at_all(text: Vec<u8>, max in 0usize..64) {
            if let Ok(octets) = decode_base64(&text, max) {
                prop_assert!(octets.len() <= max);
            }
        }
    }
}
