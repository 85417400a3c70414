//! Where a login can be used: the addresses of listeners that its networks can reach, and the proxies before them.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{Admission, Config, Listener, ListenerTls, Login, Protocol, units};

/// A door that a login can go in by.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Whose it is.
    pub(crate) listener: &'a Listener,
    /// Where to connect; `None`: to the proxy before the listener.
    pub(crate) address: Option<SocketAddr>,
    /// Whether TLS can be done without there. What goes through a proxy is not known.
    pub(crate) in_clear: bool,
}

/// All of them over these protocols, in the order of the file. That nobody else's login may do so is not asked.
pub(crate) fn places<'a>(config: &'a Config, login: &Login, protocols: &[Protocol]) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for protocol in protocols {
        for listener in config.listeners.iter().filter(|listener| listener.protocol == *protocol) {
            at(listener, login, &mut places);
        }
    }
    places
}

/// Where a login over these protocols can be used, in words for who has named networks from which it cannot.
pub(crate) fn listeners_in_words(config: &Config, protocols: &[Protocol]) -> String {
    let listeners = config.listeners.iter();
    let of_these = listeners.filter(|listener| protocols.contains(&listener.protocol));
    let words = of_these.map(|listener| {
        let bind: Vec<_> = listener.bind.iter().map(ToString::to_string).collect();
        format!("{} on {}, allow {}", listener.name, bind.join(" "), in_words(&listener.allow))
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Networks with spaces between them.
pub(crate) fn in_words(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// From where a login can reach a listener, as far as addresses are concerned.
pub(super) fn reach(listener: &Listener, login: &Login) -> Vec<IpNet> {
    match &login.networks {
        Some(networks) => units::shared(&listener.allow, networks),
        None => listener.allow.clone(),
    }
}

fn at<'a>(listener: &'a Listener, login: &Login, places: &mut Vec<Place<'a>>) {
    let reach = reach(listener, login);
    if reach.is_empty() {
        return;
    }
    for address in &listener.bind {
        // Whoever comes from a proxy's address has to speak as one.
        let clients: Vec<_> = reaching(&reach, address.ip())
            .into_iter()
            .filter(|network| !units::within(&[*network], &listener.proxy_protocol))
            .collect();
        let in_clear = !login.tls_required
            && match login.admission {
                // Where there is no password, none crosses the network in clear.
                Admission::Address => true,
                Admission::Password(_) => !units::shared(&clients, &listener.plaintext_login).is_empty(),
            };
        if !clients.is_empty() && (in_clear || listener.tls != ListenerTls::None) {
            places.push(Place { listener, address: Some(*address), in_clear });
        }
    }
    if !listener.proxy_protocol.is_empty() {
        places.push(Place { listener, address: None, in_clear: false });
    }
}

/// From where an address of this machine can be reached. Loopback leads to this machine alone and is left for none other,
/// and a socket takes its own family only.
fn reaching(from: &[IpNet], address: IpAddr) -> Vec<IpNet> {
    let own = units::loopback();
    let family = from
        .iter()
        .filter(|network| matches!(network, IpNet::V4(_)) == address.is_ipv4())
        .copied()
        .collect::<Vec<_>>();
    if address.is_loopback() {
        units::shared(&family, &own)
    } else if address.is_unspecified() {
        family
    } else {
        family.into_iter().filter(|network| !units::within(&[*network], &own)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;

    const HASH: &str = include_str!("../../tests/common/cheap-hash.txt");

    /// Where the login can be used: each address, or `proxy`, with a `!` where TLS cannot be done without.
    fn shown(listener: &str, login: &str) -> Vec<String> {
        let text = format!(
            "hostname = \"gateway.example\"\n[[listener]]\nprotocol = \"smtp\"\nname = \"office\"\n{listener}\n\
             [app.contoso]\nprovider = \"microsoft\"\ngrant = \"client-credentials\"\ntenant = \"contoso.example\"\n\
             client_id = \"id\"\nclient_secret = \"secret\"\n\
             [[account]]\naddress = \"scanner@contoso.example\"\napp = \"contoso\"\n\
             [[account.login]]\nusername = \"any\"\npassword_hash = \"{HASH}\"\n\
             [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{HASH}\"\n{login}\n",
            HASH = HASH.trim()
        );
        let config = Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap();
        let login = &config.accounts[0].logins[1];
        let places = places(&config, login, &[Protocol::Imap, Protocol::Smtp]);
        let shown = places.iter().map(|place| {
            let address = place.address.map_or_else(|| "proxy".into(), |address| address.to_string());
            address + if place.in_clear { "" } else { "!" }
        });
        shown.collect()
    }

    #[test]
    fn a_login_is_used_where_its_networks_can_go() {
        let everywhere = "bind = [\"127.0.0.1:1587\", \"0.0.0.0:587\", \"[::]:587\", \"192.168.7.2:25\"]\n\
                          allow = [\"192.168.7.0/24\", \"127.0.0.0/8\", \"::1\"]\nplaintext_login = [\"192.168.7.0/24\"]";
        let office = "networks = [\"192.168.7.0/24\"]";
        assert_eq!(shown(everywhere, office), ["0.0.0.0:587", "192.168.7.2:25"]);
        assert_eq!(shown(everywhere, "networks = [\"127.0.0.1\"]"), ["127.0.0.1:1587!", "0.0.0.0:587!"]);
        assert_eq!(shown(everywhere, "networks = [\"::1\"]"), ["[::]:587!"]);
        assert_eq!(shown(everywhere, "networks = [\"10.9.9.0/24\"]"), [""; 0]);
        assert_eq!(shown(everywhere, ""), ["127.0.0.1:1587!", "0.0.0.0:587", "[::]:587!", "192.168.7.2:25"]);
        let required = format!("{office}\ntls = \"required\"");
        assert_eq!(shown(everywhere, &required), ["0.0.0.0:587!", "192.168.7.2:25!"]);
        assert_eq!(shown(&format!("{everywhere}\ntls = \"none\""), &required), [""; 0]);
    }

    #[test]
    fn behind_a_proxy_it_is_the_proxy_that_is_connected_to() {
        let old_tls = "bind = \"127.0.0.1:2465\"\nproxy_protocol = [\"127.0.0.1\"]\n\
                       allow = [\"192.168.7.0/24\"]\nplaintext_login = [\"192.168.7.0/24\"]";
        assert_eq!(shown(old_tls, "networks = [\"192.168.7.20\"]"), ["proxy!"]);
        assert_eq!(shown(old_tls, "networks = [\"10.9.9.9\"]"), [""; 0]);
        let direct_too = "bind = \"10.0.0.6:587\"\nproxy_protocol = [\"10.0.0.5\"]\nallow = [\"10.0.0.0/24\"]";
        assert_eq!(shown(direct_too, ""), ["10.0.0.6:587!", "proxy!"]);
        assert_eq!(shown(direct_too, "networks = [\"10.0.0.5\"]"), ["proxy!"]);
    }
}
