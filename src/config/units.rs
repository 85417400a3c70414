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
    whole(number)?.checked_mul(seconds).map(Duration::from_secs)
}

/// What a size looks like, for messages.
pub(super) const SIZE: &str =
    "a whole number of octets, or a text of a whole number and KB, MB, GB, KiB, MiB or GiB, as in \"25MB\"";

/// Parses `25MB` or `25MiB` into octets. Without an `i` the units are powers of ten.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, octets) =
        [("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]
            .into_iter()
            .find_map(|(unit, octets)| text.strip_suffix(unit).map(|number| (number, octets)))?;
    whole(number)?.checked_mul(octets)
}

/// What a rate looks like, for messages.
pub(super) const RATE: &str = "a whole number of messages, a slash and s, m, h or d, as in \"60/h\"";

/// Parses `60/h`: so many in a second, a minute, an hour or a day.
pub(super) fn rate(text: &str) -> Option<(u64, Duration)> {
    let (number, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    Some((whole(number)?, Duration::from_secs(seconds)))
}

/// Digits and nothing else: no sign, no space.
fn whole(digits: &str) -> Option<u64> {
    let all = digits.bytes().all(|octet| octet.is_ascii_digit());
    digits.parse().ok().filter(|_| all)
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
pub(crate) fn loopback() -> Vec<IpNet> {
    const V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    const V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
    vec![V4.into(), V6.into()]
}

/// The ranges that no router carries through the Internet: private ones (RFC 1918, RFC 6598, RFC 4193), link-local ones
/// (RFC 3927, RFC 4291) and loopback.
const PRIVATE: [IpNet; 9] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v4([169, 254, 0, 0], 16),
    v4([127, 0, 0, 0], 8),
    v6(0xfc00, 0, 7),
    v6(0xfe80, 0, 10),
    v6(0, 1, 128),
];

/// The same without the link-local ones, for messages.
pub(super) const PRIVATE_RANGES: &str =
    "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 127.0.0.0/8, fc00::/7 and ::1";

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(first: u16, last: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last), prefix))
}

/// Whether all of a network is private, link-local or loopback.
pub(crate) fn is_private(network: &IpNet) -> bool {
    PRIVATE.iter().any(|range| range.contains(network))
}

/// Whether all of a network is link-local: an address there is a host's on one link, and another's on the next.
pub(crate) fn is_link_local(network: &IpNet) -> bool {
    [v4([169, 254, 0, 0], 16), v6(0xfe80, 0, 10)]
        .iter()
        .any(|range| range.contains(network))
}

/// Whether all of a network is of the range that providers share among their customers (RFC 6598): who is there need not
/// be one of us.
pub(super) fn is_carriers(network: &IpNet) -> bool {
    v4([100, 64, 0, 0], 10).contains(network)
}

/// Whether a network is a single address.
pub(crate) fn is_single(network: &IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

/// Whether all of `networks` lies in `others`.
pub(super) fn within(networks: &[IpNet], others: &[IpNet]) -> bool {
    networks
        .iter()
        .all(|network| others.iter().any(|other| other.contains(network)))
}

/// What two lists of networks share. Two networks share nothing, or one of them holds the other.
pub(super) fn shared(one: &[IpNet], other: &[IpNet]) -> Vec<IpNet> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    let narrower = pairs.filter_map(|(a, b)| match (a.contains(b), b.contains(a)) {
        (true, _) => Some(*b),
        (_, true) => Some(*a),
        _ => None,
    });
    IpNet::aggregate(&narrower.collect())
}

/// Whether a text is an address that can stand in a header and in an envelope as it is: a dot-string and a domain
/// (RFC 5321 section 4.1.2), without quotes and comments.
pub(super) fn is_plain_address(text: &str) -> bool {
    let atom = |atom: &str| {
        let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet);
        !atom.is_empty() && atom.bytes().all(allowed)
    };
    let halves = text.rsplit_once('@');
    text.len() <= 254 && halves.is_some_and(|(local, domain)| local.split('.').all(atom) && is_host_name(domain))
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
    fn sizes() {
        for (text, octets) in [("25MB", 25_000_000), ("25MiB", 26_214_400), ("1KB", 1000), ("1KiB", 1024)] {
            assert_eq!(size(text), Some(octets), "{text}");
        }
        assert_eq!((size("2GB"), size("2GiB")), (Some(2_000_000_000), Some(2_147_483_648)));
        for bad in ["", "MB", "25", "25 MB", "25mb", "25M", "25B", "+1MB", "-1MB", "1.5MB", "99999999999999999GB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn rates() {
        for (text, messages, seconds) in [("60/h", 60, 3600), ("1/s", 1, 1), ("10/m", 10, 60), ("500/d", 500, 86400)] {
            assert_eq!(rate(text), Some((messages, Duration::from_secs(seconds))), "{text}");
        }
        for bad in ["", "60", "/h", "60/", "60/hour", "60 / h", "+60/h", "-1/h", "60/h/h", "99999999999999999999/h"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_private() {
        let net = |text: &str| network(text).unwrap();
        for private in ["10.0.0.0/8", "172.31.0.0/16", "192.168.7.9", "100.127.0.0/16", "169.254.0.0/16", "127.0.0.1"] {
            assert!(is_private(&net(private)), "{private}");
        }
        for private in ["fd00:1::/48", "fe80::/64", "::1", "::ffff:10.0.0.0/104"] {
            assert!(is_private(&net(private)), "{private}");
        }
        for public in ["0.0.0.0/0", "8.0.0.0/7", "172.32.0.0/16", "192.0.0.0/8", "100.128.0.0/9", "::/0", "2001:db8::1"]
        {
            assert!(!is_private(&net(public)), "{public}");
        }
    }

    #[test]
    fn what_networks_share() {
        let nets = |texts: &[&str]| texts.iter().filter_map(|text| network(text)).collect::<Vec<_>>();
        let shared = |one: &[&str], other: &[&str]| shared(&nets(one), &nets(other));
        assert_eq!(shared(&["10.0.0.0/8", "::/0"], &["10.1.0.0/16", "::1"]), nets(&["10.1.0.0/16", "::1"]));
        assert_eq!(shared(&["10.1.0.0/16"], &["0.0.0.0/0"]), nets(&["10.1.0.0/16"]));
        assert!(shared(&["10.1.0.0/16"], &["10.2.0.0/16", "::/0"]).is_empty());
        assert_eq!(shared(&["0.0.0.0/1", "128.0.0.0/1"], &["0.0.0.0/0"]), nets(&["0.0.0.0/0"]), "halves are a whole");
    }

    #[test]
    fn addresses_that_need_no_quotes() {
        for good in ["it@contoso.com", "a.b+c@contoso.com", "o'brien@x", "_@a_b.c"] {
            assert!(is_plain_address(good), "{good}");
        }
        let long = format!("{}@contoso.com", "a".repeat(250));
        for bad in ["", "it", "@x", "it@", "a..b@x", ".a@x", "a b@x", "<a@x>", "a@b@c", "\"a\"@x", "é@x", "a@x.", &long]
        {
            assert!(!is_plain_address(bad), "{bad}");
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
