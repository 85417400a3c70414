//! Secrets that cannot be printed: every type here redacts its `Debug` and wipes its memory when dropped.

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

#[cfg(test)]
mod tests {
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
}
