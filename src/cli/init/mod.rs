//! `mailferry init`: from nothing to a configuration that works, by at most eight questions.

mod answers;
mod devices;
mod file;
mod questions;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ipnet::IpNet;

use self::answers::Answers;
use self::devices::Device;
use self::questions::Questions;
use super::Failure;
use super::card::{Card, WayIn};
use super::login::NewLogin;
use crate::config::{self, Config, Environment};

/// Answer a few questions and have the configuration written
///
/// Prints what to type into the device and, for Microsoft, the commands for the administrator. Nothing that is there is
/// overwritten. The file goes to --config; without it, to /etc/mailferry/mailferry.toml for root and to ./mailferry.toml
/// for everyone else.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For an office: a listener that the devices of this network reach, as in 192.168.7.0/24, and a login for each
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    devices: Option<IpNet>,
    /// With --devices: where they connect; may be given several times [default: 587]
    #[arg(long = "port", value_name = "PORT", requires = "devices", value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
}

/// Where the devices of an office are, and where they connect.
#[derive(Debug)]
struct Office {
    network: IpNet,
    ports: Vec<u16>,
}

pub(super) fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let file = place(config, &environment);
    if file.exists() {
        let file = file.display();
        return Err(Failure::Usage(format!("{file} is there already; choose another place with --config, or edit it")));
    }
    let office = args.devices.map(|network| Office { network, ports: ports(&args.ports) });
    if let Some(network) = args.devices.filter(|network| !config::is_private(network)) {
        super::note(&format!(
            "{network} is not private: the listener will let everybody there connect and try passwords; where not all of it \
             is yours, break off and name the network that the devices are in"
        ));
    }
    let input = std::io::stdin();
    let secretly = input.is_terminal();
    let answers = ask(&mut input.lock(), secretly, office.as_ref())?;
    let logins = logins(&answers.devices)?;
    let written = file::write(&file, &answers, &logins, office.as_ref(), &environment)?;
    let config = Config::load(Some(&file), &environment)?;
    std::io::stdout()
        .write_all(instructions(&config, &answers, &logins, office.as_ref(), environment.root, &written).as_bytes())
        .context("the result cannot be written to standard output")?;
    Ok(())
}

/// A network, as an argument. One that holds every address would be an open door.
fn network(text: &str) -> Result<IpNet, String> {
    let network = config::network(text).ok_or_else(|| format!("it must be {}", config::NETWORK))?;
    let whole = "that is every address there is; name the network that the devices are in";
    if network.prefix_len() == 0 { Err(whole.into()) } else { Ok(network) }
}

/// Each port once; without any, the one for submission (RFC 6409).
fn ports(asked: &[u16]) -> Vec<u16> {
    let mut ports = Vec::new();
    for port in asked {
        if !ports.contains(port) {
            ports.push(*port);
        }
    }
    if ports.is_empty() { vec![587] } else { ports }
}

/// A login for each device that can log in.
fn logins(devices: &[Device]) -> Result<Vec<Option<NewLogin>>, Failure> {
    let login = |device: &Device| match device.address {
        Some(_) => Ok(None),
        None => NewLogin::make(Some(device.username.clone()), &device.name).map(Some),
    };
    devices.iter().map(login).collect()
}

fn place(config: Option<&Path>, environment: &Environment) -> PathBuf {
    match config {
        // Without the "." of "./mailferry.toml": it is shown in what is to be run.
        Some(path) => environment.working_folder.join(path).components().collect(),
        None if environment.root => "/etc/mailferry/mailferry.toml".into(),
        None => environment.working_folder.join("mailferry.toml"),
    }
}

/// Asks on standard error, so that standard output holds the result alone.
fn ask(input: &mut impl BufRead, secretly: bool, office: Option<&Office>) -> Result<Answers, Failure> {
    let mut prompts = std::io::stderr();
    let network = office.map(|office| &office.network);
    Ok(Answers::ask(&mut Questions::new(input, &mut prompts, secretly), network)?)
}

/// What has to be readable for these files to be, each once.
fn with_folders(files: &[PathBuf]) -> Vec<String> {
    let mut paths = Vec::new();
    for path in files
        .iter()
        .filter_map(|file| file.parent())
        .chain(files.iter().map(PathBuf::as_path))
    {
        let path = path.display().to_string();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// What remains to be done, in order.
fn instructions(
    config: &Config,
    answers: &Answers,
    logins: &[Option<NewLogin>],
    office: Option<&Office>,
    as_root: bool,
    written: &[PathBuf],
) -> String {
    let mut text = String::new();
    for path in written {
        text.push_str(&format!("Written: {}\n", path.display()));
    }
    if as_root {
        let how = if config.file.parent() == Some(Path::new("/etc/mailferry")) {
            // These alone: what else is there may be meant for root.
            let files = with_folders(written).join(" ");
            format!("is given them by: chgrp mailferryd {files} && chmod g+rX {files}   (docs/service.md)")
        } else {
            "cannot read them: see docs/service.md".into()
        };
        text.push_str(&format!("They are root's alone; a service with a user of its own {how}\n"));
    }
    let mut steps = Vec::new();
    if let Some(commands) = answers.for_the_administrator() {
        steps.push(commands);
    }
    let with_config = format!("--config {}", config.file.display());
    if answers.grant.is_a_persons() {
        steps.push(format!("Sign in once:\n\n    mailferry {with_config} sign-in {}\n", answers.address));
    }
    steps.push(format!("See whether everything is in place:\n\n    mailferry {with_config} check --wait\n"));
    // Root may use them all.
    let privileged = !as_root && office.is_some_and(|office| office.ports.iter().any(|port| *port < 1024));
    let hint = if privileged {
        "\n   A port below 1024 is for root only, unless the system is told otherwise; once, for this program:\n\n    \
         sudo setcap cap_net_bind_service=+ep \"$(command -v mailferry)\"\n"
    } else {
        ""
    };
    steps.push(format!("Run it:\n\n    mailferry {with_config} serve\n{hint}"));
    if let Some(Office { network, .. }) = office {
        steps.push(format!(
            "Send a message from this machine. What is typed into devices below is for {network} alone: a program that \
             connects\n   from elsewhere, from this machine to 127.0.0.1 too, is refused as with a wrong \
             password.\n\n    mailferry {with_config} send-test {} --to YOUR-ADDRESS\n",
            answers.address
        ));
    }
    if let Some(account) = config.accounts.first() {
        let networks: Vec<_> = office.map(|office| office.network).into_iter().collect();
        for (device, password) in answers.devices.iter().zip(logins) {
            let Some(login) = account.logins.iter().find(|login| login.username == device.username) else { continue };
            let way_in = match (password, device.address) {
                (Some(new), _) => WayIn::Login { password: &new.password },
                (None, Some(address)) => WayIn::Address { address, recipients: answers.own_people() },
                (None, None) => continue,
            };
            let card = Card {
                config,
                address: &answers.address,
                provider: &account.app.provider,
                login,
                device: if office.is_some() { &device.name } else { "the device or program" },
                from: &networks,
                way_in,
            };
            steps.push(card.text());
        }
    }
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("\n{}. {step}", number + 1));
    }
    text
}
