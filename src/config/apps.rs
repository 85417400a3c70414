//! `[app.NAME]`, or the same keys in an account: one registration at a provider, and how it gets tokens.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use url::{Host, Url};

use super::environment::others_can_write;
use super::providers::Providers;
use super::raw::{RawApp, RawCertificate};
use super::resolve::Resolver;
use super::{App, Client, Grant, Proof, Provider, secrets};

/// The apps an account may name; `None` where one is wrong, which has been reported.
pub(super) type Apps = BTreeMap<String, Option<Arc<App>>>;

/// The grants there are, as the file names them.
const GRANTS: [&str; 5] = ["client-credentials", "device-code", "authorization-code", "service-account", "command"];

/// The names that stand for no certain tenant at Microsoft.
const ANY_TENANT: [&str; 3] = ["common", "organizations", "consumers"];

/// All apps that have a name.
pub(super) fn resolve(
    raw: BTreeMap<String, Spanned<RawApp>>,
    providers: &Providers,
    resolver: &mut Resolver<'_>,
) -> Apps {
    let mut apps = Apps::new();
    for (name, raw) in raw {
        let table = raw.span();
        let app = app(&name, raw.into_inner(), table, providers, resolver).map(Arc::new);
        apps.insert(name, app);
    }
    apps
}

/// One app. `table` is the table its keys are in.
pub(super) fn app(
    name: &str,
    mut raw: RawApp,
    table: Range<usize>,
    providers: &Providers,
    resolver: &mut Resolver<'_>,
) -> Option<App> {
    let right = "it must be a preset, as in \"microsoft\", or the NAME of a [provider.NAME]";
    let provider = resolver.report.required(&raw.provider, table.clone(), "provider", right);
    let right = format!("it must be {}", GRANTS.join(", "));
    let grant_name = resolver.report.required(&raw.grant, table.clone(), "grant", &right).cloned();
    let provider = provider.and_then(|name| providers.get(name, resolver));
    let grant_name = grant_name.filter(|grant| {
        let known = GRANTS.contains(&grant.get_ref().as_str());
        if !known {
            resolver
                .report
                .error(grant.span(), format!("no grant; known: {}", GRANTS.join(", ")));
        }
        known
    });
    let before = resolver.report.faults();
    if let (Some(grant), Some(provider)) = (&grant_name, &provider) {
        check_provider(grant, provider, &table, resolver);
    }
    let grant_name = grant_name?;
    let grant = match grant_name.get_ref().as_str() {
        "client-credentials" => {
            let client = client(&mut raw, &table, provider.as_deref(), false, resolver);
            if let Some(Client { proof: Proof::Public, .. }) = client {
                let right = "it must be the secret's value as the provider showed it, or { file = \"...\" }; \
                             a client_certificate or client_assertion does as well";
                resolver.report.missing(table.clone(), "client_secret", right);
            }
            client.map(Grant::ClientCredentials)
        }
        "device-code" => client(&mut raw, &table, provider.as_deref(), true, resolver).map(Grant::DeviceCode),
        "authorization-code" => {
            let redirect_uri = raw.redirect_uri.take().map(|uri| redirect_uri(&uri, resolver));
            let client = client(&mut raw, &table, provider.as_deref(), true, resolver);
            match redirect_uri {
                Some(None) => None,
                uri => client.map(|client| Grant::AuthorizationCode { client, redirect_uri: uri.flatten() }),
            }
        }
        "service-account" => {
            let right = "it must be the account's key file as Google gave it, as in { file = \"key.json\" }";
            if raw.service_account.is_none() {
                resolver.report.missing(table.clone(), "service_account", right);
            }
            let key = raw.service_account.take();
            key.and_then(|key| secrets::single(key, resolver)).map(Grant::ServiceAccount)
        }
        _ => command(&mut raw, &table, resolver).map(Grant::Command),
    };
    refuse_the_rest(&raw, grant_name.get_ref(), resolver);
    let clean = resolver.report.faults() == before;
    Some(App { name: name.into(), provider: provider?, grant: grant? }).filter(|_| clean)
}

