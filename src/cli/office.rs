//! How a command asks: through the control socket of a running gateway, or by itself where none runs.

use std::io::Write;

use anyhow::anyhow;

use super::Failure;
use crate::app::office::Office;
use crate::config::Config;
use crate::control::{Answer, Request};

/// Asks one thing, and prints what is told on the way. A refusal is an error.
pub(super) async fn ask(config: Config, request: Request) -> Result<Answer, Failure> {
    let mut office = open(config).await?;
    ask_again(&mut office, request).await
}

/// Where several things are asked in a row.
pub(super) async fn open(config: Config) -> Result<Office, Failure> {
    Ok(Office::open(config).await.map_err(anyhow::Error::new)?)
}

/// Asks one thing of an office that is open.
pub(super) async fn ask_again(office: &mut Office, request: Request) -> Result<Answer, Failure> {
    let mut out = std::io::stdout();
    // Nobody is left to tell when standard output is gone; the answer counts all the same.
    let tell = |line: &str| _ = writeln!(out, "{line}").and_then(|()| out.flush());
    match office.ask(request, tell).await.map_err(anyhow::Error::new)? {
        Answer::Failed { usage: true, what } => Err(Failure::Usage(what)),
        Answer::Failed { usage: false, what } => Err(Failure::Failed(anyhow!(what))),
        answer => Ok(answer),
    }
}

/// What a command says that only wants to have something done.
pub(super) async fn done(config: Config, request: Request) -> Result<(), Failure> {
    match ask(config, request).await? {
        Answer::Done(what) => {
            _ = writeln!(std::io::stdout(), "{what}");
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

/// The gateway that runs answers something else than it was asked: it is of another version.
pub(super) fn unexpected() -> Failure {
    Failure::Failed(anyhow!("the running gateway gave an answer this version does not know; restart it"))
}
