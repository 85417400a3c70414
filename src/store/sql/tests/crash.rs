//! Processes that end in the middle of something.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{child, lease, token_of};
use crate::store::sql::SqlStore;
use crate::store::tests::{Folder, at, id, new_login, new_sign_in, open_in, token};
use crate::store::{Logins, SignIns};

/// What a store holds, as far as these tests change it.
async fn state(store: &SqlStore) -> String {
    let sign_ins = store.sign_ins().await.unwrap();
    let logins = store.logins(at(0)).await.unwrap();
    format!("{sign_ins:?} {logins:?}")
}

/// Copies the database and so much of its journal, as a crash might leave them.
fn copy(from: &Folder, to: &Path, journal: &[u8]) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    fs::copy(from.key(), to.join("key")).unwrap();
    fs::copy(from.database(""), to.join("mailferry.db")).unwrap();
    fs::write(to.join("mailferry.db-wal"), journal).unwrap();
    close_to_others(&to.join("mailferry.db-wal"));
}

#[tokio::test]
async fn whatever_part_of_the_journal_is_left_some_whole_state_is_there() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    let mut states = vec![state(&store).await];
    let number = store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    states.push(state(&store).await);
    lease(&store, "a", 0).await.unwrap();
    states.push(state(&store).await);
    store.settle(&id("a"), number, Some(token("second")), at(1)).await.unwrap();
    states.push(state(&store).await);
    let login = store.add_login(new_login("printer")).await.unwrap();
    states.push(state(&store).await);
    store.rotate_login(login, "$argon2id$y".into(), at(2), at(9)).await.unwrap();
    states.push(state(&store).await);

    let journal = fs::read(folder.database("-wal")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for length in (0..journal.len()).step_by(1_777).chain([journal.len()]) {
        let copied = place.path().join("copy");
        copy(&folder, &copied, &journal[..length]);
        let opened = open_in(&copied).await.unwrap();
        let found = state(&opened).await;
        opened.close().await;
        let which = states.iter().position(|state| *state == found);
        assert!(which.is_some_and(|which| which >= seen), "{length}: {found}");
        seen = which.unwrap();
    }
    assert_eq!(seen, states.len() - 1, "what was done was not all written");
}

#[tokio::test]
async fn what_was_done_is_in_a_copy_made_at_once() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let copied = place.path().join("copy");
    for count in 0..5_u64 {
        let number = store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
        lease(&store, "a", count).await.unwrap();
        let rotated = format!("token {count}");
        store.settle(&id("a"), number, Some(token(&rotated)), at(count)).await.unwrap();
        copy(&folder, &copied, &fs::read(folder.database("-wal")).unwrap());
        let opened = open_in(&copied).await.unwrap();
        assert_eq!(token_of(lease(&opened, "a", count).await), rotated);
        opened.close().await;
    }
}

#[tokio::test]
async fn a_process_killed_while_it_writes_leaves_all_it_said_it_wrote() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::new();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    child::set(
        &mut command,
        "store::sql::tests::crash::writes_until_it_is_killed",
        folder.state_dir().to_str().unwrap(),
    );
    let mut writer = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(writer.stdout.take().unwrap()).lines().map(Result::unwrap);
    let last = said
        .filter_map(|line| line.strip_prefix("wrote ")?.parse::<i64>().ok())
        .nth(25)
        .unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();

    let store = folder.open().await.unwrap();
    let found = store.sign_ins().await.unwrap();
    assert!(found[0].number.0 >= last, "{} of {last}", found[0].number.0);
    assert_eq!(token_of(lease(&store, "a", 60_000).await), format!("token {}", found[0].number.0));
}

/// The process that is killed: tells of each write after it.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(state_dir) = child::argument() else { return };
    let store = open_in(Path::new(&state_dir)).await.unwrap();
    for number in 1.. {
        let new = new_sign_in("a", &format!("token {number}"));
        assert_eq!(store.sign_in(&id("a"), new).await.unwrap().0, number);
        println!("\nwrote {number}");
    }
}

#[tokio::test]
async fn several_first_starts_at_once_make_one_store() {
    let folder = Folder::new();
    let state_dir = folder.state_dir();
    let numbers: Vec<i64> = std::thread::scope(|scope| {
        let start = |name: String| {
            let state_dir = &state_dir;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let store = open_in(state_dir).await.unwrap();
                    store.sign_in(&id(&name), new_sign_in(&name, &name)).await.unwrap().0
                })
            })
        };
        let starts: Vec<_> = (0..6).map(|count| start(format!("user{count}"))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let store = folder.open().await.unwrap();
    assert_eq!(store.sign_ins().await.unwrap().len(), 6, "{numbers:?}");
    assert_eq!(token_of(lease(&store, "user3", 0).await), "user3");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_store_usable() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    let number = store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    for polls in 1..12 {
        let (now, id) = (polls * 100_000, id("a"));
        let mut leased = pin!(store.lease(&id, at(now), at(now + 30_000)));
        for _ in 0..polls {
            if let Poll::Ready(leased) = leased.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                leased.unwrap();
                break;
            }
            std::thread::yield_now();
        }
        // Dropped here, wherever it was; the next has to wait for no one.
    }
    assert_eq!(token_of(lease(&store, "a", 9_000_000).await), "first");
    assert!(store.settle(&id("a"), number, None, at(9_000_001)).await.unwrap());
}

fn close_to_others(file: &Path) {
    #[cfg(unix)]
    fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    #[cfg(not(unix))]
    let _ = file;
}
