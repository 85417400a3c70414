//! Sign-ins: whose they are is found out before anything is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::parts::Parts;
use super::{Refusal, account, shown};
use crate::config::Account;
use crate::control::{Answer, Progress, SignInRequest};
use crate::oauth::grant::{Issued, TokenRequest};
use crate::oauth::identity;
use crate::secret::{AccessToken, SecretText};
use crate::session::failure::FailureKind;
use crate::session::probe;
use crate::store::memory::MemoryStore;
use crate::store::{NewSignIn, SignInId, SignIns};

/// The longest name of a person that is kept, in octets.
const MAX_NAME: usize = 256;

/// Keeps a sign-in, once it is known to open the account: by a name in the id token that is the account's address, or by
/// a real login.
pub(super) async fn sign_in(parts: &Parts, request: SignInRequest, progress: &Progress) -> Result<Answer, Refusal> {
    let SignInRequest {
        account: address,
        id: obtained_for,
        refresh_token,
        refresh_lives,
        access_token,
        lives,
        names,
        by,
    } = request;
    let refresh_token = SecretText::new(refresh_token);
    let account = account(&parts.registry.directory(), &address)?;
    let (Some(id), Some(client)) = (SignInId::of(&account), account.app.client()) else {
        return Err(nobody_needed(&account));
    };
    if obtained_for != id.as_str() {
        return Err(Refusal::failed(format!(
            "the sign-in is one of another app or provider than the gateway has for {}: it runs with an older \
             configuration. Restart it, then sign in again",
            account.address
        )));
    }
    let own = identity::own(&names, &account.address);
    let name = own.or_else(|| names.first()).map(|name| cut(name));
    let now = SystemTime::now();
    let new = NewSignIn {
        account: account.address.clone(),
        client_id: client.id.clone(),
        refresh_token,
        name,
        by: cut(&by),
        at: now,
        ends: refresh_lives.and_then(|lives| now.checked_add(Duration::from_secs(lives))),
    };
    let (new, token, lives) = match access_token {
        Some(token) => (new, parsed(token)?, Duration::from_secs(lives)),
        None => fetched(parts, &account, &id, new).await?,
    };
    let proof = match own {
        Some(own) => format!("as {}", shown(own)),
        None => proven(parts, &account, &token, &names, progress).await?,
    };
    parts.store.sign_in(&id, new).await?;
    parts
        .tokens
        .signed_in(&account, Issued { token, lives, refresh_token: None, refresh_lives: None, id_token: None });
    let by = shown(&by);
    tracing::info!(account = account.address, by, "signed in {proof}");
    Ok(Answer::Done(format!("{} is signed in {proof}", account.address)))
}

/// Forgets a sign-in, and earlier ones of other apps with it.
pub(super) async fn sign_out(parts: &Parts, address: &str) -> Result<Answer, Refusal> {
    let mut found = false;
    // By the address alone: the account may have left the file, and its sign-in would stay for ever.
    for sign_in in parts.store.sign_ins().await? {
        if sign_in.account.eq_ignore_ascii_case(address) {
            found |= parts.store.sign_out(&sign_in.id).await?;
        }
    }
    let account = match account(&parts.registry.directory(), address) {
        Err(_) if found => {
            let address = shown(address);
            tracing::info!(account = address, "signed out; it is no account any more");
            return Ok(Answer::Done(format!("{address} is signed out here; it is no account any more")));
        }
        account => account?,
    };
    if account.app.grant.is_a_persons() {
        parts.tokens.signed_out(&account);
    } else if !found {
        return Err(nobody_needed(&account));
    }
    if !found {
        return Err(Refusal::usage(format!("nobody is signed in for {}", account.address)));
    }
    tracing::info!(account = account.address, "signed out");
    Ok(Answer::Done(format!(
        "{} is signed out here; the provider may still list the consent that was given",
        account.address
    )))
}

fn nobody_needed(account: &Account) -> Refusal {
    let app = &account.app;
    Refusal::usage(format!(
        "nobody signs in for {}: the app {} gets its tokens by {}",
        account.address,
        app.name,
        app.grant.name()
    ))
}

fn parsed(token: String) -> Result<AccessToken, Refusal> {
    AccessToken::parse(token)
        .ok_or_else(|| Refusal::failed("the provider's token has octets that no mail protocol carries"))
}

/// A token for a sign-in that is not kept yet: in a store of its own, which is forgotten. What takes the place of the
/// refresh token meanwhile is what will be kept.
async fn fetched(
    parts: &Parts,
    account: &Arc<Account>,
    id: &SignInId,
    new: NewSignIn,
) -> Result<(NewSignIn, AccessToken, Duration), Refusal> {
    let scratch = Arc::new(MemoryStore::default());
    scratch.sign_in(id, new.clone()).await?;
    let fetch = (parts.fetches)(Arc::<MemoryStore>::clone(&scratch));
    let issued = fetch.fetch(TokenRequest::of(account)).await?;
    let refresh_token = match scratch.refresh_token(id) {
        Some(kept) if kept != new.refresh_token => kept,
        _ => issued.refresh_token.unwrap_or(new.refresh_token),
    };
    let ends = issued.refresh_lives.and_then(|lives| new.at.checked_add(lives));
    Ok((NewSignIn { refresh_token, ends: ends.or(new.ends), ..new }, issued.token, issued.lives))
}

/// Logs in for real with the token, as the account's user, over each protocol of the account. A login that is refused
/// decides; where none was answered, nothing is decided.
async fn proven(
    parts: &Parts,
    account: &Arc<Account>,
    token: &AccessToken,
    names: &[String],
    progress: &Progress,
) -> Result<String, Refusal> {
    let address = &account.address;
    let who = match names {
        [] => "The provider does not say who signed in".to_owned(),
        [name, ..] => format!("{} signed in", shown(name)),
    };
    let protocols = account.protocols();
    if protocols.is_empty() {
        let what = format!(
            "{who}, and whether that opens {address} can only be tried once it has a login: make one with mailferry \
             login add {address}, then sign in again"
        );
        return Err(Refusal::usage(what));
    }
    // As in `check`: who does not listen any more need not be told.
    let tell = async |line: String| drop(progress.send(line).await);
    tell(format!("{who}; trying whether that opens {address}")).await;
    let (mut accepted, mut unanswered) = (Vec::new(), None);
    for protocol in protocols {
        match probe(&parts.shared, account, protocol, Some(token)).await {
            Ok(_) => accepted.push(protocol.name()),
            Err(failure) if failure.kind == FailureKind::Unavailable => unanswered = Some(failure.detail),
            Err(failure) => {
                let what = format!(
                    "{who}, and {} is not let in to {address} with that, so the sign-in was not kept: sign in as {address} \
                     or as somebody who may open it. {}",
                    account.user(protocol),
                    failure.detail
                );
                return Err(Refusal::failed(what));
            }
        }
    }
    match (accepted.as_slice(), unanswered) {
        ([], unanswered) => Err(Refusal::failed(format!(
            "{who}, and whether that opens {address} cannot be tried now, so the sign-in was not kept: try again later. {}",
            unanswered.unwrap_or_default()
        ))),
        (accepted, _) => {
            let name = names
                .first()
                .map_or_else(|| "(the provider does not say as whom)".to_owned(), |name| format!("as {}", shown(name)));
            Ok(format!("{name}, which opens {address} over {}", accepted.join(", ")))
        }
    }
}

/// A name, no longer than one is.
fn cut(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME)].to_owned()
}
