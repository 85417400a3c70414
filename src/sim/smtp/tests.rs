//! SMTP dialogues, octet by octet.

use crate::sim::testing::{ANN, BOB, Client, logged_in, simulator, smtp_tls, token, xoauth2};
use crate::sim::{Act, Control, Fault, Moment, Options, Personality, Protocol, Simulator};

async fn microsoft() -> Simulator {
    simulator(Personality::Microsoft).await
}

fn say(control: &Control, moment: Moment, reply: &str) {
    control.fail_next(Protocol::Smtp, 1, Fault::At(moment, Act::Say(reply.into())));
}

#[tokio::test]
async fn exchange_offers_auth_only_behind_tls() {
    let simulator = microsoft().await;
    let mut smtp = Client::open(&simulator, Protocol::Smtp).await;
    let greeting = smtp.until("220 ").await;
    assert!(greeting.contains(" Microsoft ESMTP MAIL Service ready at "), "{greeting}");
    let clear = smtp.ask("EHLO t\r\n", "250 ").await;
    let keywords: Vec<_> = clear.lines().skip(1).map(|line| &line[4..]).collect();
    let expected = [
        "SIZE 157286400",
        "PIPELINING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "STARTTLS",
        "8BITMIME",
        "BINARYMIME",
        "CHUNKING",
    ];
    assert_eq!(keywords[..8], expected);
    assert!(smtp.ask("AUTH XOAUTH2\r\n", "5").await.starts_with("530 "));
    smtp.ask("STARTTLS\r\n", "220 2.0.0 SMTP server ready").await;
    let mut smtp = smtp.tls(&simulator).await.unwrap();
    // RFC 3207 section 4.2: what was said in the clear is forgotten.
    assert!(smtp.ask("AUTH XOAUTH2\r\n", "5").await.starts_with("530 "));
    let secure = smtp.ask("EHLO t\r\n", "250 ").await;
    assert!(secure.contains("250-AUTH LOGIN XOAUTH2\r\n") && !secure.contains("STARTTLS"), "{secure}");
}

#[tokio::test]
async fn octets_behind_starttls_are_dropped() {
    let simulator = microsoft().await;
    let mut smtp = Client::open(&simulator, Protocol::Smtp).await;
    smtp.until("220 ").await;
    smtp.ask("EHLO t\r\n", "250 ").await;
    smtp.ask("STARTTLS\r\nNOOP\r\n", "220 ").await;
    let mut smtp = smtp.tls(&simulator).await.unwrap();
    assert!(smtp.ask("EHLO t\r\n", "250 ").await.contains("Hello"));
    assert_eq!(simulator.control().violations().len(), 1);
}

#[tokio::test]
async fn plaintext_can_be_put_behind_the_answer_to_starttls() {
    let simulator = microsoft().await;
    say(simulator.control(), Moment::StartTlsAnswered, "250 AUTH LOGIN PLAIN");
    let mut smtp = Client::open(&simulator, Protocol::Smtp).await;
    smtp.until("220 ").await;
    smtp.ask("EHLO t\r\n", "250 ").await;
    let said = smtp.ask("STARTTLS\r\n", "250 ").await;
    assert_eq!(said, "220 2.0.0 SMTP server ready\r\n250 AUTH LOGIN PLAIN\r\n");
}

#[tokio::test]
async fn starttls_can_be_withheld_or_refused() {
    let simulator = microsoft().await;
    let mut smtp = Client::open(&simulator, Protocol::Smtp).await;
    smtp.until("220 ").await;
    smtp.ask("EHLO t\r\n", "250 ").await;
    say(simulator.control(), Moment::StartTlsDue, "454 4.7.0 TLS not available");
    smtp.ask("STARTTLS\r\n", "454 4.7.0").await;
    simulator.control().fail(Protocol::Smtp, Fault::Withhold("STARTTLS"));
    assert!(!smtp.ask("EHLO t\r\n", "250 ").await.contains("STARTTLS"));
    smtp.ask("STARTTLS\r\n", "503 ").await;
}

#[tokio::test]
async fn an_initial_response_beyond_512_octets_is_refused() {
    let simulator = microsoft().await;
    let mut smtp = smtp_tls(&simulator).await;
    let response = xoauth2(ANN, &token(&simulator).await);
    smtp.ask(format!("AUTH XOAUTH2 {response}\r\n"), "500 ").await;
    assert_eq!(simulator.control().logins_ok(Protocol::Smtp), 0);
    smtp.ask("AUTH XOAUTH2\r\n", "334 ").await;
    smtp.ask(format!("{response}\r\n"), "235 2.7.0 Authentication successful").await;
    smtp.ask("AUTH XOAUTH2\r\n", "503 ").await;
}

#[tokio::test]
async fn the_longest_token_there_is_goes_through() {
    let options = Options { token_length: 16_384, mailboxes: vec![ANN.into()], ..Options::default() };
    let simulator = Simulator::start(options).await.unwrap();
    logged_in(&simulator, Protocol::Smtp).await;
    assert_eq!(simulator.control().logins_ok(Protocol::Smtp), 1);
}

