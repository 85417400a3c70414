//! Hostile case 1 on real sockets, and handshakes that do not end.

use std::time::Duration;

use mailferry::config::{ListenerTls, Protocol};
use tokio::io::AsyncWriteExt;

use crate::common::{Client, Setup, Wanted, let_pass};
use crate::{ask, by_tls, every_listener, own, secured, starttls, trusting, with};

#[tokio::test]
async fn what_comes_with_starttls_is_not_answered_inside_tls() {
    for tls in [ListenerTls::StartTls, ListenerTls::Auto] {
        let setup = with(tls).await;
        let config = trusting(&own(&setup));
        for protocol in Protocol::ALL {
            let injected = match protocol {
                Protocol::Smtp => "EHLO x\r\n",
                Protocol::Imap => "B NOOP\r\n",
                Protocol::Pop3 => "CAPA\r\n",
            };
            let mut client = setup.client(protocol).await;
            let sent = format!("{}\r\n{injected}", starttls(protocol));
            client.connection.get_mut().write_all(sent.as_bytes()).await.unwrap();
            // It is answered in the clear at most that TLS may begin, and then there is no more of this connection.
            let answer = client.line().await;
            assert!(
                ["220 2.0.0 ", "s OK ", "+OK ", ""]
                    .iter()
                    .any(|start| answer.starts_with(start)),
                "{answer}"
            );
            assert!(secured(client, "localhost", &config).await.is_err());
        }
        setup.deserted().await;
    }
}

/// In a packet of its own, behind the answer, it is what the handshake begins with.
#[tokio::test]
async fn what_comes_in_the_place_of_the_handshake_ends_the_connection() {
    let setup = with(ListenerTls::StartTls).await;
    for protocol in Protocol::ALL {
        let mut client = setup.client(protocol).await;
        client.say(starttls(protocol)).await;
        client.line().await;
        client.say(ask(protocol)).await;
        let rest = client.rest().await;
        assert!(!rest.contains("250") && !rest.contains("CAPABILITY") && !rest.contains("TOP"), "{rest:?}");
    }
}

#[tokio::test]
async fn a_login_is_not_interrupted_by_starttls() {
    let takes_passwords_in_clear = Wanted {
        change: |config| {
            every_listener(config, ListenerTls::StartTls);
            for listener in &mut config.listeners {
                let listener = std::sync::Arc::get_mut(listener).unwrap();
                listener.plaintext_login = listener.allow.clone();
            }
        },
        ..Wanted::default()
    };
    let setup = Setup::with(takes_passwords_in_clear).await;
    for (protocol, begin) in
        [(Protocol::Smtp, "AUTH LOGIN"), (Protocol::Imap, "a AUTHENTICATE LOGIN"), (Protocol::Pop3, "AUTH LOGIN")]
    {
        let mut client = setup.client(protocol).await;
        client.say(begin).await;
        client.line().await;
        client.say(starttls(protocol)).await;
        let line = client.line().await;
        assert!(!["220 ", "s OK", "+OK "].iter().any(|start| line.starts_with(start)), "{line}");
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended_after_ten_seconds() {
    let setup = with(ListenerTls::Implicit).await;
    let [mut silent, mut halting] =
        [Client::connect(setup.address(Protocol::Smtp)).await, Client::connect(setup.address(Protocol::Imap)).await];
    // The first octets of a handshake of 512, and no more.
    halting.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    while setup.gateway.sessions() < 2 {
        tokio::task::yield_now().await;
    }
    // Both are in the handshake once another has passed it.
    by_tls(&setup, Protocol::Pop3).await;
    let_pass(Duration::from_secs(11)).await;
    assert_eq!((silent.rest().await, halting.rest().await), (String::new(), String::new()));
    setup.deserted().await;
}
