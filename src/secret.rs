//! Secrets that cannot be printed: every type here redacts its `Debug` and wipes its memory when dropped. And how a
//! secret is taken out of a text that a peer wrote.

use std::collections::HashSet;
use std::fmt;

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use subtle::ConstantTimeEq;

/// A password as the downstream sent it, or as a configuration names it: any octets but NUL.
#[derive(Clone)]
pub struct Password(SecretSlice<u8>);

impl Password {
    /// Takes the octets over; the caller's buffer is consumed, not copied.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Self {
        Self(octets.into())
    }

    /// The octets, for hashing and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

/// A text a provider gave us or must be given: a client secret, an authorization code, a refresh token.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text, for the one request that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText([redacted])")
    }
}

/// An OAuth access token: 1 to 16,384 octets of printable ASCII without spaces, so that it can be
/// put into a SASL message without escaping (RFC 6750 section 2.1 allows less than that).
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(SecretText);

/// The longest access token taken, in octets. Microsoft's exceed 4,096 since July 2025.
pub const MAX_ACCESS_TOKEN: usize = 16 * 1024;

impl AccessToken {
    /// Checks length and character set; `None` where a token could break the line it travels in.
    #[must_use]
    pub fn parse(text: String) -> Option<Self> {
        let fits = (1..=MAX_ACCESS_TOKEN).contains(&text.len());
        let clean = text.bytes().all(|octet| (0x21..=0x7e).contains(&octet));
        let token = SecretText::new(text);
        (fits && clean).then_some(Self(token))
    }

    /// The token, for the SASL message that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

/// The shortest piece of a longer secret that [`redacted`] takes for the secret, in octets.
pub const SHORTEST_PIECE: usize = 16;

/// A peer's text without the secrets the peer was told: wherever it repeats one, or at least [`SHORTEST_PIECE`] octets
/// of one on end, there is `[redacted]` instead. To be used before the text is escaped or cut. Takes time in proportion
/// to the text and the secrets.
#[must_use]
pub fn redacted<S: AsRef<[u8]>>(text: &[u8], secrets: &[S]) -> Vec<u8> {
    let mut hidden = vec![false; text.len()];
    for secret in secrets.iter().map(AsRef::as_ref).filter(|secret| !secret.is_empty()) {
        let size = secret.len().min(SHORTEST_PIECE);
        let pieces: HashSet<&[u8]> = secret.windows(size).collect();
        for (at, piece) in text.windows(size).enumerate() {
            if pieces.contains(piece) {
                hidden[at..at + size].fill(true);
            }
        }
    }
    let mut shown = Vec::with_capacity(text.len());
    let mut before = false;
    for (octet, hidden) in text.iter().zip(hidden) {
        match (before, hidden) {
            (_, false) => shown.push(*octet),
            (false, true) => shown.extend_from_slice(b"[redacted]"),
            (true, true) => {}
        }
        before = hidden;
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!(
            "{:?} {:?} {:?}",
            Password::new(b"hunter2".to_vec()),
            SecretText::new("hunter2".into()),
            AccessToken::parse("hunter2".into()),
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_token_that_could_break_its_line_is_refused() {
        for bad in ["", "a b", "a\r\nb", "a\x01b", "tok\u{e9}n"] {
            assert!(AccessToken::parse(bad.into()).is_none(), "{bad:?}");
        }
        assert!(AccessToken::parse("x".repeat(MAX_ACCESS_TOKEN)).is_some());
        assert!(AccessToken::parse("x".repeat(MAX_ACCESS_TOKEN + 1)).is_none());
    }

    fn without(text: &str, secrets: &[&str]) -> String {
        String::from_utf8(redacted(text.as_bytes(), secrets)).unwrap()
    }

    #[test]
    fn a_secret_is_taken_out_wherever_it_stands() {
        assert_eq!(without("bad client_secret s3cr3t", &["s3cr3t"]), "bad client_secret [redacted]");
        assert_eq!(without("s3cr3t s3cr3ts3cr3t, s3cr3", &["s3cr3t"]), "[redacted] [redacted], s3cr3");
        assert_eq!(without("one two", &["two", "one", "", "three"]), "[redacted] [redacted]");
        assert_eq!(without("", &["one"]), "");
    }

    #[test]
    fn a_piece_of_a_long_secret_is_one_too() {
        let secret = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9";
        for piece in [secret, &secret[..16], &secret[5..25], &secret[secret.len() - 16..]] {
            assert_eq!(without(&format!("it says {piece}."), &[secret]), "it says [redacted].", "{piece}");
        }
        assert_eq!(without(&secret[..15], &[secret]), &secret[..15]);
    }

    proptest! {
        #[test]
        fn what_is_left_holds_no_piece_of_the_secret(
            secret in "[ab]{1,40}", before in "[a-c]{0,30}", after in "[a-c]{0,30}", from in 0_usize..40, to in 0_usize..40,
        ) {
            let (from, to) = (from.min(to).min(secret.len()), from.max(to).min(secret.len()));
            let shown = without(&format!("{before}{}{after}", &secret[from..to]), &[&secret]);
            let size = secret.len().min(SHORTEST_PIECE);
            for kept in shown.split("[redacted]") {
                for piece in secret.as_bytes().windows(size) {
                    prop_assert!(!kept.as_bytes().windows(size).any(|window| window == piece), "{}", shown);
                }
            }
        }

        #[test]
        fn a_text_without_the_secret_stays_as_it_is(text: Vec<u8>) {
            prop_assert_eq!(redacted(&text, &["no text made at random holds this"]), text);
        }
    }
}
