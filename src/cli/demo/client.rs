//! The demo's legacy program: it knows host, port, user name and password, and nothing of OAuth.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::scene::Part;
use crate::config::Protocol;
use crate::proto::sasl::{self, plain::Plain};
use crate::secret::Password;

/// The user name at the gateway.
pub(super) const USERNAME: &str = "scanner";

/// The message that makes the round. No line of it begins with a dot, so it reads the same everywhere.
const MESSAGE: &str = "From: Scanner <scanner@contoso.example>\r\n\
    To: office@contoso.example\r\n\
    Subject: Scan 0001\r\n\
    \r\n\
    One page, scanned on the third floor.\r\n";

/// What the demo shows, in order.
pub(super) const PARTS: [Part; 3] = [
    Part { protocol: Protocol::Smtp, title: "The scanner sends a message over SMTP" },
    Part { protocol: Protocol::Imap, title: "A mail program reads it over IMAP" },
    Part { protocol: Protocol::Pop3, title: "An old program fetches it over POP3" },
];

/// Plays one part against the gateway; what was said, a line each.
pub(super) async fn play(protocol: Protocol, gateway: SocketAddr, password: &str) -> anyhow::Result<Vec<String>> {
    let mut talk = Talk::with(gateway).await.context("the gateway does not answer")?;
    match protocol {
        Protocol::Smtp => send(&mut talk, password).await?,
        Protocol::Imap => read_by_imap(&mut talk, password).await?,
        Protocol::Pop3 => read_by_pop3(&mut talk, password).await?,
    }
    Ok(talk.said)
}

async fn send(talk: &mut Talk, password: &str) -> anyhow::Result<()> {
    let credentials = Plain { authzid: Vec::new(), authcid: USERNAME.into(), password: Password::new(password.into()) };
    let secret = sasl::encode_base64(&credentials.encode());
    talk.expect("220 ").await?;
    talk.ask("EHLO scanner", "250 ").await?;
    talk.ask_secretly(&format!("AUTH PLAIN {}", *secret), &secret, "235 ").await?;
    talk.ask("MAIL FROM:<scanner@contoso.example>", "250 ").await?;
    talk.ask("RCPT TO:<office@contoso.example>", "250 ").await?;
    talk.ask("DATA", "354 ").await?;
    talk.ask(&format!("{MESSAGE}."), "250 ").await?;
    talk.ask("QUIT", "221 ").await
}

async fn read_by_imap(talk: &mut Talk, password: &str) -> anyhow::Result<()> {
    talk.expect("* OK").await?;
    talk.ask_secretly(&format!("a1 LOGIN office {password}"), password, "a1 OK")
        .await?;
    talk.ask("a2 SELECT INBOX", "a2 OK").await?;
    let fetched = talk.said.len();
    talk.ask("a3 FETCH 1 BODY[]", "a3 OK").await?;
    ensure!(
        talk.said[fetched..].join("\r\n").contains(&shown(MESSAGE)),
        "IMAP gave back another message than SMTP took"
    );
    talk.ask("a4 LOGOUT", "a4 OK").await
}

async fn read_by_pop3(talk: &mut Talk, password: &str) -> anyhow::Result<()> {
    talk.expect("+OK").await?;
    talk.ask("USER office", "+OK").await?;
    talk.ask_secretly(&format!("PASS {password}"), password, "+OK").await?;
    talk.ask("STAT", "+OK 1 ").await?;
    let fetched = talk.said.len();
    talk.ask("RETR 1", ".").await?;
    ensure!(
        talk.said[fetched..].join("\r\n").contains(&shown(MESSAGE)),
        "POP3 gave back another message than SMTP took"
    );
    talk.ask("QUIT", "+OK").await
}

/// How a message's lines look among what the server said.
fn shown(message: &str) -> String {
    message
        .trim_end()
        .split("\r\n")
        .map(|line| format!("    S: {line}"))
        .collect::<Vec<_>>()
        .join("\r\n")
}

/// A dialogue in lines, kept for printing.
struct Talk {
    connection: BufReader<TcpStream>,
    said: Vec<String>,
}

impl Talk {
    async fn with(server: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { connection: BufReader::new(TcpStream::connect(server).await?), said: Vec::new() })
    }

    /// Says `command`, and reads until a line that begins as the good answer does.
    async fn ask(&mut self, command: &str, good: &str) -> anyhow::Result<()> {
        self.ask_secretly(command, "", good).await
    }

    /// As [`Self::ask`]; `secret` is shortened in what is kept.
    async fn ask_secretly(&mut self, command: &str, secret: &str, good: &str) -> anyhow::Result<()> {
        let shown = if secret.is_empty() { command.to_owned() } else { command.replace(secret, &shortened(secret)) };
        self.said.extend(shown.split("\r\n").map(|line| format!("    C: {line}")));
        self.connection.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.expect(good).await
    }

    async fn expect(&mut self, good: &str) -> anyhow::Result<()> {
        loop {
            let mut line = String::new();
            let count = (&mut self.connection).take(64 * 1024).read_line(&mut line).await?;
            ensure!(count > 0, "the gateway hung up where {good:?} was expected");
            let line = line.trim_end();
            self.said.push(format!("    S: {line}"));
            if line.starts_with(good) {
                return Ok(());
            }
            let bad = [b'4', b'5'].contains(&line.as_bytes().first().copied().unwrap_or_default())
                || line.starts_with("-ERR")
                || line.contains(" NO ")
                || line.contains(" BAD ");
            ensure!(!bad, "the gateway answered {line:?} where {good:?} was expected");
        }
    }
}

/// Enough of a secret to recognise it, not enough to use it.
fn shortened(secret: &str) -> String {
    format!("{}...({} characters)", &secret[..secret.floor_char_boundary(4)], secret.len())
}
