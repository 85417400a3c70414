//! What is said about a bad file: the place, the key, and what would be right.

use std::fs;
use std::path::Path;

use mailferry::config::{Environment, Grant};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{HASH, SMALLEST, assert_fault, faults, parse, parse_in, secret_of, with, with_end, with_top};

#[test]
fn what_is_no_toml_is_shown_where_it_is() {
    assert_fault(&with_top("hostname = \"a\"\nhostname = \"b\""), "2:1: hostname occurs twice in its table");
    assert_fault(&with_top("hostname: x"), "1:11: key with no value, expected `=`");
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
fn apps() {
    for (part, instead, fault) in [
        (
            "\"microsoft\"",
            "\"micro\"",
            "6:12: app.contoso.provider: no provider \"micro\"; known: aol, comcast, fastmail, google, mailru, microsoft, microsoft-china, microsoft-dod, microsoft-gcc-high, outlook, yahoo, yandex",
        ),
        (
            "\"client-credentials\"",
            "\"password\"",
            "7:9: app.contoso.grant: no grant; known: client-credentials, device-code, authorization-code, \
             service-account, command",
        ),
        (
            "tenant = \"contoso.onmicrosoft.com\"",
            "",
            "5:1: app.contoso.tenant: missing; it must be the directory's id or one of its domains, as in \
             \"contoso.onmicrosoft.com\"",
        ),
        (
            "\"contoso.onmicrosoft.com\"",
            "\"common\"",
            "8:10: app.contoso.tenant: client-credentials need a tenant of their own, not \"common\"; it must be the \
             directory's id or one of its domains, as in \"contoso.onmicrosoft.com\"",
        ),
        ("\"the-app\"", "\"\"", "9:13: app.contoso.client_id: no client id; it must be printable ASCII without spaces"),
    ] {
        assert_fault(&with(part, instead), fault);
    }
    for tenant in ["", "a/b", "{tenant}", "..", "a b", "a?b", "a%2fb", "é"] {
        assert_fault(
            &with("contoso.onmicrosoft.com", tenant),
            "8:10: app.contoso.tenant: no tenant; it must be the directory's id or one of its domains, as in \
             \"contoso.onmicrosoft.com\"",
        );
    }
}

#[test]
fn a_grant_the_provider_does_not_serve() {
    let text = with("\"microsoft\"", "\"google\"").replace("tenant =", "# tenant =");
    assert_fault(
        &text,
        "7:9: app.contoso.grant: google opens no mailbox by client-credentials; it serves: authorization-code, \
         service-account, command",
    );
    let elsewhere = format!("{text}[provider.google]\ntoken_url = \"https://login.example.com/token\"\n");
    assert!(parse(&elsewhere).is_ok(), "another token endpoint is not Google's");
    assert_fault(
        &text.replace("client-credentials", "device-code"),
        "7:9: app.contoso.grant: google opens no mailbox by device-code: Google's device flow gives no access to mail; \
         it serves: authorization-code, service-account, command",
    );
    assert_fault(
        &with("\"microsoft\"", "\"outlook\"").replace("tenant =", "# tenant ="),
        "7:9: app.contoso.grant: outlook opens no mailbox by client-credentials; it serves: device-code, \
         authorization-code, command",
    );
}

const OWN: &str = "[provider.own]\nsmtp = { host = \"smtp.example.com\", port = 465, tls = \"implicit\" }\n";

#[test]
fn a_grant_needs_its_urls() {
    let own = |grant: &str| {
        let text = with("\"microsoft\"", "\"own\"").replace("tenant =", "# tenant =");
        text.replace("client-credentials", grant) + OWN
    };
    assert_fault(
        &own("client-credentials"),
        "5:1: app.contoso: own has no token_url, which client-credentials needs; set it in [provider.own]",
    );
    let with_token_url = |grant: &str| own(grant) + "token_url = \"https://a.example/token\"\n";
    assert_fault(
        &with_token_url("device-code"),
        "7:9: app.contoso.grant: own has no device_authorization_url, which device-code needs; set it in \
         [provider.own]",
    );
    assert_fault(
        &with_token_url("authorization-code"),
        "7:9: app.contoso.grant: own has no authorization_url, which authorization-code needs; set it in \
         [provider.own]",
    );
}

#[test]
fn keys_that_do_not_belong_to_the_grant() {
    let text = with("client_id = \"the-app\"\nclient_secret = \"hunter2\"", "command = [\"show\"]")
        .replace("client-credentials", "command");
    assert_fault(&text, "8:10: app.contoso.tenant: has no meaning with command; leave it out");
    let text = with("client_secret = \"hunter2\"", "client_secret = \"hunter2\"\nredirect_uri = \"http://localhost\"");
    assert_fault(&text, "11:16: app.contoso.redirect_uri: has no meaning with client-credentials; leave it out");
}

#[test]
fn proofs_of_an_app() {
    let of = |proof: &str| with("client_secret = \"hunter2\"", proof);
    for (proof, fault) in [
        (
            "",
            "5:1: app.contoso.client_secret: missing; it must be the secret's value as the provider showed it, or \
             { file = \"...\" }; a client_certificate or client_assertion does as well",
        ),
        (
            "client_secret = \"a\"\nclient_assertion = \"b\"",
            "5:1: app.contoso: only one of client_secret, client_certificate and client_assertion may be there",
        ),
        (
            "client_certificate = { certificate = \"a.pem\" }",
            "10:22: app.contoso.client_certificate.private_key: missing; it must be a PEM file",
        ),
        (
            "client_assertion = \"a\"\nclient_secret_expires = 2027-11-01",
            "11:25: app.contoso.client_secret_expires: there is no client_secret that could expire; leave it out",
        ),
        (
            "client_secret = \"a\"\nclient_secret_expires = 12:00:00",
            "11:25: app.contoso.client_secret_expires: no date; it must be as in 2027-11-01",
        ),
    ] {
        assert_fault(&of(proof), fault);
    }
    assert_eq!(
        faults(&of("client_certificate = { certificate = \"a.pem\", private_key = \"b.pem\" }")),
        [
            "10:38: app.contoso.client_certificate.certificate: /nowhere/a.pem cannot be read: No such file or \
             directory (os error 2)",
            "10:61: app.contoso.client_certificate.private_key: /nowhere/b.pem cannot be read: No such file or \
             directory (os error 2)",
        ]
    );
}

#[test]
fn redirect_uris() {
    let of = |uri: &str| {
        let text = with("client_secret = \"hunter2\"", &format!("redirect_uri = \"{uri}\""));
        text.replace("client-credentials", "authorization-code")
    };
    for good in ["http://localhost:8400", "http://127.0.0.1/cb", "http://[::1]:1", "https://gateway.example.com/cb"] {
        assert!(parse(&of(good)).is_ok(), "{good}");
    }
    for bad in
        ["http://gateway.example.com", "localhost:8400", "ftp://localhost", "https://u@a.example", "http://localhost#x"]
    {
        assert_fault(
            &of(bad),
            "10:16: app.contoso.redirect_uri: cannot be used; it must be as registered, as in \
             \"http://localhost:8400\", or an https URL",
        );
    }
}

#[test]
fn commands() {
    let of = |command: &str| {
        let own = with("\"microsoft\"", "\"own\"").replace("tenant =", "# tenant =") + OWN;
        let own = own
            .replace("client_id = \"the-app\"\n", "")
            .replace("client-credentials", "command");
        own.replace("client_secret = \"hunter2\"", command)
    };
    const RIGHT: &str = "it must be a program and its arguments, as in [\"pizauth\", \"show\", \"me\"]";
    assert_fault(&of(""), &format!("5:1: app.contoso.command: missing; {RIGHT}"));
    assert_fault(&of("command = []"), &format!("9:11: app.contoso.command: names no program; {RIGHT}"));
    assert_fault(&of("command = [\"a\", \"b\\u0000\"]"), "9:11: app.contoso.command: must not hold NUL");
    assert!(parse(&of("command = [\"show\"]")).is_ok());
}

#[cfg(unix)]
#[test]
fn a_command_that_anyone_could_change_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("m.toml");
    let own = with("\"microsoft\"", "\"own\"").replace("tenant =", "# tenant =") + OWN;
    let own = own
        .replace("client_id = \"the-app\"\n", "")
        .replace("client-credentials", "command");
    let text = own
        .replace("client_secret = \"hunter2\"", "command = [\"bin/show\"]")
        .replace("HASH", HASH);
    fs::write(&file, &text).unwrap();
    let mut faults = Vec::new();
    for mode in [0o600, 0o606] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        faults.push(parse_in(&text, &file, &Environment::of_variables([])).map(|config| {
            let Grant::Command(words) = &config.accounts[0].app.grant else { panic!("a command") };
            words[0].clone()
        }));
    }
    assert_eq!(faults[0].as_deref(), Ok(&*folder.path().join("bin/show").to_string_lossy()));
    let file = file.display();
    let refused = format!(
        "{file}:9:11: app.contoso.command: {file} names a program to run and every user of this machine can change \
         it; chmod o-w {file}"
    );
    assert_eq!(faults[1], Err(vec![refused]));
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
fn identities() {
    assert_fault(
        &with("app = \"contoso\"", "app = \"contoso\"\nidentity = { smtp = \"a b\" }"),
        "14:21: account.identity.smtp: no user; it must be printable ASCII without spaces, as in \"owner@contoso.com\"",
    );
}

