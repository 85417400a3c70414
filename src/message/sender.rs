//! Writes a header again so that it carries the account's name: what Exchange accepts from a device that calls itself what
//! it likes. All other fields pass as they came.
//!
//! Our fields come first: whatever a reader makes of the lines behind them, the first From is ours. Behind the last field
//! stands CRLF CRLF, whatever the device ended its header with: no reader finds another end of it.
//!
//! What else would say who sent the mail goes:
//!
//! - `Sender`, and with `reply_to` every `Reply-To`: a From that is ours and one of these that is not speak for two.
//! - `Resent-*`: Resent-From and Resent-Sender are looked at before From where the responsible address is sought (RFC 4407
//!   section 2), and shown as who sent it on. A device that mails a scan resends nothing.
//! - `Return-Path`: it is written at delivery (RFC 5321 section 4.4), and the envelope says it already.
//! - `X-Sender`: the older Sender of mail programs that knew who had logged in.
//! - `X-OriginatorOrg`, `X-MS-Exchange-*`: by these Exchange knows what its own servers have said of a message: whose it
//!   is, that it is internal, that no filter need look at it.
//! - `Authentication-Results`, `ARC-*`: what servers on the way have found (RFC 8601, RFC 8617). No server was on the way.
//! - `DKIM-Signature`: it does not hold for the new header.
//! - with `reply_to`, `Mail-Reply-To` and `Mail-Followup-To`, which some mail programs obey before Reply-To.

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

/// What goes; see above.
const REPLACED: [&str; 7] =
    ["From", "Sender", "Return-Path", "X-Sender", "X-OriginatorOrg", "Authentication-Results", "DKIM-Signature"];

/// What goes by how its name begins.
const REPLACED_FAMILIES: [&str; 3] = ["Resent-", "X-MS-Exchange-", "ARC-"];

/// What goes where replies are to go elsewhere.
const REPLIES: [&str; 3] = ["Reply-To", "Mail-Reply-To", "Mail-Followup-To"];

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
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(without_line_end(held.rest()));
    out
}

/// Without the device's own empty line, if there is one: in chunks it may be a CR or an LF alone, which behind a CRLF of
/// ours some would read as no line end.
fn without_line_end(rest: &[u8]) -> &[u8] {
    rest.strip_prefix(b"\r\n")
        .or_else(|| rest.strip_prefix(b"\n"))
        .or_else(|| rest.strip_prefix(b"\r"))
        .unwrap_or(rest)
}

/// What must not stay: other names for the sender, other words on who it is, and a signature that no longer holds.
fn is_replaced(field: &Field<'_>, sender: &Sender<'_>) -> bool {
    REPLACED.into_iter().any(|name| field.is(name))
        || REPLACED_FAMILIES.into_iter().any(|family| field.begins(family))
        || (sender.reply_to.is_some() && REPLIES.into_iter().any(|name| field.is(name)))
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

/// A name that only names: mail programs distrust one that looks like an address, and so do people.
fn name_of(addr: &Addr<'_>) -> Option<String> {
    let name = addr.name()?.trim();
    (!name.is_empty() && !name.contains(is_odd)).then(|| name.to_owned())
}

/// What makes a name look like an address, or like another name: the signs of an address in any width, what cannot be
/// seen but turns or splits the text around it (Unicode's Cf, Zl and Zp), and what could not be read.
fn is_odd(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '@' | '<' | '>' | '\u{fe64}' | '\u{fe65}' | '\u{fe6b}' | '\u{ff1c}' | '\u{ff1e}' | '\u{ff20}' | '\u{fffd}'
        )
        || matches!(
            char,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0001}'..='\u{e007f}'
        )
}

/// An address that can be written to from elsewhere, and as it stands.
fn address_of(addr: &Addr<'_>) -> Option<String> {
    let address = addr.address()?;
    let (local, domain) = address.rsplit_once('@')?;
    let is_atom = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_'))
    };
    // RFC 5321 section 4.1.2, Dot-string: no quoted form is worth guessing at.
    let is_real = address.len() <= 254
        && local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom))
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
