//! Requests against a desk with a store in memory, a simulated provider, and tokens from a script.

mod sign_ins;

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;

use super::super::parts::Fetches;
use super::testing::{FlakyStore, HASH, configuration};
use super::*;
use crate::app::parts::Parts;
use crate::config::{Config, Environment, Protocol};
use crate::control::{AccountState, AccountStatus, AddLogin, LoginStatus, SignInRequest};
use crate::login::Visit;
use crate::login::verify::Denied;
use crate::net::tls::Doors;
use crate::oauth::credentials::Credentials;
use crate::oauth::grant::{Fetch, FetchFuture, Issued, TokenRequest};
use crate::proto::{LoginRequest, Mechanism};
use crate::secret::{AccessToken, Password, SecretText};
use crate::session::Upstreams;
use crate::sim::{self, Fault, Refusal as Refused, Simulator};
use crate::store::{Leased, Logins, SignInId, SignIns, StoredLogin};

const SCANNER: &str = "scanner@contoso.example";
const ANN: &str = "ann@contoso.example";

/// Gives out the provider's own token for apps. For people it spends the refresh token, and gives a successor.
struct Script {
    token: AccessToken,
    sign_ins: Arc<dyn SignIns>,
    spent: Arc<Mutex<Vec<String>>>,
}

impl Fetch for Script {
    fn fetch(&self, request: TokenRequest) -> FetchFuture {
        let token = self.token.clone();
        let issued = Issued {
            token,
            lives: Duration::from_secs(3600),
            refresh_token: None,
            refresh_lives: None,
            id_token: None,
        };
        let id = request.account.as_deref().and_then(SignInId::of);
        let (sign_ins, spent) = (Arc::clone(&self.sign_ins), Arc::clone(&self.spent));
        Box::pin(async move {
            let Some(id) = id else { return Ok(issued) };
            let now = SystemTime::now();
            let leased = sign_ins.lease(&id, now, now + Duration::from_secs(60)).await.unwrap();
            let Leased::Taken { number, refresh_token } = leased else { panic!("{leased:?}") };
            let next = format!("{}+", refresh_token.expose());
            spent.lock().unwrap().push(refresh_token.expose().to_owned());
            assert!(sign_ins.settle(&id, number, Some(SecretText::new(next)), now).await.unwrap());
            Ok(issued)
        })
    }
}

struct Stage {
    provider: Simulator,
    desk: FrontDesk,
    store: Arc<FlakyStore>,
    spent: Arc<Mutex<Vec<String>>>,
    token: String,
}

