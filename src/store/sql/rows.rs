//! Rows of the file as values and back. What is not as it was written is a fault that names the row.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

use super::fault::Fault;
use crate::config::Protocol;

/// A time as milliseconds since 1970; what is less than one is left out. No clock shows what does not fit.
pub(super) fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}

/// As [`millis`], but the next whole one: a lease does not end early.
pub(super) fn millis_up(time: SystemTime) -> i64 {
    time.checked_add(Duration::from_nanos(999_999)).map_or(i64::MAX, millis)
}

/// The time of so many milliseconds since 1970.
pub(super) fn time(millis: i64, row: &str) -> Result<SystemTime, Fault> {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.ok_or_else(|| damaged(row, "time", &millis.to_string()))
}

/// Protocols as a list of names.
pub(super) fn protocols_text(protocols: &[Protocol]) -> String {
    protocols.iter().map(|protocol| protocol.name()).collect::<Vec<_>>().join(" ")
}

/// The protocols of such a list.
pub(super) fn protocols(text: &str, row: &str) -> Result<Vec<Protocol>, Fault> {
    let named = |name: &str| Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
    text.split_ascii_whitespace()
        .map(|name| named(name).ok_or_else(|| damaged(row, "protocol", name)))
        .collect()
}

/// Networks as a list.
pub(super) fn networks_text(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The networks of such a list.
pub(super) fn networks(text: &str, row: &str) -> Result<Vec<IpNet>, Fault> {
    text.split_ascii_whitespace()
        .map(|network| network.parse().map_err(|_| damaged(row, "network", network)))
        .collect()
}

/// That a row holds what nobody wrote there. `row` is its name, as in `login 4`.
pub(super) fn damaged(row: &str, what: &str, found: &str) -> Fault {
    Fault::Contents(format!("is damaged: {row} has the {what} {found:?}; {}", super::fault::RESTORE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lease_is_rounded_up_and_other_times_down() {
        let time = UNIX_EPOCH + Duration::from_micros(1_500);
        assert_eq!((millis(time), millis_up(time)), (1, 2));
        let whole = UNIX_EPOCH + Duration::from_millis(7);
        assert_eq!((millis(whole), millis_up(whole)), (7, 7));
    }

    proptest! {
        #[test]
        fn a_time_comes_back(count: i64) {
            if let Ok(read) = time(count, "login 1") {
                prop_assert_eq!(millis(read), count);
            }
        }
    }
}
