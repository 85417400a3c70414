//! What every keeper does, asked of each of them.

mod conformance;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::sql::SqlStore;
use super::{NewSignIn, SignInId, StoreError, StoredLogin};
use crate::config::{Protocol, SecretSource, StoreConfig};
use crate::secret::SecretText;

/// A state folder of a test.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// The database, or `-wal` or `-shm` beside it.
    pub(super) fn database(&self, suffix: &str) -> PathBuf {
        self.state_dir().join(format!("mailferry.db{suffix}"))
    }

    pub(super) fn key(&self) -> PathBuf {
        self.state_dir().join("key")
    }

    pub(super) async fn open(&self) -> Result<SqlStore, StoreError> {
        open_in(&self.state_dir()).await
    }

    /// Opens with these keys, each 32 times an octet.
    pub(super) async fn open_with(&self, keys: &[u8]) -> Result<SqlStore, StoreError> {
        let keys = keys.iter().map(|octet| key_of(*octet)).collect();
        let config = StoreConfig { database: self.database(""), keys: Some(keys) };
        SqlStore::open(&config, &self.state_dir()).await
    }

    /// All octets of the database and what SQLite keeps beside it.
    pub(super) fn octets(&self) -> Vec<u8> {
        ["", "-wal", "-shm"]
            .into_iter()
            .flat_map(|suffix| fs::read(self.database(suffix)).unwrap_or_default())
            .collect()
    }
}

pub(super) async fn open_in(state_dir: &Path) -> Result<SqlStore, StoreError> {
    let config = StoreConfig { database: state_dir.join("mailferry.db"), keys: None };
    SqlStore::open(&config, state_dir).await
}

pub(super) fn key_of(octet: u8) -> SecretSource {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode([octet; 32]);
    SecretSource::Fixed(SecretText::new(text))
}

pub(super) fn id(name: &str) -> SignInId {
    SignInId(name.to_owned())
}

/// So many milliseconds after some day.
pub(super) fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis)
}

pub(super) fn token(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

pub(super) fn new_sign_in(account: &str, refresh_token: &str) -> NewSignIn {
    NewSignIn {
        account: account.to_owned(),
        client_id: "client".into(),
        refresh_token: token(refresh_token),
        name: Some("Ada".into()),
        by: "root".into(),
        at: at(0),
        ends: Some(at(7_000)),
    }
}

pub(super) fn new_login(username: &str) -> StoredLogin {
    StoredLogin {
        id: 0,
        device: "printer \"two\"".into(),
        account: "ada@example.com".into(),
        username: username.to_owned(),
        password_hash: "$argon2id$x".into(),
        protocols: vec![Protocol::Smtp, Protocol::Pop3],
        networks: Some(vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
        made: at(0),
        ends: None,
    }
}