#[tokio::test]
async fn malformed_responses_are_told_from_refused_ones() {
    let simulator = microsoft().await;
    let mut smtp = smtp_tls(&simulator).await;
    for (response, reply) in
        [("!!!", "501 5.5.2"), ("dXNlcj1h", "501 5.5.124"), ("*", "535 5.7.3"), (&xoauth2(ANN, "wrong"), "535 5.7.3")]
    {
        smtp.ask("AUTH XOAUTH2\r\n", "334 ").await;
        smtp.ask(format!("{response}\r\n"), reply).await;
    }
    smtp.ask("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6").await;
    smtp.ask("YQ==\r\n", "334 UGFzc3dvcmQ6").await;
    smtp.ask("YQ==\r\n", "535 5.7.139").await;
    smtp.ask("AUTH PLAIN\r\n", "504 ").await;
}

#[tokio::test]
async fn commands_end_in_crlf_and_in_nothing_else() {
    let simulator = microsoft().await;
    let mut smtp = Client::open(&simulator, Protocol::Smtp).await;
    smtp.until("220 ").await;
    for bad in ["NOOP\n", "NO\rOP\r\n", "NO\0OP\r\n", &format!("NOOP {}\r\n", "x".repeat(600)), "WHAT\r\n", "\r\n"] {
        smtp.ask(bad, "500 ").await;
    }
    assert_eq!(smtp.ask("NOOP\r\n", "").await, "250 2.0.0 OK\r\n");
    assert_eq!(simulator.control().violations().len(), 6, "{:?}", simulator.control().violations());
}

#[tokio::test]
async fn mail_needs_a_login_and_its_order() {
    let simulator = microsoft().await;
    let mut smtp = smtp_tls(&simulator).await;
    smtp.ask("MAIL FROM:<a@b.example>\r\n", "530 5.7.57").await;
    let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
    smtp.ask("RCPT TO:<a@b.example>\r\n", "503 ").await;
    smtp.ask("DATA\r\n", "503 ").await;
    smtp.ask("MAIL FROM: <a@b.example>\r\n", "501 ").await;
    smtp.ask("MAIL FROM:<a@b.example> SMTPUTF8\r\n", "502 5.3.3").await;
    smtp.ask("MAIL FROM:<a@b.example> SIZE=157286401\r\n", "552 5.3.4").await;
    smtp.ask("MAIL FROM:<a@b.example> X=1\r\n", "555 ").await;
    smtp.ask("MAIL FROM:<a@b.example> SIZE=9 BODY=8BITMIME RET=HDRS ENVID=x AUTH=<>\r\n", "250 2.1.0")
        .await;
    smtp.ask("MAIL FROM:<a@b.example>\r\n", "503 ").await;
    smtp.ask("RCPT TO:<>\r\n", "501 ").await;
    smtp.ask("DATA\r\n", "554 ").await;
    smtp.ask("RSET\r\n", "250 ").await;
    smtp.ask("MAIL FROM:<>\r\n", "250 ").await;
    smtp.ask("RCPT TO:<x@elsewhere.example> NOTIFY=NEVER ORCPT=rfc822;x\r\n", "250 2.1.5")
        .await;
    smtp.ask("QUIT\r\n", "221 ").await;
    assert_eq!(smtp.rest().await, "");
}

#[tokio::test]
async fn a_pipelined_transaction_is_answered_in_order() {
    let simulator = microsoft().await;
    let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
    smtp.send(format!("MAIL FROM:<{ANN}>\r\nRCPT TO:<{BOB}>\r\nRCPT TO:<x@elsewhere.example>\r\nDATA\r\n"))
        .await;
    let said = smtp.until("354 ").await;
    assert_eq!(said.lines().map(|line| &line[..3]).collect::<Vec<_>>(), ["250", "250", "250", "354"]);
    smtp.ask("a\nb\r\n.\nMAIL FROM:<x@y>\r\n.\r\n", "250 2.0.0 OK <").await;
    let control = simulator.control();
    assert_eq!(control.violations(), Vec::<String>::new());
    assert_eq!(control.messages(BOB), [b"a\nb\r\n\nMAIL FROM:<x@y>\r\n"]);
    assert_eq!(control.submissions()[0].recipients, [BOB, "x@elsewhere.example"]);

    control.fail(Protocol::Smtp, Fault::Withhold("PIPELINING"));
    assert!(!smtp.ask("EHLO t\r\n", "250 ").await.contains("PIPELINING"));
    smtp.send("MAIL FROM:<a@b.example>\r\nRSET\r\n").await;
    smtp.until("250 2.0.0").await;
    assert_eq!(control.violations(), ["Smtp: commands were pipelined without leave"]);
}

