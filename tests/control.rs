//! The control socket of the program itself: who may ask, what a revoked login's sessions meet, and who is there first.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::program::{Running, finish, program};
use common::{ADDRESS, Answer as Login, Client, HASH, PASSWORD, Wanted, in_time};
use mailferry::app::Gateway;
use mailferry::app::office::Office;
use mailferry::config::{Config, Environment, Protocol};
use mailferry::control::{self, AccountState, AddLogin, Answer, AskError, Request};
use mailferry::sim::{self, Simulator};
use rustix::process::Signal;
use tempfile::TempDir;

struct Stage {
    provider: Simulator,
    folder: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let wanted = Wanted { top: "drain_timeout = \"1s\"".into(), ..Wanted::default() };
        let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = common::configuration_text(&provider, &folder, &wanted);
        std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
        Self { provider, folder }
    }

    fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A gateway that is up, and where it speaks each protocol.
    async fn serve(&self) -> (Running, [SocketAddr; 3]) {
        let mut gateway = Running::start(program(self.folder.path(), &["--config", "mailferry.toml", "serve"]));
        let mut addresses = Vec::new();
        for protocol in Protocol::ALL {
            addresses.push(gateway.listens(protocol).await);
        }
        (gateway, addresses.try_into().unwrap())
    }

    fn config(&self) -> Config {
        let file = self.folder.path().join("mailferry.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        Config::parse(&text, &file, &Environment::of_process()).unwrap()
    }

    async fn ask(&self, request: Request) -> Answer {
        in_time(control::ask(&self.state_dir(), &request, |_| {})).await.unwrap()
    }

    async fn add_login(&self, username: &str) -> i64 {
        let login = AddLogin {
            account: ADDRESS.into(),
            username: Some(username.into()),
            device: String::new(),
            password_hash: HASH.trim().into(),
            protocols: vec![],
            networks: vec![],
        };
        match self.ask(Request::AddLogin(login)).await {
            Answer::Login { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }
}

async fn logged_in(address: SocketAddr, protocol: Protocol, username: &str) -> Client {
    let mut client = Client::connect(address).await;
    client.line().await;
    assert_eq!(client.log_in(protocol, username, PASSWORD).await, Login::Accepted);
    client
}

#[tokio::test]
async fn a_revoked_login_is_refused_and_its_sessions_end() {
    let stage = Stage::set().await;
    let (mut gateway, addresses) = stage.serve().await;
    let [smtp, imap, pop3] = addresses;
    let id = stage.add_login("copier").await;
    let mut between = logged_in(smtp, Protocol::Smtp, "copier").await;
    let mut sending = logged_in(smtp, Protocol::Smtp, "copier").await;
    let mut reading = logged_in(imap, Protocol::Imap, "copier").await;
    let mut fetching = logged_in(pop3, Protocol::Pop3, "copier").await;
    let mut other = logged_in(imap, Protocol::Imap, "scanner").await;
    assert!(sending.ask("MAIL FROM:<scanner@contoso.example>").await.starts_with("250 "));
    assert!(sending.ask("RCPT TO:<scanner@contoso.example>").await.starts_with("250 "));
    assert!(sending.ask("DATA").await.starts_with("354 "));
    sending.say("half of a message").await;

    let Answer::Done(what) = stage.ask(Request::RevokeLogin { id }).await else { panic!() };
    assert!(what.contains("copier"), "{what}");
    for client in [&mut between, &mut sending] {
        assert!(client.line().await.starts_with("421 4.7.0 "));
        assert_eq!(client.rest().await, "");
    }
    assert_eq!([reading.rest().await, fetching.rest().await], ["", ""]);
    for _ in 0..4 {
        gateway.says("session ended: the login was revoked").await;
    }
    for (address, protocol) in addresses.into_iter().zip(Protocol::ALL) {
        let mut late = Client::connect(address).await;
        late.line().await;
        assert!(matches!(late.log_in(protocol, "copier", PASSWORD).await, Login::Refused(_)), "{protocol}");
    }
    let control = stage.provider.control();
    let gone = |control: &sim::Control| {
        control.open_connections(sim::Protocol::Smtp) + control.open_connections(sim::Protocol::Pop3) == 0
    };
    in_time(control.until(gone)).await;
    assert_eq!(control.messages(ADDRESS), Vec::<Vec<u8>>::new(), "half a message is none");
    // Whoever came by another login goes on.
    other.say("t NOOP").await;
    other.until("t OK").await;
}

#[tokio::test]
async fn a_replaced_password_ends_its_sessions_when_its_time_is_over() {
    let stage = Stage::set().await;
    let (_gateway, [_, imap, _]) = stage.serve().await;
    let id = stage.add_login("copier").await;
    let mut reading = logged_in(imap, Protocol::Imap, "copier").await;
    let other = common::cheap_hash(b"another password");
    let rotate = |id, grace| Request::RotateLogin { id, password_hash: other.clone(), grace };
    let Answer::Login { id, .. } = stage.ask(rotate(id, 3600)).await else { panic!() };
    reading.say("t NOOP").await;
    reading.until("t OK").await;
    let mut new = Client::connect(imap).await;
    new.line().await;
    assert_eq!(new.log_in(Protocol::Imap, "copier", "another password").await, Login::Accepted);
    // The session of the password that was replaced goes on, that of the one replaced now ends.
    let Answer::Login { .. } = stage.ask(rotate(id, 0)).await else { panic!() };
    assert_eq!(new.rest().await, "");
    reading.say("t NOOP").await;
    reading.until("t OK").await;

    let id = stage.add_login("printer").await;
    let mut printing = logged_in(imap, Protocol::Imap, "printer").await;
    let Answer::Login { .. } = stage.ask(rotate(id, 1)).await else { panic!() };
    assert_eq!(printing.rest().await, "", "its second is over");
}

#[tokio::test]
async fn commands_ask_the_gateway_that_runs_and_by_themselves_where_none_does() {
    let stage = Stage::set().await;
    let state = |answer: Answer| match answer {
        Answer::Accounts(accounts) => accounts[0].state,
        other => panic!("{other:?}"),
    };
    let mut office = Office::open(stage.config()).await.unwrap();
    assert_eq!(state(office.ask(Request::Accounts, |_| {}).await.unwrap()), AccountState::Unused);
    assert!(!control::socket(&stage.state_dir()).exists(), "no gateway was started for it");

    // Started meanwhile: the same office asks it from now on.
    let (gateway, [smtp, ..]) = stage.serve().await;
    let _client = logged_in(smtp, Protocol::Smtp, "scanner").await;
    assert_eq!(state(office.ask(Request::Accounts, |_| {}).await.unwrap()), AccountState::Ready);
    let requests = stage.provider.control().token_requests();
    let mut lines = Vec::new();
    let answer = office
        .ask(Request::Check { account: ADDRESS.into() }, |line| lines.push(line.to_owned()))
        .await;
    assert_eq!(answer.unwrap(), Answer::Checked { wrong: 0, waiting_may_help: false });
    assert_eq!((lines.len(), stage.provider.control().token_requests()), (4, requests), "the gateway's token was used");
    let Answer::Logins(logins) = stage.ask(Request::Logins).await else { panic!() };
    assert!(logins[0].used.is_some() && logins[0].from.unwrap().is_loopback());

    gateway.signal(Signal::TERM);
    assert_eq!(in_time(gateway.ended()).await, Some(0));
    assert!(!control::socket(&stage.state_dir()).exists());
    assert_eq!(state(office.ask(Request::Accounts, |_| {}).await.unwrap()), AccountState::Unused);
    office.close().await;
}

#[tokio::test]
async fn a_command_at_work_and_a_gateway_wait_for_each_other() {
    let stage = Stage::set().await;
    let mut office = Office::open(stage.config()).await.unwrap();
    // As one of them that has not yet said that it is there.
    let hold = control::hold(&stage.state_dir()).unwrap();
    tokio::time::pause();
    let error = office.ask(Request::Logins, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("another mailferry is at work with state_dir"), "{error}");
    let Err(error) = Gateway::start(stage.config()).await else { panic!("it started") };
    assert!(error.to_string().contains("another mailferry is at work with state_dir"), "{error}");
    tokio::time::resume();
    assert_eq!(std::fs::read_dir(stage.state_dir()).unwrap().count(), 1, "the store was not opened");

    // Given back in time, the gateway that was started meanwhile comes up.
    let leaving = async {
        tokio::task::yield_now().await;
        drop(hold);
    };
    let (gateway, ()) = in_time(async { tokio::join!(Gateway::start(stage.config()), leaving) }).await;
    let gateway = gateway.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(office.ask(Request::Logins, |_| {}).await.unwrap(), Answer::Logins(_)));
    gateway.drain().await;

    // While it is asked, the office has the folder for itself; afterwards it has not.
    let mut held = None;
    let state_dir = stage.state_dir();
    let check = Request::Check { account: ADDRESS.into() };
    office
        .ask(check, |_| held = Some(control::hold(&state_dir).is_err()))
        .await
        .unwrap();
    assert_eq!(held, Some(true));
    drop(control::hold(&state_dir).unwrap());
    office.close().await;
}

#[tokio::test]
async fn one_state_has_one_gateway_and_one_that_was_killed_is_no_obstacle() {
    let stage = Stage::set().await;
    let (gateway, _) = stage.serve().await;
    let second = finish(program(stage.folder.path(), &["--config", "mailferry.toml", "serve"])).await;
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains("another gateway runs with state_dir"), "{said}");
    assert!(!said.contains("listening"), "{said}");
    assert!(matches!(stage.ask(Request::Accounts).await, Answer::Accounts(_)), "the first one goes on");

    gateway.signal(Signal::KILL);
    in_time(gateway.ended()).await;
    assert!(control::socket(&stage.state_dir()).exists());
    let nobody = control::ask(&stage.state_dir(), &Request::Accounts, |_| {}).await;
    assert!(matches!(nobody, Err(AskError::NobodyListens)), "{nobody:?}");
    let (_gateway, _) = stage.serve().await;
    assert!(matches!(stage.ask(Request::Accounts).await, Answer::Accounts(_)));
}

