//! The mechanisms that show a token to an upstream, as far as its machines must tell them apart.

use zeroize::Zeroizing;

use super::{oauthbearer, xoauth2};
use crate::proto::Credential;

/// A mechanism that takes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// Google's and Microsoft's.
    Xoauth2,
    /// RFC 7628.
    Oauthbearer,
}

impl Bearer {
    /// The one to use with an upstream that offers what `offers` says; XOAUTH2 where there is a choice, since every
    /// provider's documentation means that.
    pub(crate) fn chosen(offers: impl Fn(&str) -> bool) -> Option<Self> {
        [Self::Xoauth2, Self::Oauthbearer]
            .into_iter()
            .find(|mechanism| offers(mechanism.name()))
    }

    /// Its name in the lists of capabilities.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::Oauthbearer => "OAUTHBEARER",
        }
    }

    /// The command that begins it in SMTP and POP3; in the log, the stage of the dialogue.
    pub(crate) const fn auth(self) -> &'static str {
        match self {
            Self::Xoauth2 => "AUTH XOAUTH2",
            Self::Oauthbearer => "AUTH OAUTHBEARER",
        }
    }

    /// The same in IMAP.
    pub(crate) const fn authenticate(self) -> &'static str {
        match self {
            Self::Xoauth2 => "AUTHENTICATE XOAUTH2",
            Self::Oauthbearer => "AUTHENTICATE OAUTHBEARER",
        }
    }

    /// The message, base64-encoded on one line; `None` for a user that has no place in it.
    pub(crate) fn message(self, Credential { user, token, host, port }: &Credential) -> Option<Zeroizing<String>> {
        match self {
            Self::Xoauth2 => xoauth2::encode(user, token),
            Self::Oauthbearer => oauthbearer::encode(user, token, host, *port),
        }
    }

    /// The line that answers a failure challenge, before the upstream says its last word: an empty one, or a single 0x01
    /// (RFC 7628 section 3.2.3).
    pub(crate) const fn dismissal(self) -> &'static [u8] {
        match self {
            Self::Xoauth2 => b"\r\n",
            Self::Oauthbearer => b"AQ==\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xoauth2_is_chosen_where_both_are_offered() {
        let chosen = |offered: &[&str]| Bearer::chosen(|name| offered.contains(&name));
        assert_eq!(chosen(&["PLAIN", "OAUTHBEARER", "XOAUTH2"]), Some(Bearer::Xoauth2));
        assert_eq!(chosen(&["PLAIN", "OAUTHBEARER"]), Some(Bearer::Oauthbearer));
        assert_eq!(chosen(&["PLAIN", "XOAUTH", "OAUTH"]), None);
    }

    #[test]
    fn a_dismissal_is_one_octet_that_says_nothing() {
        assert_eq!(Bearer::Oauthbearer.dismissal().trim_ascii(), super::super::encode_base64(b"\x01").as_bytes());
    }
}
