//! OAuth 2.0: tokens for the upstream, fetched, kept fresh, shared.

pub mod answer;
pub mod credentials;
mod endpoint;
pub mod expiry;
pub mod grant;
mod hints;
pub mod service;
mod token;
pub mod upkeep;
