//! Every grant from its sign-in to its first message: the program itself, before a simulated provider.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod apps;
mod commands;
mod identity;
mod init;
mod people;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::program::{Running, finish, finish_with, program};
use common::{Answer, Client, HASH, PASSWORD, in_time};
use mailferry::config::Protocol;
use mailferry::control::{AccountState, AccountStatus};
use mailferry::sim::{Control, Options, Personality, Simulator};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// The mailbox of the login `scanner`, and who signs in for it where nothing else is said.
const SCANNER: &str = "scanner@contoso.example";

/// A person with a mailbox of their own.
const ANN: &str = "ann@contoso.example";

/// A provider with both mailboxes.
fn of(personality: Personality) -> Options {
    Options { personality, mailboxes: vec![SCANNER.into(), ANN.into()], ..Options::default() }
}

/// A provider, and a configuration for it in a folder of its own.
struct Stage {
    provider: Simulator,
    folder: TempDir,
}

/// A gateway that is up.
struct Gateway {
    running: Running,
    smtp: SocketAddr,
    imap: SocketAddr,
}

impl Stage {
    /// At Microsoft, with an app of this grant and these further keys, and an account for the scanner.
    async fn microsoft(grant: &str, keys: &str) -> Self {
        let stage = Self::bare(of(Personality::Microsoft)).await;
        stage.write(&stage.configuration("microsoft", grant, keys));
        stage
    }

    /// A provider and an empty folder.
    async fn bare(options: Options) -> Self {
        Self { provider: Simulator::start(options).await.unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn control(&self) -> &Control {
        self.provider.control()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `[provider.NAME]` with the simulator's addresses.
    fn provider_table(&self, name: &str, base: &str) -> String {
        std::fs::write(self.path("ca.pem"), self.provider.ca_pem()).unwrap();
        format!(
            "[provider.{name}]\n{base}ca = \"ca.pem\"\ntoken_url = \"{}\"\nauthorization_url = \"{}\"\n\
             device_authorization_url = \"{}\"\n\
             smtp = {{ host = \"localhost\", port = {}, tls = \"starttls\" }}\n\
             imap = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n\
             pop3 = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n",
            self.provider.token_url(),
            self.provider.authorization_url(),
            self.provider.device_authorization_url(),
            self.provider.smtp().port(),
            self.provider.imap().port(),
            self.provider.pop3().port(),
        )
    }

    /// A whole configuration. What is put behind it belongs to the login `scanner`, or begins a table.
    fn configuration(&self, base: &str, grant: &str, keys: &str) -> String {
        let provider = self.provider_table("simulated", &format!("base = \"{base}\"\n"));
        format!(
            "state_dir = \"state\"\nhostname = \"gateway.example\"\ndrain_timeout = \"1s\"\n\
             [[listener]]\nprotocol = \"smtp\"\nbind = \"127.0.0.1:0\"\n\
             [[listener]]\nprotocol = \"imap\"\nbind = \"127.0.0.1:0\"\n{provider}\
             [app.main]\nprovider = \"simulated\"\ngrant = \"{grant}\"\n{keys}\n\
             [[account]]\naddress = \"{SCANNER}\"\napp = \"main\"\n\
             [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{}\"\nprotocols = [\"smtp\", \"imap\"]\n",
            HASH.trim()
        )
    }

    /// Writes the configuration, for its owner's eyes only.
    fn write(&self, text: &str) {
        self.write_file("mailferry.toml", text, 0o600);
    }

    fn append(&self, text: &str) {
        let file = self.path("mailferry.toml");
        self.write(&(std::fs::read_to_string(file).unwrap() + text));
    }

    fn write_file(&self, name: &str, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path(), &[&["--config", "mailferry.toml"], arguments].concat());
        command.env_remove("SUDO_USER").env("USER", "tester");
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments)).await
    }

    /// Runs a command that has to go well; what it prints.
    async fn prints(&self, arguments: &[&str]) -> String {
        printed(&self.run(arguments).await)
    }

    async fn serve(&self) -> Gateway {
        let mut running = Running::start(self.command(&["serve"]));
        let smtp = running.listens(Protocol::Smtp).await;
        let imap = running.listens(Protocol::Imap).await;
        Gateway { running, smtp, imap }
    }

