use super::*;

fn listener(tls: ListenerTls) -> Listener {
    let network = |text: &str| text.parse().unwrap();
    Listener {
        name: "office".into(),
        protocol: Protocol::Smtp,
        bind: Vec::new(),
        allow: vec![network("127.0.0.0/8")],
        plaintext_login: Vec::new(),
        tls,
        certificate: None,
        proxy_protocol: Vec::new(),
    }
}

#[test]
fn each_clue_has_the_line_to_change() {
    let login = || "scanner".to_owned();
    let rows = [
        (
            Clue::NotAllowed,
            "if this is your device, in [[listener]] name = \"office\" set allow = [\"127.0.0.0/8\", \"192.168.7.20/32\"]",
        ),
        (Clue::TooManySessions, "sessions_per_address"),
        (Clue::NoProxyHeader, "192.168.7.20 stands in proxy_protocol"),
        (Clue::ProxyNamesNobody, "the PROXY header of 192.168.7.20 names no client"),
        (Clue::SaidNothing, "said nothing"),
        (Clue::OnlyAsked, "no login offered in the clear: in [[listener]] name = \"office\" set tls = \"auto\""),
        (Clue::StartTlsMissing, "the device wants STARTTLS: in [[listener]] name = \"office\" set tls = \"auto\""),
        (
            Clue::StrayProxyHeader,
            "if 192.168.7.20 is your proxy, in [[listener]] name = \"office\" set proxy_protocol = [\"192.168.7.20/32\"]",
        ),
        (Clue::Http, "it speaks HTTP"),
        (Clue::TlsHello, "in [[listener]] name = \"office\" set tls = \"auto\""),
        (Clue::TlsFailed { why: "too old", cure: "Update it" }, "too old. Update it"),
        (Clue::PlaintextForbidden, "or in [[listener]] name = \"office\" set plaintext_login = [\"192.168.7.20/32\"]"),
        (Clue::Mechanism, "LOGIN or PLAIN"),
        (Clue::NoLogin, "without_password = true, protocols = [\"smtp\"] and networks = [\"192.168.7.20/32\"]"),
        (Clue::UnknownName, "`mailferry login list`"),
        (
            Clue::WrongProtocol { login: login(), protocols: vec![Protocol::Imap] },
            "if this is your device, in [[account.login]] username = \"scanner\" set protocols = [\"imap\", \"smtp\"]; if it is \
             not, its password is known to somebody: make a new one with `mailferry login rotate`",
        ),
        (
            Clue::WrongNetwork { login: login(), networks: vec!["10.0.0.0/8".parse().unwrap()] },
            "if this is your device, in [[account.login]] username = \"scanner\" set networks = [\"10.0.0.0/8\", \
             \"192.168.7.20/32\"]; if it is not, its password is known to somebody: make a new one with `mailferry login rotate`",
        ),
        (Clue::TlsRequired { login: login() }, "tls = \"required\""),
        (Clue::WrongPassword { login: login(), besides: None }, "not that of scanner: type it into the device again"),
        (
            Clue::WrongPassword { login: login(), besides: Some(Obstacle::Network) },
            "not that of scanner (and with the right one it would not be let in: the login is not for this address): type it",
        ),
        (Clue::ActsAsAnother, "asks to act as another"),
        (Clue::Replaced { login: login() }, "scanner has a newer one"),
        (Clue::Unserved("there is none".into()), "the password is right, and there is none"),
        (Clue::NoPassword { login: login() }, "the login scanner has no password"),
        (Clue::NotChecked("too many failed logins".into()), "too many failed logins; correct it in the device"),
        (Clue::LoginFailed("Renew the secret".into()), "Renew the secret"),
        (Clue::AddressFailed("Sign in".into()), "the address opens a login, and what it wants failed: Sign in"),
        (Clue::LoggedIn, ""),
        (Clue::RateExceeded { login: login() }, "username = \"scanner\" set a higher rate"),
        (Clue::HeldBack { login: login() }, "scanner is refused here for a while"),
        (Clue::RecipientDenied { login: login() }, "username = \"scanner\" set recipients"),
        (Clue::TooLarge { account: "a@b.example".into() }, "max_message in [[account]] address = \"a@b.example\""),
        (
            Clue::HeaderTooLong { login: login() },
            "take sender = \"force\" out of [[account.login]] username = \"scanner\"",
        ),
        (Clue::SenderDenied { login: login() }, "username = \"scanner\" set sender = \"force\""),
        (Clue::Refused(Some("Empty it")), "Empty it"),
        (Clue::Refused(None), "the provider has refused it"),
        (Clue::LoneLfEnd, "lone_lf_ends_message = true"),
        (Clue::MessageAccepted, "nothing is to be changed"),
    ];
    let (plain, implicit) = (listener(ListenerTls::None), listener(ListenerTls::Implicit));
    let peer = [192, 168, 7, 20].into();
    for (clue, line) in rows {
        let advice = clue.advice(&Scene { listener: &plain, peer, under_tls: false });
        assert!(advice.contains(line) && !advice.contains('\n'), "{clue:?}: {advice}");
    }
    let advice = Clue::TlsHello.advice(&Scene { listener: &implicit, peer, under_tls: true });
    assert!(advice.ends_with("set tls = \"implicit\""), "{advice}");
    for (listener, asks_for_tls) in [(&plain, true), (&implicit, false)] {
        let advice = Clue::PlaintextForbidden.advice(&Scene { listener, peer, under_tls: false });
        let line = "name = \"office\" set tls = \"auto\" and switch on TLS in the device, or in [[listener]]";
        assert_eq!(advice.contains(line), asks_for_tls, "{advice}");
    }
}

#[test]
fn who_only_asked_what_is_offered_is_told_what_it_may_have_missed() {
    let peer = [192, 168, 7, 20].into();
    let of = |tls, in_the_clear: bool, under_tls| {
        let mut listener = listener(tls);
        if in_the_clear {
            listener.plaintext_login = vec!["192.168.7.0/24".parse().unwrap()];
        }
        Clue::OnlyAsked.advice(&Scene { listener: &listener, peer, under_tls })
    };
    let auto = "in [[listener]] name = \"office\" set tls = \"auto\"";
    let clear = "in [[listener]] name = \"office\" set plaintext_login = [\"192.168.7.20/32\"]";
    let rows = [
        (of(ListenerTls::None, false, false), true, true),
        (of(ListenerTls::None, true, false), true, false),
        (of(ListenerTls::Auto, false, false), false, true),
        (of(ListenerTls::Auto, true, false), false, false),
        (of(ListenerTls::Auto, false, true), false, false),
        (of(ListenerTls::None, false, true), false, false),
    ];
    for (advice, says_auto, says_clear) in rows {
        assert!(advice.contains("a health check, or"), "{advice}");
        assert_eq!((advice.contains(auto), advice.contains(clear)), (says_auto, says_clear), "{advice}");
    }
}
