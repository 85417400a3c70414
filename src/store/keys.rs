//! Where the keys of a store come from: the configuration, or a file in the state folder, made at first start.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::place::{Draft, Private, cannot, check_private};
use super::seal::{KeyOctets, Seal};
use super::{StoreConfig, StoreError};
use crate::config::SecretSource;

/// The file's name in the state folder.
const FILE: &str = "key";

/// Reads the keys. Where none are named and there is no database yet, a key is made.
///
/// # Errors
/// `Unusable` where a key is missing, is none, or is open to others; `Unavailable` where it cannot be read or made.
pub(super) fn read(config: &StoreConfig, state_dir: &Path, is_new: bool) -> Result<Seal, StoreError> {
    let keys = match &config.keys {
        Some(sources) => sources.iter().map(from_source).collect::<Result<Vec<_>, _>>()?,
        None => vec![of_state_dir(&config.database, state_dir, is_new)?],
    };
    let Some((first, others)) = keys.split_first() else {
        return Err(StoreError::Unusable("[store] names no key: give one, or leave `key` out".into()));
    };
    Seal::new(first, others).map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn from_source(source: &SecretSource) -> Result<KeyOctets, StoreError> {
    let name = match source {
        SecretSource::Fixed(_) => "the key of [store]".to_owned(),
        SecretSource::File(file) => {
            let found = fs::metadata(file).map_err(|error| cannot("be read", file, &error))?;
            check_private(file, &found, Private::FromOthers)?;
            file.display().to_string()
        }
        // The first that holds one: the same rules for it.
        SecretSource::FirstOf(sources) => {
            let found = sources.iter().find(|source| source.read().is_ok());
            let none = || StoreError::Unavailable("no place that [store] names holds a key".into());
            return from_source(found.ok_or_else(none)?);
        }
    };
    let text = source.read().map_err(StoreError::Unavailable)?;
    parse(&name, text.expose())
}

fn of_state_dir(database: &Path, state_dir: &Path, is_new: bool) -> Result<KeyOctets, StoreError> {
    let file = state_dir.join(FILE);
    let is_missing = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
    let found = match fs::metadata(&file) {
        Err(error) if is_missing(&error) && is_new => {
            make(&file, state_dir)?;
            fs::metadata(&file)
        }
        Err(error) if is_missing(&error) => {
            let (file, database) = (file.display(), database.display());
            return Err(StoreError::Unusable(format!(
                "{file}, the key to {database}, is gone: restore it from a backup, or move {database} away and sign in \
                 again"
            )));
        }
        found => found,
    };
    let found = found.map_err(|error| cannot("be read", &file, &error))?;
    check_private(&file, &found, Private::Alone)?;
    let text = fs::read_to_string(&file).map_err(|error| cannot("be read", &file, &error))?;
    parse(&file.display().to_string(), &Zeroizing::new(text))
}

/// Makes a key, unless another process was quicker.
fn make(file: &Path, state_dir: &Path) -> Result<(), StoreError> {
    let mut octets = KeyOctets::default();
    rand::fill(octets.as_mut_slice())
        .map_err(|_| StoreError::Unavailable("the system gives no random octets".into()))?;
    let mut line = Zeroizing::new(STANDARD.encode(octets.as_slice()));
    line.push('\n');
    let (draft, mut made) = Draft::of(file, state_dir)?;
    made.write_all(line.as_bytes())
        .and_then(|()| made.sync_all())
        .map_err(|error| cannot("be written", file, &error))?;
    draft.publish()?;
    Ok(())
}

fn parse(name: &str, text: &str) -> Result<KeyOctets, StoreError> {
    let mut key = KeyOctets::default();
    // One octet longer than a key is told from a key; the decoder wants room for what the text may hold.
    let mut octets = Zeroizing::new([0; 48]);
    match STANDARD.decode_slice(text.trim_ascii(), octets.as_mut_slice()) {
        Ok(32) => key.copy_from_slice(&octets[..32]),
        _ => {
            return Err(StoreError::Unusable(format!(
                "{name} holds no key, which is 32 octets in base64: put back the one that was there, or make the first \
                 with: openssl rand -base64 32"
            )));
        }
    }
    Ok(key)
}
