//! What devices try, told live to whoever watches, until they leave or the gateway ends.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::super::parts::Parts;
use super::Refusal;
use crate::config::{Config, NETWORK, network};
use crate::control::{Answer, Progress};
use crate::session::{Told, Watch, tls_name};

/// After how long without anything it is said what may be wrong, and again and again: the command waits no longer for a
/// line than it waits for any gateway.
const QUIET: Duration = Duration::from_secs(60);

/// Tells `progress` what the devices at `from` try.
pub(super) async fn watch(parts: &Parts, from: Option<&str>, progress: &Progress) -> Result<Answer, Refusal> {
    let from = from
        .map(|text| network(text).ok_or_else(|| Refusal::usage(format!("{}: {NETWORK}", super::shown(text)))))
        .transpose()?;
    let shared = &parts.shared;
    let Some(mut watch) = shared.watchers.watch(from) else {
        return Err(Refusal::failed("as many as may watch at once do so already: end one of them"));
    };
    let mut heard = false;
    for line in listeners(&shared.config) {
        if progress.send(stamped(SystemTime::now(), &line)).await.is_err() {
            break;
        }
    }
    let mut quiet_until = Instant::now() + QUIET;
    loop {
        tokio::select! {
            biased;
            () = progress.closed() => return Ok(Answer::Done("nobody watches any more".into())),
            told = watch.next() => {
                heard = true;
                quiet_until = Instant::now() + QUIET;
                tell(progress, &watch, &told).await;
            }
            () = shared.drain.began() => {
                while let Some(told) = watch.waiting() {
                    tell(progress, &watch, &told).await;
                }
                return Ok(Answer::Done("the gateway is shutting down".into()));
            }
            () = sleep_until(quiet_until) => {
                quiet_until = Instant::now() + QUIET;
                let line = silence(&shared.config, heard);
                // Who has left is noticed above.
                let _ = progress.send(stamped(SystemTime::now(), &line)).await;
            }
        }
    }
}

async fn tell(progress: &Progress, watch: &Watch, told: &Told) {
    // Before what came after the gap; who has left is noticed above.
    let _ = progress.send(stamped(told.at, &told.to_string())).await;
    if let Some(lost) = watch.lost() {
        let _ = progress.send(stamped(SystemTime::now(), &lost.to_string())).await;
    }
}

/// Where devices may come.
fn listeners(config: &Config) -> Vec<String> {
    let of_one = |listener: &crate::config::Listener| {
        let addresses: Vec<_> = listener.bind.iter().map(ToString::to_string).collect();
        let tls = tls_name(listener.tls);
        format!("listener {}: {} on {}, tls = \"{tls}\"", listener.name, listener.protocol, addresses.join(", "))
    };
    config.listeners.iter().map(|listener| of_one(listener)).collect()
}

fn silence(config: &Config, heard: bool) -> String {
    if heard {
        return "-- nothing more for a minute".into();
    }
    let places = listeners(config).join("; ");
    format!(
        "** nothing has come: check server and port on the device, and that no firewall stands between. This gateway has: \
         {places}"
    )
}

/// A line with its time, UTC.
fn stamped(at: SystemTime, line: &str) -> String {
    let at = Timestamp::try_from(at).unwrap_or_default();
    format!("{} {line}", at.strftime("%H:%M:%S%.3f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(3_723_004);
        assert_eq!(stamped(at, "#1 device -> QUIT"), "01:02:03.004 #1 device -> QUIT");
    }
}
