//! TLS between a client and the gateway, end to end: every way to begin it, what may not be carried into it, and what is
//! shown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificate;
#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod log;
mod ways;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::tls::{Secured, own_certificate, secured, trusting};
use common::{Client, Setup, Wanted};
use mailferry::config::{Config, ListenerTls, Protocol};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// A setup whose listeners speak TLS in this way, and take a password in the clear from nobody.
async fn with(tls: ListenerTls) -> Setup {
    Setup::with(wanted(tls)).await
}

fn wanted(tls: ListenerTls) -> Wanted {
    Wanted {
        change: match tls {
            ListenerTls::None => |config| every_listener(config, ListenerTls::None),
            ListenerTls::StartTls => |config| every_listener(config, ListenerTls::StartTls),
            ListenerTls::Implicit => |config| every_listener(config, ListenerTls::Implicit),
            ListenerTls::Auto => |config| every_listener(config, ListenerTls::Auto),
        },
        ..Wanted::default()
    }
}

fn every_listener(config: &mut Config, tls: ListenerTls) {
    for listener in &mut config.listeners {
        let listener = Arc::get_mut(listener).unwrap();
        listener.tls = tls;
        listener.plaintext_login.clear();
    }
    // Nobody is silent here for no reason.
    config.budgets.first_octet = Duration::from_millis(100);
}

/// The certificate that the gateway has made.
fn own(setup: &Setup) -> CertificateDer<'static> {
    own_certificate(setup.folder.path())
}

fn read(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

/// A client that begins with TLS, and has been greeted under it. It connects to an address, and so names no server.
async fn by_tls(setup: &Setup, protocol: Protocol) -> Secured {
    let client = Client::connect(setup.address(protocol)).await;
    let mut client = secured(client, "127.0.0.1", &trusting(&own(setup))).await.unwrap();
    greeted(&mut client).await;
    client
}

/// A client that asks for TLS.
async fn by_starttls(setup: &Setup, protocol: Protocol) -> Secured {
    let mut client = setup.client(protocol).await;
    client.say(starttls(protocol)).await;
    let line = client.line().await;
    assert!(["220 2.0.0 ", "s OK ", "+OK "].iter().any(|start| line.starts_with(start)), "{line}");
    secured(client, "localhost", &trusting(&own(setup))).await.unwrap()
}

async fn greeted(client: &mut Secured) {
    let greeting = client.line().await;
    assert!(["220 ", "* OK", "+OK"].iter().any(|start| greeting.starts_with(start)), "{greeting}");
}

/// How TLS is asked for.
const fn starttls(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "STARTTLS",
        Protocol::Imap => "s STARTTLS",
        Protocol::Pop3 => "STLS",
    }
}

/// How it is asked what the server can do.
const fn ask(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "EHLO client",
        Protocol::Imap => "c CAPABILITY",
        Protocol::Pop3 => "CAPA",
    }
}

/// Everything the server says it can do.
async fn capabilities<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    client: &mut Client<S>,
    protocol: Protocol,
) -> String {
    client.say(ask(protocol)).await;
    match protocol {
        Protocol::Smtp => client.reply().await.join("\n"),
        Protocol::Imap => {
            let list = client.line().await;
            assert!(client.line().await.starts_with("c OK "));
            list
        }
        Protocol::Pop3 => {
            let mut lines = Vec::new();
            while lines.last().is_none_or(|line: &String| line != ".") {
                lines.push(client.line().await);
            }
            lines.join("\n")
        }
    }
}
