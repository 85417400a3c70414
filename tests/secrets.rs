//! No secret in what the program says, however much it is asked to say: the whole log at `trace`, and every complaint
//! about a configuration.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write as _;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use common::program::{Running, finish, program};
use common::{ADDRESS, Client, HASH, PASSWORD, Wanted, login_table};
use mailferry::config::Protocol;
use mailferry::sim::{self, Act, CannedAnswer, Fault, Moment, Refusal, Simulator, TokenFault};
use tempfile::TempDir;
use tokio::task::JoinSet;

const WRONG: &str = "n0t the password";

/// Holds what a form and a URL have to escape.
const CLIENT_SECRET: &str = "s3cr3t~of+the/app=100%&more";

/// A client secret that the token endpoint does not take.
const MISTYPED: &str = "m1styped~s3cr3t+of/the=app";

/// What a token endpoint gives out by mistake: no token, for a space in it.
const NO_TOKEN: &str = "an-access-token with-a-space-in-it";

/// What nobody but the mail's reader is to see.
const MAIL: &str = "Meet me behind the old lighthouse";

/// The longest piece of a secret that is looked for: of a longer one, every piece of this length. So a secret that is cut
/// off or folded is found as well.
const PIECE: usize = 32;

/// Everything that was said, searched for secrets.
struct Said<'a>(&'a str);

impl Said<'_> {
    /// No form of the secret, as a log might show it, is in it.
    #[track_caller]
    fn never_holds(&self, what: &str, secret: &str) {
        assert!(secret.len() >= 12, "{what} is too short to be looked for");
        for piece in secret.as_bytes().chunks(PIECE).filter(|piece| piece.len() >= 12) {
            for form in forms(piece) {
                if let Some(at) = self.0.find(&form) {
                    let line = self.0[..at].matches('\n').count() + 1;
                    let begin = self.0[..at].rfind('\n').map_or(0, |end| end + 1);
                    let shown = self.0[begin..].lines().next().unwrap();
                    panic!("{what} is in line {line}, as {form:?}: {shown}");
                }
            }
        }
    }
}

/// The forms in which octets travel or are printed: as they are, escaped, as numbers, in hexadecimal, percent-encoded,
/// and in base64 wherever in a longer text they stand.
fn forms(octets: &[u8]) -> Vec<String> {
    let hexadecimal = octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    });
    let numbers = format!("{octets:?}");
    let spelled: String = url::form_urlencoded::byte_serialize(octets).collect();
    let text = String::from_utf8(octets.to_vec()).unwrap();
    let mut forms = vec![
        octets.escape_ascii().to_string(),
        numbers.trim_matches(['[', ']']).to_owned(),
        hexadecimal.to_uppercase(),
        hexadecimal,
        spelled.replace('+', "%20"),
        spelled,
        text,
    ];
    for engine in [STANDARD, URL_SAFE] {
        for before in 0..3 {
            let encoded = engine.encode([&vec![b'x'; before], octets].concat());
            // Only the characters that hold nothing but bits of the secret.
            let (first, last) = ((before * 8).div_ceil(6), (before + octets.len()) * 8 / 6);
            forms.push(encoded[first..last].to_owned());
        }
    }
    forms
}

#[test]
fn a_secret_is_found_in_every_form() {
    let basic = STANDARD.encode(format!("the-app:{CLIENT_SECRET}"));
    let plain = STANDARD.encode(format!("\0scanner\0{PASSWORD}"));
    for (said, secret) in [
        (basic.as_str(), CLIENT_SECRET),
        (&plain, PASSWORD),
        ("PASS a plain password", PASSWORD),
        ("client_secret=s3cr3t%7Eof%2Bthe%2Fapp%3D100%25%26more&scope=x", CLIENT_SECRET),
        ("password=a+plain+password", PASSWORD),
        ("password=a%20plain%20password", PASSWORD),
        ("[0, 97, 32, 112, 108, 97, 105, 110, 32, 112, 97, 115, 115, 119, 111, 114, 100]", PASSWORD),
    ] {
        let said = format!("one\nDEBUG {said}\n");
        let found = std::panic::catch_unwind(|| Said(&said).never_holds("it", secret));
        assert!(found.is_err(), "{said}");
    }
    Said("nothing at all").never_holds("it", PASSWORD);
}

