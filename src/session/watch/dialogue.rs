//! What is shown of a dialogue. By an allow-list: a device's line is shown only where the machine has read it as a command,
//! and its verb and the kind of its arguments are known to be harmless. What is not shown is counted.
//!
//! It guesses nothing: what was a command, what a part of a login and what message data, the machines say as they use it.
//! And it does not let a device that talks much fill the watcher's screen.

use zeroize::Zeroizing;

use super::advice::Clue;
use super::room::Room;
use crate::config::Protocol;
use crate::proto::smtp::envelope::{Envelope, Side};
use crate::proto::{HANDSHAKE, Used};
use crate::telemetry::log::PeerText;

/// How much of a line is looked at, in octets.
const KEPT: usize = 512;

/// How much of what peers say is shown, in octets.
const SHOWN: usize = 300;

/// The mechanisms that are shown by their names: another word there may be a password.
const MECHANISMS: [&str; 12] = [
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "DIGEST-MD5",
    "NTLM",
    "GSSAPI",
    "EXTERNAL",
    "ANONYMOUS",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "XOAUTH2",
    "OAUTHBEARER",
];

/// How many tags of commands that were shown are kept for their answers.
const TAGS: usize = 64;

/// What clients call their commands beside a few letters and a number. Another word there may be a password.
const TAGS_IN_WORDS: [&str; 5] = ["a", "c", "t", "x", "tag"];

/// What stands for a tag that is not shown.
const HIDDEN_TAG: &str = "(tag)";

/// What stands for what is not shown.
const HIDDEN: &str = "(not shown)";

/// What has become of the dialogue so far.
#[derive(Debug)]
pub(super) struct Dialogue {
    protocol: Protocol,
    gateway: Cut,
    heard: u64,
    /// What the last command was.
    last: Verb,
    /// The tags that were shown, and have no answer yet.
    tags: Vec<String>,
    /// How many octets were no lines, since something was last shown, and the last three of them.
    octets: u64,
    tail: [u8; 3],
    room: Room,
}

/// What it takes to tell answers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Login,
    Other,
}

/// How a line is shown.
struct Line {
    text: String,
    verb: Verb,
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

