//! The accounts: how each is, and new ones.

use std::sync::Arc;

use super::super::parts::Parts;
use super::{Refusal, at, shown};
use crate::config::{Account, App, check_address};
use crate::control::{AccountState, AccountStatus, Answer, SignInStatus};
use crate::oauth::credentials::TokenError;
use crate::store::{SignIn, SignInId, StoredAccount};

pub(super) async fn list(parts: &Parts) -> Result<Answer, Refusal> {
    let sign_ins = parts.store.sign_ins().await?;
    let directory = parts.registry.directory();
    let status = |account: &Arc<Account>| {
        let id = SignInId::of(account);
        let sign_in = id.and_then(|id| sign_ins.iter().find(|sign_in| sign_in.id == id));
        status(parts, account, sign_in)
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

pub(super) async fn add(parts: &Parts, address: String, app: String) -> Result<Answer, Refusal> {
    check_address(&address).map_err(|what| Refusal::usage(format!("{}: {what}", shown(&address))))?;
    let App { name, grant, .. } = &**parts.shared.config.apps.get(&app).ok_or_else(|| no_app(parts, &app))?;
    if is_of_the_file(parts, &address) {
        let file = parts.shared.config.file.display();
        return Err(Refusal::usage(format!("{address} is an account of {file}: change it there")));
    }
    let change = parts.registry.change().await;
    // The address is kept as it was first written.
    let address = change
        .directory()
        .account(&address)
        .map_or(address, |known| known.address.clone());
    change
        .store()
        .add_account(StoredAccount { address: address.clone(), app: name.clone() })
        .await?;
    change.done().await?;
    tracing::info!(account = address, app = name, "a command has made or changed an account");
    let next =
        if grant.is_a_persons() { format!("; sign in with: mailferry sign-in {address}") } else { String::new() };
    Ok(Answer::Done(format!("{address} is opened by the app {name}{next}")))
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
