//! Is this the password? The verified cache, the throttle, the gate and argon2id, in that order. Never touches a
//! token: what is denied here costs the upstream nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use argon2::password_hash::{self, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use aws_lc_rs::{hmac, rand};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Visit;
use super::bounded::Bounded;
use super::decoy::Decoys;
use super::directory::Directory;
use super::gate::{Full, Gate};
use super::throttle::{Fingerprint, Found, Origin, Refused, Throttle};
use crate::config::{Account, Config, Login, holds};
use crate::proto::LoginRequest;
use crate::secret::Password;

/// How long a verified password is remembered.
const VERIFIED_FOR: Duration = Duration::from_secs(60 * 60);

/// How many verified passwords are remembered.
const VERIFIED: usize = 16 * 1024;

/// How many (address, login) pairs are remembered to have succeeded.
const PROVEN: usize = 16 * 1024;

/// How often a pair that has succeeded goes first before it must succeed again. That it goes first tells a guesser
/// under load that the name exists, so wrong passwords must not do it for long.
const GOES_FIRST: u8 = 3;

/// The longest user name, in octets.
const MAX_NAME: usize = 255;

/// A login that may go on.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The mailbox it opens.
    pub account: Arc<Account>,
    /// Which of [`Account::logins`] it was.
    pub login: usize,
}

/// Why a login may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Denied {
    /// The name or password is wrong. Which of these it was is not told.
    #[error("wrong user name or password")]
    Credentials,
    /// The name and password are right, and this login may not be used from there or for this protocol. It took as long as
    /// a wrong password, and whoever logs in is told the same.
    #[error("the password is right, but the login {}", .0.obstacle)]
    Misplaced(Misplaced),
    /// No login can have this name, or it asks to act as somebody else. Nothing was computed, counted or waited for: the
    /// caller has to slow such logins.
    #[error("a user name that no login can have, or that asks to act as another")]
    Impossible,
    /// Too many failures; the password was not looked at.
    #[error("too many failed logins")]
    Throttled,
    /// Too many are waiting for their passwords to be checked, or the check itself broke.
    #[error("the password could not be checked now: too many logins at once, or an internal error")]
    Busy,
}

/// A login whose password is right, and which may not be used on this visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misplaced {
    /// Which of [`Account::logins`] it is: of several the first.
    pub login: usize,
    /// What stands against it.
    pub obstacle: Obstacle,
}

/// What stands against a login's use on a visit. Shown, it goes on from "the login".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// Its time is over.
    #[error("has ended, since another has replaced it")]
    Ended,
    /// It is for others of the three protocols.
    #[error("is not for this protocol")]
    Protocol,
    /// It is for other networks.
    #[error("is not for this address")]
    Network,
    /// It demands TLS.
    #[error("wants TLS, which this connection has not")]
    Tls,
    /// There is nothing that it could open: the account's provider has no server for this protocol.
    #[error("is for a mailbox whose provider has no server for this protocol")]
    Unserved,
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Blocked => Self::Throttled,
            Refused::Crowded => Self::Busy,
        }
    }
}

/// The system gave no random octets to make a key of.
#[derive(Debug, Error)]
#[error("the system has no random numbers to give")]
pub struct NoRandomness;

/// Checks local passwords. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Verifier(Arc<Shared>);

struct Shared {
    memory: Mutex<Memory>,
    gate: Gate,
    /// Random and never stored: fingerprints mean nothing outside this process.
    key: hmac::Key,
    /// What names nobody has are checked against.
    decoys: Decoys,
    computations: AtomicU64,
}

struct Memory {
    throttle: Throttle,
    /// Fingerprints of right passwords; which of the name's hashes they fit, and when that was found.
    verified: Bounded<Fingerprint, (Instant, Arc<[usize]>)>,
    /// The pairs that have succeeded, and how often each may still go first.
    proven: Bounded<(Origin, String), u8>,
    /// Computations under way, one a fingerprint.
    flights: HashMap<Fingerprint, Arc<watch::Sender<Option<Outcome>>>>,
}

/// How a computation ended.
#[derive(Debug, Clone)]
enum Outcome {
    /// The positions of the hashes that fit, in order.
    Fits(Arc<[usize]>),
    /// There was no place in the queue, or the hashing broke.
    Unchecked,
}