/// What the token endpoint does wrong, each to a grant of its own: a grant's next try has to wait.
fn token_faults() -> Vec<TokenFault> {
    vec![
        TokenFault::Close,
        TokenFault::Answer(CannedAnswer::new(503).json("{\"error\":\"temporarily_unavailable\"}")),
        TokenFault::Aadsts(7_000_222),
        TokenFault::Echo,
        TokenFault::Member("token_type", Some("\"MAC\"")),
        TokenFault::Member("expires_in", Some("1e309")),
        TokenFault::Member("access_token", Some("\"an-access-token with-a-space-in-it\"")),
        TokenFault::Member("scope", Some("{never closed")),
        TokenFault::ContentType("text/html"),
        TokenFault::Padded(2 * 1024 * 1024),
    ]
}

/// A provider with a scope of its own, so that its grant is one of its own, with a login named after it.
fn further_provider(provider: &Simulator, name: &str, client_secret: &str) -> String {
    format!(
        "[provider.{name}]\ntoken_url = \"{}\"\nscopes = [\"https://{name}.example/.default\"]\nca = \"ca.pem\"\n\
         imap = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n\
         [[account]]\naddress = \"{name}@contoso.example\"\nprovider = \"{name}\"\n\
         grant = \"client-credentials\"\nclient_id = \"{}\"\nclient_secret = \"{client_secret}\"\n{}",
        provider.token_url(),
        provider.imap().port(),
        sim::Options::default().client_id,
        login_table(name, PASSWORD.as_bytes(), ""),
    )
}

/// A provider, and a folder with the configuration of a gateway before it.
async fn stage(format: &str) -> (Simulator, TempDir) {
    let options = sim::Options {
        mailboxes: vec![ADDRESS.into()],
        client_secret: CLIENT_SECRET.into(),
        token_length: 3 * PIECE,
        ..sim::Options::default()
    };
    let provider = Simulator::start(options.clone()).await.unwrap();
    let mut tables = format!("[log]\nlevel = \"trace\"\nformat = \"{format}\"\n");
    tables += &further_provider(&provider, "mistyped", MISTYPED);
    for number in 0..token_faults().len() {
        tables += &further_provider(&provider, &format!("faulty{number}"), CLIENT_SECRET);
    }
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted { provider: options, tables, ..Wanted::default() };
    let text = common::configuration_text(&provider, &folder, &wanted);
    std::fs::write(folder.path().join("mailferry.toml"), text).unwrap();
    (provider, folder)
}

/// Every way to log in over a protocol: the lines to send, each after the answer to the one before.
fn logins(protocol: Protocol, username: &str, password: &str) -> Vec<Vec<String>> {
    let plain = STANDARD.encode(format!("\0{username}\0{password}"));
    let (name, secret) = (STANDARD.encode(username), STANDARD.encode(password));
    let verb = match protocol {
        Protocol::Smtp | Protocol::Pop3 => "AUTH",
        Protocol::Imap => "tag AUTHENTICATE",
    };
    let mut logins = vec![
        vec![format!("{verb} PLAIN {plain}")],
        vec![format!("{verb} PLAIN"), plain],
        vec![format!("{verb} LOGIN {name}"), secret.clone()],
        vec![format!("{verb} LOGIN"), name, secret],
    ];
    match protocol {
        Protocol::Smtp => {}
        Protocol::Imap => logins.extend([
            vec![format!("tag LOGIN {username} \"{password}\"")],
            vec![
                format!("tag LOGIN {{{}}}", username.len()),
                format!("{username} {{{}}}", password.len()),
                password.to_owned(),
            ],
        ]),
        Protocol::Pop3 => logins.push(vec![format!("USER {username}"), format!("PASS {password}")]),
    }
    logins
}

