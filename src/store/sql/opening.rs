//! How the file comes to be and how it is looked at before anything trusts it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr, query, query_scalar};

use super::super::StoreError;
use super::super::place::{Draft, Private, cannot, check_private, may_write};
use super::super::seal::{Place, Seal};
use super::fault::{Fault, RESTORE};
use super::sign_ins;

/// What tells a database of ours from another program's: "Mfry" (sqlite.org/pragma.html#pragma_application_id).
const APPLICATION_ID: i64 = 0x4d66_7279;

/// How long SQLite waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`Seal`] is tried on.
const CHECKED: &[u8] = b"mailferry";
const CHECK: Place<'_> = Place { column: "checked", row: "sealed_with" };

/// How every transaction begins: the right to write is had at once or not at all.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// Whether there is no file.
///
/// # Errors
/// `Unusable` where only its journal is there, which would be played into the new one; `Unavailable` where one cannot
/// look.
pub(super) fn is_missing(file: &Path) -> Result<bool, StoreError> {
    let is_there = |path: &Path| match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(cannot("be looked at", path, &error)),
    };
    if is_there(file)? {
        return Ok(false);
    }
    let journal = beside(file, "-wal");
    if is_there(&journal)? {
        let (file, journal) = (file.display(), journal.display());
        let sentence =
            format!("{file} is gone and {journal} is there: restore both, or move {journal} away and sign in again");
        return Err(StoreError::Unusable(sentence));
    }
    Ok(true)
}

/// Makes an empty store under another name and gives it its own when it is whole, so that a file that is empty or cut
/// is never taken for a new one. Where another process was quicker, its store is the one.
///
/// # Errors
/// See [`super::SqlStore::open`].
pub(super) async fn make(file: &Path, state_dir: &Path, seal: &Seal) -> Result<(), StoreError> {
    let (draft, _) = Draft::of(file, state_dir)?;
    let filled = fill(&options(draft.path()), seal).await;
    filled.map_err(|fault| fault.in_file(file))?;
    draft.publish()?;
    Ok(())
}

async fn fill(options: &SqliteConnectOptions, seal: &Seal) -> Result<(), Fault> {
    let mut connection = options.connect().await?;
    let filled = fill_with(&mut connection, seal).await;
    let closed = connection.close().await;
    filled?;
    Ok(closed?)
}

async fn fill_with(connection: &mut SqliteConnection, seal: &Seal) -> Result<(), Fault> {
    use_wal(connection).await?;
    let mut change = connection.begin_with(BEGIN).await?;
    migrations().run(&mut *change).await?;
    query("INSERT INTO sealed_with (only, checked) VALUES (1, ?)")
        .bind(seal.seal(CHECK, CHECKED)?)
        .execute(&mut *change)
        .await?;
    change.commit().await?;
    let mark = AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
    query(mark).execute(connection).await?;
    Ok(())
}

/// Refuses a database, or what SQLite keeps beside it, that is not this user's or that others can read.
///
/// # Errors
/// `Unusable` or `Unavailable`, with the cure.
pub(super) fn check_files(file: &Path) -> Result<(), StoreError> {
    for path in [file.to_owned(), beside(file, "-wal"), beside(file, "-shm")] {
        match fs::metadata(&path) {
            Ok(found) => {
                check_private(&path, &found, Private::FromOthers)?;
                may_write(&path, &found)?;
            }
            // SQLite makes and removes the others as it needs them.
            Err(error) if error.kind() == ErrorKind::NotFound && path != file => {}
            Err(error) => return Err(cannot("be looked at", &path, &error)),
        }
    }
    Ok(())
}

/// How to connect to a file that is there.
pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON")
        .disable_statement_logging()
}

/// Opens a store that is there, looks whether it is sound, brings it to this version's shape and seals it with the
/// first key. The connection, and who had leases.
pub(super) async fn open(
    options: &SqliteConnectOptions,
    seal: &Seal,
) -> Result<(SqliteConnection, Vec<String>), Fault> {
    let mut connection = options.connect().await?;
    match prepare(&mut connection, options.get_filename(), seal).await {
        Ok(earlier) => Ok((connection, earlier)),
        Err(fault) => {
            // A file that is refused is let go of before anybody is told to move it away.
            let _ = connection.close().await;
            Err(fault)
        }
    }
}

