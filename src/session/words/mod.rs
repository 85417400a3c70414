//! What an upstream's refusal means, whose move it is, and the one thing to do about it. What a token endpoint's error
//! means is `oauth::hints`' part.
//!
//! A row is found by the codes of a reply and by a word that only this refusal has. Where no row fits, the kind that the
//! machine has read from the codes alone has words of its own, so a provider that changes its words costs only the better
//! explanation.

mod imap;
mod pop3;
mod smtp;

use super::failure::FailureKind;
use crate::proto::{RefusalKind, UpstreamRefusal};

/// What a refusal means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Whose fault it is.
    pub(crate) kind: RefusalKind,
    /// What happened, one sentence without its full stop.
    pub(crate) what: &'static str,
    /// The one thing to do, likewise.
    pub(crate) cure: &'static str,
}

/// One way in which upstreams say no.
struct Row {
    /// How the reply begins, in any case, one of these; what follows is a blank or nothing. SMTP: code and enhanced status.
    /// IMAP: the condition and its response code. POP3: `-ERR` and its response code.
    begins: &'static [&'static str],
    /// What else stands in it, in any case; empty where the codes say it all.
    holds: &'static str,
    meaning: Meaning,
}

impl Row {
    fn fits(&self, reply: &[u8]) -> bool {
        let begins = |start: &&str| {
            reply.split_at_checked(start.len()).is_some_and(|(head, rest)| {
                head.eq_ignore_ascii_case(start.as_bytes()) && matches!(rest, [] | [b' ', ..])
            })
        };
        self.begins.iter().any(begins) && holds(reply, self.holds)
    }
}

fn holds(reply: &[u8], word: &str) -> bool {
    word.is_empty() || reply.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

fn rows() -> impl Iterator<Item = &'static Row> {
    smtp::ROWS.iter().chain(imap::ROWS).chain(pop3::ROWS)
}

/// What the refusal of a login means.
pub(crate) fn of_login(refusal: &UpstreamRefusal) -> &'static Meaning {
    // Before the login, whoever sits between us and the upstream may be talking.
    let at_login = refusal.stage.starts_with("AUTH");
    // Only the machine knows whether the token had been sent.
    let may_be = |meaning: &Meaning| match meaning.kind {
        RefusalKind::Transient => true,
        RefusalKind::Token => refusal.kind == RefusalKind::Token,
        RefusalKind::Rights | RefusalKind::Policy | RefusalKind::Unsupported => at_login,
    };
    of_reply(&refusal.said)
        .filter(|meaning| may_be(meaning))
        .unwrap_or_else(|| of_kind(refusal.kind))
}

/// What a reply after the login means, where it is known: to a command, or to a message. IMAP's without its tag. Peer text
/// goes in, and none comes out.
pub(crate) fn of_reply(reply: &[u8]) -> Option<&'static Meaning> {
    rows().find(|row| row.fits(reply)).map(|row| &row.meaning)
}

/// What is known about a refusal whose words nobody knows.
pub(crate) const fn of_kind(kind: RefusalKind) -> &'static Meaning {
    match kind {
        RefusalKind::Token => &Meaning {
            kind: RefusalKind::Token,
            what: "The provider refuses a fresh token for this mailbox",
            cure: "Check that the address is right and that the app may open this mailbox",
        },
        RefusalKind::Rights => &Meaning {
            kind: RefusalKind::Rights,
            what: "The app may not open this mailbox",
            cure: "Grant it the right at the provider (Exchange: Add-MailboxPermission -AccessRights FullAccess); rights \
                   may take half an hour to spread",
        },
        RefusalKind::Policy => &Meaning {
            kind: RefusalKind::Policy,
            what: "A policy of the provider forbids it",
            cure: "An administrator must allow this protocol for the mailbox or the tenant",
        },
        RefusalKind::Unsupported => &Meaning {
            kind: RefusalKind::Unsupported,
            what: "The server does not offer what is needed",
            cure: "Check host, port and tls of the provider",
        },
        RefusalKind::Transient => {
            &Meaning { kind: RefusalKind::Transient, what: "The provider cannot take the login now", cure: PASSES }
        }
    }
}

/// What to do about a refusal that passes.
const PASSES: &str = "It passes by itself; the program should try again later";

impl Meaning {
    /// Whether it is the name that the message is sent in.
    pub(crate) fn is_about_sender(&self) -> bool {
        self.what == smtp::SENDER
    }

    /// Whose move it is.
    pub(crate) const fn failure(&self) -> FailureKind {
        match self.kind {
            RefusalKind::Token | RefusalKind::Policy | RefusalKind::Unsupported => FailureKind::NeedsPerson,
            RefusalKind::Rights => FailureKind::MissingRights,
            RefusalKind::Transient => FailureKind::Unavailable,
        }
    }
}

/// What happened and what to do, as two sentences without the last full stop.
impl std::fmt::Display for Meaning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}. {}", self.what, self.cure)
    }
}

#[cfg(test)]
mod tests;
