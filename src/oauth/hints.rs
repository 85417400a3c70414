//! What a token endpoint's error means and the one thing to do about it. Classes come from the codes alone; what
//! the provider says in words is only shown.

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

struct Hint {
    codes: &'static [u64],
    class: Class,
    what: &'static str,
    cure: &'static str,
}

/// Microsoft's codes.
const AADSTS: &[Hint] = &[
    Hint {
        codes: &[7_000_215],
        class: Class::Person,
        what: "The client secret is wrong",
        cure: "Put the secret's Value, not its Secret ID, into client_secret",
    },
    Hint {
        codes: &[7_000_222],
        class: Class::Person,
        what: "The client secret has expired",
        cure: "Make a new secret under Certificates & secrets of the app registration and put its Value into client_secret",
    },
    Hint {
        codes: &[7_000_218],
        class: Class::Person,
        what: "The app has to prove itself with a client secret, and none was sent",
        cure: "Set client_secret, or allow public client flows in the app registration",
    },
    Hint {
        codes: &[700_025],
        class: Class::Person,
        what: "The app is registered as a public client and must not send a client secret",
        cure: "Remove client_secret, or register the app as a confidential client",
    },
    Hint {
        codes: &[700_016],
        class: Class::Person,
        what: "The tenant does not know this app",
        cure: "Check client_id and tenant, and that an administrator has consented to the app in this tenant",
    },
    Hint {
        codes: &[50_076, 50_079, 50_074, 50_158],
        class: Class::Person,
        what: "The provider asks for a second factor",
        cure: "The mailbox's owner has to sign in again",
    },
    Hint {
        codes: &[50_126],
        class: Class::Person,
        what: "The provider does not accept the user name or password",
        cure: "The mailbox's owner has to sign in again",
    },
    Hint {
        codes: &[50_173, 50_133, 70_008, 700_082, 70_043, 70_000, 54_005],
        class: Class::Person,
        what: "The earlier sign-in has expired or was revoked",
        cure: "The mailbox's owner has to sign in again",
    },
    Hint {
        codes: &[65_001, 65_004],
        class: Class::Person,
        what: "Nobody has consented to what the app asks for",
        cure: "An administrator has to grant consent under API permissions of the app registration",
    },
    Hint {
        codes: &[53_003, 530_032, 530_035, 50_131, 53_000, 53_001, 700_003],
        class: Class::Person,
        what: "A Conditional Access or device policy forbids it",
        cure: "An administrator has to exempt this app or place; the sign-in log names the policy",
    },
    Hint {
        codes: &[90_002, 90_038],
        class: Class::Person,
        what: "There is no such tenant in this cloud",
        cure: "Check tenant, and that the provider is the tenant's own cloud",
    },
    Hint {
        codes: &[9_001_023],
        class: Class::Person,
        what: "This grant needs one certain tenant",
        cure: "Set tenant to the directory's domain or id instead of common, organizations or consumers",
    },
    Hint {
        codes: &[500_011],
        class: Class::Person,
        what: "The tenant does not know the service the scope names",
        cure: "Check the host in scopes; the tenant needs a licence with Exchange Online",
    },
    Hint {
        codes: &[900_144],
        class: Class::Person,
        what: "The request lacked a parameter",
        cure: "Check client_id, client_secret and scopes for an empty value; if none is, this is a fault of mailferry",
    },
    Hint {
        codes: &[70_011, 28_002, 28_003, 700_022],
        class: Class::Person,
        what: "The scope is not one the provider grants",
        cure: "Check scopes: all of one resource, for client-credentials exactly one that ends in /.default",
    },
    Hint {
        codes: &[50_196],
        class: Class::Passing,
        what: "The provider sees the same request too often and holds it back",
        cure: PASSES,
    },
    Hint {
        codes: &[90_055, 90_024, 90_006, 90_033, 50_033, 50_087, 90_012],
        class: Class::Passing,
        what: "The provider cannot serve the request right now",
        cure: PASSES,
    },
];

/// OAuth's codes (RFC 6749 section 5.2, OpenID Connect Core section 3.1.2.6).
const OAUTH: &[(&str, &str, &str)] = &[
    (
        "invalid_grant",
        "The provider no longer accepts the earlier sign-in or consent",
        "The mailbox's owner has to sign in again, or an administrator has to consent again",
    ),
    ("interaction_required", "The provider wants to see a person", "The mailbox's owner has to sign in again"),
    (
        "consent_required",
        "Nobody has consented to what the app asks for",
        "An administrator has to grant consent to the app",
    ),
    ("login_required", "The provider wants to see a person", "The mailbox's owner has to sign in again"),
    ("invalid_client", "The provider does not accept the app's id or secret", "Check client_id and client_secret"),
    (
        "unauthorized_client",
        "The app is not allowed this grant",
        "Check client_id and tenant, and that the registration allows the configured grant",
    ),
    ("invalid_scope", "The scope is not one the provider grants", "Check scopes"),
    ("invalid_resource", "The provider does not know the service the scope names", "Check the host in scopes"),
    ("invalid_request", "The provider cannot make sense of the request", "Check tenant, client_id and scopes"),
    ("unsupported_grant_type", "The provider does not know this grant", "Check grant and token_url"),
    ("access_denied", "The provider denies access", "An administrator has to allow the app"),
    // RFC 8628 section 3.5, and Microsoft's words for the same.
    ("authorization_declined", "The sign-in was declined", "Run the command again and agree to what is asked"),
    ("expired_token", "Nobody signed in with the code in time", "Run the command again for a new code"),
    ("bad_verification_code", "The provider does not know the code", "Run the command again for a new code"),
];

