//! Clients that mean harm, or might as well: none of them reaches the provider.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use mailferry::config::Protocol;
use mailferry::sim::{self, Gate, TokenFault};
use tokio::io::AsyncWriteExt;

use super::common::{Answer, Client, HASH, PASSWORD, Setup, Wanted};
use super::{PLAIN, expect, part, plain, told};

const WRONG: &str = "535 5.7.8 Wrong user name or password, or not allowed from here";

/// The provider has heard of nobody: neither its mail server nor its token endpoint.
fn assert_untouched(setup: &Setup) {
    assert_eq!(setup.control().connections(sim::Protocol::Smtp), 0);
    assert_eq!(setup.control().token_requests(), 0);
}

#[tokio::test]
async fn names_that_are_more_than_names_are_wrong_names() {
    let longest = "a".repeat(255);
    let longer = "a".repeat(256);
    let names = [
        "",
        "@",
        "*",
        "[x]",
        "../scanner",
        "scanner,",
        "scanner=2C",
        " scanner",
        "scanner ",
        "scanner\0",
        "scanner\r\nRCPT TO:<evil@example.com>",
        "scanner\n",
        "scanner\x01",
        "scanner\x01auth=Bearer evil",
        "x\x01user=scanner@contoso.example",
        "scanner\x01auth=Bearer evil\x01\x01",
        "scanner\x1b[2J",
        "scanner\x7f",
        // Cyrillic es; full-width s; a combining mark.
        "\u{455}canner",
        "\u{ff53}canner",
        "scanner\u{301}",
        // The mailbox's address is not a login here.
        "scanner@contoso.example",
        "contoso",
        &longest,
        &longer,
    ];
    let setup = Setup::with(Wanted::brisk()).await;
    for name in names {
        let mut client = setup.client(Protocol::Smtp).await;
        if !name.contains('\0') {
            let message = plain(b"", name.as_bytes(), PASSWORD.as_bytes());
            assert_eq!(client.ask(&format!("AUTH PLAIN {message}")).await, WRONG, "PLAIN {name:?}");
        }
        expect(&mut client, "AUTH LOGIN", "334 VXNlcm5hbWU6").await;
        expect(&mut client, &BASE64_STANDARD.encode(name), "334 UGFzc3dvcmQ6").await;
        assert_eq!(client.ask(&BASE64_STANDARD.encode(PASSWORD)).await, WRONG, "LOGIN {name:?}");
    }
    assert_untouched(&setup);
}

#[tokio::test]
async fn messages_that_are_none_are_told_so() {
    let setup = Setup::new().await;
    let plain_with = |octets: &[u8]| format!("AUTH PLAIN {}", BASE64_STANDARD.encode(octets));
    let commands = [
        (plain_with(b""), "334 "),
        (plain_with(b"scanner"), "501 5.5.2 "),
        (plain_with(b"\0scanner"), "501 5.5.2 "),
        (plain_with(b"\0scanner\0a plain password\0"), "501 5.5.2 "),
        (plain_with(&[b'\0'; 100]), "501 5.5.2 "),
        (format!("AUTH PLAIN {}", &PLAIN[1..]), "501 5.5.2 "),
        (format!("AUTH PLAIN {PLAIN}="), "501 5.5.2 "),
        (format!("AUTH PLAIN {PLAIN} x"), "501 5.5.2 "),
        ("AUTH".into(), "501 5.5.2 "),
        (format!("AUTH PLAIN {}", plain(b"", &[b'a'; 10_000], b"x")), "500 5.5.6 "),
        (format!("AUTH LOGIN {}", BASE64_STANDARD.encode([b'a'; 10_000])), "500 5.5.6 "),
        (format!("AUTH PLAIN {}", "A".repeat(20_000)), "500 5.5.6 "),
        (format!("AUTH {}", "A".repeat(10_000)), "504 5.5.4 "),
        // Nobody may act as somebody else.
        (format!("AUTH PLAIN {}", plain(b"boss", b"scanner", PASSWORD.as_bytes())), WRONG),
        (format!("AUTH PLAIN {}", plain(b"scanner\x01", b"scanner", PASSWORD.as_bytes())), WRONG),
    ];
    for (command, start) in &commands {
        let mut client = setup.client(Protocol::Smtp).await;
        expect(&mut client, command, start).await;
        expect(&mut client, "NOOP", if *start == "334 " { "501 5.5.2 " } else { "250 2.0.0 Ok" }).await;
    }
    assert_untouched(&setup);
    let mut client = setup.client(Protocol::Smtp).await;
    expect(&mut client, &format!("AUTH PLAIN {PLAIN}"), "235 ").await;
    part(&setup, client).await;
}

