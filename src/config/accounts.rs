//! `[[account]]` and `[[account.login]]`: the mailboxes, and who may use them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use argon2::Params;
use password_hash::phc::PasswordHash;
use toml::Spanned;

use super::apps::{self, Apps, is_visible_ascii};
use super::providers::Providers;
use super::raw::{RawAccount, RawIdentity, RawLogin};
use super::resolve::Resolver;
use super::{Account, Admission, App, Login, LoginOrigin, MailRules, Protocol};

/// The most times one user name may occur in an account.
pub(crate) const MAX_SAME_USERNAME: usize = 4;

/// The longest user name, in octets.
const MAX_USERNAME: usize = 255;

/// The longest address, in octets (RFC 5321 section 4.5.3.1.3, without the angle brackets).
const MAX_ADDRESS: usize = 254;

/// What an address looks like, for messages.
const AN_ADDRESS: &str = "it must be the mailbox's address, as in \"scanner@contoso.com\"";

/// What a login may cost at most: memory in KiB, passes, lanes.
const DEAREST: (u32, u32, u32) = (64 * 1024, 10, 4);

/// Which account a user name opens, and how often it has occurred there.
type Usernames = HashMap<String, (String, usize)>;

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
    let mut usernames = Usernames::new();
    let mut addresses = HashSet::new();
    for raw in raw {
        let table = raw.span();
        let mut raw = raw.into_inner();
        let address = address(&raw, table.clone(), &mut addresses, resolver);
        let app = app(&mut raw, address.as_deref(), table.clone(), apps, providers, resolver);
        let identity = identity(std::mem::take(&mut raw.identity), resolver);
        let logins = logins(raw.login, address.as_deref(), table, app.as_deref(), &mut usernames, resolver);
        if let (Some(address), Some(app)) = (address, app) {
            accounts.push(Arc::new(Account { address, app, identity, max_message: None, logins }));
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

fn logins(
    raw: Vec<Spanned<RawLogin>>,
    address: Option<&str>,
    table: Range<usize>,
    app: Option<&App>,
    usernames: &mut Usernames,
    resolver: &mut Resolver<'_>,
) -> Vec<Login> {
    if raw.is_empty() {
        resolver
            .report
            .missing(table, "login", "at least one [[account.login]] with a password_hash is needed");
    }
    raw.into_iter()
        .filter_map(|raw| login(raw, address, app, usernames, resolver))
        .collect()
}

fn login(
    raw: Spanned<RawLogin>,
    address: Option<&str>,
    app: Option<&App>,
    usernames: &mut Usernames,
    resolver: &mut Resolver<'_>,
) -> Option<Login> {
    let table = raw.span();
    let raw = raw.into_inner();
    let username_at = raw.username.as_ref().map_or_else(|| table.clone(), Spanned::span);
    let username = raw.username.map(Spanned::into_inner).or_else(|| address.map(str::to_owned));
    let username = username.map(|username| username.to_ascii_lowercase());
    if let Some((username, address)) = username.as_deref().zip(address) {
        claim_username(username, address, username_at, usernames, resolver);
    }
    let right = "it must be what `mailferry passwd` prints";
    let hash = resolver
        .report
        .required(&raw.password_hash, table.clone(), "password_hash", right);
    if let Some(hash) = hash
        && let Err(what) = check_hash(hash.get_ref())
    {
        resolver.report.error(hash.span(), what);
    }
    let protocols_at = raw.protocols.as_ref().map_or_else(|| table.clone(), Spanned::span);
    let protocols = raw.protocols.map_or_else(|| Protocol::ALL.to_vec(), Spanned::into_inner);
    let protocols: Vec<_> = Protocol::ALL
        .into_iter()
        .filter(|protocol| protocols.contains(protocol))
        .collect();
    check_protocols(&protocols, protocols_at, app, resolver);
    let password_hash = hash.map(|hash| hash.get_ref().clone());
    let networks = raw.networks.map(|networks| resolver.networks(networks, table));
    Some(Login {
        origin: LoginOrigin::File,
        username: username?,
        admission: Admission::Password(password_hash?),
        protocols,
        networks,
        tls_required: false,
        mail: MailRules::default(),
        ends: None,
    })
}

/// A user name that is safe to look up and to log.
pub(crate) fn check_username(text: &str) -> Result<(), String> {
    let allowed = |octet: u8| matches!(octet, b' '..=b'~');
    if (1..=MAX_USERNAME).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!("no user name; it must be 1 to {MAX_USERNAME} octets of printable ASCII"))
}

/// A user name opens one account.
fn claim_username(
    username: &str,
    address: &str,
    at: Range<usize>,
    usernames: &mut Usernames,
    resolver: &mut Resolver<'_>,
) {
    if let Err(what) = check_username(username) {
        return resolver.report.error(at, what);
    }
    match usernames.entry(username.into()) {
        Entry::Vacant(entry) => {
            entry.insert((address.into(), 1));
        }
        Entry::Occupied(entry) if entry.get().0 != address => {
            let what = format!("{username:?} opens {} already; a user name opens one account", entry.get().0);
            resolver.report.error(at, what);
        }
        Entry::Occupied(mut entry) => {
            let (_, count) = entry.get_mut();
            *count += 1;
            if *count == MAX_SAME_USERNAME + 1 {
                let what = format!(
                    "{username:?} occurs more than {MAX_SAME_USERNAME} times; remove passwords not used any more"
                );
                resolver.report.error(at, what);
            }
        }
    }
}

/// A hash that a login can be checked against at a bearable cost. What is wrong is said without any of it.
pub(crate) fn check_hash(text: &str) -> Result<(), String> {
    const MAKE_ONE: &str = "make one with `mailferry passwd`";
    let Ok(hash) = PasswordHash::new(text) else {
        return Err(format!("no password hash in PHC form; {MAKE_ONE}"));
    };
    if hash.algorithm.as_str() != "argon2id" {
        return Err(format!("must be an argon2id hash; {MAKE_ONE}"));
    }
    let (Some(0x10 | 0x13) | None, Ok(params)) = (&hash.version, Params::try_from(&hash)) else {
        return Err(format!("an argon2id hash with parameters that cannot be used; {MAKE_ONE}"));
    };
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(format!("cut off: its salt or its hash is missing; {MAKE_ONE}"));
    }
    let (memory, passes, lanes) = DEAREST;
    if params.m_cost() > memory || params.t_cost() > passes || params.p_cost() > lanes {
        return Err(format!("costs too much at each login; m={memory},t={passes},p={lanes} is the most: {MAKE_ONE}"));
    }
    Ok(())
}

fn check_protocols(protocols: &[Protocol], at: Range<usize>, app: Option<&App>, resolver: &mut Resolver<'_>) {
    if protocols.is_empty() {
        return resolver
            .report
            .error(at, "must not be empty; leave it out to allow smtp, imap and pop3");
    }
    if let Some(app) = app
        && !protocols.iter().any(|protocol| app.provider.server(*protocol).is_some())
    {
        let wanted: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
        let what =
            format!("this login can never be used: the provider {} has no {}", app.provider.name, wanted.join(" or "));
        resolver.report.error(at, what);
    }
}
