//! A day of refresh tokens that are good for one use only, with everybody at work and restarts at any moment.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{Gate, Rotation, TokenFault};

use crate::common::{Answer, let_pass};
use crate::{HALF_AN_HOUR, House, Luck, MAILBOXES, SESSIONS, all_are_let_in, crowd, log_in};

/// Half hours of a day.
const DAY: usize = 48;

#[tokio::test]
async fn a_day_with_restarts_at_any_moment() {
    let house = House::new(Rotation::Strict).await;
    let mut luck = Luck(0x2026_1121);
    let mut gateway = house.start("a").await;
    let (mut restarts, mut cut_off, mut logins) = (0, 0, 0);
    // Those who stay until the others have come.
    let mut staying = all_are_let_in(log_in(crowd(&gateway, &Protocol::ALL).await)).await;
    for half_hour in 0..DAY {
        let before = house.refreshes();
        // First of all, so that the logins meet the refreshes that are due.
        let clients = crowd(&gateway, &Protocol::ALL).await;
        let restart = luck.below(4) == 0;
        if restart {
            let clients = crowd(&gateway, &[Protocol::Smtp, Protocol::Imap]).await;
            let_pass(HALF_AN_HOUR).await;
            let leaving = log_in(clients);
            luck.while_others_work(3_000).await;
            gateway.drain().await;
            restarts += 1;
            for (answer, _) in leaving.join_all().await {
                match answer {
                    Answer::Accepted => logins += 1,
                    Answer::Refused(line) => {
                        let later = ["", "421 ", "454 ", "* BYE", "tag NO [UNAVAILABLE]"];
                        assert!(later.iter().any(|start| line.starts_with(start)), "{half_hour}: {line}");
                        cut_off += 1;
                    }
                }
            }
            house.nothing_is_lost().await;
            let begun = house.refreshes();
            gateway = house.start("a").await;
            staying = all_are_let_in(log_in(crowd(&gateway, &Protocol::ALL).await)).await;
            house.settled(begun + MAILBOXES).await;
            assert_eq!(house.refreshes(), begun + MAILBOXES, "one for each mailbox whose token died with the process");
        } else {
            let_pass(HALF_AN_HOUR).await;
            staying = all_are_let_in(log_in(clients)).await;
            house.settled(before + MAILBOXES).await;
            assert_eq!(house.refreshes(), before + MAILBOXES, "one for each mailbox");
        }
        logins += SESSIONS;
        assert!(gateway.sessions() >= SESSIONS);
        house.is_in_order();
    }
    drop(staying);
    gateway.drain().await;
    house.nothing_is_lost().await;
    house.is_in_order();
    assert!(restarts >= 8);
    println!("{} refreshes, {restarts} restarts, {logins} logins, {cut_off} cut off by a restart", house.refreshes());
}

#[tokio::test]
async fn fifty_at_the_moment_of_expiry_cost_one_refresh() {
    let house = House::new(Rotation::Strict).await;
    let gateway = house.start("a").await;
    let one = |mut clients: Vec<(Protocol, String, crate::common::Client)>| {
        clients.iter_mut().for_each(|(_, username, _)| *username = "user0".into());
        clients
    };
    all_are_let_in(log_in(one(crowd(&gateway, &[Protocol::Imap]).await))).await;
    assert_eq!(house.refreshes(), 1);
    let clients = one(crowd(&gateway, &[Protocol::Imap]).await);
    let gate = Gate::new();
    house.control().fail_tokens(TokenFault::HoldAnswer(gate.clone()));
    let_pass(Duration::from_secs(3599)).await;
    let logins = log_in(clients);
    gate.reached(1).await;
    gate.open();
    all_are_let_in(logins).await;
    house.settled(2).await;
    assert_eq!(house.refreshes(), 2);
    house.nothing_is_lost().await;
    house.is_in_order();
}

#[tokio::test]
async fn two_gateways_on_one_store_never_use_a_token_twice() {
    let house = House::new(Rotation::Strict).await;
    let gateways = [house.start("a").await, house.start("b").await];
    for half_hour in 0..12 {
        let before = house.refreshes();
        let clients = [crowd(&gateways[0], &Protocol::ALL).await, crowd(&gateways[1], &Protocol::ALL).await];
        let_pass(HALF_AN_HOUR).await;
        for logins in clients.map(log_in) {
            all_are_let_in(logins).await;
        }
        house.settled(before + 2 * MAILBOXES).await;
        assert_eq!(house.refreshes(), before + 2 * MAILBOXES, "{half_hour}: each gateway for itself");
        house.nothing_is_lost().await;
        house.is_in_order();
    }
}
