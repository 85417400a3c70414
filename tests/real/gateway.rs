//! `mailferry serve` before the tests' provider, and what a client of it needs to know.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::daemon::{Daemon, with_free_ports};
use crate::entrance::{Entrance, Ports, Way};
use crate::oauth::{CLIENT_ID, CLIENT_SECRET, MAILBOX, OAuthServer, TOKEN_START};
use crate::upstream::{Upstream, path};

pub(crate) const USER: &str = "scanner";
/// The same password, and a login for connections under TLS only.
pub(crate) const USER_OVER_TLS: &str = "scanner-over-tls";
/// With all that clients have to quote.
pub(crate) const PASSWORD: &str = r#"se cr"e\t%"#;
/// The same but for its last octet.
pub(crate) const WRONG: &str = r#"se cr"e\t"#;

/// The gateway and the provider behind it.
pub(crate) struct Gateway<O = OAuthServer> {
    pub(crate) smtp: Ports,
    pub(crate) imap: Ports,
    pub(crate) pop3: Ports,
    /// The port in the place of `@PORT@` in the listener that a test adds.
    pub(crate) added: u16,
    process: Daemon,
    pub(crate) upstream: Upstream<O>,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// As [`Gateway::start`], with a listener of the test's own in its configuration.
    pub(crate) fn start_with(listener: &str) -> Self {
        let upstream = Upstream::start();
        let provider = include_str!("provider.toml").replace("@OAUTH@", &upstream.oauth.port.to_string());
        Self::with_listener_before(upstream, &provider, listener)
    }
}

impl<O> Gateway<O> {
    /// Starts the gateway before `upstream`. `provider` is what its configuration says of tokens.
    pub(crate) fn before(upstream: Upstream<O>, provider: &str) -> Self {
        Self::with_listener_before(upstream, provider, "")
    }

    fn with_listener_before(upstream: Upstream<O>, provider: &str, listener: &str) -> Self {
        let hash = hash_of(PASSWORD);
        let (process, [smtp, imap, pop3], added) = with_free_ports(|ports: [u16; 13]| {
            let (all, added) = (all_ports(ports), ports[12]);
            let mut listeners = listener.replace("@PORT@", &added.to_string());
            for (protocol, ports) in ["smtp", "imap", "pop3"].into_iter().zip(all) {
                listeners.push_str(&listeners_of(protocol, ports));
            }
            let process = serve(&upstream, provider, &hash, &listeners, all.map(|ports| ports.none))?;
            Some((process, all, added))
        });
        Self { smtp, imap, pop3, added, process, upstream }
    }

    /// In clear, at the listener that knows no TLS.
    pub(crate) fn in_clear(&self, ports: Ports) -> Entrance {
        Entrance::new(ports.none, Way::Clear, self.own_certificate())
    }

    /// Each way at each listener of a protocol that has it, but for clear where STARTTLS is offered.
    pub(crate) fn ways(&self, ports: Ports) -> [Entrance; 6] {
        let over_own = |port, way| Entrance::new(port, way, self.own_certificate());
        [
            self.in_clear(ports),
            over_own(ports.starttls, Way::StartTls),
            // It has a certificate from elsewhere.
            Entrance::new(ports.implicit, Way::Implicit, self.upstream.ca()),
            over_own(ports.auto, Way::Clear),
            over_own(ports.auto, Way::StartTls),
            over_own(ports.auto, Way::Implicit),
        ]
    }

    /// With TLS, and trust in somebody who has not signed the certificate that is shown.
    pub(crate) fn distrusted(&self, ports: Ports) -> [Entrance; 2] {
        [Way::StartTls, Way::Implicit].map(|way| Entrance::new(ports.auto, way, self.upstream.ca()))
    }

    /// The certificate that the gateway has made itself.
    fn own_certificate(&self) -> PathBuf {
        self.upstream.folder().join("state-mailferry/certificate.pem")
    }

    /// That a line with all of this comes to be in the log.
    #[track_caller]
    pub(crate) fn assert_logs(&self, words: &[&str]) {
        assert!(self.process.logs(words), "no line in the log with {words:?}");
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
            STANDARD.encode(format!("\0{USER_OVER_TLS}\0{PASSWORD}")),
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

fn all_ports(ports: [u16; 13]) -> [Ports; 3] {
    [0, 4, 8].map(|first| Ports {
        none: ports[first],
        starttls: ports[first + 1],
        implicit: ports[first + 2],
        auto: ports[first + 3],
    })
}

/// A listener for each setting of `tls`, as the configuration has them.
fn listeners_of(protocol: &str, Ports { none, starttls, implicit, auto }: Ports) -> String {
    let files = "certificate = \"server.pem\"\nprivate_key = \"server.key\"\n";
    let listener = |port: u16, tls: &str, more: &str| {
        format!("[[listener]]\nprotocol = \"{protocol}\"\nbind = \"127.0.0.1:{port}\"\ntls = \"{tls}\"\n{more}\n")
    };
    let [none, starttls] = [listener(none, "none", ""), listener(starttls, "starttls", "")];
    none + &starttls + &listener(implicit, "implicit", files) + &listener(auto, "auto", "")
}

/// Starts the gateway, once something answers on `probed`. All its sockets are bound before the first answers, and a probe
/// of a listener with TLS would be in the log as a failed handshake.
fn serve<O>(upstream: &Upstream<O>, provider: &str, hash: &str, listeners: &str, probed: [u16; 3]) -> Option<Daemon> {
    let root = upstream.folder();
    let configuration = include_str!("mailferry.toml")
        .replace("@PROVIDER@", provider)
        .replace("@LISTENERS@", listeners)
        .replace("@SUBMISSION@", &upstream.submission.to_string())
        .replace("@IMAPS@", &upstream.imaps.to_string())
        .replace("@POP3S@", &upstream.pop3s.to_string())
        .replace("@MAILBOX@", MAILBOX)
        .replace("@CLIENT_ID@", CLIENT_ID)
        .replace("@CLIENT_SECRET@", CLIENT_SECRET)
        .replace("@USER@", USER)
        .replace("@USER_OVER_TLS@", USER_OVER_TLS)
        .replace("@HASH@", hash);
    let file = configuration_in(root);
    write_private(&file, configuration.as_bytes());
    let program = Path::new(env!("CARGO_BIN_EXE_mailferry"));
    let mut process = Daemon::spawn("mailferry", root, program, &["serve", "--config", path(&file)]);
    process.answers_on(&probed).then_some(process)
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
