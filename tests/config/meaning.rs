//! What a good file means.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mailferry::config::{
    Admission, App, Client, Config, Environment, Grant, ListenerTls, LogFormat, MailRules, Proof, Protocol, Provider,
    Rate, Recipients, SenderRule, Server, UpstreamTls,
};
use mailferry::secret::SecretText;
use tempfile::TempDir;

use super::{HASH, SMALLEST, parse, parse_in, secret_of, with, with_end, with_top};

#[test]
fn the_smallest_file_has_the_defaults() {
    let config = parse(SMALLEST).unwrap();
    assert_eq!(config.state_dir, PathBuf::from("/nowhere/state"));
    assert_eq!(config.hostname, "localhost");
    assert_eq!(config.drain_timeout, Duration::from_secs(90));
    assert_eq!((config.log.filter.as_str(), config.log.format), ("info", LogFormat::Text));
    let limits = &config.limits;
    assert_eq!((limits.sessions, limits.sessions_per_address), (8192, 256));
    assert_eq!(limits.login_timeout, Duration::from_secs(60));
    let idle = [limits.idle_smtp, limits.idle_imap, limits.idle_pop3].map(|time| time.as_secs() / 60);
    assert_eq!(idle, [10, 35, 10]);
    let failed = limits.failed_logins;
    assert_eq!((failed.count, failed.within.as_secs(), failed.block.as_secs()), (10, 300, 900));

    let listener = &config.listeners[0];
    assert_eq!((listener.name.as_str(), listener.protocol), ("smtp-1587", Protocol::Smtp));
    assert_eq!(listener.bind, ["127.0.0.1:1587".parse().unwrap()]);
    let allow: Vec<_> = listener.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["127.0.0.0/8", "::1/128"]);
    assert_eq!(listener.plaintext_login, listener.allow);

    let account = &config.accounts[0];
    assert_eq!(account.address, "Scanner@contoso.com", "the address is what the file says");
    let login = &account.logins[0];
    assert_eq!(login.username, "scanner@contoso.com", "the user name is kept in lower case");
    assert_eq!(login.password_hash(), Some(HASH));
    assert_eq!((login.protocols.as_slice(), &login.networks), (Protocol::ALL.as_slice(), &None));
    assert_eq!(config.logins["scanner@contoso.com"].address, account.address);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn every_key_there_is_can_be_used() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/contoso"), "hunter2\r\n").unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["example.com".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    fs::write(folder.path().join("ca.pem"), certificate.pem().repeat(2)).unwrap();
    let text = r#"
        state_dir     = "/var/lib/mailferry"
        hostname      = "mailferry.local"
        drain_timeout = "30s"
        [log]
        level  = "debug"
        format = "json"
        [limits]
        sessions             = 100
        sessions_per_address = 10
        login_timeout        = "1m"
        idle_timeout         = { smtp = "1m", imap = "2h", pop3 = "3s" }
        failed_logins        = { count = 3, within = "1m", block = "2m" }
        [upstream]
        proxy = "http://me:proxy-pass@proxy.example:3128"
        [[listener]]
        name            = "office"
        protocol        = "smtp"
        bind            = ["0.0.0.0:587", "[::]:587"]
        tls             = "starttls"
        certificate     = "server.pem"
        private_key     = "server.key"
        allow           = ["192.168.7.0/24", "127.0.0.0/8", "::1"]
        plaintext_login = []
        proxy_protocol  = ["10.0.0.5"]
        [[listener]]
        protocol = "imap"
        bind     = "127.0.0.2:0"
        [app.contoso]
        provider      = "microsoft"
        grant         = "client-credentials"
        tenant        = "contoso.onmicrosoft.com"
        client_id     = "11111111-2222-3333-4444-555555555555"
        client_secret = { file = "secrets/contoso" }
        [[account]]
        address     = "scanner@contoso.com"
        app         = "contoso"
        max_message = "25MB"
          [[account.login]]
          username             = "Scanner"
          password_hash        = "HASH"
          protocols            = ["smtp"]
          networks             = ["192.168.7.0/24", "127.0.0.1"]
          tls                  = "required"
          rate                 = "10/m"
          recipients           = ["@Contoso.com", "Boss@Example.com"]
          sender               = "force"
          from_name            = "Scanner 3rd floor"
          reply_to             = "it@contoso.com"
          lone_lf_ends_message = true
          [[account.login]]
          username         = "plotter"
          without_password = true
          networks         = ["192.168.7.20"]
          [[account.login]]
          username      = "scanner"
          password_hash = "HASH"
        [[account]]
        address       = "me@example.com"
        provider      = "example"
        grant         = "client-credentials"
        client_id     = "me"
        client_secret = { env = "SECRET" }
          [[account.login]]
          password_hash = "HASH"
        [provider.example]
        token_url = "https://login.example.com/token"
        scopes    = ["mail"]
        smtp      = { host = "smtp.example.com", port = 465, tls = "implicit" }
        imap      = { host = "127.0.0.1", port = 1143, tls = "none" }
        smtp_extensions = ["dsn"]
        ca        = "ca.pem"
    "#;
    let environment = Environment::of_variables([("SECRET", "from outside")]);
    let config = parse_in(text, &folder.path().join("mailferry.toml"), &environment).unwrap();
    assert_eq!(config.state_dir, PathBuf::from("/var/lib/mailferry"));
    assert_eq!(config.hostname, "mailferry.local");
    assert_eq!((config.log.filter.as_str(), config.log.format), ("debug", LogFormat::Json));
    let limits = &config.limits;
    assert_eq!((limits.sessions, limits.sessions_per_address, limits.failed_logins.count), (100, 10, 3));
    assert_eq!(limits.idle_imap, Duration::from_secs(7200));
    let listeners: Vec<_> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(listeners, ["office", "imap-0"]);
    let [office, imap] = config.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!((office.bind.len(), office.tls, imap.tls), (2, ListenerTls::StartTls, ListenerTls::None));
    let files = office.certificate.as_ref().unwrap();
    let named = [&files.certificate, &files.private_key];
    assert_eq!(named, [&folder.path().join("server.pem"), &folder.path().join("server.key")]);
    assert_eq!(shown(&office.allow), ["192.168.7.0/24", "127.0.0.0/8", "::1/128"]);
    assert_eq!((shown(&office.plaintext_login), shown(&office.proxy_protocol)), (vec![], vec!["10.0.0.5/32".into()]));
    let proxy = config.proxy.as_ref().unwrap();
    assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
    assert_eq!(proxy.credentials.as_ref().map(SecretText::expose), Some("me:proxy-pass"));
    assert!(!format!("{config:?}").contains("proxy-pass"));

    let [scanner, me] = config.accounts.as_slice() else { panic!("two accounts") };
    let client = scanner.app.client().unwrap();
    assert_eq!(client.tenant.as_deref(), Some("contoso.onmicrosoft.com"));
    assert_eq!(client.id, "11111111-2222-3333-4444-555555555555");
    assert_eq!(secret_of(client), "hunter2", "the line end is the editor's");
    assert_eq!((scanner.logins.len(), config.logins.len()), (3, 3), "one name may have several passwords");
    let login = &scanner.logins[0];
    assert_eq!((login.protocols.as_slice(), login.tls_required), ([Protocol::Smtp].as_slice(), true));
    assert_eq!(login.networks.as_ref().map(Vec::len), Some(2));
    let force =
        SenderRule::Force { from_name: Some("Scanner 3rd floor".into()), reply_to: Some("it@contoso.com".into()) };
    let recipients = vec![Recipients::Domain("contoso.com".into()), Recipients::Address("boss@example.com".into())];
    let rules = MailRules {
        rate: Some(Rate { messages: 10, within: Duration::from_secs(60) }),
        recipients: Some(recipients),
        sender: force,
        lone_lf_ends_message: true,
    };
    assert_eq!((&login.mail, scanner.max_message), (&rules, Some(25_000_000)));
    let plotter = &scanner.logins[1];
    assert_eq!((plotter.password_hash(), plotter.protocols.as_slice()), (None, [Protocol::Smtp].as_slice()));
    assert!(plotter.admission == Admission::Address && !plotter.tls_required);
    let sixty =
        MailRules { rate: Some(Rate { messages: 60, within: Duration::from_secs(3600) }), ..MailRules::default() };
    assert_eq!(plotter.mail, sixty);
    assert_eq!(scanner.logins[2].mail, MailRules::default());

    let client = me.app.client().unwrap();
    assert_eq!((client.tenant.as_deref(), secret_of(client).as_str()), (None, "from outside"));
    assert_eq!(me.app.name, "me@example.com", "an inline app is named after its account");
    let provider = &me.app.provider;
    assert_eq!((provider.name.as_str(), provider.scopes.app.as_slice()), ("example", ["mail".to_owned()].as_slice()));
    assert_eq!((provider.smtp_extensions.as_slice(), provider.ca.len()), (["DSN".to_owned()].as_slice(), 2));
    assert_eq!(provider.pop3, None);
    let imap = Server { host: "127.0.0.1".into(), port: 1143, tls: UpstreamTls::None };
    assert_eq!(provider.imap, Some(imap));
}

