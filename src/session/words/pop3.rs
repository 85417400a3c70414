//! POP3's refusals: of logins, and of the first command after one.

use super::{Meaning, PASSES, Row};
use crate::proto::RefusalKind::{self, Policy, Token, Transient, Unsupported};

const fn row(
    begins: &'static [&'static str],
    holds: &'static str,
    kind: RefusalKind,
    what: &'static str,
    cure: &'static str,
) -> Row {
    Row { begins, holds, meaning: Meaning { kind, what, cure } }
}

/// The first row that fits counts.
pub(super) static ROWS: &[Row] = &[
    // Microsoft's.
    row(
        &["-ERR"],
        "Authentication failure: unknown user name or bad password",
        Token,
        "The provider refuses a fresh token for this mailbox",
        "Check the address, and that the app has POP.AccessAsUser.All or POP.AccessAsApp with consent and may open this \
         mailbox",
    ),
    row(
        &["-ERR"],
        "Protocol error. Connection is closed. 10",
        Unsupported,
        "The server finds the login too long",
        "Use IMAP for this mailbox, or ask for fewer scopes: they make the token long",
    ),
    row(&["-ERR"], "Server Unavailable. 15", Transient, "The server is out of service", PASSES),
    // Gmail's.
    row(
        &["-ERR"],
        "not enabled for POP",
        Policy,
        "POP is switched off for this mailbox",
        "The owner has to allow POP in the settings of Gmail",
    ),
    row(
        &["-ERR"],
        "POP access",
        Policy,
        "POP is switched off for this mailbox",
        "An administrator has to allow POP for it at the provider",
    ),
    // Anybody's, by the response code (RFC 2449 section 8.1, RFC 3206).
    row(
        &["-ERR [AUTH]"],
        "",
        Token,
        "The provider refuses a fresh token for this mailbox",
        "Check the address, that scopes covers POP, and that the app or whoever signed in may open this mailbox",
    ),
    row(
        &["-ERR [IN-USE]"],
        "",
        Transient,
        "Another program keeps the mailbox locked",
        "Let one program read it over POP at a time",
    ),
    row(
        &["-ERR [LOGIN-DELAY]"],
        "",
        Transient,
        "The mailbox was read only a moment ago",
        "Let the program read it less often",
    ),
    row(&["-ERR [SYS/TEMP]"], "", Transient, "The provider cannot take the login now", PASSES),
];
