//! What the provider refuses after the login: its words pass, and what came behind is never taken for commands.

use mailferry::config::Protocol;
use mailferry::sim::{self, Act, Fault, Moment};

use super::common::{Setup, Wanted};
use super::{BOTH, MAIL, RCPT, expect, part, send, taken, told};

/// Data that a careless reader would take for commands.
const EVIL: &str = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<evil@example.com>\r\nDATA\r\nSubject: evil\r\n.\r\n";

const DATA_REFUSED: &str = "421 4.7.0 Message data was refused; it must wait for the answer to DATA\r\n";

/// Lets the provider say this once, at that moment.
fn say(setup: &Setup, moment: Moment, words: &str) {
    setup
        .control()
        .fail_next(sim::Protocol::Smtp, 1, Fault::At(moment, Act::Say(words.into())));
}

fn heard_evil(setup: &Setup) -> bool {
    told(setup.control()).iter().any(|line| line.contains("evil"))
}

#[tokio::test]
async fn refusals_pass_as_they_are_and_the_session_goes_on() {
    let at_mail = ["451 4.7.1 Slow down", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"];
    let at_rcpt = ["450 4.2.1 Busy", "550-5.1.1 No such user,\r\n550-5.1.1 at least\r\n550 5.1.1 not here"];
    let at_data = ["452 4.3.1 Full", "554 5.5.1 No valid recipients"];
    let at_end = [
        "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending",
        "430 4.2.0 STOREDRV; mailbox logon failure",
        "554 5.2.252 SendAsDenied; scanner@contoso.example not allowed to send as boss@contoso.example",
        "552-5.3.4 Message size\r\n552 5.3.4 exceeds fixed maximum message size",
    ];
    let moments = [
        (Moment::MailDue, &at_mail[..]),
        (Moment::RcptDue, &at_rcpt),
        (Moment::DataDue, &at_data),
        (Moment::BodyRead, &at_end),
    ];
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        for (moment, refusals) in moments {
            for refusal in refusals {
                say(&setup, moment, refusal);
                for command in [MAIL, RCPT, "DATA", "Subject: refused\r\n."] {
                    client.say(command).await;
                    let reply = client.reply().await;
                    if reply.join("\r\n") == *refusal {
                        break;
                    }
                    assert!(
                        reply[0].starts_with(['2', '3']) && !command.starts_with("Subject"),
                        "{command}: {reply:?}"
                    );
                }
                expect(&mut client, "RSET", "250 ").await;
            }
        }
        send(&mut client, "Subject: accepted").await;
        part(&setup, client).await;
        assert_eq!(taken(setup.control()), ["Subject: accepted\r\n"]);
    }
}

