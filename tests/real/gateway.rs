//! `mailferry serve` before the tests' provider, and what a client of it needs to know.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::daemon::{Daemon, with_free_ports};
use crate::oauth::{CLIENT_ID, CLIENT_SECRET, MAILBOX, OAuthServer, TOKEN_START};
use crate::upstream::{Upstream, path};

pub(crate) const USER: &str = "scanner";
/// With all that clients have to quote.
pub(crate) const PASSWORD: &str = r#"se cr"e\t%"#;
/// The same but for its last octet.
pub(crate) const WRONG: &str = r#"se cr"e\t"#;

/// The gateway and the provider behind it.
pub(crate) struct Gateway<O = OAuthServer> {
    pub(crate) smtp: u16,
    pub(crate) imap: u16,
    pub(crate) pop3: u16,
    process: Daemon,
    pub(crate) upstream: Upstream<O>,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        let upstream = Upstream::start();
        let provider = include_str!("provider.toml").replace("@OAUTH@", &upstream.oauth.port.to_string());
        Self::before(upstream, &provider)
    }
}

impl<O> Gateway<O> {
    /// Starts the gateway before `upstream`. `provider` is what its configuration says of tokens.
    pub(crate) fn before(upstream: Upstream<O>, provider: &str) -> Self {
        let hash = hash_of(PASSWORD);
        let (process, [smtp, imap, pop3]) =
            with_free_ports(|ports| serve(&upstream, provider, &hash, ports).map(|process| (process, ports)));
        Self { smtp, imap, pop3, process, upstream }
    }

    /// Its configuration, for commands beside it.
    pub(crate) fn configuration(&self) -> PathBuf {
        configuration_in(self.upstream.folder())
    }

    /// A file in the test's folder, readable by its owner only as several clients demand.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.upstream.folder().join(name);
        write_private(&file, content.as_ref());
        file
    }

    /// That nothing secret is in the log, which is at its most talkative here.
    #[track_caller]
    pub(crate) fn assert_log_keeps_secrets(&self) {
        self.assert_log_keeps(&[]);
    }

    /// As [`Gateway::assert_log_keeps_secrets`], with `more` of them.
    #[track_caller]
    pub(crate) fn assert_log_keeps(&self, more: &[String]) {
        let log = self.process.log();
        assert!(!log.is_empty(), "a gateway that logs nothing would keep every secret");
        let secrets = [
            PASSWORD.to_owned(),
            PASSWORD.escape_debug().to_string(),
            STANDARD.encode(PASSWORD),
            STANDARD.encode(format!("\0{USER}\0{PASSWORD}")),
            CLIENT_SECRET.to_owned(),
            url::form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect(),
            TOKEN_START.to_owned(),
            STANDARD.encode(format!("user={MAILBOX}\x01auth=Bearer {TOKEN_START}"))[..60].to_owned(),
        ];
        for secret in secrets.iter().chain(more) {
            let told = log.lines().find(|line| line.contains(secret));
            assert_eq!(told, None, "{secret:?} is in the log");
        }
    }
}

fn serve<O>(upstream: &Upstream<O>, provider: &str, hash: &str, [smtp, imap, pop3]: [u16; 3]) -> Option<Daemon> {
    let root = upstream.folder();
    let configuration = include_str!("mailferry.toml")
        .replace("@PROVIDER@", provider)
        .replace("@SMTP@", &smtp.to_string())
        .replace("@IMAP@", &imap.to_string())
        .replace("@POP3@", &pop3.to_string())
        .replace("@SUBMISSION@", &upstream.submission.to_string())
        .replace("@IMAPS@", &upstream.imaps.to_string())
        .replace("@POP3S@", &upstream.pop3s.to_string())
        .replace("@MAILBOX@", MAILBOX)
        .replace("@CLIENT_ID@", CLIENT_ID)
        .replace("@CLIENT_SECRET@", CLIENT_SECRET)
        .replace("@USER@", USER)
        .replace("@HASH@", hash);
    let file = configuration_in(root);
    write_private(&file, configuration.as_bytes());
    let program = Path::new(env!("CARGO_BIN_EXE_mailferry"));
    let mut process = Daemon::spawn("mailferry", root, program, &["serve", "--config", path(&file)]);
    process.answers_on(&[smtp, imap, pop3]).then_some(process)
}

fn configuration_in(folder: &Path) -> PathBuf {
    folder.join("mailferry.toml")
}

/// Asks `mailferry passwd`, as an administrator would.
fn hash_of(password: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailferry"));
    let mut passwd = command
        .arg("passwd")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("mailferry passwd");
    let mut input = passwd.stdin.take().expect("its input is a pipe");
    writeln!(input, "{password}").expect("mailferry passwd reads a line");
    drop(input);
    let output = passwd.wait_with_output().expect("mailferry passwd ends");
    assert!(output.status.success(), "mailferry passwd: {}", output.status);
    String::from_utf8(output.stdout).expect("a PHC string").trim_end().to_owned()
}

fn write_private(file: &Path, content: &[u8]) {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(file)
        .and_then(|mut file| file.write_all(content))
        .expect("a file in the test's folder");
}
