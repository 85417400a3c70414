//! What `mailferry.toml` says, word for word. Only shapes are checked here; what the words mean is `resolve`'s part.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use toml::Spanned;
use toml::value::Datetime;

use super::{ListenerTls, LogFormat, Protocol, UpstreamTls, units};
use crate::secret::SecretText;

/// A key that may be absent; where it is not, its value and its place.
type Key<T> = Option<Spanned<T>>;

/// A list of networks, which may be absent.
type Networks = Key<Vec<Spanned<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) state_dir: Key<String>,
    pub(super) hostname: Key<String>,
    pub(super) drain_timeout: Key<String>,
    #[serde(default)]
    pub(super) log: RawLog,
    #[serde(default)]
    pub(super) store: RawStore,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) upstream: RawUpstream,
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
pub(super) struct RawStore {
    pub(super) url: Key<RawSecrets>,
    pub(super) key: Key<RawSecrets>,
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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub(super) proxy: Key<RawSecrets>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) name: Key<String>,
    pub(super) protocol: Key<Protocol>,
    pub(super) bind: Key<OneOrMany>,
    pub(super) tls: Key<ListenerTls>,
    pub(super) certificate: Key<String>,
    pub(super) private_key: Key<String>,
    pub(super) allow: Networks,
    pub(super) plaintext_login: Networks,
    pub(super) proxy_protocol: Networks,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApp {
    pub(super) provider: Key<String>,
    pub(super) grant: Key<String>,
    pub(super) tenant: Key<String>,
    pub(super) client_id: Key<String>,
    pub(super) client_secret: Key<RawSecrets>,
    pub(super) client_secret_expires: Key<Datetime>,
    pub(super) client_certificate: Key<RawCertificate>,
    pub(super) client_assertion: Key<RawSecrets>,
    pub(super) redirect_uri: Key<String>,
    pub(super) service_account: Key<RawSecrets>,
    pub(super) command: Key<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCertificate {
    pub(super) certificate: Key<String>,
    pub(super) private_key: Key<String>,
}

/// The keys of an app may stand in the account that alone uses it. They are written out again because serde cannot
/// deny unknown keys of a flattened table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccount {
    pub(super) address: Key<String>,
    pub(super) app: Key<String>,
    #[serde(default)]
    pub(super) identity: RawIdentity,
    pub(super) max_message: Key<RawSize>,
    provider: Key<String>,
    grant: Key<String>,
    tenant: Key<String>,
    client_id: Key<String>,
    client_secret: Key<RawSecrets>,
    client_secret_expires: Key<Datetime>,
    client_certificate: Key<RawCertificate>,
    client_assertion: Key<RawSecrets>,
    redirect_uri: Key<String>,
    service_account: Key<RawSecrets>,
    command: Key<Vec<String>>,
    #[serde(default)]
    pub(super) login: Vec<Spanned<RawLogin>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub(super) smtp: Key<String>,
    pub(super) imap: Key<String>,
    pub(super) pop3: Key<String>,
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
            client_secret_expires: self.client_secret_expires.take(),
            client_certificate: self.client_certificate.take(),
            client_assertion: self.client_assertion.take(),
            redirect_uri: self.redirect_uri.take(),
            service_account: self.service_account.take(),
            command: self.command.take(),
        };
        (!app.is_empty()).then_some(app)
    }
}

impl RawApp {
    fn is_empty(&self) -> bool {
        let Self {
            provider,
            grant,
            tenant,
            client_id,
            client_secret,
            client_secret_expires,
            client_certificate,
            client_assertion,
            redirect_uri,
            service_account,
            command,
        } = self;
        let texts = [provider, grant, tenant, client_id, redirect_uri];
        let secrets = [client_secret, client_assertion, service_account];
        texts.iter().all(|key| key.is_none())
            && secrets.iter().all(|key| key.is_none())
            && client_secret_expires.is_none()
            && client_certificate.is_none()
            && command.is_none()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogin {
    pub(super) username: Key<String>,
    pub(super) password_hash: Key<String>,
    pub(super) protocols: Key<Vec<Protocol>>,
    pub(super) networks: Networks,
    pub(super) tls: Key<RawLoginTls>,
    pub(super) without_password: Key<bool>,
    pub(super) rate: Key<String>,
    pub(super) recipients: Key<Vec<Spanned<String>>>,
    pub(super) sender: Key<RawSender>,
    pub(super) from_name: Key<String>,
    pub(super) reply_to: Key<String>,
    pub(super) lone_lf_ends_message: Key<bool>,
}

/// What a login may say of TLS: to leave it out means as the listener has it.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawLoginTls {
    Required,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawSender {
    Keep,
    Envelope,
    Force,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProvider {
    pub(super) base: Key<String>,
    pub(super) token_url: Key<String>,
    pub(super) authorization_url: Key<String>,
    pub(super) device_authorization_url: Key<String>,
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

/// A number of octets, or a text that says it with a unit.
pub(super) enum RawSize {
    Octets(i64),
    Text(String),
}

impl<'de> Deserialize<'de> for RawSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;

        impl Visitor<'_> for Size {
            type Value = RawSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(units::SIZE)
            }

            fn visit_i64<E>(self, octets: i64) -> Result<RawSize, E> {
                Ok(RawSize::Octets(octets))
            }

            fn visit_str<E>(self, text: &str) -> Result<RawSize, E> {
                Ok(RawSize::Text(text.into()))
            }
        }

        deserializer.deserialize_any(Size)
    }
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

/// Where a secret is, or several places, tried in order.
pub(super) struct RawSecrets(pub(super) Vec<RawSecret>);

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

impl<'de> Deserialize<'de> for RawSecrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sources { list: true }).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut one = deserializer.deserialize_any(Sources { list: false })?;
        one.pop().ok_or_else(|| D::Error::custom("no secret"))
    }
}

/// Reads a secret, or a list of them.
struct Sources {
    /// Whether a list will do.
    list: bool,
}

impl<'de> Visitor<'de> for Sources {
    type Value = Vec<RawSecret>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#""text", { file = "..." }, { env = "..." } or { credential = "..." }"#)?;
        if self.list { f.write_str(", or a list of these") } else { Ok(()) }
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<RawSecret>, E> {
        Ok(vec![RawSecret::Text(SecretText::new(text.into()))])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<RawSecret>, A::Error> {
        let kept = RawKept::deserialize(MapAccessDeserializer::new(map))?;
        Ok(vec![RawSecret::Kept(kept)])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<RawSecret>, A::Error> {
        if !self.list {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        Deserialize::deserialize(SeqAccessDeserializer::new(list))
    }
}
