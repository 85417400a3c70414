//! The gateway in a process of its own, where its memory and its descriptors can be told from the test's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use mailferry::config::Protocol;
use mailferry::sim::{self, Simulator};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::common::program::{Running, program, program_with_descriptors};
use crate::common::{self, Answer, Client, PASSWORD, Wanted};
use crate::goodbye;

/// What one stranger may cost the process, in octets of resident memory: his task, his socket's entry, his line so far.
/// Measured without optimisation: 3.1 KiB.
const STRANGER: u64 = 6 * 1024;

/// A gateway in a process of its own, before a provider in this one.
struct Apart {
    provider: Simulator,
    gateway: Running,
    addresses: Vec<(Protocol, SocketAddr)>,
    _folder: TempDir,
}

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

#[tokio::test]
async fn thousands_of_strangers_cost_little_and_keep_nobody_out() {
    const IDLE: usize = 1_800;
    const CLAIMING: usize = 200;
    const DRIBBLING: usize = 200;
    const GUESSES: usize = 300;
    const GUESSED_NAMES: usize = 100;
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
            let (name, password) = (format!("name{}", number % GUESSED_NAMES), format!("guess {number}"));
            client.log_in(protocol, &name, &password).await
        });
    }
    // The known one gets in while all of them are at it.
    for number in 0..3 {
        let (protocol, mut client) = apart.client(number).await;
        assert_eq!(client.log_in(protocol, "scanner", PASSWORD).await, Answer::Accepted, "{protocol}");
    }
    let refused = guesses.join_all().await;
    let begins_with = |answer: &Answer, starts: [&str; 3]| matches!(answer, Answer::Refused(line) if starts.iter().any(|start| line.starts_with(start)));
    let wrong = |answer: &Answer| begins_with(answer, ["535 5.7.8 ", "tag NO [AUTHENTICATIONFAILED] ", "-ERR [AUTH] "]);
    let busy = |answer: &Answer| begins_with(answer, ["454 4.7.0 ", "tag NO [UNAVAILABLE] ", "-ERR [SYS/TEMP] "]);
    for answer in &refused {
        assert!(wrong(answer) || busy(answer), "{answer:?}");
    }
    let heard = refused.iter().filter(|answer| wrong(answer)).count();
    assert!(heard >= GUESSED_NAMES, "each name's first guess stands in no line: {heard}");
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
