//! `mailferry check`: is everything in place? Configuration, permissions, certificates, tokens, then a real login at each
//! upstream.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::office::{ask, ask_telling, unexpected, within};
use super::{Failure, Output};
use crate::app::certificate::Verdict;
use crate::app::office::Office;
use crate::control::{Answer, Request};

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
    /// Only the configuration, the permissions of its files and listeners' certificates; nothing is dialed
    #[arg(long)]
    offline: bool,
    /// Try again every 30 seconds, for two hours at most, until rights that were just given have spread
    #[arg(long, conflicts_with = "offline")]
    wait: bool,
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    let mut out = Output::new();
    let (listeners, all) = (config.listeners.len(), config.accounts.len());
    let first = format!("ok    configuration: {listeners} listener(s), {all} account(s)");
    let mut lines = String::from("\n");
    for warning in &config.warnings {
        lines += &format!("warn  {warning}\n");
    }
    let Verdict { faults, warnings } = Verdict::of_all(&config, SystemTime::now());
    for warning in warnings {
        lines += &format!("warn  certificate: {warning}\n");
    }
    for fault in &faults {
        lines += &format!("FAIL  certificate: {fault}\n");
    }
    let wrong = if args.offline {
        write!(out, "{first}{lines}").map_err(anyhow::Error::new)?;
        0
    } else {
        let checked = within(config, async |office| {
            let (accounts, made) = chosen(office, &args.accounts).await?;
            let made = if made > 0 { format!(", and {made} made by commands") } else { String::new() };
            write!(out, "{first}{made}{lines}").map_err(anyhow::Error::new)?;
            check(office, &accounts, args.wait, &mut out).await
        });
        checked.await?
    };
    if wrong == 0 && faults.is_empty() { Ok(()) } else { Err(Failure::Found) }
}

/// Prints one line for each step; how many of them went wrong.
async fn check(office: &mut Office, accounts: &[String], wait: bool, out: &mut impl Write) -> Result<u32, Failure> {
    let tries = if wait { MOST_TRIES } else { 1 };
    for attempt in 1..=tries {
        let (wrong, waiting_may_help) = check_all(office, accounts).await?;
        if wrong == 0 || attempt == tries || !waiting_may_help {
            return Ok(wrong);
        }
        writeln!(out, "wait  {wrong} step(s) failed; trying again in {} seconds", RETRY_AFTER.as_secs())
            .and_then(|()| out.flush())
            .map_err(anyhow::Error::new)?;
        tokio::time::sleep(RETRY_AFTER).await;
    }
    Ok(0)
}

/// Those that are named, or all there are; and how many of all there are commands have made.
async fn chosen(office: &mut Office, names: &[String]) -> Result<(Vec<String>, usize), Failure> {
    let Answer::Accounts(known) = ask_telling(office, Request::Accounts, |_| {}).await? else {
        return Err(unexpected());
    };
    let made = known.iter().filter(|account| !account.from_the_file).count();
    let mut known: Vec<_> = known.into_iter().map(|account| account.address).collect();
    for name in names {
        if !known.iter().any(|address| address.eq_ignore_ascii_case(name)) {
            return Err(Failure::Usage(format!("there is no account {name}; there are: {}", known.join(", "))));
        }
    }
    known.retain(|address| names.is_empty() || names.iter().any(|name| address.eq_ignore_ascii_case(name)));
    Ok((known, made))
}

/// Every step of every account: how many went wrong, and whether waiting may help.
async fn check_all(office: &mut Office, accounts: &[String]) -> Result<(u32, bool), Failure> {
    let mut all = (0, false);
    for account in accounts {
        let answer = ask(office, Request::Check { account: account.clone() }).await?;
        let Answer::Checked { wrong, waiting_may_help } = answer else { return Err(unexpected()) };
        all = (all.0 + wrong, all.1 | waiting_may_help);
    }
    Ok(all)
}
