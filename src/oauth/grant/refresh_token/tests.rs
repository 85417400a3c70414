//! Refresh tokens against a store that fails as told and an endpoint that rotates strictly, on a clock that stands still.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::Notify;

use super::*;
use crate::oauth::grant::tests::{account, person};
use crate::oauth::hints::OAuthError;
use crate::secret::AccessToken;
use crate::store::memory::MemoryStore;
use crate::store::{NewSignIn, SignIn, StoreFuture};

const ADDRESS: &str = "scanner@example.com";

/// A store in memory whose disk is full when a test says so.
#[derive(Default)]
struct Store {
    kept: MemoryStore,
    no_lease: AtomicBool,
    no_settling: AtomicBool,
}

fn full<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::Unavailable("The disk is full: make room".into()))))
}

impl SignIns for Store {
    fn sign_in(&self, id: &SignInId, new: NewSignIn) -> StoreFuture<'_, SignInNumber> {
        self.kept.sign_in(id, new)
    }

    fn sign_out(&self, id: &SignInId) -> StoreFuture<'_, bool> {
        self.kept.sign_out(id)
    }

    fn sign_ins(&self) -> StoreFuture<'_, Vec<SignIn>> {
        self.kept.sign_ins()
    }

    fn lease(&self, id: &SignInId, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Leased> {
        if self.no_lease.load(Ordering::Relaxed) { full() } else { self.kept.lease(id, now, until) }
    }

    fn settle(
        &self,
        id: &SignInId,
        number: SignInNumber,
        rotated: Option<SecretText>,
        now: SystemTime,
    ) -> StoreFuture<'_, bool> {
        if self.no_settling.load(Ordering::Relaxed) { full() } else { self.kept.settle(id, number, rotated, now) }
    }

    fn release(&self, id: &SignInId, number: SignInNumber) -> StoreFuture<'_, ()> {
        self.kept.release(id, number)
    }
}

/// Takes each refresh token once, and gives another for it.
#[derive(Default)]
struct Provider {
    given: Mutex<u32>,
    /// What it was shown.
    shown: Mutex<Vec<String>>,
    refuses: Mutex<Option<Refusal>>,
    /// Answers only when told to.
    waits: Mutex<Option<Arc<Notify>>>,
    does_not_rotate: AtomicBool,
}

impl Provider {
    async fn answer(&self, token: SecretText) -> Result<Issued, Refusal> {
        self.shown.lock().unwrap().push(token.expose().to_owned());
        let waits = self.waits.lock().unwrap().take();
        if let Some(told) = waits {
            told.notified().await;
        }
        if let Some(refusal) = self.refuses.lock().unwrap().take() {
            return Err(refusal);
        }
        let mut given = self.given.lock().unwrap();
        assert_eq!(token.expose(), format!("r{given}"), "a spent refresh token");
        *given += 1;
        let rotates = !self.does_not_rotate.load(Ordering::Relaxed);
        Ok(Issued {
            token: AccessToken::parse(format!("a{given}")).unwrap(),
            lives: Duration::from_secs(3600),
            refresh_token: rotates.then(|| SecretText::new(format!("r{given}"))),
            refresh_lives: None,
            id_token: Some(SecretText::new("a.b.c".into())),
        })
    }
}

struct Bench {
    store: Arc<Store>,
    provider: Arc<Provider>,
    keeper: Arc<Keeper>,
    id: SignInId,
    wall: WallClock,
}

impl Bench {
    /// Somebody is signed in with the refresh token `r0`.
    async fn new() -> Self {
        let (store, provider) = (Arc::new(Store::default()), Arc::new(Provider::default()));
        let started = Instant::now();
        let wall: WallClock = Arc::new(move || SystemTime::UNIX_EPOCH + started.elapsed());
        let keeper = Arc::new(Keeper::new(Arc::clone(&store) as Arc<dyn SignIns>, WallClock::clone(&wall)));
        let id = SignInId::of(&account(ADDRESS, person())).unwrap();
        let bench = Self { store, provider, keeper, id, wall };
        bench.sign_in("r0").await;
        bench
    }

