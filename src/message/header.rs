//! The header of a message (RFC 5322 section 2.2): held until it is whole, and cut into its fields. The body is not looked
//! at, and no field is read here.
//!
//! Where the header ends is Postfix's reading: at the first empty line, or before the first line that can be no header
//! line. Devices that send a body alone, or forget the empty line, have their text arrive as a body.

use memchr::memchr2;

/// The longest header taken, in octets.
pub const MAX_HEADER: usize = 256 * 1024;

/// The start of a message, as far as it is needed.
#[derive(Debug)]
pub struct Held {
    octets: Vec<u8>,
    /// Whether a dot at the start of a line is the client's transparency (RFC 5321 section 4.5.2).
    stuffed: bool,
    /// Where the last line begins that has been looked at, or is not whole yet.
    line: usize,
    /// How far that line is known to hold no line end.
    scanned: usize,
}

/// What was found in what has come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The header goes on.
    Incomplete,
    /// It is longer than may be.
    TooLong,
    /// All of it is there.
    Whole,
}

/// One field: its lines as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    octets: &'a [u8],
    stuffed: bool,
}

/// What a line is in a header.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Field,
    Folded,
    /// mbox's own line, which is no part of the message.
    Envelope,
    Empty,
    /// None of a header's.
    Body,
}

impl Held {
    /// Nothing yet. `stuffed`: what comes was sent with DATA, as [`line_ends`](super::line_ends) writes it.
    #[must_use]
    pub const fn new(stuffed: bool) -> Self {
        Self { octets: Vec::new(), stuffed, line: 0, scanned: 0 }
    }

    /// Where the next octets of the message are to be appended; [`look`](Self::look) comes after that.
    pub const fn octets(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// How many octets are held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Looks at what is new. `is_all`: the message has ended.
    pub fn look(&mut self, is_all: bool) -> Look {
        loop {
            let Some((content, next)) = self.line_from(self.line, self.scanned, is_all) else {
                self.scanned = self.octets.len().saturating_sub(1).max(self.line);
                return match self.octets.len() {
                    _ if is_all => Look::Whole,
                    0..MAX_HEADER => Look::Incomplete,
                    _ => Look::TooLong,
                };
            };
            if next > MAX_HEADER {
                return Look::TooLong;
            }
            if matches!(self.kind(self.line, content), Kind::Empty | Kind::Body) {
                return Look::Whole;
            }
            (self.line, self.scanned) = (next, next);
        }
    }

    /// The fields, in their order, once the header is whole.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let begin = at;
                let (content, next) = self.header_line(begin)?;
                at = next;
                if self.kind(begin, content) == Kind::Field {
                    while let Some((content, next)) = self.header_line(at) {
                        if self.kind(at, content) != Kind::Folded {
                            break;
                        }
                        at = next;
                    }
                    return Some(Field { octets: &self.octets[begin..at], stuffed: self.stuffed });
                }
            }
        })
    }

    /// What came behind the header, the empty line included if there was one.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.octets[self.line..]
    }

    fn header_line(&self, at: usize) -> Option<(&[u8], usize)> {
        if at < self.line { self.line_from(at, at, true) } else { None }
    }

    /// The line that begins at `at`, without its end, and where the next one begins.
    fn line_from(&self, at: usize, scanned: usize, is_all: bool) -> Option<(&[u8], usize)> {
        let Some(found) = memchr2(b'\r', b'\n', &self.octets[scanned..]) else {
            let is_line = is_all && at < self.octets.len();
            return is_line.then(|| (&self.octets[at..], self.octets.len()));
        };
        let end = scanned + found;
        let length = match &self.octets[end..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r'] if !is_all => return None,
            _ => 1,
        };
        Some((&self.octets[at..end], end + length))
    }

    fn kind(&self, at: usize, line: &[u8]) -> Kind {
        let line = unstuffed(line, self.stuffed);
        let is_first = at == 0;
        match line {
            [] => Kind::Empty,
            [b' ' | b'\t', ..] if !is_first => Kind::Folded,
            _ if name(line).is_some() => Kind::Field,
            _ if is_first && (line.starts_with(b"From ") || line.starts_with(b">From ")) => Kind::Envelope,
            _ => Kind::Body,
        }
    }
}

impl<'a> Field<'a> {
    /// Whether it has this name, in any case.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        let line = unstuffed(self.octets, self.stuffed);
        name(line).is_some_and(|name| name.eq_ignore_ascii_case(other.as_bytes()))
    }

    /// Whether its name begins so, in any case.
    #[must_use]
    pub fn begins(&self, start: &str) -> bool {
        let line = unstuffed(self.octets, self.stuffed);
        let begun = name(line).and_then(|name| name.get(..start.len()));
        begun.is_some_and(|begun| begun.eq_ignore_ascii_case(start.as_bytes()))
    }

    /// Its lines as they came, without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.octets;
        std::iter::from_fn(move || {
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            let was_something = !rest.is_empty();
            rest = rest[end..]
                .strip_prefix(b"\r\n")
                .unwrap_or_else(|| rest.get(end + 1..).unwrap_or_default());
            was_something.then_some(line)
        })
    }

    /// What follows the name and its colon, unfolded: the line ends are gone, what followed them is not.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let unfolded: Vec<u8> = self.lines().flat_map(|line| unstuffed(line, self.stuffed)).copied().collect();
        let colon = unfolded.iter().position(|octet| *octet == b':');
        colon.map_or_else(Vec::new, |colon| unfolded[colon + 1..].trim_ascii().to_vec())
    }

    /// How many octets it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether it has none, which cannot be.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }
}