#[test]
fn accounts() {
    for (part, instead, fault) in [
        (
            "\"Scanner@contoso.com\"",
            "\"scanner\"",
            "12:11: account.address: no address of printable ASCII; it must be the mailbox's address, as in \
             \"scanner@contoso.com\"",
        ),
        (
            "\"Scanner@contoso.com\"",
            "\"a@b.com\\u0001user=c@d.com\"",
            "12:11: account.address: no address of printable ASCII; it must be the mailbox's address, as in \
             \"scanner@contoso.com\"",
        ),
        ("app = \"contoso\"", "", "11:1: account.app: missing; it must be the NAME of an [app.NAME]"),
        ("app = \"contoso\"", "app = \"x\"", "13:7: account.app: no [app.x] in this file; known: contoso"),
        (
            "app = \"contoso\"",
            "app = \"contoso\"\ntenant = \"x\"",
            "13:7: account.app: an account has either an app or the keys of one, not both",
        ),
        (
            "[[account.login]]\npassword_hash = \"HASH\"",
            "",
            "11:1: account.login: missing; at least one [[account.login]] with a password_hash is needed",
        ),
    ] {
        assert_fault(&with(part, instead), fault);
    }
    assert_fault(
        &with_end(
            "[[account]]\naddress = \"scanner@CONTOSO.com\"\napp = \"contoso\"\n\
             [[account.login]]\nusername = \"b\"\npassword_hash = \"HASH\"",
        ),
        "17:11: account.address: scanner@CONTOSO.com has an [[account]] already; put both sets of logins there",
    );
}

