//! The way to the upstreams, end to end: through a proxy, to servers that are dead for a while, and with TLS sessions that
//! are taken up again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod dead;
mod proxy;

use common::{Answer, PASSWORD, Setup, in_time};
use mailferry::config::Protocol;
use mailferry::sim;

const fn server(protocol: Protocol) -> sim::Protocol {
    match protocol {
        Protocol::Smtp => sim::Protocol::Smtp,
        Protocol::Imap => sim::Protocol::Imap,
        Protocol::Pop3 => sim::Protocol::Pop3,
    }
}

/// How the table of replies has a passing failure begin.
const fn passing(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "454 4.7.0 ",
        Protocol::Imap => "tag NO [UNAVAILABLE] ",
        Protocol::Pop3 => "-ERR [SYS/TEMP] ",
    }
}

/// The login `username` on a new connection is refused for now.
async fn assert_unavailable(setup: &Setup, protocol: Protocol, username: &str) {
    let mut client = setup.client(protocol).await;
    match in_time(client.log_in(protocol, username, PASSWORD)).await {
        Answer::Refused(line) if line.starts_with(passing(protocol)) => {}
        other => panic!("{protocol} {username}: {other:?}"),
    }
}

#[tokio::test]
async fn tls_sessions_are_resumed() {
    for protocol in Protocol::ALL {
        let setup = Setup::new().await;
        setup.logged_in(protocol).await;
        assert_eq!(setup.control().resumed(server(protocol)), 0, "{protocol}");
        setup.logged_in(protocol).await;
        assert_eq!(setup.control().resumed(server(protocol)), 1, "{protocol}");
    }
}
