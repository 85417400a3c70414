//! A year in the life of a few sign-ins, on a clock that stands still until everyone waits.

use std::path::Path;
use std::sync::Mutex;

use tokio::time::Instant;

use super::*;
use crate::config::{Config, Environment};
use crate::oauth::grant::{Fetch, FetchFuture, Issued, TokenRequest};
use crate::secret::{AccessToken, SecretText};
use crate::store::NewSignIn;
use crate::store::memory::MemoryStore;

const DAY: Duration = Duration::from_secs(24 * 3600);

const CONFIG: &str = r#"
[[listener]]
protocol = "smtp"
bind = "127.0.0.1:0"
[app.contoso]
provider = "microsoft"
grant = "client-credentials"
tenant = "contoso.onmicrosoft.com"
client_id = "the-app"
client_secret = "secret"
client_secret_expires = 1970-03-01
[app.people]
provider = "microsoft"
grant = "authorization-code"
tenant = "common"
client_id = "the-other-app"
[[account]]
address = "app@contoso.com"
app = "contoso"
[[account.login]]
password_hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$UhmFTcz7ePsyjU8bRw7YEhTUQwwVVuD4CcOFuQr/YTQ"
[[account]]
address = "ann@contoso.com"
app = "people"
[[account.login]]
password_hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$UhmFTcz7ePsyjU8bRw7YEhTUQwwVVuD4CcOFuQr/YTQ"
"#;

/// Renews any sign-in, and remembers when.
struct Endpoint {
    store: Arc<MemoryStore>,
    wall: WallClock,
    fetched: Mutex<Vec<SystemTime>>,
}

impl Fetch for Endpoint {
    fn fetch(&self, request: TokenRequest) -> FetchFuture {
        let now = (self.wall)();
        self.fetched.lock().unwrap().push(now);
        let (store, id) = (Arc::clone(&self.store), SignInId::of(&request.account.unwrap()).unwrap());
        Box::pin(async move {
            let number = store.sign_ins().await.unwrap()[0].number;
            store.settle(&id, number, None, now).await.unwrap();
            let token = AccessToken::parse("t0ken".into()).unwrap();
            Ok(Issued { token, lives: DAY / 24, refresh_token: None, refresh_lives: None, id_token: None })
        })
    }
}

fn accounts() -> Vec<Arc<Account>> {
    Config::parse(CONFIG, Path::new("m.toml"), &Environment::of_variables([]))
        .unwrap()
        .accounts
}

fn new_sign_in(at: SystemTime) -> NewSignIn {
    NewSignIn {
        account: "ann@contoso.com".into(),
        client_id: "the-other-app".into(),
        refresh_token: SecretText::new("r3fresh".into()),
        name: None,
        by: "root".into(),
        at,
        ends: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_nobody_uses_is_exercised_once_a_week() {
    let began = Instant::now();
    let wall: WallClock = Arc::new(move || SystemTime::UNIX_EPOCH + began.elapsed());
    let store = Arc::new(MemoryStore::default());
    let accounts = accounts();
    let ann = SignInId::of(&accounts[1]).unwrap();
    store.sign_in(&ann, new_sign_in(wall())).await.unwrap();
    let endpoint = Arc::new(Endpoint { store: Arc::clone(&store), wall: Arc::clone(&wall), fetched: Mutex::default() });
    let fetch = Arc::clone(&endpoint) as Arc<dyn Fetch>;
    let service = Arc::new(TokenService::new(fetch, Duration::from_secs(10), Arc::clone(&wall)));
    let upkeep = Upkeep::new(service, store, Box::new(move || accounts.clone()), wall);
    let running = tokio::spawn(upkeep.run());
    tokio::time::sleep(DAY * 90).await;
    running.abort();
    let fetched = endpoint.fetched.lock().unwrap();
    assert!((12..=15).contains(&fetched.len()), "{}", fetched.len());
    let pauses = fetched.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap());
    assert!(pauses.into_iter().all(|pause| pause >= DAY * 6 && pause <= DAY * 7 + ROUND), "{fetched:?}");
}

#[tokio::test]
async fn each_warning_is_said_once_a_stage() {
    let wall: WallClock = Arc::new(|| SystemTime::UNIX_EPOCH);
    let store = Arc::new(MemoryStore::default());
    let endpoint = Endpoint { store: Arc::clone(&store), wall: Arc::clone(&wall), fetched: Mutex::default() };
    let service = Arc::new(TokenService::new(Arc::new(endpoint), Duration::from_secs(10), Arc::clone(&wall)));
    let mut upkeep =
        Upkeep::new(service, Arc::clone(&store) as Arc<dyn SignIns>, Box::new(Vec::new), wall).with(Box::new(|| {
            let (what, cure) = ("The certificate of the listeners".into(), "Make another".into());
            vec![Expiry { what, at: SystemTime::UNIX_EPOCH + DAY * 40, cure }]
        }));
    let accounts = accounts();
    store
        .sign_in(&SignInId::of(&accounts[1]).unwrap(), new_sign_in(SystemTime::UNIX_EPOCH))
        .await
        .unwrap();
    let sign_ins = store.sign_ins().await.unwrap();
    let mut said = Vec::new();
    for day in 0..100 {
        let warnings = upkeep.due(&accounts, &sign_ins, SystemTime::UNIX_EPOCH + DAY * day);
        said.extend(warnings.into_iter().map(|warning| (day, warning)));
    }
    let days = |what: &str| {
        said.iter()
            .filter(|(_, warning)| warning.contains(what))
            .map(|(day, _)| *day)
            .collect::<Vec<_>>()
    };
    assert_eq!(days("The client secret of the app contoso"), [29, 45, 52, 58, 60], "{said:?}");
    assert_eq!(days("The certificate of the listeners"), [10, 26, 33, 39, 41]);
    assert_eq!(days("The sign-in for ann@contoso.com"), [60, 76, 83, 89, 91]);
    assert!(
        said.iter()
            .any(|(_, warning)| warning.ends_with("set client_secret_expires to its date")),
        "{said:?}"
    );
}