/// Listens at the socket as the user 65534, and says what it was told.
const IMPOSTOR: &str = r#"
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as s:
    s.bind(sys.argv[1])
    s.listen()
    print("listening", flush=True)
    s.settimeout(60)
    print(s.accept()[0].recv(4096), flush=True)
"#;

#[tokio::test]
async fn nothing_is_told_to_another_users_program() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    // To become somebody else takes root.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    std::fs::create_dir(&state_dir).unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(folder.path(), 0o755);
    mode(&state_dir, 0o777);
    let mut impostor = tokio::process::Command::new("python3")
        .args(["-c", IMPOSTOR])
        .arg(control::socket(&state_dir))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(impostor.stdout.take().unwrap()).lines();
    assert_eq!(in_time(lines.next_line()).await.unwrap().unwrap(), "listening");
    let asked = in_time(control::ask(&state_dir, &Request::Accounts, |_| {})).await;
    assert!(matches!(asked, Err(AskError::Stranger { .. })), "{asked:?}");
    assert_eq!(in_time(lines.next_line()).await.unwrap().unwrap(), "b''");
}

/// Asks over the socket as the user 65534, who is nobody's friend, and prints what came back.
const STRANGER: &str = r#"
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as s:
    try:
        s.connect(sys.argv[1])
    except PermissionError:
        sys.exit("closed")
    try:
        s.sendall(b'"accounts"\n')
    except BrokenPipeError:
        pass
    heard = b""
    while True:
        try:
            part = s.recv(4096)
        except ConnectionResetError:
            break
        if not part:
            break
        heard += part
    sys.stdout.buffer.write(heard)
"#;

async fn stranger(socket: &Path) -> (String, String) {
    let mut python = Command::new("python3");
    python.args(["-c", STRANGER]).arg(socket);
    python
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let output = finish(python).await;
    let text = |octets| String::from_utf8(octets).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn another_user_is_refused_by_the_file_and_by_the_gateway() {
    // To become somebody else takes root.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stage = Stage::set().await;
    let (_gateway, _) = stage.serve().await;
    let socket = control::socket(&stage.state_dir());
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(stage.folder.path(), 0o755);
    mode(&stage.state_dir(), 0o755);
    assert_eq!(stranger(&socket).await, (String::new(), "closed\n".into()));
    // Somebody has opened the door wide.
    mode(&socket, 0o666);
    let (said, complaint) = stranger(&socket).await;
    assert_eq!(complaint, "");
    assert!(said.starts_with("{\"answer\":{\"failed\":{\"usage\":false,\"what\":\"only root"), "{said}");
    assert!(said.ends_with("\n") && !said.contains(ADDRESS), "{said}");
    assert!(matches!(stage.ask(Request::Accounts).await, Answer::Accounts(_)));
}
