//! The whole way through the simulator, and the faults that all servers share.

mod access;

use super::testing::{ANN, BOB, Client, in_clear, logged_in, simulator, token, xoauth2};
use super::{Act, Certificate, Control, Fault, Flood, Gate, Moment, Personality, Protocol, Refusal};

const MAIL: [Protocol; 3] = [Protocol::Smtp, Protocol::Imap, Protocol::Pop3];
const MESSAGE: &str = "Subject: one\r\n\r\n.dot\r\nlast\r\n";

/// Sends [`MESSAGE`] from ANN to BOB.
async fn submit(smtp: &mut Client) -> String {
    smtp.ask(format!("MAIL FROM:<{ANN}>\r\n"), "250 2.1.0").await;
    smtp.ask(format!("RCPT TO:<{BOB}>\r\n"), "250 2.1.5").await;
    smtp.ask("DATA\r\n", "354 ").await;
    smtp.ask("Subject: one\r\n\r\n..dot\r\nlast\r\n.\r\n", "250 ").await
}

#[tokio::test]
async fn a_message_goes_in_over_smtp_and_comes_out_over_imap_and_pop3() {
    for personality in [Personality::Microsoft, Personality::Dovecot] {
        let simulator = simulator(personality).await;
        let control = simulator.control();

        let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
        let queued = submit(&mut smtp).await;
        assert!(queued.starts_with("250 2.0.0 O"), "{queued}");
        smtp.ask("QUIT\r\n", "221 ").await;
        assert_eq!(control.messages(BOB), [MESSAGE.as_bytes()]);
        assert_eq!(control.raw_smtp(), [b"Subject: one\r\n\r\n..dot\r\nlast\r\n.\r\n"]);
        let [submission] = control.submissions().try_into().unwrap();
        assert_eq!((submission.account.as_str(), submission.from.as_str()), (ANN, ANN));
        assert_eq!(submission.recipients, [BOB]);

        assert!(control.deliver(ANN, MESSAGE.as_bytes()));
        let mut imap = logged_in(&simulator, Protocol::Imap).await;
        let selected = imap.ask("b SELECT INBOX\r\n", "b ").await;
        assert!(selected.contains("* 1 EXISTS\r\n") && selected.contains("b OK [READ-WRITE]"), "{selected}");
        let fetched = imap.ask("c FETCH 1 BODY[]\r\n", "c ").await;
        let literal = format!("* 1 FETCH (BODY[] {{{}}}\r\n{MESSAGE} FLAGS (\\Seen))\r\n", MESSAGE.len());
        assert_eq!(fetched, format!("{literal}c OK FETCH completed.\r\n"));
        imap.ask("d LOGOUT\r\n", "d OK").await;

        let mut pop3 = logged_in(&simulator, Protocol::Pop3).await;
        let retrieved = pop3.ask("RETR 1\r\n", ".\r").await;
        assert_eq!(retrieved, format!("+OK {} octets\r\nSubject: one\r\n\r\n..dot\r\nlast\r\n.\r\n", MESSAGE.len()));
        pop3.ask("QUIT\r\n", "+OK").await;

        assert_eq!(control.violations(), Vec::<String>::new());
        assert_eq!(control.token_requests(), 3);
        assert_eq!(control.last_ehlo_name().as_deref(), Some("test.example"));
        for protocol in MAIL {
            assert_eq!((control.connections(protocol), control.logins_ok(protocol)), (1, 1), "{protocol:?}");
        }
        control.until(|control| control.open_connections(Protocol::Pop3) == 0).await;
    }
}

/// Makes a fault happen once.
fn once(control: &Control, protocol: Protocol, fault: Fault) {
    control.fail_next(protocol, 1, fault);
}

/// What a server says to a good token, with a challenge answered by an empty line; how the dialogue went.
async fn login_answer(simulator: &super::Simulator, protocol: Protocol) -> String {
    let response = xoauth2(ANN, &token(simulator).await);
    match protocol {
        Protocol::Imap => {
            let mut imap = Client::open(simulator, protocol).await;
            imap.until("* OK").await;
            imap.send(format!("a AUTHENTICATE XOAUTH2 {response}\r\n\r\nz LOGOUT\r\n"))
                .await;
            imap.rest().await
        }
        Protocol::Pop3 => {
            let mut pop3 = Client::open(simulator, protocol).await;
            pop3.until("+OK").await;
            pop3.ask("AUTH XOAUTH2\r\n", "+ ").await;
            pop3.send(format!("{response}\r\n\r\nQUIT\r\n")).await;
            pop3.rest().await
        }
        _ => {
            let mut smtp = super::testing::smtp_tls(simulator).await;
            smtp.ask("AUTH XOAUTH2\r\n", "334 ").await;
            smtp.send(format!("{response}\r\n\r\nQUIT\r\n")).await;
            smtp.rest().await
        }
    }
}

