//! What only shows once everything has been read: listeners and logins that can never meet, and doors that are too wide.

use std::ops::Range;

use ipnet::IpNet;

use super::places::reach;
use super::report::Report;
use super::{Account, Admission, Config, Listener, ListenerTls, Login, Protocol, units};

/// Checks a configuration whose parts are all right. `places` is where its listeners are written.
pub(super) fn check(config: &Config, places: &[Range<usize>], report: &mut Report<'_>) {
    for (listener, place) in config.listeners.iter().zip(places) {
        if let Some(what) = nobody(config, listener) {
            report.error(place.clone(), format!("nobody could ever log in here: {what}"));
        }
        check_passwords_in_clear(listener, place, report);
        check_proxies(config, listener, place, report);
        check_whole_internet(config, listener, place, report);
    }
    check_recipients(config, report);
    for account in &config.accounts {
        for login in account.logins.iter().filter(|login| !can_be_used(login, account, config)) {
            report.warn(format!(
                "the login {:?} of {} cannot be used: no listener takes its protocols from its networks{}",
                login.username,
                account.address,
                if login.tls_required { " with TLS" } else { "" }
            ));
        }
    }
}

/// Why no login of the file can ever be used at a listener, and what to change; `None`: one can.
fn nobody(config: &Config, listener: &Listener) -> Option<String> {
    let protocol = listener.protocol;
    let logins: Vec<_> = logins_for(config, protocol).collect();
    if logins.is_empty() {
        return Some(format!("no login is for {protocol}, or no provider has it"));
    }
    if logins.iter().any(|login| takes(listener, login)) {
        return None;
    }
    let reach = |login: &&&Login| !reach(listener, login).is_empty();
    let reaching: Vec<_> = logins.iter().filter(reach).collect();
    if reaching.is_empty() {
        return Some(format!(
            "no login for {protocol} may be used from the networks in allow; widen allow, or the networks of a login"
        ));
    }
    if reaching.iter().all(|login| login.tls_required) {
        return Some(format!(
            "every login for {protocol} that could is tls = \"required\", and this listener has no TLS; set tls to \
             starttls, implicit or auto"
        ));
    }
    Some(
        "it has no TLS, and plaintext_login holds nobody who may connect and log in; set tls to starttls, implicit or \
         auto, or name in plaintext_login from where a password is taken in clear"
            .into(),
    )
}

/// Whether a login whose protocol the listener speaks can be used there.
fn takes(listener: &Listener, login: &Login) -> bool {
    let reach = reach(listener, login);
    let in_clear = || match login.admission {
        Admission::Password(_) => !units::shared(&reach, &listener.plaintext_login).is_empty(),
        Admission::Address => true,
    };
    // Behind a PROXY header there may be TLS that ends at the proxy.
    let with_tls = listener.tls != ListenerTls::None || !listener.proxy_protocol.is_empty();
    !reach.is_empty() && (with_tls || (!login.tls_required && in_clear()))
}

/// A line number alone is not how the log and the other commands call a listener.
fn warn(listener: &Listener, place: &Range<usize>, what: &str, report: &mut Report<'_>) {
    report.warn_at(place.clone(), &format!("{}: {what}", listener.name));
}

/// Warns of passwords in clear that cross more than a private network, and most of all of those from everywhere.
fn check_passwords_in_clear(listener: &Listener, place: &Range<usize>, report: &mut Report<'_>) {
    if listener.tls == ListenerTls::Implicit {
        return;
    }
    let in_clear = units::shared(&listener.allow, &listener.plaintext_login);
    if in_clear.iter().any(|network| network.prefix_len() == 0) {
        let what = "passwords are taken in clear from the whole Internet, and whoever is on their way can read them; name \
                    in plaintext_login, or in allow, the networks that the devices are in";
        return warn(listener, place, what, report);
    }
    let public: Vec<_> = in_clear.iter().filter(|network| !units::is_private(network)).collect();
    if let Some(network) = public.first() {
        let what = format!(
            "passwords are taken in clear from {network}, which is not a private network; whoever is on their way can \
             read them"
        );
        warn(listener, place, &what, report);
    } else if listener.tls == ListenerTls::None
        && !units::within(&in_clear, &units::loopback())
        && !is_reached_from_this_machine_alone(listener)
    {
        let what = "passwords cross the network in clear: tls is \"none\"; with \"auto\" whoever can may use TLS";
        warn(listener, place, what, report);
    }
}

/// Whether nothing but programs of this machine connects, proxies among them: what clients of a proxy send it in clear, if
/// anything, is between these two.
fn is_reached_from_this_machine_alone(listener: &Listener) -> bool {
    listener.bind.iter().all(|bind| bind.ip().is_loopback())
        && units::within(&listener.proxy_protocol, &units::loopback())
}

