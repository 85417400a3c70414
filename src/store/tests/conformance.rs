//! The contract of [`Store`], case by case.

use super::super::memory::MemoryStore;
use super::super::{Leased, LoginUse, SignIn, SignInNumber, Store, StoredAccount, StoredLogin};
use super::{Folder, at, id, new_login, new_sign_in, token};

/// Each case against each keeper.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $case() { super::$case(&super::MemoryStore::default()).await; })+
        }
        mod sql {
            $(#[tokio::test] async fn $case() {
                let folder = super::Folder::new();
                super::$case(&folder.open().await.unwrap()).await;
            })+
        }
    };
}

cases!(
    a_sign_in_is_told_without_its_token,
    a_later_sign_in_takes_the_place_of_an_earlier_one,
    one_at_a_time_has_the_right_to_a_token,
    a_lease_that_ran_out_is_given_to_the_next,
    a_rotated_token_takes_the_old_ones_place,
    a_token_that_was_not_rotated_stays,
    a_rotated_token_is_kept_after_its_lease_ran_out,
    a_rotated_token_is_not_kept_over_a_later_sign_in,
    what_belongs_to_an_earlier_sign_in_releases_nothing,
    who_signed_out_is_signed_out,
    numbers_are_not_given_again,
    an_address_has_one_account,
    a_new_account_ends_the_logins_it_is_told_to,
    a_login_comes_back_as_it_was_made,
    a_revoked_login_is_gone,
    a_rotated_login_is_like_the_old_one,
    a_login_that_ended_is_forgotten,
    the_last_use_is_kept,
);

async fn taken(store: &dyn Store, name: &str, now: u64, until: u64) -> (SignInNumber, String) {
    match store.lease(&id(name), at(now), at(until)).await.unwrap() {
        Leased::Taken { number, refresh_token } => (number, refresh_token.expose().to_owned()),
        other => panic!("{other:?}"),
    }
}

async fn is_busy(store: &dyn Store, name: &str, now: u64, ends: u64) {
    match store.lease(&id(name), at(now), at(now + 60_000)).await.unwrap() {
        Leased::Busy { until } => assert_eq!(until, at(ends)),
        other => panic!("{other:?}"),
    }
}

async fn a_sign_in_is_told_without_its_token(store: &dyn Store) {
    let number = store.sign_in(&id("a"), new_sign_in("ada@example.com", "first")).await.unwrap();
    taken(store, "a", 5, 30_000).await;
    let told = store.sign_ins().await.unwrap();
    let expected = SignIn {
        id: id("a"),
        number,
        account: "ada@example.com".into(),
        client_id: "client".into(),
        name: Some("Ada".into()),
        by: "root".into(),
        at: at(0),
        exercised: at(0),
        ends: Some(at(7_000)),
        leased_until: Some(at(30_000)),
    };
    assert_eq!(told, [expected]);
}

async fn a_later_sign_in_takes_the_place_of_an_earlier_one(store: &dyn Store) {
    let first = store.sign_in(&id("a"), new_sign_in("ada@example.com", "first")).await.unwrap();
    taken(store, "a", 0, 30_000).await;
    let second = store.sign_in(&id("a"), new_sign_in("ada@example.com", "second")).await.unwrap();
    assert!(second > first);
    assert_eq!(taken(store, "a", 1, 30_000).await, (second, "second".into()));
    assert_eq!(store.sign_ins().await.unwrap().len(), 1);
}

async fn one_at_a_time_has_the_right_to_a_token(store: &dyn Store) {
    for name in ["a", "b"] {
        store.sign_in(&id(name), new_sign_in(name, name)).await.unwrap();
    }
    let (number, _) = taken(store, "a", 0, 30_000).await;
    is_busy(store, "a", 29_999, 30_000).await;
    assert_eq!(taken(store, "b", 0, 30_000).await.1, "b");
    store.release(&id("a"), number).await.unwrap();
    assert_eq!(taken(store, "a", 1, 30_000).await, (number, "a".into()));
}

async fn a_lease_that_ran_out_is_given_to_the_next(store: &dyn Store) {
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    taken(store, "a", 0, 30_000).await;
    taken(store, "a", 30_000, 60_000).await;
    is_busy(store, "a", 59_999, 60_000).await;
}

