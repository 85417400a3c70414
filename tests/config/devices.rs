//! What is said about a bad file: the keys for devices and networks.

use super::{assert_fault, parse, with, with_end, with_top};

#[test]
fn proxies() {
    const RIGHT: &str =
        "it must be as in \"http://proxy.example:3128\", or \"http://user:password@proxy.example:3128\"";
    for (proxy, fault) in [
        ("\"proxy.example\"", format!("no URL; {RIGHT}")),
        (
            "\"https://me:proxy-pass@proxy.example\"",
            format!("must begin with http://: the connection to the proxy itself is in clear; {RIGHT}"),
        ),
        ("\"http://me:proxy-pass@proxy.example/x\"", format!("must end with the port; {RIGHT}")),
        ("{ env = \"NONE\" }", "the variable NONE is not set".to_owned()),
    ] {
        assert_fault(&with_top(&format!("[upstream]\nproxy = {proxy}\n")), &format!("2:9: upstream.proxy: {fault}"));
    }
    assert_fault(&with_top("[upstream]\nproxies = 1\n"), "2:1: upstream.proxies: unknown key; known here: proxy");
}

#[test]
fn sizes() {
    const RIGHT: &str =
        "a whole number of octets, or a text of a whole number and KB, MB, GB, KiB, MiB or GiB, as in \"25MB\"";
    for (size, fault) in [
        ("\"25 MB\"", format!("no size; it must be {RIGHT}")),
        ("-1", format!("no size; it must be {RIGHT}")),
        ("999", "must be 1KB to 100GB".to_owned()),
        ("\"101GB\"", "must be 1KB to 100GB".to_owned()),
        ("true", format!("must be {RIGHT}, not a boolean")),
    ] {
        let text = with("app = \"contoso\"", &format!("app = \"contoso\"\nmax_message = {size}"));
        assert_fault(&text, &format!("14:15: account.max_message: {fault}"));
    }
}

#[test]
fn what_a_login_may_send() {
    const ADDRESS: &str = "no address; it must be as in \"it@contoso.com\"";
    const RECIPIENT: &str =
        "no recipient; it must be an address, as in \"it@contoso.com\", or all of a domain, as in \"@contoso.com\"";
    const NAME: &str = "no name; it must be 1 to 128 octets without control characters";
    const FORCE: &str = "changes the header, which only sender = \"force\" does; set that, or leave this out";
    let long_name = format!("sender = \"force\"\nfrom_name = \"{}\"", "a".repeat(129));
    for (lines, fault) in [
        (
            "rate = \"60\"",
            "16:8: account.login.rate: no rate; it must be a whole number of messages, a slash and s, m, h or d, as \
             in \"60/h\""
                .to_owned(),
        ),
        ("rate = \"0/h\"", "16:8: account.login.rate: must be 1 to 1000000 messages".to_owned()),
        ("rate = 60", "16:8: account.login.rate: must be a string, not an integer".to_owned()),
        (
            "recipients = []",
            "16:14: account.login.recipients: must not be empty: it could write to nobody; leave it out to allow any \
             recipient"
                .to_owned(),
        ),
        ("recipients = [\"@a.example\", \"b.example\"]", format!("16:29: account.login.recipients: {RECIPIENT}")),
        ("recipients = [\"@\"]", format!("16:15: account.login.recipients: {RECIPIENT}")),
        ("recipients = [\"<a@b.example>\"]", format!("16:15: account.login.recipients: {RECIPIENT}")),
        (
            "sender = \"rewrite\"",
            "16:10: account.login.sender: \"rewrite\" is not known here; known: keep, envelope, force".to_owned(),
        ),
        ("from_name = \"Scanner\"", format!("16:13: account.login.from_name: {FORCE}")),
        ("sender = \"envelope\"\nreply_to = \"it@contoso.com\"", format!("17:12: account.login.reply_to: {FORCE}")),
        ("sender = \"force\"\nreply_to = \"it\"", format!("17:12: account.login.reply_to: {ADDRESS}")),
        ("sender = \"force\"\nreply_to = \"it@a.example, x@b\"", format!("17:12: account.login.reply_to: {ADDRESS}")),
        ("sender = \"force\"\nfrom_name = \" \"", format!("17:13: account.login.from_name: {NAME}")),
        ("sender = \"force\"\nfrom_name = \"a\\r\\nBcc: x\"", format!("17:13: account.login.from_name: {NAME}")),
        (&long_name, format!("17:13: account.login.from_name: {NAME}")),
        (
            "lone_lf_ends_message = \"yes\"",
            "16:24: account.login.lone_lf_ends_message: must be a boolean, not a string".to_owned(),
        ),
    ] {
        assert_fault(&with_end(lines), &fault);
    }
    let text = with_end("sender = \"force\"").replace("Scanner@contoso.com", "a>b@contoso.com");
    assert_fault(&text, "16:10: account.login.sender: must be \"keep\": a>b@contoso.com cannot be written as a sender");
}

