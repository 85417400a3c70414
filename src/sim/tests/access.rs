//! Gmail's manners, OAUTHBEARER, and what a person's token opens, over all three protocols.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::testing::{ANN, BOB, Client, TOKEN_PATH, logged_in, post, simulator, smtp_tls, token, xoauth2};
use super::super::{Fault, Mechanism, Personality, Protocol, Refusal, Simulator};
use super::{MAIL, once, submit};

fn oauthbearer(user: &str, token: &str) -> String {
    STANDARD.encode(format!("n,a={user},\x01host=localhost\x01port=993\x01auth=Bearer {token}\x01\x01"))
}

/// Logs in by two steps: everything that is said from there on, with `dismissal` as the answer to a challenge.
async fn log_in(simulator: &Simulator, protocol: Protocol, name: &str, response: &str, dismissal: &str) -> String {
    let mut client = match protocol {
        Protocol::Smtp => smtp_tls(simulator).await,
        _ => Client::open(simulator, protocol).await,
    };
    let (command, prompt, end) = match protocol {
        Protocol::Smtp => (format!("AUTH {name}\r\n"), "334 ", "QUIT\r\n"),
        Protocol::Imap => (format!("a AUTHENTICATE {name}\r\n"), "+ ", "z LOGOUT\r\n"),
        _ => (format!("AUTH {name}\r\n"), "+ ", "QUIT\r\n"),
    };
    match protocol {
        Protocol::Imap => _ = client.until("* OK").await,
        Protocol::Pop3 => _ = client.until("+OK").await,
        _ => {}
    }
    client.ask(command, prompt).await;
    client.send(format!("{response}\r\n{dismissal}\r\n{end}")).await;
    client.rest().await
}

#[tokio::test]
async fn gmail_greets_and_offers_as_gmail_does() {
    let gmail = simulator(Personality::Gmail).await;
    let mut imap = Client::open(&gmail, Protocol::Imap).await;
    assert!(
        imap.until("*")
            .await
            .starts_with("* OK Gimap ready for requests from 127.0.0.1 ")
    );
    let offered = imap.ask("a CAPABILITY\r\n", "a OK").await;
    assert!(offered.contains(" XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER\r\n"));
    let response = xoauth2(ANN, &token(&gmail).await);
    let said = imap.ask(format!("b AUTHENTICATE XOAUTH2 {response}\r\n"), "b ").await;
    assert!(said.starts_with("* CAPABILITY IMAP4rev1 UNSELECT IDLE ") && said.contains(" APPENDLIMIT=35651584\r\n"));
    assert!(said.ends_with(&format!("\r\nb OK {ANN} authenticated (Success)\r\n")), "{said}");

    let mut pop3 = Client::open(&gmail, Protocol::Pop3).await;
    pop3.until("+OK Gpop ready ").await;
    assert!(pop3.ask("CAPA\r\n", ".").await.contains("SASL PLAIN XOAUTH2 OAUTHBEARER\r\n"));

    let mut smtp = smtp_tls(&gmail).await;
    let offered = smtp.ask("EHLO t\r\n", "250 ").await;
    assert!(offered.contains("250-AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH\r\n"), "{offered}");
    let mut smtp = logged_in(&gmail, Protocol::Smtp).await;
    smtp.ask(format!("MAIL FROM:<{ANN}> SMTPUTF8\r\n"), "250 2.1.0").await;
    smtp.ask("RSET\r\n", "250").await;
    assert!(submit(&mut smtp).await.contains("gsmtp"));
    assert_eq!(gmail.control().violations(), Vec::<String>::new());
}

#[tokio::test]
async fn gmail_challenges_before_it_refuses() {
    let gmail = simulator(Personality::Gmail).await;
    // {"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}
    let challenge = "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==";
    let wrong = xoauth2(ANN, "wrong");
    for (protocol, said) in [
        (Protocol::Imap, format!("+ {challenge}\r\na NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n")),
        (Protocol::Pop3, format!("+ {challenge}\r\n-ERR [AUTH] Username and password not accepted.\r\n")),
        (
            Protocol::Smtp,
            format!(
                "334 {challenge}\r\n535-5.7.1 Username and Password not accepted. Learn more at\r\n\
                 535 5.7.1 https://support.google.com/mail/?p=BadCredentials "
            ),
        ),
    ] {
        let heard = log_in(&gmail, protocol, "XOAUTH2", &wrong, "").await;
        assert!(heard.starts_with(&said), "{heard}");
    }
    assert_eq!(gmail.control().violations(), Vec::<String>::new());
}

