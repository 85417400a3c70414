//! What an idle session weighs, that a panic in one login stays there, and that strangers do not fill the log.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::*;
use crate::config::Environment;
use crate::net::stream::Stream;
use crate::oauth::credentials::{CredentialFuture, Generation};
use crate::proto::sasl::{self, plain::Plain};
use crate::proto::{LoginRequest, Mechanism};
use crate::secret::Password;
use crate::telemetry::testing::Logged;

/// What a session's task may take, in octets, whatever the session is doing.
const TASK: usize = 512;

/// What its story may take beside the task, while it waits inside one of the two below.
const STORY: usize = 512;

/// What it may take from the greeting to the accepted login: the most that a stranger is given.
const LOGIN: usize = 1536;

/// What it may take after that, idle, beside its connections' own buffers.
const LOGGED_IN: usize = 2048;

/// The size of the future that an async function gives, found without calling it.
fn size4<A, B, C, D, F: Future>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
    size_of::<F>()
}

/// As [`size4`].
fn size5<A, B, C, D, E, F: Future>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
    size_of::<F>()
}

fn stays_within_its_budget<P: Speaks>() {
    let protocol = P::PROTOCOL;
    let (story, login) = (size5(|a, b, c, d, e| run::<P>(a, b, c, d, e)), size4(|a, b, c, d| log_in::<P>(a, b, c, d)));
    let logged_in = size5(|a, b, c, d, e| P::carry(a, b, c, d, e));
    assert!(story <= STORY, "{protocol}: the story takes {story} octets");
    assert!(login <= LOGIN, "{protocol}: a stranger takes {login} octets");
    assert!(logged_in <= LOGGED_IN, "{protocol}: an idle session takes {logged_in} octets");
}

#[test]
fn an_idle_session_stays_within_its_budget() {
    let task = size5(serve);
    assert!(task <= TASK, "the task takes {task} octets");
    stays_within_its_budget::<Smtp>();
    stays_within_its_budget::<Imap>();
    stays_within_its_budget::<Pop3>();
}

/// Breaks where every login comes by.
pub(super) struct Panicking;

impl Credentials for Panicking {
    fn credential<'a>(&'a self, _: &'a Arc<Account>, _: Protocol, _: Option<Generation>) -> CredentialFuture<'a> {
        Box::pin(async { panic!("on purpose") })
    }
}

/// One listener of each protocol, the login `scanner` with the password `a plain password`, and so many sessions.
pub(super) fn shared(credentials: Arc<dyn Credentials>, sessions: usize) -> Arc<Shared> {
    let hash = include_str!("../../tests/common/cheap-hash.txt").trim();
    let listeners = Protocol::ALL.map(|protocol| {
        format!("[[listener]]\nname = \"{protocol}\"\nprotocol = \"{protocol}\"\nbind = \"127.0.0.1:0\"\n")
    });
    let text = format!(
        "hostname = \"gateway.example\"\n{}\
         [[account]]\naddress = \"scanner@contoso.example\"\nprovider = \"microsoft\"\ngrant = \"client-credentials\"\n\
         tenant = \"contoso.example\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n\
         [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{hash}\"\n",
        listeners.concat()
    );
    let mut config = Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap();
    let directory = Arc::new(Directory::of(&config));
    // Nothing is dialed here, and so the machine that runs this needs no root certificates.
    config.accounts.clear();
    Arc::new(Shared {
        verifier: Verifier::new(&config).unwrap(),
        credentials,
        upstreams: Upstreams::new(&config).unwrap(),
        directory: tokio::sync::watch::channel(directory).1,
        uses: Arc::default(),
        limits: Arc::new(SessionLimits::new(sessions, sessions)),
        nuisances: Nuisances::default(),
        clearance: Clearance::default(),
        watchers: Watchers::default(),
        doors: Doors::default(),
        drain: Drain::default(),
        config: Arc::new(config),
    })
}

