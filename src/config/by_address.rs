//! `without_password`: the networks of devices that cannot log in, and whose mail theirs is.

use std::collections::HashMap;
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;

use super::resolve::Resolver;
use super::units;

/// Which login a network is: its user name and its account.
pub(super) type Taken = HashMap<IpNet, (String, String)>;

/// What is right, for messages.
const RIGHT: &str = "it must name the devices that are let in without a password, as in [\"192.168.7.20\"]";

/// The networks of a login without a password. They are narrow and private, and no other such login has the same ones:
/// nobody could say whose mail it would be. `label` is the login's user name and account.
pub(super) fn networks(
    raw: Option<Spanned<Vec<Spanned<String>>>>,
    label: Option<(&str, &str)>,
    table: Range<usize>,
    taken: &mut Taken,
    resolver: &mut Resolver<'_>,
) -> Vec<IpNet> {
    let Some(raw) = raw else {
        resolver.report.missing(table, "networks", RIGHT);
        return Vec::new();
    };
    if raw.get_ref().is_empty() {
        resolver.report.error(raw.span(), format!("must not be empty; {RIGHT}"));
    }
    let mut own = Vec::with_capacity(raw.get_ref().len());
    for text in raw.into_inner() {
        match network(text.get_ref(), &own, taken) {
            Ok(network) => own.push(network),
            Err(what) => resolver.report.error(text.span(), what),
        }
    }
    if let Some((username, address)) = label {
        taken.extend(own.iter().map(|network| (*network, (username.to_owned(), address.to_owned()))));
    }
    own
}

fn network(text: &str, own: &[IpNet], taken: &Taken) -> Result<IpNet, String> {
    let Some(network) = units::network(text) else {
        return Err(format!("no network; it must be {}", units::NETWORK));
    };
    let widest = match network {
        IpNet::V4(_) if units::is_carriers(&network) => 24,
        IpNet::V4(_) => 16,
        IpNet::V6(_) => 48,
    };
    if !units::is_private(&network) {
        let ranges = units::PRIVATE_RANGES;
        return Err(format!(
            "{network} is not private: whoever is there could send without a password; it must lie in {ranges}"
        ));
    }
    if units::is_link_local(&network) {
        return Err(format!(
            "{network} is link-local: on another link it may be anybody's, so it lets nobody in without a password; give \
             the device an address of the network it is in"
        ));
    }
    if network.prefix_len() < widest {
        let whose = if units::is_carriers(&network) {
            ", since a provider's other customers may be in 100.64.0.0/10 too"
        } else {
            ""
        };
        return Err(format!(
            "{network} is too wide to be let in without a password; it must be a /{widest} or narrower{whose}"
        ));
    }
    if own.contains(&network) {
        return Err(format!("{network} is in this list twice"));
    }
    if let Some((username, address)) = taken.get(&network) {
        return Err(format!(
            "{network} is the login {username:?} of {address} already, and nobody could say whose mail it would be; \
             name narrower networks: the narrowest that fits is taken"
        ));
    }
    Ok(network)
}