#[test]
fn rules_for_mail_are_for_logins_that_send() {
    let reader = "[[listener]]\nprotocol = \"imap\"\nbind = \"127.0.0.1:1143\"\n\
                  [[account.login]]\npassword_hash = \"HASH\"\nprotocols = [\"imap\"]\n";
    assert!(parse(&with_end(reader)).is_ok());
    for (line, key, column) in [
        ("rate = \"1/h\"", "rate", 8),
        ("recipients = [\"@contoso.com\"]", "recipients", 14),
        ("sender = \"keep\"", "sender", 10),
        ("lone_lf_ends_message = true", "lone_lf_ends_message", 24),
    ] {
        assert_fault(
            &with_end(&format!("{reader}{line}")),
            &format!(
                "22:{column}: account.login.{key}: is about mail that is sent, and this login may not speak smtp; \
                 leave it out, or add smtp to protocols"
            ),
        );
    }
}

/// The smallest file with a login without a password, from line 15 on.
fn by_address(lines: &str) -> String {
    with("password_hash = \"HASH\"", &format!("without_password = true\n{lines}"))
}

#[test]
fn what_a_login_without_a_password_needs() {
    const RIGHT: &str = "it must name the devices that are let in without a password, as in [\"192.168.7.20\"]";
    for (lines, fault) in [
        ("", format!("14:1: account.login.networks: missing; {RIGHT}")),
        ("networks = []", format!("16:12: account.login.networks: must not be empty; {RIGHT}")),
        (
            "networks = [\"127.0.0.1\"]\npassword_hash = \"HASH\"",
            "17:17: account.login.password_hash: a login has either a password_hash or without_password = true, not \
             both"
                .to_owned(),
        ),
        (
            "networks = [\"127.0.0.1\"]\nprotocols = [\"smtp\", \"imap\"]",
            "17:13: account.login.protocols: a login without a password can speak smtp only; leave protocols out"
                .to_owned(),
        ),
        (
            "networks = [\"office\"]",
            "16:13: account.login.networks: no network; it must be an address or a network, as in \"192.168.7.0/24\""
                .to_owned(),
        ),
        (
            "networks = [\"127.0.0.1\", \"127.0.0.1/32\"]",
            "16:26: account.login.networks: 127.0.0.1/32 is in this list twice".to_owned(),
        ),
    ] {
        assert_fault(&by_address(lines), &fault);
    }
    assert_fault(
        &by_address("networks = [\"127.0.0.1\"]").replace("= true", "= false"),
        "14:1: account.login.password_hash: missing; it must be what `mailferry passwd` prints",
    );
}

