//! Devices that do not wait, and devices that do not say goodbye.

use std::time::Duration;

use mailferry::config::Protocol;
use mailferry::sim::{self, Act, Fault, Gate, Moment, TokenFault};
use socket2::SockRef;

use super::common::{Client, PASSWORD, Setup};
use super::{MAIL, PLAIN, RCPT, go_on};

#[tokio::test]
async fn a_whole_session_in_one_burst_is_answered_in_order() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    let burst = format!("EHLO nas\r\nAUTH PLAIN {PLAIN}\r\n{MAIL}{RCPT}DATA\r\nSubject: all\r\n\r\n.\r\nQUIT\r\n");
    client.send(burst.as_bytes()).await;
    let replies = client.rest().await;
    let last_lines: Vec<_> = replies
        .lines()
        .filter(|line| line.as_bytes()[3] == b' ')
        .map(|line| &line[..3])
        .collect();
    assert_eq!(last_lines, ["250", "235", "250", "250", "354", "250", "221"], "{replies}");
    assert_eq!(setup.control().submissions().len(), 1);
}

#[tokio::test]
async fn a_reset_behind_the_final_dot_costs_no_message() {
    let setup = Setup::new().await;
    let gate = Gate::new();
    let hold = Fault::At(Moment::BodyRead, Act::Hold(gate.clone()));
    setup.control().fail_next(sim::Protocol::Smtp, 1, hold);
    let mut client = setup.logged_in(Protocol::Smtp).await;
    go_on(&mut client, &[(MAIL, "250"), (RCPT, "250"), ("DATA\r\n", "354")]).await;
    client.send(b"Subject: reset\r\n\r\n.\r\n").await;
    gate.reached(1).await;
    SockRef::from(client.connection.get_ref())
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    gate.open();
    setup.deserted().await;
    assert_eq!(setup.control().submissions().len(), 1);
}

#[tokio::test]
async fn rset_noop_and_vrfy_are_answered_before_any_login() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    go_on(&mut client, &[("RSET\r\n", "250"), ("NOOP\r\n", "250"), ("VRFY root\r\n", "252"), ("QUIT\r\n", "221")])
        .await;
    assert_eq!(setup.control().connections(sim::Protocol::Smtp), 0);
}

#[tokio::test]
async fn a_device_is_told_by_the_code_alone_whether_it_shall_try_again() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    let refused = client.log_in(Protocol::Smtp, "scanner", "wrong").await;
    assert!(matches!(refused, super::common::Answer::Refused(reply) if reply.starts_with("535 ")));
    setup.control().fail_next_tokens(1, TokenFault::Close);
    let later = client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
    assert!(matches!(later, super::common::Answer::Refused(reply) if reply.starts_with("454 ")));
}

#[tokio::test]
async fn a_session_too_many_hears_the_providers_own_words_and_may_try_again() {
    let setup = Setup::new().await;
    let busy = "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded";
    let gate = Gate::new();
    let message = [(MAIL, "250"), (RCPT, "250"), ("DATA\r\n", "354")];
    setup
        .control()
        .fail_next(sim::Protocol::Smtp, 3, Fault::At(Moment::BodyRead, Act::Hold(gate.clone())));
    let mut sending = Vec::new();
    for at in 1..=3 {
        let mut client: Client = setup.logged_in(Protocol::Smtp).await;
        go_on(&mut client, &message).await;
        client.send(b".\r\n").await;
        gate.reached(at).await;
        sending.push(client);
    }
    // Three send; the provider says what it says to the fourth.
    setup
        .control()
        .fail_next(sim::Protocol::Smtp, 1, Fault::At(Moment::BodyRead, Act::Say(busy.into())));
    let mut fourth: Client = setup.logged_in(Protocol::Smtp).await;
    go_on(&mut fourth, &message).await;
    go_on(&mut fourth, &[(".\r\n", busy)]).await;
    gate.open();
    for client in &mut sending {
        assert!(client.line().await.starts_with("250 "));
    }
    go_on(&mut fourth, &message).await;
    go_on(&mut fourth, &[(".\r\n", "250")]).await;
}
