//! What is shown of a dialogue. By an allow-list: a device's line is shown only where the machine has read it as a command,
//! and its verb and the kind of its arguments are known to be harmless. What is not shown is counted.
//!
//! It guesses nothing: what was a command, what a part of a login and what message data, the machines say as they use it.
//! And it does not let a device that talks much fill the watcher's screen.

mod command;

use zeroize::Zeroizing;

use self::command::{HIDDEN, Line, Verb, imap, is_usual_tag, pop3, smtp, split};
use super::advice::Clue;
use super::room::Room;
use crate::config::Protocol;
use crate::net::proxy_header;
use crate::proto::{HANDSHAKE, Used};
use crate::telemetry::log::PeerText;

/// How much of a line is looked at, in octets.
const KEPT: usize = 512;

/// How much of what peers say is shown, in octets.
const SHOWN: usize = 300;

/// How many tags of commands that were shown are kept for their answers.
const TAGS: usize = 64;

/// What stands for a tag that is not shown.
const HIDDEN_TAG: &str = "(tag)";

/// What has become of the dialogue so far.
#[derive(Debug)]
pub(super) struct Dialogue {
    protocol: Protocol,
    gateway: Cut,
    heard: u64,
    /// What the last command was.
    last: Verb,
    /// Whether the device has asked what is offered, and whether it has gone on from there.
    has_asked: bool,
    has_gone_on: bool,
    /// The tags that were shown, and have no answer yet.
    tags: Vec<String>,
    /// How many octets were no lines, since something was last shown, and the last three of them.
    octets: u64,
    tail: [u8; 3],
    room: Room,
}

/// What the gateway says, cut into lines. They are kept for no longer than they take to come.
#[derive(Debug)]
struct Cut(Zeroizing<Vec<u8>>);

impl Cut {
    fn new() -> Self {
        // Of its full size at once, so that nothing is left behind where it grew.
        Self(Zeroizing::new(Vec::with_capacity(KEPT)))
    }

    /// One octet more; whether the line is whole.
    fn push(&mut self, octet: u8) -> bool {
        if octet == b'\n' {
            if self.0.last() == Some(&b'\r') {
                self.0.pop();
            }
            return true;
        }
        if self.0.len() < KEPT {
            self.0.push(octet)
        }
        false
    }
}

