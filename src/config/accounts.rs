//! `[[account]]`: the mailboxes.

use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use toml::Spanned;

use super::apps::{self, Apps, is_visible_ascii};
use super::logins::{self, Taken};
use super::providers::Providers;
use super::raw::{RawAccount, RawIdentity, RawSize};
use super::resolve::Resolver;
use super::{Account, App, Protocol, units};

/// The longest address, in octets (RFC 5321 section 4.5.3.1.3, without the angle brackets).
const MAX_ADDRESS: usize = 254;

/// What an address looks like, for messages.
const AN_ADDRESS: &str = "it must be the mailbox's address, as in \"scanner@contoso.com\"";

/// What `max_message` may be, in octets: below lies no message, and above no upstream.
const SIZES: RangeInclusive<u64> = 1_000..=100_000_000_000;

/// All accounts that could be made out.
pub(super) fn resolve(
    raw: Vec<Spanned<RawAccount>>,
    apps: &Apps,
    providers: &Providers,
    resolver: &mut Resolver<'_>,
) -> Vec<Arc<Account>> {
    if raw.is_empty() {
        resolver
            .report
            .error_in_file("account", "missing; at least one [[account]] with an address and a login is needed");
    }
    let mut accounts: Vec<Arc<Account>> = Vec::with_capacity(raw.len());
    let mut taken = Taken::default();
    let mut addresses = HashSet::new();
    for raw in raw {
        let table = raw.span();
        let mut raw = raw.into_inner();
        let address = address(&raw, table.clone(), &mut addresses, resolver);
        let app = app(&mut raw, address.as_deref(), table.clone(), apps, providers, resolver);
        let identity = identity(std::mem::take(&mut raw.identity), resolver);
        let max_message = raw.max_message.and_then(|size| max_message(&size, resolver));
        let logins = logins::resolve(raw.login, address.as_deref(), table, app.as_deref(), &mut taken, resolver);
        if let (Some(address), Some(app)) = (address, app) {
            accounts.push(Arc::new(Account { address, app, identity, max_message, logins }));
        }
    }
    accounts
}

fn address(
    raw: &RawAccount,
    table: Range<usize>,
    taken: &mut HashSet<String>,
    resolver: &mut Resolver<'_>,
) -> Option<String> {
    let address = resolver.report.required(&raw.address, table, "address", AN_ADDRESS)?;
    let text = address.get_ref();
    if let Err(what) = check_address(text) {
        resolver.report.error(address.span(), what);
        return None;
    }
    if !taken.insert(text.to_ascii_lowercase()) {
        resolver
            .report
            .error(address.span(), format!("{text} has an [[account]] already; put both sets of logins there"));
    }
    Some(text.clone())
}

/// An address that can be one, and that no protocol line takes for more.
pub(crate) fn check_address(text: &str) -> Result<(), String> {
    let halves = text
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if halves && is_visible_ascii(text) && text.len() <= MAX_ADDRESS {
        return Ok(());
    }
    Err(format!("no address of printable ASCII; {AN_ADDRESS}"))
}

/// Who logs in upstream, per protocol, where that is not the address.
fn identity(raw: RawIdentity, resolver: &mut Resolver<'_>) -> Vec<(Protocol, String)> {
    let RawIdentity { smtp, imap, pop3 } = raw;
    let named = [(Protocol::Smtp, smtp), (Protocol::Imap, imap), (Protocol::Pop3, pop3)];
    let mut identity = Vec::new();
    for (protocol, user) in named {
        let Some(user) = user else { continue };
        if is_visible_ascii(user.get_ref()) && user.get_ref().len() <= MAX_ADDRESS {
            identity.push((protocol, user.into_inner()));
        } else {
            let what = "no user; it must be printable ASCII without spaces, as in \"owner@contoso.com\"";
            resolver.report.error(user.span(), what);
        }
    }
    identity
}

/// The app an account names, or the one that is written into it.
fn app(
    raw: &mut RawAccount,
    address: Option<&str>,
    table: Range<usize>,
    apps: &Apps,
    providers: &Providers,
    resolver: &mut Resolver<'_>,
) -> Option<Arc<App>> {
    match (&raw.app.take(), raw.take_inline_app()) {
        (Some(name), None) => {
            if let Some(app) = apps.get(name.get_ref()) {
                return app.clone();
            }
            let known: Vec<_> = apps.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            resolver
                .report
                .error(name.span(), format!("no [app.{}] in this file; known: {known}", name.get_ref()));
            None
        }
        (None, Some(inline)) => {
            apps::app(address.unwrap_or_default(), inline, table, providers, resolver).map(Arc::new)
        }
        (Some(name), Some(_)) => {
            resolver
                .report
                .error(name.span(), "an account has either an app or the keys of one, not both");
            None
        }
        (None, None) => {
            resolver.report.missing(table, "app", "it must be the NAME of an [app.NAME]");
            None
        }
    }
}

/// The largest message, in octets.
fn max_message(size: &Spanned<RawSize>, resolver: &mut Resolver<'_>) -> Option<u64> {
    let octets = match size.get_ref() {
        RawSize::Octets(octets) => u64::try_from(*octets).ok(),
        RawSize::Text(text) => units::size(text),
    };
    let fault = match octets {
        Some(octets) if SIZES.contains(&octets) => return Some(octets),
        Some(_) => "must be 1KB to 100GB".to_owned(),
        None => format!("no size; it must be {}", units::SIZE),
    };
    resolver.report.error(size.span(), fault);
    None
}
