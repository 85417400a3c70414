//! What stands in a certificate of our own, and what becomes of its key.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::app::desk::testing::configuration;
use crate::config::Environment;

/// A configuration with this listener's keys in place of its address, and a state folder.
fn config(listener: &str) -> (Config, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let text = configuration("").replace("bind = \"127.0.0.1:0\"", listener);
    let config = Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap();
    (Config { state_dir: folder.path().join("state"), ..config }, folder)
}

#[test]
fn addresses_are_named_that_the_listeners_clients_can_know() {
    let addresses: Vec<IpAddr> =
        ["127.0.0.1", "192.168.7.2", "172.17.0.1", "10.8.0.1", "203.0.113.9", "::1", "fd00::2"]
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
    let common = ["gateway.example", "localhost", "127.0.0.1", "::1"];
    for (listener, more) in [
        ("bind = \"0.0.0.0:587\"\nallow = [\"192.168.7.0/24\", \"fd00::/64\"]", &["192.168.7.2"][..]),
        (
            "bind = [\"0.0.0.0:587\", \"[::]:587\"]\nallow = [\"192.168.7.0/24\", \"fd00::/64\"]",
            &["192.168.7.2", "fd00::2"],
        ),
        ("bind = \"0.0.0.0:587\"\nallow = [\"127.0.0.0/8\"]", &[]),
        ("bind = \"10.8.0.1:587\"\nallow = [\"192.168.7.0/24\"]", &["10.8.0.1"]),
    ] {
        let (config, _folder) = config(listener);
        assert_eq!(hosts_among(&config, &addresses), [&common[..], more].concat(), "{listener}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    let (config, _folder) = config("bind = \"127.0.0.1:0\"");
    own(&config, KeyKind::P256).unwrap();
    let key = own_files(&config.state_dir).private_key;
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let said = own(&config, KeyKind::P256).unwrap_err().to_string();
    assert!(said.contains("(mode 644)") && said.ends_with(&format!("chmod 600 {}", key.display())), "{said}");
    // Whoever has read it does not have the next one.
    renew(&config, KeyKind::P256).unwrap();
    own(&config, KeyKind::P256).unwrap();
}

#[test]
fn the_key_before_is_not_kept() {
    let (config, _folder) = config("bind = \"127.0.0.1:0\"");
    let first = own(&config, KeyKind::P256).unwrap().facts();
    let files = own_files(&config.state_dir);
    // As earlier versions left it.
    std::fs::write(old(&files.private_key), "a key").unwrap();
    assert_ne!(renew(&config, KeyKind::P256).unwrap().facts(), first);
    assert!(old(&files.certificate).exists() && !old(&files.private_key).exists());
}

#[test]
fn the_end_the_beginning_and_the_names_are_judged_of_every_certificate() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    for (named, cure) in [(false, "Run `mailferry cert --new`"), (true, "Put a new one in the file's place")] {
        let keys = "tls = \"auto\"\ncertificate = \"server.pem\"\nprivate_key = \"server.key\"";
        let (mut config, folder) =
            config(&format!("bind = \"127.0.0.1:0\"\n{}", if named { keys } else { "tls = \"auto\"" }));
        assert_eq!(Verdict::of_all(&config, now).faults.len(), usize::from(named), "ours is made when it is needed");
        let write = |files: &CertificateFiles, hosts: &[String]| {
            let key = make_key(KeyKind::P256).unwrap();
            std::fs::write(&files.certificate, make_certificate(&key, hosts, now).unwrap()).unwrap();
            std::fs::write(&files.private_key, key.as_bytes()).unwrap();
        };
        if named {
            let (certificate, private_key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
            let files = CertificateFiles { certificate, private_key };
            write(&files, &["gateway.example".into()]);
            Arc::get_mut(&mut config.listeners[0]).unwrap().certificate = Some(files);
        } else {
            own(&config, KeyKind::P256).unwrap();
        }
        let facts = shown(&config, KeyKind::P256).unwrap()[0].facts();
        let judged = |at: SystemTime| {
            let Verdict { faults, warnings } = Verdict::of_all(&config, at);
            (faults.join("\n"), warnings.join("\n"))
        };
        let nothing = || (String::new(), String::new());
        assert_eq!(judged(now), nothing());
        assert_eq!(judged(facts.ends - DAY * 31), nothing());
        let (faults, warnings) = judged(facts.ends - DAY * 10);
        assert!(faults.is_empty() && warnings.contains(" ends on ") && warnings.contains(cure), "{faults}{warnings}");
        let (faults, warnings) = judged(facts.ends + DAY);
        assert!(
            warnings.is_empty() && faults.contains(" has ended on ") && faults.contains(cure),
            "{faults}{warnings}"
        );
        let (faults, warnings) = judged(facts.begins - DAY);
        assert!(warnings.is_empty() && faults.contains("this machine's clock"), "{faults}{warnings}");
        let files = config.listeners[0].certificate.clone();
        write(&files.unwrap_or_else(|| own_files(&config.state_dir)), &[]);
        if !named {
            #[cfg(unix)]
            std::fs::set_permissions(
                own_files(&config.state_dir).private_key,
                std::os::unix::fs::PermissionsExt::from_mode(0o600),
            )
            .unwrap();
        }
        let (faults, warnings) = judged(now);
        assert!(faults.is_empty() && warnings.contains("is for no name"), "{faults}{warnings}");
    }
}
