//! The verifier against a configuration made by hand, with hashes as cheap as argon2 allows.

mod crowds;

use std::net::IpAddr;

use argon2::password_hash::CustomizedPasswordHasher;
use argon2::{Algorithm, Params, Version};

use super::super::throttle::REPEATED;
use super::*;
use crate::config::{
    Admission, App, Budgets, Client, EndpointUrl, FailedLogins, Grant, Limits, Log, LogFormat, LoginOrigin, MailRules,
    Proof, Protocol, Provider, Scopes, SecretSource, Server, StoreConfig, UpstreamTls,
};
use crate::proto::Mechanism;
use crate::secret::SecretText;

const OFFICE: [u8; 4] = [192, 0, 2, 7];

fn hash(password: &str) -> String {
    let cheap = Params::new(8, 1, 1, None).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap.clone())
        .hash_password_customized(password.as_bytes(), b"0123456789abcdef", None, None, cheap)
        .unwrap()
        .to_string()
}

fn visit(peer: impl Into<IpAddr>, protocol: Protocol) -> Visit {
    Visit { peer: peer.into(), protocol, encrypted: false }
}

fn login(username: &str, password: &str) -> Login {
    Login {
        origin: LoginOrigin::File,
        username: username.into(),
        admission: Admission::Password(hash(password)),
        protocols: Protocol::ALL.to_vec(),
        networks: None,
        tls_required: false,
        mail: MailRules::default(),
        ends: None,
    }
}

fn config(accounts: Vec<Vec<Login>>) -> Config {
    config_of(&Protocol::ALL, accounts)
}

/// With a provider that serves these protocols.
fn config_of(served: &[Protocol], accounts: Vec<Vec<Login>>) -> Config {
    let server = |protocol| {
        let server = || Server { host: "mail.example.com".into(), port: 1, tls: UpstreamTls::Implicit };
        served.contains(&protocol).then(server)
    };
    let provider = Arc::new(Provider {
        name: "example".into(),
        token_url: EndpointUrl("https://login.example.com/token".into()),
        authorization_url: None,
        device_authorization_url: None,
        grants: vec![],
        sign_in_lives: None,
        scopes: Scopes::default(),
        smtp: server(Protocol::Smtp),
        imap: server(Protocol::Imap),
        pop3: server(Protocol::Pop3),
        smtp_extensions: vec![],
        smtp_masked: vec![],
        imap_capabilities: vec![],
        ca: vec![],
    });
    let app = Arc::new(App {
        name: "example".into(),
        provider,
        grant: Grant::ClientCredentials(Client {
            tenant: None,
            id: "id".into(),
            proof: Proof::Secrets(vec![SecretSource::Fixed(SecretText::new("secret".into()))]),
            secret_expires: None,
        }),
    });
    let accounts: Vec<_> = accounts
        .into_iter()
        .enumerate()
        .map(|(number, logins)| {
            let address = format!("mailbox{number}@example.com");
            Arc::new(Account { address, app: Arc::clone(&app), identity: vec![], max_message: None, logins })
        })
        .collect();
    let logins = accounts
        .iter()
        .flat_map(|account| account.logins.iter().map(|login| (login.username.clone(), Arc::clone(account))))
        .collect();
    let idle = Duration::from_secs(600);
    Config {
        state_dir: "state".into(),
        proxy: None,
        store: StoreConfig { database: "state/mailferry.db".into(), keys: None },
        file: "mailferry.toml".into(),
        hostname: "mailferry.example".into(),
        drain_timeout: idle,
        log: Log { filter: "info".into(), format: LogFormat::Text },
        limits: Limits {
            sessions: 100,
            sessions_per_address: 100,
            login_timeout: idle,
            idle_smtp: idle,
            idle_imap: idle,
            idle_pop3: idle,
            failed_logins: FailedLogins {
                count: 10,
                within: Duration::from_secs(300),
                block: Duration::from_secs(900),
            },
        },
        budgets: Budgets::default(),
        listeners: vec![],
        accounts,
        apps: HashMap::new(),
        logins,
        warnings: vec![],
    }
}

