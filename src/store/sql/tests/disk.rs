//! A disk that is full, a file that another process holds: nothing is lost, and it goes on when that is over.

use sqlx::{Executor, query_scalar};

use super::{lease, on_own_connection, raw, token_of, unavailable};
use crate::store::tests::{Folder, at, id, new_login, new_sign_in, token};
use crate::store::{Logins, SignIns, StoredLogin};

/// What a test cannot do is take the power away: with these a commit is on the disk (sqlite.org/wal.html, section 2.1).
#[tokio::test]
async fn a_commit_is_synced_also_on_a_later_connection() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    for _ in 0..2 {
        let mut slot = store.connection.lock().await;
        let connection = slot.as_mut().unwrap();
        let synchronous: i64 = query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await.unwrap();
        let journal: String = query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
        assert_eq!((synchronous, journal.as_str()), (2, "wal"));
        drop(slot);
        store.close().await;
        store.sign_ins().await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_written_stays() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    let large = || StoredLogin { device: "x".repeat(100_000), ..new_login("printer") };
    for _ in 0..3 {
        // SQLite sets this to the pages there are where it is less.
        on_own_connection(&store, "PRAGMA max_page_count = 1").await;
        let sentence = unavailable(store.add_login(large()).await);
        assert!(sentence.contains("the disk is full: make room"), "{sentence}");
        assert!(sentence.starts_with(folder.database("").to_str().unwrap()), "{sentence}");
        assert!(store.logins(at(0)).await.unwrap().is_empty());
    }
    on_own_connection(&store, "PRAGMA max_page_count = 1").await;
    let use_of = crate::store::LoginUse {
        account: "x".repeat(100_000),
        username: "printer".into(),
        id: 0,
        at: at(0),
        from: [192, 0, 2, 1].into(),
    };
    unavailable(store.used(vec![use_of]).await);
    assert!(store.uses().await.unwrap().is_empty());
    assert_eq!(token_of(lease(&store, "a", 0).await), "first");
    assert_eq!(store.add_login(large()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_told() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    let number = store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    let mut other = raw(&folder.database("")).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    on_own_connection(&store, "PRAGMA busy_timeout = 1").await;
    let sentence = unavailable(store.settle(&id("a"), number, Some(token("second")), at(1)).await);
    assert!(sentence.contains("locked by another process: end"), "{sentence}");
    assert_eq!(store.sign_ins().await.unwrap().len(), 1, "reading waits for nobody");
    on_own_connection(&store, "PRAGMA busy_timeout = 1").await;
    unavailable(lease(&store, "a", 2).await);
    other.execute("ROLLBACK").await.unwrap();
    assert!(store.settle(&id("a"), number, Some(token("second")), at(3)).await.unwrap());
    assert_eq!(token_of(lease(&store, "a", 4).await), "second");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    on_own_connection(&store, "PRAGMA query_only = ON").await;
    let sentence = unavailable(lease(&store, "a", 0).await);
    assert!(sentence.contains("is read-only here: run this as its owner"), "{sentence}");
    assert_eq!(token_of(lease(&store, "a", 0).await), "first");
}

/// Whoever has a lease knows that the store could be written just then: this is the write itself that fails.
#[cfg(unix)]
#[test]
fn no_lease_is_given_that_could_not_be_written() {
    use super::child;
    let folder = Folder::new();
    // A process that is told of a file grown too large goes on only where the signal is ignored, as this shell does.
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap());
    child::set(&mut command, "store::sql::tests::disk::leases_with_no_room", folder.state_dir().to_str().unwrap());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("a lease when there was room"), "{said}");
}

/// The process for which there is no room.
#[cfg(unix)]
#[tokio::test]
async fn leases_with_no_room() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use crate::store::tests::open_in;
    let Some(state_dir) = super::child::argument() else { return };
    let state_dir = std::path::Path::new(&state_dir);
    let store = open_in(state_dir).await.unwrap();
    let unlimited = getrlimit(Resource::Fsize);
    // A part of the next write fits, and no more.
    for room in [0, 1, 100, 4_000] {
        store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
        let length = std::fs::metadata(state_dir.join("mailferry.db-wal")).unwrap().len();
        setrlimit(Resource::Fsize, Rlimit { current: Some(length + room), ..unlimited }).unwrap();
        let sentence = unavailable(lease(&store, "a", 0).await);
        assert!(sentence.contains("look at the disk"), "{sentence}");
        setrlimit(Resource::Fsize, unlimited).unwrap();
        assert_eq!(store.sign_ins().await.unwrap()[0].leased_until, None);
    }
    assert_eq!(token_of(lease(&store, "a", 0).await), "first");
    println!("a lease when there was room");
}
