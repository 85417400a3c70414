//! SMTP's refusals: of logins, and of messages after them. Microsoft's unless another is named.

use super::{Meaning, PASSES, Row};
use crate::proto::RefusalKind::{self, Policy, Rights, Token, Transient, Unsupported};

const fn row(
    begins: &'static [&'static str],
    holds: &'static str,
    kind: RefusalKind,
    what: &'static str,
    cure: &'static str,
) -> Row {
    Row { begins, holds, meaning: Meaning { kind, what, cure } }
}

const OFF: &[&str] = &["535 5.7.139"];
pub(super) const SENDER: &str = "The mailbox may not send as the address in From or MAIL FROM";
const SEND_AS: &str = "Make the program send from the mailbox's own address, or grant Send As on the other one";
const PASSWORD_SEEN: &str = "The provider took the login for one with a password, which it has switched off";
const OWN_SERVER: &str =
    "Check that the provider's smtp host is its own server, with nothing between that changes the login";

/// The first row that fits counts.
pub(super) static ROWS: &[Row] = &[
    // Logins.
    row(
        OFF,
        "SmtpClientAuthentication is disabled for the Tenant",
        Policy,
        "SMTP AUTH is switched off for the tenant",
        "An administrator must allow this protocol for the mailbox: Set-CASMailbox -Identity ADDRESS \
         -SmtpClientAuthenticationDisabled $false",
    ),
    row(
        OFF,
        "SmtpClientAuthentication is disabled for the Mailbox",
        Policy,
        "SMTP AUTH is switched off for this mailbox",
        "An administrator must allow this protocol for it: Set-CASMailbox -Identity ADDRESS \
         -SmtpClientAuthenticationDisabled $false",
    ),
    row(OFF, "basic authentication is disabled", Policy, PASSWORD_SEEN, OWN_SERVER),
    row(OFF, "user credentials were incorrect", Policy, PASSWORD_SEEN, OWN_SERVER),
    row(
        OFF,
        "security defaults policy",
        Policy,
        "The tenant's security defaults forbid SMTP AUTH",
        "An administrator must replace the security defaults by Conditional Access, and allow SMTP AUTH for the mailbox",
    ),
    row(
        OFF,
        "did not meet the criteria",
        Policy,
        "A Conditional Access policy forbids the login",
        "An administrator must exempt the mailbox or the app; the sign-in log names the policy",
    ),
    row(&["550 5.7.30", "535 5.7.30"], "Basic authentication", Policy, PASSWORD_SEEN, OWN_SERVER),
    row(
        &["535 5.7.3"],
        "",
        Token,
        "The provider refuses a fresh token for this mailbox",
        "Check that the app has SMTP.Send or SMTP.SendAsApp with consent, and may open this mailbox; for a shared mailbox \
         set identity.smtp to one of its users",
    ),
    // Gmail's.
    row(
        &["535 5.7.8", "535 5.7.1"],
        "BadCredentials",
        Token,
        "Google refuses a fresh token for this mailbox",
        "Check that its owner is the one who signed in, and that scopes holds https://mail.google.com/",
    ),
    row(&["534 5.7.9"], "Application-specific password", Policy, PASSWORD_SEEN, OWN_SERVER),
    row(
        &["534 5.7.14"],
        "",
        Policy,
        "Google wants to see the mailbox's owner in a browser",
        "The owner has to sign in at https://mail.google.com/ and confirm that it was them",
    ),
    // High Volume Email's.
    row(
        &["501 5.5.124"],
        "XOAUTH2",
        Policy,
        "The provider cannot read the login",
        "Check the account's address, and its identity if it has one: it has to be the mailbox's full name",
    ),
    row(
        &["504 5.7.4"],
        "",
        Unsupported,
        "The server does not take logins by token here",
        "Check host, port and tls of the provider",
    ),
    row(
        &["530 5.7.57"],
        "",
        Policy,
        "The provider has not noticed the login",
        "Check that the provider's smtp host is a submission server; if it is, this is a fault of mailferry",
    ),
    // Too much at once, and outages.
    row(
        &["432 4.3.2"],
        "",
        Transient,
        "The mailbox sends over too many connections at once; Exchange allows three",
        "Let fewer programs send through it at a time, or give them mailboxes of their own",
    ),
    row(&["421 4.3.2"], "", Transient, "The server is out of service", PASSES),
    row(&["421 4.4.1", "421 4.4.2"], "", Transient, "The server cannot reach the mailbox, or waited too long", PASSES),
    row(
        &["451 4.7.0"],
        "PRX4",
        Transient,
        "The server cannot reach the mailbox",
        "It mostly passes by itself; if it stays so and the mailbox is shared, set identity.smtp to one of its users",
    ),
    row(&["451 4.7.0"], "PRX", Transient, "The server cannot reach the mailbox", PASSES),
    row(&["454 4.7.0"], "too many login attempts", Transient, "The mailbox was logged in to too often", PASSES),
    row(&["454 4.7.0"], "", Transient, "The provider cannot take the login now", PASSES),
    // Messages.
    row(
        &["430 4.2.0"],
        "STOREDRV",
        Rights,
        "The app may not open this mailbox, or the right has not spread yet",
        "An administrator must grant it: Add-MailboxPermission -AccessRights FullAccess; rights may take half an hour to \
         spread",
    ),
    row(&["554 5.2.252", "550 5.2.252"], "SendAsDenied", Rights, SENDER, SEND_AS),
    row(&["554 5.2.0", "550 5.2.0"], "SendAsDenied", Rights, SENDER, SEND_AS),
    row(&["550 5.7.60", "554 5.7.60"], "", Rights, SENDER, SEND_AS),
    row(
        &["552 5.3.4"],
        "",
        Policy,
        "The message is larger than the mailbox may send",
        "Send it smaller, or have an administrator raise the limit (Exchange: Set-Mailbox -MaxSendSize)",
    ),
    row(
        &["554 5.2.2"],
        "STOREDRV",
        Policy,
        "The mailbox is full",
        "Empty it, Sent Items first: every message that is sent is kept there",
    ),
    row(
        &["554 5.2.0", "550 5.2.0"],
        "SubmissionQuotaExceeded",
        Policy,
        "The mailbox has sent to as many recipients as it may in a day",
        "Wait a day, and spread the sending over several mailboxes",
    ),
    row(
        &["550 5.2.251", "550 5.2.252", "550 5.2.253", "550 5.2.254", "550 5.2.255"],
        "",
        Policy,
        "The provider holds the mailbox back because too many of its messages failed",
        "Find and correct the program whose messages fail (this log names them); it passes once they stop",
    ),
    row(
        &["550 5.7.232", "550 5.7.233"],
        "",
        Policy,
        "The tenant has sent to as many outside recipients as it may in a day",
        "Wait a day; an administrator sees the limit in the Exchange admin center, under reports of the mail flow",
    ),
    row(
        &["550 5.4.5"],
        "",
        Policy,
        "The mailbox has sent as much as Google lets it in a day",
        "Wait a day, and spread the sending over several mailboxes",
    ),
];
