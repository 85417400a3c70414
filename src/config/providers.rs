//! `[provider.NAME]` and the presets: where tokens come from, and the servers behind them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use toml::Spanned;
use url::Url;

use super::raw::{RawProvider, RawServer};
use super::resolve::Resolver;
use super::{EndpointUrl, Protocol, Provider, Scopes, Server, UpstreamTls, presets, units};

/// The providers an app may name.
pub(super) struct Providers {
    /// `None` where one is in the file but wrong: that has been reported, and is not to be reported again as unknown.
    known: BTreeMap<String, Option<Arc<Provider>>>,
}

impl Providers {
    /// Those of the file, and the presets it leaves alone.
    pub(super) fn resolve(raw: BTreeMap<String, Spanned<RawProvider>>, resolver: &mut Resolver<'_>) -> Self {
        let preset = |name: &str| presets::named(name).map(|preset| Arc::new(preset.provider(name)));
        let mut known: BTreeMap<_, _> = presets::names().map(|name| (name.to_owned(), preset(name))).collect();
        for (name, raw) in raw {
            let provider = provider(&name, raw, resolver).map(Arc::new);
            known.insert(name, provider);
        }
        Self { known }
    }

    /// The provider an app names; that there is none is reported.
    pub(super) fn get(&self, name: &Spanned<String>, resolver: &mut Resolver<'_>) -> Option<Arc<Provider>> {
        if let Some(provider) = self.known.get(name.get_ref()) {
            return provider.clone();
        }
        let known: Vec<_> = self.known.keys().map(String::as_str).collect();
        let what = format!("no provider {:?}; known: {}", name.get_ref(), known.join(", "));
        resolver.report.error(name.span(), what);
        None
    }
}

fn provider(name: &str, raw: Spanned<RawProvider>, resolver: &mut Resolver<'_>) -> Option<Provider> {
    let table = raw.span();
    let raw = raw.into_inner();
    let before = resolver.report.faults();
    let mut provider = base(name, raw.base.as_ref(), resolver)?;
    if let Some(url) = &raw.token_url {
        provider.token_url = endpoint_url(url, resolver)?;
        // Another address is another service: what the preset knew of the old one says nothing of it.
        provider.grants.clear();
        provider.sign_in_lives = None;
    }
    if let Some(url) = &raw.authorization_url {
        provider.authorization_url = Some(endpoint_url(url, resolver)?);
    }
    if let Some(url) = &raw.device_authorization_url {
        provider.device_authorization_url = Some(endpoint_url(url, resolver)?);
    }
    if let Some(scopes) = raw.scopes {
        let scopes: Vec<_> = scopes.into_iter().filter_map(|scope| checked_scope(scope, resolver)).collect();
        // Who names scopes means these and no others, whoever signs in.
        provider.scopes = Scopes {
            protocols: Protocol::ALL.map(|protocol| (protocol, scopes.clone())).into(),
            app: scopes,
            person: Vec::new(),
        };
    }
    for (protocol, server) in [(Protocol::Smtp, raw.smtp), (Protocol::Imap, raw.imap), (Protocol::Pop3, raw.pop3)] {
        if let Some(changes) = server {
            let changed = changed_server(provider.server(protocol).cloned(), &changes, resolver);
            match protocol {
                Protocol::Smtp => provider.smtp = changed,
                Protocol::Imap => provider.imap = changed,
                Protocol::Pop3 => provider.pop3 = changed,
            }
        }
    }
    if let Some(extensions) = raw.smtp_extensions {
        provider.smtp_extensions = smtp_extensions(extensions, table.clone(), resolver);
        // Who names an extension vouches for it.
        provider.smtp_masked.retain(|masked| !provider.smtp_extensions.contains(masked));
    }
    if let Some(ca) = raw.ca {
        provider.ca = certificates(&resolver.path(Path::new(ca.get_ref())), ca.span(), resolver);
    }
    if resolver.report.faults() == before && Protocol::ALL.iter().all(|protocol| provider.server(*protocol).is_none()) {
        resolver
            .report
            .error(table, "no server; at least one of smtp, imap and pop3 is needed");
    }
    Some(provider)
}

/// What the table changes: the preset it is named after, the preset it names, or nothing yet.
fn base(name: &str, named: Option<&Spanned<String>>, resolver: &mut Resolver<'_>) -> Option<Provider> {
    match (presets::named(name), named) {
        (Some(preset), None) => Some(preset.provider(name)),
        (Some(_), Some(base)) => {
            let what = format!("[provider.{name}] already changes the preset {name}; choose another name, or no base");
            resolver.report.error(base.span(), what);
            None
        }
        (None, Some(base)) => {
            let preset = presets::named(base.get_ref());
            if preset.is_none() {
                let known: Vec<_> = presets::names().collect();
                let what = format!("no preset {:?}; known: {}", base.get_ref(), known.join(", "));
                resolver.report.error(base.span(), what);
            }
            preset.map(|preset| preset.provider(name))
        }
        (None, None) => Some(Provider {
            name: name.into(),
            token_url: EndpointUrl(String::new()),
            authorization_url: None,
            device_authorization_url: None,
            grants: Vec::new(),
            sign_in_lives: None,
            scopes: Scopes::default(),
            smtp: None,
            imap: None,
            pop3: None,
            smtp_extensions: Vec::new(),
            smtp_masked: Vec::new(),
            imap_capabilities: Vec::new(),
            ca: Vec::new(),
        }),
    }
}

