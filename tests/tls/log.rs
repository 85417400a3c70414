//! What the log says when TLS comes to nothing: what happened, and the setting that helps.

use mailferry::config::Protocol;
use mailferry::sim::Simulator;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::common::program::{Running, program};
use crate::common::{Client, Wanted, configuration_text};
use crate::{secured, trusting};

/// A handshake of TLS 1.1 at most, as a device from 2012 begins it: no version but the one that is in its place, and the
/// ciphers of its time.
const OLD: &[u8] = b"\x16\x03\x01\x00\x33\x01\x00\x00\x2f\x03\x02\
    0123456789abcdef0123456789abcdef\x00\x00\x08\x00\x35\x00\x2f\x00\x0a\x00\x05\x01\x00";

/// As newer software does that is kept at TLS 1.1: with the list of signature algorithms.
const KEPT_OLD: &[u8] = b"\x16\x03\x01\x00\x3d\x01\x00\x00\x39\x03\x02\
    0123456789abcdef0123456789abcdef\x00\x00\x08\xc0\x14\x00\x2f\x00\x0a\x00\x05\x01\x00\
    \x00\x08\x00\x0d\x00\x04\x00\x02\x04\x01";

/// TLS 1.2 of its first years: no extension at all.
const NO_EXTENSIONS: &[u8] = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03\
    0123456789abcdef0123456789abcdef\x00\x00\x02\xc0\x2f\x01\x00";

/// TLS 1.2 with the list, and RSA to exchange keys.
const RSA_ONLY: &[u8] = b"\x16\x03\x01\x00\x37\x01\x00\x00\x33\x03\x03\
    0123456789abcdef0123456789abcdef\x00\x00\x02\x00\x2f\x01\x00\
    \x00\x08\x00\x0d\x00\x04\x00\x02\x04\x01";

/// The program with all its listeners like this.
async fn start(tls: &str) -> (Running, std::net::SocketAddr, Simulator, TempDir) {
    let wanted = Wanted::default();
    let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = configuration_text(&provider, &folder, &wanted)
        .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"127.0.0.1:0\"\ntls = \"{tls}\""));
    std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
    let mut gateway = Running::start(program(folder.path(), &["--config", "mailferry.toml", "serve"]));
    let smtp = gateway.listens(Protocol::Smtp).await;
    (gateway, smtp, provider, folder)
}

#[tokio::test]
async fn a_handshake_where_none_belongs_is_named_with_the_setting() {
    for (tls, cure) in
        [("none", "or switch TLS (SSL) off in the device"), ("starttls", "or choose STARTTLS in the device")]
    {
        let (mut gateway, smtp, ..) = start(tls).await;
        let mut client = Client::connect(smtp).await;
        // At once, or once greeted.
        client.send(OLD).await;
        assert!(client.rest().await.lines().count() == 1, "the greeting and nothing else");
        let line = gateway
            .says("the client began a TLS handshake where the gateway expects a command")
            .await;
        assert!(
            line.contains("Set tls = \"auto\" for this listener") && line.contains(cure) && line.contains("INFO"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_handshake_that_fails_is_named_with_what_helps() {
    const OLDER: &str = "speaks TLS 1.1 or older";
    for (sent, why) in
        [(OLD, OLDER), (KEPT_OLD, OLDER), (NO_EXTENSIONS, OLDER), (b"EHLO client\r\n", "is no TLS handshake")]
    {
        // One line in a while for each listener: another gateway has another while.
        let (mut gateway, smtp, ..) = start("implicit").await;
        let mut client = Client::connect(smtp).await;
        client.send(sent).await;
        client.rest().await;
        let line = gateway.says("the TLS handshake failed").await;
        assert!(line.contains(why), "{line}");
    }
    let (mut gateway, smtp, ..) = start("implicit").await;
    // A device that does not trust the certificate says so.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other: CertificateDer<'static> = other.cert.der().clone();
    let client = Client::connect(smtp).await;
    assert!(secured(client, "localhost", &trusting(&other)).await.is_err());
    let line = gateway.says("the TLS handshake failed").await;
    assert!(line.contains("does not trust the certificate") && line.contains("mailferry cert"), "{line}");
}

/// Three devices at once, as after a change of the listener: each finds its own line.
#[tokio::test]
async fn each_cause_has_its_own_line_whatever_came_before() {
    let (mut gateway, smtp, ..) = start("implicit").await;
    for (sent, why) in [
        (OLD, "speaks TLS 1.1 or older"),
        (RSA_ONLY, "knows none of the gateway's ways to encrypt"),
        (b"EHLO client\r\n", "is no TLS handshake"),
    ] {
        let mut client = Client::connect(smtp).await;
        client.send(sent).await;
        client.rest().await;
        let line = gateway.says(why).await;
        assert!(line.contains("connection closed: ") && line.contains("peer=127.0.0.1"), "{line}");
    }
}

#[tokio::test]
async fn the_fingerprint_is_in_the_log() {
    let wanted = Wanted::default();
    let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = configuration_text(&provider, &folder, &wanted)
        .replace("bind = \"127.0.0.1:0\"", "bind = \"127.0.0.1:0\"\ntls = \"auto\"");
    std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
    let mut gateway = Running::start(program(folder.path(), &["--config", "mailferry.toml", "serve"]));
    gateway.says("made a certificate, since none is configured").await;
    let line = gateway.says("listeners show this certificate").await;
    assert!(line.matches(':').count() >= 31, "{line}");
}
