//! Which certificate is shown, and when another is.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mailferry::app::Gateway;
use mailferry::config::{CertificateFiles, Config, ListenerTls, Protocol};
use mailferry::net::self_signed::{KeyKind, make_certificate, make_key};
use mailferry::sim::Simulator;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::common::program::{Running, finish, program};
use crate::common::{Answer, Client, PASSWORD, Setup, configuration_text, in_time, let_pass};
use crate::{by_tls, every_listener, greeted, own, read, secured, trusting, wanted, with};

/// As whom clients know the gateway.
const HOST: &str = "127.0.0.1";

/// Makes a certificate and its key in these files.
fn write(files: &CertificateFiles, host: &str) {
    let key = make_key(KeyKind::P256).unwrap();
    let certificate = make_certificate(&key, &[host.into()], SystemTime::now()).unwrap();
    replace(&files.private_key, &key);
    replace(&files.certificate, &certificate);
}

/// As programs that renew certificates do.
fn replace(file: &Path, content: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until a client is shown this certificate.
async fn comes_to_show(setup: &Setup, trusted: &CertificateDer<'static>) {
    let comes = async {
        while !shown(setup, trusted).await {
            let_pass(LOOK_EVERY).await;
        }
    };
    in_time(comes).await;
}

/// Whether a client is shown this certificate.
async fn shown(setup: &Setup, trusted: &CertificateDer<'static>) -> bool {
    let client = Client::connect(setup.address(Protocol::Smtp)).await;
    match secured(client, HOST, &trusting(trusted)).await {
        Ok(mut client) => {
            greeted(&mut client).await;
            true
        }
        Err(_) => false,
    }
}

fn files(folder: &Path) -> CertificateFiles {
    CertificateFiles { certificate: folder.join("one.pem"), private_key: folder.join("one.key") }
}

/// A provider, a configuration whose listeners name these files, and a certificate in `one.pem` with its key in `one.key`.
async fn naming(certificate: &str, private_key: &str) -> (Simulator, TempDir, CertificateFiles) {
    let wanted = wanted(ListenerTls::Implicit);
    let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    write(&files, HOST);
    let named = format!(
        "bind = \"127.0.0.1:0\"\ntls = \"auto\"\ncertificate = \"{certificate}\"\nprivate_key = \"{private_key}\""
    );
    let text = configuration_text(&provider, &folder, &wanted).replace("bind = \"127.0.0.1:0\"", &named);
    std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
    (provider, folder, files)
}

/// A gateway with configured files.
async fn configured() -> (Setup, CertificateFiles) {
    let wanted = wanted(ListenerTls::Implicit);
    let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    write(&files, HOST);
    let mut config: Config = Setup::configuration(&provider, &folder, &wanted);
    every_listener(&mut config, ListenerTls::Implicit);
    for listener in &mut config.listeners {
        Arc::get_mut(listener).unwrap().certificate = Some(files.clone());
    }
    let gateway = Gateway::start(config).await.unwrap();
    (Setup { provider, gateway, folder }, files)
}

#[tokio::test]
async fn changed_files_are_shown_to_the_next_and_open_sessions_go_on() {
    let (setup, files) = configured().await;
    let first = read(&files.certificate);
    let client = Client::connect(setup.address(Protocol::Smtp)).await;
    let mut open = secured(client, HOST, &trusting(&first)).await.unwrap();
    greeted(&mut open).await;
    write(&files, HOST);
    let second = read(&files.certificate);
    comes_to_show(&setup, &second).await;
    assert!(!shown(&setup, &first).await);
    assert_eq!(open.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    assert!(!setup.folder.path().join("state/certificate.pem").exists(), "none is made where one is named");
}

#[tokio::test]
async fn files_that_cannot_be_shown_change_nothing() {
    let (setup, files) = configured().await;
    let first = read(&files.certificate);
    let [pem, key] = [&files.certificate, &files.private_key].map(|file| std::fs::read_to_string(file).unwrap());
    replace(&files.private_key, &make_key(KeyKind::P256).unwrap());
    let_pass(LOOK_EVERY).await;
    assert!(shown(&setup, &first).await, "the key of another");
    replace(&files.private_key, &key);
    replace(&files.certificate, "");
    let_pass(LOOK_EVERY).await;
    assert!(shown(&setup, &first).await, "nothing");
    std::fs::remove_file(&files.certificate).unwrap();
    let_pass(LOOK_EVERY).await;
    assert!(shown(&setup, &first).await, "not even a file");
    replace(&files.certificate, &pem);
    let_pass(LOOK_EVERY).await;
    assert!(shown(&setup, &first).await);
    write(&files, HOST);
    comes_to_show(&setup, &read(&files.certificate)).await;
}

/// The gateway's folder, and what the program says to a command there.
async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = finish(program(folder, &[&["--config", "mailferry.toml"], arguments].concat())).await;
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The value of a line of `mailferry cert`.
fn value<'a>(result: &'a str, name: &str) -> &'a str {
    let line = result.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {result}")).trim()
}

