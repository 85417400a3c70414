//! What `init` makes of answers, for every provider and way in: a configuration that is right.

use super::*;
use crate::cli::init::questions::Questions;
use crate::config::{Grant, ListenerTls, Recipients};

fn answers(lines: &str) -> Answers {
    let (mut input, mut prompts) = (lines.as_bytes(), Vec::new());
    let answers = Answers::ask(&mut Questions::new(&mut input, &mut prompts, false), None).unwrap();
    let questions = String::from_utf8(prompts).unwrap().matches(": ").count();
    assert!(questions <= 8 + 4, "{questions}");
    answers
}

/// The logins that are made for the devices.
fn login(answers: &Answers) -> Vec<Option<NewLogin>> {
    crate::cli::init::logins(&answers.devices).unwrap()
}

fn environment() -> Environment {
    Environment::of_variables([])
}

#[test]
fn the_app_for_itself_at_microsoft() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailferry.toml");
    let answers = answers("scanner@contoso.com\n1\n1\n\nthe-app\nhunter2\n2\nScanner 3rd floor\n");
    let login = login(&answers);
    let written = write(&file, &answers, &login, None, &environment()).unwrap();
    assert_eq!(written, [folder.path().join("secrets/scanner@contoso.com"), file.clone()]);
    let config = Config::load(Some(&file), &environment()).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(config.logins.contains_key("scanner-3rd-floor"));
    let client = config.accounts[0].app.client().unwrap();
    assert_eq!((client.tenant.as_deref(), client.id.as_str()), (Some("contoso.com"), "the-app"));
    assert_eq!(config.listeners.len(), 2);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hunter2") && !text.contains(&*login[0].as_ref().unwrap().password), "{text}");
    let told = answers.for_the_administrator().unwrap();
    assert!(told.contains("New-ServicePrincipal -AppId the-app") && told.contains("FullAccess"), "{told}");
    assert!(write(&file, &answers, &login, None, &environment()).is_err(), "nothing is overwritten");
}

#[test]
fn every_other_way_in_makes_a_right_file() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.json");
    std::fs::write(&key, "{}").unwrap();
    let service_account = format!("ann@example.com\n2\n2\n{}\n1\n\n", key.display());
    for (number, (lines, grant)) in [
        ("ann@contoso.com\n1\n2\n\nthe-app\n\n1\n\n", "authorization-code"),
        ("ann@contoso.com\n1\n3\nmy-tenant\nthe-app\n\n4\n日本\n", "device-code"),
        ("ann@gmail.com\n2\n1\nthe-app\nhunter2\n3\n\n", "authorization-code"),
        (service_account.as_str(), "service-account"),
        ("ann@outlook.com\n3\n2\nthe-app\n\n1\n\n", "device-code"),
        ("ann@yandex.com\n10\nthe-app\nhunter2\n1\n\n", "authorization-code"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = folder.path().join(format!("{number}/m.toml"));
        let answers = answers(lines);
        let login = login(&answers);
        write(&file, &answers, &login, None, &environment()).unwrap_or_else(|failure| panic!("{lines}: {failure}"));
        let config = Config::load(Some(&file), &environment()).unwrap();
        assert_eq!(config.accounts[0].app.grant.name(), grant);
        assert!(!matches!(config.accounts[0].app.grant, Grant::Command(_)));
        assert!(config.logins.contains_key(&answers.devices[0].username), "{lines}");
    }
}

#[test]
fn a_file_that_would_not_be_right_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailferry.toml");
    // A tenant that is no tenant.
    let answers = answers("ann@contoso.com\n1\n1\na/b\nthe-app\nhunter2\n1\n\n");
    let login = login(&answers);
    assert!(matches!(write(&file, &answers, &login, None, &environment()), Err(Failure::Configuration(_))));
    assert!(!file.exists() && !folder.path().join("secrets/ann@contoso.com").exists());
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_what_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/mailferry.toml");
    let answers = answers("ann@contoso.com\n1\n1\n\nthe-app\nhunter2\n1\n\n");
    let login = login(&answers);
    for path in write(&file, &answers, &login, None, &environment()).unwrap() {
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700), "{}", path.display());
    }
}

/// The file that these answers and devices make.
fn office(lines: &str, network: &str, ports: &[u16]) -> (Config, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailferry.toml");
    let office = Office { network: network.parse().unwrap(), ports: ports.to_vec() };
    let (mut input, mut prompts) = (lines.as_bytes(), Vec::new());
    let answers = Answers::ask(&mut Questions::new(&mut input, &mut prompts, false), Some(&office.network)).unwrap();
    assert!(input.is_empty(), "every answer is asked for");
    write(&file, &answers, &login(&answers), Some(&office), &environment()).unwrap();
    (Config::load(Some(&file), &environment()).unwrap(), std::fs::read_to_string(&file).unwrap())
}

