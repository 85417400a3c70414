//! `mailferry login`: user names and passwords made while the gateway runs, one for each device.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::Subcommand;
use zeroize::Zeroizing;

use super::office::{ask, done, unexpected, within};
use super::{Failure, passwd};
use crate::app::office::Office;
use crate::config::Protocol;
use crate::control::{AddLogin, Answer, LoginStatus, Request};
use crate::secret::Password;

/// How long an old password is still taken after `rotate`, unless it is said.
const GRACE: &str = "24h";

/// Make, list and end the logins of devices and programs
///
/// Those made here live in the store and work at once; those of the configuration file are shown as "from the file".
#[derive(Debug, Subcommand)]
pub(super) enum Args {
    /// Make a login for an account, with a password that is printed once
    Add(Add),
    /// List all logins: number, user name, account, from where, last use
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// End a login: it is refused within a second, and its sessions end
    Revoke {
        /// Its number, from `mailferry login list`
        #[arg(value_parser = number)]
        id: i64,
    },
    /// Give a login a new password; the old one is taken for a while longer
    Rotate {
        /// Its number, from `mailferry login list`
        #[arg(value_parser = number)]
        id: i64,
        /// How long the old password is still taken, as in 24h or 0s
        #[arg(long, value_name = "TIME", default_value = GRACE, value_parser = super::duration)]
        grace: std::time::Duration,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// The account's address
    account: String,
    /// The user name [default: made of the device's name, else the address]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// What it is for, in words, as in "Scanner 3rd floor"
    #[arg(long, value_name = "NAME", default_value = "")]
    device: String,
    /// From where it may log in, as in 192.168.7.0/24; may be given several times [default: whatever the listener allows]
    #[arg(long = "from", value_name = "NETWORK")]
    networks: Vec<String>,
    /// What it may speak: smtp, imap or pop3; may be given several times [default: all three]
    #[arg(long = "protocol", value_name = "PROTOCOL", value_parser = super::protocol)]
    protocols: Vec<Protocol>,
}

/// A login's number, as an argument.
fn number(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| "it must be the number that `mailferry login list` shows".into())
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    within(config, async |office| match args {
        Args::Add(add) => {
            let login = NewLogin::make(add.username.clone(), &add.device)?;
            let wanted = login.wanted(&add.account, &add.device, &add.protocols, &add.networks);
            made(office, Request::AddLogin(wanted), &login).await
        }
        Args::List { json } => {
            let Answer::Logins(logins) = ask(office, Request::Logins).await? else { return Err(unexpected()) };
            let text = if *json {
                serde_json::to_string_pretty(&logins).context("the logins cannot be written as JSON")? + "\n"
            } else {
                table(&logins)
            };
            show(&text)
        }
        Args::Revoke { id } => done(office, Request::RevokeLogin { id: *id }).await,
        Args::Rotate { id, grace } => {
            let login = NewLogin::make(None, "")?;
            let request = Request::RotateLogin { id: *id, password_hash: login.hash.clone(), grace: grace.as_secs() };
            made(office, request, &login).await
        }
    })
    .await
}

/// Has a login made, and shows it.
async fn made(office: &mut Office, request: Request, login: &NewLogin) -> Result<(), Failure> {
    let Answer::Login { id, username } = ask(office, request).await? else { return Err(unexpected()) };
    show(&format!("login {id}: user {username}, password {} (shown only now)\n", *login.password))
}

/// A login with a password that nobody has seen yet.
pub(super) struct NewLogin {
    pub(super) username: Option<String>,
    pub(super) password: Zeroizing<String>,
    hash: String,
}

impl NewLogin {
    /// `username`, or one made of the device's name, or none.
    pub(super) fn make(username: Option<String>, device: &str) -> Result<Self, Failure> {
        let password = passwd::generate()?;
        let hash = passwd::hash(&Password::new(password.as_bytes().to_vec()))?.to_string();
        let username = username.or_else(|| Some(panel_name(device)).filter(|name| !name.is_empty()));
        Ok(Self { username, password, hash })
    }