    /// Begins a sign-in, which waits for a person.
    fn begin_sign_in(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(&[&["sign-in"], arguments].concat()))
    }

    /// Signs in through a browser of `user`; how the command ended.
    async fn sign_in_as(&self, user: &str) -> Output {
        let mut command = self.begin_sign_in(&[SCANNER]);
        let url = url_of(&mut command).await;
        browse(self, &url, user).await;
        in_time(command.output()).await
    }

    /// How `accounts --json` finds an account.
    async fn account(&self, address: &str) -> AccountStatus {
        let text = self.prints(&["accounts", "--json"]).await;
        let accounts: Vec<AccountStatus> = serde_json::from_str(&text).unwrap();
        accounts.into_iter().find(|account| account.address == address).unwrap()
    }

    /// The scanner's account is ready and this person signed in for it.
    async fn is_ready_by(&self, name: Option<&str>) {
        let account = self.account(SCANNER).await;
        assert_eq!((account.state, account.detail.as_deref()), (AccountState::Ready, None));
        let sign_in = account.sign_in.unwrap();
        assert_eq!((sign_in.name.as_deref(), sign_in.by.as_str()), (name, "tester"));
        assert_eq!(sign_in.client_id, Options::default().client_id);
    }

    /// Nobody is signed in for the scanner's account, and its device is told so.
    async fn is_signed_out(&self, gateway: &Gateway) {
        let account = self.account(SCANNER).await;
        assert_eq!((account.state, account.sign_in), (AccountState::SignedOut, None));
        let Answer::Refused(reply) = gateway.log_in(Protocol::Smtp, "scanner", PASSWORD).await.1 else {
            panic!("it is let in")
        };
        assert!(reply.starts_with("454 4.7.0 ") && reply.contains(&format!("mailferry sign-in {SCANNER}")), "{reply}");
    }

    /// A message of the scanner's arrives and is read, with its plain password and nothing else.
    async fn sends_and_reads(&self, gateway: &Gateway) {
        self.sends(gateway, "scanner", PASSWORD, SCANNER).await;
        let (mut client, answer) = gateway.log_in(Protocol::Imap, "scanner", PASSWORD).await;
        assert_eq!(answer, Answer::Accepted);
        client.say("t SELECT INBOX").await;
        let count = self.control().messages(SCANNER).len();
        client.until(&format!("* {count} EXISTS")).await;
        client.until("t OK").await;
        assert_eq!(self.control().violations(), Vec::<String>::new());
    }

    /// A message from a mailbox to the scanner's arrives.
    async fn sends(&self, gateway: &Gateway, username: &str, password: &str, from: &str) {
        let before = self.control().messages(SCANNER).len();
        let (mut client, answer) = gateway.log_in(Protocol::Smtp, username, password).await;
        assert_eq!(answer, Answer::Accepted);
        for (command, status) in [
            (format!("MAIL FROM:<{from}>"), "250 "),
            (format!("RCPT TO:<{SCANNER}>"), "250 "),
            ("DATA".into(), "354 "),
            (format!("From: <{from}>\r\nSubject: a scan\r\n\r\nIts page.\r\n."), "250 "),
        ] {
            let reply = client.ask(&command).await;
            assert!(reply.starts_with(status), "{command}: {reply}");
        }
        let messages = self.control().messages(SCANNER);
        assert_eq!(messages.len(), before + 1);
        assert!(messages[before].ends_with(b"\r\nIts page.\r\n"));
    }
}

impl Gateway {
    async fn log_in(&self, protocol: Protocol, username: &str, password: &str) -> (Client, Answer) {
        let address = if protocol == Protocol::Smtp { self.smtp } else { self.imap };
        let mut client = Client::connect(address).await;
        client.line().await;
        let answer = client.log_in(protocol, username, password).await;
        (client, answer)
    }

    async fn stop(self) {
        self.running.signal(Signal::TERM);
        assert_eq!(in_time(self.running.ended()).await, Some(0));
    }
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

/// What a command has printed that went well.
fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// What a command has complained of.
fn complaint(output: &Output, status: i32) -> &str {
    assert_eq!(output.status.code(), Some(status), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr).lines().last().unwrap()
}

fn holds_all(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

/// The address that a sign-in wants opened in a browser.
async fn url_of(command: &mut Running) -> String {
    command.says("code_challenge=").await.trim().to_owned()
}

/// Plays the browser of somebody who is signed in at the provider: it is sent on to mailferry, and shown its page.
async fn browse(stage: &Stage, url: &str, user: &str) {
    stage.control().keep_signed_in(Some(user));
    let answer = http("GET", url, "").await;
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
    let page = http("GET", location.trim_end(), "").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    holds_all(&page, &["</html>"]);
}

/// Asks for a page, or posts a form; the whole answer.
async fn http(method: &str, url: &str, form: &str) -> String {
    let url = Url::parse(url).unwrap();
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let mut connection = TcpStream::connect(address).await.unwrap();
    let target = &url[url::Position::BeforePath..];
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", url.authority());
    if method == "POST" {
        request += "Content-Type: application/x-www-form-urlencoded\r\n";
        request += &format!("Content-Length: {}\r\n", form.len());
    }
    connection.write_all(format!("{request}\r\n{form}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time(connection.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// `client_id` and, where it has one, the secret of the simulator's app.
fn client(secret: bool) -> String {
    let Options { client_id, client_secret, .. } = Options::default();
    let secret = if secret { format!("client_secret = \"{client_secret}\"\n") } else { String::new() };
    format!("client_id = \"{client_id}\"\n{secret}")
}

/// Runs a command with something to read on standard input.
async fn run_with(stage: &Stage, arguments: &[&str], input: &str) -> Output {
    finish_with(stage.command(arguments), input.as_bytes().to_vec()).await
}

/// Whether a file under a folder holds this text: what must be sealed is looked for like that.
fn is_anywhere_in(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        // Sockets cannot be read.
        let octets = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        octets.windows(text.len()).any(|window| window == text.as_bytes())
    })
}
