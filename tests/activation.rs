//! Sockets that were opened for the gateway before it began, as systemd does it.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;

use common::program::{Running, program_with_sockets};
use common::{Answer, Client, PASSWORD, Wanted};
use mailferry::config::Protocol;
use mailferry::sim::Simulator;
use tempfile::TempDir;

/// What the shell calls its own process, which becomes the program's.
const OWN: &str = "$$";

/// A provider, and a folder with a configuration whose SMTP listener has these addresses.
struct Stage {
    _provider: Simulator,
    folder: TempDir,
}

impl Stage {
    async fn set(addresses: &[SocketAddr]) -> Self {
        let wanted = Wanted::default();
        let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bind = addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>();
        let text = common::configuration_text(&provider, &folder, &wanted);
        let text = text.replacen("bind = \"127.0.0.1:0\"", &format!("bind = [{}]", bind.join(", ")), 1);
        std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
        Self { _provider: provider, folder }
    }

    /// Starts the program with these sockets.
    fn start(&self, sockets: impl IntoIterator<Item = OwnedFd>, pid: &str) -> Running {
        let arguments = ["--config", "mailferry.toml", "serve"];
        Running::start(program_with_sockets(self.folder.path(), sockets, pid, &arguments))
    }

    /// Starts it with sockets with which it does not start; what it says.
    async fn fails(&self, sockets: impl IntoIterator<Item = OwnedFd>, pid: &str) -> String {
        let (status, said) = self.start(sockets, pid).ended_with_all().await;
        assert_eq!(status, Some(1), "{said}");
        said
    }
}

#[tokio::test]
async fn sockets_that_are_there_are_used_and_who_came_early_is_served() {
    let sockets = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).unwrap());
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let stage = Stage::set(&addresses).await;
    // As long as these are held nobody else could listen there.
    let given = sockets.each_ref().map(|socket| OwnedFd::from(socket.try_clone().unwrap()));
    let mut early = Client::connect(addresses[0]).await;
    let mut gateway = stage.start(given, OWN);
    assert!(early.line().await.starts_with("220 "));
    for address in addresses {
        assert_eq!(gateway.listens(Protocol::Smtp).await, address);
        let mut client = Client::connect(address).await;
        assert!(client.line().await.starts_with("220 "));
        assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    }
    // The listeners for which there was no socket have made their own.
    let imap = gateway.listens(Protocol::Imap).await;
    assert!(Client::connect(imap).await.line().await.starts_with("* OK"));
}

#[tokio::test]
async fn a_socket_that_no_listener_names_is_said() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let stage = Stage::set(&["127.0.0.1:0".parse().unwrap()]).await;
    let said = stage.fails([socket.into()], OWN).await;
    assert!(said.contains(&address.to_string()) && said.contains("no listener has that address"), "{said}");
}

#[tokio::test]
async fn what_is_no_listening_socket_is_said() {
    let stage = Stage::set(&["127.0.0.1:0".parse().unwrap()]).await;
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for socket in [datagrams.into(), connection.into()] {
        let said = stage.fails([socket], OWN).await;
        assert!(said.contains("LISTEN_FDS") && said.contains("Accept=no"), "{said}");
    }
}

#[tokio::test]
async fn sockets_for_another_process_are_not_taken() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let stage = Stage::set(&[socket.local_addr().unwrap()]).await;
    let given = socket.try_clone().unwrap();
    let said = stage.fails([given.into()], "1").await;
    assert!(said.contains("Something else is running there"), "{said}");
}