fn shown(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

#[test]
fn an_office() {
    let lines = "scanner@contoso.com\n1\n1\n\nthe-app\nhunter2\nScanner, 2nd HP, Plotter=192.168.7.20\n1\n";
    let (config, text) = office(lines, "192.168.7.0/24", &[587, 25]);
    assert_eq!(config.warnings, Vec::<String>::new());
    let [listener] = config.listeners.as_slice() else { panic!("one listener") };
    assert_eq!(listener.tls, ListenerTls::Auto);
    assert_eq!(listener.bind, ["0.0.0.0:587", "0.0.0.0:25"].map(|bind| bind.parse().unwrap()));
    assert_eq!(shown(&listener.allow), ["192.168.7.0/24", "127.0.0.0/8", "::1/128"]);
    assert_eq!(shown(&listener.plaintext_login), ["127.0.0.0/8", "::1/128"], "no password is taken in clear");
    let logins = &config.accounts[0].logins;
    let names: Vec<_> = logins.iter().map(|login| login.username.as_str()).collect();
    assert_eq!(names, ["scanner", "device-2nd-hp", "plotter"]);
    assert!(logins.iter().all(|login| login.protocols == [Protocol::Smtp]));
    let networks: Vec<_> = logins
        .iter()
        .flat_map(|login| shown(login.networks.as_ref().unwrap()))
        .collect();
    assert_eq!(networks, ["192.168.7.0/24", "192.168.7.0/24", "192.168.7.20/32"]);
    assert_ne!(logins[0].password_hash(), logins[1].password_hash());
    assert!(logins[2].password_hash().is_none() && logins[2].mail.rate.is_some());
    let whom: Vec<_> = logins.iter().map(|login| login.mail.recipients.clone()).collect();
    assert_eq!(whom, [None, None, Some(vec![Recipients::Domain("contoso.com".into())])]);
    // The line that is kept for later is right too.
    let clear = text.replace("# plaintext_login", "plaintext_login");
    let clear = clear.replace("{ file = \"secrets/scanner@contoso.com\" }", "\"hunter2\"");
    let config = Config::parse(&clear, Path::new("mailferry.toml"), &environment()).unwrap();
    assert!(shown(&config.listeners[0].plaintext_login).contains(&"192.168.7.0/24".to_owned()));
}

#[test]
fn an_office_of_old_devices() {
    let (config, _) = office("ann@gmail.com\n2\n1\nthe-app\n\nScanner\n2\n", "10.0.0.0/8", &[587]);
    assert_eq!(shown(&config.listeners[0].plaintext_login), ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]);
    assert_eq!(config.warnings, Vec::<String>::new());
    // Where no device has a password, nothing is asked about passwords.
    let (config, _) = office("ann@gmail.com\n2\n1\nthe-app\n\nPlotter=fd00::7\n", "fd00::/64", &[25]);
    assert_eq!(config.listeners[0].bind, ["[::]:25".parse().unwrap()]);
    assert_eq!(config.warnings, Vec::<String>::new());
    let own = Recipients::Address("ann@gmail.com".into());
    assert_eq!(config.accounts[0].logins[0].mail.recipients, Some(vec![own]), "gmail.com is everybody's");
    assert_eq!(shown(&config.listeners[0].plaintext_login), ["127.0.0.0/8", "::1/128"]);
}

#[test]
fn no_network_is_written_twice() {
    for (network, allow) in [
        ("192.168.7.0/24", "\"192.168.7.0/24\", \"127.0.0.0/8\", \"::1\""),
        ("127.0.0.0/8", "\"127.0.0.0/8\", \"::1\""),
        ("127.0.7.0/24", "\"127.0.0.0/8\", \"::1\""),
        ("::1/128", "\"127.0.0.0/8\", \"::1\""),
        ("::/8", "\"::/8\", \"127.0.0.0/8\""),
    ] {
        assert_eq!(with_this_machine(&network.parse().unwrap()), allow, "{network}");
    }
    let (_, text) = office("ann@gmail.com\n2\n1\nthe-app\n\nScanner\n2\n", "127.0.0.0/8", &[587]);
    assert_eq!(text.matches("= [\"127.0.0.0/8\", \"::1\"]").count(), 2, "{text}");
}
