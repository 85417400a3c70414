//! Every way in which a legacy program may write its name and its password, and what it is told of capabilities.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::proto::sasl::encode_base64;
use mailferry::sim::{Act, Fault, Moment, Personality, Protocol as Server};

use crate::common::{Client, PASSWORD, Setup, Wanted, in_time, let_pass, login_table};
use crate::{PERSONALITIES, answer, ask, assert_in_order, login_command, said_upstream, scripted, succeed};

/// The ways to write a string (RFC 3501 section 4.3, RFC 7888).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Atom,
    Quoted,
    /// `{n}`: the literal follows an invitation.
    Awaited,
    /// `{n+}`: the literal follows at once.
    Unawaited,
}

impl Form {
    const ALL: [Self; 4] = [Self::Atom, Self::Quoted, Self::Awaited, Self::Unawaited];

    /// A user name that only needs this form, and a password that can be written in no lesser one.
    const fn examples(self) -> (&'static str, &'static str) {
        match self {
            Self::Atom => ("ground-floor", "one.word!"),
            Self::Quoted => (r#"2nd "floor" \ {3} left"#, "two \"words\" \\ w\u{f6}rd {5}"),
            Self::Awaited | Self::Unawaited => (r#"2nd "floor" \ {3} left"#, "two\r\nlines {7}\r\n\x01"),
        }
    }

    /// Adds a string to the last part of a command. A part ends where an invitation is awaited.
    fn write(self, text: &str, parts: &mut Vec<String>) {
        let (here, next) = match self {
            Self::Atom => (text.to_owned(), None),
            Self::Quoted => (format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")), None),
            Self::Awaited => (format!("{{{}}}\r\n", text.len()), Some(text.to_owned())),
            Self::Unawaited => (format!("{{{}+}}\r\n{text}", text.len()), None),
        };
        parts.last_mut().unwrap().push_str(&here);
        parts.extend(next);
    }
}

/// Sends the parts of a command, each after the invitation that the one before waits for.
async fn send_parts(client: &mut Client, parts: &[String]) {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            assert_eq!(client.line().await, "+ OK");
        }
        client.send(part.as_bytes()).await;
    }
}

#[tokio::test]
async fn login_takes_its_arguments_in_every_mix_of_forms() {
    let mut wanted = Wanted::default();
    let names: Vec<_> = Form::ALL[..2].iter().map(|form| form.examples().0).collect();
    for name in names {
        for form in &Form::ALL[..3] {
            wanted.tables += &login_table(name, form.examples().1.as_bytes(), "");
        }
    }
    let setup = Setup::with(wanted).await;
    for name_form in Form::ALL {
        for password_form in Form::ALL {
            let mut client = setup.client(Protocol::Imap).await;
            let mut parts = vec!["tag LOGIN ".to_owned()];
            name_form.write(name_form.examples().0, &mut parts);
            parts.last_mut().unwrap().push(' ');
            password_form.write(password_form.examples().1, &mut parts);
            parts.last_mut().unwrap().push_str("\r\n");
            send_parts(&mut client, &parts).await;
            let completion = answer(&mut client, "tag").await;
            assert_eq!(completion.len(), 1, "{name_form:?} {password_form:?}: {completion:?}");
            assert!(completion[0].starts_with("tag OK"), "{name_form:?} {password_form:?}: {completion:?}");
            succeed(&mut client, "b NOOP").await;
        }
    }
    assert_eq!(setup.control().logins_ok(Server::Imap), 16);
    assert_in_order(&setup);
}

#[tokio::test]
async fn authenticate_takes_both_mechanisms_with_and_without_an_initial_response() {
    let setup = Setup::new().await;
    let plain = |authzid: &str| encode_base64(format!("{authzid}\0scanner\0{PASSWORD}").as_bytes()).to_string();
    let (message, name, secret) = (plain(""), encode_base64(b"scanner"), encode_base64(PASSWORD.as_bytes()));
    let (ask_name, ask_password) = ("+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6");
    // The line that begins, then each prompt with the answer to it.
    let dialogues: [(String, Vec<(&str, &str)>); 8] = [
        (format!("tag AUTHENTICATE PLAIN {message}"), vec![]),
        (format!("tag authenticate plain {}", plain("scanner")), vec![]),
        ("tag AUTHENTICATE PLAIN".into(), vec![("+ ", &message)]),
        ("tag AUTHENTICATE PLAIN =".into(), vec![("+ ", &message)]),
        ("tag AUTHENTICATE LOGIN".into(), vec![(ask_name, &name), (ask_password, &secret)]),
        ("tag AUTHENTICATE login =".into(), vec![(ask_name, &name), (ask_password, &secret)]),
        (format!("tag AUTHENTICATE LOGIN {}", *name), vec![(ask_password, &secret)]),
        (format!("tag AUTHENTICATE PLAIN {message} "), vec![]),
    ];
    for (begin, steps) in dialogues {
        let mut client = setup.client(Protocol::Imap).await;
        client.say(&begin).await;
        for (prompt, response) in steps {
            assert_eq!(client.line().await, prompt, "{begin}");
            client.say(response).await;
        }
        let completion = client.line().await;
        assert!(completion.starts_with("tag OK"), "{begin}: {completion}");
        succeed(&mut client, "b NOOP").await;
    }
    assert_in_order(&setup);
}

#[tokio::test]
async fn what_is_cancelled_or_malformed_is_bad_and_costs_no_try() {
    let setup = Setup::new().await;
    let name = encode_base64(b"scanner");
    let too_long = encode_base64(&[b'x'; 4000]);
    let mut clients = Vec::new();
    for (begin, steps) in [
        ("c AUTHENTICATE PLAIN", vec!["*"]),
        ("c AUTHENTICATE LOGIN", vec!["*"]),
        ("c AUTHENTICATE LOGIN", vec![name.as_str(), "*"]),
        ("c AUTHENTICATE PLAIN", vec!["not base64!"]),
        ("c AUTHENTICATE PLAIN", vec!["bm90IHBsYWlu"]),
        ("c AUTHENTICATE PLAIN", vec![too_long.as_str()]),
        ("c AUTHENTICATE PLAIN not-base64", vec![]),
        ("c AUTHENTICATE PLAIN c2Nhbm5lcg== more", vec![]),
        ("c AUTHENTICATE XOAUTH2", vec![]),
        ("c AUTHENTICATE CRAM-MD5", vec![]),
        ("c AUTHENTICATE", vec![]),
        ("c LOGIN scanner", vec![]),
        ("c LOGIN scanner \"no end", vec![]),
        ("c LOGIN scanner one two", vec![]),
        ("c LOGIN", vec![]),
    ] {
        let mut client = setup.client(Protocol::Imap).await;
        // More often than a login may fail.
        for _ in 0..4 {
            client.say(begin).await;
            for step in &steps {
                let prompt = client.line().await;
                assert!(prompt.starts_with("+ "), "{begin}: {prompt}");
                client.say(step).await;
            }
            let completion = client.line().await;
            assert!(completion.starts_with("c BAD "), "{begin}: {completion}");
        }
        clients.push(client);
    }
    assert_eq!(setup.control().token_requests(), 0);
    for mut client in clients {
        succeed(&mut client, &login_command("tag")).await;
    }
}

#[tokio::test]
async fn endless_malformed_commands_end_the_connection() {
    let setup = Setup::new().await;
    for malformed in ["c AUTHENTICATE {0+}\n{0+}\n", "c LOGIN scanner", "c AUTHENTICATE PLAIN !!!"] {
        let mut client = setup.client(Protocol::Imap).await;
        for _ in 0..10 {
            client.say(malformed).await;
            let completion = client.line().await;
            assert!(completion.starts_with("c BAD "), "{malformed}: {completion}");
        }
        assert_eq!(client.line().await, "* BYE Too many errors");
        assert_eq!(client.rest().await, "");
    }
    assert_eq!(setup.control().token_requests(), 0);
}

#[tokio::test]
async fn id_is_answered_here_whatever_it_says() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Imap).await;
    let id = "* ID (\"name\" \"mailferry\")";
    for parts in [
        vec!["i ID NIL\r\n".to_owned()],
        vec!["i ID (\"name\" \"old mailer\" \"version\" NIL)\r\n".into()],
        vec!["i ID ({4}\r\n".into(), "name {10}\r\n".into(), "old\r\nmail\" {3+}\r\nos  NIL)\r\n".into()],
        vec!["i ID ({4+}\r\nname {12+}\r\nx LOGIN a b\r\n)\r\n".into()],
    ] {
        send_parts(&mut client, &parts).await;
        assert_eq!(answer(&mut client, "i").await, [id, "i OK ID completed"], "{parts:?}");
    }
    succeed(&mut client, &login_command("tag")).await;
    // From here on it is the provider that answers.
    let provider = succeed(&mut client, "i ID NIL").await;
    assert!(provider[0].contains("Microsoft.Exchange"), "{provider:?}");
    assert_eq!(said_upstream(&setup).iter().filter(|line| line.starts_with("ID")).count(), 1);
    assert_in_order(&setup);
}

