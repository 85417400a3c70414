//! What strangers can cause without end, and the log is not to be filled with: the first is told, those that follow within
//! a while are counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::config::Listener;

/// How long after a line about a nuisance at a listener the next one may come.
const QUIET: Duration = Duration::from_secs(10);

/// Something a stranger did that has cost nobody anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nuisance {
    /// A connection from where the listener allows none.
    ForbiddenAddress,
    /// A connection beyond the limits of sessions.
    SurplusConnection,
    /// A connection from a proxy that did not say for whom it speaks.
    NoProxyHeader,
    /// A TLS handshake where none belongs.
    TlsHello,
    /// A TLS handshake that failed.
    FailedHandshake,
    /// A login with a user name that no login can have.
    ImpossibleName,
    /// A login that was not looked at, for too many have failed before it.
    Throttled,
    /// A login that was not looked at, for there were too many at once.
    Busy,
    /// A login by address that came to nothing, for a reason that may pass: of this account, where that is known.
    NoMailByAddress(Option<String>),
    /// A login by address to this account that came to nothing until a person acts.
    NoMailByAddressUntilPerson(Option<String>),
}

/// Of which listener, and what.
type Kind = (String, Nuisance);

/// The nuisances of the last while. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nuisances(Arc<Mutex<BTreeMap<Kind, u64>>>);

impl Nuisances {
    /// Tells of one with `tell`, or only counts it. How many were counted is told when [`QUIET`] has passed: so there is a
    /// task for each kind at most. Must be called inside a tokio runtime.
    pub(crate) fn tell(&self, listener: &Listener, nuisance: Nuisance, tell: impl FnOnce()) {
        let kind = (listener.name.clone(), nuisance);
        let mut untold = self.untold();
        if let Some(count) = untold.get_mut(&kind) {
            *count = count.saturating_add(1);
            return;
        }
        untold.insert(kind.clone(), 0);
        drop(untold);
        tell();
        tokio::spawn(self.clone().tell_of_the_others(kind));
    }

    async fn tell_of_the_others(self, kind: Kind) {
        loop {
            sleep(QUIET).await;
            let count = {
                let mut untold = self.untold();
                match untold.get_mut(&kind) {
                    Some(count) if *count > 0 => std::mem::take(count),
                    _ => {
                        untold.remove(&kind);
                        return;
                    }
                }
            };
            let (listener, nuisance) = &kind;
            match nuisance {
                Nuisance::ForbiddenAddress => {
                    tracing::info!(
                        listener,
                        count,
                        "further connections refused: the listener does not allow the address"
                    );
                }
                Nuisance::SurplusConnection => {
                    tracing::warn!(listener, count, "further connections refused: too many sessions");
                }
                Nuisance::NoProxyHeader => {
                    tracing::warn!(listener, count, "further connections closed: no PROXY header");
                }
                Nuisance::TlsHello => {
                    tracing::info!(listener, count, "further connections closed: a TLS handshake where none belongs");
                }
                Nuisance::FailedHandshake => {
                    tracing::info!(listener, count, "further connections closed: the TLS handshake failed");
                }
                Nuisance::ImpossibleName => {
                    tracing::warn!(listener, count, "further logins failed: a user name that no login can have");
                }
                Nuisance::Throttled => {
                    tracing::warn!(listener, count, "further logins failed: too many failed logins");
                }
                Nuisance::Busy => {
                    tracing::warn!(listener, count, "further logins failed: too many logins at once");
                }
                Nuisance::NoMailByAddress(account) => {
                    let account = account.as_deref().unwrap_or("-");
                    tracing::warn!(listener, account, count, "further logins by address failed");
                }
                Nuisance::NoMailByAddressUntilPerson(account) => {
                    let account = account.as_deref().unwrap_or("-");
                    tracing::error!(listener, account, count, "further logins by address failed: a person must act");
                }
            }
        }
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<Kind, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
