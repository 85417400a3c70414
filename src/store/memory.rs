//! A store that forgets everything with the process: for the demo and for tests.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{
    LONGEST_LEASE, Leased, LoginUse, Logins, NewSignIn, SignIn, SignInId, SignInNumber, SignIns, StoreFuture,
    StoredAccount, StoredLogin,
};
use crate::secret::SecretText;

/// A store without a file.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    sign_ins: BTreeMap<SignInId, (SignIn, SecretText)>,
    accounts: Vec<StoredAccount>,
    logins: BTreeMap<i64, StoredLogin>,
    uses: Vec<LoginUse>,
    /// Numbers given so far, to sign-ins and to logins.
    numbers: i64,
}

impl Kept {
    fn add_login(&mut self, login: StoredLogin) -> i64 {
        self.numbers += 1;
        let id = self.numbers;
        self.logins.insert(id, StoredLogin { id, ..login });
        id
    }
}

impl MemoryStore {
    /// The refresh token of a sign-in, without asking for the right to use it.
    #[must_use]
    pub fn refresh_token(&self, id: &SignInId) -> Option<SecretText> {
        self.kept().sign_ins.get(id).map(|(_, refresh_token)| refresh_token.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn done<'a, T: Send + 'a>(value: T) -> StoreFuture<'a, T> {
    Box::pin(ready(Ok(value)))
}

impl SignIns for MemoryStore {
    fn sign_in(&self, id: &SignInId, new: NewSignIn) -> StoreFuture<'_, SignInNumber> {
        let mut kept = self.kept();
        kept.numbers += 1;
        let number = SignInNumber(kept.numbers);
        let NewSignIn { account, client_id, refresh_token, name, by, at, ends } = new;
        let sign_in = SignIn {
            id: id.clone(),
            number,
            account,
            client_id,
            name,
            by,
            at,
            exercised: at,
            ends,
            leased_until: None,
        };
        kept.sign_ins.insert(id.clone(), (sign_in, refresh_token));
        done(number)
    }

    fn sign_out(&self, id: &SignInId) -> StoreFuture<'_, bool> {
        done(self.kept().sign_ins.remove(id).is_some())
    }

    fn sign_ins(&self) -> StoreFuture<'_, Vec<SignIn>> {
        done(self.kept().sign_ins.values().map(|(sign_in, _)| sign_in.clone()).collect())
    }

    fn lease(&self, id: &SignInId, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Leased> {
        let mut kept = self.kept();
        let Some((sign_in, refresh_token)) = kept.sign_ins.get_mut(id) else { return done(Leased::SignedOut) };
        if let Some(until) = sign_in
            .leased_until
            .filter(|until| *until > now && *until <= now + LONGEST_LEASE)
        {
            return done(Leased::Busy { until });
        }
        sign_in.leased_until = Some(until);
        done(Leased::Taken { number: sign_in.number, refresh_token: refresh_token.clone() })
    }

    fn settle(
        &self,
        id: &SignInId,
        number: SignInNumber,
        rotated: Option<SecretText>,
        now: SystemTime,
    ) -> StoreFuture<'_, bool> {
        let mut kept = self.kept();
        let Some((sign_in, refresh_token)) = kept.sign_ins.get_mut(id).filter(|(sign_in, _)| sign_in.number == number)
        else {
            return done(false);
        };
        sign_in.leased_until = None;
        sign_in.exercised = now;
        if let Some(rotated) = rotated {
            *refresh_token = rotated;
        }
        done(true)
    }

    fn release(&self, id: &SignInId, number: SignInNumber) -> StoreFuture<'_, ()> {
        if let Some((sign_in, _)) = self.kept().sign_ins.get_mut(id)
            && sign_in.number == number
        {
            sign_in.leased_until = None;
        }
        done(())
    }
}

impl Logins for MemoryStore {
    fn accounts(&self) -> StoreFuture<'_, Vec<StoredAccount>> {
        done(self.kept().accounts.clone())
    }

    fn add_account(&self, account: StoredAccount, login: StoredLogin, ended: Vec<i64>) -> StoreFuture<'_, i64> {
        let mut kept = self.kept();
        kept.logins.retain(|id, _| !ended.contains(id));
        kept.accounts
            .retain(|known| !known.address.eq_ignore_ascii_case(&account.address));
        kept.accounts.push(account);
        done(kept.add_login(login))
    }

    fn logins(&self, now: SystemTime) -> StoreFuture<'_, Vec<StoredLogin>> {
        let mut kept = self.kept();
        kept.logins.retain(|_, login| login.ends.is_none_or(|ends| ends > now));
        done(kept.logins.values().cloned().collect())
    }

    fn add_login(&self, login: StoredLogin) -> StoreFuture<'_, i64> {
        done(self.kept().add_login(login))
    }

    fn revoke_login(&self, id: i64) -> StoreFuture<'_, bool> {
        done(self.kept().logins.remove(&id).is_some())
    }

    fn rotate_login(
        &self,
        id: i64,
        password_hash: String,
        now: SystemTime,
        old_ends: SystemTime,
    ) -> StoreFuture<'_, Option<i64>> {
        let mut kept = self.kept();
        let Some(old) = kept.logins.get_mut(&id) else { return done(None) };
        let next = StoredLogin { password_hash, made: now, ends: None, ..old.clone() };
        old.ends = Some(old_ends);
        done(Some(kept.add_login(next)))
    }

    fn uses(&self) -> StoreFuture<'_, Vec<LoginUse>> {
        done(self.kept().uses.clone())
    }

    fn used(&self, uses: Vec<LoginUse>) -> StoreFuture<'_, ()> {
        let mut kept = self.kept();
        for new in uses {
            let same = |old: &LoginUse| (&old.account, &old.username, old.id) == (&new.account, &new.username, new.id);
            kept.uses.retain(|old| !same(old));
            kept.uses.push(new);
        }
        done(())
    }
}
