//! `mailferry account add`: a mailbox for a device, from nothing to what to type into it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Subcommand;

use super::Failure;
use super::card::{Card, Reach, WayIn};
use super::login::NewLogin;
use super::office::{ask, unexpected, within};
use crate::config::Protocol;
use crate::control::{Answer, Request};

/// Make an account while the gateway runs
#[derive(Debug, Subcommand)]
pub(super) enum Args {
    /// Make an account and a login for a device, and print what to type into it
    ///
    /// An account that is there already gets one more login.
    Add(Add),
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// The mailbox's address
    address: String,
    /// The NAME of the [app.NAME] that opens it [default: the one there is]
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// What the device is, as in "Scanner 3rd floor"; its user name is made of it
    #[arg(long, value_name = "NAME")]
    device: String,
    /// From where it may log in, as in 192.168.7.0/24; may be given several times [default: whatever the listener allows]
    #[arg(long = "from", value_name = "NETWORK")]
    networks: Vec<String>,
    /// What it may speak: smtp, imap or pop3; may be given several times
    #[arg(long = "protocol", value_name = "PROTOCOL", value_parser = super::protocol, default_value = "smtp")]
    protocols: Vec<Protocol>,
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let Args::Add(add) = args;
    let path = config;
    let config = super::configuration(path)?;
    let known = config
        .accounts
        .iter()
        .find(|account| account.address.eq_ignore_ascii_case(&add.address));
    let app = match (&add.app, known) {
        (Some(name), _) => config.apps.get(name).cloned().ok_or_else(|| no_such_app(name, &config))?,
        (None, Some(account)) => Arc::clone(&account.app),
        (None, None) => {
            let mut apps = config.apps.values();
            match (apps.next(), apps.next()) {
                (Some(app), None) => Arc::clone(app),
                _ => return Err(Failure::Usage("which app? name one with --app NAME".into())),
            }
        }
    };
    if let Some(account) = known.filter(|account| account.app.name != app.name) {
        let what = format!("{} uses the app {} in the file; change it there", account.address, account.app.name);
        return Err(Failure::Usage(what));
    }
    let made_here = known.is_none();
    // The office takes the configuration with it; the card is written from another reading.
    let login = NewLogin::make(None, &add.device)?;
    within(super::configuration(path)?, async |office| {
        if made_here {
            let request = Request::AddAccount { address: add.address.clone(), app: app.name.clone() };
            let Answer::Done(_) = ask(office, request).await? else { return Err(unexpected()) };
        }
        let request = login.request(&add.address, &add.device, &add.protocols, &add.networks);
        let Answer::Login { .. } = ask(office, request).await? else { return Err(unexpected()) };
        Ok(())
    })
    .await?;
    let card = Card {
        config: &config,
        address: &add.address,
        provider: &app.provider,
        protocols: &add.protocols,
        device: "the device or program",
        reach: Reach::Unknown,
        way_in: WayIn::Login { username: login.username.as_deref().unwrap_or(&add.address), password: &login.password },
    };
    let mut text = card.text();
    if app.grant.is_a_persons() && made_here {
        text.push_str(&format!("\nThen sign in once: mailferry sign-in {}\n", add.address));
    }
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("the result cannot be written to standard output")?;
    Ok(())
}

fn no_such_app(name: &str, config: &crate::config::Config) -> Failure {
    let mut known: Vec<_> = config.apps.keys().map(String::as_str).collect();
    known.sort_unstable();
    Failure::Usage(
        anyhow!("there is no [app.{name}] in the configuration; there are: {}", known.join(", ")).to_string(),
    )
}