#[tokio::test]
async fn every_refusal_is_said_in_every_protocol() {
    let simulator = simulator(Personality::Microsoft).await;
    let control = simulator.control();
    let challenge = "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiJtYWlsIn0=";
    let expected = [
        (Protocol::Smtp, Refusal::Token, "535 5.7.3 Authentication unsuccessful [".to_owned()),
        (Protocol::Smtp, Refusal::TokenWithChallenge, format!("334 {challenge}\r\n535 5.7.3 ")),
        (Protocol::Smtp, Refusal::Policy, "535 5.7.139 ".into()),
        (Protocol::Smtp, Refusal::Rights, "550 5.7.1 ".into()),
        (Protocol::Smtp, Refusal::Temporary, "454 4.7.0 ".into()),
        (Protocol::Imap, Refusal::Token, "a NO AUTHENTICATE failed.\r\n".into()),
        (Protocol::Imap, Refusal::TokenWithChallenge, format!("+ {challenge}\r\na NO AUTHENTICATE failed.\r\n")),
        (Protocol::Imap, Refusal::Policy, "a NO [CONTACTADMIN] ".into()),
        (Protocol::Imap, Refusal::Rights, "a NO [AUTHORIZATIONFAILED] ".into()),
        (Protocol::Imap, Refusal::Temporary, "a NO [UNAVAILABLE] ".into()),
        (Protocol::Pop3, Refusal::Token, "-ERR Authentication failure: unknown user name or bad password.\r\n".into()),
        (Protocol::Pop3, Refusal::TokenWithChallenge, format!("+ {challenge}\r\n-ERR Authentication failure")),
        (Protocol::Pop3, Refusal::Policy, "-ERR [SYS/PERM] ".into()),
        (Protocol::Pop3, Refusal::Rights, "-ERR [SYS/PERM] ".into()),
        (Protocol::Pop3, Refusal::Temporary, "-ERR [SYS/TEMP] ".into()),
    ];
    for (protocol, refusal, begin) in expected {
        once(control, protocol, Fault::RefuseLogin(refusal));
        let said = login_answer(&simulator, protocol).await;
        assert!(said.starts_with(&begin), "{protocol:?} {refusal:?}: {said}");
    }
    for protocol in MAIL {
        assert_eq!((control.logins_refused(protocol), control.logins_ok(protocol)), (5, 0), "{protocol:?}");
    }
}

