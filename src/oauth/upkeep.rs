//! What keeps tokens alive while nobody looks: refresh tokens are exercised, and what will end is said ahead.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use super::expiry::Expiry;
use super::grant::WallClock;
use super::service::TokenService;
use crate::config::Account;
use crate::store::{SignIn, SignInId, SignIns};

/// How often it is looked whether something is due.
const ROUND: Duration = Duration::from_secs(3600);

/// A refresh token that has not been used for so long is used. The shortest life of an unused one is 90 days at
/// Microsoft; a week leaves twelve tries.
const EXERCISED_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The accounts there are at the moment.
pub type Accounts = Box<dyn Fn() -> Vec<Arc<Account>> + Send + Sync>;

/// What else ends.
pub type Others = Box<dyn Fn() -> Vec<Expiry> + Send + Sync>;

/// Looks after sign-ins and dates.
pub struct Upkeep {
    service: Arc<TokenService>,
    sign_ins: Arc<dyn SignIns>,
    accounts: Accounts,
    others: Others,
    wall: WallClock,
    /// The last stage that was said of each thing that ends.
    said: HashMap<String, u64>,
}

impl Upkeep {
    /// Looks after the `accounts` there are at each round.
    #[must_use]
    pub fn new(service: Arc<TokenService>, sign_ins: Arc<dyn SignIns>, accounts: Accounts, wall: WallClock) -> Self {
        Self { service, sign_ins, accounts, others: Box::new(Vec::new), wall, said: HashMap::new() }
    }

    /// Looks after what is neither an account's nor an app's too.
    #[must_use]
    pub fn with(self, others: Others) -> Self {
        Self { others, ..self }
    }

    /// Goes round for ever, at once for the first time.
    pub async fn run(mut self) {
        let mut rounds = interval(ROUND);
        // After a suspended night one round makes up for all of them.
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.round().await;
        }
    }

    async fn round(&mut self) {
        let accounts = (self.accounts)();
        let sign_ins = match self.sign_ins.sign_ins().await {
            Ok(sign_ins) => sign_ins,
            Err(error) => {
                tracing::warn!("sign-ins cannot be looked after: {error}");
                Vec::new()
            }
        };
        let now = (self.wall)();
        for warning in self.due(&accounts, &sign_ins, now) {
            tracing::warn!("{warning}");
        }
        for account in accounts {
            let sign_in = SignInId::of(&account).and_then(|id| sign_ins.iter().find(|sign_in| sign_in.id == id));
            if sign_in.is_some_and(|sign_in| is_to_be_exercised(sign_in, now))
                && let Err(error) = self.service.exercise(&account).await
            {
                tracing::warn!(account = account.address, "the sign-in could not be renewed: {error}");
            }
        }
    }

    /// The warnings that are due and have not been said at this stage.
    fn due(&mut self, accounts: &[Arc<Account>], sign_ins: &[SignIn], now: SystemTime) -> Vec<String> {
        let mut warnings = Vec::new();
        for expiry in expiries(accounts, sign_ins).into_iter().chain((self.others)()) {
            match expiry.stage(now) {
                None => {
                    self.said.remove(&expiry.what);
                }
                Some(stage) if self.said.get(&expiry.what) == Some(&stage) => {}
                Some(stage) => {
                    warnings.extend(expiry.warning(now));
                    self.said.insert(expiry.what, stage);
                }
            }
        }
        warnings
    }
}

/// All that ends, each thing once.
fn expiries(accounts: &[Arc<Account>], sign_ins: &[SignIn]) -> Vec<Expiry> {
    let mut expiries: Vec<Expiry> = Vec::new();
    for account in accounts {
        for expiry in of_account(account, sign_ins) {
            if !expiries.iter().any(|known| known.what == expiry.what) {
                expiries.push(expiry);
            }
        }
    }
    expiries
}

/// What ends that `account` depends on.
#[must_use]
pub fn of_account(account: &Account, sign_ins: &[SignIn]) -> Vec<Expiry> {
    let sign_in = SignInId::of(account).and_then(|id| sign_ins.iter().find(|sign_in| sign_in.id == id));
    let of_sign_in = sign_in.and_then(|sign_in| Expiry::of_sign_in(&account.app, sign_in));
    Expiry::of_app(&account.app).into_iter().chain(of_sign_in).collect()
}

/// Spread over a day by the sign-in's name, so that two hundred that were made in one hour are not used in one.
fn is_to_be_exercised(sign_in: &SignIn, now: SystemTime) -> bool {
    let spread = sign_in
        .id
        .as_str()
        .bytes()
        .fold(0_u64, |sum, octet| sum.wrapping_mul(31).wrapping_add(octet.into()));
    let due = EXERCISED_WITHIN - Duration::from_secs(spread % (24 * 3600));
    // One that was used in the future was noted by a clock that was wrong.
    now.duration_since(sign_in.exercised).map_or(true, |unused| unused >= due)
}

#[cfg(test)]
mod tests;
