//! The files that `init` writes: the configuration, with a comment for each part, and the secret in a file of its own.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ipnet::IpNet;

use super::Office;
use super::answers::Answers;
use super::devices::Device;
use crate::cli::Failure;
use crate::cli::login::NewLogin;
use crate::config::{self, Config, Environment, Protocol};

/// Writes the configuration to `file` and the secret beside it; which files those are. Nothing is left where the
/// configuration would not be right.
pub(super) fn write(
    file: &Path,
    answers: &Answers,
    logins: &[Option<NewLogin>],
    office: Option<&Office>,
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
    let mut text = opening(environment.root && file.starts_with("/etc"));
    match office {
        Some(office) => text.push_str(&door(office, answers.in_clear)),
        None => text.push_str(&listeners(&answers.protocols)),
    }
    text.push_str(&app(answers));
    text.push_str(&account(answers, logins, office));
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

/// What stands at the top.
fn opening(of_the_system: bool) -> String {
    let mut text = String::from("# mailferry's configuration. Every key is in docs/reference.md.\n\n");
    if of_the_system {
        text.push_str("# Where it keeps tokens and logins.\nstate_dir = \"/var/lib/mailferry\"\n\n");
    }
    text
}

/// Where programs on this machine connect.
fn listeners(protocols: &[Protocol]) -> String {
    let mut text = String::from("# Where programs and devices connect.\n");
    for protocol in protocols {
        let port = match protocol {
            Protocol::Smtp => 1587,
            Protocol::Imap => 1143,
            Protocol::Pop3 => 1110,
        };
        text.push_str(&format!("[[listener]]\nprotocol = \"{protocol}\"\nbind     = \"127.0.0.1:{port}\"\n\n"));
    }
    text
}

/// Where the devices of an office connect.
fn door(office: &Office, in_clear: bool) -> String {
    let any = match office.network {
        IpNet::V4(_) => "0.0.0.0",
        IpNet::V6(_) => "[::]",
    };
    let bind: Vec<_> = office.ports.iter().map(|port| format!("\"{any}:{port}\"")).collect();
    let bind = bind.join(", ");
    let networks = with_this_machine(&office.network);
    let mut text = format!(
        "# Where the devices connect: with TLS from the start (SSL/TLS), by STARTTLS, or without, on one port.\n\
         [[listener]]\nprotocol = \"smtp\"\nbind     = [{bind}]\ntls      = \"auto\"\n\
         # Who may connect: the network of the devices, and this machine. Each login has networks of its own besides.\n\
         allow    = [{networks}]\n"
    );
    let clear = format!("plaintext_login = [{networks}]\n\n");
    text.push_str(if in_clear {
        "# From where a password is taken without TLS: whoever listens on that network can read it.\n"
    } else {
        "# From where a password is taken without TLS: from this machine only, unless this line is brought to life.\n# "
    });
    text + &clear
}

/// The network of the devices and loopback, as a list, without what one of the others holds already.
fn with_this_machine(network: &IpNet) -> String {
    let own = config::loopback();
    let devices = Some(*network).filter(|network| !own.iter().any(|own| own.contains(network)));
    let own = own.iter().filter(|own| !network.contains(*own) || devices.is_none());
    let all = devices.iter().chain(own).map(|network| {
        if config::is_single(network) { format!("\"{}\"", network.addr()) } else { format!("\"{network}\"") }
    });
    all.collect::<Vec<_>>().join(", ")
}

/// The registration at the provider.
fn app(answers: &Answers) -> String {
    let mut text = String::from("# The registration at the provider.\n[app.main]\n");
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
    text
}

/// The mailbox, with a login for each device.
fn account(answers: &Answers, logins: &[Option<NewLogin>], office: Option<&Office>) -> String {
    let mut text = format!(
        "\n# The mailbox, and who may use it: one [[account.login]] for each device.\n\
         [[account]]\naddress = \"{}\"\napp     = \"main\"\n",
        answers.address
    );
    if office.is_some() {
        text.push_str(
            "\n  # Where a device cannot be told its sender, sender = \"force\" in its login writes the mailbox's.\n",
        );
    }
    for (device, login) in answers.devices.iter().zip(logins) {
        text.push_str(&login_table(device, login.as_ref(), answers, office));
    }
    text
}

fn login_table(device: &Device, login: Option<&NewLogin>, answers: &Answers, office: Option<&Office>) -> String {
    let mut keys = vec![("username", format!("\"{}\"", device.username))];
    if let Some(login) = login {
        let protocols: Vec<_> = answers.protocols.iter().map(|protocol| format!("\"{protocol}\"")).collect();
        keys.push(("password_hash", format!("\"{}\"", login.hash())));
        keys.push(("protocols", format!("[{}]", protocols.join(", "))));
    }
    match (device.address, office) {
        (Some(address), _) => {
            keys.push(("without_password", "true".into()));
            keys.push(("networks", format!("[\"{address}\"]")));
            keys.push(("recipients", format!("[\"{}\"]", answers.own_people())));
        }
        (None, Some(office)) => keys.push(("networks", format!("[\"{}\"]", office.network))),
        (None, None) => {}
    }
    let width = keys.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let lines = keys.iter().map(|(key, value)| format!("  {key:<width$} = {value}\n"));
    let whom = if device.address.is_some() { "; to write to others too, add them to recipients" } else { "" };
    format!("\n  # {}{whom}\n  [[account.login]]\n{}", device.name, lines.collect::<String>())
}

#[cfg(test)]
mod tests;