#[tokio::test]
async fn a_panic_in_a_login_is_a_passing_fault_and_the_session_goes_on() {
    let shared = shared(Arc::new(Panicking), 10);
    let credentials =
        Plain { authzid: Vec::new(), authcid: "scanner".into(), password: Password::new("a plain password".into()) };
    let auth = format!("AUTH PLAIN {}", *sasl::encode_base64(&credentials.encode()));
    let logins = [
        (&auth[..], "454 4.7.0 ", "NOOP", "250 "),
        ("t LOGIN scanner \"a plain password\"", "t NO [UNAVAILABLE] ", "t NOOP", "t OK "),
        ("USER scanner\r\nPASS a plain password", "-ERR [SYS/TEMP] ", "CAPA", "+OK "),
    ];
    for (listener, (login, refusal, then, answer)) in shared.config.listeners.iter().zip(logins) {
        let mut client = connect(&shared, listener).await;
        for (command, start) in [(login, refusal), (login, refusal), (then, answer)] {
            client.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
            loop {
                let mut line = String::new();
                assert!(client.read_line(&mut line).await.unwrap() > 0, "{command} ended the session");
                if line.starts_with(start) {
                    break;
                }
                assert!(["220 ", "* OK ", "+OK "].iter().any(|other| line.starts_with(other)), "{command}: {line}");
            }
        }
    }
}

/// A client at that listener's door, let in or not.
async fn connect(shared: &Arc<Shared>, listener: &Arc<Listener>) -> BufReader<TcpStream> {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = socket.accept().await.unwrap();
    admit(shared, listener, stream, peer);
    BufReader::new(client)
}

/// Waits past the time in which nuisances are counted.
async fn a_while() {
    sleep(Duration::from_millis(10_001)).await;
}

#[tokio::test(start_paused = true)]
async fn surplus_connections_are_counted_and_do_not_fill_the_log() {
    let (logged, _guard) = Logged::start();
    let shared = shared(Arc::new(Panicking), 0);
    let [smtp, imap, ..] = &shared.config.listeners[..] else { panic!("a listener is missing") };
    for _ in 0..50 {
        connect(&shared, smtp).await;
        connect(&shared, imap).await;
    }
    let lines = logged.lines();
    assert_eq!(lines.len(), 2, "one for each listener: {lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("connection refused: too many sessions"), "{lines:?}");
    a_while().await;
    let lines = logged.lines();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("count=49")), "{lines:?}");
    connect(&shared, smtp).await;
    assert_eq!(logged.lines(), [""; 0]);
    a_while().await;
    let lines = logged.lines();
    assert!(lines.len() == 1 && lines[0].contains("listener=\"smtp\" count=1"), "{lines:?}");
    a_while().await;
    assert_eq!(logged.lines(), [""; 0], "where nothing happens, nothing is said");
    connect(&shared, smtp).await;
    assert_eq!(logged.lines().len(), 1, "and the next one is told at once");
}

/// `AUTH PLAIN` as `scanner`.
fn auth(password: &str) -> String {
    let plain = Plain { authzid: Vec::new(), authcid: "scanner".into(), password: Password::new(password.into()) };
    format!("AUTH PLAIN {}\r\n", *sasl::encode_base64(&plain.encode()))
}

