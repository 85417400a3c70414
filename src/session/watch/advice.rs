//! The line to change: from what was seen of a session to what its administrator does about it. One place for all of it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::tap::tls_name;
use crate::config::{Listener, ListenerTls, Protocol, holds};
use crate::login::verify::Obstacle;
use crate::session::failure::IS_KNOWN;

/// How many networks of a list are repeated.
const MOST_REPEATED: usize = 6;

/// Something that was seen, and from which advice follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Clue {
    /// The listener's `allow` does not hold the address.
    NotAllowed,
    /// The limits of sessions are reached.
    TooManySessions,
    /// A peer that has to send a PROXY header sent none, or a wrong one.
    NoProxyHeader,
    /// A proxy that said for whom it speaks, and named nobody who may log in.
    ProxyNamesNobody,
    /// It connected and said nothing.
    SaidNothing,
    /// It asked what is offered, and left it at that.
    OnlyAsked,
    /// It asked for STARTTLS, which is not offered.
    StartTlsMissing,
    /// It began with a PROXY header, which nobody awaits of it.
    StrayProxyHeader,
    /// It began with a request of HTTP.
    Http,
    /// It began a TLS handshake where none was awaited.
    TlsHello,
    /// Its handshake failed.
    TlsFailed { why: &'static str, cure: &'static str },
    /// It would have sent a password in the clear, which is not allowed from there.
    PlaintextForbidden,
    /// It knows only ways to log in that are not offered.
    Mechanism,
    /// It sends mail without having logged in.
    NoLogin,
    /// The user name is none of a login.
    UnknownName,
    /// The device asks to act as another.
    ActsAsAnother,
    /// The password is right, and its login is over.
    Replaced { login: String },
    /// The password is right, and the account's provider does not have this protocol: what is told of it.
    Unserved(String),
    /// The password is right, and its login is not for this protocol.
    WrongProtocol { login: String, protocols: Vec<Protocol> },
    /// The password is right, and its login is not for this address.
    WrongNetwork { login: String, networks: Vec<IpNet> },
    /// The password is right, and its login wants TLS.
    TlsRequired { login: String },
    /// The user name is right, and the password is not. `besides`: what stands against the login even with the right one.
    WrongPassword { login: String, besides: Option<Obstacle> },
    /// The login of this name has no password: an address opens it, and nothing that is typed in.
    NoPassword { login: String },
    /// The password was not looked at: why.
    NotChecked(String),
    /// The password was right, and yet it failed: what happened and what to do.
    LoginFailed(String),
    /// The address was right, and yet it failed: what happened and what to do.
    AddressFailed(String),
    /// The login succeeded: what went wrong before is of no account. Never told.
    LoggedIn,
    /// Beyond the login's `rate`.
    RateExceeded { login: String },
    /// Held back after too many refusals.
    HeldBack { login: String },
    /// The login may not write to a recipient.
    RecipientDenied { login: String },
    /// The message is larger than it may be.
    TooLarge { account: String },
    /// The message's header is longer than what is read to rewrite it.
    HeaderTooLong { login: String },
    /// The upstream does not let the account send in that name.
    SenderDenied { login: String },
    /// The upstream has refused a message or its envelope: what to do, where that is known.
    Refused(Option<&'static str>),
    /// It ended its message with LF.LF, and waited.
    LoneLfEnd,
    /// A message was accepted.
    MessageAccepted,
}

/// Where it happened.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) listener: &'a Listener,
    pub(crate) peer: IpAddr,
    /// Whether the device speaks TLS, with us or with a trusted proxy.
    pub(crate) under_tls: bool,
}

impl Scene<'_> {
    /// A key of the listener and what it should be.
    fn listener(&self, key: &str) -> String {
        format!("in [[listener]] name = \"{}\" set {key}", self.listener.name)
    }

    /// How a device that sends its password in the clear may log in.
    fn ways_to_log_in(&self) -> String {
        let with_tls = match self.listener.tls {
            ListenerTls::None => format!("{} and switch on TLS in the device", self.listener("tls = \"auto\"")),
            _ => "switch on TLS in the device".into(),
        };
        let key = format!("plaintext_login = {}", self.with_peer(&self.listener.plaintext_login));
        format!("{with_tls}, or {}", self.listener(&key))
    }

    /// A list of networks, with this address added.
    fn with_peer(&self, networks: &[IpNet]) -> String {
        let more = if networks.len() > MOST_REPEATED { ", ..." } else { "" };
        let shown = networks.iter().take(MOST_REPEATED).map(|network| format!("\"{network}\", "));
        let own = IpNet::from(self.peer);
        format!("[{}\"{own}\"{more}]", shown.collect::<String>())
    }
}

