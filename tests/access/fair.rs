//! Devices that share a login by their addresses: what one of them does is not the others' loss.

use mailferry::sim::{self, Act, Fault, Moment, Refusal};

use crate::common::{Client, Setup, Wanted};
use crate::{behind_a_proxy, from};

const MAIL: &str = "MAIL FROM:<floor@contoso.example>";

/// A floor whose devices share one login.
fn floor(further: &str) -> Wanted {
    let mut wanted = behind_a_proxy();
    wanted.listener_keys = "proxy_protocol = [\"127.0.0.0/8\"]\nallow = [\"192.168.0.0/16\", \"127.0.0.0/8\"]\n".into();
    wanted.provider.mailboxes.push("floor@contoso.example".to_owned());
    wanted.tables = format!(
        "[[account]]\naddress = \"floor@contoso.example\"\napp = \"contoso\"\n\
         [[account.login]]\nusername = \"floor\"\nwithout_password = true\nprotocols = [\"smtp\"]\n\
         networks = [\"192.168.7.0/24\"]\n{further}\n"
    );
    wanted
}

/// How often the gateway has logged in at the provider.
fn logins(setup: &Setup) -> usize {
    setup.control().logins_ok(sim::Protocol::Smtp)
}

#[tokio::test]
async fn who_sends_nothing_has_no_logins_upstream_for_nothing() {
    let setup = Setup::with(floor("rate = \"4/h\"")).await;
    let limit = "450 4.7.1 One address of this login may send 2 messages in 60 min, the next one in ";
    for number in 0..6 {
        let mut client = from(&setup, "192.168.7.66").await;
        let mail = if number == 0 { "MAIL FROM:rubbish" } else { MAIL };
        let answer = client.ask(mail).await;
        assert_eq!(answer.starts_with(limit), number >= 2, "{number}: {answer}");
        if number >= 2 {
            assert!(client.ask("NOOP").await.starts_with("250 "), "the session goes on");
        }
    }
    assert_eq!(logins(&setup), 2);
    // And who is held back is not let through to be refused again.
    let mut bad = from(&setup, "192.168.7.67").await;
    let refusal = Fault::At(Moment::MailDue, Act::Say("501 5.1.7 Bad sender".into()));
    setup.control().fail_next(sim::Protocol::Smtp, 5, refusal);
    for _ in 0..5 {
        assert_eq!(bad.ask(MAIL).await, "501 5.1.7 Bad sender");
    }
    let mut again = from(&setup, "192.168.7.67").await;
    let answer = again.ask(MAIL).await;
    assert!(answer.starts_with("501 5.1.7 Bad sender (said before, "), "{answer}");
    assert_eq!(logins(&setup), 3);
}

#[tokio::test]
async fn a_provider_that_hears_no_login_now_costs_an_address_nothing() {
    let setup = Setup::with(floor("rate = \"4/h\"")).await;
    let closed = Fault::At(Moment::GreetingDue, Act::Say("421 4.3.2 Service not available".into()));
    setup.control().fail_next(sim::Protocol::Smtp, 4, closed);
    for _ in 0..2 {
        let mut client = from(&setup, "192.168.7.20").await;
        for _ in 0..2 {
            let answer = client.ask(MAIL).await;
            assert!(answer.starts_with("454 4.7.0 "), "{answer}");
        }
    }
    let mut client = from(&setup, "192.168.7.20").await;
    for start in ["250 ", "250 ", "450 "] {
        let answer = send(&mut client).await;
        assert!(answer.starts_with(start), "{answer}");
    }
}

