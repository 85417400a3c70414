//! What goes wrong around a gateway, and costs nobody a sign-in: secrets that end, networks, disks, passwords.

use std::fs;
use std::process::Command;
use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{self, CannedAnswer, ClientKind, Gate, Rotation, TokenFault};

use crate::common::{Answer, Client, PASSWORD, let_pass};
use crate::{HALF_AN_HOUR, House, MAILBOXES, all_are_let_in, crowd, listens, log_in};

#[tokio::test]
async fn a_client_secret_is_rotated_under_load() {
    let house = House::with(Rotation::Strict, "client_secret = [{ file = \"new\" }, { file = \"old\" }]").await;
    let control = house.control();
    control.set_client_kind(ClientKind::Confidential);
    let file = |name: &str, secret: &str| fs::write(house.folder.path().join(name), secret).unwrap();
    let gateway = house.start("a").await;
    let mut staying = all_are_let_in(log_in(crowd(&gateway, &Protocol::ALL).await)).await;
    let mut current = sim::Options::default().client_secret;
    for round in 0..6 {
        let next = format!("client secret number {round}");
        let clients = crowd(&gateway, &Protocol::ALL).await;
        match round % 3 {
            // As one should: into the file before the old one ends.
            0 => {
                control.add_client_secret(&next);
                file("new", &next);
                control.expire_client_secret(&current);
                let_pass(HALF_AN_HOUR).await;
            }
            // While refreshes are under way, and into the second place.
            1 => {
                let gate = Gate::new();
                control.fail_next_tokens(MAILBOXES, TokenFault::Hold(gate.clone()));
                let_pass(HALF_AN_HOUR).await;
                gate.reached(MAILBOXES).await;
                control.add_client_secret(&next);
                file("old", &next);
                control.expire_client_secret(&current);
                gate.open();
            }
            // By the second place into the first.
            _ => {
                control.set_client_secret(&next);
                file("new", &next);
                let_pass(HALF_AN_HOUR).await;
            }
        }
        current = next;
        staying = all_are_let_in(log_in(clients)).await;
        let store = house.refreshes();
        house.settled(store).await;
    }
    drop(staying);
    gateway.drain().await;
    house.nothing_is_lost().await;
    house.is_in_order();
}

#[tokio::test]
async fn a_wrong_password_costs_nothing() {
    let house = House::new(Rotation::Strict).await;
    let gateway = house.start("a").await;
    for protocol in Protocol::ALL {
        let mut client = Client::connect(listens(&gateway, protocol)).await;
        client.line().await;
        assert!(matches!(client.log_in(protocol, "user0", "another password").await, Answer::Refused(_)));
    }
    assert_eq!(house.control().token_requests(), 0);
    house.nothing_is_lost().await;
    house.is_in_order();
}

#[tokio::test]
async fn a_dead_network_and_a_restarted_provider_are_outlived() {
    let house = House::new(Rotation::Strict).await;
    let control = house.control();
    let gateway = house.start("a").await;
    let mut staying = all_are_let_in(log_in(crowd(&gateway, &Protocol::ALL).await)).await;
    let unwell = CannedAnswer::new(503).body("text/html", "<h1>Starting</h1>");
    for fault in
        [None, Some(TokenFault::Close), Some(TokenFault::Answer(unwell)), Some(TokenFault::Error("server_error"))]
    {
        let clients = crowd(&gateway, &Protocol::ALL).await;
        match &fault {
            None => control.close_door(sim::Protocol::Http).await,
            Some(fault) => control.fail_tokens(fault.clone()),
        }
        let_pass(HALF_AN_HOUR).await;
        // On the tokens in memory.
        staying = all_are_let_in(log_in(clients)).await;
        house.nothing_is_lost().await;
        control.clear_faults();
        control.open_door(sim::Protocol::Http).await;
        let before = house.refreshes();
        // Longer than any pause; all that was put off is due.
        let_pass(Duration::from_secs(120)).await;
        house.settled(before + MAILBOXES).await;
        house.nothing_is_lost().await;
        house.is_in_order();
    }
    drop(staying);
}

/// A file system of its own that is unmounted in the end.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_costs_nobody_a_sign_in() {
    let house = House::new(Rotation::Strict).await;
    let store = house.folder.path().join("store");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"])
        .arg(&store)
        .output();
    let mounted = match mount {
        Ok(output) if output.status.success() => Mounted(store.clone()),
        refused => return println!("skipped: no file system may be mounted here ({refused:?})"),
    };
    for account in house.accounts() {
        house.sign_in(&account).await;
    }
    let gateway = house.start("a").await;
    let mut client = Client::connect(listens(&gateway, Protocol::Imap)).await;
    client.line().await;
    assert_eq!(client.log_in(Protocol::Imap, "user0", PASSWORD).await, Answer::Accepted);
    house.settled(1).await;

    // Full between the lease and the new refresh token: that one is kept in memory until there is room.
    let filler = store.join("filler");
    let gate = Gate::new();
    house.control().fail_next_tokens(1, TokenFault::HoldAnswer(gate.clone()));
    let_pass(HALF_AN_HOUR).await;
    gate.reached(1).await;
    let full = fs::write(&filler, vec![0; 2 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    gate.open();
    // The others need their first token: once there is no room left in what the store had, they are told, and their
    // refresh tokens are not spent.
    let (mut spent, mut told) = (2, 0);
    for number in 1..MAILBOXES {
        let mut other = Client::connect(listens(&gateway, Protocol::Imap)).await;
        other.line().await;
        match other.log_in(Protocol::Imap, &format!("user{number}"), PASSWORD).await {
            Answer::Accepted => spent += 1,
            Answer::Refused(line) => {
                assert!(line.starts_with("tag NO [UNAVAILABLE]"), "{line}");
                told += 1;
            }
        }
    }
    assert!(told > 0, "the disk is not full");
    assert!(house.refreshes() <= spent + 1, "only the one that took the last room is spent and waits for more");
    // On the token in memory.
    let mut client = Client::connect(listens(&gateway, Protocol::Smtp)).await;
    client.line().await;
    assert_eq!(client.log_in(Protocol::Smtp, "user0", PASSWORD).await, Answer::Accepted);

    fs::remove_file(&filler).unwrap();
    let_pass(Duration::from_secs(120)).await;
    all_are_let_in(log_in(crowd(&gateway, &Protocol::ALL).await)).await;
    gateway.drain().await;
    house.nothing_is_lost().await;
    house.is_in_order();
    drop(mounted);
}