#[tokio::test]
async fn a_right_password_in_the_wrong_place_is_a_wrong_one() {
    let hash = HASH.trim();
    let account = |name: &str, app: &str, keys: &str| {
        format!(
            "[[account]]\naddress = \"{name}@contoso.example\"\napp = \"{app}\"\n\
             [[account.login]]\nusername = \"{name}\"\npassword_hash = \"{hash}\"\n{keys}\n"
        )
    };
    let mailless = "[provider.mailless]\ntoken_url = \"https://login.example.com/token\"\nscopes = [\"mail\"]\n\
                    imap = { host = \"imap.example.com\", port = 993, tls = \"implicit\" }\n\
                    [app.mailless]\nprovider = \"mailless\"\ngrant = \"client-credentials\"\nclient_id = \"x\"\n\
                    client_secret = \"y\"\n";
    let tables = [
        mailless.to_owned(),
        account("reader", "contoso", "protocols = [\"imap\", \"pop3\"]"),
        account("elsewhere", "contoso", "networks = [\"192.0.2.0/24\"]"),
        account("serverless", "mailless", ""),
    ];
    let setup = Setup::with(Wanted { tables: tables.concat(), ..Wanted::default() }).await;
    for name in ["reader", "elsewhere", "serverless", "nobody"] {
        let mut client = setup.client(Protocol::Smtp).await;
        let answer = client.log_in(Protocol::Smtp, name, PASSWORD).await;
        assert_eq!(answer, Answer::Refused(WRONG.into()), "{name}");
    }
    assert_untouched(&setup);
}

/// Writes until the gateway takes no more. It must come to that long before the last octet.
async fn flood(client: &mut Client) {
    let block = vec![b'x'; 64 * 1024];
    for _ in 0..1024 {
        if client.connection.write_all(&block).await.is_err() {
            return;
        }
    }
    panic!("64 MiB of one line were read");
}

#[tokio::test]
async fn a_line_without_end_ends_the_connection() {
    let setup = Setup::new().await;
    for (opening, enough) in [("", 5_000), ("AUTH LOGIN\r\n", 40_000), ("AUTH PLAIN ", 40_000)] {
        let mut client = setup.client(Protocol::Smtp).await;
        client.send(opening.as_bytes()).await;
        client.send(&vec![b'x'; enough]).await;
        let replies = client.rest().await;
        let last = replies.lines().last().unwrap();
        assert!(last.starts_with("421 4.7.0 "), "{replies}");
        flood(&mut client).await;
    }
    assert_untouched(&setup);
    setup.deserted().await;
}

#[tokio::test]
async fn a_long_line_is_refused_whole_and_the_next_is_read() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    expect(&mut client, &"x".repeat(3_000), "500 5.5.6 ").await;
    expect(&mut client, &format!("AUTH PLAIN {PLAIN}"), "235 ").await;

    let before = told(setup.control()).len();
    let long = format!("MAIL FROM:<{}@contoso.example>", "x".repeat(5_000));
    expect(&mut client, &long, "500 5.5.6 ").await;
    expect(&mut client, "NOOP", "250 ").await;
    assert_eq!(told(setup.control())[before..], ["NOOP"]);
    client.send(&[b'x'; 20_000]).await;
    let farewell = client.rest().await;
    assert!(farewell.starts_with("421 4.7.0 ") && farewell.lines().count() == 1, "{farewell}");
    flood(&mut client).await;
    setup.deserted().await;
}

#[tokio::test]
async fn whoever_does_not_log_in_in_time_has_to_go() {
    let change = |config: &mut mailferry::config::Config| {
        config.limits.login_timeout = Duration::from_millis(50);
    };
    let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
    let deadline = "421 4.4.2 No login within the time allowed";

    let mut silent = setup.client(Protocol::Smtp).await;
    assert_eq!(silent.rest().await, format!("{deadline}\r\n"));

    // It is the time in all that counts, not the silence before each octet.
    let mut talking = setup.client(Protocol::Smtp).await;
    loop {
        if talking.connection.write_all(b"NOOP\r\n").await.is_err() {
            panic!("it said nothing before it closed");
        }
        match talking.line().await.as_str() {
            "250 2.0.0 Ok" => {}
            said => break assert_eq!(said, deadline),
        }
    }
    assert_untouched(&setup);
}

#[tokio::test]
async fn whoever_is_silent_after_the_login_has_to_go() {
    let change = |config: &mut mailferry::config::Config| {
        config.limits.idle_smtp = Duration::from_millis(50);
    };
    let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    assert_eq!(client.rest().await, "421 4.4.2 Nothing heard for too long\r\n");
    setup.deserted().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_token_is_fetched_leaves_nothing() {
    let setup = Setup::new().await;
    let gate = Gate::new();
    setup.control().fail_next_tokens(1, TokenFault::Hold(gate.clone()));
    let mut client = setup.client(Protocol::Smtp).await;
    client.say(&format!("AUTH PLAIN {PLAIN}")).await;
    gate.reached(1).await;
    drop(client);
    gate.open();
    setup.deserted().await;
    // The token was not fetched in vain.
    part(&setup, setup.logged_in(Protocol::Smtp).await).await;
    assert_eq!(setup.control().token_requests(), 1);
}
