//! The grammar of commands before login (RFC 3501 section 9). Reads whole commands; `framing` has cut them.
//!
//! Where legacy programs are known to be loose and no second reading is possible, so is this: several spaces, spaces at
//! the end, and atoms with octets that no atom may have.

use std::fmt;

use zeroize::Zeroizing;

use crate::proto::MAX_CREDENTIAL;
use crate::proto::line::Line;
use crate::secret::Password;

use super::framing::Announcement;

/// The longest tag taken, in octets.
pub(super) const MAX_TAG: usize = 128;

/// What a sender calls its command: `1*<any ASTRING-CHAR except "+">`, at most [`MAX_TAG`] octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    /// Cuts the tag from the start of a command; `None` where what stands there is none.
    pub(super) fn cut_from(command: &[u8]) -> Option<(Self, &[u8])> {
        let longest = &command[..command.len().min(MAX_TAG + 1)];
        let length = longest.iter().take_while(|octet| is_tag_octet(**octet)).count();
        let tag = String::from_utf8(longest[..length].to_vec()).ok()?;
        (1..=MAX_TAG).contains(&length).then(|| (Self(tag), &command[length..]))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) tag: Tag,
    pub(super) verb: Verb,
}

/// What a command asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Capability,
    Noop,
    Logout,
    /// RFC 2971. What the sender says about itself is not kept.
    Id,
    Login {
        username: Vec<u8>,
        password: Password,
    },
    /// `initial` is `None` where there was none, and empty where it was `=` (RFC 4959 section 3).
    Authenticate {
        mechanism: Mechanism,
        initial: Option<Line>,
    },
    /// A verb of the above with arguments it cannot have; why, for the reader.
    Malformed(&'static str),
    /// A verb of RFC 3501 or 9051 that has no place before login.
    NotNow,
    /// Any other word.
    Unknown,
}

/// What AUTHENTICATE names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Login,
    Unknown,
}

/// The verbs of RFC 3501 and 9051 that are not served before login.
const NOT_NOW: [&[u8]; 24] = [
    b"APPEND",
    b"CHECK",
    b"CLOSE",
    b"COPY",
    b"CREATE",
    b"DELETE",
    b"ENABLE",
    b"EXAMINE",
    b"EXPUNGE",
    b"FETCH",
    b"IDLE",
    b"LIST",
    b"LSUB",
    b"MOVE",
    b"NAMESPACE",
    b"RENAME",
    b"SEARCH",
    b"SELECT",
    b"STARTTLS",
    b"STATUS",
    b"STORE",
    b"SUBSCRIBE",
    b"UID",
    b"UNSELECT",
];

impl Command {
    /// Reads a whole command; `None` where it does not begin with a tag and a verb.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        let (tag, rest) = Tag::cut_from(octets)?;
        let mut arguments = Arguments(rest);
        let verb = arguments.atom()?.to_ascii_uppercase();
        Some(Self { tag, verb: Verb::parse(&verb, arguments) })
    }
}

impl Verb {
    fn parse(verb: &[u8], arguments: Arguments<'_>) -> Self {
        let parsed = match verb {
            b"CAPABILITY" => arguments.end().map(|()| Self::Capability),
            b"NOOP" => arguments.end().map(|()| Self::Noop),
            b"LOGOUT" => arguments.end().map(|()| Self::Logout),
            // Clients that log in need no answer to be right here, and some write it wrong.
            b"ID" => Some(Self::Id),
            b"LOGIN" => return Self::login(arguments),
            b"AUTHENTICATE" => Self::authenticate(arguments),
            b"UNSUBSCRIBE" => Some(Self::NotNow),
            _ if NOT_NOW.contains(&verb) => Some(Self::NotNow),
            _ => Some(Self::Unknown),
        };
        parsed.unwrap_or(Self::Malformed("Wrong arguments"))
    }

    /// `"LOGIN" SP userid SP password`, both astrings.
    fn login(mut arguments: Arguments<'_>) -> Self {
        let read = (|| Some((arguments.astring()?, arguments.astring()?, arguments.end()?)))();
        match read {
            None => Self::Malformed("LOGIN takes a user name and a password"),
            Some((username, password, ())) if username.len().max(password.len()) > MAX_CREDENTIAL => {
                Self::Malformed("User name or password too long")
            }
            Some((username, password, ())) => {
                Self::Login { username: username.to_vec(), password: Password::new(password.to_vec()) }
            }
        }
    }

