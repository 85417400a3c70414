//! The two mechanisms that take a token, as far as they differ: how a response is written, and how one is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::xoauth2::Response;
use super::{Personality, oauthbearer, xoauth2};

/// A SASL mechanism that takes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Google's and Microsoft's.
    Xoauth2,
    /// RFC 7628.
    Oauthbearer,
}

/// Why a response is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Not canonical base64 with its padding (RFC 4648 sections 3.2 to 3.5).
    Base64,
    /// Not the mechanism's form.
    Fields,
}

impl Mechanism {
    pub(super) const ALL: [Self; 2] = [Self::Xoauth2, Self::Oauthbearer];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::Oauthbearer => "OAUTHBEARER",
        }
    }

    /// What a personality offers where nobody wants otherwise.
    pub(super) fn offered_by(personality: Personality) -> Vec<Self> {
        match personality {
            Personality::Microsoft | Personality::Dovecot => vec![Self::Xoauth2],
            Personality::Gmail => Self::ALL.to_vec(),
        }
    }

    /// Reads a response as it travels.
    pub(super) fn decode(self, response: &[u8]) -> Result<Response, Malformed> {
        let octets = STANDARD.decode(response).map_err(|_| Malformed::Base64)?;
        let fields = match self {
            Self::Xoauth2 => xoauth2::fields(&octets),
            Self::Oauthbearer => oauthbearer::fields(&octets),
        };
        fields.ok_or(Malformed::Fields)
    }

    /// What a refused login is told before it is refused.
    pub(super) fn challenge(self, personality: Personality) -> String {
        STANDARD.encode(match (self, personality) {
            (Self::Xoauth2, Personality::Gmail) => {
                r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#
            }
            (Self::Xoauth2, _) => r#"{"status":"401","schemes":"bearer","scope":"mail"}"#,
            // RFC 7628 section 3.2.2.
            (Self::Oauthbearer, Personality::Gmail) => {
                r#"{"status":"invalid_token","scope":"https://mail.google.com/"}"#
            }
            (Self::Oauthbearer, _) => r#"{"status":"invalid_token","scope":"mail"}"#,
        })
    }

    /// What a client answers to that: nothing, or a single 0x01 (RFC 7628 section 3.2.3).
    pub(super) const fn dismissal(self) -> &'static [u8] {
        match self {
            Self::Xoauth2 => b"",
            Self::Oauthbearer => b"AQ==",
        }
    }
}

/// A list of capabilities in which the mechanisms are those of `offered`. Each is written with `prefix` before it. Those
/// that the list has keep their places; the others follow the first one that it has.
pub(super) fn offer(list: &str, prefix: &str, offered: &[Mechanism]) -> String {
    let written = |mechanism: &Mechanism| format!("{prefix}{}", mechanism.name());
    let listed: Vec<&str> = list.split(' ').collect();
    let others: Vec<String> = offered
        .iter()
        .map(written)
        .filter(|name| !listed.contains(&name.as_str()))
        .collect();
    let mut others = Some(others);
    let mut words = Vec::new();
    for word in listed {
        let mechanism = Mechanism::ALL.into_iter().find(|mechanism| written(mechanism) == word);
        if mechanism.is_none_or(|mechanism| offered.contains(&mechanism)) {
            words.push(word.to_owned());
        }
        if mechanism.is_some() {
            words.extend(others.take().unwrap_or_default());
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microsofts_example_is_read() {
        let response = Mechanism::Xoauth2
            .decode(
                b"dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==",
            )
            .ok()
            .unwrap();
        assert_eq!(response.user, "test@contoso.onmicrosoft.com");
        assert_eq!(response.token, "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA");
    }

    #[test]
    fn base64_has_one_spelling() {
        for bad in [&b"dXNlcg="[..], b"dXNlcg", b"dXNlch==", b"dXNl cg==", b"dXN-cg==", b"dXNlcg==\r", b"="] {
            let malformed = Mechanism::Xoauth2.decode(bad).err();
            assert_eq!(malformed, Some(Malformed::Base64), "{}", bad.escape_ascii());
        }
        assert_eq!(Mechanism::Oauthbearer.decode(b"dXNlcg==").err(), Some(Malformed::Fields));
    }

    #[test]
    fn a_list_offers_what_is_offered() {
        let [xoauth2, oauthbearer] = Mechanism::ALL;
        let gmail = "AUTH LOGIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH";
        assert_eq!(offer(gmail, "", &[oauthbearer, xoauth2]), gmail);
        assert_eq!(offer(gmail, "", &[oauthbearer]), "AUTH LOGIN PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH");
        assert_eq!(offer("ID AUTH=XOAUTH2 X", "AUTH=", &[oauthbearer]), "ID AUTH=OAUTHBEARER X");
        assert_eq!(offer("ID AUTH=XOAUTH2 X", "AUTH=", &Mechanism::ALL), "ID AUTH=XOAUTH2 AUTH=OAUTHBEARER X");
        assert_eq!(offer("ID XOAUTH2", "AUTH=", &Mechanism::ALL), "ID XOAUTH2");
    }
}
