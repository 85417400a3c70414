//! Clients that read, and store: what lies in the mailbox comes through octet by octet, and so does what is put there.

use std::fs;
use std::path::Path;

use crate::client::{Ended, Running, node, python, run};
use crate::gateway::{Gateway, PASSWORD, USER, WRONG};
use crate::letter::{assert_same, letter, with_lf};
use crate::upstream::path;

/// A gateway before a mailbox with the letter in it.
fn with_a_letter() -> Gateway {
    let gateway = Gateway::start();
    gateway.upstream.deliver("1.letter", &letter());
    gateway
}

/// That nobody was let in, and that it cost the provider nothing.
#[track_caller]
fn assert_nobody_came_through(gateway: &Gateway) {
    assert_eq!(gateway.upstream.logins(), Vec::<String>::new());
    assert_eq!(gateway.upstream.oauth.issued(), 0, "a wrong password must not cost a token");
    gateway.assert_log_keeps_secrets();
}

/// That there were logins, and all of them over TLS with a token.
#[track_caller]
pub(crate) fn assert_logins_were_safe<O>(gateway: &Gateway<O>) {
    let logins = gateway.upstream.logins();
    assert!(!logins.is_empty());
    assert!(
        logins
            .iter()
            .all(|login| login.contains("method=XOAUTH2") && login.contains(", TLS,")),
        "{logins:?}"
    );
}

