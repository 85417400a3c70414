//! Capability lists (RFC 3501 section 7.2.1): read from an upstream, cut to what holds for a logged-in downstream.

use std::fmt;

use crate::secret::redacted;

/// What a server says it can do, in the order it said it. Every entry is an atom: it cannot break the line or the
/// response code it is written into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<String>);

impl Capabilities {
    /// Takes the names over; what is no atom is left out.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(
            names
                .into_iter()
                .map(Into::into)
                .filter(|name| is_atom(name.as_bytes()))
                .collect(),
        )
    }

    /// Reads a list whose names stand between spaces; what is no atom is left out.
    #[must_use]
    pub fn parse(list: &[u8]) -> Self {
        Self::new(list.split(|octet| *octet == b' ').map(String::from_utf8_lossy))
    }

    /// Whether `name` is in the list. Case does not matter (RFC 3501 section 7.2.1).
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether the list is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list without what speaks of logging in: the downstream has logged in, and not the way the upstream means.
    /// UNAUTHENTICATE (RFC 8437) would lead back to a state that nobody watches any more.
    #[must_use]
    pub fn after_login(mut self) -> Self {
        const GONE: [&str; 4] = ["LOGINDISABLED", "STARTTLS", "UNAUTHENTICATE", "LOGIN-REFERRALS"];
        self.0.retain(|name| {
            let mechanism = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH="));
            !mechanism && !GONE.iter().any(|gone| name.eq_ignore_ascii_case(gone))
        });
        self
    }

    /// The list without any in which a server repeats one of these that it was told, or a part of it.
    #[must_use]
    pub fn without<S: AsRef<[u8]>>(mut self, secrets: &[S]) -> Self {
        self.0.retain(|name| redacted(name.as_bytes(), secrets) == name.as_bytes());
        self
    }
}

/// The names, with a space between each two.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// RFC 3501 section 9, `atom`. `]` is left out of it there so that an atom can stand in a response code.
fn is_atom(name: &[u8]) -> bool {
    let special = |octet: &u8| matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']');
    !name.is_empty() && name.iter().all(|octet| octet.is_ascii_graphic() && !special(octet))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_speaks_of_logging_in_goes_and_the_order_stays() {
        let list = b"IMAP4 IMAP4rev1 AUTH=PLAIN auth=xoauth2 SASL-IR LoginDisabled UIDPLUS STARTTLS UNAUTHENTICATE ID \
            LOGIN-REFERRALS IDLE LITERAL+";
        let capabilities = Capabilities::parse(list);
        assert!(capabilities.has("AUTH=XOAUTH2") && capabilities.has("sasl-ir") && !capabilities.has("AUTH"));
        assert_eq!(capabilities.after_login().to_string(), "IMAP4 IMAP4rev1 SASL-IR UIDPLUS ID IDLE LITERAL+");
    }

    #[test]
    fn what_could_break_a_line_is_no_capability() {
        let list = b"IMAP4rev1  X] A\rB \xff X-\xc3\xa9 {5} \"Q\" IDLE";
        assert_eq!(Capabilities::parse(list).to_string(), "IMAP4rev1 IDLE");
        assert!(Capabilities::parse(b" ").is_empty());
    }

    #[test]
    fn what_repeats_a_secret_is_no_capability() {
        let list = Capabilities::parse(b"IMAP4rev1 X-dG9rZW4tb2Ytc29tZS1sZW5ndGg= token X-TOKENS IDLE");
        let without = list.without(&["token", "QmVhcmVyIHdpdGg=dG9rZW4tb2Ytc29tZS1sZW5ndGg="]);
        assert_eq!(without.to_string(), "IMAP4rev1 X-TOKENS IDLE");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(names in proptest::collection::vec("[A-Z0-9=+-]{1,12}", 0..12)) {
            let capabilities = Capabilities::new(names);
            prop_assert_eq!(Capabilities::parse(capabilities.to_string().as_bytes()), capabilities);
        }
    }
}
