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
    /// RFC 3501 section 6.2.1.
    StartTls,
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
const NOT_NOW: [&[u8]; 23] = [
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
            b"STARTTLS" => arguments.end().map(|()| Self::StartTls),
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
mod tests;
