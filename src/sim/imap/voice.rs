//! What Exchange Online, Dovecot and Gmail say where they say it differently.

use crate::sim::Personality;
use crate::sim::faults::Refusal;

/// The responses of one personality.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice(Personality);

impl Voice {
    pub(super) const fn new(personality: Personality) -> Self {
        Self(personality)
    }

    pub(super) const fn personality(self) -> Personality {
        self.0
    }

    /// Exchange and Gmail tell no capability here.
    pub(super) fn greeting(self, capabilities: &str) -> String {
        match self.0 {
            Personality::Microsoft => "* OK The Microsoft Exchange IMAP4 service is ready. [UwBJAE0A]".into(),
            Personality::Dovecot => format!("* OK [CAPABILITY {capabilities}] Dovecot (Debian) ready."),
            Personality::Gmail => "* OK Gimap ready for requests from 127.0.0.1 a640c23a62f3a".into(),
        }
    }

    /// In the clear nobody can log in.
    pub(super) const fn capabilities(self, stranger: bool, tls: bool) -> &'static str {
        match (self.0, stranger) {
            (Personality::Microsoft, true) if !tls => {
                "IMAP4 IMAP4rev1 LOGINDISABLED STARTTLS SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
            }
            (Personality::Dovecot, true) if !tls => {
                "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID IDLE LITERAL+ STARTTLS LOGINDISABLED"
            }
            (Personality::Microsoft, true) => {
                "IMAP4 IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
            }
            (Personality::Microsoft, false) => {
                "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CLIENTACCESSRULES \
                 CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE NAMESPACE LITERAL+"
            }
            (Personality::Dovecot, true) => {
                "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID IDLE LITERAL+ LOGINDISABLED AUTH=XOAUTH2"
            }
            (Personality::Dovecot, false) => {
                "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID IDLE CHILDREN NAMESPACE UIDPLUS UNSELECT LITERAL+"
            }
            (Personality::Gmail, true) => {
                "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR AUTH=XOAUTH2 \
                 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER"
            }
            // More than is simulated: what a gateway makes of the list is what this is for.
            (Personality::Gmail, false) => {
                "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE \
                 MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584"
            }
        }
    }

    /// What Gmail says before it says that the login has succeeded.
    pub(super) fn capabilities_after_login(self, capabilities: &str) -> Option<String> {
        (self.0 == Personality::Gmail).then(|| format!("* CAPABILITY {capabilities}"))
    }

    pub(super) fn logged_in(self, capabilities: &str, user: &str) -> String {
        match self.0 {
            Personality::Microsoft => "OK AUTHENTICATE completed.".into(),
            Personality::Dovecot => format!("OK [CAPABILITY {capabilities}] Logged in"),
            Personality::Gmail => format!("OK {user} authenticated (Success)"),
        }
    }

    pub(super) const fn refused(self, refusal: Refusal) -> &'static str {
        match (refusal, self.0) {
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Microsoft) => {
                "NO AUTHENTICATE failed."
            }
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Dovecot) => {
                "NO [AUTHENTICATIONFAILED] Authentication failed."
            }
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Gmail) => {
                "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"
            }
            (Refusal::Policy, Personality::Gmail) => {
                "NO [ALERT] IMAP access is disabled for your domain. Please contact your domain administrator (Failure)"
            }
            (Refusal::Policy, _) => "NO [CONTACTADMIN] IMAP is disabled for this mailbox.",
            (Refusal::Rights, _) => "NO [AUTHORIZATIONFAILED] No rights on this mailbox.",
            (Refusal::Temporary, _) => "NO [UNAVAILABLE] Temporary authentication failure.",
        }
    }

    pub(super) const fn id(self) -> &'static str {
        match self.0 {
            Personality::Microsoft => "* ID (\"name\" \"Microsoft.Exchange.Imap4.Imap4Server\" \"version\" \"15.20\")",
            Personality::Dovecot => "* ID (\"name\" \"Dovecot\")",
            Personality::Gmail => "* ID (\"name\" \"GImap\" \"vendor\" \"Google, Inc.\")",
        }
    }

    pub(super) const fn bye(self) -> &'static str {
        match self.0 {
            Personality::Microsoft => "* BYE Microsoft Exchange Server IMAP4 server signing off.",
            Personality::Dovecot => "* BYE Logging out",
            Personality::Gmail => "* BYE LOGOUT Requested",
        }
    }
}
