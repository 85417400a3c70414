//! What the log says about a session: one line when it ends, one for each failed login, one for each message. They all carry
//! the session's number, so that they can be found together.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::time::Instant;

use super::clearance::{Admitted, Caller, Clearance, NotNow, Why};
use super::crowd::Seat;
use super::drive::Lost;
use super::failure::{Failure, FailureKind};
use super::nuisance::{Nuisance, Nuisances};
use super::permits::Permits;
use super::protocol::Asked;
use super::relay::{RelayEnd, Relayed};
use super::sender::Sender;
use super::watch::Tap;
use super::watch::advice::Clue;
use super::words::{self, Meaning};
use crate::config::{Account, Listener, Login};
use crate::proto::smtp::reply::Reply;
use crate::proto::smtp::transaction::{Denial, Denied, EnvelopeCommand, EnvelopeRefusal, MessageReport};
use crate::proto::{CloseReason, ProtoError};
use crate::telemetry::log::{PeerName, PeerText};

/// How many refused senders, recipients and messages of a session are told of, each with a line of its own.
const REFUSALS_TOLD: u64 = 10;

/// What is known about a session so far.
#[derive(Debug)]
pub(crate) struct Record {
    session: u64,
    /// Whose it is: the peer, or whom a trusted proxy names.
    pub(crate) peer: IpAddr,
    begun: Instant,
    who: Option<Who>,
    /// Whether the upstream has let it in.
    is_open: bool,
    failures: u32,
    /// How many of these failures were nuisances.
    nuisances: u32,
    pub(crate) to_upstream: u64,
    pub(crate) to_downstream: u64,
    messages: u64,
    /// How many of its senders, recipients and messages were refused but for those the upstream refused after the data.
    refusals: u64,
    /// What its messages go out with. Of a session that an address has opened the first one's is there before the login.
    permits: Permits,
    /// Where an address has let it in. Boxed: most have none.
    seat: Option<Box<Seat>>,
    /// Who watches it.
    pub(crate) tap: Tap,
}

/// Whose session it is, once the password was right.
#[derive(Debug)]
struct Who {
    /// Which of the account's.
    login: usize,
    /// What let it in.
    admission: &'static str,
    account: Arc<Account>,
    /// With whom it is counted. Boxed: the session's own memory is small.
    sender: Box<Sender>,
}

impl Who {
    fn login(&self) -> &Login {
        &self.account.logins[self.login]
    }
}

/// What a refusal means and what to do, in brackets; nothing where it is not known.
struct Hint(Option<&'static Meaning>);

impl Hint {
    fn of(reply: &[u8]) -> Self {
        Self(words::of_reply(reply))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |meaning| write!(f, " ({meaning})"))
    }
}

