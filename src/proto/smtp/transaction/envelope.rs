//! What a login's mail may be: its size and its recipients, and whose name it carries. What may not pass is answered here,
//! in its turn.

use super::downstream::no_mail;
use super::owed::Asked;
use super::{Denial, Denied, MAX_REFUSED_RECIPIENTS, Pipes, Stamp, State, Transaction, too_many_recipients};
use crate::config::{Recipients, SenderRule};
use crate::message::sender::Sender;
use crate::proto::CloseReason;
use crate::proto::smtp::envelope::{Envelope, EnvelopeError, Side};
use crate::proto::smtp::reply::Reply;

impl Transaction {
    /// The numbers of the MAILs that have no answer yet, and of the one that is open unless it has been given up, in order.
    /// There are no more than replies may be outstanding, and one.
    #[must_use]
    pub fn mails(&self) -> Vec<u64> {
        let mut open = self.open.as_ref().map(|mail| mail.number);
        let mut unanswered = Vec::new();
        let mut has_data = false;
        for asked in self.owed.asked() {
            match asked {
                Asked::Mail { number, .. } => unanswered.push(*number),
                // Whichever of them the upstream accepts, the data is that one's.
                asked if asked.is_about_message_data() => has_data = true,
                Asked::Rset | Asked::OurReset | Asked::Hello { .. } if !has_data => open = None,
                _ => {}
            }
        }
        open.into_iter().chain(unanswered).collect()
    }

    pub(super) fn mail(&mut self, arguments: &[u8]) -> State {
        // A count that began anew with it would let any size pass, and what is held would be lost.
        if self.chunks.have_begun() {
            self.owed.ours(Reply::new(503, "5.5.1", "BDAT has begun"));
            return State::AwaitingCommand;
        }
        let mut mail = match Envelope::parse(Side::Sender, arguments) {
            Ok(mail) => mail,
            Err(error) => return self.refuse_mail(refusal(Side::Sender, error)),
        };
        let announced = mail.take_size();
        if self.options.rules.sender != SenderRule::Keep && !mail.path.is_null() {
            mail.replace_path(&self.options.account);
        }
        if mail.is_international() && !mail.has("SMTPUTF8") {
            self.refuse_mail(ascii_only())
        } else if announced > self.size() {
            let sender = mail.path.as_bytes().to_vec();
            self.deny_to(sender, Denied::Mail, &super::too_big());
            self.refuse_mail(super::too_big())
        } else {
            State::AwaitingAdmission { mail }
        }
    }

    /// What follows must not go to an older mail, nor be the upstream's to refuse: it has heard nothing of this one.
    fn refuse_mail(&mut self, answer: Reply) -> State {
        self.mail_was_refused = true;
        self.owed.ours(answer);
        State::AwaitingCommand
    }

    pub(super) fn carry_out(&mut self, mail: &Envelope, verdict: Result<Stamp, Reply>, pipes: &mut Pipes) -> State {
        match verdict {
            Ok(stamp) => {
                self.mail_was_refused = false;
                self.international = mail.has("SMTPUTF8");
                let sender = mail.path.as_bytes().to_vec();
                (self.last_stamp, self.last_sender) = (stamp, sender.clone());
                mail.write(&mut pipes.to_upstream);
                self.owed.upstreams(Asked::Mail { number: stamp.number, sender });
            }
            Err(reply) => return self.refuse_mail(reply),
        }
        State::AwaitingCommand
    }

    pub(super) fn recipient(&mut self, arguments: &[u8], pipes: &mut Pipes) -> State {
        if self.mail_was_refused {
            return self.refuse_recipient(no_mail());
        }
        let recipient = match Envelope::parse(Side::Recipient, arguments) {
            Ok(recipient) => recipient,
            Err(error) => return self.refuse_recipient(refusal(Side::Recipient, error)),
        };
        if recipient.is_international() && !self.international {
            return self.refuse_recipient(ascii_only());
        }
        if !self.may_be_written_to(recipient.path.as_bytes()) {
            let answer = Reply::new(550, "5.7.1", "This login may not write to this recipient");
            self.deny(Denied::Recipient(recipient.path.as_bytes().to_vec()), &answer);
            return self.refuse_recipient(answer);
        }
        recipient.write(&mut pipes.to_upstream);
        self.owed.upstreams(Asked::Rcpt);
        State::AwaitingCommand
    }

    fn refuse_recipient(&mut self, answer: Reply) -> State {
        self.owed.ours(answer);
        self.refused_recipients += 1;
        if self.refused_recipients < MAX_REFUSED_RECIPIENTS {
            return State::AwaitingCommand;
        }
        self.owed.farewell(too_many_recipients(), CloseReason::TooManyErrors);
        State::AwaitingFarewell
    }

    fn may_be_written_to(&self, path: &[u8]) -> bool {
        let Some(allowed) = &self.options.rules.recipients else { return true };
        let path = String::from_utf8_lossy(path).to_lowercase();
        // By a quoted local part, or one with a way of its own in it, some servers at that domain send it on elsewhere.
        let is_plain = |local: &str| !local.contains(['"', '%', '!', '@']);
        let domain = path
            .rsplit_once('@')
            .and_then(|(local, domain)| is_plain(local).then_some(domain));
        allowed.iter().any(|allowed| match allowed {
            Recipients::Address(address) => *address == path,
            Recipients::Domain(allowed) => domain == Some(allowed),
        })
    }

    /// The largest message that may be announced: what the account takes, and what the upstream says it takes.
    pub(super) fn size(&self) -> u64 {
        let most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        most(self.options.max_message).min(most(self.options.extensions.size()))
    }

    /// Whether headers are to carry the account's name.
    pub(super) const fn holds_header(&self) -> bool {
        matches!(self.options.rules.sender, SenderRule::Force { .. })
    }

    /// Whose name they carry then.
    pub(super) fn sender(&self) -> Option<Sender<'_>> {
        let SenderRule::Force { from_name, reply_to } = &self.options.rules.sender else { return None };
        Some(Sender {
            address: &self.options.account,
            name: from_name.as_deref(),
            reply_to: reply_to.as_deref(),
            hostname: &self.options.hostname,
            now: self.last_stamp.now,
            unguessable: self.last_stamp.unguessable,
        })
    }

    /// Something of the current mail is refused here: for the log.
    pub(super) fn deny(&mut self, what: Denied, answer: &Reply) {
        self.deny_to(self.last_sender.clone(), what, answer);
    }

    fn deny_to(&mut self, sender: Vec<u8>, what: Denied, answer: &Reply) {
        let reply = format!("{} {} {}", answer.code, answer.enhanced, answer.text).into_bytes();
        self.told = Some(Box::new(Denial { what, sender, reply }));
    }
}

/// RFC 6531 section 3.5.
fn ascii_only() -> Reply {
    Reply::new(553, "5.6.7", "Non-ASCII addresses need SMTPUTF8")
}

/// RFC 3463 sections 3.2 and 3.6: bad address syntax, bad arguments.
fn refusal(side: Side, error: EnvelopeError) -> Reply {
    let enhanced = match (error, side) {
        (EnvelopeError::Address, Side::Sender) => "5.1.7",
        (EnvelopeError::Address, Side::Recipient) => "5.1.3",
        (EnvelopeError::Keyword | EnvelopeError::Parameter | EnvelopeError::Unsupported, _) => "5.5.4",
    };
    // RFC 5321 section 4.1.1.11.
    let code = if error == EnvelopeError::Unsupported { 555 } else { 501 };
    Reply::new(code, enhanced, format!("{} {}: {error}", side.verb(), side.keyword()))
}
