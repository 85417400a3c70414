//! What the legacy side is told: every kind of failure and every kind of goodbye, in all three protocols.
//!
//! The codes are the contract's (`docs/reference.md`, "Replies"). A temporary fault never looks like a wrong password.

use std::borrow::Cow;

use crate::config::Protocol;
use crate::login::verify::{Denied, Misplaced, Obstacle};
use crate::oauth::credentials::TokenError;
use crate::proto::smtp::reply::Reply;
use crate::proto::{imap, pop3};

/// How long the words of a reply may be, in octets, so that its line stays below SMTP's 512.
pub(super) const MAX_WORDS: usize = 400;

/// What a right password in a wrong place may mean.
pub(super) const IS_KNOWN: &str = "its password is known to somebody";

/// Why a login was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// What happened, for the log and, where a person must act, for the reply. Printable; holds no secret.
    pub(crate) detail: String,
    /// Which login is [`Misplaced`](FailureKind::Misplaced), and why, where it is the login's own fault.
    pub(crate) misplaced: Option<Misplaced>,
    /// What is said instead of the kind's own words, where who asks has been told it before or will ask again at once. SMTP
    /// only.
    pub(crate) reply: Option<Box<Reply>>,
    /// Whether the upstream was asked to log in, and has refused, be it only for now.
    pub(crate) was_tried: bool,
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Wrong user name or password.
    Credentials,
    /// The password is right, and not allowed from here, over this protocol, to this account. Who logs in is told the same
    /// as of a wrong one: a guesser elsewhere must not learn that it is right.
    Misplaced,
    /// As [`Credentials`](Self::Credentials), with a user name that no login can have.
    ImpossibleName,
    /// It does not log in, and no login is for its address. SMTP only.
    UnknownAddress,
    /// The password is right, but a person must act before the provider lets us in.
    NeedsPerson,
    /// The password is right, but the account lacks a right at the provider.
    MissingRights,
    /// Too many failures before it; the password was not looked at.
    Throttled,
    /// Too many logins at once; the password was not looked at.
    Busy,
    /// It may work by itself later.
    Unavailable,
}

impl FailureKind {
    /// Every kind, for the test that each has a reply in every protocol.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 9] = [
        Self::Credentials,
        Self::Misplaced,
        Self::ImpossibleName,
        Self::UnknownAddress,
        Self::NeedsPerson,
        Self::MissingRights,
        Self::Throttled,
        Self::Busy,
        Self::Unavailable,
    ];
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), misplaced: None, reply: None, was_tried: false }
    }

    /// The upstream was not asked: its answer is known, or it is not yet the turn of who asks.
    pub(crate) fn not_now(reply: Reply) -> Self {
        let detail = reply.text.clone().into_owned();
        Self { reply: Some(Box::new(reply)), ..Self::unavailable(detail) }
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Unavailable, detail)
    }

    /// The same, after the upstream has refused a login.
    pub(crate) fn having_tried(self) -> Self {
        Self { was_tried: true, ..self }
    }

    /// What the client is told. Only someone whose password was right is told anything about the account.
    fn words(&self) -> Cow<'static, str> {
        match self.kind {
            FailureKind::Credentials | FailureKind::Misplaced | FailureKind::ImpossibleName => {
                "Wrong user name or password, or not allowed from here".into()
            }
            FailureKind::UnknownAddress => "Authentication required".into(),
            FailureKind::Throttled | FailureKind::Busy | FailureKind::Unavailable => {
                "Temporarily unavailable, please try again later".into()
            }
            FailureKind::NeedsPerson | FailureKind::MissingRights => {
                let words = &self.detail[..self.detail.floor_char_boundary(MAX_WORDS)];
                Cow::Owned(words.to_owned())
            }
        }
    }

    /// RFC 4954 section 6.
    pub(crate) fn smtp(&self) -> Reply {
        if let Some(reply) = &self.reply {
            return Reply::clone(reply);
        }
        let (code, enhanced) = match self.kind {
            FailureKind::Credentials | FailureKind::Misplaced | FailureKind::ImpossibleName => (535, "5.7.8"),
            FailureKind::UnknownAddress => (530, "5.7.0"),
            // A scanner that is told 5xx gives up for good; 454 makes it try again after the person has acted.
            FailureKind::NeedsPerson
            | FailureKind::MissingRights
            | FailureKind::Throttled
            | FailureKind::Busy
            | FailureKind::Unavailable => (454, "4.7.0"),
        };
        Reply::new(code, enhanced, self.words())
    }

    /// RFC 5530 section 3.
    pub(crate) fn imap(&self) -> imap::downstream::Refusal {
        let code = match self.kind {
            FailureKind::Credentials
            | FailureKind::Misplaced
            | FailureKind::ImpossibleName
            | FailureKind::UnknownAddress => "AUTHENTICATIONFAILED",
            FailureKind::NeedsPerson => "CONTACTADMIN",
            FailureKind::MissingRights => "AUTHORIZATIONFAILED",
            FailureKind::Throttled | FailureKind::Busy | FailureKind::Unavailable => "UNAVAILABLE",
        };
        imap::downstream::Refusal { code, text: self.words() }
    }

    /// RFC 3206 section 4.
    pub(crate) fn pop3(&self) -> pop3::response::Refusal {
        let code = match self.kind {
            FailureKind::Credentials
            | FailureKind::Misplaced
            | FailureKind::ImpossibleName
            | FailureKind::UnknownAddress => "AUTH",
            FailureKind::NeedsPerson | FailureKind::MissingRights => "SYS/PERM",
            FailureKind::Throttled | FailureKind::Busy | FailureKind::Unavailable => "SYS/TEMP",
        };
        pop3::response::Refusal { code, text: self.words() }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let (kind, misplaced) = match denied {
            Denied::Misplaced(misplaced) => (FailureKind::Misplaced, Some(misplaced)),
            Denied::Credentials => (FailureKind::Credentials, None),
            Denied::Impossible => (FailureKind::ImpossibleName, None),
            Denied::Throttled => (FailureKind::Throttled, None),
            Denied::Busy => (FailureKind::Busy, None),
        };
        let detail = match misplaced.map(|misplaced| misplaced.obstacle) {
            Some(Obstacle::Protocol | Obstacle::Network) => {
                format!("{denied}; if this is not your device, {IS_KNOWN}: `mailferry login rotate`")
            }
            Some(Obstacle::Ended | Obstacle::Tls | Obstacle::Unserved) | None => denied.to_string(),
        };
        Self { misplaced, ..Self::new(kind, detail) }
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        let kind = match error {
            TokenError::Transient(_) => FailureKind::Unavailable,
            TokenError::NeedsPerson(_) | TokenError::Refused(_) => FailureKind::NeedsPerson,
        };
        Self::new(kind, error.to_string())
    }
}

