//! `mailferry account add`: a mailbox for a device, from nothing to what to type into it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Subcommand;

use super::Failure;
use super::card::{Card, WayIn};
use super::login::NewLogin;
use super::office::{ask, unexpected, within};
use crate::config::{self, Admission, Login, LoginOrigin, MailRules, Protocol};
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
    let new = NewLogin::make(None, &add.device)?;
    let wanted = new.wanted(&add.address, &add.device, &add.protocols, &add.networks);
    let request = if made_here {
        Request::AddAccount { app: app.name.clone(), login: wanted }
    } else {
        Request::AddLogin(wanted)
    };
    // The office takes the configuration with it; the card is written from another reading.
    let username = within(super::configuration(path)?, async |office| match ask(office, request).await? {
        Answer::Login { username, .. } => Ok(username),
        _ => Err(unexpected()),
    })
    .await?;
    let networks: Vec<_> = add.networks.iter().filter_map(|text| config::network(text)).collect();
    let login = Login {
        origin: LoginOrigin::Store(0),
        username,
        admission: Admission::Password(new.hash().to_owned()),
        protocols: add.protocols.clone(),
        networks: (!networks.is_empty()).then(|| networks.clone()),
        tls_required: false,
        mail: MailRules::default(),
        ends: None,
    };
    let card = Card {
        config: &config,
        address: &add.address,
        provider: &app.provider,
        login: &login,
        device: "the device or program",
        from: &networks,
        way_in: WayIn::Login { password: &new.password },
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

fn no_such_app(name: &str, config: &config::Config) -> Failure {
    let mut known: Vec<_> = config.apps.keys().map(String::as_str).collect();
    known.sort_unstable();
    Failure::Usage(
        anyhow!("there is no [app.{name}] in the configuration; there are: {}", known.join(", ")).to_string(),
    )
}