impl Dialogue {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            gateway: Cut::new(),
            heard: 0,
            last: Verb::Other,
            has_asked: false,
            has_gone_on: false,
            tags: Vec::new(),
            octets: 0,
            tail: [0; 3],
            room: Room::new(),
        }
    }

    /// Whether the device has said anything.
    pub(super) const fn was_heard(&self) -> bool {
        self.heard > 0
    }

    /// Whether the device has asked what is offered, and then left it at that.
    pub(super) const fn has_only_asked(&self) -> bool {
        self.has_asked && !self.has_gone_on
    }

    /// The device has said something: what it was is seen once a machine uses it.
    pub(super) fn heard(&mut self, octets: &[u8]) -> (Vec<String>, Vec<Clue>) {
        let (mut lines, mut clues) = (Vec::new(), Vec::new());
        self.room.at_a_read(&mut lines);
        if self.heard == 0 && octets.first() == HANDSHAKE.first() {
            self.room.show("device -> a TLS handshake (ClientHello)".into(), &mut lines);
            clues.push(Clue::TlsHello);
        }
        if self.heard == 0 {
            clues.extend(stray(octets));
        }
        self.heard += octets.len() as u64;
        (lines, clues)
    }

    /// What a machine has made of what the device said, as it is shown. `is_configured`: whether a user name is one that a
    /// login has.
    pub(super) fn used(&mut self, used: Used<'_>, is_configured: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        if let Used::Octets(octets) = used {
            self.octets += octets.len() as u64;
            octets[octets.len().saturating_sub(3)..]
                .iter()
                .for_each(|octet| self.tail = [self.tail[1], self.tail[2], *octet]);
            return lines;
        }
        self.show_octets(&mut lines);
        self.tail = [0; 3];
        let Used::Command(line) = used else {
            self.has_gone_on = true;
            self.room.hide(format!("device -> {HIDDEN}"), &mut lines);
            return lines;
        };
        match self.command(line, is_configured) {
            Some(Line { text, verb }) => {
                self.now(verb);
                self.room.show(format!("device -> {text}"), &mut lines);
            }
            None => {
                self.now(Verb::Other);
                let text = format!("device -> ({} octets that are no known command)", line.len());
                self.room.hide(text, &mut lines);
            }
        }
        lines
    }

    fn now(&mut self, verb: Verb) {
        self.last = verb;
        self.has_asked |= verb == Verb::Asks;
        self.has_gone_on |= !matches!(verb, Verb::Asks | Verb::Idles);
    }

    /// What the device is told, as it is shown.
    pub(super) fn said(&mut self, octets: &[u8]) -> (Vec<String>, Vec<Clue>) {
        let (mut lines, mut clues) = (Vec::new(), Vec::new());
        for octet in octets {
            if !self.gateway.push(*octet) {
                continue;
            }
            let line = std::mem::replace(&mut self.gateway, Cut::new()).0;
            clues.extend(self.clue(&line));
            self.show_octets(&mut lines);
            if line.first() == Some(&b'2') {
                // The message has had its end.
                self.tail = [0; 3];
            }
            let text = format!("device <- {}", self.answer(&line));
            self.room.show_answer(text, &mut lines);
        }
        (lines, clues)
    }

    /// Shows what was counted so far: something else is to be told.
    pub(super) fn pause(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.show_octets(&mut lines);
        self.room.count_up(&mut lines);
        lines
    }

    /// The device has shown that it may be here: it may be shown for longer.
    pub(super) fn is_trusted(&mut self) {
        self.room.renew();
    }

    /// The connection is over.
    pub(super) fn ended(&mut self) -> (Vec<String>, Vec<Clue>) {
        let is_lone = self.protocol == Protocol::Smtp && self.tail == *b"\n.\n";
        (self.pause(), is_lone.then_some(Clue::LoneLfEnd).into_iter().collect())
    }

    fn show_octets(&mut self, lines: &mut Vec<String>) {
        let octets = std::mem::take(&mut self.octets);
        if octets > 0 {
            let what = if self.protocol == Protocol::Smtp { "message" } else { "literal" };
            self.room.show(format!("device -> ({octets} octets of a {what})"), lines);
        }
    }

    /// How an answer is shown. IMAP's begins with a word of the device's own: that is shown where its command was.
    fn answer(&mut self, line: &[u8]) -> String {
        let end = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
        let (tag, rest) = line.split_at(end);
        if self.protocol != Protocol::Imap || matches!(tag, b"*" | b"+") {
            return shown(line);
        }
        match self.tags.iter().position(|known| known.as_bytes() == tag) {
            Some(at) => format!("{}{}", self.tags.remove(at), shown(rest)),
            None => format!("{HIDDEN_TAG}{}", shown(rest)),
        }
    }

    fn clue(&self, line: &[u8]) -> Option<Clue> {
        let begins = |start: &[u8]| line.starts_with(start);
        let holds = |word: &[u8]| line.windows(word.len()).any(|part| part == word);
        match self.protocol {
            Protocol::Smtp if begins(b"502 5.5.1 STARTTLS ") => Some(Clue::StartTlsMissing),
            Protocol::Imap if holds(b" BAD STARTTLS is not offered ") => Some(Clue::StartTlsMissing),
            Protocol::Pop3 if begins(b"-ERR ") && self.last == Verb::StartTls => Some(Clue::StartTlsMissing),
            Protocol::Smtp if begins(b"538 ") => Some(Clue::PlaintextForbidden),
            Protocol::Smtp if begins(b"530 ") && self.last != Verb::Login => Some(Clue::NoLogin),
            Protocol::Smtp if begins(b"504 ") && self.last == Verb::Login => Some(Clue::Mechanism),
            Protocol::Imap if holds(b"[PRIVACYREQUIRED]") => Some(Clue::PlaintextForbidden),
            // POP3 has no code for it that a wrong password has not.
            Protocol::Pop3 if begins(b"-ERR [AUTH] Passwords are not taken ") => Some(Clue::PlaintextForbidden),
            _ => None,
        }
    }

    /// How a line that was read as a command is shown; `None` where it is none that is known.
    fn command(&mut self, line: &[u8], is_configured: &dyn Fn(&str) -> bool) -> Option<Line> {
        if line.len() > KEPT {
            return None;
        }
        let line = std::str::from_utf8(line).ok()?;
        match self.protocol {
            Protocol::Smtp => smtp(line),
            Protocol::Imap => self.imap(line),
            Protocol::Pop3 => pop3(line, is_configured),
        }
    }

    fn imap(&mut self, line: &str) -> Option<Line> {
        let (tag, command) = split(line);
        let Line { text, verb } = imap(command)?;
        if !is_usual_tag(tag) {
            return Some(Line { text: format!("{HIDDEN_TAG} {text}"), verb });
        }
        if self.tags.len() < TAGS {
            self.tags.push(tag.to_owned());
        }
        Some(Line { text: format!("{tag} {text}"), verb })
    }
}

/// What a peer begins with that speaks none of the three protocols.
fn stray(octets: &[u8]) -> Option<Clue> {
    let line = octets.split(|octet| *octet == b'\n').next()?;
    let is_http = line.windows(6).any(|part| part == b" HTTP/");
    let is_header = proxy_header::is_begun(octets);
    is_header
        .then_some(Clue::StrayProxyHeader)
        .or_else(|| is_http.then_some(Clue::Http))
}

/// Peer text, made harmless, and its beginning only.
pub(super) fn shown(octets: &[u8]) -> String {
    let more = if octets.len() > SHOWN { "..." } else { "" };
    format!("{}{more}", PeerText(&octets[..octets.len().min(SHOWN)]))
}

#[cfg(test)]
mod tests;
