//! The arguments of an IMAP command (RFC 3501 section 9), with the literals in their places. To the letter.

/// The announcement of a literal at the end of a line (RFC 3501 section 4.3, RFC 7888).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LiteralMark {
    pub(super) length: usize,
    pub(super) synchronizing: bool,
}

impl LiteralMark {
    /// A length that does not fit into 32 bits is taken as the greatest one, and so refused by every limit.
    pub(super) fn at_end_of(line: &[u8]) -> Option<Self> {
        let inner = line.strip_suffix(b"}")?;
        let open = inner.iter().rposition(|&octet| octet == b'{')?;
        let (digits, synchronizing) = match inner[open + 1..].strip_suffix(b"+") {
            Some(digits) => (digits, false),
            None => (&inner[open + 1..], true),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let length = std::str::from_utf8(digits).ok()?.parse::<u32>().unwrap_or(u32::MAX);
        Some(Self { length: length as usize, synchronizing })
    }
}

/// What is left of a command. Each method reads one thing, or reads nothing and says `None`.
#[derive(Debug, Clone)]
pub(super) struct Arguments<'a> {
    rest: &'a [u8],
}

impl<'a> Arguments<'a> {
    pub(super) const fn new(command: &'a [u8]) -> Self {
        Self { rest: command }
    }

    /// Reads something of several parts: whole, or nothing of it.
    fn whole<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut ahead = self.clone();
        let result = read(&mut ahead)?;
        *self = ahead;
        Some(result)
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// RFC 3501: one or more ASTRING-CHARs but `+`. The length is our bound.
    pub(super) fn tag(&mut self) -> Option<String> {
        self.word(|octet| octet != b'+' && (is_atom(octet) || octet == b']'))
            .filter(|tag| tag.len() <= 64)
    }

    /// A space and the command's name, in capitals; `UID` takes the next one with it.
    pub(super) fn verb(&mut self) -> Option<String> {
        let verb = self.space_and_atom()?.to_ascii_uppercase();
        if verb != "UID" {
            return Some(verb);
        }
        Some(format!("UID {}", self.space_and_atom()?.to_ascii_uppercase()))
    }

    /// Takes this text, without case.
    pub(super) fn take(&mut self, text: &str) -> Option<()> {
        let (head, rest) = self.rest.split_at_checked(text.len())?;
        head.eq_ignore_ascii_case(text.as_bytes()).then(|| self.rest = rest)
    }

    pub(super) fn space(&mut self) -> Option<()> {
        self.take(" ")
    }

    pub(super) fn space_and_atom(&mut self) -> Option<String> {
        self.whole(|ahead| ahead.space().and_then(|()| ahead.word(is_atom)))
    }

    /// A space and everything behind it.
    pub(super) fn space_and_rest(&mut self) -> Option<&'a [u8]> {
        self.space()?;
        Some(std::mem::take(&mut self.rest))
    }

    /// One or more octets of a kind.
    pub(super) fn word(&mut self, kind: impl Fn(u8) -> bool) -> Option<String> {
        let end = self.rest.iter().position(|&octet| !kind(octet)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return None;
        }
        self.rest = rest;
        String::from_utf8(word.to_vec()).ok()
    }

    /// A 32-bit number.
    pub(super) fn number(&mut self) -> Option<u32> {
        self.whole(|ahead| ahead.word(|octet| octet.is_ascii_digit())?.parse().ok())
    }

    /// Atom, quoted string or literal.
    pub(super) fn astring(&mut self) -> Option<String> {
        match self.rest.first()? {
            b'"' => self.quoted(),
            b'{' => String::from_utf8(self.literal()?.to_vec()).ok(),
            _ => self.word(|octet| is_atom(octet) || octet == b']'),
        }
    }

    /// An astring, or a pattern of LIST.
    pub(super) fn list_mailbox(&mut self) -> Option<String> {
        match self.rest.first()? {
            b'"' | b'{' => self.astring(),
            _ => self.word(|octet| is_atom(octet) || b"]%*".contains(&octet)),
        }
    }

    /// RFC 3501: only the quote and the backslash are escaped.
    pub(super) fn quoted(&mut self) -> Option<String> {
        let mut text = Vec::new();
        let mut octets = self.rest.strip_prefix(b"\"")?.iter();
        loop {
            match octets.next()? {
                b'"' => break,
                b'\\' => text.push(*octets.next().filter(|escaped| b"\"\\".contains(escaped))?),
                other => text.push(*other),
            }
        }
        self.rest = octets.as_slice();
        String::from_utf8(text).ok()
    }

    /// The octets behind a literal's announcement, which have been read already.
    pub(super) fn literal(&mut self) -> Option<&'a [u8]> {
        let line_end = self.rest.windows(2).position(|pair| pair == b"\r\n")?;
        let mark = self
            .rest
            .starts_with(b"{")
            .then(|| LiteralMark::at_end_of(&self.rest[..line_end]))??;
        let (literal, rest) = self.rest[line_end + 2..].split_at_checked(mark.length)?;
        self.rest = rest;
        Some(literal)
    }

    /// `(` things separated by single spaces `)`.
    pub(super) fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.whole(|ahead| {
            ahead.take("(")?;
            let mut items = Vec::new();
            while ahead.take(")").is_none() {
                if !items.is_empty() {
                    ahead.space()?;
                }
                items.push(one(ahead)?);
            }
            Some(items)
        })
    }

    /// The parameters of ID (RFC 2971 section 3.1): a list of pairs, or NIL.
    pub(super) fn id_parameters(&mut self) -> Option<()> {
        self.space()?;
        if self.take("NIL").is_some() {
            return Some(());
        }
        let strings = self.list(|one| one.take("NIL").or_else(|| one.astring().map(drop)))?;
        strings.len().is_multiple_of(2).then_some(())
    }

    /// A backslash and an atom, or an atom: a flag.
    pub(super) fn flag(&mut self) -> Option<String> {
        let backslash = if self.take("\\").is_some() { "\\" } else { "" };
        Some(format!("{backslash}{}", self.word(is_atom)?))
    }

    /// A set of numbers.
    pub(super) fn sequence_set(&mut self) -> Option<SequenceSet> {
        self.whole(|ahead| {
            let mut ranges = Vec::new();
            loop {
                let first = ahead.sequence_number()?;
                let last = if ahead.take(":").is_some() { ahead.sequence_number()? } else { first };
                ranges.push((first, last));
                if ahead.take(",").is_none() {
                    return Some(SequenceSet(ranges));
                }
            }
        })
    }

    /// A number from 1, or `*`, which is greater than all.
    fn sequence_number(&mut self) -> Option<u32> {
        self.take("*")
            .map(|()| u32::MAX)
            .or_else(|| self.number().filter(|&number| number != 0))
    }
}

