//! What is shown of a dialogue. By an allow-list: a device's line is shown only where its verb and the kind of its arguments
//! are known to be harmless, and nothing that is said within a login or within a message. What is not shown is counted.
//!
//! It listens to the octets beside the machines and decides nothing for them. Where it loses its place, by a device that
//! breaks every rule, it shows less and not more: only a line of its own with a known verb is shown ever.

use zeroize::Zeroizing;

use super::advice::Clue;
use crate::config::Protocol;
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

/// What stands for what is not shown.
const HIDDEN: &str = "(not shown)";

/// What has become of the dialogue so far.
#[derive(Debug)]
pub(super) struct Dialogue {
    protocol: Protocol,
    device: Cut,
    gateway: Cut,
    /// What the device's next octets are.
    mode: Mode,
    /// How many commands have no answer yet.
    owed: u32,
    greeted: bool,
    heard: u64,
    /// What the last command was.
    last: Verb,
}

/// What a device's octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commands,
    /// Lines of a login: none is shown until its answer has come.
    Login,
    /// A message, with its last octets.
    Message {
        octets: u64,
        tail: [u8; 3],
    },
    /// So many octets of a message, then commands.
    Chunk {
        left: u64,
    },
    /// A TLS handshake that nobody here understands.
    Handshake,
}

/// What it takes to tell answers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Login,
    Mail,
    Message,
    Other,
}

/// How a line is shown, and what comes behind it.
struct Line {
    text: String,
    verb: Verb,
    /// BDAT's octets.
    chunk: u64,
}

/// Lines, cut from octets. What a line holds may be a password.
#[derive(Debug)]
struct Cut {
    line: Zeroizing<Vec<u8>>,
    /// How many of its octets were not kept.
    over: usize,
}

impl Cut {
    fn new() -> Self {
        // Of its full size at once, so that nothing is left behind where it grew.
        Self { line: Zeroizing::new(Vec::with_capacity(KEPT)), over: 0 }
    }

    /// One octet more; whether the line is whole.
    fn push(&mut self, octet: u8) -> bool {
        if octet == b'\n' {
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
            return true;
        }
        if self.line.len() < KEPT {
            self.line.push(octet)
        } else {
            self.over += 1
        }
        false
    }

    fn clear(&mut self) {
        self.line.clear();
        self.over = 0;
    }
}

impl Dialogue {
    pub(super) fn new(protocol: Protocol) -> Self {
        let (device, gateway) = (Cut::new(), Cut::new());
        Self { protocol, device, gateway, mode: Mode::Commands, owed: 0, greeted: false, heard: 0, last: Verb::Other }
    }

    /// Whether the device has said anything.
    pub(super) const fn was_heard(&self) -> bool {
        self.heard > 0
    }

    /// What the device said, as it is shown. `is_configured`: whether a user name is one that a login has.
    pub(super) fn heard(&mut self, octets: &[u8], is_configured: &dyn Fn(&str) -> bool) -> (Vec<String>, Vec<Clue>) {
        let (mut lines, mut clues) = (Vec::new(), Vec::new());
        // RFC 8446 section 5.1: a handshake record. No command begins so.
        if self.heard == 0 && octets.first() == Some(&0x16) {
            self.mode = Mode::Handshake;
            lines.push("device -> a TLS handshake (ClientHello)".into());
            clues.push(Clue::TlsHello);
        }
        self.heard += octets.len() as u64;
        for octet in octets {
            match &mut self.mode {
                Mode::Handshake => return (lines, clues),
                Mode::Chunk { left } => {
                    *left -= 1;
                    if *left == 0 {
                        self.mode = Mode::Commands;
                    }
                }
                Mode::Message { octets, tail } => {
                    *octets += 1;
                    *tail = [tail[1], tail[2], *octet];
                }
                Mode::Login => {
                    if self.device.push(*octet) {
                        self.device.clear();
                        lines.push(format!("device -> {HIDDEN}"));
                    }
                }
                Mode::Commands => {
                    if self.device.push(*octet) {
                        let line = self.command(is_configured);
                        self.device.clear();
                        lines.push(format!("device -> {}", line.text));
                        self.follow(&line);
                    }
                }
            }
        }
        (lines, clues)
    }

    /// What comes behind a command.
    fn follow(&mut self, line: &Line) {
        self.owed = self.owed.saturating_add(1);
        self.last = line.verb;
        self.mode = match (line.verb, line.chunk) {
            (Verb::Login, _) => Mode::Login,
            (Verb::Message, _) => Mode::Message { octets: 0, tail: *b"\r\n\0" },
            (_, left @ 1..) => Mode::Chunk { left },
            _ => Mode::Commands,
        };
    }

    /// What the device is told, as it is shown.
    pub(super) fn said(&mut self, octets: &[u8]) -> (Vec<String>, Vec<Clue>) {
        let (mut lines, mut clues) = (Vec::new(), Vec::new());
        for octet in octets {
            if !self.gateway.push(*octet) {
                continue;
            }
            let line = std::mem::replace(&mut self.gateway, Cut::new()).line;
            let ends = self.is_an_answer(&line);
            clues.extend(self.clue(&line));
            if ends {
                self.answered(&mut lines);
            }
            lines.push(format!("device <- {}", shown(&line)));
        }
        (lines, clues)
    }

    /// A command has its answer, and with the last one a login or a message is over.
    fn answered(&mut self, lines: &mut Vec<String>) {
        if !std::mem::replace(&mut self.greeted, true) {
            return;
        }
        self.owed = self.owed.saturating_sub(1);
        if self.owed == 0 {
            lines.extend(self.message_is_over());
            if self.mode == Mode::Login {
                self.mode = Mode::Commands;
            }
        }
    }

