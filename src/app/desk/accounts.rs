//! The accounts: how each is, and new ones.

use std::sync::Arc;
use std::time::SystemTime;

use super::super::parts::Parts;
use super::super::registry::Change;
use super::{LOST, Refusal, at, logins, shown, written};
use crate::config::{Account, check_address};
use crate::control::{AccountState, AccountStatus, AddLogin, Answer, SignInStatus};
use crate::oauth::credentials::TokenError;
use crate::oauth::upkeep::of_account;
use crate::store::{SignIn, SignInId, StoredAccount};

pub(super) async fn list(parts: &Parts) -> Result<Answer, Refusal> {
    let sign_ins = parts.store.sign_ins().await?;
    let (directory, now) = (parts.registry.directory(), SystemTime::now());
    let status = |account: &Arc<Account>| {
        let id = SignInId::of(account);
        let sign_in = id.and_then(|id| sign_ins.iter().find(|sign_in| sign_in.id == id));
        let ends = of_account(account, &sign_ins);
        let warnings = ends.iter().filter_map(|expiry| expiry.warning(now)).collect();
        AccountStatus { warnings, ..status(parts, account, sign_in) }
    };
    Ok(Answer::Accounts(directory.accounts.iter().map(status).collect()))
}

fn status(parts: &Parts, account: &Arc<Account>, sign_in: Option<&SignIn>) -> AccountStatus {
    let token = parts.tokens.status(account);
    let ends = token.as_ref().and_then(|token| token.ends);
    let error = token.and_then(|token| token.error);
    let signed_out = account.app.grant.is_a_persons() && sign_in.is_none();
    let (state, detail) = match (ends, error) {
        _ if signed_out => {
            let cure = format!("nobody is signed in: run mailferry sign-in {}", account.address);
            (AccountState::SignedOut, Some(cure))
        }
        (_, Some(error @ (TokenError::NeedsPerson(_) | TokenError::Refused(_)))) => {
            (AccountState::NeedsPerson, Some(error.to_string()))
        }
        (Some(_), error) => (AccountState::Ready, error.map(|error| error.to_string())),
        (None, Some(error)) => (AccountState::Waiting, Some(error.to_string())),
        (None, None) => (AccountState::Unused, None),
    };
    AccountStatus {
        address: account.address.clone(),
        app: account.app.name.clone(),
        provider: account.app.provider.name.clone(),
        grant: account.app.grant.name().to_owned(),
        from_the_file: is_of_the_file(parts, &account.address),
        state,
        detail,
        sign_in: sign_in.and_then(told),
        token_ends: ends.and_then(at),
        warnings: Vec::new(),
    }
}

fn told(sign_in: &SignIn) -> Option<SignInStatus> {
    Some(SignInStatus {
        name: sign_in.name.as_deref().map(shown),
        by: shown(&sign_in.by),
        client_id: sign_in.client_id.clone(),
        at: at(sign_in.at)?,
        exercised: at(sign_in.exercised)?,
    })
}

fn is_of_the_file(parts: &Parts, address: &str) -> bool {
    let of_file = &parts.shared.config.accounts;
    of_file.iter().any(|account| account.address.eq_ignore_ascii_case(address))
}

/// Makes an account and its first login, or neither: an account without one would be of no use, and no command ends it.
/// Where the address had logins and no account, these end: nobody sees them in a list, and they must not open again what
/// they opened before.
pub(super) async fn add(parts: &Parts, app: &str, login: AddLogin) -> Result<Answer, Refusal> {
    let address = &login.account;
    check_address(address).map_err(|what| Refusal::usage(format!("{}: {what}", shown(address))))?;
    let app = parts.shared.config.apps.get(app).ok_or_else(|| no_app(parts, app))?;
    if is_of_the_file(parts, address) {
        let file = parts.shared.config.file.display();
        return Err(Refusal::usage(format!("{address} is an account of {file}: change it there")));
    }
    let change = parts.registry.change().await;
    let directory = change.directory();
    let known = directory.account(address);
    let ended = match known {
        Some(_) => Vec::new(),
        None => forgotten(&change, address).await?,
    };
    let account = Account {
        // The address is kept as it was first written.
        address: known.map_or_else(|| address.clone(), |known| known.address.clone()),
        app: Arc::clone(app),
        identity: Vec::new(),
        max_message: None,
        logins: known.map_or_else(Vec::new, |known| known.logins.clone()),
    };
    let login = logins::checked(parts, &change, &account, login)?;
    let (address, app, username) = (account.address, &app.name, login.username.clone());
    let stored = StoredAccount { address: address.clone(), app: app.clone() };
    let id = change.store().add_account(stored, login, ended.clone()).await?;
    tracing::info!(account = address, app, "a command has made or changed an account");
    if !ended.is_empty() {
        tracing::info!(account = address, ids = ?ended, "logins from before the account was gone have ended");
    }
    tracing::info!(account = address, login = username, id, "a command has made a login");
    let unread = |error| written(format!("the account {address} and its login {id} are made, {LOST}{id}"), &error);
    change.done().await.map_err(unread)?;
    Ok(Answer::Login { id, username })
}

/// The logins that the store has for `address`.
async fn forgotten(change: &Change<'_>, address: &str) -> Result<Vec<i64>, Refusal> {
    let logins = change.store().logins(SystemTime::now()).await?.into_iter();
    let of_it = logins.filter(|login| login.account.eq_ignore_ascii_case(address));
    Ok(of_it.map(|login| login.id).collect())
}

fn no_app(parts: &Parts, app: &str) -> Refusal {
    let mut known: Vec<_> = parts.shared.config.apps.keys().map(String::as_str).collect();
    known.sort_unstable();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let file = parts.shared.config.file.display();
    Refusal::usage(format!(
        "there is no [app.{}] in {file}, as it was when this gateway started; there are: {known}",
        shown(app)
    ))
}
