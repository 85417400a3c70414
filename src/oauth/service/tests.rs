//! The token service against a scripted endpoint, on a clock that stands still until everyone waits.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::*;
use crate::config::{App, Client, EndpointUrl, Grant, Proof, Provider, Scopes, SecretSource};
use crate::oauth::grant::FetchFuture;
use crate::oauth::hints::needs_person;
use crate::secret::{AccessToken, SecretText};

const HOUR: Duration = Duration::from_secs(3600);

/// What the endpoint does with one request.
enum Script {
    Gives(&'static str, Duration),
    Fails(TokenError),
    TakesTime(Duration, &'static str),
    Panics,
}

/// Plays its script in order and then gives a fresh token of an hour each time. Notes every secret it was shown.
#[derive(Default)]
struct Endpoint {
    script: Mutex<VecDeque<Script>>,
    secrets: Mutex<Vec<String>>,
}

fn issued(value: &str, lives: Duration) -> Result<Issued, TokenError> {
    let token = AccessToken::parse(value.into()).unwrap();
    Ok(Issued { token, lives, refresh_token: None, refresh_lives: None, id_token: None })
}

impl Fetch for Endpoint {
    fn fetch(&self, request: TokenRequest) -> FetchFuture {
        let Some(Client { proof: Proof::Secrets(proofs), .. }) = request.app.client() else { panic!("a secret") };
        let mut secrets = self.secrets.lock().unwrap();
        secrets.push(proofs[0].read().unwrap().expose().to_owned());
        let number = secrets.len();
        let step = self.script.lock().unwrap().pop_front();
        Box::pin(async move {
            tokio::task::yield_now().await;
            match step {
                Some(Script::Gives(value, lives)) => issued(value, lives),
                Some(Script::Fails(error)) => Err(error),
                Some(Script::TakesTime(time, value)) => {
                    tokio::time::sleep(time).await;
                    issued(value, HOUR)
                }
                Some(Script::Panics) => panic!("as scripted"),
                None => issued(&format!("token{number}"), HOUR),
            }
        })
    }
}

fn app(client_id: &str, secret: &str) -> Arc<App> {
    let provider = Provider {
        name: "example".into(),
        token_url: EndpointUrl("https://login.example.com/{tenant}/token".into()),
        authorization_url: None,
        device_authorization_url: None,
        grants: vec![],
        sign_in_lives: None,
        scopes: Scopes { app: vec!["mail".into()], ..Scopes::default() },
        smtp: None,
        imap: None,
        pop3: None,
        smtp_extensions: vec![],
        smtp_masked: vec![],
        imap_capabilities: vec![],
        ca: vec![],
    };
    let grant = Grant::ClientCredentials(Client {
        tenant: Some("contoso".into()),
        id: client_id.into(),
        proof: Proof::Secrets(vec![SecretSource::Fixed(SecretText::new(secret.into()))]),
        secret_expires: None,
    });
    Arc::new(App { name: client_id.into(), provider: Arc::new(provider), grant })
}

fn account(address: &str, app: &Arc<App>) -> Arc<Account> {
    Arc::new(Account {
        address: address.into(),
        app: Arc::clone(app),
        identity: vec![],
        max_message: None,
        logins: vec![],
    })
}

struct Bench {
    service: Arc<TokenService>,
    endpoint: Arc<Endpoint>,
    account: Arc<Account>,
}

impl Bench {
    fn new(script: impl IntoIterator<Item = Script>) -> Self {
        let endpoint = Arc::new(Endpoint { script: Mutex::new(script.into_iter().collect()), ..Endpoint::default() });
        let started = Instant::now();
        let wall: WallClock = Arc::new(move || SystemTime::UNIX_EPOCH + HOUR + started.elapsed());
        let service = TokenService::new(Arc::clone(&endpoint) as Arc<dyn Fetch>, Duration::from_secs(10), wall);
        Self { service: Arc::new(service), endpoint, account: account("scanner@example.com", &app("one", "secret")) }
    }

    async fn ask(&self, protocol: Protocol, refused: Option<Generation>) -> Result<UpstreamCredential, TokenError> {
        self.service.credential(&self.account, protocol, refused).await
    }

    /// The token that SMTP gets.
    async fn smtp(&self) -> Result<String, TokenError> {
        Ok(self.ask(Protocol::Smtp, None).await?.token.expose().to_owned())
    }
}

/// Lets time pass in steps small enough for every timer to fire in its turn.
async fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn throttled(seconds: u64) -> TokenError {
    let TokenError::Transient(mut fault) = transient("429") else { unreachable!() };
    fault.retry_after = Some(Duration::from_secs(seconds));
    TokenError::Transient(fault)
}

#[tokio::test(start_paused = true)]
async fn two_hundred_mailboxes_of_one_app_share_one_fetch() {
    let bench = Bench::new([]);
    let app = app("shared", "secret");
    let mut logins = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let (service, account) = (Arc::clone(&bench.service), account(&format!("m{}@x", number % 200), &app));
        logins.spawn(async move {
            let credential = service.credential(&account, Protocol::Imap, None).await.unwrap();
            assert_eq!(credential.user, account.address);
            credential.token.expose().to_owned()
        });
    }
    while let Some(token) = logins.join_next().await {
        assert_eq!(token.unwrap(), "token1");
    }
    assert_eq!(bench.service.fetches(), 1);

    bench.smtp().await.unwrap();
    assert_eq!(bench.service.fetches(), 2, "another client id is another grant");
}

#[tokio::test(start_paused = true)]
async fn a_stampede_of_refusals_fetches_once() {
    let bench = Bench::new([]);
    let first = bench.ask(Protocol::Imap, None).await.unwrap().generation;
    pass(Duration::from_secs(61)).await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (service, account) = (Arc::clone(&bench.service), Arc::clone(&bench.account));
        logins.spawn(async move {
            service
                .credential(&account, Protocol::Imap, Some(first))
                .await
                .unwrap()
                .generation
        });
    }
    while let Some(generation) = logins.join_next().await {
        assert!(generation.unwrap() > first);
    }
    assert_eq!(bench.service.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_fresh_token_ends_in_refused_and_fetches_nothing() {
    let bench = Bench::new([]);
    let first = bench.ask(Protocol::Smtp, None).await.unwrap().generation;
    pass(Duration::from_secs(61)).await;
    let second = bench.ask(Protocol::Smtp, Some(first)).await.unwrap().generation;
    for _ in 0..100 {
        let refused = bench.ask(Protocol::Smtp, Some(second)).await;
        assert!(matches!(refused, Err(TokenError::Refused(_))), "{refused:?}");
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.service.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_one_who_started_a_fetch_may_leave() {
    let bench = Bench::new([Script::TakesTime(Duration::from_secs(5), "slow")]);
    let first = tokio::spawn({
        let (service, account) = (Arc::clone(&bench.service), Arc::clone(&bench.account));
        async move { service.credential(&account, Protocol::Smtp, None).await.map(|_| ()) }
    });
    pass(Duration::from_secs(1)).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(bench.smtp().await.as_deref(), Ok("slow"));
    assert_eq!(bench.service.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_is_a_passing_fault_and_its_token_is_used_later() {
    let bench = Bench::new([Script::TakesTime(Duration::from_secs(20), "slow")]);
    let began = Instant::now();
    assert!(matches!(bench.smtp().await, Err(TokenError::Transient(_))));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    pass(Duration::from_secs(11)).await;
    assert_eq!(bench.smtp().await.as_deref(), Ok("slow"));
    assert_eq!(bench.service.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_is_given_up_and_asked_again() {
    let bench = Bench::new([Script::TakesTime(HOUR, "never")]);
    assert!(bench.smtp().await.is_err());
    pass(FETCH_LIMIT + Duration::from_secs(1)).await;
    assert_eq!(bench.smtp().await.as_deref(), Ok("token2"));
}

#[tokio::test(start_paused = true)]
async fn during_retry_after_logins_fail_at_once() {
    let bench = Bench::new([Script::Fails(throttled(30))]);
    assert_eq!(bench.smtp().await, Err(throttled(30)));
    pass(Duration::from_secs(10)).await;
    let began = Instant::now();
    assert_eq!(bench.smtp().await, Err(throttled(20)));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(bench.service.fetches(), 1);
    pass(Duration::from_secs(20)).await;
    assert_eq!(bench.smtp().await.as_deref(), Ok("token2"));
}

#[tokio::test(start_paused = true)]
async fn forty_devices_with_a_wrong_secret_ask_once_and_a_mended_one_is_picked_up() {
    let wrong = || needs_person("wrong secret", "mend it");
    let mut bench = Bench::new([Script::Fails(wrong())]);
    for _ in 0..40 {
        assert_eq!(bench.smtp().await, Err(wrong()));
    }
    assert_eq!(bench.service.fetches(), 1);
    bench.account = account("scanner@example.com", &app("one", "mended"));
    pass(Duration::from_secs(30)).await;
    assert_eq!(bench.smtp().await.as_deref(), Ok("token2"));
    assert_eq!(*bench.endpoint.secrets.lock().unwrap(), ["secret", "mended"]);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_is_a_passing_fault() {
    let bench = Bench::new([Script::Panics]);
    assert!(matches!(bench.smtp().await, Err(TokenError::Transient(_))));
    pass(Duration::from_secs(2)).await;
    assert_eq!(bench.smtp().await.as_deref(), Ok("token2"));
}

#[tokio::test(start_paused = true)]
async fn a_used_grant_is_refreshed_ahead_and_an_unused_one_is_not() {
    let bench = Bench::new([]);
    assert_eq!(bench.smtp().await.as_deref(), Ok("token1"));
    pass(Duration::from_secs(31 * 60)).await;
    assert_eq!(bench.service.fetches(), 2, "ahead, with nobody asking");
    assert_eq!(bench.ask(Protocol::Imap, None).await.unwrap().token.expose(), "token2");

    pass(3 * HOUR).await;
    let fetched = bench.service.fetches();
    pass(24 * HOUR).await;
    assert_eq!(bench.service.fetches(), fetched, "two hours unused");
    bench.smtp().await.unwrap();
    pass(HOUR).await;
    assert!(bench.service.fetches() >= fetched + 2, "used again, refreshed again");
}

#[tokio::test(start_paused = true)]
async fn a_login_while_the_refresh_ahead_fails_gets_the_old_token() {
    let bench = Bench::new([Script::Gives("first", HOUR), Script::Fails(throttled(60)), Script::Gives("third", HOUR)]);
    bench.smtp().await.unwrap();
    while bench.service.fetches() < 2 {
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.smtp().await.as_deref(), Ok("first"));
    pass(Duration::from_secs(62)).await;
    assert_eq!(bench.smtp().await.as_deref(), Ok("third"));
}

#[tokio::test(start_paused = true)]
async fn tokens_of_a_few_seconds_are_fetched_on_demand_only() {
    let bench = Bench::new([Script::Gives("brief", Duration::from_secs(5))]);
    assert_eq!(bench.smtp().await.as_deref(), Ok("brief"));
    pass(Duration::from_secs(120)).await;
    assert_eq!(bench.service.fetches(), 1);
    assert_eq!(bench.smtp().await.as_deref(), Ok("token2"));
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_fetch_that_ends_and_cuts_off_one_that_does_not() {
    for (takes, waited, got) in [(Duration::from_secs(5), 4, true), (HOUR, 8, false)] {
        let bench = Bench::new([Script::TakesTime(takes, "late")]);
        let waiting = tokio::spawn({
            let (service, account) = (Arc::clone(&bench.service), Arc::clone(&bench.account));
            async move { service.credential(&account, Protocol::Smtp, None).await }
        });
        pass(Duration::from_secs(1)).await;
        let began = Instant::now();
        bench.service.shutdown(Duration::from_secs(8)).await;
        assert_eq!(began.elapsed().as_secs(), waited);
        assert_eq!(waiting.await.unwrap().is_ok(), got);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_never_takes_the_place_of_a_later_sign_in() {
    let bench = Bench::new([Script::TakesTime(Duration::from_secs(5), "old")]);
    let waiting = tokio::spawn({
        let (service, account) = (Arc::clone(&bench.service), Arc::clone(&bench.account));
        async move { service.credential(&account, Protocol::Smtp, None).await }
    });
    pass(Duration::from_secs(1)).await;
    bench.service.signed_in(&bench.account, issued("new", HOUR).unwrap());
    assert_eq!(bench.smtp().await.as_deref(), Ok("new"), "at once");
    pass(Duration::from_secs(5)).await;
    assert_eq!(waiting.await.unwrap().unwrap().token.expose(), "new");
    assert_eq!(bench.smtp().await.as_deref(), Ok("new"));
    assert_eq!(bench.service.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_ends_a_fault_that_needed_a_person() {
    let bench = Bench::new([Script::Fails(needs_person("expired", "sign in"))]);
    bench.smtp().await.unwrap_err();
    let status = bench.service.status(&bench.account).unwrap();
    assert_eq!((status.ends, status.error), (None, Some(needs_person("expired", "sign in"))));
    bench.service.signed_in(&bench.account, issued("new", HOUR).unwrap());
    assert_eq!(bench.smtp().await.as_deref(), Ok("new"));
    let status = bench.service.status(&bench.account).unwrap();
    assert!(status.ends.is_some() && status.error.is_none());
    bench.service.signed_out(&bench.account);
    assert_eq!(bench.smtp().await.as_deref(), Ok("token2"), "what was there is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_forgets_tokens_of_every_scope_and_app() {
    let bench = Bench::new([]);
    let of = |scope: &str| {
        let mut provider = Provider::clone(&bench.account.app.provider);
        provider.scopes.person = vec![scope.into()];
        let Grant::ClientCredentials(client) = &bench.account.app.grant else { panic!("client credentials") };
        let client =
            Client { tenant: client.tenant.clone(), id: scope.into(), proof: Proof::Public, secret_expires: None };
        let app = App { name: scope.into(), provider: Arc::new(provider), grant: Grant::DeviceCode(client) };
        account("Ann@example.com", &Arc::new(app))
    };
    let (narrow, wide) = (of("narrow"), of("wide"));
    for account in [&narrow, &wide] {
        bench.service.signed_in(account, issued("of-ann", HOUR).unwrap());
    }
    bench.service.signed_in(&wide, issued("new", HOUR).unwrap());
    assert_eq!(bench.service.status(&narrow).unwrap().ends, None, "a later sign-in took its place");
    bench.service.signed_out(&narrow);
    assert_eq!(bench.service.status(&wide).unwrap().ends, None);
}

#[tokio::test(start_paused = true)]
async fn once_it_is_stopping_nothing_is_begun() {
    let bench = Bench::new([]);
    bench.service.shutdown(Duration::ZERO).await;
    assert!(matches!(bench.smtp().await, Err(TokenError::Transient(_))));
    assert!(bench.service.exercise(&bench.account).await.is_err());
    assert_eq!(bench.service.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn exercise_fetches_although_there_is_a_good_token() {
    let bench = Bench::new([]);
    assert_eq!(bench.service.status(&bench.account), None, "nobody has asked");
    bench.smtp().await.unwrap();
    bench.service.exercise(&bench.account).await.unwrap();
    assert_eq!(bench.smtp().await.as_deref(), Ok("token2"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_with_the_token_there_is() {
    let outage = (0..200).map(|_| Script::Fails(transient("down")));
    let bench = Bench::new([Script::Gives("first", HOUR)].into_iter().chain(outage));
    assert_eq!(bench.smtp().await.unwrap(), "first");
    pass(Duration::from_secs(59 * 60)).await;
    assert!(bench.service.fetches() > 2, "it has been tried in vain meanwhile");
    assert_eq!(bench.smtp().await.unwrap(), "first");
    pass(Duration::from_secs(60)).await;
    assert!(matches!(bench.smtp().await, Err(TokenError::Transient(_))), "a dead token is worth nothing");
}