fn microsoft_with(changes: &str) -> Provider {
    let mut config = parse(&with_end(changes)).unwrap();
    let account = config.accounts.remove(0);
    drop(config);
    let app = Arc::try_unwrap(account).unwrap().app;
    Arc::try_unwrap(Arc::try_unwrap(app).unwrap().provider).unwrap()
}

#[test]
fn a_table_with_a_presets_name_changes_the_preset() {
    let plain = microsoft_with("");
    assert_eq!(plain.smtp_masked, ["SMTPUTF8"]);
    assert_eq!(plain.smtp_extensions, ["DSN", "CHUNKING", "BINARYMIME"]);
    let url = plain.token_url.resolve(Some("contoso.com")).unwrap();
    assert_eq!(url.as_str(), "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token");

    let changed = microsoft_with(
        "[provider.microsoft]\nsmtp = { host = \"smtp-hve.office365.com\" }\nsmtp_extensions = [\"SMTPUTF8\"]",
    );
    let smtp = Server { host: "smtp-hve.office365.com".into(), port: 587, tls: UpstreamTls::StartTls };
    assert_eq!((changed.smtp, changed.imap), (Some(smtp), plain.imap), "only what is named changes");
    assert!(changed.smtp_masked.is_empty(), "who vouches for an extension has it shown");
}

