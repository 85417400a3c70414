//! Who can read what a store makes, and who may open it.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use super::{child, unavailable, unusable};
use crate::config::{SecretSource, StoreConfig};
use crate::store::SignIns;
use crate::store::sql::SqlStore;
use crate::store::tests::{Folder, id, new_sign_in, open_in};

/// A user that is nobody in particular.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// An open store with something in its journal.
async fn in_use(folder: &Folder) -> SqlStore {
    let store = folder.open().await.unwrap();
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    store
}

#[tokio::test]
async fn what_is_made_is_closed_to_others() {
    let folder = Folder::new();
    let _store = in_use(&folder).await;
    assert_eq!(mode(&folder.state_dir()), 0o700);
    for file in [folder.database(""), folder.database("-wal"), folder.database("-shm"), folder.key()] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_database_that_others_can_read_is_refused() {
    let folder = Folder::new();
    let _store = in_use(&folder).await;
    for suffix in ["", "-wal", "-shm"] {
        let file = folder.database(suffix);
        for open in [0o604, 0o602] {
            set_mode(&file, open);
            let sentence = unusable(folder.open().await);
            assert!(sentence.ends_with(&format!("chmod o-rwx {}", file.display())), "{sentence}");
        }
        set_mode(&file, 0o660);
        folder.open().await.unwrap();
        set_mode(&file, 0o600);
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused() {
    let folder = Folder::new();
    folder.open().await.unwrap().close().await;
    for open in [0o604, 0o602, 0o640, 0o620] {
        set_mode(&folder.key(), open);
        let sentence = unusable(folder.open().await);
        assert!(sentence.ends_with(&format!("chmod 600 {}", folder.key().display())), "{sentence}");
    }
    set_mode(&folder.key(), 0o400);
    folder.open().await.unwrap();
}

#[tokio::test]
async fn a_named_key_may_be_a_groups_but_not_everybodys() {
    let folder = Folder::new();
    folder.open().await.unwrap().close().await;
    let file = folder.state_dir().join("credential");
    fs::copy(folder.key(), &file).unwrap();
    let config = StoreConfig { database: folder.database(""), keys: Some(vec![SecretSource::File(file.clone())]) };
    set_mode(&file, 0o440);
    SqlStore::open(&config, &folder.state_dir()).await.unwrap();
    set_mode(&file, 0o444);
    let sentence = unusable(SqlStore::open(&config, &folder.state_dir()).await);
    assert!(sentence.ends_with(&format!("chmod o-rwx {}", file.display())), "{sentence}");
    fs::remove_file(&file).unwrap();
    let sentence = unavailable(SqlStore::open(&config, &folder.state_dir()).await);
    assert!(sentence.starts_with(file.to_str().unwrap()), "{sentence}");
}

#[tokio::test]
async fn what_root_makes_belongs_to_the_state_folders_owner() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    fs::create_dir(folder.state_dir()).unwrap();
    chown(folder.state_dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    let store = in_use(&folder).await;
    let files = || [folder.database(""), folder.database("-wal"), folder.database("-shm"), folder.key()];
    let check = || {
        for file in files() {
            let found = fs::metadata(&file).unwrap();
            assert_eq!((found.uid(), found.gid(), mode(&file)), (NOBODY, NOBODY, 0o600), "{}", file.display());
        }
    };
    check();
    store.close().await;
    let _store = in_use(&folder).await;
    check();
}

#[tokio::test]
async fn a_folder_that_root_makes_belongs_to_the_owner_of_the_one_above() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let state_dir = home.path().join("state/mailferry");
    let _store = open_in(&state_dir).await.unwrap();
    for path in [home.path().join("state"), state_dir.clone(), state_dir.join("key"), state_dir.join("mailferry.db")] {
        assert_eq!(fs::metadata(&path).unwrap().uid(), NOBODY, "{}", path.display());
    }
}

/// Opens the store in `state_dir` as a user that is not root; what came of it.
fn opened_as_nobody(home: &Path, state_dir: &Path) -> String {
    use std::os::unix::process::CommandExt;
    // Where this program was built, others may not look.
    let program = home.join("program");
    if !program.exists() {
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        set_mode(&program, 0o755);
    }
    let mut command = Command::new(&program);
    child::set(&mut command, "store::sql::tests::access::opens_as_nobody", state_dir.to_str().unwrap());
    let output = command.uid(NOBODY).gid(NOBODY).current_dir(home).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let result = said.lines().find_map(|line| line.strip_prefix("opened: "));
    result
        .unwrap_or_else(|| panic!("{said} {}", String::from_utf8_lossy(&output.stderr)))
        .to_owned()
}

/// The process that is not root.
#[tokio::test]
async fn opens_as_nobody() {
    let Some(state_dir) = child::argument() else { return };
    println!("\nopened: {:?}", open_in(Path::new(&state_dir)).await);
}

#[tokio::test]
async fn who_may_not_write_there_is_told() {
    if !is_root() {
        let folder = Folder::new();
        fs::create_dir(folder.state_dir()).unwrap();
        set_mode(&folder.state_dir(), 0o500);
        let sentence = unavailable(folder.open().await);
        assert!(sentence.contains("run this as the user that the gateway runs as"), "{sentence}");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    set_mode(home.path(), 0o755);
    let (absent, others, roots) = (home.path().join("absent"), home.path().join("others"), home.path().join("roots"));

    let result = opened_as_nobody(home.path(), &absent);
    assert!(result.contains("cannot be made") && result.contains("run this as the user"), "{result}");

    fs::create_dir(&others).unwrap();
    set_mode(&others, 0o777);
    chown(&others, Some(4_242), None).unwrap();
    let result = opened_as_nobody(home.path(), &others);
    assert!(result.contains("belongs to user 4242 and this is user 65534: run this as user 4242 or root"), "{result}");
    assert_eq!(fs::read_dir(&others).unwrap().count(), 0);

    // A volume that belongs to root and is shared.
    fs::create_dir(&roots).unwrap();
    set_mode(&roots, 0o777);
    let result = opened_as_nobody(home.path(), &roots);
    assert!(result.starts_with("Ok"), "{result}");
    open_in(&roots).await.unwrap().close().await;

    // What the service made, opened by root and then by the service again.
    let _store = open_in(&roots).await.unwrap();
    assert!(opened_as_nobody(home.path(), &roots).starts_with("Ok"));
    chown(roots.join("mailferry.db"), Some(4_242), None).unwrap();
    let result = opened_as_nobody(home.path(), &roots);
    assert!(result.contains("belongs to user 4242"), "{result}");
}
