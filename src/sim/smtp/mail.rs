//! The SMTP server after the login: MAIL, RCPT, DATA, BDAT (RFC 5321 section 3.3, RFC 1870, 3030, 3461, 6152).

use mail_parser::{Address, MessageParser};

use super::data::Transparency;
use super::path::PathAndParameters;
use super::{Next, Session};
use crate::sim::Personality;
use crate::sim::control::Submission;
use crate::sim::faults::Moment;
use crate::sim::wire::Flow;

const TOO_BIG: &str = "552 5.3.4 Message size exceeds fixed maximum message size";

/// One message on its way.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    from: String,
    parameters: String,
    recipients: Vec<String>,
    body: Body,
}

/// What has come of a message, as far as it is not too big.
#[derive(Debug, Default)]
struct Body {
    octets: Vec<u8>,
    too_big: bool,
    /// Whether BDAT has begun: DATA is out of the question then.
    chunked: bool,
    binary: bool,
}

impl Body {
    /// Lets go of what is more than may be.
    fn hold(&mut self, max_message: usize) {
        if self.octets.len() > max_message {
            self.octets.clear();
            self.too_big = true;
        }
    }
}

impl Session<'_> {
    pub(super) async fn mail_command(&mut self, verb: &str, arguments: &str) -> Flow<Next> {
        let out_of_order = match (verb, &self.account, &self.transaction) {
            ("BDAT", ..) => return self.bdat(arguments).await,
            (_, None, _) => Some(self.voice.not_logged_in()),
            ("MAIL", _, Some(_)) => Some("503 5.5.1 Sender already specified"),
            ("RCPT" | "DATA", _, None) => Some("503 5.5.1 Need MAIL first"),
            _ => None,
        };
        match (verb, out_of_order) {
            (_, Some(reply)) => Ok(self.breach(reply)),
            ("MAIL", None) => self.mail(arguments).await,
            ("RCPT", None) => self.rcpt(arguments).await,
            (_, None) => self.data(arguments).await,
        }
    }

    async fn mail(&mut self, arguments: &str) -> Flow<Next> {
        let Some(mail) = PathAndParameters::parse(arguments, "FROM") else {
            return Ok(self.breach("501 5.5.4 Invalid arguments"));
        };
        if let Some(reply) = self.refuses_parameters(&mail) {
            return Ok(self.breach(reply));
        }
        if self.wire.answered_otherwise(Moment::MailDue, "").await? {
            return Ok(Next::Command);
        }
        if let Some(size) = mail.value("SIZE") {
            match size.parse::<usize>() {
                Ok(size) if size <= self.wire.shared.options.max_message => {}
                Ok(_) => return Ok(self.say(TOO_BIG)),
                Err(_) => return Ok(self.breach("501 5.5.4 Invalid arguments")),
            }
        }
        let binary = mail.value("BODY").is_some_and(|body| body.eq_ignore_ascii_case("BINARYMIME"));
        self.transaction = Some(Transaction {
            from: mail.path.into(),
            parameters: mail.parameters.into(),
            body: Body { binary, ..Body::default() },
            ..Transaction::default()
        });
        Ok(self.say("250 2.1.0 Sender OK"))
    }

    /// What is wrong with MAIL's parameters, if anything is.
    fn refuses_parameters(&self, mail: &PathAndParameters<'_>) -> Option<&'static str> {
        let microsoft = self.voice.personality() == Personality::Microsoft;
        mail.pairs().find_map(|(name, value)| {
            let keyword = match name.to_ascii_uppercase().as_str() {
                // Exchange offers it and does not have it.
                "SMTPUTF8" if microsoft => return Some("502 5.3.3 Command not implemented"),
                "SIZE" => "SIZE",
                "BODY" => match value.unwrap_or_default().to_ascii_uppercase().as_str() {
                    "7BIT" | "8BITMIME" => "8BITMIME",
                    "BINARYMIME" if microsoft => "BINARYMIME",
                    _ => return Some("501 5.5.4 Invalid BODY"),
                },
                "SMTPUTF8" if self.voice.personality() == Personality::Gmail && value.is_none() => "SMTPUTF8",
                "AUTH" => "AUTH",
                "RET" | "ENVID" if microsoft => "DSN",
                _ => return Some("555 5.5.4 Unsupported parameter"),
            };
            self.withheld(keyword).then_some("555 5.5.4 Unsupported parameter")
        })
    }

    async fn rcpt(&mut self, arguments: &str) -> Flow<Next> {
        let dsn = self.voice.personality() == Personality::Microsoft && !self.withheld("DSN");
        let known = |name: &str| dsn && (name.eq_ignore_ascii_case("NOTIFY") || name.eq_ignore_ascii_case("ORCPT"));
        let recipient = match PathAndParameters::parse(arguments, "TO") {
            Some(rcpt) if rcpt.path.is_empty() => return Ok(self.breach("501 5.1.3 Invalid address")),
            Some(rcpt) if rcpt.pairs().all(|(name, _)| known(name)) => rcpt.path.to_owned(),
            Some(_) => return Ok(self.breach("555 5.5.4 Unsupported parameter")),
            None => return Ok(self.breach("501 5.5.4 Invalid arguments")),
        };
        if self.wire.answered_otherwise(Moment::RcptDue, "").await? {
            return Ok(Next::Command);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.recipients.push(recipient);
        }
        Ok(self.say("250 2.1.5 Recipient OK"))
    }

    async fn data(&mut self, arguments: &str) -> Flow<Next> {
        let Some(transaction) = self.transaction.take() else { return Ok(Next::Command) };
        if !arguments.is_empty() {
            return Ok(self.breach("501 5.5.4 DATA takes no parameter"));
        }
        if transaction.body.chunked || transaction.body.binary {
            return Ok(self.breach("503 5.5.1 BDAT has to be used"));
        }
        if self.wire.answered_otherwise(Moment::DataDue, "").await? {
            return Ok(Next::Command);
        }
        if transaction.recipients.is_empty() {
            // Pipelining clients send DATA before they know that every recipient was refused (RFC 2920 section 3.1).
            return Ok(self.say("554 5.5.1 No valid recipients"));
        }
        self.say("354 Start mail input; end with <CRLF>.<CRLF>");
        let transaction = self.read_data(transaction).await?;
        self.finish(transaction).await
    }

    async fn read_data(&mut self, mut transaction: Transaction) -> Flow<Transaction> {
        let max_message = self.wire.shared.options.max_message;
        let raw = self.wire.shared.record.note(|seen| {
            seen.raw_smtp.push(Vec::new());
            seen.raw_smtp.len() - 1
        });
        let mut transparency = Transparency::new();
        let mut begun = false;
        loop {
            if self.wire.unused().is_empty() {
                self.wire.read().await?;
            }
            if !begun {
                begun = true;
                self.wire.pass(Moment::BodyBegun).await?;
            }
            let unused = self.wire.unused();
            let end = transparency.read(unused, &mut transaction.body.octets);
            let used = end.unwrap_or(unused.len());
            self.wire
                .shared
                .record
                .note(|seen| seen.raw_smtp[raw].extend_from_slice(&unused[..used]));
            self.wire.consume(used);
            transaction.body.hold(max_message);
            if end.is_some() {
                return Ok(transaction);
            }
        }
    }

    /// One chunk (RFC 3030 section 2). Its octets are read whatever the answer: they are not commands.
    async fn bdat(&mut self, arguments: &str) -> Flow<Next> {
        let (length, last) = match arguments.split_once(' ') {
            Some((length, last)) if last.eq_ignore_ascii_case("LAST") => (length, true),
            Some(_) => ("", false),
            None => (arguments, false),
        };
        let Ok(length) = length.parse::<u32>() else { return Ok(self.breach("501 5.5.4 Invalid chunk size")) };
        let refusal = match &self.transaction {
            _ if self.withheld("CHUNKING") => Some("502 5.5.1 BDAT is not offered"),
            _ if self.account.is_none() => Some(self.voice.not_logged_in()),
            None => Some("503 5.5.1 Need MAIL first"),
            Some(_) => None,
        };
        let mut transaction = self.transaction.take().unwrap_or_default();
        let body = Some(&mut transaction.body).filter(|_| refusal.is_none());
        self.read_chunk(length as usize, body).await?;
        if let Some(reply) = refusal {
            return Ok(self.breach(reply));
        }
        if transaction.recipients.is_empty() {
            return Ok(self.say("554 5.5.1 No valid recipients"));
        }
        transaction.body.chunked = true;
        if last {
            return self.finish(transaction).await;
        }
        if self.wire.answered_otherwise(Moment::DataDue, "").await? {
            return Ok(Next::Command);
        }
        self.transaction = Some(transaction);
        Ok(self.say(&format!("250 2.0.0 {length} octets received")))
    }

    /// Reads a chunk to its end, and keeps it where there is a body for it.
    async fn read_chunk(&mut self, length: usize, mut body: Option<&mut Body>) -> Flow<()> {
        let max_message = self.wire.shared.options.max_message;
        let mut left = length;
        while left > 0 {
            if self.wire.unused().is_empty() {
                self.wire.read().await?;
            }
            let unused = self.wire.unused();
            let used = left.min(unused.len());
            if let Some(body) = &mut body {
                body.octets.extend_from_slice(&unused[..used]);
                body.hold(max_message);
            }
            self.wire.consume(used);
            left -= used;
        }
        Ok(())
    }

    /// Answers a message that has come whole.
    async fn finish(&mut self, transaction: Transaction) -> Flow<Next> {
        let Transaction { from, parameters, recipients, body } = transaction;
        let summary = format!("(a message of {} octets)", body.octets.len());
        self.wire.note_data(&summary);
        if self.wire.answered_otherwise(Moment::BodyRead, "").await? {
            return Ok(Next::Command);
        }
        if body.too_big {
            return Ok(self.say(TOO_BIG));
        }
        let account = self.account.clone().unwrap_or_default();
        if self.wire.shared.plan.refuses_other_senders()
            && let Some(other) = other_sender(&account, &from, &body.octets)
        {
            return Ok(self.say(&format!(
                "554 5.2.252 SendAsDenied; {account} not allowed to send as {other}; \
                 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message"
            )));
        }
        let submission = Submission { account, from, recipients, parameters, octets: body.octets };
        let number = self.wire.shared.accept(submission);
        if self.wire.answered_otherwise(Moment::Delivered, "").await? {
            return Ok(Next::Command);
        }
        let queued = self.voice.queued(number);
        Ok(self.say(&queued))
    }
}

/// Whom a message names as its sender, if that is not the account alone.
fn other_sender(account: &str, from: &str, message: &[u8]) -> Option<String> {
    let is_other = |address: &str| !address.eq_ignore_ascii_case(account);
    if !from.is_empty() && is_other(from) {
        return Some(from.to_owned());
    }
    let Some(message) = MessageParser::new().with_address_headers().parse_headers(message) else {
        return Some("nobody".into());
    };
    let senders: Vec<&str> = ["From", "Sender"]
        .into_iter()
        .flat_map(|name| message.header_values(name))
        .filter_map(|value| value.as_address())
        .flat_map(Address::iter)
        .map(|address| address.address().unwrap_or_default())
        .collect();
    match senders.as_slice() {
        [] => Some("nobody".into()),
        senders => senders
            .iter()
            .find(|sender| is_other(sender))
            .map(|sender| (*sender).to_owned()),
    }
}
