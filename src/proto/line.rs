//! Framing: cuts what a peer sent into lines and counted octets, under a limit, before any grammar looks at it.

use std::fmt;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

/// A line without its end. It may hold any octet but LF, and a password: it is wiped when dropped.
pub type Line = Zeroizing<Vec<u8>>;

/// What a machine has used of an input, as the machine understood it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used<'a> {
    /// A line that was read as a command, without its end.
    Command(&'a [u8]),
    /// A line, or the rest of one, that was not: a SASL message, what stands behind a literal, a line too long to be read.
    OtherLine,
    /// Octets that were counted or passed on: message data, a literal.
    Octets(&'a [u8]),
}

/// Is told what becomes of an input's octets, at once and in their order. Nobody has to guess it from the octets alone.
pub trait Overhears: Send + Sync {
    /// This much was used.
    fn used(&self, used: Used<'_>);
}

/// What one peer sent and no machine has used yet.
///
/// The driver appends, a machine cuts from the front, and what is left when the dialogue ends belongs to the relay.
/// Passwords pass through here, so the memory is wiped when it is dropped, and `Debug` shows only a length.
#[derive(Default)]
pub struct Input {
    octets: Vec<u8>,
    /// Where the unused octets begin.
    start: usize,
    /// How many of the unused octets are known to hold no LF: a line that comes in a thousand pieces is scanned once.
    scanned: usize,
    /// Whether no password can be in it any more, so that it need not be wiped.
    after_login: bool,
    /// Who is told what becomes of it.
    ears: Option<Arc<dyn Overhears>>,
}

/// No LF within the limit. Nothing was used up; see [`Input::skip_line`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong;

/// How far [`Input::skip_line`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// The line's end was reached; the next line begins.
    Whole,
    /// All there was is gone, and the line has not ended.
    SoFar,
    /// The budget is used up, and the line has not ended.
    OverBudget,
}

impl Input {
    /// An empty input; it allocates nothing until the peer sends something.
    #[must_use]
    pub const fn new() -> Self {
        Self { octets: Vec::new(), start: 0, scanned: 0, after_login: false, ears: None }
    }

    /// From here on `ears` are told what becomes of it; nobody, if there are none.
    pub fn overheard_by(&mut self, ears: Option<Arc<dyn Overhears>>) {
        self.ears = ears;
    }

    /// Appends what the peer sent.
    pub fn extend(&mut self, octets: &[u8]) {
        self.compact();
        self.octets.extend_from_slice(octets);
    }

    /// The octets not used yet.
    #[must_use]
    pub fn unused(&self) -> &[u8] {
        &self.octets[self.start..]
    }

    /// How many octets are not used yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len() - self.start
    }

    /// Whether every octet has been used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts the next line, which is a command. It ends in CRLF or, as old devices write it, in a bare LF; neither is part
    /// of the result. `Ok(None)` until the end has come.
    ///
    /// # Errors
    /// When the first `limit` octets, the line's end included, hold no LF.
    pub fn line(&mut self, limit: usize) -> Result<Option<Line>, LineTooLong> {
        let line = self.cut_line(limit)?;
        if let Some(line) = &line {
            self.tell(Used::Command(line));
        }
        Ok(line)
    }

    /// As [`line`](Self::line), for a line that is no command: a SASL message, or the rest of a command behind a literal.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub fn other_line(&mut self, limit: usize) -> Result<Option<Line>, LineTooLong> {
        let line = self.cut_line(limit)?;
        if line.is_some() {
            self.tell(Used::OtherLine);
        }
        Ok(line)
    }

    fn cut_line(&mut self, limit: usize) -> Result<Option<Line>, LineTooLong> {
        let window = &self.unused()[..self.len().min(limit)];
        // `scanned` may stand beyond the window when the limit has become smaller since the last call.
        let from = self.scanned.min(window.len());
        let Some(found) = memchr::memchr(b'\n', &window[from..]) else {
            self.scanned = self.len().min(limit);
            return if self.scanned == limit { Err(LineTooLong) } else { Ok(None) };
        };
        let end = from + found;
        let line = Line::new(without_cr(&window[..end]).to_vec());
        self.consume(end + 1);
        Ok(Some(line))
    }

    /// Drops octets up to and including the next LF, and counts what it drops against `budget`.
    pub fn skip_line(&mut self, budget: &mut usize) -> Skipped {
        let window = &self.unused()[..self.len().min(*budget)];
        let end = memchr::memchr(b'\n', window);
        let dropped = end.map_or(window.len(), |at| at + 1);
        self.consume(dropped);
        *budget -= dropped;
        let skipped = match end {
            Some(_) => Skipped::Whole,
            None if *budget == 0 => Skipped::OverBudget,
            None => Skipped::SoFar,
        };
        if skipped != Skipped::SoFar {
            self.tell(Used::OtherLine);
        }
        skipped
    }

    /// Moves up to `want` octets, whatever they are, to the end of `into`; says how many.
    pub fn take_into(&mut self, want: usize, into: &mut Vec<u8>) -> usize {
        let count = want.min(self.len());
        into.extend_from_slice(&self.unused()[..count]);
        self.tell(Used::Octets(&self.unused()[..count]));
        self.consume(count);
        count
    }

    /// Drops up to `count` octets; says how many there were.
    pub fn skip(&mut self, count: usize) -> usize {
        let count = count.min(self.len());
        self.tell(Used::Octets(&self.unused()[..count]));
        self.consume(count);
        count
    }

    /// Drops everything; that is no use of it.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// From here on mail passes through, and no password: wiping every buffer of it would cost more than copying it.
    pub fn login_is_over(&mut self) {
        self.wipe_unless_after_login();
        self.after_login = true;
    }

    /// Gives the memory back if every octet has been used: a session that waits holds no buffer.
    pub fn release(&mut self) {
        if self.is_empty() && self.octets.capacity() > 0 {
            self.wipe_unless_after_login();
            self.octets = Vec::new();
            self.start = 0;
        }
    }

    /// Wipes what has been used.
    fn wipe_unless_after_login(&mut self) {
        if !self.after_login {
            self.compact();
            let used = self.octets.len();
            self.octets.resize(self.octets.capacity(), 0);
            self.octets[used..].zeroize();
            self.octets.truncate(used);
        }
    }

    fn tell(&self, used: Used<'_>) {
        if let Some(ears) = &self.ears
            && used != Used::Octets(&[])
        {
            ears.used(used);
        }
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.scanned = self.scanned.saturating_sub(count);
    }

    /// Moves what is unused to the front, so that a long session does not grow the buffer.
    fn compact(&mut self) {
        if self.start == 0 {
            return;
        }
        let unused = self.len();
        // What is left behind the new end is wiped with the whole capacity later.
        self.octets.copy_within(self.start.., 0);
        self.octets.truncate(unused);
        self.start = 0;
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if !self.after_login {
            self.octets.zeroize();
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({} octets)", self.len())
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines_of(chunks: &[&[u8]], limit: usize) -> Vec<Result<Vec<u8>, LineTooLong>> {
        let mut input = Input::new();
        let mut lines = Vec::new();
        for chunk in chunks {
            input.extend(chunk);
            loop {
                match input.line(limit) {
                    Ok(Some(line)) => lines.push(Ok(line.to_vec())),
                    Ok(None) => break,
                    Err(too_long) => {
                        lines.push(Err(too_long));
                        return lines;
                    }
                }
            }
        }
        lines
    }

    #[test]
    fn both_line_ends_are_taken_and_a_bare_cr_is_not_one() {
        let lines = lines_of(&[b"a\r\nb\nc\rd\r\n\r\n"], 100);
        assert_eq!(lines, [Ok(b"a".to_vec()), Ok(b"b".to_vec()), Ok(b"c\rd".to_vec()), Ok(vec![])]);
    }

    #[derive(Default)]
    struct Ears(std::sync::Mutex<Vec<String>>);

    impl Overhears for Ears {
        fn used(&self, used: Used<'_>) {
            self.0.lock().unwrap().push(match used {
                Used::Command(line) => format!("command {}", String::from_utf8_lossy(line)),
                Used::OtherLine => "line".into(),
                Used::Octets(octets) => format!("{} octets", octets.len()),
            });
        }
    }

    #[test]
    fn who_overhears_is_told_what_it_was_once_it_is_used() {
        let ears = Arc::new(Ears::default());
        let mut input = Input::new();
        input.overheard_by(Some(Arc::clone(&ears) as Arc<dyn Overhears>));
        input.extend(b"AUTH PLAIN\r\nsecret\r\nDATA\r\nbody0123456789end\nleft");
        assert!(ears.0.lock().unwrap().is_empty(), "it is not used yet");
        input.line(100).unwrap();
        input.other_line(100).unwrap();
        input.line(100).unwrap();
        input.take_into(4, &mut Vec::new());
        assert_eq!((input.skip(0), input.skip(6)), (0, 6));
        let mut budget = 5;
        assert_eq!((input.skip_line(&mut budget), budget), (Skipped::OverBudget, 0));
        assert_eq!(input.skip_line(&mut 100), Skipped::Whole);
        assert_eq!(input.skip_line(&mut 100), Skipped::SoFar);
        input.clear();
        let told = ["command AUTH PLAIN", "line", "command DATA", "4 octets", "6 octets", "line", "line"];
        assert_eq!(*ears.0.lock().unwrap(), told);
    }

    #[test]
    fn the_limit_counts_the_line_end() {
        assert_eq!(lines_of(&[b"123\r\n"], 5), [Ok(b"123".to_vec())]);
        assert_eq!(lines_of(&[b"123\r\n"], 4), [Err(LineTooLong)]);
    }

    #[test]
    fn skipping_stops_at_the_line_end_or_the_budget() {
        let mut input = Input::new();
        let mut budget = 6;
        input.extend(b"abc");
        assert_eq!(input.skip_line(&mut budget), Skipped::SoFar);
        input.extend(b"d\nnext");
        assert_eq!(input.skip_line(&mut budget), Skipped::Whole);
        assert_eq!(input.unused(), b"next");
        assert_eq!(budget, 1);
        assert_eq!(input.skip_line(&mut budget), Skipped::OverBudget);
    }

    #[test]
    fn memory_is_given_back_once_everything_is_used_and_nothing_is_lost_before() {
        let mut input = Input::new();
        input.extend(b"PASS hunter2\r\nSTAT\r\n");
        assert_eq!(input.line(100).unwrap().unwrap().as_slice(), b"PASS hunter2");
        input.login_is_over();
        assert_eq!(input.unused(), b"STAT\r\n");
        input.release();
        assert_eq!(input.line(100).unwrap().unwrap().as_slice(), b"STAT");
        input.release();
        assert_eq!(input.octets.capacity(), 0);
    }

    #[test]
    fn debug_shows_no_octet() {
        let mut input = Input::new();
        input.extend(b"PASS hunter2\r\n");
        assert_eq!(format!("{input:?}"), "Input(14 octets)");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            octets in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cut in proptest::collection::vec(1usize..20, 0..40),
            limit in 1usize..64,
        ) {
            let mut chunks = Vec::new();
            let mut rest = octets.as_slice();
            for size in cut {
                let (head, tail) = rest.split_at(size.min(rest.len()));
                chunks.push(head);
                rest = tail;
            }
            chunks.push(rest);
            prop_assert_eq!(lines_of(&chunks, limit), lines_of(&[octets.as_slice()], limit));
        }

        #[test]
        fn octets_come_out_as_they_went_in(octets in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
            let mut input = Input::new();
            let mut out = Vec::new();
            for chunk in octets.chunks(step) {
                input.extend(chunk);
                input.take_into(step / 2 + 1, &mut out);
            }
            input.take_into(usize::MAX, &mut out);
            prop_assert_eq!(out, octets);
            prop_assert!(input.is_empty());
        }
    }
}