#[tokio::test]
async fn the_command_makes_shows_and_replaces_the_certificate() {
    let setup = with(ListenerTls::Implicit).await;
    let folder = setup.folder.path();
    let text = configuration_text(&setup.provider, &setup.folder, &wanted(ListenerTls::Implicit));
    let text = text.replace("bind = \"127.0.0.1:0\"", "bind = \"127.0.0.1:0\"\ntls = \"implicit\"");
    std::fs::write(folder.join("mailferry.toml"), text).unwrap();
    let before = own(&setup);

    let (status, result, said) = run(folder, &["cert"]).await;
    assert_eq!((status, said.as_str()), (Some(0), ""), "{result}");
    let pem = std::fs::read_to_string(folder.join("state/certificate.pem")).unwrap();
    assert!(result.ends_with(&pem) && value(&result, "certificate").ends_with("state/certificate.pem"), "{result}");
    assert_eq!(value(&result, "names"), "gateway.example localhost 127.0.0.1 ::1");
    let fingerprint = value(&result, "fingerprint").strip_prefix("SHA-256 ").unwrap();
    let octets = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &before);
    let known: Vec<String> = octets.as_ref().iter().map(|octet| format!("{octet:02X}")).collect();
    assert_eq!(fingerprint, known.join(":"));

    // Beside the gateway, which soon shows the new one.
    let (status, result, said) = run(folder, &["cert", "--new", "--p256"]).await;
    assert_eq!((status, said.as_str()), (Some(0), ""), "{result}");
    let after = own(&setup);
    assert_ne!(before, after);
    assert_eq!(read(&folder.join("state/certificate.pem.old")), before);
    assert!(!folder.join("state/certificate.key.old").exists(), "who has it could pretend to be this gateway");
    let (status, _, said) = run(folder, &["cert", "--p256"]).await;
    assert!(status == Some(0) && said.contains("--p256 changes nothing: `mailferry cert --new --p256`"), "{said}");
    assert_eq!(own(&setup), after);
    comes_to_show(&setup, &after).await;
    by_tls(&setup, Protocol::Pop3).await;

    // With half of it.
    std::fs::remove_file(folder.join("state/certificate.key")).unwrap();
    let (status, _, said) = run(folder, &["cert"]).await;
    assert!(status == Some(1) && said.contains("certificate.key: ") && said.contains("mailferry cert --new"), "{said}");
    // The key alone is what a gateway leaves that was stopped between the two.
    run(folder, &["cert", "--new", "--p256"]).await;
    let key = std::fs::read(folder.join("state/certificate.key")).unwrap();
    std::fs::remove_file(folder.join("state/certificate.pem")).unwrap();
    let (status, ..) = run(folder, &["cert"]).await;
    assert_eq!((status, std::fs::read(folder.join("state/certificate.key")).unwrap()), (Some(0), key));

    // Without any.
    for name in ["certificate.pem", "certificate.key"] {
        std::fs::remove_file(folder.join("state").join(name)).unwrap();
    }
    let (status, again, said) = run(folder, &["cert", "--p256"]).await;
    assert_eq!((status, said.as_str()), (Some(0), ""), "it is made now");
    assert_ne!(value(&again, "fingerprint"), value(&result, "fingerprint"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.join("state/certificate.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// A pipe is read for as long as somebody may still write to it: a disk that hangs.
#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_hangs_does_not_hold_the_process() {
    let (_provider, folder, files) = naming("one.pem", "one.key").await;
    let mut gateway = Running::start(program(folder.path(), &["--config", "mailferry.toml", "serve"]));
    gateway.listens(Protocol::Smtp).await;
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
    assert!(made.unwrap().success());
    std::fs::rename(folder.path().join("pipe"), &files.certificate).unwrap();
    // Opened once somebody reads.
    let open = move || std::fs::OpenOptions::new().write(true).open(&files.certificate).unwrap();
    let writer = in_time(tokio::task::spawn_blocking(open)).await.unwrap();
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.ended().await, Some(0));
    drop(writer);
}

#[tokio::test]
async fn what_cannot_be_shown_keeps_a_gateway_from_starting() {
    let (_provider, folder, files) = naming("one.pem", "one.key").await;
    replace(&files.private_key, &make_key(KeyKind::P256).unwrap());
    let (status, _, said) = run(folder.path(), &["serve"]).await;
    assert_eq!(status, Some(1));
    assert!(
        said.contains("one.key: the private key is not that of the certificate in ") && said.contains("one.pem"),
        "{said}"
    );
}

#[tokio::test]
async fn a_key_in_the_certificates_file_is_not_printed() {
    let (_provider, folder, files) = naming("both.pem", "both.pem").await;
    let [pem, key] = [&files.certificate, &files.private_key].map(|file| std::fs::read_to_string(file).unwrap());
    replace(&folder.path().join("both.pem"), &format!("{key}{pem}"));
    let (status, result, said) = run(folder.path(), &["cert"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(result.ends_with(&pem) && !result.contains("PRIVATE"), "{result}");
    // Every listener names it.
    let (status, _, said) = run(folder.path(), &["cert", "--new"]).await;
    assert!(status == Some(0) && said.contains("no listener shows the new certificate: "), "{said}");
}

#[tokio::test]
async fn one_that_has_ended_is_a_fault_of_check_and_told_once_at_the_start() {
    let (_provider, folder, files) = naming("one.pem", "one.key").await;
    let (status, result, _) = run(folder.path(), &["check", "--offline"]).await;
    assert!(status == Some(0) && !result.contains("certificate: "), "{result}");

    let key = make_key(KeyKind::P256).unwrap();
    let day = Duration::from_secs(24 * 3600);
    let old = make_certificate(&key, &[], SystemTime::now() - 3660 * day).unwrap();
    replace(&files.private_key, &key);
    replace(&files.certificate, &old);
    let (status, result, _) = run(folder.path(), &["check", "--offline"]).await;
    assert_eq!(status, Some(1), "{result}");
    let ended = |text: &str| {
        text.lines()
            .filter(|line| line.contains("one.pem of the listeners has ended on 20"))
            .count()
    };
    assert!(ended(&result) == 1 && result.contains("FAIL  certificate: "), "{result}");
    assert!(result.contains("warn  certificate: ") && result.contains("is for no name"), "{result}");
    let (status, result, said) = run(folder.path(), &["cert"]).await;
    assert_eq!((status, ended(&said), value(&result, "names")), (Some(0), 1, "none"), "{said}");

    let mut gateway = Running::start(program(folder.path(), &["--config", "mailferry.toml", "serve"]));
    gateway.says("has ended on").await;
    gateway.signal(rustix::process::Signal::TERM);
    let (_, log) = gateway.ended_with_all().await;
    assert_eq!((ended(&log), log.matches("expired").count()), (1, 0), "{log}");
}

#[tokio::test]
async fn one_that_nobody_shows_is_made_with_a_word() {
    let provider = Simulator::start(wanted(ListenerTls::None).provider).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = configuration_text(&provider, &folder, &wanted(ListenerTls::None));
    std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
    for (made, arguments) in [(true, &["cert"][..]), (false, &["cert"])] {
        let (status, _, said) = run(folder.path(), arguments).await;
        assert_eq!((status, said.lines().count(), said.contains("which was made now")), (Some(0), 1, made), "{said}");
        assert!(
            said.contains("no listener shows this certificate") && said.contains("each has tls = \"none\""),
            "{said}"
        );
    }
}
