//! No open relay: nobody without the right password reaches a token or the upstream, though the app's token would open
//! every mailbox.

use mailferry::config::Protocol;

use crate::common::{PASSWORD, Setup, Wanted, login_table};
use crate::{Kind, assert_refused, server};

#[tokio::test]
async fn mail_before_the_login_goes_nowhere_however_it_comes() {
    let setup = Setup::new().await;
    let mut client = setup.client(Protocol::Smtp).await;
    client
        .send(b"MAIL FROM:<scanner@contoso.example>\r\nRCPT TO:<anybody@example.net>\r\nQUIT\r\n")
        .await;
    let said = client.rest().await;
    let replies: Vec<_> = said.lines().map(|line| &line[..3]).collect();
    assert_eq!(replies, ["530", "530", "221"], "{said}");

    // A login that failed opens nothing either.
    let mut client = setup.client(Protocol::Smtp).await;
    client.log_in(Protocol::Smtp, "scanner", "wrong").await;
    assert_eq!(client.ask("MAIL FROM:<scanner@contoso.example>").await, "530 5.7.0 Authentication required");
    assert_nothing_moved(&setup);
}

#[tokio::test]
async fn no_password_but_the_right_one_is_worth_a_token() {
    let tables = format!(
        "[[account]]\naddress = \"other@contoso.example\"\napp = \"contoso\"\n{}",
        login_table("other", b"another password", "")
    );
    for protocol in Protocol::ALL {
        // An address that has guessed too often is not answered at once: each protocol has a gateway of its own.
        let setup = Setup::with(Wanted { tables: tables.clone(), ..Wanted::brisk() }).await;
        let long = "x".repeat(200);
        for (username, password) in [
            ("scanner", "wrong"),
            ("scanner", "another password"),
            ("other", PASSWORD),
            ("anybody", PASSWORD),
            ("other@contoso.example", "another password"),
            ("scanner", &long),
        ] {
            let mut client = setup.client(protocol).await;
            let answer = client.log_in(protocol, username, password).await;
            assert_refused(protocol, Kind::Credentials, answer, username);
        }
        assert_nothing_moved(&setup);
    }
}

fn assert_nothing_moved(setup: &Setup) {
    assert_eq!(setup.control().token_requests(), 0);
    for protocol in Protocol::ALL {
        assert_eq!(setup.control().connections(server(protocol)), 0, "{protocol}");
    }
}
