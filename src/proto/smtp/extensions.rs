//! What an upstream's EHLO reply offers (RFC 5321 section 4.1.1.1): keywords and their parameters, read and never acted on.

use super::command::{trim, words};
use super::reply::ReplyLine;

/// The extensions of an upstream; the default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// One EHLO line each, without the blanks around it. Peer text.
    lines: Vec<Vec<u8>>,
}

impl Extensions {
    /// Reads the lines of an EHLO reply; the first one only greets.
    #[must_use]
    pub fn parse(reply: &[ReplyLine]) -> Self {
        Self { lines: reply.iter().skip(1).map(|line| trim(&line.text).to_vec()).collect() }
    }

    /// Whether `keyword` is offered, in any case and with any parameters.
    #[must_use]
    pub fn has(&self, keyword: &str) -> bool {
        self.parameters(keyword).next().is_some()
    }

    /// The largest message taken, in octets; `None` where no limit is told (RFC 1870 section 4).
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        let limit = self.parameters("SIZE").next()?;
        std::str::from_utf8(trim(limit)).ok()?.parse().ok().filter(|limit| *limit > 0)
    }

    /// Whether AUTH offers `mechanism`, in any case (RFC 4954 section 3).
    #[must_use]
    pub fn has_mechanism(&self, mechanism: &str) -> bool {
        self.parameters("AUTH")
            .flat_map(words)
            .any(|word| word.eq_ignore_ascii_case(mechanism.as_bytes()))
    }

    /// What follows each occurrence of `keyword`. It ends at a blank, or at `=`: before RFC 4954 servers wrote
    /// `AUTH=LOGIN`, and some still send both lines.
    fn parameters(&self, keyword: &str) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter_map(move |line| {
            let (word, rest) = line.split_at_checked(keyword.len())?;
            let ends = matches!(rest.first(), None | Some(b' ' | b'\t' | b'='));
            (ends && word.eq_ignore_ascii_case(keyword.as_bytes())).then(|| rest.get(1..).unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smtp_proto::{AUTH_XOAUTH2, EXT_CHUNKING, EXT_PIPELINING, EXT_SIZE, EXT_START_TLS, EhloResponse};

    use super::super::reply::write_lines;
    use super::*;

    fn offered(lines: &[&str]) -> Extensions {
        let reply = |text: &&str| ReplyLine { code: 250, last: false, text: text.as_bytes().to_vec() };
        Extensions::parse(&lines.iter().map(reply).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_line_is_no_extension() {
        let extensions = offered(&["STARTTLS hello", "SIZE 157286400", "dsn"]);
        assert!(!extensions.has("STARTTLS"));
        assert!(extensions.has("DSN") && extensions.has("size"));
        assert_eq!(extensions.size(), Some(157_286_400));
    }

    #[test]
    fn a_keyword_is_a_whole_word() {
        let extensions = offered(&["h", "XCHUNKING", "CHUNKINGS", "8BITMIM"]);
        assert!(!extensions.has("CHUNKING") && !extensions.has("8BITMIME") && !extensions.has(""));
        assert!(!Extensions::default().has("PIPELINING"));
    }

    #[test]
    fn both_forms_of_auth_are_read() {
        for line in ["AUTH LOGIN XOAUTH2", "auth=login xoauth2", "AUTH=XOAUTH2", "AUTH  PLAIN\tXOAuth2 "] {
            assert!(offered(&["h", "AUTH PLAIN", line]).has_mechanism("XOAUTH2"), "{line}");
        }
        for line in ["AUTH LOGIN XOAUTH", "AUTH XOAUTH2X", "XAUTH XOAUTH2", "AUTHXOAUTH2", "AUTH"] {
            assert!(!offered(&["h", line]).has_mechanism("XOAUTH2"), "{line}");
        }
    }

    #[test]
    fn no_limit_is_no_size() {
        for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999999", "DSN"] {
            assert_eq!(offered(&["h", line]).size(), None, "{line}");
        }
    }

    proptest! {
        /// Rule 6: another implementation reads the same offer.
        #[test]
        fn agrees_with_smtp_proto(
            lines in proptest::collection::vec(
                prop_oneof![
                    proptest::sample::select(vec!["PIPELINING", "STARTTLS", "CHUNKING", "DSN", "AUTH LOGIN XOAUTH2", "AUTH PLAIN"])
                        .prop_map(str::to_owned),
                    (1u32..).prop_map(|size| format!("SIZE {size}")),
                    "X[A-Z]{2,8}( [a-z]{1,5})?",
                ],
                0..8,
            ),
        ) {
            let mut texts = vec!["mail.example"];
            texts.extend(lines.iter().map(String::as_str));
            let ours = offered(&texts);
            let mut octets = Vec::new();
            write_lines(250, &texts, &mut octets);
            let theirs = EhloResponse::parse(&mut octets.iter()).unwrap();
            for (keyword, flag) in
                [("PIPELINING", EXT_PIPELINING), ("STARTTLS", EXT_START_TLS), ("CHUNKING", EXT_CHUNKING), ("SIZE", EXT_SIZE)]
            {
                prop_assert_eq!(ours.has(keyword), theirs.capabilities & flag != 0, "{}", keyword);
            }
            if lines.iter().filter(|line| line.starts_with("AUTH")).count() < 2 {
                prop_assert_eq!(ours.has_mechanism("XOAUTH2"), theirs.auth_mechanisms & AUTH_XOAUTH2 != 0);
            }
            if lines.iter().filter(|line| line.starts_with("SIZE")).count() == 1 {
                prop_assert_eq!(ours.size(), Some(theirs.size as u64));
            }
        }
    }
}
