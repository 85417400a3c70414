//! FETCH (RFC 3501 sections 6.4.5 and 7.4.2): flags, numbers, dates and the sections of a message but its MIME parts.

use super::parse::Arguments;
use super::selected::{By, Selected};
use crate::sim::clock::Date;
use crate::sim::mailbox::{Flags, Message};
use crate::sim::wire::Wire;

/// One thing asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Flags,
    Uid,
    Size,
    InternalDate,
    Section { name: String, section: Section, partial: Option<(usize, usize)>, peek: bool },
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Section {
    Whole,
    Header,
    Text,
    /// The fields of these names, or, where `but`, all others.
    Fields {
        names: Vec<String>,
        but: bool,
    },
}

/// Answers `FETCH set items`; `None` where the arguments are wrong or beyond us.
pub(super) fn fetch(wire: &mut Wire, selected: &Selected, by: By, arguments: &mut Arguments<'_>) -> Option<()> {
    arguments.space()?;
    let set = arguments.sequence_set()?;
    arguments.space()?;
    let mut items = items(arguments).filter(|_| arguments.is_at_end())?;
    if by == By::Uid && !items.contains(&Item::Uid) {
        items.insert(0, Item::Uid);
    }
    let reads = items.iter().any(|item| matches!(item, Item::Section { peek: false, .. }));
    for (number, uid) in selected.pick(&set, by) {
        let newly_seen = |message: &mut Message| {
            let newly = reads && !selected.read_only && !message.flags.contains(Flags::SEEN);
            if newly {
                message.flags = message.flags.with(Flags::SEEN);
            }
            (message.clone(), newly)
        };
        let Some((message, newly)) = selected.message(uid, newly_seen) else { continue };
        let mut asked = items.clone();
        if newly && !asked.contains(&Item::Flags) {
            asked.push(Item::Flags);
        }
        respond(wire, number, &message, &asked);
    }
    Some(())
}

fn respond(wire: &mut Wire, number: usize, message: &Message, items: &[Item]) {
    let mut shown = format!("* {number} FETCH (");
    wire.put(shown.as_bytes());
    for (at, item) in items.iter().enumerate() {
        let (text, literal) = item.of(message);
        let separator = if at == 0 { "" } else { " " };
        wire.put(format!("{separator}{text}").as_bytes());
        shown.push_str(&format!("{separator}{text}"));
        if let Some(octets) = literal {
            wire.put(b"\r\n");
            wire.put(&octets);
        }
    }
    wire.put(b")\r\n");
    shown.push(')');
    wire.note_answer(&shown);
}

impl Item {
    /// As it stands in a response: a text, and the literal behind it.
    fn of(&self, message: &Message) -> (String, Option<Vec<u8>>) {
        match self {
            Self::Flags => (format!("FLAGS ({})", message.flags.list()), None),
            Self::Uid => (format!("UID {}", message.uid), None),
            Self::Size => (format!("RFC822.SIZE {}", message.octets.len()), None),
            Self::InternalDate => (format!("INTERNALDATE \"{}\"", Date::of(message.arrived).internal()), None),
            Self::Section { name, section, partial, .. } => {
                let mut octets = section.of(&message.octets);
                let mut origin = String::new();
                if let Some((from, count)) = *partial {
                    octets = octets.into_iter().skip(from).take(count).collect();
                    origin = format!("<{from}>");
                }
                (format!("{name}{origin} {{{}}}", octets.len()), Some(octets))
            }
        }
    }
}

impl Section {
    fn of(&self, message: &[u8]) -> Vec<u8> {
        let header_end = message
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .map_or(message.len(), |at| at + 4);
        match self {
            Self::Whole => message.to_vec(),
            Self::Header => message[..header_end].to_vec(),
            Self::Text => message[header_end..].to_vec(),
            Self::Fields { names, but } => {
                let mut fields = Vec::new();
                for field in header_fields(&message[..header_end]) {
                    let name = field.split(|&octet| octet == b':').next().unwrap_or_default();
                    let named = names
                        .iter()
                        .any(|asked| asked.as_bytes().eq_ignore_ascii_case(name.trim_ascii_end()));
                    if named != *but {
                        fields.extend_from_slice(field);
                    }
                }
                // RFC 3501 section 6.4.5: the empty line behind the header is always there.
                fields.extend_from_slice(b"\r\n");
                fields
            }
        }
    }
}

