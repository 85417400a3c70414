//! Reads and shows transcripts. The format is described in `README.md` beside this file.

use std::collections::BTreeMap;
use std::mem;

/// One step of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// What the peer sends.
    Peer(Vec<u8>),
    /// What the machine writes.
    Ours(Vec<u8>),
    /// What the machine tells the session.
    Told(String),
    /// What the session answers.
    Answer(String),
}

/// A transcript.
pub(crate) struct Script {
    pub(crate) machine: String,
    header: BTreeMap<String, String>,
    pub(crate) items: Vec<Item>,
    letters: Letters,
}

/// Who is `C` and who is `S`.
#[derive(Clone, Copy)]
struct Letters {
    peer: char,
    ours: char,
}

impl Script {
    /// Reads a transcript.
    ///
    /// # Panics
    /// With the line that is wrong.
    pub(crate) fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut header = BTreeMap::new();
        for line in lines
            .by_ref()
            .skip_while(|line| line.is_empty())
            .take_while(|line| !line.is_empty())
        {
            let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header line: {line:?}"));
            assert!(header.insert(key.to_owned(), value.to_owned()).is_none(), "{key:?} stands twice");
        }
        let machine = header
            .remove("machine")
            .unwrap_or_else(|| panic!("the header names no machine"));
        let letters = if machine.ends_with("-downstream") {
            Letters { peer: 'C', ours: 'S' }
        } else {
            Letters { peer: 'S', ours: 'C' }
        };
        let items = lines.filter(|line| !line.is_empty()).map(|line| letters.item(line)).collect();
        Self { machine, header, items, letters }
    }

    /// A value of the header, or what stands where there is none.
    pub(crate) fn value<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.header.get(key).map_or(default, String::as_str)
    }

    /// A value of the header that is `yes` or `no`.
    pub(crate) fn flag(&self, key: &str, default: &str) -> bool {
        match self.value(key, default) {
            "yes" => true,
            "no" => false,
            other => panic!("{key} is yes or no, not {other:?}"),
        }
    }

    /// A value of the header that is a list.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        let words = self.header.get(key).map_or("", String::as_str);
        words.split(", ").filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// Refuses a header with keys that the machine does not know.
    pub(crate) fn knows_only(&self, keys: &[&str]) {
        for key in self.header.keys() {
            assert!(keys.contains(&key.as_str()), "{} does not know {key:?}", self.machine);
        }
    }

    /// The session's answers, in order.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| match item {
            Item::Answer(words) => Some(words.as_str()),
            _ => None,
        })
    }

    /// What the peer sends before, between and after TLS handshakes; each piece is what it sends until it hears of us.
    pub(crate) fn phases_as_written(&self) -> Vec<Vec<Vec<u8>>> {
        let (mut phases, mut pieces, mut piece) = (Vec::new(), Vec::new(), Vec::new());
        for item in &self.items {
            if let Item::Peer(octets) = item {
                piece.extend_from_slice(octets);
                continue;
            }
            if !piece.is_empty() {
                pieces.push(mem::take(&mut piece));
            }
            if *item == Item::Told("start TLS".into()) {
                phases.push(mem::take(&mut pieces));
            }
        }
        pieces.push(piece);
        phases.push(pieces);
        phases
    }

    /// The same, all pieces of a phase in one.
    pub(crate) fn phases(&self) -> Vec<Vec<u8>> {
        self.phases_as_written().into_iter().map(|pieces| pieces.concat()).collect()
    }

    pub(crate) fn ends_in_relay(&self) -> bool {
        self.items.contains(&Item::Told("relay".into()))
    }

    /// What the peer sends after the machine is done.
    pub(crate) fn after_the_end(&self) -> Vec<u8> {
        let behind_relay = self.items.iter().skip_while(|item| **item != Item::Told("relay".into()));
        let octets = behind_relay.filter_map(|item| match item {
            Item::Peer(octets) => Some(octets.as_slice()),
            _ => None,
        });
        octets.collect::<Vec<_>>().concat()
    }

    /// Shows steps as a transcript writes them.
    pub(crate) fn show(&self, items: &[Item]) -> String {
        let mut text = String::new();
        for run in items.chunk_by(|one, other| {
            matches!((one, other), (Item::Peer(_), Item::Peer(_)) | (Item::Ours(_), Item::Ours(_)))
        }) {
            match &run[0] {
                Item::Peer(_) => show_octets(&mut text, self.letters.peer, run),
                Item::Ours(_) => show_octets(&mut text, self.letters.ours, run),
                Item::Told(words) => text += &format!("= {}\n", words.trim_end()),
                Item::Answer(words) => text += &format!("! {words}\n"),
            }
        }
        text
    }
}

impl Letters {
    fn item(self, line: &str) -> Item {
        assert_eq!(line, line.trim_end(), "write a space at the end of a line as \\x20");
        let (mark, rest) = line.split_at(line.len().min(2));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let octets = match mark.chars().nth(1) {
            Some(':') => [unescape(rest), b"\r\n".to_vec()].concat(),
            _ => unescape(rest),
        };
        match mark {
            "= " => Item::Told(rest.to_owned()),
            "! " => Item::Answer(rest.to_owned()),
            _ if mark.ends_with([':', '|']) && mark.starts_with(self.peer) => Item::Peer(octets),
            _ if mark.ends_with([':', '|']) && mark.starts_with(self.ours) => Item::Ours(octets),
            _ => panic!("no line of a transcript: {line:?}"),
        }
    }
}

fn show_octets(text: &mut String, letter: char, run: &[Item]) {
    let octets: Vec<u8> = run
        .iter()
        .flat_map(|item| match item {
            Item::Peer(octets) | Item::Ours(octets) => octets.as_slice(),
            Item::Told(_) | Item::Answer(_) => &[],
        })
        .copied()
        .collect();
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let shown = match line.strip_suffix(b"\r\n") {
            Some(line) => format!("{letter}: {}", escape(line)),
            None => format!("{letter}| {}", escape(line)),
        };
        *text += shown.trim_end();
        text.push('\n');
    }
}

/// Shows octets in one line of printable ASCII that does not end in a space.
pub(crate) fn escape(octets: &[u8]) -> String {
    let mut text = String::new();
    for (at, octet) in octets.iter().enumerate() {
        match octet {
            b'\\' => text += r"\\",
            b'\r' => text += r"\r",
            b'\n' => text += r"\n",
            b' ' if at + 1 == octets.len() => text += r"\x20",
            0x20..=0x7e => text.push(char::from(*octet)),
            _ => text += &format!(r"\x{octet:02x}"),
        }
    }
    text
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'\\' {
            octets.push(*first);
            continue;
        }
        let (octet, used) = match tail {
            [b'\\', ..] => (b'\\', 1),
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b'x', high, low, ..] => (hex(*high) * 16 + hex(*low), 3),
            _ => panic!("no escape: {text:?}"),
        };
        octets.push(octet);
        rest = &tail[used..];
    }
    octets
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("no lower-case hexadecimal digit: {:?}", char::from(digit)),
    }
}
