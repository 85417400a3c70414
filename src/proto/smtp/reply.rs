//! SMTP replies (RFC 5321 section 4.2): written by us, and cut from what an upstream sent.

use std::borrow::Cow;

use crate::proto::{Input, ProtoError};

/// The longest reply line taken from an upstream, its end included. RFC 5321 section 4.5.3.1.5 says 512; Microsoft and
/// Gmail stay below it, others do not.
pub const MAX_REPLY_LINE: usize = 4096;

/// The most lines one reply may have. Dovecot's proxy stops at 128 as well.
pub const MAX_REPLY_LINES: usize = 128;

/// A reply of ours. The text is one line of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit code.
    pub code: u16,
    /// The enhanced status (RFC 3463), as in `5.7.8`; empty where the reply has none.
    pub enhanced: &'static str,
    /// What the reader is told.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status.
    #[must_use]
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced, text: text.into() }
    }

    /// A reply that is always the same.
    #[must_use]
    pub const fn fixed(code: u16, enhanced: &'static str, text: &'static str) -> Self {
        Self { code, enhanced, text: Cow::Borrowed(text) }
    }

    /// Appends the reply as one line. Anything in the text that could end the line, or that is not ASCII, becomes `?`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.code.to_string().as_bytes());
        for part in [self.enhanced, &self.text] {
            if !part.is_empty() {
                out.push(b' ');
                write_text(part, out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a reply of ours that has several lines, one for each text (RFC 5321 section 4.2.1). Texts are treated as
/// [`Reply::write`] does.
pub fn write_lines(code: u16, texts: &[&str], out: &mut Vec<u8>) {
    for (index, text) in texts.iter().enumerate() {
        out.extend_from_slice(code.to_string().as_bytes());
        out.push(if index + 1 == texts.len() { b' ' } else { b'-' });
        write_text(text, out);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend(
        text.bytes()
            .map(|octet| if matches!(octet, 0x20..=0x7e) { octet } else { b'?' }),
    );
}

/// One line of an upstream's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyLine {
    /// The three-digit code, 200 to 599.
    pub code: u16,
    /// Whether this is the reply's last line.
    pub last: bool,
    /// What follows the code and the separator.
    pub text: Vec<u8>,
}

impl ReplyLine {
    /// Parses a line without its end. A code alone (`250`) is a last line, as RFC 5321 section 4.2.1 asks clients to accept.
    ///
    /// # Errors
    /// When the line is no reply.
    pub fn parse(line: &[u8]) -> Result<Self, ProtoError> {
        const NOT_A_REPLY: ProtoError = ProtoError::UpstreamMisbehaved("a line that is no SMTP reply");
        let (digits, rest) = line.split_at_checked(3).ok_or(NOT_A_REPLY)?;
        if !digits.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&digits[0]) {
            return Err(NOT_A_REPLY);
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(NOT_A_REPLY),
        };
        Ok(Self { code, last, text: text.to_vec() })
    }

    /// The enhanced status at the start of the text, if there is one (RFC 2034 section 4): `5.7.139`.
    #[must_use]
    pub fn enhanced(&self) -> Option<&str> {
        let word = self.text.split(|octet| *octet == b' ').next()?;
        let word = std::str::from_utf8(word).ok()?;
        let mut parts = word.split('.');
        let class = parts.next()?;
        let numbers = parts.clone().count() == 2
            && parts.all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit()));
        (matches!(class, "2" | "4" | "5") && numbers).then_some(word)
    }
}

/// Collects the lines of one reply.
#[derive(Debug, Default)]
pub struct ReplyReader {
    lines: Vec<ReplyLine>,
}

impl ReplyReader {
    /// Reads on; the whole reply once its last line has come.
    ///
    /// # Errors
    /// When a line is too long or no reply, when the codes of one reply differ (RFC 5321 section 4.2.1), or when it does
    /// not end.
    pub fn read(&mut self, input: &mut Input) -> Result<Option<Vec<ReplyLine>>, ProtoError> {
        loop {
            let line = input
                .line(MAX_REPLY_LINE)
                .map_err(|_| ProtoError::UpstreamMisbehaved("a reply line of more than 4096 octets"))?;
            let Some(line) = line else { return Ok(None) };
            let line = ReplyLine::parse(&line)?;
            if self.lines.first().is_some_and(|first| first.code != line.code) {
                return Err(ProtoError::UpstreamMisbehaved("a reply whose lines differ in their code"));
            }
            let last = line.last;
            self.lines.push(line);
            if last {
                return Ok(Some(std::mem::take(&mut self.lines)));
            }
            if self.lines.len() == MAX_REPLY_LINES {
                return Err(ProtoError::UpstreamMisbehaved("a reply of more than 128 lines"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(octets: &[u8]) -> Result<Option<Vec<ReplyLine>>, ProtoError> {
        let mut input = Input::new();
        input.extend(octets);
        ReplyReader::default().read(&mut input)
    }

    #[test]
    fn a_reply_of_two_lines_is_one_reply() {
        let lines = read(b"535-5.7.1 Username and Password not accepted.\r\n535 5.7.1 more\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].enhanced(), Some("5.7.1"));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bad in ["", "25", "2x0 hi", "199 hi", "600 hi", "250hi", "* OK IMAP", "250-a\r\n251 b"] {
            assert!(read(format!("{bad}\r\n").as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_endless_reply_ends() {
        assert!(read("250-more\r\n".repeat(MAX_REPLY_LINES).as_bytes()).is_err());
        assert!(read(&vec![b'2'; MAX_REPLY_LINE]).is_err());
    }

    #[test]
    fn only_a_real_enhanced_status_is_one() {
        for (text, enhanced) in
            [("5.7.139 off", Some("5.7.139")), ("1.2.3.4 hi", None), ("5.7 x", None), ("3.1.1 x", None), ("hi", None)]
        {
            let line = ReplyLine::parse(format!("535 {text}").as_bytes()).unwrap();
            assert_eq!(line.enhanced(), enhanced, "{text}");
        }
    }

    #[test]
    fn a_text_cannot_end_its_line() {
        let mut out = Vec::new();
        Reply::new(454, "4.7.0", "a\r\n250 b\u{e9}").write(&mut out);
        assert_eq!(out, b"454 4.7.0 a??250 b??\r\n");
    }

    proptest! {
        #[test]
        fn the_lines_we_write_read_back_as_one_reply(texts in proptest::collection::vec("[ -~]{0,40}", 1..20)) {
            let mut out = Vec::new();
            write_lines(250, &texts.iter().map(String::as_str).collect::<Vec<_>>(), &mut out);
            let lines = read(&out).unwrap().unwrap();
            let read: Vec<_> = lines.into_iter().map(|line| String::from_utf8(line.text).unwrap()).collect();
            prop_assert_eq!(read, texts);
        }

        #[test]
        fn what_we_write_reads_back(code in 200u16..600, text in "[ -~]{0,80}") {
            let mut out = Vec::new();
            Reply::new(code, "5.7.8", text.clone()).write(&mut out);
            let lines = read(&out).unwrap().unwrap();
            prop_assert_eq!(lines.len(), 1);
            prop_assert_eq!(lines[0].code, code);
            let expected = if text.is_empty() { "5.7.8".into() } else { format!("5.7.8 {text}") };
            prop_assert_eq!(String::from_utf8(lines[0].text.clone()).unwrap(), expected);
        }
    }
}
