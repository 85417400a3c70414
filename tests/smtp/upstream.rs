//! The gateway's own login at the provider: tokens refused, TLS refused, and no token where it could be overheard.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{self, Act, Certificate, Fault, Moment, Personality, Refusal, TokenFault};

use super::common::{ADDRESS, Answer, Client, PASSWORD, Setup, Wanted};
use super::{BOTH, LATER, part, send, told};

/// Lets so much time pass for the gateway. Nobody may be waiting for anything meanwhile.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A token that was given out just now is as fresh as one can be; after this it is not.
const NO_LONGER_FRESH: Duration = Duration::from_secs(61);

fn refuse_next(setup: &Setup, times: usize, refusal: Refusal) {
    setup
        .control()
        .fail_next(sim::Protocol::Smtp, times, Fault::RefuseLogin(refusal));
}

async fn log_in(client: &mut Client) -> Answer {
    client.log_in(Protocol::Smtp, "scanner", PASSWORD).await
}

/// The reply with which a login is refused, which must be one line that any client can take.
async fn refusal(client: &mut Client) -> String {
    let Answer::Refused(reply) = log_in(client).await else { panic!("accepted") };
    assert!(reply.len() <= 510, "{reply}");
    assert!(reply.starts_with("454 4.7.0 "), "{reply}");
    reply
}

/// A setup whose one token is no longer fresh.
async fn with_an_old_token(personality: Personality) -> Setup {
    let setup = Setup::with(Wanted::of(personality)).await;
    part(&setup, setup.logged_in(Protocol::Smtp).await).await;
    pass(NO_LONGER_FRESH).await;
    setup
}

#[tokio::test]
async fn an_old_token_that_is_refused_is_replaced_and_nobody_notices() {
    for personality in BOTH {
        for refused in [Refusal::Token, Refusal::TokenWithChallenge] {
            let setup = with_an_old_token(personality).await;
            refuse_next(&setup, 1, refused);
            let mut client = setup.logged_in(Protocol::Smtp).await;
            send(&mut client, "Subject: with a fresh token").await;
            part(&setup, client).await;
            assert_eq!(setup.control().token_requests(), 2);
            assert_eq!(setup.control().logins_refused(sim::Protocol::Smtp), 1);
        }
    }
}

