//! The ways into the gateway: by which of a protocol's ports, and how the connection comes under TLS.

use std::path::PathBuf;

use crate::gateway::{USER, USER_OVER_TLS};
use crate::upstream::path;

/// How a connection comes under TLS, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Clear,
    StartTls,
    Implicit,
}

/// The ports of one protocol's listeners, by what each has as `tls`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) none: u16,
    pub(crate) starttls: u16,
    pub(crate) implicit: u16,
    pub(crate) auto: u16,
}

/// Where a client comes in, how, and what it trusts.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    pub(crate) port: u16,
    pub(crate) way: Way,
    trusted: PathBuf,
}

impl Entrance {
    pub(crate) const fn new(port: u16, way: Way, trusted: PathBuf) -> Self {
        Self { port, way, trusted }
    }

    /// The file with the only certificate to trust.
    pub(crate) fn trusted(&self) -> &str {
        path(&self.trusted)
    }

    /// Who logs in. Over TLS it is one that the gateway takes nowhere else: a client that stays in clear is refused.
    pub(crate) fn user(&self) -> &'static str {
        self.choose(USER, USER_OVER_TLS, USER_OVER_TLS)
    }

    /// What belongs to its way.
    pub(crate) fn choose<T>(&self, clear: T, starttls: T, implicit: T) -> T {
        match self.way {
            Way::Clear => clear,
            Way::StartTls => starttls,
            Way::Implicit => implicit,
        }
    }

    /// Its way, as the scripts want it.
    pub(crate) fn word(&self) -> &'static str {
        self.choose("clear", "starttls", "implicit")
    }
}