/// The names in `* CAPABILITY …` or `[CAPABILITY …]`.
fn capabilities(line: &str) -> Vec<String> {
    let (_, list) = line
        .split_once("CAPABILITY ")
        .unwrap_or_else(|| panic!("no capabilities: {line}"));
    let list = list.split(']').next().unwrap();
    list.split(' ').map(str::to_owned).collect()
}

fn assert_speaks_of_no_login(capabilities: &[String]) {
    for capability in capabilities {
        let of_logins = ["LOGINDISABLED", "STARTTLS", "UNAUTHENTICATE"].contains(&capability.as_str());
        assert!(!of_logins && !capability.starts_with("AUTH="), "{capabilities:?}");
    }
}

#[tokio::test]
async fn the_list_before_the_login_is_ours_and_the_completion_carries_the_upstreams() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = Client::connect(setup.address(Protocol::Imap)).await;
        let ours = ["IMAP4rev1", "SASL-IR", "ID", "AUTH=PLAIN", "AUTH=LOGIN"];
        let greeting = client.line().await;
        assert!(greeting.starts_with("* OK [CAPABILITY "), "{greeting}");
        assert_eq!(capabilities(&greeting), ours);
        let asked = succeed(&mut client, "a CAPABILITY").await;
        assert_eq!((asked.len(), capabilities(&asked[0])), (2, ours.map(String::from).to_vec()));

        let told = succeed(&mut client, &login_command("b")).await;
        let [untagged, completion] = &told[..] else { panic!("{told:?}") };
        assert!(untagged.starts_with("* CAPABILITY ") && completion.starts_with("b OK [CAPABILITY "), "{told:?}");
        let list = capabilities(untagged);
        assert_eq!(list, capabilities(completion));
        assert!(list.contains(&"IDLE".into()) && list.contains(&"LITERAL+".into()), "{list:?}");
        assert_speaks_of_no_login(&list);

        // Later lists pass as they are.
        let later = capabilities(&succeed(&mut client, "c CAPABILITY").await[0]);
        assert_eq!(later.contains(&"AUTH=XOAUTH2".into()), personality == Personality::Microsoft, "{later:?}");
        assert_in_order(&setup);
    }
}

