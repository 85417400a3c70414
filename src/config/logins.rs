//! `[[account.login]]`: who may use a mailbox, and what lets them in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use argon2::Params;
use password_hash::phc::PasswordHash;
use toml::Spanned;

use super::raw::RawLogin;
use super::resolve::Resolver;
use super::{Admission, App, Login, LoginOrigin, Protocol, by_address, mail_rules};

/// The most times one user name may occur in an account with a password.
pub(crate) const MAX_SAME_USERNAME: usize = 4;

/// The longest user name, in octets.
const MAX_USERNAME: usize = 255;

/// What a login may cost at most: memory in KiB, passes, lanes.
const DEAREST: (u32, u32, u32) = (64 * 1024, 10, 4);

/// What earlier logins of the file have taken.
#[derive(Default)]
pub(super) struct Taken {
    /// Which account a user name opens, and how many passwords it has there.
    usernames: HashMap<String, (String, usize)>,
    /// What is let in by its address.
    networks: by_address::Taken,
}

/// The logins of one account. `table` is that account's.
pub(super) fn resolve(
    raw: Vec<Spanned<RawLogin>>,
    address: Option<&str>,
    table: Range<usize>,
    app: Option<&App>,
    taken: &mut Taken,
    resolver: &mut Resolver<'_>,
) -> Vec<Login> {
    if raw.is_empty() {
        resolver
            .report
            .missing(table, "login", "at least one [[account.login]] with a password_hash is needed");
    }
    raw.into_iter()
        .filter_map(|raw| login(raw, address, app, taken, resolver))
        .collect()
}

fn login(
    raw: Spanned<RawLogin>,
    address: Option<&str>,
    app: Option<&App>,
    taken: &mut Taken,
    resolver: &mut Resolver<'_>,
) -> Option<Login> {
    let table = raw.span();
    let mut raw = raw.into_inner();
    let by_address = raw.without_password.as_ref().is_some_and(|without| *without.get_ref());
    let username_at = raw.username.as_ref().map_or_else(|| table.clone(), Spanned::span);
    let username = raw.username.take().map(Spanned::into_inner);
    let username = username.or_else(|| address.map(str::to_owned));
    let username = username.map(|username| username.to_ascii_lowercase());
    let label = username.as_deref().zip(address);
    if let Some((username, address)) = label {
        taken.claim_username(username, address, !by_address, username_at, resolver);
    }
    let admission = admission(&raw, by_address, &table, resolver);
    let protocols = protocols(&mut raw, by_address, &table, app, resolver);
    let networks = raw.networks.take();
    let networks = if by_address {
        Some(by_address::networks(networks, label, table, &mut taken.networks, resolver))
    } else {
        let empty = "must not be empty: leave it out to allow whatever the listener allows";
        networks.map(|networks| resolver.networks(networks, Some(empty)))
    };
    let tls_required = raw.tls.is_some();
    let mail = mail_rules::resolve(raw, address, &protocols, by_address, resolver);
    Some(Login {
        origin: LoginOrigin::File,
        username: username?,
        admission: admission?,
        protocols,
        networks,
        tls_required,
        mail,
        ends: None,
    })
}

/// What lets it in: exactly one of a password and its address.
fn admission(raw: &RawLogin, by_address: bool, table: &Range<usize>, resolver: &mut Resolver<'_>) -> Option<Admission> {
    match (&raw.password_hash, by_address) {
        (Some(hash), true) => {
            let what = "a login has either a password_hash or without_password = true, not both";
            resolver.report.error(hash.span(), what);
            None
        }
        (None, true) => Some(Admission::Address),
        (hash, false) => {
            let right = "it must be what `mailferry passwd` prints";
            let hash = resolver.report.required(hash, table.clone(), "password_hash", right)?;
            if let Err(what) = check_hash(hash.get_ref()) {
                resolver.report.error(hash.span(), what);
            }
            Some(Admission::Password(hash.get_ref().clone()))
        }
    }
}

/// What it may speak, in the order protocols are shown. Only SMTP can let somebody in without a login.
fn protocols(
    raw: &mut RawLogin,
    by_address: bool,
    table: &Range<usize>,
    app: Option<&App>,
    resolver: &mut Resolver<'_>,
) -> Vec<Protocol> {
    let at = raw.protocols.as_ref().map_or_else(|| table.clone(), Spanned::span);
    let default: &[Protocol] = if by_address { &[Protocol::Smtp] } else { &Protocol::ALL };
    let named = raw.protocols.take().map_or_else(|| default.to_vec(), Spanned::into_inner);
    let protocols: Vec<_> = Protocol::ALL.into_iter().filter(|protocol| named.contains(protocol)).collect();
    if by_address && protocols.iter().any(|protocol| *protocol != Protocol::Smtp) {
        let what = "a login without a password can speak smtp only; leave protocols out";
        resolver.report.error(at, what);
    } else {
        check_protocols(&protocols, at, app, resolver);
    }
    protocols
}

/// A user name that is safe to look up and to log.
pub(crate) fn check_username(text: &str) -> Result<(), String> {
    let allowed = |octet: u8| matches!(octet, b' '..=b'~');
    if (1..=MAX_USERNAME).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!("no user name; it must be 1 to {MAX_USERNAME} octets of printable ASCII"))
}

impl Taken {
    /// A user name opens one account. `with_password`: it is one more password to be checked there.
    fn claim_username(
        &mut self,
        username: &str,
        address: &str,
        with_password: bool,
        at: Range<usize>,
        resolver: &mut Resolver<'_>,
    ) {
        if let Err(what) = check_username(username) {
            return resolver.report.error(at, what);
        }
        let (owner, passwords) = match self.usernames.entry(username.into()) {
            Entry::Vacant(entry) => entry.insert((address.into(), 0)),
            Entry::Occupied(entry) => entry.into_mut(),
        };
        if owner != address {
            let what = format!("{username:?} opens {owner} already; a user name opens one account");
            return resolver.report.error(at, what);
        }
        *passwords += usize::from(with_password);
        if with_password && *passwords == MAX_SAME_USERNAME + 1 {
            let what =
                format!("{username:?} occurs more than {MAX_SAME_USERNAME} times; remove passwords not used any more");
            resolver.report.error(at, what);
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
