//! Logins without a password that this machine itself could use: its own addresses in their networks.

use std::net::IpAddr;

use crate::config::{Admission, Config, holds};
use crate::system;

/// Warns of logins that an address of this machine lets in. Loopback is not meant: who names it wants this machine.
pub(super) fn warn(config: &Config) {
    for (login, address) in found(config, &system::addresses()) {
        tracing::warn!(
            login,
            %address,
            "an address of this machine lets this login in without a password: each of its users may send by it, and so may \
             strangers where Docker, a router or a tunnel forwards their connections from this address. Name narrower \
             networks for the login, of devices alone"
        );
    }
}

/// Each such login's user name, and the first such address.
fn found<'a>(config: &'a Config, addresses: &[IpAddr]) -> Vec<(&'a str, IpAddr)> {
    let logins = config.accounts.iter().flat_map(|account| &account.logins);
    let by_address = logins.filter(|login| login.admission == Admission::Address);
    let own = by_address.filter_map(|login| {
        let networks = login.networks.as_deref().unwrap_or_default();
        let mut own = addresses.iter().filter(|address| !address.is_loopback());
        let address = own.find(|address| holds(networks, **address))?;
        Some((login.username.as_str(), *address))
    });
    own.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::app::desk::testing::configuration;
    use crate::config::Environment;

    #[test]
    fn a_login_that_this_machine_could_use_is_found() {
        let login = |name: &str, network: &str| {
            format!(
                "[[account.login]]\nusername = \"{name}\"\nwithout_password = true\nnetworks = [\"{network}\"]\n\
                 recipients = [\"@contoso.example\"]\n"
            )
        };
        let logins = [login("bridge", "172.17.0.0/16"), login("here", "127.0.0.1"), login("plotter", "192.168.7.20")];
        let text = configuration("") + &logins.concat();
        let config = Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap();
        let addresses =
            ["127.0.0.1", "::1", "192.168.7.2", "172.17.0.1", "172.17.0.2"].map(|text| text.parse().unwrap());
        assert_eq!(found(&config, &addresses), [("bridge", addresses[3])]);
    }
}
