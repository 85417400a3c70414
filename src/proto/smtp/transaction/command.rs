//! The commands a downstream may send after login, cut from a line (RFC 5321 section 4.1.1; BDAT: RFC 3030 section 2).

use crate::proto::smtp::envelope::{Envelope, Side};

/// A command line by its verb. Arguments that go upstream are still as they came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Mail(&'a [u8]),
    Rcpt(&'a [u8]),
    Data,
    Bdat(Result<Chunk, BadChunk>),
    Rset,
    Noop,
    Vrfy(&'a [u8]),
    Expn(&'a [u8]),
    Help,
    Ehlo,
    Helo,
    Quit,
    Auth,
    StartTls,
    Unknown,
}

/// What BDAT announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) octets: u64,
    pub(super) last: bool,
}

/// A BDAT with bad syntax, and how many octets follow it if that much could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadChunk {
    pub(super) octets: Option<u64>,
}

impl<'a> Command<'a> {
    /// Reads a line without its end. What a client calls itself, and what it says behind NOOP, HELP and verbs that take
    /// nothing, is dropped here and goes nowhere.
    pub(super) fn parse(line: &'a [u8]) -> Self {
        let end = line.iter().position(|octet| is_space(*octet)).unwrap_or(line.len());
        let (verb, arguments) = line.split_at(end);
        match verb.to_ascii_uppercase().as_slice() {
            b"MAIL" => Self::Mail(arguments),
            b"RCPT" => Self::Rcpt(arguments),
            b"DATA" => Self::Data,
            b"BDAT" => Self::Bdat(Chunk::parse(arguments)),
            b"RSET" => Self::Rset,
            b"NOOP" => Self::Noop,
            b"VRFY" => Self::Vrfy(arguments),
            b"EXPN" => Self::Expn(arguments),
            b"HELP" => Self::Help,
            b"EHLO" => Self::Ehlo,
            b"HELO" => Self::Helo,
            b"QUIT" => Self::Quit,
            b"AUTH" => Self::Auth,
            b"STARTTLS" => Self::StartTls,
            _ => Self::Unknown,
        }
    }

    /// Reads a line that may be a message's: only a command that ends what was refused, or begins something new, and only
    /// as the grammar has it. `Help needed` is none, nor is `Mail from: Ann`.
    pub(super) fn parse_to_the_letter(line: &'a [u8]) -> Option<Self> {
        let command = Self::parse(line);
        let fits = match &command {
            Self::Rset | Self::Noop | Self::Quit => line.len() == 4,
            Self::Ehlo | Self::Helo => line[4..]
                .strip_prefix(b" ")
                .is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic)),
            Self::Mail(arguments) => is_bracketed(Side::Sender, arguments),
            Self::Rcpt(arguments) => is_bracketed(Side::Recipient, arguments),
            _ => false,
        };
        fits.then_some(command)
    }
}

/// Whether these are the arguments of MAIL or RCPT, and the path is in its brackets.
fn is_bracketed(side: Side, arguments: &[u8]) -> bool {
    let path = arguments.splitn(2, |octet| *octet == b':').nth(1).unwrap_or_default();
    path.trim_ascii_start().starts_with(b"<") && Envelope::parse(side, arguments).is_ok()
}

impl Chunk {
    fn parse(arguments: &[u8]) -> Result<Self, BadChunk> {
        let mut words = arguments.split(|octet| is_space(*octet)).filter(|word| !word.is_empty());
        let octets = words.next().and_then(number).ok_or(BadChunk { octets: None })?;
        match (words.next(), words.next()) {
            (None, _) => Ok(Self { octets, last: false }),
            (Some(last), None) if last.eq_ignore_ascii_case(b"LAST") => Ok(Self { octets, last: true }),
            _ => Err(BadChunk { octets: Some(octets) }),
        }
    }
}

/// Digits and nothing else; `None` also beyond `u64`, where no count could be kept.
fn number(word: &[u8]) -> Option<u64> {
    word.iter().try_fold(0u64, |number, octet| {
        let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

const fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_whole_words_in_any_case() {
        assert_eq!(Command::parse(b"mail FROM:<a@b>"), Command::Mail(b" FROM:<a@b>"));
        assert_eq!(Command::parse(b"Data \t"), Command::Data);
        assert_eq!(Command::parse(b"NOOP <secret@home>"), Command::Noop);
        for unknown in
            [&b""[..], b" DATA", b"DATA\r", b"DATA\0", b"DATA:", b"MAILFROM:<a@b>", b"XCLIENT a", b"Subject: x"]
        {
            assert_eq!(Command::parse(unknown), Command::Unknown, "{unknown:?}");
        }
    }

    #[test]
    fn a_command_to_the_letter_is_no_sentence() {
        for command in ["RSET", "noop", "Quit", "EHLO printer", "HELO [10.0.0.1]", "MAIL FROM:<a@b>", "rcpt to: <a@b>"]
        {
            assert!(Command::parse_to_the_letter(command.as_bytes()).is_some(), "{command}");
        }
        for sentence in [
            "Help needed in room 5",
            "HELP",
            "Data",
            "Noop it is",
            "RSET ",
            "Quit smoking",
            "EHLO",
            "Helo my friend",
            "Mail from: ann@example.com",
            "MAIL FROM:<a@b",
            "Mail for you",
            "RCPT TO:<>",
            "BDAT 5",
            "VRFY a",
            "Expn",
            "AUTH PLAIN",
            "STARTTLS",
            " RSET",
        ] {
            assert_eq!(Command::parse_to_the_letter(sentence.as_bytes()), None, "{sentence}");
        }
    }

    #[test]
    fn a_chunk_has_a_count_that_can_be_kept() {
        let chunk = |arguments: &str| Chunk::parse(arguments.as_bytes());
        assert_eq!(chunk(" 0"), Ok(Chunk { octets: 0, last: false }));
        assert_eq!(chunk("  86  last "), Ok(Chunk { octets: 86, last: true }));
        assert_eq!(chunk(" 18446744073709551615"), Ok(Chunk { octets: u64::MAX, last: false }));
        for readable in [" 5 FIRST", " 5 LAST LAST", " 05 LAST\r"] {
            assert_eq!(chunk(readable), Err(BadChunk { octets: Some(5) }), "{readable:?}");
        }
        for unreadable in ["", " LAST", " -1", " +1", " 1x", " 18446744073709551616", " 0x10", " 1\r"] {
            assert_eq!(chunk(unreadable), Err(BadChunk { octets: None }), "{unreadable:?}");
        }
    }
}