/// A field's name (RFC 5322 section 3.6.8). Blanks before the colon are obsolete and still sent (section 4.5).
fn name(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some(name)
}

/// A line without the dot of transparency.
fn unstuffed(line: &[u8], stuffed: bool) -> &[u8] {
    line.strip_prefix(b".").filter(|_| stuffed).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields and the rest of a message that came as a whole.
    fn cut(message: &[u8], stuffed: bool) -> (Vec<String>, String) {
        let mut held = Held::new(stuffed);
        held.octets().extend_from_slice(message);
        assert_eq!(held.look(true), Look::Whole);
        let text = |octets: &[u8]| octets.escape_ascii().to_string();
        let fields = held
            .fields()
            .map(|field| field.lines().map(text).collect::<Vec<_>>().join("|"))
            .collect();
        (fields, text(held.rest()))
    }

    fn cut_whole(message: &str) -> (Vec<String>, String) {
        cut(message.as_bytes(), true)
    }

    #[test]
    fn fields_are_whole_with_their_folded_lines() {
        let (fields, rest) = cut_whole("From : a@b\r\nSubject:x\r\n  y\r\n\t\r\nTo: c\r\n\r\nbody: z\r\n");
        assert_eq!(fields, ["From : a@b", "Subject:x|  y|\\t", "To: c"]);
        assert_eq!(rest, "\\r\\nbody: z\\r\\n");
    }

    #[test]
    fn a_body_without_a_header_is_a_body() {
        for message in [
            "Toner low\r\nFrom: x\r\n",
            " Subject: x\r\n",
            ": x\r\n",
            "Fr om: x\r\n",
            "Fr\0m: x\r\n",
            "\r\nFrom: x\r\n",
        ] {
            let (fields, rest) = cut_whole(message);
            assert!(fields.is_empty(), "{fields:?}");
            assert_eq!(rest, message.as_bytes().escape_ascii().to_string());
        }
        assert_eq!(cut_whole("").1, "");
    }

    #[test]
    fn a_header_without_an_empty_line_ends_before_what_is_none() {
        let (fields, rest) = cut_whole("Subject: scan\r\nDear all\r\nFrom: me\r\n");
        assert_eq!((fields.len(), rest.as_str()), (1, "Dear all\\r\\nFrom: me\\r\\n"));
    }

    #[test]
    fn the_line_of_a_mailbox_file_is_dropped() {
        assert_eq!(cut_whole("From root Thu Jan  1\r\nTo: x\r\n\r\n").0, ["To: x"]);
        assert_eq!(cut_whole(">From root\r\nTo: x\r\n\r\n").0, ["To: x"]);
        assert_eq!(cut_whole("To: x\r\nFrom root\r\n").1, "From root\\r\\n");
    }

    #[test]
    fn the_dot_of_transparency_does_not_hide_a_field() {
        let (fields, _) = cut_whole(".From: a@b\r\n. folded\r\n\r\n");
        assert_eq!(fields, [".From: a@b|. folded"]);
        let mut held = Held::new(true);
        held.octets().extend_from_slice(b".From: a@b\r\n. <folded>\r\n\r\n");
        held.look(true);
        let field = held.fields().next().unwrap();
        assert!(field.is("FROM"));
        assert_eq!(field.value(), b"a@b <folded>");
        assert_eq!(cut(b".From: a@b\r\n\r\n", false).0.len(), 1);
    }

    #[test]
    fn chunks_may_have_other_line_ends() {
        let (fields, rest) = cut(b"From: a\nTo: b\rSubject: c\n\nbody\n", false);
        assert_eq!(fields, ["From: a", "To: b", "Subject: c"]);
        assert_eq!(rest, "\\nbody\\n");
    }

    #[test]
    fn any_pieces_give_the_same_header() {
        let message = b"From: a\r\nTo: b\rSubject: c\r\n d\r\n\r\nbody\n";
        for size in 1..message.len() {
            let mut held = Held::new(false);
            let mut pieces = message.chunks(size);
            while held.look(false) == Look::Incomplete {
                held.octets().extend_from_slice(pieces.next().unwrap());
            }
            let names: Vec<_> = held.fields().map(|field| field.lines().count()).collect();
            assert_eq!(names, [1, 1, 2], "in pieces of {size}");
            assert!(held.rest().starts_with(b"\r\n"));
        }
    }

    #[test]
    fn a_header_without_an_end_is_too_long() {
        for line in [&b"A: b\r\n"[..], b"aaaaaa", b"\tfold\n"] {
            let mut held = Held::new(false);
            held.octets().extend_from_slice(b"A: b\n");
            while held.len() < MAX_HEADER {
                assert_eq!(held.look(false), Look::Incomplete);
                held.octets().extend_from_slice(&line.repeat(500));
            }
            assert_eq!(held.look(false), Look::TooLong);
        }
    }
}
