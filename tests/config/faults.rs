//! What is said about a bad file: the place, the key, and what would be right. And of its general keys, listeners and secrets.

use std::fs;
use std::path::Path;

use mailferry::config::Environment;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{HASH, SMALLEST, assert_fault, faults, parse, parse_in, secret_of, with, with_end, with_top};

#[test]
fn what_is_no_toml_is_shown_where_it_is() {
    assert_fault(&with_top("hostname = \"a\"\nhostname = \"b\""), "2:1: hostname occurs twice in its table");
    assert_fault(&with_top("hostname: x"), "1:11: no = behind the key; write key = value");
}

#[test]
fn common_slips_are_told_in_plain_words() {
    for (line, fault) in [
        ("hostname = gateway.example", "text must stand in quotation marks"),
        ("hostname = 127.0.0.1", "must stand in quotation marks, as in \"127.0.0.1:1587\""),
        ("hostname = 2026-13-45", "neither a number nor a date"),
        ("hostname = True", "neither true nor false"),
        ("hostname =", "no value behind the ="),
        ("hostname = \"a", "the text does not end"),
        ("hostname = 'a", "the text does not end"),
        ("hostname = \"a\" b", "something follows the value"),
        ("hostname = \"C:\\Users\"", "begins an escape"),
        ("drain time = 3", "no = behind the key"),
        ("// a remark", "a remark begins with #"),
        ("[log", "the header does not end"),
        ("[[log]", "the header does not end"),
        ("log = { level = \"info\"", "no } at the end of the table"),
        ("state_dir = [ \"a\"", "no ] at the end of the list"),
        ("log = { level = \"info\" format = \"text\" }", "no comma"),
        ("{ \"log\": 3 }", "the file is TOML"),
    ] {
        let found = faults(&with_top(line));
        assert!(found.len() == 1 && found[0].contains(fault), "{line}: {found:?}");
    }
    assert_fault(
        &with("\"127.0.0.1:1587\"", "127.0.0.1:1587"),
        "4:13: listener.bind: neither a number nor a date; anything else must stand in quotation marks, as in \
         \"127.0.0.1:1587\"",
    );
}

#[test]
fn one_word_of_several_is_asked_for_by_name() {
    for (line, fault) in [
        (
            "tls = true",
            "5:7: listener.tls: must be one of none, starttls, implicit, auto, in quotation marks, not a boolean",
        ),
        (
            "tls = [1]",
            "5:7: listener.tls: must be one of none, starttls, implicit, auto, in quotation marks, not an array",
        ),
    ] {
        assert_fault(&with("bind = \"127.0.0.1:1587\"", &format!("bind = \"127.0.0.1:1587\"\n{line}")), fault);
    }
    // And what follows is found all the same.
    let found = faults(&with_top("hosts = 1\n[log]\nformat = 3\nlevel = 3\n"));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[1], "3:10: log.format: must be one of text, json, in quotation marks, not an integer");
}

