//! A scripted IMAP server without TLS, for what the simulator does not do.

use mailferry::app::Gateway;
use mailferry::sim::{Options, Simulator};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{ADDRESS, Setup, Wanted, login_table};

/// The password of the login `scripted`.
pub const PASSWORD: &str = "another-password";

/// A gateway whose login `scripted` leads to the listener.
pub async fn setup() -> (Setup, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = Simulator::start(Options { mailboxes: vec![ADDRESS.into()], ..Options::default() })
        .await
        .unwrap();
    let options = Options::default();
    let tables = format!(
        "[provider.scripted]\ntoken_url = \"{}\"\nscopes = [\"https://outlook.office365.com/.default\"]\n\
         imap = {{ host = \"127.0.0.1\", port = {}, tls = \"none\" }}\n\
         [[account]]\naddress = \"scripted@contoso.example\"\nprovider = \"scripted\"\n\
         grant = \"client-credentials\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\n{}",
        provider.token_url(),
        listener.local_addr().unwrap().port(),
        options.client_id,
        options.client_secret,
        login_table("scripted", PASSWORD.as_bytes(), ""),
    );
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted { tables, ..Wanted::default() };
    let gateway = Gateway::start(Setup::configuration(&provider, &folder, &wanted)).await.unwrap();
    (Setup { provider, gateway, folder }, listener)
}

/// Greets the gateway and reads its AUTHENTICATE; the connection, and the tag.
pub async fn asked(listener: &TcpListener) -> (BufReader<TcpStream>, String) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = BufReader::new(stream);
    say(&mut connection, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready").await;
    let line = hear(&mut connection).await;
    let (tag, command) = line.split_once(' ').unwrap();
    assert!(command.starts_with("AUTHENTICATE XOAUTH2 "), "{command}");
    (connection, tag.to_owned())
}

/// Sends a line.
pub async fn say(connection: &mut BufReader<TcpStream>, line: &str) {
    connection.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
}

/// The next line with its end; an empty string at the end of the stream.
pub async fn hear(connection: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    connection.read_line(&mut line).await.unwrap();
    line
}