#[test]
fn wide_and_public_networks_need_passwords() {
    for network in ["10.0.0.0/8", "172.16.0.0/15", "127.0.0.0/8"] {
        assert_fault(
            &by_address(&format!("networks = [\"{network}\"]")),
            &format!(
                "16:13: account.login.networks: {network} is too wide to be let in without a password; it must be a \
                 /16 or narrower"
            ),
        );
    }
    for network in ["100.64.0.0/10", "100.64.8.0/23"] {
        assert_fault(
            &by_address(&format!("networks = [\"{network}\"]")),
            &format!(
                "16:13: account.login.networks: {network} is too wide to be let in without a password; it must be a \
                 /24 or narrower, since a provider's other customers may be in 100.64.0.0/10 too"
            ),
        );
    }
    for network in ["169.254.0.0/16", "169.254.3.4/32", "fe80::/64", "fe80::1/128"] {
        assert_fault(
            &by_address(&format!("networks = [\"{network}\"]")),
            &format!(
                "16:13: account.login.networks: {network} is link-local: on another link it may be anybody's, so it \
                 lets nobody in without a password; give the device an address of the network it is in"
            ),
        );
    }
    assert_fault(
        &by_address("networks = [\"fd00::/47\"]"),
        "16:13: account.login.networks: fd00::/47 is too wide to be let in without a password; it must be a /48 or \
         narrower",
    );
    for network in ["0.0.0.0/0", "203.0.113.5/32", "172.32.0.0/16", "100.128.0.0/16", "2001:db8::1/128", "::/0"] {
        assert_fault(
            &by_address(&format!("networks = [\"{network}\"]")),
            &format!(
                "16:13: account.login.networks: {network} is not private: whoever is there could send without a \
                 password; it must lie in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, \
                 127.0.0.0/8, fc00::/7 and ::1"
            ),
        );
    }
}

#[test]
fn an_address_stands_for_one_login() {
    let first = by_address("networks = [\"127.0.0.1\"]");
    let taken = |username: &str, address: &str| {
        format!(
            "account.login.networks: 127.0.0.1/32 is the login \"{username}\" of {address} already, and nobody could \
             say whose mail it would be; name narrower networks: the narrowest that fits is taken"
        )
    };
    let of_same = "[[account.login]]\nwithout_password = true\nnetworks = [\"127.0.0.2\", \"::ffff:127.0.0.1\"]";
    assert_fault(
        &format!("{first}{of_same}"),
        &format!("19:26: {}", taken("scanner@contoso.com", "Scanner@contoso.com")),
    );
    let of_other = "[[account]]\naddress = \"b@contoso.com\"\napp = \"contoso\"\n\
                    [[account.login]]\nwithout_password = true\nnetworks = [\"127.0.0.1\"]";
    assert_fault(
        &format!("{first}{of_other}"),
        &format!("22:13: {}", taken("scanner@contoso.com", "Scanner@contoso.com")),
    );
    let label = of_other
        .replace("127.0.0.1", "127.0.0.2")
        .replace("without", "username = \"Scanner@contoso.com\"\nwithout");
    assert_fault(
        &format!("{first}{label}"),
        "21:12: account.login.username: \"scanner@contoso.com\" opens Scanner@contoso.com already; a user name opens \
         one account",
    );
    let longer = of_other.replace("127.0.0.1", "127.0.0.0/24");
    assert!(parse(&format!("{first}{longer}")).is_ok(), "the narrower one is taken");
}

#[test]
fn nobody_could_log_in() {
    let listener = |lines: &str| with("bind = \"127.0.0.1:1587\"", &format!("bind = \"192.168.7.1:587\"\n{lines}"));
    let login = |lines: &str, login: &str| listener(lines) + login;
    const TLS: &str = "it has no TLS, and plaintext_login holds nobody who may connect and log in; set tls to \
                       starttls, implicit or auto, or name in plaintext_login from where a password is taken in clear";
    const REQUIRED: &str = "every login for smtp that could is tls = \"required\", and this listener has no TLS; set \
                            tls to starttls, implicit or auto";
    const NETWORKS: &str = "no login for smtp may be used from the networks in allow; widen allow, or the networks of \
                            a login";
    let lan = "allow = [\"192.168.7.0/24\"]";
    let lan_in_clear = format!("{lan}\ntls = \"none\"\nplaintext_login = [\"192.168.7.0/25\"]");
    for (text, fault) in [
        (with("bind =", "plaintext_login = []\nbind ="), TLS),
        (listener(&format!("{lan}\ntls = \"none\"")), TLS),
        (login(&lan_in_clear, "networks = [\"192.168.7.128/25\"]"), TLS),
        (with_end("tls = \"required\""), REQUIRED),
        (login(&lan_in_clear, "tls = \"required\""), REQUIRED),
        (login(lan, "networks = [\"10.0.0.0/8\"]"), NETWORKS),
        (by_address("networks = [\"192.168.7.20\"]"), NETWORKS),
        (by_address("networks = [\"127.0.0.1\"]\ntls = \"required\""), REQUIRED),
    ] {
        assert_fault(&text, &format!("2:1: listener: nobody could ever log in here: {fault}"));
    }
    for text in [
        listener(lan),
        listener(&format!("{lan}\nplaintext_login = []")),
        login(&lan_in_clear, "networks = [\"192.168.7.0/24\"]"),
        login(lan, "tls = \"required\"\nnetworks = [\"192.168.0.0/16\"]"),
        // No password is needed, and so it does not matter from where one is taken.
        by_address("networks = [\"127.0.0.1\"]").replace("bind =", "plaintext_login = []\nbind ="),
        // The proxy may have had TLS.
        with_end("tls = \"required\"").replace("bind =", "proxy_protocol = [\"127.0.0.1\"]\nbind ="),
    ] {
        assert!(parse(&text).is_ok(), "{text}: {:?}", parse(&text));
    }
}