async fn prepare(connection: &mut SqliteConnection, file: &Path, seal: &Seal) -> Result<Vec<String>, Fault> {
    check_ours(connection).await?;
    check_length(connection, file).await?;
    use_wal(connection).await?;
    let mut change = connection.begin_with(BEGIN).await?;
    migrations().run(&mut *change).await?;
    let is_first = check_key(&mut change, seal).await?;
    if !is_first {
        reseal_check(&mut change, seal).await?;
    }
    let changed = sign_ins::reseal(&mut change, seal).await? || !is_first;
    let earlier = query_scalar("SELECT DISTINCT holder FROM sign_in WHERE holder IS NOT NULL")
        .fetch_all(&mut *change)
        .await?;
    change.commit().await?;
    if changed {
        // What the earlier key sealed shall not stay in the journal.
        query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await?;
    }
    Ok(earlier)
}

async fn check_ours(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let pages: i64 = query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await?;
    if pages == 0 {
        return Err(Fault::Contents(format!("is empty: {RESTORE}")));
    }
    let id: i64 = query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    if id != APPLICATION_ID {
        let sentence = "belongs to another program than mailferry: name another as url in [store]";
        return Err(Fault::Contents(sentence.into()));
    }
    let found: Vec<String> = query_scalar("PRAGMA quick_check(1)").fetch_all(connection).await?;
    match found.first().map(String::as_str) {
        Some("ok") => Ok(()),
        found => Err(Fault::Contents(format!("is damaged ({}): {RESTORE}", found.unwrap_or("no answer")))),
    }
}

/// SQLite takes the end of a last page that was cut for zeros. While there is a journal, that page may be in it.
async fn check_length(connection: &mut SqliteConnection, file: &Path) -> Result<(), Fault> {
    let page: u32 = query_scalar("PRAGMA page_size").fetch_one(connection).await?;
    let length_of = |path: &Path| fs::metadata(path).map(|found| found.len()).unwrap_or_default();
    if length_of(&beside(file, "-wal")) == 0 && length_of(file) % u64::from(page.max(1)) != 0 {
        return Err(Fault::Contents(format!("is damaged (its end is cut off): {RESTORE}")));
    }
    Ok(())
}

/// A write-ahead log: readers do not wait for the writer, and a commit is one sync. The file remembers it.
async fn use_wal(connection: &mut SqliteConnection) -> Result<(), Fault> {
    query("PRAGMA journal_mode = WAL").execute(connection).await?;
    Ok(())
}

fn migrations() -> Migrator {
    let first = include_str!("../migrations/0001_sign_ins_and_logins.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(
        1,
        "sign-ins and logins".into(),
        MigrationType::Simple,
        first,
        false,
    )])
}

/// Whether the first key is the one that sealed; refuses keys that did not.
async fn check_key(connection: &mut SqliteConnection, seal: &Seal) -> Result<bool, Fault> {
    let checked: Vec<Vec<u8>> = query_scalar("SELECT checked FROM sealed_with").fetch_all(connection).await?;
    let opens = |sealed: &&Vec<u8>| seal.open(CHECK, sealed).is_ok_and(|text| text.as_slice() == CHECKED);
    if let Some(sealed) = checked.first().filter(opens) {
        return Ok(sealed.starts_with(&seal.header()));
    }
    let sentence = "was sealed with another key than the one that is given: put that back, or name it after the new one \
                    in [store]; without it, move the file away with its -wal and sign in again";
    Err(Fault::Contents(sentence.into()))
}

async fn reseal_check(connection: &mut SqliteConnection, seal: &Seal) -> Result<(), Fault> {
    query("UPDATE sealed_with SET checked = ?")
        .bind(seal.seal(CHECK, CHECKED)?)
        .execute(connection)
        .await?;
    Ok(())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