/// How a session ended.
#[derive(Debug, Error)]
pub(crate) enum Ending {
    #[error("{}", closed(*.0))]
    Closed(CloseReason),
    #[error("{}", lost(.0))]
    DownstreamLost(Lost),
    #[error("upstream: {0}")]
    UpstreamLost(&'static str),
    #[error("{0}")]
    Misbehaved(#[from] ProtoError),
    #[error("no login within the time allowed")]
    LoginDeadline,
    #[error("silent for too long")]
    Idle,
    #[error("closed by the client")]
    DownstreamEnded,
    #[error("closed by the upstream")]
    UpstreamEnded,
    #[error("ended by the shutdown")]
    Drained,
    #[error("the login was revoked")]
    Revoked,
    #[error("turned away: {0}")]
    TurnedAway(&'static str),
    #[error("no TLS: {0}")]
    NoTls(&'static str),
    #[error("an internal error: {0}")]
    Internal(&'static str),
}

/// What has become of a client's connection.
fn lost(lost: &Lost) -> String {
    match lost {
        Lost::Gone => "the client closed the connection".into(),
        Lost::Broken(error) => format!("the connection to the client broke: {error}"),
        Lost::TooSlow => "the client took too long".into(),
        Lost::Misbehaved(error) => error.to_string(),
    }
}

const fn closed(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Quit => "the client said goodbye",
        CloseReason::TooManyErrors => "too many errors",
        CloseReason::TooLong => "an endless line or literal",
        CloseReason::Refused => "refused by the upstream",
        CloseReason::TooBig => "a message was too big and could not be sent whole",
        CloseReason::RefusedData => "the upstream refused message data that was already on its way",
        CloseReason::TlsHello => "a TLS handshake where a command should begin",
    }
}

impl Record {
    /// Of the session with this number.
    pub(crate) fn new(session: u64, peer: IpAddr) -> Self {
        Self {
            session,
            peer,
            begun: Instant::now(),
            who: None,
            is_open: false,
            failures: 0,
            nuisances: 0,
            to_upstream: 0,
            to_downstream: 0,
            messages: 0,
            refusals: 0,
            permits: Permits::default(),
            seat: None,
            tap: Tap::default(),
        }
    }

    /// The session's number.
    pub(crate) const fn session(&self) -> u64 {
        self.session
    }

    /// The password was right, or the address one that opens this login, of the account's the one of this number: from
    /// here on the session is somebody's.
    pub(crate) fn known(&mut self, account: &Arc<Account>, login: usize, asked: &Asked) {
        let admission = match asked {
            Asked::Password(_) => "password",
            Asked::Address => "address",
        };
        let sender = Box::new(Sender::of(account, &account.logins[login], self.peer));
        self.who = Some(Who { login, admission, account: Arc::clone(account), sender });
        let (login, account) = self.names();
        self.tap
            .tell(|| format!("by its {admission} this is the login {login} of {account}"));
    }

    /// Whether the address, which has let this session in, may have it log in at the upstream.
    ///
    /// # Errors
    /// What is said to its MAIL if it may not.
    pub(crate) fn admit(&mut self, clearance: &Clearance) -> Result<(), Failure> {
        let Some(who) = &self.who else { return Ok(()) };
        match clearance.admit(&who.sender, who.login().mail.rate, self.caller()) {
            Ok(Admitted { seat, permit }) => {
                self.seat = Some(Box::new(seat));
                self.permits.put(permit);
                Ok(())
            }
            Err(NotNow { why, reply }) => {
                self.tap_not_now(why);
                Err(Failure::not_now(reply))
            }
        }
    }

    /// The upstream has let us in. By address that counts, whether a message comes or not, as does a login that it has refused.
    pub(crate) fn logged_in(&mut self, server: &str) {
        self.is_open = true;
        self.permits.keep_all();
        self.tap.learn(Clue::LoggedIn);
        self.tap.tell(|| format!("logged in at {server}"));
    }

    /// Whether a message may go on to the upstream, and the number of its MAIL then. Those before it that are not among
    /// `mails` have come to nothing and do not count.
    ///
    /// # Errors
    /// What is said to its MAIL if it may not.
    pub(crate) fn ask(&mut self, clearance: &Clearance, mails: &[u64]) -> Result<u64, Reply> {
        self.permits.give_back_all_but(mails);
        if !self.permits.has_next()
            && let Some(who) = &self.who
        {
            match clearance.ask(&who.sender, who.login().mail.rate, self.caller()) {
                Ok(permit) => self.permits.put(permit),
                Err(NotNow { why, reply }) => {
                    self.tap_not_now(why);
                    return Err(reply);
                }
            }
        }
        Ok(self.permits.pass_next())
    }

    fn tap_not_now(&self, why: Why) {
        let login = self.names().0.to_owned();
        match why {
            Why::RateExceeded => self.tap.learn(Clue::RateExceeded { login }),
            Why::HeldBack => self.tap.learn(Clue::HeldBack { login }),
            Why::TooManySessions => {}
        }
    }

    /// A login was not accepted.
    pub(crate) fn failed(&mut self, nuisances: &Nuisances, at: &Listener, asked: &Asked, failure: &Failure) {
        self.failures += 1;
        if failure.was_tried {
            self.permits.keep_all();
        }
        self.permits.give_back();
        self.seat = None;
        if failure.reply.is_some() {
            return self.not_now(nuisances, at, failure);
        }
        self.tap.failed(at, asked, failure);
        let known = self.names().0.to_owned();
        let login: &[u8] = match asked {
            Asked::Password(request) => &request.username,
            Asked::Address => known.as_bytes(),
        };
        let mechanism = asked.mechanism(at.protocol);
        let (listener, login) = (&at.name, PeerName(login));
        let (session, peer, reason, detail) = (self.session, self.peer, failure.kind, &failure.detail);
        let tell = || match failure.kind {
            FailureKind::NeedsPerson | FailureKind::MissingRights => {
                tracing::error!(session, listener, %peer, %login, mechanism, ?reason, "login failed: {detail}");
            }
            _ => tracing::warn!(session, listener, %peer, %login, mechanism, ?reason, "login failed: {detail}"),
        };
        match self.nuisance(asked, failure.kind) {
            Some(nuisance) => {
                self.nuisances += 1;
                nuisances.tell(at, nuisance, self.peer, tell);
            }
            None => tell(),
        }
    }

    /// What may come without end, for it cost whoever asked nothing: no password was right, nor even looked at.
    fn nuisance(&self, asked: &Asked, kind: FailureKind) -> Option<Nuisance> {
        let account = || self.who.as_ref().map(|who| who.account.address.clone());
        match (asked, kind) {
            (_, FailureKind::ImpossibleName) => Some(Nuisance::ImpossibleName),
            (_, FailureKind::Throttled) => Some(Nuisance::Throttled),
            (_, FailureKind::Busy) => Some(Nuisance::Busy),
            (Asked::Address, FailureKind::NeedsPerson | FailureKind::MissingRights) => {
                Some(Nuisance::NoMailByAddressUntilPerson(account()))
            }
            (Asked::Address, _) => Some(Nuisance::NoMailByAddress(account())),
            (Asked::Password(_), _) => None,
        }
    }

    /// Mail by address that is not let through to the upstream costs nobody anything.
    fn not_now(&mut self, nuisances: &Nuisances, at: &Listener, failure: &Failure) {
        self.tap.tell(|| format!("mail without a login refused: {}", failure.detail));
        self.nuisances += 1;
        nuisances.tell(at, Nuisance::MailByAddress, self.peer, || {
            let (session, listener, peer, (login, account)) = (self.session, &at.name, self.peer, self.names());
            tracing::info!(session, listener, %peer, login, account, "mail by address refused: {}", failure.detail);
        });
        self.who = None;
    }

    /// A message was accepted or refused by the upstream.
    pub(crate) fn message(&mut self, report: &MessageReport, clearance: &Clearance) {
        self.messages += 1;
        if let Some(who) = &self.who {
            clearance.message(&who.sender, report, self.caller());
            if !self.permits.used(report.mail) {
                clearance.count(&who.sender, who.login().mail.rate);
            }
        }
        self.tap_refusal(report.accepted, &report.reply);
        let (session, (login, account)) = (self.session, self.names());
        let MessageReport { accepted, sender, recipients, octets, reply, .. } = report;
        let (sender, reply) = (PeerText(sender), PeerText(reply));
        if *accepted {
            tracing::info!(session, login, account, %sender, recipients, octets, %reply, "message accepted");
        } else {
            let hint = Hint::of(&report.reply);
            tracing::info!(session, login, account, %sender, recipients, octets, %reply, "message refused{hint}");
        }
    }

    /// A sender or a recipient was refused by the upstream.
    pub(crate) fn envelope_refused(&mut self, refusal: &EnvelopeRefusal, clearance: &Clearance) {
        if let Some(who) = &self.who {
            clearance.envelope_refused(&who.sender, refusal, self.caller());
        }
        self.tap_refusal(false, &refusal.reply);
        if !self.is_told() {
            return;
        }
        let (session, (login, account)) = (self.session, self.names());
        let EnvelopeRefusal { command, sender, reply } = refusal;
        let (sender, hint, reply) = (PeerText(sender), Hint::of(reply), PeerText(reply));
        let what = match command {
            EnvelopeCommand::Mail => "sender refused",
            EnvelopeCommand::Rcpt => "recipient refused",
        };
        tracing::info!(session, login, account, %sender, %reply, "{what}{hint}");
    }

    fn tap_refusal(&self, accepted: bool, reply: &[u8]) {
        if !self.tap.is_open() {
            return;
        }
        if accepted {
            self.tap.learn(Clue::MessageAccepted);
            return self.tap.tell(|| format!("message accepted: {}", PeerText(reply)));
        }
        let meaning = words::of_reply(reply);
        self.tap
            .tell(|| format!("refused by the upstream: {}{}", PeerText(reply), Hint(meaning)));
        let login = self.names().0.to_owned();
        self.tap.learn(match meaning {
            Some(meaning) if meaning.is_about_sender() => Clue::SenderDenied { login },
            _ => Clue::Refused(meaning.map(|meaning| meaning.cure)),
        });
    }

    /// The gateway itself refused to send something.
    pub(crate) fn denied(&mut self, denial: &Denial) {
        let is_told = self.is_told();
        let (session, (login, account)) = (self.session, self.names());
        let Denial { what, sender, reply } = denial;
        let (sender, reply) = (PeerText(sender), PeerText(reply));
        match what {
            Denied::Recipient(recipient) => {
                let recipient = PeerText(recipient);
                self.tap.learn(Clue::RecipientDenied { login: login.to_owned() });
                if is_told {
                    tracing::info!(
                        session, login, account, %sender, %recipient, %reply,
                        "recipient refused here: not among the login's `recipients`"
                    );
                }
            }
            Denied::Header => {
                self.tap.learn(Clue::HeaderTooLong { login: login.to_owned() });
                if is_told {
                    tracing::info!(
                        session, login, account, %sender, %reply,
                        "message refused here: its header is over 256 KiB, which is too long for the login's `sender = \"force\"`"
                    );
                }
            }
            Denied::Mail | Denied::Message => {
                self.tap.learn(Clue::TooLarge { account: account.to_owned() });
                if is_told {
                    tracing::info!(
                        session, login, account, %sender, %reply,
                        "message refused here: larger than the account's `max_message` or the mail server takes"
                    );
                }
            }
        }
    }

    /// Counts one more refusal; whether it is told of. A command of a few octets must not write a line each without end.
    fn is_told(&mut self) -> bool {
        self.refusals += 1;
        self.refusals <= REFUSALS_TOLD
    }

    /// The session ends with messages whose fate the upstream has not told, of MAILs that are among `mails`.
    pub(crate) fn message_lost(&mut self, ending: &Ending, mails: &[u64]) {
        self.permits.give_back_all_but(mails);
        self.permits.keep_all();
        let (session, (login, account)) = (self.session, self.names());
        tracing::warn!(session, login, account, "message without an answer, the sender has to send it again: {ending}");
    }

    /// Nothing is announced or under way any more: what has not been sent has come to nothing, and does not count.
    pub(crate) fn settled(&mut self) {
        self.permits.give_back();
    }

    /// No more mail comes. What it has not used is free before the client sees the end, and comes again.
    pub(crate) fn has_ended(&mut self) {
        self.permits.give_back();
        self.seat = None;
    }

    /// What the relay moved.
    pub(crate) fn relayed(&mut self, relayed: &Relayed) -> Ending {
        self.to_upstream += relayed.to_upstream;
        self.to_downstream += relayed.to_downstream;
        match relayed.end {
            RelayEnd::Downstream => Ending::DownstreamEnded,
            RelayEnd::Upstream => Ending::UpstreamEnded,
            RelayEnd::Idle => Ending::Idle,
            RelayEnd::Drained => Ending::Drained,
            RelayEnd::Revoked => Ending::Revoked,
        }
    }

    /// The session's line.
    pub(crate) fn write(&self, listener: &Listener, ending: &Ending) {
        self.tap.ended(ending);
        let (login, account) = self.names();
        if let Some(count) = self.refusals.checked_sub(REFUSALS_TOLD).filter(|count| *count > 0) {
            tracing::info!(
                session = self.session,
                login,
                account,
                count,
                "further senders, recipients or messages refused in this session"
            );
        }
        // To the millisecond: what is behind it means nothing.
        let seconds = (self.begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let Self { session, peer, failures, to_upstream, to_downstream, messages, .. } = self;
        let (listener, protocol) = (&listener.name, listener.protocol);
        let came_to_nothing = !self.is_open && (self.who.is_none() || *failures > 0);
        if came_to_nothing && *failures == self.nuisances {
            // A port scan, a health check or a nuisance: of no interest, and a flood of them must not fill the log.
            tracing::debug!(session, listener, %protocol, %peer, seconds, "session without a login: {ending}");
        } else {
            let admission = self.who.as_ref().map_or("-", |who| who.admission);
            tracing::info!(
                session, listener, %protocol, %peer, login, account, admission, failures, messages, to_upstream, to_downstream,
                seconds,
                "session ended: {ending}"
            );
        }
    }

    const fn caller(&self) -> Caller {
        Caller { session: self.session, peer: self.peer }
    }

    fn names(&self) -> (&str, &str) {
        self.who
            .as_ref()
            .map_or(("-", "-"), |who| (&who.login().username, &who.account.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ListenerTls, Protocol};
    use crate::telemetry::testing::Logged;

    /// What the log says meanwhile.
    fn logged(work: impl FnOnce(&mut Record)) -> String {
        let (logged, _guard) = Logged::start();
        work(&mut Record::new(7, [192, 0, 2, 7].into()));
        logged.lines().join("\n")
    }

    fn report(accepted: bool, reply: &str) -> MessageReport {
        MessageReport {
            mail: 1,
            accepted,
            sender: b"a@example.com".into(),
            recipients: 1,
            octets: 5,
            reply: reply.into(),
        }
    }

    #[test]
    fn a_refused_message_is_logged_with_what_to_do() {
        let line = logged(|record| {
            record.message(&report(false, "554 5.2.252 SendAsDenied; a@x not allowed\x1b[31m"), &Clearance::default())
        });
        assert!(line.contains("message refused (The mailbox may not send as the address in From"), "{line}");
        assert!(line.contains("Send As") && line.contains("session=7") && line.contains("\\x1b[31m"), "{line}");
        let line =
            logged(|record| record.message(&report(false, "550 5.9.9 In words of tomorrow"), &Clearance::default()));
        assert!(line.contains("message refused session=7"), "{line}");
        let line = logged(|record| record.message(&report(true, "250 2.0.0 SendAsDenied"), &Clearance::default()));
        assert!(line.contains("message accepted session=7"), "{line}");
    }

    #[test]
    fn a_refused_sender_or_recipient_is_logged_with_what_to_do() {
        for (command, words) in
            [(EnvelopeCommand::Mail, "sender refused ("), (EnvelopeCommand::Rcpt, "recipient refused (")]
        {
            let reply = b"550 5.7.232 Your message can't be sent".into();
            let refusal = EnvelopeRefusal { command, sender: b"a@example.com".into(), reply };
            let line = logged(|record| record.envelope_refused(&refusal, &Clearance::default()));
            assert!(line.contains(words) && line.contains("sender=a@example.com"), "{line}");
            assert!(line.contains("outside recipients") && line.contains("reply=550 5.7.232"), "{line}");
        }
    }

    fn listener() -> Listener {
        Listener {
            name: "smtp".into(),
            protocol: Protocol::Smtp,
            bind: vec![],
            allow: vec![],
            plaintext_login: vec![],
            tls: ListenerTls::None,
            certificate: None,
            proxy_protocol: vec![],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn how_long_a_session_was_is_told_to_the_millisecond() {
        let (logged, _guard) = Logged::start();
        let mut record = Record::new(7, [192, 0, 2, 7].into());
        record.failures = 1;
        tokio::time::advance(std::time::Duration::from_micros(355_400)).await;
        record.write(&listener(), &Ending::DownstreamLost(Lost::Gone));
        let line = logged.lines().join("\n");
        assert!(line.contains("seconds=0.355 ") || line.ends_with("seconds=0.355"), "{line}");
        assert!(line.contains("session ended: the client closed the connection "), "{line}");
    }

    #[test]
    fn refusals_without_end_are_told_of_a_few_times_and_then_counted() {
        let listener = listener();
        let refusal = |command| EnvelopeRefusal { command, sender: b"a@x".into(), reply: b"550 5.1.1 no".into() };
        let denial = |what| Denial { what, sender: b"a@x".into(), reply: b"550 5.7.1 no".into() };
        let lines = logged(|record| {
            for _ in 0..5000 {
                record.denied(&denial(Denied::Recipient(b"b@x".into())));
                record.denied(&denial(Denied::Mail));
                record.envelope_refused(&refusal(EnvelopeCommand::Mail), &Clearance::default());
                record.envelope_refused(&refusal(EnvelopeCommand::Rcpt), &Clearance::default());
            }
            record.write(&listener, &Ending::DownstreamEnded);
        });
        assert_eq!(lines.lines().count(), 11, "{lines}");
        assert!(lines.contains("refused in this session") && lines.contains("count=19990"), "{lines}");
        let few = logged(|record| {
            record.denied(&denial(Denied::Message));
            record.write(&listener, &Ending::DownstreamEnded);
        });
        assert_eq!(few.lines().count(), 1, "{few}");
    }
}
