//! What a mail program is told over IMAP and POP3 when it is not let in, end to end: the table of replies.

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod local;
mod mechanism;
mod relay;
mod starttls;
mod upstream;

use common::{Answer, Client, PASSWORD, Setup};
use mailferry::config::Protocol;
use mailferry::sim::{self, Personality};

/// The protocols that mail is read with.
const READING: [Protocol; 2] = [Protocol::Imap, Protocol::Pop3];

const PERSONALITIES: [Personality; 2] = [Personality::Microsoft, Personality::Dovecot];

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Wrong name or password, or not allowed here.
    Credentials,
    /// A person must act.
    Person,
    /// The account's rights are missing.
    Rights,
    /// It may work later.
    Passing,
}

/// How the table has the reply begin.
const fn reply(protocol: Protocol, kind: Kind) -> &'static str {
    match (protocol, kind) {
        (Protocol::Smtp, Kind::Credentials) => "535 5.7.8 ",
        (Protocol::Smtp, _) => "454 4.7.0 ",
        (Protocol::Imap, Kind::Credentials) => "tag NO [AUTHENTICATIONFAILED] ",
        (Protocol::Imap, Kind::Person) => "tag NO [CONTACTADMIN] ",
        (Protocol::Imap, Kind::Rights) => "tag NO [AUTHORIZATIONFAILED] ",
        (Protocol::Imap, Kind::Passing) => "tag NO [UNAVAILABLE] ",
        (Protocol::Pop3, Kind::Credentials) => "-ERR [AUTH] ",
        (Protocol::Pop3, Kind::Person | Kind::Rights) => "-ERR [SYS/PERM] ",
        (Protocol::Pop3, Kind::Passing) => "-ERR [SYS/TEMP] ",
    }
}

/// A login that the table answers so; the whole line.
#[track_caller]
fn assert_refused(protocol: Protocol, kind: Kind, answer: Answer, why: &str) -> String {
    match answer {
        Answer::Refused(line) if line.starts_with(reply(protocol, kind)) => line,
        other => panic!("{why}: {other:?} instead of {kind:?}"),
    }
}

/// The right password, which is refused in this way.
async fn refused(client: &mut Client, protocol: Protocol, kind: Kind, why: &str) -> String {
    let answer = client.log_in(protocol, "scanner", PASSWORD).await;
    assert_refused(protocol, kind, answer, why)
}

/// The right password, which is accepted.
async fn accepted(client: &mut Client, protocol: Protocol) {
    assert_eq!(client.log_in(protocol, "scanner", PASSWORD).await, Answer::Accepted);
}

/// A logged-in session is unharmed.
async fn assert_unharmed(client: &mut Client, protocol: Protocol) {
    match protocol {
        Protocol::Imap => {
            client.say("n NOOP").await;
            assert!(client.until("n ").await.starts_with("n OK"));
        }
        Protocol::Smtp | Protocol::Pop3 => {
            client.say("NOOP").await;
            assert!(client.line().await.starts_with(['+', '2']));
        }
    }
}

const fn server(protocol: Protocol) -> sim::Protocol {
    match protocol {
        Protocol::Smtp => sim::Protocol::Smtp,
        Protocol::Imap => sim::Protocol::Imap,
        Protocol::Pop3 => sim::Protocol::Pop3,
    }
}

/// Nobody upstream has heard of any of this, not even the token endpoint.
fn assert_nobody_was_asked(setup: &Setup) {
    assert_eq!(setup.control().token_requests(), 0);
    for protocol in READING {
        assert_eq!(setup.control().connections(server(protocol)), 0);
    }
}
