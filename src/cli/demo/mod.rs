//! `mailferry demo`: the whole job on this machine, with no account anywhere, so that one can see what it does.
//!
//! A simulated provider that takes XOAUTH2 only, the gateway before it, and a program that knows a user name and a
//! password: it sends a message over SMTP and reads it over IMAP and POP3.

mod client;
mod scene;

use std::io::Write;

use anyhow::Context;

use self::scene::Scene;
use super::serve::Signals;
use super::{Failure, Output};

/// See the whole job on this machine, with no account anywhere
///
/// A simulated provider that takes OAuth tokens only, the gateway before it, and a program that sends over SMTP and reads
/// over IMAP and POP3 with a plain password. Prints what each side says, then stays up and says how to connect.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End after the self-test; the exit status is 0 if it passed
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    // With --once nobody connects from outside, and any free port will do.
    let scene = Scene::set(!args.once).await.context("the demo cannot be set up")?;
    play(&scene, args.once).await.context("the demo failed")?;
    scene.strike().await;
    Ok(())
}

/// Prints every side of it, and stays up unless it is for once only.
async fn play(scene: &Scene, once: bool) -> anyhow::Result<()> {
    let mut out = Output::new();
    scene.introduce(&mut out)?;
    for part in client::PARTS {
        scene.play(part, &mut out).await?;
    }
    writeln!(out, "\nPassed: sent over SMTP, read over IMAP and POP3, with a plain password on this side only.")?;
    if !once {
        // Before it says that it stays: until then a signal kills.
        let mut signals = Signals::new()?;
        scene.explain(&mut out)?;
        out.flush()?;
        signals.interrupted().await;
    }
    Ok(())
}
