//! After the login: every octet passes, both ways, in order, and the end of one side is the end of the other.

use mailferry::config::Protocol;
use mailferry::sim::{Act, Fault, Moment, Protocol as Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{ADDRESS, Setup, Wanted, in_time};
use crate::{PERSONALITIES, answer, ask, assert_in_order, login_command, said_upstream, scripted, succeed};

#[tokio::test]
async fn what_is_pipelined_behind_the_login_is_answered_in_order() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        assert!(setup.control().deliver(ADDRESS, b"Subject: one\r\n\r\nhello\r\n"));
        let mut client = setup.client(Protocol::Imap).await;
        let commands = "b SELECT INBOX\r\nc FETCH 1 BODY.PEEK[TEXT]\r\nd APPEND INBOX {5+}\r\nb NO!\r\ne LOGOUT\r\n";
        client.send(format!("{}\r\n{commands}", login_command("a")).as_bytes()).await;
        assert!(client.until("a ").await.starts_with("a OK"));
        assert!(client.until("b ").await.starts_with("b OK"));
        assert_eq!(client.line().await, "* 1 FETCH (BODY[TEXT] {7}");
        assert_eq!(client.octets(10).await, b"hello\r\n)\r\n");
        for tag in ["c", "d", "e"] {
            assert!(client.until(&format!("{tag} ")).await.starts_with(&format!("{tag} OK")));
        }
        assert_eq!(client.rest().await, "");
        assert_eq!(setup.control().messages(ADDRESS)[1], b"b NO!");
        assert_in_order(&setup);
    }
}

#[tokio::test]
async fn the_stream_may_be_cut_anywhere() {
    let setup = Setup::new().await;
    let login = format!("{}\r\n", login_command("a"));
    let commands = "b SELECT INBOX\r\nc APPEND INBOX {12+}\r\nhello\r\nworld\r\nd LOGOUT\r\n";
    // Whatever is before the cut comes with the login, in the same segment; the rest only after its completion.
    for cut in 0..=commands.len() {
        let (with_login, later) = commands.split_at(cut);
        let mut client = setup.client(Protocol::Imap).await;
        client.connection.get_ref().set_nodelay(true).unwrap();
        client.send(format!("{login}{with_login}").as_bytes()).await;
        assert!(client.until("a ").await.starts_with("a OK"), "{with_login:?}");
        client.send(later.as_bytes()).await;
        for tag in ["b", "c", "d"] {
            let completion = client.until(&format!("{tag} ")).await;
            assert!(completion.starts_with(&format!("{tag} OK")), "{with_login:?}: {completion}");
        }
    }
    let messages = setup.control().messages(ADDRESS);
    assert!(messages.len() == commands.len() + 1 && messages.iter().all(|message| message == b"hello\r\nworld"));
}

#[tokio::test]
async fn five_megabytes_go_up_and_come_back() {
    let setup = Setup::new().await;
    // Every octet but NUL, which a literal must not hold (RFC 3501 section 9).
    let message: Vec<u8> = (0..5_000_000_usize).map(|at| (at * 31 % 255 + 1) as u8).collect();
    let mut client = setup.logged_in(Protocol::Imap).await;
    client.say(&format!("a APPEND INBOX (\\Seen) {{{}}}", message.len())).await;
    assert!(client.line().await.starts_with("+ "));
    client.send(&message).await;
    client.send(b"\r\n").await;
    assert!(client.until("a ").await.starts_with("a OK"));
    assert!(setup.control().messages(ADDRESS)[0] == message);

    succeed(&mut client, "b SELECT INBOX").await;
    client.say("c FETCH 1 BODY.PEEK[]").await;
    assert_eq!(client.line().await, format!("* 1 FETCH (BODY[] {{{}}}", message.len()));
    assert!(client.octets(message.len()).await == message);
    assert_eq!(client.line().await, ")");
    assert!(answer(&mut client, "c").await[0].starts_with("c OK"));
    assert_in_order(&setup);
}

#[tokio::test]
async fn idle_is_told_of_new_mail() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Imap).await;
        succeed(&mut client, "b SELECT INBOX").await;
        client.say("c IDLE").await;
        assert!(client.line().await.starts_with("+ "));
        for count in 1..=3 {
            assert!(setup.control().deliver(ADDRESS, b"Subject: news\r\n\r\n"));
            assert_eq!(client.line().await, format!("* {count} EXISTS"));
        }
        client.say("DONE").await;
        assert!(client.line().await.starts_with("c OK"));
    }
}

