//! What `mailferry.toml` says, word for word. Only shapes are checked here; what the words mean is `resolve`'s part.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::{LogFormat, Protocol, UpstreamTls};
use crate::secret::SecretText;

/// A key that may be absent; where it is not, its value and its place.
type Key<T> = Option<Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) state_dir: Key<String>,
    pub(super) hostname: Key<String>,
    pub(super) drain_timeout: Key<String>,
    #[serde(default)]
    pub(super) log: RawLog,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) listener: Vec<Spanned<RawListener>>,
    #[serde(default)]
    pub(super) app: BTreeMap<String, Spanned<RawApp>>,
    #[serde(default)]
    pub(super) account: Vec<Spanned<RawAccount>>,
    #[serde(default)]
    pub(super) provider: BTreeMap<String, Spanned<RawProvider>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) level: Key<String>,
    pub(super) format: Option<LogFormat>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) sessions: Key<i64>,
    pub(super) sessions_per_address: Key<i64>,
    pub(super) login_timeout: Key<String>,
    #[serde(default)]
    pub(super) idle_timeout: RawIdleTimeout,
    #[serde(default)]
    pub(super) failed_logins: RawFailedLogins,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdleTimeout {
    pub(super) smtp: Key<String>,
    pub(super) imap: Key<String>,
    pub(super) pop3: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFailedLogins {
    pub(super) count: Key<i64>,
    pub(super) within: Key<String>,
    pub(super) block: Key<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) name: Key<String>,
    pub(super) protocol: Key<Protocol>,
    pub(super) bind: Key<OneOrMany>,
    pub(super) tls: Key<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApp {
    pub(super) provider: Key<String>,
    pub(super) grant: Key<String>,
    pub(super) tenant: Key<String>,
    pub(super) client_id: Key<String>,
    pub(super) client_secret: Key<RawSecret>,
}

/// The keys of an app may stand in the account that alone uses it. They are written out again because serde cannot
/// deny unknown keys of a flattened table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccount {
    pub(super) address: Key<String>,
    pub(super) app: Key<String>,
    provider: Key<String>,
    grant: Key<String>,
    tenant: Key<String>,
    client_id: Key<String>,
    client_secret: Key<RawSecret>,
    #[serde(default)]
    pub(super) login: Vec<Spanned<RawLogin>>,
}

impl RawAccount {
    /// The app that is written inline, if one of its keys is there.
    pub(super) fn take_inline_app(&mut self) -> Option<RawApp> {
        let app = RawApp {
            provider: self.provider.take(),
            grant: self.grant.take(),
            tenant: self.tenant.take(),
            client_id: self.client_id.take(),
            client_secret: self.client_secret.take(),
        };
        let any = app.provider.is_some()
            || app.grant.is_some()
            || app.tenant.is_some()
            || app.client_id.is_some()
            || app.client_secret.is_some();
        any.then_some(app)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogin {
    pub(super) username: Key<String>,
    pub(super) password_hash: Key<String>,
    pub(super) protocols: Key<Vec<Protocol>>,
    pub(super) networks: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProvider {
    pub(super) base: Key<String>,
    pub(super) token_url: Key<String>,
    pub(super) scopes: Option<Vec<Spanned<String>>>,
    pub(super) smtp: Key<RawServer>,
    pub(super) imap: Key<RawServer>,
    pub(super) pop3: Key<RawServer>,
    pub(super) smtp_extensions: Option<Vec<Spanned<String>>>,
    pub(super) ca: Key<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    pub(super) host: Key<String>,
    pub(super) port: Key<i64>,
    pub(super) tls: Key<UpstreamTls>,
}

/// A text, or a list of texts.
pub(super) struct OneOrMany(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

/// A secret, or where it is kept.
pub(super) enum RawSecret {
    /// The secret itself.
    Text(SecretText),
    /// Its keeper.
    Kept(RawKept),
}

/// Where a secret is kept: exactly one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKept {
    pub(super) file: Option<String>,
    pub(super) env: Option<String>,
    pub(super) credential: Option<String>,
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;

        impl<'de> Visitor<'de> for Source {
            type Value = RawSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#""text", { file = "..." }, { env = "..." } or { credential = "..." }"#)
            }

            fn visit_str<E>(self, text: &str) -> Result<RawSecret, E> {
                Ok(RawSecret::Text(SecretText::new(text.into())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawSecret, A::Error> {
                RawKept::deserialize(MapAccessDeserializer::new(map)).map(RawSecret::Kept)
            }
        }

        deserializer.deserialize_any(Source)
    }
}