#[tokio::test]
async fn dovecot_challenges_before_it_refuses() {
    let simulator = simulator(Personality::Dovecot).await;
    for (protocol, begin, end) in [
        (Protocol::Smtp, "334 eyJ", "\r\n535 5.7.8 Authentication failed.\r\n"),
        (Protocol::Imap, "+ eyJ", "\r\na NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"),
        (Protocol::Pop3, "+ eyJ", "\r\n-ERR [AUTH] Authentication failed.\r\n"),
    ] {
        once(simulator.control(), protocol, Fault::RefuseLogin(Refusal::Token));
        let said = login_answer(&simulator, protocol).await;
        assert!(said.starts_with(begin) && said.contains(end), "{said}");
    }
    assert_eq!(simulator.control().violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_opens_every_mailbox_that_is_there_until_it_is_revoked() {
    let simulator = simulator(Personality::Microsoft).await;
    let token = token(&simulator).await;
    let mut imap = Client::open(&simulator, Protocol::Imap).await;
    imap.until("* OK").await;
    for stranger in [xoauth2("eve@contoso.example", &token), xoauth2(ANN, &token[1..])] {
        let said = imap.ask(format!("a AUTHENTICATE XOAUTH2 {stranger}\r\n"), "a ").await;
        assert_eq!(said, "a NO AUTHENTICATE failed.\r\n");
    }
    simulator.control().revoke_all_tokens();
    let late = imap
        .ask(format!("a AUTHENTICATE XOAUTH2 {}\r\n", xoauth2(BOB, &token)), "a ")
        .await;
    assert_eq!(late, "a NO AUTHENTICATE failed.\r\n");
    let fresh = xoauth2(BOB, &super::testing::token(&simulator).await);
    imap.ask(format!("a AUTHENTICATE XOAUTH2 {fresh}\r\n"), "a OK").await;
}

#[tokio::test]
async fn a_connection_ends_at_any_named_moment() {
    let simulator = simulator(Personality::Microsoft).await;
    let control = simulator.control();
    let response = xoauth2(ANN, &token(&simulator).await);
    for (moment, ends_with) in [
        (Moment::Accepted, ""),
        (Moment::GreetingDue, ""),
        (Moment::Greeted, "220 "),
        (Moment::CapabilitiesDue, "220 "),
        (Moment::CapabilitiesSaid, "250 SMTPUTF8"),
        (Moment::StartTlsDue, "250 SMTPUTF8"),
        (Moment::StartTlsAnswered, "220 2.0.0 SMTP server ready"),
    ] {
        once(control, Protocol::Smtp, Fault::At(moment, Act::Close));
        let mut smtp = Client::open(&simulator, Protocol::Smtp).await;
        smtp.send("EHLO test\r\n").await;
        if !matches!(moment, Moment::StartTlsDue | Moment::StartTlsAnswered) {
            let said = smtp.rest().await;
            assert!(said.lines().last().unwrap_or_default().starts_with(ends_with), "{moment:?}: {said}");
            continue;
        }
        smtp.until("250 ").await;
        smtp.send("STARTTLS\r\n").await;
        assert_eq!(smtp.rest().await.trim_end(), ends_with.trim_start_matches("250 SMTPUTF8"), "{moment:?}");
    }
    for (moment, sent, said) in [
        (Moment::TlsReady, "EHLO t\r\n", ""),
        (Moment::AuthDue, "EHLO t\r\nAUTH XOAUTH2\r\n", "250 SMTPUTF8\r\n"),
        (Moment::CredentialsRead, "EHLO t\r\nAUTH XOAUTH2\r\n{}\r\n", "334 \r\n"),
        (Moment::LoggedIn, "EHLO t\r\nAUTH XOAUTH2\r\n{}\r\n", "235 2.7.0 Authentication successful\r\n"),
    ] {
        once(control, Protocol::Smtp, Fault::At(moment, Act::Close));
        let mut smtp = Client::open(&simulator, Protocol::Smtp).await;
        smtp.until("220 ").await;
        smtp.ask("EHLO test\r\n", "250 ").await;
        smtp.ask("STARTTLS\r\n", "220 ").await;
        let mut smtp = smtp.tls(&simulator).await.unwrap();
        smtp.send(sent.replace("{}", &response)).await;
        let heard = smtp.rest().await;
        assert!(heard.ends_with(said) && heard.is_empty() == said.is_empty(), "{moment:?}: {heard}");
    }
    for (moment, delivered) in [
        (Moment::MailDue, 0),
        (Moment::RcptDue, 0),
        (Moment::DataDue, 0),
        (Moment::BodyBegun, 0),
        (Moment::BodyRead, 0),
        (Moment::Delivered, 1),
    ] {
        let mut smtp = logged_in(&simulator, Protocol::Smtp).await;
        once(control, Protocol::Smtp, Fault::At(moment, Act::Close));
        let before = control.messages(BOB).len();
        smtp.send(format!("MAIL FROM:<{ANN}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n")).await;
        if !matches!(moment, Moment::MailDue | Moment::RcptDue | Moment::DataDue) {
            smtp.until("354 ").await;
            smtp.send("x\r\n.\r\n").await;
        }
        let heard = smtp.rest().await;
        assert_eq!(control.messages(BOB).len() - before, delivered, "{moment:?}");
        assert_eq!(
            heard.lines().count(),
            usize::from(moment == Moment::RcptDue) + 2 * usize::from(moment == Moment::DataDue)
        );
    }
}

#[tokio::test]
async fn a_gate_holds_a_dialogue_and_nobody_elses() {
    let simulator = simulator(Personality::Microsoft).await;
    let gate = Gate::new();
    once(simulator.control(), Protocol::Smtp, Fault::At(Moment::GreetingDue, Act::Hold(gate.clone())));
    let mut held = Client::open(&simulator, Protocol::Smtp).await;
    gate.reached(1).await;
    let mut other = Client::open(&simulator, Protocol::Smtp).await;
    other.until("220 ").await;
    gate.open();
    held.until("220 ").await;
}

#[tokio::test]
async fn servers_greet_as_told() {
    let simulator = simulator(Personality::Microsoft).await;
    for (protocol, greeting, ends) in [
        (Protocol::Smtp, "421 4.3.2 Service not active", true),
        (Protocol::Smtp, "554 5.3.2 No service", true),
        (Protocol::Imap, "* BYE Connection is closed. 13", true),
        (Protocol::Imap, "* PREAUTH Welcome back", false),
        (Protocol::Pop3, "-ERR [SYS/TEMP] Not now", true),
    ] {
        once(simulator.control(), protocol, Fault::At(Moment::GreetingDue, Act::Say(greeting.into())));
        let mut client = Client::open(&simulator, protocol).await;
        assert_eq!(client.until("").await, format!("{greeting}\r\n"));
        if ends {
            assert_eq!(client.rest().await, "");
        } else {
            client.ask("a NOOP\r\n", "a OK").await;
        }
    }
}

#[tokio::test]
async fn floods_go_on_past_any_bound() {
    let simulator = simulator(Personality::Microsoft).await;
    for protocol in MAIL {
        for flood in [Flood::Line, Flood::Lines] {
            once(simulator.control(), protocol, Fault::At(Moment::GreetingDue, Act::Flood(flood)));
            let mut client = Client::open(&simulator, protocol).await;
            client.at_least(200_000).await;
        }
    }
    simulator
        .control()
        .until(|control| MAIL.iter().all(|&protocol| control.open_connections(protocol) == 0))
        .await;
}

#[tokio::test]
async fn what_follows_the_request_for_tls_is_a_breach_and_what_the_server_injects_goes_out_with_its_answer() {
    let simulator = in_clear(Personality::Microsoft).await;
    for (protocol, address, request, greeting, answer) in [
        (Protocol::Imap, simulator.imap(), "a STARTTLS\r\n", "* OK", "a OK"),
        (Protocol::Pop3, simulator.pop3(), "STLS\r\n", "+OK", "+OK"),
    ] {
        let injected = Fault::At(Moment::StartTlsAnswered, Act::Say("injected".into()));
        simulator.control().fail_next(protocol, 1, injected);
        let mut client = Client::connect(address).await;
        client.until(greeting).await;
        client.send(format!("{request}NOOP\r\n")).await;
        client.until(answer).await;
        assert_eq!(client.until("").await, "injected\r\n");
        let breach = format!("{protocol:?}: octets came in the clear behind the request for TLS");
        assert!(simulator.control().violations().contains(&breach));
    }
}

#[tokio::test]
async fn wrong_certificates_are_refused_by_whoever_looks() {
    let simulator = simulator(Personality::Microsoft).await;
    for certificate in [Certificate::SelfSigned, Certificate::WrongName, Certificate::Expired] {
        once(simulator.control(), Protocol::Imap, Fault::Certificate(certificate));
        let client = Client::connect(simulator.imap()).await;
        assert!(client.tls(&simulator).await.is_err(), "{certificate:?}");
    }
    Client::open(&simulator, Protocol::Imap).await.until("* OK").await;
}

#[tokio::test]
async fn a_closed_door_refuses_and_an_opened_one_accepts_on_the_same_port() {
    let simulator = simulator(Personality::Microsoft).await;
    let mut before = Client::open(&simulator, Protocol::Smtp).await;
    before.until("220 ").await;
    simulator.control().close_door(Protocol::Smtp).await;
    let refused = tokio::net::TcpStream::connect(simulator.smtp()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    before.ask("NOOP\r\n", "250 ").await;
    simulator.control().open_door(Protocol::Smtp).await;
    Client::open(&simulator, Protocol::Smtp).await.until("220 ").await;
}

#[tokio::test]
async fn shutting_down_ends_every_connection() {
    let simulator = simulator(Personality::Microsoft).await;
    let mut smtp = Client::open(&simulator, Protocol::Smtp).await;
    smtp.until("220 ").await;
    let address = simulator.smtp();
    simulator.shutdown().await;
    assert_eq!(smtp.rest().await, "");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_dialogue_is_kept_without_its_tokens() {
    let simulator = simulator(Personality::Microsoft).await;
    let token = token(&simulator).await;
    for protocol in MAIL {
        logged_in(&simulator, protocol).await;
    }
    let dialogue = simulator.control().dialogue();
    let text: Vec<_> = dialogue.iter().map(|(_, _, line)| line.as_str()).collect();
    assert!(text.contains(&"AUTH XOAUTH2") && text.contains(&"235 2.7.0 Authentication successful"), "{text:?}");
    assert!(text.iter().any(|line| line.starts_with("a AUTHENTICATE XOAUTH2 dXNlcj1h...(")), "{text:?}");
    let all = text.join("\n");
    assert!(!all.contains(&token[..12]) && !all.contains("simulated-client-secret"), "{all}");
}
