//! The forms in which devices log in, and what they are told before they have.

use mailferry::config::Protocol;
use mailferry::sim;

use super::common::{Answer, Client, PASSWORD, Setup, Wanted};
use super::{BOTH, MAIL, PLAIN, RCPT, expect, part, send, taken};

/// What a client says and the last line of each reply, to the letter.
type Form = &'static [(&'static str, &'static str)];

const USERNAME_PROMPT: &str = "334 VXNlcm5hbWU6";
const PASSWORD_PROMPT: &str = "334 UGFzc3dvcmQ6";
const WELCOME: &str = "235 2.7.0 Authentication successful";
const EHLO: (&str, &str) = ("EHLO XC-B8C463", "250 SIZE");

/// The login `scanner` in every form that a printer, a mail program or a script has been seen to send.
const FORMS: &[Form] = &[
    &[EHLO, ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[EHLO, ("AUTH PLAIN", "334 "), ("AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[EHLO, ("AUTH PLAIN =", "334 "), ("AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[EHLO, ("AUTH LOGIN", USERNAME_PROMPT), ("c2Nhbm5lcg==", PASSWORD_PROMPT), ("YSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[EHLO, ("AUTH LOGIN c2Nhbm5lcg==", PASSWORD_PROMPT), ("YSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[("ehlo nas", "250 SIZE"), ("AUTH login c2Nhbm5lcg==", PASSWORD_PROMPT), ("YSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[EHLO, ("auth plain AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    // Without the padding.
    &[EHLO, ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA", WELCOME)],
    &[EHLO, ("AUTH LOGIN", USERNAME_PROMPT), ("c2Nhbm5lcg", PASSWORD_PROMPT), ("YSBwbGFpbiBwYXNzd29yZA", WELCOME)],
    // The name in upper case; the name as its own authorization identity.
    &[EHLO, ("AUTH LOGIN U0NBTk5FUg==", PASSWORD_PROMPT), ("YSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[EHLO, ("AUTH PLAIN c2Nhbm5lcgBzY2FubmVyAGEgcGxhaW4gcGFzc3dvcmQ=", WELCOME)],
    // No EHLO, a HELO, and names that are none.
    &[("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[("HELO [192.168.1.21]", "250 gateway.example"), ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[
        ("HELO ", "250 gateway.example"),
        ("AUTH LOGIN", USERNAME_PROMPT),
        ("*", "501 5.7.0 Authentication cancelled"),
        ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME),
    ],
    &[("HELO", "250 gateway.example"), ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[("EHLO", "250 SIZE"), ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[("EHLO _", "250 SIZE"), ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[("EHLO PhpStorm 9.0.3", "250 SIZE"), ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[("EHLO cabinet-maitre-.domain", "250 SIZE"), ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[("EHLO [IPV6:::1]", "250 SIZE"), ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    &[("EHLO \u{e9}cole", "250 SIZE"), ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME)],
    // What is not offered is refused, and the client may fall back.
    &[
        EHLO,
        ("AUTH CRAM-MD5", "504 5.5.4 The mechanism is unknown: use PLAIN or LOGIN"),
        ("AUTH NTLM TlRMTVNTUAABAAAA", "504 5.5.4 The mechanism is unknown: use PLAIN or LOGIN"),
        ("AUTH PLAIN AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==", WELCOME),
    ],
    // A client that has lost its place sends a password as a command, and finds its place again.
    &[
        ("HELO medea", "250 gateway.example"),
        ("ZTQ5ZjM5", "502 5.5.2 The command is unknown"),
        ("AUTH LOGIN", USERNAME_PROMPT),
        ("not base64", "501 5.5.2 The AUTH command or its response cannot be decoded"),
        ("AUTH LOGIN", USERNAME_PROMPT),
        ("c2Nhbm5lcg==", PASSWORD_PROMPT),
        ("YSBwbGFpbiBwYXNzd29yZA==", WELCOME),
    ],
];

#[tokio::test]
async fn every_form_of_login_goes_through() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        for form in FORMS {
            let mut client = setup.client(Protocol::Smtp).await;
            for (command, reply) in *form {
                assert_eq!(client.ask(command).await, *reply, "{command:?} in {form:?}");
            }
            send(&mut client, "Subject: logged in\r\n").await;
            part(&setup, client).await;
            // What a device calls itself goes nowhere.
            assert_eq!(setup.control().last_ehlo_name().as_deref(), Some("gateway.example"));
        }
        assert_eq!(setup.control().logins_ok(sim::Protocol::Smtp), FORMS.len());
        assert_eq!(setup.control().submissions().len(), FORMS.len());
        assert_eq!(setup.control().token_requests(), 1, "one token serves them all");
        assert_eq!(setup.gateway.password_computations(), 1, "one check serves them all");
    }
}

#[tokio::test]
async fn commands_may_end_in_a_bare_lf() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    for (command, start) in [
        ("HELO ups", "250 "),
        ("AUTH LOGIN", "334 "),
        ("c2Nhbm5lcg==", "334 "),
        ("YSBwbGFpbiBwYXNzd29yZA==", "235 "),
        (MAIL, "250 "),
        (RCPT, "250 "),
        ("DATA", "354 "),
        ("Subject: battery low\r\n\r\n.\r", "250 2.0.0 "),
    ] {
        client.send(format!("{command}\n").as_bytes()).await;
        let reply = client.reply().await.pop().unwrap();
        assert!(reply.starts_with(start), "{command:?}: {reply}");
    }
    part(&setup, client).await;
    assert_eq!(taken(setup.control()), ["Subject: battery low\r\n\r\n"]);
}

#[tokio::test]
async fn what_is_said_before_the_login_is_our_own() {
    let offer = ["250-gateway.example", "250-AUTH PLAIN LOGIN", "250-PIPELINING", "250-8BITMIME"];
    for (provider_keys, rest) in [
        ("", &["250-ENHANCEDSTATUSCODES", "250 SIZE"][..]),
        ("base = \"microsoft\"", &["250-ENHANCEDSTATUSCODES", "250-SIZE", "250-DSN", "250-CHUNKING", "250 BINARYMIME"]),
    ] {
        let setup = Setup::with(Wanted { provider_keys: provider_keys.into(), ..Wanted::default() }).await;
        let mut client = Client::connect(setup.address(Protocol::Smtp)).await;
        // Some clients look for the word ESMTP.
        assert_eq!(client.line().await, "220 gateway.example ESMTP mailferry ready");
        client.say("EHLO printer").await;
        assert_eq!(client.reply().await, [&offer, rest].concat());
        for (command, reply) in [
            ("NOOP", "250 2.0.0 Ok"),
            ("RSET", "250 2.0.0 Ok"),
            ("VRFY root", "252 2.0.0 Addresses are not verified before login"),
            ("EXPN staff", "530 5.7.0 Authentication required"),
            ("STARTTLS", "502 5.5.1 STARTTLS is not offered here"),
            (MAIL, "530 5.7.0 Authentication required"),
            ("QUIT", "221 2.0.0 Goodbye"),
        ] {
            assert_eq!(client.ask(command).await, reply, "{command}");
        }
        assert_eq!(client.rest().await, "");
        assert_eq!(setup.control().connections(sim::Protocol::Smtp), 0, "nobody had logged in");
        assert_eq!(setup.control().token_requests(), 0);
    }
}

#[tokio::test]
async fn two_failed_logins_are_forgiven_and_a_third_ends_the_connection() {
    let setup = Setup::new().await;
    let wrong = Answer::Refused("535 5.7.8 Wrong user name or password, or not allowed from here".into());

    let mut client = setup.client(Protocol::Smtp).await;
    for _ in 0..2 {
        assert_eq!(client.log_in(Protocol::Smtp, "scanner", "wrong").await, wrong);
    }
    assert_eq!(setup.control().token_requests(), 0, "a wrong password costs no token");
    assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    part(&setup, client).await;

    let mut client = setup.client(Protocol::Smtp).await;
    for _ in 0..3 {
        assert_eq!(client.log_in(Protocol::Smtp, "scanner", "wrong").await, wrong);
    }
    assert_eq!(client.rest().await, "421 4.7.0 Too many errors, closing\r\n");
    assert_eq!(setup.control().connections(sim::Protocol::Smtp), 1, "only the right password's");
}

#[tokio::test]
async fn a_device_that_was_refused_once_may_go_on_with_its_message() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    expect(&mut client, "AUTH LOGIN c2Nhbm5lcg==", "334 ").await;
    expect(&mut client, "d3Jvbmc=", "535 5.7.8 ").await;
    expect(&mut client, &format!("AUTH PLAIN {PLAIN}"), "235 ").await;
    expect(&mut client, &format!("AUTH PLAIN {PLAIN}"), "503 5.5.1 ").await;
    expect(&mut client, "STARTTLS", "503 5.5.1 ").await;
    send(&mut client, "Subject: at last\r\n").await;
    part(&setup, client).await;
}
