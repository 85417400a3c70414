//! Tokens, end to end: fetched once for everybody, and what each client is told when there is none to be had.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Answer, Client, PASSWORD, Setup, Wanted, let_pass};
use mailferry::config::{Budgets, Config, Protocol};
use mailferry::sim::{self, CannedAnswer, Control, Gate, TokenFault};
use tokio::task::JoinSet;

/// argon2id of [`PASSWORD`] at the cost that `mailferry passwd` gives a hash.
const DEAR_HASH: &str = include_str!("common/dear-hash.txt");

/// Longer than any pause after faults that pass, here where there are at most a handful in a row.
const PAUSE_OVER: Duration = Duration::from_secs(20);

/// Longer than a fault that needs a person is remembered.
const PERSON_PAUSE_OVER: Duration = Duration::from_secs(31);

/// The sort of failure, by whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Passing,
    NeedsPerson,
    WrongPassword,
}

impl Failure {
    /// How the reply begins (`docs/reference.md`, "Replies").
    const fn reply(self, protocol: Protocol) -> &'static str {
        match (self, protocol) {
            (Self::Passing | Self::NeedsPerson, Protocol::Smtp) => "454 4.7.0 ",
            (Self::Passing, Protocol::Imap) => "tag NO [UNAVAILABLE] ",
            (Self::Passing, Protocol::Pop3) => "-ERR [SYS/TEMP] ",
            (Self::NeedsPerson, Protocol::Imap) => "tag NO [CONTACTADMIN] ",
            (Self::NeedsPerson, Protocol::Pop3) => "-ERR [SYS/PERM] ",
            (Self::WrongPassword, Protocol::Smtp) => "535 5.7.8 ",
            (Self::WrongPassword, Protocol::Imap) => "tag NO [AUTHENTICATIONFAILED] ",
            (Self::WrongPassword, Protocol::Pop3) => "-ERR [AUTH] ",
        }
    }
}

/// Three clients that are greeted, one a protocol.
struct Trio(Vec<(Protocol, Client)>);

impl Trio {
    async fn at(setup: &Setup) -> Self {
        let mut clients = Vec::new();
        for protocol in Protocol::ALL {
            clients.push((protocol, setup.client(protocol).await));
        }
        Self(clients)
    }

    /// Each of them is refused, for this reason and with these words in the reply.
    async fn are_refused(&mut self, failure: Failure, words: &[&str]) {
        for (protocol, client) in &mut self.0 {
            let answer = client.log_in(*protocol, "scanner", PASSWORD).await;
            let Answer::Refused(line) = answer else { panic!("{protocol} was let in") };
            assert!(line.starts_with(failure.reply(*protocol)), "{failure:?} in {protocol}: {line}");
            for word in words {
                assert!(line.contains(word), "{word:?} is not in {line}");
            }
        }
    }

    async fn are_let_in(&mut self) {
        for (protocol, client) in &mut self.0 {
            let answer = client.log_in(*protocol, "scanner", PASSWORD).await;
            assert_eq!(answer, Answer::Accepted, "{protocol}");
        }
    }
}

/// Clients may take their time: these tests let hours pass between two of their commands.
fn patient(config: &mut Config) {
    config.limits.login_timeout = Duration::from_secs(24 * 3600);
}

async fn patient_setup() -> Setup {
    Setup::with(Wanted { change: patient, ..Wanted::default() }).await
}

fn mail_connections(control: &Control) -> usize {
    [sim::Protocol::Smtp, sim::Protocol::Imap, sim::Protocol::Pop3]
        .map(|protocol| control.connections(protocol))
        .iter()
        .sum()
}

/// With `fault` at the token endpoint, all three protocols are told so and nobody is told of a wrong password; once the
/// endpoint is well again and `pause` is over, the same three connections get in.
async fn fails_then_recovers(setup: &Setup, fault: TokenFault, failure: Failure, words: &[&str]) {
    let mut trio = Trio::at(setup).await;
    let before = setup.control().token_requests();
    setup.control().fail_tokens(fault.clone());
    trio.are_refused(failure, words).await;
    let asked = setup.control().token_requests() - before;
    assert!((1..=3).contains(&asked), "{fault:?}: {asked} requests for three logins");
    assert_eq!(mail_connections(setup.control()), 0, "{fault:?}: nothing is dialed without a token");
    setup.control().clear_faults();
    let_pass(if failure == Failure::Passing { PAUSE_OVER } else { PERSON_PAUSE_OVER }).await;
    trio.are_let_in().await;
    assert_eq!(setup.control().violations(), Vec::<String>::new());
}

