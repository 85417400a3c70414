//! What printers, scanners and old programs have been seen to send, byte for byte: each quirk of `docs/devices.md` is
//! played over a real socket, here or where the page says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod auth;
mod body;
mod envelope;
mod sessions;
mod tls;

use common::{Client, Setup};
use mailferry::config::Protocol;

const MAIL: &str = "MAIL FROM:<scanner@contoso.example>\r\n";
const RCPT: &str = "RCPT TO:<scanner@contoso.example>\r\n";

/// The login `scanner` as PLAIN's one message, in base64.
const PLAIN: &str = "AHNjYW5uZXIAYSBwbGFpbiBwYXNzd29yZA==";

/// What a device sends, its line end included, and how the last line of the reply begins.
type Line<'a> = (&'a str, &'a str);

/// Plays a device's side from the greeting on.
async fn play(setup: &Setup, lines: &[Line<'_>]) -> Client {
    let mut client = setup.client(Protocol::Smtp).await;
    go_on(&mut client, lines).await;
    client
}

async fn go_on(client: &mut Client, lines: &[Line<'_>]) {
    for (line, start) in lines {
        client.send(line.as_bytes()).await;
        let reply = client.reply().await.pop().unwrap();
        assert!(reply.starts_with(start), "{line:?} was answered {reply:?}, not {start:?}");
    }
}

/// Sends a short message and says goodbye.
async fn send_and_leave(setup: &Setup, mut client: Client) {
    let message = "Subject: scan\r\n\r\nok\r\n.\r\n";
    go_on(&mut client, &[(MAIL, "250"), (RCPT, "250"), ("DATA\r\n", "354"), (message, "250"), ("QUIT\r\n", "221")])
        .await;
    setup.deserted().await;
    assert_eq!(setup.control().submissions().len(), 1);
    assert_eq!(setup.control().violations(), Vec::<String>::new());
}
