//! Writes a header again so that it carries the account's name: what Exchange accepts from a device that calls itself what
//! it likes. All other fields pass as they came.
//!
//! Our fields come first: whatever a reader makes of the lines behind them, the first From is ours.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use mail_parser::{Addr, MessageParser};

use super::header::{Field, Held};

/// The longest From that is read for a name and an address, in octets.
const MAX_READ: usize = 4096;

/// How many Froms are.
const MOST_READ: usize = 4;

/// The longest display name written, in characters.
const MAX_NAME: usize = 128;

/// How much of a name one encoded word takes, in octets: it may be 75 octets long (RFC 2047 section 2).
const MAX_WORD: usize = 45;

/// Whose name mail carries, and what else its header needs.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// The account's address.
    pub address: &'a str,
    /// The name beside it; `None`: the one the device gives itself, where it is a name.
    pub name: Option<&'a str>,
    /// Where replies go; `None`: where the device says, or else to its own From.
    pub reply_to: Option<&'a str>,
    /// What the gateway calls itself: the right side of a new Message-ID.
    pub hostname: &'a str,
    /// When the message was sent.
    pub now: SystemTime,
    /// The left side of a new Message-ID.
    pub unguessable: u128,
}

/// What the device calls itself.
#[derive(Debug, Default)]
struct Claim {
    name: Option<String>,
    /// Its address, where that is one to reply to.
    address: Option<String>,
}

/// The header that goes upstream, up to and with the empty line, and what was held behind it. Nothing of `held` is left.
#[must_use]
pub fn rewritten(held: Held, sender: &Sender<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(held.len() + 1024);
    let claim = Claim::of(&held);
    let has = |name: &str| held.fields().any(|field| field.is(name));
    let name = sender.name.map(str::to_owned).or(claim.name);
    address_field("From", name.as_deref(), sender.address, &mut out);
    match (sender.reply_to, claim.address) {
        (Some(reply_to), _) => address_field("Reply-To", None, reply_to, &mut out),
        (None, Some(old)) if !old.eq_ignore_ascii_case(sender.address) && !has("Reply-To") => {
            address_field("Reply-To", None, &old, &mut out);
        }
        _ => {}
    }
    if !has("Date") {
        out.extend_from_slice(date(sender.now).as_bytes());
    }
    if !has("Message-ID") {
        let id = format!("Message-ID: <{:032x}@{}>\r\n", sender.unguessable, sender.hostname);
        out.extend_from_slice(id.as_bytes());
    }
    for field in held.fields().filter(|field| !is_replaced(field, sender)) {
        for line in field.lines() {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
    let rest = held.rest();
    if !matches!(rest.first(), Some(b'\r' | b'\n')) {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(rest);
    out
}

/// What must not stay: other names for the sender, and a signature that no longer holds.
fn is_replaced(field: &Field<'_>, sender: &Sender<'_>) -> bool {
    ["From", "Sender", "DKIM-Signature"].into_iter().any(|name| field.is(name))
        || (sender.reply_to.is_some() && field.is("Reply-To"))
}

impl Claim {
    /// From the first From that gives an address, or else a name.
    fn of(held: &Held) -> Self {
        let mut claim = Self::default();
        let readable = |field: &Field<'_>| field.is("From") && field.len() <= MAX_READ;
        for field in held.fields().filter(readable).take(MOST_READ) {
            let text = [b"From: ".as_slice(), &field.value(), b"\r\n\r\n"].concat();
            let parsed = MessageParser::new().with_address_headers().parse_headers(&text);
            let Some(first) = parsed.as_ref().and_then(|message| message.from()?.first()) else { continue };
            claim.name = claim.name.or_else(|| name_of(first));
            claim.address = claim.address.or_else(|| address_of(first));
        }
        claim
    }
}

/// A name that only names: mail programs distrust one that looks like an address.
fn name_of(addr: &Addr<'_>) -> Option<String> {
    let name = addr.name()?.trim();
    let is_odd = |char: char| char.is_control() || matches!(char, '@' | '<' | '>' | char::REPLACEMENT_CHARACTER);
    (!name.is_empty() && !name.contains(is_odd)).then(|| name.to_owned())
}

/// An address that can be written to from elsewhere, and as it stands.
fn address_of(addr: &Addr<'_>) -> Option<String> {
    let address = addr.address()?;
    let (local, domain) = address.rsplit_once('@')?;
    let is_atom = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(char);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_'))
    };
    let is_real = !local.is_empty()
        && address.len() <= 254
        && local.chars().all(is_atom)
        && domain.contains('.')
        && domain.split('.').all(is_label);
    is_real.then(|| address.to_owned())
}

/// Appends a field that holds one address of ours.
fn address_field(field: &str, name: Option<&str>, address: &str, out: &mut Vec<u8>) {
    let name = name.map(phrase).filter(|name| !name.is_empty());
    let line =
        name.map_or_else(|| format!("{field}: <{address}>\r\n"), |name| format!("{field}: {name} <{address}>\r\n"));
    out.extend_from_slice(line.as_bytes());
}

/// A display name as it is written: quoted, or in encoded words where it is not ASCII (RFC 2047 section 5).
fn phrase(name: &str) -> String {
    let safe = |char: char| if char.is_control() { ' ' } else { char };
    let name: String = name.trim().chars().take(MAX_NAME).map(safe).collect();
    if name.is_empty() {
        return name;
    }
    if name.is_ascii() && !name.contains("=?") {
        return format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let mut words: Vec<String> = vec![String::new()];
    for char in name.chars() {
        if let Some(word) = words.last_mut().filter(|word| word.len() + char.len_utf8() <= MAX_WORD) {
            word.push(char);
        } else {
            words.push(char.to_string());
        }
    }
    let encoded: Vec<String> = words
        .iter()
        .map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word)))
        .collect();
    encoded.join("\r\n ")
}

/// The Date field; nothing for a time that has no date.
fn date(now: SystemTime) -> String {
    let date = Timestamp::try_from(now).and_then(|now| rfc2822::to_string(&now.to_zoned(TimeZone::UTC)));
    date.map_or_else(|_| String::new(), |date| format!("Date: {date}\r\n"))
}

#[cfg(test)]
mod tests;
