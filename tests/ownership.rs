//! Root runs commands beside a service that has a user of its own, and strangers do too: whose the files stay, and who is
//! let in. All of it takes root; where the tests run as another user, they say so and pass.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says why it was not run")]

mod common;

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::program::{Running, finish, finish_with, program, program_as};
use common::{ADDRESS, Answer, Client, PASSWORD, Wanted, in_time};
use mailferry::config::Protocol;
use mailferry::sim::Simulator;
use rustix::process::Signal;
use tempfile::TempDir;

/// Who the service runs as, and somebody else: no user of this machine needs these names.
const SERVICE: u32 = 65_534;
const STRANGER: u32 = 65_533;

const RIGHTS: [&str; 3] = [
    "https://outlook.office365.com/SMTP.Send",
    "https://outlook.office365.com/IMAP.AccessAsUser.All",
    "https://outlook.office365.com/POP.AccessAsUser.All",
];

/// A provider that people sign in at, and a state folder of the service's user.
struct Stage {
    provider: Simulator,
    folder: TempDir,
}

impl Stage {
    /// `None` where this is not root.
    async fn set() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("not run: to run a service as another user takes root");
            return None;
        }
        let mut wanted = Wanted::default();
        let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
        wanted.provider_keys = format!("authorization_url = \"{}\"", provider.authorization_url());
        let folder = tempfile::tempdir().unwrap();
        let scopes = format!("\"openid\", \"email\", \"offline_access\", \"{}\"", RIGHTS.join("\", \""));
        let text = common::configuration_text(&provider, &folder, &wanted)
            .replace("client-credentials", "authorization-code")
            .replace(&format!("client_secret = \"{}\"\n", wanted.provider.client_secret), "")
            .replace("\"https://outlook.office365.com/.default\"", &scopes);
        let stage = Self { provider, folder };
        std::fs::write(stage.file(), text).unwrap();
        std::fs::create_dir(stage.state_dir()).unwrap();
        chown(stage.state_dir(), Some(SERVICE), Some(SERVICE)).unwrap();
        for (path, mode) in [(stage.path(), 0o755), (&stage.file(), 0o644), (&stage.state_dir(), 0o700)] {
            set_mode(path, mode);
        }
        Some(stage)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join("mailferry.toml")
    }

    fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    async fn serve(&self) -> (Running, [SocketAddr; 3]) {
        let mut gateway = Running::start(program_as(SERVICE, self.path(), &["--config", "mailferry.toml", "serve"]));
        let mut addresses = Vec::new();
        for protocol in Protocol::ALL {
            addresses.push(gateway.listens(protocol).await);
        }
        (gateway, addresses.try_into().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        program(self.path(), &[&["--config", "mailferry.toml"], arguments].concat())
    }

    async fn stranger(&self, arguments: &[&str]) -> Output {
        finish(program_as(STRANGER, self.path(), &[&["--config", "mailferry.toml"], arguments].concat())).await
    }

    /// Root signs in, makes a login and looks at the accounts. The new login's password.
    async fn root_at_work(&self, username: &str) -> String {
        let scopes: Vec<_> = ["openid", "email", "offline_access"].into_iter().chain(RIGHTS).collect();
        let token = self.provider.control().add_refresh_token(ADDRESS, &scopes).unwrap();
        let sign_in = self.command(&["sign-in", ADDRESS, "--refresh-token"]);
        let said = good(finish_with(sign_in, format!("{token}\n").into_bytes()).await);
        assert!(said.contains("scanner@contoso.example is signed in as scanner@contoso.example"), "{said}");
        let said = good(finish(self.command(&["login", "add", ADDRESS, "--username", username])).await);
        let accounts = good(finish(self.command(&["accounts"])).await);
        assert!(accounts.contains(ADDRESS), "{accounts}");
        let (_, password) = said.rsplit_once("password ").unwrap();
        password.split(' ').next().unwrap().to_owned()
    }

    /// What is in the state folder, and the folder: all of it the service's and nobody else's.
    fn is_the_services_own(&self) {
        let inside = std::fs::read_dir(self.state_dir()).unwrap().map(|entry| entry.unwrap().path());
        let all: Vec<_> = inside.chain([self.state_dir()]).collect();
        assert!(all.len() > 2, "{all:?}");
        for path in all {
            let found = std::fs::symlink_metadata(&path).unwrap();
            assert_eq!(found.uid(), SERVICE, "{}", path.display());
            assert_eq!(found.mode() & 0o007, 0, "{}: {:o}", path.display(), found.mode());
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[track_caller]
fn good(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn log_in(addresses: [SocketAddr; 3], username: &str, password: &str) {
    for (address, protocol) in addresses.into_iter().zip(Protocol::ALL) {
        let mut client = Client::connect(address).await;
        client.line().await;
        assert_eq!(client.log_in(protocol, username, password).await, Answer::Accepted, "{protocol}");
    }
}

#[tokio::test]
async fn root_signs_in_beside_the_service_and_the_service_goes_on() {
    let Some(stage) = Stage::set().await else { return };
    let (gateway, addresses) = stage.serve().await;
    let mut early = Client::connect(addresses[0]).await;
    early.line().await;
    let refused = early.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    assert!(matches!(&refused, Answer::Refused(said) if said.contains("Nobody is signed in")), "{refused:?}");

    let password = stage.root_at_work("copier").await;
    log_in(addresses, "scanner", PASSWORD).await;
    log_in(addresses, "copier", &password).await;
    let mut reading = Client::connect(addresses[1]).await;
    reading.line().await;
    assert_eq!(reading.log_in(Protocol::Imap, "copier", &password).await, Answer::Accepted);
    good(finish(stage.command(&["login", "revoke", "1"])).await);
    assert_eq!(reading.rest().await, "", "its session ends");
    stage.is_the_services_own();
    gateway.signal(Signal::TERM);
    assert_eq!(in_time(gateway.ended()).await, Some(0));
    stage.is_the_services_own();
}

#[tokio::test]
async fn root_signs_in_before_the_service_starts() {
    let Some(stage) = Stage::set().await else { return };
    // Twice: with nothing there yet, and with what the service has made.
    for username in ["copier", "printer"] {
        let password = stage.root_at_work(username).await;
        stage.is_the_services_own();
        let (gateway, addresses) = stage.serve().await;
        log_in(addresses, "scanner", PASSWORD).await;
        log_in(addresses, username, &password).await;
        gateway.signal(Signal::TERM);
        assert_eq!(in_time(gateway.ended()).await, Some(0));
        stage.is_the_services_own();
    }
}

#[tokio::test]
async fn a_stranger_is_told_by_whom_it_has_to_be_run() {
    let Some(stage) = Stage::set().await else { return };
    let refused = |output: Output, words: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(output.stdout, b"");
    };
    let (gateway, _) = stage.serve().await;
    // As far as the folder lets them through: to nothing, to the socket.
    for mode in [0o700, 0o755] {
        set_mode(&stage.state_dir(), mode);
        for arguments in [&["accounts"][..], &["login", "revoke", "1"]] {
            refused(stage.stranger(arguments).await, "is closed to this user: run this as root or as ");
        }
        let output = stage.stranger(&["watch"]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("run this as root or as ") && !said.contains("group"), "no group helps: {said}");
    }
    let second = finish(program_as(STRANGER, stage.path(), &["--config", "mailferry.toml", "serve"])).await;
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    gateway.signal(Signal::TERM);
    assert_eq!(in_time(gateway.ended()).await, Some(0));

    refused(stage.stranger(&["accounts"]).await, "run this as user 65534 or root");
    set_mode(&stage.state_dir(), 0o700);
    refused(stage.stranger(&["accounts"]).await, "is closed to this user: run this as root or as ");
    stage.is_the_services_own();

    // A certificate that is there, and whose key is not for strangers.
    let text = std::fs::read_to_string(stage.file()).unwrap();
    let tls = text.replace("bind = \"127.0.0.1:0\"", "bind = \"127.0.0.1:0\"\ntls = \"auto\"");
    std::fs::write(stage.file(), tls).unwrap();
    good(finish(program_as(SERVICE, stage.path(), &["--config", "mailferry.toml", "cert"])).await);
    for mode in [0o700, 0o755] {
        set_mode(&stage.state_dir(), mode);
        refused(stage.stranger(&["cert"]).await, "is closed to this user: run this as root or as ");
        let checked = good(stage.stranger(&["check", "--offline"]).await);
        assert!(checked.contains("warn  certificate: ") && checked.contains("run this as root or as "), "{checked}");
    }
}

#[tokio::test]
async fn a_program_that_everybody_could_name_is_not_run() {
    let Some(stage) = Stage::set().await else { return };
    let text = std::fs::read_to_string(stage.file()).unwrap();
    let (before, app) = text.split_once("grant = ").unwrap();
    let (_, accounts) = app.split_once("[[account]]").unwrap();
    let ran = stage.state_dir().join("ran");
    let command = format!("grant = \"command\"\ncommand = [\"touch\", \"{}\"]\n", ran.display());
    std::fs::write(stage.file(), format!("{before}{command}[[account]]{accounts}")).unwrap();
    set_mode(&stage.file(), 0o646);
    for arguments in [&["serve"][..], &["check"], &["accounts"]] {
        for user in [0, SERVICE] {
            let arguments = [&["--config", "mailferry.toml"], arguments].concat();
            let output = finish(program_as(user, stage.path(), &arguments)).await;
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("every user of this machine can change it; chmod o-w "), "{said}");
        }
    }
    assert!(!ran.exists());
    set_mode(&stage.file(), 0o644);
    let output = finish(stage.command(&["check"])).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(ran.exists(), "only the mode stood in its way");
}
