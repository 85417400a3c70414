//! A provider whose servers begin in the clear: whoever takes TLS out of the dialogue gets no token.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{self, Act, Certificate, Control, Direction, Fault, Gate, Moment};

use crate::common::{Setup, Wanted, in_time};
use crate::{Kind, PERSONALITIES, READING, accepted, assert_unharmed, refused, server};

fn in_clear(personality: sim::Personality) -> Wanted {
    let mut wanted = Wanted::of(personality);
    wanted.provider.starttls = true;
    wanted
}

/// What the gateway has said to a server, line by line; IMAP's tags left out.
fn told(control: &Control, protocol: Protocol) -> Vec<String> {
    let to_server = |(to, direction, _): &(sim::Protocol, Direction, String)| {
        (*to, *direction) == (server(protocol), Direction::ToProvider)
    };
    let lines = control.dialogue().into_iter().filter(to_server).map(|(_, _, line)| line);
    lines
        .map(|line| match line.split_once(' ') {
            Some((_, command)) if protocol == Protocol::Imap => command.to_owned(),
            _ => line,
        })
        .collect()
}

/// A login fails in this way, and all that the server was told is how to begin and goodbye.
async fn fails_without_a_token(setup: &Setup, protocol: Protocol, kind: Kind, why: &str) {
    let mut client = setup.client(protocol).await;
    refused(&mut client, protocol, kind, why).await;
    drop(client);
    setup.deserted().await;
    let told = told(setup.control(), protocol);
    let harmless = ["CAPABILITY", "STARTTLS", "LOGOUT", "STLS", "QUIT"];
    assert!(told.iter().all(|line| harmless.contains(&line.as_str())), "{why}: {told:?}");
    assert_eq!(setup.control().logins_refused(server(protocol)), 0, "{why}");
}

#[tokio::test]
async fn tls_comes_first_and_the_login_after_it() {
    for personality in PERSONALITIES {
        let setup = Setup::with(in_clear(personality)).await;
        for protocol in Protocol::ALL {
            let mut client = setup.client(protocol).await;
            accepted(&mut client, protocol).await;
            assert_unharmed(&mut client, protocol).await;
        }
        // The simulator takes no login in the clear.
        assert_eq!(setup.control().violations(), Vec::<String>::new());
        let imap: &[&str] = match personality {
            sim::Personality::Microsoft | sim::Personality::Gmail => {
                &["CAPABILITY", "STARTTLS", "CAPABILITY", "AUTHENTICATE"]
            }
            sim::Personality::Dovecot => &["STARTTLS", "CAPABILITY", "AUTHENTICATE"],
        };
        for (protocol, begin) in [(Protocol::Imap, imap), (Protocol::Pop3, &["STLS", "AUTH"])] {
            let told = told(setup.control(), protocol);
            let verbs: Vec<_> = told.iter().filter_map(|line| line.split(' ').next()).collect();
            assert!(verbs.starts_with(begin), "{verbs:?}");
        }
    }
}

/// Rows of what a server, or whoever sits before it, does until the handshake, and what the client is told.
fn ways_to_do_without_tls(protocol: Protocol) -> Vec<(Vec<Fault>, Kind)> {
    let say = |moment, words: &str| Fault::At(moment, Act::Say(words.into()));
    let mut ways = Vec::new();
    let with_xoauth2 = "[CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2]";
    match protocol {
        Protocol::Imap => {
            ways.extend([
                (vec![Fault::Withhold("STARTTLS")], Kind::Person),
                (vec![say(Moment::GreetingDue, &format!("* OK {with_xoauth2} ready"))], Kind::Person),
                (vec![say(Moment::GreetingDue, "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] ready")], Kind::Person),
                (vec![say(Moment::GreetingDue, &format!("* PREAUTH {with_xoauth2} welcome"))], Kind::Passing),
                // Asked for, since the greeting does not tell.
                (
                    vec![
                        say(Moment::GreetingDue, "* OK ready"),
                        say(Moment::CapabilitiesDue, "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2"),
                        say(Moment::CapabilitiesDue, "OK done"),
                    ],
                    Kind::Person,
                ),
            ]);
            for (words, kind) in [
                ("NO TLS is not configured", Kind::Person),
                ("NO [UNAVAILABLE] not now", Kind::Passing),
                ("NO [AUTHENTICATIONFAILED] Your token is no good", Kind::Passing),
                ("BAD Command Error. 12", Kind::Passing),
                ("* BYE Connection is closed. 13", Kind::Passing),
                ("+ go on", Kind::Passing),
                ("* PREAUTH welcome", Kind::Passing),
            ] {
                ways.push((vec![say(Moment::StartTlsDue, words)], kind));
            }
            // Injected between the answer and the handshake, as if it had come over TLS.
            for words in ["* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2", "* OK hello", ""] {
                ways.push((vec![say(Moment::StartTlsAnswered, words)], Kind::Passing));
            }
        }
        Protocol::Smtp | Protocol::Pop3 => {
            ways.push((vec![Fault::Withhold("STLS")], Kind::Person));
            for (words, kind) in [
                ("-ERR Command is not valid in this state.", Kind::Person),
                ("-ERR [SYS/PERM] TLS is not configured", Kind::Person),
                ("-ERR [SYS/TEMP] not now", Kind::Passing),
                ("+ go on", Kind::Passing),
                ("* OK hello", Kind::Passing),
            ] {
                ways.push((vec![say(Moment::StartTlsDue, words)], kind));
            }
            for words in ["+ ", "+OK hello\r\n+ ", ""] {
                ways.push((vec![say(Moment::StartTlsAnswered, words)], Kind::Passing));
            }
        }
    }
    for moment in [Moment::StartTlsDue, Moment::StartTlsAnswered, Moment::TlsReady] {
        ways.push((vec![Fault::At(moment, Act::Close)], Kind::Passing));
    }
    ways
}

#[tokio::test]
async fn no_token_is_sent_in_the_clear() {
    for personality in PERSONALITIES {
        for protocol in READING {
            for (faults, kind) in ways_to_do_without_tls(protocol) {
                let setup = Setup::with(in_clear(personality)).await;
                let why = format!("{personality:?} {protocol} {faults:?}");
                for fault in faults {
                    setup.control().fail(server(protocol), fault);
                }
                fails_without_a_token(&setup, protocol, kind, &why).await;
                // The same gateway gets in once the server is itself again.
                setup.control().clear_faults();
                accepted(&mut setup.client(protocol).await, protocol).await;
            }
        }
    }
}

#[tokio::test]
async fn no_token_is_sent_to_a_stranger() {
    let setup = Setup::with(in_clear(sim::Personality::Dovecot)).await;
    for protocol in READING {
        for certificate in [Certificate::SelfSigned, Certificate::WrongName, Certificate::Expired] {
            setup.control().fail_next(server(protocol), 1, Fault::Certificate(certificate));
            fails_without_a_token(&setup, protocol, Kind::Passing, &format!("{protocol} {certificate:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_handshake_that_never_comes_costs_the_dials_time_and_no_more() {
    let change = |config: &mut mailferry::config::Config| config.budgets.dial = Duration::from_millis(300);
    for moment in [Moment::StartTlsDue, Moment::StartTlsAnswered, Moment::TlsReady] {
        let setup = Setup::with(Wanted { change, ..in_clear(sim::Personality::Microsoft) }).await;
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