#[test]
fn logins() {
    for (lines, fault) in [
        (
            "username = \"a\\u0001b\"",
            "16:12: account.login.username: no user name; it must be 1 to 255 octets of printable ASCII",
        ),
        (
            "username = \"\"",
            "16:12: account.login.username: no user name; it must be 1 to 255 octets of printable ASCII",
        ),
        (
            "protocols = []",
            "16:13: account.login.protocols: must not be empty; leave it out to allow smtp, imap and pop3",
        ),
        (
            "networks = [\"10.0.0.0/8\", \"office\"]",
            "16:27: account.login.networks: no network; it must be an address or a network, as in \"192.168.7.0/24\"",
        ),
        (
            "networks = []",
            "16:12: account.login.networks: must not be empty: leave it out to allow whatever the listener allows",
        ),
        (
            "route = \"sender\"",
            "16:1: account.login.route: unknown key; known here: username, password_hash, protocols, networks, tls, \
             without_password, rate, recipients, sender, from_name, reply_to, lone_lf_ends_message",
        ),
        ("tls = \"never\"", "16:7: account.login.tls: \"never\" is not known here; known: required"),
    ] {
        assert_fault(&with_end(lines), fault);
    }
    assert_fault(
        &with("password_hash = \"HASH\"", ""),
        "14:1: account.login.password_hash: missing; it must be what `mailferry passwd` prints",
    );
}