#[tokio::test]
async fn a_message_behind_a_refused_data_is_not_read_as_commands() {
    for personality in BOTH {
        for refusal in ["451 4.3.0 Not now", "554 5.5.1 Never"] {
            let setup = Setup::with(Wanted::of(personality)).await;
            let mut client = setup.logged_in(Protocol::Smtp).await;
            say(&setup, Moment::DataDue, refusal);
            client.send(format!("{MAIL}\r\n{RCPT}\r\nDATA\r\n{EVIL}").as_bytes()).await;
            for start in ["250 2.1.0 ", "250 2.1.5 "] {
                assert!(client.line().await.starts_with(start));
            }
            assert_eq!(client.rest().await, format!("{refusal}\r\n{DATA_REFUSED}"));
            setup.deserted().await;
            assert!(!heard_evil(&setup));
            assert_eq!(setup.control().submissions(), []);
            assert_eq!(setup.control().violations(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn a_message_whose_every_recipient_was_refused_is_not_read_as_commands() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    say(&setup, Moment::RcptDue, "550 5.1.1 No such user");
    client.send(format!("{MAIL}\r\n{RCPT}\r\nDATA\r\n{EVIL}").as_bytes()).await;
    assert!(client.line().await.starts_with("250 2.1.0 "));
    assert_eq!(client.line().await, "550 5.1.1 No such user");
    assert_eq!(client.rest().await, format!("554 5.5.1 No valid recipients\r\n{DATA_REFUSED}"));
    setup.deserted().await;
    assert!(!heard_evil(&setup));
}

#[tokio::test]
async fn a_message_sent_late_behind_a_refused_data_ends_the_session_too() {
    for first in ["Received: from evil", "Help needed in room 5", "Mail from: Ann", "Data follows"] {
        let setup = Setup::new().await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        say(&setup, Moment::DataDue, "554 5.5.1 Never");
        expect(&mut client, "DATA", "554 5.5.1 Never").await;
        client.send(format!("{first}\r\n\r\n{EVIL}").as_bytes()).await;
        assert_eq!(client.rest().await, DATA_REFUSED);
        setup.deserted().await;
        assert!(!heard_evil(&setup));
    }
}

#[tokio::test]
async fn a_mail_refused_here_takes_no_recipient_and_no_message() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    let before = setup.control().received(sim::Protocol::Smtp);
    expect(&mut client, "MAIL FROM:<a@b> SUBMITTER=evil", "555 5.5.4 ").await;
    expect(&mut client, RCPT, "503 5.5.1 ").await;
    expect(&mut client, &format!("BDAT {} LAST\r\n{EVIL}NOOP", EVIL.len()), "503 5.5.1 ").await;
    assert!(client.line().await.starts_with("250 "));
    expect(&mut client, "DATA", "503 5.5.1 ").await;
    client.send(format!("Subject: x\r\n\r\n{EVIL}").as_bytes()).await;
    assert_eq!(client.rest().await, DATA_REFUSED);
    setup.deserted().await;
    assert!(!heard_evil(&setup));
    let heard = told(setup.control());
    assert!(setup.control().received(sim::Protocol::Smtp) > before);
    assert!(
        !heard
            .iter()
            .any(|line| ["RCPT", "DATA", "BDAT"].iter().any(|verb| line.starts_with(verb))),
        "{heard:?}"
    );
}

#[tokio::test]
async fn no_count_of_a_chunk_reaches_the_provider() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        let message = EVIL.repeat(2000);
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        client
            .send(format!("BDAT {} LAST\r\n{message}", message.len()).as_bytes())
            .await;
        let reply = client.line().await;
        assert!(reply.starts_with("250 2.0.0 "), "{reply}");
        // To a server with a count of 32 bits this would be 20.
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        client.say("BDAT 4294967316 LAST").await;
        let rest = client.rest().await;
        assert!(rest.starts_with("552 5.3.4 ") && rest.contains("\r\n421 4.3.0 "), "{rest}");
        setup.deserted().await;
        let told = told(setup.control());
        let counts: Vec<usize> = told
            .iter()
            .filter_map(|line| line.strip_prefix("BDAT ")?.split(' ').next()?.parse().ok())
            .collect();
        assert!(counts.len() > 2 && counts.iter().all(|count| *count <= 64 * 1024), "{counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), message.len());
        assert!(taken(setup.control()) == [message]);
        assert!(!heard_evil(&setup));
        assert_eq!(setup.control().violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_message_too_big_for_the_provider_is_refused_and_its_rest_is_no_command() {
    let mut wanted = Wanted::default();
    wanted.provider.max_message = 1000;
    let setup = Setup::with(wanted).await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    expect(&mut client, &format!("{MAIL} SIZE=2000"), "552 5.3.4 ").await;
    // The same without the announcement: everything is sent, then refused.
    expect(&mut client, MAIL, "250 ").await;
    expect(&mut client, RCPT, "250 ").await;
    expect(&mut client, "DATA", "354 ").await;
    let lines = "NOOP\r\n".repeat(1000);
    expect(&mut client, &format!("{lines}."), "552 5.3.4 ").await;
    send(&mut client, "Subject: small").await;
    part(&setup, client).await;
    assert_eq!(taken(setup.control()), ["Subject: small\r\n"]);
}

#[tokio::test]
async fn what_is_said_in_the_middle_of_a_message_is_told_and_ends_the_session() {
    for words in ["552 5.3.4 Too big", "421 4.3.2 Service not active"] {
        let setup = Setup::new().await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        expect(&mut client, "DATA", "354 ").await;
        say(&setup, Moment::BodyBegun, words);
        client.send(b"Subject: big\r\n\r\n").await;
        assert_eq!(client.rest().await, format!("{words}\r\n"));
        setup.deserted().await;
        assert_eq!(setup.control().submissions(), []);
    }
}

#[tokio::test]
async fn the_octets_of_refused_chunks_are_not_read_as_commands() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        let length = EVIL.len();

        // The last chunk is refused.
        say(&setup, Moment::BodyRead, "554 5.6.0 No");
        client
            .send(format!("{MAIL}\r\n{RCPT}\r\nBDAT {length} LAST\r\n{EVIL}NOOP\r\n").as_bytes())
            .await;
        for start in ["250 2.1.0 ", "250 2.1.5 ", "554 5.6.0 No", "250 2.0.0 "] {
            let reply = client.line().await;
            assert!(reply.starts_with(start), "{reply}");
        }
        assert_eq!(setup.control().violations(), Vec::<String>::new());

        // The first of two is, and the second, sent blindly, with it.
        say(&setup, Moment::DataDue, "452 4.3.1 Full");
        let chunks = format!("BDAT {length}\r\n{EVIL}BDAT {length} LAST\r\n{EVIL}");
        client.send(format!("{MAIL}\r\n{RCPT}\r\n{chunks}RSET\r\n").as_bytes()).await;
        for start in ["250 2.1.0 ", "250 2.1.5 ", "452 4.3.1 Full", "503 5.5.1 ", "250 2.0.0 "] {
            let reply = client.line().await;
            assert!(reply.starts_with(start), "{reply}");
        }

        // One that no upstream could read: how much to pass over is said, or else the session ends.
        client.send(format!("BDAT {length} FIRST\r\n{EVIL}").as_bytes()).await;
        assert!(client.line().await.starts_with("501 5.5.4 "));
        client.send(format!("BDAT x LAST\r\n{EVIL}").as_bytes()).await;
        let farewell = client.rest().await;
        assert!(farewell.starts_with("501 5.5.4 ") && farewell.lines().count() == 1, "{farewell}");
        setup.deserted().await;
        assert!(!heard_evil(&setup));
        assert_eq!(setup.control().submissions(), []);
    }
}

#[tokio::test]
async fn a_last_chunk_refused_midway_leaves_room_for_the_next_message() {
    for refused_by_the_provider in [true, false] {
        let mut wanted = Wanted::default();
        wanted.provider.max_message = 150_000;
        let setup = Setup::with(wanted).await;
        if refused_by_the_provider {
            // Pieces that came behind the refused one would be out of order, and it counts them.
            setup.control().fail(sim::Protocol::Smtp, Fault::Withhold("PIPELINING"));
            say(&setup, Moment::DataDue, "452 4.3.1 Full");
        }
        let mut client = setup.logged_in(Protocol::Smtp).await;
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        let refusal = if refused_by_the_provider {
            "452 4.3.1 Full"
        } else {
            expect(&mut client, "BDAT 3\r\nx", "250 ").await;
            "552 5.3.4 "
        };
        let evil = EVIL.repeat(if refused_by_the_provider { 1500 } else { 3000 });
        expect(&mut client, &format!("BDAT {} LAST\r\n{evil}NOOP", evil.len()), refusal).await;
        assert!(client.line().await.starts_with("250 "));
        send(&mut client, "Subject: next").await;
        part(&setup, client).await;
        assert_eq!(taken(setup.control()), ["Subject: next\r\n"]);
        let resets = told(setup.control()).iter().filter(|line| *line == "RSET").count();
        assert_eq!(resets, 1);
        assert!(!heard_evil(&setup));
    }
}

#[tokio::test]
async fn message_data_before_the_login_is_not_read_as_commands() {
    let setup = Setup::new().await;
    for (data, refused) in [("DATA\r\n".to_owned(), 3), (format!("BDAT {} LAST\r\n", EVIL.len()), 3)] {
        let mut client = setup.client(Protocol::Smtp).await;
        client.send(format!("{MAIL}\r\n{RCPT}\r\n{data}{EVIL}").as_bytes()).await;
        for _ in 0..refused {
            assert_eq!(client.line().await, "530 5.7.0 Authentication required");
        }
        assert_eq!(client.rest().await, "421 4.7.0 No message is taken before login, closing\r\n");
    }
    assert_eq!(setup.control().connections(sim::Protocol::Smtp), 0);
}

#[tokio::test]
async fn a_provider_without_pipelining_gets_one_command_at_a_time() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        setup.control().fail(sim::Protocol::Smtp, Fault::Withhold("PIPELINING"));
        let mut client = setup.logged_in(Protocol::Smtp).await;
        client.say("EHLO x").await;
        assert!(client.reply().await.iter().all(|line| !line.contains("PIPELINING")));
        let envelope = format!("{MAIL}\r\n{RCPT}\r\n{RCPT}\r\n");
        client
            .send(
                format!(
                    "{envelope}DATA\r\nSubject: 1\r\n.\r\n{envelope}BDAT 12 LAST\r\nSubject: 2\r\nNOOP\r\nQUIT\r\n"
                )
                .as_bytes(),
            )
            .await;
        let replies = client.rest().await;
        let codes: Vec<_> = replies.lines().map(|line| &line[..3]).collect();
        assert_eq!(codes, ["250", "250", "250", "354", "250", "250", "250", "250", "250", "250", "221"], "{replies}");
        setup.deserted().await;
        assert_eq!(taken(setup.control()), ["Subject: 1\r\n", "Subject: 2\r\n"]);
        assert_eq!(setup.control().violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_provider_without_chunking_gets_no_chunks() {
    let setup = Setup::new().await;
    setup.control().fail(sim::Protocol::Smtp, Fault::Withhold("CHUNKING"));
    let mut client = setup.logged_in(Protocol::Smtp).await;
    client.say("EHLO x").await;
    let offer = client.reply().await;
    assert!(
        offer
            .iter()
            .all(|line| !line.contains("CHUNKING") && !line.contains("BINARYMIME")),
        "{offer:?}"
    );
    let length = EVIL.len();
    client
        .send(format!("{MAIL}\r\n{RCPT}\r\nBDAT {length}\r\n{EVIL}BDAT {length} LAST\r\n{EVIL}RSET\r\n").as_bytes())
        .await;
    for start in ["250 2.1.0 ", "250 2.1.5 ", "503 5.5.1 ", "503 5.5.1 ", "250 2.0.0 "] {
        let reply = client.line().await;
        assert!(reply.starts_with(start), "{reply}");
    }
    send(&mut client, "Subject: data").await;
    part(&setup, client).await;
    assert!(!heard_evil(&setup));
    assert_eq!(taken(setup.control()), ["Subject: data\r\n"]);
}
