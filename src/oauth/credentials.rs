//! The contract between a session and whatever opens mailboxes: ask for a credential, say which one was refused.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Account, Protocol};
use crate::secret::AccessToken;

/// Which token of a grant this is: a later one has a greater generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub(crate) u64);

/// What opens a mailbox upstream.
#[derive(Debug, Clone)]
pub struct UpstreamCredential {
    /// `user=` of XOAUTH2.
    pub user: String,
    /// The token.
    pub token: AccessToken,
    /// Which one it is; to be named when it is refused.
    pub generation: Generation,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// It may work by itself later.
    Transient(TokenFault),
    /// Nothing helps until a person does something.
    NeedsPerson(TokenFault),
    /// The upstream refused a token that was as fresh as one can be.
    Refused(TokenFault),
}

impl TokenError {
    /// What there is to say about it.
    #[must_use]
    pub const fn fault(&self) -> &TokenFault {
        match self {
            Self::Transient(fault) | Self::NeedsPerson(fault) | Self::Refused(fault) => fault,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault().fmt(f)
    }
}

/// What happened at the token endpoint, for a log line and for a person. All text is printable: peer text in it has
/// been escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFault {
    /// The provider's code: `AADSTS7000215`, or OAuth's `invalid_client`.
    pub code: Option<String>,
    /// What happened, one sentence.
    pub what: String,
    /// The one thing to do about it.
    pub hint: String,
    /// What the provider said in words.
    pub said: Option<String>,
    /// How long the provider asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, "{code}: ")?;
        }
        write!(f, "{}. {}", self.what, self.hint)?;
        // Last, since it may be long: what a reply has no room for must not be the hint.
        match &self.said {
            Some(said) => write!(f, " (it says: {said})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TokenError {}

/// A credential, some time from now.
pub type CredentialFuture<'a> = Pin<Box<dyn Future<Output = Result<UpstreamCredential, TokenError>> + Send + 'a>>;

/// Where a session gets its upstream credential from.
pub trait Credentials: Send + Sync {
    /// A credential for `account` over `protocol`. `refused` names the generation that the upstream has just refused
    /// for a reason that is the token's; a fresh one is then fetched if it could help, else the error is
    /// [`TokenError::Refused`].
    fn credential<'a>(
        &'a self,
        account: &'a Arc<Account>,
        protocol: Protocol,
        refused: Option<Generation>,
    ) -> CredentialFuture<'a>;
}
