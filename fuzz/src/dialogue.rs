//! How one input becomes a dialogue: two octets of options, then what the peers send, written short.

/// Ends a part: one side of a TLS handshake, or what one peer sends before the other goes on. No UTF-8 text holds this
/// octet, so the machines lose nothing that they would tell from any other stray octet.
const NEXT_PART: u8 = 0xfe;

/// With the octet behind it as a count: the octet before it, that many times 64 more. So a few octets fill any limit.
const RUN: u8 = 0xff;

/// The longest dialogue, in octets: longer than anything a machine holds.
const MAX_OCTETS: usize = 80 * 1024;

/// Into how many pieces a dialogue is cut at most, so that a long one does not take a thousand times as long as a short.
const MAX_PIECES: usize = 2048;

/// What an input says.
pub struct Dialogue {
    options: u8,
    /// The size of the pieces in which the octets come, beside one octet each and all at once.
    piece: usize,
    /// What is sent, part by part; at least one.
    pub parts: Vec<Vec<u8>>,
}

impl Dialogue {
    /// Reads an input; nothing if it is too short for the options.
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        let [options, piece, written @ ..] = data else { return None };
        Some(Self { options: *options, piece: usize::from(*piece) + 1, parts: parts(written) })
    }

    /// One of the eight options.
    #[must_use]
    pub const fn option(&self, bit: u8) -> bool {
        self.options >> bit & 1 == 1
    }

    /// The sizes to cut the octets into: all at once, one by one, and as the input says. The latter two are larger
    /// where the dialogue is long.
    #[must_use]
    pub fn sizes(&self) -> [usize; 3] {
        let least = self.parts.iter().map(Vec::len).sum::<usize>() / MAX_PIECES + 1;
        [usize::MAX, least, self.piece.max(least)]
    }
}

fn parts(written: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut room = MAX_OCTETS;
    let mut written = written.iter();
    while let Some(&octet) = written.next() {
        match octet {
            NEXT_PART => parts.push(std::mem::take(&mut part)),
            RUN => {
                let count = written.next().map_or(0, |count| usize::from(*count) * 64).min(room);
                if let Some(&before) = part.last() {
                    part.resize(part.len() + count, before);
                    room -= count;
                }
            }
            octet if room > 0 => {
                part.push(octet);
                room -= 1;
            }
            _ => break,
        }
    }
    parts.push(part);
    parts
}
