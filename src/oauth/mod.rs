//! OAuth 2.0: tokens for the upstream, fetched, kept fresh, shared.

pub mod credentials;
