//! The questions themselves, in order, and what the answers mean.

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::devices::{self, Device};
use super::questions::Questions;
use crate::config::Protocol;

/// What was answered.
pub(super) struct Answers {
    pub(super) address: String,
    pub(super) provider: &'static str,
    pub(super) grant: GrantChoice,
    pub(super) tenant: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) secret: Option<Zeroizing<String>>,
    /// The path of a service account's key file.
    pub(super) key_file: Option<String>,
    pub(super) protocols: Vec<Protocol>,
    pub(super) devices: Vec<Device>,
    /// Whether passwords are taken without TLS from the network of the devices.
    pub(super) in_clear: bool,
}

/// How mailferry gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrantChoice {
    ClientCredentials,
    Browser,
    DeviceCode,
    ServiceAccount,
}

impl GrantChoice {
    /// The name in the file.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client-credentials",
            Self::Browser => "authorization-code",
            Self::DeviceCode => "device-code",
            Self::ServiceAccount => "service-account",
        }
    }

    /// Whether somebody has to sign in.
    pub(super) const fn is_a_persons(self) -> bool {
        matches!(self, Self::Browser | Self::DeviceCode)
    }
}

const PROVIDERS: [(&str, &str); 12] = [
    ("Microsoft 365, of an organisation", "microsoft"),
    ("Google: Gmail or Workspace", "google"),
    ("Outlook.com, Hotmail: a personal mailbox", "outlook"),
    ("Microsoft 365 GCC High", "microsoft-gcc-high"),
    ("Microsoft 365 DoD", "microsoft-dod"),
    ("Microsoft 365 in China (21Vianet)", "microsoft-china"),
    ("Fastmail", "fastmail"),
    ("Yahoo", "yahoo"),
    ("AOL", "aol"),
    ("Yandex", "yandex"),
    ("Mail.ru", "mailru"),
    ("Comcast", "comcast"),
];

const ORGANISATION: [(&str, GrantChoice); 3] = [
    (
        "The app for itself: an Entra and an Exchange administrator allow it once, and nobody ever signs in",
        GrantChoice::ClientCredentials,
    ),
    ("You sign in once, in a browser", GrantChoice::Browser),
    ("You sign in once, with a code on another device (blocked in many organisations)", GrantChoice::DeviceCode),
];

const GOOGLE: [(&str, GrantChoice); 2] = [
    ("You sign in once, in a browser", GrantChoice::Browser),
    (
        "A service account with domain-wide delegation: an administrator of Workspace allows it once",
        GrantChoice::ServiceAccount,
    ),
];

const PERSONAL: [(&str, GrantChoice); 2] = [
    ("You sign in once, in a browser", GrantChoice::Browser),
    ("You sign in once, with a code on another device", GrantChoice::DeviceCode),
];

const USES: [(&str, &[Protocol]); 4] = [
    ("To send (SMTP)", &[Protocol::Smtp]),
    ("To send and to read (SMTP and IMAP)", &[Protocol::Smtp, Protocol::Imap]),
    ("To send and to fetch (SMTP and POP3)", &[Protocol::Smtp, Protocol::Pop3]),
    ("To read (IMAP)", &[Protocol::Imap]),
];

/// Whether passwords are taken in clear.
const TLS: [(&str, bool); 2] = [
    ("Yes: no password is taken in clear", false),
    ("No, or not known: whoever listens on their network can read the passwords of those that cannot", true),
];

impl Answers {
    /// Asks what has to be known: eight questions at most. `office` is the network of the devices, where it is for more
    /// than one.
    pub(super) fn ask(questions: &mut Questions<'_>, office: Option<&IpNet>) -> anyhow::Result<Self> {
        let address = questions.text("The mailbox's address", None, address)?;
        let provider = questions.choice("Where is the mailbox?", &PROVIDERS)?;
        let is_microsofts = provider.starts_with("microsoft");
        let grant = match provider {
            "google" => questions.choice("How does mailferry get in?", &GOOGLE)?,
            "outlook" => questions.choice("How does mailferry get in?", &PERSONAL)?,
            _ if is_microsofts => questions.choice("How does mailferry get in?", &ORGANISATION)?,
            _ => GrantChoice::Browser,
        };
        let domain = address.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        let tenant = if is_microsofts {
            Some(questions.text("The tenant: the directory's id or a domain of it", domain.as_deref(), one_word)?)
        } else {
            None
        };
        let mut answers = Self {
            address,
            provider,
            grant,
            tenant,
            client_id: None,
            secret: None,
            key_file: None,
            protocols: Vec::new(),
            devices: Vec::new(),
            in_clear: false,
        };
        answers.ask_for_the_app(questions)?;
        if let Some(office) = office {
            answers.protocols = vec![Protocol::Smtp];
            let question = "The devices, with commas between them; NAME=ADDRESS for one that cannot log in at all, as in \
                            \"Scanner 3rd floor, Plotter=192.168.7.20\"";
            answers.devices = questions.text(question, None, |answer| devices::listed(answer, office))?;
            let with_password = answers.devices.iter().any(|device| device.address.is_none());
            answers.in_clear = with_password && questions.choice("Can all that log in speak TLS?", &TLS)?;
        } else {
            answers.protocols = questions.choice("What is it for?", &USES)?.to_vec();
            let question = "What will use it, as in \"Scanner 3rd floor\"";
            answers.devices =
                vec![questions.text(question, Some("scanner"), |name| devices::one(name, &answers.address))?];
        }
        Ok(answers)
    }