/// A connection that was greeted.
async fn greeted(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).await;
    client.line().await;
    client
}

/// Tries to log in; what was said last.
async fn try_to_log_in(client: &mut Client, lines: &[String]) -> String {
    let mut answer = String::new();
    for line in lines {
        client.say(line).await;
        answer = client.line().await;
    }
    answer
}

/// Logs in over every protocol in every way, rightly and wrongly, and lets the provider refuse; what the programs were
/// told.
async fn log_in_in_every_way(addresses: &[(Protocol, SocketAddr); 3], provider: &Simulator) -> String {
    let mut told = String::new();
    for (protocol, address) in *addresses {
        let accepted = ["235 ", "tag OK", "+OK"];
        for lines in logins(protocol, "scanner", PASSWORD) {
            let answer = try_to_log_in(&mut greeted(address).await, &lines).await;
            assert!(accepted.iter().any(|start| answer.starts_with(start)), "{answer}");
        }
        // At once: a wrong password that comes again waits for its answer.
        let mut refused = JoinSet::new();
        for lines in logins(protocol, "scanner", WRONG) {
            refused.spawn(async move {
                let mut client = greeted(address).await;
                let answer = try_to_log_in(&mut client, &lines).await;
                assert!(!accepted.iter().any(|start| answer.starts_with(start)), "{answer}");
                // A password where none belongs, as a program out of step sends it.
                client.say(PASSWORD).await;
                client.line().await;
            });
        }
        refused.join_all().await;
        let server = match protocol {
            Protocol::Smtp => sim::Protocol::Smtp,
            Protocol::Imap => sim::Protocol::Imap,
            Protocol::Pop3 => sim::Protocol::Pop3,
        };
        for fault in [
            Fault::RefuseLogin(Refusal::TokenWithChallenge),
            Fault::RefuseLogin(Refusal::Token),
            Fault::RefuseLogin(Refusal::Echo),
            Fault::RefuseLogin(Refusal::Policy),
            Fault::RefuseLogin(Refusal::Rights),
            Fault::RefuseLogin(Refusal::Temporary),
            Fault::At(Moment::AuthDue, Act::Close),
            Fault::At(Moment::CredentialsRead, Act::Close),
            Fault::At(Moment::CredentialsRead, Act::Say("nonsense \u{1b}[2J".into())),
        ] {
            provider.control().fail_next(server, 1, fault);
            let lines = &logins(protocol, "scanner", PASSWORD)[0];
            let answer = try_to_log_in(&mut greeted(address).await, lines).await;
            assert!(!accepted.iter().any(|start| answer.starts_with(start)), "{answer}");
            told += &answer;
        }
    }
    told
}

/// Sends a message over SMTP and reads it over IMAP and POP3.
async fn exchange_mail(addresses: &[(Protocol, SocketAddr); 3]) {
    let [(_, smtp), (_, imap), (_, pop3)] = *addresses;
    let mut client = greeted(smtp).await;
    client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    for command in [&format!("MAIL FROM:<{ADDRESS}>"), &format!("RCPT TO:<{ADDRESS}>"), "DATA"] {
        client.ask(command).await;
    }
    assert!(
        client
            .ask(&format!("Subject: {MAIL}\r\n\r\n{MAIL}\r\n."))
            .await
            .starts_with("250")
    );
    assert!(client.ask("QUIT").await.starts_with("221"));

    let mut client = greeted(imap).await;
    client.log_in(Protocol::Imap, "scanner", PASSWORD).await;
    client.send(b"b SELECT INBOX\r\nc FETCH 1 BODY[]\r\nd LOGOUT\r\n").await;
    assert!(client.rest().await.contains(MAIL));

    let mut client = greeted(pop3).await;
    client.log_in(Protocol::Pop3, "scanner", PASSWORD).await;
    client.send(b"RETR 1\r\nQUIT\r\n").await;
    assert!(client.rest().await.contains(MAIL));
}

