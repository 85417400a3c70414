//! The logins: which there are, new ones, other passwords, and their end.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::super::parts::Parts;
use super::super::registry::Change;
use super::{LOST, Refusal, account, at, shown, written};
use crate::config::{
    Account, Config, Login, LoginOrigin, MAX_SAME_USERNAME, NETWORK, Protocol, check_hash, check_username,
    in_words as networks_in_words, listeners_in_words, network, places,
};
use crate::control::{AddLogin, Answer, LoginStatus};
use crate::login::directory::as_login;
use crate::login::uses::number;
use crate::store::{LoginUse, StoredLogin};

/// A login that nobody has used for so long is pointed out.
const UNSEEN: Duration = Duration::from_secs(90 * 24 * 3600);

/// The longest words that say what a login is for, in octets.
const MAX_DEVICE: usize = 200;

/// The longest time that a replaced password is taken on.
const LONGEST_GRACE: Duration = Duration::from_secs(366 * 24 * 3600);

pub(super) async fn list(parts: &Parts) -> Result<Answer, Refusal> {
    let now = SystemTime::now();
    let stored: HashMap<_, _> = parts
        .store
        .logins(now)
        .await?
        .into_iter()
        .map(|login| (login.id, login))
        .collect();
    // Those in memory are the later ones.
    let mut uses: HashMap<_, LoginUse> = HashMap::new();
    for used in parts.store.uses().await?.into_iter().chain(parts.registry.uses().seen()) {
        uses.insert((used.account.to_ascii_lowercase(), used.username.clone(), used.id), used);
    }
    let directory = parts.registry.directory();
    let mut logins = Vec::new();
    for account in &directory.accounts {
        for login in &account.logins {
            let key = (account.address.to_ascii_lowercase(), login.username.clone(), number(login));
            logins.push(status(account, login, stored.get(&key.2), uses.get(&key), now));
        }
    }
    Ok(Answer::Logins(logins))
}

fn status(
    account: &Account,
    login: &Login,
    stored: Option<&StoredLogin>,
    used: Option<&LoginUse>,
    now: SystemTime,
) -> LoginStatus {
    // One of the file that was never used may be a minute old: nobody knows when it was written.
    let last = used.map(|used| used.at).or_else(|| stored.map(|stored| stored.made));
    let networks = login.networks.iter().flatten().map(ToString::to_string);
    LoginStatus {
        id: match login.origin {
            LoginOrigin::File => None,
            LoginOrigin::Store(id) => Some(id),
        },
        account: account.address.clone(),
        username: login.username.clone(),
        device: stored.map(|stored| stored.device.clone()).unwrap_or_default(),
        protocols: login.protocols.clone(),
        networks: networks.collect(),
        ends: login.ends.and_then(at),
        used: used.and_then(|used| at(used.at)),
        from: used.map(|used| used.from),
        unseen: last.is_some_and(|last| now.duration_since(last).is_ok_and(|passed| passed >= UNSEEN)),
    }
}

pub(super) async fn add(parts: &Parts, login: AddLogin) -> Result<Answer, Refusal> {
    let change = parts.registry.change().await;
    let account = account(&change.directory(), &login.account)?;
    let login = checked(parts, &change, &account, login)?;
    let username = login.username.clone();
    let id = change.store().add_login(login).await?;
    tracing::info!(account = account.address, login = username, id, "a command has made a login");
    let unread = |error| written(format!("login {id} is made, {LOST}{id}"), &error);
    change.done().await.map_err(unread)?;
    Ok(Answer::Login { id, username })
}

/// A login of `account` that can be kept as it is: nothing is wrong with it, and it can be used.
pub(super) fn checked(
    parts: &Parts,
    change: &Change<'_>,
    account: &Account,
    login: AddLogin,
) -> Result<StoredLogin, Refusal> {
    let AddLogin { account: _, username, device, password_hash, protocols, networks } = login;
    check_hash(&password_hash).map_err(|what| Refusal::usage(format!("password hash: {what}")))?;
    let networks = networks.iter().map(|text| {
        network(text).ok_or_else(|| Refusal::usage(format!("{}: no network; it must be {NETWORK}", shown(text))))
    });
    let networks: Vec<_> = networks.collect::<Result<_, _>>()?;
    if device.len() > MAX_DEVICE || device.chars().any(char::is_control) {
        let what = format!("a device's name is one line of at most {MAX_DEVICE} octets; {} is none", shown(&device));
        return Err(Refusal::usage(what));
    }
    let username = username.as_deref().unwrap_or(&account.address).to_ascii_lowercase();
    check_username(&username).map_err(|what| Refusal::usage(format!("{username:?}: {what}")))?;
    check_is_free(change, account, &username)?;
    let login = StoredLogin {
        id: 0,
        device,
        account: account.address.clone(),
        username,
        password_hash,
        // In their usual order; all three where none is named.
        protocols: Protocol::ALL
            .into_iter()
            .filter(|protocol| protocols.is_empty() || protocols.contains(protocol))
            .collect(),
        networks: (!networks.is_empty()).then_some(networks),
        made: SystemTime::now(),
        ends: None,
    };
    check_can_be_used(&parts.shared.config, account, &login)?;
    Ok(login)
}

