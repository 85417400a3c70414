//! A session whose octets come under TLS, or through a proxy, is shown as any other: whose it is, and what is said inside.

use mailferry::config::Protocol;

use super::common::tls::{own_certificate, secured, trusting};
use super::common::{Answer, Client, PASSWORD, Wanted};
use super::{Stage, send};

#[tokio::test]
async fn what_is_said_over_starttls_and_through_a_proxy_is_shown() {
    let keys = "tls = \"starttls\"\nproxy_protocol = [\"127.0.0.0/8\"]\nallow = [\"127.0.0.0/8\", \"192.0.2.0/24\"]";
    let stage = Stage::set(Wanted { listener_keys: keys.into(), ..Wanted::default() }).await;
    let mut watching = stage.watch(&["--from", "192.0.2.7"]).await;
    let mut device = Client::connect(stage.addresses[0]).await;
    device.say("PROXY TCP4 192.0.2.7 203.0.113.1 50000 587").await;
    device.line().await;
    device.ask("EHLO XC-B8C463").await;
    assert!(device.ask("STARTTLS").await.starts_with("220 "));
    let config = trusting(&own_certificate(stage.folder.path()));
    let mut device = secured(device, "localhost", &config).await.unwrap();
    device.ask("EHLO inside").await;
    assert_eq!(device.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    send(&mut device, "Subject: a scan").await;
    device.ask("QUIT").await;
    for line in [
        "-- the PROXY header of 127.0.0.1 says that this is 192.0.2.7",
        "device <- 220 gateway.example ",
        "device -> EHLO XC-B8C463",
        "device <- 250-STARTTLS",
        "device -> STARTTLS",
        "device <- 220 2.0.0 ",
        "-- TLS is on",
        "device -> EHLO inside",
        "device -> AUTH PLAIN (not shown)",
        "device <- 235 ",
        "device -> DATA",
        "device -> (20 octets of a message)",
        "-- message accepted: 250 2.0.0 ",
        "device -> QUIT",
        "-- the session has ended: ",
    ] {
        watching.says(line).await;
    }
}
