//! Sign-ins in the file: refresh tokens sealed, and who has the right to use them.
//!
//! Statements that change a row and return it are read to their end: sqlx gives an error of the commit only then.

use std::time::SystemTime;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, query, query_as, query_scalar};

use super::super::seal::{Place, Seal, SealError};
use super::super::{Leased, NewSignIn, SignIn, SignInId, SignInNumber, SignIns, StoreFuture};
use super::SqlStore;
use super::fault::Fault;
use super::opening::BEGIN;
use super::rows::{millis, millis_up, time};
use crate::secret::SecretText;

impl SignIns for SqlStore {
    fn sign_in(&self, id: &SignInId, new: NewSignIn) -> StoreFuture<'_, SignInNumber> {
        let id = id.clone();
        Box::pin(async move {
            let mut held = self.hold().await?;
            let number = sign_in(&mut held.connection, &self.seal, &id, &new).await;
            self.put_back(held, number).await
        })
    }

    fn sign_out(&self, id: &SignInId) -> StoreFuture<'_, bool> {
        let id = id.clone();
        Box::pin(async move {
            let mut held = self.hold().await?;
            let gone = sign_out(&mut held.connection, &id).await;
            self.put_back(held, gone).await
        })
    }

    fn sign_ins(&self) -> StoreFuture<'_, Vec<SignIn>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let all = all(&mut held.connection).await;
            let all = self.put_back(held, all).await?;
            Ok(all.into_iter().map(|(sign_in, _)| sign_in).collect())
        })
    }

    fn lease(&self, id: &SignInId, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Leased> {
        let id = id.clone();
        Box::pin(async move {
            let mut held = self.hold().await?;
            let lease = Lease { id: &id, holder: &self.holder, now, until };
            let leased = lease.take(&mut held.connection, &self.seal).await;
            self.put_back(held, leased).await
        })
    }

    fn settle(
        &self,
        id: &SignInId,
        number: SignInNumber,
        rotated: Option<SecretText>,
        now: SystemTime,
    ) -> StoreFuture<'_, bool> {
        let id = id.clone();
        Box::pin(async move {
            let mut held = self.hold().await?;
            let rotated = rotated.map(|token| seal_token(&self.seal, &id, &token)).transpose();
            let kept = match rotated {
                Ok(rotated) => settle(&mut held.connection, &self.holder, &id, number, rotated, now).await,
                Err(error) => Err(error),
            };
            self.put_back(held, kept).await
        })
    }

    fn release(&self, id: &SignInId, number: SignInNumber) -> StoreFuture<'_, ()> {
        let id = id.clone();
        Box::pin(async move {
            let mut held = self.hold().await?;
            let released = release(&mut held.connection, &self.holder, &id, number).await;
            self.put_back(held, released).await
        })
    }
}

/// Seals anew what another key than the first sealed. Whether there was any.
pub(super) async fn reseal(connection: &mut SqliteConnection, seal: &Seal) -> Result<bool, Fault> {
    let rows: Vec<(String, Vec<u8>)> = query_as("SELECT id, refresh_token FROM sign_in")
        .fetch_all(&mut *connection)
        .await?;
    let mut changed = false;
    for (id, sealed) in rows {
        if sealed.starts_with(&seal.header()) {
            continue;
        }
        // What no key opens stays as it is: whoever asks for it is told, and the others' mailboxes go on.
        let Ok(token) = seal.open(place_of(&id), &sealed) else { continue };
        query("UPDATE sign_in SET refresh_token = ? WHERE id = ?")
            .bind(seal.seal(place_of(&id), &token)?)
            .bind(&id)
            .execute(&mut *connection)
            .await?;
        changed = true;
    }
    Ok(changed)
}

/// Sign-ins that are leased to others than `holder`, and to whom.
pub(super) async fn leased_by_others(
    connection: &mut SqliteConnection,
    holder: &str,
) -> Result<Vec<(SignIn, String)>, Fault> {
    let all = all(connection).await?;
    let of_another = |(sign_in, by): (SignIn, Option<String>)| by.filter(|by| by != holder).map(|by| (sign_in, by));
    Ok(all.into_iter().filter_map(of_another).collect())
}

async fn sign_in(
    connection: &mut SqliteConnection,
    seal: &Seal,
    id: &SignInId,
    new: &NewSignIn,
) -> Result<SignInNumber, Fault> {
    let numbers: Vec<i64> = query_scalar(
        "INSERT OR REPLACE INTO sign_in (id, account, client_id, refresh_token, name, signed_in_by, signed_in_at, exercised, ends)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8) RETURNING number",
    )
    .bind(id.as_str())
    .bind(&new.account)
    .bind(&new.client_id)
    .bind(seal_token(seal, id, &new.refresh_token)?)
    .bind(&new.name)
    .bind(&new.by)
    .bind(millis(new.at))
    .bind(new.ends.map(millis))
    .fetch_all(connection)
    .await?;
    let number = numbers.first().copied().ok_or(sqlx::Error::RowNotFound)?;
    Ok(SignInNumber(number))
}

