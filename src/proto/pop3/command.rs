//! POP3 commands (RFC 1939, 2449, 2595, 5034), as far as a listener reads them: those of the AUTHORIZATION state.

use crate::secret::Password;

/// A command before login.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// What can this server do? (RFC 2449 section 5)
    Capa,
    /// The connection may end.
    Quit,
    /// The first half of a login.
    User(Vec<u8>),
    /// The second half.
    Pass(Password),
    /// Which SASL mechanisms are there? (RFC 1734 and its successors leave it open; clients ask.)
    ListMechanisms,
    /// A SASL login (RFC 5034 section 4).
    Auth(Auth),
    /// TLS is wanted (RFC 2595 section 4).
    StartTls,
    /// A verb that has no argument and came with one.
    Surplus,
    /// A verb that needs an argument and came without.
    Incomplete,
    /// A verb of the TRANSACTION state.
    NotBeforeLogin,
    /// A verb of the AUTHORIZATION state that is not offered here.
    NotOffered,
    /// A verb of no POP3 server.
    Unknown,
}

/// The arguments of AUTH.
#[derive(Debug, PartialEq, Eq)]
pub struct Auth {
    /// The mechanism's name as it was sent.
    pub mechanism: Vec<u8>,
    /// The initial response as it stands in the line, in base64. It holds a password, hence the type.
    pub initial_response: Option<Password>,
}

impl Command {
    /// Parses a line without its end. Verbs are taken in any case (RFC 1939 section 3).
    #[must_use]
    pub fn parse(line: &[u8]) -> Self {
        let (verb, argument) = split_word(line);
        match verb.to_ascii_uppercase().as_slice() {
            b"CAPA" => Self::Capa,
            b"QUIT" => Self::Quit,
            b"USER" => match argument {
                Some(name @ [_, ..]) => Self::User(name.to_vec()),
                _ => Self::Incomplete,
            },
            // RFC 1939 section 7: PASS has one argument only, so spaces in it belong to the password.
            b"PASS" => match argument {
                Some(password) => Self::Pass(Password::new(password.to_vec())),
                None => Self::Incomplete,
            },
            b"AUTH" => match argument.map(<[u8]>::trim_ascii) {
                None | Some([]) => Self::ListMechanisms,
                Some(argument) => Self::Auth(Auth::parse(argument)),
            },
            b"STAT" | b"LIST" | b"RETR" | b"DELE" | b"NOOP" | b"RSET" | b"TOP" | b"UIDL" => Self::NotBeforeLogin,
            b"STLS" if argument.is_none_or(|argument| argument.trim_ascii().is_empty()) => Self::StartTls,
            b"STLS" => Self::Surplus,
            b"APOP" => Self::NotOffered,
            _ => Self::Unknown,
        }
    }
}

impl Auth {
    fn parse(argument: &[u8]) -> Self {
        let (mechanism, initial_response) = split_word(argument);
        let initial_response = initial_response
            .map(<[u8]>::trim_ascii)
            .map(|response| Password::new(response.to_vec()));
        Self { mechanism: mechanism.to_vec(), initial_response }
    }
}

/// Whether the line that begins so is an AUTH command, which may be longer than others.
#[must_use]
pub fn is_auth(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "))
}

/// Cuts the first word and the one space behind it; `None` where there is no space.
fn split_word(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b' ', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn auth(mechanism: &str, initial_response: Option<&str>) -> Command {
        let initial_response = initial_response.map(|text| Password::new(text.into()));
        Command::Auth(Auth { mechanism: mechanism.into(), initial_response })
    }

    #[test]
    fn verbs_are_taken_in_any_case() {
        for (line, command) in [
            ("capa", Command::Capa),
            ("Quit", Command::Quit),
            ("uSER mrose", Command::User(b"mrose".to_vec())),
            ("stls", Command::StartTls),
            ("STLS ", Command::StartTls),
            ("STLS now", Command::Surplus),
            ("APOP mrose c4c9334bac560ecc979e58001b3e22fb", Command::NotOffered),
            ("STAT", Command::NotBeforeLogin),
            ("noop", Command::NotBeforeLogin),
            ("EHLO", Command::Unknown),
            ("", Command::Unknown),
            (" QUIT", Command::Unknown),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), command, "{line:?}");
        }
    }

    #[test]
    fn a_password_keeps_its_spaces() {
        for (line, password) in [("PASS a b", "a b"), ("PASS  a ", " a "), ("PASS ", ""), ("pass secret", "secret")] {
            assert_eq!(Command::parse(line.as_bytes()), Command::Pass(Password::new(password.into())), "{line:?}");
        }
    }

    #[test]
    fn a_verb_without_its_argument_is_incomplete() {
        for line in ["USER", "USER ", "PASS"] {
            assert_eq!(Command::parse(line.as_bytes()), Command::Incomplete, "{line:?}");
        }
    }

    #[test]
    fn auth_comes_with_and_without_an_initial_response() {
        for (line, command) in [
            ("AUTH", Command::ListMechanisms),
            ("AUTH ", Command::ListMechanisms),
            ("AUTH PLAIN", auth("PLAIN", None)),
            ("AUTH PLAIN ", auth("PLAIN", None)),
            ("AUTH PLAIN =", auth("PLAIN", Some("="))),
            ("auth plain AHQAcA==", auth("plain", Some("AHQAcA=="))),
            ("AUTH login dGlt ", auth("login", Some("dGlt"))),
            ("AUTH CRAM-MD5", auth("CRAM-MD5", None)),
            ("AUTH XOAUTH2 dGlt", auth("XOAUTH2", Some("dGlt"))),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), command, "{line:?}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?} {:?}", Command::parse(b"PASS hunter2"), Command::parse(b"AUTH PLAIN hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    proptest! {
        #[test]
        fn a_user_and_a_password_come_out_as_they_went_in(text in "[^\r\n]{1,40}") {
            let line = |verb: &str| [verb.as_bytes(), text.as_bytes()].concat();
            prop_assert_eq!(Command::parse(&line("USER ")), Command::User(text.clone().into_bytes()));
            prop_assert_eq!(Command::parse(&line("PASS ")), Command::Pass(Password::new(text.into_bytes())));
        }
    }
}