#[tokio::test]
async fn oauthbearer_can_be_offered_instead_and_is_refused_by_a_challenge() {
    for personality in [Personality::Microsoft, Personality::Dovecot, Personality::Gmail] {
        let simulator = simulator(personality).await;
        let control = simulator.control();
        control.offer_mechanisms(&[Mechanism::Oauthbearer]);
        let good = oauthbearer(ANN, &token(&simulator).await);
        let wrong = oauthbearer(ANN, "wrong");
        for (protocol, accepted, prompt, refused) in [
            (Protocol::Smtp, "235 ", "334 ", "\r\n535 "),
            (Protocol::Imap, "a OK ", "+ ", "\r\na NO "),
            (Protocol::Pop3, "+OK ", "+ ", "\r\n-ERR "),
        ] {
            let before = control.violations().len();
            let said = log_in(&simulator, protocol, "OAUTHBEARER", &wrong, "AQ==").await;
            let challenge = said.strip_prefix(prompt).unwrap().split("\r\n").next().unwrap();
            let challenge: serde_json::Value = serde_json::from_slice(&STANDARD.decode(challenge).unwrap()).unwrap();
            assert_eq!(challenge["status"], "invalid_token");
            assert!(said.contains(refused), "{said}");
            assert_eq!(control.violations().len(), before);
            let heard = log_in(&simulator, protocol, "OAUTHBEARER", &good, "NOOP").await;
            assert!(heard.lines().any(|line| line.starts_with(accepted)), "{protocol:?}: {heard}");
            assert_eq!((control.logins_ok(protocol), control.logins_refused(protocol)), (1, 1));
            let before = control.violations().len();
            log_in(&simulator, protocol, "OAUTHBEARER", &wrong, "").await;
            assert!(control.violations()[before..].iter().any(|what| what.ends_with("is not AQ==")));
        }
    }
}

#[tokio::test]
async fn what_is_not_offered_is_not_taken() {
    let simulator = simulator(Personality::Microsoft).await;
    simulator.control().offer_mechanisms(&[Mechanism::Oauthbearer]);
    let mut imap = Client::open(&simulator, Protocol::Imap).await;
    imap.until("* OK").await;
    let offered = imap.ask("a CAPABILITY\r\n", "a OK").await;
    assert!(offered.contains(" AUTH=OAUTHBEARER ") && !offered.contains("XOAUTH2"), "{offered}");
    imap.ask("b AUTHENTICATE XOAUTH2\r\n", "b NO").await;
    let response = oauthbearer(ANN, &token(&simulator).await);
    imap.ask(format!("c AUTHENTICATE OAUTHBEARER {response}\r\n"), "c OK").await;
    let mut pop3 = Client::open(&simulator, Protocol::Pop3).await;
    pop3.until("+OK").await;
    assert!(pop3.ask("CAPA\r\n", ".").await.contains("SASL PLAIN OAUTHBEARER\r\n"));
    pop3.ask("AUTH XOAUTH2\r\n", "-ERR").await;
    let mut smtp = smtp_tls(&simulator).await;
    smtp.ask("AUTH XOAUTH2\r\n", "504 ").await;
    simulator
        .control()
        .offer_mechanisms(&[Mechanism::Xoauth2, Mechanism::Oauthbearer]);
    assert!(
        smtp.ask("EHLO t\r\n", "250 ")
            .await
            .contains("250-AUTH LOGIN XOAUTH2 OAUTHBEARER\r\n")
    );
}

#[tokio::test]
async fn a_malformed_response_is_no_refused_token() {
    let simulator = simulator(Personality::Microsoft).await;
    simulator.control().offer_mechanisms(&[Mechanism::Oauthbearer]);
    let bad = STANDARD.encode(format!("n,a={ANN},\x01auth=Bearer t\x01\x01"));
    let mut smtp = smtp_tls(&simulator).await;
    smtp.ask("AUTH OAUTHBEARER\r\n", "334 ").await;
    smtp.ask(format!("{bad}\r\n"), "501 5.5.124 Invalid OAUTHBEARER").await;
    assert_eq!(simulator.control().violations(), ["Smtp: the response to OAUTHBEARER is none: Fields"]);
    once(simulator.control(), Protocol::Smtp, Fault::RefuseLogin(Refusal::Temporary));
    smtp.ask("AUTH OAUTHBEARER\r\n", "334 ").await;
    smtp.ask(format!("{}\r\n", oauthbearer(ANN, "t")), "454 ").await;
}

#[tokio::test]
async fn a_persons_token_opens_their_mailbox_over_what_they_agreed_to() {
    let simulator = simulator(Personality::Microsoft).await;
    let control = simulator.control();
    let scopes = ["https://outlook.office.com/IMAP.AccessAsUser.All", "https://outlook.office.com/SMTP.Send"];
    let refresh = control.add_refresh_token(ANN, &scopes).unwrap();
    let form =
        format!("grant_type=refresh_token&client_id=11111111-2222-3333-4444-555555555555&refresh_token={refresh}");
    let (_, body) = post(&simulator, TOKEN_PATH, &form).await;
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let token = answer["access_token"].as_str().unwrap();
    control.share_mailbox(BOB, ANN);
    let expected = |protocol, user: &str| match (protocol, user) {
        (Protocol::Imap, _) => true,
        (Protocol::Smtp, user) => user == ANN,
        _ => false,
    };
    for protocol in MAIL {
        for user in [ANN, BOB] {
            let before = control.logins_ok(protocol);
            log_in(&simulator, protocol, "XOAUTH2", &xoauth2(user, token), "").await;
            let opened = control.logins_ok(protocol) > before;
            assert_eq!(opened, expected(protocol, user), "{protocol:?} {user}");
        }
    }
    control.revoke_all();
    let before = control.logins_ok(Protocol::Imap);
    log_in(&simulator, Protocol::Imap, "XOAUTH2", &xoauth2(ANN, token), "").await;
    assert_eq!(control.logins_ok(Protocol::Imap), before);
}
