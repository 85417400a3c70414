//! Where commands ask: the gateway that runs, through its control socket; or, where none runs, this very process with the
//! store opened. Never both: the store is not used beside a gateway, nor does one start while it is.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::desk::FrontDesk;
use super::parts::{Parts, open_store};
use super::{AGAIN, OTHERS, StartError};
use crate::config::Config;
use crate::control::{self, Answer, AskError, ControlError, Desk, Request};
use crate::net::tls::Doors;
use crate::store::make_folder;

/// Asks whoever can answer.
pub struct Office {
    config: Arc<Config>,
    /// What answers here, once it had to.
    here: Option<Parts>,
}

/// Why there is no answer. The text says what to do.
#[derive(Debug, Error)]
pub enum OfficeError {
    /// A gateway runs, and could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// No gateway runs, and the store or what else is needed could not be opened.
    #[error(transparent)]
    Open(#[from] StartError),
}

impl Office {
    /// Sees whether a gateway runs that may be asked. Nothing is opened yet.
    ///
    /// # Errors
    /// When one may run that this user may not ask.
    pub async fn open(config: Config) -> Result<Self, OfficeError> {
        control::listens(&config.state_dir).await?;
        Ok(Self { config: Arc::new(config), here: None })
    }

    /// Asks one thing. `on_progress` is told how it goes. A gateway that was started or stopped since the last time is
    /// noticed.
    ///
    /// # Errors
    /// See [`OfficeError`].
    pub async fn ask(&mut self, request: Request, mut on_progress: impl FnMut(&str)) -> Result<Answer, OfficeError> {
        let state_dir = &self.config.state_dir;
        let until = Instant::now() + OTHERS;
        // Held until the answer is there: a gateway that starts meanwhile reads the store only after that.
        let _hold = loop {
            match control::ask(state_dir, &request, &mut on_progress).await {
                Err(AskError::NobodyListens) => {}
                outcome => {
                    self.leave().await;
                    return Ok(outcome?);
                }
            }
            make_folder(state_dir).map_err(StartError::from)?;
            match control::hold(state_dir) {
                // A gateway that starts listens soon; another command ends.
                Err(ControlError::Busy(_)) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
                outcome => break outcome.map_err(StartError::from)?,
            }
        };
        let parts = match self.here.take() {
            Some(parts) => parts,
            None => {
                Parts::assemble(
                    Arc::clone(&self.config),
                    open_store(&self.config).await.map_err(StartError::from)?,
                    Doors::default(),
                )
                .await?
            }
        };
        let desk = FrontDesk::new(self.here.insert(parts).clone());
        let (progress, mut told) = mpsc::channel(16);
        let mut answer = desk.handle(request, progress);
        let answer = loop {
            tokio::select! {
                biased;
                Some(words) = told.recv() => on_progress(&words),
                answer = &mut answer => break answer,
            }
        };
        while let Ok(words) = told.try_recv() {
            on_progress(&words);
        }
        Ok(answer)
    }

    /// Whether the last answer came from this process, and not from a gateway that runs.
    #[must_use]
    pub const fn answered_here(&self) -> bool {
        self.here.is_some()
    }

    /// Finishes what must not be lost: a refresh token may be on its way.
    pub async fn close(mut self) {
        self.leave().await;
    }

    async fn leave(&mut self) {
        if let Some(parts) = self.here.take() {
            parts.close().await;
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if let Some(parts) = &self.here {
            parts.stop();
        }
    }
}
