//! Files that cannot be shown, and what is said of them; what is made.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::net::self_signed::{KeyKind, make_certificate, make_key};
use crate::telemetry::testing::Logged;

const HOSTS: [&str; 4] = ["gateway.example", "localhost", "192.0.2.7", "2001:db8::7"];

fn hosts() -> Vec<String> {
    HOSTS.map(str::to_owned).to_vec()
}

/// As `openssl x509 -req -signkey` of OpenSSL 3.0 makes it.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBMTCB1wIUWKbRIvZbj/s3w2TPqB3UWMWf9HMwCgYIKoZIzj0EAwIwGjEYMBYG
A1UEAwwPZ2F0ZXdheS5leGFtcGxlMCAXDTI2MTEyMTE5MzExMloYDzIxMjYxMDI4
MTkzMTEyWjAaMRgwFgYDVQQDDA9nYXRld2F5LmV4YW1wbGUwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAARntYcaYEyrZcRN+Y/IdMhmc/lycIMdDGN75WgYJaXseiof
KdKqfcldLoopukSYGOchqWRiaD2vdup4a7INNAY7MAoGCCqGSM49BAMCA0kAMEYC
IQDxVkXcp33wbZqLjzfct+5HWnFCL5999VsdUnAYvr6MDAIhAL4VV7TjB+h6i8Nx
HIsYELnBApWD4TjuNMkxdA3fELr8
-----END CERTIFICATE-----
";

/// A folder with a certificate and its key.
fn made(kind: KeyKind) -> (TempDir, CertificateFiles) {
    let folder = tempfile::tempdir().unwrap();
    let files = CertificateFiles {
        certificate: folder.path().join("server.pem"),
        private_key: folder.path().join("server.key"),
    };
    let key = make_key(kind).unwrap();
    fs::write(&files.certificate, make_certificate(&key, &hosts(), SystemTime::now()).unwrap()).unwrap();
    fs::write(&files.private_key, key.as_bytes()).unwrap();
    (folder, files)
}

#[test]
fn what_is_made_can_be_shown_and_certifies_no_others() {
    for (kind, bits) in [(KeyKind::Rsa, 2048), (KeyKind::P256, 256)] {
        let (_folder, files) = made(kind);
        let shown = Shown::open(files.clone()).unwrap();
        let facts = shown.facts();
        assert_eq!(facts.names, HOSTS);
        assert!(facts.cover("GATEWAY.example") && !facts.cover("elsewhere.example"));
        assert_eq!(facts.fingerprint.len(), 32 * 3 - 1);
        let now = SystemTime::now();
        let ten_years = Duration::from_secs(10 * 365 * 24 * 3600);
        let week = Duration::from_secs(7 * 24 * 3600);
        assert!(facts.begins < now && facts.begins > now - week);
        assert!(facts.ends > now + ten_years && facts.ends < now + ten_years + week);

        let chain = chain(&files.certificate).unwrap();
        let (_, parsed) = X509Certificate::from_der(&chain[0]).unwrap();
        assert!(!parsed.basic_constraints().unwrap().unwrap().value.ca);
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.any && !usage.client_auth);
        let key = parsed.public_key().parsed().unwrap();
        assert_eq!(key.key_size(), bits);
    }
}

