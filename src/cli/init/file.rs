//! The files that `init` writes: the configuration, with a comment for each part, and the secret in a file of its own.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::answers::Answers;
use crate::cli::Failure;
use crate::cli::login::NewLogin;
use crate::config::{Config, Environment, Protocol};

/// Writes the configuration to `file` and the secret beside it; which files those are. Nothing is left where the
/// configuration would not be right.
pub(super) fn write(
    file: &Path,
    answers: &Answers,
    login: &NewLogin,
    environment: &Environment,
) -> Result<Vec<PathBuf>, Failure> {
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    make_folder(folder)?;
    let mut written = Vec::new();
    if let Some(secret) = &answers.secret {
        let secrets = folder.join("secrets");
        make_folder(&secrets)?;
        let path = secrets.join(secret_name(answers));
        create(&path, format!("{}\n", **secret).as_bytes())?;
        written.push(path);
    }
    let text = text(answers, login, environment.root && file.starts_with("/etc"));
    let right = Config::parse(&text, file, environment).map(drop).map_err(Failure::from);
    if let Err(failure) = right.and_then(|()| create(file, text.as_bytes())) {
        for path in written {
            // It was made a moment ago and nothing names it.
            _ = std::fs::remove_file(path);
        }
        return Err(failure);
    }
    written.push(file.to_owned());
    Ok(written)
}

/// A folder that nobody else looks into, where there is none.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    Ok(())
}

/// A new file that nobody else can read. One that is there is left alone.
fn create(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(())
}

/// Named after the mailbox, so that a second `init` in the same folder does not meet the first one's.
fn secret_name(answers: &Answers) -> String {
    let plain =
        |character: char| if character.is_ascii_alphanumeric() || "@.-_".contains(character) { character } else { '_' };
    answers.address.chars().map(plain).collect()
}

/// The configuration.
fn text(answers: &Answers, login: &NewLogin, of_the_system: bool) -> String {
    let mut text = String::from("# mailferry's configuration. Every key is in docs/reference.md.\n\n");
    if of_the_system {
        text.push_str("# Where it keeps tokens and logins.\nstate_dir = \"/var/lib/mailferry\"\n\n");
    }
    text.push_str("# Where programs and devices connect.\n");
    for protocol in &answers.protocols {
        let port = match protocol {
            Protocol::Smtp => 1587,
            Protocol::Imap => 1143,
            Protocol::Pop3 => 1110,
        };
        text.push_str(&format!("[[listener]]\nprotocol = \"{protocol}\"\nbind     = \"127.0.0.1:{port}\"\n\n"));
    }
    text.push_str("# The registration at the provider.\n[app.main]\n");
    let mut key = |name: &str, value: &str| text.push_str(&format!("{name:<13} = {value}\n"));
    let quoted = |value: &str| format!("\"{value}\"");
    key("provider", &quoted(answers.provider));
    key("grant", &quoted(answers.grant.name()));
    if let Some(tenant) = &answers.tenant {
        key("tenant", &quoted(tenant));
    }
    if let Some(client_id) = &answers.client_id {
        key("client_id", &quoted(client_id));
    }
    if answers.secret.is_some() {
        key("client_secret", &format!("{{ file = \"secrets/{}\" }}", secret_name(answers)));
    }
    if let Some(key_file) = &answers.key_file {
        key("service_account", &format!("{{ file = {} }}", toml::Value::from(key_file.as_str())));
    }
    let protocols: Vec<_> = answers.protocols.iter().map(|protocol| quoted(protocol.name())).collect();
    text.push_str(&format!(
        "\n# The mailbox, and who may use it: one [[account.login]] for each device.\n\
         [[account]]\naddress = \"{}\"\napp     = \"main\"\n\n  \
         # {}\n  [[account.login]]\n  username      = \"{}\"\n  password_hash = \"{}\"\n  protocols     = [{}]\n",
        answers.address,
        answers.device,
        answers.username(),
        login.hash(),
        protocols.join(", "),
    ));
    text
}

#[cfg(test)]
mod tests;
