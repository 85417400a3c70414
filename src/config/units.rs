//! The small values of a configuration: durations, networks, names that travel in protocol lines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What a duration looks like, for messages.
pub(super) const DURATION: &str = "a whole number and s, m or h, as in \"90s\"";

/// Parses `90s`, `5m` or `1h`.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, seconds) = [("s", 1), ("m", 60), ("h", 3600)]
        .into_iter()
        .find_map(|(unit, seconds)| text.strip_suffix(unit).map(|number| (number, seconds)))?;
    if !number.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// Writes a duration as the configuration does, in the largest unit that leaves no rest.
pub(super) fn show_duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// What a network looks like, for messages.
pub(crate) const NETWORK: &str = "an address or a network, as in \"192.168.7.0/24\"";

/// Parses a network or a single address. An IPv4 network written as an IPv6 one becomes IPv4, because that is what
/// addresses are compared as.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    let IpNet::V6(v6) = network else { return Some(network) };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).ok().map(IpNet::V4),
        _ => Some(network),
    }
}

/// This machine, by every name it has for itself.
pub(super) fn loopback() -> Vec<IpNet> {
    const V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    const V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
    vec![V4.into(), V6.into()]
}

/// Whether two networks share an address.
pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Whether a text can be a host's name (RFC 1123 section 2.1, and the underscore that real machines have).
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether a host is this machine.
pub(super) fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("35m", 2100), ("1h", 3600), ("007m", 420)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "s", "5", "5 m", "-5m", "+5m", "1.5h", "5ms", "5M", "1h30m", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration("9999999999999999h"), None, "seconds that do not fit");
        for text in ["0s", "90s", "5m", "25m", "24h"] {
            assert_eq!(duration(text).map(show_duration).as_deref(), Some(text));
        }
    }

    #[test]
    fn networks() {
        for (text, shown) in [
            ("192.168.7.0/24", "192.168.7.0/24"),
            ("192.168.7.9/24", "192.168.7.0/24"),
            ("10.0.0.5", "10.0.0.5/32"),
            ("::1", "::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.5", "10.0.0.5/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), Some(shown), "{text}");
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "office", "10.0.0.0/8/8"] {
            assert_eq!(network(bad), None, "{bad}");
        }
    }

    #[test]
    fn host_names() {
        for good in ["a", "mail-1.example.com", "MY_HOST", "127.0.0.1"] {
            assert!(is_host_name(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", ".", "a..b", "a b", "a\r\nb", "é", "a/b", "a.", long.as_str()] {
            assert!(!is_host_name(bad), "{bad:?}");
        }
    }
}
