//! What an idle session weighs, and that a panic in one login stays there.

use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::config::Environment;
use crate::oauth::credentials::{CredentialFuture, Generation};
use crate::proto::sasl::{self, plain::Plain};
use crate::secret::Password;

/// How large the parts of a session's task may be, in octets: each is allocated when it begins and freed when it ends,
/// so a stranger weighs the first two and a session that waits for mail the first and the last. Measured on a 64-bit
/// machine, with a quarter of room.
const TASK: usize = 2 * 448;
const LOGIN: usize = 1_664;
const AFTER_LOGIN: usize = 1_920;

/// The size of the future that a function of five arguments gives, found without calling it.
fn size_of_five<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
    size_of::<F>()
}

/// As [`size_of_five`], of four arguments.
fn size_of_four<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
    size_of::<F>()
}

/// As [`size_of_five`], of three arguments.
fn size_of_three<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

fn sizes<P: Speaks>() -> [usize; 3] {
    [
        size_of_five(serve) + size_of_three(|arrival, stream, record| run::<P>(arrival, stream, record)),
        size_of_three(|arrival, side, record| log_in::<P>(arrival, side, record)),
        size_of_four(|shared, side, upstream, record| P::carry(shared, side, upstream, record)),
    ]
}

#[test]
fn a_session_stays_within_its_budget() {
    for (protocol, [task, login, after_login]) in
        [("SMTP", sizes::<Smtp>()), ("IMAP", sizes::<Imap>()), ("POP3", sizes::<Pop3>())]
    {
        let shown = format!("{protocol}: task {task}, login {login}, after it {after_login}");
        assert!(task <= TASK && login <= LOGIN && after_login <= AFTER_LOGIN, "{shown}");
        // A size of nothing would mean that something else was measured.
        assert!(task >= TASK / 2 && login >= LOGIN / 2 && after_login >= AFTER_LOGIN / 2, "{shown}");
    }
}

/// Breaks where every login comes by.
struct Panicking;

impl Credentials for Panicking {
    fn credential<'a>(&'a self, _: &'a Arc<Account>, _: Protocol, _: Option<Generation>) -> CredentialFuture<'a> {
        Box::pin(async { panic!("on purpose") })
    }
}

/// One listener of each protocol, and the login `scanner` with the password `a plain password`.
fn shared(credentials: Arc<dyn Credentials>) -> Arc<Shared> {
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
    // Nothing is dialed here, and so the machine that runs this needs no root certificates.
    config.accounts.clear();
    Arc::new(Shared {
        verifier: Verifier::new(&config).unwrap(),
        credentials,
        upstreams: Upstreams::new(&config).unwrap(),
        limits: Arc::new(SessionLimits::new(10, 10)),
        drain: Drain::default(),
        config: Arc::new(config),
    })
}

#[tokio::test]
async fn a_panic_in_a_login_is_a_passing_fault_and_the_session_goes_on() {
    let shared = shared(Arc::new(Panicking));
    let credentials =
        Plain { authzid: Vec::new(), authcid: "scanner".into(), password: Password::new("a plain password".into()) };
    let auth = format!("AUTH PLAIN {}", *sasl::encode_base64(&credentials.encode()));
    let logins = [
        (&auth[..], "454 4.7.0 ", "NOOP", "250 "),
        ("t LOGIN scanner \"a plain password\"", "t NO [UNAVAILABLE] ", "t NOOP", "t OK "),
        ("USER scanner\r\nPASS a plain password", "-ERR [SYS/TEMP] ", "CAPA", "+OK "),
    ];
    for (listener, (login, refusal, then, answer)) in shared.config.listeners.iter().zip(logins) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = socket.accept().await.unwrap();
        admit(&shared, listener, stream, peer);
        let mut client = BufReader::new(client);
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
