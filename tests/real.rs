//! Real clients, through mailferry, to a real server that takes nothing but OAuth: each logs in with a user name and a
//! password, in clear and over TLS, and does its work. `real/chain.rs` has a real authorization server and a browser too.
//! Needs root, and the packages that `.ci/run` installs.
#![cfg(target_os = "linux")]

#[cfg(test)]
#[path = "real/chain.rs"]
mod chain;
#[cfg(test)]
#[path = "real/client.rs"]
mod client;
#[cfg(test)]
#[path = "real/daemon.rs"]
mod daemon;
#[cfg(test)]
#[path = "real/entrance.rs"]
mod entrance;
#[cfg(test)]
#[path = "real/gateway.rs"]
mod gateway;
#[cfg(test)]
#[path = "real/letter.rs"]
mod letter;
#[cfg(test)]
#[path = "real/oauth.rs"]
mod oauth;
#[cfg(test)]
#[path = "real/provider.rs"]
mod provider;
#[cfg(test)]
#[path = "real/reading.rs"]
mod reading;
#[cfg(test)]
#[path = "real/sending.rs"]
mod sending;
#[cfg(test)]
#[path = "real/stunnel.rs"]
mod stunnel;
#[cfg(test)]
#[path = "real/upstream.rs"]
mod upstream;

use upstream::{Upstream, path};

#[test]
#[ignore = "needs Dovecot, Postfix and real clients; .ci/run installs them"]
fn the_upstream_takes_xoauth2_and_only_tokens_that_were_issued() {
    let upstream = Upstream::start();
    let ports = [upstream.imaps, upstream.pop3s, upstream.submission].map(|port| port.to_string());
    let login = |token: &str| {
        let ca = upstream.ca();
        let mut arguments = vec![path(&ca), token];
        arguments.extend(ports.iter().map(String::as_str));
        String::from_utf8(client::python("direct.py", arguments).succeeded()).expect("text")
    };
    assert_eq!(login(&upstream.oauth.issue()), "imap ok\npop3 ok\nsmtp ok\n");
    let refused = login("never-issued");
    assert_eq!(refused.matches("refused").count(), 3, "{refused}");
}
