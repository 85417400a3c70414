//! What is said about a bad account or login.

use super::{HASH, assert_fault, parse, with, with_end};

#[test]
fn identities() {
    assert_fault(
        &with("app = \"contoso\"", "app = \"contoso\"\nidentity = { smtp = \"a b\" }"),
        "14:21: account.identity.smtp: no user; it must be printable ASCII without spaces, as in \"owner@contoso.com\"",
    );
}

#[test]
fn accounts() {
    for (part, instead, fault) in [
        (
            "\"Scanner@contoso.com\"",
            "\"scanner\"",
            "12:11: account.address: no address of printable ASCII; it must be the mailbox's address, as in \
             \"scanner@contoso.com\"",
        ),
        (
            "\"Scanner@contoso.com\"",
            "\"a@b.com\\u0001user=c@d.com\"",
            "12:11: account.address: no address of printable ASCII; it must be the mailbox's address, as in \
             \"scanner@contoso.com\"",
        ),
        ("app = \"contoso\"", "", "11:1: account.app: missing; it must be the NAME of an [app.NAME]"),
        ("app = \"contoso\"", "app = \"x\"", "13:7: account.app: no [app.x] in this file; known: contoso"),
        (
            "app = \"contoso\"",
            "app = \"contoso\"\ntenant = \"x\"",
            "13:7: account.app: an account has either an app or the keys of one, not both",
        ),
        (
            "[[account.login]]\npassword_hash = \"HASH\"",
            "",
            "11:1: account.login: missing; at least one [[account.login]] with a password_hash is needed",
        ),
    ] {
        assert_fault(&with(part, instead), fault);
    }
    assert_fault(
        &with_end(
            "[[account]]\naddress = \"scanner@CONTOSO.com\"\napp = \"contoso\"\n\
             [[account.login]]\nusername = \"b\"\npassword_hash = \"HASH\"",
        ),
        "17:11: account.address: scanner@CONTOSO.com has an [[account]] already; put both sets of logins there",
    );
}

#[test]
fn logins() {
    for (lines, fault) in [
        (
            "username = \"a\\u0001b\"",
            "16:12: account.login.username: no user name; it must be 1 to 255 octets of printable ASCII",
        ),
        (
            "username = \"\"",
            "16:12: account.login.username: no user name; it must be 1 to 255 octets of printable ASCII",
        ),
        (
            "protocols = []",
            "16:13: account.login.protocols: must not be empty; leave it out to allow smtp, imap and pop3",
        ),
        (
            "networks = [\"10.0.0.0/8\", \"office\"]",
            "16:27: account.login.networks: no network; it must be an address or a network, as in \"192.168.7.0/24\"",
        ),
        (
            "networks = []",
            "16:12: account.login.networks: must not be empty: leave it out to allow whatever the listener allows",
        ),
        (
            "route = \"sender\"",
            "16:1: account.login.route: unknown key; known here: username, password_hash, protocols, networks, tls, \
             without_password, rate, recipients, sender, from_name, reply_to, lone_lf_ends_message",
        ),
        ("tls = \"never\"", "16:7: account.login.tls: \"never\" is not known here; known: required"),
    ] {
        assert_fault(&with_end(lines), fault);
    }
    assert_fault(
        &with("password_hash = \"HASH\"", ""),
        "14:1: account.login.password_hash: missing; it must be what `mailferry passwd` prints",
    );
}

#[test]
fn a_user_name_opens_one_account() {
    let other = "[[account]]\naddress = \"b@contoso.com\"\napp = \"contoso\"\n\
                 [[account.login]]\nusername = \"SCANNER@contoso.com\"\npassword_hash = \"HASH\"";
    assert_fault(
        &with_end(other),
        "20:12: account.login.username: \"scanner@contoso.com\" opens Scanner@contoso.com already; a user name opens \
         one account",
    );
}

#[test]
fn a_user_name_has_four_passwords_at_most() {
    let more = "[[account.login]]\npassword_hash = \"HASH\"\n";
    assert_eq!(parse(&with_end(&more.repeat(3))).unwrap().accounts[0].logins.len(), 4);
    assert_fault(
        &with_end(&more.repeat(4)),
        "22:1: account.login: \"scanner@contoso.com\" occurs more than 4 times; remove passwords not used any more",
    );
}

#[test]
fn password_hashes() {
    let said = |hash: &str| match parse(&with("HASH", hash)) {
        Ok(_) => "fine".to_owned(),
        Err(faults) => {
            assert!(hash.is_empty() || !faults[0].contains(hash), "{faults:?}");
            faults[0]
                .strip_prefix("/nowhere/m.toml:15:17: account.login.password_hash: ")
                .unwrap()
                .to_owned()
        }
    };
    let costs = |m: u32, t: u32, p: u32| HASH.replace("m=19456,t=2,p=1", &format!("m={m},t={t},p={p}"));
    assert_eq!(said(&costs(65536, 10, 4)), "fine");
    for (m, t, p) in [(65537, 10, 4), (65536, 11, 4), (65536, 10, 5)] {
        assert_eq!(
            said(&costs(m, t, p)),
            "costs too much at each login; m=65536,t=10,p=4 is the most: make one with `mailferry passwd`"
        );
    }
    for bad in ["", "hunter2", "$argon2id$v=19$m=19456,t=2,p=1$!$!"] {
        assert_eq!(said(bad), "no password hash in PHC form; make one with `mailferry passwd`");
    }
    assert_eq!(
        said(&HASH.replace("argon2id", "argon2i")),
        "must be an argon2id hash; make one with `mailferry passwd`"
    );
    let cut = HASH.rsplit_once('$').unwrap().0;
    assert_eq!(said(cut), "cut off: its salt or its hash is missing; make one with `mailferry passwd`");
    for bad in [HASH.replace("v=19", "v=18"), costs(1, 2, 1), HASH.replace("p=1", "x=1")] {
        assert_eq!(
            said(&bad),
            "an argon2id hash with parameters that cannot be used; make one with `mailferry passwd`",
            "{bad}"
        );
    }
}

#[test]
fn who_can_never_meet() {
    assert_fault(
        &with("[[account.login]]", "[[account.login]]\nprotocols = [\"imap\"]"),
        "2:1: listener: nobody could ever log in here: no login is for smtp, or no provider has it",
    );
    let imap_only = "[provider.a]\ntoken_url = \"https://a.example\"\n\
                     imap = { host = \"a.example\", port = 993, tls = \"implicit\" }\n";
    let text = with("\"microsoft\"", "\"a\"").replace("tenant =", "# tenant =") + imap_only;
    assert_fault(&text, "2:1: listener: nobody could ever log in here: no login is for smtp, or no provider has it");
    let text = text.replace("[[account.login]]", "[[account.login]]\nprotocols = [\"pop3\", \"smtp\"]");
    assert_fault(
        &text,
        "15:13: account.login.protocols: this login can never be used: the provider a has no smtp or pop3",
    );
    assert_fault(
        &with_end("networks = [\"192.168.7.0/24\"]"),
        "2:1: listener: nobody could ever log in here: no login for smtp may be used from the networks in allow; widen \
         allow, or the networks of a login",
    );
    let config =
        parse(&with_end("[[account.login]]\npassword_hash = \"HASH\"\nnetworks = [\"192.168.7.0/24\"]")).unwrap();
    assert_eq!(
        config.warnings,
        ["the login \"scanner@contoso.com\" of Scanner@contoso.com cannot be used: no listener takes its protocols \
          from its networks"]
    );
}
