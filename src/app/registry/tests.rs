//! The directory against a store that works, fails, and works again.

use std::path::Path;

use super::*;
use crate::app::desk::testing::{FlakyStore, HASH, configuration};
use crate::config::{Environment, Protocol};
use crate::store::StoredLogin;

fn config() -> Arc<Config> {
    let text = configuration("");
    Arc::new(Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap())
}

fn login(username: &str, ends: Option<SystemTime>) -> StoredLogin {
    StoredLogin {
        id: 0,
        device: String::new(),
        account: "scanner@contoso.example".into(),
        username: username.into(),
        password_hash: HASH.trim().into(),
        protocols: Protocol::ALL.to_vec(),
        networks: None,
        made: SystemTime::now(),
        ends,
    }
}

async fn open(store: &Arc<FlakyStore>) -> Arc<Registry> {
    let store: Arc<dyn Store> = Arc::<FlakyStore>::clone(store);
    Arc::new(Registry::open(config(), store).await.unwrap())
}

#[tokio::test]
async fn a_login_leaves_the_directory_at_its_end() {
    let store = Arc::new(FlakyStore::default());
    store.add_login(login("stays", None)).await.unwrap();
    store
        .add_login(login("goes", Some(SystemTime::now() + Duration::from_millis(200))))
        .await
        .unwrap();
    let registry = open(&store).await;
    assert!(registry.directory().logins.contains_key("goes"));
    let mut changes = registry.watch();
    let keeper = Arc::clone(&registry);
    let keeping = tokio::spawn(async move { keeper.keep_true().await });
    changes.changed().await.unwrap();
    let directory = registry.directory();
    assert!(!directory.logins.contains_key("goes") && directory.logins.contains_key("stays"));
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_change_that_could_not_be_read_back_is_told_and_read_again() {
    let store = Arc::new(FlakyStore::default());
    let id = store.add_login(login("scanner2", None)).await.unwrap();
    let registry = open(&store).await;
    let keeper = Arc::clone(&registry);
    let keeping = tokio::spawn(async move { keeper.keep_true().await });

    let change = registry.change().await;
    change.store().revoke_login(id).await.unwrap();
    store.fail(true);
    assert!(change.done().await.is_err());
    assert!(registry.directory().logins.contains_key("scanner2"), "nothing else is known");
    let mut changes = registry.watch();
    store.fail(false);
    changes
        .wait_for(|directory| !directory.logins.contains_key("scanner2"))
        .await
        .unwrap();
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn uses_are_written_once_a_minute_and_at_the_end() {
    let store = Arc::new(FlakyStore::default());
    let registry = open(&store).await;
    let carrier = Arc::clone(&registry);
    let carrying = tokio::spawn(async move { carrier.carry_uses().await });
    let directory = registry.directory();
    let account = directory.account("scanner@contoso.example").unwrap();
    let note = |seconds| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        registry.uses().note(account, &account.logins[0], at, [192, 0, 2, 7].into());
        at
    };
    let begun = tokio::time::Instant::now();
    note(1);
    let last = note(2);
    while store.uses().await.unwrap().is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    assert!((60..=61).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!((store.uses().await.unwrap()[0].at, store.writes()), (last, 1));

    store.fail(true);
    let last = note(3);
    sleep(2 * GATHERED).await;
    assert_eq!(store.writes(), 1);
    store.fail(false);
    registry.close().await;
    assert_eq!((store.uses().await.unwrap()[0].at, store.writes()), (last, 2), "what could not be written is not lost");
    carrying.abort();
}
