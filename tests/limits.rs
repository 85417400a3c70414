//! What strangers can take from the gateway, and that one session's misfortune is no other's.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::program::{Running, program, program_with_descriptors};
use common::{Answer, Client, PASSWORD, Setup, Wanted, let_pass};
use mailferry::config::Protocol;
use mailferry::sim::{self, Simulator};
use tokio::io::AsyncWriteExt;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

/// What one stranger may cost the process, in octets of resident memory: his task, his socket's entry, his line so far.
/// Measured without optimisation: 3.1 KiB.
#[cfg(target_os = "linux")]
const STRANGER: u64 = 6 * 1024;

/// How each protocol says goodbye.
const fn goodbye(protocol: Protocol, enhanced: &'static str) -> [&'static str; 2] {
    match protocol {
        Protocol::Smtp => ["421 ", enhanced],
        Protocol::Imap => ["* BYE ", ""],
        Protocol::Pop3 => ["-ERR ", "[SYS/TEMP] "],
    }
}

/// Waits until there are so many sessions.
async fn sessions_become(setup: &Setup, count: usize) {
    let counting = async {
        while setup.gateway.sessions() != count {
            yield_now().await;
        }
    };
    timeout(common::STUCK, counting).await.expect("sessions stay");
}

/// A gateway in a process of its own, before a provider in this one.
#[cfg(target_os = "linux")]
struct Apart {
    provider: Simulator,
    gateway: Running,
    addresses: Vec<(Protocol, std::net::SocketAddr)>,
    _folder: tempfile::TempDir,
}

#[cfg(target_os = "linux")]
impl Apart {
    async fn start(descriptors: Option<u32>) -> Self {
        let wanted = Wanted::default();
        let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = common::configuration_text(&provider, &folder, &wanted);
        std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
        let arguments = ["--config", "mailferry.toml", "serve"];
        let mut gateway = match descriptors {
            None => Running::start(program(folder.path(), &arguments)),
            Some(descriptors) => {
                let mut gateway = Running::start(program_with_descriptors(folder.path(), descriptors, &arguments));
                gateway.says("the descriptor limit allows fewer sessions").await;
                gateway
            }
        };
        let mut addresses = Vec::new();
        for protocol in Protocol::ALL {
            addresses.push((protocol, gateway.listens(protocol).await));
        }
        Self { provider, gateway, addresses, _folder: folder }
    }

    /// The `number`-th of many clients, greeted; they take turns over the protocols.
    async fn client(&self, number: usize) -> (Protocol, Client) {
        let (protocol, address) = self.addresses[number % self.addresses.len()];
        let mut client = Client::connect(address).await;
        let greeting = client.line().await;
        assert!(["220 ", "* OK", "+OK"].iter().any(|start| greeting.starts_with(start)), "{greeting}");
        (protocol, client)
    }

    /// The gateway's resident memory, in octets.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn thousands_of_strangers_cost_little_and_keep_nobody_out() {
    const IDLE: usize = 1_800;
    const CLAIMING: usize = 200;
    const DRIBBLING: usize = 200;
    const GUESSES: usize = 300;
    let affordable = mailferry::system::raise_descriptor_limit();
    let needed = IDLE + CLAIMING + DRIBBLING + GUESSES;
    assert!(
        affordable.is_none_or(|sessions| 2 * sessions > needed),
        "ulimit -n allows too few clients: {affordable:?}"
    );
    let apart = Apart::start(None).await;
    for number in 0..3 {
        let (protocol, mut client) = apart.client(number).await;
        assert_eq!(client.log_in(protocol, "scanner", PASSWORD).await, Answer::Accepted);
    }
    let before = apart.resident();