/// Whether the provider can serve the grant at all.
fn check_provider(grant: &Spanned<String>, provider: &Provider, table: &Range<usize>, resolver: &mut Resolver<'_>) {
    let (name, provider_name) = (grant.get_ref().as_str(), &provider.name);
    if !provider.grants.is_empty() && !provider.grants.contains(&name) {
        let why = match (name, provider.token_url.0.contains("googleapis.com")) {
            ("device-code", true) => ": Google's device flow gives no access to mail",
            _ => "",
        };
        let what =
            format!("{provider_name} opens no mailbox by {name}{why}; it serves: {}", provider.grants.join(", "));
        return resolver.report.error(grant.span(), what);
    }
    let lacks =
        |url: &str| format!("{provider_name} has no {url}, which {name} needs; set it in [provider.{provider_name}]");
    if name != "command" && provider.token_url.0.is_empty() {
        resolver.report.error(table.clone(), lacks("token_url"));
    }
    if name == "device-code" && provider.device_authorization_url.is_none() {
        resolver.report.error(grant.span(), lacks("device_authorization_url"));
    }
    if name == "authorization-code" && provider.authorization_url.is_none() {
        resolver.report.error(grant.span(), lacks("authorization_url"));
    }
}

/// The registration. `of_a_person`: whether people sign in with it, who may come from any tenant.
fn client(
    raw: &mut RawApp,
    table: &Range<usize>,
    provider: Option<&Provider>,
    of_a_person: bool,
    resolver: &mut Resolver<'_>,
) -> Option<Client> {
    let raw_id = raw.client_id.take();
    let id = resolver
        .report
        .required(&raw_id, table.clone(), "client_id", "it must be the app's id at the provider");
    if let Some(id) = id.filter(|id| !is_visible_ascii(id.get_ref())) {
        resolver
            .report
            .error(id.span(), "no client id; it must be printable ASCII without spaces");
    }
    let tenant = raw.tenant.take();
    if let Some(provider) = provider {
        check_tenant(tenant.as_ref(), provider, table, of_a_person, resolver);
    }
    let expires = raw.client_secret_expires.take().and_then(|date| {
        if raw.client_secret.is_none() {
            resolver
                .report
                .error(date.span(), "there is no client_secret that could expire; leave it out");
        }
        day(&date, resolver)
    });
    Some(Client {
        proof: proof(raw, table, resolver)?,
        tenant: tenant.map(Spanned::into_inner),
        id: id?.get_ref().clone(),
        secret_expires: expires,
    })
}

/// How the app proves who it is: by one of three ways, or not.
fn proof(raw: &mut RawApp, table: &Range<usize>, resolver: &mut Resolver<'_>) -> Option<Proof> {
    match (raw.client_secret.take(), raw.client_certificate.take(), raw.client_assertion.take()) {
        (None, None, None) => Some(Proof::Public),
        (Some(secrets), None, None) => secrets::sources(secrets, resolver).map(Proof::Secrets),
        (None, Some(certificate), None) => key_pair(&certificate, resolver),
        (None, None, Some(assertion)) => secrets::single(assertion, resolver).map(Proof::Assertion),
        _ => {
            let what = "only one of client_secret, client_certificate and client_assertion may be there";
            resolver.report.error(table.clone(), what);
            None
        }
    }
}

/// `client_certificate`: both files are there.
fn key_pair(raw: &Spanned<RawCertificate>, resolver: &mut Resolver<'_>) -> Option<Proof> {
    let RawCertificate { certificate, private_key } = raw.get_ref();
    let table = raw.span();
    let right = "it must be a PEM file";
    let certificate = resolver.report.required(certificate, table.clone(), "certificate", right);
    let private_key = resolver.report.required(private_key, table, "private_key", right);
    let (certificate, private_key) = (certificate?, private_key?);
    let mut readable = |key: &Spanned<String>| {
        let path = resolver.path(Path::new(key.get_ref()));
        let read = std::fs::read(&path).map(zeroize::Zeroizing::new);
        if let Err(error) = &read {
            resolver
                .report
                .error(key.span(), format!("{} cannot be read: {error}", path.display()));
        }
        read.is_ok().then_some(path)
    };
    let (certificate, private_key) = (readable(certificate), readable(private_key));
    let (certificate, private_key) = (certificate?, private_key?);
    resolver.warn_if_others_can_read(&private_key);
    Some(Proof::Certificate { certificate, private_key })
}

