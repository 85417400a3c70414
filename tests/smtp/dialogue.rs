//! Sessions in the shapes that real clients give them: pipelined, repeated, half-closed, cut off.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{self, Act, Fault, Gate, Moment, Personality};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;

use super::common::{Client, Setup, Wanted};
use super::{BOTH, MAIL, PLAIN, RCPT, expect, part, plain, send, taken, told};

/// The code of each reply in what a client was told.
fn codes(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.as_bytes()[3] == b' ')
        .map(|line| &line[..3])
        .collect()
}

fn whole_session() -> String {
    format!("EHLO x\r\nAUTH PLAIN {PLAIN}\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\nSubject: all\r\n\r\nat once\r\n.\r\nQUIT\r\n")
}

const ALL_AT_ONCE: &str = "Subject: all\r\n\r\nat once\r\n";

#[tokio::test]
async fn a_whole_session_in_one_segment() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.client(Protocol::Smtp).await;
        client.send(whole_session().as_bytes()).await;
        let replies = client.rest().await;
        assert_eq!(codes(&replies), ["250", "235", "250", "250", "354", "250", "221"], "{replies}");
        setup.deserted().await;
        assert_eq!(taken(setup.control()), [ALL_AT_ONCE]);
        assert_eq!(setup.control().violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_whole_session_without_waiting_for_the_greeting_and_half_closed() {
    let setup = Setup::new().await;
    let mut client = Client::connect(setup.address(Protocol::Smtp)).await;
    client.send(whole_session().as_bytes()).await;
    client.connection.shutdown().await.unwrap();
    let replies = client.rest().await;
    assert_eq!(codes(&replies), ["220", "250", "235", "250", "250", "354", "250", "221"], "{replies}");
    assert_eq!(taken(setup.control()), [ALL_AT_ONCE]);
}

#[tokio::test]
async fn a_session_that_ends_without_a_goodbye_gets_its_answers() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    client
        .send(format!("{MAIL}\r\n{RCPT}\r\nDATA\r\n.\r\nNOOP\r\nRSET\r\n").as_bytes())
        .await;
    client.connection.shutdown().await.unwrap();
    assert_eq!(codes(&client.rest().await), ["250", "250", "354", "250", "250", "250"]);
    setup.deserted().await;
    assert_eq!(setup.control().submissions().len(), 1);
}

#[tokio::test]
async fn a_client_that_has_left_is_not_waited_with_for_long() {
    let change = |config: &mut mailferry::config::Config| {
        config.budgets.half_closed = Duration::from_millis(50);
    };
    let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
    let gate = Gate::new();
    let hold = Fault::At(Moment::CommandDue, Act::Hold(gate.clone()));
    setup.control().fail_next(sim::Protocol::Smtp, 1, hold);
    let mut client = setup.logged_in(Protocol::Smtp).await;
    client.say("RSET").await;
    client.connection.shutdown().await.unwrap();
    assert_eq!(client.rest().await, "421 4.4.2 Nothing heard for too long\r\n");
    gate.open();
    setup.deserted().await;
}

#[tokio::test]
async fn auth_mail_and_rcpt_in_one_segment() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.client(Protocol::Smtp).await;
        client
            .send(format!("AUTH PLAIN {PLAIN}\r\n{MAIL}\r\n{RCPT}\r\n").as_bytes())
            .await;
        for start in ["235 2.7.0 ", "250 2.1.0 ", "250 2.1.5 "] {
            let reply = client.line().await;
            assert!(reply.starts_with(start), "{reply}");
        }
        expect(&mut client, "DATA", "354 ").await;
        expect(&mut client, "Subject: three\r\n.", "250 ").await;
        part(&setup, client).await;
        assert_eq!(taken(setup.control()), ["Subject: three\r\n"]);
    }
}

#[tokio::test]
async fn a_login_whose_answers_are_sent_ahead_of_its_prompts() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    client
        .send(b"HELO x\r\nAUTH LOGIN\r\nc2Nhbm5lcg==\r\nYSBwbGFpbiBwYXNzd29yZA==\r\nMAIL FROM:<>\r\n")
        .await;
    for reply in ["250 gateway.example", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0 Authentication successful"]
    {
        assert_eq!(client.line().await, reply);
    }
    assert!(client.line().await.starts_with("250 2.1.0 "));
    part(&setup, client).await;
}

#[tokio::test]
async fn what_was_sent_behind_a_failed_login_is_refused_piece_by_piece() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    let wrong = plain(b"", b"scanner", b"wrong");
    client
        .send(format!("AUTH PLAIN {wrong}\r\n{MAIL}\r\n{RCPT}\r\n").as_bytes())
        .await;
    for start in ["535 5.7.8 ", "530 5.7.0 ", "530 5.7.0 "] {
        assert!(client.line().await.starts_with(start));
    }
    assert_eq!(setup.control().connections(sim::Protocol::Smtp), 0);
    expect(&mut client, &format!("AUTH PLAIN {PLAIN}"), "235 ").await;
    part(&setup, client).await;
}

