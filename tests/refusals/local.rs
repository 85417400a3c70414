//! What the gateway decides alone: passwords, permissions, and everything that is no login.

use mailferry::config::Protocol;
use tokio::io::AsyncWriteExt;

use crate::common::{Answer, Client, PASSWORD, Setup, Wanted, in_time, login_table};
use crate::{Kind, READING, accepted, assert_nobody_was_asked, assert_refused};

/// What closes a connection after the last answer.
const fn goodbye(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "* BYE ",
        Protocol::Smtp | Protocol::Pop3 => "",
    }
}

/// The connection is closed, with the protocol's last words.
async fn assert_closed(client: &mut Client, protocol: Protocol) {
    let rest = client.rest().await;
    assert!(rest.starts_with(goodbye(protocol)) && rest.lines().count() <= 1, "{rest:?}");
    assert_eq!(rest.is_empty(), goodbye(protocol).is_empty());
}

#[tokio::test]
async fn a_wrong_password_costs_nobody_anything_and_the_third_closes() {
    let setup = Setup::new().await;
    for protocol in READING {
        let mut client = setup.client(protocol).await;
        for (name, password) in [("scanner", "wrong"), ("nobody", PASSWORD), ("scanner", "a plain passwor")] {
            let answer = client.log_in(protocol, name, password).await;
            assert_refused(protocol, Kind::Credentials, answer, password);
        }
        assert_closed(&mut client, protocol).await;
    }
    assert_nobody_was_asked(&setup);
}

#[tokio::test]
async fn two_wrong_passwords_leave_a_third_try() {
    let setup = Setup::new().await;
    for protocol in READING {
        let mut client = setup.client(protocol).await;
        for wrong in ["wrong", "A plain password"] {
            let answer = client.log_in(protocol, "SCANNER", wrong).await;
            assert_refused(protocol, Kind::Credentials, answer, wrong);
        }
        assert_eq!(client.log_in(protocol, "Scanner", PASSWORD).await, Answer::Accepted);
    }
}

#[tokio::test]
async fn a_login_that_may_not_be_used_here_looks_like_a_wrong_password() {
    let password = b"right-password";
    let tables = [
        login_table("sender", password, "protocols = [\"smtp\"]"),
        login_table("elsewhere", password, "networks = [\"192.0.2.0/24\", \"2001:db8::/32\"]"),
        // An account whose provider has neither an IMAP nor a POP3 server.
        "[provider.submission]\ntoken_url = \"http://127.0.0.1:1/\"\nscopes = [\"mail\"]\n\
         smtp = { host = \"localhost\", port = 1, tls = \"starttls\" }\n\
         [[account]]\naddress = \"printer@contoso.example\"\nprovider = \"submission\"\n\
         grant = \"client-credentials\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n"
            .into(),
        login_table("printer", password, ""),
    ];
    let setup = Setup::with(Wanted { tables: tables.concat(), ..Wanted::default() }).await;
    for protocol in READING {
        let mut client = setup.client(protocol).await;
        let wrong = client.log_in(protocol, "scanner", "wrong").await;
        for name in ["sender", "elsewhere", "printer"] {
            let mut client = setup.client(protocol).await;
            let answer = client.log_in(protocol, name, "right-password").await;
            assert_eq!(answer, wrong, "{name}: a stranger must not learn which it is");
            assert_refused(protocol, Kind::Credentials, answer, name);
            // It costs a try like any other.
            accepted(&mut client, protocol).await;
        }
    }
    assert_eq!(setup.control().token_requests(), 1);
}

#[tokio::test]
async fn commands_before_the_login_are_refused() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Imap).await;
    for command in ["SELECT INBOX", "LIST \"\" *", "FETCH 1 ALL", "IDLE", "STARTTLS", "UID FETCH 1 ALL", "ENABLE X"] {
        client.say(&format!("c {command}")).await;
        let answer = client.line().await;
        assert!(answer.starts_with("c BAD "), "{command}: {answer}");
    }
    // The literal of a refused command is not read as one.
    client.send(b"c APPEND INBOX {10+}\r\nd LOGOUT\r\n\r\n").await;
    assert!(client.line().await.starts_with("c BAD "));
    accepted(&mut client, Protocol::Imap).await;

    let mut client = setup.client(Protocol::Pop3).await;
    for command in ["STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET", "TOP 1 0", "UIDL", "STLS", "APOP a b"] {
        client.say(command).await;
        let answer = client.line().await;
        assert!(answer.starts_with("-ERR "), "{command}: {answer}");
    }
    accepted(&mut client, Protocol::Pop3).await;
    assert_eq!(setup.control().token_requests(), 1);
}

#[tokio::test]
async fn three_commands_that_no_server_knows_close() {
    let setup = Setup::new().await;
    for (protocol, refused) in [(Protocol::Imap, "x BAD "), (Protocol::Pop3, "-ERR ")] {
        let mut client = setup.client(protocol).await;
        for unknown in ["x XYZZY", "x GET / HTTP/1.1", "x EHLO scanner"] {
            client.say(unknown).await;
            let answer = client.line().await;
            assert!(answer.starts_with(refused), "{unknown}: {answer}");
        }
        assert_closed(&mut client, protocol).await;
    }
    assert_nobody_was_asked(&setup);
}

#[tokio::test]
async fn a_line_too_long_is_refused_and_an_endless_one_ends_the_connection() {
    let setup = Setup::new().await;
    for (protocol, cap, refused) in [(Protocol::Imap, 8192, "l BAD "), (Protocol::Pop3, 1024, "-ERR ")] {
        let mut client = setup.client(protocol).await;
        for _ in 0..3 {
            client.say(&format!("l NOOP {}", "x".repeat(cap))).await;
            let answer = client.line().await;
            assert!(answer.starts_with(refused), "{answer}");
        }
        // Nothing of such a line is read as another command, and the connection is as good as before.
        accepted(&mut client, protocol).await;

        let mut client = setup.client(protocol).await;
        client.send(b"l NOOP ").await;
        // More than the gateway reads of it; how much it takes before it closes is the kernel's affair.
        let endless = vec![b'x'; 64 * 1024];
        let _ = in_time(client.connection.write_all(&endless)).await;
        let last_words = client.rest().await;
        let expected = if protocol == Protocol::Imap { "* BYE " } else { "-ERR " };
        assert!(last_words.starts_with(expected) && last_words.lines().count() == 1, "{last_words:?}");
    }
}
