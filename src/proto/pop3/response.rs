//! POP3 responses (RFC 1939 section 3, RFC 2449 section 8): written by us, and parsed from what an upstream sent.

use std::borrow::Cow;

use crate::proto::ProtoError;

/// A refusal of ours: `-ERR [CODE] text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The response code (RFC 2449 section 8, RFC 3206), without brackets: `AUTH`, `SYS/TEMP`, `SYS/PERM`. Empty where
    /// there is none.
    pub code: &'static str,
    /// What the reader is told.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a response code.
    #[must_use]
    pub fn new(code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }

    /// Appends the refusal as one line. Anything in the text that could end the line, or that is not ASCII, becomes `?`.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.code.is_empty() {
            write_line(out, &["-ERR ", &self.text]);
        } else {
            write_line(out, &["-ERR [", self.code, "] ", &self.text]);
        }
    }
}

/// Appends `+OK text`.
pub(super) fn write_ok(out: &mut Vec<u8>, text: &str) {
    write_line(out, &["+OK ", text]);
}

/// Appends `-ERR text`.
pub(super) fn write_err(out: &mut Vec<u8>, text: &'static str) {
    Refusal::new("", text).write(out);
}

/// Appends the parts as one line of printable ASCII.
pub(super) fn write_line(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend(
            part.bytes()
                .map(|octet| if matches!(octet, 0x20..=0x7e) { octet } else { b'?' }),
        );
    }
    out.extend_from_slice(b"\r\n");
}

/// A response of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response<'a> {
    /// `+OK`: done.
    Ok,
    /// `-ERR`: not done.
    Err {
        /// What stands in brackets before the text (RFC 2449 section 8).
        code: Option<&'a [u8]>,
    },
    /// `+`: go on (RFC 5034 section 4). Servers write `+`, `+ ` and `+ text`.
    Continue(&'a [u8]),
}

impl<'a> Response<'a> {
    /// Parses a line without its end.
    ///
    /// # Errors
    /// When the line is no response.
    pub fn parse(line: &'a [u8]) -> Result<Self, ProtoError> {
        let (word, text) = match memchr::memchr(b' ', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        match word {
            b"+" => Ok(Self::Continue(text)),
            word if word.eq_ignore_ascii_case(b"+OK") => Ok(Self::Ok),
            word if word.eq_ignore_ascii_case(b"-ERR") => Ok(Self::Err { code: bracketed(text) }),
            _ => Err(ProtoError::UpstreamMisbehaved("a line that is no POP3 response")),
        }
    }
}

/// What stands between `[` and `]` at the start of a text.
fn bracketed(text: &[u8]) -> Option<&[u8]> {
    let inside = text.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', inside)?;
    Some(&inside[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(refusal: &Refusal) -> Vec<u8> {
        let mut out = Vec::new();
        refusal.write(&mut out);
        out
    }

    #[test]
    fn a_refusal_is_one_line() {
        assert_eq!(written(&Refusal::new("AUTH", "Wrong")), b"-ERR [AUTH] Wrong\r\n");
        assert_eq!(written(&Refusal::new("", "Wrong")), b"-ERR Wrong\r\n");
        assert_eq!(written(&Refusal::new("SYS/TEMP", "a\r\n+OK b\u{e9}")), b"-ERR [SYS/TEMP] a??+OK b??\r\n");
    }

    #[test]
    fn every_form_of_a_response_is_read() {
        for (line, response) in [
            ("+OK", Response::Ok),
            ("+OK User successfully authenticated.", Response::Ok),
            ("+ok hi", Response::Ok),
            ("+", Response::Continue(b"")),
            ("+ ", Response::Continue(b"")),
            ("+ go ahead", Response::Continue(b"go ahead")),
            ("-ERR", Response::Err { code: None }),
            ("-ERR [AUTH] no", Response::Err { code: Some(b"AUTH") }),
            ("-ERR no [AUTH]", Response::Err { code: None }),
            ("-ERR [AUTH no", Response::Err { code: None }),
        ] {
            assert_eq!(Response::parse(line.as_bytes()), Ok(response), "{line:?}");
        }
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for bad in ["", " +OK", "+OKAY", "-ERROR", "-", "* OK IMAP", "220 SMTP", "OK"] {
            assert!(Response::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_we_write_reads_back(code in prop_oneof![Just("AUTH"), Just("SYS/TEMP")], text in any::<String>()) {
            let line = written(&Refusal::new(code, text));
            let line = line.strip_suffix(b"\r\n").unwrap();
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
            prop_assert_eq!(Response::parse(line), Ok(Response::Err { code: Some(code.as_bytes()) }));
        }
    }
}