fn request(username: impl AsRef<[u8]>, password: &str) -> LoginRequest {
    LoginRequest {
        mechanism: Mechanism::Plain,
        authzid: vec![],
        username: username.as_ref().to_vec(),
        password: Password::new(password.into()),
    }
}

/// A gateway with one account that `scanner` opens with `right`.
struct Office {
    config: Config,
    verifier: Verifier,
}

impl Office {
    fn new(logins: Vec<Login>) -> Self {
        let config = config(vec![logins]);
        let verifier = Verifier::new(&config).unwrap();
        Self { config, verifier }
    }

    async fn try_from_peer(
        &self,
        peer: impl Into<IpAddr>,
        protocol: Protocol,
        request: &LoginRequest,
    ) -> Result<usize, Denied> {
        let directory = Directory::of(&self.config);
        let verified = self.verifier.verify(&directory, &visit(peer, protocol), request).await?;
        Ok(verified.login)
    }

    async fn attempt(&self, username: &str, password: &str) -> Result<usize, Denied> {
        self.try_from_peer(OFFICE, Protocol::Smtp, &request(username, password)).await
    }
}

fn misplaced(login: usize, obstacle: Obstacle) -> Result<usize, Denied> {
    Err(Denied::Misplaced(Misplaced { login, obstacle }))
}