#[tokio::test]
async fn several_messages_with_ehlo_and_rset_between() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        send(&mut client, "Subject: 1").await;
        expect(&mut client, "RSET", "250 ").await;
        send(&mut client, "Subject: 2").await;
        // A transaction given up, by RSET and by EHLO: its recipient gets nothing of the next.
        for give_up in ["RSET", "EHLO again", "HELO again", "EHLO"] {
            expect(&mut client, "MAIL FROM:<other@contoso.example>", "250 ").await;
            expect(&mut client, "RCPT TO:<other@contoso.example>", "250 ").await;
            expect(&mut client, give_up, "250 ").await;
        }
        for (command, start) in [("NOOP", "250 "), ("noop x", "250 "), ("VRFY root", "252 "), ("HELP", "214 ")] {
            expect(&mut client, command, start).await;
        }
        send(&mut client, "Subject: 3").await;
        send(&mut client, "Subject: 4").await;
        part(&setup, client).await;
        assert_eq!(taken(setup.control()), ["Subject: 1\r\n", "Subject: 2\r\n", "Subject: 3\r\n", "Subject: 4\r\n"]);
        assert!(
            setup
                .control()
                .submissions()
                .iter()
                .all(|submission| submission.recipients.len() == 1)
        );
        assert_eq!(setup.control().last_ehlo_name().as_deref(), Some("gateway.example"));
    }
}

#[tokio::test]
async fn ehlo_after_the_login_shows_what_the_provider_keeps() {
    let microsoft = [
        "250-SIM0PR01CA0001.simulated.example Hello [127.0.0.1]",
        "250-SIZE 157286400",
        "250-PIPELINING",
        "250-DSN",
        "250-ENHANCEDSTATUSCODES",
        "250-8BITMIME",
        "250-BINARYMIME",
        "250 CHUNKING",
    ];
    let dovecot = [
        "250-SIM0PR01CA0001.simulated.example",
        "250-8BITMIME",
        "250-CHUNKING",
        "250-ENHANCEDSTATUSCODES",
        "250-SIZE 157286400",
        "250 PIPELINING",
    ];
    for (personality, base, offer) in
        [(Personality::Microsoft, "base = \"microsoft\"", &microsoft[..]), (Personality::Dovecot, "", &dovecot)]
    {
        let wanted = Wanted { provider_keys: base.into(), ..Wanted::of(personality) };
        let setup = Setup::with(wanted).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        client.say("EHLO printer").await;
        assert_eq!(client.reply().await, offer);
        client.say("HELO printer").await;
        assert_eq!(client.reply().await, [offer[0].replacen('-', " ", 1)]);
        send(&mut client, "Subject: after HELO").await;
        part(&setup, client).await;
    }
}

#[tokio::test]
async fn extensions_that_are_not_for_the_client_are_left_out() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    let offer = "250-mx.example\r\n250-AUTH=LOGIN\r\n250-auth XOAUTH2\r\n250-XCLIENT NAME ADDR\r\n250-Size 1000\r\n\
                 250-STARTTLS\r\n250-x-link2state\r\n250-BURL imap\r\n250-ETRN\r\n250-VERP\r\n250-DELIVERBY 60\r\n250-MT-PRIORITY\r\n250-BINARYMIME\r\n250 DSN";
    setup
        .control()
        .fail_next(sim::Protocol::Smtp, 1, Fault::At(Moment::CapabilitiesDue, Act::Say(offer.into())));
    client.say("EHLO printer").await;
    assert_eq!(client.reply().await, ["250-mx.example", "250-Size 1000", "250 DSN"], "BINARYMIME needs CHUNKING");
}

#[tokio::test]
async fn commands_nobody_knows_go_nowhere_and_the_third_ends_the_session() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    let before = told(setup.control()).len();
    expect(&mut client, "XCLIENT ADDR=127.0.0.1", "502 5.5.2 ").await;
    expect(&mut client, "BURL imap://x LAST", "502 5.5.2 ").await;
    client.say("GET / HTTP/1.1").await;
    let farewell = client.rest().await;
    assert!(farewell.starts_with("421 4.7.0 ") && farewell.lines().count() == 1, "{farewell}");
    setup.deserted().await;
    assert_eq!(told(setup.control())[before..], Vec::<String>::new());
}

/// Closes the connection the way a crashing device does: at once, with a reset.
fn reset(client: Client) {
    SockRef::from(client.connection.get_ref())
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

#[tokio::test]
async fn a_reset_behind_the_final_dot_loses_nothing() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let gate = Gate::new();
        setup
            .control()
            .fail_next(sim::Protocol::Smtp, 1, Fault::At(Moment::BodyRead, Act::Hold(gate.clone())));
        let mut client = setup.logged_in(Protocol::Smtp).await;
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        expect(&mut client, "DATA", "354 ").await;
        client.say("Subject: reset\r\n\r\n.").await;
        gate.reached(1).await;
        reset(client);
        gate.open();
        setup.deserted().await;
        assert_eq!(taken(setup.control()), ["Subject: reset\r\n\r\n"]);
    }
}

#[tokio::test]
async fn a_client_that_vanishes_in_its_message_sends_none() {
    let vanish: [fn(Client); 2] = [drop, reset];
    for vanish in vanish {
        let setup = Setup::new().await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        expect(&mut client, "DATA", "354 ").await;
        client.send(b"Subject: half\r\n\r\nhalf a lin").await;
        let control = setup.control();
        control.until(|control| control.raw_smtp().concat().ends_with(b"lin")).await;
        vanish(client);
        setup.deserted().await;
        assert_eq!(control.raw_smtp(), [b"Subject: half\r\n\r\nhalf a lin"], "nothing that could end it was added");
        assert_eq!(control.submissions(), []);
    }
}
