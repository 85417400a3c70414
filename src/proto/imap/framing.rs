//! Cuts one command after the other from what a downstream sent: lines, and the literals that they announce.
//!
//! Knows no grammar but the one word that decides how long a command may be. A literal's octets are counted before
//! anything looks at them, so that they can never be read as a command, whatever becomes of the command they are in.

use std::mem;

use crate::proto::line::Line;
use crate::proto::{Input, MAX_CREDENTIAL, sasl};

use super::command::Tag;

/// The longest command taken, in octets: all its lines with their ends, and all its literals.
pub(super) const MAX_COMMAND: usize = 8 * 1024;

/// The longest literal taken, in octets. Nothing that may be sent before login is longer: neither a user name or
/// password nor a value of ID (1,024 octets, RFC 2971 section 3.3).
pub(super) const MAX_LITERAL: usize = MAX_CREDENTIAL;

/// The most literals that one command may have. ID has 30 pairs of strings (RFC 2971 section 3.3), LOGIN two strings.
pub(super) const MAX_LITERALS: usize = 60;

/// What was cut.
pub(super) enum Framed {
    /// All there was is used up, or waits for the rest of its line or literal.
    Incomplete,
    /// The sender waits to be told that it may send a literal (RFC 3501 section 4.3).
    LiteralAwaited,
    /// A whole command, as it came, without its last line end. Each line end within it is CRLF.
    Command(Line),
    /// A whole command that is not to be obeyed. `start` is what was kept of it, for the tag.
    Excessive { start: Line, excess: Excess },
    /// A command past twice its cap: nothing behind it can be told from it.
    Endless,
}

/// What a command had too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// It is longer than its cap.
    Length,
    /// A literal in it is.
    Literal,
    /// It has more literals than such a command can need.
    Literals,
}

/// Where in a command the input stands.
pub(super) enum Framer {
    AwaitingLine(Partial),
    AwaitingLiteral { partial: Partial, octets: usize },
    SkippingLiteral { partial: Partial, octets: usize },
}

impl Default for Framer {
    fn default() -> Self {
        Self::AwaitingLine(Partial::default())
    }
}

/// What has come of a command.
#[derive(Default)]
pub(super) struct Partial {
    /// The octets as they came; once there is an excess, nothing is added to them.
    kept: Line,
    /// How many octets came, kept or not.
    size: usize,
    /// How many literals were announced and taken.
    literals: usize,
    /// Whether its first line, once that is whole, names AUTHENTICATE.
    authenticates: bool,
    excess: Option<Excess>,
}

impl Framer {
    /// Whether nothing has come of a command yet.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self, Self::AwaitingLine(partial) if partial.size == 0)
    }

    /// Cuts on. After anything but [`Framed::Incomplete`] there may be more.
    pub(super) fn next(&mut self, input: &mut Input) -> Framed {
        loop {
            let (state, framed) = match mem::take(self) {
                Self::AwaitingLine(partial) => partial.read_line(input),
                Self::AwaitingLiteral { partial, octets } => partial.read_literal(octets, input),
                Self::SkippingLiteral { partial, octets } => partial.skip_literal(octets, input),
            };
            *self = state;
            if let Some(framed) = framed {
                return framed;
            }
        }
    }
}

/// The next state, and what to say about it now, if anything.
type Turn = (Framer, Option<Framed>);

impl Partial {
    fn read_line(mut self, input: &mut Input) -> Turn {
        let cap = self.cap(input);
        let before = input.len();
        // A line over the cap is still read to its end, within twice the cap: the literal that it may announce has to
        // be known.
        let most = (2 * cap).saturating_sub(self.size);
        // Behind a literal it goes on with what may be a password.
        let line = match if self.size == 0 { input.line(most) } else { input.other_line(most) } {
            Ok(Some(line)) => line,
            Ok(None) => return (Framer::AwaitingLine(self), Some(Framed::Incomplete)),
            Err(_) => return (Framer::default(), Some(Framed::Endless)),
        };
        if self.size == 0 {
            self.authenticates = names_authenticate(&line);
        }
        self.size += before - input.len();
        if self.size > cap {
            self.excess.get_or_insert(Excess::Length);
        }
        let announcement = Announcement::at_the_end_of(&line);
        self.keep(line);
        match announcement {
            None => (Framer::default(), Some(self.complete())),
            Some(announcement) => self.announced(announcement, cap),
        }
    }

