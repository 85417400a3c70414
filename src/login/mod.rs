//! Local logins: who may use which account. Knows nothing of the upstream and never sees a token.

pub(crate) mod bounded;
pub mod by_address;
mod decoy;
pub mod directory;
mod gate;
pub mod throttle;
pub mod uses;
pub mod verify;

use std::net::IpAddr;

use crate::config::Protocol;

/// Where a login comes from, and how.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    /// Whose it is: the peer, or whom a trusted proxy names.
    pub peer: IpAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether the connection is under TLS, here or, by its word, at a trusted proxy.
    pub encrypted: bool,
}