#[test]
fn passwords_in_clear_from_everywhere_are_warned_of() {
    let wide = |allow: &str, from: &str| {
        with("bind = \"127.0.0.1:1587\"", &format!("bind = \"[::]:587\"\nallow = {allow}\nplaintext_login = {from}"))
    };
    for (allow, from) in [
        ("[\"0.0.0.0/0\"]", "[\"0.0.0.0/0\"]"),
        ("[\"::/0\", \"10.0.0.0/8\"]", "[\"::/0\"]"),
        ("[\"0.0.0.0/0\"]", "[\"0.0.0.0/1\", \"128.0.0.0/1\"]"),
    ] {
        let warnings = parse(&wide(allow, from)).unwrap().warnings;
        assert!(
            warnings
                .iter()
                .any(|warning| warning.contains("from the whole Internet") && warning.contains("plaintext_login")),
            "{warnings:?}"
        );
    }
    assert!(parse(&wide("[\"0.0.0.0/0\", \"::/0\"]", "[\"10.0.0.0/8\"]")).is_ok());
    assert!(parse(&wide("[\"::/0\"]", "[\"::/0\"]").replace("bind =", "tls = \"implicit\"\nbind =")).is_ok());
}

/// A listener for clients of 192.168.7.0/24 behind these proxies, and a login with these lines.
fn behind(proxies: &str, login: &str) -> String {
    let keys = format!("bind = \"192.168.7.1:587\"\nallow = [\"192.168.7.0/24\"]\nproxy_protocol = [{proxies}]");
    with("bind = \"127.0.0.1:1587\"", &keys) + login + "\n"
}

#[test]
fn proxies_are_few_and_private() {
    const CLAIM: &str = "whoever is there may claim to be at any address";
    for (network, fault) in [
        ("0.0.0.0/0", format!("is not private, and {CLAIM}; name the proxies' own addresses, each by itself")),
        ("203.0.113.0/24", format!("is not private, and {CLAIM}; name the proxies' own addresses, each by itself")),
        ("2001:db8::/64", format!("is not private, and {CLAIM}; name the proxies' own addresses, each by itself")),
        (
            "192.168.0.0/16",
            format!(
                "is too wide: {CLAIM}; name the proxies' own addresses, or networks of at most /24 that hold proxies \
                 alone. There may be several"
            ),
        ),
        (
            "10.0.0.0/23",
            format!(
                "is too wide: {CLAIM}; name the proxies' own addresses, or networks of at most /24 that hold proxies \
                 alone. There may be several"
            ),
        ),
        (
            "fd00::/63",
            format!(
                "is too wide: {CLAIM}; name the proxies' own addresses, or networks of at most /64 that hold proxies \
                 alone. There may be several"
            ),
        ),
        (
            "fe80::1/128",
            format!(
                "is link-local: on another link it may be anybody's, and {CLAIM}; name the proxy's address of the \
                 network it is in"
            ),
        ),
    ] {
        let text = behind(&format!("\"{network}\""), "");
        assert_fault(&text, &format!("6:19: listener.proxy_protocol: {network} {fault}"));
    }
    for fine in ["10.0.0.0/24", "fd00::/64", "203.0.113.5", "2001:db8::5", "100.64.1.0/24", "127.0.0.0/8", "::1"] {
        let config = parse(&behind(&format!("\"{fine}\""), "")).unwrap();
        assert_eq!(config.warnings, Vec::<String>::new(), "{fine}");
    }
}