/// The fields of a header, each with its folded lines and line ends.
fn header_fields(header: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let mut begin = 0;
    let mut line = 0;
    while let Some(length) = header[line..].windows(2).position(|pair| pair == b"\r\n") {
        let next = line + length + 2;
        if length == 0 {
            break;
        }
        if !matches!(header.get(next), Some(b' ' | b'\t')) {
            fields.push(&header[begin..next]);
            begin = next;
        }
        line = next;
    }
    fields
}

fn items(arguments: &mut Arguments<'_>) -> Option<Vec<Item>> {
    if arguments.take("FAST").is_some() {
        return Some(vec![Item::Flags, Item::InternalDate, Item::Size]);
    }
    let mut ahead = arguments.clone();
    if ahead.take("(").is_none() {
        return item(arguments).map(|item| vec![item]);
    }
    arguments.list(item).filter(|items| !items.is_empty())
}

fn item(arguments: &mut Arguments<'_>) -> Option<Item> {
    let section = |name: &str, section, peek| Item::Section { name: name.into(), section, partial: None, peek };
    let word = arguments
        .word(|octet| octet.is_ascii_alphanumeric() || octet == b'.')?
        .to_ascii_uppercase();
    Some(match word.as_str() {
        "FLAGS" => Item::Flags,
        "UID" => Item::Uid,
        "INTERNALDATE" => Item::InternalDate,
        "RFC822.SIZE" => Item::Size,
        "RFC822" => section("RFC822", Section::Whole, false),
        "RFC822.HEADER" => section("RFC822.HEADER", Section::Header, true),
        "RFC822.TEXT" => section("RFC822.TEXT", Section::Text, false),
        "BODY" | "BODY.PEEK" => body_item(word == "BODY.PEEK", arguments)?,
        _ => return None,
    })
}

/// What stands behind BODY or BODY.PEEK: `[section]`, and `<from.count>` where only a part of it is wanted.
fn body_item(peek: bool, arguments: &mut Arguments<'_>) -> Option<Item> {
    arguments.take("[")?;
    let word = arguments
        .word(|octet| octet.is_ascii_alphabetic() || octet == b'.')
        .unwrap_or_default();
    let word = word.to_ascii_uppercase();
    let (section, name) = match word.as_str() {
        "" => (Section::Whole, String::new()),
        "HEADER" => (Section::Header, word),
        "TEXT" => (Section::Text, word),
        "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
            arguments.space()?;
            let names = arguments.list(Arguments::astring).filter(|names| !names.is_empty())?;
            let name = format!("{word} ({})", names.join(" "));
            (Section::Fields { names, but: word.ends_with("NOT") }, name)
        }
        _ => return None,
    };
    arguments.take("]")?;
    let partial = match arguments.take("<") {
        None => None,
        Some(()) => {
            let from = arguments.number()? as usize;
            arguments.take(".")?;
            let count = arguments.number().filter(|&count| count > 0)? as usize;
            arguments.take(">")?;
            Some((from, count))
        }
    };
    Some(Item::Section { name: format!("BODY[{name}]"), section, partial, peek })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"From: a\r\nSubject: one\r\n two\r\nTo: b\r\n\r\nbody\r\n";

    fn section(text: &str) -> Option<Vec<u8>> {
        match item(&mut Arguments::new(text.as_bytes()))? {
            Item::Section { section, .. } => Some(section.of(MESSAGE)),
            _ => None,
        }
    }

    #[test]
    fn sections_are_cut_where_the_header_ends() {
        assert_eq!(section("BODY[]").unwrap(), MESSAGE);
        assert_eq!(section("rfc822.text").unwrap(), b"body\r\n");
        assert_eq!(section("BODY.PEEK[HEADER]").unwrap(), &MESSAGE[..MESSAGE.len() - 6]);
        assert_eq!(section("BODY[HEADER.FIELDS (subject X)]").unwrap(), b"Subject: one\r\n two\r\n\r\n");
        assert_eq!(section("BODY[HEADER.FIELDS.NOT (SUBJECT)]").unwrap(), b"From: a\r\nTo: b\r\n\r\n");
    }

    #[test]
    fn what_is_not_simulated_is_refused() {
        for bad in ["BODY", "BODY[1]", "BODY[", "BODY[HEADER.FIELDS ()]", "BODY[]<0.0>", "ENVELOPE", "", "FLAG"] {
            assert_eq!(item(&mut Arguments::new(bad.as_bytes())), None, "{bad}");
        }
    }
}