async fn a_rotated_token_takes_the_old_ones_place(store: &dyn Store) {
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    let (number, _) = taken(store, "a", 0, 30_000).await;
    assert!(store.settle(&id("a"), number, Some(token("second")), at(9)).await.unwrap());
    let told = store.sign_ins().await.unwrap();
    assert_eq!((told[0].exercised, told[0].at, told[0].leased_until), (at(9), at(0), None));
    assert_eq!(taken(store, "a", 10, 30_000).await, (number, "second".into()));
}

async fn a_token_that_was_not_rotated_stays(store: &dyn Store) {
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    let (number, _) = taken(store, "a", 0, 30_000).await;
    assert!(store.settle(&id("a"), number, None, at(9)).await.unwrap());
    assert_eq!(store.sign_ins().await.unwrap()[0].exercised, at(9));
    assert_eq!(taken(store, "a", 10, 30_000).await, (number, "first".into()));
}

async fn a_rotated_token_is_kept_after_its_lease_ran_out(store: &dyn Store) {
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    let (number, _) = taken(store, "a", 0, 30_000).await;
    assert!(store.settle(&id("a"), number, Some(token("second")), at(40_000)).await.unwrap());
    assert!(store.settle(&id("a"), number, Some(token("third")), at(40_001)).await.unwrap());
    assert_eq!(taken(store, "a", 50_000, 60_000).await.1, "third");
}

async fn a_rotated_token_is_not_kept_over_a_later_sign_in(store: &dyn Store) {
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    let (number, _) = taken(store, "a", 0, 30_000).await;
    let second = store.sign_in(&id("a"), new_sign_in("a", "second")).await.unwrap();
    assert!(!store.settle(&id("a"), number, Some(token("rotated")), at(9)).await.unwrap());
    assert_eq!(taken(store, "a", 10, 30_000).await, (second, "second".into()));
    store.sign_out(&id("a")).await.unwrap();
    assert!(!store.settle(&id("a"), second, Some(token("rotated")), at(9)).await.unwrap());
    assert!(store.sign_ins().await.unwrap().is_empty());
}

async fn what_belongs_to_an_earlier_sign_in_releases_nothing(store: &dyn Store) {
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    let (number, _) = taken(store, "a", 0, 30_000).await;
    store.sign_in(&id("a"), new_sign_in("a", "second")).await.unwrap();
    taken(store, "a", 1, 40_000).await;
    store.release(&id("a"), number).await.unwrap();
    assert!(!store.settle(&id("a"), number, None, at(2)).await.unwrap());
    is_busy(store, "a", 3, 40_000).await;
}

async fn who_signed_out_is_signed_out(store: &dyn Store) {
    assert!(!store.sign_out(&id("a")).await.unwrap());
    store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    assert!(store.sign_out(&id("a")).await.unwrap());
    assert!(matches!(store.lease(&id("a"), at(0), at(9)).await.unwrap(), Leased::SignedOut));
    assert!(store.sign_ins().await.unwrap().is_empty());
}

async fn numbers_are_not_given_again(store: &dyn Store) {
    let mut numbers = Vec::new();
    let mut logins = Vec::new();
    for _ in 0..3 {
        numbers.push(store.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap());
        store.sign_out(&id("a")).await.unwrap();
        let login = store.add_login(new_login("printer")).await.unwrap();
        store.revoke_login(login).await.unwrap();
        logins.push(login);
    }
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(logins.is_sorted_by(|one, next| one < next), "{logins:?}");
    assert!(logins[0] > 0, "0 is a login of the file");
}

async fn an_address_has_one_account(store: &dyn Store) {
    let mut ids = Vec::new();
    for (address, app) in [("ada@example.com", "one"), ("bob@example.com", "one"), ("Ada@Example.com", "two")] {
        let account = StoredAccount { address: address.into(), app: app.into() };
        ids.push(
            store
                .add_account(account, StoredLogin { id: 77, ..new_login(app) }, Vec::new())
                .await
                .unwrap(),
        );
    }
    let logins = store.logins(at(0)).await.unwrap();
    let expected = ["one", "one", "two"].map(new_login).into_iter().zip(ids);
    assert_eq!(logins, expected.map(|(login, id)| StoredLogin { id, ..login }).collect::<Vec<_>>());
    let mut accounts = store.accounts().await.unwrap();
    accounts.sort_by_key(|account| account.app.clone());
    let told = accounts.iter().map(|account| (account.address.as_str(), account.app.as_str()));
    assert_eq!(told.collect::<Vec<_>>(), [("bob@example.com", "one"), ("Ada@Example.com", "two")]);
}

