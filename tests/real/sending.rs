//! Clients that send: what they hand over with a password, in clear or over TLS, arrives behind the provider as it was.

use crate::client::{Ended, node, run, run_with_input};
use crate::entrance::Entrance;
use crate::gateway::{Gateway, PASSWORD, WRONG};
use crate::letter::{assert_same, letter, with_lf};
use crate::reading::{self, stdlib};
use crate::upstream::{Submission, path};

/// That exactly `count` messages came through, from the mailbox to the office, each the letter.
#[track_caller]
pub(crate) fn assert_letters_arrived<O>(gateway: &Gateway<O>, count: usize) {
    let submitted = gateway.upstream.submitted();
    assert_eq!(submitted.len(), count);
    for Submission { mail, recipients, message } in submitted {
        assert!(mail.starts_with("<user@example.com>"), "{mail}");
        assert!(recipients[0].starts_with("<office@example.net>"), "{recipients:?}");
        assert_same(&message, &with_lf(&letter()));
    }
    gateway.assert_log_keeps_secrets();
}

/// That nobody was let in, and that it cost the provider nothing.
#[track_caller]
fn assert_nobody_came_through(gateway: &Gateway) {
    assert!(gateway.upstream.submitted().is_empty());
    assert_eq!(gateway.upstream.oauth.issued(), 0, "a wrong password must not cost a token");
    gateway.assert_log_keeps_secrets();
}

