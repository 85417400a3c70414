//! What goes over the control socket: a line of JSON there, lines of JSON back. Bounded both ways.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Answer, Request};

/// The longest request, in octets: a refresh token, an access token, a hash and some names.
pub const MAX_REQUEST: usize = 64 * 1024;

/// The longest line back, in octets: the state of thousands of accounts.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// One line back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// How it goes; more lines follow.
    Progress(String),
    /// The end of it.
    Answer(Answer),
}

/// Reads a request, without its line end. `None` for what is none: of another version, or of another protocol. Why is not
/// told, since what is wrong may be a secret.
#[must_use]
pub fn parse_request(line: &[u8]) -> Option<Request> {
    serde_json::from_slice(line).ok()
}

/// A request as a line. `None` for one that is too long.
pub(super) fn write_request(request: &Request) -> Option<Zeroizing<Vec<u8>>> {
    // Of its full size at once, so that nothing secret is left behind where it grew.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_REQUEST));
    serde_json::to_writer(&mut *line, request).ok()?;
    line.push(b'\n');
    (line.len() <= MAX_REQUEST).then_some(line)
}

/// Reads a line back, without its line end. `None` for what is none.
pub(super) fn parse(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

/// A line back. One that is too long becomes a failure that says so.
pub(super) fn write(line: &Line) -> Vec<u8> {
    let fits = |line: &Vec<u8>| line.len() < MAX_ANSWER;
    let mut written = serde_json::to_vec(line).ok().filter(fits).unwrap_or_else(|| {
        // A text and a flag: nothing in it can fail to be written.
        serde_json::to_vec(&Line::Answer(Answer::failed("the answer is too long to be told"))).unwrap_or_default()
    });
    written.push(b'\n');
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_back_reads_back_and_is_never_too_long() {
        let answer = Answer::Done("a sentence\r\nof two lines".into());
        let line = write(&Line::Answer(answer.clone()));
        assert_eq!(line.iter().filter(|octet| **octet == b'\n').count(), 1);
        let Some(Line::Answer(read)) = parse(line.trim_ascii_end()) else { panic!("{line:?}") };
        assert_eq!(read, answer);
        let line = write(&Line::Progress("x".repeat(MAX_ANSWER)));
        assert!(line.len() < 100 && matches!(parse(&line), Some(Line::Answer(Answer::Failed { usage: false, .. }))));
    }

    #[test]
    fn only_requests_are_requests() {
        assert!(matches!(parse_request(b"\"accounts\""), Some(Request::Accounts)));
        let check = br#"{"check":{"account":"a@b.example"}}"#;
        assert!(matches!(parse_request(check), Some(Request::Check { account }) if account == "a@b.example"));
        let deep = "[".repeat(10_000);
        for rubbish in [
            "",
            "accounts",
            "\"reboot\"",
            "{}",
            "[\"accounts\"]",
            "\"accounts\" \"accounts\"",
            r#"{"check":{"account":7}}"#,
            r#"{"check":{"account":"a@b.example","more":1}}"#,
            r#"{"check":{"account":"a@b.example"},"accounts":null}"#,
            "\u{0}",
            &deep,
        ] {
            assert!(parse_request(rubbish.as_bytes()).is_none(), "{rubbish:?}");
        }
        assert!(parse_request(b"\"acc\xffunts\"").is_none());
    }

    #[test]
    fn a_request_that_would_not_be_read_is_not_written() {
        let with = |account: String| write_request(&Request::Check { account });
        assert!(with("a@b.example".into()).unwrap().ends_with(b"\n"));
        assert!(with("x".repeat(MAX_REQUEST)).is_none());
    }
}