    fn ask_for_the_app(&mut self, questions: &mut Questions<'_>) -> anyhow::Result<()> {
        match self.grant {
            GrantChoice::ServiceAccount => {
                self.key_file = Some(questions.text("The service account's key file (JSON)", None, readable)?);
            }
            GrantChoice::ClientCredentials => {
                self.client_id = Some(questions.text("The application (client) id", None, one_word)?);
                let secret = questions.secret("The client secret's value (it is not shown)")?;
                self.secret = Some(secret.ok_or_else(|| anyhow::anyhow!("without a client secret it cannot go on"))?);
            }
            GrantChoice::Browser | GrantChoice::DeviceCode => {
                self.client_id = Some(questions.text("The application (client) id", None, one_word)?);
                self.secret = questions.secret("The client secret, if the app has one (it is not shown)")?;
            }
        }
        Ok(())
    }

    /// To whom a device writes that has no password: the organisation's people. Where strangers share the mailbox's domain,
    /// the mailbox.
    pub(super) fn own_people(&self) -> &str {
        let domain = self.address.rfind('@').map_or(self.address.as_str(), |at| &self.address[at..]);
        let public = ["@gmail.com", "@googlemail.com", "@fastmail.com"];
        let shared = public.iter().any(|public| domain.eq_ignore_ascii_case(public));
        let has_domain = self.provider.starts_with("microsoft") || matches!(self.provider, "google" | "fastmail");
        if has_domain && !shared { domain } else { &self.address }
    }

    /// What an administrator of Microsoft 365 has to do, where somebody has.
    pub(super) fn for_the_administrator(&self) -> Option<String> {
        if !self.provider.starts_with("microsoft") {
            return None;
        }
        let address = &self.address;
        if self.grant != GrantChoice::ClientCredentials {
            let smtp = self.protocols.contains(&Protocol::Smtp);
            let what = format!(
                "An Exchange administrator allows authenticated SMTP, in PowerShell:\n\n    \
                 Connect-ExchangeOnline\n    Set-CASMailbox {address} -SmtpClientAuthenticationDisabled $false\n"
            );
            return smtp.then_some(what);
        }
        let client_id = self.client_id.as_deref().unwrap_or_default();
        let mut text = String::from(
            "An Exchange administrator allows the app, in PowerShell. ENTERPRISE-OBJECT-ID is the Object ID on its\n   page under Enterprise applications in Entra, not the one under App registrations:\n\n    Connect-ExchangeOnline\n",
        );
        let mut line = |line: &str| {
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        };
        line("$objectId = \"ENTERPRISE-OBJECT-ID\"");
        line(&format!("New-ServicePrincipal -AppId {client_id} -ObjectId $objectId -DisplayName mailferry"));
        if self.protocols.contains(&Protocol::Smtp) {
            line(&format!("New-DistributionGroup -Name \"mailferry senders\" -Type Security -Members {address}"));
            line("$group = (Get-DistributionGroup \"mailferry senders\").DistinguishedName");
            line(
                "New-ManagementScope -Name \"mailferry senders\" -RecipientRestrictionFilter \"MemberOfGroup -eq '$group'\"",
            );
            line(
                "New-ManagementRoleAssignment -Name \"mailferry SMTP\" -App $objectId -Role \"Application SMTP.SendAsApp\" -CustomResourceScope \"mailferry senders\"",
            );
            line(&format!("Set-CASMailbox {address} -SmtpClientAuthenticationDisabled $false"));
        }
        let reads = self.protocols.iter().filter(|protocol| **protocol != Protocol::Smtp).count() > 0;
        if reads {
            line(&format!("Add-MailboxPermission -Identity {address} -User $objectId -AccessRights FullAccess"));
            text.push_str("\n   and an Entra administrator gives the app IMAP.AccessAsApp and POP.AccessAsApp (Office 365 Exchange Online,\n   application permissions) with admin consent.\n");
        }
        Some(text)
    }
}

fn address(answer: &str) -> Result<String, String> {
    let halves = answer
        .split_once('@')
        .filter(|(local, domain)| !local.is_empty() && domain.contains('.'));
    match halves {
        Some(_)
            if answer
                .bytes()
                .all(|octet| octet.is_ascii_graphic() && octet != b'"' && octet != b'\\') =>
        {
            Ok(answer.to_owned())
        }
        _ => Err("an address, please, as in scanner@contoso.com".into()),
    }
}

fn one_word(answer: &str) -> Result<String, String> {
    let fits = !answer.is_empty()
        && answer
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && !b"\"\\".contains(&octet));
    if fits { Ok(answer.to_owned()) } else { Err("one word without spaces, please".into()) }
}

fn readable(answer: &str) -> Result<String, String> {
    match std::fs::metadata(answer) {
        Ok(metadata) if metadata.is_file() => std::path::absolute(answer)
            .map(|path| path.display().to_string())
            .map_err(|error| error.to_string()),
        Ok(_) => Err(format!("{answer} is no file")),
        Err(error) => Err(format!("{answer} cannot be read: {error}")),
    }
}
