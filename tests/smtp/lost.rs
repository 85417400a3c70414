//! The provider hangs up, or talks nonsense, at every point of the dialogue.

use mailferry::config::Protocol;
use mailferry::sim::{self, Act, Fault, Flood, Gate, Moment, Personality, Refusal};

use super::common::{Answer, Client, PASSWORD, Setup, Wanted};
use super::{BOTH, LATER, MAIL, RCPT, part, send};

const LOST: &str = "421 4.4.2 The mail server's connection was lost";
const LOST_WITH_MESSAGE: &str = "451 4.4.2 The mail server's connection was lost, send again later";

/// Lets this happen once.
fn once(setup: &Setup, moment: Moment, act: Act) {
    setup.control().fail_next(sim::Protocol::Smtp, 1, Fault::At(moment, act));
}

/// The login fails for now, and the next one on the same connection succeeds.
async fn fails_once(setup: &Setup, what: &str) {
    let mut client = setup.client(Protocol::Smtp).await;
    let answer = client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    assert_eq!(answer, Answer::Refused(LATER.into()), "{what}");
    let again = client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    assert_eq!(again, Answer::Accepted, "after {what}");
    send(&mut client, "Subject: all the same").await;
    part(setup, client).await;
}

#[tokio::test]
async fn a_connection_lost_before_the_login_is_a_passing_fault() {
    let moments = [
        Moment::Accepted,
        Moment::GreetingDue,
        Moment::Greeted,
        Moment::CapabilitiesDue,
        Moment::CapabilitiesSaid,
        Moment::StartTlsDue,
        Moment::StartTlsAnswered,
        Moment::TlsReady,
        Moment::AuthDue,
        Moment::CredentialsRead,
    ];
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        for moment in moments {
            once(&setup, moment, Act::Close);
            fails_once(&setup, &format!("{moment:?}, {personality:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_connection_lost_at_the_second_ehlo_is_a_passing_fault() {
    for moment in [Moment::CapabilitiesDue, Moment::CapabilitiesSaid] {
        let setup = Setup::new().await;
        let gate = Gate::new();
        once(&setup, Moment::TlsReady, Act::Hold(gate.clone()));
        let mut client = setup.client(Protocol::Smtp).await;
        let (answer, ()) = tokio::join!(client.log_in(Protocol::Smtp, "scanner", PASSWORD), async {
            gate.reached(1).await;
            once(&setup, moment, Act::Close);
            gate.open();
        });
        assert_eq!(answer, Answer::Refused(LATER.into()), "{moment:?}");
        assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    }
}

#[tokio::test]
async fn temporary_words_and_nonsense_before_the_login_are_passing_faults() {
    let setup = Setup::new().await;
    for (moment, words) in [
        (Moment::GreetingDue, "421 4.3.2 Service not active"),
        (Moment::GreetingDue, "451 4.7.0 Temporary server error. Please try again later. PRX4"),
        (Moment::GreetingDue, "* OK IMAP4 ready"),
        (Moment::GreetingDue, "250 hello"),
        (Moment::GreetingDue, "\0\u{ff}"),
        (Moment::GreetingDue, ""),
        (Moment::CapabilitiesDue, "421 4.4.1 Connection timed out"),
        (Moment::CapabilitiesDue, "250-half\r\n251 and half"),
        (Moment::CapabilitiesDue, "354 go on"),
        (Moment::AuthDue, "421 4.3.2 Service not active"),
        (Moment::AuthDue, "451 4.7.0 Temporary server error. Please try again later. PRX5"),
        (Moment::AuthDue, "235 2.7.0 already"),
        (Moment::CredentialsRead, "454 4.7.0 Temporary authentication failure"),
        (Moment::CredentialsRead, "250 whatever"),
    ] {
        once(&setup, moment, Act::Say(words.into()));
        let mut client = setup.client(Protocol::Smtp).await;
        let answer = client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
        assert_eq!(answer, Answer::Refused(LATER.into()), "{moment:?}: {words:?}");
        assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    }
    for (moment, flood) in [
        (Moment::GreetingDue, Flood::Line),
        (Moment::GreetingDue, Flood::Lines),
        (Moment::CapabilitiesDue, Flood::Lines),
        (Moment::CredentialsRead, Flood::Line),
    ] {
        once(&setup, moment, Act::Flood(flood));
        fails_once_amid(&setup, &format!("{moment:?}: {flood:?}")).await;
    }
    setup
        .control()
        .fail_next(sim::Protocol::Smtp, 1, Fault::RefuseLogin(Refusal::Temporary));
    fails_once_amid(&setup, "a temporary refusal").await;
    assert_eq!(setup.control().token_requests(), 1, "no fault here was the token's");
}

/// As [`fails_once`], where what the provider does breaks its own rules too.
async fn fails_once_amid(setup: &Setup, what: &str) {
    let mut client = setup.client(Protocol::Smtp).await;
    let answer = client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    assert_eq!(answer, Answer::Refused(LATER.into()), "{what}");
    assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted, "after {what}");
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_a_passing_fault() {
    let setup = Setup::new().await;
    setup.control().close_door(sim::Protocol::Smtp).await;
    let mut client = setup.client(Protocol::Smtp).await;
    let answer = client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    assert_eq!(answer, Answer::Refused(LATER.into()));
    setup.control().open_door(sim::Protocol::Smtp).await;
    assert_eq!(client.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    part(&setup, client).await;
}

#[tokio::test]
async fn a_provider_that_says_nothing_is_a_passing_fault() {
    for moment in [Moment::Accepted, Moment::StartTlsAnswered, Moment::CredentialsRead] {
        let change = |config: &mut mailferry::config::Config| {
            config.budgets.dial = std::time::Duration::from_millis(100);
        };
        let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
        let gate = Gate::new();
        once(&setup, moment, Act::Hold(gate.clone()));
        let mut client = setup.client(Protocol::Smtp).await;
        let answer = client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
        assert_eq!(answer, Answer::Refused(LATER.into()), "{moment:?}");
        gate.open();
    }
}

/// Sends a message and a NOOP. At the first refusal: the command it was said to, and everything said from there on.
async fn until_lost(client: &mut Client) -> (&'static str, String) {
    for (name, command) in
        [("MAIL", MAIL), ("RCPT", RCPT), ("DATA", "DATA"), ("message", "Subject: x\r\n\r\n."), ("NOOP", "NOOP")]
    {
        let reply = client.ask(command).await;
        if !reply.starts_with(['2', '3']) {
            return (name, format!("{reply}\r\n{}", client.rest().await));
        }
    }
    panic!("nothing went wrong");
}

/// A moment after the login; the command that is answered then; our answer, if the provider hangs up instead.
const AFTER_LOGIN: [(Moment, &str, &str); 7] = [
    (Moment::MailDue, "MAIL", LOST),
    (Moment::RcptDue, "RCPT", LOST),
    (Moment::DataDue, "DATA", LOST_WITH_MESSAGE),
    (Moment::BodyBegun, "message", LOST_WITH_MESSAGE),
    (Moment::BodyRead, "message", LOST_WITH_MESSAGE),
    (Moment::Delivered, "message", LOST_WITH_MESSAGE),
    (Moment::CommandDue, "NOOP", LOST),
];

#[tokio::test]
async fn a_connection_lost_after_the_login_ends_the_session_with_its_reason() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        for (moment, command, reply) in AFTER_LOGIN {
            let before = setup.control().submissions().len();
            once(&setup, moment, Act::Close);
            let mut client = setup.logged_in(Protocol::Smtp).await;
            assert_eq!(until_lost(&mut client).await, (command, format!("{reply}\r\n")), "{moment:?}");
            setup.deserted().await;
            let delivered = setup.control().submissions().len() - before;
            let expected = usize::from(matches!(moment, Moment::Delivered | Moment::CommandDue));
            assert_eq!(delivered, expected, "{moment:?}: what is not answered 250 may have been delivered, not more");
        }
        assert_eq!(setup.control().violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_connection_lost_between_chunks_costs_the_message() {
    for (moment, chunk) in [(Moment::DataDue, "BDAT 4"), (Moment::BodyRead, "BDAT 4 LAST")] {
        let setup = Setup::new().await;
        once(&setup, moment, Act::Close);
        let mut client = setup.logged_in(Protocol::Smtp).await;
        client.send(format!("{MAIL}\r\n{RCPT}\r\n{chunk}\r\nx: y").as_bytes()).await;
        let replies = client.rest().await;
        assert_eq!(replies.lines().collect::<Vec<_>>()[2..], [LOST_WITH_MESSAGE]);
    }
}

#[tokio::test]
async fn a_connection_lost_right_behind_the_login() {
    for personality in [Personality::Microsoft, Personality::Dovecot] {
        let setup = Setup::with(Wanted::of(personality)).await;
        once(&setup, Moment::LoggedIn, Act::Close);
        let mut client = setup.logged_in(Protocol::Smtp).await;
        assert_eq!(client.rest().await, format!("{LOST}\r\n"));
        setup.deserted().await;
    }
}

#[tokio::test]
async fn the_providers_own_farewell_is_the_last_word() {
    let farewell = "421 4.3.2 Service not active";
    let setup = Setup::new().await;
    for (moment, command, _) in AFTER_LOGIN {
        // In the middle of a message it is no answer: see the refusals.
        if moment == Moment::BodyBegun {
            continue;
        }
        once(&setup, moment, Act::Say(farewell.into()));
        let mut client = setup.logged_in(Protocol::Smtp).await;
        assert_eq!(until_lost(&mut client).await, (command, format!("{farewell}\r\n")), "{moment:?}");
    }
    // Said without having been asked.
    once(&setup, Moment::LoggedIn, Act::Say(farewell.into()));
    let mut client = setup.logged_in(Protocol::Smtp).await;
    assert_eq!(client.rest().await, format!("{farewell}\r\n"));
    setup.deserted().await;
}

#[tokio::test]
async fn nonsense_after_the_login_ends_the_session_and_is_not_passed_on() {
    let setup = Setup::new().await;
    for (moment, words, command, reply) in [
        (Moment::MailDue, "what?", "MAIL", LOST),
        (Moment::MailDue, "354 go on", "MAIL", LOST),
        (Moment::RcptDue, "250-half\r\n550 and half", "RCPT", LOST),
        (Moment::DataDue, "250 as if it had been sent", "DATA", LOST_WITH_MESSAGE),
        (Moment::BodyRead, "354 more", "message", LOST_WITH_MESSAGE),
        (Moment::CommandDue, "", "NOOP", LOST),
    ] {
        once(&setup, moment, Act::Say(words.into()));
        let mut client = setup.logged_in(Protocol::Smtp).await;
        assert_eq!(until_lost(&mut client).await, (command, format!("{reply}\r\n")), "{moment:?}: {words:?}");
    }
    for (moment, flood, command, reply) in [
        (Moment::MailDue, Flood::Line, "MAIL", LOST),
        (Moment::MailDue, Flood::Lines, "MAIL", LOST),
        (Moment::BodyRead, Flood::Lines, "message", LOST_WITH_MESSAGE),
    ] {
        once(&setup, moment, Act::Flood(flood));
        let mut client = setup.logged_in(Protocol::Smtp).await;
        assert_eq!(until_lost(&mut client).await, (command, format!("{reply}\r\n")), "{moment:?}: {flood:?}");
    }
}

#[tokio::test]
async fn a_second_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() {
    let setup = Setup::new().await;
    once(&setup, Moment::MailDue, Act::Say("550 5.7.1 No\r\n250 2.1.5 Recipient OK".into()));
    let mut client = setup.logged_in(Protocol::Smtp).await;
    client.say(MAIL).await;
    assert_eq!(client.rest().await, format!("550 5.7.1 No\r\n{LOST}\r\n"));
}