fn command(raw: &mut RawApp, table: &Range<usize>, resolver: &mut Resolver<'_>) -> Option<Vec<String>> {
    let command = raw.command.take();
    let right = "it must be a program and its arguments, as in [\"pizauth\", \"show\", \"me\"]";
    let command = resolver.report.required(&command, table.clone(), "command", right)?;
    let mut words = command.get_ref().clone();
    let Some(program) = words.first_mut().filter(|program| !program.is_empty()) else {
        resolver.report.error(command.span(), format!("names no program; {right}"));
        return None;
    };
    if words_hold_nul(command.get_ref()) {
        resolver.report.error(command.span(), "must not hold NUL");
        return None;
    }
    // A bare name is looked for where the shell would; a path is one of the file's.
    if program.contains('/') {
        *program = resolver.path(Path::new(program)).to_string_lossy().into_owned();
    }
    let file = resolver.report.file().to_owned();
    if std::fs::metadata(&file).is_ok_and(|metadata| others_can_write(&metadata)) {
        let file = file.display();
        let what =
            format!("{file} names a program to run and every user of this machine can change it; chmod o-w {file}");
        resolver.report.error(command.span(), what);
    }
    Some(words)
}

fn words_hold_nul(words: &[String]) -> bool {
    words.iter().any(|word| word.contains('\0'))
}

/// Keys that were not taken have nothing to do with the grant.
fn refuse_the_rest(raw: &RawApp, grant: &str, resolver: &mut Resolver<'_>) {
    let left = [
        raw.tenant.as_ref().map(Spanned::span),
        raw.client_id.as_ref().map(Spanned::span),
        raw.client_secret.as_ref().map(Spanned::span),
        raw.client_secret_expires.as_ref().map(Spanned::span),
        raw.client_certificate.as_ref().map(Spanned::span),
        raw.client_assertion.as_ref().map(Spanned::span),
        raw.redirect_uri.as_ref().map(Spanned::span),
        raw.service_account.as_ref().map(Spanned::span),
        raw.command.as_ref().map(Spanned::span),
    ];
    for at in left.into_iter().flatten() {
        resolver.report.error(at, format!("has no meaning with {grant}; leave it out"));
    }
}

/// Where a browser is sent back to: this machine, or a page of one's own from which the address is copied.
fn redirect_uri(uri: &Spanned<String>, resolver: &mut Resolver<'_>) -> Option<Url> {
    const RIGHT: &str = "it must be as registered, as in \"http://localhost:8400\", or an https URL";
    let url = Url::parse(uri.get_ref()).ok();
    let fits = url.as_ref().is_some_and(|url| {
        let local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && local);
        scheme && url.fragment().is_none() && url.username().is_empty() && url.password().is_none()
    });
    if !fits {
        resolver.report.error(uri.span(), format!("cannot be used; {RIGHT}"));
    }
    url.filter(|_| fits)
}

fn day(date: &Spanned<toml::value::Datetime>, resolver: &mut Resolver<'_>) -> Option<jiff::civil::Date> {
    let day = date.get_ref().date.and_then(|date| {
        let (year, month, day) = (i16::try_from(date.year), i8::try_from(date.month), i8::try_from(date.day));
        jiff::civil::Date::new(year.ok()?, month.ok()?, day.ok()?).ok()
    });
    if day.is_none() {
        resolver.report.error(date.span(), "no date; it must be as in 2027-11-01");
    }
    day
}

fn check_tenant(
    tenant: Option<&Spanned<String>>,
    provider: &Provider,
    table: &Range<usize>,
    of_a_person: bool,
    resolver: &mut Resolver<'_>,
) {
    const RIGHT: &str = "it must be the directory's id or one of its domains, as in \"contoso.onmicrosoft.com\"";
    let needed = provider.token_url.0.contains("{tenant}");
    match tenant {
        None if needed => resolver.report.missing(table.clone(), "tenant", RIGHT),
        Some(tenant) if !needed => {
            let what = format!("the provider {} has no tenants; leave it out", provider.name);
            resolver.report.error(tenant.span(), what);
        }
        Some(tenant) if !is_tenant(tenant.get_ref()) => {
            resolver.report.error(tenant.span(), format!("no tenant; {RIGHT}"));
        }
        // AADSTS9001023: an app that acts for itself has to say in which directory.
        Some(tenant) if !of_a_person && ANY_TENANT.contains(&tenant.get_ref().as_str()) => {
            let what = format!("client-credentials need a tenant of their own, not {:?}; {RIGHT}", tenant.get_ref());
            resolver.report.error(tenant.span(), what);
        }
        _ => {}
    }
}

/// A tenant becomes part of a URL's path: nothing in it may mean something there.
fn is_tenant(text: &str) -> bool {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.') && !text.contains("..")
}

/// Whether a text is not empty and holds neither spaces nor control characters nor anything beyond ASCII.
pub(super) fn is_visible_ascii(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic())
}
