//! SMTP commands as a downstream sends them (RFC 5321 section 4.1): which verb, and what follows it. No verb is acted on.

/// The longest command line taken before login, its end included, in octets. RFC 5321 section 4.5.3.1.4 says 512;
/// extensions add to that. A line that carries a SASL response may be longer: `sasl::MAX_LINE`.
pub const MAX_COMMAND: usize = 2048;

/// The commands a submission server knows, whether or not it lets one use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// RFC 4954 section 4.
    Auth,
    /// RFC 3030 section 2.
    Bdat,
    /// RFC 5321 section 4.1.1.4.
    Data,
    /// RFC 5321 section 4.1.1.1.
    Ehlo,
    /// RFC 5321 section 4.1.1.7.
    Expn,
    /// RFC 5321 section 4.1.1.1.
    Helo,
    /// RFC 5321 section 4.1.1.8.
    Help,
    /// RFC 5321 section 4.1.1.2.
    Mail,
    /// RFC 5321 section 4.1.1.9.
    Noop,
    /// RFC 5321 section 4.1.1.10.
    Quit,
    /// RFC 5321 section 4.1.1.3.
    Rcpt,
    /// RFC 5321 section 4.1.1.5.
    Rset,
    /// RFC 3207 section 4.
    StartTls,
    /// RFC 5321 section 4.1.1.6.
    Vrfy,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 14] = [
        Self::Auth,
        Self::Bdat,
        Self::Data,
        Self::Ehlo,
        Self::Expn,
        Self::Helo,
        Self::Help,
        Self::Mail,
        Self::Noop,
        Self::Quit,
        Self::Rcpt,
        Self::Rset,
        Self::StartTls,
        Self::Vrfy,
    ];

    /// The verb as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::Bdat => "BDAT",
            Self::Data => "DATA",
            Self::Ehlo => "EHLO",
            Self::Expn => "EXPN",
            Self::Helo => "HELO",
            Self::Help => "HELP",
            Self::Mail => "MAIL",
            Self::Noop => "NOOP",
            Self::Quit => "QUIT",
            Self::Rcpt => "RCPT",
            Self::Rset => "RSET",
            Self::StartTls => "STARTTLS",
            Self::Vrfy => "VRFY",
        }
    }

    /// Verbs are compared without case (RFC 5321 section 2.4).
    fn named(word: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.name().as_bytes().eq_ignore_ascii_case(word))
    }
}

/// One command line, taken apart no further than every command allows.
///
/// It shows no `Debug`: the arguments of AUTH hold a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// The verb; `None` where no server knows it.
    pub verb: Option<Verb>,
    /// What follows the verb, without the blanks around it.
    pub arguments: &'a [u8],
}

impl<'a> Command<'a> {
    /// Takes a line without its end apart. Blanks (space, tab) before the verb and after the arguments are let pass, as
    /// devices send them.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let line = trim(line);
        let end = line.iter().position(is_blank).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        Self { verb: Verb::named(word), arguments: trim(rest) }
    }
}

/// The words of an argument list; any run of blanks parts two.
pub fn words(arguments: &[u8]) -> impl Iterator<Item = &[u8]> {
    arguments.split(is_blank).filter(|word| !word.is_empty())
}

/// The text without the spaces and tabs around it.
#[must_use]
pub fn trim(text: &[u8]) -> &[u8] {
    let Some(start) = text.iter().position(|octet| !is_blank(octet)) else { return &[] };
    let end = text.iter().rposition(|octet| !is_blank(octet)).map_or(start, |last| last + 1);
    &text[start..end]
}

const fn is_blank(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smtp_proto::{AUTH_LOGIN, AUTH_PLAIN, Error, Request};

    use super::*;

    fn parsed(line: &str) -> (Option<Verb>, &str) {
        let command = Command::parse(line.as_bytes());
        (command.verb, std::str::from_utf8(command.arguments).unwrap())
    }

    #[test]
    fn every_verb_is_found_in_any_case() {
        for verb in Verb::ALL {
            let name = verb.name();
            for line in [name.to_owned(), name.to_lowercase(), format!("{name} x y"), format!("\t {name}\tx y \t")] {
                assert_eq!(parsed(&line).0, Some(verb), "{line:?}");
            }
        }
        assert_eq!(parsed("mAiL  FROM:<a@b>  SIZE=1 "), (Some(Verb::Mail), "FROM:<a@b>  SIZE=1"));
    }

    #[test]
    fn what_only_looks_like_a_verb_is_none() {
        for line in
            ["", "   ", "MAILX", "MAI", "MAIL:", "MAIL\0", "\rMAIL", "STARTTLSX", "ZTQ5ZjM5", "ETRN x", "\u{7f}"]
        {
            assert_eq!(parsed(line).0, None, "{line:?}");
        }
    }

    #[test]
    fn words_are_parted_by_any_blanks() {
        assert_eq!(words(b" a \t b\tc ").collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert_eq!(words(b" \t").count(), 0);
    }

    /// Lines that stand near the grammar: a verb or nearly one, then arguments.
    fn line() -> impl Strategy<Value = String> {
        let verb = prop_oneof![
            4 => proptest::sample::select(&Verb::ALL[..]).prop_map(|verb| verb.name().to_owned()),
            1 => "[A-Za-z]{1,8}",
        ];
        let arguments = prop_oneof![
            Just(String::new()),
            "( [!-~]{1,12}){1,3} ?",
            " (plain|LOGIN|CRAM-MD5)( [A-Za-z0-9+/]{0,20}={0,2})?",
            " (FROM|to):<[a-z]{1,8}@[a-z]{1,8}>( SIZE=[0-9]{1,5})?",
            " [0-9]{1,6}( LAST)?",
        ];
        (verb, any::<bool>(), arguments).prop_map(|(verb, lower, arguments)| {
            let verb = if lower { verb.to_lowercase() } else { verb };
            format!("{verb}{arguments}")
        })
    }

    proptest! {
        /// Rule 6: what another implementation takes for a command is the same one here.
        #[test]
        fn agrees_with_smtp_proto(line in line()) {
            let ours = Command::parse(line.as_bytes());
            let ended = format!("{line}\r\n");
            match Request::parse(&mut ended.as_bytes().iter()) {
                // Extensions that no submission server of ours offers.
                Ok(Request::Lhlo { .. } | Request::Etrn { .. } | Request::Atrn { .. } | Request::Burl { .. }) => {
                    prop_assert_eq!(ours.verb, None);
                }
                Ok(theirs) => {
                    prop_assert_eq!(ours.verb.map(Verb::name), Some(theirs.name()));
                    if let Request::Auth { mechanism: AUTH_PLAIN | AUTH_LOGIN, initial_response } = theirs {
                        let response = words(ours.arguments).nth(1).unwrap_or_default();
                        prop_assert!(initial_response.as_bytes().starts_with(response), "{}", initial_response);
                    }
                }
                Err(Error::UnknownCommand) => prop_assert_eq!(ours.verb, None),
                // A known verb whose arguments it does not like.
                Err(_) => {}
            }
        }

        #[test]
        fn any_octets_are_taken_apart(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            let command = Command::parse(&line);
            prop_assert_eq!(command.arguments, trim(command.arguments));
            prop_assert!(words(command.arguments).all(|word| !word.iter().any(is_blank)));
        }
    }
}
