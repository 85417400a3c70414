//! The command line: one file a command. Results go to standard output, everything else to standard error.

mod account;
mod accounts;
mod card;
mod cert;
mod check;
mod demo;
mod init;
mod login;
mod office;
mod passwd;
mod send_test;
mod serve;
mod sign_in;
mod sign_out;
mod usage;
mod watch;

use std::fmt;
use std::io::{Stdout, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{self, Config, ConfigErrors, Environment, Protocol};

/// A local gateway between programs that know only a user name and a password, and mail servers that want OAuth 2.0.
#[derive(Debug, Parser)]
#[command(
    name = "mailferry",
    version,
    arg_required_else_help = true,
    after_help = "Exit status: 0 done, 1 it ran and found or hit a failure, 2 bad usage or configuration."
)]
pub struct Cli {
    /// The configuration file [default: $MAILFERRY_CONFIG, ./mailferry.toml (not for root),
    /// $XDG_CONFIG_HOME/mailferry/mailferry.toml, /etc/mailferry/mailferry.toml]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    Serve,
    Demo(demo::Args),
    Check(check::Args),
    Cert(cert::Args),
    Init(init::Args),
    SignIn(sign_in::Args),
    SignOut(sign_out::Args),
    Accounts(accounts::Args),
    #[command(subcommand)]
    Account(account::Args),
    #[command(subcommand)]
    Login(login::Args),
    SendTest(send_test::Args),
    Watch(watch::Args),
    Passwd(passwd::Args),
}

impl Cli {
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// Where they ask for help or are wrong, that is answered, and the exit status is what remains.
    pub fn of_process() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| status(usage::answer(&error)))
    }

    /// Runs the command; a failure becomes lines on standard error and an exit status.
    pub async fn run(self) -> ExitCode {
        let config = self.config.as_deref();
        let outcome = match &self.command {
            Command::Serve => serve::run(config).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Check(args) => check::run(args, config).await,
            Command::Cert(args) => cert::run(args, config),
            Command::Init(args) => init::run(args, config),
            Command::SignIn(args) => sign_in::run(args, config).await,
            Command::SignOut(args) => sign_out::run(args, config).await,
            Command::Accounts(args) => accounts::run(args, config).await,
            Command::Account(args) => account::run(args, config).await,
            Command::Login(args) => login::run(args, config).await,
            Command::SendTest(args) => send_test::run(args, config).await,
            Command::Watch(args) => watch::run(args, config).await,
            Command::Passwd(args) => passwd::run(args),
        };
        status(outcome)
    }
}

/// Says why something failed; the exit status.
fn status(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when standard error is gone too.
            _ = write!(std::io::stderr(), "{failure}");
            failure.status()
        }
    }
}

/// The whole command line, for whatever documents or checks it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
enum Failure {
    /// The configuration is wrong: status 2.
    Configuration(ConfigErrors),
    /// The command was called wrongly: status 2. The text says what would be right.
    Usage(String),
    /// The command was called wrongly, and has been shown its help: status 2.
    Shown,
    /// It ran and hit a failure: status 1. The text says what to do.
    Failed(anyhow::Error),
    /// It ran and found something wrong, and its result has said what: status 1.
    Found,
}

impl Failure {
    fn status(&self) -> ExitCode {
        match self {
            Self::Configuration(_) | Self::Usage(_) | Self::Shown => ExitCode::from(2),
            Self::Failed(_) | Self::Found => ExitCode::FAILURE,
        }
    }
}

/// Says something beside the result, which standard output holds alone.
fn note(what: &str) {
    // Nobody is left to tell when standard error is gone too.
    _ = writeln!(std::io::stderr(), "mailferry: {what}");
}

/// Standard output, for a command that writes to it bit by bit. An error names it.
struct Output(Stdout);

impl Output {
    fn new() -> Self {
        Self(std::io::stdout())
    }
}

impl Write for Output {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.write(octets).map_err(output_error)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush().map_err(output_error)
    }
}

fn output_error(error: std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))
}

/// A protocol's name, as an argument.
fn protocol(text: &str) -> Result<Protocol, String> {
    let known = Protocol::ALL.into_iter().find(|protocol| protocol.name() == text);
    known.ok_or_else(|| "it must be smtp, imap or pop3".into())
}

/// A time, as an argument; a year at most.
fn duration(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(366 * 24 * 3600);
    let known = config::duration(text).filter(|duration| *duration <= MOST);
    known.ok_or_else(|| "it must be a whole number and s, m or h, as in 24h, and at most a year".into())
}

/// The configuration that `--config` names, or the first that is found.
fn configuration(path: Option<&Path>) -> Result<Config, Failure> {
    Ok(Config::load(path, &Environment::of_process())?)
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Configuration(errors)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// One line for each fault, each with the program's name.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(errors) => errors.iter().try_for_each(|error| writeln!(f, "mailferry: {error}")),
            Self::Usage(what) => writeln!(f, "mailferry: {what}"),
            Self::Shown | Self::Found => Ok(()),
            Self::Failed(error) => {
                let mut text = error.to_string();
                // Some errors have said their cause in a sentence of their own.
                for cause in error.chain().skip(1).map(ToString::to_string) {
                    if !text.contains(&cause) {
                        text += &format!(": {cause}");
                    }
                }
                writeln!(f, "mailferry: {text}")
            }
        }
    }
}
