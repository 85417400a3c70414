//! Finds where a message sent with DATA ends. It changes no octet and knows no dot-stuffing.

use memchr::memmem;

/// What ends a message, and nothing else does (RFC 5321 section 4.1.1.4). Every looser reading lets one message carry
/// another: the peers would disagree about where the first one ends.
const END: &[u8; 5] = b"\r\n.\r\n";

/// What the last line of END adds to a message: not part of it, but sent with it.
pub const END_LINE: usize = b".\r\n".len();

/// Watches one message go by, in any pieces.
#[derive(Debug)]
pub struct EndOfData {
    /// How many octets at the start of [`END`] the message so far ends with; below `END.len()`.
    matched: usize,
}

/// What [`EndOfData::scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// How many octets of the piece belong to the message, the end of data included.
    pub octets: usize,
    /// Whether the message ended with them.
    pub ended: bool,
}

impl EndOfData {
    /// At the first octet of a message. The CRLF of the DATA line counts as the first of the five octets, so `.` CRLF
    /// alone is an empty message (RFC 5321 section 4.1.1.4).
    #[must_use]
    pub const fn new() -> Self {
        Self { matched: 2 }
    }

    /// Looks at the next piece; not to be called again once the message has ended.
    pub fn scan(&mut self, piece: &[u8]) -> Scanned {
        let mut at = 0;
        while self.matched > 0 && at < piece.len() {
            self.step(piece[at]);
            at += 1;
            if self.matched == END.len() {
                return Scanned { octets: at, ended: true };
            }
        }
        if self.matched > 0 {
            return Scanned { octets: piece.len(), ended: false };
        }
        let rest = &piece[at..];
        match memmem::find(rest, END) {
            Some(found) => Scanned { octets: at + found + END.len(), ended: true },
            None => {
                self.matched = (1..END.len()).rev().find(|&count| rest.ends_with(&END[..count])).unwrap_or(0);
                Scanned { octets: piece.len(), ended: false }
            }
        }
    }

    /// One octet further. On a mismatch only a CR can begin the sequence anew: no longer part of it repeats its start.
    fn step(&mut self, octet: u8) {
        self.matched = match octet {
            _ if octet == END[self.matched] => self.matched + 1,
            b'\r' => 1,
            _ => 0,
        };
    }
}

impl Default for EndOfData {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::play::cut;

    /// Where the first message in `octets` ends, found the slow way.
    pub(crate) fn reference(octets: &[u8]) -> Option<usize> {
        let behind_data_line = [b"\r\n", octets].concat();
        (0..behind_data_line.len())
            .find(|&at| behind_data_line[at..].starts_with(b"\r\n.\r\n"))
            .map(|at| at + 3)
    }

    /// The end of the first message in `pieces`, counted over all of them.
    fn end_of(pieces: &[&[u8]]) -> Option<usize> {
        let mut end = EndOfData::new();
        let mut before = 0;
        for piece in pieces {
            let scanned = end.scan(piece);
            if scanned.ended {
                return Some(before + scanned.octets);
            }
            assert_eq!(scanned.octets, piece.len(), "all of an unended message belongs to it");
            before += piece.len();
        }
        None
    }

    #[test]
    fn a_dot_alone_ends_an_empty_message() {
        assert_eq!(end_of(&[b".\r\nQUIT\r\n"]), Some(END_LINE));
    }

    #[test]
    fn nothing_ends_a_message_but_the_five_octets() {
        for smuggled in [
            &b"a\n.\n"[..],
            b"a\n.\r",
            b"a\r.\n",
            b"a\r.\r",
            b"a\n.\r\n",
            b"a\r.\r\n",
            b"a\r\n\x00.\r\n",
            b"a\r\n.\r\r\n",
            b"a\r\r\n.\r\r\n",
            b"a\r\n.\n",
            b"a\r\n..\r\n",
            b"..\r\n",
            b".\n",
            b".\r",
        ] {
            let stream = [smuggled, b"MAIL FROM:<evil@example.com>\r\n"].concat();
            assert_eq!(end_of(&[&stream]), None, "{smuggled:?}");
            let ended = [smuggled, b"\r\n.\r\n"].concat();
            assert_eq!(end_of(&[&ended]), Some(ended.len()), "{smuggled:?}");
        }
    }

    #[test]
    fn a_second_cr_before_the_line_end_keeps_the_end() {
        assert_eq!(end_of(&[b"a\r\r\n.\r\n"]), Some(7));
        assert_eq!(end_of(&[b"a\r\n.\r\n.\r\n"]), Some(6));
        assert_eq!(end_of(&[b"a\r\n.\r\r\n.\r\n"]), Some(10));
    }

    proptest! {
        #[test]
        fn the_end_is_where_the_slow_search_finds_it(
            octets in proptest::collection::vec(
                prop_oneof![4 => Just(b'\r'), 4 => Just(b'\n'), 3 => Just(b'.'), 1 => any::<u8>()], 0..120),
            sizes in proptest::collection::vec(0usize..8, 0..60),
        ) {
            prop_assert_eq!(end_of(&cut(&octets, &sizes)), reference(&octets));
        }
    }
}
