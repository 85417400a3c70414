//! The PROXY header itself: who may send it, who must, and what becomes of who does not.

use std::time::Duration;

use mailferry::config::Protocol;

use crate::common::{Answer, Client, PASSWORD, Setup, Wanted, let_pass, login_table};
use crate::{SSL, behind_a_proxy, command, from, greeted, sending, v1, v2};

/// A login for one address alone.
fn bound(networks: &str) -> Wanted {
    let tables = login_table("bound", PASSWORD.as_bytes(), &format!("networks = [{networks}]"));
    Wanted { tables, ..behind_a_proxy() }
}

#[tokio::test]
async fn the_client_that_a_proxy_names_is_the_one_who_logs_in() {
    let setup = Setup::with(bound("\"192.0.2.7\", \"2001:db8:1::7\"")).await;
    for (number, protocol) in Protocol::ALL.into_iter().enumerate() {
        for header in [
            v1("192.0.2.7"),
            v2("192.0.2.7", b""),
            v2("192.0.2.7", SSL),
            v1("2001:db8:1::7"),
            v2("2001:db8:1::7", b""),
            v1("::ffff:192.0.2.7"),
            v2("::ffff:192.0.2.7", b""),
        ] {
            let mut client = greeted(&setup, protocol, &header).await;
            assert_eq!(client.log_in(protocol, "bound", PASSWORD).await, Answer::Accepted, "{protocol} {header:x?}");
        }
        // Other ones each time: from the same one, the same password would have to wait.
        for header in [v1(&format!("192.0.2.{}", 8 + number)), v2(&format!("2001:db8:1:{}::7", 1 + number), b"")] {
            let mut client = greeted(&setup, protocol, &header).await;
            let answer = client.log_in(protocol, "bound", PASSWORD).await;
            assert!(matches!(answer, Answer::Refused(_)), "{protocol} {header:x?}");
        }
    }
}

#[tokio::test]
async fn what_comes_with_the_header_is_read_behind_it_and_in_order() {
    let setup = Setup::with(behind_a_proxy()).await;
    for header in [v1("192.0.2.7"), v2("192.0.2.7", SSL), command(0x20, 0, b"")] {
        let octets = [&header[..], b"NOOP\r\nRCPT TO:<a@b>\r\nQUIT\r\n"].concat();
        let mut client = sending(setup.address(Protocol::Smtp), &octets).await;
        let rest = client.rest().await;
        let codes: Vec<&str> = rest.lines().map(|line| &line[..4]).collect();
        assert_eq!(codes, ["220 ", "250 ", "530 ", "221 "], "{rest}");
    }
}

