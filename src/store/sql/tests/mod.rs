//! What only a store in a file can get wrong.

mod access;
mod crash;
mod damage;
mod disk;
mod leases;
mod properties;
mod sealed;

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::SqlStore;
use crate::store::tests::{at, id};
use crate::store::{Leased, SignIns, StoreError};

/// Does something to a database behind the store's back.
async fn meddle(database: &Path, statements: &str) {
    let mut connection = raw(database).await;
    connection.execute(AssertSqlSafe(statements.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

async fn raw(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

/// Does something to the connection that the store has now.
async fn on_own_connection(store: &SqlStore, statements: &str) {
    let mut slot = store.connection.lock().await;
    let connection = slot.as_mut().unwrap();
    connection.execute(AssertSqlSafe(statements.to_owned())).await.unwrap();
}

/// The token that a lease gives.
async fn lease(store: &SqlStore, name: &str, now: u64) -> Result<Leased, StoreError> {
    store.lease(&id(name), at(now), at(now + 30_000)).await
}

fn token_of(leased: Result<Leased, StoreError>) -> String {
    match leased.unwrap() {
        Leased::Taken { refresh_token, .. } => refresh_token.expose().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn unusable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unusable(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

/// Runs a test of this crate again, in a process of its own.
mod child {
    use std::process::Command;

    /// Set in the process that plays the other part.
    const VARIABLE: &str = "MAILFERRY_TEST_CHILD";

    /// What the parent gave; `None` in the parent.
    pub(super) fn argument() -> Option<String> {
        std::env::var(VARIABLE).ok()
    }

    /// That `command`, which runs this program, is to play `test` with this argument.
    pub(super) fn set(command: &mut Command, test: &str, argument: &str) {
        command.args([test, "--exact", "--nocapture"]).env(VARIABLE, argument);
    }
}