#[tokio::test]
async fn a_revoked_token_is_replaced() {
    for personality in BOTH {
        let setup = with_an_old_token(personality).await;
        setup.control().revoke_all_tokens();
        part(&setup, setup.logged_in(Protocol::Smtp).await).await;
        assert_eq!(setup.control().token_requests(), 2);
    }
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_is_not_replaced() {
    for personality in BOTH {
        for refused in [Refusal::Token, Refusal::TokenWithChallenge] {
            let setup = Setup::with(Wanted::of(personality)).await;
            refuse_next(&setup, 1, refused);
            let mut client = setup.client(Protocol::Smtp).await;
            let reply = refusal(&mut client).await;
            assert!(reply.starts_with(&format!("454 4.7.0 {ADDRESS}: The provider refuses a fresh token")), "{reply}");
            assert!(reply.contains("AUTH XOAUTH2 was refused: 535 5.7."), "{reply}");
            assert!(reply.contains(". Check that ") && reply.contains("may open this mailbox"), "{reply}");
            assert_eq!(setup.control().token_requests(), 1, "another would fare no better");
            assert_eq!(setup.control().logins_refused(sim::Protocol::Smtp), 1);
            // The session stays, and what was refused once may pass now.
            assert_eq!(log_in(&mut client).await, Answer::Accepted);
            part(&setup, client).await;
        }
    }
}

#[tokio::test]
async fn tokens_that_are_always_refused_are_not_fetched_for_ever() {
    for personality in BOTH {
        let setup = with_an_old_token(personality).await;
        setup.control().fail(sim::Protocol::Smtp, Fault::RefuseLogin(Refusal::Token));
        let mut client = setup.client(Protocol::Smtp).await;
        let reply = refusal(&mut client).await;
        assert!(reply.contains("The provider refuses a fresh token for this mailbox"), "{reply}");
        assert_eq!(setup.control().token_requests(), 2, "one more was tried");
        refusal(&mut client).await;
        refusal(&mut client).await;
        assert_eq!(client.rest().await, "421 4.7.0 Too many errors, closing\r\n");
        assert_eq!(setup.control().token_requests(), 2, "and no more after it");
        setup.deserted().await;
        // Not even once it is old, for five minutes.
        pass(NO_LONGER_FRESH).await;
        refusal(&mut setup.client(Protocol::Smtp).await).await;
        assert_eq!(setup.control().token_requests(), 2);
    }
}

#[tokio::test]
async fn refusals_that_no_token_can_help_cost_none() {
    for personality in BOTH {
        let setup = with_an_old_token(personality).await;
        let mut client = setup.client(Protocol::Smtp).await;
        refuse_next(&setup, 1, Refusal::Policy);
        let reply = refusal(&mut client).await;
        assert!(reply.contains("An administrator must allow this protocol"), "{reply}");
        refuse_next(&setup, 1, Refusal::Rights);
        refusal(&mut client).await;
        assert_eq!(log_in(&mut client).await, Answer::Accepted);
        part(&setup, client).await;
        assert_eq!(setup.control().token_requests(), 1);
    }
}

#[tokio::test]
async fn a_refusal_of_many_lines_is_one_refusal() {
    let setup = Setup::new().await;
    let gmail = "535-5.7.8 Username and Password not accepted. For more information, go to\r\n\
                 535 5.7.8  https://support.google.com/mail/?p=BadCredentials x - gsmtp";
    setup
        .control()
        .fail_next(sim::Protocol::Smtp, 1, Fault::At(Moment::CredentialsRead, Act::Say(gmail.into())));
    let mut client = setup.client(Protocol::Smtp).await;
    let reply = refusal(&mut client).await;
    assert!(reply.contains("not accepted") && reply.contains("BadCredentials"), "{reply}");
    assert_eq!(client.ask("NOOP").await, "250 2.0.0 Ok", "one reply to one login");
    assert_eq!(log_in(&mut client).await, Answer::Accepted);
    part(&setup, client).await;
}

#[tokio::test]
async fn what_the_provider_says_cannot_add_a_line_to_our_reply() {
    let setup = Setup::new().await;
    let words = format!("535 5.7.3 \u{1b}[2J\rquit\0 {}", "x".repeat(2000));
    setup
        .control()
        .fail_next(sim::Protocol::Smtp, 1, Fault::At(Moment::CredentialsRead, Act::Say(words)));
    let mut client = setup.client(Protocol::Smtp).await;
    let reply = refusal(&mut client).await;
    assert!(reply.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{reply:?}");
    assert_eq!(client.ask("NOOP").await, "250 2.0.0 Ok");
}

/// The login fails, and all that the provider's SMTP server was told is how to begin.
async fn fails_without_a_token(setup: &Setup, what: &str) {
    let mut client = setup.client(Protocol::Smtp).await;
    refusal(&mut client).await;
    drop(client);
    setup.deserted().await;
    let told = told(setup.control());
    let harmless = ["EHLO gateway.example", "STARTTLS", "QUIT"];
    assert!(told.iter().all(|line| harmless.contains(&line.as_str())), "{what}: {told:?}");
    assert_eq!(setup.control().logins_refused(sim::Protocol::Smtp), 0);
}

#[tokio::test]
async fn no_token_is_sent_in_the_clear() {
    let at = |moment, words: &str| Fault::At(moment, Act::Say(words.into()));
    let faults = [
        Fault::Withhold("STARTTLS"),
        at(Moment::CapabilitiesDue, "250-mx.example\r\n250 AUTH XOAUTH2"),
        at(Moment::CapabilitiesDue, "250 mx.example"),
        at(Moment::CapabilitiesDue, "502 5.5.1 HELO is all I know"),
        at(Moment::StartTlsDue, "454 4.7.0 TLS not available due to temporary reason"),
        at(Moment::StartTlsDue, "502 5.5.1 Not implemented"),
        at(Moment::StartTlsDue, "250 2.0.0 Whatever you say"),
        // Injected between the answer and the handshake, as if it had come over TLS.
        at(Moment::StartTlsAnswered, "250-mx.example\r\n250 AUTH XOAUTH2"),
        at(Moment::StartTlsAnswered, ""),
    ];
    for personality in BOTH {
        for fault in &faults {
            let setup = Setup::with(Wanted::of(personality)).await;
            setup.control().fail(sim::Protocol::Smtp, fault.clone());
            fails_without_a_token(&setup, &format!("{fault:?}")).await;
        }
    }
}

#[tokio::test]
async fn no_token_is_sent_to_a_stranger() {
    for certificate in [Certificate::SelfSigned, Certificate::WrongName, Certificate::Expired] {
        let setup = Setup::new().await;
        setup.control().fail(sim::Protocol::Smtp, Fault::Certificate(certificate));
        fails_without_a_token(&setup, &format!("{certificate:?}")).await;
        setup.control().clear_faults();
        part(&setup, setup.logged_in(Protocol::Smtp).await).await;
    }
}

#[tokio::test]
async fn no_token_is_sent_where_none_is_taken() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        setup.control().fail(sim::Protocol::Smtp, Fault::Withhold("AUTH"));
        fails_without_a_token(&setup, "no XOAUTH2").await;
    }
}

#[tokio::test]
async fn without_a_token_nobody_is_dialed() {
    let setup = Setup::new().await;
    setup.control().fail_next_tokens(1, TokenFault::Aadsts(7_000_215));
    let mut client = setup.client(Protocol::Smtp).await;
    let reply = refusal(&mut client).await;
    assert!(reply.contains("7000215"), "{reply}");
    assert_eq!(setup.control().connections(sim::Protocol::Smtp), 0);

    let setup = Setup::new().await;
    setup.control().fail_next_tokens(1, TokenFault::Close);
    assert_eq!(refusal(&mut setup.client(Protocol::Smtp).await).await, LATER);
    assert_eq!(setup.control().connections(sim::Protocol::Smtp), 0);
}
