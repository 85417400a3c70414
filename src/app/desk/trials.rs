//! What is tried for real: the steps of `mailferry check` that dial, and a message sent.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use super::super::parts::Parts;
use super::{Refusal, account, shown};
use crate::config::{Account, Protocol, check_address};
use crate::control::{Answer, Progress};
use crate::oauth::credentials::{Credentials, TokenError};
use crate::session::{probe, submit, unguessable_tag};

/// Token, then a login for each protocol. Tells of every step.
pub(super) async fn check(parts: &Parts, address: &str, progress: &Progress) -> Result<Answer, Refusal> {
    let account = account(&parts.registry.directory(), address)?;
    let address = &account.address;
    // Who does not listen any more need not be told.
    let tell = async |line: String| drop(progress.send(line).await);
    if let Err(error) = parts.tokens.credential(&account, Protocol::Smtp, None).await {
        tell(format!("FAIL  {address}: token: {error}")).await;
        // No token for want of the right secret is nothing that time mends.
        return Ok(Answer::Checked { wrong: 1, waiting_may_help: matches!(error, TokenError::Transient(_)) });
    }
    tell(format!("ok    {address}: token from {}", account.app.provider.name)).await;
    let mut wrong = 0;
    for protocol in account.protocols() {
        match probe(&parts.shared, &account, protocol, None).await {
            Ok(said) => tell(format!("ok    {address}: {protocol}: {said}")).await,
            Err(failure) => {
                tell(format!("FAIL  {address}: {protocol}: {}", failure.detail)).await;
                wrong += 1;
            }
        }
    }
    // What fails behind a token is a matter of rights, which spread with time, or a fault that passes.
    Ok(Answer::Checked { wrong, waiting_may_help: wrong > 0 })
}

/// One message on the way that every message takes.
pub(super) async fn send(parts: &Parts, address: &str, to: &str) -> Result<Answer, Refusal> {
    let account = account(&parts.registry.directory(), address)?;
    check_address(to).map_err(|_| {
        let to = shown(to);
        Refusal::usage(format!(
            "{to} is no address that a message can be sent to; it must be as in \"ann@contoso.com\""
        ))
    })?;
    for address in [to, &account.address] {
        check_address(address).map_err(|what| Refusal::usage(format!("{}: {what}", shown(address))))?;
        // Such an address would end where it is quoted.
        if address.contains(['<', '>']) {
            return Err(Refusal::usage(format!("{address} cannot be written in an envelope")));
        }
    }
    let message = message(&account, to)?;
    match submit(&parts.shared, &account, to, message.as_bytes()).await {
        Ok(said) => {
            tracing::info!(account = account.address, to, "a command has sent a test message");
            Ok(Answer::Done(said))
        }
        Err(failure) => Err(Refusal::failed(failure.detail)),
    }
}

fn message(account: &Account, to: &str) -> Result<String, Refusal> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let date = rfc2822::to_string(&now).map_err(|error| Refusal::failed(format!("the clock is wrong: {error}")))?;
    let from = &account.address;
    let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let lines = [
        format!("From: <{from}>"),
        format!("To: <{to}>"),
        "Subject: A test message from mailferry".into(),
        format!("Date: {date}"),
        format!("Message-ID: <{}@{domain}>", unguessable_tag()),
        "MIME-Version: 1.0".into(),
        "Content-Type: text/plain; charset=us-ascii".into(),
        "Auto-Submitted: auto-generated".into(),
        String::new(),
        "Somebody ran mailferry send-test, and this is what came of it: the mailbox".into(),
        from.clone(),
        format!("can be sent from through mailferry and {}.", account.app.provider.name),
    ];
    Ok(lines.map(|line| line + "\r\n").concat())
}
