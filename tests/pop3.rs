//! POP3 sessions, end to end: a legacy client, the gateway, a simulated provider.

mod common;

use common::{ADDRESS, Answer, Client, PASSWORD, Setup, Wanted, in_time, login_table};
use mailferry::config::Protocol;
use mailferry::proto::sasl::encode_base64;
use mailferry::sim::{Act, Direction, Fault, Moment, Personality, Protocol as Server};
use tokio::io::AsyncWriteExt;

const PERSONALITIES: [Personality; 2] = [Personality::Microsoft, Personality::Dovecot];

/// A message that a careless relay would damage: dots at line starts, 8-bit octets, NUL, a lone LF and CR, a long line,
/// and no line end at its end.
fn message() -> Vec<u8> {
    let long = [b"x".repeat(100_000), b"\r\n".to_vec()].concat();
    let parts: [&[u8]; 5] =
        [b"Subject: dots\r\n\r\n.\r\n..two\r\n\r\n", &long, b".\r\n\xff\0\xfe\n.\n\r.\r", b"\r\nlast", b" .line"];
    parts.concat()
}

/// A message as RETR sends it (RFC 1939 section 3). It ends with a line end.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::new();
    let mut line_begins = true;
    for octet in message {
        if line_begins && *octet == b'.' {
            stuffed.push(b'.');
        }
        stuffed.push(*octet);
        line_begins = stuffed.ends_with(b"\r\n");
    }
    stuffed.extend_from_slice(if line_begins { b".\r\n" } else { b"\r\n.\r\n" });
    stuffed
}

/// What the simulator answers to QUIT.
const fn farewell(personality: Personality) -> &'static str {
    match personality {
        Personality::Microsoft => "+OK Microsoft Exchange Server POP3 server signing off.\r\n",
        Personality::Dovecot => "+OK Logging out.\r\n",
        Personality::Gmail => "+OK Farewell.\r\n",
    }
}

/// Sends a command that is answered with these octets and no others.
async fn answered(client: &mut Client, command: &str, answer: &[u8]) {
    client.say(command).await;
    let octets = client.octets(answer.len()).await;
    assert!(octets == answer, "{command}: {}", octets[..octets.len().min(200)].escape_ascii());
}

/// Reads a multi-line answer; its lines without the end.
async fn lines(client: &mut Client) -> Vec<String> {
    let mut lines = vec![client.line().await];
    assert!(lines[0].starts_with("+OK"), "{lines:?}");
    loop {
        match client.line().await.as_str() {
            "." => return lines.split_off(1),
            "" => panic!("the connection ended: {lines:?}"),
            line => lines.push(line.to_owned()),
        }
    }
}