pub(crate) fn curl(url: &str, password: &str, options: &[&str]) -> Ended {
    let user = format!("{USER}:{password}");
    let mut arguments = vec!["--silent", "--show-error", "--verbose", "--url", url, "--user", &user];
    arguments.extend(options);
    run("curl", arguments)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_reads_over_imap() {
    let gateway = with_a_letter();
    let url = format!("imap://127.0.0.1:{}/INBOX/;MAILINDEX=1", gateway.imap);
    let ways: [&[&str]; 3] = [
        &["--login-options", "AUTH=PLAIN"],
        &["--login-options", "AUTH=PLAIN", "--sasl-ir"],
        &["--login-options", "AUTH=LOGIN"],
    ];
    for way in ways {
        assert_same(&curl(&url, PASSWORD, way).succeeded(), &letter());
    }
    assert_logins_were_safe(&gateway);
    assert_eq!(gateway.upstream.oauth.issued(), 1, "one token serves all sessions");
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_reads_over_pop3() {
    let gateway = with_a_letter();
    let url = format!("pop3://127.0.0.1:{}/1", gateway.pop3);
    let ways: [&[&str]; 3] = [
        &["--login-options", "AUTH=PLAIN"],
        &["--login-options", "AUTH=PLAIN", "--sasl-ir"],
        &["--login-options", "AUTH=LOGIN"],
    ];
    for way in ways {
        assert_same(&curl(&url, PASSWORD, way).succeeded(), &letter());
    }
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_is_refused_when_it_reads() {
    const CURLE_LOGIN_DENIED: i32 = 67;
    let gateway = with_a_letter();
    let imap = format!("imap://127.0.0.1:{}/INBOX/;MAILINDEX=1", gateway.imap);
    let pop3 = format!("pop3://127.0.0.1:{}/1", gateway.pop3);
    curl(&imap, WRONG, &[])
        .exited_with(CURLE_LOGIN_DENIED)
        .said("NO [AUTHENTICATIONFAILED]");
    curl(&pop3, WRONG, &[]).exited_with(CURLE_LOGIN_DENIED).said("-ERR [AUTH]");
    assert_nobody_came_through(&gateway);
}

/// Brings the inbox and a local maildir to the same state.
fn mbsync(gateway: &Gateway, password: &str, mechanism: &str) -> Ended {
    let secret = gateway.file("password", password);
    let local = gateway.upstream.folder().join("local");
    let configuration = format!(
        "IMAPAccount ferry\nHost 127.0.0.1\nPort {}\nUser {USER}\nPassCmd \"cat {}\"\nSSLType None\nAuthMechs {mechanism}\n\n\
         IMAPStore far\nAccount ferry\n\n\
         MaildirStore near\nInbox {}/INBOX\n\n\
         Channel inbox\nFar :far:\nNear :near:\nCreate Near\nSync All\nSyncState *\n",
        gateway.imap,
        path(&secret),
        path(&local),
    );
    fs::create_dir_all(&local).expect("a folder for the local mail");
    let configuration = gateway.file("mbsyncrc", configuration);
    run("mbsync", ["--verbose", "--config", path(&configuration), "--all"])
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn mbsync_pulls_and_pushes() {
    let gateway = with_a_letter();
    mbsync(&gateway, PASSWORD, "PLAIN").succeeded();
    let inbox = gateway.upstream.folder().join("local/INBOX");
    assert_same(&without_mark(&only_file(&inbox.join("new"))), &with_lf(&letter()));

    let reply = b"Subject: Re: Scan\n\nThank you\n";
    fs::write(inbox.join("new/2.reply"), reply).expect("a file in the maildir");
    mbsync(&gateway, PASSWORD, "LOGIN").succeeded();
    let mut stored = gateway.upstream.inbox();
    stored.sort_by_key(Vec::len);
    assert_eq!(stored.len(), 2);
    assert_same(&without_mark(&stored[0]), reply);
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn mbsync_is_refused() {
    let gateway = with_a_letter();
    mbsync(&gateway, WRONG, "PLAIN").exited_with(1).said("[AUTHENTICATIONFAILED]");
    mbsync(&gateway, WRONG, "LOGIN").exited_with(1).said("[AUTHENTICATIONFAILED]");
    assert_nobody_came_through(&gateway);
}

/// Fetches all there is into the file `fetched`.
fn fetchmail(gateway: &Gateway, password: &str, protocol: &str, port: u16) -> Ended {
    // The only escapes it knows in every place.
    let password: String = password.bytes().map(|octet| format!("\\x{octet:02x}")).collect();
    let fetched = gateway.upstream.folder().join("fetched");
    let configuration = format!(
        "set invisible\nset no syslog\nset pidfile \"{}.pid\"\nset idfile \"{}.ids\"\n\
         poll 127.0.0.1 service {port} protocol {protocol} auth password\n\
         user \"{USER}\" password \"{password}\" sslproto \"\" fetchall keep no rewrite\n\
         mda \"cat >> {}\"\n",
        path(&fetched),
        path(&fetched),
        path(&fetched),
    );
    let configuration = gateway.file("fetchmailrc", configuration);
    run("fetchmail", ["--verbose", "--fetchmailrc", path(&configuration)])
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn fetchmail_fetches() {
    let gateway = with_a_letter();
    fetchmail(&gateway, PASSWORD, "IMAP", gateway.imap).succeeded();
    fetchmail(&gateway, PASSWORD, "POP3", gateway.pop3).succeeded();
    let fetched = fs::read(gateway.upstream.folder().join("fetched")).expect("what fetchmail wrote");
    assert_same(&fetched, &with_lf(&letter()).repeat(2));
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn fetchmail_is_refused() {
    const PS_AUTHFAIL: i32 = 3;
    let gateway = with_a_letter();
    fetchmail(&gateway, WRONG, "IMAP", gateway.imap)
        .exited_with(PS_AUTHFAIL)
        .said("[AUTHENTICATIONFAILED]");
    fetchmail(&gateway, WRONG, "POP3", gateway.pop3)
        .exited_with(PS_AUTHFAIL)
        .said("[AUTH]");
    assert_nobody_came_through(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn imaplib_and_poplib_read() {
    let gateway = with_a_letter();
    for (protocol, port) in [("imap", gateway.imap), ("pop3", gateway.pop3)] {
        let read = python("stdlib.py", [protocol, &port.to_string(), USER, PASSWORD]).succeeded();
        assert_same(&read, &letter());
    }
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn imaplib_and_poplib_are_refused() {
    let gateway = with_a_letter();
    let read =
        |protocol: &str, port: u16| python("stdlib.py", [protocol, &port.to_string(), USER, WRONG]).exited_with(3);
    read("imap", gateway.imap).said("[AUTHENTICATIONFAILED]");
    read("pop3", gateway.pop3).said("-ERR [AUTH]");
    assert_nobody_came_through(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn twenty_megabytes_come_back_as_they_were_stored() {
    let gateway = Gateway::start();
    let said = python("large.py", [&gateway.imap.to_string(), USER, PASSWORD]).succeeded();
    assert!(said.starts_with(b"same 20"), "{}", String::from_utf8_lossy(&said));
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn imapflow_hears_of_a_message_while_it_idles() {
    let gateway = with_a_letter();
    let mut client = Running::node("idle.js", [&gateway.imap.to_string(), USER, PASSWORD]);
    assert_eq!(client.line(), "idling");
    gateway
        .upstream
        .deliver("2.news", b"Subject: News\r\n\r\nIt came while you waited\r\n");
    assert_eq!(client.line(), "exists 2");
    assert_same(&client.rest(), b"Subject: News\r\n\r\nIt came while you waited\r\n");
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn imapflow_is_refused() {
    let gateway = with_a_letter();
    node("idle.js", [&gateway.imap.to_string(), USER, WRONG]).exited_with(3);
    assert_nobody_came_through(&gateway);
}

/// Without the line that mbsync puts into what it copies, to find it again.
fn without_mark(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|octet| *octet == b'\n');
    lines.filter(|line| !line.starts_with(b"X-TUID: ")).flatten().copied().collect()
}

fn only_file(folder: &Path) -> Vec<u8> {
    let mut entries = fs::read_dir(folder).expect("a folder of the local maildir");
    let first = entries.next().expect("a message").expect("an entry").path();
    assert!(entries.next().is_none(), "more than one message");
    fs::read(first).expect("a message")
}