/// What to do about a right password in a wrong place, where `cure` lets it in: it looks the same whoever has it.
fn if_yours(cure: &str) -> String {
    format!(
        "if this is your device, {cure}; if it is not, {IS_KNOWN}: make a new one with `mailferry login rotate` or `mailferry \
         passwd --generate`"
    )
}

/// A key of a login and what it should be.
fn of_login(login: &str, key: &str) -> String {
    format!("in [[account.login]] username = \"{login}\" set {key}")
}

impl Clue {
    /// Whether a login that succeeds shows that it did not matter.
    pub(crate) const fn is_about_login(&self) -> bool {
        matches!(
            self,
            Self::PlaintextForbidden
                | Self::Mechanism
                | Self::NoLogin
                | Self::StartTlsMissing
                | Self::UnknownName
                | Self::ActsAsAnother
                | Self::Replaced { .. }
                | Self::Unserved(_)
                | Self::WrongProtocol { .. }
                | Self::WrongNetwork { .. }
                | Self::TlsRequired { .. }
                | Self::WrongPassword { .. }
                | Self::NoPassword { .. }
                | Self::NotChecked(_)
                | Self::LoginFailed(_)
                | Self::AddressFailed(_)
        )
    }

    /// Whether a user name and a password came before it.
    pub(crate) fn is_about_password(&self) -> bool {
        self.is_about_login() && !matches!(self, Self::NoLogin | Self::StartTlsMissing | Self::AddressFailed(_))
    }

