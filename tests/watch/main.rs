//! What `mailferry watch` shows of a device that the program itself serves: each step, no secret, and the line to change.
//! And what a gateway does about a device that sends too much, or is refused again and again.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod advice;
mod clearance;
mod command;
mod secrets;
mod wrapped;

use std::net::SocketAddr;
use std::path::Path;

use common::program::{Running, program};
use common::{ADDRESS, Client, Wanted};
use mailferry::config::Protocol;
use mailferry::sim::Simulator;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};

/// A provider, the program before it, and a folder for both.
struct Stage {
    provider: Simulator,
    folder: TempDir,
    gateway: Running,
    addresses: [SocketAddr; 3],
}

impl Stage {
    async fn set(wanted: Wanted) -> Self {
        let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = common::configuration_text(&provider, &folder, &wanted);
        std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
        let mut gateway = Running::start(program(folder.path(), &["--config", "mailferry.toml", "serve"]));
        let mut addresses = Vec::new();
        for protocol in Protocol::ALL {
            addresses.push(gateway.listens(protocol).await);
        }
        Self { provider, folder, gateway, addresses: addresses.try_into().unwrap() }
    }

    /// The command, once it watches.
    async fn watch(&self, arguments: &[&str]) -> Running {
        let arguments = [&["--config", "mailferry.toml", "watch"], arguments].concat();
        let mut watching = Running::start_for_output(program(self.folder.path(), &arguments));
        watching.says("listener pop3: pop3 on ").await;
        watching
    }

    /// A device that has been greeted.
    async fn device(&self, protocol: Protocol) -> Client {
        let at = Protocol::ALL.into_iter().position(|one| one == protocol).unwrap();
        let mut device = Client::connect(self.addresses[at]).await;
        device.line().await;
        device
    }
}

/// Sends a message; its last answer.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(device: &mut Client<S>, text: &str) -> String {
    for command in [&format!("MAIL FROM:<{ADDRESS}>"), &format!("RCPT TO:<{ADDRESS}>"), "DATA"] {
        let answer = device.ask(command).await;
        if !answer.starts_with(['2', '3']) {
            return answer;
        }
    }
    device.ask(&format!("{text}\r\n.")).await
}

/// The transcripts in a folder.
fn transcripts(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with("mailferry-watch-");
    files
        .filter(|path| named(path))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}