/// Logs in where the token endpoint gives no token; what the program was told.
async fn meet_token_faults(imap: SocketAddr, provider: &Simulator) -> String {
    let mut told = String::new();
    let mut names = vec!["mistyped".to_owned()];
    names.extend((0..token_faults().len()).map(|number| format!("faulty{number}")));
    let faults = std::iter::once(None).chain(token_faults().into_iter().map(Some));
    for (name, fault) in names.into_iter().zip(faults) {
        let why = format!("{name} {fault:?}");
        if let Some(fault) = fault {
            provider.control().fail_next_tokens(1, fault);
        }
        let answer = try_to_log_in(&mut greeted(imap).await, &logins(Protocol::Imap, &name, PASSWORD)[0]).await;
        assert!(answer.starts_with("tag NO"), "{why}: {answer}");
        told += &answer;
    }
    told
}

async fn no_secret_in_a_trace_level_log(format: &str) {
    let (provider, folder) = stage(format).await;
    let mut gateway = Running::start(program(folder.path(), &["--config", "mailferry.toml", "serve"]));
    let mut addresses = [Protocol::Smtp, Protocol::Imap, Protocol::Pop3].map(|protocol| (protocol, provider.smtp()));
    for (_, address) in &mut addresses {
        let line = gateway.says("listening").await;
        let (_, port) = line.split_once("127.0.0.1:").unwrap();
        let digits = port.split(|letter: char| !letter.is_ascii_digit()).next().unwrap();
        *address = SocketAddr::from(([127, 0, 0, 1], digits.parse().unwrap()));
    }
    let mut told = log_in_in_every_way(&addresses, &provider).await;
    told += &meet_token_faults(addresses[1].1, &provider).await;
    exchange_mail(&addresses).await;
    gateway.signal(rustix::process::Signal::TERM);
    let (status, mut log) = gateway.ended_with_all().await;
    assert_eq!(status, Some(0));

    // The log is the one that was asked for, and everything has happened.
    for expected in ["TRACE", "rustls", "login failed", "token refused", "message accepted", "session ended", "stopped"]
    {
        assert!(log.contains(expected), "{expected:?} is not in the log");
    }
    let refused = log
        .lines()
        .find(|line| line.contains("token refused; asking for a fresh one"))
        .unwrap();
    assert!(refused.contains(" session=") || refused.contains("\"session\":"), "{refused}");
    // What peers repeated is hidden and the rest of it shown, in the log and to the program alike.
    for expected in [
        "Authentication unsuccessful",
        "NO AUTHENTICATE failed. [redacted]",
        "bad password. [redacted]",
        "bad client_secret [redacted], sent as [redacted].",
    ] {
        assert!(log.contains(expected) && told.contains(expected), "{expected:?} is not in both {told} and {log}");
    }
    log += &told;
    let said = Said(&log);
    for (what, secret) in [
        ("the password", PASSWORD),
        ("a wrong password", WRONG),
        ("the client secret", CLIENT_SECRET),
        ("the mistyped client secret", MISTYPED),
        ("what is no token", NO_TOKEN),
        ("the mail", MAIL),
    ] {
        said.never_holds(what, secret);
    }
    let tokens = provider.control().issued_tokens();
    assert!(tokens.len() > 1, "{}", tokens.len());
    for token in &tokens {
        said.never_holds("an access token", token);
    }
    let configuration = std::fs::read_to_string(folder.path().join("mailferry.toml")).unwrap();
    for hash in configuration.lines().filter(|line| line.starts_with("password_hash")) {
        said.never_holds("a password hash", hash.trim_end_matches('"').rsplit('$').next().unwrap());
    }
}

#[tokio::test]
async fn no_secret_in_a_trace_level_log_for_people() {
    no_secret_in_a_trace_level_log("text").await;
}

