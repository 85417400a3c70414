//! What is said about a bad app or provider.

use std::fs;

use mailferry::config::{Environment, Grant};
use tempfile::TempDir;

use super::{HASH, assert_fault, faults, parse, parse_in, with, with_end};

const OWN: &str = "[provider.own]\nsmtp = { host = \"smtp.example.com\", port = 465, tls = \"implicit\" }\n";

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
