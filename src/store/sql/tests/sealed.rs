//! What can be learnt from the file without its key, and what another key does.

use std::fs;

use super::{lease, meddle, token_of, unusable};
use crate::config::{SecretSource, StoreConfig};
use crate::secret::SecretText;
use crate::store::sql::SqlStore;
use crate::store::tests::{Folder, at, id, new_sign_in, token};
use crate::store::{Leased, SignIns};

const SECRET: &str = "0.AXoA-refresh-token-of-ada";

fn contains(octets: &[u8], what: &[u8]) -> bool {
    octets.windows(what.len()).any(|window| window == what)
}

async fn header_in_file(folder: &Folder) -> Vec<u8> {
    let mut raw = super::raw(&folder.database("")).await;
    sqlx::query_scalar("SELECT substr(checked, 1, 5) FROM sealed_with")
        .fetch_one(&mut raw)
        .await
        .unwrap()
}

#[tokio::test]
async fn no_file_holds_a_refresh_token() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    let number = store.sign_in(&id("a"), new_sign_in("ada@example.com", SECRET)).await.unwrap();
    lease(&store, "a", 0).await.unwrap();
    store.settle(&id("a"), number, Some(token(SECRET)), at(1)).await.unwrap();
    assert!(fs::metadata(folder.database("-wal")).unwrap().len() > 0);
    assert!(contains(&folder.octets(), b"ada@example.com"), "the search finds nothing");
    assert!(!contains(&folder.octets(), SECRET.as_bytes()));
    store.close().await;
    assert!(!folder.database("-wal").exists());
    assert!(!contains(&folder.octets(), SECRET.as_bytes()));
    assert_eq!(format!("{store:?}"), format!("SqlStore({})", folder.database("").display()));
}

#[tokio::test]
async fn nothing_is_left_of_who_signed_out() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    store.sign_in(&id("a"), new_sign_in("ada@example.com", SECRET)).await.unwrap();
    store.close().await;
    assert!(contains(&folder.octets(), b"ada@example.com"));
    store.sign_out(&id("a")).await.unwrap();
    store.close().await;
    assert!(!contains(&folder.octets(), b"ada@example.com"));
}

#[tokio::test]
async fn a_token_moved_to_another_row_does_not_open() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    for name in ["ada@example.com", "bob@example.com"] {
        store.sign_in(&id(name), new_sign_in(name, name)).await.unwrap();
    }
    let swap = "UPDATE sign_in SET refresh_token = (SELECT refresh_token FROM sign_in WHERE id = 'bob@example.com') \
                WHERE id = 'ada@example.com'";
    meddle(&folder.database(""), swap).await;
    let sentence = unusable(lease(&store, "ada@example.com", 0).await);
    assert!(sentence.contains("a sign-in of \"ada@example.com\""), "{sentence}");
    assert!(sentence.ends_with("it is damaged: sign in again"), "{sentence}");
    assert_eq!(token_of(lease(&store, "bob@example.com", 0).await), "bob@example.com");
    assert_eq!(store.sign_ins().await.unwrap()[0].leased_until, None, "nothing was lent");
    drop(store);
    assert!(folder.open().await.is_ok(), "one token is not the store");
}

#[tokio::test]
async fn the_key_is_made_once_and_is_32_random_octets() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.open().await.unwrap().close().await;
    other.open().await.unwrap().close().await;
    let key = fs::read_to_string(folder.key()).unwrap();
    assert_eq!(key.len(), 45);
    assert!(key.ends_with("=\n"), "{key:?}");
    assert_ne!(key, fs::read_to_string(other.key()).unwrap());
    folder.open().await.unwrap().close().await;
    assert_eq!(fs::read_to_string(folder.key()).unwrap(), key);
    let mut names = fs::read_dir(folder.state_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| name == "key" || name == "mailferry.db"));
}