#[tokio::test]
async fn no_secret_in_a_trace_level_log_in_json() {
    no_secret_in_a_trace_level_log("json").await;
}

/// A right configuration without any server to dial.
fn configuration() -> String {
    format!(
        "state_dir = \"state\"\nhostname = \"gateway.example\"\n\
         [[listener]]\nprotocol = \"imap\"\nbind = \"127.0.0.1:0\"\n\
         [app.contoso]\nprovider = \"microsoft\"\ngrant = \"client-credentials\"\ntenant = \"contoso.example\"\n\
         client_id = \"the-app\"\nclient_secret = \"{CLIENT_SECRET}\"\n\
         [[account]]\naddress = \"{ADDRESS}\"\napp = \"contoso\"\n\
         [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{}\"\n",
        HASH.trim()
    )
}

#[tokio::test]
async fn no_secret_in_what_is_said_about_a_broken_configuration() {
    let secret = format!("client_secret = \"{CLIENT_SECRET}\"");
    let hash = format!("password_hash = \"{}\"", HASH.trim());
    let breakages: Vec<(&str, String)> = vec![
        (&secret, format!("client_secret = \"{CLIENT_SECRET}")),
        (&secret, format!("client_secret = {CLIENT_SECRET}")),
        (&secret, format!("client_secret = \"{CLIENT_SECRET}\" and more")),
        (&secret, format!("client_secret = \"{CLIENT_SECRET}\\q\"")),
        (&secret, format!("client_secret \"{CLIENT_SECRET}\"")),
        (&secret, format!("client_secret = \"{CLIENT_SECRET}\"\nclient_secret = \"{CLIENT_SECRET}\"")),
        (&secret, format!("client_secrt = \"{CLIENT_SECRET}\"")),
        (&secret, format!("client_secret = {{ text = \"{CLIENT_SECRET}\" }}")),
        (&secret, format!("client_secret = {{ \"{CLIENT_SECRET}\" }}")),
        (&secret, format!("client_secret = {{ file = \"{CLIENT_SECRET}\", env = \"X\" }}")),
        (&secret, format!("client_secret = [\"{CLIENT_SECRET}\", 5]")),
        (&secret, format!("client_secret = [[\"{CLIENT_SECRET}\"]]")),
        (&secret, format!("{secret}\nclient_id = \"{CLIENT_SECRET}\"")),
        (&secret, format!("client_secret.value = \"{CLIENT_SECRET}\"")),
        (&hash, format!("password = \"{PASSWORD}\"")),
        (&hash, format!("password_hash = \"{PASSWORD}\"")),
        (&hash, format!("password_hash = \"$2y$10${PASSWORD}\"")),
        (&hash, hash.replace("m=8,", "m=8000000,")),
        (&hash, hash.replace("argon2id", "argon2i")),
        (&hash, hash.replace("v=19", "v=x")),
        (&hash, format!("{hash}\n{hash}")),
        (&hash, format!("password_hash = '{}", HASH.trim())),
        ("[[account]]", "[[account]".to_owned()),
    ];
    for (from, to) in breakages {
        let text = configuration();
        assert!(text.contains(from), "{from}");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mailferry.toml"), text.replace(from, &to)).unwrap();
        for command in [&["check", "--offline"][..], &["serve"]] {
            let arguments = [&["--config", "mailferry.toml"], command].concat();
            let output = finish(program(folder.path(), &arguments)).await;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert_eq!(output.status.code(), Some(2), "{to}: {said}");
            assert!(said.starts_with("mailferry: mailferry.toml:"), "{to}: {said}");
            for (what, secret) in [
                ("the client secret", CLIENT_SECRET),
                ("the password", PASSWORD),
                ("the password hash", HASH.trim().rsplit('$').next().unwrap()),
            ] {
                Said(&said).never_holds(&format!("{what} ({to})"), secret);
            }
        }
    }
}