/// A user name opens one account, and occurs there a few times at most.
fn check_is_free(change: &Change<'_>, account: &Account, username: &str) -> Result<(), Refusal> {
    let directory = change.directory();
    if let Some(other) = directory.logins.get(username)
        && !other.address.eq_ignore_ascii_case(&account.address)
    {
        let what = format!("{username:?} opens {} already; a user name opens one account", other.address);
        return Err(Refusal::usage(what));
    }
    let same = account.logins.iter().filter(|login| login.username == username).count();
    if same >= MAX_SAME_USERNAME {
        let what =
            format!("{username:?} has {same} passwords, which is the most; revoke one that is not used any more first");
        return Err(Refusal::usage(what));
    }
    Ok(())
}

/// Somewhere, over one of its protocols.
fn check_can_be_used(config: &Config, account: &Account, login: &StoredLogin) -> Result<(), Refusal> {
    const NEVER: &str = "this login could never be used";
    let in_words = |protocols: &[Protocol]| protocols.iter().map(|one| one.name()).collect::<Vec<_>>().join(" or ");
    let (provider, protocols) = (&account.app.provider, &login.protocols);
    let known = protocols
        .iter()
        .copied()
        .filter(|protocol| provider.server(*protocol).is_some());
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        let what = format!("{NEVER}: the provider {} has no {}", provider.name, in_words(protocols));
        return Err(Refusal::usage(what));
    }
    if !places(config, &as_login(login), &known).is_empty() {
        return Ok(());
    }
    let (known, there) = (in_words(&known), listeners_in_words(config, &known));
    let from = login.networks.as_deref().map_or_else(|| "anywhere".into(), networks_in_words);
    let what = if there.is_empty() {
        format!("{NEVER}: there is no listener for {known}; add a [[listener]] to the configuration and restart first")
    } else {
        format!(
            "{NEVER}: no listener for {known} can be reached and takes a password from {from}. There are: {there}. Name \
             another network, or change the configuration and restart first"
        )
    };
    Err(Refusal::usage(what))
}

pub(super) async fn revoke(parts: &Parts, id: i64) -> Result<Answer, Refusal> {
    let change = parts.registry.change().await;
    let known = find(&change, id);
    if !change.store().revoke_login(id).await? {
        return Err(no_login(id));
    }
    let unread = |error| written(format!("login {id} is revoked"), &error);
    change.done().await.map_err(unread)?;
    let Some((account, login)) = known else {
        return Ok(Answer::Done(format!("login {id} is revoked")));
    };
    let (account, username) = (&account.address, &login.username);
    tracing::info!(account, login = username, id, "a command has revoked a login");
    let left = parts
        .registry
        .directory()
        .account(account)
        .map_or(0, |account| account.logins.iter().filter(|login| login.username == *username).count());
    let left = match left {
        0 => String::new(),
        left => format!("; {left} other password(s) of {username} are still taken, see mailferry login list"),
    };
    Ok(Answer::Done(format!("login {id}, {username} of {account}, is revoked{left}")))
}

pub(super) async fn rotate(parts: &Parts, id: i64, password_hash: String, grace: u64) -> Result<Answer, Refusal> {
    check_hash(&password_hash).map_err(|what| Refusal::usage(format!("password hash: {what}")))?;
    let grace = Duration::from_secs(grace);
    let now = SystemTime::now();
    let ends = now.checked_add(grace).filter(|_| grace <= LONGEST_GRACE);
    let ends = ends.ok_or_else(|| Refusal::usage("an old password may be taken on for a year at most"))?;
    let change = parts.registry.change().await;
    let (account, login) = find(&change, id).ok_or_else(|| no_login(id))?;
    if login.ends.is_some() {
        let what = format!("the password of login {id} was replaced already; rotate the one that took its place");
        return Err(Refusal::usage(what));
    }
    if !grace.is_zero() {
        check_is_free(&change, &account, &login.username)?;
    }
    let new = change.store().rotate_login(id, password_hash, now, ends).await?;
    let new = new.ok_or_else(|| no_login(id))?;
    let (account, username) = (&account.address, &login.username);
    tracing::info!(account, login = username, id, new, ?grace, "a command has replaced a login's password");
    let unread = |error| written(format!("login {id} is replaced by login {new}, {LOST}{new}"), &error);
    change.done().await.map_err(unread)?;
    Ok(Answer::Login { id: new, username: username.clone() })
}

fn find(change: &Change<'_>, id: i64) -> Option<(Account, Login)> {
    let directory = change.directory();
    let mut accounts = directory.accounts.iter();
    accounts.find_map(|account| {
        let login = account.logins.iter().find(|login| login.origin == LoginOrigin::Store(id))?;
        Some((Account::clone(account), login.clone()))
    })
}

fn no_login(id: i64) -> Refusal {
    Refusal::usage(format!(
        "there is no login {id}; mailferry login list shows them, and those of the configuration file are ended there"
    ))
}
