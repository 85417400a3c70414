//! Decides on a response that holds a token, for all three mail servers alike.

use std::sync::Arc;

use super::control::Shared;
use super::faults::Refusal;
use super::mailbox::Mailbox;
use super::record::lock;
use super::sasl::{self, Malformed, Mechanism};
use super::{Personality, Protocol};

/// What became of a response.
pub(super) enum Verdict {
    /// The mailbox is open.
    Opened { user: String, mailbox: Arc<Mailbox> },
    /// It stays shut.
    Refused(Refusal),
    /// The response breaks the mechanism's form, which no token can mend.
    Malformed(Malformed),
}

/// The mechanism of this name, where it is offered.
pub(super) fn mechanism(shared: &Shared, name: &str) -> Option<Mechanism> {
    let offered = lock(&shared.mechanisms);
    offered
        .iter()
        .copied()
        .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
}

/// A list of capabilities with the mechanisms that are offered, each with `prefix` before it.
pub(super) fn offer(shared: &Shared, list: &str, prefix: &str) -> String {
    sasl::offer(list, prefix, &lock(&shared.mechanisms))
}

/// Decides, and counts what was decided.
pub(super) fn judge(shared: &Shared, protocol: Protocol, mechanism: Mechanism, response: &[u8]) -> Verdict {
    let verdict = match mechanism.decode(response) {
        Err(malformed) => {
            shared
                .record
                .violation(protocol, &format!("the response to {} is none: {malformed:?}", mechanism.name()));
            Verdict::Malformed(malformed)
        }
        Ok(response) => {
            match (shared.plan.refusal(protocol), shared.opened_by(&response.user, &response.token, protocol)) {
                (Some(refusal), _) => Verdict::Refused(refusal),
                (None, None) => Verdict::Refused(Refusal::Token),
                (None, Some(mailbox)) => Verdict::Opened { user: response.user, mailbox: mailbox.clone() },
            }
        }
    };
    shared.record.count(protocol, |counts| match verdict {
        Verdict::Opened { .. } => counts.logins_ok += 1,
        _ => counts.logins_refused += 1,
    });
    verdict
}

/// Whether a refusal comes as a challenge first. OAUTHBEARER has no other way to say that the token is no good (RFC 7628
/// section 3.2.3).
pub(super) const fn challenges(personality: Personality, mechanism: Mechanism, refusal: Refusal) -> bool {
    match refusal {
        Refusal::TokenWithChallenge | Refusal::Echo => true,
        Refusal::Token => matches!(mechanism, Mechanism::Oauthbearer) || !matches!(personality, Personality::Microsoft),
        Refusal::Policy | Refusal::Rights | Refusal::Temporary => false,
    }
}

/// What a refused login is told before it is refused: why, or, where the refusal is an echo, its own response.
pub(super) fn challenge(personality: Personality, mechanism: Mechanism, refusal: Refusal, response: &[u8]) -> String {
    match refusal {
        Refusal::Echo => String::from_utf8_lossy(response).into_owned(),
        _ => mechanism.challenge(personality),
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

/// Notes a wrong answer to a failure challenge.
pub(super) fn check_dismissal(shared: &Shared, protocol: Protocol, mechanism: Mechanism, answer: Option<&[u8]>) {
    if answer != Some(mechanism.dismissal()) {
        let wanted = match mechanism {
            Mechanism::Xoauth2 => "an empty line",
            Mechanism::Oauthbearer => "AQ==",
        };
        shared
            .record
            .violation(protocol, &format!("the answer to a failure challenge is not {wanted}"));
    }
}

/// The longest response that a server reads on a line of its own, in octets with CRLF. Exchange takes the longest token
/// there is; Dovecot 2.3 stops at 8,192 octets of base64.
pub(super) const fn response_limit(personality: Personality) -> usize {
    match personality {
        Personality::Microsoft | Personality::Gmail => 32 * 1024,
        Personality::Dovecot => 8192 + 2,
    }
}