#[test]
fn a_base_is_copied_and_stays_as_it_is() {
    let text = with("\"microsoft\"", "\"mine\"")
        + "[provider.mine]\nbase = \"microsoft\"\ntoken_url = \"http://127.0.0.1:8/{tenant}\"\n";
    let config = parse(&text).unwrap();
    let provider = &config.accounts[0].app.provider;
    assert_eq!((provider.name.as_str(), provider.smtp_masked.len()), ("mine", 1));
    assert_eq!(provider.token_url.resolve(Some("x")).unwrap().as_str(), "http://127.0.0.1:8/x");
    assert_eq!(provider.imap.as_ref().unwrap().host, "outlook.office365.com");
}

#[test]
fn the_state_folder_has_its_order_of_places() {
    let state = |text: &str, variables: [(&str, &str); 2]| {
        let environment = Environment::of_variables(variables);
        parse_in(text, Path::new("/etc/mailferry/m.toml"), &environment)
            .unwrap()
            .state_dir
    };
    let both = [("STATE_DIRECTORY", "/var/lib/one:/var/lib/two"), ("XDG_STATE_HOME", "/home/u/.state")];
    assert_eq!(state(&with_top("state_dir = \"here\""), both), PathBuf::from("/etc/mailferry/here"));
    assert_eq!(state(SMALLEST, both), PathBuf::from("/var/lib/one"));
    assert_eq!(state(SMALLEST, [both[1], ("STATE_DIRECTORY", "")]), PathBuf::from("/home/u/.state/mailferry"));
    let neither = [("XDG_STATE_HOME", "relative"), ("OTHER", "x")];
    assert_eq!(state(SMALLEST, neither), PathBuf::from("/etc/mailferry/state"));
}

