//! What devices call themselves, and whom they name.

use super::common::{ADDRESS, Setup};
use super::{PLAIN, RCPT, play, send_and_leave};

#[tokio::test]
async fn helo_alone_is_enough_to_log_in_and_to_send() {
    let login = format!("AUTH PLAIN {PLAIN}\r\n");
    for hello in ["HELO medea\r\n", "HELO [192.168.1.21]\r\n"] {
        let setup = Setup::new().await;
        send_and_leave(&setup, play(&setup, &[(hello, "250 "), (&login, "235 ")]).await).await;
        // Upstream it is our own EHLO: Exchange refuses AUTH after a HELO.
        assert_eq!(setup.control().last_ehlo_name().as_deref(), Some("gateway.example"));
    }
    let setup = Setup::new().await;
    // Base64 that comes as a command, from a device that did not understand the refusal of its AUTH.
    let lines = [("HELO medea\r\n", "250 "), ("ZTQ5ZjM5\r\n", "502 "), (&login, "235 ")];
    send_and_leave(&setup, play(&setup, &lines).await).await;
}

#[tokio::test]
async fn a_device_may_call_itself_anything_and_nobody_is_told() {
    let login = format!("AUTH PLAIN {PLAIN}\r\n");
    for hello in [
        "HELO \r\n",
        "HELO\r\n",
        "EHLO\r\n",
        "EHLO _\r\n",
        "EHLO PhpStorm 9.0.3\r\n",
        "EHLO cabinet-maitre-.domain\r\n",
        "EHLO [IPV6:::1]\r\n",
        "EHLO 192.168.1.21\r\n",
        "EHLO \u{e9}cole\r\n",
    ] {
        let setup = Setup::new().await;
        send_and_leave(&setup, play(&setup, &[(hello, "250"), (&login, "235 ")]).await).await;
        assert_eq!(setup.control().last_ehlo_name().as_deref(), Some("gateway.example"), "{hello:?}");
    }
}

#[tokio::test]
async fn envelopes_are_read_as_they_are_written_and_passed_on_as_they_should_be() {
    let login = format!("AUTH PLAIN {PLAIN}\r\n");
    for (mail, arrived) in [
        ("MAIL FROM: <scanner@contoso.example>\r\n", ADDRESS),
        ("MAIL FROM:scanner@contoso.example\r\n", ADDRESS),
        ("MAIL FROM: scanner@contoso.example\r\n", ADDRESS),
        ("mail from:<scanner@contoso.example>\n", ADDRESS),
        ("MAIL\tFROM:\t<scanner@contoso.example>\t\r\n", ADDRESS),
        ("MAIL FROM:<scanner@contoso.example>  SIZE=10 AUTH=<>\r\n", ADDRESS),
        ("MAIL FROM:<scanner@contoso.example> AUTH=\r\n", ADDRESS),
        ("MAIL FROM:<local.@example.com>\r\n", "local.@example.com"),
    ] {
        let setup = Setup::new().await;
        let lines = [
            ("EHLO ilo\r\n", "250"),
            (&login, "235"),
            (mail, "250"),
            (RCPT, "250"),
            ("DATA\r\n", "354"),
            (".\r\n", "250"),
            ("QUIT\r\n", "221"),
        ];
        play(&setup, &lines).await;
        let sent = setup.control().submissions();
        assert_eq!((sent[0].from.as_str(), sent[0].parameters.contains("AUTH")), (arrived, false), "{mail:?}");
    }
}
