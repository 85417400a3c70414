//! Files that are no store of ours, or no longer whole.

use std::fs;

use super::{meddle, unusable};
use crate::store::tests::{Folder, at, id, new_login, new_sign_in};
use crate::store::{Logins, SignIns};

/// A store with something in it, all in one file.
async fn closed() -> Folder {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    for number in 0..20 {
        let name = format!("user{number}@example.com");
        store.sign_in(&id(&name), new_sign_in(&name, &"x".repeat(900))).await.unwrap();
        store.add_login(new_login(&name)).await.unwrap();
    }
    store.close().await;
    folder
}

async fn refusal(folder: &Folder) -> String {
    let sentence = unusable(folder.open().await);
    assert!(sentence.starts_with(folder.database("").to_str().unwrap()), "{sentence}");
    sentence
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder.open().await.unwrap().close().await;
    for text in ["[store]\n", &"no database\n".repeat(1000)] {
        fs::write(folder.database(""), text).unwrap();
        assert!(refusal(&folder).await.contains("no SQLite database"));
        assert_eq!(fs::read_to_string(folder.database("")).unwrap(), text);
    }
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder.open().await.unwrap().close().await;
    for mark in ["", "PRAGMA application_id = 252006675"] {
        fs::remove_file(folder.database("")).unwrap();
        meddle(&folder.database(""), &format!("CREATE TABLE sign_in (id TEXT); {mark}")).await;
        close_to_others(&folder);
        let octets = folder.octets();
        assert!(refusal(&folder).await.contains("another program"));
        assert!(folder.octets() == octets);
    }
}

#[tokio::test]
async fn an_empty_file_is_not_taken_for_a_new_store() {
    let folder = closed().await;
    fs::write(folder.database(""), "").unwrap();
    assert!(refusal(&folder).await.contains("is empty: restore it"));
    assert_eq!(fs::metadata(folder.database("")).unwrap().len(), 0);
}

#[tokio::test]
async fn a_cut_file_is_refused() {
    let folder = closed().await;
    let whole = fs::read(folder.database("")).unwrap();
    assert!(whole.len() > 20_000);
    for length in (100..whole.len())
        .step_by(1_500)
        .chain((1..whole.len() / 4096).map(|page| page * 4096))
    {
        fs::write(folder.database(""), &whole[..length]).unwrap();
        assert!(folder.open().await.is_err(), "{length}");
        refusal(&folder).await;
    }
}

#[tokio::test]
async fn a_damaged_page_is_noticed() {
    let folder = closed().await;
    let whole = fs::read(folder.database("")).unwrap();
    for page in 0..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].fill(0xa5);
        fs::write(folder.database(""), damaged).unwrap();
        refusal(&folder).await;
    }
    fs::write(folder.database(""), whole).unwrap();
    assert_eq!(folder.open().await.unwrap().sign_ins().await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_journal_without_its_database_is_not_played_into_a_new_one() {
    let folder = closed().await;
    fs::remove_file(folder.database("")).unwrap();
    fs::write(folder.database("-wal"), "of a store that is gone").unwrap();
    assert!(refusal(&folder).await.contains("is gone and"));
    assert!(!folder.database("").exists());
}

#[tokio::test]
async fn a_later_versions_store_is_refused() {
    let folder = closed().await;
    let later = "INSERT INTO _sqlx_migrations SELECT 99, description, installed_on, success, checksum, execution_time \
                 FROM _sqlx_migrations";
    meddle(&folder.database(""), later).await;
    assert!(refusal(&folder).await.contains("a later version of mailferry"));
}

#[tokio::test]
async fn a_store_of_another_shape_is_refused() {
    let folder = closed().await;
    meddle(&folder.database(""), "UPDATE _sqlx_migrations SET checksum = x'00'").await;
    assert!(refusal(&folder).await.contains("has another shape"));
    let folder = closed().await;
    meddle(&folder.database(""), "DROP TABLE sealed_with").await;
    assert!(refusal(&folder).await.contains("is damaged"));
}

#[tokio::test]
async fn a_damaged_row_is_named() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    let login = store.add_login(new_login("printer")).await.unwrap();
    for (column, value) in [("protocols", "smtp gopher"), ("networks", "192.0.2.0/33")] {
        let set =
            format!("BEGIN; CREATE TABLE kept AS SELECT * FROM login; UPDATE login SET {column} = '{value}'; COMMIT");
        meddle(&folder.database(""), &set).await;
        let sentence = unusable(store.logins(at(0)).await);
        assert!(sentence.contains(&format!("is damaged: login {login} has the")), "{sentence}");
        let undo = "DELETE FROM login; INSERT INTO login SELECT * FROM kept; DROP TABLE kept";
        meddle(&folder.database(""), undo).await;
        assert_eq!(store.logins(at(0)).await.unwrap().len(), 1);
    }
    meddle(&folder.database(""), "INSERT INTO login_use VALUES ('ada', 'printer', 0, 0, 'nowhere')").await;
    let sentence = unusable(store.uses().await);
    assert!(sentence.contains("the use of \"printer\" has the address \"nowhere\""), "{sentence}");
}

/// What SQLite makes takes the mode that the umask leaves.
fn close_to_others(folder: &Folder) {
    #[cfg(unix)]
    fs::set_permissions(folder.database(""), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    #[cfg(not(unix))]
    let _ = folder;
}
