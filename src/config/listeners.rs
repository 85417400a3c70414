//! `[[listener]]`: where the legacy side connects.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::raw::{OneOrMany, RawListener};
use super::resolve::Resolver;
use super::{Listener, ListenerTls, units};

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
    let raw = raw.into_inner();
    if let Some(tls) = raw.tls.filter(|tls| tls.get_ref() != "none") {
        resolver
            .report
            .error(tls.span(), "must be \"none\": listeners of this version cannot speak TLS");
    }
    let protocol = resolver
        .report
        .required(&raw.protocol, table.clone(), "protocol", "it must be smtp, imap or pop3");
    let right = "it must be an address and a port, as in \"127.0.0.1:1587\", or a list of them";
    let bind = resolver.report.required(&raw.bind, table.clone(), "bind", right);
    let protocol = protocol.map(|protocol| *protocol.get_ref());
    let bind = bind.and_then(|bind| bind_addresses(bind, addresses, resolver));
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
    Some(Arc::new(Listener {
        name,
        protocol,
        bind,
        allow: units::loopback(),
        plaintext_login: units::loopback(),
        tls: ListenerTls::None,
        certificate: None,
        proxy_protocol: Vec::new(),
    }))
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

fn bind_address(text: &str, taken: &mut HashSet<SocketAddr>) -> Result<SocketAddr, String> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(format!("{text:?} is no address with a port; write it as in \"127.0.0.1:1587\" or \"[::1]:1587\""));
    };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    // Nobody from beyond could be allowed in yet, and a password would travel in clear.
    if !address.ip().is_loopback() {
        return Err(format!(
            "{text} can be reached from the network, which this version does not protect; \
             use a loopback address, as in \"127.0.0.1:{}\"",
            address.port()
        ));
    }
    // Port 0 is a different port each time.
    if address.port() != 0 && !taken.insert(address) {
        return Err(format!("{text} is bound twice; give each listener an address and port of its own"));
    }
    Ok(address)
}
