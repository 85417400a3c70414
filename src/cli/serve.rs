//! `mailferry serve`: runs the gateway until it is told to stop.

use std::path::Path;

use anyhow::Context;

use super::Failure;
use crate::app::Gateway;
use crate::telemetry::log;

/// Serves until SIGTERM or SIGINT, then drains; a second signal stops at once.
pub(super) async fn run(config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    log::start(&config.log).context("the log cannot be started")?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), hostname = config.hostname, "starting");
    // Before anything listens: who sees it listen may send one, and until then a signal kills.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let gateway = Gateway::start(config).await.context("the gateway cannot start")?;
    signals.stop().await;
    tokio::select! {
        biased;
        () = signals.stop() => tracing::warn!("told a second time: stopping at once"),
        _ = gateway.drain() => {}
    }
    tracing::info!("stopped");
    Ok(())
}

#[cfg(unix)]
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Completes at Ctrl-C, at SIGTERM, and when the terminal is closed, without a word.
    pub(super) async fn interrupted(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    /// Completes when the program is told to stop.
    pub(super) async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return tracing::info!("SIGTERM"),
                _ = self.interrupt.recv() => return tracing::info!("SIGINT"),
                _ = self.hang_up.recv() => {
                    tracing::warn!("SIGHUP: reloading is not supported; restart the gateway to use a changed configuration");
                }
            }
        }
    }
}

#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Completes at Ctrl-C.
    pub(super) async fn interrupted(&mut self) {
        self.stop().await;
    }

    /// Completes at Ctrl-C.
    pub(super) async fn stop(&mut self) {
        // Without a way to hear it, the process can only be killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