#[tokio::test(start_paused = true)]
async fn a_guesser_who_is_shut_out_waits_and_does_not_fill_the_log() {
    let (logged, _guard) = Logged::start();
    let shared = shared(Arc::new(Panicking), 10);
    let listener = &shared.config.listeners[0];
    let visit = Visit { peer: [192, 0, 2, 66].into(), protocol: Protocol::Smtp, encrypted: true };
    for connection in 0..20 {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let side = Side::new(Stream::Plain(socket.accept().await.unwrap().0));
        // As a program does that does not wait for answers.
        let guesses: String = (0..3).map(|guess| auth(&format!("guess {connection} {guess}"))).collect();
        client.write_all(guesses.as_bytes()).await.unwrap();
        let (begun, mut record) = (Instant::now(), Record::new(connection, visit.peer));
        let arrival = Arrival { shared: &shared, listener, visit, may_log_in: true };
        let patience = Patience::of(Duration::from_secs(60));
        let Err(ending) = log_in::<Smtp>(arrival, side, patience, &mut record).await else { panic!("let in") };
        record.write(listener, &ending);
        let lines = logged.lines();
        match connection {
            // Ten passwords are looked at, and each is told of.
            0..3 => assert_eq!(lines.len(), 4, "{lines:?}"),
            3 => assert!(
                lines[0].contains("wrong user name") && lines[1].contains("too many failed logins"),
                "{lines:?}"
            ),
            _ => assert!(lines.len() <= 1 && lines.iter().all(|line| line.contains("count=")), "{lines:?}"),
        }
        if connection > 3 {
            assert!(begun.elapsed() >= 3 * shared.config.budgets.unchecked_login, "{:?}", begun.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_crowd_or_a_device_without_a_login_cannot_help_is_told_once_in_a_while() {
    let (logged, _guard) = Logged::start();
    let shared = shared(Arc::new(Panicking), 10);
    let (listener, account) = (&shared.config.listeners[0], Arc::clone(&shared.directory.borrow().accounts[0]));
    let request = LoginRequest {
        mechanism: Mechanism::Plain,
        authzid: Vec::new(),
        username: "scanner".into(),
        password: Password::new("x".into()),
    };
    let (password, unavailable) = (Asked::Password(request), Failure::unavailable("the upstream rests"));
    for (asked, failure, level) in [
        (&password, Failure::from(Denied::Busy), "WARN"),
        (&password, Failure::from(Denied::Throttled), "WARN"),
        (&Asked::Address, unavailable.clone(), "WARN"),
        (&Asked::Address, Failure::new(FailureKind::NeedsPerson, "nobody has signed in"), "ERROR"),
    ] {
        for session in 0..50 {
            let mut record = Record::new(session, [192, 0, 2, 66].into());
            if matches!(asked, Asked::Address) {
                record.known(&account, 0, asked);
            }
            record.failed(&shared.nuisances, listener, asked, &failure);
            record.write(listener, &Ending::DownstreamEnded);
        }
        let lines = logged.lines();
        assert!(lines.len() == 1 && lines[0].contains(level) && lines[0].contains(&failure.detail), "{lines:?}");
        a_while().await;
        let lines = logged.lines();
        assert!(lines.len() == 1 && lines[0].contains(level) && lines[0].contains("count=49"), "{lines:?}");
    }
    // Whose password was right is told of each time.
    let mut record = Record::new(1, [192, 0, 2, 7].into());
    for _ in 0..2 {
        record.known(&account, 0, &password);
        record.failed(&shared.nuisances, listener, &password, &unavailable);
    }
    record.write(listener, &Ending::DownstreamEnded);
    assert_eq!(logged.lines().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn impossible_names_wait_and_do_not_fill_the_log() {
    let (logged, _guard) = Logged::start();
    let shared = shared(Arc::new(Panicking), 10);
    let password = Password::new(b"a plain password".to_vec());
    let plain = Plain { authzid: Vec::new(), authcid: vec![0x1b; 1000], password };
    let message = sasl::encode_base64(&plain.encode());
    for (listener, (verb, refusal)) in shared.config.listeners.iter().zip([
        ("AUTH", "535 5.7.8 "),
        ("t AUTHENTICATE", "t NO [AUTHENTICATIONFAILED] "),
        ("AUTH", "-ERR [AUTH] "),
    ]) {
        let mut client = connect(&shared, listener).await;
        client.read_line(&mut String::new()).await.unwrap();
        for _ in 0..LOGIN_TRIES {
            let begun = Instant::now();
            client
                .write_all(format!("{verb} PLAIN {}\r\n", *message).as_bytes())
                .await
                .unwrap();
            let mut line = String::new();
            client.read_line(&mut line).await.unwrap();
            assert!(line.starts_with(refusal), "{line}");
            assert!(begun.elapsed() >= shared.config.budgets.unchecked_login, "{line}");
        }
        drop(client);
        while shared.limits.taken() > 0 {
            yield_now().await;
        }
        let lines = logged.lines();
        assert!(lines.len() == 1 && lines[0].contains("(1000 octets)"), "{lines:?}");
        assert!(lines[0].len() < 600, "{}", lines[0]);
        a_while().await;
        let lines = logged.lines();
        assert!(lines.len() == 1 && lines[0].contains("count=2"), "{lines:?}");
    }
}
