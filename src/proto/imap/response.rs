//! Responses (RFC 3501 section 7): written to a downstream, and read from an upstream under a limit.

use std::fmt::Display;

use crate::proto::{Input, ProtoError};

use super::capability::Capabilities;
use super::command::Tag;
use super::framing::Announcement;

/// Appends one line: `*` or a tag, and what is said. Anything in the text that could end the line, or that is not ASCII,
/// becomes `?`.
pub(super) fn write(out: &mut Vec<u8>, label: impl Display, text: impl Display) {
    let line = format!("{label} {text}");
    out.extend(
        line.bytes()
            .map(|octet| if matches!(octet, 0x20..=0x7e) { octet } else { b'?' }),
    );
    out.extend_from_slice(b"\r\n");
}

/// The label of what answers no command, or one whose tag cannot be read.
pub(super) const UNTAGGED: &str = "*";

/// The label of a continuation request (RFC 3501 section 7.5).
pub(super) const CONTINUATION: &str = "+";

/// The longest response line taken from an upstream before login, its end included. Capability lists and XOAUTH2's
/// failure challenges stay below a tenth of it.
pub(super) const MAX_RESPONSE_LINE: usize = 8 * 1024;

/// The most lines taken from an upstream before login.
pub(super) const MAX_RESPONSE_LINES: usize = 128;

/// The most octets taken from an upstream before login, literals included.
pub(super) const MAX_RESPONSE_OCTETS: usize = 64 * 1024;

/// A response that matters to a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// `+`, with what follows it.
    Continuation(Vec<u8>),
    /// `* CAPABILITY …`.
    Capability(Capabilities),
    /// `* OK …` and its like.
    Untagged(Condition),
    /// The end of a command.
    Completion { tag: Tag, condition: Condition },
}

/// A status response without its label.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) status: Status,
    /// Status and text, as they came.
    pub(super) said: Vec<u8>,
}

/// RFC 3501 section 7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    Bad,
    Bye,
    PreAuth,
}

impl Status {
    fn parse(word: &[u8]) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_slice() {
            b"OK" => Self::Ok,
            b"NO" => Self::No,
            b"BAD" => Self::Bad,
            b"BYE" => Self::Bye,
            b"PREAUTH" => Self::PreAuth,
            _ => return None,
        })
    }
}

impl Condition {
    fn parse(text: &[u8]) -> Option<Self> {
        let (word, _) = split_word(text);
        Some(Self { status: Status::parse(word)?, said: text.to_vec() })
    }

    /// The response code at the start of the text, if there is one: its name in upper case, and its arguments.
    pub(super) fn code(&self) -> Option<(String, &[u8])> {
        let (_, text) = split_word(&self.said);
        let inside = text.strip_prefix(b"[")?;
        let (name, arguments) = split_word(&inside[..memchr::memchr(b']', inside)?]);
        Some((String::from_utf8_lossy(name).to_ascii_uppercase(), arguments))
    }

    /// What the CAPABILITY response code lists.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        let (name, list) = self.code()?;
        (name == "CAPABILITY").then(|| Capabilities::parse(list))
    }
}

/// Cuts one response after the other, and drops untagged data that has nothing to say before login.
#[derive(Default)]
pub(super) struct ResponseReader {
    place: Place,
    lines: usize,
    octets: usize,
}

/// Where in a response the input stands.
#[derive(Default)]
enum Place {
    #[default]
    AtItsStart,
    /// In a literal of untagged data.
    InLiteral { octets: usize },
    /// In the line that goes on behind that literal.
    BehindLiteral,
}

impl ResponseReader {
    /// Reads on to the next response that matters.
    ///
    /// # Errors
    /// When a line is no response, or when the limits for a whole login are used up.
    pub(super) fn read(&mut self, input: &mut Input) -> Result<Option<Response>, ProtoError> {
        loop {
            if let Place::InLiteral { octets } = &mut self.place {
                *octets -= input.skip(*octets);
                if *octets > 0 {
                    return Ok(None);
                }
                self.place = Place::BehindLiteral;
            }
            let Some(line) = self.read_line(input)? else { return Ok(None) };
            let response = match std::mem::take(&mut self.place) {
                Place::BehindLiteral => None,
                Place::AtItsStart | Place::InLiteral { .. } => parse(&line)?,
            };
            if response.is_some() {
                return Ok(response);
            }
            if let Some(announcement) = Announcement::at_the_end_of(&line) {
                self.place = Place::InLiteral { octets: self.count_literal(&announcement)? };
            }
        }
    }

