//! Who sends: whose messages are counted together, and whose refusals.
//!
//! Devices that are let in by their address share a login with whoever else is in its networks, so each address is by
//! itself. Of IPv6 one host commands every address of a /64, and an office has one for all of its hosts: there the addresses
//! have a ceiling together.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{Account, Admission, Login};
use crate::login::throttle::Origin;

/// One login of one account, or one of the addresses that it lets in, or all of such an address's /64.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    /// The account's address.
    pub(crate) account: String,
    /// The login's user name.
    pub(crate) login: String,
    /// Where an address lets in and there are several that do: the address, or its /64.
    pub(crate) origin: Option<Origin>,
    /// Whether the login lets in nobody outside that one /64. Whoever it is stays the same when this changes.
    pub(crate) is_alone: bool,
}

impl PartialEq for Sender {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Sender {}

impl Hash for Sender {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl Sender {
    /// Whoever uses `login` of `account` at `peer`.
    pub(crate) fn of(account: &Account, login: &Login, peer: IpAddr) -> Self {
        let whole = Self::whole(&account.address, &login.username);
        if login.admission != Admission::Address || is_within_one(login, one_address) {
            return whole;
        }
        Self { origin: Some(Origin::of(peer)), is_alone: is_within_one(login, one_network), ..whole }
    }

    /// All that use `login` of `account`.
    pub(crate) fn whole(account: &str, login: &str) -> Self {
        Self { account: account.to_owned(), login: login.to_owned(), origin: None, is_alone: false }
    }

    /// The sender, and behind it all of its /64 if it is an address of one.
    pub(crate) fn with_network(&self) -> Vec<Self> {
        let Some(origin) = self.origin else { return vec![self.clone()] };
        let origins = origin.with_network();
        origins.map(|origin| Self { origin: Some(origin), ..self.clone() }).collect()
    }

    fn identity(&self) -> (&str, &str, Option<Origin>) {
        (&self.account, &self.login, self.origin)
    }

    /// Whether it is all of a /64.
    pub(crate) fn is_network(&self) -> bool {
        self.origin.is_some_and(|origin| origin.is_network())
    }

    /// What it is of its login, for a sentence.
    pub(crate) fn part(&self) -> &'static str {
        match self.origin {
            None => "this login",
            Some(Origin::Network(_)) => "one /64 network of this login",
            Some(Origin::Here | Origin::Address(_)) => "one address of this login",
        }
    }
}

/// Whether all networks of `login` are the same `place`.
fn is_within_one(login: &Login, place: impl Fn(&IpNet) -> Option<Origin>) -> bool {
    let mut places = login.networks.iter().flatten().map(place);
    let first = places.next().flatten();
    first.is_some() && places.all(|place| place == first)
}

/// The one address that a network is. All of loopback is one.
fn one_address(network: &IpNet) -> Option<Origin> {
    let first = network.network();
    (network.prefix_len() == network.max_prefix_len() || first.is_loopback()).then(|| Origin::of(first))
}

/// The /64 that a network is in.
fn one_network(network: &IpNet) -> Option<Origin> {
    (network.max_prefix_len() == 128 && network.prefix_len() >= 64).then(|| Origin::of(network.network()).network())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::super::tests::{Panicking, shared};
    use super::*;

    /// Whoever opens a login for these networks at this address; with a password unless it is said how.
    fn sender(admission: Option<Admission>, networks: &[&str], peer: &str) -> Sender {
        let shared = shared(Arc::new(Panicking), 1);
        let account = Arc::clone(&shared.directory.borrow().accounts[0]);
        let mut login = account.logins[0].clone();
        login.admission = admission.unwrap_or(login.admission);
        login.networks = Some(networks.iter().map(|network| network.parse().unwrap()).collect());
        Sender::of(&account, &login, peer.parse().unwrap())
    }

    #[test]
    fn where_there_are_several_addresses_each_is_by_itself() {
        let whole = Sender::whole("scanner@contoso.example", "scanner");
        for (networks, peer, parts, is_alone) in [
            (&["192.168.7.20/32"][..], "192.168.7.20", 0, false),
            (&["127.0.0.0/8", "::1/128"], "127.0.0.7", 0, false),
            (&["2001:db8::1/128"], "2001:db8::1", 0, false),
            (&["192.168.7.0/24"], "192.168.7.20", 1, false),
            (&["192.168.7.20/32", "192.168.7.21/32"], "192.168.7.20", 1, false),
            (&["192.168.7.20/32", "127.0.0.1/32"], "127.0.0.1", 1, false),
            // The scanners of a floor.
            (&["2001:db8::/64"], "2001:db8::1", 2, true),
            (&["2001:db8::1/128", "2001:db8::2/128"], "2001:db8::1", 2, true),
            (&["2001:db8::/63"], "2001:db8::1", 2, false),
            (&["2001:db8::/64", "2001:db8:0:1::/64"], "2001:db8::1", 2, false),
            (&["2001:db8::/64", "192.168.7.0/24"], "2001:db8::1", 2, false),
        ] {
            assert_eq!(sender(None, networks, peer), whole, "{networks:?}");
            let sender = sender(Some(Admission::Address), networks, peer);
            let origins = Origin::of(peer.parse().unwrap()).with_network().take(parts);
            let expected: Vec<_> = origins.map(|origin| Sender { origin: Some(origin), ..whole.clone() }).collect();
            let expected = if parts == 0 { vec![whole.clone()] } else { expected };
            assert_eq!(sender.with_network(), expected, "{networks:?}");
            assert!(sender.with_network().iter().all(|sender| sender.is_alone == is_alone), "{networks:?}");
        }
    }

    #[test]
    fn whoever_it_is_stays_the_same_when_the_login_lets_in_others() {
        let at = |networks| sender(Some(Admission::Address), networks, "2001:db8::1");
        let (alone, one_of_many) = (at(&["2001:db8::/64"]), at(&["2001:db8::/64", "192.168.7.0/24"]));
        assert!(alone.is_alone && !one_of_many.is_alone);
        assert!(HashSet::from([alone]).contains(&one_of_many));
    }
}