    fn message_is_over(&mut self) -> Option<String> {
        let Mode::Message { octets, .. } = self.mode else { return None };
        self.mode = Mode::Commands;
        (octets > 0).then(|| format!("device -> (a message of {octets} octets, with what came behind it)"))
    }

    /// The connection is over.
    pub(super) fn ended(&mut self) -> (Vec<String>, Vec<Clue>) {
        let mut clues = Vec::new();
        if let Mode::Message { tail: [b'\n', b'.', b'\n'], .. } = self.mode {
            clues.push(Clue::LoneLfEnd);
        }
        (self.message_is_over().into_iter().collect(), clues)
    }

    /// Whether a line of ours is the last one of an answer. A greeting counts as one, but for IMAP's.
    fn is_an_answer(&self, line: &[u8]) -> bool {
        match self.protocol {
            // RFC 5321 section 4.2: 3xx asks for more.
            Protocol::Smtp => line.first() != Some(&b'3') && line.get(3).is_none_or(|mark| *mark == b' '),
            Protocol::Imap => !line.starts_with(b"+ ") && (!line.starts_with(b"* ") || !self.greeted),
            Protocol::Pop3 => line.starts_with(b"+OK") || line.starts_with(b"-ERR"),
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
            _ => None,
        }
    }

    /// How a whole line of the device is shown.
    fn command(&self, is_configured: &dyn Fn(&str) -> bool) -> Line {
        let line = &self.device.line[..];
        let hidden = || {
            let octets = line.len() + self.device.over;
            Line { text: format!("({octets} octets that are no known command)"), verb: Verb::Other, chunk: 0 }
        };
        if self.device.over > 0 {
            return hidden();
        }
        let shown = std::str::from_utf8(line).ok().and_then(|line| match self.protocol {
            Protocol::Smtp => smtp(line),
            Protocol::Imap => imap(line),
            Protocol::Pop3 => pop3(line, is_configured),
        });
        shown.unwrap_or_else(hidden)
    }
}

fn smtp(line: &str) -> Option<Line> {
    let (verb, arguments) = split(line);
    let verb = verb.to_ascii_uppercase();
    let plain = |text: String| Some(Line { text, verb: Verb::Other, chunk: 0 });
    match verb.as_str() {
        "EHLO" | "HELO" => plain(with(&verb, &shown(arguments.as_bytes()))),
        "MAIL" | "RCPT" => {
            let text = with(&verb, &path(arguments));
            Some(Line { text, verb: Verb::Mail, chunk: 0 })
        }
        "DATA" => Some(Line { text: verb, verb: Verb::Message, chunk: 0 }),
        "BDAT" => {
            let (octets, last) = split(arguments);
            let chunk = octets.parse().ok()?;
            let last = if last.eq_ignore_ascii_case("LAST") { " LAST" } else { "" };
            Some(Line { text: format!("BDAT {chunk}{last} (and so many octets)"), verb: Verb::Mail, chunk })
        }
        "RSET" | "NOOP" | "QUIT" | "STARTTLS" | "HELP" | "VRFY" | "EXPN" => plain(with(&verb, hidden(arguments))),
        "AUTH" => Some(login(&verb, arguments)),
        _ => None,
    }
}

fn imap(line: &str) -> Option<Line> {
    let (tag, command) = split(line);
    let (verb, arguments) = split(command);
    let verb = verb.to_ascii_uppercase();
    let is_tag =
        (1..=16).contains(&tag.len()) && tag.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'.');
    let plain = |text: String| Line { text, verb: Verb::Other, chunk: 0 };
    let line = match verb.as_str() {
        "CAPABILITY" | "NOOP" | "LOGOUT" | "STARTTLS" | "ID" | "SELECT" | "EXAMINE" | "LIST" | "STATUS" | "IDLE" => {
            plain(with(&verb, hidden(arguments)))
        }
        "AUTHENTICATE" => login(&verb, arguments),
        "LOGIN" => Line { text: with(&verb, HIDDEN), verb: Verb::Login, chunk: 0 },
        _ => return None,
    };
    is_tag.then(|| Line { text: format!("{tag} {}", line.text), ..line })
}

fn pop3(line: &str, is_configured: &dyn Fn(&str) -> bool) -> Option<Line> {
    let (verb, arguments) = split(line);
    let verb = verb.to_ascii_uppercase();
    let plain = |text: String| Some(Line { text, verb: Verb::Other, chunk: 0 });
    match verb.as_str() {
        // A password typed into the wrong field is no name that is known.
        "USER" if is_configured(arguments) => plain(with(&verb, &shown(arguments.as_bytes()))),
        "CAPA" | "STLS" | "QUIT" | "NOOP" | "STAT" | "LIST" | "UIDL" | "USER" | "PASS" | "APOP" => {
            plain(with(&verb, hidden(arguments)))
        }
        "AUTH" => Some(login(&verb, arguments)),
        _ => None,
    }
}

/// A command that begins a login: its mechanism is shown, and nothing else.
fn login(verb: &str, arguments: &str) -> Line {
    let (mechanism, response) = split(arguments);
    let known = MECHANISMS.into_iter().find(|known| known.eq_ignore_ascii_case(mechanism));
    let text = match known {
        Some(known) => with(&with(verb, known), hidden(response)),
        None => with(verb, hidden(arguments)),
    };
    Line { text, verb: Verb::Login, chunk: 0 }
}

/// `FROM:<a@b> SIZE=1`, without AUTH, which names somebody.
fn path(arguments: &str) -> String {
    let words = arguments.split_ascii_whitespace();
    let kept: Vec<_> = words
        .map(|word| match word.get(..5) {
            Some(start) if start.eq_ignore_ascii_case("AUTH=") => "AUTH=(not shown)",
            _ => word,
        })
        .collect();
    shown(kept.join(" ").as_bytes())
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
