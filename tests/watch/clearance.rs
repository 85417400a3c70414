//! A login that is refused again and again is silenced and no other, and one with a rate keeps to it.

use mailferry::config::Protocol;
use mailferry::sim::{self, Act, Fault, Moment};

use super::common::{Answer, PASSWORD, Setup, Wanted, login_table};
use super::{Stage, send};

const SEND_AS: &str = "554 5.2.252 SendAsDenied; scanner@contoso.example not allowed to send as \
                       old@contoso.example; STOREDRV.Submission [Hostname=A1.prod.outlook.com]";

/// Two logins of one account.
fn two_logins() -> Wanted {
    Wanted { tables: login_table("copier", PASSWORD.as_bytes(), ""), ..Wanted::default() }
}

#[tokio::test]
async fn five_refusals_silence_one_login_and_not_the_other() {
    let mut stage = Stage::set(two_logins()).await;
    let mut watching = stage.watch(&[]).await;
    let control = stage.provider.control();
    let refusal = Fault::At(Moment::BodyRead, Act::Say(SEND_AS.into()));
    control.fail_next(sim::Protocol::Smtp, 5, refusal);
    let mut device = stage.device(Protocol::Smtp).await;
    assert_eq!(device.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    for _ in 0..5 {
        assert_eq!(send(&mut device, "Subject: a scan").await, SEND_AS);
    }
    watching.says("-- refused by the upstream: 554 5.2.252 SendAsDenied").await;
    // The provider would take it now; it is not asked, and of a new session neither.
    for _ in 0..3 {
        let answer = device.ask("MAIL FROM:<scanner@contoso.example>").await;
        assert!(
            answer.starts_with(SEND_AS) && answer.ends_with("(said before, and not asked again for 15 min)"),
            "{answer}"
        );
        assert_eq!(device.ask("RCPT TO:<scanner@contoso.example>").await.split(' ').next(), Some("503"));
        device.ask("QUIT").await;
        device = stage.device(Protocol::Smtp).await;
        assert_eq!(device.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    }
    let advice = watching.says("** the account may not send in the device's name").await;
    assert!(advice.contains("username = \"scanner\" set sender = \"force\""), "{advice}");
    let mut other = stage.device(Protocol::Smtp).await;
    assert_eq!(other.log_in(Protocol::Smtp, "copier", PASSWORD).await, Answer::Accepted);
    assert!(send(&mut other, "Subject: a copy").await.starts_with("250 "));
    let line = stage.gateway.says("the upstream refuses every message of this login").await;
    for part in
        ["ERROR", "login=\"scanner\"", "account=\"scanner@contoso.example\"", "peer=127.0.0.1", "15 min", "Send As"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    stage.gateway.signal(rustix::process::Signal::TERM);
    drop((device, other));
    let (_, said) = stage.gateway.ended_with_all().await;
    assert_eq!(said.matches("the upstream refuses every message of this login").count(), 1, "said once");
}

#[tokio::test]
async fn a_recipient_that_does_not_exist_silences_nobody() {
    let setup = Setup::new().await;
    let unknown = Fault::At(Moment::RcptDue, Act::Say("550 5.1.1 User unknown".into()));
    setup.control().fail_next(sim::Protocol::Smtp, 8, unknown);
    let mut device = setup.logged_in(Protocol::Smtp).await;
    for _ in 0..8 {
        assert_eq!(send(&mut device, "Subject: x").await, "550 5.1.1 User unknown");
        device.ask("RSET").await;
    }
    assert!(send(&mut device, "Subject: x").await.starts_with("250 "));
}

#[tokio::test]
async fn a_good_message_after_four_bad_ones_makes_none_of_them_free() {
    let setup = Setup::with(two_logins()).await;
    let mut device = setup.logged_in(Protocol::Smtp).await;
    let refuse_next = |count| {
        let refusal = Fault::At(Moment::BodyRead, Act::Say(SEND_AS.into()));
        setup.control().fail_next(sim::Protocol::Smtp, count, refusal);
    };
    refuse_next(4);
    for _ in 0..4 {
        assert_eq!(send(&mut device, "Subject: bad").await, SEND_AS);
    }
    assert!(send(&mut device, "Subject: good").await.starts_with("250 "));
    refuse_next(1);
    assert_eq!(send(&mut device, "Subject: bad").await, SEND_AS);
    let answer = device.ask("MAIL FROM:<scanner@contoso.example>").await;
    assert!(answer.ends_with("(said before, and not asked again for 15 min)"), "{answer}");
}

#[tokio::test]
async fn a_message_that_is_not_sent_does_not_count() {
    let limited = login_table("copier", PASSWORD.as_bytes(), "rate = \"2/h\"");
    let setup = Setup::with(Wanted { tables: limited, ..Wanted::default() }).await;
    let mail = "MAIL FROM:<scanner@contoso.example>";
    for _ in 0..3 {
        let mut device = setup.client(Protocol::Smtp).await;
        assert_eq!(device.log_in(Protocol::Smtp, "copier", PASSWORD).await, Answer::Accepted);
        for _ in 0..3 {
            assert!(device.ask(mail).await.starts_with("250 "));
            assert!(device.ask("RSET").await.starts_with("250 "));
        }
        let refusal = Fault::At(Moment::MailDue, Act::Say("550 5.1.0 no".into()));
        setup.control().fail_next(sim::Protocol::Smtp, 1, refusal);
        assert_eq!(device.ask(mail).await, "550 5.1.0 no");
        device.ask("QUIT").await;
        device.rest().await;
    }
    let mut device = setup.client(Protocol::Smtp).await;
    assert_eq!(device.log_in(Protocol::Smtp, "copier", PASSWORD).await, Answer::Accepted);
    for start in ["250 ", "250 ", "450 4.7.1 "] {
        let answer = send(&mut device, "Subject: a scan").await;
        assert!(answer.starts_with(start), "{answer}");
    }
}

#[tokio::test]
async fn a_login_sends_no_more_than_its_rate_and_the_session_goes_on() {
    let limited = login_table("copier", PASSWORD.as_bytes(), "rate = \"2/h\"");
    let setup = Setup::with(Wanted { tables: limited, ..Wanted::default() }).await;
    let mut device = setup.client(Protocol::Smtp).await;
    assert_eq!(device.log_in(Protocol::Smtp, "copier", PASSWORD).await, Answer::Accepted);
    for _ in 0..2 {
        assert!(send(&mut device, "Subject: a scan").await.starts_with("250 "));
    }
    let answer = send(&mut device, "Subject: a scan").await;
    assert!(answer.starts_with("450 4.7.1 This login may send 2 messages in 60 min, the next one in "), "{answer}");
    assert!(device.ask("NOOP").await.starts_with("250 "), "the session goes on");
    let mut other = setup.logged_in(Protocol::Smtp).await;
    assert!(send(&mut other, "Subject: a copy").await.starts_with("250 "));
}

#[tokio::test]
async fn messages_that_wait_for_no_reply_count_once_each() {
    let limited = login_table("copier", PASSWORD.as_bytes(), "rate = \"4/h\"");
    let setup = Setup::with(Wanted { tables: limited, ..Wanted::default() }).await;
    let mut device = setup.client(Protocol::Smtp).await;
    assert_eq!(device.log_in(Protocol::Smtp, "copier", PASSWORD).await, Answer::Accepted);
    let message = "MAIL FROM:<scanner@contoso.example>\r\nRCPT TO:<scanner@contoso.example>\r\n\
                   BDAT 17 LAST\r\nSubject: x\r\n\r\nx\r\n";
    device.send(message.repeat(3).as_bytes()).await;
    for _ in 0..9 {
        let answer = device.line().await;
        assert!(answer.starts_with("250 "), "{answer}");
    }
    for start in ["250 ", "450 4.7.1 "] {
        let answer = send(&mut device, "Subject: a scan").await;
        assert!(answer.starts_with(start), "{answer}");
    }
}
