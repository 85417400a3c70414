//! SMTP sessions, end to end: a legacy client, the gateway, a simulated provider.

mod common;

use common::Setup;
use mailferry::config::Protocol;

#[tokio::test]
async fn a_message_goes_through() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    assert!(client.ask("MAIL FROM: <scanner@contoso.example>").await.starts_with("250"));
    assert!(client.ask("RCPT TO:<scanner@contoso.example>").await.starts_with("250"));
    assert!(client.ask("DATA").await.starts_with("354"));
    assert!(client.ask("Subject: hello\r\n\r\n..dots\r\n.").await.starts_with("250"));
    assert!(client.ask("QUIT").await.starts_with("221"));
    assert_eq!(client.rest().await, "");
    assert_eq!(setup.control().messages(common::ADDRESS), [b"Subject: hello\r\n\r\n.dots\r\n"]);
}