async fn a_new_account_ends_the_logins_it_is_told_to(store: &dyn Store) {
    let old = store.add_login(new_login("old")).await.unwrap();
    let other = store.add_login(new_login("other")).await.unwrap();
    let account = StoredAccount { address: "ada@example.com".into(), app: "one".into() };
    let new = store.add_account(account, new_login("new"), vec![old]).await.unwrap();
    let left = store.logins(at(0)).await.unwrap();
    assert_eq!(left.iter().map(|login| login.id).collect::<Vec<_>>(), [other, new]);
}

async fn a_login_comes_back_as_it_was_made(store: &dyn Store) {
    let many = [
        new_login("printer"),
        StoredLogin { networks: None, ..new_login("scanner") },
        StoredLogin { networks: Some(Vec::new()), protocols: Vec::new(), ends: Some(at(9)), ..new_login("old") },
    ];
    let mut expected = Vec::new();
    for login in many {
        let id = store.add_login(StoredLogin { id: 77, ..login.clone() }).await.unwrap();
        expected.push(StoredLogin { id, ..login });
    }
    assert_eq!(store.logins(at(0)).await.unwrap(), expected);
}

async fn a_revoked_login_is_gone(store: &dyn Store) {
    let login = store.add_login(new_login("printer")).await.unwrap();
    assert!(store.revoke_login(login).await.unwrap());
    assert!(!store.revoke_login(login).await.unwrap());
    assert!(store.logins(at(0)).await.unwrap().is_empty());
    assert_eq!(store.rotate_login(login, "$argon2id$y".into(), at(1), at(2)).await.unwrap(), None);
    assert!(store.logins(at(0)).await.unwrap().is_empty());
}

async fn a_rotated_login_is_like_the_old_one(store: &dyn Store) {
    let old = store.add_login(new_login("printer")).await.unwrap();
    let new = store
        .rotate_login(old, "$argon2id$y".into(), at(5), at(100))
        .await
        .unwrap()
        .unwrap();
    assert!(new > old);
    let logins = store.logins(at(99)).await.unwrap();
    let expected = [
        StoredLogin { id: old, ends: Some(at(100)), ..new_login("printer") },
        StoredLogin { id: new, password_hash: "$argon2id$y".into(), made: at(5), ..new_login("printer") },
    ];
    assert_eq!(logins, expected);
}

async fn a_login_that_ended_is_forgotten(store: &dyn Store) {
    let old = store.add_login(new_login("printer")).await.unwrap();
    let new = store
        .rotate_login(old, "$argon2id$y".into(), at(5), at(100))
        .await
        .unwrap()
        .unwrap();
    let left = |logins: Vec<StoredLogin>| logins.iter().map(|login| login.id).collect::<Vec<_>>();
    assert_eq!(left(store.logins(at(99)).await.unwrap()), [old, new]);
    assert_eq!(left(store.logins(at(100)).await.unwrap()), [new]);
    // Also when the clock goes back.
    assert_eq!(left(store.logins(at(0)).await.unwrap()), [new]);
}

async fn the_last_use_is_kept(store: &dyn Store) {
    let a_use = |account: &str, id: i64, when: u64, from: &str| LoginUse {
        account: account.into(),
        username: "printer".into(),
        id,
        at: at(when),
        from: from.parse().unwrap(),
    };
    let (first, second) = (a_use("ada", 0, 1, "192.0.2.1"), a_use("ada", 0, 2, "2001:db8::1"));
    let (other, of_store) = (a_use("bob", 0, 1, "192.0.2.1"), a_use("ada", 4, 1, "192.0.2.1"));
    store.used(vec![first.clone(), other.clone(), of_store.clone()]).await.unwrap();
    store.used(Vec::new()).await.unwrap();
    assert_eq!(store.uses().await.unwrap(), [first, other.clone(), of_store.clone()]);
    store.used(vec![a_use("ada", 0, 3, "192.0.2.9"), second.clone()]).await.unwrap();
    assert_eq!(store.uses().await.unwrap(), [other, of_store, second]);
}
