//! What the provider does wrong: refusals, lost connections and nonsense at every point of the dialogue.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{
    Act, CannedAnswer, Certificate, Control, Fault, Flood, Gate, Moment, Personality, Refusal, TokenFault,
};

use crate::common::{Client, Setup, Wanted, in_time};
use crate::{Kind, PERSONALITIES, READING, accepted, assert_unharmed, refused, server};

/// The moments of a login's dialogue at which an upstream can fail it.
fn moments(protocol: Protocol, personality: Personality) -> Vec<Moment> {
    let asked_for_capabilities = protocol == Protocol::Imap && personality == Personality::Microsoft;
    let mut moments = vec![Moment::Accepted, Moment::GreetingDue, Moment::Greeted];
    if asked_for_capabilities {
        moments.extend([Moment::CapabilitiesDue, Moment::CapabilitiesSaid]);
    }
    moments.extend([Moment::AuthDue, Moment::CredentialsRead]);
    if asked_for_capabilities {
        // The login succeeds, and then the question what the server can do is not answered.
        moments.extend([Moment::LoggedIn, Moment::CommandDue]);
    }
    moments
}

/// An upstream that does this at that moment, once, is unavailable to one login and to nobody else: `bystander` is
/// another session.
async fn assert_unavailable(setup: &Setup, protocol: Protocol, moment: Moment, act: Act, bystander: &mut Client) {
    let why = format!("{protocol} {moment:?} {act:?}");
    setup.control().fail_next(server(protocol), 1, Fault::At(moment, act));
    let mut client = setup.client(protocol).await;
    refused(&mut client, protocol, Kind::Passing, &why).await;
    assert_unharmed(bystander, protocol).await;
    // The same connection gets in once the upstream is back.
    accepted(&mut client, protocol).await;
}

#[tokio::test]
async fn an_upstream_that_hangs_up_is_unavailable_whenever_it_does() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        for protocol in READING {
            let mut bystander = setup.logged_in(protocol).await;
            for moment in moments(protocol, personality) {
                assert_unavailable(&setup, protocol, moment, Act::Close, &mut bystander).await;
            }
        }
        assert_eq!(setup.control().token_requests(), 1, "a lost connection says nothing about the token");
        assert_eq!(setup.gateway.drain().await, 0, "no session is left behind");
    }
}

#[tokio::test]
async fn an_upstream_without_end_is_cut_off() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        for protocol in READING {
            let mut bystander = setup.logged_in(protocol).await;
            for moment in moments(protocol, personality) {
                for flood in [Flood::Line, Flood::Lines] {
                    // To POP3, a line that begins with +OK is the login's success, whatever it says.
                    if (protocol, moment) != (Protocol::Pop3, Moment::CredentialsRead) {
                        assert_unavailable(&setup, protocol, moment, Act::Flood(flood), &mut bystander).await;
                    }
                }
            }
        }
        assert_eq!(setup.control().token_requests(), 1);
    }
}

#[tokio::test]
async fn an_upstream_that_talks_nonsense_is_unavailable() {
    let nonsense =
        ["", "\0* OK hello", "220 mail.example ESMTP", "HTTP/1.1 400 Bad Request", "\u{fffd}\u{e9}", "a OK in"];
    let imap = ["* PREAUTH welcome", "* BYE busy", "* NO no", "* BAD bad", "+ hello", "*OK hello", "+OK hello"];
    let pop3 = ["-ERR busy", "-ERR [SYS/TEMP] busy", "-ERR [IN-USE] busy", "+ hello", "* OK hello", "+OKhello"];
    let setup = Setup::new().await;
    for (protocol, greetings) in [(Protocol::Imap, &imap[..]), (Protocol::Pop3, &pop3)] {
        let mut bystander = setup.logged_in(protocol).await;
        for said in nonsense.iter().chain(greetings) {
            let act = Act::Say((*said).into());
            assert_unavailable(&setup, protocol, Moment::GreetingDue, act, &mut bystander).await;
        }
        let verdicts: &[&str] = match protocol {
            // The simulator puts the command's tag before what is no untagged response.
            Protocol::Imap => {
                &["", "PREAUTH in", "BYE now", "HELLO there", "* PREAUTH in", "* OK [ALERT] x\r\nzz9 OK in"]
            }
            Protocol::Smtp | Protocol::Pop3 => &nonsense,
        };
        for said in verdicts {
            let act = Act::Say((*said).into());
            assert_unavailable(&setup, protocol, Moment::CredentialsRead, act, &mut bystander).await;
        }
    }
}