#[tokio::test]
async fn the_right_password_is_computed_once_and_then_remembered() {
    let office = Office::new(vec![login("scanner", "right")]);
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
    assert_eq!(office.attempt("SCANNER", "right").await, Ok(0));
    assert_eq!(office.verifier.computations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_repeated_costs_time_and_no_computation() {
    let office = Office::new(vec![login("scanner", "right")]);
    for peer in [OFFICE, [127, 0, 0, 1]] {
        // Also of a name nobody has: the time does not tell.
        for name in ["scanner", "nobody"] {
            let (computed, wrong) = (office.verifier.computations(), request(name, "wrong"));
            for repeated in 0..20 {
                let before = Instant::now();
                let denied = office.try_from_peer(peer, Protocol::Smtp, &wrong).await;
                assert_eq!(denied, Err(Denied::Credentials));
                let waited = if repeated == 0 { Duration::ZERO } else { REPEATED };
                assert_eq!(before.elapsed().as_millis(), waited.as_millis(), "{name}, {repeated}");
            }
            assert_eq!(office.verifier.computations(), computed + 1, "{name}");
        }
        assert_eq!(office.try_from_peer(peer, Protocol::Smtp, &request("scanner", "right")).await, Ok(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_computed_again_once_its_failure_is_too_old_or_the_hash_another() {
    let mut office = Office::new(vec![login("scanner", "right")]);
    let within = office.config.limits.failed_logins.within;
    for computed in 1..4 {
        for _ in 0..3 {
            assert_eq!(office.attempt("scanner", "new").await, Err(Denied::Credentials));
            assert_eq!(office.verifier.computations(), computed);
        }
        tokio::time::advance(within).await;
    }
    assert_eq!(office.attempt("scanner", "new").await, Err(Denied::Credentials));
    office.config = config(vec![vec![login("scanner", "new")]]);
    assert_eq!(office.attempt("scanner", "new").await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn names_below_the_limit_with_a_wrong_password_each_do_not_keep_the_cores_busy() {
    let config = Arc::new(config(vec![vec![login("scanner", "right")]]));
    let verifier = Verifier::new(&config).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    for name in 0..49 {
        let (config, verifier, request) = (Arc::clone(&config), verifier.clone(), request(format!("name{name}"), "x"));
        connections.spawn(async move {
            for _ in 0..20 {
                let denied = verifier
                    .verify(&Directory::of(&config), &visit(OFFICE, Protocol::Imap), &request)
                    .await
                    .err();
                assert_eq!(denied, Some(Denied::Credentials));
            }
        });
    }
    connections.join_all().await;
    assert_eq!(verifier.computations(), 49);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_sent_again_while_it_waits_is_computed_once() {
    let office = Office::new(vec![login("scanner", "right")]);
    for name in 0..50 {
        office.attempt(&format!("name{name}"), "x").await.unwrap_err();
    }
    // The address is slowed now. The second comes a second after the first, which still has four to wait.
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        office.attempt("scanner", "wrong").await
    };
    let denied = tokio::join!(office.attempt("scanner", "wrong"), second);
    assert_eq!(denied, (Err(Denied::Credentials), Err(Denied::Credentials)));
    assert_eq!(office.verifier.computations(), 51);
}

#[tokio::test(start_paused = true)]
async fn a_right_password_in_the_wrong_place_takes_as_long_as_a_wrong_one_every_time() {
    let smtp_only = Login { protocols: vec![Protocol::Smtp], ..login("scanner", "right") };
    let office = Office::new(vec![smtp_only, login("printer", "other")]);
    // The second's password fits the first's hash, which is no hash of its own.
    for (name, expected) in [("scanner", misplaced(0, Obstacle::Protocol)), ("printer", Err(Denied::Credentials))] {
        let (computed, request) = (office.verifier.computations(), request(name, "right"));
        for waited in [Duration::ZERO, REPEATED, REPEATED] {
            let before = Instant::now();
            let denied = office.try_from_peer(OFFICE, Protocol::Imap, &request).await;
            assert_eq!(denied, expected);
            assert_eq!(before.elapsed().as_millis(), waited.as_millis(), "{name}");
            assert_eq!(office.verifier.computations(), computed + 1, "{name}");
        }
    }
    // Where it may be used it passes, also when nobody remembers which hash it fits.
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
    office.verifier.0.memory().verified = Bounded::new(VERIFIED);
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
    assert_eq!(office.verifier.computations(), 3);
}

/// One host has many of them, and could ask for each password twice.
#[tokio::test(start_paused = true)]
async fn a_right_password_in_the_wrong_place_takes_as_long_as_a_wrong_one_at_a_second_address_of_its_network() {
    let by_day = Login { networks: Some(vec!["192.168.7.0/24".parse().unwrap()]), ..login("scanner", "right") };
    let smtp_only = Login { protocols: vec![Protocol::Smtp], ..login("printer", "right") };
    let office = Office::new(vec![by_day, smtp_only]);
    let [first, second] = ["2001:db8::1", "2001:db8::2"].map(|peer| peer.parse::<IpAddr>().unwrap());
    for (name, password) in [("scanner", "right"), ("scanner", "wrong"), ("printer", "right"), ("printer", "wrong")] {
        let request = request(name, password);
        assert!(office.try_from_peer(first, Protocol::Imap, &request).await.is_err());
        let computed = office.verifier.computations();
        for _ in 0..3 {
            let before = Instant::now();
            assert!(office.try_from_peer(second, Protocol::Imap, &request).await.is_err());
            assert_eq!(before.elapsed().as_millis(), REPEATED.as_millis(), "{name} {password}");
        }
        assert_eq!(office.verifier.computations(), computed, "{name} {password}");
    }
}

/// What its provider has is no business of a guesser.
#[tokio::test(start_paused = true)]
async fn a_right_password_for_a_mailbox_that_nobody_serves_takes_as_long_as_a_wrong_one() {
    let config = config_of(&[Protocol::Smtp], vec![vec![login("scanner", "right")]]);
    let office = Office { verifier: Verifier::new(&config).unwrap(), config };
    for (password, expected) in [("right", misplaced(0, Obstacle::Unserved)), ("wrong", Err(Denied::Credentials))] {
        let request = request("scanner", password);
        for waited in [Duration::ZERO, REPEATED, REPEATED] {
            let before = Instant::now();
            assert_eq!(office.try_from_peer(OFFICE, Protocol::Imap, &request).await, expected);
            assert_eq!(before.elapsed().as_millis(), waited.as_millis(), "{password}");
        }
    }
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
}

/// However long failures are remembered.
#[tokio::test(start_paused = true)]
async fn a_right_password_in_the_wrong_place_is_answered_from_memory_as_long_as_a_wrong_one() {
    let smtp_only = Login { protocols: vec![Protocol::Smtp], ..login("scanner", "right") };
    let mut config = config(vec![vec![smtp_only]]);
    config.limits.failed_logins.within = 3 * VERIFIED_FOR;
    let office = Office { verifier: Verifier::new(&config).unwrap(), config };
    for password in ["right", "wrong"] {
        let request = request("scanner", password);
        assert!(office.try_from_peer(OFFICE, Protocol::Imap, &request).await.is_err());
        tokio::time::advance(VERIFIED_FOR).await;
        let computed = office.verifier.computations();
        assert!(office.try_from_peer(OFFICE, Protocol::Imap, &request).await.is_err());
        assert_eq!(office.verifier.computations(), computed, "{password}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_verified_password_is_computed_again_after_an_hour() {
    let office = Office::new(vec![login("scanner", "right")]);
    office.attempt("scanner", "right").await.unwrap();
    tokio::time::advance(VERIFIED_FOR).await;
    office.attempt("scanner", "right").await.unwrap();
    assert_eq!(office.verifier.computations(), 2);
}

#[tokio::test]
async fn a_changed_hash_is_not_answered_from_memory() {
    let mut office = Office::new(vec![login("scanner", "right")]);
    office.attempt("scanner", "right").await.unwrap();
    office.config = config(vec![vec![login("scanner", "new")]]);
    assert_eq!(office.attempt("scanner", "right").await, Err(Denied::Credentials));
    assert_eq!(office.attempt("scanner", "new").await, Ok(0));
}

#[tokio::test]
async fn unknown_names_cost_as_many_computations_as_known_ones() {
    let twice = |name: &str| vec![login(name, "right"), login(name, "spare")];
    let known = config(vec![twice("scanner"), twice("printer"), twice("fax")]);
    let office = Office { verifier: Verifier::new(&known).unwrap(), config: known };
    for (at, name) in ["scanner", "nobody", "fax", "printer", "someone"].into_iter().enumerate() {
        assert_eq!(office.attempt(name, "wrong").await, Err(Denied::Credentials));
        assert_eq!(office.verifier.computations(), 2 * (at as u64 + 1), "{name}");
    }
}

#[tokio::test]
async fn the_name_of_a_login_without_a_password_costs_as_many_computations_as_one_nobody_has() {
    let by_address = Login { admission: Admission::Address, ..login("plotter", "") };
    let office = Office::new(vec![login("scanner", "right"), by_address]);
    for (at, name) in ["plotter", "nobody", "scanner"].into_iter().enumerate() {
        assert_eq!(office.attempt(name, "wrong").await, Err(Denied::Credentials));
        assert_eq!(office.verifier.computations(), at as u64 + 1, "{name}");
    }
}

#[tokio::test]
async fn names_no_login_can_have_are_refused_without_computing() {
    let office = Office::new(vec![login("scanner", "right")]);
    let long = "x".repeat(MAX_NAME + 1);
    let names: [&[u8]; 7] = [
        b"",
        b"scanner\x01user=boss@example.com",
        b"scanner\0",
        b"scanner\x7f",
        b"a\r\nb",
        "scänner".as_bytes(),
        long.as_bytes(),
    ];
    for name in names {
        let refused = office.try_from_peer(OFFICE, Protocol::Imap, &request(name, "right")).await;
        assert_eq!(refused, Err(Denied::Impossible), "{}", name.escape_ascii());
    }
    assert_eq!(office.verifier.computations(), 0);
}

#[tokio::test]
async fn nobody_acts_as_somebody_else() {
    let office = Office::new(vec![login("scanner", "right")]);
    for (authzid, expected) in [("", Ok(0)), ("Scanner", Ok(0)), ("boss", Err(Denied::Impossible))] {
        let request = LoginRequest { authzid: authzid.into(), ..request("scanner", "right") };
        assert_eq!(office.try_from_peer(OFFICE, Protocol::Smtp, &request).await, expected, "{authzid}");
    }
}

#[tokio::test]
async fn every_hash_of_a_name_is_tried() {
    let other = login("other", "first");
    let office = Office::new(vec![login("scanner", "first"), other, login("scanner", "second")]);
    assert_eq!(office.attempt("scanner", "second").await, Ok(2));
    assert_eq!(office.verifier.computations(), 2);
    assert_eq!(office.attempt("scanner", "first").await, Ok(0));
    assert_eq!(office.attempt("other", "second").await, Err(Denied::Credentials));
}

#[tokio::test]
async fn a_login_is_refused_where_it_may_not_be_used() {
    let smtp_only = Login { protocols: vec![Protocol::Smtp], ..login("scanner", "right") };
    let here_only = Login { networks: Some(vec!["192.0.2.0/24".parse().unwrap()]), ..login("printer", "right") };
    let office = Office::new(vec![smtp_only, here_only]);
    let (scanner, printer) = (request("scanner", "right"), request("printer", "right"));

    assert_eq!(office.try_from_peer(OFFICE, Protocol::Smtp, &scanner).await, Ok(0));
    let computed = office.verifier.computations();
    assert_eq!(office.try_from_peer(OFFICE, Protocol::Imap, &scanner).await, misplaced(0, Obstacle::Protocol));
    assert_eq!(office.verifier.computations(), computed + 1, "the refusal takes as long as a wrong password's");
    assert_eq!(office.try_from_peer(OFFICE, Protocol::Imap, &printer).await, Ok(1));
    let elsewhere = [198, 51, 100, 1];
    assert_eq!(office.try_from_peer(elsewhere, Protocol::Imap, &printer).await, misplaced(1, Obstacle::Network));
    let wrong = request("printer", "wrong");
    assert_eq!(office.try_from_peer(elsewhere, Protocol::Imap, &wrong).await, Err(Denied::Credentials));
}

#[tokio::test]
async fn of_two_logins_with_one_password_the_one_that_may_be_used_here_counts() {
    let smtp = Login { protocols: vec![Protocol::Smtp], ..login("scanner", "right") };
    let imap = Login { protocols: vec![Protocol::Imap], ..login("scanner", "right") };
    let office = Office::new(vec![smtp, imap]);
    let request = request("scanner", "right");
    assert_eq!(office.try_from_peer(OFFICE, Protocol::Imap, &request).await, Ok(1));
    assert_eq!(office.try_from_peer(OFFICE, Protocol::Smtp, &request).await, Ok(0));
    assert_eq!(office.try_from_peer(OFFICE, Protocol::Pop3, &request).await, misplaced(0, Obstacle::Protocol));
}

#[tokio::test]
async fn a_hash_that_cannot_be_checked_is_not_a_wrong_password() {
    let broken = Login {
        admission: Admission::Password("$argon2id$v=19$m=1,t=0,p=9$AAAA$AAAA".into()),
        ..login("scanner", "right")
    };
    let office = Office::new(vec![broken]);
    for _ in 0..20 {
        assert_eq!(office.attempt("scanner", "right").await, Err(Denied::Busy));
    }
    assert!(office.verifier.0.memory().flights.is_empty());
}

#[tokio::test]
async fn a_login_that_has_ended_is_none() {
    let ends = |at| Login { ends: Some(at), ..login("scanner", "right") };
    let mut office = Office::new(vec![ends(SystemTime::now() + Duration::from_secs(3600))]);
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
    office.config = config(vec![vec![ends(SystemTime::now())]]);
    assert_eq!(office.attempt("scanner", "right").await, misplaced(0, Obstacle::Ended), "though it is remembered");
}
