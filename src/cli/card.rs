//! The device card: what to type into a printer, a scanner or a program, on one screen.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

use crate::config::{self, Config, Listener, ListenerTls, Login, Place, Protocol, Provider};

/// What a card is for.
pub(super) struct Card<'a> {
    /// Where it may connect.
    pub(super) config: &'a Config,
    /// Whose mailbox it uses.
    pub(super) address: &'a str,
    /// Behind which the mailbox is.
    pub(super) provider: &'a Provider,
    /// What it may use.
    pub(super) login: &'a Login,
    /// What it is, as in "Scanner 3rd floor".
    pub(super) device: &'a str,
    /// The networks it is in, where that is known.
    pub(super) from: &'a [IpNet],
    /// What lets it in.
    pub(super) way_in: WayIn<'a>,
}

/// How a device reaches a listener that is bound to all addresses.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// At this address of the machine, in the device's network.
    At(IpAddr),
    /// From this network, in which the machine has no address.
    From(IpNet),
    /// From somewhere.
    Unknown,
}

/// What lets a device in.
pub(super) enum WayIn<'a> {
    /// A password, in clear: it is shown once.
    Login {
        /// The password.
        password: &'a str,
    },
    /// Its address.
    Address {
        /// Which.
        address: IpAddr,
        /// To whom it may write.
        recipients: &'a str,
    },
}

impl Card<'_> {
    /// The card, with a line for each place that it can connect to.
    pub(super) fn text(&self) -> String {
        let mut text = format!("Type this into {}:\n", self.device);
        let mut line = |name: &str, value: &str| _ = writeln!(text, "  {name:<10} {value}");
        let protocols = &self.login.protocols;
        let places = config::places(self.config, self.login, protocols);
        for (number, place) in places.iter().enumerate() {
            // What is said of a certificate is said once.
            let next = places.get(number + 1).filter(|next| next.address.is_some());
            let last = next.is_none_or(|next| next.listener.name != place.listener.name);
            self.server(place, last, &mut line);
        }
        match self.way_in {
            WayIn::Login { password } => {
                line("user", &self.login.username);
                line("password", &format!("{password}   (shown only now)"));
            }
            WayIn::Address { address, recipients } => {
                line("login", &format!("none: it is let in by its address, {address}, which must stay the same"));
                line("recipients", &format!("{recipients}   (others are added in the configuration)"));
            }
        }
        if protocols.contains(&Protocol::Smtp) {
            line("sender", &format!("{}   (use this one: many providers take no other)", self.address));
            let account = self
                .config
                .accounts
                .iter()
                .find(|account| account.address.eq_ignore_ascii_case(self.address));
            if let Some(octets) = account.and_then(|account| account.max_message) {
                let megabytes = octets / 1_000_000;
                let most = if megabytes > 0 { format!("{megabytes} MB") } else { format!("{octets} octets") };
                line("size", &format!("at most {most} a message; what is attached grows by a third"));
            } else if let Some(limit) = size_limit(self.provider) {
                line("size", limit);
            }
        }
        text
    }

    /// A place; `last`: of its listener.
    fn server(&self, place: &Place<'_>, last: bool, line: &mut impl FnMut(&str, &str)) {
        let listener = place.listener;
        let role = match listener.protocol {
            Protocol::Smtp => "SMTP",
            Protocol::Imap => "IMAP",
            Protocol::Pop3 => "POP3",
        };
        let Some(address) = place.address else {
            let proxies = config::in_words(&listener.proxy_protocol);
            let what =
                format!("through the proxy before {} ({proxies}): host, port and security are its", listener.name);
            return line(role, &what);
        };
        let reach = reach(self.from, address);
        let host = match reach {
            Reach::At(host) => host.to_string(),
            Reach::From(network) if config::is_single(&network) => {
                format!("this machine's address as seen from {}", network.addr())
            }
            Reach::From(network) => format!("this machine's address as seen from {network} (it has none in there now)"),
            Reach::Unknown => self.config.hostname.clone(),
        };
        line(role, &format!("{host}, port {}, security: {}", address.port(), security(listener, place.in_clear)));
        if last && listener.tls != ListenerTls::None && listener.certificate.is_none() {
            line("", "the certificate is mailferry's own: have the device trust it (mailferry cert), or not check it");
            if matches!(reach, Reach::From(_)) {
                line("", "a device that checks it wants that address in it: name the address in bind");
            }
        }
    }
}

/// What to choose as the connection's security. `in_clear`: whether it can do without.
fn security(listener: &Listener, in_clear: bool) -> String {
    let with_tls = match listener.tls {
        ListenerTls::None => return "none (no TLS, no SSL)".into(),
        ListenerTls::StartTls => "STARTTLS",
        ListenerTls::Implicit => return "SSL/TLS".into(),
        ListenerTls::Auto => "SSL/TLS or STARTTLS",
    };
    if in_clear { format!("{with_tls}, or none if it knows neither") } else { with_tls.into() }
}

/// How devices of these networks reach a listener's address: of one on all addresses the one in their network, or this
/// machine's name. A name alone helps no device where the machine is in another network.
fn reach(from: &[IpNet], address: SocketAddr) -> Reach {
    if !address.ip().is_unspecified() {
        return Reach::At(address.ip());
    }
    let family = || {
        from.iter()
            .filter(|network| matches!(network, IpNet::V4(_)) == address.is_ipv4())
    };
    let own = family().find_map(own_address_in);
    own.map_or_else(|| family().next().map_or(Reach::Unknown, |network| Reach::From(*network)), Reach::At)
}

