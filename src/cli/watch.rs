//! `mailferry watch`: what devices try, live, and a transcript of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use ipnet::IpNet;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::Failure;
use super::serve::Signals;
use crate::config::{self, Config};
use crate::control::{self, Answer, AskError, Request};

/// Show live what a device tries, and what to change
///
/// Start it and press "Scan now": each step is shown until Ctrl-C, without passwords, tokens and messages, and then the line
/// to change. The same goes to a file in the current folder that can be put into a ticket. Takes a gateway that runs, and
/// root or its user.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only devices at this address, or in this network
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    from: Option<IpNet>,
}

/// An address or a network, as an argument.
fn address(text: &str) -> Result<IpNet, String> {
    config::network(text).ok_or_else(|| format!("it must be {}", config::NETWORK))
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let mut transcript = None;
    let mut broken = Ok(());
    // Nobody reads standard output any more.
    let unread = Arc::new(Notify::new());
    let request = Request::Watch { from: args.from.map(|network| network.to_string()) };
    let tell = |line: &str| {
        if broken.is_err() {
            return;
        }
        let mut out = io::stdout();
        broken = writeln!(out, "{line}").and_then(|()| out.flush());
        if broken.is_err() {
            unread.notify_one();
        }
        transcript.get_or_insert_with(|| Transcript::begin(args.from)).write(line);
    };
    let outcome = tokio::select! {
        outcome = control::ask(&config.state_dir, &request, tell) => Some(outcome),
        () = signals.interrupted() => None,
        () = unread.notified() => None,
    };
    if let Some(transcript) = transcript {
        transcript.end();
    }
    broken.context("standard output cannot be written")?;
    match outcome {
        None => Ok(()),
        Some(outcome) => Err(ended(outcome, &config)),
    }
}

/// Why there is nothing to watch any more.
fn ended(outcome: Result<Answer, AskError>, config: &Config) -> Failure {
    match outcome {
        Ok(Answer::Failed { usage: true, what }) => Failure::Usage(what),
        Ok(Answer::Failed { usage: false, what } | Answer::Done(what)) => Failure::Failed(anyhow!(what)),
        Ok(_) => super::office::unexpected(),
        Err(AskError::NobodyListens) => Failure::Failed(anyhow!(
            "no gateway runs with state_dir {}: start one with `mailferry serve`, and watch again",
            config.state_dir.display()
        )),
        Err(AskError::Lost) => Failure::Failed(anyhow!("the gateway has ended; its log says more")),
        Err(error) => Failure::Failed(error.into()),
    }
}

/// The file beside what is shown. Where it cannot be had, what is shown is still shown.
struct Transcript {
    path: PathBuf,
    file: io::Result<File>,
}

impl Transcript {
    fn begin(from: Option<IpNet>) -> Self {
        let now = Timestamp::now();
        let path = PathBuf::from(format!("mailferry-watch-{}.txt", now.strftime("%Y%m%dT%H%M%S%.3fZ")));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path);
        let mut transcript = Self { path, file };
        let whom = from.map_or_else(|| "all devices".into(), |from| from.to_string());
        transcript.write(&format!(
            "mailferry {} watch, {}, {whom}\nTimes are UTC. `device ->` came from the device, `device <-` went to it, `--` is what \
             the gateway did, `**` what to do.\n\
             Passwords, tokens and messages are left out; addresses, host names and user names are not.\n",
            env!("CARGO_PKG_VERSION"),
            now.strftime("%Y-%m-%d %H:%M:%SZ"),
        ));
        transcript
    }

    fn write(&mut self, line: &str) {
        if let Ok(file) = &mut self.file
            && let Err(error) = writeln!(file, "{line}")
        {
            self.file = Err(error);
        }
    }

    /// Says where it is.
    fn end(self) {
        let path = self.path.display();
        // Nobody is left to tell when standard error is gone too.
        _ = match self.file {
            Ok(_) => writeln!(io::stderr(), "mailferry: the transcript is in {path}"),
            Err(error) => writeln!(io::stderr(), "mailferry: the transcript {path} cannot be written: {error}"),
        };
    }
}
