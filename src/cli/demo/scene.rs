//! The demo's stage: a simulated provider, a configuration like a real one, and the gateway between the two.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use zeroize::Zeroizing;

use super::client;
use crate::app::Gateway;
use crate::cli::passwd;
use crate::config::{Config, Environment, Protocol};
use crate::secret::Password;
use crate::sim::{self, Direction, Simulator};

/// One part of the demo.
pub(super) struct Part {
    pub(super) protocol: Protocol,
    pub(super) title: &'static str,
}

/// Everything that runs during the demo.
pub(super) struct Scene {
    provider: Simulator,
    gateway: Gateway,
    /// Thrown away when the demo ends, and good for this demo only.
    password: Zeroizing<String>,
    folder: Folder,
}

impl Scene {
    /// Starts it all. `usual_ports`: 1587, 1143 and 1110 where they are free.
    pub(super) async fn set(usual_ports: bool) -> anyhow::Result<Self> {
        let options = options()?;
        let provider = Simulator::start(options.clone())
            .await
            .context("cannot start the simulated provider")?;
        let password = passwd::generate()?;
        let folder = Folder::make()?;
        std::fs::write(folder.0.join("provider-ca.pem"), provider.ca_pem())?;
        let text = configuration(
            &provider,
            &options,
            &passwd::hash(&Password::new(password.as_bytes().to_vec()))?.to_string(),
            usual_ports,
        );
        let file = folder.0.join("mailferry.toml");
        create(&file, &text)?;
        let config = Config::parse(&text, &file, &Environment::of_process())?;
        let gateway = Gateway::start(config).await?;
        Ok(Self { provider, gateway, password, folder })
    }

    pub(super) fn introduce(&self, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(
            out,
            "The parts, all of them on this machine:\n\
             \x20 provider   simulated, in the manner of Microsoft: takes OAuth tokens (XOAUTH2) only, over TLS\n\
             \x20 mailferry  logs in there with a token that it gets by itself\n\
             \x20 programs   know a user name and a password"
        )?;
        Ok(())
    }

    /// Plays one part and prints both of its dialogues: the program's and the provider's.
    pub(super) async fn play(&self, part: Part, out: &mut impl Write) -> anyhow::Result<()> {
        let before = self.provider.control().dialogue().len();
        let Part { protocol, title } = part;
        let said = client::play(protocol, self.address(protocol)?, &self.password)
            .await
            .with_context(|| title.to_owned())?;
        writeln!(out, "\n== {title} ==\n  program (C) and mailferry (S):")?;
        for line in said {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "  mailferry (C) and the provider (S), tokens shortened:")?;
        for (protocol, direction, line) in self.provider.control().dialogue().into_iter().skip(before) {
            let side = match direction {
                Direction::ToProvider => 'C',
                Direction::FromProvider => 'S',
            };
            let channel = if protocol == sim::Protocol::Http { " (HTTP)" } else { "" };
            writeln!(out, "    {side}:{channel} {line}")?;
        }
        Ok(())
    }

    /// How to connect to what stays up.
    pub(super) fn explain(&self, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(out, "\nNow try it with a program of your own, until Ctrl-C:")?;
        for protocol in Protocol::ALL {
            let address = self.address(protocol)?;
            writeln!(out, "  {protocol:<5} host {}, port {}, no encryption", address.ip(), address.port())?;
        }
        writeln!(out, "  user  {} (or office, the other mailbox)", client::USERNAME)?;
        writeln!(out, "  password  {}", *self.password)?;
        let file = self.folder.0.join("mailferry.toml");
        writeln!(out, "The configuration that does this: {}", file.display())?;
        writeln!(out, "Other commands can be tried with it: mailferry --config {} watch", file.display())?;
        let smtp = self.address(Protocol::Smtp)?;
        writeln!(
            out,
            "For example: curl smtp://{smtp} --user {}:{} --mail-from scanner@contoso.example \\\n\
             \x20   --mail-rcpt office@contoso.example --upload-file MESSAGE",
            client::USERNAME,
            *self.password
        )?;
        Ok(())
    }

    /// Ends it all.
    pub(super) async fn strike(self) {
        self.gateway.drain().await;
        self.provider.shutdown().await;
    }

    fn address(&self, protocol: Protocol) -> anyhow::Result<SocketAddr> {
        let mut bound = self.gateway.bound().iter();
        let found = bound.find(|bound| bound.listener.protocol == protocol);
        found
            .map(|bound| bound.address)
            .ok_or_else(|| anyhow!("the gateway does not listen for {protocol}"))
    }
}

/// What is simulated. Its client secret is of this demo only: other users of the machine can reach the token endpoint.
fn options() -> anyhow::Result<sim::Options> {
    Ok(sim::Options {
        mailboxes: vec!["scanner@contoso.example".into(), "office@contoso.example".into()],
        client_secret: passwd::generate()?.to_string(),
        ..sim::Options::default()
    })
}

/// A configuration as an administrator would write it, but for the provider.
fn configuration(provider: &Simulator, options: &sim::Options, hash: &str, usual_ports: bool) -> String {
    let mut text =
        String::from("state_dir = \"state\"\nhostname = \"mailferry.example\"\n\n[log]\nlevel = \"error\"\n");
    for (protocol, usual) in Protocol::ALL.into_iter().zip([1587, 1143, 1110]) {
        let port = if usual_ports { free_or_any(usual) } else { 0 };
        text +=
            &format!("\n[[listener]]\nname = \"{protocol}\"\nprotocol = \"{protocol}\"\nbind = \"127.0.0.1:{port}\"\n");
    }
    text += &format!(
        "\n[provider.simulated]\n\
         token_url = \"{}\"\n\
         scopes = [\"https://outlook.office365.com/.default\"]\n\
         smtp = {{ host = \"localhost\", port = {}, tls = \"starttls\" }}\n\
         imap = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n\
         pop3 = {{ host = \"localhost\", port = {}, tls = \"implicit\" }}\n\
         ca = \"provider-ca.pem\"\n\
         \n[app.contoso]\n\
         provider = \"simulated\"\n\
         grant = \"client-credentials\"\n\
         client_id = \"{}\"\n\
         client_secret = \"{}\"\n",
        provider.token_url(),
        provider.smtp().port(),
        provider.imap().port(),
        provider.pop3().port(),
        options.client_id,
        options.client_secret,
    );
    for (mailbox, username) in options.mailboxes.iter().zip([client::USERNAME, "office"]) {
        text += &format!(
            "\n[[account]]\naddress = \"{mailbox}\"\napp = \"contoso\"\n\n  \
             [[account.login]]\n  username = \"{username}\"\n  password_hash = \"{hash}\"\n"
        );
    }
    text
}

fn free_or_any(port: u16) -> u16 {
    TcpListener::bind(("127.0.0.1", port)).map_or(0, |_| port)
}

/// A folder of our own for the demo's files; gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let unique = passwd::generate()?;
        let path = std::env::temp_dir().join(format!("mailferry-demo-{}", *unique));
        private(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is a simulated provider's certificate and a password that opens nothing any more.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file that nobody else can read, as one with passwords and secrets should be.
fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(unix)]
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn private(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_demo_has_a_client_secret_of_its_own() {
        let secrets = [(); 2].map(|()| options().unwrap().client_secret);
        assert_ne!(secrets[0], secrets[1]);
        assert!(!secrets.contains(&sim::Options::default().client_secret));
    }
}
