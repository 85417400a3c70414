//! How a command asks: through the control socket of a running gateway, or by itself where none runs.

use std::io::Write;

use anyhow::anyhow;

use super::{Failure, Output};
use crate::app::office::Office;
use crate::config::Config;
use crate::control::{Answer, Request};

/// Does something that asks, and lets the office finish what must not be lost.
pub(super) async fn within<T>(
    config: Config,
    work: impl AsyncFnOnce(&mut Office) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut office = Office::open(config).await.map_err(anyhow::Error::new)?;
    let outcome = work(&mut office).await;
    office.close().await;
    outcome
}

/// Asks one thing; what is told on the way goes to standard output.
pub(super) async fn ask(office: &mut Office, request: Request) -> Result<Answer, Failure> {
    let mut out = Output::new();
    let mut broken = Ok(());
    let tell = |line: &str| {
        if broken.is_ok() {
            broken = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    };
    let answer = ask_telling(office, request, tell).await?;
    broken.map_err(anyhow::Error::new)?;
    Ok(answer)
}

/// Asks one thing. A refusal is an error.
pub(super) async fn ask_telling(
    office: &mut Office,
    request: Request,
    tell: impl FnMut(&str),
) -> Result<Answer, Failure> {
    match office.ask(request, tell).await.map_err(anyhow::Error::new)? {
        Answer::Failed { usage: true, what } => Err(Failure::Usage(what)),
        Answer::Failed { usage: false, what } => Err(Failure::Failed(anyhow!(what))),
        answer => Ok(answer),
    }
}

/// Has something done, and prints what was.
pub(super) async fn done(office: &mut Office, request: Request) -> Result<(), Failure> {
    match ask(office, request).await? {
        Answer::Done(what) => Ok(writeln!(Output::new(), "{what}").map_err(anyhow::Error::new)?),
        _ => Err(unexpected()),
    }
}

/// The gateway that runs answers something else than it was asked: it is of another version.
pub(super) fn unexpected() -> Failure {
    Failure::Failed(anyhow!("the running gateway gave an answer that this version does not know; restart it"))
}