    /// `"AUTHENTICATE" SP auth-type [SP initial-resp]` (RFC 4959 section 7).
    fn authenticate(mut arguments: Arguments<'_>) -> Option<Self> {
        let mechanism = match arguments.atom()?.to_ascii_uppercase().as_slice() {
            b"PLAIN" => Mechanism::Plain,
            b"LOGIN" => Mechanism::Login,
            _ => Mechanism::Unknown,
        };
        let initial = match arguments.atom() {
            Some(b"=") => Some(Line::default()),
            Some(base64) => Some(Line::new(base64.to_vec())),
            None => None,
        };
        arguments.end()?;
        Some(Self::Authenticate { mechanism, initial })
    }
}

/// What stands behind a word of a command and has not been read yet.
struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    /// Whether everything has been read.
    fn end(&self) -> Option<()> {
        self.0.iter().all(|octet| *octet == b' ').then_some(())
    }

    /// The next word, if it begins as an atom can.
    fn atom(&mut self) -> Option<&'a [u8]> {
        let word = self.next_word()?;
        // Passwords are found in the wild unquoted with any of `(){%*\"]` or octets above 127 in them. Only what begins
        // as another kind of string must not be taken for an atom.
        let length = word.iter().take_while(|octet| **octet > b' ' && **octet != 0x7f).count();
        let starts_as_atom = !matches!(word.first(), Some(b'"' | b'{'));
        (length > 0 && starts_as_atom).then(|| self.advance(word, length))
    }

    /// An atom, a quoted string or a literal.
    fn astring(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let word = self.next_word()?;
        match word.first()? {
            b'"' => self.quoted(&word[1..]),
            b'{' => self.literal(word),
            _ => self.atom().map(|atom| Zeroizing::new(atom.to_vec())),
        }
    }

    /// What follows the spaces before the next word; `None` where there is no space.
    fn next_word(&self) -> Option<&'a [u8]> {
        let spaces = self.0.iter().take_while(|octet| **octet == b' ').count();
        (spaces > 0).then(|| &self.0[spaces..])
    }

    fn advance(&mut self, from: &'a [u8], length: usize) -> &'a [u8] {
        let (read, rest) = from.split_at(length);
        self.0 = rest;
        read
    }

    /// The rest of `DQUOTE *QUOTED-CHAR DQUOTE`. Octets above 127 are taken: RFC 9051 allows UTF-8 there.
    fn quoted(&mut self, text: &'a [u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut value = Zeroizing::new(Vec::with_capacity(text.len()));
        let mut octets = text.iter().enumerate();
        while let Some((at, octet)) = octets.next() {
            match octet {
                b'"' => {
                    self.0 = &text[at + 1..];
                    return Some(value);
                }
                b'\\' => match octets.next()? {
                    (_, escaped @ (b'"' | b'\\')) => value.push(*escaped),
                    _ => return None,
                },
                b'\r' | b'\n' | 0 => return None,
                octet => value.push(*octet),
            }
        }
        None
    }

    /// `"{" number ["+"] "}" CRLF *CHAR8`.
    fn literal(&mut self, word: &'a [u8]) -> Option<Zeroizing<Vec<u8>>> {
        let line_end = memchr::memchr(b'\r', word)?;
        // Framing has counted by the end of the line; here the same digits have to be all there is of the line.
        let announcement = Announcement::at_the_end_of(&word[..line_end])?;
        let alone = memchr::memrchr(b'{', &word[..line_end]) == Some(0);
        let octets = usize::try_from(announcement.octets?).ok()?;
        let content = word[line_end..].strip_prefix(b"\r\n")?;
        (alone && octets <= content.len()).then(|| Zeroizing::new(self.advance(content, octets).to_vec()))
    }
}

/// An ASTRING-CHAR but `+`: no control character, space, `(`, `)`, `{`, `%`, `*`, `"` or `\`.
fn is_tag_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b'+')
}

#[cfg(test)]
mod tests {
    use imap_codec::CommandCodec;
    use imap_codec::decode::Decoder;
    use imap_codec::imap_types::auth::AuthMechanism;
    use imap_codec::imap_types::command::CommandBody;
    use imap_codec::imap_types::core::{AString, Tag as TheirTag};
    use proptest::prelude::*;

    use super::*;
    use crate::proto::sasl;

    fn verb(octets: impl AsRef<[u8]>) -> Verb {
        Command::parse(octets.as_ref()).unwrap().verb
    }

    fn login(username: &[u8], password: &[u8]) -> Verb {
        Verb::Login { username: username.to_vec(), password: Password::new(password.to_vec()) }
    }