    fn read_line(&mut self, input: &mut Input) -> Result<Option<Vec<u8>>, ProtoError> {
        let before = input.len();
        let line = input
            .line(MAX_RESPONSE_LINE)
            .map_err(|_| ProtoError::UpstreamMisbehaved("a response line of more than 8192 octets"))?;
        let Some(line) = line else { return Ok(None) };
        self.lines += 1;
        self.count(before - input.len())?;
        if self.lines > MAX_RESPONSE_LINES {
            return Err(ProtoError::UpstreamMisbehaved("more than 128 response lines before login"));
        }
        Ok(Some(line.to_vec()))
    }

    /// Counts a literal before the first octet of it is there; says how long it is.
    fn count_literal(&mut self, announcement: &Announcement) -> Result<usize, ProtoError> {
        let octets = announcement
            .octets
            .and_then(|octets| usize::try_from(octets).ok())
            .unwrap_or(usize::MAX);
        self.count(octets)?;
        Ok(octets)
    }

    fn count(&mut self, octets: usize) -> Result<(), ProtoError> {
        self.octets = self.octets.saturating_add(octets);
        if self.octets > MAX_RESPONSE_OCTETS {
            return Err(ProtoError::UpstreamMisbehaved("more than 65536 octets before login"));
        }
        Ok(())
    }
}

/// Reads one line; `None` where it is untagged data.
fn parse(line: &[u8]) -> Result<Option<Response>, ProtoError> {
    const NO_RESPONSE: ProtoError = ProtoError::UpstreamMisbehaved("a line that is no IMAP response");
    match split_word(line) {
        (b"+", text) => Ok(Some(Response::Continuation(text.to_vec()))),
        (b"*", text) => Ok(match split_word(text) {
            (word, list) if word.eq_ignore_ascii_case(b"CAPABILITY") => {
                Some(Response::Capability(Capabilities::parse(list)))
            }
            _ => Condition::parse(text).map(Response::Untagged),
        }),
        (tag, text) => {
            let (tag, rest) = Tag::cut_from(tag).ok_or(NO_RESPONSE)?;
            let condition = Condition::parse(text).ok_or(NO_RESPONSE)?;
            let ends_a_command = matches!(condition.status, Status::Ok | Status::No | Status::Bad);
            if !rest.is_empty() || !ends_a_command {
                return Err(NO_RESPONSE);
            }
            Ok(Some(Response::Completion { tag, condition }))
        }
    }
}