/// Why the gateway hangs up by itself before or between commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goodbye {
    SessionLimit,
    Draining,
    Idle,
    LoginDeadline,
    Revoked,
}

impl Goodbye {
    /// Every kind, for the test that each has words in every protocol.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] =
        [Self::SessionLimit, Self::Draining, Self::Idle, Self::LoginDeadline, Self::Revoked];

    /// The last words, as a whole line.
    pub(crate) fn line(self, protocol: Protocol) -> Vec<u8> {
        let (enhanced, words) = match self {
            Self::SessionLimit => ("4.3.2", "Too many connections, please try again later"),
            Self::Draining => ("4.3.2", "The gateway is shutting down, please try again later"),
            Self::Idle => ("4.4.2", "Nothing heard for too long"),
            Self::LoginDeadline => ("4.4.2", "No login within the time allowed"),
            Self::Revoked => ("4.7.0", "This user name and password are not accepted any more"),
        };
        match protocol {
            Protocol::Smtp => {
                let mut line = Vec::new();
                Reply::new(421, enhanced, words).write(&mut line);
                line
            }
            Protocol::Imap => format!("* BYE {words}\r\n").into_bytes(),
            Protocol::Pop3 => format!("-ERR [SYS/TEMP] {words}\r\n").into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_reply_in_every_protocol() {
        let told = FailureKind::ALL.map(|kind| {
            let failure = Failure::new(kind, "Renew the secret");
            (failure.smtp().code, failure.smtp().enhanced, failure.imap().code, failure.pop3().code)
        });
        assert_eq!(
            told,
            [
                (535, "5.7.8", "AUTHENTICATIONFAILED", "AUTH"),
                (535, "5.7.8", "AUTHENTICATIONFAILED", "AUTH"),
                (535, "5.7.8", "AUTHENTICATIONFAILED", "AUTH"),
                (530, "5.7.0", "AUTHENTICATIONFAILED", "AUTH"),
                (454, "4.7.0", "CONTACTADMIN", "SYS/PERM"),
                (454, "4.7.0", "AUTHORIZATIONFAILED", "SYS/PERM"),
                (454, "4.7.0", "UNAVAILABLE", "SYS/TEMP"),
                (454, "4.7.0", "UNAVAILABLE", "SYS/TEMP"),
                (454, "4.7.0", "UNAVAILABLE", "SYS/TEMP"),
            ]
        );
    }

    #[test]
    fn every_goodbye_has_its_line_in_every_protocol() {
        for goodbye in Goodbye::ALL {
            for protocol in Protocol::ALL {
                let line = String::from_utf8(goodbye.line(protocol)).unwrap();
                let start = match protocol {
                    Protocol::Smtp => "421 4.",
                    Protocol::Imap => "* BYE ",
                    Protocol::Pop3 => "-ERR [SYS/TEMP] ",
                };
                assert!(line.starts_with(start) && line.ends_with("\r\n"), "{line}");
            }
        }
    }

    #[test]
    fn a_stranger_learns_nothing_about_the_account() {
        let failure = Failure::new(FailureKind::Credentials, "the account scanner@contoso.com has no IMAP server");
        assert!(!failure.smtp().text.contains("contoso"));
    }

    #[test]
    fn who_logs_in_where_a_login_may_not_be_used_is_told_no_more_than_of_a_wrong_password() {
        let wrong = Failure::from(Denied::Credentials);
        for obstacle in [Obstacle::Ended, Obstacle::Protocol, Obstacle::Network, Obstacle::Tls, Obstacle::Unserved] {
            let misplaced = Failure::from(Denied::Misplaced(Misplaced { login: 0, obstacle }));
            let detail = &misplaced.detail;
            assert!(detail.starts_with("the password is right, but the login "), "{detail}");
            let may_be_stolen = matches!(obstacle, Obstacle::Protocol | Obstacle::Network);
            assert_eq!(detail.contains("known to somebody: `mailferry login rotate`"), may_be_stolen, "{detail}");
            assert_eq!(format!("{:?}", misplaced.smtp()), format!("{:?}", wrong.smtp()));
            assert_eq!(format!("{:?}", misplaced.imap()), format!("{:?}", wrong.imap()));
            assert_eq!(format!("{:?}", misplaced.pop3()), format!("{:?}", wrong.pop3()));
        }
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let failure = Failure::new(FailureKind::NeedsPerson, "\u{e9}".repeat(MAX_WORDS));
        assert_eq!(failure.smtp().text.len(), MAX_WORDS);
    }
}
