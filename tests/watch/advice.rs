//! The line to change, where another one would not help, or would let in who should not be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailferry::config::Protocol;

use super::Stage;
use super::common::{Answer, Client, PASSWORD, Wanted, login_table};

/// A login that its address opens, at this one.
fn plotter(network: &str) -> Wanted {
    let login = "[[account.login]]\nusername = \"plotter\"\nwithout_password = true\nprotocols = [\"smtp\"]";
    Wanted { tables: format!("{login}\nnetworks = [\"{network}\"]\n"), ..Wanted::brisk() }
}

#[tokio::test]
async fn who_types_a_password_for_a_login_that_has_none_is_told_so_wherever_it_stands() {
    for network in ["127.0.0.1", "192.168.7.20"] {
        let stage = Stage::set(plotter(network)).await;
        let mut watching = stage.watch(&[]).await;
        let mut device = stage.device(Protocol::Smtp).await;
        assert_ne!(device.log_in(Protocol::Smtp, "plotter", PASSWORD).await, Answer::Accepted);
        drop(device);
        let advice = watching.says(" ** ").await;
        assert!(advice.contains("** the login plotter has no password"), "{advice}");
        assert!(!advice.contains("networks ="), "it would open the login to whoever is there: {advice}");
    }
}

/// A guesser is not to be let in, and a device that has the right password is.
#[tokio::test]
async fn the_line_that_lets_an_address_in_is_for_who_has_the_password() {
    let far = login_table("copier", PASSWORD.as_bytes(), "networks = [\"192.168.7.20\"]");
    let mut stage = Stage::set(Wanted { tables: far, ..Wanted::brisk() }).await;
    let mut watching = stage.watch(&[]).await;
    let mut told = Vec::new();
    for password in ["a guess", PASSWORD] {
        let mut device = stage.device(Protocol::Smtp).await;
        told.push(device.log_in(Protocol::Smtp, "copier", password).await);
        drop(device);
        let advice = watching.says(" ** ").await;
        let is_right = password == PASSWORD;
        assert_eq!(advice.contains("networks = [\"192.168.7.20/32\", \"127.0.0.1/32\"]"), is_right, "{advice}");
        let verdict =
            if is_right { "the password is right, and this login is not" } else { "the password is not that of" };
        assert!(advice.contains(verdict) && advice.contains("is not for this address"), "{advice}");
        let line = stage.gateway.says("login failed: ").await;
        let (reason, detail) = match is_right {
            true => ("reason=Misplaced", "the password is right, but the login is not for this address"),
            false => ("reason=Credentials", "wrong user name or password"),
        };
        assert!(line.contains(reason) && line.contains(detail), "{line}");
    }
    assert_eq!(told[0], told[1], "the client learns nothing");
}

#[tokio::test]
async fn who_asks_to_act_as_another_is_told_that_and_nothing_of_its_password() {
    let stage = Stage::set(Wanted::brisk()).await;
    let mut watching = stage.watch(&[]).await;
    let mut device = stage.device(Protocol::Smtp).await;
    let response = STANDARD.encode(format!("boss\0scanner\0{PASSWORD}"));
    assert!(device.ask(&format!("AUTH PLAIN {response}")).await.starts_with("535 "));
    drop(device);
    let advice = watching.says(" ** ").await;
    assert!(advice.contains("the device asks to act as another"), "{advice}");
}

#[tokio::test]
async fn a_proxy_that_names_nobody_is_told_to_name_the_device() {
    let keys = "proxy_protocol = [\"127.0.0.1\"]\nallow = [\"192.168.7.0/24\"]\nplaintext_login = [\"192.168.7.0/24\"]";
    let stage = Stage::set(Wanted { listener_keys: keys.into(), ..Wanted::default() }).await;
    let mut watching = stage.watch(&[]).await;
    for (protocol, command) in [
        (Protocol::Smtp, "AUTH LOGIN"),
        (Protocol::Smtp, "MAIL FROM:<scanner@contoso.example>"),
        (Protocol::Imap, "a LOGIN scanner x"),
        (Protocol::Pop3, "USER scanner"),
    ] {
        let at = Protocol::ALL.into_iter().position(|one| one == protocol).unwrap();
        let mut device = Client::connect(stage.addresses[at]).await;
        device.say("PROXY UNKNOWN").await;
        device.line().await;
        device.ask(command).await;
        drop(device);
        watching
            .says("-- the PROXY header of 127.0.0.1 names nobody who may log in")
            .await;
        let advice = watching.says(" ** ").await;
        assert!(advice.contains("have the proxy send the device's address"), "{command}: {advice}");
    }
}

#[tokio::test]
async fn a_device_that_misses_starttls_is_told_how_to_get_it() {
    let stage = Stage::set(Wanted::default()).await;
    let mut watching = stage.watch(&[]).await;
    for (protocol, commands) in [
        (Protocol::Smtp, ["EHLO device", "STARTTLS"]),
        (Protocol::Imap, ["a NOOP", "b STARTTLS"]),
        (Protocol::Pop3, ["NOOP", "STLS"]),
        // Some leave without a word once they see that it is missing.
        (Protocol::Smtp, ["HELO device", "QUIT"]),
    ] {
        let mut device = stage.device(protocol).await;
        for command in commands {
            device.ask(command).await;
        }
        drop(device);
        let advice = watching.says(" ** ").await;
        let line = format!("STARTTLS: in [[listener]] name = \"{protocol}\" set tls = \"auto\"");
        assert!(advice.contains(&line), "{commands:?}: {advice}");
    }
}

#[tokio::test]
async fn what_speaks_another_language_is_named() {
    let stage = Stage::set(Wanted::default()).await;
    let mut watching = stage.watch(&[]).await;
    for (says, advised) in [
        (
            &b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 587\r\n"[..],
            "if 127.0.0.1 is your proxy, in [[listener]] name = \"smtp\" set proxy_protocol = [\"127.0.0.1/32\"]",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x02\x4b",
            "it begins with a PROXY header",
        ),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "it speaks HTTP"),
    ] {
        let mut device = stage.device(Protocol::Smtp).await;
        device.send(says).await;
        device.line().await;
        drop(device);
        let advice = watching.says(" ** ").await;
        assert!(advice.contains(advised), "{advice}");
    }
}
