//! What went wrong in SQLite, said to the person who can mend it.

use std::path::Path;

use sqlx::migrate::MigrateError;

use super::super::StoreError;
use super::super::seal::SealError;

/// Something went wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite or sqlx said so.
    Sql(sqlx::Error),
    /// What is in the file is not right: the rest of a sentence that begins with its name.
    Contents(String),
    /// A secret could not be sealed.
    Seal(SealError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<SealError> for Fault {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

impl From<MigrateError> for Fault {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Self::Sql(error),
            MigrateError::VersionMissing(_) => {
                Self::Contents("was written by a later version of mailferry: run that, or restore a backup".into())
            }
            error => {
                Self::Contents(format!("has another shape than this version of mailferry gave it ({error}): {RESTORE}"))
            }
        }
    }
}

/// What to do about a damaged file.
pub(super) const RESTORE: &str = "restore it from a backup, or move it away with its -wal and sign in again";

// Result codes of SQLite, the last octet (sqlite.org/rescode.html).
const PERM: u8 = 3;
const BUSY: u8 = 5;
const LOCKED: u8 = 6;
const NOMEM: u8 = 7;
const READONLY: u8 = 8;
const INTERRUPT: u8 = 9;
const IOERR: u8 = 10;
const FULL: u8 = 13;
const CANTOPEN: u8 = 14;
const AUTH: u8 = 23;
const NOTADB: u8 = 26;

impl Fault {
    /// The error for the caller.
    pub(super) fn in_file(self, file: &Path) -> StoreError {
        let name = file.display();
        match self {
            Self::Contents(rest) => StoreError::Unusable(format!("{name} {rest}")),
            Self::Seal(error) => StoreError::Unavailable(format!("{name} cannot be written: {error}")),
            Self::Sql(sqlx::Error::Database(error)) => {
                let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
                of_sqlite(file, code.to_le_bytes()[0], error.message())
            }
            Self::Sql(error @ (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))) => {
                StoreError::Unusable(format!("{name} is damaged ({error}): {RESTORE}"))
            }
            Self::Sql(error) => StoreError::Unavailable(format!("{name} cannot be used ({error}): try again")),
        }
    }
}

fn of_sqlite(file: &Path, code: u8, message: &str) -> StoreError {
    let (name, folder) = (file.display(), file.parent().unwrap_or(file).display());
    let unavailable = match code {
        FULL => format!("{name} cannot be written, the disk is full: make room; what is in it is whole"),
        BUSY | LOCKED => format!("{name} is locked by another process: end what else has it open"),
        READONLY | PERM | AUTH => {
            format!("{name} is read-only here: run this as its owner, and see that {folder} can be written")
        }
        CANTOPEN => format!("{name} cannot be opened: run this as its owner, and see that {folder} can be written"),
        IOERR => format!("{name} cannot be read or written ({message}): look at the disk and the system's log"),
        NOMEM | INTERRUPT => format!("{name} cannot be used now ({message}): try again"),
        NOTADB => {
            return StoreError::Unusable(format!(
                "{name} is no SQLite database: name another as url in [store], or {RESTORE}"
            ));
        }
        _ => return StoreError::Unusable(format!("{name} is damaged ({message}): {RESTORE}")),
    };
    StoreError::Unavailable(unavailable)
}