    let mut idle = Vec::new();
    for number in 0..IDLE {
        idle.push(apart.client(number).await);
    }
    // Who announces much is believed nothing.
    for _ in 0..CLAIMING {
        let (_, mut client) = apart.client(1).await;
        client.say("a LOGIN {1000}").await;
        assert!(client.line().await.starts_with('+'));
        client.send(b"x").await;
        idle.push((Protocol::Imap, client));
    }
    let mut dribbling = Vec::new();
    for number in 0..DRIBBLING {
        dribbling.push(apart.client(number).await);
    }
    let line = |protocol| match protocol {
        Protocol::Smtp => "NOOP but very slowly",
        Protocol::Imap => "abcdefghijklmno NOOP",
        Protocol::Pop3 => "CAPA but very slowly",
    };
    for at in 0..line(Protocol::Smtp).len() {
        for (protocol, client) in &mut dribbling {
            client.send(&line(*protocol).as_bytes()[at..=at]).await;
        }
    }
    let strangers = (IDLE + CLAIMING + DRIBBLING) as u64;
    let each = apart.resident().saturating_sub(before) / strangers;
    assert!(each <= STRANGER, "each of {strangers} strangers costs {each} octets");

    let mut guesses = JoinSet::new();
    for number in 0..GUESSES {
        let (protocol, mut client) = apart.client(number).await;
        guesses.spawn(async move {
            let (name, password) = (format!("name{}", number % 100), format!("guess {number}"));
            client.log_in(protocol, &name, &password).await
        });
    }
    // The known one gets in while all of them are at it.
    for number in 0..3 {
        let (protocol, mut client) = apart.client(number).await;
        assert_eq!(client.log_in(protocol, "scanner", PASSWORD).await, Answer::Accepted, "{protocol}");
    }
    let refused = guesses.join_all().await;
    let wrong = ["535 5.7.8 ", "tag NO [AUTHENTICATIONFAILED] ", "-ERR [AUTH] "];
    for answer in &refused {
        assert!(
            matches!(answer, Answer::Refused(line) if wrong.iter().any(|start| line.starts_with(start))),
            "{answer:?}"
        );
    }
    for (protocol, client) in &mut dribbling {
        client.say("").await;
        let answer = client.line().await;
        let good = ["250 ", "abcdefghijklmno OK", "+OK"];
        assert!(good.iter().any(|start| answer.starts_with(start)), "{protocol}: {answer}");
    }