impl Stage {
    async fn set() -> Self {
        let options = sim::Options { mailboxes: vec![SCANNER.into(), ANN.into()], ..sim::Options::default() };
        let provider = Simulator::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), provider.ca_pem()).unwrap();
        let text = configuration(&format!(
            "token_url = \"{}\"\nca = \"ca.pem\"\n\
             smtp = {{ host = \"localhost\", port = {}, tls = \"starttls\" }}\n\
             imap = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}",
            provider.token_url(),
            provider.smtp().port(),
            provider.imap().port(),
        ));
        let office = "bind = \"0.0.0.0:0\"\nallow = [\"127.0.0.0/8\", \"192.168.7.0/24\"]";
        let text = text.replace("bind = \"127.0.0.1:0\"", office);
        let file = folder.path().join("mailferry.toml");
        let config = Arc::new(Config::parse(&text, &file, &Environment::of_variables([])).unwrap());
        let store = Arc::new(FlakyStore::default());
        let whole = Parts::assemble(Arc::clone(&config), Arc::<FlakyStore>::clone(&store), Doors::default())
            .await
            .unwrap();
        let credential = whole
            .tokens
            .credential(&config.accounts[0], Protocol::Smtp, None)
            .await
            .unwrap();
        let spent = Arc::<Mutex<Vec<String>>>::default();
        let (token, seen) = (credential.token, Arc::clone(&spent));
        let issued = token.expose().to_owned();
        let fetches: Fetches =
            Arc::new(move |sign_ins| Arc::new(Script { token: token.clone(), sign_ins, spent: Arc::clone(&seen) }));
        let upstreams = Upstreams::new(&config).unwrap();
        let parts = Parts::with(config, Arc::<FlakyStore>::clone(&store), upstreams, fetches, Doors::default())
            .await
            .unwrap();
        Self { provider, desk: FrontDesk::new(parts), store, spent, token: issued }
    }

    /// With Ann's account, and a login for it.
    async fn with_ann() -> Self {
        let stage = Self::set().await;
        stage.made(add_account(ANN, "people")).await;
        stage
    }

    async fn ask(&self, request: Request) -> Answer {
        self.ask_and_listen(request).await.0
    }

    async fn ask_and_listen(&self, request: Request) -> (Answer, Vec<String>) {
        let (progress, mut told) = mpsc::channel(100);
        let answer = self.desk.handle(request, progress).await;
        let mut lines = Vec::new();
        while let Some(line) = told.recv().await {
            lines.push(line);
        }
        (answer, lines)
    }

    async fn done(&self, request: Request) -> String {
        match self.ask(request).await {
            Answer::Done(what) => what,
            other => panic!("{other:?}"),
        }
    }

    /// What a request is refused with; `usage`: whose fault it must be.
    async fn refused(&self, request: Request, usage: bool) -> String {
        let shown = format!("{request:?}");
        match self.ask(request).await {
            Answer::Failed { usage: of_request, what } if of_request == usage => what,
            other => panic!("{shown}: {other:?}"),
        }
    }

    async fn accounts(&self) -> Vec<AccountStatus> {
        match self.ask(Request::Accounts).await {
            Answer::Accounts(accounts) => accounts,
            other => panic!("{other:?}"),
        }
    }

    async fn logins(&self) -> Vec<LoginStatus> {
        match self.ask(Request::Logins).await {
            Answer::Logins(logins) => logins,
            other => panic!("{other:?}"),
        }
    }

    async fn made(&self, request: Request) -> i64 {
        match self.ask(request).await {
            Answer::Login { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    /// Whether a user name and the common password are let in.
    async fn opens(&self, username: &str) -> bool {
        let request = LoginRequest {
            mechanism: Mechanism::Plain,
            authzid: Vec::new(),
            username: username.into(),
            password: Password::new(b"a plain password".to_vec()),
        };
        let shared = &self.desk.parts.shared;
        let directory = Arc::clone(&shared.directory.borrow());
        let here = Visit { peer: [192, 168, 7, 20].into(), protocol: Protocol::Smtp, encrypted: false };
        match shared.verifier.verify(&directory, &here, &request).await {
            Ok(_) => true,
            Err(Denied::Credentials | Denied::Misplaced(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn sign_in(&self, names: &[&str]) -> SignInRequest {
        let directory = self.desk.parts.registry.directory();
        let id = directory.account(ANN).and_then(|account| SignInId::of(account));
        SignInRequest {
            account: ANN.into(),
            id: id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
            refresh_token: "first".into(),
            refresh_lives: None,
            access_token: Some(self.token.clone()),
            lives: 3600,
            names: names.iter().map(|&name| name.to_owned()).collect(),
            by: "root".into(),
        }
    }

    fn kept(&self) -> Option<String> {
        let account = self.desk.parts.registry.directory().account(ANN).map(Arc::clone).unwrap();
        let kept = self.store.refresh_token(&SignInId::of(&account).unwrap());
        kept.map(|kept| kept.expose().to_owned())
    }
}

/// With the login `ann`.
fn add_account(address: &str, app: &str) -> Request {
    Request::AddAccount { app: app.into(), login: login(address, "ann") }
}

fn add_login(account: &str, username: &str) -> Request {
    Request::AddLogin(login(account, username))
}

fn login(account: &str, username: &str) -> AddLogin {
    AddLogin {
        account: account.into(),
        username: Some(username.into()),
        device: "Scanner 3rd floor".into(),
        password_hash: HASH.trim().into(),
        protocols: vec![],
        networks: vec![],
    }
}

#[tokio::test]
async fn an_account_made_by_a_command_is_there_at_once() {
    let stage = Stage::set().await;
    stage.made(add_account(ANN, "people")).await;
    assert!(stage.opens("ann").await);
    let accounts = stage.accounts().await;
    let [scanner, ann] = &accounts[..] else { panic!("{accounts:?}") };
    assert_eq!(
        (scanner.state, scanner.from_the_file, scanner.grant.as_str()),
        (AccountState::Unused, true, "client-credentials")
    );
    assert_eq!((ann.state, ann.from_the_file, ann.app.as_str()), (AccountState::SignedOut, false, "people"));
    assert!(ann.detail.as_ref().unwrap().contains("mailferry sign-in"));
    // The same again, otherwise written, with another app.
    stage.made(add_account("Ann@Contoso.example", "contoso")).await;
    let ann = stage.accounts().await.pop().unwrap();
    assert_eq!((ann.address.as_str(), ann.app.as_str(), ann.state), (ANN, "contoso", AccountState::Unused));

    for (address, app, word) in [
        ("nobody", "people", "address"),
        ("a b@c", "people", "address"),
        (ANN, "nowhere", "there are: contoso, people"),
        ("Scanner@contoso.example", "people", "change it there"),
    ] {
        let what = stage.refused(add_account(address, app), true).await;
        assert!(what.contains(word), "{what}");
    }
    assert_eq!(stage.accounts().await.len(), 2);
}

#[tokio::test]
async fn an_account_made_anew_does_not_bring_back_its_old_logins() {
    let stage = Stage::set().await;
    let left = |account: &str, username: &str| StoredLogin {
        id: 0,
        device: String::new(),
        account: account.into(),
        username: username.into(),
        password_hash: HASH.trim().into(),
        protocols: Protocol::ALL.to_vec(),
        networks: None,
        made: SystemTime::now(),
        ends: None,
    };
    for username in ["copier", "ann", "ann", "ann", "ann"] {
        stage.store.add_login(left("Ann@Contoso.example", username)).await.unwrap();
    }
    stage.store.add_login(left("bob@contoso.example", "bob")).await.unwrap();
    let first = stage.made(add_account(ANN, "people")).await;
    assert!(stage.opens("ann").await && !stage.opens("copier").await);
    let kept = || async { stage.store.logins(SystemTime::now()).await.unwrap().into_iter() };
    let names: Vec<_> = kept().await.map(|login| login.username).collect();
    assert_eq!(names, ["bob", "ann"], "those of others are left alone");
    // Of an account that is there, all stay.
    stage.made(add_account(ANN, "contoso")).await;
    assert_eq!((kept().await.count(), kept().await.any(|login| login.id == first)), (3, true));
}

#[tokio::test]
async fn an_account_whose_login_is_refused_is_not_made_either() {
    let stage = Stage::set().await;
    let good = || login(ANN, "ann");
    for (wanted, word) in [
        (AddLogin { protocols: vec![Protocol::Pop3], ..good() }, "has no pop3"),
        (AddLogin { username: Some("scanner".into()), ..good() }, "opens scanner@contoso.example already"),
        (AddLogin { username: Some(String::new()), ..good() }, "no user name"),
        (AddLogin { networks: vec!["the office".into()], ..good() }, "no network"),
        (AddLogin { networks: vec!["10.9.9.0/24".into()], ..good() }, "could never be used"),
    ] {
        let request = Request::AddAccount { app: "contoso".into(), login: wanted };
        let what = stage.refused(request, true).await;
        assert!(what.contains(word), "{what}");
        assert_eq!((stage.accounts().await.len(), stage.store.accounts().await.unwrap().len()), (1, 0), "{what}");
    }
    // Nor is its app changed where it was there before.
    stage.made(add_account(ANN, "people")).await;
    let wanted = AddLogin { protocols: vec![Protocol::Pop3], ..good() };
    stage
        .refused(Request::AddAccount { app: "contoso".into(), login: wanted }, true)
        .await;
    assert_eq!(stage.accounts().await[1].app, "people");
}

#[tokio::test]
async fn a_login_that_no_listener_takes_is_refused() {
    let stage = Stage::set().await;
    for (networks, protocols, word) in [
        ("10.9.9.0/24", vec![], "no listener for smtp or imap can be reached and takes a password from 10.9.9.0/24. "),
        ("10.9.9.0/24", vec![], "There are: smtp-0 on 0.0.0.0:0, allow 127.0.0.0/8 192.168.7.0/24. "),
        ("192.168.7.20", vec![Protocol::Imap], "there is no listener for imap; add"),
    ] {
        let wanted = AddLogin { networks: vec![networks.into()], protocols, ..login(SCANNER, "copier") };
        let what = stage.refused(Request::AddLogin(wanted), true).await;
        assert!(what.starts_with("this login could never be used: ") && what.contains(word), "{what}");
    }
    assert_eq!(stage.logins().await.len(), 1);
    let reached = vec!["10.9.9.0/24".into(), "192.168.7.20".into()];
    stage
        .made(Request::AddLogin(AddLogin { networks: reached, ..login(SCANNER, "copier") }))
        .await;
}

#[tokio::test]
async fn a_login_works_from_when_it_is_made_until_it_is_revoked() {
    let stage = Stage::set().await;
    assert!(!stage.opens("copier").await);
    let wanted = AddLogin {
        username: Some("Copier".into()),
        protocols: vec![Protocol::Imap, Protocol::Smtp],
        networks: vec!["192.168.7.9/24".into()],
        ..login("SCANNER@contoso.example", "")
    };
    let id = stage.made(Request::AddLogin(wanted)).await;
    assert!(stage.opens("copier").await);
    let logins = stage.logins().await;
    let [file, copier] = &logins[..] else { panic!("{logins:?}") };
    assert_eq!((file.id, file.username.as_str(), file.unseen), (None, "scanner", false));
    assert_eq!(
        *copier,
        LoginStatus {
            id: Some(id),
            account: SCANNER.into(),
            username: "copier".into(),
            device: "Scanner 3rd floor".into(),
            protocols: vec![Protocol::Smtp, Protocol::Imap],
            networks: vec!["192.168.7.0/24".into()],
            ends: None,
            used: None,
            from: None,
            unseen: false,
        }
    );
    let what = stage.done(Request::RevokeLogin { id }).await;
    assert!(what.contains("copier of scanner@contoso.example, is revoked") && !what.contains("still"), "{what}");
    assert!(!stage.opens("copier").await);
    assert!(
        stage
            .refused(Request::RevokeLogin { id }, true)
            .await
            .contains("there is no login")
    );
    assert!(stage.opens("scanner").await);
}

#[tokio::test]
async fn a_login_that_the_file_could_not_have_is_refused() {
    let stage = Stage::with_ann().await;
    let good = || login(SCANNER, "copier");
    let many = stage.made(add_login(SCANNER, "many")).await;
    for _ in 1..4 {
        stage.made(add_login(SCANNER, "many")).await;
    }
    let dear = HASH.trim().replacen("m=8", "m=9999999", 1);
    for (wanted, word) in [
        (
            AddLogin { account: "nobody@contoso.example".into(), ..good() },
            "there is no account nobody@contoso.example; there are: scanner@",
        ),
        (AddLogin { username: Some("ann".into()), ..good() }, "opens ann@contoso.example already"),
        (AddLogin { username: Some("many".into()), ..good() }, "has 4 passwords"),
        (AddLogin { username: Some(String::new()), ..good() }, "no user name"),
        (AddLogin { username: Some("sc\u{e4}nner".into()), ..good() }, "\"sc\u{e4}nner\": no user name"),
        (AddLogin { username: Some("x\x1by\u{202e}".into()), ..good() }, "\"x\\u{1b}y\\u{202e}\": no user name"),
        (AddLogin { password_hash: "a plain password".into(), ..good() }, "mailferry passwd"),
        (AddLogin { password_hash: dear, ..good() }, "costs too much"),
        (AddLogin { networks: vec!["the office".into()], ..good() }, "no network"),
        (AddLogin { protocols: vec![Protocol::Pop3], ..good() }, "has no pop3"),
        (AddLogin { device: "two\nlines".into(), ..good() }, "one line"),
        (AddLogin { device: "x".repeat(201), ..good() }, "one line"),
    ] {
        let what = stage.refused(Request::AddLogin(wanted), true).await;
        assert!(what.contains(word) && !what.contains('\n'), "{what}");
        assert!(!what.contains("a plain password"), "{what}");
    }
    let rotate = |id, grace| Request::RotateLogin { id, password_hash: HASH.trim().into(), grace };
    assert!(stage.refused(rotate(many, 60), true).await.contains("has 4 passwords"));
    assert!(stage.refused(rotate(9999, 60), true).await.contains("there is no login 9999"));
    assert!(stage.refused(rotate(many, u64::MAX), true).await.contains("a year"));
    assert_eq!(stage.logins().await.len(), 6);
    stage.store.fail(true);
    let what = stage.refused(Request::AddLogin(good()), false).await;
    assert_eq!(what, "the disk is full: make room");
}

#[tokio::test]
async fn a_replaced_password_is_taken_on_for_its_time() {
    let stage = Stage::set().await;
    let id = stage.made(add_login(SCANNER, "copier")).await;
    let other = "$argon2id$v=19$m=8,t=1,p=1$bm8gc3VjaCBsb2dpbiEhIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let rotate = |id, grace| Request::RotateLogin { id, password_hash: other.into(), grace };
    let new = stage.made(rotate(id, 3600)).await;
    assert_ne!(new, id);
    assert!(stage.opens("copier").await, "with the old password");
    let logins = stage.logins().await;
    let ends: Vec<_> = logins.iter().map(|login| (login.id, login.ends.is_some())).collect();
    assert_eq!(ends, [(None, false), (Some(id), true), (Some(new), false)]);
    let what = stage.refused(rotate(id, 3600), true).await;
    assert!(what.contains("replaced already"), "{what}");
    let what = stage.done(Request::RevokeLogin { id: new }).await;
    assert!(what.contains("1 other password(s) of copier are still taken"), "{what}");
    stage.done(Request::RevokeLogin { id }).await;

    let id = stage.made(add_login(SCANNER, "copier")).await;
    stage.made(rotate(id, 0)).await;
    assert!(!stage.opens("copier").await, "the old password is worth nothing at once");
    assert_eq!(stage.logins().await.len(), 2);
}

#[tokio::test]
async fn a_use_is_shown_before_and_after_it_is_written() {
    let stage = Stage::set().await;
    stage.made(add_login(SCANNER, "copier")).await;
    let registry = &stage.desk.parts.registry;
    let directory = registry.directory();
    let account = directory.account(SCANNER).unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for (at, written) in [(then, false), (then, true), (SystemTime::now(), false)] {
        registry.uses().note(account, &account.logins[1], at, [192, 168, 7, 20].into());
        if written {
            registry.close().await;
        }
        let logins = stage.logins().await;
        assert_eq!((logins[0].used, logins[0].from), (None, None));
        assert_eq!(logins[1].used.unwrap(), at.try_into().unwrap());
        assert_eq!(logins[1].from, Some([192, 168, 7, 20].into()));
        assert_eq!(logins[1].unseen, at == then, "not for 90 days");
    }
}

#[tokio::test]
async fn a_check_tells_each_step_and_what_waiting_may_mend() {
    let stage = Stage::set().await;
    let check = || Request::Check { account: "Scanner@contoso.example".into() };
    let (answer, lines) = stage.ask_and_listen(check()).await;
    assert_eq!(answer, Answer::Checked { wrong: 0, waiting_may_help: false });
    let [token, smtp, imap] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(token, "ok    scanner@contoso.example: token from simulated");
    assert!(smtp.starts_with("ok    scanner@contoso.example: smtp: 250 "), "{smtp}");
    assert!(imap.starts_with("ok    scanner@contoso.example: imap: m1 OK "), "{imap}");
    assert_eq!(stage.accounts().await[0].state, AccountState::Ready);

    stage
        .provider
        .control()
        .fail(sim::Protocol::Imap, Fault::RefuseLogin(Refused::Rights));
    let (answer, lines) = stage.ask_and_listen(check()).await;
    assert_eq!(answer, Answer::Checked { wrong: 1, waiting_may_help: true });
    assert!(lines[2].starts_with("FAIL  scanner@contoso.example: imap: "), "{lines:?}");
    assert!(
        stage
            .refused(Request::Check { account: "x\x1b[31m".into() }, true)
            .await
            .contains("x\\x1b[31m; there are")
    );
}

#[tokio::test]
async fn a_test_message_goes_the_way_of_every_message() {
    let stage = Stage::set().await;
    let send = |to: &str| Request::SendTest { account: SCANNER.into(), to: to.into() };
    let said = stage.done(send(ANN)).await;
    assert!(said.starts_with("250 2.0.0 "), "{said}");
    let control = stage.provider.control();
    let [sent] = &control.submissions()[..] else { panic!() };
    assert_eq!(
        (sent.account.as_str(), sent.from.as_str(), sent.recipients.as_slice()),
        (SCANNER, SCANNER, &[ANN.to_owned()][..])
    );
    let message = String::from_utf8(control.messages(ANN).pop().unwrap()).unwrap();
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    for field in
        ["From: <scanner@contoso.example>", "To: <ann@contoso.example>", "Subject: ", "Date: ", "Message-ID: <"]
    {
        assert!(head.lines().any(|line| line.starts_with(field)), "{field} is not in {head}");
    }
    assert!(body.ends_with("simulated.\r\n") && body.is_ascii(), "{body}");
    assert_eq!(control.violations(), Vec::<String>::new());

    for to in ["nobody", "<ann@contoso.example>", "ann@contoso.example> NOTIFY=NEVER"] {
        let said = stage.refused(send(to), true).await;
        assert!(said.contains("be sent to") || said.contains("in an envelope"), "of the recipient: {said}");
    }
    let no = sim::Act::Say("550 5.1.1 No such user".into());
    control.fail(sim::Protocol::Smtp, Fault::At(sim::Moment::RcptDue, no));
    let what = stage.refused(send(ANN), false).await;
    assert!(what.ends_with("RCPT was answered: 550 5.1.1 No such user"), "{what}");
    assert_eq!(control.submissions().len(), 1);
}