    /// The device has said something: what it was is seen once a machine uses it.
    pub(super) fn heard(&mut self, octets: &[u8]) -> (Vec<String>, Vec<Clue>) {
        let (mut lines, mut clues) = (Vec::new(), Vec::new());
        self.room.at_a_read(&mut lines);
        if self.heard == 0 && octets.first() == HANDSHAKE.first() {
            self.room.show("device -> a TLS handshake (ClientHello)".into(), &mut lines);
            clues.push(Clue::TlsHello);
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
            self.room.hide(format!("device -> {HIDDEN}"), &mut lines);
            return lines;
        };
        match self.command(line, is_configured) {
            Some(Line { text, verb }) => {
                self.last = verb;
                self.room.show(format!("device -> {text}"), &mut lines);
            }
            None => {
                self.last = Verb::Other;
                let text = format!("device -> ({} octets that are no known command)", line.len());
                self.room.hide(text, &mut lines);
            }
        }
        lines
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

fn smtp(line: &str) -> Option<Line> {
    let (verb, arguments) = split(line);
    let verb = verb.to_ascii_uppercase();
    let text = match verb.as_str() {
        "EHLO" | "HELO" if is_host_like(arguments) => with(&verb, arguments),
        "MAIL" => with(&verb, &envelope(Side::Sender, arguments)),
        "RCPT" => with(&verb, &envelope(Side::Recipient, arguments)),
        "BDAT" => {
            let (octets, last) = split(arguments);
            match octets.parse::<u64>() {
                Ok(octets) if last.eq_ignore_ascii_case("LAST") => format!("BDAT {octets} LAST"),
                Ok(octets) if last.is_empty() => format!("BDAT {octets}"),
                _ => with(&verb, hidden(arguments)),
            }
        }
        "EHLO" | "HELO" | "DATA" | "RSET" | "NOOP" | "QUIT" | "STARTTLS" | "HELP" | "VRFY" | "EXPN" => {
            with(&verb, hidden(arguments))
        }
        "AUTH" => return Some(login(&verb, arguments)),
        _ => return None,
    };
    Some(Line { text, verb: Verb::Other })
}

/// What stands behind an IMAP command's tag.
fn imap(command: &str) -> Option<Line> {
    let (verb, arguments) = split(command);
    let verb = verb.to_ascii_uppercase();
    match verb.as_str() {
        "CAPABILITY" | "NOOP" | "LOGOUT" | "STARTTLS" | "ID" | "SELECT" | "EXAMINE" | "LIST" | "STATUS" | "IDLE" => {
            Some(Line { text: with(&verb, hidden(arguments)), verb: Verb::Other })
        }
        "AUTHENTICATE" => Some(login(&verb, arguments)),
        "LOGIN" => Some(Line { text: with(&verb, HIDDEN), verb: Verb::Login }),
        _ => None,
    }
}

/// Up to four letters and up to six digits, as clients count their commands, or one of a few words.
fn is_usual_tag(tag: &str) -> bool {
    let digits = tag.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_counted = tag.len() - digits.len() <= 4
        && (1..=6).contains(&digits.len())
        && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_counted || TAGS_IN_WORDS.iter().any(|word| word.eq_ignore_ascii_case(tag))
}

fn pop3(line: &str, is_configured: &dyn Fn(&str) -> bool) -> Option<Line> {
    let (verb, arguments) = split(line);
    let verb = verb.to_ascii_uppercase();
    let text = match verb.as_str() {
        // A password typed into the wrong field is no name that is known.
        "USER" if is_configured(arguments) => with(&verb, &shown(arguments.as_bytes())),
        "CAPA" | "STLS" | "QUIT" | "NOOP" | "STAT" | "LIST" | "UIDL" | "USER" | "PASS" | "APOP" => {
            with(&verb, hidden(arguments))
        }
        "AUTH" => return Some(login(&verb, arguments)),
        _ => return None,
    };
    Some(Line { text, verb: Verb::Other })
}

/// A command that begins a login: its mechanism is shown, and nothing else.
fn login(verb: &str, arguments: &str) -> Line {
    let (mechanism, response) = split(arguments);
    let known = MECHANISMS.into_iter().find(|known| known.eq_ignore_ascii_case(mechanism));
    let text = match known {
        Some(known) => with(&with(verb, known), hidden(response)),
        None => with(verb, hidden(arguments)),
    };
    Line { text, verb: Verb::Login }
}

/// `FROM:<a@b> SIZE=1`, without AUTH, which names somebody. Nothing of what can be read as no envelope.
fn envelope(side: Side, arguments: &str) -> String {
    if Envelope::parse(side, arguments.as_bytes()).is_err() {
        return hidden(arguments).into();
    }
    let words = arguments.split_ascii_whitespace();
    let kept: Vec<_> = words
        .map(|word| match word.get(..5) {
            Some(start) if start.eq_ignore_ascii_case("AUTH=") => "AUTH=(not shown)",
            _ => word,
        })
        .collect();
    shown(kept.join(" ").as_bytes())
}

/// Whether it is one word as a device calls itself: a host's name, an address in brackets.
fn is_host_like(name: &str) -> bool {
    let is_of_host = |octet: u8| octet.is_ascii_alphanumeric() || b".-_:[]".contains(&octet);
    name.len() <= SHOWN && name.bytes().all(is_of_host)
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim_matches([' ', '\t']);
    text.split_once([' ', '\t'])
        .map_or((text, ""), |(first, rest)| (first, rest.trim_start_matches([' ', '\t'])))
}

const fn hidden(arguments: &str) -> &'static str {
    if arguments.is_empty() { "" } else { HIDDEN }
}

fn with(verb: &str, arguments: &str) -> String {
    if arguments.is_empty() { verb.to_owned() } else { format!("{verb} {arguments}") }
}

/// Peer text, made harmless, and its beginning only.
pub(super) fn shown(octets: &[u8]) -> String {
    let more = if octets.len() > SHOWN { "..." } else { "" };
    format!("{}{more}", PeerText(&octets[..octets.len().min(SHOWN)]))
}

#[cfg(test)]
mod tests;
