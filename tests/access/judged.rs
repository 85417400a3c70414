//! By whose address: `allow`, `plaintext_login`, `tls`, the limits and the throttle look at whom the proxy names.

use mailferry::config::Protocol;
use tokio::task::yield_now;

use crate::common::{Answer, PASSWORD, Setup, Wanted, in_time, login_table};
use crate::{BEHIND_A_PROXY, SSL, behind_a_proxy, from, greeted, sending, v1, v2};

#[tokio::test]
async fn who_is_named_and_may_not_connect_is_closed_without_a_word() {
    let setup = Setup::with(behind_a_proxy()).await;
    for protocol in Protocol::ALL {
        for header in [v1("203.0.113.7"), v2("203.0.113.7", SSL), v1("2001:db9::1"), v2("::1", b"")] {
            let mut client = sending(setup.address(protocol), &header).await;
            assert_eq!(client.rest().await, "", "{protocol} {header:x?}");
        }
    }
    // The proxy itself need not be allowed, nor may it log in by being so.
    let keys = BEHIND_A_PROXY.replace(", \"127.0.0.0/8\"]", "]");
    let setup = Setup::with(Wanted { listener_keys: keys, ..behind_a_proxy() }).await;
    assert_eq!(
        from(&setup, "192.0.2.7")
            .await
            .log_in(Protocol::Smtp, "scanner", PASSWORD)
            .await,
        Answer::Accepted
    );
    assert_eq!(sending(setup.address(Protocol::Smtp), &v1("127.0.0.1")).await.rest().await, "");
}

#[tokio::test]
async fn without_tls_a_password_is_taken_from_where_it_may_be_and_the_proxys_word_is_tls() {
    let tables = login_table("tls-only", PASSWORD.as_bytes(), "tls = \"required\"");
    let setup = Setup::with(Wanted { tables, ..behind_a_proxy() }).await;
    let no_tls_field = [0x20, 0, 5, 0, 0, 0, 0, 0];
    for (header, offered, tls) in [
        (v1("192.0.2.7"), true, false),
        (v2("192.0.2.7", &no_tls_field), true, false),
        (v2("192.0.2.7", SSL), true, true),
        (v1("198.51.100.7"), false, false),
        (v2("198.51.100.7", &no_tls_field), false, false),
        (v2("198.51.100.7", SSL), true, true),
        (v2("2001:db8:2::7", b""), false, false),
        (v2("2001:db8:1::7", b""), true, false),
    ] {
        let mut client = greeted(&setup, Protocol::Smtp, &header).await;
        client.say("EHLO x").await;
        let offer = client.reply().await;
        assert_eq!(offer.iter().any(|line| line.contains("AUTH PLAIN")), offered, "{header:x?}");
        let answer = client.log_in(Protocol::Smtp, "tls-only", PASSWORD).await;
        match answer {
            Answer::Accepted => assert!(tls, "{header:x?}"),
            Answer::Refused(line) => {
                assert!(
                    !tls && line.starts_with(if offered { "535 5.7.8 " } else { "538 5.7.11 " }),
                    "{header:x?} {line}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_limit_per_address_is_the_named_ones_and_the_proxy_has_none() {
    let top = "[limits]\nsessions = 8\nsessions_per_address = 2".to_owned();
    let setup = Setup::with(Wanted { top, ..behind_a_proxy() }).await;
    let mut held = Vec::new();
    for source in ["192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.8", "127.0.0.1", "127.0.0.1", "127.0.0.1"] {
        held.push(from(&setup, source).await);
    }
    for source in ["192.0.2.7", "192.0.2.8"] {
        let mut surplus = sending(setup.address(Protocol::Smtp), &v1(source)).await;
        let line = surplus.line().await;
        assert!(line.starts_with("421 4.3.2 "), "{line}");
        assert_eq!(surplus.rest().await, "");
    }
    let silent = sending(setup.address(Protocol::Smtp), b"PROXY").await;
    in_time(async {
        while setup.gateway.sessions() < 8 {
            yield_now().await;
        }
    })
    .await;
    // Whoever has not said for whom it is counts against the limit over all.
    let mut surplus = sending(setup.address(Protocol::Smtp), b"").await;
    assert!(surplus.line().await.starts_with("421 4.3.2 "));
    drop(silent);
    held.remove(0);
    in_time(async {
        while setup.gateway.sessions() > 6 {
            yield_now().await;
        }
    })
    .await;
    held.push(from(&setup, "192.0.2.7").await);
}

#[tokio::test]
async fn who_guesses_behind_a_proxy_shuts_out_itself_alone() {
    let setup = Setup::with(behind_a_proxy()).await;
    let mut guesses = 0;
    while guesses < 10 {
        let mut client = from(&setup, "192.0.2.7").await;
        // Three wrong passwords end a session.
        for _ in 0..3.min(10 - guesses) {
            guesses += 1;
            let answer = client.log_in(Protocol::Smtp, "scanner", &format!("guess {guesses}")).await;
            assert!(matches!(&answer, Answer::Refused(line) if line.starts_with("535 5.7.8 ")), "{answer:?}");
        }
    }
    let before = setup.gateway.password_computations();
    let answer = from(&setup, "192.0.2.7")
        .await
        .log_in(Protocol::Smtp, "scanner", PASSWORD)
        .await;
    assert!(matches!(&answer, Answer::Refused(line) if line.starts_with("454 4.7.0 ")), "{answer:?}");
    assert_eq!(setup.gateway.password_computations(), before, "who is shut out costs nothing");
    for source in ["192.0.2.8", "2001:db8:1::7", "127.0.0.1"] {
        let answer = from(&setup, source).await.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
        assert_eq!(answer, Answer::Accepted, "{source}");
    }
}
