//! Listening on both kinds of addresses.

use std::sync::Arc;

use mailferry::config::{Config, Protocol};

use crate::common::{Answer, Client, PASSWORD, Setup, Wanted};

/// Each listener on IPv4 and on IPv6.
fn on_both(config: &mut Config) {
    for listener in &mut config.listeners {
        let listener = Arc::get_mut(listener).unwrap();
        listener.bind = ["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap()).into();
    }
}

#[tokio::test]
async fn one_listener_serves_ipv4_and_ipv6() {
    let setup = Setup::with(Wanted { change: on_both, ..Wanted::default() }).await;
    for protocol in Protocol::ALL {
        let bound: Vec<_> = setup
            .gateway
            .bound()
            .iter()
            .filter(|bound| bound.listener.protocol == protocol)
            .collect();
        assert!(bound.len() == 2 && bound[0].address.is_ipv4() && bound[1].address.is_ipv6());
        for bound in bound {
            let mut client = Client::connect(bound.address).await;
            assert!(!client.line().await.is_empty());
            assert_eq!(client.log_in(protocol, "scanner", PASSWORD).await, Answer::Accepted, "{}", bound.address);
        }
    }
}

#[tokio::test]
async fn the_same_port_of_both_kinds_is_two_addresses() {
    let mut wanted = Wanted { change: on_both, ..Wanted::default() };
    let first = Setup::with(wanted).await;
    let port = first.address(Protocol::Smtp).port();
    drop(first);
    wanted = Wanted::default();
    let provider = mailferry::sim::Simulator::start(wanted.provider.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Setup::configuration(&provider, &folder, &wanted);
    let addresses = ["0.0.0.0", "[::]"].map(|address| format!("{address}:{port}").parse().unwrap());
    Arc::get_mut(&mut config.listeners[0]).unwrap().bind = addresses.into();
    let gateway = mailferry::app::Gateway::start(config).await.unwrap();
    for address in ["127.0.0.1", "::1"] {
        let mut client = Client::connect((address.parse::<std::net::IpAddr>().unwrap(), port).into()).await;
        assert!(client.line().await.starts_with("220 "), "{address}");
    }
    drop(gateway);
}
