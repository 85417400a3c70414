//! Clients that send: what they hand over in plain text with a password arrives behind the provider as it was.

use crate::client::{Ended, node, python, run, run_with_input};
use crate::gateway::{Gateway, PASSWORD, USER, WRONG};
use crate::letter::{assert_same, letter, with_lf};
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

pub(crate) fn swaks<O>(gateway: &Gateway<O>, password: &str, more: &[&str]) -> Ended {
    let server = format!("127.0.0.1:{}", gateway.smtp);
    // It ends the last line itself.
    let letter = letter();
    let data = format!("@{}", path(&gateway.file("letter", &letter[..letter.len() - 2])));
    let mut arguments = vec!["--server", &server, "--auth-user", USER, "--auth-password", password];
    arguments.extend(["--from", "user@example.com", "--to", "office@example.net", "--data", &data]);
    arguments.extend(more);
    run("swaks", arguments)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn swaks_sends() {
    let gateway = Gateway::start();
    swaks(&gateway, PASSWORD, &["--auth", "PLAIN"]).succeeded();
    swaks(&gateway, PASSWORD, &["--auth", "LOGIN"]).succeeded();
    swaks(&gateway, PASSWORD, &["--auth", "PLAIN", "--pipeline"]).succeeded();
    assert_letters_arrived(&gateway, 3);
    assert_eq!(gateway.upstream.oauth.issued(), 1, "one token serves all sessions");
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn swaks_is_refused() {
    let gateway = Gateway::start();
    swaks(&gateway, WRONG, &["--auth", "PLAIN"]).exited_with(28).said("535 5.7.8");
    swaks(&gateway, WRONG, &["--auth", "LOGIN"]).exited_with(28).said("535 5.7.8");
    swaks(&gateway, "", &["--auth", "PLAIN"]).exited_with(28).said("535 5.7.8");
    assert_nobody_came_through(&gateway);
}

fn curl(gateway: &Gateway, password: &str, options: &str) -> Ended {
    let url = format!("smtp://127.0.0.1:{}/client.example.com", gateway.smtp);
    let user = format!("{USER}:{password}");
    let letter = gateway.file("letter", letter());
    let mut arguments = vec!["--silent", "--show-error", "--verbose", "--url", &url, "--user", &user];
    arguments.extend(["--login-options", options, "--mail-from", "user@example.com"]);
    arguments.extend(["--mail-rcpt", "office@example.net", "--upload-file", path(&letter)]);
    run("curl", arguments)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_sends() {
    let gateway = Gateway::start();
    curl(&gateway, PASSWORD, "AUTH=PLAIN").succeeded();
    curl(&gateway, PASSWORD, "AUTH=LOGIN").succeeded();
    assert_letters_arrived(&gateway, 2);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_is_refused_when_it_sends() {
    const CURLE_LOGIN_DENIED: i32 = 67;
    let gateway = Gateway::start();
    curl(&gateway, WRONG, "AUTH=PLAIN")
        .exited_with(CURLE_LOGIN_DENIED)
        .said("535 5.7.8");
    curl(&gateway, WRONG, "AUTH=LOGIN")
        .exited_with(CURLE_LOGIN_DENIED)
        .said("535 5.7.8");
    assert_nobody_came_through(&gateway);
}

fn msmtp(gateway: &Gateway, password: &str, method: &str) -> Ended {
    let secret = gateway.file("password", format!("{password}\n"));
    let letter = gateway.file("letter", letter());
    let port = format!("--port={}", gateway.smtp);
    let (auth, command) = (format!("--auth={method}"), format!("--passwordeval=cat {}", path(&secret)));
    let user = format!("--user={USER}");
    let mut arguments = vec!["--host=127.0.0.1", &port, "--tls=off", &auth, &user, &command];
    arguments.extend(["--from=user@example.com", "office@example.net"]);
    run_with_input("msmtp", arguments, &letter)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn msmtp_sends() {
    let gateway = Gateway::start();
    msmtp(&gateway, PASSWORD, "plain").succeeded();
    msmtp(&gateway, PASSWORD, "login").succeeded();
    assert_letters_arrived(&gateway, 2);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn msmtp_is_refused() {
    const EX_NOPERM: i32 = 77;
    let gateway = Gateway::start();
    msmtp(&gateway, WRONG, "plain").exited_with(EX_NOPERM).said("535 5.7.8");
    msmtp(&gateway, WRONG, "login").exited_with(EX_NOPERM).said("535 5.7.8");
    assert_nobody_came_through(&gateway);
}

fn s_nail(gateway: &Gateway, password: &str, method: &str) -> Ended {
    let body = gateway.file("body", "Toner low\n.\nlast\n");
    // Its URLs want all that is encoded which has to be, and nothing else.
    let encode = |octet: char| match octet {
        letter if letter.is_ascii_alphanumeric() => letter.to_string(),
        other => format!("%{:02X}", u32::from(other)),
    };
    let password: String = password.chars().map(encode).collect();
    let server = format!("mta=smtp://{USER}:{password}@127.0.0.1:{}", gateway.smtp);
    let auth = format!("smtp-auth={method}");
    let mut arguments = vec!["-:/", "-Sv15-compat", "-Ssendwait", "-Snosave"];
    arguments.extend(["-S", &server, "-S", &auth, "-r", "user@example.com", "-s", "Printer"]);
    arguments.push("office@example.net");
    run_with_input("s-nail", arguments, &body)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn s_nail_sends() {
    let gateway = Gateway::start();
    s_nail(&gateway, PASSWORD, "plain").succeeded();
    s_nail(&gateway, PASSWORD, "login").succeeded();
    let submitted = gateway.upstream.submitted();
    assert_eq!(submitted.len(), 2);
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
    assert!(!s_nail(&gateway, WRONG, "plain").said("535 5.7.8").status.success());
    assert!(!s_nail(&gateway, WRONG, "login").said("535 5.7.8").status.success());
    assert_nobody_came_through(&gateway);
}

fn smtplib(gateway: &Gateway, password: &str) -> Ended {
    let letter = gateway.file("letter", letter());
    python("stdlib.py", ["smtp", &gateway.smtp.to_string(), USER, password, path(&letter)])
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn smtplib_sends() {
    let gateway = Gateway::start();
    smtplib(&gateway, PASSWORD).succeeded();
    assert_letters_arrived(&gateway, 2);
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
    smtplib(&gateway, WRONG).exited_with(3).said("535").said("5.7.8");
    assert_nobody_came_through(&gateway);
}

fn nodemailer(gateway: &Gateway, password: &str, method: &str) -> Ended {
    let letter = gateway.file("letter", letter());
    node("send.js", [&gateway.smtp.to_string(), USER, password, method, path(&letter)])
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn nodemailer_sends() {
    let gateway = Gateway::start();
    nodemailer(&gateway, PASSWORD, "PLAIN").succeeded();
    nodemailer(&gateway, PASSWORD, "LOGIN").succeeded();
    assert_letters_arrived(&gateway, 2);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn nodemailer_is_refused() {
    let gateway = Gateway::start();
    nodemailer(&gateway, WRONG, "PLAIN").exited_with(3).said("535 5.7.8");
    nodemailer(&gateway, WRONG, "LOGIN").exited_with(3).said("535 5.7.8");
    assert_nobody_came_through(&gateway);
}
