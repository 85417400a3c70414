//! Devices that share a login by their addresses: what one of them does is not the others' loss.

use mailferry::sim::{self, Act, Fault, Moment};

use crate::common::{Client, Setup, Wanted};
use crate::{behind_a_proxy, from};

const MAIL: &str = "MAIL FROM:<floor@contoso.example>";

/// A floor whose devices share one login.
fn floor(further: &str) -> Wanted {
    let mut wanted = behind_a_proxy();
    wanted.listener_keys = "proxy_protocol = [\"127.0.0.0/8\"]\nallow = [\"192.168.0.0/16\", \"127.0.0.0/8\"]\n".into();
    wanted.provider.mailboxes.push("floor@contoso.example".to_owned());
    wanted.tables = format!(
        "[[account]]\naddress = \"floor@contoso.example\"\napp = \"contoso\"\n\
         [[account.login]]\nusername = \"floor\"\nwithout_password = true\nprotocols = [\"smtp\"]\n\
         networks = [\"192.168.7.0/24\"]\n{further}\n"
    );
    wanted
}

/// Sends a message; what was said last.
async fn send(client: &mut Client) -> String {
    for command in [MAIL, "RCPT TO:<someone@contoso.example>", "DATA"] {
        let answer = client.ask(command).await;
        if !answer.starts_with(['2', '3']) {
            return answer;
        }
    }
    client.ask("Subject: scan\r\n\r\nscan\r\n.").await
}

#[tokio::test]
async fn one_address_silences_no_other_that_shares_its_login() {
    let setup = Setup::with(floor("rate = \"6/h\"")).await;
    let mut bad = from(&setup, "192.168.7.66").await;
    let refusal = Fault::At(Moment::MailDue, Act::Say("501 5.1.7 Bad sender <call 555>".into()));
    setup.control().fail_next(sim::Protocol::Smtp, 5, refusal);
    for _ in 0..5 {
        assert_eq!(bad.ask(MAIL).await, "501 5.1.7 Bad sender <call 555>");
    }
    let answer = bad.ask(MAIL).await;
    assert_eq!(answer, "501 5.1.7 Bad sender <...> (said before, and not asked again for 15 min)");
    // Nor does one use up what all share.
    let mut busy = from(&setup, "192.168.7.67").await;
    for start in ["250 ", "250 ", "250 ", "450 4.7.1 One address of this login may send 3 messages"] {
        let answer = send(&mut busy).await;
        assert!(answer.starts_with(start), "{answer}");
    }
    let mut good = from(&setup, "192.168.7.20").await;
    assert!(send(&mut good).await.starts_with("250 "));
}
