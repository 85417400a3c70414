//! IMAP's refusals: of logins, and of the first command after one. A tag, where there is one, is left out.

use super::{Meaning, PASSES, Row};
use crate::proto::RefusalKind::{self, Policy, Rights, Token, Transient};

const fn row(
    begins: &'static [&'static str],
    holds: &'static str,
    kind: RefusalKind,
    what: &'static str,
    cure: &'static str,
) -> Row {
    Row { begins, holds, meaning: Meaning { kind, what, cure } }
}

const REFUSED: &str = "The provider refuses a fresh token for this mailbox";
const CHECK_APP: &str = "Check the address, and that the app has IMAP.AccessAsUser.All or IMAP.AccessAsApp with consent and \
     may open this mailbox";
const ANY: &[&str] = &["NO", "BAD", "BYE"];
const OUT_OF_STEP: &str = "The server is out of service or out of step";

/// The first row that fits counts.
pub(super) static ROWS: &[Row] = &[
    // Microsoft's.
    row(
        ANY,
        "authenticated but not connected",
        Rights,
        "The login is accepted and the mailbox stays closed: the app has no right to it, or there is no such mailbox",
        "Check the address; an administrator must grant Add-MailboxPermission -AccessRights FullAccess, which may take \
         half an hour to spread",
    ),
    row(
        ANY,
        "Request is throttled",
        Transient,
        "Exchange holds the mailbox back because it was asked for too much",
        "Let fewer programs read it, or less often; it passes after the time that Exchange names",
    ),
    row(
        ANY,
        "AccessTokenExpired",
        Transient,
        "The session has ended with the life of its token",
        "The program has to log in again, and gets a new token",
    ),
    row(&["NO"], "AUTHENTICATE failed", Token, REFUSED, CHECK_APP),
    row(&["NO"], "LOGIN failed", Token, REFUSED, CHECK_APP),
    row(&["BAD"], "Command Error. 12", Transient, OUT_OF_STEP, PASSES),
    row(&["BAD"], "Command received in Invalid state", Transient, OUT_OF_STEP, PASSES),
    row(&["BYE"], "Connection is closed. 13", Transient, OUT_OF_STEP, PASSES),
    row(&["BYE"], "Connection closed. 14", Transient, OUT_OF_STEP, PASSES),
    row(ANY, "Server Unavailable. 15", Transient, "The server is out of service", PASSES),
    // Gmail's.
    row(
        ANY,
        "Too many simultaneous connections",
        Transient,
        "The mailbox is open too often; Gmail allows 15 connections at once",
        "Close some of the programs that read it",
    ),
    row(
        ANY,
        "command or bandwidth limits",
        Transient,
        "The mailbox has moved as much as Gmail lets it",
        "Let the programs read less; it passes within a day",
    ),
    row(
        ANY,
        "command sent too fast",
        Transient,
        "The mailbox was asked for too much at once",
        "Let the programs ask less often; it passes by itself",
    ),
    row(
        &["NO"],
        "not enabled for IMAP",
        Policy,
        "IMAP is switched off for this mailbox",
        "The owner has to allow IMAP in the settings of Gmail",
    ),
    row(
        &["NO"],
        "IMAP access is disabled for your domain",
        Policy,
        "IMAP is switched off for the domain",
        "A Google Workspace administrator has to allow IMAP for the mailbox",
    ),
    row(
        &["NO [WEBALERT"],
        "",
        Policy,
        "The provider wants to see the mailbox's owner in a browser",
        "The owner has to sign in at the provider's web page and confirm that it was them",
    ),
    row(
        &["NO"],
        "SASL authentication failed",
        Token,
        REFUSED,
        "Check that its owner is the one who signed in, and that scopes holds https://mail.google.com/",
    ),
    // Anybody's, by the response code (RFC 5530 section 3).
    row(
        &["NO [AUTHENTICATIONFAILED]"],
        "",
        Token,
        REFUSED,
        "Check the address, that scopes covers IMAP, and that the app or whoever signed in may open this mailbox",
    ),
    row(
        &["NO [EXPIRED]"],
        "",
        Token,
        "The provider says that a fresh token has expired",
        "Check the clocks of this machine and of the server",
    ),
    row(
        &["NO [AUTHORIZATIONFAILED]", "NO [NOPERM]"],
        "",
        Rights,
        "The token is good, but not for this mailbox",
        "Grant the app, or the person who signed in, the right to this mailbox at the provider (Exchange: \
         Add-MailboxPermission)",
    ),
    row(&["NO [UNAVAILABLE]"], "", Transient, "A part of the server is out of service", PASSES),
    row(&["NO [INUSE]"], "", Transient, "Another program keeps the mailbox locked", "Let one program use it at a time"),
    row(
        &["NO [LIMIT]"],
        "",
        Transient,
        "The mailbox is at a limit of the provider",
        "Let fewer programs use it, or less often",
    ),
];
