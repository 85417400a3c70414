//! The orderly end: who may finish, who is told goodbye, and who is stopped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::program::{Running, program};
use common::{ADDRESS, Client, Setup, Wanted, configuration_text};
use mailferry::config::Protocol;
use mailferry::sim::Simulator;

/// One piece of the message, a whole line.
const PIECE: usize = 64 * 1024;

/// How many of them make 20 MB.
const PIECES: usize = 320;

fn piece() -> Vec<u8> {
    [vec![b'x'; PIECE - 2], b"\r\n".to_vec()].concat()
}

/// Sends everything up to the middle of a 20 MB message.
async fn begin_message(client: &mut Client) {
    assert!(client.ask("MAIL FROM:<scanner@contoso.example>").await.starts_with("250 "));
    assert!(client.ask("RCPT TO:<scanner@contoso.example>").await.starts_with("250 "));
    assert!(client.ask("DATA").await.starts_with("354 "));
    for _ in 0..PIECES / 2 {
        client.send(&piece()).await;
    }
}

async fn end_message(client: &mut Client) {
    for _ in 0..PIECES / 2 {
        client.send(&piece()).await;
    }
    client.send(b".\r\n").await;
}

#[tokio::test]
async fn a_message_in_flight_is_finished_and_answered() {
    let Setup { provider, gateway, folder: _folder } = Setup::new().await;
    let smtp = address(&gateway, Protocol::Smtp);
    let mut sending = logged_in(smtp, Protocol::Smtp).await;
    let mut between = logged_in(smtp, Protocol::Smtp).await;
    let mut stranger = greeted(smtp).await;
    let mut reading = logged_in(address(&gateway, Protocol::Imap), Protocol::Imap).await;
    let mut fetching = logged_in(address(&gateway, Protocol::Pop3), Protocol::Pop3).await;
    let mut strange_reader = greeted(address(&gateway, Protocol::Imap)).await;
    let mut strange_fetcher = greeted(address(&gateway, Protocol::Pop3)).await;
    begin_message(&mut sending).await;

    let draining = tokio::spawn(gateway.drain());

    // Whoever is between two messages, or has not logged in, is told; a quiet reader is hung up on.
    for client in [&mut between, &mut stranger] {
        assert!(client.line().await.starts_with("421 4.3.2 "));
        assert_eq!(client.rest().await, "");
    }
    assert!(strange_reader.rest().await.starts_with("* BYE "));
    assert!(strange_fetcher.rest().await.starts_with("-ERR [SYS/TEMP] "));
    assert_eq!(reading.rest().await, "");
    assert_eq!(fetching.rest().await, "");
    assert!(tokio::net::TcpStream::connect(smtp).await.is_err(), "nobody new is let in");

    assert!(!draining.is_finished());
    end_message(&mut sending).await;
    assert!(sending.line().await.starts_with("250 2.0.0 "), "the message is answered");
    assert!(sending.line().await.starts_with("421 4.3.2 "), "and then it is over");
    assert_eq!(draining.await.unwrap(), 0, "nobody had to be stopped");
    let arrived = provider.control().messages(ADDRESS);
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0] == piece().repeat(PIECES), "octet for octet");
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_stopped() {
    let wanted = Wanted { top: "drain_timeout = \"0s\"".into(), ..Wanted::default() };
    let Setup { provider, gateway, folder: _folder } = Setup::with(wanted).await;
    let mut sending = logged_in(address(&gateway, Protocol::Smtp), Protocol::Smtp).await;
    begin_message(&mut sending).await;
    assert_eq!(gateway.drain().await, 1);
    sending.rest().await;
    assert_eq!(provider.control().messages(ADDRESS), Vec::<Vec<u8>>::new(), "half a message is none");
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_lets_the_program_finish_and_end_well() {
    let wanted = Wanted::default();
    let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mailferry.toml"), configuration_text(&provider, &folder, &wanted)).unwrap();
    let mut gateway = Running::start(program(folder.path(), &["--config", "mailferry.toml", "serve"]));
    let mut sending = logged_in(gateway.listens(Protocol::Smtp).await, Protocol::Smtp).await;
    begin_message(&mut sending).await;
    gateway.signal(rustix::process::Signal::TERM);
    gateway.says("shutting down").await;
    end_message(&mut sending).await;
    assert!(sending.line().await.starts_with("250 2.0.0 "));
    assert!(sending.line().await.starts_with("421 4.3.2 "));
    assert_eq!(gateway.ended().await, Some(0));
    assert_eq!(provider.control().messages(ADDRESS).len(), 1);
}

fn address(gateway: &mailferry::app::Gateway, protocol: Protocol) -> std::net::SocketAddr {
    gateway
        .bound()
        .iter()
        .find(|bound| bound.listener.protocol == protocol)
        .unwrap()
        .address
}

async fn greeted(address: std::net::SocketAddr) -> Client {
    let mut client = Client::connect(address).await;
    client.line().await;
    client
}

async fn logged_in(address: std::net::SocketAddr, protocol: Protocol) -> Client {
    let mut client = greeted(address).await;
    assert_eq!(client.log_in(protocol, "scanner", common::PASSWORD).await, common::Answer::Accepted);
    client
}