    let control = apart.provider.control();
    assert_eq!(control.token_requests(), 1, "no stranger costs a token");
    for server in [sim::Protocol::Smtp, sim::Protocol::Imap, sim::Protocol::Pop3] {
        assert_eq!(control.connections(server), 2, "no stranger costs a connection");
        assert_eq!(control.logins_ok(server), 2);
    }
    assert_eq!(control.violations(), Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn few_descriptors_lower_the_number_of_sessions() {
    // 64 are kept free, and each session may need two.
    let apart = Apart::start(Some(128)).await;
    let mut strangers = Vec::new();
    for number in 0..32 {
        strangers.push(apart.client(number).await);
    }
    for (protocol, address) in &apart.addresses {
        let mut surplus = Client::connect(*address).await;
        let line = surplus.line().await;
        assert!(line.starts_with(&goodbye(*protocol, "4.3.2 ").concat()), "{line}");
    }
}

#[tokio::test]
async fn beyond_the_limit_of_sessions_there_is_a_goodbye_and_a_place_that_is_left_is_free() {
    for protocol in Protocol::ALL {
        let top = "[limits]\nsessions = 3".into();
        let setup = Setup::with(Wanted { top, ..Wanted::default() }).await;
        let mut held =
            vec![setup.logged_in(protocol).await, setup.client(protocol).await, setup.client(protocol).await];
        for protocol in Protocol::ALL {
            let mut surplus = Client::connect(setup.address(protocol)).await;
            let line = surplus.line().await;
            assert!(line.starts_with(&goodbye(protocol, "4.3.2 ").concat()), "{line}");
            assert_eq!(surplus.rest().await, "");
        }
        assert_eq!(setup.gateway.sessions(), 3);
        held.pop();
        sessions_become(&setup, 2).await;
        held.push(setup.logged_in(protocol).await);
    }
}

#[tokio::test]
async fn loopback_is_exempt_from_the_limit_per_address() {
    let top = "[limits]\nsessions_per_address = 1".into();
    let setup = Setup::with(Wanted { top, ..Wanted::default() }).await;
    let mut clients = Vec::new();
    for protocol in Protocol::ALL {
        clients.push(setup.logged_in(protocol).await);
    }
    assert_eq!(setup.gateway.sessions(), 3);
}

#[tokio::test]
async fn who_does_not_log_in_has_a_minute_however_busy() {
    for (protocol, line, answer) in
        [(Protocol::Smtp, "NOOP", "250 "), (Protocol::Imap, "a NOOP", "a OK"), (Protocol::Pop3, "CAPA", ".")]
    {
        let setup = Setup::new().await;
        let mut client = setup.client(protocol).await;
        for _ in 0..5 {
            let_pass(Duration::from_secs(10)).await;
            client.send(&line.as_bytes()[..1]).await;
            let_pass(Duration::from_millis(500)).await;
            client.say(&line[1..]).await;
            client.until(answer).await;
        }
        let_pass(Duration::from_secs(10)).await;
        let words = client.until(goodbye(protocol, "")[0]).await;
        assert!(words.starts_with(&goodbye(protocol, "4.4.2 ").concat()), "{words}");
        assert_eq!(client.rest().await, "");
        sessions_become(&setup, 0).await;
    }
}

#[tokio::test]
async fn who_is_silent_after_the_login_is_hung_up_on() {
    for (protocol, minutes, command, answer) in [
        (Protocol::Smtp, 10, "NOOP", "250 "),
        (Protocol::Imap, 35, "a NOOP", "a OK"),
        (Protocol::Pop3, 10, "NOOP", "+OK"),
    ] {
        let setup = Setup::new().await;
        let mut client = setup.logged_in(protocol).await;
        for _ in 0..3 {
            let_pass(Duration::from_secs((minutes - 1) * 60)).await;
            client.say(command).await;
            client.until(answer).await;
        }
        let_pass(Duration::from_secs(minutes * 60)).await;
        let rest = client.rest().await;
        if protocol == Protocol::Smtp {
            assert!(rest.starts_with("421 4.4.2 ") && rest.ends_with("\r\n"), "{rest}");
        } else {
            assert_eq!(rest, "", "after login the gateway says nothing of its own over {protocol}");
        }
        sessions_become(&setup, 0).await;
    }
}

#[tokio::test]
async fn an_endless_line_ends_its_own_session_and_no_other() {
    let setup = Setup::new().await;
    let mut neighbour = setup.logged_in(Protocol::Smtp).await;
    for protocol in Protocol::ALL {
        let mut client = setup.client(protocol).await;
        let line = vec![b'a'; 4 * 1024 * 1024];
        // It is not read to its end, and the rest meets a closed connection.
        let sent = client.connection.write_all(&line).await;
        assert!(sent.is_err() || !client.rest().await.is_empty());
        assert_eq!(neighbour.ask("NOOP").await[..4], *"250 ");
    }
    sessions_become(&setup, 1).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_stalls_itself_alone() {
    let setup = Setup::new().await;
    let message = [b"Subject: large\r\n\r\n".as_slice(), &b"0123456789abcdef\r\n".repeat(500_000)].concat();
    assert!(setup.control().deliver(common::ADDRESS, &message));
    let mut stalled = setup.logged_in(Protocol::Pop3).await;
    stalled.say("RETR 1").await;
    let mut brisk = setup.logged_in(Protocol::Imap).await;
    brisk.say("a SELECT INBOX").await;
    brisk.until("a OK").await;
    brisk.say("b FETCH 1 BODY.PEEK[]").await;
    brisk.until("* 1 FETCH").await;
    assert!(brisk.octets(message.len()).await == message);
    brisk.until("b OK").await;
    stalled.until("+OK").await;
    assert!(stalled.octets(message.len()).await == message, "nothing is lost for having waited");
    assert_eq!(stalled.line().await, ".");
}
