//! TLS behind a PROXY header: it begins where the header ends, and counts as the client's own.

use std::sync::Arc;

use mailferry::config::{Config, ListenerTls, Protocol};

use crate::common::tls::{self, Secured, own_certificate, trusting};
use crate::common::{Answer, Client, PASSWORD, Setup, Wanted, login_table};
use crate::{behind_a_proxy, command, greeted, sending, v1, v2};

fn auto(config: &mut Config) {
    for listener in &mut config.listeners {
        Arc::get_mut(listener).unwrap().tls = ListenerTls::Auto;
    }
}

/// A gateway whose listeners speak TLS, with a login that demands it.
async fn with_tls() -> Setup {
    let tables = login_table("tls-only", PASSWORD.as_bytes(), "tls = \"required\"");
    Setup::with(Wanted { tables, change: auto, ..behind_a_proxy() }).await
}

/// The handshake, by who trusts the gateway's own certificate.
async fn secured(setup: &Setup, client: Client) -> Secured {
    let config = trusting(&own_certificate(setup.folder.path()));
    tls::secured(client, "127.0.0.1", &config).await.unwrap()
}

#[tokio::test]
async fn a_handshake_begins_where_the_header_ends() {
    let setup = with_tls().await;
    for protocol in Protocol::ALL {
        // From where no password is taken without TLS.
        for header in [v1("198.51.100.7"), v2("198.51.100.7", b"")] {
            let client = sending(setup.address(protocol), &header).await;
            let mut client = secured(&setup, client).await;
            let greeting = client.line().await;
            assert!(["220 ", "* OK", "+OK"].iter().any(|start| greeting.starts_with(start)), "{greeting}");
            assert_eq!(client.log_in(protocol, "tls-only", PASSWORD).await, Answer::Accepted, "{protocol}");
        }
    }
}

#[tokio::test]
async fn behind_a_header_starttls_is_offered_to_clients_and_not_to_health_checks() {
    let setup = with_tls().await;
    let mut client = greeted(&setup, Protocol::Smtp, &v1("198.51.100.7")).await;
    assert!(client.ask("STARTTLS").await.starts_with("220 "));
    let mut client = secured(&setup, client).await;
    assert_eq!(client.log_in(Protocol::Smtp, "tls-only", PASSWORD).await, Answer::Accepted);
    let mut check = greeted(&setup, Protocol::Smtp, &command(0x20, 0, b"")).await;
    check.say("EHLO check").await;
    assert!(!check.reply().await.iter().any(|line| line.contains("STARTTLS")));
    assert!(check.ask("STARTTLS").await.starts_with("502 "));
}