    /// What to do, one line.
    pub(crate) fn advice(&self, scene: &Scene<'_>) -> String {
        let Scene { listener, peer, under_tls } = scene;
        match self {
            Self::NotAllowed => {
                let key = format!("allow = {}", scene.with_peer(&listener.allow));
                format!("the listener does not allow this address: if this is your device, {}", scene.listener(&key))
            }
            Self::TooManySessions => "there are too many sessions: let the device close its connections, or raise \
                                      sessions_per_address or sessions in [limits]"
                .into(),
            Self::NoProxyHeader => format!(
                "{peer} stands in proxy_protocol of this listener, so it must begin with a PROXY header: switch that on at the \
                 proxy, or take the address out of proxy_protocol"
            ),
            Self::ProxyNamesNobody => format!(
                "the PROXY header of {peer} names no client (UNKNOWN or LOCAL, as for the proxy's own checks) or one on the \
                 proxy's own machine, and for these nobody may log in: have the proxy send the device's address"
            ),
            Self::SaidNothing => {
                "it connected and said nothing: a port scan, a health check, or a device that waits for \
                                  another protocol; check its settings for server type, port and TLS"
                    .into()
            }
            Self::OnlyAsked => {
                let or = match listener.tls {
                    _ if !under_tls && !holds(&listener.plaintext_login, *peer) => {
                        format!("a device that finds no login offered in the clear: {}", scene.ways_to_log_in())
                    }
                    ListenerTls::None if !under_tls => {
                        format!("a device that misses STARTTLS: {}", scene.listener("tls = \"auto\""))
                    }
                    _ => "a device that misses its way to log in: set its authentication to LOGIN or PLAIN".into(),
                };
                format!("it asked what is offered, and no more: a health check, or {or}")
            }
            Self::StartTlsMissing if *under_tls => {
                "the device wants STARTTLS where TLS is on already: have TLS begun once, by the device or by a proxy"
                    .into()
            }
            Self::StartTlsMissing => {
                format!("the device wants STARTTLS: {}", scene.listener("tls = \"auto\""))
            }
            Self::StrayProxyHeader => {
                let key = format!("proxy_protocol = {}", scene.with_peer(&listener.proxy_protocol));
                format!("it begins with a PROXY header: if {peer} is your proxy, {}", scene.listener(&key))
            }
            Self::Http => format!(
                "it speaks HTTP: a browser, a scanner of ports or a health check, and no device that sends or reads mail by \
                 {}; see what connects from {peer}, and to which port",
                listener.protocol
            ),
            Self::TlsHello => match listener.tls {
                ListenerTls::None | ListenerTls::StartTls => format!(
                    "the device begins with TLS, and this listener has tls = \"{}\": {}",
                    tls_name(listener.tls),
                    scene.listener("tls = \"auto\"")
                ),
                ListenerTls::Auto | ListenerTls::Implicit => format!(
                    "the device began TLS too late, or where it was on already: {}",
                    scene.listener("tls = \"implicit\"")
                ),
            },
            Self::TlsFailed { why, cure } => format!("the TLS handshake failed: {why}. {cure}"),
            Self::PlaintextForbidden => {
                format!("a password is not taken in the clear from there: {}", scene.ways_to_log_in())
            }
            Self::Mechanism => {
                "the device tries a way to log in that is not offered: set its authentication to LOGIN or \
                                PLAIN, not to CRAM-MD5, NTLM or automatic"
                    .into()
            }
            Self::NoLogin => format!(
                "the device sends without logging in: enter user name and password there, and switch on SMTP authentication; if \
                 it has no such fields, give it a login of its own with without_password = true, protocols = [\"smtp\"] and \
                 networks = [\"{}\"]",
                IpNet::from(*peer)
            ),
            Self::UnknownName => {
                "no login has this user name: correct it in the device; `mailferry login list` shows them all".into()
            }
            Self::ActsAsAnother => {
                "the device asks to act as another than whom it logs in as: leave empty what it calls \
                                    authorization identity, or acting user"
                    .into()
            }
            Self::Replaced { login } => format!(
                "the password is right, and {login} has a newer one in its place: type that into the device, from the card \
                 that `mailferry login rotate` has shown"
            ),
            Self::Unserved(detail) => format!("the password is right, and {detail}"),
            Self::WrongProtocol { login, protocols } => {
                let all = protocols.iter().chain([&listener.protocol]);
                let all: Vec<_> = all.map(|protocol| format!("\"{protocol}\"")).collect();
                let key = format!("protocols = [{}]", all.join(", "));
                let cure = if_yours(&of_login(login, &key));
                format!("the password is right, and this login is not for {}: {cure}", listener.protocol)
            }
            Self::WrongNetwork { login, networks } => {
                let key = format!("networks = {}", scene.with_peer(networks));
                let cure = if_yours(&of_login(login, &key));
                format!("the password is right, and this login is not for this address: {cure}")
            }
            Self::TlsRequired { login } => format!(
                "the password is right, and this login wants TLS: switch it on in the device, or take tls = \"required\" out of \
                 [[account.login]] username = \"{login}\""
            ),
            Self::WrongPassword { login, besides } => {
                let besides = besides
                    .map(|obstacle| format!(" (and with the right one it would not be let in: the login {obstacle})"));
                format!(
                    "the password is not that of {login}{}: type it into the device again from its card (some devices cut it off \
                     or change its case), or make a new one with `mailferry login rotate` or `mailferry passwd --generate`",
                    besides.unwrap_or_default()
                )
            }
            Self::NoPassword { login } => format!(
                "the login {login} has no password, and lets in by their address devices that log in with none: take user name \
                 and password out of this one, or give it a login with a password (`mailferry login add`)"
            ),
            Self::NotChecked(detail) => format!(
                "the password was not looked at: {detail}; correct it in the device if it may be wrong, then wait: [limits] \
                 failed_logins says for how long"
            ),
            Self::LoginFailed(detail) => {
                format!("the password was right, and the login failed at the provider: {detail}")
            }
            Self::AddressFailed(detail) => {
                format!("the address opens a login, and what it wants failed: {detail}")
            }
            Self::LoggedIn => String::new(),
            Self::RateExceeded { login } => {
                format!("the device sends more than it may: {}", of_login(login, "a higher rate"))
            }
            Self::HeldBack { login } => format!(
                "{login} is refused here for a while, since the upstream has refused all its last messages: correct what the \
                 reply complains of, and send again when the time is over"
            ),
            Self::RecipientDenied { login } => {
                format!("the login may not write to that recipient: {}", of_login(login, "recipients that have it"))
            }
            Self::TooLarge { account } => format!(
                "the message is too large: have the device send smaller ones (fewer dots an inch, or in parts), or raise \
                 max_message in [[account]] address = \"{account}\" as far as the provider goes"
            ),
            Self::HeaderTooLong { login } => format!(
                "the message's header is over 256 KiB, which is too long to be rewritten: have the device send to fewer \
                 recipients at a time, or take sender = \"force\" out of [[account.login]] username = \"{login}\""
            ),
            Self::SenderDenied { login } => format!(
                "the account may not send in the device's name: set the account's address as sender in the device, or {}",
                of_login(login, "sender = \"force\"")
            ),
            Self::Refused(Some(cure)) => (*cure).into(),
            Self::Refused(None) => "the provider has refused it, for the reason above: it is not the connection".into(),
            Self::LoneLfEnd => {
                "the device ends its messages with LF.LF, and waits: set lone_lf_ends_message = true in its \
                                [[account.login]]"
                    .into()
            }
            Self::MessageAccepted => "a message was accepted: nothing is to be changed".into(),
        }
    }
}

#[cfg(test)]
mod tests;
