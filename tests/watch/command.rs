//! The command itself: what it shows, of whom, and what it leaves behind.

use std::os::unix::fs::PermissionsExt;

use mailferry::config::Protocol;
use rustix::process::Signal;

use super::common::program::{finish, program};
use super::common::{PASSWORD, Wanted, in_time};
use super::{Stage, send, transcripts};

#[tokio::test]
async fn a_scan_is_seen_step_by_step_and_kept_in_a_transcript() {
    let stage = Stage::set(Wanted::default()).await;
    let mut watching = stage.watch(&[]).await;
    let mut device = stage.device(Protocol::Smtp).await;
    device.ask("EHLO XC-B8C463").await;
    device.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    send(&mut device, "Subject: a scan").await;
    device.ask("QUIT").await;
    for line in [
        "-- 127.0.0.1 has connected to the listener smtp (smtp, tls = \"none\")",
        "device <- 220 gateway.example ",
        "device -> EHLO XC-B8C463",
        "device <- 250-gateway.example",
        "device -> AUTH PLAIN (not shown)",
        "-- by its password this is the login scanner of scanner@contoso.example",
        "-- asks for a token for scanner@contoso.example",
        "-- has a token, and logs in at localhost:",
        "-- logged in at localhost",
        "device <- 235 ",
        "device -> MAIL FROM:<scanner@contoso.example>",
        "device <- 250 2.1.0 ",
        "device -> RCPT TO:<scanner@contoso.example>",
        "device -> DATA",
        "device <- 354 ",
        "device -> (20 octets of a message)",
        "device <- 250 2.0.0 ",
        "-- message accepted: 250 2.0.0 ",
        "device -> QUIT",
        "device <- 221 ",
        "-- the session has ended: ",
        "** a message was accepted: nothing is to be changed",
    ] {
        let said = watching.says(line).await;
        assert!(said.as_bytes()[8] == b'.' && said.contains(" #"), "no time or no session: {said}");
    }
    watching.signal(Signal::INT);
    assert_eq!(in_time(watching.ended()).await, Some(0));
    let [transcript] = &transcripts(stage.folder.path())[..] else { panic!("not one transcript") };
    assert!(transcript.starts_with(concat!("mailferry ", env!("CARGO_PKG_VERSION"), " watch, 2")), "{transcript}");
    for line in ["listener smtp: smtp on ", "device -> EHLO XC-B8C463\n", "** a message was accepted"] {
        assert!(transcript.contains(line), "{line}: {transcript}");
    }
    assert_eq!(transcript.matches("device <- 221 ").count(), 1, "{transcript}");
    let files = std::fs::read_dir(stage.folder.path()).unwrap().map(Result::unwrap);
    let kept = files.filter(|file| file.file_name().to_str().unwrap().starts_with("mailferry-watch-"));
    for file in kept {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_told_apart() {
    let stage = Stage::set(Wanted::brisk()).await;
    let mut watching = stage.watch(&["--from", "127.0.0.0/8"]).await;
    let mut device = stage.device(Protocol::Pop3).await;
    device.log_in(Protocol::Pop3, "scanner", "another password").await;
    drop(device);
    watching.says("device -> USER scanner").await;
    watching.says("device -> PASS (not shown)").await;
    watching.says("-- login as scanner (USER) refused: ").await;
    watching.says("** the password is not that of scanner: ").await;
    let mut device = stage.device(Protocol::Imap).await;
    device.log_in(Protocol::Imap, "scaner", PASSWORD).await;
    drop(device);
    watching
        .says("-- login as a user name that no login has (not shown) (LOGIN) refused: ")
        .await;
    watching.says("** no login has this user name: ").await;
}

#[tokio::test]
async fn mail_without_a_login_and_tls_on_a_plain_listener_have_their_lines() {
    let stage = Stage::set(Wanted::default()).await;
    let mut watching = stage.watch(&["--from", "127.0.0.1"]).await;
    let mut device = stage.device(Protocol::Smtp).await;
    device.ask("HELO scanner").await;
    device.ask("MAIL FROM:<scanner@contoso.example>").await;
    drop(device);
    watching.says("device <- 530 ").await;
    watching
        .says("without_password = true, protocols = [\"smtp\"] and networks = [\"127.0.0.1/32\"]")
        .await;
    let mut device = stage.device(Protocol::Smtp).await;
    device.send(b"\x16\x03\x01\x00\x05hello").await;
    drop(device);
    watching.says("device -> a TLS handshake").await;
    watching.says("in [[listener]] name = \"smtp\" set tls = \"auto\"").await;
}

#[tokio::test]
async fn other_devices_are_not_shown() {
    let stage = Stage::set(Wanted::default()).await;
    let elsewhere = stage.watch(&["--from", "192.168.7.20"]).await;
    let mut everywhere = stage.watch(&[]).await;
    drop(stage.device(Protocol::Smtp).await);
    everywhere.says("** it connected and said nothing").await;
    // Its terminal is closed.
    elsewhere.signal(Signal::HUP);
    let (status, said) = elsewhere.ended_with_all().await;
    assert_eq!(status, Some(0));
    assert!(said.contains("listener smtp: ") && !said.contains("connected"), "{said}");
}

#[tokio::test]
async fn without_a_gateway_it_says_so() {
    let stage = Stage::set(Wanted::default()).await;
    let watching = stage.watch(&[]).await;
    stage.gateway.signal(Signal::TERM);
    assert_eq!(in_time(stage.gateway.ended()).await, Some(0), "a watcher holds no gateway up");
    assert_eq!(in_time(watching.ended()).await, Some(1));
    let output = finish(program(stage.folder.path(), &["--config", "mailferry.toml", "watch"])).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("mailferry: no gateway runs with state_dir ") && said.lines().count() == 1, "{said}");
    let output = finish(program(stage.folder.path(), &["watch", "--from", "office"])).await;
    assert_eq!(output.status.code(), Some(2));
}
