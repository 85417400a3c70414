//! The device card: what to type into a printer, a scanner or a program, on one screen.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::{Config, Listener, ListenerTls, Protocol, Provider, holds};

/// What a card is for.
pub(super) struct Card<'a> {
    /// Where it may connect.
    pub(super) config: &'a Config,
    /// Whose mailbox it uses.
    pub(super) address: &'a str,
    /// Behind which the mailbox is.
    pub(super) provider: &'a Provider,
    /// What it speaks.
    pub(super) protocols: &'a [Protocol],
    /// What it is, as in "Scanner 3rd floor".
    pub(super) device: &'a str,
    /// How the device reaches this machine.
    pub(super) reach: Reach,
    /// What lets it in.
    pub(super) way_in: WayIn<'a>,
}

/// How a device reaches a listener that is bound to all addresses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    /// At this address of the machine, in the device's network.
    At(IpAddr),
    /// From this network, in which the machine has no address.
    From(IpNet),
    /// From somewhere.
    Unknown,
}

/// What lets a device in.
pub(super) enum WayIn<'a> {
    /// A login.
    Login {
        /// The user name.
        username: &'a str,
        /// The password, in clear: it is shown once.
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
    /// The card, with a line for each listener it can use.
    pub(super) fn text(&self) -> String {
        let mut text = format!("Type this into {}:\n", self.device);
        let mut line = |name: &str, value: &str| _ = writeln!(text, "  {name:<10} {value}");
        for protocol in self.protocols {
            for listener in self.config.listeners.iter().filter(|listener| listener.protocol == *protocol) {
                self.server(listener, &mut line);
            }
        }
        match self.way_in {
            WayIn::Login { username, password } => {
                line("user", username);
                line("password", &format!("{password}   (shown only now)"));
            }
            WayIn::Address { address, recipients } => {
                line("login", &format!("none: it is let in by its address, {address}, which must stay the same"));
                line("recipients", &format!("{recipients}   (others are added in the configuration)"));
            }
        }
        if self.protocols.contains(&Protocol::Smtp) {
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

    /// What to type as the host: of a listener on all addresses the one in the device's network, or this machine's name. A
    /// name alone helps no device where the machine is in another network.
    fn host(&self, bind: IpAddr) -> String {
        match self.reach {
            _ if !bind.is_unspecified() => bind.to_string(),
            Reach::At(host) => host.to_string(),
            Reach::From(network) => format!("this machine's address as seen from {network} (it has none in there now)"),
            Reach::Unknown => self.config.hostname.clone(),
        }
    }

    /// What to choose as the connection's security at a listener's address.
    fn security(&self, listener: &Listener, bind: IpAddr) -> String {
        let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)];
        // Where there is no password, none crosses the network in clear.
        let in_clear = if matches!(self.way_in, WayIn::Address { .. }) {
            true
        } else if bind.is_loopback() {
            loopback.iter().any(|address| holds(&listener.plaintext_login, *address))
        } else {
            listener.plaintext_login.iter().any(|network| !network.addr().is_loopback())
        };
        let with_tls = match listener.tls {
            ListenerTls::None => return "none (no TLS, no SSL)".into(),
            ListenerTls::StartTls => "STARTTLS",
            ListenerTls::Implicit => return "SSL/TLS".into(),
            ListenerTls::Auto => "SSL/TLS or STARTTLS",
        };
        if in_clear { format!("{with_tls}, or none if it knows neither") } else { with_tls.into() }
    }

    fn server(&self, listener: &Listener, line: &mut impl FnMut(&str, &str)) {
        let role = match listener.protocol {
            Protocol::Smtp => "SMTP",
            Protocol::Imap => "IMAP",
            Protocol::Pop3 => "POP3",
        };
        for bind in &listener.bind {
            let host = self.host(bind.ip());
            line(role, &format!("{host}, port {}, security: {}", bind.port(), self.security(listener, bind.ip())));
        }
        if listener.tls != ListenerTls::None && listener.certificate.is_none() {
            line("", "the certificate is mailferry's own: have the device trust it (mailferry cert), or not check it");
        }
    }
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