#[cfg(unix)]
#[test]
fn files_with_secrets_that_everyone_can_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("m.toml");
    let secret = folder.path().join("secret");
    let text = with("\"hunter2\"", "{ file = \"secret\" }").replace("HASH", HASH);
    fs::write(&file, &text).unwrap();
    fs::write(&secret, "hunter2").unwrap();
    let environment = Environment::of_variables([]);
    let warnings = |mode| {
        for path in [&file, &secret] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Config::load(Some(&file), &environment).unwrap().warnings
    };
    assert!(warnings(0o640).is_empty(), "a group is there for this");
    let line = |path: &Path| {
        let path = path.display();
        format!("{path} holds secrets and every user of this machine can read it; chmod o= {path}")
    };
    assert_eq!(warnings(0o644), [line(&secret), line(&file)]);
}

#[cfg(unix)]
#[test]
fn a_certificates_file_with_a_key_in_it_is_looked_at_too() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let [pem, key] = ["a.pem", "a.key"].map(|name| folder.path().join(name));
    let text = with("bind =", "tls = \"auto\"\ncertificate = \"a.pem\"\nprivate_key = \"a.key\"\nbind =");
    let warnings = |content: &str| {
        fs::write(&pem, content).unwrap();
        fs::write(&key, "").unwrap();
        for (file, mode) in [(&pem, 0o644), (&key, 0o600)] {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let file = folder.path().join("m.toml");
        parse_in(&text, &file, &Environment::of_variables([])).unwrap().warnings
    };
    assert!(warnings("-----BEGIN CERTIFICATE-----\n").is_empty());
    let pem = pem.display();
    assert_eq!(
        warnings("-----BEGIN CERTIFICATE-----\n-----BEGIN RSA PRIVATE KEY-----\n"),
        [format!("{pem} holds secrets and every user of this machine can read it; chmod o= {pem}")]
    );
}

#[test]
fn a_file_is_found_by_option_and_variable() {
    let folder = TempDir::new().unwrap();
    let [option, variable] = ["option.toml", "variable.toml"].map(|name| folder.path().join(name));
    fs::write(&option, with_top("hostname = \"option\"").replace("HASH", HASH)).unwrap();
    fs::write(&variable, with_top("hostname = \"variable\"").replace("HASH", HASH)).unwrap();
    let variable = variable.display().to_string();
    let environment = Environment::of_variables([("MAILFERRY_CONFIG", &variable)]);
    assert_eq!(Config::load(Some(&option), &environment).unwrap().hostname, "option");
    assert_eq!(Config::load(None, &environment).unwrap().hostname, "variable");
    let missing = folder.path().join("missing.toml");
    assert_eq!(
        Config::load(Some(&missing), &environment).unwrap_err().to_string(),
        format!("{}: cannot be read: No such file or directory (os error 2)", missing.display()),
        "a file that is named is not replaced by another"
    );
}

/// The app that these lines make at a provider.
fn app(provider: &str, lines: &str) -> Arc<App> {
    let keys = "grant = \"client-credentials\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"the-app\"\n\
                client_secret = \"hunter2\"";
    let text = with(keys, lines).replace("\"microsoft\"", &format!("\"{provider}\""));
    let config = parse(&text).unwrap_or_else(|faults| panic!("{}", faults.join("\n")));
    Arc::clone(&config.accounts[0].app)
}

#[test]
fn a_person_is_asked_for_no_more_than_the_protocols_need() {
    let app = app("microsoft", "grant = \"authorization-code\"\ntenant = \"common\"\nclient_id = \"me\"");
    assert!(matches!(app.client(), Some(Client { proof: Proof::Public, .. })));
    assert_eq!(
        app.scopes(&[Protocol::Imap]),
        ["https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access", "openid", "email"]
    );
    assert_eq!(app.scopes(&Protocol::ALL).len(), 6);
    let google = self::app("google", "grant = \"authorization-code\"\nclient_id = \"me\"\nclient_secret = \"s\"");
    assert_eq!(google.scopes(&Protocol::ALL), ["https://mail.google.com/", "openid", "email"]);
}