/// Everything a computation needs.
struct Task {
    fingerprint: Fingerprint,
    hashes: Arc<[String]>,
    password: Password,
    /// Who waits in one line at the gate.
    network: Origin,
    proven: bool,
}

impl Verifier {
    /// A verifier with the limits of `config`, and as many computations at once as there are cores.
    ///
    /// # Errors
    /// [`NoRandomness`], when no key can be made.
    pub fn new(config: &Config) -> Result<Self, NoRandomness> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).map_err(|_| NoRandomness)?;
        let logins = config.accounts.iter().flat_map(|account| &account.logins);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self(Arc::new(Shared {
            memory: Mutex::new(Memory {
                throttle: Throttle::new(config.limits.failed_logins),
                verified: Bounded::new(VERIFIED),
                proven: Bounded::new(PROVEN),
                flights: HashMap::new(),
            }),
            gate: Gate::new(cores),
            key,
            decoys: Decoys::of(logins.filter_map(|login| Some((&*login.username, login.password_hash()?)))),
            computations: AtomicU64::new(0),
        })))
    }

    /// How many times argon2 has run.
    #[must_use]
    pub fn computations(&self) -> u64 {
        self.0.computations.load(Ordering::Relaxed)
    }

    /// Decides on a login. Where the throttle wants an attempt to wait, the
    /// waiting is done in here: at most [`LONGEST_WAIT`](super::throttle::LONGEST_WAIT).
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn verify(
        &self,
        directory: &Directory,
        visit: &Visit,
        request: &LoginRequest,
    ) -> Result<Verified, Denied> {
        let name = local_name(request).ok_or(Denied::Impossible)?;
        let origin = Origin::of(visit.peer);
        let candidates = Candidates::of(directory, &name);
        let fingerprint = self.0.fingerprint(&name, &candidates.hashes, &request.password);

        // A password that fits where it may not be used gets no quick answer: the time would tell that it fits.
        let remembered = match self.0.remembered(&fingerprint) {
            Some((fits, lets_in)) => match candidates.choose(&fits, visit) {
                Ok(verified) if lets_in => {
                    // What it has used up of going first it does not get back here: only a computation is worth that.
                    self.0.memory().proven.entry((origin, name), || GOES_FIRST);
                    return Ok(verified);
                }
                Ok(_) => None,
                Err(denied) => Some(denied),
            },
            None => None,
        };

        let attempt = {
            let mut memory = self.0.memory();
            let proven = memory.proven.get(&(origin, name.clone())).is_some();
            memory.throttle.begin(Instant::now(), origin, &name, fingerprint, proven)?
        };
        if !attempt.wait.is_zero() {
            tokio::time::sleep(attempt.wait).await;
        }
        let found = self.0.memory().throttle.found(Instant::now(), origin, &name, &fingerprint);
        match (found, remembered) {
            // Nobody keeps the cores busy with what is known already. One that fits where it may not be used is answered
            // in the same way and time: else its computing again would tell that it fits.
            (Some(Found::Wrong), _) => return Err(Denied::Credentials),
            (Some(Found::Misplaced), Some(denied)) => return Err(denied),
            // Which hashes it fits was forgotten, and it may be used here.
            (Some(Found::Misplaced), None) | (None, _) => {}
        }

        // Also a name whose logins have no password is checked against some: else the time told that it exists.
        let known = !candidates.hashes.is_empty();
        let proven = self.0.memory().goes_first(origin, &name);
        let task = Task {
            fingerprint,
            hashes: if known { Arc::clone(&candidates.hashes) } else { self.0.decoys.for_name(&name) },
            password: request.password.clone(),
            network: origin.network(),
            proven,
        };
        let outcome = self.0.compute(task).await;

        let mut memory = self.0.memory();
        let Outcome::Fits(fits) = outcome else {
            memory.throttle.withdrawn(origin, &name, &attempt);
            return Err(Denied::Busy);
        };
        match candidates.choose(&fits, visit) {
            Ok(verified) => {
                memory.throttle.succeeded(origin, &name, &attempt);
                memory.proven.insert((origin, name), GOES_FIRST);
                Ok(verified)
            }
            Err(denied) => {
                let found = if fits.is_empty() { Found::Wrong } else { Found::Misplaced };
                memory.throttle.failed(Instant::now(), origin, &name, fingerprint, found);
                Err(denied)
            }
        }
    }
}