async fn passes(fault: TokenFault) {
    fails_then_recovers(&patient_setup().await, fault, Failure::Passing, &[]).await;
}

async fn needs_a_person(fault: TokenFault, words: &[&str]) {
    fails_then_recovers(&patient_setup().await, fault, Failure::NeedsPerson, words).await;
}

#[tokio::test]
async fn a_thousand_at_once_cost_one_token_request_and_one_hash_an_account() {
    const ACCOUNTS: usize = 200;
    const CLIENTS: usize = 5;
    let setup = Setup::with(Wanted {
        crowd: ACCOUNTS,
        hash: DEAR_HASH,
        // What is counted here must not depend on how fast the machine is.
        change: |config| {
            let long = Duration::from_secs(100);
            config.budgets.login = long;
            config.budgets.token = long;
            config.budgets.dial = long;
        },
        ..Wanted::default()
    })
    .await;
    let gate = Gate::new();
    setup.control().fail_tokens(TokenFault::Hold(gate.clone()));

    let mut clients = Vec::new();
    for number in 0..ACCOUNTS * CLIENTS {
        let protocol = Protocol::ALL[number % Protocol::ALL.len()];
        clients.push((protocol, format!("user{}", number % ACCOUNTS), setup.client(protocol).await));
    }
    let mut logins = JoinSet::new();
    for (protocol, username, mut client) in clients {
        logins.spawn(async move {
            let answer = client.log_in(protocol, &username, PASSWORD).await;
            (answer, client)
        });
    }
    // Whoever comes while the only token request is under way has to wait for it.
    gate.reached(1).await;
    gate.open();
    let answered = logins.join_all().await;

    assert_eq!(answered.len(), ACCOUNTS * CLIENTS);
    assert!(answered.iter().all(|(answer, _)| *answer == Answer::Accepted));
    assert_eq!(setup.control().token_requests(), 1);
    assert_eq!(setup.gateway.password_computations(), ACCOUNTS as u64);
    assert_eq!(setup.gateway.sessions(), ACCOUNTS * CLIENTS);
    assert_eq!(mail_connections(setup.control()), ACCOUNTS * CLIENTS);
    assert_eq!(setup.control().violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_connection_passes() {
    let setup = patient_setup().await;
    let mut trio = Trio::at(&setup).await;
    setup.control().close_door(sim::Protocol::Http).await;
    trio.are_refused(Failure::Passing, &[]).await;
    setup.control().open_door(sim::Protocol::Http).await;
    let_pass(PAUSE_OVER).await;
    trio.are_let_in().await;
    assert_eq!(setup.control().token_requests(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_passes() {
    passes(TokenFault::Close).await;
}

#[tokio::test]
async fn a_web_page_passes() {
    let page = CannedAnswer::new(200).body("text/html", "<html><body>Please log in to this network</body></html>");
    passes(TokenFault::Answer(page)).await;
}

#[tokio::test]
async fn a_server_error_passes() {
    passes(TokenFault::Answer(CannedAnswer::new(500).body("text/html", "<h1>Internal Server Error</h1>"))).await;
    passes(TokenFault::Aadsts(90033)).await;
}

#[tokio::test]
async fn a_body_without_bounds_passes() {
    passes(TokenFault::Padded(4 * 1024 * 1024)).await;
}

/// A login that has to wait for a token request which is under way, and waits in vain.
async fn waits_in_vain(setup: &Setup, protocol: Protocol) {
    let mut client = setup.client(protocol).await;
    let login = tokio::spawn(async move { client.log_in(protocol, "scanner", PASSWORD).await });
    setup.control().until(|control| control.token_requests() == 1).await;
    let_pass(Budgets::default().token).await;
    let Answer::Refused(line) = login.await.unwrap() else { panic!("{protocol} was let in") };
    assert!(line.starts_with(Failure::Passing.reply(protocol)), "{line}");
}

#[tokio::test]
async fn an_endpoint_that_answers_late_has_answered() {
    for protocol in Protocol::ALL {
        let setup = patient_setup().await;
        let gate = Gate::new();
        setup.control().fail_tokens(TokenFault::Hold(gate.clone()));
        waits_in_vain(&setup, protocol).await;
        gate.open();
        // The fetch went on behind the one who gave up, and nobody starts another.
        Trio::at(&setup).await.are_let_in().await;
        assert_eq!(setup.control().token_requests(), 1);
    }
}

#[tokio::test]
async fn an_endpoint_that_hangs_or_drips_is_asked_again() {
    // Some 2,000 octets, one a second.
    for fault in [TokenFault::Hold(Gate::new()), TokenFault::Drip(Duration::from_secs(1))] {
        let setup = patient_setup().await;
        setup.control().fail_next_tokens(1, fault);
        waits_in_vain(&setup, Protocol::Smtp).await;
        // The request itself ends after half a minute, and then a pause begins.
        let_pass(Duration::from_secs(20)).await;
        let mut tries = 0;
        while setup
            .client(Protocol::Imap)
            .await
            .log_in(Protocol::Imap, "scanner", PASSWORD)
            .await
            != Answer::Accepted
        {
            tries += 1;
            assert!(tries < 10, "no login succeeds");
            let_pass(PAUSE_OVER).await;
        }
        Trio::at(&setup).await.are_let_in().await;
        assert_eq!(setup.control().token_requests(), 2);
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_and_answered_at_once() {
    let setup = patient_setup().await;
    let busy = CannedAnswer::new(429)
        .header("Retry-After", "120")
        .json(r#"{"error":"temporarily_unavailable"}"#);
    let mut trio = Trio::at(&setup).await;
    setup.control().fail_tokens(TokenFault::Answer(busy));
    trio.are_refused(Failure::Passing, &[]).await;
    setup.control().clear_faults();
    trio.are_refused(Failure::Passing, &[]).await;
    assert_eq!(setup.control().token_requests(), 1, "it asked to be left alone");

    let_pass(Duration::from_secs(100)).await;
    let mut trio = Trio::at(&setup).await;
    trio.are_refused(Failure::Passing, &[]).await;
    assert_eq!(setup.control().token_requests(), 1, "for two minutes");

    let_pass(Duration::from_secs(20)).await;
    trio.are_let_in().await;
    assert_eq!(setup.control().token_requests(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let setup = patient_setup().await;
    for status in [302, 307, 308] {
        let mut trio = Trio::at(&setup).await;
        let before = setup.control().token_requests();
        let here_again = CannedAnswer::new(status).header("Location", &setup.provider.token_url());
        setup.control().fail_tokens(TokenFault::Answer(here_again));
        trio.are_refused(Failure::NeedsPerson, &["redirect", "token_url"]).await;
        assert_eq!(setup.control().token_requests() - before, 1, "{status} was followed");
        let_pass(PERSON_PAUSE_OVER).await;
    }
}

#[tokio::test]
async fn a_token_of_another_type_needs_a_person() {
    needs_a_person(TokenFault::Member("token_type", Some("\"mac\"")), &["mac", "token_url"]).await;
}

#[tokio::test]
async fn a_token_that_would_break_a_line_needs_a_person() {
    needs_a_person(TokenFault::Member("access_token", Some(r#""abc\r\nQUIT""#)), &["characters no token has"]).await;
}

#[tokio::test]
async fn an_answer_without_a_token_needs_a_person() {
    needs_a_person(TokenFault::Member("access_token", None), &["access_token"]).await;
}

#[tokio::test]
async fn a_life_that_makes_no_sense_is_no_reason_to_refuse_anybody() {
    for expires_in in [Some("\"3599\""), Some("-1"), Some("1e309"), Some("null"), None] {
        let setup = patient_setup().await;
        setup.control().fail_tokens(TokenFault::Member("expires_in", expires_in));
        Trio::at(&setup).await.are_let_in().await;
        assert_eq!(setup.control().token_requests(), 1, "{expires_in:?}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_explained() {
    let words = ["AADSTS7000215", "Put the secret's Value, not its Secret ID, into client_secret"];
    needs_a_person(TokenFault::Aadsts(7_000_215), &words).await;
}

#[tokio::test]
async fn an_expired_secret_is_explained_however_much_the_provider_says() {
    let answer = CannedAnswer::new(401).json(
        r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app '11111111-2222-3333-4444-555555555555' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds. Trace ID: 0f0e0d0c\r\nCorrelation ID: 00010203\r\nTimestamp: 2026-01-01 00:00:00Z","error_codes":[7000222]}"#,
    );
    let words =
        ["AADSTS7000222", "The client secret has expired", "Make a new secret", "put its Value into client_secret"];
    needs_a_person(TokenFault::Answer(answer), &words).await;
}

#[tokio::test]
async fn what_else_a_person_must_see_to_is_explained() {
    for (fault, words) in [
        (TokenFault::Aadsts(700_016), ["AADSTS700016", "client_id and tenant"]),
        (TokenFault::Aadsts(65001), ["AADSTS65001", "grant consent"]),
        (TokenFault::Aadsts(53003), ["AADSTS53003", "Conditional Access"]),
        (TokenFault::Answer(CannedAnswer::new(400).json(r#"{"error":"invalid_grant"}"#)), ["invalid_grant", "again"]),
        (
            TokenFault::Answer(CannedAnswer::new(401).json(r#"{"error":"invalid_client"}"#)),
            ["invalid_client", "Check client_id and client_secret"],
        ),
    ] {
        needs_a_person(fault, &words).await;
    }
}

#[tokio::test]
async fn a_wrong_password_costs_nothing_upstream() {
    let setup = Setup::with(Wanted {
        tables: format!(
            "[[account]]\naddress = \"fax@contoso.example\"\napp = \"contoso\"\n\
             [[account.login]]\nusername = \"fax\"\nprotocols = [\"smtp\"]\npassword_hash = \"{}\"\n",
            common::HASH.trim()
        ),
        ..Wanted::default()
    })
    .await;
    // Even while the endpoint is down, a wrong password is a wrong password.
    setup.control().fail_tokens(TokenFault::Close);
    for protocol in Protocol::ALL {
        let mut client = setup.client(protocol).await;
        for (username, password) in [("scanner", "not it"), ("nobody", PASSWORD)] {
            let answer = client.log_in(protocol, username, password).await;
            let Answer::Refused(line) = answer else { panic!("{protocol}: {username} was let in") };
            assert!(line.starts_with(Failure::WrongPassword.reply(protocol)), "{line}");
        }
    }
    let mut client = setup.client(Protocol::Imap).await;
    let answer = client.log_in(Protocol::Imap, "fax", PASSWORD).await;
    assert!(matches!(answer, Answer::Refused(line) if line.starts_with(Failure::WrongPassword.reply(Protocol::Imap))));
    assert_eq!(setup.control().token_requests(), 0);
    assert_eq!(mail_connections(setup.control()), 0);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once_for_all_who_meet_it() {
    let setup = patient_setup().await;
    setup.logged_in(Protocol::Smtp).await;
    // Younger than a minute, a token is as fresh as one can be.
    let_pass(Duration::from_secs(61)).await;
    setup.control().revoke_all_tokens();
    let mut logins = JoinSet::new();
    for number in 0..30 {
        let protocol = Protocol::ALL[number % Protocol::ALL.len()];
        let mut client = setup.client(protocol).await;
        logins.spawn(async move { (client.log_in(protocol, "scanner", PASSWORD).await, client) });
    }
    let answered = logins.join_all().await;
    assert!(answered.iter().all(|(answer, _)| *answer == Answer::Accepted));
    assert_eq!(setup.control().token_requests(), 2);
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_is_not_replaced_again_and_again() {
    let setup = patient_setup().await;
    setup.logged_in(Protocol::Smtp).await;
    let_pass(Duration::from_secs(61)).await;
    for protocol in [sim::Protocol::Smtp, sim::Protocol::Imap, sim::Protocol::Pop3] {
        setup.control().fail(protocol, sim::Fault::RefuseLogin(sim::Refusal::Token));
    }
    let mut trio = Trio::at(&setup).await;
    trio.are_refused(Failure::NeedsPerson, &["refuse"]).await;
    assert_eq!(setup.control().token_requests(), 2, "one more could have helped");
    let_pass(Duration::from_secs(4 * 60)).await;
    trio.are_refused(Failure::NeedsPerson, &["refuse"]).await;
    assert_eq!(setup.control().token_requests(), 2, "yet another could not");
    setup.control().clear_faults();
    trio.are_let_in().await;
    assert_eq!(setup.control().token_requests(), 2, "the token was good all the time");
}

#[tokio::test]
async fn a_token_in_use_is_refreshed_ahead() {
    let setup = patient_setup().await;
    let mut client = setup.logged_in(Protocol::Imap).await;
    let_pass(Duration::from_secs(30 * 60)).await;
    setup.control().until(|control| control.token_requests() == 2).await;
    client.say("a NOOP").await;
    assert!(client.until("a ").await.starts_with("a OK"), "who is logged in does not notice");
}