#[test]
fn a_user_name_opens_one_account() {
    let other = "[[account]]\naddress = \"b@contoso.com\"\napp = \"contoso\"\n\
                 [[account.login]]\nusername = \"SCANNER@contoso.com\"\npassword_hash = \"HASH\"";
    assert_fault(
        &with_end(other),
        "20:12: account.login.username: \"scanner@contoso.com\" opens Scanner@contoso.com already; a user name opens \
         one account",
    );
}

#[test]
fn a_user_name_has_four_passwords_at_most() {
    let more = "[[account.login]]\npassword_hash = \"HASH\"\n";
    assert_eq!(parse(&with_end(&more.repeat(3))).unwrap().accounts[0].logins.len(), 4);
    assert_fault(
        &with_end(&more.repeat(4)),
        "22:1: account.login: \"scanner@contoso.com\" occurs more than 4 times; remove passwords not used any more",
    );
}

#[test]
fn password_hashes() {
    let said = |hash: &str| match parse(&with("HASH", hash)) {
        Ok(_) => "fine".to_owned(),
        Err(faults) => {
            assert!(hash.is_empty() || !faults[0].contains(hash), "{faults:?}");
            faults[0]
                .strip_prefix("/nowhere/m.toml:15:17: account.login.password_hash: ")
                .unwrap()
                .to_owned()
        }
    };
    let costs = |m: u32, t: u32, p: u32| HASH.replace("m=19456,t=2,p=1", &format!("m={m},t={t},p={p}"));
    assert_eq!(said(&costs(65536, 10, 4)), "fine");
    for (m, t, p) in [(65537, 10, 4), (65536, 11, 4), (65536, 10, 5)] {
        assert_eq!(
            said(&costs(m, t, p)),
            "costs too much at each login; m=65536,t=10,p=4 is the most: make one with `mailferry passwd`"
        );
    }
    for bad in ["", "hunter2", "$argon2id$v=19$m=19456,t=2,p=1$!$!"] {
        assert_eq!(said(bad), "no password hash in PHC form; make one with `mailferry passwd`");
    }
    assert_eq!(
        said(&HASH.replace("argon2id", "argon2i")),
        "must be an argon2id hash; make one with `mailferry passwd`"
    );
    let cut = HASH.rsplit_once('$').unwrap().0;
    assert_eq!(said(cut), "cut off: its salt or its hash is missing; make one with `mailferry passwd`");
    for bad in [HASH.replace("v=19", "v=18"), costs(1, 2, 1), HASH.replace("p=1", "x=1")] {
        assert_eq!(
            said(&bad),
            "an argon2id hash with parameters that cannot be used; make one with `mailferry passwd`",
            "{bad}"
        );
    }
}