    fn announced(mut self, announcement: Announcement, cap: usize) -> Turn {
        let octets = announcement
            .octets
            .and_then(|octets| usize::try_from(octets).ok())
            .unwrap_or(usize::MAX);
        let size = self.size.saturating_add(octets);
        if octets > MAX_LITERAL {
            self.excess.get_or_insert(Excess::Literal);
        } else if size > cap {
            self.excess.get_or_insert(Excess::Length);
        } else if self.literals >= self.most_literals() {
            self.excess.get_or_insert(Excess::Literals);
        }
        match (self.excess, announcement.waits) {
            // Not invited, a waiting sender sends no literal: its command ends here (RFC 3501 section 7.5).
            (Some(_), true) => (Framer::default(), Some(self.complete())),
            (Some(_), false) if size > 2 * cap => (Framer::default(), Some(Framed::Endless)),
            (Some(_), false) => (Framer::SkippingLiteral { partial: self, octets }, None),
            (None, waits) => {
                self.literals += 1;
                self.make_room();
                self.kept.extend_from_slice(b"\r\n");
                (Framer::AwaitingLiteral { partial: self, octets }, waits.then_some(Framed::LiteralAwaited))
            }
        }
    }

    fn read_literal(mut self, octets: usize, input: &mut Input) -> Turn {
        if input.len() < octets {
            return (Framer::AwaitingLiteral { partial: self, octets }, Some(Framed::Incomplete));
        }
        self.size += input.take_into(octets, &mut self.kept);
        (Framer::AwaitingLine(self), None)
    }

    fn skip_literal(mut self, octets: usize, input: &mut Input) -> Turn {
        let skipped = input.skip(octets);
        self.size += skipped;
        if skipped < octets {
            let left = octets - skipped;
            return (Framer::SkippingLiteral { partial: self, octets: left }, Some(Framed::Incomplete));
        }
        (Framer::AwaitingLine(self), None)
    }

    /// How long this command may be. The octets that say so come long before the cap, so that it does not matter how
    /// many of them there are at the first look.
    fn cap(&self, input: &Input) -> usize {
        let authenticates = if self.size == 0 { names_authenticate(input.unused()) } else { self.authenticates };
        // RFC 4959 section 3: an AUTHENTICATE line may hold a whole SASL message.
        if authenticates { sasl::MAX_LINE } else { MAX_COMMAND }
    }

    /// How many literals this command may have: an AUTHENTICATE has room for a long SASL message, and no string in it.
    const fn most_literals(&self) -> usize {
        if self.authenticates { 0 } else { MAX_LITERALS }
    }

    /// Adds a line. Of a command that is not to be obeyed, only what there is already stays, and at least its first
    /// line, for the tag.
    fn keep(&mut self, line: Line) {
        if self.kept.is_empty() {
            self.kept = line;
        } else if self.excess.is_none() {
            self.kept.extend_from_slice(&line);
        }
    }

    /// Makes room for all that may still come, once: a buffer that grew would leave copies of a password behind in
    /// memory that is given back unwiped, and one copied for each literal would cost the square of their number.
    fn make_room(&mut self) {
        /// Within its cap, a command grows by nothing but the CR that a line end may lack before a literal.
        const ROOM: usize = MAX_COMMAND + MAX_LITERALS;
        if self.kept.capacity() < ROOM {
            let mut roomy = Line::new(Vec::with_capacity(ROOM));
            roomy.extend_from_slice(&self.kept);
            self.kept = roomy;
        }
    }

    fn complete(self) -> Framed {
        match self.excess {
            None => Framed::Command(self.kept),
            Some(excess) => Framed::Excessive { start: self.kept, excess },
        }
    }
}

/// A literal to come (RFC 3501 section 4.3; with `+`, RFC 7888).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    /// How many octets it has; `None` where no number that large is known.
    pub(super) octets: Option<u64>,
    /// Whether its sender waits to be invited.
    pub(super) waits: bool,
}

impl Announcement {
    /// `{5}` or `{5+}` at the end of a line, whatever stands before it.
    pub(super) fn at_the_end_of(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"}")?;
        let (line, waits) = line.strip_suffix(b"+").map_or((line, true), |line| (line, false));
        let start = line.iter().rposition(|octet| !octet.is_ascii_digit())?;
        let (before, digits) = line.split_at(start + 1);
        if digits.is_empty() || !before.ends_with(b"{") {
            return None;
        }
        let octets = digits
            .iter()
            .try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
        Some(Self { octets, waits })
    }
}

fn names_authenticate(start: &[u8]) -> bool {
    const VERB: &[u8] = b" AUTHENTICATE ";
    Tag::cut_from(start)
        .is_some_and(|(_, rest)| rest.get(..VERB.len()).is_some_and(|verb| verb.eq_ignore_ascii_case(VERB)))
}

#[cfg(test)]
mod tests;