#[test]
fn what_cannot_be_shown_is_named_with_what_to_do() {
    let (folder, right) = made(KeyKind::P256);
    let (_other_folder, other) = made(KeyKind::P256);
    let file = |name: &str, content: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        file
    };
    let [pem, other_pem] = [&right, &other].map(|files| fs::read(&files.certificate).unwrap());
    let der = CertificateDer::from_pem_slice(&pem).unwrap();
    let encrypted =
        file("encrypted.key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIC\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let certificate = |certificate: PathBuf| CertificateFiles { certificate, ..right.clone() };
    let key = |private_key: PathBuf| CertificateFiles { private_key, ..right.clone() };
    for (files, named, why) in [
        (certificate(folder.path().join("none.pem")), "none.pem", "see that the path is right"),
        (certificate(file("empty.pem", b"")), "empty.pem", "holds no certificate"),
        (certificate(file("server.der", &der)), "server.der", "openssl x509 -inform der"),
        (certificate(file("cut.pem", &pem[..pem.len() / 2])), "cut.pem", "no good PEM"),
        (certificate(right.private_key.clone()), "server.key", "holds no certificate"),
        (
            certificate(file("odd.pem", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")),
            "odd.pem",
            "none of X.509",
        ),
        (certificate(file("v1.pem", VERSION_1.as_bytes())), "v1.pem", "is of X.509 version 1 and must be of version 3"),
        (certificate(file("turned.pem", &[&other_pem[..], &pem].concat())), "turned.pem", "is not the first"),
        (key(folder.path().join("none.key")), "none.key", "see that the path is right"),
        (key(encrypted), "encrypted.key", "openssl pkey"),
        (key(right.certificate.clone()), "server.pem", "no private key"),
        (key(file("empty.key", b"")), "empty.key", "BEGIN PRIVATE KEY"),
        (key(other.private_key), "server.key", "is not that of the certificate in "),
    ] {
        let said = Shown::open(files).unwrap_err().to_string();
        assert!(said.contains(&format!("{named}: ")) && said.contains(why), "{said}");
    }
    assert!(Shown::open(certificate(file("chain.pem", &[&pem[..], &other_pem].concat()))).is_ok(), "a chain");
}

#[test]
fn files_are_read_when_they_change_and_not_else() {
    let (folder, files) = made(KeyKind::P256);
    let shown = Shown::open(files.clone()).unwrap();
    let first = shown.facts().fingerprint;
    let (_other_folder, other) = made(KeyKind::P256);
    // As long as only one of the two is there, they do not fit.
    fs::rename(&other.private_key, &files.private_key).unwrap();
    shown.look();
    assert_eq!(shown.facts().fingerprint, first);
    fs::rename(&other.certificate, &files.certificate).unwrap();
    shown.look();
    let second = shown.facts().fingerprint;
    assert_ne!(second, first);
    drop(folder);
    shown.look();
    assert_eq!(shown.facts().fingerprint, second, "gone");
}

/// Descriptors run out, or a disk fails for a moment: the files stay as they are, and only they were looked at.
#[test]
fn files_that_cannot_be_read_for_a_while_are_tried_again_and_told_once() {
    let (_folder, files) = made(KeyKind::P256);
    let shown = Shown::open(files.clone()).unwrap();
    let (logged, _guard) = Logged::start();
    let (_other_folder, other) = made(KeyKind::P256);
    fs::rename(&other.private_key, &files.private_key).unwrap();
    fs::rename(&other.certificate, &files.certificate).unwrap();
    let broken = |files: &CertificateFiles| {
        let error = io::Error::other("out of order");
        Err(CertificateError::Unread { file: files.certificate.clone(), error })
    };
    let first = shown.facts();
    for told in [1, 0, 0] {
        shown.look_with(broken);
        assert_eq!(shown.facts(), first);
        let said = logged.lines().join("\n");
        assert_eq!(said.matches("out of order").count(), told, "{said}");
    }
    shown.look();
    assert_ne!(shown.facts(), first, "tried again");
    shown.look_with(|_| panic!("read, and not changed since"));
}

#[test]
fn what_is_printed_is_the_chain_and_no_key() {
    let (folder, files) = made(KeyKind::P256);
    let [pem, key] = [&files.certificate, &files.private_key].map(|file| fs::read_to_string(file).unwrap());
    assert_eq!(Shown::open(files).unwrap().pem(), pem);
    let both = folder.path().join("both.pem");
    fs::write(&both, format!("{key}words\n{pem}{pem}")).unwrap();
    let shown = Shown::open(CertificateFiles { certificate: both.clone(), private_key: both }).unwrap();
    assert_eq!(shown.pem(), pem.repeat(2));
}

/// A pipe is read for as long as somebody may still write to it: a disk that hangs.
#[cfg(unix)]
#[test]
fn a_disk_that_hangs_stops_no_handshake() {
    use std::sync::mpsc;
    let (_folder, files) = made(KeyKind::P256);
    let shown = Arc::new(Shown::open(files.clone()).unwrap());
    let first = shown.facts();
    fs::remove_file(&files.certificate).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&files.certificate).status();
    assert!(made.unwrap().success());
    let looking = std::thread::spawn({
        let shown = Arc::clone(&shown);
        move || shown.look()
    });
    // Opened once somebody reads.
    let writer = fs::OpenOptions::new().write(true).open(&files.certificate).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn({
        let shown = Arc::clone(&shown);
        move || sender.send(shown.facts())
    });
    assert_eq!(receiver.recv_timeout(Duration::from_secs(60)).unwrap(), first);
    drop(writer);
    looking.join().unwrap();
    assert_eq!(shown.facts(), first, "nothing came of it");
}

#[cfg(unix)]
#[test]
fn a_renewed_key_that_others_can_read_is_told_once() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, files) = made(KeyKind::P256);
    let shown = Shown::open(files.clone()).unwrap();
    let (logged, _guard) = Logged::start();
    let (_other_folder, other) = made(KeyKind::P256);
    for (mode, told) in [(0o640, 0), (0o644, 1)] {
        fs::copy(&other.private_key, &files.private_key).unwrap();
        fs::set_permissions(&files.private_key, fs::Permissions::from_mode(mode)).unwrap();
        let pem = fs::read_to_string(&other.certificate).unwrap();
        fs::write(&files.certificate, pem.repeat(told + 1)).unwrap();
        shown.look();
        shown.look();
        let line = format!("chmod o= {}", files.private_key.display());
        let said = logged.lines().join("\n");
        assert_eq!(said.matches(&line).count(), told, "{mode:o}: {said}");
    }
}