#[tokio::test]
async fn chunks_are_counted_and_not_read_as_lines() {
    let simulator = microsoft().await;
    let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
    // Refused, and still swallowed.
    smtp.ask("BDAT 6\r\nQUIT\r\n", "503 ").await;
    smtp.send(format!("MAIL FROM:<{ANN}> BODY=BINARYMIME\r\nRCPT TO:<{BOB}>\r\n"))
        .await;
    smtp.until("250 2.1.5").await;
    smtp.ask("BDAT 7\r\n.\r\nQUIT", "250 2.0.0 7 octets").await;
    smtp.ask("DATA\r\n", "503 ").await;
    smtp.send(format!("RSET\r\nMAIL FROM:<{ANN}> BODY=BINARYMIME\r\nRCPT TO:<{BOB}>\r\n"))
        .await;
    smtp.until("250 2.1.5").await;
    smtp.ask("BDAT 4\r\n\n.\r\n", "250 2.0.0 4 octets").await;
    smtp.ask("BDAT 2 LAST\r\n\0.", "250 2.0.0 OK <").await;
    assert_eq!(simulator.control().messages(BOB), [b"\n.\r\n\0."]);
    simulator.control().fail(Protocol::Smtp, Fault::Withhold("CHUNKING"));
    assert!(!smtp.ask("EHLO t\r\n", "250 ").await.contains("CHUNKING"));
    smtp.ask("BDAT 4 LAST\r\nQUIT", "502 ").await;
    smtp.ask("NOOP\r\n", "250 ").await;
}

#[tokio::test]
async fn data_beyond_the_size_is_refused_when_it_has_ended() {
    let options = Options { max_message: 10, mailboxes: vec![ANN.into()], ..Options::default() };
    let simulator = Simulator::start(options).await.unwrap();
    let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
    for (body, reply) in [("0123456789\r\n", "552 5.3.4"), ("01234567\r\n", "250 2.0.0")] {
        smtp.send(format!("MAIL FROM:<{ANN}>\r\nRCPT TO:<{ANN}>\r\nDATA\r\n")).await;
        smtp.until("354 ").await;
        smtp.ask(format!("{body}.\r\n"), reply).await;
    }
    assert_eq!(simulator.control().messages(ANN), [b"01234567\r\n"]);
}

#[tokio::test]
async fn any_step_of_a_message_can_be_refused() {
    let simulator = microsoft().await;
    let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
    for (moment, reply) in [
        (Moment::MailDue, "451 4.7.0 Temporary server error"),
        (Moment::RcptDue, "550 5.1.1 No such user"),
        (Moment::DataDue, "451 4.3.0 Not now"),
        (Moment::BodyRead, "432 4.3.2 Concurrent connections limit exceeded."),
    ] {
        say(simulator.control(), moment, reply);
        smtp.send(format!("RSET\r\nMAIL FROM:<{ANN}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n"))
            .await;
        if moment == Moment::BodyRead {
            smtp.until("354 ").await;
            smtp.send("x\r\n.\r\n").await;
        }
        smtp.until(reply).await;
    }
    assert!(simulator.control().messages(BOB).is_empty());
}

#[tokio::test]
async fn what_came_of_an_unfinished_message_is_kept() {
    let simulator = microsoft().await;
    let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
    smtp.send(format!("MAIL FROM:<{ANN}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n")).await;
    smtp.until("354 ").await;
    smtp.send("a\r\n.\n").await;
    drop(smtp);
    let control = simulator.control();
    control.until(|control| control.open_connections(Protocol::Smtp) == 0).await;
    assert_eq!(control.raw_smtp(), [b"a\r\n.\n"]);
    assert!(control.messages(BOB).is_empty() && control.submissions().is_empty());
}

#[tokio::test]
async fn another_sender_can_be_refused() {
    let simulator = microsoft().await;
    let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
    simulator.control().fail(Protocol::Smtp, Fault::RefuseOtherSenders);
    for (from, header, reply) in [
        (ANN, format!("From: Ann <{ANN}>"), "250 2.0.0"),
        ("", format!("From: {}", ANN.to_uppercase()), "250 2.0.0"),
        (BOB, format!("From: {ANN}"), "554 5.2.252 SendAsDenied; "),
        (ANN, format!("From: {BOB}"), "554 5.2.252 SendAsDenied; "),
        (ANN, format!("From: {ANN}, {BOB}"), "554 5.2.252 SendAsDenied; "),
        (ANN, format!("From: {ANN}\r\nFrom: {BOB}"), "554 5.2.252 SendAsDenied; "),
        (ANN, format!("From: {ANN}\r\nSender: {BOB}"), "554 5.2.252 SendAsDenied; "),
        (ANN, "From: Scanner <scanner>".into(), "554 5.2.252 SendAsDenied; "),
        (ANN, "Subject: no From".into(), "554 5.2.252 SendAsDenied; "),
    ] {
        smtp.send(format!("MAIL FROM:<{from}>\r\nRCPT TO:<{ANN}>\r\nDATA\r\n")).await;
        smtp.until("354 ").await;
        smtp.ask(format!("{header}\r\n\r\nbody\r\n.\r\n"), reply).await;
    }
}