/// What is said at the listener, without its place.
fn remarks(text: &str) -> Vec<String> {
    let warnings = parse(text).unwrap().warnings;
    let place = "/nowhere/m.toml:2: listener: smtp-587: ";
    warnings
        .into_iter()
        .map(|warning| warning.strip_prefix(place).map_or_else(|| warning.clone(), str::to_owned))
        .collect()
}

#[test]
fn what_a_proxy_could_claim_is_warned_of() {
    const PLOTTER: &str = "[[account.login]]\nusername = \"plotter\"\nwithout_password = true\n\
                           networks = [\"192.168.7.20\"]\nrecipients = [\"@contoso.com\"]";
    let overlap = "clients of allow are in 192.168.7.0/24 of proxy_protocol, and whoever is in that may claim to be at \
                   any address; name the proxies' own addresses there";
    let text = behind("\"192.168.7.0/24\"", "").replace("allow = [", "allow = [\"10.0.0.0/8\", ");
    assert_eq!(remarks(&text), [overlap]);
    assert!(remarks(&behind("\"192.168.7.5\"", "")).is_empty(), "nobody else has that address");

    let this_machine = "this machine is in proxy_protocol, so each of its users may claim the address that lets \
                        \"plotter\" in without a password; take that login's networks out of allow here, or let nobody \
                        else use this machine";
    for proxies in ["\"127.0.0.1\"", "\"10.0.0.5\", \"::1\""] {
        assert_eq!(remarks(&behind(proxies, PLOTTER)), [this_machine], "{proxies}");
    }
    assert!(remarks(&behind("\"10.0.0.5\"", PLOTTER)).is_empty(), "another machine");
    let elsewhere = PLOTTER.replace("192.168.7.20", "127.0.0.1");
    let text = behind("\"127.0.0.1\"", &elsewhere).replace("allow = [", "allow = [\"127.0.0.1\", ");
    assert!(remarks(&text).is_empty(), "whoever is on this machine has that address anyway");

    let required = "the login \"scanner@contoso.com\" is tls = \"required\", and a proxy on another machine is believed \
                    that a client has TLS: what the proxy decrypts crosses the network in clear. Have it pass TLS \
                    through, with tls = \"implicit\" here; or see that nobody else is on that network";
    let text = behind("\"10.0.0.5\"", "tls = \"required\"");
    assert_eq!(remarks(&text), [required]);
    assert!(remarks(&text.replace("bind =", "tls = \"implicit\"\nbind =")).is_empty(), "that is with us");
    assert!(remarks(&behind("\"127.0.0.1\"", "tls = \"required\"")).is_empty(), "no network is between");
}

#[test]
fn what_an_address_alone_may_do_is_warned_of() {
    let open = "networks = [\"127.0.0.1\"]";
    let world = "the login \"scanner@contoso.com\" of Scanner@contoso.com may write to the whole world without a \
                 password, 60 messages in 1h; name in its recipients whom it writes to, as in [\"@contoso.com\"]";
    assert_eq!(remarks(&by_address(open)), [world]);
    let text = by_address(&format!("{open}\nrecipients = [\"it@contoso.com\"]"));
    assert!(remarks(&text).is_empty());

    let everybody = "everybody may connect, and an address is enough for the login \"scanner@contoso.com\": where a \
                     router, Docker or a tunnel forwards connections, strangers come with an address of your own network. \
                     Name in allow the networks that devices are in";
    for allow in ["\"0.0.0.0/0\"", "\"::/0\", \"127.0.0.1\"", "\"0.0.0.0/1\", \"128.0.0.0/1\""] {
        let wide = format!("bind = \"0.0.0.0:587\"\nallow = [{allow}]");
        let text = text.replace("bind = \"127.0.0.1:1587\"", &wide);
        assert_eq!(remarks(&text), [everybody], "{allow}");
    }
    let wide = "bind = \"0.0.0.0:587\"\nallow = [\"0.0.0.0/0\"]";
    assert!(remarks(&with("bind = \"127.0.0.1:1587\"", wide)).is_empty(), "a password is asked");
}
