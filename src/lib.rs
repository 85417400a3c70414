//! mailferry: programs that know only a user name and a password, in; OAuth 2.0, out.
//!
//! The map of the crate:
//! - [`proto`] and [`message`]: the protocol machines. Bytes in, steps out; no I/O.
//! - [`session`]: one session from accept to close; drives the machines over sockets.
//! - [`net`]: sockets, TLS, dialing, HTTP.
//! - [`login`]: local user names and passwords. [`oauth`]: tokens for the upstream.
//! - [`store`]: what outlives the process. [`control`]: what commands may ask of a running gateway.
//! - [`config`]: what `mailferry.toml` says, checked. [`app`]: puts the parts together. [`cli`]: the commands.
//! - [`sim`]: a simulated provider, for `mailferry demo` and the tests.

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod drain;
pub mod login;
pub mod message;
pub mod net;
pub mod oauth;
pub mod proto;
pub mod secret;
pub mod session;
pub mod sim;
pub mod store;
pub mod system;
pub mod telemetry;
