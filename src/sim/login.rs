//! Decides on an XOAUTH2 response, for all three mail servers alike.

use std::sync::Arc;

use super::control::Shared;
use super::faults::Refusal;
use super::mailbox::Mailbox;
use super::xoauth2::{self, Malformed};
use super::{Personality, Protocol};

/// What became of a response.
pub(super) enum Verdict {
    /// The mailbox is open.
    Opened { user: String, mailbox: Arc<Mailbox> },
    /// It stays shut.
    Refused(Refusal),
    /// The response breaks XOAUTH2's form, which no token can mend.
    Malformed(Malformed),
}

/// Decides, and counts what was decided.
pub(super) fn judge(shared: &Shared, protocol: Protocol, response: &[u8]) -> Verdict {
    let verdict = match xoauth2::decode(response) {
        Err(malformed) => {
            shared
                .record
                .violation(protocol, &format!("an XOAUTH2 response is none: {malformed:?}"));
            Verdict::Malformed(malformed)
        }
        Ok(response) => match (shared.plan.refusal(protocol), shared.opened_by(&response.user, &response.token)) {
            (Some(refusal), _) => Verdict::Refused(refusal),
            (None, None) => Verdict::Refused(Refusal::Token),
            (None, Some(mailbox)) => Verdict::Opened { user: response.user, mailbox: mailbox.clone() },
        },
    };
    shared.record.count(protocol, |counts| match verdict {
        Verdict::Opened { .. } => counts.logins_ok += 1,
        _ => counts.logins_refused += 1,
    });
    verdict
}

/// Whether a refusal comes as a challenge first.
pub(super) const fn challenges(personality: Personality, refusal: Refusal) -> bool {
    match refusal {
        Refusal::TokenWithChallenge | Refusal::Echo => true,
        Refusal::Token => matches!(personality, Personality::Dovecot),
        Refusal::Policy | Refusal::Rights | Refusal::Temporary => false,
    }
}

/// What a refused login is told before it is refused: why, or, where the refusal is an echo, its own response.
pub(super) fn challenge(refusal: Refusal, response: &[u8]) -> String {
    match refusal {
        Refusal::Echo => String::from_utf8_lossy(response).into_owned(),
        _ => xoauth2::challenge(),
    }
}

/// A refusal as it is said: one that is an echo has the response behind it.
pub(super) fn refused(refusal: Refusal, words: impl Into<String>, response: &[u8]) -> String {
    let mut words = words.into();
    if refusal == Refusal::Echo {
        words.push(' ');
        words.push_str(&String::from_utf8_lossy(response));
    }
    words
}

/// The longest XOAUTH2 response that a server reads on a line of its own, in octets with CRLF. Exchange takes the longest
/// token there is; Dovecot 2.3 stops at 8,192 octets of base64.
pub(super) const fn response_limit(personality: Personality) -> usize {
    match personality {
        Personality::Microsoft => 32 * 1024,
        Personality::Dovecot => 8192 + 2,
    }
}