#[tokio::test]
async fn the_token_goes_in_one_step_only_where_it_may() {
    let short = Wanted::default();
    let mut long = Wanted::default();
    long.provider.token_length = 16_000;
    for (wanted, withheld, one_step) in
        [(short, None, true), (Wanted::default(), Some("SASL-IR"), false), (long, None, false)]
    {
        let setup = Setup::with(wanted).await;
        if let Some(keyword) = withheld {
            setup.control().fail(Server::Imap, Fault::Withhold(keyword));
        }
        let mut client = setup.logged_in(Protocol::Imap).await;
        succeed(&mut client, "b NOOP").await;
        let said = said_upstream(&setup);
        let authenticate = said.iter().find(|line| line.starts_with("AUTHENTICATE")).unwrap();
        assert_eq!(authenticate != "AUTHENTICATE XOAUTH2", one_step, "{said:?}");
        assert_in_order(&setup);
    }
}

#[tokio::test]
async fn any_octets_pass_unchanged_both_ways_at_once() {
    let (setup, listener) = scripted::setup().await;
    let pattern = |seed: usize| {
        (0..3_000_000_usize)
            .map(|at| (at * 31 + at / 997 + seed) as u8)
            .collect::<Vec<_>>()
    };
    let (upwards, downwards) = (pattern(1), pattern(2));
    let server = {
        let (upwards, downwards) = (upwards.clone(), downwards.clone());
        tokio::spawn(async move {
            let (mut connection, tag) = scripted::asked(&listener).await;
            // Gmail lists its capabilities before the completion, untagged.
            scripted::say(&mut connection, "* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE UNAUTHENTICATE").await;
            // What an upstream sends behind its completion belongs to the client as well.
            scripted::say(&mut connection, &format!("{tag} OK in\r\n* 7 EXISTS")).await;
            let mut first = vec![0; 4];
            connection.read_exact(&mut first).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(connection);
            let mut received = vec![0; upwards.len()];
            tokio::try_join!(reader.read_exact(&mut received), writer.write_all(&downwards)).unwrap();
            (first, received == upwards)
        })
    };
    let mut client = setup.client(Protocol::Imap).await;
    client
        .send(format!("a LOGIN scripted {}\r\n\0\r\n\x1f", scripted::PASSWORD).as_bytes())
        .await;
    assert_eq!(client.line().await, "a OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] Logged in");
    assert_eq!(client.line().await, "* 7 EXISTS");
    let (mut reader, mut writer) = tokio::io::split(client.connection);
    let mut received = vec![0; downwards.len()];
    let both = in_time(async { tokio::try_join!(reader.read_exact(&mut received), writer.write_all(&upwards)) });
    both.await.unwrap();
    assert!(received == downwards);
    assert_eq!(in_time(server).await.unwrap(), (b"\0\r\n\x1f".to_vec(), true));
}

#[tokio::test]
async fn a_client_that_has_said_its_last_word_still_hears_the_answer() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Imap).await;
        client.send(b"b NOOP\r\nc STATUS INBOX (MESSAGES)\r\n").await;
        client.connection.get_mut().shutdown().await.unwrap();
        assert!(client.until("b ").await.starts_with("b OK"));
        assert_eq!(client.line().await, "* STATUS \"INBOX\" (MESSAGES 0)");
        assert!(client.until("c ").await.starts_with("c OK"));
        assert_eq!(client.rest().await, "");
        in_time(setup.control().until(|provider| provider.open_connections(Server::Imap) == 0)).await;
    }
}

#[tokio::test]
async fn an_upstream_lost_after_the_login_takes_the_client_with_it() {
    for personality in PERSONALITIES {
        let setup = Setup::with(Wanted::of(personality)).await;
        for (act, last_words) in [
            (Act::Close, ""),
            // What Exchange says when the session's token has expired.
            (
                Act::Say("* BYE Session invalidated - AccessTokenExpired".into()),
                "* BYE Session invalidated - AccessTokenExpired\r\n",
            ),
        ] {
            let mut client = setup.logged_in(Protocol::Imap).await;
            setup.control().fail_next(Server::Imap, 1, Fault::At(Moment::CommandDue, act));
            client.say("b NOOP").await;
            assert_eq!(client.rest().await, last_words);
        }
        assert_eq!(setup.gateway.drain().await, 0, "no session is left behind");
    }
}

#[tokio::test]
async fn a_command_refused_after_the_login_is_the_upstreams_to_word() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Imap).await;
    let words = "BAD User is authenticated but not connected.";
    setup
        .control()
        .fail_next(Server::Imap, 1, Fault::At(Moment::CommandDue, Act::Say(words.into())));
    assert_eq!(ask(&mut client, "b SELECT INBOX").await, [format!("b {words}")]);
    succeed(&mut client, "c SELECT INBOX").await;
}