    /// The password's hash.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// What is asked to be made.
    pub(super) fn wanted(&self, account: &str, device: &str, protocols: &[Protocol], networks: &[String]) -> AddLogin {
        AddLogin {
            account: account.to_owned(),
            username: self.username.clone(),
            device: device.to_owned(),
            password_hash: self.hash.clone(),
            protocols: protocols.to_vec(),
            networks: networks.to_vec(),
        }
    }
}

/// A device's name as a user name that a printer's panel can take: lower-case letters, digits and hyphens. Letters with
/// marks lose them; of a script that has no such letters nothing is left.
pub(super) fn panel_name(device: &str) -> String {
    const LONGEST: usize = 32;
    let mut name = String::new();
    for character in device.chars().flat_map(char::to_lowercase) {
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if let Some(letters) = without_marks(character) {
            name.push_str(letters);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(LONGEST);
    name.trim_end_matches('-').to_owned()
}

/// The plain letters that a lower-case letter of Europe's Latin alphabets is read as. A mark by itself is nothing.
const fn without_marks(letter: char) -> Option<&'static str> {
    Some(match letter {
        '\u{300}'..='\u{36f}' => "",
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ð' | 'ď' | 'đ' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'þ' => "th",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

fn show(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("the result cannot be written to standard output")?;
    Ok(())
}

fn table(logins: &[LoginStatus]) -> String {
    let mut text = String::new();
    for login in logins {
        let id = login.id.map_or_else(|| "from the file".into(), |id| format!("login {id}"));
        let protocols: Vec<_> = login.protocols.iter().map(|protocol| protocol.name()).collect();
        let device = if login.device.is_empty() { String::new() } else { format!(" ({})", login.device) };
        let _ = write!(text, "{id:<13} {}{device}: {}, {}", login.username, login.account, protocols.join(" "));
        if !login.networks.is_empty() {
            let _ = write!(text, ", from {}", login.networks.join(" "));
        }
        match (login.used, login.from) {
            (Some(used), Some(from)) => {
                let _ = write!(text, ", last used {} from {from}", used.strftime("%Y-%m-%d %H:%M UTC"));
            }
            _ => text.push_str(", never used"),
        }
        if login.unseen {
            text.push_str(", not for 90 days: revoke it if it is gone");
        }
        if let Some(ends) = login.ends {
            let _ = write!(text, ", its password was replaced and ends {}", ends.strftime("%Y-%m-%d %H:%M UTC"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_name_makes_a_user_name_for_a_panel() {
        for (device, name) in [
            ("Scanner 3rd floor", "scanner-3rd-floor"),
            ("  HP LaserJet (M-400)  ", "hp-laserjet-m-400"),
            ("Büro Kopierer", "buro-kopierer"),
            ("ŁÓDŹ, Straße 9, bu\u{308}ro", "lodz-strasse-9-buro"),
            ("Сканер 3", "3"),
            ("", ""),
            ("日本", ""),
        ] {
            assert_eq!(panel_name(device), name);
        }
        assert_eq!(panel_name(&"a".repeat(99)).len(), 32);
    }

    #[test]
    fn a_list_tells_where_and_when() {
        let used = "2027-03-01T09:30:00Z".parse().unwrap();
        let login = LoginStatus {
            id: Some(7),
            account: "scanner@contoso.com".into(),
            username: "scanner-3".into(),
            device: "Scanner 3rd floor".into(),
            protocols: vec![Protocol::Smtp],
            networks: vec!["192.168.7.0/24".into()],
            ends: None,
            used: Some(used),
            from: Some([192, 168, 7, 20].into()),
            unseen: true,
        };
        let of_file = LoginStatus {
            id: None,
            device: String::new(),
            networks: vec![],
            used: None,
            from: None,
            unseen: false,
            ..login.clone()
        };
        assert_eq!(
            table(&[login, of_file]),
            "login 7       scanner-3 (Scanner 3rd floor): scanner@contoso.com, smtp, from 192.168.7.0/24, last used \
             2027-03-01 09:30 UTC from 192.168.7.20, not for 90 days: revoke it if it is gone\n\
             from the file scanner-3: scanner@contoso.com, smtp, never used\n"
        );
    }
}
