//! Devices that cannot log in (`without_password`): which login an address opens by itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::Visit;
use super::directory::Directory;
use super::verify::Verified;
use crate::config::{Admission, Login, holds};

/// The login that `visit` may use without a password: of those whose networks hold its address, the one that names it
/// most closely. Nothing else opens one: an address of loopback is as any other, and needs a network that holds it.
///
/// What that login demands beside the address is looked at afterwards. A less closely named one that demands less does
/// not take its place: who asks for TLS for one device does not mean that device to be let in as the whole floor.
#[must_use]
pub fn login_for(directory: &Directory, visit: &Visit, now: SystemTime) -> Option<Verified> {
    let logins = directory
        .accounts
        .iter()
        .flat_map(|account| account.logins.iter().enumerate().map(move |(at, login)| (account, at, login)));
    let mut closest: Option<(u8, Verified)> = None;
    for (account, at, login) in logins {
        let open = login.admission == Admission::Address
            && login.protocols.contains(&visit.protocol)
            && login.ends.is_none_or(|ends| ends > now);
        let Some(prefix) = open.then(|| closeness(login, visit.peer)).flatten() else { continue };
        // The configuration allows no two that are equally close.
        if closest.as_ref().is_none_or(|(best, _)| prefix > *best) {
            closest = Some((prefix, Verified { account: Arc::clone(account), login: at }));
        }
    }
    let (_, verified) = closest?;
    let login = verified.account.logins.get(verified.login)?;
    (visit.encrypted || !login.tls_required).then_some(verified)
}

/// The longest prefix among the login's networks that hold `address`, in bits.
fn closeness(login: &Login, address: IpAddr) -> Option<u8> {
    let networks = login.networks.iter().flatten();
    networks
        .filter(|network| holds(std::slice::from_ref(network), address))
        .map(|network| network.prefix_len())
        .max()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{Account, Config, Environment, Protocol};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// One login for each of these user names and networks, all of one account.
    fn directory(logins: &[(&str, &str)], change: impl Fn(&mut Login)) -> Directory {
        let hash = include_str!("../../tests/common/cheap-hash.txt").trim();
        let text = format!(
            "hostname = \"gateway.example\"\n[[listener]]\nprotocol = \"smtp\"\nbind = \"127.0.0.1:0\"\n\
             [[account]]\naddress = \"scanner@contoso.example\"\nprovider = \"microsoft\"\n\
             grant = \"client-credentials\"\ntenant = \"contoso.example\"\nclient_id = \"id\"\nclient_secret = \"s\"\n\
             [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{hash}\"\n"
        );
        let mut config = Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap();
        let mut account = Account::clone(&config.accounts[0]);
        for (username, networks) in logins {
            let mut login = account.logins[0].clone();
            login.username = (*username).to_owned();
            login.admission = Admission::Address;
            login.protocols = vec![Protocol::Smtp];
            login.networks = Some(networks.split(' ').map(|network| network.parse().unwrap()).collect());
            change(&mut login);
            account.logins.push(login);
        }
        config.accounts = vec![Arc::new(account)];
        Directory::of(&config)
    }

    fn visit(peer: &str) -> Visit {
        Visit { peer: peer.parse().unwrap(), protocol: Protocol::Smtp, encrypted: false }
    }

    fn opened(directory: &Directory, visit: Visit) -> Option<String> {
        let verified = login_for(directory, &visit, NOW)?;
        Some(verified.account.logins[verified.login].username.clone())
    }

    #[test]
    fn the_longest_prefix_decides_and_the_password_logins_never() {
        let logins = [
            ("office", "192.168.0.0/16 2001:db8::/48"),
            ("floor", "192.168.7.0/24 10.0.0.0/30"),
            ("device", "192.168.7.9/32"),
        ];
        let directory = directory(&logins, |_| {});
        for (peer, expected) in [
            ("192.168.7.9", Some("device")),
            ("192.168.7.10", Some("floor")),
            ("::ffff:192.168.7.10", Some("floor")),
            ("192.168.8.9", Some("office")),
            ("10.0.0.3", Some("floor")),
            ("10.0.0.4", None),
            ("2001:db8::1", Some("office")),
            ("2001:db8:1::1", None),
            ("127.0.0.1", None),
            ("::1", None),
        ] {
            assert_eq!(opened(&directory, visit(peer)).as_deref(), expected, "{peer}");
        }
        assert_eq!(opened(&directory, Visit { protocol: Protocol::Imap, ..visit("192.168.7.9") }), None);
    }

    #[test]
    fn a_network_that_names_loopback_opens_for_loopback() {
        assert_eq!(opened(&directory(&[("me", "127.0.0.1/32")], |_| {}), visit("127.0.0.1")).as_deref(), Some("me"));
    }

    #[test]
    fn what_the_closest_login_demands_no_other_one_replaces() {
        let logins = [("floor", "192.168.7.0/24"), ("device", "192.168.7.9/32")];
        let directory_of = |change: fn(&mut Login)| {
            directory(&logins, |login| {
                if login.username == "device" {
                    change(login);
                }
            })
        };
        let with_tls = directory_of(|login| login.tls_required = true);
        assert_eq!(opened(&with_tls, visit("192.168.7.9")), None);
        assert_eq!(opened(&with_tls, Visit { encrypted: true, ..visit("192.168.7.9") }).as_deref(), Some("device"));
        let over = directory_of(|login| login.ends = Some(NOW));
        assert_eq!(opened(&over, visit("192.168.7.9")).as_deref(), Some("floor"), "a login that is over is none");
        let not_yet = directory_of(|login| login.ends = Some(NOW + Duration::from_secs(1)));
        assert_eq!(opened(&not_yet, visit("192.168.7.9")).as_deref(), Some("device"));
    }
}
