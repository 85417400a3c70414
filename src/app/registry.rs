//! Which accounts and logins there are: read from the store, told to every session at once when a command changes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::login::directory::Directory;
use crate::login::uses::Uses;
use crate::store::{Logins, Store, StoreError};

/// How long uses of logins are gathered before they are written.
const GATHERED: Duration = Duration::from_secs(60);

/// How long the store may take for the last of them.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// The pause before a store that could not be read is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest sleep before the wall clock is looked at again: it can be set, and a machine can be suspended.
const CLOCK: Duration = Duration::from_secs(60);

/// The shortest one: a store may count in whole seconds, and keep a login until its second is over.
const TICK: Duration = Duration::from_millis(50);

/// Knows the directory, and keeps it true.
pub(super) struct Registry {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    uses: Arc<Uses>,
    directory: watch::Sender<Arc<Directory>>,
    /// The store has changed and could not be read since.
    behind: AtomicBool,
    changing: Mutex<()>,
}

/// The right to change something. What was checked under it still holds when it is written.
pub(super) struct Change<'a> {
    registry: &'a Registry,
    _alone: MutexGuard<'a, ()>,
}

impl Registry {
    /// Reads what there is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn open(config: Arc<Config>, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let first = read(&config, &*store).await?;
        Ok(Self {
            config,
            store,
            uses: Arc::default(),
            directory: watch::Sender::new(Arc::new(first)),
            behind: AtomicBool::new(false),
            changing: Mutex::new(()),
        })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Directory>> {
        self.directory.subscribe()
    }

    /// What there is now.
    pub(super) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.borrow())
    }

    pub(super) const fn uses(&self) -> &Arc<Uses> {
        &self.uses
    }

    /// Waits until nobody else changes anything.
    pub(super) async fn change(&self) -> Change<'_> {
        Change { registry: self, _alone: self.changing.lock().await }
    }

    /// Reads the store, and tells everybody.
    async fn reread(&self) -> Result<(), StoreError> {
        match read(&self.config, &*self.store).await {
            Ok(directory) => {
                self.behind.store(false, Ordering::Release);
                self.directory.send_replace(Arc::new(directory));
                Ok(())
            }
            Err(error) => {
                self.behind.store(true, Ordering::Release);
                // The old one tells at least which logins have ended by now; and who looks after it has to try again.
                self.directory.send_modify(|_| {});
                Err(error)
            }
        }
    }

    /// Ends logins at their time, and reads again what could not be read, for ever.
    pub(super) async fn keep_true(&self) {
        let mut changes = self.watch();
        loop {
            let next_end = changes.borrow_and_update().next_end();
            let due = if self.behind.load(Ordering::Acquire) {
                Some(AGAIN)
            } else {
                next_end.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default().clamp(TICK, CLOCK))
            };
            tokio::select! {
                biased;
                changed = changes.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = sleep_some(due) => {}
            }
            let ended = next_end.is_some_and(|end| end <= SystemTime::now());
            if !ended && !self.behind.load(Ordering::Acquire) {
                continue;
            }
            let _alone = self.changing.lock().await;
            if let Err(error) = self.reread().await {
                tracing::error!("the logins in the store cannot be read, those known before go on: {error}");
            }
        }
    }

    /// Carries the uses of logins to the store now and then, for ever.
    pub(super) async fn carry_uses(&self) {
        loop {
            self.uses.some().await;
            sleep(GATHERED).await;
            self.write_uses().await;
        }
    }

    /// Carries the last uses to the store.
    pub(super) async fn close(&self) {
        if timeout(LAST_WRITE, self.write_uses()).await.is_err() {
            tracing::warn!("the store does not take when logins were last used");
        }
    }

    async fn write_uses(&self) {
        let uses = self.uses.take();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.used(uses.clone()).await {
            tracing::warn!("when logins were last used cannot be written: {error}");
            self.uses.give_back(uses);
        }
    }
}

impl Change<'_> {
    /// What there is, until this change is written.
    pub(super) fn directory(&self) -> Arc<Directory> {
        self.registry.directory()
    }

    pub(super) fn store(&self) -> &dyn Logins {
        &*self.registry.store
    }

    /// The change is written: tells everybody.
    ///
    /// # Errors
    /// When the store cannot be read back. It is tried again until it can.
    pub(super) async fn done(self) -> Result<(), StoreError> {
        self.registry.reread().await
    }
}

async fn read(config: &Config, store: &dyn Store) -> Result<Directory, StoreError> {
    let accounts = store.accounts().await?;
    let logins = store.logins(SystemTime::now()).await?;
    Ok(Directory::with(config, &accounts, &logins))
}

async fn sleep_some(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