    #[test]
    fn login_takes_every_form_of_string_in_any_mix() {
        for octets in [
            "a LOGIN user pass",
            "a login \"user\" pass",
            "a LOGIN user \"pass\"",
            "a LOGIN {4}\r\nuser {4}\r\npass",
            "a LOGIN {4+}\r\nuser \"pass\"",
            "a LOGIN \"user\" {4+}\r\npass",
            "a LOGIN user {4}\r\npass",
            "a  LOGIN  user  pass  ",
        ] {
            assert_eq!(verb(octets), login(b"user", b"pass"), "{octets:?}");
        }
    }

    #[test]
    fn every_octet_arrives() {
        assert_eq!(verb(r#"a LOGIN "a\\b\"c" "" "#), login(br#"a\b"c"#, b""));
        assert_eq!(verb(b"a LOGIN {7}\r\nx\r\ny\0\x01\xff {0}\r\n"), login(b"x\r\ny\0\x01\xff", b""));
        assert_eq!(verb(b"a LOGIN \"\xc3\xa9\x01\" \xfcber{%*\\]"), login(b"\xc3\xa9\x01", b"\xfcber{%*\\]"));
    }

    #[test]
    fn what_is_no_login_is_malformed() {
        for octets in [
            "a LOGIN",
            "a LOGIN user",
            "a LOGIN user pass more",
            "a LOGIN \"user pass",
            "a LOGIN \"us\\er\" pass",
            "a LOGIN \"user\"pass",
            "a LOGIN user \"pa\rss\"",
            "a LOGIN user \"pa\0ss\"",
            "a LOGIN user pa\rss",
            "a LOGIN {-1} pass",
            "a LOGIN user {1",
            "a LOGIN user ~{4}\r\npass",
            "a LOGIN user p{4}\r\npass",
            "a LOGIN {4}\r\nuser{4}\r\npass",
            "a LOGIN {9}\r\nuser",
            "a LOGIN user {4}x\r\npass",
            "a LOGIN {x{4}\r\nuser pass",
        ] {
            assert!(matches!(verb(octets), Verb::Malformed(_)), "{octets:?}");
        }
    }

    #[test]
    fn a_credential_is_bounded() {
        let longest = "x".repeat(MAX_CREDENTIAL);
        let octets = format!("a LOGIN \"{longest}\" {longest}");
        assert_eq!(verb(octets), login(longest.as_bytes(), longest.as_bytes()));
        for octets in [format!("a LOGIN {longest}x pass"), format!("a LOGIN user \"{longest}x\"")] {
            assert_eq!(verb(octets), Verb::Malformed("User name or password too long"));
        }
    }

    #[test]
    fn authenticate_may_bring_its_first_message() {
        let authenticate = |mechanism, initial: Option<&[u8]>| Verb::Authenticate {
            mechanism,
            initial: initial.map(|initial| Line::new(initial.to_vec())),
        };
        for (octets, expected) in [
            ("a AUTHENTICATE PLAIN", authenticate(Mechanism::Plain, None)),
            ("a authenticate plain =", authenticate(Mechanism::Plain, Some(b""))),
            ("a AUTHENTICATE Login dXNlcg==", authenticate(Mechanism::Login, Some(b"dXNlcg=="))),
            ("a AUTHENTICATE XOAUTH2 dXNlcg", authenticate(Mechanism::Unknown, Some(b"dXNlcg"))),
            ("a AUTHENTICATE", Verb::Malformed("Wrong arguments")),
            ("a AUTHENTICATE PLAIN x y", Verb::Malformed("Wrong arguments")),
            ("a AUTHENTICATE PLAIN {4}\r\ndXNl", Verb::Malformed("Wrong arguments")),
        ] {
            assert_eq!(verb(octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn verbs_are_told_apart() {
        for (octets, expected) in [
            ("a capability ", Verb::Capability),
            ("a NOOP", Verb::Noop),
            ("a LOGOUT now", Verb::Malformed("Wrong arguments")),
            ("a LogOut", Verb::Logout),
            ("a ID NIL", Verb::Id),
            ("a ID (\"name\" {3}\r\nfoo)", Verb::Id),
            ("a STARTTLS", Verb::NotNow),
            ("a UNSUBSCRIBE x", Verb::NotNow),
            ("a UID FETCH 1 FLAGS", Verb::NotNow),
            ("GET / HTTP/1.1", Verb::Unknown),
            ("a LOGINX u p", Verb::Unknown),
        ] {
            assert_eq!(verb(octets), expected, "{octets:?}");
        }
        for octets in ["", " ", "a", "a ", "* NOOP", "+ NOOP", "a+b NOOP", "\u{e9} NOOP", " a NOOP", "a\tNOOP", "a {1}"]
        {
            assert_eq!(Command::parse(octets.as_bytes()), None, "{octets:?}");
        }
    }

    #[test]
    fn a_tag_is_bounded() {
        let longest = "x".repeat(MAX_TAG);
        assert_eq!(Command::parse(format!("{longest} NOOP").as_bytes()).unwrap().tag.to_string(), longest);
        assert_eq!(Command::parse(format!("{longest}x NOOP").as_bytes()), None);
    }

    #[test]
    fn no_password_is_shown() {
        let command = Command::parse(b"a LOGIN user hunter2").unwrap();
        assert!(!format!("{command:?}").contains("hunter2"));
    }

    fn value(astring: &AString<'_>) -> Vec<u8> {
        astring.as_ref().to_vec()
    }

    /// A string in one of the forms a sender may choose.
    fn astring() -> impl Strategy<Value = Vec<u8>> {
        let quoted = r"[\x01-\x09\x0b\x0c\x0e-\x7f]{0,12}"
            .prop_map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes());
        let literal = (proptest::collection::vec(1u8.., 0..12), "[+]?")
            .prop_map(|(octets, sign)| [format!("{{{}{sign}}}\r\n", octets.len()).as_bytes(), &octets].concat());
        prop_oneof!["[!#$&'+-Z^-z|}~\\]\\[]{1,12}".prop_map(String::into_bytes), quoted, literal]
    }

    proptest! {
        #[test]
        fn tags_are_those_of_another_implementation(octets in r"[!-~]{0,6}[ -~\x00\xff]{0,2}") {
            let ours = Tag::cut_from(octets.as_bytes()).is_some_and(|(_, rest)| rest.is_empty());
            prop_assert_eq!(ours, TheirTag::try_from(octets.as_str()).is_ok());
        }

        #[test]
        fn a_login_reads_as_in_another_implementation(username in astring(), password in astring()) {
            let line = [b"A1 LOGIN ".as_slice(), &username, b" ", &password].concat();
            let whole = [&line, b"\r\n".as_slice()].concat();
            let (_, theirs) = CommandCodec::default().decode(&whole).unwrap();
            let CommandBody::Login { username, password } = theirs.body else { panic!("{:?}", theirs.body) };
            prop_assert_eq!(verb(line), login(&value(&username), &value(password.declassify())));
        }

        #[test]
        fn what_another_implementation_takes_is_taken(
            octets in "(a|B2|\\]) (LOGIN|login)( [\"{}0-9+a-c~\\\\\r\n%(*]{0,9}){0,3}",
        ) {
            let whole = format!("{octets}\r\n");
            if let Ok((b"", theirs)) = CommandCodec::default().decode(whole.as_bytes()) {
                let CommandBody::Login { username, password } = theirs.body else { panic!("{:?}", theirs.body) };
                prop_assert_eq!(verb(octets), login(&value(&username), &value(password.declassify())));
            }
        }

        #[test]
        fn an_authenticate_reads_as_in_another_implementation(
            mechanism in "PLAIN|plain|LOGIN|XOAUTH2|X-[A-Z]{1,5}",
            message in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30)),
        ) {
            use base64::prelude::*;
            let initial = message.as_ref().map(|message| match message.as_slice() {
                [] => " =".into(),
                message => format!(" {}", BASE64_STANDARD.encode(message)),
            });
            let line = format!("A1 AUTHENTICATE {mechanism}{}", initial.unwrap_or_default());
            let whole = format!("{line}\r\n");
            let (_, theirs) = CommandCodec::default().decode(whole.as_bytes()).unwrap();
            let CommandBody::Authenticate { mechanism: their_mechanism, initial_response } = theirs.body else {
                panic!("{:?}", theirs.body)
            };
            let Verb::Authenticate { mechanism, initial } = verb(line) else { panic!("no AUTHENTICATE") };
            let expected = match their_mechanism {
                AuthMechanism::Plain => Mechanism::Plain,
                AuthMechanism::Login => Mechanism::Login,
                _ => Mechanism::Unknown,
            };
            prop_assert_eq!(mechanism, expected);
            let initial = initial.map(|initial| sasl::decode_base64(&initial, 100).unwrap().to_vec());
            prop_assert_eq!(initial, initial_response.map(|theirs| theirs.declassify().to_vec()));
        }

        #[test]
        fn nothing_panics(octets in proptest::collection::vec(any::<u8>(), 0..80), login in "a LOGIN [ -~\r\n]{0,30}") {
            let _ = Command::parse(&octets);
            let _ = Command::parse(login.as_bytes());
            let _ = Command::parse(&[login.as_bytes(), &octets].concat());
        }
    }
}