pub(crate) fn swaks<O>(gateway: &Gateway<O>, entrance: &Entrance, password: &str, more: &[&str]) -> Ended {
    let server = format!("127.0.0.1:{}", entrance.port);
    // It ends the last line itself.
    let letter = letter();
    let data = format!("@{}", path(&gateway.file("letter", &letter[..letter.len() - 2])));
    let mut arguments = vec!["--server", &server, "--auth-user", entrance.user(), "--auth-password", password];
    arguments.extend(["--from", "user@example.com", "--to", "office@example.net", "--data", &data]);
    let verify = ["--tls-verify", "--tls-ca-path", entrance.trusted()];
    arguments.extend(
        entrance
            .choose(None, Some("--tls"), Some("--tls-on-connect"))
            .into_iter()
            .chain(verify),
    );
    arguments.extend(more);
    run("swaks", arguments)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn swaks_sends() {
    let gateway = Gateway::start();
    for entrance in gateway.ways(gateway.smtp) {
        swaks(&gateway, &entrance, PASSWORD, &["--auth", "PLAIN"]).succeeded();
        swaks(&gateway, &entrance, PASSWORD, &["--auth", "LOGIN"]).succeeded();
        swaks(&gateway, &entrance, PASSWORD, &["--auth", "PLAIN", "--pipeline"]).succeeded();
    }
    assert_letters_arrived(&gateway, 18);
    assert_eq!(gateway.upstream.oauth.issued(), 1, "one token serves all sessions");
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn swaks_is_refused() {
    let gateway = Gateway::start();
    let swaks = |password: &str, method: &str| {
        swaks(&gateway, &gateway.in_clear(gateway.smtp), password, &["--auth", method])
            .exited_with(28)
            .said("535 5.7.8")
    };
    swaks(WRONG, "PLAIN");
    swaks(WRONG, "LOGIN");
    swaks("", "PLAIN");
    assert_nobody_came_through(&gateway);
}

fn curl(gateway: &Gateway, entrance: &Entrance, password: &str, options: &str) -> Ended {
    let letter = gateway.file("letter", letter());
    let mut arguments = vec!["--login-options", options, "--mail-from", "user@example.com"];
    arguments.extend(["--mail-rcpt", "office@example.net", "--upload-file", path(&letter)]);
    reading::curl("smtp", "client.example.com", entrance, password, &arguments)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_sends() {
    let gateway = Gateway::start();
    for entrance in gateway.ways(gateway.smtp) {
        curl(&gateway, &entrance, PASSWORD, "AUTH=PLAIN").succeeded();
        curl(&gateway, &entrance, PASSWORD, "AUTH=LOGIN").succeeded();
    }
    assert_letters_arrived(&gateway, 12);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_is_refused_when_it_sends() {
    const CURLE_LOGIN_DENIED: i32 = 67;
    let gateway = Gateway::start();
    for options in ["AUTH=PLAIN", "AUTH=LOGIN"] {
        curl(&gateway, &gateway.in_clear(gateway.smtp), WRONG, options)
            .exited_with(CURLE_LOGIN_DENIED)
            .said("535 5.7.8");
    }
    assert_nobody_came_through(&gateway);
}

fn msmtp(gateway: &Gateway, entrance: &Entrance, password: &str, method: &str) -> Ended {
    let secret = gateway.file("password", format!("{password}\n"));
    let letter = gateway.file("letter", letter());
    let port = format!("--port={}", entrance.port);
    let (auth, command) = (format!("--auth={method}"), format!("--passwordeval=cat {}", path(&secret)));
    let user = format!("--user={}", entrance.user());
    let trusted = format!("--tls-trust-file={}", entrance.trusted());
    let mut arguments = vec!["--host=127.0.0.1", &port, &auth, &user, &command, &trusted];
    arguments.extend(entrance.choose(
        ["--tls=off", "--tls-starttls=off"],
        ["--tls=on", "--tls-starttls=on"],
        ["--tls=on", "--tls-starttls=off"],
    ));
    arguments.extend(["--from=user@example.com", "office@example.net"]);
    run_with_input("msmtp", arguments, &letter)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn msmtp_sends() {
    let gateway = Gateway::start();
    for entrance in gateway.ways(gateway.smtp) {
        msmtp(&gateway, &entrance, PASSWORD, "plain").succeeded();
        msmtp(&gateway, &entrance, PASSWORD, "login").succeeded();
    }
    assert_letters_arrived(&gateway, 12);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn msmtp_is_refused() {
    const EX_NOPERM: i32 = 77;
    let gateway = Gateway::start();
    for method in ["plain", "login"] {
        msmtp(&gateway, &gateway.in_clear(gateway.smtp), WRONG, method)
            .exited_with(EX_NOPERM)
            .said("535 5.7.8");
    }
    assert_nobody_came_through(&gateway);
}

fn s_nail(gateway: &Gateway, entrance: &Entrance, password: &str, method: &str) -> Ended {
    let body = gateway.file("body", "Toner low\n.\nlast\n");
    // Its URLs want all that is encoded which has to be, and nothing else.
    let encode = |octet: char| match octet {
        letter if letter.is_ascii_alphanumeric() => letter.to_string(),
        other => format!("%{:02X}", u32::from(other)),
    };
    let password: String = password.chars().map(encode).collect();
    // It knows names in certificates, and no addresses.
    let server = format!(
        "mta={}://{}:{password}@localhost:{}",
        entrance.choose("smtp", "smtp", "smtps"),
        entrance.user(),
        entrance.port
    );
    let (auth, trusted) = (format!("smtp-auth={method}"), format!("tls-ca-file={}", entrance.trusted()));
    let mut arguments = vec!["-:/", "-Sv15-compat", "-Ssendwait", "-Snosave"];
    arguments.extend(["-S", &server, "-S", &auth, "-r", "user@example.com", "-s", "Printer"]);
    arguments.extend(["-Stls-verify=strict", "-Stls-ca-no-defaults", "-S", &trusted]);
    arguments.extend(entrance.choose(None, Some("-Ssmtp-use-starttls"), None));
    arguments.push("office@example.net");
    run_with_input("s-nail", arguments, &body)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn s_nail_sends() {
    let gateway = Gateway::start();
    for entrance in gateway.ways(gateway.smtp) {
        s_nail(&gateway, &entrance, PASSWORD, "plain").succeeded();
        s_nail(&gateway, &entrance, PASSWORD, "login").succeeded();
    }
    let submitted = gateway.upstream.submitted();
    assert_eq!(submitted.len(), 12);
    for Submission { message, .. } in submitted {
        let message = String::from_utf8(message).expect("s-nail writes ASCII");
        assert!(message.contains("\nSubject: Printer\n"), "{message}");
        assert!(message.ends_with("\n\nToner low\n.\nlast\n"), "{message}");
    }
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn s_nail_is_refused() {
    let gateway = Gateway::start();
    for method in ["plain", "login"] {
        let ended = s_nail(&gateway, &gateway.in_clear(gateway.smtp), WRONG, method).said("535 5.7.8");
        assert!(!ended.status.success(), "{ended}");
    }
    assert_nobody_came_through(&gateway);
}

fn smtplib(gateway: &Gateway, entrance: &Entrance, password: &str) -> Ended {
    let letter = gateway.file("letter", letter());
    stdlib("smtp", entrance, password, Some(path(&letter)))
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn smtplib_sends() {
    let gateway = Gateway::start();
    for entrance in gateway.ways(gateway.smtp) {
        smtplib(&gateway, &entrance, PASSWORD).succeeded();
    }
    assert_letters_arrived(&gateway, 12);
    assert!(
        gateway
            .upstream
            .submitted()
            .iter()
            .all(|submission| submission.recipients.len() == 2)
    );
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn smtplib_is_refused() {
    let gateway = Gateway::start();
    smtplib(&gateway, &gateway.in_clear(gateway.smtp), WRONG)
        .exited_with(3)
        .said("535")
        .said("5.7.8");
    assert_nobody_came_through(&gateway);
}

fn nodemailer(gateway: &Gateway, entrance: &Entrance, password: &str, method: &str) -> Ended {
    let letter = gateway.file("letter", letter());
    let (port, way) = (entrance.port.to_string(), entrance.word());
    node("send.js", [&port, way, entrance.trusted(), entrance.user(), password, method, path(&letter)])
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn nodemailer_sends() {
    let gateway = Gateway::start();
    for entrance in gateway.ways(gateway.smtp) {
        nodemailer(&gateway, &entrance, PASSWORD, "PLAIN").succeeded();
        nodemailer(&gateway, &entrance, PASSWORD, "LOGIN").succeeded();
    }
    assert_letters_arrived(&gateway, 12);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn nodemailer_is_refused() {
    let gateway = Gateway::start();
    for method in ["PLAIN", "LOGIN"] {
        nodemailer(&gateway, &gateway.in_clear(gateway.smtp), WRONG, method)
            .exited_with(3)
            .said("535 5.7.8");
    }
    assert_nobody_came_through(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn no_client_sends_to_a_gateway_that_it_does_not_trust() {
    let gateway = Gateway::start();
    for entrance in gateway.distrusted(gateway.smtp) {
        swaks(&gateway, &entrance, PASSWORD, &["--auth", "PLAIN"]).complained_of_a_certificate();
        curl(&gateway, &entrance, PASSWORD, "AUTH=PLAIN").complained_of_a_certificate();
        msmtp(&gateway, &entrance, PASSWORD, "plain").complained_of_a_certificate();
        s_nail(&gateway, &entrance, PASSWORD, "plain").complained_of_a_certificate();
        smtplib(&gateway, &entrance, PASSWORD).complained_of_a_certificate();
        nodemailer(&gateway, &entrance, PASSWORD, "PLAIN").complained_of_a_certificate();
    }
    assert_nobody_came_through(&gateway);
}
