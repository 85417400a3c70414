//! SEARCH (RFC 3501 section 6.4.4), as far as flags, numbers and sizes go.

use super::parse::{Arguments, SequenceSet};
use super::selected::{By, Selected};
use crate::sim::mailbox::{Flags, Message};

/// One condition; all of a command have to hold.
enum Key {
    All,
    Has(Flags),
    Lacks(Flags),
    Numbers(SequenceSet, By),
    Larger(u32),
    Smaller(u32),
    Every(Vec<Self>),
}

/// What was found, each number with a space before it; `None` where the arguments are wrong or beyond us.
pub(super) fn search(selected: &Selected, by: By, arguments: &mut Arguments<'_>) -> Option<String> {
    let mut keys = Vec::new();
    while !arguments.is_at_end() {
        arguments.space()?;
        if keys.is_empty() && arguments.take("CHARSET ").is_some() {
            let charset = arguments.astring()?;
            ["UTF-8", "US-ASCII"].iter().find(|known| charset.eq_ignore_ascii_case(known))?;
            arguments.space()?;
        }
        keys.push(key(arguments)?);
    }
    if keys.is_empty() {
        return None;
    }
    let all = SequenceSet::all();
    let found = selected.pick(&all, By::Sequence).into_iter().filter(|&(number, uid)| {
        let holds = |message: &mut Message| keys.iter().all(|key| holds(key, selected, number, message));
        selected.message(uid, holds).unwrap_or(false)
    });
    Some(
        found
            .map(|(number, uid)| if by == By::Uid { format!(" {uid}") } else { format!(" {number}") })
            .collect(),
    )
}

/// A key, or several in parentheses, which hold no further parentheses here: nesting would have to be bounded.
fn key(arguments: &mut Arguments<'_>) -> Option<Key> {
    arguments
        .list(single_key)
        .filter(|keys| !keys.is_empty())
        .map(Key::Every)
        .or_else(|| single_key(arguments))
}

fn single_key(arguments: &mut Arguments<'_>) -> Option<Key> {
    if let Some(set) = arguments.sequence_set() {
        return Some(Key::Numbers(set, By::Sequence));
    }
    let word = arguments.word(|octet| octet.is_ascii_alphabetic())?.to_ascii_uppercase();
    let flag = |name: &str| Flags::named(&format!("\\{name}"));
    Some(match word.as_str() {
        "ALL" | "OLD" => Key::All,
        "UID" => {
            arguments.space()?;
            Key::Numbers(arguments.sequence_set()?, By::Uid)
        }
        "LARGER" | "SMALLER" => {
            arguments.space()?;
            let size = arguments.number()?;
            if word == "LARGER" { Key::Larger(size) } else { Key::Smaller(size) }
        }
        other => match other.strip_prefix("UN") {
            Some(name) => Key::Lacks(flag(name)?),
            None => Key::Has(flag(other)?),
        },
    })
}

fn holds(key: &Key, selected: &Selected, number: usize, message: &Message) -> bool {
    match key {
        Key::All => true,
        Key::Every(keys) => keys.iter().all(|key| holds(key, selected, number, message)),
        Key::Has(flag) => message.flags.contains(*flag),
        Key::Lacks(flag) => !message.flags.contains(*flag),
        Key::Numbers(set, by) => selected.pick(set, *by).iter().any(|&(this, _)| this == number),
        Key::Larger(size) => message.octets.len() > *size as usize,
        Key::Smaller(size) => message.octets.len() < *size as usize,
    }
}
