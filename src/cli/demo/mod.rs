//! `mailferry demo`: the whole job on this machine, with no account anywhere, so that one can see what it does.
//!
//! A simulated provider that takes XOAUTH2 only, the gateway before it, and a program that knows a user name and a
//! password: it sends a message over SMTP and reads it over IMAP and POP3.

mod client;
mod scene;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use self::scene::Scene;

/// How the demo ends.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// End after the self-test; the exit status is 0 if it passed
    #[arg(long)]
    once: bool,
}

/// Plays the scene, prints every side of it, and stays up unless told otherwise.
pub(super) async fn run(demo: Demo) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    // With --once nobody connects from outside, and any free port will do.
    let scene = Scene::set(!demo.once).await?;
    scene.introduce(&mut out)?;
    for act in client::ACTS {
        scene.play(act, &mut out).await?;
    }
    writeln!(out, "\nPassed: sent over SMTP, read over IMAP and POP3, with a plain password on this side only.")?;
    if !demo.once {
        scene.explain(&mut out)?;
        out.flush()?;
        tokio::signal::ctrl_c().await?;
    }
    scene.strike().await;
    Ok(ExitCode::SUCCESS)
}
