//! `mailferry init`: from nothing to a configuration that works, by at most eight questions.

mod answers;
mod file;
mod questions;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use self::answers::Answers;
use self::questions::Questions;
use super::Failure;
use super::card::Card;
use super::login::NewLogin;
use crate::config::{Config, Environment};

/// Answer a few questions and have the configuration written
///
/// Prints what to type into the device and, for Microsoft, the commands for the administrator. Nothing that is there is
/// overwritten. The file goes to --config; without it, to /etc/mailferry/mailferry.toml for root and to ./mailferry.toml
/// for everyone else.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let file = place(config, &environment);
    if file.exists() {
        let file = file.display();
        return Err(Failure::Usage(format!("{file} is there already; choose another place with --config, or edit it")));
    }
    let input = std::io::stdin();
    let secretly = input.is_terminal();
    let answers = ask(&mut input.lock(), secretly)?;
    let login = NewLogin::make(None, &answers.device)?;
    let written = file::write(&file, &answers, &login, &environment)?;
    let config = Config::load(Some(&file), &environment)?;
    std::io::stdout()
        .write_all(instructions(&config, &answers, &login, &written).as_bytes())
        .context("the result cannot be written to standard output")?;
    Ok(())
}

fn place(config: Option<&Path>, environment: &Environment) -> PathBuf {
    match config {
        Some(path) => environment.working_folder.join(path),
        None if environment.root => "/etc/mailferry/mailferry.toml".into(),
        None => environment.working_folder.join("mailferry.toml"),
    }
}

/// Asks on standard error, so that standard output holds the result alone.
fn ask(input: &mut impl BufRead, secretly: bool) -> Result<Answers, Failure> {
    let mut prompts = std::io::stderr();
    Ok(Answers::ask(&mut Questions::new(input, &mut prompts, secretly))?)
}

/// What remains to be done, in order.
fn instructions(config: &Config, answers: &Answers, login: &NewLogin, written: &[PathBuf]) -> String {
    let mut text = String::new();
    for path in written {
        text.push_str(&format!("Written: {}\n", path.display()));
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
    steps.push(format!("Run it:\n\n    mailferry {with_config} serve\n"));
    if let Some(account) = config.accounts.first() {
        let card = Card {
            config,
            address: &answers.address,
            provider: &account.app.provider,
            protocols: &answers.protocols,
            username: &answers.username(),
            password: &login.password,
        };
        steps.push(card.text());
    }
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("\n{}. {step}", number + 1));
    }
    text
}
