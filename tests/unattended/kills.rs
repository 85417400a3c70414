//! The program is ended at any moment: told to, and not.

use std::net::SocketAddr;

use mailferry::sim::{Gate, Rotation, TokenFault};
use rustix::process::Signal;
use sqlx::{Connection, SqliteConnection};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::common::{PASSWORD, in_time};
use crate::{House, Luck, MAILBOXES, address};

/// What the next start says of a rotation that may be lost.
const UNDER_WAY: &str = "a refresh was under way when mailferry last stopped";

/// Logs in over IMAP; the answer, or nothing where the gateway ended first.
async fn try_to_log_in(imap: SocketAddr, username: String) -> Option<String> {
    let mut connection = BufReader::new(TcpStream::connect(imap).await.ok()?);
    let mut line = String::new();
    connection.read_line(&mut line).await.ok()?;
    connection
        .write_all(format!("tag LOGIN {username} \"{PASSWORD}\"\r\n").as_bytes())
        .await
        .ok()?;
    loop {
        line.clear();
        if connection.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line.starts_with("tag ") {
            return Some(line);
        }
    }
}

/// Three logins at once for each mailbox.
fn rush(imap: SocketAddr) -> JoinSet<Option<String>> {
    let mut logins = JoinSet::new();
    for number in 0..3 * MAILBOXES {
        logins.spawn(in_time(try_to_log_in(imap, format!("user{}", number % MAILBOXES))));
    }
    logins
}

/// All of them are let in.
async fn let_in(logins: JoinSet<Option<String>>) {
    for answer in logins.join_all().await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("tag OK "), "{answer}");
    }
}

