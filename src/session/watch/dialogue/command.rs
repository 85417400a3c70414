//! How a line is shown that a machine has read as a command: its verb, and of its arguments what is known to be harmless.

use super::{SHOWN, shown};
use crate::proto::smtp::envelope::{Envelope, Side};

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

/// What clients call their commands beside a few letters and a number. Another word there may be a password.
const TAGS_IN_WORDS: [&str; 5] = ["a", "c", "t", "x", "tag"];

/// What stands for what is not shown.
pub(super) const HIDDEN: &str = "(not shown)";

/// What a command is for, as far as advice depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// It asks what is offered.
    Asks,
    /// It leads to nothing, or ends the session.
    Idles,
    StartTls,
    Login,
    Other,
}

/// How a line is shown.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) verb: Verb,
}

impl Verb {
    /// Of a verb that begins no login, in capitals.
    fn of(verb: &str) -> Self {
        match verb {
            "EHLO" | "HELO" | "CAPABILITY" | "CAPA" => Self::Asks,
            "NOOP" | "RSET" | "ID" | "QUIT" | "LOGOUT" => Self::Idles,
            "STARTTLS" | "STLS" => Self::StartTls,
            _ => Self::Other,
        }
    }
}

pub(super) fn smtp(line: &str) -> Option<Line> {
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
    Some(Line { text, verb: Verb::of(&verb) })
}

/// What stands behind an IMAP command's tag.
pub(super) fn imap(command: &str) -> Option<Line> {
    let (verb, arguments) = split(command);
    let verb = verb.to_ascii_uppercase();
    match verb.as_str() {
        "CAPABILITY" | "NOOP" | "LOGOUT" | "STARTTLS" | "ID" | "SELECT" | "EXAMINE" | "LIST" | "STATUS" | "IDLE" => {
            Some(Line { text: with(&verb, hidden(arguments)), verb: Verb::of(&verb) })
        }
        "AUTHENTICATE" => Some(login(&verb, arguments)),
        "LOGIN" => Some(Line { text: with(&verb, HIDDEN), verb: Verb::Login }),
        _ => None,
    }
}

/// Up to four letters and up to six digits, as clients count their commands, or one of a few words.
pub(super) fn is_usual_tag(tag: &str) -> bool {
    let digits = tag.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_counted = tag.len() - digits.len() <= 4
        && (1..=6).contains(&digits.len())
        && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_counted || TAGS_IN_WORDS.iter().any(|word| word.eq_ignore_ascii_case(tag))
}

pub(super) fn pop3(line: &str, is_configured: &dyn Fn(&str) -> bool) -> Option<Line> {
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
    Some(Line { text, verb: Verb::of(&verb) })
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

pub(super) fn split(text: &str) -> (&str, &str) {
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