async fn sign_out(connection: &mut SqliteConnection, id: &SignInId) -> Result<bool, Fault> {
    let done = query("DELETE FROM sign_in WHERE id = ?")
        .bind(id.as_str())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

type SignInRow =
    (i64, String, String, String, Option<String>, String, i64, i64, Option<i64>, Option<i64>, Option<String>);

/// All sign-ins, and who has a lease.
async fn all(connection: &mut SqliteConnection) -> Result<Vec<(SignIn, Option<String>)>, Fault> {
    let rows: Vec<SignInRow> = query_as(
        "SELECT number, id, account, client_id, name, signed_in_by, signed_in_at, exercised, ends, leased_until, holder
         FROM sign_in ORDER BY id",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(read).collect()
}

fn read(row: SignInRow) -> Result<(SignIn, Option<String>), Fault> {
    let (number, id, account, client_id, name, by, at, exercised, ends, leased_until, holder) = row;
    let row = format!("the sign-in of {account:?}");
    let sign_in = SignIn {
        id: SignInId(id),
        number: SignInNumber(number),
        account,
        client_id,
        name,
        by,
        at: time(at, &row)?,
        exercised: time(exercised, &row)?,
        ends: ends.map(|ends| time(ends, &row)).transpose()?,
        leased_until: leased_until.map(|until| time(until, &row)).transpose()?,
    };
    Ok((sign_in, holder))
}

/// A wish for the right to use a refresh token.
struct Lease<'a> {
    id: &'a SignInId,
    holder: &'a str,
    now: SystemTime,
    until: SystemTime,
}

impl Lease<'_> {
    async fn take(&self, connection: &mut SqliteConnection, seal: &Seal) -> Result<Leased, Fault> {
        let mut change = connection.begin_with(BEGIN).await?;
        let taken: Vec<(i64, String, Vec<u8>)> = query_as(
            "UPDATE sign_in SET leased_until = ?1, holder = ?2
             WHERE id = ?3 AND (leased_until IS NULL OR leased_until <= ?4)
             RETURNING number, account, refresh_token",
        )
        .bind(millis_up(self.until))
        .bind(self.holder)
        .bind(self.id.as_str())
        .bind(millis(self.now))
        .fetch_all(&mut *change)
        .await?;
        let leased = match taken.into_iter().next() {
            // Before the commit: nobody has a lease on a token that does not open.
            Some((number, account, sealed)) => {
                let refresh_token = open_token(seal, self.id, &account, &sealed)?;
                Leased::Taken { number: SignInNumber(number), refresh_token }
            }
            None => self.refused(&mut change).await?,
        };
        change.commit().await?;
        Ok(leased)
    }

    async fn refused(&self, connection: &mut SqliteConnection) -> Result<Leased, Fault> {
        let found: Vec<(String, i64)> = query_as("SELECT account, leased_until FROM sign_in WHERE id = ?")
            .bind(self.id.as_str())
            .fetch_all(connection)
            .await?;
        match found.into_iter().next() {
            Some((account, until)) => Ok(Leased::Busy { until: time(until, &format!("the sign-in of {account:?}"))? }),
            None => Ok(Leased::SignedOut),
        }
    }
}

/// A lease that another holder has meanwhile stays that one's.
async fn settle(
    connection: &mut SqliteConnection,
    holder: &str,
    id: &SignInId,
    number: SignInNumber,
    rotated: Option<Vec<u8>>,
    now: SystemTime,
) -> Result<bool, Fault> {
    let done = query(
        "UPDATE sign_in SET refresh_token = coalesce(?1, refresh_token), exercised = ?2,
             leased_until = CASE WHEN holder = ?3 THEN NULL ELSE leased_until END, holder = nullif(holder, ?3)
         WHERE id = ?4 AND number = ?5",
    )
    .bind(rotated)
    .bind(millis(now))
    .bind(holder)
    .bind(id.as_str())
    .bind(number.0)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn release(
    connection: &mut SqliteConnection,
    holder: &str,
    id: &SignInId,
    number: SignInNumber,
) -> Result<(), Fault> {
    query("UPDATE sign_in SET leased_until = NULL, holder = NULL WHERE id = ? AND number = ? AND holder = ?")
        .bind(id.as_str())
        .bind(number.0)
        .bind(holder)
        .execute(connection)
        .await?;
    Ok(())
}

fn place_of(id: &str) -> Place<'_> {
    Place { column: "refresh_token", row: id }
}

fn seal_token(seal: &Seal, id: &SignInId, token: &SecretText) -> Result<Vec<u8>, Fault> {
    Ok(seal.seal(place_of(id.as_str()), token.expose().as_bytes())?)
}

fn open_token(seal: &Seal, id: &SignInId, account: &str, sealed: &[u8]) -> Result<SecretText, Fault> {
    let fault = |error: SealError| {
        let cure = match error {
            SealError::OtherKey => "name that in [store] after the first, or sign in again",
            _ => "sign in again",
        };
        Fault::Contents(format!("has a sign-in of {account:?} that cannot be used, {error}: {cure}"))
    };
    let octets = seal.open(place_of(id.as_str()), sealed).map_err(fault)?;
    // A copy of just its length: taking it over would leave one behind.
    let text = str::from_utf8(&octets).map_err(|_| fault(SealError::Damaged))?.to_owned();
    Ok(SecretText::new(text))
}
