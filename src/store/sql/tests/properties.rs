//! Whatever is done, the store in a file answers as the one in memory does, also when it is opened again in between.

use proptest::prelude::*;

use crate::store::memory::MemoryStore;
use crate::store::sql::SqlStore;
use crate::store::tests::{Folder, at, id, new_login, new_sign_in, token};
use crate::store::{Leased, LoginUse, SignInNumber, Store, StoredAccount};

#[derive(Debug, Clone)]
enum Step {
    SignIn(u8, u8),
    SignOut(u8),
    Lease(u8, u64, u64),
    Settle(u8, usize, Option<u8>, u64),
    Release(u8, usize),
    AddAccount(String, u8),
    AddLogin(u8),
    Logins(u64),
    Revoke(usize),
    Rotate(usize, u64, u64),
    Used(Vec<(u8, u8, u64)>),
    OpenAgain,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, time, given) = (0..3_u8, 0..200_u64, 0..6_usize);
    prop_oneof![
        3 => (name.clone(), any::<u8>()).prop_map(|(name, token)| Step::SignIn(name, token)),
        1 => name.clone().prop_map(Step::SignOut),
        6 => (name.clone(), time.clone(), 1..50_u64).prop_map(|(name, now, length)| Step::Lease(name, now, length)),
        4 => (name.clone(), given.clone(), any::<Option<u8>>(), time.clone())
            .prop_map(|(name, number, rotated, now)| Step::Settle(name, number, rotated, now)),
        2 => (name, given.clone()).prop_map(|(name, number)| Step::Release(name, number)),
        1 => ("[abAB]@x", any::<u8>()).prop_map(|(address, app)| Step::AddAccount(address, app)),
        2 => any::<u8>().prop_map(Step::AddLogin),
        2 => time.clone().prop_map(Step::Logins),
        1 => given.clone().prop_map(Step::Revoke),
        2 => (given, time.clone(), time.clone()).prop_map(|(login, now, ends)| Step::Rotate(login, now, ends)),
        2 => prop::collection::vec((0..3_u8, 0..2_u8, time), 0..4).prop_map(Step::Used),
        1 => Just(Step::OpenAgain),
    ]
}

/// What a store gave and did. Numbers are told by when they were given: each store counts in its own way.
#[derive(Default)]
struct Played {
    sign_ins: Vec<SignInNumber>,
    logins: Vec<i64>,
    said: Vec<String>,
}

impl Played {
    fn sign_in(&self, number: SignInNumber) -> Option<usize> {
        self.sign_ins.iter().position(|given| *given == number)
    }

    fn login(&self, number: i64) -> Option<usize> {
        self.logins.iter().position(|given| *given == number)
    }

    async fn play(&mut self, store: &dyn Store, step: &Step) {
        let name = |name: &u8| id(&name.to_string());
        let number = |which: &usize| self.sign_ins.get(*which).copied().unwrap_or(SignInNumber(0));
        let login = |which: &usize| self.logins.get(*which).copied().unwrap_or(0);
        let said = match step {
            Step::SignIn(who, text) => {
                let given = store
                    .sign_in(&name(who), new_sign_in(&who.to_string(), &text.to_string()))
                    .await
                    .unwrap();
                assert!(self.sign_ins.last().is_none_or(|last| *last < given));
                self.sign_ins.push(given);
                String::new()
            }
            Step::SignOut(who) => format!("{:?}", store.sign_out(&name(who)).await),
            Step::Lease(who, now, length) => match store.lease(&name(who), at(*now), at(now + length)).await.unwrap() {
                Leased::Taken { number, refresh_token } => {
                    format!("{:?} {}", self.sign_in(number), refresh_token.expose())
                }
                other => format!("{other:?}"),
            },
            Step::Settle(who, which, rotated, now) => {
                let rotated = rotated.map(|text| token(&text.to_string()));
                format!("{:?}", store.settle(&name(who), number(which), rotated, at(*now)).await)
            }
            Step::Release(who, which) => format!("{:?}", store.release(&name(who), number(which)).await),
            Step::AddAccount(address, app) => {
                let account = StoredAccount { address: address.clone(), app: app.to_string() };
                let given = store
                    .add_account(account, new_login(app.to_string().as_str()), Vec::new())
                    .await
                    .unwrap();
                assert!(self.logins.last().is_none_or(|last| *last < given));
                self.logins.push(given);
                String::new()
            }
            Step::AddLogin(name) => {
                let given = store.add_login(new_login(&name.to_string())).await.unwrap();
                assert!(self.logins.last().is_none_or(|last| *last < given));
                self.logins.push(given);
                String::new()
            }
            Step::Logins(now) => {
                let logins = store.logins(at(*now)).await.unwrap();
                let told = logins
                    .iter()
                    .map(|login| (self.login(login.id), &login.password_hash, login.made, login.ends));
                format!("{:?}", told.collect::<Vec<_>>())
            }
            Step::Revoke(which) => format!("{:?}", store.revoke_login(login(which)).await),
            Step::Rotate(which, now, ends) => {
                let given = store
                    .rotate_login(login(which), now.to_string(), at(*now), at(*ends))
                    .await
                    .unwrap();
                self.logins.extend(given);
                format!("{:?}", given.is_some())
            }
            Step::Used(uses) => {
                let one = |(account, login, when): &(u8, u8, u64)| LoginUse {
                    account: account.to_string(),
                    username: "printer".into(),
                    id: i64::from(*login),
                    at: at(*when),
                    from: [192, 0, 2, *account].into(),
                };
                format!("{:?}", store.used(uses.iter().map(one).collect()).await)
            }
            Step::OpenAgain => String::new(),
        };
        let signed_in = store.sign_ins().await.unwrap();
        let told = signed_in
            .iter()
            .map(|told| (self.sign_in(told.number), &told.id, told.exercised, told.leased_until));
        let told = told.collect::<Vec<_>>();
        let (accounts, uses) = (store.accounts().await.unwrap(), store.uses().await.unwrap());
        self.said.push(format!("{said} {told:?} {accounts:?} {uses:?}"));
    }
}

/// The same process: its leases stay its own.
async fn again(folder: &Folder, store: SqlStore) -> SqlStore {
    let holder = store.holder.clone();
    drop(store);
    SqlStore { holder, ..folder.open().await.unwrap() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_file_answers_as_the_memory_does(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = Folder::new();
            let mut file = folder.open().await.unwrap();
            let memory = MemoryStore::default();
            let (mut of_file, mut of_memory) = (Played::default(), Played::default());
            for step in &steps {
                if matches!(step, Step::OpenAgain) {
                    file = again(&folder, file).await;
                }
                of_file.play(&file, step).await;
                of_memory.play(&memory, step).await;
                assert_eq!(of_file.said.last(), of_memory.said.last(), "{step:?}");
            }
        });
    }
}