#[tokio::test]
async fn logins_that_the_provider_refuses_count_as_messages() {
    let say = |moment, words: &str| Fault::At(moment, Act::Say(words.into()));
    for refusal in [
        Fault::RefuseLogin(Refusal::Policy),
        Fault::RefuseLogin(Refusal::Token),
        Fault::RefuseLogin(Refusal::Temporary),
        say(Moment::CredentialsRead, "454 4.7.0 Too many login attempts, please try again later"),
        say(Moment::AuthDue, "432 4.3.2 Concurrent connections limit exceeded"),
    ] {
        let setup = Setup::with(floor("rate = \"4/h\"")).await;
        setup.control().fail_next(sim::Protocol::Smtp, 4, refusal.clone());
        for (number, start) in
            (0..4).zip(["454 4.7.0 ", "454 4.7.0 ", "450 4.7.1 One address", "450 4.7.1 One address"])
        {
            let mut client = from(&setup, "192.168.7.66").await;
            let answer = client.ask(MAIL).await;
            assert!(answer.starts_with(start), "{refusal:?} {number}: {answer}");
        }
        let mut other = from(&setup, "192.168.7.20").await;
        assert!(!other.ask(MAIL).await.starts_with("450 "), "the others have their part");
    }
}

#[tokio::test]
async fn an_address_holds_three_sessions_upstream_and_no_more() {
    let setup = Setup::with(floor("rate = \"100/h\"")).await;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        let mut client = from(&setup, "192.168.7.66").await;
        assert!(client.ask(MAIL).await.starts_with("250 "));
        crowd.push(client);
    }
    let mut fourth = from(&setup, "192.168.7.66").await;
    let full = "454 4.7.0 Too many sessions of this login at once, please try again later";
    assert_eq!(fourth.ask(MAIL).await, full);
    assert_eq!(logins(&setup), 3);
    let mut other = from(&setup, "192.168.7.20").await;
    assert!(send(&mut other).await.starts_with("250 "));
    let mut first = crowd.remove(0);
    first.ask("QUIT").await;
    first.rest().await;
    assert!(fourth.ask(MAIL).await.starts_with("250 "), "a seat is free again");
}

/// Sends a message; what was said last.
async fn send(client: &mut Client) -> String {
    for command in [MAIL, "RCPT TO:<someone@contoso.example>", "DATA"] {
        let answer = client.ask(command).await;
        if !answer.starts_with(['2', '3']) {
            return answer;
        }
    }
    client.ask("Subject: scan\r\n\r\nscan\r\n.").await
}

#[tokio::test]
async fn one_address_silences_no_other_that_shares_its_login() {
    let setup = Setup::with(floor("rate = \"6/h\"")).await;
    let mut bad = from(&setup, "192.168.7.66").await;
    let refusal = Fault::At(Moment::MailDue, Act::Say("501 5.1.7 Bad sender <call 555>".into()));
    setup.control().fail_next(sim::Protocol::Smtp, 5, refusal);
    for _ in 0..5 {
        assert_eq!(bad.ask(MAIL).await, "501 5.1.7 Bad sender <call 555>");
    }
    let answer = bad.ask(MAIL).await;
    assert_eq!(answer, "501 5.1.7 Bad sender <...> (said before, and not asked again for 15 min)");
    // Nor does one use up what all share.
    let mut busy = from(&setup, "192.168.7.67").await;
    for start in ["250 ", "250 ", "250 ", "450 4.7.1 One address of this login may send 3 messages"] {
        let answer = send(&mut busy).await;
        assert!(answer.starts_with(start), "{answer}");
    }
    let mut good = from(&setup, "192.168.7.20").await;
    assert!(send(&mut good).await.starts_with("250 "));
}

#[tokio::test]
async fn of_ipv6_one_host_silences_its_own_network_and_no_other() {
    let mut wanted = floor("rate = \"6/h\"");
    wanted.listener_keys = "proxy_protocol = [\"127.0.0.0/8\"]\nallow = [\"fd00::/16\", \"127.0.0.0/8\"]\n".into();
    wanted.tables = wanted.tables.replace("192.168.7.0/24", "fd00:7::/48");
    let setup = Setup::with(wanted).await;
    // One host, with an address for each message.
    for (host, start) in
        [(1, "250 "), (2, "250 "), (3, "250 "), (4, "450 4.7.1 One /64 network of this login may send 3 ")]
    {
        let mut busy = from(&setup, &format!("fd00:7:0:1::{host}")).await;
        let answer = send(&mut busy).await;
        assert!(answer.starts_with(start), "{answer}");
        busy.ask("QUIT").await;
        busy.rest().await;
    }
    let mut good = from(&setup, "fd00:7:0:2::1").await;
    assert!(send(&mut good).await.starts_with("250 "));
}