/// RFC 6749 section 4.1.2.1's two codes for what passes, and one that is seen.
const PASSING: &[&str] = &["temporarily_unavailable", "server_error", "slow_down"];

/// Whether a text is one of the codes that are read here, or while a device waits (RFC 8628 section 3.5).
pub(crate) fn is_known(code: &str) -> bool {
    OAUTH.iter().any(|(known, ..)| *known == code) || PASSING.contains(&code) || code == "authorization_pending"
}

/// What an error answer means.
pub(crate) fn explain(error: &OAuthError) -> TokenError {
    let known = error
        .codes
        .iter()
        .find_map(|code| AADSTS.iter().find(|hint| hint.codes.contains(code)).zip(Some(code)));
    let code = match (known, error.codes.first()) {
        (Some((_, code)), _) | (None, Some(code)) => Some(format!("AADSTS{code}")),
        (None, None) => code(&error.error),
    };
    let passing = is_passing_status(error.status)
        || PASSING.contains(&error.error.as_str())
        || known.is_some_and(|(hint, _)| hint.class == Class::Passing);
    let by_name = || {
        OAUTH
            .iter()
            .find(|(name, ..)| *name == error.error)
            .map(|(_, what, cure)| (*what, *cure))
    };
    let (what, cure) = match (known, passing) {
        (Some((hint, _)), _) if passing == (hint.class == Class::Passing) => (hint.what, hint.cure),
        (_, true) => ("The provider cannot serve the request right now", PASSES),
        // A suberror is Microsoft's, and this one says whose turn it is.
        (_, false) if error.suberror.as_deref() == Some("consent_required") => {
            ("Nobody has consented to what the app asks for", "An administrator has to grant consent to the app")
        }
        (_, false) => by_name()
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(error: &str, codes: &[u64]) -> OAuthError {
        OAuthError { status: 400, error: error.into(), codes: codes.to_vec(), ..OAuthError::default() }
    }

    fn needs_a_person(explained: &TokenError) -> bool {
        matches!(explained, TokenError::NeedsPerson(_))
    }

    #[test]
    fn every_code_has_one_meaning() {
        let mut codes: Vec<u64> = AADSTS.iter().flat_map(|hint| hint.codes).copied().collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn a_pasted_secret_id_is_explained() {
        let explained = explain(&OAuthError {
            status: 401,
            description: Some("AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1\r\nTimestamp: 2".into()),
            ..error("invalid_client", &[7_000_215])
        });
        assert!(needs_a_person(&explained));
        assert_eq!(explained.fault().code.as_deref(), Some("AADSTS7000215"));
        let text = explained.to_string();
        assert!(text.contains("Value, not its Secret ID"), "{text}");
        assert!(!text.contains("Trace ID") && !text.contains('\r'), "{text}");
    }

    #[test]
    fn what_passes_is_transient_however_it_is_told() {
        for passing in [
            error("temporarily_unavailable", &[90_055]),
            error("server_error", &[]),
            error("invalid_grant", &[50_196]),
            error("invalid_request", &[90_033]),
            OAuthError { status: 429, ..error("invalid_client", &[7_000_215]) },
            OAuthError { status: 503, ..error("invalid_grant", &[]) },
        ] {
            let explained = explain(&passing);
            assert!(matches!(explained, TokenError::Transient(_)), "{passing:?}");
            assert_eq!(explained.fault().hint, PASSES, "{passing:?}");
        }
    }

    #[test]
    fn the_rest_needs_a_person() {
        for (name, ..) in OAUTH {
            assert!(needs_a_person(&explain(&error(name, &[]))), "{name}");
            assert!(needs_a_person(&explain(&error(name, &[1_234_567]))), "{name} with an unknown number");
        }
        assert!(needs_a_person(&explain(&error("something_new", &[]))));
        for hint in AADSTS.iter().filter(|hint| hint.class == Class::Person) {
            for code in hint.codes {
                let explained = explain(&error("invalid_grant", &[1, *code]));
                assert!(needs_a_person(&explained), "{code}");
                assert_eq!(explained.fault().code, Some(format!("AADSTS{code}")));
                assert_eq!(explained.fault().hint, hint.cure);
            }
        }
    }

    #[test]
    fn the_suberror_tells_missing_consent() {
        let explained =
            explain(&OAuthError { suberror: Some("consent_required".into()), ..error("invalid_grant", &[]) });
        assert!(explained.fault().hint.contains("grant consent"), "{explained}");
    }

    #[test]
    fn numbers_in_the_description_decide_nothing() {
        let told = OAuthError { description: Some("AADSTS90055: throttled".into()), ..error("invalid_client", &[]) };
        assert!(needs_a_person(&explain(&told)));
        assert_eq!(explain(&told).fault().code.as_deref(), Some("invalid_client"));
    }

    proptest! {
        #[test]
        fn whatever_the_peer_says_is_one_short_printable_line(error in ".*", description in "\\PC*|.*\\r\\n.*|(.|\\x1b|\\n){0,400}") {
            let explained = explain(&OAuthError {
                status: 400, error, description: Some(description), ..OAuthError::default()
            });
            let text = explained.to_string();
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
            prop_assert!(text.chars().count() < 400 + 10 * MAX_SHOWN);
        }
    }

    #[test]
    fn text_that_turns_lines_around_is_escaped() {
        assert_eq!(shown("\u{1b}[2Jhi\u{202e}there\nmore"), "\\u{1b}[2Jhi\\u{202e}there");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_SHOWN + "...".len());
    }
}
