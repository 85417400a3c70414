//! How many mistakes a downstream may make before its login: a client makes a few, and who makes more is none.

/// How many commands that no server knows end a connection.
const MAX_UNKNOWN: u8 = 3;

/// How many malformed commands end a connection. A client that tries one mechanism after the other makes about five.
const MAX_MALFORMED: u8 = 10;

/// What was wrong with a command. One that merely comes too early is no mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// No server knows it.
    Unknown,
    /// It is too long, has arguments that it cannot have, names an unknown mechanism, or leads to a SASL exchange that
    /// comes to nothing before there are credentials.
    Malformed,
}

impl Mistake {
    /// Why the connection ends, for the reader.
    pub(crate) const fn too_many(self) -> &'static str {
        match self {
            Self::Unknown => "Too many unknown commands",
            Self::Malformed => "Too many errors",
        }
    }
}

/// The mistakes of one connection. Nothing sets them back: a login ends the dialogue that they are counted in.
#[derive(Debug)]
pub(crate) struct Mistakes {
    unknown: u8,
    malformed: u8,
}

impl Mistakes {
    /// None so far.
    pub(crate) const fn none() -> Self {
        Self { unknown: 0, malformed: 0 }
    }

    /// Counts one; whether it is the last one borne, and the connection has to end.
    pub(crate) const fn count(&mut self, mistake: Mistake) -> bool {
        let (count, most) = match mistake {
            Mistake::Unknown => (&mut self.unknown, MAX_UNKNOWN),
            Mistake::Malformed => (&mut self.malformed, MAX_MALFORMED),
        };
        *count = count.saturating_add(1);
        *count >= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_budget_of_its_own() {
        let mut mistakes = Mistakes::none();
        for _ in 1..MAX_MALFORMED {
            assert!(!mistakes.count(Mistake::Malformed));
        }
        for _ in 1..MAX_UNKNOWN {
            assert!(!mistakes.count(Mistake::Unknown));
        }
        assert!(mistakes.count(Mistake::Unknown));
        assert!(mistakes.count(Mistake::Malformed));
    }
}