/// Numbers and ranges; `*` stands for the greatest number there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SequenceSet(Vec<(u32, u32)>);

impl SequenceSet {
    /// `1:*`.
    pub(super) fn all() -> Self {
        Self(vec![(1, u32::MAX)])
    }

    /// Whether `number` is in it where `greatest` is the greatest number.
    pub(super) fn contains(&self, number: u32, greatest: u32) -> bool {
        let real = |end: u32| if end == u32::MAX { greatest } else { end };
        self.0.iter().any(|&(first, last)| {
            let (first, last) = (real(first), real(last));
            (first.min(last)..=first.max(last)).contains(&number)
        })
    }
}

/// RFC 3501's ATOM-CHAR.
fn is_atom(octet: u8) -> bool {
    matches!(octet, 0x21..=0x7e) && !b"(){%*\"\\]".contains(&octet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literal_marks_are_told_from_other_ends() {
        let mark = |length, synchronizing| Some(LiteralMark { length, synchronizing });
        assert_eq!(LiteralMark::at_end_of(b"a LOGIN {12}"), mark(12, true));
        assert_eq!(LiteralMark::at_end_of(b"a LOGIN {0+}"), mark(0, false));
        assert_eq!(LiteralMark::at_end_of(b"a {99999999999999999999}"), mark(u32::MAX as usize, true));
        for none in [&b"a {-1}"[..], b"a {}", b"a {+}", b"a {1+", b"a }", b"a {1-}", b"a {1}\""] {
            assert_eq!(LiteralMark::at_end_of(none), None, "{}", none.escape_ascii());
        }
    }

    #[test]
    fn strings_are_read_in_all_three_forms() {
        let mut arguments = Arguments::new(b"atom \"a \\\"b\\\\\" {3}\r\n\r\n) x");
        assert_eq!(arguments.astring().as_deref(), Some("atom"));
        assert_eq!(arguments.space().and_then(|()| arguments.astring()).as_deref(), Some("a \"b\\"));
        assert_eq!(arguments.space().and_then(|()| arguments.astring()).as_deref(), Some("\r\n)"));
        assert_eq!(arguments.space_and_rest(), Some(&b"x"[..]));
        assert_eq!(Arguments::new(b"\"a\\b\"").astring(), None);
        assert_eq!(Arguments::new(b"\"a").astring(), None);
        assert_eq!(Arguments::new(b"{3}\r\nab").astring(), None);
    }

    #[test]
    fn tags_and_verbs() {
        let mut arguments = Arguments::new(b"A.1] uid fetch 1:*");
        assert_eq!(arguments.tag().as_deref(), Some("A.1]"));
        assert_eq!(arguments.verb().as_deref(), Some("UID FETCH"));
        assert_eq!(Arguments::new(b"+ NOOP").tag(), None);
        assert_eq!(Arguments::new(b"* NOOP").tag(), None);
    }

    #[test]
    fn sequence_sets_know_the_star() {
        let set = Arguments::new(b"2,4:*").sequence_set().unwrap();
        let within: Vec<_> = (1..=6).filter(|&number| set.contains(number, 6)).collect();
        assert_eq!(within, [2, 4, 5, 6]);
        // RFC 3501 section 6.4.8: a range whose star is smaller than its other end still holds the greatest.
        assert!(Arguments::new(b"9:*").sequence_set().unwrap().contains(3, 3));
        assert_eq!(Arguments::new(b"0").sequence_set(), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let read = |one: fn(&mut Arguments<'_>)| one(&mut Arguments::new(&octets));
            read(|arguments| _ = arguments.tag().and_then(|_| arguments.verb()));
            read(|arguments| _ = arguments.astring());
            read(|arguments| _ = arguments.list_mailbox());
            read(|arguments| _ = arguments.list(Arguments::astring));
            read(|arguments| _ = arguments.sequence_set());
            read(|arguments| _ = arguments.id_parameters());
            LiteralMark::at_end_of(&octets);
        }
    }
}
