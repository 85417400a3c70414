//! Cuts one command after the other from what a downstream sent: lines, and the literals that they announce.
//!
//! Knows no grammar but the one word that decides how long a command may be. A literal's octets are counted before
//! anything looks at them, so that they can never be read as a command, whatever becomes of the command they are in.

use std::mem;

use zeroize::Zeroizing;

use crate::proto::line::Line;
use crate::proto::{Input, MAX_CREDENTIAL, sasl};

use super::command::Tag;

/// The longest command taken, in octets: all its lines with their ends, and all its literals.
pub(super) const MAX_COMMAND: usize = 8 * 1024;

/// The longest literal taken, in octets. Nothing that may be sent before login is longer: neither a user name or
/// password nor a value of ID (1,024 octets, RFC 2971 section 3.3).
pub(super) const MAX_LITERAL: usize = MAX_CREDENTIAL;

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
    excess: Option<Excess>,
}

impl Framer {
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
        let line = match input.line((2 * cap).saturating_sub(self.size)) {
            Ok(Some(line)) => line,
            Ok(None) => return (Framer::AwaitingLine(self), Some(Framed::Incomplete)),
            Err(_) => return (Framer::default(), Some(Framed::Endless)),
        };
        self.size += before - input.len();
        if self.size > cap {
            self.excess.get_or_insert(Excess::Length);
        }
        let announcement = Announcement::at_the_end_of(&line);
        self.keep(&line);
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
        }
        match (self.excess, announcement.waits) {
            // Not invited, a waiting sender sends no literal: its command ends here (RFC 3501 section 7.5).
            (Some(_), true) => (Framer::default(), Some(self.complete())),
            (Some(_), false) if size > 2 * cap => (Framer::default(), Some(Framed::Endless)),
            (Some(_), false) => (Framer::SkippingLiteral { partial: self, octets }, None),
            (None, waits) => {
                self.keep(b"\r\n");
                (Framer::AwaitingLiteral { partial: self, octets }, waits.then_some(Framed::LiteralAwaited))
            }
        }
    }

    fn read_literal(mut self, octets: usize, input: &mut Input) -> Turn {
        if input.len() < octets {
            return (Framer::AwaitingLiteral { partial: self, octets }, Some(Framed::Incomplete));
        }
        let mut literal = Line::new(Vec::with_capacity(octets));
        self.size += input.take_into(octets, &mut literal);
        self.keep(&literal);
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
        let start = if self.size == 0 { input.unused() } else { &self.kept };
        // RFC 4959 section 3: an AUTHENTICATE line may hold a whole SASL message.
        if names_authenticate(start) { sasl::MAX_LINE } else { MAX_COMMAND }
    }

    /// Adds octets. Of a command that is not to be obeyed, only what there is already stays, and at least its first
    /// line, for the tag.
    fn keep(&mut self, octets: &[u8]) {
        if self.excess.is_some() && !self.kept.is_empty() {
            return;
        }
        // Not extended in place: growing would leave a copy of a password in memory that is given back unwiped.
        let mut grown = Vec::with_capacity(self.kept.len() + octets.len());
        grown.extend_from_slice(&self.kept);
        grown.extend_from_slice(octets);
        self.kept = Zeroizing::new(grown);
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
mod tests {
    use imap_codec::fragmentizer::Fragmentizer;
    use proptest::prelude::*;

    use super::*;
    use crate::proto::play::cut;

    #[derive(Debug, PartialEq)]
    enum Seen {
        Invited,
        Command(Vec<u8>),
        Excessive(Vec<u8>, Excess),
        Endless,
    }

    /// What is framed from these pieces, and what is left unread.
    fn frame(pieces: &[&[u8]]) -> (Vec<Seen>, Vec<u8>) {
        let (mut framer, mut input, mut seen) = (Framer::default(), Input::new(), Vec::new());
        for (at, piece) in pieces.iter().enumerate() {
            input.extend(piece);
            loop {
                seen.push(match framer.next(&mut input) {
                    Framed::Incomplete => break,
                    Framed::LiteralAwaited => Seen::Invited,
                    Framed::Command(octets) => Seen::Command(octets.to_vec()),
                    Framed::Excessive { start, excess } => Seen::Excessive(start.to_vec(), excess),
                    Framed::Endless => {
                        seen.push(Seen::Endless);
                        pieces[at + 1..].iter().for_each(|later| input.extend(later));
                        return (seen, input.unused().to_vec());
                    }
                });
            }
        }
        (seen, input.unused().to_vec())
    }

    fn command(octets: &[u8]) -> Seen {
        Seen::Command(octets.to_vec())
    }

    #[test]
    fn only_a_number_in_braces_at_the_end_announces_a_literal() {
        let announced = |octets, waits| Some(Announcement { octets, waits });
        for (line, expected) in [
            ("a LOGIN {5}", announced(Some(5), true)),
            ("a LOGIN {5+}", announced(Some(5), false)),
            ("a LOGIN u~{0}", announced(Some(0), true)),
            ("{0007}", announced(Some(7), true)),
            ("{4294967295}", announced(Some(4_294_967_295), true)),
            ("{18446744073709551615}", announced(Some(u64::MAX), true)),
            ("{18446744073709551616}", announced(None, true)),
            ("{99999999999999999999+}", announced(None, false)),
            ("{-1}", None),
            ("{1", None),
            ("1}", None),
            ("{}", None),
            ("{+}", None),
            ("{1++}", None),
            ("{ 1}", None),
            ("{1} ", None),
            ("{0x10}", None),
            ("", None),
        ] {
            assert_eq!(Announcement::at_the_end_of(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_literal_is_counted_and_never_read() {
        let (seen, left) = frame(&[b"a LOGIN {14}\r\nb LOGOUT\r\nc {5} {2+}\nxy\r\nd NOOP\r\ne NO"]);
        assert_eq!(
            seen,
            [Seen::Invited, command(b"a LOGIN {14}\r\nb LOGOUT\r\nc {5} {2+}\r\nxy"), command(b"d NOOP"),]
        );
        assert_eq!(left, b"e NO");
    }

    #[test]
    fn a_literal_over_its_cap_is_not_invited_and_not_read() {
        let start = format!("a LOGIN {{{}}}", MAX_LITERAL + 1);
        let (seen, _) = frame(&[start.as_bytes(), b"\r\nb NOOP\r\n"]);
        assert_eq!(seen, [Seen::Excessive(start.into(), Excess::Literal), command(b"b NOOP")]);

        let start = format!("a SELECT {{{}+}}", 6 * MAX_LITERAL);
        let literal = b"b LOGOUT\r\n".repeat(1000);
        let (seen, _) = frame(&[start.as_bytes(), b"\r\n", &literal[..6 * MAX_LITERAL], b" {3+}\r\nabc\r\nc NOOP\r\n"]);
        assert_eq!(seen, [Seen::Excessive(start.into(), Excess::Literal), command(b"c NOOP")]);
    }

    #[test]
    fn what_cannot_be_skipped_safely_ends_the_session() {
        for bomb in ["{20000+}", "{4294967295+}", "{18446744073709551616+}", "{99999999999999999999+}"] {
            let (seen, left) = frame(&[b"a LOGIN ", bomb.as_bytes(), b"\r\nb LOGOUT\r\n"]);
            assert_eq!(seen, [Seen::Endless], "{bomb}");
            assert_eq!(left, b"b LOGOUT\r\n");
        }
    }

    #[test]
    fn thousands_of_small_literals_are_one_command_too_long() {
        let (seen, _) = frame(&[b"a ID ({0}\r\n", &b" {0}\r\n".repeat(5000)]);
        let invited = seen.iter().take_while(|seen| **seen == Seen::Invited).count();
        assert!((1000..MAX_COMMAND / 6).contains(&invited), "{invited}");
        let Seen::Excessive(start, Excess::Length) = &seen[invited] else { panic!("{:?}", seen[invited]) };
        assert!(start.starts_with(b"a ID ({0}") && start.len() <= MAX_COMMAND);

        let (seen, _) = frame(&[b"a ID ({1+}\r\n", &b"x {1+}\r\n".repeat(5000)]);
        assert_eq!(seen, [Seen::Endless]);
    }

    #[test]
    fn a_line_over_its_cap_is_skipped_and_one_past_twice_of_it_ends_the_session() {
        let line = |verb: &str, length: usize| format!("a {verb} {}\r\n", "x".repeat(length - verb.len() - 5));
        let excessive = |line: &str| Seen::Excessive(line.trim_end().into(), Excess::Length);

        let fits = line("LOGIN", MAX_COMMAND);
        assert_eq!(frame(&[fits.as_bytes()]).0, [command(fits.trim_end().as_bytes())]);
        let long = line("LOGIN", 2 * MAX_COMMAND);
        assert_eq!(frame(&[long.as_bytes(), b"b NOOP\r\n"]).0, [excessive(&long), command(b"b NOOP")]);
        let endless = line("LOGIN", 2 * MAX_COMMAND + 1);
        assert_eq!(frame(&[endless.as_bytes()]).0, [Seen::Endless]);

        let fits = line("authenticate", sasl::MAX_LINE);
        assert_eq!(frame(&[fits.as_bytes()]).0, [command(fits.trim_end().as_bytes())]);
        let long = line("AUTHENTICATE", 2 * sasl::MAX_LINE);
        assert_eq!(frame(&[long.as_bytes(), b"b NOOP\r\n"]).0, [excessive(&long), command(b"b NOOP")]);
        let endless = line("AUTHENTICATE", 2 * sasl::MAX_LINE + 1);
        assert_eq!(frame(&[endless.as_bytes()]).0, [Seen::Endless]);
    }

    #[test]
    fn the_literal_a_skipped_line_announces_is_skipped_too() {
        let long = format!("a X {} {{8+}}\r\nb LOGOUT\r\nc NOOP\r\n", "x".repeat(MAX_COMMAND));
        assert_eq!(frame(&[long.as_bytes()]).0[1..], [command(b"c NOOP")]);
    }

    /// Lines as they come, with literals of both kinds, some over the caps, some only claimed.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => "[ -~]{0,12}".prop_map(String::into_bytes),
            4 => Just(b"\r\n".to_vec()),
            1 => Just(b"\n".to_vec()),
            3 => (proptest::collection::vec(any::<u8>(), 0..20), "[+]?").prop_map(|(octets, sign)| {
                [format!("{{{}{sign}}}\r\n", octets.len()).as_bytes(), &octets].concat()
            }),
            1 => (0usize..30_000, "[+]?").prop_map(|(claimed, sign)| format!("{{{claimed}{sign}}}\r\n").into_bytes()),
            1 => (1usize..20_000).prop_map(|length| vec![b'y'; length]),
            1 => Just(b"a AUTHENTICATE PLAIN ".to_vec()),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_commands(
            octets in stream(),
            sizes in proptest::collection::vec(1usize..2000, 0..40),
        ) {
            prop_assert_eq!(frame(&cut(&octets, &sizes)), frame(&[&octets]));
        }

        #[test]
        fn commands_within_the_caps_end_where_another_implementation_ends_them(
            pieces in proptest::collection::vec(
                ("[ -z|~]{0,12}", proptest::option::of((proptest::collection::vec(any::<u8>(), 0..20), "[+]?"))),
                1..30,
            ),
        ) {
            let mut octets = Vec::new();
            for (text, literal) in pieces {
                octets.extend_from_slice(text.as_bytes());
                if let Some((literal, sign)) = literal {
                    octets.extend_from_slice(format!("{{{}{sign}}}\r\n", literal.len()).as_bytes());
                    octets.extend_from_slice(&literal);
                } else {
                    octets.extend_from_slice(b"\r\n");
                }
            }
            let mut theirs = Vec::new();
            let mut fragmentizer = Fragmentizer::without_max_message_size();
            fragmentizer.enqueue_bytes(&octets);
            while fragmentizer.progress().is_some() {
                if fragmentizer.is_message_complete() {
                    let message = fragmentizer.message_bytes();
                    theirs.push(message.strip_suffix(b"\r\n").unwrap_or(message).to_vec());
                }
            }
            let ours: Vec<_> = frame(&[&octets]).0.into_iter().filter(|seen| *seen != Seen::Invited).collect();
            prop_assert_eq!(ours, theirs.into_iter().map(Seen::Command).collect::<Vec<_>>());
        }
    }
}