#[tokio::test]
async fn another_key_is_noticed_and_changes_nothing() {
    let (folder, other) = (Folder::new(), Folder::new());
    for folder in [&folder, &other] {
        let store = folder.open().await.unwrap();
        store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
        store.close().await;
    }
    let key = fs::read(folder.key()).unwrap();
    let octets = folder.octets();
    fs::copy(other.key(), folder.key()).unwrap();
    let sentence = unusable(folder.open().await);
    assert!(sentence.contains("was sealed with another key"), "{sentence}");
    assert!(sentence.starts_with(folder.database("").to_str().unwrap()), "{sentence}");
    fs::write(folder.key(), key).unwrap();
    let store = folder.open().await.unwrap();
    store.close().await;
    assert!(folder.octets() == octets);
    assert_eq!(token_of(lease(&store, "a", 0).await), "first");
}

#[tokio::test]
async fn a_missing_key_is_not_replaced() {
    let folder = Folder::new();
    folder.open().await.unwrap().close().await;
    fs::remove_file(folder.key()).unwrap();
    let sentence = unusable(folder.open().await);
    assert!(sentence.contains("is gone: restore it from a backup"), "{sentence}");
    assert!(!folder.key().exists());
}

#[tokio::test]
async fn what_is_no_key_is_refused_with_how_to_make_one() {
    let folder = Folder::new();
    folder.open().await.unwrap().close().await;
    let right = fs::read_to_string(folder.key()).unwrap();
    for wrong in ["", "\n", "secret", &right[..43], &format!("{}{right}", right.trim()), &"A".repeat(400)] {
        fs::write(folder.key(), wrong).unwrap();
        let sentence = unusable(folder.open().await);
        assert!(sentence.starts_with(folder.key().to_str().unwrap()), "{sentence}");
        assert!(sentence.ends_with("openssl rand -base64 32"), "{sentence}");
        assert!(wrong.trim().is_empty() || !sentence.contains(wrong.trim()), "{sentence}");
    }
    // 31 and 33 octets.
    for octets in [31, 33] {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(vec![1; octets]);
        let keys = Some(vec![SecretSource::Fixed(SecretText::new(text))]);
        let config = StoreConfig { database: folder.database(""), keys };
        let sentence = unusable(SqlStore::open(&config, &folder.state_dir()).await);
        assert!(sentence.starts_with("the key of [store] holds no key"), "{sentence}");
    }
    unusable(folder.open_with(&[]).await);
    fs::write(folder.key(), format!(" {}\r\n", right.trim())).unwrap();
    folder.open().await.unwrap();
}

#[tokio::test]
async fn a_new_first_key_seals_everything_anew() {
    let folder = Folder::new();
    let store = folder.open_with(&[7]).await.unwrap();
    for name in ["a", "b"] {
        store.sign_in(&id(name), new_sign_in(name, name)).await.unwrap();
    }
    drop(store);
    let old = header_in_file(&folder).await;
    assert!(contains(&folder.octets(), &old));
    unusable(folder.open_with(&[8]).await);

    let store = folder.open_with(&[8, 7]).await.unwrap();
    assert_eq!(token_of(lease(&store, "a", 0).await), "a");
    assert_ne!(header_in_file(&folder).await, old);
    assert!(!contains(&folder.octets(), &old), "something sealed with the old key is left");
    drop(store);
    unusable(folder.open_with(&[7]).await);
    let store = folder.open_with(&[8]).await.unwrap();
    assert_eq!(token_of(lease(&store, "b", 0).await), "b");
}

#[tokio::test]
async fn what_a_process_with_the_earlier_key_wrote_is_sealed_anew_or_told() {
    let folder = Folder::new();
    let slow = folder.open_with(&[7]).await.unwrap();
    let quick = folder.open_with(&[8, 7]).await.unwrap();
    slow.sign_in(&id("a"), new_sign_in("a", "late")).await.unwrap();
    assert_eq!(token_of(lease(&quick, "a", 0).await), "late");
    drop((slow, quick));

    let hasty = folder.open_with(&[8]).await.unwrap();
    let sentence = unusable(lease(&hasty, "a", 40_000).await);
    assert!(sentence.contains("it was sealed with another key: name that in [store]"), "{sentence}");
    drop(hasty);
    drop(folder.open_with(&[8, 7]).await.unwrap());
    let store = folder.open_with(&[8]).await.unwrap();
    assert!(matches!(lease(&store, "a", 40_000).await.unwrap(), Leased::Taken { .. }));
}