impl Memory {
    /// Whether an attempt of this pair is computed before those of strangers. It is used up here, and not when the
    /// attempt has failed, so that many sent at once do not all go first.
    fn goes_first(&mut self, origin: Origin, name: &str) -> bool {
        let left = self.proven.get_mut(&(origin, name.to_owned()));
        left.is_some_and(|left| std::mem::replace(left, left.saturating_sub(1)) > 0)
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each field goes in with its length, so that no two attempts run together into one.
    fn fingerprint(&self, name: &str, hashes: &[String], password: &Password) -> Fingerprint {
        let mut digest = hmac::Context::with_key(&self.key);
        let fields = hashes.iter().map(String::as_bytes).chain([name.as_bytes(), password.expose()]);
        for field in fields {
            digest.update(&field.len().to_be_bytes());
            digest.update(field);
        }
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(digest.sign().as_ref());
        fingerprint
    }

    /// Which hashes this fits, and whether that lets in by itself. It does not for ever; but what is refused is refused
    /// from memory as long as a wrong password is.
    fn remembered(&self, fingerprint: &Fingerprint) -> Option<(Arc<[usize]>, bool)> {
        let memory = self.memory();
        let (since, fits) = memory.verified.get(fingerprint)?;
        Some((Arc::clone(fits), since.elapsed() < VERIFIED_FOR))
    }

    /// Joins the computation of this very attempt, or starts it. It runs in a task of its own: one of those who wait
    /// may leave without the others noticing.
    async fn compute(self: &Arc<Self>, task: Task) -> Outcome {
        let mut outcome = {
            let mut memory = self.memory();
            if let Some(sender) = memory.flights.get(&task.fingerprint) {
                sender.subscribe()
            } else {
                let (sender, receiver) = watch::channel(None);
                let sender = Arc::new(sender);
                memory.flights.insert(task.fingerprint, Arc::clone(&sender));
                let flight = Flight { shared: Arc::clone(self), fingerprint: task.fingerprint, sender };
                tokio::spawn(flight.run(task));
                receiver
            }
        };
        let landed = outcome.wait_for(Option::is_some).await;
        landed.ok().and_then(|outcome| outcome.clone()).unwrap_or(Outcome::Unchecked)
    }
}

/// A computation under way. Whatever ends it, it takes itself off the list.
struct Flight {
    shared: Arc<Shared>,
    fingerprint: Fingerprint,
    sender: Arc<watch::Sender<Option<Outcome>>>,
}

impl Flight {
    async fn run(self, task: Task) {
        let permit = tokio::select! {
            permit = self.shared.gate.enter(task.network, task.proven) => permit,
            () = self.abandoned() => return,
        };
        let outcome = match permit {
            Err(Full) => Outcome::Unchecked,
            Ok(permit) => {
                let shared = Arc::clone(&self.shared);
                // The permit goes along: should this task be dropped, the core is still busy.
                let hashing = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    fitting(&task.password, &task.hashes, &shared.computations)
                });
                match hashing.await {
                    Ok(Ok(fits)) => Outcome::Fits(fits.into()),
                    Ok(Err(_)) | Err(_) => Outcome::Unchecked,
                }
            }
        };
        if let Outcome::Fits(fits) = &outcome
            && !fits.is_empty()
        {
            self.shared
                .memory()
                .verified
                .insert(self.fingerprint, (Instant::now(), Arc::clone(fits)));
        }
        self.sender.send_replace(Some(outcome));
    }

    /// Returns once nobody waits for the outcome and nobody can begin to.
    async fn abandoned(&self) {
        loop {
            self.sender.closed().await;
            let mut memory = self.shared.memory();
            if self.sender.receiver_count() == 0 {
                memory.flights.remove(&self.fingerprint);
                return;
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut memory = self.shared.memory();
        // An abandoned flight has left the list, and another may have taken its place.
        if memory
            .flights
            .get(&self.fingerprint)
            .is_some_and(|listed| Arc::ptr_eq(listed, &self.sender))
        {
            memory.flights.remove(&self.fingerprint);
        }
    }
}

/// Tries every hash, also after one has fitted: two logins of one name may share a password and differ in where it
/// may be used.
fn fitting(
    password: &Password,
    hashes: &[String],
    computations: &AtomicU64,
) -> Result<Vec<usize>, password_hash::Error> {
    let mut fits = Vec::new();
    for (position, hash) in hashes.iter().enumerate() {
        let hash = PasswordHash::new(hash).map_err(|_| password_hash::Error::EncodingInvalid)?;
        computations.fetch_add(1, Ordering::Relaxed);
        match Argon2::default().verify_password(password.expose(), &hash) {
            Ok(()) => fits.push(position),
            Err(password_hash::Error::PasswordInvalid) => {}
            Err(broken) => return Err(broken),
        }
    }
    Ok(fits)
}

/// The logins that share a name, in the order of the directory.
struct Candidates<'a> {
    account: Option<&'a Arc<Account>>,
    indices: Vec<usize>,
    hashes: Arc<[String]>,
}

