//! What Exchange Online, Dovecot and Gmail say where they say it differently.

use crate::sim::Personality;
use crate::sim::clock::Date;
use crate::sim::faults::Refusal;

const HOST: &str = "SIM0PR01CA0001.simulated.example";

/// What Gmail puts behind its replies.
const GSMTP: &str = "a640c23a62f3a-simulated - gsmtp";

/// The replies of one personality.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice(Personality);

impl Voice {
    pub(super) const fn new(personality: Personality) -> Self {
        Self(personality)
    }

    pub(super) const fn personality(self) -> Personality {
        self.0
    }

    pub(super) fn greeting(self) -> String {
        match self.0 {
            Personality::Microsoft => {
                let now = Date::now().mail();
                format!("220 {HOST} Microsoft ESMTP MAIL Service ready at {now} [08DCE8B62813AB2B]")
            }
            Personality::Dovecot => format!("220 {HOST} Dovecot ready."),
            Personality::Gmail => format!("220 smtp.simulated.example ESMTP {GSMTP}"),
        }
    }

    /// The first line of the answer to EHLO, and the only one to HELO.
    pub(super) fn hello(self) -> String {
        match self.0 {
            Personality::Microsoft => format!("{HOST} Hello [127.0.0.1]"),
            Personality::Dovecot => HOST.into(),
            Personality::Gmail => "smtp.simulated.example at your service, [127.0.0.1]".into(),
        }
    }

    /// What EHLO offers.
    pub(super) fn capabilities(self, tls: bool, max_message: usize) -> Vec<String> {
        let size = format!("SIZE {max_message}");
        let lines: &[&str] = match (self.0, tls) {
            (Personality::Microsoft, false) => &[
                &size,
                "PIPELINING",
                "DSN",
                "ENHANCEDSTATUSCODES",
                "STARTTLS",
                "8BITMIME",
                "BINARYMIME",
                "CHUNKING",
                "SMTPUTF8",
            ],
            (Personality::Microsoft, true) => &[
                &size,
                "PIPELINING",
                "DSN",
                "ENHANCEDSTATUSCODES",
                "AUTH LOGIN XOAUTH2",
                "8BITMIME",
                "BINARYMIME",
                "CHUNKING",
                "SMTPUTF8",
            ],
            (Personality::Dovecot, false) => {
                &["8BITMIME", "BURL imap", "CHUNKING", "ENHANCEDSTATUSCODES", &size, "STARTTLS", "PIPELINING"]
            }
            (Personality::Dovecot, true) => {
                &["8BITMIME", "AUTH XOAUTH2", "BURL imap", "CHUNKING", "ENHANCEDSTATUSCODES", &size, "PIPELINING"]
            }
            (Personality::Gmail, false) => {
                &[&size, "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "SMTPUTF8"]
            }
            (Personality::Gmail, true) => &[
                &size,
                "8BITMIME",
                "AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH",
                "ENHANCEDSTATUSCODES",
                "PIPELINING",
                "CHUNKING",
                "SMTPUTF8",
            ],
        };
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    pub(super) const fn start_tls(self) -> &'static str {
        match self.0 {
            Personality::Microsoft | Personality::Dovecot => "220 2.0.0 SMTP server ready",
            Personality::Gmail => "220 2.0.0 Ready to start TLS",
        }
    }

    pub(super) const fn logged_in(self) -> &'static str {
        match self.0 {
            Personality::Microsoft => "235 2.7.0 Authentication successful",
            Personality::Dovecot => "235 2.7.0 Logged in.",
            Personality::Gmail => "235 2.7.0 Accepted",
        }
    }

    /// Its lines are separated by CRLF.
    pub(super) fn refused(self, refusal: Refusal) -> String {
        match (refusal, self.0) {
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Microsoft) => {
                trailed("535 5.7.3 Authentication unsuccessful")
            }
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Dovecot) => {
                "535 5.7.8 Authentication failed.".into()
            }
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Gmail) => gmail_refused(),
            (Refusal::Policy, _) => trailed(
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit \
                 https://aka.ms/smtp_auth_disabled for more information.",
            ),
            (Refusal::Rights, _) => "550 5.7.1 Client does not have permissions to use this mailbox".into(),
            (Refusal::Temporary, Personality::Microsoft) => trailed("454 4.7.0 Temporary authentication failure"),
            (Refusal::Temporary, Personality::Gmail) => {
                format!("454 4.7.0 Cannot authenticate due to a temporary system problem. {GSMTP}")
            }
            (Refusal::Temporary, Personality::Dovecot) => "454 4.7.0 Temporary authentication failure.".into(),
        }
    }

    pub(super) fn cancelled(self) -> String {
        match self.0 {
            Personality::Microsoft => trailed("535 5.7.3 Authentication unsuccessful"),
            Personality::Dovecot => "501 5.5.2 Authentication aborted by client.".into(),
            Personality::Gmail => format!("501 5.7.0 Authentication canceled. {GSMTP}"),
        }
    }

    /// Its lines are separated by CRLF.
    pub(super) fn basic_disabled(self) -> String {
        match self.0 {
            Personality::Gmail => gmail_refused(),
            _ => trailed("535 5.7.139 Authentication unsuccessful, basic authentication is disabled."),
        }
    }

    pub(super) fn unknown_verb(self, verb: &str) -> String {
        match self.0 {
            Personality::Microsoft => {
                let verb: String = verb.chars().take(32).collect();
                trailed(&format!("500 5.3.3 Unrecognized command '{}'", verb.escape_default()))
            }
            Personality::Dovecot => "500 5.5.1 Unknown command".into(),
            Personality::Gmail => format!("502 5.5.1 Unrecognized command. {GSMTP}"),
        }
    }

    pub(super) const fn not_logged_in(self) -> &'static str {
        match self.0 {
            Personality::Microsoft => "530 5.7.57 Client not authenticated to send mail.",
            Personality::Dovecot | Personality::Gmail => "530 5.7.0 Authentication required.",
        }
    }

    /// The acceptance of the simulator's `number`th message.
    pub(super) fn queued(self, number: usize) -> String {
        match self.0 {
            Personality::Microsoft => {
                format!("250 2.0.0 OK <SIM0PR01MB{number:04}@{HOST}> [Hostname=SIM0PR01MB0001.simulated.example]")
            }
            Personality::Dovecot => format!("250 2.0.0 Ok: queued as SIM{number:08X}"),
            Personality::Gmail => format!("250 2.0.0 OK  {number:010} {GSMTP}"),
        }
    }
}

/// Gmail's refusal has two lines.
fn gmail_refused() -> String {
    format!(
        "535-5.7.1 Username and Password not accepted. Learn more at\r\n\
         535 5.7.1 https://support.google.com/mail/?p=BadCredentials {GSMTP}"
    )
}

/// With what Exchange puts behind its replies: who said it, when, and in which session.
fn trailed(reply: &str) -> String {
    format!("{reply} [{HOST} {} 08DC432AD9175861]", Date::now().stamp().replace(' ', "T"))
}