#[test]
fn providers() {
    for (lines, fault) in [
        (
            "[provider.microsoft]\nbase = \"google\"",
            "17:8: provider.microsoft.base: [provider.microsoft] already changes the preset microsoft; choose another \
             name, or no base",
        ),
        (
            "[provider.a]\nbase = \"b\"",
            "17:8: provider.a.base: no preset \"b\"; known: microsoft, google, microsoft-gcc-high, microsoft-dod, microsoft-china, outlook, yahoo, aol, fastmail, yandex, mailru, comcast",
        ),
        ("[provider.a]", "16:1: provider.a: no server; at least one of smtp, imap and pop3 is needed"),
        (
            "[provider.microsoft]\nscopes = [\"a\", \"b c\"]",
            "17:16: provider.microsoft.scopes: no scope; it must be printable ASCII without spaces, quotes and \
             backslashes",
        ),
        (
            "[provider.microsoft]\nsmtp_extensions = [\"DSN\", \"X\"]",
            "17:27: provider.microsoft.smtp_extensions: not known here; known: DSN, CHUNKING, BINARYMIME, SMTPUTF8",
        ),
        (
            "[provider.microsoft]\nsmtp_extensions = [\"BINARYMIME\"]",
            "16:1: provider.microsoft: smtp_extensions with BINARYMIME must hold CHUNKING too",
        ),
        (
            "[provider.microsoft]\nsmtp = { tls = \"none\" }",
            "17:16: provider.microsoft.smtp.tls: a token must not travel to smtp.office365.com in clear; use starttls \
             or implicit (none: loopback only)",
        ),
        (
            "[provider.microsoft]\nsmtp = { host = \"a:25\" }",
            "17:17: provider.microsoft.smtp.host: no host; it must be a name or an address, without a port",
        ),
        ("[provider.microsoft]\nsmtp = { port = 65536 }", "17:17: provider.microsoft.smtp.port: must be 1 to 65535"),
        (
            "[provider.microsoft]\nca = \"none.pem\"",
            "17:6: provider.microsoft.ca: /nowhere/none.pem cannot be used: I/O error: No such file or directory (os \
             error 2)",
        ),
    ] {
        assert_fault(&with_end(lines), fault);
    }
    let lacks = "[provider.a]\ntoken_url = \"https://a.example\"\nsmtp = { host = \"a.example\" }";
    assert_eq!(
        faults(&with_end(lacks)),
        [
            "18:8: provider.a.smtp.port: missing; it must be the server's port, as in 587",
            "18:8: provider.a.smtp.tls: missing; it must be starttls, implicit, or none for a loopback host",
        ]
    );
}

#[test]
fn token_urls() {
    const NO_URL: &str = "no URL; it must be as in \"https://login.example.com/token\", and may hold {tenant}";
    for (url, fault) in [
        ("", NO_URL),
        ("login.example.com", NO_URL),
        ("https://a.example/{other}", NO_URL),
        ("http://a.example/", "must begin with https://: plain http:// is for loopback hosts only"),
        ("http://127.0.0.1.example/", "must begin with https://: plain http:// is for loopback hosts only"),
        ("ftp://a.example/", "must begin with https://"),
        ("https://{tenant}.example/", "must not hold {tenant} in its host"),
        ("https://u:hunter2@a.example/", "must hold no user name, password or fragment"),
    ] {
        let text = with_end(&format!("[provider.microsoft]\ntoken_url = \"{url}\""));
        assert_eq!(faults(&text), [format!("17:13: provider.microsoft.token_url: {fault}")], "{url}");
    }
    for url in ["http://127.0.0.1:8/{tenant}", "http://[::1]/{tenant}", "http://localhost/{tenant}"] {
        assert!(parse(&with_end(&format!("[provider.microsoft]\ntoken_url = \"{url}\""))).is_ok(), "{url}");
    }
}

#[test]
fn who_can_never_meet() {
    assert_fault(
        &with("[[account.login]]", "[[account.login]]\nprotocols = [\"imap\"]"),
        "2:1: listener: nobody could ever log in here: no login is for smtp, or no provider has it",
    );
    let imap_only = "[provider.a]\ntoken_url = \"https://a.example\"\n\
                     imap = { host = \"a.example\", port = 993, tls = \"implicit\" }\n";
    let text = with("\"microsoft\"", "\"a\"").replace("tenant =", "# tenant =") + imap_only;
    assert_fault(&text, "2:1: listener: nobody could ever log in here: no login is for smtp, or no provider has it");
    let text = text.replace("[[account.login]]", "[[account.login]]\nprotocols = [\"pop3\", \"smtp\"]");
    assert_fault(
        &text,
        "15:13: account.login.protocols: this login can never be used: the provider a has no smtp or pop3",
    );
    assert_fault(
        &with_end("networks = [\"192.168.7.0/24\"]"),
        "2:1: listener: nobody could ever log in here: no login for smtp may be used from the networks in allow; widen \
         allow, or the networks of a login",
    );
    let config =
        parse(&with_end("[[account.login]]\npassword_hash = \"HASH\"\nnetworks = [\"192.168.7.0/24\"]")).unwrap();
    assert_eq!(
        config.warnings,
        ["the login \"scanner@contoso.com\" of Scanner@contoso.com cannot be used: no listener takes its protocols \
          from its networks"]
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
