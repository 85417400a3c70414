//! How devices log in.

use super::common::Setup;
use super::{Client, PLAIN, go_on, play, send_and_leave};
use mailferry::config::Protocol;

const NAME: (&str, &str) = ("c2Nhbm5lcg==\r\n", "334 UGFzc3dvcmQ6");
const PASSWORD: (&str, &str) = ("YSBwbGFpbiBwYXNzd29yZA==\r\n", "235 ");

#[tokio::test]
async fn a_xerox_goes_on_only_after_the_prompts_it_knows() {
    let setup = Setup::new().await;
    let lines = [("EHLO XC-B8C463\r\n", "250"), ("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6"), NAME, PASSWORD];
    send_and_leave(&setup, play(&setup, &lines).await).await;
}

#[tokio::test]
async fn a_client_that_cancels_its_login_may_begin_again() {
    let setup = Setup::new().await;
    let lines = [
        ("EHLO alertmanager\r\n", "250"),
        ("AUTH LOGIN\r\n", "334 "),
        ("*\r\n", "501 5.7.0"),
        ("AUTH LOGIN\r\n", "334 "),
        NAME,
        PASSWORD,
    ];
    send_and_leave(&setup, play(&setup, &lines).await).await;
}

#[tokio::test]
async fn a_konica_minolta_names_the_user_in_the_line() {
    let setup = Setup::new().await;
    let lines = [("EHLO KMBT\r\n", "250"), ("AUTH LOGIN c2Nhbm5lcg==\r\n", "334 UGFzc3dvcmQ6"), PASSWORD];
    send_and_leave(&setup, play(&setup, &lines).await).await;
}

#[tokio::test]
async fn dot_net_writes_the_mechanism_in_lower_case() {
    let setup = Setup::new().await;
    let lines = [("EHLO SERVER1\r\n", "250"), ("AUTH login c2Nhbm5lcg==\r\n", "334 UGFzc3dvcmQ6"), PASSWORD];
    send_and_leave(&setup, play(&setup, &lines).await).await;
}

#[tokio::test]
async fn plain_comes_in_one_line_or_two_and_with_an_empty_response() {
    for first in ["AUTH PLAIN\r\n", "AUTH PLAIN =\r\n"] {
        let setup = Setup::new().await;
        let response = format!("{PLAIN}\r\n");
        let mut client = play(&setup, &[("EHLO x\r\n", "250")]).await;
        client.send(first.as_bytes()).await;
        assert_eq!(client.line().await, "334 ", "the blank behind 334 is looked for");
        go_on(&mut client, &[(&response, "235 ")]).await;
        send_and_leave(&setup, client).await;
    }
    let setup = Setup::new().await;
    let line = format!("auth plain {PLAIN}\r\n");
    send_and_leave(&setup, play(&setup, &[("EHLO x\r\n", "250"), (&line, "235 ")]).await).await;
}

#[tokio::test]
async fn base64_without_its_padding_is_understood() {
    let setup = Setup::new().await;
    let lines = [
        ("EHLO x\r\n", "250"),
        ("AUTH LOGIN\r\n", "334 "),
        ("c2Nhbm5lcg\r\n", "334 "),
        ("YSBwbGFpbiBwYXNzd29yZA\r\n", "235 "),
    ];
    send_and_leave(&setup, play(&setup, &lines).await).await;
}

#[tokio::test]
async fn only_plain_and_login_are_offered_and_the_others_leave_the_session_open() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    client.send(b"EHLO FortiAnalyzer\r\n").await;
    let offers: Vec<_> = client
        .reply()
        .await
        .into_iter()
        .filter(|line| line.to_uppercase().contains("AUTH"))
        .collect();
    assert_eq!(offers, ["250-AUTH PLAIN LOGIN"], "one line, and no AUTH= beside it");
    let line = format!("AUTH PLAIN {PLAIN}\r\n");
    let lines = [
        ("AUTH CRAM-MD5\r\n", "504 5.5.4"),
        ("AUTH NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAGAbEdAAAADw==\r\n", "504 5.5.4"),
        (&line, "235 "),
    ];
    go_on(&mut client, &lines).await;
    send_and_leave(&setup, client).await;
}

#[tokio::test]
async fn a_short_name_is_enough_and_a_long_one_is_cut_nowhere() {
    // 63 octets of name, 31 of password: what the longest panels take.
    let (name, password) = ("n".repeat(63), "p".repeat(31));
    let tables = super::common::login_table(&name, password.as_bytes(), "");
    let setup = Setup::with(super::common::Wanted { tables, ..super::common::Wanted::default() }).await;
    for (name, password) in [("scanner", super::common::PASSWORD), (&name, &password)] {
        let mut client: Client = setup.client(Protocol::Smtp).await;
        assert_eq!(client.log_in(Protocol::Smtp, name, password).await, super::common::Answer::Accepted, "{name}");
    }
}