    async fn sign_in(&self, refresh_token: &str) -> SignInNumber {
        let new = NewSignIn {
            account: ADDRESS.into(),
            client_id: "app".into(),
            refresh_token: SecretText::new(refresh_token.into()),
            name: None,
            by: "root".into(),
            at: (self.wall)(),
            ends: None,
        };
        self.store.sign_in(&self.id, new).await.unwrap()
    }

    async fn fetch(&self) -> Result<String, TokenError> {
        let provider = Arc::clone(&self.provider);
        let exchange: Exchange = Arc::new(move |token| {
            let provider = Arc::clone(&provider);
            Box::pin(async move { provider.answer(token).await })
        });
        let issued = self.keeper.exchange(self.id.clone(), ADDRESS, exchange).await?;
        assert_eq!((issued.refresh_token, issued.id_token), (None, None), "these are not for the service");
        Ok(issued.token.expose().to_owned())
    }

    /// The refresh token in the store.
    async fn kept(&self) -> String {
        let now = (self.wall)() + LEASE * 2;
        let Leased::Taken { number, refresh_token } = self.store.kept.lease(&self.id, now, now).await.unwrap() else {
            panic!("nobody is signed in");
        };
        self.store.release(&self.id, number).await.unwrap();
        refresh_token.expose().to_owned()
    }

    async fn is_leased(&self) -> bool {
        let sign_ins = self.store.sign_ins().await.unwrap();
        sign_ins[0].leased_until.is_some_and(|until| until > (self.wall)())
    }

    /// Has the provider wait, and a fetch that waits for it.
    async fn fetching(self: &Arc<Self>) -> (Arc<Notify>, tokio::task::JoinHandle<Result<String, TokenError>>) {
        let told = Arc::new(Notify::new());
        *self.provider.waits.lock().unwrap() = Some(Arc::clone(&told));
        let bench = Arc::clone(self);
        let fetch = tokio::spawn(async move { bench.fetch().await });
        while self.provider.waits.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        (told, fetch)
    }
}

