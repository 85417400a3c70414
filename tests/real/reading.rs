//! Clients that read, and store: what lies in the mailbox comes through octet by octet, and so does what is put there.

use std::fs;
use std::path::Path;

use crate::client::{Ended, Running, node, python, run};
use crate::entrance::{Entrance, Way};
use crate::gateway::{Gateway, PASSWORD, USER, WRONG};
use crate::letter::{assert_same, letter, with_lf};
use crate::upstream::{files, path};

/// What curl calls the letter over IMAP.
pub(crate) const FIRST_IN_INBOX: &str = "INBOX/;MAILINDEX=1";

/// The ways in which curl shows a password.
const CURL_LOGINS: [&[&str]; 3] = [
    &["--login-options", "AUTH=PLAIN"],
    &["--login-options", "AUTH=PLAIN", "--sasl-ir"],
    &["--login-options", "AUTH=LOGIN"],
];

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

/// curl with what `protocol` has under `place`. It trusts what the entrance says, unless `options` say otherwise.
pub(crate) fn curl(protocol: &str, place: &str, entrance: &Entrance, password: &str, options: &[&str]) -> Ended {
    let (s, port) = (entrance.choose("", "", "s"), entrance.port);
    let url = format!("{protocol}{s}://127.0.0.1:{port}/{place}");
    let user = format!("{}:{password}", entrance.user());
    let mut arguments = vec!["--silent", "--show-error", "--verbose", "--url", &url, "--user", &user];
    arguments.extend(entrance.choose(None, Some("--ssl-reqd"), None));
    if !options.contains(&"--cacert") {
        arguments.extend(["--cacert", entrance.trusted()]);
    }
    arguments.extend(options);
    run("curl", arguments)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_reads_over_imap() {
    let gateway = with_a_letter();
    for entrance in gateway.ways(gateway.imap) {
        for login in CURL_LOGINS {
            let read = curl("imap", FIRST_IN_INBOX, &entrance, PASSWORD, login);
            assert_same(&read.succeeded(), &letter());
        }
    }
    assert_logins_were_safe(&gateway);
    assert_eq!(gateway.upstream.oauth.issued(), 1, "one token serves all sessions");
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_reads_over_pop3() {
    let gateway = with_a_letter();
    for entrance in gateway.ways(gateway.pop3) {
        for login in CURL_LOGINS {
            assert_same(&curl("pop3", "1", &entrance, PASSWORD, login).succeeded(), &letter());
        }
    }
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_is_refused_when_it_reads() {
    const CURLE_LOGIN_DENIED: i32 = 67;
    let gateway = with_a_letter();
    curl("imap", FIRST_IN_INBOX, &gateway.in_clear(gateway.imap), WRONG, &[])
        .exited_with(CURLE_LOGIN_DENIED)
        .said("NO [AUTHENTICATIONFAILED]");
    curl("pop3", "1", &gateway.in_clear(gateway.pop3), WRONG, &[])
        .exited_with(CURLE_LOGIN_DENIED)
        .said("-ERR [AUTH]");
    assert_nobody_came_through(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn curl_refuses_a_certificate_that_it_does_not_trust_or_that_is_for_another() {
    const CURLE_PEER_FAILED_VERIFICATION: i32 = 60;
    let gateway = with_a_letter();
    for entrance in gateway.ways(gateway.imap).iter().filter(|entrance| entrance.way != Way::Clear) {
        let untrusted = ["--cacert", "/etc/ssl/certs/ca-certificates.crt"];
        curl("imap", FIRST_IN_INBOX, entrance, PASSWORD, &untrusted).exited_with(CURLE_PEER_FAILED_VERIFICATION);

        let url = format!("{}://other.example.com:{}", entrance.choose("imap", "imap", "imaps"), entrance.port);
        let found = format!("other.example.com:{}:127.0.0.1", entrance.port);
        let arguments = ["--ssl-reqd", "--url", &url, "--resolve", &found, "--cacert", entrance.trusted()];
        run("curl", arguments).exited_with(CURLE_PEER_FAILED_VERIFICATION);
    }
    let told = "the client does not trust the certificate. Install the certificate that `mailferry cert` prints";
    gateway.assert_logs(&[told]);
    assert_nobody_came_through(&gateway);
}

/// Brings the inbox and a local maildir to the same state.
fn mbsync(gateway: &Gateway, entrance: &Entrance, local: &Path, password: &str, mechanism: &str) -> Ended {
    let secret = gateway.file("password", password);
    // It knows names in certificates, and no addresses.
    let configuration = format!(
        "IMAPAccount ferry\nHost localhost\nPort {}\nUser {}\nPassCmd \"cat {}\"\nAuthMechs {mechanism}\n\
         SSLType {}\nSystemCertificates no\nCertificateFile {}\n\n\
         IMAPStore far\nAccount ferry\n\n\
         MaildirStore near\nInbox {}/INBOX\n\n\
         Channel inbox\nFar :far:\nNear :near:\nCreate Near\nSync All\nSyncState *\n",
        entrance.port,
        entrance.user(),
        path(&secret),
        entrance.choose("None", "STARTTLS", "IMAPS"),
        entrance.trusted(),
        path(local),
    );
    fs::create_dir_all(local).expect("a folder for the local mail");
    let configuration = gateway.file("mbsyncrc", configuration);
    run("mbsync", ["--verbose", "--config", path(&configuration), "--all"])
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn mbsync_pulls_and_pushes() {
    let gateway = with_a_letter();
    let mut expected = vec![with_lf(&letter())];
    for (turn, entrance) in gateway.ways(gateway.imap).into_iter().enumerate() {
        // A new one each time, so that all there is comes.
        let local = gateway.upstream.folder().join(format!("local-{turn}"));
        mbsync(&gateway, &entrance, &local, PASSWORD, "PLAIN").succeeded();
        assert_same_messages(files(&local.join("INBOX/new")).collect(), &expected);

        let reply = format!("Subject: Re: Scan\n\nThank you\n{turn}\n").into_bytes();
        fs::write(local.join("INBOX/new/2.reply"), &reply).expect("a file in the maildir");
        mbsync(&gateway, &entrance, &local, PASSWORD, "LOGIN").succeeded();
        expected.push(reply);
        let stored = gateway.upstream.inbox();
        assert_same_messages(stored.iter().map(|message| with_lf(message)).collect(), &expected);
    }
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn mbsync_is_refused() {
    let gateway = with_a_letter();
    let local = gateway.upstream.folder().join("local");
    for mechanism in ["PLAIN", "LOGIN"] {
        mbsync(&gateway, &gateway.in_clear(gateway.imap), &local, WRONG, mechanism)
            .exited_with(1)
            .said("[AUTHENTICATIONFAILED]");
    }
    assert_nobody_came_through(&gateway);
}

/// Fetches all there is into the file `fetched`.
fn fetchmail(gateway: &Gateway, protocol: &str, entrance: &Entrance, password: &str) -> Ended {
    // The only escapes it knows in every place.
    let password: String = password.bytes().map(|octet| format!("\\x{octet:02x}")).collect();
    let fetched = gateway.upstream.folder().join("fetched");
    // It knows names in certificates, and no addresses.
    let configuration = format!(
        "set invisible\nset no syslog\nset pidfile \"{}.pid\"\nset idfile \"{}.ids\"\n\
         poll localhost service {} protocol {protocol} auth password\n\
         user \"{}\" password \"{password}\" {} sslcertck sslcertfile \"{}\" fetchall keep no rewrite\n\
         mda \"cat >> {}\"\n",
        path(&fetched),
        path(&fetched),
        entrance.port,
        entrance.user(),
        entrance.choose("sslproto \"\"", "sslproto \"auto\"", "ssl"),
        entrance.trusted(),
        path(&fetched),
    );
    let configuration = gateway.file("fetchmailrc", configuration);
    run("fetchmail", ["--verbose", "--fetchmailrc", path(&configuration)])
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn fetchmail_fetches() {
    let gateway = with_a_letter();
    for (protocol, ports) in [("IMAP", gateway.imap), ("POP3", gateway.pop3)] {
        for entrance in gateway.ways(ports) {
            fetchmail(&gateway, protocol, &entrance, PASSWORD).succeeded();
        }
    }
    let fetched = fs::read(gateway.upstream.folder().join("fetched")).expect("what fetchmail wrote");
    assert_same(&fetched, &with_lf(&letter()).repeat(12));
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn fetchmail_is_refused() {
    const PS_AUTHFAIL: i32 = 3;
    let gateway = with_a_letter();
    fetchmail(&gateway, "IMAP", &gateway.in_clear(gateway.imap), WRONG)
        .exited_with(PS_AUTHFAIL)
        .said("[AUTHENTICATIONFAILED]");
    fetchmail(&gateway, "POP3", &gateway.in_clear(gateway.pop3), WRONG)
        .exited_with(PS_AUTHFAIL)
        .said("[AUTH]");
    assert_nobody_came_through(&gateway);
}

/// A client of Python's standard library.
pub(crate) fn stdlib(protocol: &str, entrance: &Entrance, password: &str, message: Option<&str>) -> Ended {
    let port = entrance.port.to_string();
    let arguments = [protocol, &port, entrance.word(), entrance.trusted(), entrance.user(), password];
    python("stdlib.py", arguments.into_iter().chain(message))
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn imaplib_and_poplib_read() {
    let gateway = with_a_letter();
    for (protocol, ports) in [("imap", gateway.imap), ("pop3", gateway.pop3)] {
        for entrance in gateway.ways(ports) {
            assert_same(&stdlib(protocol, &entrance, PASSWORD, None).succeeded(), &letter());
        }
    }
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn imaplib_and_poplib_are_refused() {
    let gateway = with_a_letter();
    let read = |protocol: &str, ports| stdlib(protocol, &gateway.in_clear(ports), WRONG, None).exited_with(3);
    read("imap", gateway.imap).said("[AUTHENTICATIONFAILED]");
    read("pop3", gateway.pop3).said("-ERR [AUTH]");
    assert_nobody_came_through(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn twenty_megabytes_come_back_as_they_were_stored() {
    let gateway = Gateway::start();
    let said = python("large.py", [&gateway.imap.none.to_string(), USER, PASSWORD]).succeeded();
    assert!(said.starts_with(b"same 20"), "{}", String::from_utf8_lossy(&said));
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn no_client_reads_from_a_gateway_that_it_does_not_trust() {
    let gateway = with_a_letter();
    let local = gateway.upstream.folder().join("local");
    for entrance in gateway.distrusted(gateway.imap) {
        mbsync(&gateway, &entrance, &local, PASSWORD, "PLAIN").complained_of_a_certificate();
        fetchmail(&gateway, "IMAP", &entrance, PASSWORD).complained_of_a_certificate();
        stdlib("imap", &entrance, PASSWORD, None).complained_of_a_certificate();
        node("idle.js", idle(&entrance, PASSWORD)).complained_of_a_certificate();
    }
    for entrance in gateway.distrusted(gateway.pop3) {
        fetchmail(&gateway, "POP3", &entrance, PASSWORD).complained_of_a_certificate();
        stdlib("pop3", &entrance, PASSWORD, None).complained_of_a_certificate();
    }
    assert_nobody_came_through(&gateway);
}

/// The arguments of imapflow's script.
fn idle(entrance: &Entrance, password: &str) -> [String; 5] {
    let port = entrance.port.to_string();
    [&port, entrance.word(), entrance.trusted(), entrance.user(), password].map(str::to_owned)
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn imapflow_hears_of_a_message_while_it_idles() {
    let gateway = with_a_letter();
    for (turn, entrance) in gateway.ways(gateway.imap).iter().enumerate() {
        let mut client = Running::node("idle.js", idle(entrance, PASSWORD));
        assert_eq!(client.line(), "idling");
        let news = format!("Subject: News\r\n\r\nIt came while you waited\r\n{turn}\r\n").into_bytes();
        gateway.upstream.deliver(&format!("{turn}.news"), &news);
        assert_eq!(client.line(), format!("exists {}", turn + 2));
        assert_same(&client.rest(), &news);
    }
    assert_logins_were_safe(&gateway);
}

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn imapflow_is_refused() {
    let gateway = with_a_letter();
    node("idle.js", idle(&gateway.in_clear(gateway.imap), WRONG)).exited_with(3);
    assert_nobody_came_through(&gateway);
}

/// Without the line that mbsync puts into what it copies, to find it again.
fn without_mark(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|octet| *octet == b'\n');
    lines.filter(|line| !line.starts_with(b"X-TUID: ")).flatten().copied().collect()
}

/// That these are the same messages, in whatever order, and but for the lines that mbsync puts into them.
#[track_caller]
fn assert_same_messages(found: Vec<Vec<u8>>, expected: &[Vec<u8>]) {
    let mut found: Vec<_> = found.iter().map(|message| without_mark(message)).collect();
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_same(found, expected);
    }
}