/// Cuts at the first space.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::play::cut;

    /// What is read from these pieces, the error that ended it, and what is left unread.
    fn read(pieces: &[&[u8]]) -> (Vec<Response>, Option<ProtoError>, usize) {
        let (mut reader, mut input, mut responses) = (ResponseReader::default(), Input::new(), Vec::new());
        let mut error = None;
        for piece in pieces {
            input.extend(piece);
            while error.is_none() {
                match reader.read(&mut input) {
                    Ok(Some(response)) => responses.push(response),
                    Ok(None) => break,
                    Err(fault) => error = Some(fault),
                }
            }
        }
        (responses, error, input.len())
    }

    fn one(line: &str) -> Response {
        let (mut responses, error, _) = read(&[line.as_bytes(), b"\r\n"]);
        assert_eq!((responses.len(), error), (1, None), "{line:?}");
        responses.remove(0)
    }

    #[test]
    fn each_kind_of_response_is_known() {
        for line in ["+", "+ "] {
            assert_eq!(one(line), Response::Continuation(vec![]));
        }
        assert_eq!(one("+ eyJ9"), Response::Continuation(b"eyJ9".to_vec()));
        assert_eq!(one("* capability IMAP4 IDLE"), Response::Capability(Capabilities::new(["IMAP4", "IDLE"])));
        let condition = |status, said: &str| Condition { status, said: said.into() };
        assert_eq!(one("* bye now"), Response::Untagged(condition(Status::Bye, "bye now")));
        assert_eq!(one("* PREAUTH"), Response::Untagged(condition(Status::PreAuth, "PREAUTH")));
        let Response::Completion { tag, condition: read } = one("x7 NO [ALERT] \u{e9}") else {
            panic!("no completion")
        };
        assert_eq!((tag.to_string().as_str(), read), ("x7", condition(Status::No, "NO [ALERT] \u{e9}")));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for line in
            ["", " ", "\0* OK hi", "*OK hi", "+OK hi", "a", "a BYE x", "a PREAUTH", "a+b OK", "220 mail ESMTP", "** OK"]
        {
            let (responses, error, _) = read(&[line.as_bytes(), b"\r\n"]);
            assert_eq!((responses, error.is_some()), (vec![], true), "{line:?}");
        }
    }

    #[test]
    fn a_response_code_stands_at_the_start_of_the_text() {
        let code = |said: &str| {
            let condition = Condition::parse(said.as_bytes()).unwrap();
            condition
                .code()
                .map(|(name, arguments)| (name, String::from_utf8_lossy(arguments).into_owned()))
        };
        let expected = |name: &str, arguments: &str| Some((name.to_owned(), arguments.to_owned()));
        assert_eq!(code("NO [AuthenticationFailed] no"), expected("AUTHENTICATIONFAILED", ""));
        assert_eq!(code("OK [CAPABILITY A B=C] hi"), expected("CAPABILITY", "A B=C"));
        assert_eq!(code("NO [REFERRAL imap://a@b/] x"), expected("REFERRAL", "imap://a@b/"));
        for said in ["OK", "OK hi", "OK The service is ready. [UwBOAA==]", "NO [ALERT no end", "OK  [ALERT] x"] {
            assert_eq!(code(said), None, "{said}");
        }
    }

    #[test]
    fn a_literal_in_untagged_data_is_counted_and_never_read() {
        let sent = b"* LIST () \"/\" {9}\r\na OK evil {8}\r\nb OK x\r\n)\r\n* OK {9}\r\na OK done\r\n";
        let (responses, error, left) = read(&[sent]);
        assert_eq!((error, left), (None, 0));
        // A status text that looks like a literal is only text.
        assert_eq!(responses.len(), 2, "{responses:?}");
        assert!(matches!(&responses[0], Response::Untagged(condition) if condition.said == b"OK {9}"));
        assert!(matches!(&responses[1], Response::Completion { .. }));
    }

    #[test]
    fn nothing_is_endless() {
        let endless = |sent: &[u8]| {
            let (_, error, _) = read(&[sent]);
            assert!(error.is_some(), "{}", String::from_utf8_lossy(&sent[..20]));
        };
        endless(&b"* 1 EXISTS\r\n".repeat(MAX_RESPONSE_LINES + 1));
        endless(&b"* OK still here\r\n".repeat(MAX_RESPONSE_LINES + 1));
        endless(&[b"* OK ".as_slice(), &vec![b'x'; MAX_RESPONSE_LINE]].concat());
        endless(&[&vec![b'x'; 4096], b"\r\n".as_slice()].concat().repeat(20));
        for literal in ["{65536}", "{4294967295}", "{18446744073709551616}"] {
            endless(format!("* 1 FETCH (BODY[] {literal}\r\n").as_bytes());
        }
        endless(
            b"* X {30000}\r\n"
                .iter()
                .copied()
                .chain([b'x'; 30_000])
                .cycle()
                .take(100_000)
                .collect::<Vec<_>>()
                .as_slice(),
        );
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_responses(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("* OK [CAPABILITY A B] hi\r\n".to_owned()),
                    Just("* CAPABILITY A B\n".to_owned()),
                    Just("* LIST {7}\r\na OK x\n{2}\r\n\r\n\r\n".to_owned()),
                    Just("* X {90000}\r\n".to_owned()),
                    Just("+ abc\r\n".to_owned()),
                    Just("a1 NO [X] y\r\n".to_owned()),
                    "[ -~\r\n]{0,20}",
                ],
                0..20,
            ),
            sizes in proptest::collection::vec(1usize..40, 0..40),
        ) {
            let sent = pieces.concat().into_bytes();
            prop_assert_eq!(read(&cut(&sent, &sizes)), read(&[&sent]));
        }

        #[test]
        fn nothing_panics(sent in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&[&sent]);
        }
    }
}