#[test]
fn every_grant_has_its_keys() {
    let device = app("outlook", "grant = \"device-code\"\nclient_id = \"me\"");
    assert!(matches!(&device.grant, Grant::DeviceCode(Client { tenant: None, .. })));
    let folder = TempDir::new().unwrap();
    let path = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, "x").unwrap();
        path
    };
    let lines = format!("grant = \"service-account\"\nservice_account = {{ file = {:?} }}", path("key.json"));
    assert!(matches!(&app("google", &lines).grant, Grant::ServiceAccount(key) if key.read().is_ok()));
    let lines = format!(
        "grant = \"client-credentials\"\ntenant = \"t\"\nclient_id = \"me\"\n\
         client_certificate = {{ certificate = {:?}, private_key = {:?} }}",
        path("app.pem"),
        path("app.key")
    );
    let certified = app("microsoft-china", &lines);
    let Some(Client { proof: Proof::Certificate { certificate, .. }, .. }) = certified.client() else {
        panic!("a certificate")
    };
    assert_eq!(*certificate, folder.path().join("app.pem"));
    assert_eq!(certified.scopes(&Protocol::ALL), ["https://partner.outlook.cn/.default"]);
    let federated = "grant = \"client-credentials\"\ntenant = \"t\"\nclient_id = \"me\"\nclient_assertion = \"jwt\"";
    let federated = app("microsoft-dod", federated);
    assert!(matches!(federated.client(), Some(Client { proof: Proof::Assertion(_), .. })));
    let lines = "grant = \"authorization-code\"\nclient_id = \"me\"\nredirect_uri = \"http://localhost:8400\"";
    let fastmail = app("fastmail", lines);
    assert!(
        matches!(&fastmail.grant, Grant::AuthorizationCode { redirect_uri: Some(uri), .. } if uri.port() == Some(8400))
    );
    let command = app("yahoo", "grant = \"command\"\ncommand = [\"pizauth\", \"show\", \"me\"]");
    assert!(matches!(&command.grant, Grant::Command(words) if words == &["pizauth", "show", "me"]));
}

#[test]
fn secrets_in_a_list_are_tried_in_order_and_read_afresh() {
    let folder = TempDir::new().unwrap();
    let old = folder.path().join("old");
    fs::write(&old, "first\n").unwrap();
    let list = format!("[{{ file = {old:?} }}, {{ file = \"next\" }}, \"third\"]\nclient_secret_expires = 2027-11-01");
    let text = with("\"hunter2\"", &list);
    let config = parse_in(&text, &folder.path().join("m.toml"), &Environment::of_variables([])).unwrap();
    let client = config.accounts[0].app.client().unwrap();
    assert_eq!(client.secret_expires, Some(jiff::civil::date(2027, 11, 1)));
    let Proof::Secrets(secrets) = &client.proof else { panic!("secrets") };
    let read = |number: usize| secrets[number].read().map(|secret| secret.expose().to_owned());
    assert_eq!((read(0).as_deref(), read(2).as_deref()), (Ok("first"), Ok("third")));
    assert!(read(1).is_err(), "where the next one will be put");
    let warned = |warning: &&String| warning.contains("m.toml:10: app.contoso.client_secret: ");
    let warning = config.warnings.iter().find(warned).unwrap();
    assert!(warning.contains("next cannot be read"), "{warning}");
    fs::write(folder.path().join("next"), "second").unwrap();
    assert_eq!(read(1).as_deref(), Ok("second"));
}