fn assert_in_order(setup: &Setup) {
    assert_eq!(setup.control().violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_password_keeps_its_spaces() {
    let passwords = [" two  words ", "ends with a space ", "w\u{f6}rd\twith {5} \"quotes\""];
    let tables = passwords.map(|password| login_table("spaces", password.as_bytes(), ""));
    let setup = Setup::with(Wanted { tables: tables.concat(), ..Wanted::default() }).await;
    for password in passwords {
        let mut client = setup.client(Protocol::Pop3).await;
        assert_eq!(client.log_in(Protocol::Pop3, "spaces", password).await, Answer::Accepted, "{password:?}");
        answered(&mut client, "STAT", b"+OK 0 0\r\n").await;
    }
    let mut client = setup.client(Protocol::Pop3).await;
    assert!(matches!(client.log_in(Protocol::Pop3, "spaces", "two  words").await, Answer::Refused(_)));
    assert_in_order(&setup);
}

#[tokio::test]
async fn auth_takes_both_mechanisms_with_and_without_an_initial_response() {
    let setup = Setup::new().await;
    let message = encode_base64(format!("\0scanner\0{PASSWORD}").as_bytes());
    let (name, secret) = (encode_base64(b"scanner"), encode_base64(PASSWORD.as_bytes()));
    let (ask_name, ask_password) = ("+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6");
    // The line that begins, then each prompt with the answer to it.
    let dialogues: [(String, Vec<(&str, &str)>); 6] = [
        (format!("AUTH PLAIN {}", *message), vec![]),
        ("AUTH PLAIN".into(), vec![("+ ", &message)]),
        ("auth plain =".into(), vec![("+ ", &message)]),
        ("AUTH LOGIN".into(), vec![(ask_name, &name), (ask_password, &secret)]),
        (format!("auth login {}", *name), vec![(ask_password, &secret)]),
        ("AUTH LOGIN =".into(), vec![(ask_name, &name), (ask_password, &secret)]),
    ];
    for (begin, steps) in dialogues {
        let mut client = setup.client(Protocol::Pop3).await;
        client.say(&begin).await;
        for (prompt, response) in steps {
            assert_eq!(client.line().await, prompt, "{begin}");
            client.say(response).await;
        }
        assert!(client.line().await.starts_with("+OK"), "{begin}");
        answered(&mut client, "STAT", b"+OK 0 0\r\n").await;
    }
    assert_in_order(&setup);
}

#[tokio::test]
async fn what_is_cancelled_or_malformed_costs_no_try() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Pop3).await;
    let name = encode_base64(b"scanner");
    for (begin, steps) in [
        ("AUTH PLAIN", vec!["*"]),
        ("AUTH LOGIN", vec!["*"]),
        ("AUTH LOGIN", vec![name.as_str(), "*"]),
        ("AUTH PLAIN", vec!["not base64!"]),
        ("AUTH PLAIN bm90IHBsYWlu", vec![]),
        ("AUTH XOAUTH2", vec![]),
        ("AUTH CRAM-MD5", vec![]),
        ("APOP scanner c4c9334bac560ecc979e58001b3e22fb", vec![]),
        ("STLS", vec![]),
        ("PASS before the name", vec![]),
        ("USER", vec![]),
    ] {
        client.say(begin).await;
        for step in steps {
            let prompt = client.line().await;
            assert!(prompt.starts_with("+ "), "{begin}: {prompt}");
            client.say(step).await;
        }
        let answer = client.line().await;
        assert!(answer.starts_with("-ERR "), "{begin}: {answer}");
    }
    assert_eq!(setup.control().token_requests(), 0);
    assert_eq!(client.log_in(Protocol::Pop3, "scanner", PASSWORD).await, Answer::Accepted);
}

#[tokio::test]
async fn what_is_offered_before_the_login_is_ours_and_afterwards_the_upstreams() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = Client::connect(setup.address(Protocol::Pop3)).await;
        // A timestamp in angle brackets would offer APOP (RFC 1939 section 7).
        let greeting = client.line().await;
        assert!(greeting.starts_with("+OK ") && !greeting.contains('<'), "{greeting}");
        client.say("CAPA").await;
        assert_eq!(lines(&mut client).await, ["USER", "SASL PLAIN LOGIN", "TOP", "UIDL"]);
        for bare in ["AUTH", "auth "] {
            client.say(bare).await;
            assert_eq!(lines(&mut client).await, ["PLAIN", "LOGIN"]);
        }
        assert_eq!(setup.control().connections(Server::Pop3), 0);
        assert_eq!(client.log_in(Protocol::Pop3, "scanner", PASSWORD).await, Answer::Accepted);
        client.say("CAPA").await;
        let upstreams = lines(&mut client).await;
        assert!(
            upstreams
                .iter()
                .any(|line| line.starts_with("SASL") && line.ends_with("XOAUTH2")),
            "{upstreams:?}"
        );
        assert_in_order(&setup);
    }
}

#[tokio::test]
async fn quit_before_the_login_is_answered_and_closes() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Pop3).await;
    client.send(b"CAPA\r\nQUIT\r\nUSER scanner\r\n").await;
    lines(&mut client).await;
    assert!(client.line().await.starts_with("+OK"));
    assert_eq!(client.rest().await, "", "nothing behind QUIT is read");
    assert_eq!((setup.control().connections(Server::Pop3), setup.control().token_requests()), (0, 0));
}

#[tokio::test]
async fn a_whole_session_may_come_in_one_segment() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        setup.control().deliver(ADDRESS, &message());
        let mut client = setup.client(Protocol::Pop3).await;
        let session = format!("USER scanner\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n");
        client.send(session.as_bytes()).await;
        assert!(client.line().await.starts_with("+OK"));
        assert_eq!(client.line().await, "+OK Logged in");
        let count = message().len();
        let expected = [
            format!("+OK 1 {count}\r\n+OK {count} octets\r\n").into_bytes(),
            stuffed(&message()),
            format!("+OK\r\n{}", farewell(personality)).into_bytes(),
        ]
        .concat();
        assert!(client.octets(expected.len()).await == expected);
        assert_eq!(client.rest().await, "");
        assert_eq!(setup.control().messages(ADDRESS), Vec::<Vec<u8>>::new());
        assert_in_order(&setup);
    }
}