/// Warns of proxies that anybody could be, and of what is believed because a proxy says it.
fn check_proxies(config: &Config, listener: &Listener, place: &Range<usize>, report: &mut Report<'_>) {
    let proxies = &listener.proxy_protocol;
    if proxies.is_empty() {
        return;
    }
    let meets = |proxy: &&IpNet| !units::shared(&[**proxy], &listener.allow).is_empty();
    let (own, others): (Vec<_>, Vec<_>) =
        proxies.iter().partition(|proxy| units::within(&[**proxy], &units::loopback()));
    if units::within(&listener.allow, proxies) {
        let what =
            "allow holds nobody but the proxies of proxy_protocol; it is asked about the clients that they speak for";
        warn(listener, place, what, report);
    } else if let Some(network) = others
        .iter()
        .filter(|proxy| !units::is_single(proxy))
        .find(|proxy| meets(proxy))
    {
        let what = format!(
            "clients of allow are in {network} of proxy_protocol, and whoever is in that may claim to be at any address; \
             name the proxies' own addresses there"
        );
        warn(listener, place, &what, report);
    }
    let logins = || logins_for(config, listener.protocol);
    let by_claim = |login: &&Login| {
        login.admission == Admission::Address && !units::within(&reach(listener, login), &units::loopback())
    };
    if let Some(login) = logins().find(by_claim).filter(|_| !own.is_empty()) {
        let what = format!(
            "this machine is in proxy_protocol, so each of its users may claim the address that lets {:?} in without a \
             password; take that login's networks out of allow here, or let nobody else use this machine",
            login.username
        );
        warn(listener, place, &what, report);
    }
    // Where TLS is from the first octet, it is with us, whatever a proxy says.
    let by_word = |login: &&Login| login.tls_required && !reach(listener, login).is_empty();
    if listener.tls != ListenerTls::Implicit
        && !others.is_empty()
        && let Some(login) = logins().find(by_word)
    {
        let what = format!(
            "the login {:?} is tls = \"required\", and a proxy on another machine is believed that a client has TLS: what \
             the proxy decrypts crosses the network in clear. Have it pass TLS through, with tls = \"implicit\" here; or \
             see that nobody else is on that network",
            login.username
        );
        warn(listener, place, &what, report);
    }
}

/// Warns of a door that is open to everybody and at which an address is enough.
fn check_whole_internet(config: &Config, listener: &Listener, place: &Range<usize>, report: &mut Report<'_>) {
    let allowed = IpNet::aggregate(&listener.allow);
    if !allowed.iter().any(|network| network.prefix_len() == 0) {
        return;
    }
    let mut logins = logins_for(config, listener.protocol);
    if let Some(login) = logins.find(|login| login.admission == Admission::Address && takes(listener, login)) {
        let what = format!(
            "everybody may connect, and an address is enough for the login {:?}: where a router, Docker or a tunnel forwards \
             connections, strangers come with an address of your own network. Name in allow the networks that devices are in",
            login.username
        );
        warn(listener, place, &what, report);
    }
}

/// Warns of logins that may send to the whole world without a password.
fn check_recipients(config: &Config, report: &mut Report<'_>) {
    for account in &config.accounts {
        let open = |login: &&Login| login.admission == Admission::Address && login.mail.recipients.is_none();
        for login in account.logins.iter().filter(open) {
            let rate = login.mail.rate.map_or_else(String::new, |rate| {
                format!(", {} messages in {}", rate.messages, units::show_duration(rate.within))
            });
            report.warn(format!(
                "the login {:?} of {} may write to the whole world without a password{rate}; name in its recipients whom it \
                 writes to, as in [\"@contoso.com\"]",
                login.username, account.address
            ));
        }
    }
}

/// The logins that can use a protocol as far as their accounts are concerned.
fn logins_for(config: &Config, protocol: Protocol) -> impl Iterator<Item = &Login> {
    let accounts = config
        .accounts
        .iter()
        .filter(move |account| account.app.provider.server(protocol).is_some());
    accounts
        .flat_map(|account| &account.logins)
        .filter(move |login| login.protocols.contains(&protocol))
}

fn can_be_used(login: &Login, account: &Account, config: &Config) -> bool {
    let usable = |protocol| login.protocols.contains(&protocol) && account.app.provider.server(protocol).is_some();
    let mut listeners = config.listeners.iter().filter(|listener| usable(listener.protocol));
    listeners.any(|listener| takes(listener, login))
}