/// This machine's address in a network, as its routes say: a datagram socket that is connected sends nothing.
fn own_address_in(network: &IpNet) -> Option<IpAddr> {
    let any: IpAddr = match network {
        IpNet::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpNet::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let there = network.hosts().next()?;
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((there, 587)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    network.contains(&own).then_some(own)
}

/// How large a message may be that the provider takes, where it says so. What is attached grows by a third on its way.
fn size_limit(provider: &Provider) -> Option<&'static str> {
    let host = &provider.server(Protocol::Smtp)?.host;
    if host.ends_with(".office365.com") || host.ends_with(".outlook.com") {
        Some(
            "about 25 MB of attachments (Exchange Online's default of 35 MB for a message; an administrator can raise it)",
        )
    } else if host.ends_with(".gmail.com") {
        Some("about 25 MB of attachments")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;

    const HASH: &str = include_str!("../../tests/common/cheap-hash.txt");

    /// The card of a scanner in these networks, for which there is an old-tls listener beside this one.
    fn card(listener: &str, networks: &[&str]) -> String {
        let text = format!(
            "hostname = \"gateway.example\"\n[[listener]]\nprotocol = \"smtp\"\n{listener}\n\
             [[listener]]\nname = \"old-tls\"\nprotocol = \"smtp\"\nbind = \"127.0.0.1:2465\"\n\
             proxy_protocol = [\"127.0.0.1/32\"]\nallow = [\"192.168.7.0/24\"]\nplaintext_login = [\"192.168.7.0/24\"]\n\
             [app.contoso]\nprovider = \"microsoft\"\ngrant = \"client-credentials\"\ntenant = \"contoso.example\"\n\
             client_id = \"id\"\nclient_secret = \"secret\"\n\
             [[account]]\naddress = \"scanner@contoso.example\"\napp = \"contoso\"\n\
             [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{}\"\n",
            HASH.trim()
        );
        let config = Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap();
        let account = &config.accounts[0];
        let from: Vec<_> = networks.iter().map(|network| config::network(network).unwrap()).collect();
        let networks = (!from.is_empty()).then(|| from.clone());
        let login = Login { networks, ..account.logins[0].clone() };
        Card {
            config: &config,
            address: &account.address,
            provider: &account.app.provider,
            login: &login,
            device: "the scanner",
            from: &from,
            way_in: WayIn::Login { password: "k7wq2vd9mxe4hprb" },
        }
        .text()
    }

    /// What stands behind the names of its first lines.
    fn places(card: &str) -> Vec<&str> {
        let lines = card.lines().skip(1).take_while(|line| !line.starts_with("  user "));
        lines.map(|line| line.get(13..).unwrap()).collect()
    }

    const OFFICE: &str = "bind = [\"127.0.0.1:1587\", \"192.168.7.2:587\"]\nallow = [\"192.168.7.0/24\", \"127.0.0.0/8\"]\n\
                          tls = \"none\"\nplaintext_login = [\"192.168.7.0/24\", \"127.0.0.0/8\"]";

    #[test]
    fn only_places_that_can_be_used_from_there_are_named() {
        let proxied = "through the proxy before old-tls (127.0.0.1/32): host, port and security are its";
        let here = "127.0.0.1, port 1587, security: none (no TLS, no SSL)";
        let there = "192.168.7.2, port 587, security: none (no TLS, no SSL)";
        assert_eq!(places(&card(OFFICE, &["192.168.7.0/24"])), [there, proxied]);
        assert_eq!(places(&card(OFFICE, &["127.0.0.0/8"])), [here]);
        assert_eq!(places(&card(OFFICE, &[])), [here, there, proxied]);
    }

    #[test]
    fn of_all_addresses_the_one_in_the_devices_network_is_named() {
        let any = "bind = [\"0.0.0.0:25\", \"0.0.0.0:587\"]\nallow = [\"203.0.113.0/24\", \"127.0.0.0/8\"]";
        // For documentation: no machine has an address there (RFC 5737).
        let card_there = card(any, &["203.0.113.0/24"]);
        let [_, host, certificate, names] = &places(&card_there)[..] else { panic!("{card_there}") };
        let words = "this machine's address as seen from 203.0.113.0/24 (it has none in there now), port 587, security: \
                     SSL/TLS or STARTTLS";
        assert_eq!(*host, words, "no password is taken in clear from there");
        assert!(certificate.contains("mailferry cert") && names.contains("name the address in bind"), "{card_there}");
        let single = card(any, &["203.0.113.9"]);
        assert!(places(&single)[1].starts_with("this machine's address as seen from 203.0.113.9, port"), "{single}");
        let here = card(any, &["203.0.113.0/24", "127.0.0.0/8"]);
        let expected = "127.0.0.1, port 587, security: SSL/TLS or STARTTLS, or none if it knows neither";
        assert_eq!(places(&here)[1], expected);
        assert!(places(&card(any, &[]))[1].starts_with("gateway.example, port 587, "));
    }
}
