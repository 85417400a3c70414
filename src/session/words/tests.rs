//! Every row, by the line it explains as the provider wrote it.

use super::*;
use crate::proto::play::play_login;
use crate::proto::{Credential, Machine, UpstreamEvent, imap, pop3, smtp};
use crate::secret::AccessToken;
use RefusalKind::{Policy, Rights, Token, Transient, Unsupported};

type Told = (&'static str, RefusalKind, &'static str, &'static str);

/// What SMTP upstreams say to the token: the line, whose fault it is, what it means, what to do.
const SMTP_LOGINS: &[Told] = &[
    (
        "535 5.7.3 Authentication unsuccessful [NT0PR01CA0010.CHNPR01.prod.partner.outlook.cn 2024-03-14T00:58:28.419Z 08DC432AD9175861]",
        Token,
        "refuses a fresh token",
        "SMTP.Send or SMTP.SendAsApp",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [SN2PR00CA0018.namprd00.prod.outlook.com]",
        Policy,
        "switched off for the tenant",
        "SmtpClientAuthenticationDisabled $false",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information. [SN2PR00CA0018.namprd00.prod.outlook.com]",
        Policy,
        "switched off for this mailbox",
        "SmtpClientAuthenticationDisabled $false",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [SN2PR00CA0018.namprd00.prod.outlook.com]",
        Policy,
        "one with a password",
        "own server",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect. [SN2PR00CA0018.namprd00.prod.outlook.com]",
        Policy,
        "one with a password",
        "own server",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator. [SN2PR00CA0018.namprd00.prod.outlook.com]",
        Policy,
        "security defaults forbid",
        "replace the security defaults",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator. [SN2PR00CA0018.namprd00.prod.outlook.com]",
        Policy,
        "Conditional Access",
        "sign-in log",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, and in words of tomorrow",
        Policy,
        "A policy of the provider",
        "allow this protocol",
    ),
    (
        "550 5.7.30 Basic authentication is not supported for Client Submission.",
        Policy,
        "one with a password",
        "own server",
    ),
    (
        "535-5.7.1 Username and Password not accepted. Learn more at\r\n535 5.7.1 https://support.google.com/mail/?p=BadCredentials a1b2c3",
        Token,
        "Google refuses a fresh token",
        "https://mail.google.com/",
    ),
    (
        "535-5.7.8 Username and Password not accepted. For more information, go to\r\n535 5.7.8  https://support.google.com/mail/?p=BadCredentials a1b2c3 - gsmtp",
        Token,
        "Google refuses a fresh token",
        "https://mail.google.com/",
    ),
    ("535 5.7.8 Authentication failed.", Token, "refuses a fresh token", "may open this mailbox"),
    ("534 5.7.9 Application-specific password required.", Policy, "one with a password", "own server"),
    (
        "534 5.7.14 Please log in via your web browser and then try again.",
        Policy,
        "in a browser",
        "https://mail.google.com/",
    ),
    ("501 5.5.124 Invalid XOAUTH2 auth data", Policy, "cannot read the login", "full name"),
    ("504 5.7.4 Unrecognized authentication type", Unsupported, "logins by token", "host, port and tls"),
    ("530 5.7.57 Client not authenticated to send mail.", Policy, "not noticed the login", "submission server"),
    (
        "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information. [Hostname=SN2PR00CA0018.namprd00.prod.outlook.com]",
        Transient,
        "too many connections at once",
        "fewer programs",
    ),
    ("421 4.3.2 Service not active", Transient, "out of service", PASSES),
    ("421 4.4.1 Connection timed out", Transient, "cannot reach the mailbox", PASSES),
    ("421 4.4.2 Connection dropped", Transient, "cannot reach the mailbox", PASSES),
    ("451 4.7.0 Temporary server error. Please try again later. PRX2", Transient, "cannot reach the mailbox", PASSES),
    (
        "451 4.7.0 Temporary server error. Please try again later. PRX4",
        Transient,
        "cannot reach the mailbox",
        "identity.smtp",
    ),
    ("451 4.7.0 Temporary server error. Please try again later. PRX5", Transient, "cannot reach the mailbox", PASSES),
    ("454 4.7.0 Temporary authentication failure", Transient, "cannot take the login now", PASSES),
    ("454 4.7.0 Too many login attempts, please try again later.", Transient, "too often", PASSES),
    ("452 4.3.1 Insufficient system resources", Transient, "cannot take the login now", PASSES),
    ("550 5.7.1 Not for this mailbox", Policy, "A policy of the provider", "allow this protocol"),
];

/// What SMTP upstreams say to a message or to its envelope.
const MESSAGES: &[Told] = &[
    (
        "430 4.2.0 STOREDRV; mailbox logon failure; MapiExceptionLogonFailed",
        Rights,
        "has not spread yet",
        "Add-MailboxPermission",
    ),
    (
        "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
        Transient,
        "too many connections at once",
        "fewer programs",
    ),
    (
        "554 5.2.252 SendAsDenied; a@x not allowed to send as b@y; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message",
        Rights,
        "may not send as",
        "own address",
    ),
    (
        "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message",
        Rights,
        "may not send as",
        "own address",
    ),
    (
        "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        Rights,
        "may not send as",
        "own address",
    ),
    (
        "554 5.7.60 SMTP; Client does not have permissions to send as this sender",
        Rights,
        "may not send as",
        "own address",
    ),
    ("552 5.3.4 Message size exceeds fixed maximum message size", Policy, "larger than", "Set-Mailbox -MaxSendSize"),
    (
        "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
        Policy,
        "is full",
        "Sent Items first",
    ),
    (
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException.MapiExceptionMessageSubmissionQuota",
        Policy,
        "as it may in a day",
        "several mailboxes",
    ),
    ("530 5.7.57 Client not authenticated to send mail.", Policy, "not noticed the login", "submission server"),
    ("550 5.2.251 Sender throttled", Policy, "holds the mailbox back", "whose messages fail"),
    ("550 5.2.252 Sender throttled", Policy, "holds the mailbox back", "whose messages fail"),
    ("550 5.2.253 Sender throttled", Policy, "holds the mailbox back", "whose messages fail"),
    ("550 5.2.254 Sender throttled", Policy, "holds the mailbox back", "whose messages fail"),
    ("550 5.2.255 Sender throttled", Policy, "holds the mailbox back", "whose messages fail"),
    ("550 5.7.232 Your message can't be sent", Policy, "outside recipients", "Wait a day"),
    ("550 5.7.233 Your message can't be sent", Policy, "outside recipients", "Wait a day"),
    ("550 5.4.5 Daily user sending limit exceeded.", Policy, "as much as Google lets it", "Wait a day"),
];

/// What IMAP upstreams say to the token, without the tag.
const IMAP_LOGINS: &[Told] = &[
    ("NO AUTHENTICATE failed.", Token, "refuses a fresh token", "IMAP.AccessAsUser.All or IMAP.AccessAsApp"),
    ("NO LOGIN failed.", Token, "refuses a fresh token", "IMAP.AccessAsUser.All or IMAP.AccessAsApp"),
    ("BAD User is authenticated but not connected.", Rights, "mailbox stays closed", "Add-MailboxPermission"),
    ("BAD Command Error. 12", Transient, "out of step", PASSES),
    ("BAD Command received in Invalid state.", Transient, "out of step", PASSES),
    ("* BYE Connection is closed. 13", Transient, "out of step", PASSES),
    ("* BYE Connection closed. 14", Transient, "out of step", PASSES),
    ("BAD Server Unavailable. 15", Transient, "out of service", PASSES),
    (
        "BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds",
        Transient,
        "asked for too much",
        "time that Exchange names",
    ),
    (
        "NO Request is throttled. Suggested Backoff Time: 92415 milliseconds",
        Transient,
        "asked for too much",
        "time that Exchange names",
    ),
    ("* BYE Session invalidated - AccessTokenExpired", Transient, "life of its token", "log in again"),
    ("BAD Session invalidated - AccessTokenExpired", Transient, "life of its token", "log in again"),
    ("NO SASL authentication failed", Token, "refuses a fresh token", "https://mail.google.com/"),
    ("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", Token, "refuses a fresh token", "scopes covers IMAP"),
    ("NO [ALERT] Too many simultaneous connections. (Failure)", Transient, "15 connections", "Close some"),
    ("* BYE Account exceeded command or bandwidth limits.", Transient, "as much as Gmail lets it", "within a day"),
    ("NO [LIMIT] IMAP command sent too fast", Transient, "too much at once", "less often"),
    (
        "NO [ALERT] Your account is not enabled for IMAP use. Please visit your account settings page and enable your account for IMAP access. (Failure)",
        Policy,
        "switched off for this mailbox",
        "settings of Gmail",
    ),
    (
        "NO [ALERT] IMAP access is disabled for your domain. Please contact your domain administrator for questions about this feature. (Failure)",
        Policy,
        "switched off for the domain",
        "Workspace administrator",
    ),
    ("NO [WEBALERT https://accounts.google.com/x] Web login required.", Policy, "in a browser", "sign in"),
    // Yahoo's and Mail.ru's.
    (
        "NO [AUTHENTICATIONFAILED] AUTHENTICATE Invalid credentials",
        Token,
        "refuses a fresh token",
        "scopes covers IMAP",
    ),
    ("NO [AUTHENTICATIONFAILED] Authentication failed", Token, "refuses a fresh token", "scopes covers IMAP"),
    // Dovecot's.
    ("NO [AUTHENTICATIONFAILED] Authentication failed.", Token, "refuses a fresh token", "scopes covers IMAP"),
    ("NO [UNAVAILABLE] Temporary authentication failure. [vm:2026-11-20]", Transient, "out of service", PASSES),
    // RFC 5530's.
    ("NO [EXPIRED] That password isn't any more", Token, "has expired", "clocks"),
    ("NO [AUTHORIZATIONFAILED] No such authorization-ID", Rights, "not for this mailbox", "Grant"),
    ("NO [NOPERM] Access denied", Rights, "not for this mailbox", "Grant"),
    ("NO [CONTACTADMIN]", Policy, "A policy of the provider", "allow this protocol"),
    ("NO [INUSE] Mailbox in use", Transient, "keeps the mailbox locked", "one program"),
    ("NO [LIMIT] At most 32 flags in one mailbox supported", Transient, "at a limit", "fewer programs"),
    ("NO [PRIVACYREQUIRED] Connection offers no privacy", Policy, "A policy of the provider", "allow this protocol"),
    ("BAD [SERVERBUG] This should not happen", Transient, "cannot take the login now", PASSES),
];

/// What POP3 upstreams say to the token.
const POP3_LOGINS: &[Told] = &[
    (
        "-ERR Authentication failure: unknown user name or bad password.",
        Token,
        "refuses a fresh token",
        "POP.AccessAsUser.All or POP.AccessAsApp",
    ),
    ("-ERR Protocol error. Connection is closed. 10", Unsupported, "too long", "Use IMAP"),
    ("-ERR Server Unavailable. 15", Transient, "out of service", PASSES),
    (
        "-ERR [SYS/PERM] Your account is not enabled for POP access. Please visit your Gmail settings page and enable your account for POP access.",
        Policy,
        "switched off",
        "settings of Gmail",
    ),
    ("-ERR [SYS/PERM] POP access is switched off for this mailbox", Policy, "switched off", "An administrator"),
    ("-ERR [AUTH] Authentication failed.", Token, "refuses a fresh token", "scopes covers POP"),
    ("-ERR [AUTH] Username and password not accepted.", Token, "refuses a fresh token", "scopes covers POP"),
    ("-ERR [IN-USE] Do you have another POP session running?", Transient, "keeps the mailbox locked", "one program"),
    ("-ERR [LOGIN-DELAY] minimum time between mail checks violation", Transient, "a moment ago", "less often"),
    ("-ERR [SYS/TEMP] Temporary system problem", Transient, "cannot take the login now", PASSES),
    ("-ERR [SYS/PERM] No", Policy, "A policy of the provider", "allow this protocol"),
    ("-ERR No", Token, "refuses a fresh token", "may open this mailbox"),
];

/// What a machine makes of an upstream that says this.
fn refusal<C: std::fmt::Debug>(
    machine: impl Machine<Event = UpstreamEvent<C>, Answer = Credential>,
    said: &str,
) -> UpstreamRefusal {
    let token = AccessToken::parse("token".into()).unwrap();
    let credential = Credential { user: "user@example.com".into(), token, host: "mail.example".into(), port: 1 };
    let mut played = play_login(machine, [said.as_bytes()], &credential);
    match played.events.pop() {
        Some(UpstreamEvent::Refused(refusal)) => refusal,
        other => panic!("{said:?}: {other:?}"),
    }
}

fn smtp_refusal(line: &str) -> UpstreamRefusal {
    let plan = smtp::upstream::Plan { hostname: "gateway.example".into(), starttls: false };
    let said = format!("220 h\r\n250-h\r\n250 AUTH XOAUTH2\r\n334 \r\n{line}\r\n");
    refusal(smtp::upstream::Upstream::new(plan), &said)
}

fn imap_refusal(line: &str) -> UpstreamRefusal {
    let plan = imap::upstream::Plan { starttls: false, tag: "x".into() };
    let tag = if line.starts_with("* ") { "" } else { "x1 " };
    let said = format!("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi\r\n{tag}{line}\r\n");
    refusal(imap::upstream::Upstream::new(plan), &said)
}

fn pop3_refusal(line: &str) -> UpstreamRefusal {
    let plan = pop3::upstream::Plan { starttls: false };
    refusal(pop3::upstream::Upstream::new(plan), &format!("+OK hi\r\n+ \r\n{line}\r\n"))
}

#[track_caller]
fn assert_told(meaning: &Meaning, (line, kind, what, cure): &Told) {
    assert_eq!(meaning.kind, *kind, "{line}");
    assert!(meaning.what.contains(what) && meaning.cure.contains(cure), "{line}: {meaning}");
}

#[test]
fn every_refused_login_is_explained() {
    for told in SMTP_LOGINS {
        assert_told(of_login(&smtp_refusal(told.0)), told);
    }
    for told in IMAP_LOGINS {
        assert_told(of_login(&imap_refusal(told.0)), told);
    }
    for told in POP3_LOGINS {
        assert_told(of_login(&pop3_refusal(told.0)), told);
    }
}

#[test]
fn every_refused_message_is_explained() {
    for told in MESSAGES {
        let meaning = of_reply(told.0.as_bytes()).unwrap_or_else(|| panic!("{}", told.0));
        assert_told(meaning, told);
    }
}

/// What tells a kind of fault from all others by its code alone never depends on words.
#[test]
fn the_codes_and_the_words_agree_about_microsofts_tokens_and_switches() {
    for (line, kind, ..) in SMTP_LOGINS {
        assert_eq!(smtp_refusal(line).kind, *kind, "{line}");
    }
}

#[test]
fn no_row_is_without_its_line() {
    let lines = [SMTP_LOGINS, MESSAGES, IMAP_LOGINS, POP3_LOGINS].concat();
    let said: Vec<String> = lines
        .iter()
        .map(|(line, ..)| line.trim_start_matches("* ").replace("\r\n535", ""))
        .map(|line| line.replacen("535-", "535 ", 1))
        .collect();
    for row in rows() {
        let first = |line: &&String| of_reply(line.as_bytes()).is_some_and(|found| std::ptr::eq(found, &row.meaning));
        assert!(said.iter().any(|line| first(&line)), "{:?} {:?}", row.begins, row.holds);
    }
}

#[test]
fn every_kind_has_words_and_they_fit_a_reply() {
    let kinds = [Token, Rights, Policy, Transient, Unsupported].map(of_kind);
    for meaning in rows().map(|row| &row.meaning).chain(kinds) {
        assert!(meaning.to_string().len() < 280, "{meaning}");
        assert!(!meaning.what.ends_with('.') && !meaning.cure.ends_with('.'), "{meaning}");
        let failure = meaning.failure();
        assert_eq!(failure == FailureKind::Unavailable, meaning.kind == Transient, "{meaning}");
        assert_eq!(failure == FailureKind::MissingRights, meaning.kind == Rights, "{meaning}");
    }
    for kind in [Token, Rights, Policy, Transient, Unsupported] {
        assert_eq!(of_kind(kind).kind, kind);
    }
}

#[test]
fn a_code_is_a_whole_one_and_words_alone_are_none() {
    for unknown in [
        "535 5.7.31 no",
        "5355.7.3 no",
        "250 2.0.0 SendAsDenied",
        "NOT AUTHENTICATE failed.",
        "OK User is authenticated but not connected.",
        "-ERRATIC Protocol error. Connection is closed. 10",
        "",
    ] {
        assert_eq!(of_reply(unknown.as_bytes()), None, "{unknown:?}");
    }
    assert!(of_reply(b"535 5.7.3").is_some());
    assert!(of_reply(b"bad user is AUTHENTICATED but not connected").is_some());
}

/// Whoever answers in the clear may be anybody.
#[test]
fn before_the_token_was_sent_nothing_is_said_about_token_or_mailbox() {
    for (stage, kind, said) in [
        ("STARTTLS", Unsupported, "NO AUTHENTICATE failed."),
        ("STARTTLS", Transient, "BAD User is authenticated but not connected."),
        ("STLS", Unsupported, "-ERR [AUTH] no"),
        ("greeting", Policy, "550 5.7.60 no"),
        ("AUTHENTICATE XOAUTH2", Unsupported, "NO AUTHENTICATE failed."),
    ] {
        let refusal = UpstreamRefusal { kind, stage, said: said.into(), challenge: None };
        assert_eq!(of_login(&refusal), of_kind(kind), "{stage} {said}");
    }
}
