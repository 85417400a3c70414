//! What strangers can cause without end, and the log is not to be filled with: the first is told, those that follow within
//! a while are counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
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
    /// A TLS handshake that failed, and why: of one device's fault nothing is seen behind another's. The reasons are ours, and
    /// few.
    FailedHandshake(&'static str),
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
    /// Mail from an address that opens a login, which is held back or has had what it may have.
    MailByAddress,
}

/// Of which listener, and what.
type Kind = (String, Nuisance);

/// Those that were counted only.
#[derive(Debug, Clone, Copy)]
struct Untold {
    count: u64,
    /// Who was the last of them, or of those before if there was none.
    last: IpAddr,
}

/// The nuisances of the last while. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nuisances(Arc<Mutex<BTreeMap<Kind, Untold>>>);

impl Nuisances {
    /// Tells of one, of `peer`, with `tell`, or only counts it. How many were counted is told when [`QUIET`] has passed: so there is a
    /// task for each kind at most. Must be called inside a tokio runtime.
    pub(crate) fn tell(&self, listener: &Listener, nuisance: Nuisance, peer: IpAddr, tell: impl FnOnce()) {
        let kind = (listener.name.clone(), nuisance);
        let mut untold = self.untold();
        if let Some(Untold { count, last }) = untold.get_mut(&kind) {
            *count = count.saturating_add(1);
            *last = peer;
            return;
        }
        untold.insert(kind.clone(), Untold { count: 0, last: peer });
        drop(untold);
        tell();
        tokio::spawn(self.clone().tell_of_the_others(kind));
    }

    async fn tell_of_the_others(self, kind: Kind) {
        loop {
            sleep(QUIET).await;
            let Untold { count, last } = {
                let mut untold = self.untold();
                match untold.get_mut(&kind) {
                    Some(untold) if untold.count > 0 => std::mem::replace(untold, Untold { count: 0, ..*untold }),
                    _ => {
                        untold.remove(&kind);
                        return;
                    }
                }
            };
            let ((listener, nuisance), last_peer) = (&kind, last);
            match nuisance {
                Nuisance::ForbiddenAddress => {
                    tracing::info!(
                        listener,
                        count, %last_peer,
                        "further connections refused: the listener does not allow the address"
                    );
                }
                Nuisance::SurplusConnection => {
                    tracing::warn!(listener, count, %last_peer, "further connections refused: too many sessions");
                }
                Nuisance::NoProxyHeader => {
                    tracing::warn!(listener, count, %last_peer, "further connections closed: no PROXY header");
                }
                Nuisance::TlsHello => {
                    tracing::info!(listener, count, %last_peer, "further connections closed: a TLS handshake where none belongs");
                }
                Nuisance::FailedHandshake(why) => {
                    tracing::info!(listener, count, %last_peer, "further connections closed: the TLS handshake failed: {why}");
                }
                Nuisance::ImpossibleName => {
                    tracing::warn!(listener, count, %last_peer, "further logins failed: a user name that no login can have");
                }
                Nuisance::Throttled => {
                    tracing::warn!(listener, count, %last_peer, "further logins failed: too many failed logins");
                }
                Nuisance::Busy => {
                    tracing::warn!(listener, count, %last_peer, "further logins failed: too many logins at once");
                }
                Nuisance::NoMailByAddress(account) => {
                    let account = account.as_deref().unwrap_or("-");
                    tracing::warn!(listener, account, count, %last_peer, "further logins by address failed");
                }
                Nuisance::NoMailByAddressUntilPerson(account) => {
                    let account = account.as_deref().unwrap_or("-");
                    tracing::error!(listener, account, count, %last_peer, "further logins by address failed: a person must act");
                }
                Nuisance::MailByAddress => {
                    tracing::info!(listener, count, %last_peer, "further mail by address refused before the upstream was asked");
                }
            }
        }
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<Kind, Untold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::config::{ListenerTls, Protocol};
    use crate::telemetry::testing::Logged;

    fn listener() -> Listener {
        Listener {
            name: "office".into(),
            protocol: Protocol::Smtp,
            bind: vec![],
            allow: vec![],
            plaintext_login: vec![],
            tls: ListenerTls::Auto,
            certificate: None,
            proxy_protocol: vec![],
        }
    }

    /// Lets the tasks run that have become due.
    async fn pass(time: Duration) {
        let _ = timeout(time, std::future::pending::<()>()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_cause_of_a_failed_handshake_is_told_once_and_then_counted_with_the_last_peer() {
        let (logged, _guard) = Logged::start();
        let (nuisances, office) = (Nuisances::default(), listener());
        let fail = |why: &'static str, last: u8| {
            let peer = IpAddr::from([192, 168, 7, last]);
            nuisances.tell(&office, Nuisance::FailedHandshake(why), peer, || tracing::info!("first: {why}"));
        };
        for last in 20..24 {
            fail("too old", last);
        }
        fail("no trust", 30);
        let lines = logged.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("first: too old") && lines[1].contains("first: no trust"), "{lines:?}");
        pass(QUIET + Duration::from_secs(1)).await;
        let [line] = &logged.lines()[..] else { panic!("not one line") };
        for part in ["the TLS handshake failed: too old", "listener=\"office\"", "count=3", "last_peer=192.168.7.23"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        pass(QUIET).await;
        assert!(nuisances.untold().is_empty(), "what is over is not remembered");
        fail("too old", 20);
        assert!(logged.lines()[0].contains("first: too old"), "told anew");
    }

    #[tokio::test(start_paused = true)]
    async fn every_line_about_what_was_counted_has_each_field_once() {
        let (logged, _guard) = Logged::start();
        let (nuisances, office) = (Nuisances::default(), listener());
        let account = Some("floor@contoso.example".to_owned());
        let kinds = [
            Nuisance::ForbiddenAddress,
            Nuisance::SurplusConnection,
            Nuisance::NoProxyHeader,
            Nuisance::TlsHello,
            Nuisance::FailedHandshake("too old"),
            Nuisance::ImpossibleName,
            Nuisance::Throttled,
            Nuisance::Busy,
            Nuisance::NoMailByAddress(account.clone()),
            Nuisance::NoMailByAddressUntilPerson(account),
            Nuisance::MailByAddress,
        ];
        for nuisance in kinds.iter().chain(&kinds) {
            nuisances.tell(&office, nuisance.clone(), [192, 168, 7, 20].into(), || {});
        }
        pass(QUIET + Duration::from_secs(1)).await;
        let lines = logged.lines();
        assert_eq!(lines.len(), kinds.len(), "{lines:?}");
        for line in lines {
            for field in ["listener=", "count=1", "last_peer=192.168.7.20"] {
                assert_eq!(line.matches(field).count(), 1, "{field}: {line}");
            }
            assert!(line.matches("account=").count() <= 1, "{line}");
        }
    }
}