#[tokio::test]
async fn the_stream_may_be_cut_anywhere() {
    let setup = Setup::new().await;
    let login = format!("USER scanner\r\nPASS {PASSWORD}\r\n");
    let commands = "STAT\r\nLIST\r\nQUIT\r\n";
    let expected = format!("+OK 0 0\r\n+OK\r\n.\r\n{}", farewell(Personality::Microsoft));
    // Whatever is before the cut comes with the login, in the same segment; the rest only after its answer.
    for cut in 0..=commands.len() {
        let (with_login, later) = commands.split_at(cut);
        let mut client = setup.client(Protocol::Pop3).await;
        client.connection.get_ref().set_nodelay(true).unwrap();
        client.send(format!("{login}{with_login}").as_bytes()).await;
        assert!(client.line().await.starts_with("+OK") && client.line().await.starts_with("+OK"));
        client.send(later.as_bytes()).await;
        assert_eq!(client.octets(expected.len()).await, expected.as_bytes(), "{with_login:?}");
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn messages_come_octet_for_octet() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        let large: Vec<u8> = (0..3_000_000_usize).map(|at| (at * 31 + at / 997) as u8).collect();
        for delivered in [&message()[..], b"Subject: short\r\n\r\none\r\n.two\r\nthree\r\n", &large] {
            assert!(setup.control().deliver(ADDRESS, delivered));
        }
        let mut client = setup.logged_in(Protocol::Pop3).await;
        answered(&mut client, "UIDL", b"+OK\r\n1 SIM00000001\r\n2 SIM00000002\r\n3 SIM00000003\r\n.\r\n").await;
        answered(&mut client, "UIDL 2", b"+OK 2 SIM00000002\r\n").await;
        for (number, delivered) in [(1, message()), (3, large)] {
            let head = format!("+OK {} octets\r\n", delivered.len());
            let answer = [head.as_bytes(), &stuffed(&delivered)].concat();
            answered(&mut client, &format!("RETR {number}"), &answer).await;
        }
        let top = b"Subject: short\r\n\r\none\r\n.two\r\n";
        let head = format!("+OK {} octets\r\n", top.len());
        answered(&mut client, "TOP 2 2", &[head.as_bytes(), &stuffed(top)].concat()).await;
        answered(&mut client, "QUIT", farewell(personality).as_bytes()).await;
        assert_eq!(client.rest().await, "");
        assert_in_order(&setup);
    }
}

#[tokio::test]
async fn the_token_goes_in_two_steps_however_long_it_is() {
    for (personality, token_length) in
        [(Personality::Microsoft, 100), (Personality::Microsoft, 16_000), (Personality::Dovecot, 1_800)]
    {
        let mut wanted = Wanted::of(personality);
        wanted.provider.token_length = token_length;
        let setup = Setup::with(wanted).await;
        let mut client = setup.logged_in(Protocol::Pop3).await;
        answered(&mut client, "STAT", b"+OK 0 0\r\n").await;
        let said = setup.control().dialogue();
        let said: Vec<_> = said
            .iter()
            .filter(|(server, direction, _)| (*server, *direction) == (Server::Pop3, Direction::ToProvider))
            .map(|(_, _, line)| line.as_str())
            .collect();
        assert_eq!((said[0], said.len(), said[2]), ("AUTH XOAUTH2", 3, "STAT"), "{said:?}");
        assert_in_order(&setup);
    }
}

#[tokio::test]
async fn a_client_that_has_said_its_last_word_still_hears_the_answer() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Pop3).await;
    client.send(b"STAT\r\nLIST\r\n").await;
    client.connection.get_mut().shutdown().await.unwrap();
    assert_eq!(client.rest().await, "+OK 0 0\r\n+OK\r\n.\r\n");
    in_time(setup.control().until(|provider| provider.open_connections(Server::Pop3) == 0)).await;
}

#[tokio::test]
async fn an_upstream_lost_after_the_login_takes_the_client_with_it() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        for moment in [Moment::LoggedIn, Moment::CommandDue] {
            setup.control().fail_next(Server::Pop3, 1, Fault::At(moment, Act::Close));
            let mut client = setup.logged_in(Protocol::Pop3).await;
            client.say("STAT").await;
            assert_eq!(client.rest().await, "", "{moment:?}");
        }
        assert_eq!(setup.gateway.drain().await, 0, "no session is left behind");
    }
}
