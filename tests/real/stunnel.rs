//! Devices with a TLS that is too old for the gateway: refused at its own listeners, and let in through Debian's stunnel as
//! `docs/old-tls.md` says. The configurations that run here are those of that page.

use std::fs;
use std::path::Path;

use crate::client::{Ended, python, run};
use crate::daemon::{Daemon, with_free_ports};
use crate::gateway::{Gateway, PASSWORD, USER, USER_OVER_TLS};
use crate::letter::letter;
use crate::sending::assert_letters_arrived;
use crate::upstream::path;

const PAGE: &str = include_str!("../../docs/old-tls.md");

/// Where the device is: not where stunnel is.
const DEVICE: &str = "127.0.0.2";
/// All that OpenSSL has for TLS 1.0, and the one without forward secrecy that old devices have in common.
const CIPHERS: [&str; 2] = ["ALL:@SECLEVEL=0", "AES128-SHA:@SECLEVEL=0"];
/// How the device ends that got no TLS.
const NO_TLS: i32 = 4;

/// The page's only fenced text of this kind, with `replaced` in it. What is not there cannot be replaced.
#[track_caller]
fn recipe(kind: &str, replaced: &[(&str, &str)]) -> String {
    let fence = format!("   ```{kind}\n");
    let parts: Vec<_> = PAGE.split(&fence).collect();
    let [_, found] = parts[..] else { panic!("{} texts of {kind} on the page", parts.len() - 1) };
    let mut text = found.split("   ```\n").next().expect("a first part").replace("\n   ", "\n");
    for (old, new) in replaced {
        assert!(text.contains(old), "no {old} in {text}");
        text = text.replace(old, new);
    }
    text
}

fn start_gateway() -> Gateway {
    let network = format!("{DEVICE}/32");
    Gateway::start_with(&recipe("toml", &[("127.0.0.1:2465", "127.0.0.1:@PORT@"), ("192.168.7.0/24", &network)]))
}

/// stunnel before the gateway, and where it listens.
fn start_stunnel(gateway: &Gateway) -> (Daemon, u16) {
    let folder = gateway.upstream.folder();
    let files = format!("{}/old-tls.", path(folder));
    run("sh", ["-euc", &recipe("sh", &[("/etc/stunnel/old-tls.", &files)])]).succeeded();
    let behind = format!("127.0.0.1:{}", gateway.added);
    with_free_ports(|[port]| {
        let before = format!("127.0.0.1:{port}");
        let replaced =
            [("192.168.7.2:465", before.as_str()), ("127.0.0.1:2465", &behind), ("/etc/stunnel/old-tls.", &files)];
        let file = folder.join("stunnel.conf");
        fs::write(&file, recipe("ini", &replaced)).expect("stunnel's configuration");
        let mut stunnel = Daemon::spawn("stunnel", folder, Path::new("/usr/bin/stunnel4"), &[path(&file)]);
        stunnel.answers_on(&[port]).then_some((stunnel, port))
    })
}

/// The device sends the letter.
fn device(gateway: &Gateway, port: u16, ciphers: &str, user: &str) -> Ended {
    let letter = gateway.file("letter", letter());
    python("old.py", [&port.to_string(), ciphers, user, PASSWORD, path(&letter)])
}

#[test]
#[ignore = "needs Dovecot, Postfix and stunnel; .ci/run installs them"]
fn a_device_with_tls_1_0_sends_through_stunnel() {
    const REFUSED: i32 = 3;
    let gateway = start_gateway();
    let (_stunnel, port) = start_stunnel(&gateway);
    for ciphers in CIPHERS {
        assert_eq!(device(&gateway, port, ciphers, USER).succeeded(), b"TLSv1\n");
        gateway.assert_logs(&["session ended", "old-tls", "peer=127.0.0.2", "messages=1"]);
    }
    assert_letters_arrived(&gateway, 2);
    // Nobody told the gateway that there was TLS.
    device(&gateway, port, CIPHERS[0], USER_OVER_TLS).exited_with(REFUSED);
    assert_letters_arrived(&gateway, 2);
}

#[test]
#[ignore = "needs Dovecot, Postfix and stunnel; .ci/run installs them"]
fn a_device_with_tls_1_0_is_refused_by_the_gateway_which_says_what_to_do() {
    let gateway = start_gateway();
    for port in [gateway.smtp.implicit, gateway.smtp.auto] {
        device(&gateway, port, CIPHERS[0], USER).exited_with(NO_TLS);
    }
    let told = PAGE
        .lines()
        .find(|line| line.starts_with("connection closed: "))
        .expect("the line of the log");
    let cure = "put a proxy that speaks the old TLS before the gateway (docs/old-tls.md)";
    for port in [gateway.smtp.implicit, gateway.smtp.auto] {
        gateway.assert_logs(&[told, cure, &format!("smtp-{port}"), "peer=127.0.0.2"]);
    }
    assert_letters_arrived(&gateway, 0);
}

#[test]
#[ignore = "needs Dovecot, Postfix and stunnel; .ci/run installs them"]
fn a_client_without_forward_secrecy_is_refused_by_the_gateway_which_says_so() {
    let gateway = Gateway::start();
    let port = gateway.imap.implicit;
    let server = format!("127.0.0.1:{port}");
    run("openssl", ["s_client", "-connect", &server, "-tls1_2", "-cipher", "AES128-SHA:AES128-GCM-SHA256"])
        .exited_with(1);
    let told = PAGE
        .lines()
        .find(|line| line.contains("forward secret"))
        .expect("the line of the log");
    gateway.assert_logs(&[told, &format!("imap-{port}")]);
}
