//! A real login at one upstream, then one command that fails if the rights behind the login do: for `mailferry check`,
//! and for whoever wants to know what a token opens.

use std::sync::Arc;

use tokio::time::timeout;

use super::drive::{Patience, Side};
use super::failure::Failure;
use super::protocol::{Imap, Pop3, Smtp, Speaks};
use super::words::{self, Meaning};
use super::{Shared, upstream};
use crate::config::{Account, Protocol, Server};
use crate::proto::RefusalKind;
use crate::secret::AccessToken;
use crate::telemetry::log::PeerText;

/// How many lines an upstream may send before the one that answers: Exchange and Gmail send fewer than ten.
const MAX_LINES: usize = 64;

/// The longest line read, in octets.
const MAX_LINE: usize = 4096;

/// Logs `account` in over `protocol` and asks one thing; what the upstream answered to it, fit to be shown. It is done with
/// `token`, where there is one, else as any login is.
pub(crate) async fn probe(
    shared: &Shared,
    account: &Arc<Account>,
    protocol: Protocol,
    token: Option<&AccessToken>,
) -> Result<String, Failure> {
    let Some(server) = account.app.provider.server(protocol) else {
        return Err(Failure::unavailable(format!("provider {} has no {protocol} server", account.app.provider.name)));
    };
    let budget = shared.config.budgets.login;
    let work = async {
        match protocol {
            Protocol::Smtp => ask::<Smtp>(shared, account, server, token, "NOOP", "250", "").await,
            // Exchange accepts a login without rights on the mailbox and refuses the first command ("User is
            // authenticated but not connected"), so the command has to be one that needs the mailbox.
            Protocol::Imap => ask::<Imap>(shared, account, server, token, "m1 EXAMINE INBOX", "m1 OK", "m1 ").await,
            Protocol::Pop3 => ask::<Pop3>(shared, account, server, token, "STAT", "+OK", "").await,
        }
    };
    timeout(budget, work)
        .await
        .unwrap_or_else(|_| Err(Failure::unavailable(format!("no answer within {budget:?}"))))
}

/// `answer` is how a good answer begins; lines that do not begin with `ours` belong to something else.
async fn ask<P: Speaks>(
    shared: &Shared,
    account: &Arc<Account>,
    server: &Server,
    token: Option<&AccessToken>,
    command: &str,
    answer: &str,
    ours: &str,
) -> Result<String, Failure> {
    let opened = match token {
        Some(token) => upstream::log_in_with::<P>(shared, account, server, token).await?,
        None => upstream::log_in::<P>(shared, account, server, None).await?,
    };
    let mut side = opened.side;
    side.out.extend_from_slice(format!("{command}\r\n").as_bytes());
    let Some(said) = first_line(&mut side, ours).await else {
        return Err(Failure::unavailable(format!("{}: no answer to {command}", server.host)));
    };
    side.close(b"").await;
    if said.starts_with(answer) {
        return Ok(said);
    }
    let host = &server.host;
    Err(match meaning(&said, ours) {
        Some(meaning) => {
            let detail = format!("{host}: the login is accepted but {command} is refused: {said}. {meaning}");
            Failure::new(meaning.failure(), detail)
        }
        None => Failure::unavailable(format!("{host}: {command} was answered: {said}")),
    })
}

/// What the refusal of a command after the login means.
fn meaning(said: &str, ours: &str) -> Option<&'static Meaning> {
    let reply = said.strip_prefix(ours).or_else(|| said.strip_prefix("* ")).unwrap_or(said);
    words::of_reply(reply.as_bytes())
        // The login stands, so a word about the token is none that is understood.
        .filter(|meaning| !matches!(meaning.kind, RefusalKind::Token | RefusalKind::Unsupported))
        .or_else(|| is_about_rights(said).then(|| words::of_kind(RefusalKind::Rights)))
}

/// Whether a refusal speaks of this mailbox: an IMAP completion, or a POP3 error that is not said to pass. What SMTP answers
/// to NOOP, and a goodbye, say nothing about rights.
fn is_about_rights(said: &str) -> bool {
    let of_pop3 = said.starts_with("-ERR") && !["[SYS/TEMP]", "[IN-USE]"].iter().any(|code| said.contains(code));
    of_pop3 || said.starts_with("m1 NO") || said.starts_with("m1 BAD")
}

async fn first_line(side: &mut Side, ours: &str) -> Option<String> {
    let patience = Patience::endless();
    side.flush(&patience).await.ok()?;
    for _ in 0..MAX_LINES {
        let line = loop {
            match side.input.line(MAX_LINE).ok()? {
                Some(line) => break line,
                None => side.read(&patience).await.ok()?,
            }
        };
        // An IMAP upstream may say goodbye instead of answering.
        if line.starts_with(ours.as_bytes()) || line.starts_with(b"* BYE") {
            return Some(PeerText(&line).to_string());
        }
    }
    None
}
