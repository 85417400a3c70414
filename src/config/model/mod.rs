//! What the tables of the file mean: listeners, apps, accounts with their logins, and providers.

mod account;
mod app;
mod listener;
mod provider;

pub use self::account::{Account, Admission, Login, LoginOrigin, MailRules, Rate, Recipients, SenderRule};
pub use self::app::{App, Client, Grant, Proof};
pub use self::listener::{CertificateFiles, Listener, ListenerTls, Protocol};
pub use self::provider::{EndpointUrl, Provider, Scopes, Server, UpstreamTls};