#[test]
fn the_store_is_beside_the_state() {
    let config = parse(&with_top("state_dir = \"/var/lib/mailferry\"\n")).unwrap();
    assert_eq!(config.store.database, Path::new("/var/lib/mailferry/mailferry.db"));
    assert!(config.store.keys.is_none());
    let text = with_top("[store]\nurl = \"sqlite:db/mail.db\"\nkey = [\"new\", \"old\"]\n");
    let config = parse(&text).unwrap();
    assert_eq!(config.store.database, Path::new("/nowhere/db/mail.db"));
    assert_eq!(config.store.keys.map(|keys| keys.len()), Some(2));
}

#[test]
fn another_user_may_log_in_for_an_account() {
    let text = with("app = \"contoso\"", "app = \"contoso\"\nidentity = { smtp = \"owner@contoso.com\" }");
    let account = &parse(&text).unwrap().accounts[0];
    assert_eq!(account.user(Protocol::Smtp), "owner@contoso.com");
    assert_eq!(account.user(Protocol::Imap), "Scanner@contoso.com");
}

fn shown(networks: &[ipnet::IpNet]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

/// The smallest file with a listener that can be reached from the network.
fn beyond(lines: &str) -> String {
    with("bind = \"127.0.0.1:1587\"", &format!("bind = \"192.168.7.1:587\"\n{lines}"))
}

#[test]
fn a_listener_beyond_loopback_has_tls_and_takes_passwords_in_clear_from_loopback() {
    let config = parse(&beyond("allow = [\"192.168.7.0/24\"]")).unwrap();
    let listener = &config.listeners[0];
    assert_eq!((listener.tls, shown(&listener.allow)), (ListenerTls::Auto, vec!["192.168.7.0/24".into()]));
    assert_eq!(shown(&listener.plaintext_login), ["127.0.0.0/8", "::1/128"]);
    assert_eq!((&listener.certificate, config.warnings.len()), (&None, 0));
    let mixed =
        with("bind = \"127.0.0.1:1587\"", "bind = [\"127.0.0.1:1587\", \"[fd00::1]:1587\"]\nallow = [\"::/0\"]");
    assert_eq!(parse(&mixed).unwrap().listeners[0].tls, ListenerTls::Auto, "one address beyond is enough");
    for tls in ["none", "starttls", "implicit", "auto"] {
        assert!(parse(&with("protocol = \"smtp\"", &format!("protocol = \"smtp\"\ntls = \"{tls}\""))).is_ok(), "{tls}");
    }
}

#[test]
fn a_size_is_octets_or_has_a_unit() {
    for (size, octets) in [("5000", 5000), ("\"10MiB\"", 10 << 20), ("\"1KB\"", 1000), ("\"100GB\"", 100_000_000_000)] {
        let text = with("app = \"contoso\"", &format!("app = \"contoso\"\nmax_message = {size}"));
        assert_eq!(parse(&text).unwrap().accounts[0].max_message, Some(octets), "{size}");
    }
}

#[test]
fn the_rules_of_a_login() {
    let login = |lines: &str| {
        let config = parse(&with_end(lines)).unwrap_or_else(|faults| panic!("{}", faults.join("\n")));
        config.accounts[0].logins[0].clone()
    };
    let force = |from_name: Option<&str>| SenderRule::Force { from_name: from_name.map(Into::into), reply_to: None };
    assert_eq!(login("sender = \"keep\"").mail, MailRules::default());
    assert_eq!(login("sender = \"envelope\"").mail.sender, SenderRule::Envelope);
    assert_eq!(login("sender = \"force\"").mail.sender, force(None));
    assert_eq!(login("sender = \"force\"\nfrom_name = \" Büro \"").mail.sender, force(Some("Büro")));
    let plain = login("without_password = false\nlone_lf_ends_message = false");
    assert!(plain.password_hash().is_some() && plain.mail == MailRules::default());
}

/// The smallest file with a login without a password in place of the other.
fn by_address(lines: &str) -> String {
    with("password_hash = \"HASH\"", &format!("without_password = true\n{lines}"))
        .replace("bind =", "allow = [\"192.168.0.0/16\", \"127.0.0.1\", \"fd00::/16\"]\nbind =")
}

#[test]
fn devices_are_let_in_from_networks_that_are_named() {
    for network in ["192.168.0.0/16", "192.168.7.20", "::ffff:192.168.7.0/120", "127.0.0.1", "fd00:1:2::/48"] {
        let config = parse(&by_address(&format!(
            "networks = [\"{network}\"]\nprotocols = [\"smtp\"]\nrecipients = [\"@contoso.com\"]"
        )))
        .unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
    let several = "networks = [\"192.168.7.0/24\"]\nrate = \"5/d\"\n\
                   [[account.login]]\nwithout_password = true\nnetworks = [\"192.168.7.1\", \"192.168.0.0/16\"]\n";
    let config = parse(&by_address(several)).unwrap();
    let rates: Vec<_> = config.accounts[0]
        .logins
        .iter()
        .map(|login| login.mail.rate.unwrap().messages)
        .collect();
    assert_eq!(rates, [5, 60]);
    let many: String = (1..9)
        .map(|host| format!("[[account.login]]\nwithout_password = true\nnetworks = [\"192.168.7.{host}\"]\n"))
        .collect();
    let config = parse(&by_address(&format!("networks = [\"192.168.7.0/24\"]\n{many}"))).unwrap();
    assert_eq!(config.accounts[0].logins.len(), 9, "four is for passwords");
}

#[test]
fn passwords_in_clear_are_warned_of() {
    let warnings = |lines: &str| parse(&beyond(lines)).unwrap().warnings;
    let lan = "allow = [\"192.168.7.0/24\"]\nplaintext_login = [\"192.168.0.0/16\"]";
    assert!(warnings(lan).is_empty(), "whoever can has TLS");
    assert_eq!(
        warnings(&format!("{lan}\ntls = \"none\"")),
        [
            "/nowhere/m.toml:2: listener: smtp-587: passwords cross the network in clear: tls is \"none\"; with \"auto\" whoever \
          can may use TLS"
        ]
    );
    let public = "allow = [\"0.0.0.0/0\"]\nplaintext_login = [\"10.0.0.0/8\", \"8.8.0.0/16\"]";
    assert_eq!(
        warnings(public),
        [
            "/nowhere/m.toml:2: listener: smtp-587: passwords are taken in clear from 8.8.0.0/16, which is not a private network; \
          whoever is on their way can read them"
        ]
    );
    assert!(warnings(&format!("{public}\ntls = \"implicit\"")).is_empty());
    assert_eq!(
        warnings("allow = [\"10.0.0.5\"]\nproxy_protocol = [\"10.0.0.0/24\"]"),
        [
            "/nowhere/m.toml:2: listener: smtp-587: allow holds nobody but the proxies of proxy_protocol; it is asked about the \
          clients that they speak for"
        ]
    );
}

#[test]
fn what_comes_over_loopback_alone_is_not_warned_of_as_in_clear() {
    // The recipe for devices with an old TLS: stunnel, on this machine, has it with them.
    let recipe = |bind: &str, proxies: &str| {
        let keys = format!(
            "name = \"old-tls\"\nbind = [{bind}]\nproxy_protocol = [{proxies}]\n\
             allow = [\"192.168.7.0/24\"]\nplaintext_login = [\"192.168.7.0/24\"]\ntls = \"none\""
        );
        parse(&with("bind = \"127.0.0.1:1587\"", &keys)).unwrap().warnings
    };
    let here = ("\"127.0.0.1:2465\", \"[::1]:2465\"", "\"127.0.0.1/32\", \"::1\"");
    assert_eq!(recipe(here.0, here.1), Vec::<String>::new());
    for (bind, proxies) in [("\"127.0.0.1:2465\", \"10.0.0.6:2465\"", here.1), (here.0, "\"127.0.0.1\", \"10.0.0.5\"")]
    {
        let warnings = recipe(bind, proxies);
        let said = "/nowhere/m.toml:2: listener: old-tls: passwords cross the network in clear";
        assert!(warnings[0].starts_with(said), "{warnings:?}");
    }
}