fn endpoint_url(text: &Spanned<String>, resolver: &mut Resolver<'_>) -> Option<EndpointUrl> {
    let url = EndpointUrl(text.get_ref().clone());
    // Any tenants show what it is once one is filled in.
    let fault = match (url.resolve(Some("one")), url.resolve(Some("other"))) {
        (Some(one), Some(other)) if one.host() != other.host() => Some("must not hold {tenant} in its host"),
        (Some(url), Some(_)) => endpoint_url_fault(&url),
        _ => Some("no URL; it must be as in \"https://login.example.com/token\", and may hold {tenant}"),
    };
    if let Some(fault) = fault {
        resolver.report.error(text.span(), fault);
    }
    fault.is_none().then_some(url)
}

fn endpoint_url_fault(url: &Url) -> Option<&'static str> {
    // The host comes in brackets where it is an IPv6 address.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match url.scheme() {
        "https" => {}
        "http" if units::is_loopback_host(host) => {}
        "http" => return Some("must begin with https://: plain http:// is for loopback hosts only"),
        _ => return Some("must begin with https://"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Some("must hold no user name, password or fragment");
    }
    None
}

/// RFC 6749 section 3.3 says what a scope may hold.
fn checked_scope(scope: Spanned<String>, resolver: &mut Resolver<'_>) -> Option<String> {
    let allowed = |octet: u8| matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if scope.get_ref().is_empty() || !scope.get_ref().bytes().all(allowed) {
        resolver
            .report
            .error(scope.span(), "no scope; it must be printable ASCII without spaces, quotes and backslashes");
        return None;
    }
    Some(scope.into_inner())
}

/// A server as the file changes it. Without one to change, all its keys are needed.
fn changed_server(base: Option<Server>, changes: &Spanned<RawServer>, resolver: &mut Resolver<'_>) -> Option<Server> {
    let (table, raw) = (changes.span(), changes.get_ref());
    let host = match (&raw.host, &base) {
        (None, Some(base)) => Some(base.host.clone()),
        (host, _) => resolver
            .report
            .required(host, table.clone(), "host", "it must be the server's name")
            .map(|host| host.get_ref().clone()),
    };
    let port = match (&raw.port, &base) {
        (None, Some(base)) => Some(base.port),
        (port, _) => resolver
            .report
            .required(port, table.clone(), "port", "it must be the server's port, as in 587")
            .map(|port| resolver.number(Some(port), 0, 1..=65535)),
    };
    let tls = match (&raw.tls, &base) {
        (None, Some(base)) => Some(base.tls),
        (tls, _) => resolver
            .report
            .required(tls, table.clone(), "tls", "it must be starttls, implicit, or none for a loopback host")
            .map(|tls| *tls.get_ref()),
    };
    let (host, port, tls) = (host?, port?, tls?);
    let host_at = raw.host.as_ref().map_or(table, Spanned::span);
    if !units::is_host_name(&host) && host.parse::<std::net::IpAddr>().is_err() {
        resolver
            .report
            .error(host_at, "no host; it must be a name or an address, without a port");
    } else if tls == UpstreamTls::None && !units::is_loopback_host(&host) {
        let at = raw.tls.as_ref().map_or(host_at, Spanned::span);
        let what =
            format!("a token must not travel to {host} in clear; use starttls or implicit (none: loopback only)");
        resolver.report.error(at, what);
    }
    Some(Server { host, port, tls })
}

/// Extensions a listener may offer before login, because the upstream will have them after it.
fn smtp_extensions(list: Vec<Spanned<String>>, table: Range<usize>, resolver: &mut Resolver<'_>) -> Vec<String> {
    const KNOWN: [&str; 4] = ["DSN", "CHUNKING", "BINARYMIME", "SMTPUTF8"];
    let mut extensions = Vec::with_capacity(list.len());
    for extension in list {
        let upper = extension.get_ref().to_ascii_uppercase();
        if !KNOWN.contains(&upper.as_str()) {
            resolver
                .report
                .error(extension.span(), format!("not known here; known: {}", KNOWN.join(", ")));
        } else if !extensions.contains(&upper) {
            extensions.push(upper);
        }
    }
    let has = |name: &str| extensions.iter().any(|extension| extension == name);
    // RFC 3030 section 3: BINARYMIME cannot be used without CHUNKING.
    if has("BINARYMIME") && !has("CHUNKING") {
        resolver
            .report
            .error(table, "smtp_extensions with BINARYMIME must hold CHUNKING too");
    }
    extensions
}

fn certificates(file: &Path, at: Range<usize>, resolver: &mut Resolver<'_>) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => return certificates,
        Ok(_) => {
            let what = format!("{} holds no certificate; it must be a PEM file of at least one", file.display());
            resolver.report.error(at, what);
        }
        Err(error) => resolver.report.error(at, format!("{} cannot be used: {error}", file.display())),
    }
    Vec::new()
}
