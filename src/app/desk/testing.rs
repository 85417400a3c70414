//! What the tests of this folder share: a configuration, and a store that can fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use crate::secret::SecretText;
use crate::store::memory::MemoryStore;
use crate::store::{
    Leased, LoginUse, Logins, NewSignIn, SignIn, SignInId, SignInNumber, SignIns, StoreError, StoreFuture,
    StoredAccount, StoredLogin,
};

/// argon2id of `a plain password`.
pub(crate) const HASH: &str = include_str!("../../../tests/common/cheap-hash.txt");

/// One account of a file, `scanner`, and an app for people. `provider` is put into the provider's table.
pub(crate) fn configuration(provider: &str) -> String {
    format!(
        "hostname = \"gateway.example\"\n\
         [[listener]]\nprotocol = \"smtp\"\nbind = \"127.0.0.1:0\"\n\
         [provider.simulated]\nauthorization_url = \"https://localhost/authorize\"\nscopes = [\"https://outlook.office365.com/.default\"]\n{}\n\
         [app.contoso]\nprovider = \"simulated\"\ngrant = \"client-credentials\"\n\
         client_id = \"11111111-2222-3333-4444-555555555555\"\nclient_secret = \"simulated-client-secret\"\n\
         [app.people]\nprovider = \"simulated\"\ngrant = \"authorization-code\"\nclient_id = \"for-people\"\n\
         [[account]]\naddress = \"scanner@contoso.example\"\napp = \"contoso\"\n\
         [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{}\"\n",
        if provider.is_empty() {
            "token_url = \"https://localhost/token\"\nsmtp = { host = \"localhost\", port = 587, tls = \"starttls\" }"
        } else {
            provider
        },
        HASH.trim()
    )
}

/// A store in memory that fails while it is told to, and counts how often uses were written.
#[derive(Debug, Default)]
pub(crate) struct FlakyStore {
    kept: MemoryStore,
    failing: AtomicBool,
    writes: AtomicUsize,
}

impl FlakyStore {
    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    pub(crate) fn refresh_token(&self, id: &SignInId) -> Option<SecretText> {
        self.kept.refresh_token(id)
    }

    fn unless_failing<'a, T: Send + 'a>(&self, work: impl FnOnce() -> StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        if self.failing.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Unavailable("the disk is full: make room".into())) });
        }
        work()
    }
}

impl SignIns for FlakyStore {
    fn sign_in(&self, id: &SignInId, new: NewSignIn) -> StoreFuture<'_, SignInNumber> {
        self.unless_failing(|| self.kept.sign_in(id, new))
    }

    fn sign_out(&self, id: &SignInId) -> StoreFuture<'_, bool> {
        self.unless_failing(|| self.kept.sign_out(id))
    }

    fn sign_ins(&self) -> StoreFuture<'_, Vec<SignIn>> {
        self.unless_failing(|| self.kept.sign_ins())
    }

    fn lease(&self, id: &SignInId, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Leased> {
        self.unless_failing(|| self.kept.lease(id, now, until))
    }

    fn settle(
        &self,
        id: &SignInId,
        number: SignInNumber,
        rotated: Option<SecretText>,
        now: SystemTime,
    ) -> StoreFuture<'_, bool> {
        self.unless_failing(|| self.kept.settle(id, number, rotated, now))
    }

    fn release(&self, id: &SignInId, number: SignInNumber) -> StoreFuture<'_, ()> {
        self.unless_failing(|| self.kept.release(id, number))
    }
}

impl Logins for FlakyStore {
    fn accounts(&self) -> StoreFuture<'_, Vec<StoredAccount>> {
        self.unless_failing(|| self.kept.accounts())
    }

    fn add_account(&self, account: StoredAccount, login: StoredLogin, ended: Vec<i64>) -> StoreFuture<'_, i64> {
        self.unless_failing(|| self.kept.add_account(account, login, ended))
    }

    fn logins(&self, now: SystemTime) -> StoreFuture<'_, Vec<StoredLogin>> {
        self.unless_failing(|| self.kept.logins(now))
    }

    fn add_login(&self, login: StoredLogin) -> StoreFuture<'_, i64> {
        self.unless_failing(|| self.kept.add_login(login))
    }

    fn revoke_login(&self, id: i64) -> StoreFuture<'_, bool> {
        self.unless_failing(|| self.kept.revoke_login(id))
    }

    fn rotate_login(
        &self,
        id: i64,
        password_hash: String,
        now: SystemTime,
        old_ends: SystemTime,
    ) -> StoreFuture<'_, Option<i64>> {
        self.unless_failing(|| self.kept.rotate_login(id, password_hash, now, old_ends))
    }

    fn uses(&self) -> StoreFuture<'_, Vec<LoginUse>> {
        self.unless_failing(|| self.kept.uses())
    }

    fn used(&self, uses: Vec<LoginUse>) -> StoreFuture<'_, ()> {
        self.unless_failing(|| {
            self.writes.fetch_add(1, Ordering::SeqCst);
            self.kept.used(uses)
        })
    }
}