#[tokio::test(start_paused = true)]
async fn the_successor_is_kept_before_the_token_is_seen() {
    let bench = Bench::new().await;
    assert_eq!(bench.fetch().await.unwrap(), "a1");
    assert_eq!(bench.kept().await, "r1");
    assert_eq!(bench.fetch().await.unwrap(), "a2");
    assert_eq!(bench.kept().await, "r2");
    assert!(!bench.is_leased().await);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_rotate_is_used_on() {
    let bench = Bench::new().await;
    bench.provider.does_not_rotate.store(true, Ordering::Relaxed);
    bench.fetch().await.unwrap();
    assert_eq!(bench.kept().await, "r0");
    let exercised = bench.store.sign_ins().await.unwrap()[0].exercised;
    assert_eq!(exercised, (bench.wall)(), "its use is noted");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_spent_while_the_store_cannot_be_written() {
    let bench = Bench::new().await;
    bench.store.no_lease.store(true, Ordering::Relaxed);
    let error = bench.fetch().await.unwrap_err();
    assert!(matches!(&error, TokenError::Transient(fault) if fault.what.contains("disk is full")), "{error}");
    assert!(bench.provider.shown.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_successor_the_store_could_not_take_is_not_lost() {
    let bench = Bench::new().await;
    bench.store.no_settling.store(true, Ordering::Relaxed);
    let error = bench.fetch().await.unwrap_err();
    assert!(matches!(&error, TokenError::Transient(fault) if fault.what.contains("disk is full")), "{error}");
    tokio::time::advance(LEASE).await;
    assert!(bench.fetch().await.is_err(), "the old one must not be spent twice");
    assert_eq!(bench.provider.shown.lock().unwrap().len(), 1);
    bench.store.no_settling.store(false, Ordering::Relaxed);
    assert_eq!(bench.fetch().await.unwrap(), "a2");
    assert_eq!(bench.kept().await, "r2");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_had_where_only_its_use_could_not_be_noted() {
    let bench = Bench::new().await;
    bench.provider.does_not_rotate.store(true, Ordering::Relaxed);
    bench.store.no_settling.store(true, Ordering::Relaxed);
    assert_eq!(bench.fetch().await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_loses_nothing() {
    let bench = Arc::new(Bench::new().await);
    let (told, fetch) = bench.fetching().await;
    fetch.abort();
    assert!(fetch.await.unwrap_err().is_cancelled());
    told.notify_one();
    bench.keeper.settled().await;
    assert_eq!(bench.kept().await, "r1");
}

#[tokio::test(start_paused = true)]
async fn a_later_sign_in_is_not_overwritten() {
    let bench = Arc::new(Bench::new().await);
    let (told, fetch) = bench.fetching().await;
    bench.sign_in("r1").await;
    told.notify_one();
    assert_eq!(fetch.await.unwrap().unwrap(), "a2", "what the old one gave is not handed out");
    assert_eq!(bench.provider.shown.lock().unwrap().as_slice(), ["r0", "r1"]);
    assert_eq!(bench.kept().await, "r2");
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_meanwhile_counts() {
    let bench = Arc::new(Bench::new().await);
    let (told, fetch) = bench.fetching().await;
    bench.store.sign_out(&bench.id).await.unwrap();
    told.notify_one();
    let error = fetch.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("Nobody is signed in"), "{error}");
    assert!(bench.store.sign_ins().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_another_is_waited_for() {
    let bench = Arc::new(Bench::new().await);
    let (told, first) = bench.fetching().await;
    let second = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { bench.fetch().await }
    });
    sleep(AGAIN * 3).await;
    assert_eq!(bench.provider.shown.lock().unwrap().len(), 1, "one at a time");
    told.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), "a1");
    assert_eq!(second.await.unwrap().unwrap(), "a2", "it uses the successor");
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_the_dead_ends() {
    let bench = Bench::new().await;
    let now = (bench.wall)();
    bench.store.kept.lease(&bench.id, now, now + LEASE / 2).await.unwrap();
    assert_eq!(bench.fetch().await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_end_is_a_passing_fault() {
    let bench = Bench::new().await;
    let now = (bench.wall)();
    bench.store.kept.lease(&bench.id, now, now + LEASE * 1000).await.unwrap();
    let error = bench.fetch().await.unwrap_err();
    assert!(matches!(error, TokenError::Transient(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn nobody_signed_in_names_the_command() {
    let bench = Bench::new().await;
    bench.store.sign_out(&bench.id).await.unwrap();
    let Err(TokenError::NeedsPerson(fault)) = bench.fetch().await else { panic!("a person has to sign in") };
    assert_eq!(fault.what, "Nobody is signed in for scanner@example.com");
    assert_eq!(fault.hint, "Run mailferry sign-in scanner@example.com");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_gives_the_lease_back() {
    let bench = Bench::new().await;
    for name in ["invalid_grant", "server_error"] {
        let refusal = Refusal::explained(OAuthError { status: 400, error: name.into(), ..OAuthError::default() });
        *bench.provider.refuses.lock().unwrap() = Some(refusal);
        let refused = bench.fetch().await.unwrap_err();
        assert_eq!(matches!(refused, TokenError::NeedsPerson(_)), name == "invalid_grant");
        assert_eq!(refused.to_string().contains("mailferry sign-in scanner@example.com"), name == "invalid_grant");
        assert!(!bench.is_leased().await, "{name}");
        assert_eq!(bench.kept().await, "r0");
    }
    assert_eq!(bench.fetch().await.unwrap(), "a1");
}

#[test]
fn a_lease_outlives_an_exchange() {
    assert!(LEASE > crate::net::http::HttpTimeouts::default().total);
}
