//! A server that is dead for a while: forty devices do not hammer it, are all answered, and get in once it lives.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{Act, Fault, Moment, Refusal};

use crate::common::{Answer, PASSWORD, Setup, Wanted, in_time, let_pass};
use crate::{assert_unavailable, server};

/// How long a server is left alone at first.
const REST: Duration = Duration::from_secs(10);

#[tokio::test]
async fn forty_devices_do_not_hammer_a_dead_server() {
    let setup = Setup::with(Wanted { crowd: 40, ..Wanted::default() }).await;
    let provider = setup.control();
    provider.fail(server(Protocol::Imap), Fault::At(Moment::Accepted, Act::Close));
    let users: Vec<_> = (0..40).map(|number| format!("user{number}")).collect();
    let mut clients = Vec::new();
    for _ in &users {
        clients.push(setup.client(Protocol::Imap).await);
    }
    // All at once, and nobody's login waits for another's answer.
    for (client, user) in clients.iter_mut().zip(&users) {
        client.say(&format!("tag LOGIN {user} \"{PASSWORD}\"")).await;
    }
    for client in &mut clients {
        let line = client.until("tag ").await;
        assert!(line.starts_with("tag NO [UNAVAILABLE] "), "{line}");
    }
    assert_eq!(provider.connections(server(Protocol::Imap)), 5);
    assert_unavailable(&setup, Protocol::Imap, "scanner").await;
    assert_eq!(provider.connections(server(Protocol::Imap)), 5);
    // The provider's other servers are not the dead one.
    setup.logged_in(Protocol::Pop3).await;
    // One finds out that it is still dead, the next that it lives.
    let_pass(REST).await;
    assert_unavailable(&setup, Protocol::Imap, "user0").await;
    assert_unavailable(&setup, Protocol::Imap, "user1").await;
    assert_eq!(provider.connections(server(Protocol::Imap)), 6);
    provider.clear_faults();
    let_pass(2 * REST).await;
    for user in &users {
        let mut client = setup.client(Protocol::Imap).await;
        assert_eq!(in_time(client.log_in(Protocol::Imap, user, PASSWORD)).await, Answer::Accepted);
    }
}

#[tokio::test]
async fn one_device_that_is_refused_silences_nobody() {
    let setup = Setup::with(Wanted { crowd: 1, ..Wanted::default() }).await;
    for protocol in Protocol::ALL {
        for refusal in [Refusal::Token, Refusal::Policy, Refusal::Rights, Refusal::Temporary] {
            for _ in 0..6 {
                setup.control().fail_next(server(protocol), 1, Fault::RefuseLogin(refusal));
                let mut client = setup.client(protocol).await;
                let answer = in_time(client.log_in(protocol, "user0", PASSWORD)).await;
                assert_ne!(answer, Answer::Accepted, "{protocol} {refusal:?}");
            }
        }
        // Nor one that is not even greeted kindly.
        for _ in 0..6 {
            let said = match protocol {
                Protocol::Smtp => "421 4.3.2 The maximum number of concurrent connections has exceeded a limit",
                Protocol::Imap => "* BYE Too many connections",
                Protocol::Pop3 => "-ERR [SYS/TEMP] Too many connections",
            };
            setup
                .control()
                .fail_next(server(protocol), 1, Fault::At(Moment::GreetingDue, Act::Say(said.into())));
            assert_unavailable(&setup, protocol, "user0").await;
        }
        // Nor one whose login the server ends without a word.
        for _ in 0..6 {
            setup
                .control()
                .fail_next(server(protocol), 1, Fault::At(Moment::CredentialsRead, Act::Close));
            assert_unavailable(&setup, protocol, "user0").await;
        }
        setup.control().clear_faults();
        setup.logged_in(protocol).await;
    }
}
