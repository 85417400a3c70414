//! The configuration as its users meet it: what a good file means, and what is said about a bad one.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod accounts;
mod apps;
mod devices;
mod faults;
mod meaning;

use std::path::Path;

use mailferry::config::{Client, Config, Environment, Proof};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$UhmFTcz7ePsyjU8bRw7YEhTUQwwVVuD4CcOFuQr/YTQ";

/// The smallest file that is right. `HASH` stands for a hash.
const SMALLEST: &str = r#"
[[listener]]
protocol = "smtp"
bind = "127.0.0.1:1587"
[app.contoso]
provider = "microsoft"
grant = "client-credentials"
tenant = "contoso.onmicrosoft.com"
client_id = "the-app"
client_secret = "hunter2"
[[account]]
address = "Scanner@contoso.com"
app = "contoso"
[[account.login]]
password_hash = "HASH"
"#;

fn parse_in(text: &str, file: &Path, environment: &Environment) -> Result<Config, Vec<String>> {
    Config::parse(&text.replace("HASH", HASH), file, environment)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    parse_in(text, Path::new("/nowhere/m.toml"), &Environment::of_variables([]))
}

/// What is said about a file, without the file's name.
fn faults(text: &str) -> Vec<String> {
    let faults = parse(text).expect_err(text);
    faults
        .iter()
        .map(|fault| fault.strip_prefix("/nowhere/m.toml:").expect("the file's name").to_owned())
        .collect()
}

/// The smallest file with one part changed.
fn with(part: &str, instead: &str) -> String {
    assert!(SMALLEST.contains(part), "{part}");
    SMALLEST.replacen(part, instead, 1)
}

/// The smallest file with lines before it, from line 1 on.
fn with_top(lines: &str) -> String {
    format!("{lines}{SMALLEST}")
}

/// The smallest file with lines behind it, from line 16 on.
fn with_end(lines: &str) -> String {
    format!("{SMALLEST}{lines}\n")
}

#[track_caller]
fn assert_fault(text: &str, fault: &str) {
    assert_eq!(faults(text), [fault], "{text}");
}

/// The one secret of an app.
fn secret_of(client: &Client) -> String {
    let Proof::Secrets(secrets) = &client.proof else { panic!("no secret") };
    let [secret] = secrets.as_slice() else { panic!("{} secrets", secrets.len()) };
    secret.read().unwrap().expose().to_owned()
}
