//! `mailferry check`: is everything in place? Configuration, permissions, tokens, then a real login at each upstream.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use crate::app::Checker;
use crate::config::{Account, Config, Protocol};

/// How long `--wait` lets pass between two tries.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How many tries `--wait` makes: two hours' worth. Microsoft says that rights spread within 30 minutes, mostly.
const MOST_TRIES: u32 = 240;

/// What to check.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Addresses of the accounts to check; all of them if none is named
    accounts: Vec<String>,
    /// Only the configuration and the permissions of its files; nothing is dialed
    #[arg(long)]
    offline: bool,
    /// Try again every 30 seconds, for two hours at most, until rights that were just given have spread
    #[arg(long, conflicts_with = "offline")]
    wait: bool,
}

/// Prints one line for each step; 0 if all of them are right.
pub(super) async fn run(config: Config, check: Check) -> anyhow::Result<ExitCode> {
    let accounts = chosen(&config, &check.accounts)?;
    let mut out = std::io::stdout().lock();
    let (listeners, all) = (config.listeners.len(), config.accounts.len());
    writeln!(out, "ok    configuration: {listeners} listener(s), {all} account(s)")?;
    for warning in &config.warnings {
        writeln!(out, "warn  {warning}")?;
    }
    if check.offline {
        return Ok(ExitCode::SUCCESS);
    }
    let checker = Checker::new(config)?;
    let tries = if check.wait { MOST_TRIES } else { 1 };
    for attempt in 1..=tries {
        let wrong = check_all(&checker, &accounts, &mut out).await?;
        if wrong == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        if attempt < tries {
            writeln!(out, "wait  {wrong} step(s) failed; trying again in {} seconds", RETRY_AFTER.as_secs())?;
            out.flush()?;
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
    Ok(ExitCode::FAILURE)
}

fn chosen(config: &Config, names: &[String]) -> anyhow::Result<Vec<Arc<Account>>> {
    for name in names {
        if !config.accounts.iter().any(|account| account.address.eq_ignore_ascii_case(name)) {
            let known: Vec<_> = config.accounts.iter().map(|account| account.address.as_str()).collect();
            bail!(super::Usage(format!("there is no account {name}; the configuration has {}", known.join(", "))));
        }
    }
    let wanted = |account: &&Arc<Account>| {
        names.is_empty() || names.iter().any(|name| account.address.eq_ignore_ascii_case(name))
    };
    Ok(config.accounts.iter().filter(wanted).cloned().collect())
}

/// Every step of every account; how many of them went wrong.
async fn check_all(checker: &Checker, accounts: &[Arc<Account>], out: &mut impl Write) -> anyhow::Result<u32> {
    let mut wrong = 0;
    for account in accounts {
        let address = &account.address;
        if let Err(error) = checker.token(account).await {
            writeln!(out, "FAIL  {address}: token: {error}")?;
            wrong += 1;
            continue;
        }
        writeln!(out, "ok    {address}: token from {}", account.app.provider.name)?;
        for protocol in Protocol::ALL.into_iter().filter(|protocol| is_used(account, *protocol)) {
            match checker.probe(account, protocol).await {
                Ok(said) => writeln!(out, "ok    {address}: {protocol}: {said}")?,
                Err(what) => {
                    writeln!(out, "FAIL  {address}: {protocol}: {what}")?;
                    wrong += 1;
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
