//! What the end-to-end tests share: a simulated provider, the gateway before it, and a client that speaks in lines.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod program;
pub mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use mailferry::app::Gateway;
use mailferry::config::{Config, Environment, Protocol};
use mailferry::proto::sasl::{self, plain::Plain};
use mailferry::secret::Password;
use mailferry::sim::{self, Control, Personality, Simulator};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The password of every login here.
pub const PASSWORD: &str = "a plain password";

/// argon2id of [`PASSWORD`], as cheap as it can be: what these tests are about is not its cost.
pub const HASH: &str = include_str!("cheap-hash.txt");

/// The account of the login `scanner`.
pub const ADDRESS: &str = "scanner@contoso.example";

/// A test that hangs fails after this long. Nothing is expected to take a tenth of it.
pub const STUCK: Duration = Duration::from_secs(120);

/// What a test wants to be different.
pub struct Wanted {
    pub provider: sim::Options,
    /// What every login's password is checked against.
    pub hash: &'static str,
    /// How many accounts there are beside `scanner`: `user0@contoso.example`, login `user0`, and so on.
    pub crowd: usize,
    /// Put before the tables of the configuration.
    pub top: String,
    /// Put behind them.
    pub tables: String,
    /// Keys added to every listener's table.
    pub listener_keys: String,
    /// Keys added to the provider's table.
    pub provider_keys: String,
    /// Changes what is not a key.
    pub change: fn(&mut Config),
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            provider: sim::Options { mailboxes: vec![ADDRESS.into()], ..sim::Options::default() },
            hash: HASH,
            crowd: 0,
            top: String::new(),
            tables: String::new(),
            listener_keys: String::new(),
            provider_keys: String::new(),
            change: |_| {},
        }
    }
}

impl Wanted {
    pub fn of(personality: Personality) -> Self {
        let mut wanted = Self::default();
        wanted.provider.personality = personality;
        wanted
    }

    /// A gateway that does not take its time to refuse names that no login can have.
    pub fn brisk() -> Self {
        Self { change: |config| config.budgets.unchecked_login = Duration::ZERO, ..Self::default() }
    }
}

/// A provider and a gateway.
pub struct Setup {
    pub provider: Simulator,
    pub gateway: Gateway,
    pub folder: TempDir,
}

impl Setup {
    pub async fn new() -> Self {
        Self::with(Wanted::default()).await
    }

    pub async fn with(mut wanted: Wanted) -> Self {
        wanted
            .provider
            .mailboxes
            .extend((0..wanted.crowd).map(|number| format!("user{number}@contoso.example")));
        let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Self::configuration(&provider, &folder, &wanted);
        (wanted.change)(&mut config);
        let gateway = Gateway::start(config).await.unwrap();
        Self { provider, gateway, folder }
    }

    /// The configuration as text goes through the same door as an administrator's.
    pub fn configuration(provider: &Simulator, folder: &TempDir, wanted: &Wanted) -> Config {
        let text = configuration_text(provider, folder, wanted);
        Config::parse(&text, &folder.path().join("mailferry.toml"), &Environment::of_process()).unwrap()
    }

    pub fn control(&self) -> &Control {
        self.provider.control()
    }

    pub fn address(&self, protocol: Protocol) -> SocketAddr {
        self.gateway
            .bound()
            .iter()
            .find(|bound| bound.listener.protocol == protocol)
            .unwrap()
            .address
    }

    /// Waits until every session has ended, and every connection to the provider's mail servers with them.
    pub async fn deserted(&self) {
        let mail = [sim::Protocol::Smtp, sim::Protocol::Imap, sim::Protocol::Pop3];
        let gone = async {
            let control = self.control();
            control
                .until(|control| mail.iter().all(|&protocol| control.open_connections(protocol) == 0))
                .await;
            while self.gateway.sessions() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(STUCK, gone).await.expect("a session is left");
    }

    /// A client that has been greeted.
    pub async fn client(&self, protocol: Protocol) -> Client {
        let mut client = Client::connect(self.address(protocol)).await;
        let greeting = client.line().await;
        assert!(["220 ", "* OK", "+OK"].iter().any(|start| greeting.starts_with(start)), "{greeting}");
        client
    }

    /// A client that has logged in.
    pub async fn logged_in(&self, protocol: Protocol) -> Client {
        let mut client = self.client(protocol).await;
        assert_eq!(client.log_in(protocol, "scanner", PASSWORD).await, Answer::Accepted);
        client
    }
}

/// Waits for what nothing else bounds.
pub async fn in_time<T>(work: impl Future<Output = T>) -> T {
    timeout(STUCK, work).await.expect("nothing happens")
}

/// A login beside the others: `[[account.login]]` of the account that was written last.
pub fn login_table(username: &str, password: &[u8], further: &str) -> String {
    let hash = cheap_hash(password);
    format!("[[account.login]]\nusername = '{username}'\npassword_hash = \"{hash}\"\n{further}\n")
}

/// argon2id of a password, as cheap as [`HASH`].
pub fn cheap_hash(password: &[u8]) -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password).unwrap().to_string()
}

