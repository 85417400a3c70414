//! Accounts, logins and their uses in the file.

use std::time::SystemTime;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, query, query_as, query_scalar};

use super::super::{LoginUse, Logins, StoreFuture, StoredAccount, StoredLogin};
use super::SqlStore;
use super::fault::Fault;
use super::opening::BEGIN;
use super::rows::{damaged, millis, networks, networks_text, protocols, protocols_text, time};

impl Logins for SqlStore {
    fn accounts(&self) -> StoreFuture<'_, Vec<StoredAccount>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let accounts = accounts(&mut held.connection).await;
            self.put_back(held, accounts).await
        })
    }

    fn add_account(&self, account: StoredAccount, login: StoredLogin, ended: Vec<i64>) -> StoreFuture<'_, i64> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let id = add_account(&mut held.connection, &account, &login, &ended).await;
            self.put_back(held, id).await
        })
    }

    fn logins(&self, now: SystemTime) -> StoreFuture<'_, Vec<StoredLogin>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let logins = logins(&mut held.connection).await;
            let logins = self.put_back(held, logins).await?;
            let (lasting, ended): (Vec<_>, Vec<_>) =
                logins.into_iter().partition(|login| login.ends.is_none_or(|ends| ends > now));
            if !ended.is_empty() {
                let mut held = self.hold().await?;
                let forgotten = forget_ended(&mut held.connection, now).await;
                // Whoever logs in need not wait for room on the disk: it is tried again next time.
                let _ = self.put_back(held, forgotten).await;
            }
            Ok(lasting)
        })
    }

    fn add_login(&self, login: StoredLogin) -> StoreFuture<'_, i64> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let id = add_login(&mut held.connection, &login).await;
            self.put_back(held, id).await
        })
    }

    fn revoke_login(&self, id: i64) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let gone = revoke_login(&mut held.connection, id).await;
            self.put_back(held, gone).await
        })
    }

    fn rotate_login(
        &self,
        id: i64,
        password_hash: String,
        now: SystemTime,
        old_ends: SystemTime,
    ) -> StoreFuture<'_, Option<i64>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let next = rotate_login(&mut held.connection, id, &password_hash, now, old_ends).await;
            self.put_back(held, next).await
        })
    }

    fn uses(&self) -> StoreFuture<'_, Vec<LoginUse>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let uses = uses(&mut held.connection).await;
            self.put_back(held, uses).await
        })
    }

    fn used(&self, uses: Vec<LoginUse>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if uses.is_empty() {
                return Ok(());
            }
            let mut held = self.hold().await?;
            let noted = used(&mut held.connection, &uses).await;
            self.put_back(held, noted).await
        })
    }
}

async fn accounts(connection: &mut SqliteConnection) -> Result<Vec<StoredAccount>, Fault> {
    let rows: Vec<(String, String)> = query_as("SELECT address, app FROM account ORDER BY rowid")
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(address, app)| StoredAccount { address, app }).collect())
}

async fn add_account(
    connection: &mut SqliteConnection,
    account: &StoredAccount,
    login: &StoredLogin,
    ended: &[i64],
) -> Result<i64, Fault> {
    let mut change = connection.begin_with(BEGIN).await?;
    query("INSERT OR REPLACE INTO account (address, app) VALUES (?, ?)")
        .bind(&account.address)
        .bind(&account.app)
        .execute(&mut *change)
        .await?;
    for id in ended {
        revoke_login(&mut change, *id).await?;
    }
    let id = add_login(&mut change, login).await?;
    change.commit().await?;
    Ok(id)
}

type LoginRow = (i64, String, String, String, String, String, Option<String>, i64, Option<i64>);

async fn logins(connection: &mut SqliteConnection) -> Result<Vec<StoredLogin>, Fault> {
    let rows: Vec<LoginRow> = query_as(
        "SELECT id, device, account, username, password_hash, protocols, networks, made, ends FROM login ORDER BY id",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(read_login).collect()
}

fn read_login(row: LoginRow) -> Result<StoredLogin, Fault> {
    let (id, device, account, username, password_hash, speaks, from, made, ends) = row;
    let row = format!("login {id}");
    Ok(StoredLogin {
        id,
        device,
        account,
        username,
        password_hash,
        protocols: protocols(&speaks, &row)?,
        networks: from.map(|from| networks(&from, &row)).transpose()?,
        made: time(made, &row)?,
        ends: ends.map(|ends| time(ends, &row)).transpose()?,
    })
}

async fn forget_ended(connection: &mut SqliteConnection, now: SystemTime) -> Result<(), Fault> {
    query("DELETE FROM login WHERE ends <= ?")
        .bind(millis(now))
        .execute(connection)
        .await?;
    Ok(())
}

async fn add_login(connection: &mut SqliteConnection, login: &StoredLogin) -> Result<i64, Fault> {
    let done = query(
        "INSERT INTO login (device, account, username, password_hash, protocols, networks, made, ends)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&login.device)
    .bind(&login.account)
    .bind(&login.username)
    .bind(&login.password_hash)
    .bind(protocols_text(&login.protocols))
    .bind(login.networks.as_deref().map(networks_text))
    .bind(millis(login.made))
    .bind(login.ends.map(millis))
    .execute(connection)
    .await?;
    Ok(done.last_insert_rowid())
}

async fn revoke_login(connection: &mut SqliteConnection, id: i64) -> Result<bool, Fault> {
    let done = query("DELETE FROM login WHERE id = ?").bind(id).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

async fn rotate_login(
    connection: &mut SqliteConnection,
    id: i64,
    password_hash: &str,
    now: SystemTime,
    old_ends: SystemTime,
) -> Result<Option<i64>, Fault> {
    let mut change = connection.begin_with(BEGIN).await?;
    let next: Vec<i64> = query_scalar(
        "INSERT INTO login (device, account, username, password_hash, protocols, networks, made)
         SELECT device, account, username, ?, protocols, networks, ? FROM login WHERE id = ? RETURNING id",
    )
    .bind(password_hash)
    .bind(millis(now))
    .bind(id)
    .fetch_all(&mut *change)
    .await?;
    query("UPDATE login SET ends = ? WHERE id = ?")
        .bind(millis(old_ends))
        .bind(id)
        .execute(&mut *change)
        .await?;
    change.commit().await?;
    Ok(next.first().copied())
}

async fn uses(connection: &mut SqliteConnection) -> Result<Vec<LoginUse>, Fault> {
    let rows: Vec<(String, String, i64, i64, String)> =
        query_as("SELECT account, username, login, used_at, from_address FROM login_use ORDER BY rowid")
            .fetch_all(connection)
            .await?;
    let read = |(account, username, id, at, from): (String, String, i64, i64, String)| {
        let row = format!("the use of {username:?}");
        let address = from.parse().map_err(|_| damaged(&row, "address", &from))?;
        Ok(LoginUse { account, username, id, at: time(at, &row)?, from: address })
    };
    rows.into_iter().map(read).collect()
}

async fn used(connection: &mut SqliteConnection, uses: &[LoginUse]) -> Result<(), Fault> {
    let mut change = connection.begin_with(BEGIN).await?;
    for one in uses {
        query(
            "INSERT OR REPLACE INTO login_use (account, username, login, used_at, from_address) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&one.account)
        .bind(&one.username)
        .bind(one.id)
        .bind(millis(one.at))
        .bind(one.from.to_string())
        .execute(&mut *change)
        .await?;
    }
    change.commit().await?;
    Ok(())
}
