//! What a token endpoint's error means and the one thing to do about it. Classes come from the codes alone; what
//! the provider says in words is shown, and may choose a better explanation. What a mail server's refusal means is
//! `session::words`' part.

mod aadsts;
mod oauth;

use std::time::Duration;

use super::credentials::{TokenError, TokenFault};
use crate::config::Protocol;

/// The longest peer text shown, in characters.
const MAX_SHOWN: usize = 240;

/// The longest code shown, in characters.
const MAX_CODE: usize = 64;

/// What to do about a fault that passes.
pub(crate) const PASSES: &str = "It is tried again by itself";

/// An error answer of a token endpoint (RFC 6749 section 5.2, with Microsoft's additions). Peer text.
#[derive(Debug, Default)]
pub(crate) struct OAuthError {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The one code the class is read from.
    pub(crate) error: String,
    /// Microsoft's finer code, in words.
    pub(crate) suberror: Option<String>,
    /// Microsoft's finer codes, the AADSTS numbers.
    pub(crate) codes: Vec<u64>,
    /// For people.
    pub(crate) description: Option<String>,
    /// From the `Retry-After` header.
    pub(crate) retry_after: Option<Duration>,
}

/// Who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nobody has to.
    Passing,
    /// An administrator, the one who wrote the configuration, or the mailbox's owner.
    Person,
}

/// Whether a text is one of OAuth's codes that are known here.
pub(crate) fn is_known(code: &str) -> bool {
    oauth::PASSING.contains(&code) || oauth::ROWS.iter().any(|row| row.error == code)
}

/// What an error answer means.
pub(crate) fn explain(error: &OAuthError) -> TokenError {
    let description = error.description.as_deref().unwrap_or_default();
    let known = error.codes.iter().find_map(|code| aadsts::row(*code).zip(Some(code)));
    let code = match (known, error.codes.first()) {
        (Some((_, code)), _) | (None, Some(code)) => Some(format!("AADSTS{code}")),
        (None, None) => code(&error.error),
    };
    let passing = is_passing_status(error.status)
        || oauth::PASSING.contains(&error.error.as_str())
        || known.is_some_and(|(row, _)| row.class == Class::Passing);
    // A redirect brings Microsoft's number in its words only.
    let by_words = || aadsts::row_told(description).filter(|row| error.codes.is_empty() && row.class == Class::Person);
    let by_name = || oauth::find(&error.error, description).map(|row| (row.what, row.cure));
    let (what, cure) = match (known, passing) {
        (Some((row, _)), _) if passing == (row.class == Class::Passing) => (row.what, row.cure),
        (_, true) => ("The provider cannot serve the request right now", PASSES),
        // A suberror is Microsoft's, and this one says whose turn it is.
        (_, false) if error.suberror.as_deref() == Some("consent_required") => {
            ("Nobody has consented to what the app asks for", "An administrator has to grant consent to the app")
        }
        (_, false) => by_words()
            .map(|row| (row.what, row.cure))
            .or_else(by_name)
            .unwrap_or(("The provider refuses to give a token", "Look the code up in the provider's documentation")),
    };
    let said = error.description.as_deref().map(shown).filter(|said| !said.is_empty());
    let fault = TokenFault { code, what: what.to_owned(), hint: cure.to_owned(), said, retry_after: error.retry_after };
    if passing { TokenError::Transient(fault) } else { TokenError::NeedsPerson(fault) }
}

/// Whether a status alone says that it will pass.
pub(crate) const fn is_passing_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// A fault that passes.
pub(crate) fn transient(what: impl Into<String>) -> TokenError {
    TokenError::Transient(TokenFault {
        code: None,
        what: what.into(),
        hint: PASSES.into(),
        said: None,
        retry_after: None,
    })
}

/// A fault that a person has to see to.
pub(crate) fn needs_person(what: impl Into<String>, cure: impl Into<String>) -> TokenError {
    TokenError::NeedsPerson(TokenFault {
        code: None,
        what: what.into(),
        hint: cure.into(),
        said: None,
        retry_after: None,
    })
}

/// The upstream does not take a token that is as fresh as can be.
pub(crate) fn refused(protocol: Protocol) -> TokenError {
    TokenError::Refused(TokenFault {
        code: None,
        what: format!("The {} server refuses a fresh token", protocol.name().to_ascii_uppercase()),
        hint: "Check that the app has the right for this protocol, with an administrator's consent, and may open \
               this mailbox"
            .into(),
        said: None,
        retry_after: None,
    })
}

/// Peer text as it may be shown: its first line, nothing in it that a terminal or a log would act on, cut.
pub(crate) fn shown(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut shown = String::new();
    for (position, character) in line.chars().enumerate() {
        if position >= MAX_SHOWN {
            shown.push_str("...");
            break;
        }
        if character.is_alphanumeric() || character == ' ' || character.is_ascii_graphic() {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

/// A peer's code as it may be shown. `None` where it is not one.
fn code(text: &str) -> Option<String> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.');
    (!text.is_empty() && text.len() <= MAX_CODE && text.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
