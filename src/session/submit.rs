//! One message through an account's submission server without a client: what `mailferry send-test` sends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::drive::{Patience, Side};
use super::failure::{Failure, FailureKind};
use super::protocol::Smtp;
use super::{Shared, upstream, words};
use crate::config::Account;
use crate::proto::smtp::reply::{ReplyLine, ReplyReader};
use crate::telemetry::log::PeerText;

/// How long the upstream may take with the message. Exchange takes seconds; RFC 5321 section 4.5.3.2 allows ten minutes,
/// which nobody waits for at a terminal.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends `message` as `account` to one recipient; what the upstream answered in the end, fit to be shown. `message` has
/// CRLF line ends and no line longer than 998 octets.
pub(crate) async fn submit(
    shared: &Shared,
    account: &Arc<Account>,
    to: &str,
    message: &[u8],
) -> Result<String, Failure> {
    let Some(server) = &account.app.provider.smtp else {
        return Err(Failure::unavailable(format!("provider {} has no smtp server", account.app.provider.name)));
    };
    let budget = shared.config.budgets.login;
    let mut side = timeout(budget, upstream::log_in::<Smtp>(shared, account, server, None))
        .await
        .unwrap_or_else(|_| Err(Failure::unavailable(format!("no answer within {budget:?}"))))?
        .side;
    let dialogue = async {
        let steps = [
            ("MAIL", format!("MAIL FROM:<{}>\r\n", account.address).into_bytes(), 250),
            ("RCPT", format!("RCPT TO:<{to}>\r\n").into_bytes(), 250),
            ("DATA", b"DATA\r\n".to_vec(), 354),
            ("the message", transparent(message), 250),
        ];
        let mut said = String::new();
        for (step, octets, good) in steps {
            let reply = ask(&mut side, &octets).await.ok_or_else(|| {
                Failure::unavailable(format!("{}: the connection ended without an answer to {step}", server.host))
            })?;
            let code = reply.first().map_or(0, |line| line.code);
            said = shown(&reply);
            if code / 10 != good / 10 {
                return Err(refused(&server.host, step, &said));
            }
        }
        Ok(said)
    };
    let outcome = timeout(PATIENCE, dialogue).await;
    side.close(b"QUIT\r\n").await;
    outcome.unwrap_or_else(|_| {
        let what = format!("{}: no answer within {PATIENCE:?}; whether it was sent is not known", server.host);
        Err(Failure::unavailable(what))
    })
}

/// Whose fault a refused step is, and what to do about it where that is known.
fn refused(host: &str, step: &str, said: &str) -> Failure {
    let what = format!("{host}: {step} was answered: {said}");
    match words::of_reply(said.as_bytes()) {
        Some(meaning) => Failure::new(meaning.failure(), format!("{what}. {meaning}")),
        None if said.starts_with('4') => Failure::unavailable(what),
        None => Failure::new(FailureKind::NeedsPerson, what),
    }
}

/// A message as DATA carries it (RFC 5321 section 4.5.2): no line of it can end it.
fn transparent(message: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            octets.push(b'.');
        }
        octets.extend_from_slice(line);
    }
    if !octets.is_empty() && !octets.ends_with(b"\r\n") {
        octets.extend_from_slice(b"\r\n");
    }
    octets.extend_from_slice(b".\r\n");
    octets
}

/// Says something and reads the reply to it; `None` where none comes.
async fn ask(side: &mut Side, octets: &[u8]) -> Option<Vec<ReplyLine>> {
    let patience = Patience::endless();
    side.out.extend_from_slice(octets);
    side.flush(&patience).await.ok()?;
    let mut replies = ReplyReader::default();
    loop {
        match replies.read(&mut side.input).ok()? {
            Some(reply) => return Some(reply),
            None => side.read(&patience).await.ok()?,
        }
    }
}

fn shown(reply: &[ReplyLine]) -> String {
    let code = reply.first().map_or(0, |line| line.code);
    let texts = reply.iter().map(|line| format!(" {}", PeerText(&line.text)));
    code.to_string() + &texts.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_explained() {
        for (said, kind, words) in [
            (
                "554 5.2.252 SendAsDenied; a@x",
                FailureKind::MissingRights,
                ": 554 5.2.252 SendAsDenied; a@x. The mailbox may not",
            ),
            ("432 4.3.2 Concurrent connections", FailureKind::Unavailable, "fewer programs"),
            ("451 4.9.9 no", FailureKind::Unavailable, "RCPT was answered: 451 4.9.9 no"),
            ("550 5.1.1 no", FailureKind::NeedsPerson, "RCPT was answered: 550 5.1.1 no"),
        ] {
            let failure = refused("smtp.example.com", "RCPT", said);
            assert_eq!(failure.kind, kind, "{said}");
            assert!(failure.detail.contains(words), "{}", failure.detail);
        }
    }

    #[test]
    fn no_line_of_a_message_can_end_it() {
        for (message, sent) in [
            (&b"a\r\n.\r\nb\r\n"[..], &b"a\r\n..\r\nb\r\n.\r\n"[..]),
            (b".", b"..\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"", b".\r\n"),
        ] {
            assert_eq!(transparent(message), sent);
        }
    }
}