#[tokio::test]
async fn who_has_not_asked_gets_the_list_in_the_completion_only() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.client(Protocol::Imap).await;
        let told = succeed(&mut client, &login_command("b")).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_speaks_of_no_login(&capabilities(&told[0]));
    }
}

#[tokio::test]
async fn whatever_an_upstream_lists_nothing_in_it_speaks_of_logging_in() {
    let setup = Setup::new().await;
    let list = "* CAPABILITY IMAP4rev1 auth=XOAUTH2 AUTH=PLAIN STARTTLS LOGINDISABLED UNAUTHENTICATE SASL-IR X-ODD";
    for said in [list, "OK done"] {
        setup
            .control()
            .fail(Server::Imap, Fault::At(Moment::CapabilitiesDue, Act::Say(said.into())));
    }
    let mut client = setup.client(Protocol::Imap).await;
    let told = succeed(&mut client, &login_command("b")).await;
    assert_eq!(capabilities(&told[0]), ["IMAP4rev1", "SASL-IR", "X-ODD"]);
}

#[tokio::test]
async fn a_second_challenge_is_cancelled() {
    let (setup, listener) = scripted::setup().await;
    let server = tokio::spawn(async move {
        let (mut connection, _) = scripted::asked(&listener).await;
        for expected in ["\r\n", "*\r\n"] {
            scripted::say(&mut connection, "+ e30=").await;
            assert_eq!(scripted::hear(&mut connection).await, expected);
        }
        assert_eq!(scripted::hear(&mut connection).await, "", "the connection is closed");
    });
    let mut client = setup.client(Protocol::Imap).await;
    let answer = ask(&mut client, &format!("a LOGIN scripted {}", scripted::PASSWORD)).await;
    assert!(answer[0].starts_with("a NO [UNAVAILABLE] "), "{answer:?}");
    in_time(server).await.unwrap();
}

/// Exchange says it with NO and without a code, as it refuses a token.
#[tokio::test]
async fn a_mailbox_that_is_held_back_costs_no_token() {
    let setup = Setup::new().await;
    succeed(&mut setup.client(Protocol::Imap).await, &login_command("a")).await;
    let_pass(Duration::from_secs(61)).await;
    let throttled = Act::Say("NO Request is throttled. Suggested Backoff Time: 92415 milliseconds".into());
    setup
        .control()
        .fail_next(Server::Imap, 1, Fault::At(Moment::CredentialsRead, throttled));
    let answer = ask(&mut setup.client(Protocol::Imap).await, &login_command("b")).await;
    assert!(answer[0].starts_with("b NO [UNAVAILABLE] "), "{answer:?}");
    assert_eq!(setup.control().token_requests(), 1);
}