#[test]
fn an_unknown_key_is_told_once() {
    for lines in ["[apps.contoso]\ngrant = \"command\"", "[logs.more.still]\nlevel = 3", "logs.more.still = 3"] {
        let found = faults(&with_top(lines));
        assert!(found.len() == 1 && found[0].contains("unknown key; known here: "), "{lines}: {found:?}");
    }
    let found = faults(&with("bind = ", "log.level.more = 1\nbind = "));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn every_fault_is_reported_at_once_and_in_the_order_of_the_file() {
    let text = with_top("hosts = 1\nhostname = 5\n[log]\nlevel = true\nformat = \"xml\"\n[limits]\nfoo = { a = 1 }\n");
    assert_eq!(
        faults(&text),
        [
            "1:1: hosts: unknown key; known here: state_dir, hostname, drain_timeout, log, store, limits, upstream, \
             listener, app, account, provider",
            "2:12: hostname: must be a string, not an integer",
            "4:9: log.level: must be a string, not a boolean",
            "5:10: log.format: \"xml\" is not known here; known: text, json",
            "7:1: limits.foo: unknown key; known here: sessions, sessions_per_address, login_timeout, idle_timeout, \
             failed_logins",
        ]
    );
    let text = with_top("hostname = \"a b\"\ndrain_timeout = \"5\"")
        .replace("\"smtp\"", "\"imap\"")
        .replace("address =", "# address =");
    assert_eq!(
        faults(&text),
        [
            "1:12: hostname: no host name; it must be letters, digits, hyphens and dots, as in \"mailferry.local\"",
            "2:17: drain_timeout: no duration; it must be a whole number and s, m or h, as in \"90s\"",
            "12:1: account.address: missing; it must be the mailbox's address, as in \"scanner@contoso.com\"",
        ]
    );
}

#[test]
fn an_empty_file_says_what_is_needed() {
    assert_eq!(
        faults(""),
        [
            " listener: missing; at least one [[listener]] with a protocol and a bind address is needed",
            " account: missing; at least one [[account]] with an address and a login is needed",
        ]
    );
}

#[test]
fn tables_of_the_wrong_kind() {
    for (lines, fault) in [
        ("log = 3", "1:7: log: must be a table, not an integer"),
        ("app = []", "1:7: app: must be a table, not an array"),
        ("limits.idle_timeout = \"5m\"", "1:23: limits.idle_timeout: must be a table, not a string"),
        ("provider = { x = 3 }", "1:18: provider.x: must be a table, not an integer"),
    ] {
        let text =
            with_top(lines).replace("[app.contoso]", if lines.starts_with("app") { "[x]" } else { "[app.contoso]" });
        assert_eq!(faults(&text)[0], fault);
    }
    assert_fault(
        &with("[[listener]]", "[listener]"),
        "2:1: listener: must be an array ([[name]] where it is one of tables), not a table",
    );
}

#[test]
fn general_keys() {
    for (lines, fault) in [
        ("drain_timeout = \"2h\"", "1:17: drain_timeout: must be 0s to 1h"),
        ("[limits]\nsessions = 0", "2:12: limits.sessions: must be 1 to 1000000"),
        ("[limits]\nlogin_timeout = \"0s\"", "2:17: limits.login_timeout: must be 1s to 1h"),
        ("[limits]\nidle_timeout.smtp = \"25h\"", "2:21: limits.idle_timeout.smtp: must be 1s to 24h"),
        ("[limits]\nfailed_logins = { count = -1 }", "2:27: limits.failed_logins.count: must be 1 to 256"),
    ] {
        assert_fault(&with_top(lines), fault);
    }
    for level in ["inof", "info,mailferry=loud", ""] {
        assert_fault(
            &with_top(&format!("[log]\nlevel = \"{level}\"")),
            "2:9: log.level: no log level; it must be error, warn, info, debug, trace, or a tracing filter as in \
             \"info,mailferry=debug\"",
        );
    }
    for level in ["warn", "off", "info,mailferry=debug", "mailferry::session=trace"] {
        assert!(parse(&with_top(&format!("[log]\nlevel = \"{level}\""))).is_ok(), "{level}");
    }
    let mut nameless = Environment::of_variables([]);
    nameless.machine = Some("two words".into());
    let faults = parse_in(SMALLEST, Path::new("m.toml"), &nameless).unwrap_err();
    assert_eq!(
        faults,
        ["m.toml: hostname: this machine has no usable name; set letters, digits, hyphens and dots, as in \
          \"mailferry.local\""]
    );
}

#[test]
fn listeners() {
    const BIND: &str = "bind = \"127.0.0.1:1587\"";
    for (bind, fault) in [
        (
            "",
            "2:1: listener.bind: missing; it must be an address and a port, as in \"127.0.0.1:1587\", or a list of \
             them",
        ),
        ("bind = 1587", "4:8: listener.bind: must be a string or a list of strings, not an integer"),
        ("bind = []", "4:8: listener.bind: must not be empty; name an address and a port, as in \"127.0.0.1:1587\""),
        (
            "bind = \"localhost:25\"",
            "4:8: listener.bind: \"localhost:25\" is no address with a port; write it as in \"127.0.0.1:1587\" or \
             \"[::1]:1587\"",
        ),
        (
            "bind = [\"127.0.0.1:25\", \"0.0.0.0:26\"]",
            "2:1: listener.allow: missing; 0.0.0.0:26 can be reached from the network, so it must be said who may \
             connect, as in [\"192.168.7.0/24\", \"127.0.0.0/8\", \"::1\"]",
        ),
        (
            "bind = \"127.0.0.1:25\"\nallow = []",
            "5:9: listener.allow: must not be empty: nobody could connect; name networks, as in \"192.168.7.0/24\"",
        ),
        (
            "bind = \"127.0.0.1:25\"\nallow = [\"10.0.0.0/8\", \"office\"]",
            "5:24: listener.allow: no network; it must be an address or a network, as in \"192.168.7.0/24\"",
        ),
        (
            "bind = [\"127.0.0.1:25\", \"[::ffff:127.0.0.1]:25\"]",
            "4:8: listener.bind: [::ffff:127.0.0.1]:25 is bound twice; give each listener an address and port of its \
             own",
        ),
        (
            "bind = \"127.0.0.1:25\"\ntls = \"ssl\"",
            "5:7: listener.tls: \"ssl\" is not known here; known: none, starttls, implicit, auto",
        ),
        (
            "bind = \"127.0.0.1:25\"\ntls = \"auto\"\ncertificate = \"a.pem\"",
            "2:1: listener.private_key: missing; certificate and private_key belong together; it must be a PEM file",
        ),
        (
            "bind = \"127.0.0.1:25\"\ntls = \"auto\"\nprivate_key = \"a.pem\"",
            "2:1: listener.certificate: missing; certificate and private_key belong together; it must be a PEM file",
        ),
        (
            "bind = \"127.0.0.1:25\"\ncertificate = \"a.pem\"\nprivate_key = \"a.key\"",
            "5:15: listener.certificate: has no meaning with tls = \"none\", the default on loopback; set tls to \
             starttls, implicit or auto, or leave it out",
        ),
        (
            "bind = \"127.0.0.1:25\"\nplaintext_login = [\"office\"]",
            "5:20: listener.plaintext_login: no network; it must be an address or a network, as in \"192.168.7.0/24\"",
        ),
        (
            "bind = \"127.0.0.1:25\"\nproxy_protocol = [\"proxy\"]",
            "5:19: listener.proxy_protocol: no network; it must be an address or a network, as in \"192.168.7.0/24\"",
        ),
        (
            "bind = \"127.0.0.1:25\"\nname = \"a\\nb\"",
            "5:8: listener.name: no listener name; it must be 1 to 64 octets without control characters",
        ),
        (
            "bind = \"127.0.0.1:25\"\ndelivery = \"spool\"",
            "5:1: listener.delivery: unknown key; known here: name, protocol, bind, tls, certificate, private_key, \
             allow, plaintext_login, proxy_protocol",
        ),
    ] {
        assert_fault(&with(BIND, bind), fault);
    }
    assert_fault(
        &with("protocol = \"smtp\"", "protocol = \"smpt\""),
        "3:12: listener.protocol: \"smpt\" is not known here; known: smtp, imap, pop3",
    );
    assert_fault(&with("protocol = \"smtp\"", ""), "2:1: listener.protocol: missing; it must be smtp, imap or pop3");
    assert_fault(
        &with_end("[[listener]]\nname = \"smtp-1587\"\nprotocol = \"imap\"\nbind = \"127.0.0.1:0\""),
        "17:8: listener.name: another listener has the name \"smtp-1587\" already; give this one its own",
    );
}

#[test]
fn secrets() {
    for (secret, fault) in [
        (
            "1234567",
            "10:17: app.contoso.client_secret: must be \"text\", { file = \"...\" }, { env = \"...\" } or \
             { credential = \"...\" }, or a list of these, not an integer",
        ),
        (
            "[[\"1234567\"]]",
            "10:18: app.contoso.client_secret: must be \"text\", { file = \"...\" }, { env = \"...\" } or \
             { credential = \"...\" }, not an array",
        ),
        ("[]", "10:17: app.contoso.client_secret: must not be an empty list"),
        (
            "[{ file = \"none\" }, \"\"]",
            "10:17: app.contoso.client_secret: /nowhere/none cannot be read: No such file or directory (os error 2)",
        ),
        (
            "[\"1234567\", { file = \"a\", env = \"b\" }]",
            "10:17: app.contoso.client_secret: must have exactly one of file, env and credential",
        ),
        (
            "{ file = \"none\" }",
            "10:17: app.contoso.client_secret: /nowhere/none cannot be read: No such file or directory (os error 2)",
        ),
        ("{ file = 3 }", "10:26: app.contoso.client_secret.file: must be a string, not an integer"),
        ("{ fiel = \"x\" }", "10:19: app.contoso.client_secret.fiel: unknown key; known here: file, env, credential"),
        (
            "{ file = \"a\", env = \"b\" }",
            "10:17: app.contoso.client_secret: must have exactly one of file, env and credential",
        ),
        ("{}", "10:17: app.contoso.client_secret: must have exactly one of file, env and credential"),
        ("{ env = \"NONE\" }", "10:17: app.contoso.client_secret: the variable NONE is not set"),
        (
            "{ credential = \"x\" }",
            "10:17: app.contoso.client_secret: systemd has passed no credentials to this process; set LoadCredential= \
             in its unit, or use { file = \"...\" }",
        ),
        ("\"\"", "10:17: app.contoso.client_secret: the secret is empty"),
    ] {
        assert_fault(&with("\"hunter2\"", secret), fault);
    }
}

#[test]
fn a_credential_is_a_file_in_the_folder_systemd_names() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("app"), "hunter2\n").unwrap();
    let folder = folder.path().display().to_string();
    let environment = Environment::of_variables([("CREDENTIALS_DIRECTORY", &folder)]);
    let secret = |name: &str| {
        let text = with("\"hunter2\"", &format!("{{ credential = \"{name}\" }}"));
        parse_in(&text, Path::new("m.toml"), &environment)
            .map(|config| secret_of(config.accounts[0].app.client().unwrap()))
    };
    assert_eq!(secret("app").as_deref(), Ok("hunter2"));
    for bad in ["../app", "..", "", "other"] {
        assert!(secret(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn where_the_store_is() {
    for (url, fault) in [
        (
            "\"postgres://db/mailferry\"",
            "2:7: store.url: this version keeps its store in SQLite; it must be \"sqlite:\" and a path, as in \
             \"sqlite:/var/lib/mailferry/mailferry.db\"",
        ),
        ("{ env = \"NONE\" }", "2:7: store.url: the variable NONE is not set"),
    ] {
        assert_fault(&with_top(&format!("[store]\nurl = {url}\n")), fault);
    }
    assert_fault(
        &with_top("[store]\nkey = { file = \"none\" }\n"),
        "2:7: store.key: /nowhere/none cannot be read: No such file or directory (os error 2)",
    );
}

#[test]
fn no_secret_is_ever_shown() {
    let config = parse(SMALLEST).unwrap();
    let shown = format!("{config:#?}");
    assert!(!shown.contains("hunter2") && !shown.contains(HASH), "{shown}");
    let text = with("client_secret = \"hunter2\"", "client_secret = \"hunter2\"\nclient_secret = \"hunter2\"");
    for text in
        [text, with("\"hunter2\"", "hunter2"), with("\"hunter2\"", "\"hunter2"), with("\"hunter2\"", "[[\"hunter2\"]]")]
    {
        let faults = parse(&text).unwrap_err().join("\n");
        assert!(!faults.contains("hunter2"), "{faults}");
    }
}

proptest! {
    #[test]
    fn no_file_is_too_broken_to_be_reported(
        at in 0..SMALLEST.len(),
        removed in 0usize..40,
        piece in "([a-z_]{1,8}|[\\[\\]{}=\"'.,\n #\\\\é\u{0}]){0,12}",
    ) {
        let end = (at + removed).min(SMALLEST.len());
        let text = format!("{}{piece}{}", &SMALLEST[..at], &SMALLEST[end..]);
        if let Err(faults) = parse(&text) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(fault.starts_with("/nowhere/m.toml:"), "{}", fault);
                prop_assert!(!fault.contains('\n'), "{}", fault);
            }
        }
    }
}
