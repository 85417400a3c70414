//! `[[listener]]`: where the legacy side connects.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use toml::Spanned;
use zeroize::Zeroizing;

use super::raw::{OneOrMany, RawListener};
use super::resolve::Resolver;
use super::{CertificateFiles, Listener, ListenerTls, units};

/// All listeners that could be made out, and where each is written.
pub(super) fn resolve(
    raw: Vec<Spanned<RawListener>>,
    resolver: &mut Resolver<'_>,
) -> (Vec<Arc<Listener>>, Vec<Range<usize>>) {
    if raw.is_empty() {
        let right = "missing; at least one [[listener]] with a protocol and a bind address is needed";
        resolver.report.error_in_file("listener", right);
    }
    let mut names = HashSet::new();
    let mut addresses = HashSet::new();
    let listeners = raw.into_iter().filter_map(|raw| {
        let place = raw.span();
        Some((listener(raw, &mut names, &mut addresses, resolver)?, place))
    });
    listeners.unzip()
}

fn listener(
    raw: Spanned<RawListener>,
    names: &mut HashSet<String>,
    addresses: &mut HashSet<SocketAddr>,
    resolver: &mut Resolver<'_>,
) -> Option<Arc<Listener>> {
    let table = raw.span();
    let mut raw = raw.into_inner();
    let protocol = resolver
        .report
        .required(&raw.protocol, table.clone(), "protocol", "it must be smtp, imap or pop3");
    let right = "it must be an address and a port, as in \"127.0.0.1:1587\", or a list of them";
    let bind = resolver.report.required(&raw.bind, table.clone(), "bind", right);
    let protocol = protocol.map(|protocol| *protocol.get_ref());
    let bind = bind.and_then(|bind| bind_addresses(bind, addresses, resolver));
    let beyond = bind.iter().flatten().find(|address| !address.ip().is_loopback()).copied();
    let allow = allow(&mut raw, beyond, &table, resolver);
    let plaintext_login = raw.plaintext_login.take();
    let plaintext_login = plaintext_login.map_or_else(units::loopback, |list| resolver.networks(list, None));
    let proxy_protocol = raw.proxy_protocol.take();
    let proxy_protocol = proxy_protocol.map_or_else(Vec::new, |list| proxies(list, resolver));
    let default = if beyond.is_some() { ListenerTls::Auto } else { ListenerTls::None };
    let tls = raw.tls.as_ref().map_or(default, |tls| *tls.get_ref());
    let certificate = certificate(&raw, tls, &table, resolver);
    let (protocol, bind) = (protocol?, bind?);

    let at = raw.name.as_ref().map_or(table, Spanned::span);
    let name = match raw.name {
        Some(name) => name.into_inner(),
        None => format!("{protocol}-{}", bind.first()?.port()),
    };
    if name.is_empty() || name.len() > 64 || name.contains(char::is_control) {
        resolver
            .report
            .error(at, "no listener name; it must be 1 to 64 octets without control characters");
    } else if !names.insert(name.clone()) {
        resolver
            .report
            .error(at, format!("another listener has the name {name:?} already; give this one its own"));
    }
    Some(Arc::new(Listener { name, protocol, bind, allow, plaintext_login, tls, certificate, proxy_protocol }))
}

/// Who may connect. Beyond loopback (`beyond` is an address there) that has to be said: a door that is open to everybody
/// is never a default.
fn allow(
    raw: &mut RawListener,
    beyond: Option<SocketAddr>,
    table: &Range<usize>,
    resolver: &mut Resolver<'_>,
) -> Vec<IpNet> {
    match (raw.allow.take(), beyond) {
        (Some(list), _) => {
            let empty = "must not be empty: nobody could connect; name networks, as in \"192.168.7.0/24\"";
            return resolver.networks(list, Some(empty));
        }
        (None, Some(address)) => {
            let right = format!(
                "{address} can be reached from the network, so it must be said who may connect, as in \
                 [\"192.168.7.0/24\", \"127.0.0.0/8\", \"::1\"]"
            );
            resolver.report.missing(table.clone(), "allow", &right);
        }
        (None, None) => {}
    }
    units::loopback()
}