/// The configuration of a test, as text.
pub fn configuration_text(provider: &Simulator, folder: &TempDir, wanted: &Wanted) -> String {
    std::fs::write(folder.path().join("ca.pem"), provider.ca_pem()).unwrap();
    let mut text = format!("state_dir = \"state\"\nhostname = \"gateway.example\"\n{}\n", wanted.top);
    for protocol in Protocol::ALL {
        text += &format!(
            "[[listener]]\nprotocol = \"{protocol}\"\nbind = \"127.0.0.1:0\"\nname = \"{protocol}\"\n{}\n",
            wanted.listener_keys
        );
    }
    let tls = if wanted.provider.starttls { "starttls" } else { "implicit" };
    text += &format!(
        "[provider.simulated]\ntoken_url = \"{}\"\nscopes = [\"https://outlook.office365.com/.default\"]\nca = \"ca.pem\"\n\
         smtp = {{ host = \"localhost\", port = {}, tls = \"starttls\" }}\n\
         imap = {{ host = \"localhost\", port = {}, tls = \"{tls}\" }}\n\
         pop3 = {{ host = \"localhost\", port = {}, tls = \"{tls}\" }}\n{}\n\
         [app.contoso]\nprovider = \"simulated\"\ngrant = \"client-credentials\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\n",
        provider.token_url(),
        provider.smtp().port(),
        provider.imap().port(),
        provider.pop3().port(),
        wanted.provider_keys,
        wanted.provider.client_id,
        wanted.provider.client_secret,
    );
    let crowd = (0..wanted.crowd).map(|number| (format!("user{number}@contoso.example"), format!("user{number}")));
    for (address, username) in [(ADDRESS.to_owned(), "scanner".to_owned())].into_iter().chain(crowd) {
        text += &format!(
            "[[account]]\naddress = \"{address}\"\napp = \"contoso\"\n\
             [[account.login]]\nusername = \"{username}\"\npassword_hash = \"{}\"\n",
            wanted.hash.trim()
        );
    }
    text + &wanted.tables
}

/// What a login was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    /// The whole line.
    Refused(String),
}

/// Lets so much time pass at once, for everybody in this test. Only where the runtime has one thread.
pub async fn let_pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A legacy client, in the clear or, with another stream, under TLS.
pub struct Client<S = TcpStream> {
    pub connection: BufReader<S>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { connection: BufReader::new(TcpStream::connect(address).await.unwrap()) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends a line.
    pub async fn say(&mut self, line: &str) {
        self.send(format!("{line}\r\n").as_bytes()).await;
    }

    /// Sends octets as they are.
    pub async fn send(&mut self, octets: &[u8]) {
        timeout(STUCK, self.connection.write_all(octets))
            .await
            .expect("the gateway does not read")
            .unwrap();
    }

    /// The next line, without its end; an empty string at the end of the stream.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        // A reset counts as the end: who closes with unread input resets.
        let _ = timeout(STUCK, self.connection.read_until(b'\n', &mut line))
            .await
            .expect("the gateway says nothing");
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Reads lines until one begins like this, and returns it.
    pub async fn until(&mut self, start: &str) -> String {
        loop {
            let line = self.line().await;
            if line.starts_with(start) {
                return line;
            }
            assert!(!line.is_empty(), "the connection ended before {start:?}");
        }
    }

    /// Reads a whole SMTP reply; its lines.
    pub async fn reply(&mut self) -> Vec<String> {
        let mut lines = vec![self.line().await];
        while lines.last().unwrap().as_bytes().get(3) == Some(&b'-') {
            lines.push(self.line().await);
        }
        lines
    }

    /// Sends a command and reads its SMTP reply's last line.
    pub async fn ask(&mut self, command: &str) -> String {
        self.say(command).await;
        self.reply().await.pop().unwrap()
    }

    /// Exactly this many octets.
    pub async fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        timeout(STUCK, self.connection.read_exact(&mut octets))
            .await
            .expect("too little came")
            .unwrap();
        octets
    }

    /// Everything until the end of the stream.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // As in `line`.
        let _ = timeout(STUCK, self.connection.read_to_end(&mut rest))
            .await
            .expect("the connection stays open");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Logs in the way each protocol's simplest client does.
    pub async fn log_in(&mut self, protocol: Protocol, username: &str, password: &str) -> Answer {
        let answer = match protocol {
            Protocol::Smtp => {
                let credentials =
                    Plain { authzid: Vec::new(), authcid: username.into(), password: Password::new(password.into()) };
                let secret = sasl::encode_base64(&credentials.encode());
                self.ask(&format!("AUTH PLAIN {}", *secret)).await
            }
            Protocol::Imap => {
                self.say(&format!("tag LOGIN {username} \"{password}\"")).await;
                loop {
                    let line = self.line().await;
                    // Untagged lines and nothing else may come first.
                    if line.starts_with("tag ") || !line.starts_with("* ") {
                        break line;
                    }
                }
            }
            Protocol::Pop3 => {
                self.say(&format!("USER {username}")).await;
                assert!(self.line().await.starts_with("+OK"));
                self.say(&format!("PASS {password}")).await;
                self.line().await
            }
        };
        let accepted = ["235 ", "tag OK", "+OK"].iter().any(|start| answer.starts_with(start));
        if accepted { Answer::Accepted } else { Answer::Refused(answer) }
    }
}
