//! `mailferry check`: is everything in place? Configuration, permissions, tokens, then a real login at each upstream.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::Failure;
use crate::app::Checker;
use crate::config::{Account, Config, Protocol};
use crate::oauth::credentials::TokenError;

/// How long `--wait` lets pass between two tries.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How many tries `--wait` makes: two hours' worth. Microsoft says that rights spread within 30 minutes, mostly.
const MOST_TRIES: u32 = 240;

/// See whether everything is in place, up to a real login at each upstream
///
/// Prints a line for each step: what is right, what is wrong, and what to do about it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Addresses of the accounts to check; all of them if none is named
    accounts: Vec<String>,
    /// Only the configuration and the permissions of its files; nothing is dialed
    #[arg(long)]
    offline: bool,
    /// Try again every 30 seconds, for two hours at most, until rights that were just given have spread
    #[arg(long, conflicts_with = "offline")]
    wait: bool,
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    let accounts = chosen(&config, &args.accounts)?;
    let mut out = std::io::stdout();
    match check(config, &accounts, args, &mut out).await? {
        0 => Ok(()),
        _ => Err(Failure::Found),
    }
}

/// Prints one line for each step; how many of them went wrong.
async fn check(config: Config, accounts: &[Arc<Account>], args: &Args, out: &mut impl Write) -> anyhow::Result<u32> {
    let (listeners, all) = (config.listeners.len(), config.accounts.len());
    writeln!(out, "ok    configuration: {listeners} listener(s), {all} account(s)")?;
    for warning in &config.warnings {
        writeln!(out, "warn  {warning}")?;
    }
    if args.offline {
        return Ok(0);
    }
    let checker = Checker::new(config).context("nothing can be dialed")?;
    let tries = if args.wait { MOST_TRIES } else { 1 };
    for attempt in 1..=tries {
        let Wrong { steps: wrong, waiting_may_help } = check_all(&checker, accounts, out).await?;
        if wrong == 0 || attempt == tries || !waiting_may_help {
            return Ok(wrong);
        }
        writeln!(out, "wait  {wrong} step(s) failed; trying again in {} seconds", RETRY_AFTER.as_secs())?;
        out.flush()?;
        tokio::time::sleep(RETRY_AFTER).await;
    }
    Ok(0)
}

fn chosen(config: &Config, names: &[String]) -> Result<Vec<Arc<Account>>, Failure> {
    for name in names {
        if !config.accounts.iter().any(|account| account.address.eq_ignore_ascii_case(name)) {
            let known: Vec<_> = config.accounts.iter().map(|account| account.address.as_str()).collect();
            return Err(Failure::Usage(format!("there is no account {name}; there are: {}", known.join(", "))));
        }
    }
    let wanted = |account: &&Arc<Account>| {
        names.is_empty() || names.iter().any(|name| account.address.eq_ignore_ascii_case(name))
    };
    Ok(config.accounts.iter().filter(wanted).cloned().collect())
}

/// What went wrong in one go.
#[derive(Default)]
struct Wrong {
    steps: u32,
    /// Whether one of them is a matter of rights, which spread with time, or a fault that passes. No token for want of
    /// the right secret is neither.
    waiting_may_help: bool,
}

/// Every step of every account.
async fn check_all(checker: &Checker, accounts: &[Arc<Account>], out: &mut impl Write) -> anyhow::Result<Wrong> {
    let mut wrong = Wrong::default();
    for account in accounts {
        let address = &account.address;
        if let Err(error) = checker.token(account).await {
            writeln!(out, "FAIL  {address}: token: {error}")?;
            wrong.steps += 1;
            wrong.waiting_may_help |= matches!(error, TokenError::Transient(_));
            continue;
        }
        writeln!(out, "ok    {address}: token from {}", account.app.provider.name)?;
        for protocol in Protocol::ALL.into_iter().filter(|protocol| is_used(account, *protocol)) {
            match checker.probe(account, protocol).await {
                Ok(said) => writeln!(out, "ok    {address}: {protocol}: {said}")?,
                Err(what) => {
                    writeln!(out, "FAIL  {address}: {protocol}: {what}")?;
                    wrong.steps += 1;
                    wrong.waiting_may_help = true;
                }
            }
        }
        out.flush()?;
    }
    Ok(wrong)
}

/// Whether a login of the account may speak the protocol, and the provider does.
fn is_used(account: &Account, protocol: Protocol) -> bool {
    account.app.provider.server(protocol).is_some()
        && account.logins.iter().any(|login| login.protocols.contains(&protocol))
}
