//! Leases among several openings of one file.

use super::{lease, token_of};
use crate::store::tests::{Folder, at, id, new_sign_in, token};
use crate::store::{Leased, SignIns};

#[tokio::test]
async fn another_process_does_not_get_a_token_that_is_leased() {
    let folder = Folder::new();
    let (one, two) = (folder.open().await.unwrap(), folder.open().await.unwrap());
    let number = one.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    assert_eq!(token_of(lease(&one, "a", 0).await), "first");
    assert!(matches!(lease(&two, "a", 1).await.unwrap(), Leased::Busy { until } if until == at(30_000)));
    one.settle(&id("a"), number, Some(token("second")), at(2)).await.unwrap();
    assert_eq!(token_of(lease(&two, "a", 3).await), "second");
}

#[tokio::test]
async fn a_late_token_is_kept_and_the_others_lease_stays() {
    let folder = Folder::new();
    let (one, two) = (folder.open().await.unwrap(), folder.open().await.unwrap());
    let number = one.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    lease(&one, "a", 0).await.unwrap();
    lease(&two, "a", 30_000).await.unwrap();
    one.release(&id("a"), number).await.unwrap();
    assert!(one.settle(&id("a"), number, Some(token("late")), at(30_001)).await.unwrap());
    assert!(matches!(lease(&one, "a", 30_002).await.unwrap(), Leased::Busy { .. }));
    two.release(&id("a"), number).await.unwrap();
    assert_eq!(token_of(lease(&one, "a", 30_003).await), "late");
}

#[tokio::test]
async fn a_lease_of_a_process_that_is_gone_is_told_and_runs_out() {
    let folder = Folder::new();
    let gone = folder.open().await.unwrap();
    let number = gone.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    gone.sign_in(&id("b"), new_sign_in("b", "untouched")).await.unwrap();
    lease(&gone, "a", 0).await.unwrap();
    drop(gone);

    let next = folder.open().await.unwrap();
    let told = next.left_behind(at(5)).await.unwrap();
    assert_eq!(told.iter().map(|sign_in| sign_in.account.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(told[0].leased_until, Some(at(30_000)));
    assert!(matches!(lease(&next, "a", 5).await.unwrap(), Leased::Busy { .. }));
    assert_eq!(token_of(lease(&next, "a", 30_000).await), "first");
    assert!(next.left_behind(at(30_001)).await.unwrap().is_empty(), "it is ours now");
    next.settle(&id("a"), number, None, at(30_002)).await.unwrap();
    drop(next);
    assert!(folder.open().await.unwrap().left_behind(at(99_999)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_of_a_process_that_lives_is_not_told_until_it_ran_out() {
    let folder = Folder::new();
    let (one, two) = (folder.open().await.unwrap(), folder.open().await.unwrap());
    one.sign_in(&id("a"), new_sign_in("a", "first")).await.unwrap();
    lease(&one, "a", 0).await.unwrap();
    assert!(two.left_behind(at(29_999)).await.unwrap().is_empty());
    assert_eq!(two.left_behind(at(30_000)).await.unwrap().len(), 1);
    assert!(one.left_behind(at(30_000)).await.unwrap().is_empty());
}