impl<'a> Candidates<'a> {
    fn of(directory: &'a Directory, name: &str) -> Self {
        let account = directory.logins.get(name);
        let logins = account.map_or(&[][..], |account| &account.logins);
        let named = || logins.iter().enumerate().filter(|(_, login)| login.username == name);
        let with_password = || named().filter_map(|(index, login)| Some((index, login.password_hash()?)));
        Self {
            account,
            indices: with_password().map(|(index, _)| index).collect(),
            hashes: with_password().map(|(_, hash)| hash.to_owned()).collect(),
        }
    }

    /// The first login whose hash fits and that may be used on this visit.
    ///
    /// # Errors
    /// [`Denied::Misplaced`] if some fit and none may be used, else [`Denied::Credentials`].
    fn choose(&self, fits: &[usize], visit: &Visit) -> Result<Verified, Denied> {
        let account = self.account.ok_or(Denied::Credentials)?;
        let mut misplaced = None;
        for index in fits.iter().filter_map(|position| self.indices.get(*position).copied()) {
            match account.logins.get(index).map(|login| obstacle(account, login, visit)) {
                Some(None) => return Ok(Verified { account: Arc::clone(account), login: index }),
                Some(Some(obstacle)) => misplaced = misplaced.or(Some(Misplaced { login: index, obstacle })),
                None => {}
            }
        }
        Err(misplaced.map_or(Denied::Credentials, Denied::Misplaced))
    }
}

/// What stands against the use of this login of `account` on this visit, whatever password was given; `None` if it may be
/// used.
#[must_use]
pub fn obstacle(account: &Account, login: &Login, visit: &Visit) -> Option<Obstacle> {
    if login.ends.is_some_and(|ends| ends <= SystemTime::now()) {
        Some(Obstacle::Ended)
    } else if !login.protocols.contains(&visit.protocol) {
        Some(Obstacle::Protocol)
    } else if !login.networks.as_deref().is_none_or(|networks| holds(networks, visit.peer)) {
        Some(Obstacle::Network)
    } else if login.tls_required && !visit.encrypted {
        Some(Obstacle::Tls)
    } else {
        account
            .app
            .provider
            .server(visit.protocol)
            .is_none()
            .then_some(Obstacle::Unserved)
    }
}

/// The name in the form it is kept in. `None` for a name that no login can have: control characters could switch
/// identities at an upstream (`\x01` parts the fields of XOAUTH2), and look-alike letters could switch them here.
fn local_name(request: &LoginRequest) -> Option<String> {
    let name = &request.username;
    let clean = |octet: &u8| octet.is_ascii() && !octet.is_ascii_control();
    if name.is_empty() || name.len() > MAX_NAME || !name.iter().all(clean) {
        return None;
    }
    // RFC 4616 section 2: an authorization identity asks to act as somebody else, which nobody may.
    if !request.authzid.is_empty() && !request.authzid.eq_ignore_ascii_case(name) {
        return None;
    }
    String::from_utf8(name.to_ascii_lowercase()).ok()
}

#[cfg(test)]
mod tests;
