//! The store in a SQLite file: one connection, which is thrown away whenever something went wrong on it.
//!
//! A connection on which a transaction failed half-way cannot be trusted (SQLite may have ended the transaction or not,
//! and sqlx counts on its own), nor can one whose user was dropped. So whoever uses it takes it out and puts it back when
//! all went well; who comes after a fault opens another, and SQLite undoes what was not committed.

mod fault;
mod logins;
mod opening;
mod rows;
mod sign_ins;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, MutexGuard};

use self::fault::Fault;
use super::seal::Seal;
use super::{SignIn, StoreError, keys, place};
use crate::config::StoreConfig;

/// A store in a file.
pub struct SqlStore {
    file: PathBuf,
    options: SqliteConnectOptions,
    seal: Seal,
    /// Whose leases are this store's: another each time a store is opened.
    holder: String,
    /// Who had leases when this store was opened.
    earlier: Vec<String>,
    connection: Mutex<Option<SqliteConnection>>,
}

impl SqlStore {
    /// Opens the store, and makes what is missing: the state folder, the database and, where none is named, the key.
    /// What it makes belongs to the state folder's owner and is closed to others. Where the first key is not the one
    /// that sealed what is in it, all is sealed anew.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where the file is no store of ours, is damaged, comes from a later version or is open
    /// to others, or the keys are not the right ones; [`StoreError::Unavailable`] where it cannot be read or written.
    pub async fn open(config: &StoreConfig, state_dir: &Path) -> Result<Self, StoreError> {
        let file = config.database.clone();
        place::make_folder(state_dir)?;
        let is_new = opening::is_missing(&file)?;
        let seal = keys::read(config, state_dir, is_new)?;
        if is_new {
            opening::make(&file, state_dir, &seal).await?;
        }
        opening::check_files(&file)?;
        let options = opening::options(&file);
        let opened = opening::open(&options, &seal).await;
        let (connection, earlier) = opened.map_err(|fault| fault.in_file(&file))?;
        let holder = place::random_name()?;
        Ok(Self { file, options, seal, holder, earlier, connection: Mutex::new(Some(connection)) })
    }

    /// Sign-ins for which another process has, or had, the right to use the refresh token and did not give it back,
    /// though that was so when this store was opened, or the right has run out by `now`. That process is gone, or as
    /// good as gone; its provider may have rotated the token without anybody having kept the new one.
    ///
    /// # Errors
    /// As for any use of the store.
    pub async fn left_behind(&self, now: SystemTime) -> Result<Vec<SignIn>, StoreError> {
        let mut held = self.hold().await?;
        let leased = sign_ins::leased_by_others(&mut held.connection, &self.holder).await;
        let leased = self.put_back(held, leased).await?;
        let is_left =
            |(sign_in, holder): &(SignIn, String)| self.earlier.contains(holder) || sign_in.leased_until <= Some(now);
        Ok(leased.into_iter().filter(is_left).map(|(sign_in, _)| sign_in).collect())
    }

    /// Closes the file in good order, so that all is in the one file; without it SQLite does so at the next opening.
    /// A later use opens it again.
    pub async fn close(&self) {
        let connection = self.connection.lock().await.take();
        if let Some(connection) = connection {
            // What was written is on the disk already; only the tidying can fail.
            let _ = connection.close().await;
        }
    }

    /// Takes the connection; opens one if there is none.
    async fn hold(&self) -> Result<Held<'_>, StoreError> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self
                .options
                .connect()
                .await
                .map_err(|error| Fault::from(error).in_file(&self.file))?,
        };
        Ok(Held { slot, connection })
    }

    /// Puts the connection back if all went well, and ends it if not.
    async fn put_back<T>(&self, held: Held<'_>, result: Result<T, Fault>) -> Result<T, StoreError> {
        let Held { mut slot, connection } = held;
        match result {
            Ok(value) => {
                *slot = Some(connection);
                Ok(value)
            }
            Err(fault) => {
                // Why it does not end well is known already.
                let _ = connection.close().await;
                Err(fault.in_file(&self.file))
            }
        }
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlStore({})", self.file.display())
    }
}

/// The connection, out of its place.
struct Held<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    connection: SqliteConnection,
}
