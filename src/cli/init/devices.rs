//! The devices that `init` makes logins for, as they are named in an answer.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::cli::login::panel_name;
use crate::config::{holds, is_link_local, is_private};

/// The most devices of one answer: each costs the hash of a password, and a screen.
const MOST: usize = 32;

/// A device, and what its login is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// In words, as in "Scanner 3rd floor".
    pub(super) name: String,
    /// A user name that its panel can take.
    pub(super) username: String,
    /// What lets it in where it cannot log in.
    pub(super) address: Option<IpAddr>,
}

/// The only device of an account.
pub(super) fn one(name: &str, account: &str) -> Result<Device, String> {
    check_name(name)?;
    let username = match panel_name(name) {
        username if username.is_empty() => account.to_ascii_lowercase(),
        username => username,
    };
    Ok(Device { name: name.to_owned(), username, address: None })
}

/// Several, with commas between them, in the network `office`.
pub(super) fn listed(answer: &str, office: &IpNet) -> Result<Vec<Device>, String> {
    let mut devices: Vec<Device> = Vec::new();
    for (number, text) in answer.split(',').map(str::trim).enumerate() {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => (name.trim(), Some(address_in(office, address.trim())?)),
            None => (text, None),
        };
        check_name(name)?;
        let username = username(name, number + 1);
        if devices.iter().any(|device| device.username == username) {
            return Err(format!("two devices would be called {username}; give each a name of its own, please"));
        }
        if devices.iter().any(|device| address.is_some() && device.address == address) {
            return Err(format!("two devices have the address of {name}; each has its own"));
        }
        devices.push(Device { name: name.to_owned(), username, address });
    }
    if devices.len() > MOST { Err(format!("at most {MOST} devices, please")) } else { Ok(devices) }
}

/// What a panel can take: some want a letter first, and some know no others than the alphabet's.
fn username(name: &str, number: usize) -> String {
    match panel_name(name) {
        username if username.is_empty() => format!("device-{number}"),
        username if username.starts_with(|first: char| first.is_ascii_digit()) => format!("device-{username}"),
        username => username,
    }
}

fn address_in(office: &IpNet, text: &str) -> Result<IpAddr, String> {
    let address = text.parse::<IpAddr>().map(|address| address.to_canonical());
    match address {
        Ok(address) if is_link_local(&address.into()) => {
            Err(format!("{address} is link-local; give the device an address of its network, or have it log in"))
        }
        Ok(address) if holds(&[*office], address) && is_private(&address.into()) => Ok(address),
        Ok(address) if holds(&[*office], address) => Err(format!("{address} is public; what is there has to log in")),
        Ok(address) => Err(format!("{address} is not in {office}")),
        Err(_) => Err(format!("{text:?} is no address, as in Plotter=192.168.7.20")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let odd = |character: char| character.is_control() || "\"\\".contains(character);
    if (1..=64).contains(&name.len()) && !name.contains(odd) {
        Ok(())
    } else {
        Err("1 to 64 letters for a name, without quotes, please".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn office(answer: &str) -> Result<Vec<(String, Option<String>)>, String> {
        let devices = listed(answer, &"192.168.7.0/24".parse().unwrap())?;
        Ok(devices
            .into_iter()
            .map(|device| (device.username, device.address.map(|address| address.to_string())))
            .collect())
    }

    #[test]
    fn devices_are_named_so_that_panels_can_take_it() {
        let named = office("Scanner 3rd floor, 2nd HP , 複合機,Plotter = ::ffff:192.168.7.20").unwrap();
        let expected = [
            ("scanner-3rd-floor", None),
            ("device-2nd-hp", None),
            ("device-3", None),
            ("plotter", Some("192.168.7.20".to_owned())),
        ];
        assert_eq!(named, expected.map(|(name, address)| (name.to_owned(), address)));
    }

    #[test]
    fn what_cannot_be_is_asked_again() {
        let many = vec!["a"; MOST + 1]
            .iter()
            .enumerate()
            .map(|(n, a)| format!("{a}{n}"))
            .collect::<Vec<_>>();
        assert!(office(&many[1..].join(",")).is_ok());
        for bad in [
            "",
            "a,,b",
            "a, A",
            "a\"b",
            "=192.168.7.20",
            "a=printer",
            "a=192.168.8.20",
            "a=192.168.7.20,b=192.168.7.20",
            "a=169.254.7.20",
            &many.join(","),
        ] {
            assert!(office(bad).is_err(), "{bad}");
        }
    }
}
