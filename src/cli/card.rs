//! The device card: what to type into a printer, a scanner or a program, on one screen.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::config::{Config, Listener, Protocol, Provider};

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
    /// The user name.
    pub(super) username: &'a str,
    /// The password, in clear: it is shown once.
    pub(super) password: &'a str,
}

impl Card<'_> {
    /// The card, with a line for each listener it can use.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("Type this into the device or program:\n");
        let mut line = |name: &str, value: &str| _ = writeln!(text, "  {name:<10} {value}");
        for protocol in self.protocols {
            for listener in self.config.listeners.iter().filter(|listener| listener.protocol == *protocol) {
                self.server(listener, &mut line);
            }
        }
        line("user", self.username);
        line("password", &format!("{}   (shown only now)", self.password));
        if self.protocols.contains(&Protocol::Smtp) {
            line("sender", &format!("{}   (the provider takes no other)", self.address));
            if let Some(limit) = size_limit(self.provider) {
                line("size", limit);
            }
        }
        text
    }

    fn server(&self, listener: &Listener, line: &mut impl FnMut(&str, &str)) {
        let role = match listener.protocol {
            Protocol::Smtp => "SMTP",
            Protocol::Imap => "IMAP",
            Protocol::Pop3 => "POP3",
        };
        for bind in &listener.bind {
            let host = host(bind.ip(), &self.config.hostname);
            line(role, &format!("{host}, port {}, security: none (no TLS, no SSL)", bind.port()));
        }
    }
}

/// What to type as the host: this machine's name where any of its addresses will do.
fn host(address: IpAddr, hostname: &str) -> String {
    if address.is_unspecified() { hostname.to_owned() } else { address.to_string() }
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