#[tokio::test]
async fn an_upstream_that_says_nothing_costs_the_dials_time_and_no_more() {
    let change = |config: &mut mailferry::config::Config| config.budgets.dial = Duration::from_millis(300);
    for moment in [Moment::Accepted, Moment::GreetingDue, Moment::AuthDue, Moment::CredentialsRead] {
        let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
        let gate = Gate::new();
        let hang = async |protocol: Protocol| {
            setup
                .control()
                .fail(server(protocol), Fault::At(moment, Act::Hold(gate.clone())));
            let mut client = setup.client(protocol).await;
            refused(&mut client, protocol, Kind::Passing, &format!("{protocol} {moment:?}")).await;
        };
        tokio::join!(hang(Protocol::Imap), hang(Protocol::Pop3));
        // The upstream finds that nobody has waited for it.
        gate.open();
        let all_closed = |provider: &Control| READING.iter().all(|p| provider.open_connections(server(*p)) == 0);
        in_time(setup.control().until(all_closed)).await;
    }
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_gets_no_token() {
    let setup = Setup::new().await;
    for protocol in READING {
        for certificate in
            [Certificate::SelfSigned, Certificate::WrongName, Certificate::HostileNames, Certificate::Expired]
        {
            setup.control().fail_next(server(protocol), 1, Fault::Certificate(certificate));
            let mut client = setup.client(protocol).await;
            refused(&mut client, protocol, Kind::Passing, &format!("{protocol} {certificate:?}")).await;
        }
        let provider = setup.control();
        assert_eq!((provider.received(server(protocol)), provider.logins_refused(server(protocol))), (0, 0));
    }
}

#[tokio::test]
async fn a_refusal_is_told_by_its_kind_and_ends_only_the_try() {
    for personality in PERSONALITIES {
        for (refusal, kind, hint) in [
            (Refusal::Token, Kind::Person, "may open this mailbox"),
            (Refusal::TokenWithChallenge, Kind::Person, "may open this mailbox"),
            (Refusal::Policy, Kind::Person, "An administrator must"),
            // POP3 has one code for this and for a policy.
            (Refusal::Rights, Kind::Rights, ""),
            (Refusal::Temporary, Kind::Passing, "try again later"),
        ] {
            for protocol in READING {
                let setup = Setup::with(Wanted::of(personality)).await;
                let why = format!("{protocol} {refusal:?}");
                setup.control().fail_next(server(protocol), 1, Fault::RefuseLogin(refusal));
                let mut client = setup.client(protocol).await;
                let line = refused(&mut client, protocol, kind, &why).await;
                assert!(line.contains(hint), "{why}: {line}");
                let provider = setup.control();
                assert_eq!((provider.connections(server(protocol)), provider.token_requests()), (1, 1), "{why}");
                accepted(&mut client, protocol).await;
                assert_eq!(provider.violations(), Vec::<String>::new());
            }
        }
    }
}

#[tokio::test]
async fn the_words_of_a_refusal_say_whose_move_it_is() {
    let setup = Setup::new().await;
    let imap = [
        ("NO AUTHENTICATE failed.", Kind::Person),
        ("NO [AUTHENTICATIONFAILED] no", Kind::Person),
        ("NO [EXPIRED] no", Kind::Person),
        ("NO [CONTACTADMIN] no", Kind::Person),
        ("NO [REFERRAL imap://elsewhere.example/] try there", Kind::Person),
        ("NO [AUTHORIZATIONFAILED] no", Kind::Rights),
        ("NO [UNAVAILABLE] no", Kind::Passing),
        ("NO [INUSE] no", Kind::Passing),
        ("NO [LIMIT] no", Kind::Passing),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", Kind::Passing),
        ("BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds", Kind::Passing),
        ("BAD Command Error. 12", Kind::Passing),
        ("* BYE Connection is closed. 13", Kind::Passing),
    ];
    let pop3 = [
        ("-ERR Authentication failure: unknown user name or bad password.", Kind::Person),
        ("-ERR [AUTH] no", Kind::Person),
        ("-ERR [SYS/PERM] no", Kind::Person),
        ("-ERR [SYS/TEMP] no", Kind::Passing),
        ("-ERR [IN-USE] no", Kind::Passing),
        ("-ERR [LOGIN-DELAY] no", Kind::Passing),
    ];
    for (protocol, catalogue) in [(Protocol::Imap, &imap[..]), (Protocol::Pop3, &pop3)] {
        for (said, kind) in catalogue {
            let act = Act::Say((*said).into());
            setup
                .control()
                .fail_next(server(protocol), 1, Fault::At(Moment::CredentialsRead, act));
            let mut client = setup.client(protocol).await;
            refused(&mut client, protocol, *kind, said).await;
        }
    }
    assert_eq!(setup.control().token_requests(), 1, "the token was as fresh as one can be");
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_told_by_its_kind() {
    for (fault, kind) in [
        (TokenFault::Close, Kind::Passing),
        (TokenFault::Answer(CannedAnswer::new(500)), Kind::Passing),
        (TokenFault::Answer(CannedAnswer::new(429).header("Retry-After", "30")), Kind::Passing),
        (TokenFault::Aadsts(90033), Kind::Passing),
        (TokenFault::Hold(Gate::new()), Kind::Passing),
        (TokenFault::Padded(2 * 1024 * 1024), Kind::Passing),
        (TokenFault::Member("token_type", Some("\"MAC\"")), Kind::Person),
        (TokenFault::Aadsts(7_000_215), Kind::Person),
        (TokenFault::Aadsts(7_000_222), Kind::Person),
        (TokenFault::Aadsts(65_001), Kind::Person),
    ] {
        let change = |config: &mut mailferry::config::Config| config.budgets.token = Duration::from_millis(500);
        let setup = Setup::with(Wanted { change, ..Wanted::default() }).await;
        let why = format!("{fault:?}");
        setup.control().fail_tokens(fault);
        for protocol in READING {
            let mut client = setup.client(protocol).await;
            refused(&mut client, protocol, kind, &why).await;
            assert_eq!(setup.control().connections(server(protocol)), 0, "nobody is dialed without a token");
        }
    }
}
