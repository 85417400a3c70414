//! Who may do what, end to end: addresses that a proxy names, addresses that open a login, and addresses beyond IPv4.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod by_address;
#[path = "../common/mod.rs"]
mod common;
mod fair;
mod guesses;
mod judged;
mod proxied;
mod sockets;
mod tls;

use std::net::{IpAddr, SocketAddr};

use common::{Client, Setup, Wanted};
use mailferry::config::Protocol;

/// The tests' own address is a proxy, for clients in the documentation's networks, some of whom may log in without TLS.
const BEHIND_A_PROXY: &str = "proxy_protocol = [\"127.0.0.0/8\"]\n\
    allow = [\"192.0.2.0/24\", \"198.51.100.0/24\", \"2001:db8::/32\", \"127.0.0.0/8\"]\n\
    plaintext_login = [\"192.0.2.0/24\", \"2001:db8:1::/48\", \"127.0.0.0/8\"]\n";

/// What every header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The SSL field that says that the client speaks TLS.
const SSL: &[u8] = &[0x20, 0, 5, 1, 0, 0, 0, 0];

/// A gateway behind a proxy.
fn behind_a_proxy() -> Wanted {
    Wanted { listener_keys: BEHIND_A_PROXY.into(), ..Wanted::brisk() }
}

/// Version 1 for a client at this address.
fn v1(source: &str) -> Vec<u8> {
    let (family, destination) = if source.contains(':') { ("TCP6", "2001:db8::1") } else { ("TCP4", "203.0.113.1") };
    format!("PROXY {family} {source} {destination} 50000 587\r\n").into_bytes()
}

/// Version 2 for a client at this address, with these fields.
fn v2(source: &str, fields: &[u8]) -> Vec<u8> {
    let (family, addresses) = match source.parse().unwrap() {
        IpAddr::V4(source) => (0x11, [source.octets(), [203, 0, 113, 1]].concat()),
        IpAddr::V6(source) => (0x21, source.octets().repeat(2)),
    };
    command(0x21, family, &[&addresses[..], &[0xc3, 0x50, 0x02, 0x4b], fields].concat())
}

/// Version 2 with any command.
fn command(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// A connection on which this was sent first.
async fn sending(address: SocketAddr, first: &[u8]) -> Client {
    let mut client = Client::connect(address).await;
    client.send(first).await;
    client
}

/// A client whose header was taken, and who was greeted.
async fn greeted(setup: &Setup, protocol: Protocol, header: &[u8]) -> Client {
    let mut client = sending(setup.address(protocol), header).await;
    let greeting = client.line().await;
    assert!(["220 ", "* OK", "+OK"].iter().any(|start| greeting.starts_with(start)), "{greeting:?}");
    client
}

/// As [`greeted`], over SMTP, for a client at this address.
async fn from(setup: &Setup, source: &str) -> Client {
    greeted(setup, Protocol::Smtp, &v1(source)).await
}