impl House {
    /// The file is whole by SQLite's own judgement; and so much time passes that the dead have no right to a token left.
    async fn is_whole_and_leases_are_over(&self) {
        let url = format!("sqlite:{}", self.folder.path().join("store/mailferry.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        assert_eq!(said, ["ok"]);
        sqlx::query("UPDATE sign_in SET leased_until = 1 WHERE leased_until IS NOT NULL")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn killed_at_random_it_loses_at_most_what_it_says() {
    const KILLS: usize = 12;
    let house = House::new(Rotation::Strict).await;
    let mut luck = Luck(0x0dd_ba11);
    let (mut under_way, mut lost, mut expected) = (0, 0, Vec::new());
    for kill in 0..=KILLS {
        let (gateway, imap) = house.serve().await;
        // Those who lost theirs sign in again, beside the gateway that runs.
        for account in house.accounts() {
            if expected.iter().any(|(name, is_lost)| *name == account.address && *is_lost) {
                house.sign_in(&account).await;
            }
        }
        let before = house.refreshes();
        let log = if kill < KILLS {
            let logins = rush(imap);
            let begun = luck.below(MAILBOXES + 1);
            in_time(house.control().until(|_| house.refreshes() >= before + begun)).await;
            luck.while_others_work(if kill % 2 == 0 { 300 } else { 20 }).await;
            gateway.signal(Signal::KILL);
            let (status, log) = gateway.ended_with_all().await;
            assert_eq!(status, None);
            drop(logins);
            log
        } else {
            let_in(rush(imap)).await;
            gateway.signal(Signal::TERM);
            gateway.ended_with_all().await.1
        };
        let said: Vec<&str> = log.lines().filter(|line| line.contains(UNDER_WAY)).collect();
        assert_eq!(said.len(), expected.len(), "{log}");
        for (account, _) in &expected {
            assert!(said.iter().any(|line| line.contains(account)), "{account} is not in {log}");
        }
        expected.clear();
        // What the provider sent may still be on its way into its own books.
        for kept in house.kept().await {
            let is_lost = !house.takes(&kept);
            assert!(kept.in_use || !is_lost, "{}: lost, and nobody will know", kept.account);
            if kept.in_use {
                expected.push((kept.account, is_lost));
            }
        }
        under_way += expected.len();
        lost += expected.iter().filter(|(_, is_lost)| *is_lost).count();
        house.is_whole_and_leases_are_over().await;
    }
    assert!(expected.is_empty(), "SIGTERM leaves nothing behind");
    assert!(under_way > 0, "no kill met a refresh");
    house.is_in_order();
    println!("{KILLS} kills, {} refreshes, {under_way} under way, {lost} lost", house.refreshes());
}

/// Killed while the answer with the new refresh token is on its way to it; then started again.
async fn killed_before_the_answer(rotation: Rotation) -> (House, String, String) {
    let house = House::new(rotation).await;
    let (gateway, imap) = house.serve().await;
    let gate = Gate::new();
    house.control().fail_next_tokens(1, TokenFault::HoldAnswer(gate.clone()));
    let login = tokio::spawn(in_time(try_to_log_in(imap, "user0".into())));
    in_time(gate.reached(1)).await;
    gateway.signal(Signal::KILL);
    gateway.ended().await;
    assert_eq!(login.await.unwrap(), None);
    gate.open();
    house.is_whole_and_leases_are_over().await;
    let (gateway, imap) = house.serve().await;
    let answer = in_time(try_to_log_in(imap, "user0".into())).await.unwrap();
    for number in 1..MAILBOXES {
        let others = in_time(try_to_log_in(imap, format!("user{number}"))).await.unwrap();
        assert!(others.starts_with("tag OK "), "{others}");
    }
    gateway.signal(Signal::TERM);
    let (status, log) = gateway.ended_with_all().await;
    assert_eq!(status, Some(0));
    let said: Vec<_> = log.lines().filter(|line| line.contains(UNDER_WAY)).collect();
    assert!(said.len() == 1 && said[0].contains(&address(0)), "{log}");
    (house, answer, log)
}

#[tokio::test]
async fn killed_with_a_strict_rotation_under_way_it_asks_for_that_one_sign_in() {
    let (house, answer, log) = killed_before_the_answer(Rotation::Strict).await;
    assert!(answer.starts_with("tag NO ["), "{answer}");
    assert!(log.contains("mailferry sign-in user0@contoso.example"), "{log}");
    assert_eq!(house.control().invalid_grants(), 1);
    let lost: Vec<_> = house.kept().await.into_iter().filter(|kept| !house.takes(kept)).collect();
    assert_eq!(lost.iter().map(|kept| kept.account.as_str()).collect::<Vec<_>>(), [address(0)]);
}

#[tokio::test]
async fn killed_with_a_lenient_rotation_under_way_it_loses_nothing() {
    let (house, answer, _) = killed_before_the_answer(Rotation::Lenient).await;
    assert!(answer.starts_with("tag OK "), "{answer}");
    assert_eq!(house.control().invalid_grants(), 0);
    house.nothing_is_lost().await;
    house.asked_nobody();
}

#[tokio::test]
async fn sigterm_waits_for_a_refresh_under_way() {
    let house = House::new(Rotation::Strict).await;
    let (mut gateway, imap) = house.serve().await;
    let gate = Gate::new();
    house.control().fail_next_tokens(1, TokenFault::HoldAnswer(gate.clone()));
    let login = tokio::spawn(in_time(try_to_log_in(imap, "user0".into())));
    in_time(gate.reached(1)).await;
    gateway.signal(Signal::TERM);
    gateway.says("shutting down").await;
    gate.open();
    assert_eq!(gateway.ended().await, Some(0));
    // Whether the one who waited for it was still let in is another matter.
    login.await.unwrap();
    assert_eq!(house.refreshes(), 1);
    house.nothing_is_lost().await;

    let (gateway, imap) = house.serve().await;
    let_in(rush(imap)).await;
    gateway.signal(Signal::TERM);
    let (status, log) = gateway.ended_with_all().await;
    assert_eq!(status, Some(0));
    assert!(!log.contains(UNDER_WAY), "{log}");
    assert_eq!(house.refreshes(), 1 + MAILBOXES);
    house.nothing_is_lost().await;
    house.is_in_order();
}
