//! OAuth 2.0: tokens for the upstream, fetched, kept fresh, shared.

pub mod answer;
mod assertion;
pub mod credentials;
mod endpoint;
pub mod expiry;
pub mod grant;
mod hints;
pub mod identity;
mod proof;
pub mod service;
pub mod sign_in;
mod token;
pub mod upkeep;
