//! The provider of the tests: Dovecot for IMAP, POP3 and submission, Postfix's smtp-sink behind it, TLS and OAuth.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use crate::daemon::{Daemon, with_free_ports};
use crate::oauth::{MAILBOX, OAuthServer};

/// Whoever issues the tokens is `O`.
pub(crate) struct Upstream<O = OAuthServer> {
    pub(crate) imaps: u16,
    pub(crate) pop3s: u16,
    pub(crate) submission: u16,
    pub(crate) oauth: O,
    dovecot: Daemon,
    _sink: Daemon,
    // Last: the daemons are stopped before their files go.
    folder: TempDir,
}

impl Upstream {
    /// Starts all of it, with an OAuth server of a few lines. Needs root, as Dovecot does.
    pub(crate) fn start() -> Self {
        Self::with(|_| {
            let oauth = OAuthServer::start();
            let introspection = format!("http://127.0.0.1:{}/introspect", oauth.port);
            (oauth, introspection)
        })
    }
}

impl<O> Upstream<O> {
    /// Starts all of it. `oauth` starts the issuer of the tokens, in the test's folder, and says where Dovecot asks about
    /// them.
    pub(crate) fn with(oauth: impl FnOnce(&Path) -> (O, String)) -> Self {
        assert!(rustix::process::geteuid().is_root(), "Dovecot has to be started by root");
        let folder = TempDir::with_prefix("mailferry-").expect("a temporary folder");
        let root = folder.path();
        // Dovecot and smtp-sink give up root, and have to get in.
        run("chmod", &["755", path(root)]);
        write_certificates(root);
        make_mailbox(root);
        let (oauth, introspection) = oauth(root);
        let (sink, relay) = with_free_ports(|[port]| start_sink(root, port).map(|sink| (sink, port)));
        let (dovecot, [imaps, pop3s, submission]) =
            with_free_ports(|ports| start_dovecot(root, ports, &introspection, relay).map(|dovecot| (dovecot, ports)));
        Self { imaps, pop3s, submission, oauth, dovecot, _sink: sink, folder }
    }

    /// Where the test may keep its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// Puts a message into the inbox, as a delivery agent would.
    pub(crate) fn deliver(&self, name: &str, message: &[u8]) {
        let arriving = maildir(self.folder()).join("tmp").join(name);
        fs::write(&arriving, message).expect("a file in the maildir");
        fs::rename(arriving, maildir(self.folder()).join("new").join(name)).expect("the same file system");
    }

    /// The messages in the inbox. Dovecot stores them with LF.
    pub(crate) fn inbox(&self) -> Vec<Vec<u8>> {
        files(&maildir(self.folder()).join("cur"))
            .chain(files(&maildir(self.folder()).join("new")))
            .collect()
    }

    /// Dovecot's line of each login: over which protocol, with which mechanism, with TLS or not.
    pub(crate) fn logins(&self) -> Vec<String> {
        self.dovecot
            .log()
            .lines()
            .filter(|line| line.contains("-login: Info: Login:"))
            .map(str::to_owned)
            .collect()
    }

    /// What was submitted, as smtp-sink saw it.
    pub(crate) fn submitted(&self) -> Vec<Submission> {
        files(&self.folder().join("sink"))
            .map(|dump| Submission::parse(&dump))
            .collect()
    }
}

/// A message as smtp-sink dumps it.
pub(crate) struct Submission {
    /// The arguments of MAIL.
    pub(crate) mail: String,
    /// The arguments of each RCPT.
    pub(crate) recipients: Vec<String>,
    /// The message, with LF and without the trace lines put before it.
    pub(crate) message: Vec<u8>,
}

impl Submission {
    fn parse(dump: &[u8]) -> Self {
        let (mut mail, mut recipients, mut rest) = (String::new(), Vec::new(), dump);
        // smtp-sink's lines come first, then its Received line and Dovecot's, both folded.
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&rest[..end]);
            if let Some(arguments) = line.strip_prefix("X-Mail-Args: ") {
                arguments.clone_into(&mut mail);
            } else if let Some(arguments) = line.strip_prefix("X-Rcpt-Args: ") {
                recipients.push(arguments.to_owned());
            } else if !["X-", "Received:", "\t"].iter().any(|start| line.starts_with(start)) {
                break;
            }
            rest = &rest[end + 1..];
        }
        // It ends each dump with an empty line.
        let message = rest.strip_suffix(b"\n").unwrap_or(rest).to_vec();
        Self { mail, recipients, message }
    }
}

fn start_sink(root: &Path, port: u16) -> Option<Daemon> {
    let dumps = root.join("sink");
    fs::create_dir_all(&dumps).expect("a folder for the dumps");
    run("chown", &["nobody", path(&dumps)]);
    let template = dumps.join("message");
    let address = format!("127.0.0.1:{port}");
    let mut sink = Daemon::spawn_as_nobody(
        "smtp-sink",
        root,
        Path::new("/usr/sbin/smtp-sink"),
        &["-d", path(&template), &address, "100"],
    );
    sink.answers_on(&[port]).then_some(sink)
}

fn start_dovecot(root: &Path, ports: [u16; 3], introspection: &str, relay: u16) -> Option<Daemon> {
    let [imaps, pop3s, submission] = ports;
    let configuration = include_str!("dovecot.conf")
        .replace("@ROOT@", path(root))
        .replace("@IMAPS@", &imaps.to_string())
        .replace("@POP3S@", &pop3s.to_string())
        .replace("@SUBMISSION@", &submission.to_string())
        .replace("@RELAY@", &relay.to_string());
    let oauth2 = include_str!("dovecot-oauth2.conf.ext").replace("@INTROSPECTION@", introspection);
    fs::write(root.join("dovecot.conf"), configuration).expect("Dovecot's configuration");
    fs::write(root.join("dovecot-oauth2.conf.ext"), oauth2).expect("Dovecot's configuration");
    let file = root.join("dovecot.conf");
    let mut dovecot = Daemon::spawn("dovecot", root, Path::new("/usr/sbin/dovecot"), &["-F", "-c", path(&file)]);
    dovecot.answers_on(&ports).then_some(dovecot)
}

/// A CA of its own for each test, and a certificate for localhost by it.
fn write_certificates(root: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "mailferry test CA");
    let authority_key = KeyPair::generate().expect("a key");
    let ca = authority.self_signed(&authority_key).expect("a CA");
    let issuer = Issuer::new(authority, authority_key);

    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut server = CertificateParams::new(names).expect("names that are names");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate().expect("a key");
    let certificate = server.signed_by(&server_key, &issuer).expect("a certificate");

    fs::write(root.join("ca.pem"), ca.pem()).expect("a file in the test's folder");
    fs::write(root.join("server.pem"), certificate.pem()).expect("a file in the test's folder");
    fs::write(root.join("server.key"), server_key.serialize_pem()).expect("a file in the test's folder");
    run("chmod", &["600", path(&root.join("server.key"))]);
}

fn maildir(root: &Path) -> PathBuf {
    root.join("mail").join(MAILBOX)
}

fn make_mailbox(root: &Path) {
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir(root).join(folder)).expect("a maildir");
    }
    run("chown", &["-R", "dovecot:dovecot", path(&root.join("mail"))]);
}

/// The files of a folder.
pub(crate) fn files(folder: &Path) -> impl Iterator<Item = Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder of the test");
    entries.map(|entry| fs::read(entry.expect("an entry").path()).expect("a file of the test"))
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .expect("a program of every system");
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Paths of the tests are in a temporary folder and plain ASCII.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