/// The proxies that are believed whom they speak for.
fn proxies(list: Spanned<Vec<Spanned<String>>>, resolver: &mut Resolver<'_>) -> Vec<IpNet> {
    let mut proxies = Vec::with_capacity(list.get_ref().len());
    for text in list.into_inner() {
        match proxy(text.get_ref()) {
            Ok(network) => proxies.push(network),
            Err(what) => resolver.report.error(text.span(), what),
        }
    }
    proxies
}

/// A proxy's address, or a narrow network that holds proxies alone: whoever is in it may claim to be at any address.
fn proxy(text: &str) -> Result<IpNet, String> {
    let Some(network) = units::network(text) else {
        return Err(format!("no network; it must be {}", units::NETWORK));
    };
    let widest = match network {
        IpNet::V4(_) => 24,
        IpNet::V6(_) => 64,
    };
    if units::within(&[network], &units::loopback()) || units::is_single(&network) && !units::is_link_local(&network) {
        return Ok(network);
    }
    const CLAIM: &str = "whoever is there may claim to be at any address";
    if units::is_link_local(&network) {
        return Err(format!(
            "{network} is link-local: on another link it may be anybody's, and {CLAIM}; name the proxy's address of the \
             network it is in"
        ));
    }
    if !units::is_private(&network) {
        return Err(format!("{network} is not private, and {CLAIM}; name the proxies' own addresses, each by itself"));
    }
    if network.prefix_len() < widest {
        return Err(format!(
            "{network} is too wide: {CLAIM}; name the proxies' own addresses, or networks of at most /{widest} that hold \
             proxies alone. There may be several"
        ));
    }
    Ok(network)
}

/// The certificate and its key: both or neither, and only where there is TLS.
fn certificate(
    raw: &RawListener,
    tls: ListenerTls,
    table: &Range<usize>,
    resolver: &mut Resolver<'_>,
) -> Option<CertificateFiles> {
    let named = raw.certificate.as_ref().or(raw.private_key.as_ref())?;
    if tls == ListenerTls::None {
        let default = if raw.tls.is_none() { ", the default on loopback" } else { "" };
        let what = format!(
            "has no meaning with tls = \"none\"{default}; set tls to starttls, implicit or auto, or leave it out"
        );
        resolver.report.error(named.span(), what);
    }
    let right = "certificate and private_key belong together; it must be a PEM file";
    let certificate = resolver
        .report
        .required(&raw.certificate, table.clone(), "certificate", right)?;
    let private_key = resolver
        .report
        .required(&raw.private_key, table.clone(), "private_key", right)?;
    let [certificate, private_key] = [certificate, private_key].map(|file| resolver.path(Path::new(file.get_ref())));
    resolver.warn_if_others_can_read(&private_key);
    if certificate != private_key && holds_private_key(&certificate) {
        resolver.warn_if_others_can_read(&certificate);
    }
    Some(CertificateFiles { certificate, private_key })
}

/// Whether there is a private key in a PEM file, beside what else it holds.
pub(crate) fn holds_private_key(file: &Path) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    let text = std::fs::read(file).map(Zeroizing::new).unwrap_or_default();
    text.windows(MARK.len()).any(|part| part == MARK)
}

/// The addresses of a listener, if all of them can be used.
fn bind_addresses(
    bind: &Spanned<OneOrMany>,
    taken: &mut HashSet<SocketAddr>,
    resolver: &mut Resolver<'_>,
) -> Option<Vec<SocketAddr>> {
    let OneOrMany(texts) = bind.get_ref();
    if texts.is_empty() {
        resolver
            .report
            .error(bind.span(), "must not be empty; name an address and a port, as in \"127.0.0.1:1587\"");
    }
    let mut addresses = Vec::with_capacity(texts.len());
    for text in texts {
        match bind_address(text, taken) {
            Ok(address) => addresses.push(address),
            Err(what) => resolver.report.error(bind.span(), what),
        }
    }
    (!addresses.is_empty() && addresses.len() == texts.len()).then_some(addresses)
}

/// An address of its own. `0.0.0.0` and `[::]` with one port are two: an IPv6 socket takes IPv6 only.
fn bind_address(text: &str, taken: &mut HashSet<SocketAddr>) -> Result<SocketAddr, String> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(format!("{text:?} is no address with a port; write it as in \"127.0.0.1:1587\" or \"[::1]:1587\""));
    };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    // Port 0 is a different port each time.
    if address.port() != 0 && !taken.insert(address) {
        return Err(format!("{text} is bound twice; give each listener an address and port of its own"));
    }
    Ok(address)
}
