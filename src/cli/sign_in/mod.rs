//! `mailferry sign-in`: a person gives mailferry the right to a mailbox, in a browser, on another device, or with a
//! refresh token from elsewhere. What is obtained goes to the gateway that runs; it finds out whose it is.

mod browser;
mod device;

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use zeroize::Zeroizing;

use super::Failure;
use super::office::{ask_telling, done, unexpected, within};
use crate::app;
use crate::app::office::Office;
use crate::config::{Account, Admission, Config, Grant, Login, LoginOrigin, MailRules, Protocol};
use crate::control::{Answer, Request, SignInRequest};
use crate::oauth::sign_in::Obtained;
use crate::secret::SecretText;

/// The longest refresh token that is read, in octets.
const MAX_TOKEN: u64 = 16 * 1024;

/// Sign in for an account, once
///
/// Opens a browser, or shows a code to type on another device, as the app's grant says. It works while the gateway runs,
/// which uses the new sign-in at once. Whoever signs in must be allowed to open the mailbox: that is made sure of
/// before anything is kept.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The account's address
    account: String,
    /// In a browser, on this machine or, by copying two addresses, on any other
    #[arg(long, conflicts_with_all = ["device", "refresh_token"])]
    browser: bool,
    /// With a code that is typed on another device. Microsoft blocks this in many tenants
    #[arg(long, conflicts_with = "refresh_token")]
    device: bool,
    /// With a refresh token that was obtained elsewhere for the same app: one line of standard input
    #[arg(long)]
    refresh_token: bool,
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let path = config;
    let config = super::configuration(path)?;
    // The office takes the configuration with it.
    within(super::configuration(path)?, async |office| {
        let account = account(office, &config, &args.account).await?;
        let obtained = obtain(args, &config, &account).await?;
        done(office, Request::SignIn(request(&account, obtained))).await
    })
    .await
}

async fn obtain(args: &Args, config: &Config, account: &Arc<Account>) -> Result<Obtained, Failure> {
    let (address, app) = (&account.address, &account.app);
    if !app.grant.is_a_persons() {
        let (app, grant) = (&app.name, app.grant.name());
        let what = format!("nobody signs in for {address}: the app {app} gets its tokens by {grant}");
        return Err(Failure::Usage(what));
    }
    let sign_in = app::sign_in(config, Arc::clone(account)).map_err(anyhow::Error::new)?;
    let by_device = args.device || (!args.browser && matches!(account.app.grant, Grant::DeviceCode(_)));
    let obtained = if args.refresh_token {
        sign_in.refresh_token(refresh_token()?).await
    } else if by_device {
        return device::obtain(sign_in).await;
    } else {
        return browser::obtain(sign_in, account).await;
    };
    Ok(obtained.map_err(anyhow::Error::new)?)
}

/// The account as the gateway knows it: it may have been made by a command, and so may some of its logins, which say what
/// it has to be allowed.
async fn account(office: &mut Office, config: &Config, address: &str) -> Result<Arc<Account>, Failure> {
    let quietly = |_: &str| {};
    let Answer::Accounts(accounts) = ask_telling(office, Request::Accounts, quietly).await? else {
        return Err(unexpected());
    };
    let Some(found) = accounts.iter().find(|account| account.address.eq_ignore_ascii_case(address)) else {
        let known: Vec<_> = accounts.iter().map(|account| account.address.as_str()).collect();
        return Err(Failure::Usage(format!("there is no account {address}; there are: {}", known.join(", "))));
    };
    let of_file = config
        .accounts
        .iter()
        .find(|account| account.address.eq_ignore_ascii_case(address));
    let app = match of_file {
        Some(account) => Arc::clone(&account.app),
        None => config.apps.get(&found.app).cloned().ok_or_else(|| {
            Failure::Usage(format!("there is no [app.{}] in the configuration, which {address} needs", found.app))
        })?,
    };
    let Answer::Logins(logins) = ask_telling(office, Request::Logins, quietly).await? else {
        return Err(unexpected());
    };
    let logins = logins.iter().filter(|login| login.account.eq_ignore_ascii_case(address));
    let mut protocols: Vec<_> = logins.flat_map(|login| login.protocols.iter().copied()).collect();
    if protocols.is_empty() {
        protocols = Protocol::ALL.to_vec();
    }
    Ok(Arc::new(Account {
        address: found.address.clone(),
        app,
        identity: of_file.map(|account| account.identity.clone()).unwrap_or_default(),
        max_message: None,
        logins: vec![speaking(protocols)],
    }))
}

/// A login that stands for all there are: only what it may speak counts here.
fn speaking(protocols: Vec<Protocol>) -> Login {
    Login {
        origin: LoginOrigin::File,
        username: String::new(),
        admission: Admission::Password(String::new()),
        protocols,
        networks: None,
        tls_required: false,
        mail: MailRules::default(),
        ends: None,
    }
}

fn refresh_token() -> Result<SecretText, Failure> {
    let input = std::io::stdin();
    let mut line = if input.is_terminal() {
        Zeroizing::new(rpassword::prompt_password("Refresh token: ").context("the terminal cannot be used")?)
    } else {
        let mut line = Zeroizing::new(String::new());
        input
            .lock()
            .take(MAX_TOKEN)
            .read_line(&mut line)
            .context("standard input cannot be read")?;
        line
    };
    let length = line.trim_end().len();
    line.truncate(length);
    if line.is_empty() {
        return Err(Failure::Failed(anyhow!("there is no refresh token: give it as one line of standard input")));
    }
    Ok(SecretText::new(std::mem::take(&mut *line)))
}

fn request(account: &Account, obtained: Obtained) -> SignInRequest {
    let Obtained { id, refresh_token, refresh_lives, token, lives, names } = obtained;
    SignInRequest {
        account: account.address.clone(),
        id: id.as_str().to_owned(),
        refresh_token: refresh_token.expose().to_owned(),
        refresh_lives: refresh_lives.map(|lives| lives.as_secs()),
        access_token: Some(token.expose().to_owned()),
        lives: lives.as_secs(),
        names,
        by: user(),
    }
}

/// Who runs the command, for whoever asks later. Nothing depends on it.
fn user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(owner)
}

/// Whose process this is, where no variable says it.
#[cfg(unix)]
fn owner() -> String {
    let user = nix::unistd::getuid();
    let known = nix::unistd::User::from_uid(user).ok().flatten();
    known.map_or_else(|| format!("user {user}"), |known| known.name)
}

/// Other systems do not tell.
#[cfg(not(unix))]
fn owner() -> String {
    "somebody".into()
}