#[tokio::test]
async fn who_must_send_a_header_and_sends_none_is_closed_without_a_word() {
    let setup = Setup::with(behind_a_proxy()).await;
    let broken = [
        b"EHLO device\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PROXY TCP4 192.0.2.7\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 203.0.113.1 50000 587\n".to_vec(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
        command(0x21, 0x11, b"short"),
        command(0x31, 0x11, &[0; 12]),
        [&command(0x20, 0, &[0; 2049])[..]].concat(),
    ];
    for protocol in Protocol::ALL {
        for octets in &broken {
            let mut client = sending(setup.address(protocol), octets).await;
            assert_eq!(client.rest().await, "", "{protocol} {octets:x?}");
        }
        // Half a header, and then nothing.
        for part in [&v1("192.0.2.7")[..20], &v2("192.0.2.7", b"")[..14], b""] {
            let mut client = sending(setup.address(protocol), part).await;
            while setup.gateway.sessions() == 0 {
                tokio::task::yield_now().await;
            }
            let_pass(Duration::from_secs(6)).await;
            assert_eq!(client.rest().await, "", "{protocol} {part:x?}");
        }
    }
    setup.deserted().await;
}

#[tokio::test]
async fn a_proxy_that_speaks_for_itself_is_greeted_and_logs_nobody_in() {
    let setup = Setup::with(behind_a_proxy()).await;
    let unknown = b"PROXY UNKNOWN 192.0.2.7 203.0.113.1 50000 587\r\n".to_vec();
    let unix = command(0x21, 0x31, &[0; 216]);
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), unknown, unix, command(0x20, 0, b""), command(0x21, 0, SSL)] {
        let mut client = greeted(&setup, Protocol::Smtp, &header).await;
        client.say("EHLO check").await;
        let offer = client.reply().await;
        assert!(!offer.iter().any(|line| line.contains("AUTH") || line.contains("STARTTLS")), "{offer:?}");
        let answer = client.log_in(Protocol::Smtp, "scanner", PASSWORD).await;
        assert!(matches!(&answer, Answer::Refused(line) if line.starts_with("538 5.7.11 ")), "{answer:?}");
        assert_eq!(client.ask("MAIL FROM:<a@b>").await, "530 5.7.0 Authentication required");
        assert!(client.ask("QUIT").await.starts_with("221 "));

        let mut client = greeted(&setup, Protocol::Imap, &header).await;
        client.say("a CAPABILITY").await;
        let offer = client.line().await;
        assert!(offer.contains(" LOGINDISABLED") && !offer.contains("AUTH="), "{offer}");
        client.until("a OK").await;
        assert!(matches!(client.log_in(Protocol::Imap, "scanner", PASSWORD).await, Answer::Refused(_)));

        let mut client = greeted(&setup, Protocol::Pop3, &header).await;
        client.say("USER scanner").await;
        assert!(client.line().await.starts_with("-ERR"));
    }
    assert_eq!((setup.gateway.password_computations(), setup.control().token_requests()), (0, 0));
}

#[tokio::test]
async fn a_header_from_who_is_no_proxy_is_not_understood_and_the_address_in_it_counts_for_nothing() {
    let tables = login_table("bound", PASSWORD.as_bytes(), "networks = [\"192.0.2.7\"]");
    let keys = "proxy_protocol = [\"192.0.2.99\"]\nallow = [\"127.0.0.1\", \"192.0.2.0/24\"]\n";
    let setup = Setup::with(Wanted { tables, listener_keys: keys.into(), ..Wanted::brisk() }).await;
    for (protocol, answer) in
        [(Protocol::Smtp, "502 5.5.2 "), (Protocol::Imap, "PROXY BAD "), (Protocol::Pop3, "-ERR ")]
    {
        let mut client = setup.client(protocol).await;
        client.send(&v1("192.0.2.7")).await;
        let line = client.line().await;
        assert!(line.starts_with(answer), "{line}");
        assert!(matches!(client.log_in(protocol, "bound", PASSWORD).await, Answer::Refused(_)));
        assert_eq!(setup.client(protocol).await.log_in(protocol, "scanner", PASSWORD).await, Answer::Accepted);
    }
    // Version 2 is made to mean nothing to a server that does not expect it.
    let mut client = setup.client(Protocol::Smtp).await;
    let octets = [&v2("192.0.2.7", SSL)[..], b"MAIL FROM:<a@b>\r\n"].concat();
    client.send(&octets).await;
    assert!(
        client
            .rest()
            .await
            .lines()
            .all(|line| line.starts_with(['5', '4', '2']) && !line.starts_with("250 "))
    );
    setup.deserted().await;
}

#[tokio::test]
async fn a_second_header_is_no_command() {
    let setup = Setup::with(bound("\"192.0.2.7\"")).await;
    let mut client = from(&setup, "192.0.2.8").await;
    client.send(&v1("192.0.2.7")).await;
    assert!(client.line().await.starts_with("502 5.5.2 "));
    assert!(matches!(client.log_in(Protocol::Smtp, "bound", PASSWORD).await, Answer::Refused(_)));
}

#[tokio::test]
async fn who_closes_before_the_header_is_whole_leaves_nothing_behind() {
    let setup = Setup::with(behind_a_proxy()).await;
    for part in [&b""[..], b"PROXY TCP4", &v2("192.0.2.7", b"")[..20]] {
        drop(sending(setup.address(Protocol::Smtp), part).await);
        drop(Client::connect(setup.address(Protocol::Imap)).await);
    }
    setup.deserted().await;
}
