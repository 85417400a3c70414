//! What only shows once everything has been read: listeners and logins that can never meet.

use std::ops::Range;

use super::report::Report;
use super::{Account, Config, Login, Protocol, units};

/// Checks a configuration whose parts are all right. `places` is where its listeners are written.
pub(super) fn check(config: &Config, places: &[Range<usize>], report: &mut Report<'_>) {
    for (listener, place) in config.listeners.iter().zip(places) {
        let protocol = listener.protocol;
        if logins_for(config, protocol).next().is_none() {
            let what = format!("nobody could ever log in here: no login is for {protocol}, or no provider has it");
            report.error(place.clone(), what);
        }
    }
    for account in &config.accounts {
        for login in account.logins.iter().filter(|login| !can_be_used(login, account, config)) {
            report.warn(format!(
                "the login {:?} of {} cannot be used: no listener takes its protocols from its networks",
                login.username, account.address
            ));
        }
    }
}

/// The logins that can use a protocol as far as their accounts are concerned.
fn logins_for(config: &Config, protocol: Protocol) -> impl Iterator<Item = &Login> {
    let accounts = config
        .accounts
        .iter()
        .filter(move |account| account.app.provider.server(protocol).is_some());
    accounts
        .flat_map(|account| &account.logins)
        .filter(move |login| login.protocols.contains(&protocol))
}

fn can_be_used(login: &Login, account: &Account, config: &Config) -> bool {
    let usable = |protocol| login.protocols.contains(&protocol) && account.app.provider.server(protocol).is_some();
    let listeners = config.listeners.iter().filter(|listener| usable(listener.protocol));
    listeners.map(|listener| &listener.allow).any(|allowed| match &login.networks {
        Some(networks) => networks
            .iter()
            .any(|network| allowed.iter().any(|other| units::overlap(network, other))),
        None => true,
    })
}
