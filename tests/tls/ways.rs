//! Every way to come to TLS, and what is offered before it and under it.

use std::time::Duration;

use mailferry::config::{ListenerTls, Protocol};
use rustls::ProtocolVersion;

use crate::common::{Answer, PASSWORD, Setup, Wanted};
use crate::{by_starttls, by_tls, capabilities, every_listener, own, secured, starttls, trusting, with};

/// What stands in the list of each protocol where TLS can be had, and where a password can be sent.
const fn offers(protocol: Protocol) -> (&'static str, &'static str) {
    match protocol {
        Protocol::Smtp => ("STARTTLS", "AUTH PLAIN LOGIN"),
        Protocol::Imap => ("STARTTLS", "AUTH=PLAIN AUTH=LOGIN"),
        Protocol::Pop3 => ("STLS", "SASL PLAIN LOGIN"),
    }
}

/// How a password in the clear is refused.
const fn refused_in_clear(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "538 5.7.11 ",
        Protocol::Imap => "tag NO [PRIVACYREQUIRED] ",
        Protocol::Pop3 => "-ERR [AUTH] ",
    }
}

/// Logs in under TLS and uses the mailbox, having looked at what is offered.
async fn works(mut client: crate::Secured, protocol: Protocol) {
    let (tls, password) = offers(protocol);
    let list = capabilities(&mut client, protocol).await;
    assert!(!list.contains(tls) && list.contains(password), "{protocol}: {list}");
    client.say(starttls(protocol)).await;
    let again = client.line().await;
    assert!(["502 ", "s BAD ", "-ERR "].iter().any(|start| again.starts_with(start)), "{again}");
    assert_eq!(client.log_in(protocol, "scanner", PASSWORD).await, Answer::Accepted);
    let (command, answer) = match protocol {
        Protocol::Smtp => ("MAIL FROM:<scanner@contoso.example>", "250 "),
        Protocol::Imap => ("n NOOP", "n OK"),
        Protocol::Pop3 => ("STAT", "+OK"),
    };
    client.say(command).await;
    client.until(answer).await;
}

/// A client that stays in the clear is told of TLS and asked for no password.
async fn is_kept_from_sending_a_password(setup: &Setup, protocol: Protocol) {
    let asked = setup.control().token_requests();
    let mut client = setup.client(protocol).await;
    let (tls, password) = offers(protocol);
    let list = capabilities(&mut client, protocol).await;
    assert!(list.contains(tls) && !list.contains(password), "{protocol}: {list}");
    assert_eq!(list.contains("LOGINDISABLED"), protocol == Protocol::Imap);
    client
        .say(match protocol {
            Protocol::Smtp => "AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==",
            Protocol::Imap => "tag LOGIN scanner \"a plain password\"",
            Protocol::Pop3 => "USER scanner",
        })
        .await;
    let line = client.line().await;
    assert!(line.starts_with(refused_in_clear(protocol)), "{line}");
    assert_eq!(setup.control().token_requests(), asked, "nobody was asked");
}

#[tokio::test]
async fn whoever_asks_gets_tls() {
    let setup = with(ListenerTls::StartTls).await;
    for protocol in Protocol::ALL {
        is_kept_from_sending_a_password(&setup, protocol).await;
        works(by_starttls(&setup, protocol).await, protocol).await;
    }
}

#[tokio::test]
async fn tls_comes_first_where_it_is_implicit() {
    let setup = with(ListenerTls::Implicit).await;
    for protocol in Protocol::ALL {
        works(by_tls(&setup, protocol).await, protocol).await;
    }
}

#[tokio::test]
async fn one_listener_serves_all_three_kinds_of_clients() {
    let setup = with(ListenerTls::Auto).await;
    for protocol in Protocol::ALL {
        works(by_tls(&setup, protocol).await, protocol).await;
        is_kept_from_sending_a_password(&setup, protocol).await;
        works(by_starttls(&setup, protocol).await, protocol).await;
    }
    // One that knows no TLS at all, where that is allowed, whether it waits for the greeting or not.
    let plain = Wanted {
        change: |config| {
            every_listener(config, ListenerTls::Auto);
            for listener in &mut config.listeners {
                let listener = std::sync::Arc::get_mut(listener).unwrap();
                listener.plaintext_login = listener.allow.clone();
            }
            // It would hang here if the first octet were not looked at.
            config.budgets.first_octet = Duration::from_secs(3600);
        },
        ..Wanted::default()
    };
    let setup = Setup::with(plain).await;
    for protocol in Protocol::ALL {
        let mut client = crate::Client::connect(setup.address(protocol)).await;
        client.say(crate::ask(protocol)).await;
        let (tls, password) = offers(protocol);
        let (tls, password) = match protocol {
            Protocol::Imap => (tls, "AUTH=PLAIN"),
            _ => (tls, password),
        };
        let (mut seen, mut lines) = ((false, false), 0);
        while seen != (true, true) {
            let line = client.line().await;
            lines += 1;
            assert!(lines < 20 && !line.is_empty(), "{protocol}: the list has no {tls} and {password}");
            seen = (seen.0 || line.contains(tls), seen.1 || line.contains(password));
        }
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_sessions_resumed() {
    let setup = with(ListenerTls::Implicit).await;
    for (versions, known) in
        [([&rustls::version::TLS12], ProtocolVersion::TLSv1_2), ([&rustls::version::TLS13], ProtocolVersion::TLSv1_3)]
    {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(own(&setup)).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = std::sync::Arc::new(config);
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let client = crate::Client::connect(setup.address(Protocol::Smtp)).await;
            let mut client = secured(client, "localhost", &config).await.unwrap();
            // Tickets come with what is said first.
            crate::greeted(&mut client).await;
            let tls = client.connection.get_ref().get_ref().1;
            assert_eq!((tls.protocol_version(), tls.handshake_kind()), (Some(known), Some(kind)));
        }
    }
}

#[tokio::test]
async fn the_certificate_is_for_every_name_and_address_that_is_bound() {
    let setup = with(ListenerTls::Implicit).await;
    let config = trusting(&own(&setup));
    for host in ["127.0.0.1", "::1", "localhost", "gateway.example"] {
        let client = crate::Client::connect(setup.address(Protocol::Imap)).await;
        let mut client = secured(client, host, &config).await.unwrap();
        crate::greeted(&mut client).await;
    }
    let client = crate::Client::connect(setup.address(Protocol::Imap)).await;
    assert!(secured(client, "elsewhere.example", &config).await.is_err());
}
