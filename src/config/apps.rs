//! `[app.NAME]`, or the same keys in an account: one registration at a provider.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::presets::GOOGLE_TOKEN_URL;
use super::providers::Providers;
use super::raw::RawApp;
use super::resolve::Resolver;
use super::{App, Client, Grant, Proof, Provider, secrets};

/// The apps an account may name; `None` where one is wrong, which has been reported.
pub(super) type Apps = BTreeMap<String, Option<Arc<App>>>;

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
    raw: RawApp,
    table: Range<usize>,
    providers: &Providers,
    resolver: &mut Resolver<'_>,
) -> Option<App> {
    let report = &mut resolver.report;
    let right = "it must be microsoft, google, or the NAME of a [provider.NAME]";
    let provider = report.required(&raw.provider, table.clone(), "provider", right);
    let grant = report.required(&raw.grant, table.clone(), "grant", "it must be \"client-credentials\"");
    let client_id =
        report.required(&raw.client_id, table.clone(), "client_id", "it must be the app's id at the provider");
    if let Some(grant) = grant.filter(|grant| grant.get_ref() != "client-credentials") {
        report.error(grant.span(), "must be \"client-credentials\": this version knows no other grant");
    }
    if let Some(id) = client_id.filter(|id| !is_visible_ascii(id.get_ref())) {
        report.error(id.span(), "no client id; it must be printable ASCII without spaces");
    }
    if raw.client_secret.is_none() {
        let right = "it must be the secret's value as the provider showed it, or { file = \"...\" }";
        report.missing(table.clone(), "client_secret", right);
    }
    let client_secret = raw.client_secret.and_then(|secret| secrets::source(secret, resolver));
    let named = provider;
    let provider = named.and_then(|name| providers.get(name, resolver));
    if let (Some(named), Some(provider)) = (named, &provider) {
        check_provider(named, provider, resolver);
        check_tenant(raw.tenant.as_ref(), provider, table, resolver);
    }
    let grant = Grant::ClientCredentials(Client {
        tenant: raw.tenant.map(Spanned::into_inner),
        id: client_id?.get_ref().clone(),
        proof: Proof::Secrets(vec![client_secret?]),
        secret_expires: None,
    });
    Some(App { name: name.into(), provider: provider?, grant })
}

fn check_provider(named: &Spanned<String>, provider: &Provider, resolver: &mut Resolver<'_>) {
    if provider.token_url.0 == GOOGLE_TOKEN_URL {
        let what = "Google opens no mailbox by client-credentials, and this version knows no other grant: \
                    Google's mail cannot be used yet";
        resolver.report.error(named.span(), what);
    }
}

fn check_tenant(
    tenant: Option<&Spanned<String>>,
    provider: &Provider,
    table: Range<usize>,
    resolver: &mut Resolver<'_>,
) {
    const RIGHT: &str = "it must be the directory's id or one of its domains, as in \"contoso.onmicrosoft.com\"";
    let needed = provider.token_url.0.contains("{tenant}");
    match tenant {
        None if needed => resolver.report.missing(table, "tenant", RIGHT),
        Some(tenant) if !needed => {
            let what = format!("the provider {} has no tenants; leave it out", provider.name);
            resolver.report.error(tenant.span(), what);
        }
        Some(tenant) if !is_tenant(tenant.get_ref()) => {
            resolver.report.error(tenant.span(), format!("no tenant; {RIGHT}"));
        }
        // AADSTS9001023: an app that acts for itself has to say in which directory.
        Some(tenant) if matches!(tenant.get_ref().as_str(), "common" | "organizations" | "consumers") => {
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
