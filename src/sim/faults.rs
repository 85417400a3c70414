//! What can be made to go wrong, and when. This file only plans; the servers ask it at every named moment.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::Protocol;
use super::http::CannedAnswer;
use super::record::lock;

/// A point in a mail dialogue, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The connection is there. With implicit TLS the handshake has not begun.
    Accepted,
    /// The greeting is next. With implicit TLS the handshake is done.
    GreetingDue,
    /// The greeting has been written.
    Greeted,
    /// EHLO, CAPABILITY or CAPA was read; the answer is next.
    CapabilitiesDue,
    /// That answer has been written.
    CapabilitiesSaid,
    /// STARTTLS or STLS was read; the answer is next.
    StartTlsDue,
    /// The answer has been written, the handshake is next. What is said here goes out in the clear with the answer.
    StartTlsAnswered,
    /// The handshake after STARTTLS is done.
    TlsReady,
    /// AUTH or AUTHENTICATE was read; the answer is next.
    AuthDue,
    /// The credentials were read and not looked at; the answer is next.
    CredentialsRead,
    /// The login has succeeded, and the client was told.
    LoggedIn,
    /// MAIL was read; the answer is next.
    MailDue,
    /// RCPT was read; the answer is next.
    RcptDue,
    /// DATA, or a BDAT that is not the last, was read; the answer is next.
    DataDue,
    /// The first octets of a message have come (DATA only).
    BodyBegun,
    /// The whole message has come; it is not delivered, and the answer is next.
    BodyRead,
    /// The message is delivered; the answer is next.
    Delivered,
    /// Any other command after the login was read; the answer is next.
    CommandDue,
}

/// What happens at a [`Moment`].
#[derive(Debug, Clone)]
pub enum Act {
    /// The connection ends; what was written before is sent first.
    Close,
    /// The dialogue stands still until the gate opens, then goes on.
    Hold(Gate),
    /// This is said instead of the answer that was due, or, where none is, in addition. It is sent as it stands with
    /// CRLF behind it; IMAP puts the command's tag before it unless it begins with `*` or `+`.
    ///
    /// The connection ends after a `421`, a `* BYE`, and any greeting that is not `220`, `* OK`, `* PREAUTH` or `+OK`.
    Say(String),
    /// The answer never ends.
    Flood(Flood),
}

/// An answer without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// One line.
    Line,
    /// Lines that each announce another: `250-`, `* OK`, `+OK`.
    Lines,
}

/// How a login is refused that would have succeeded, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The token is no good, in the way of the personality.
    Token,
    /// The token is no good, and a challenge says so first, whatever the personality.
    TokenWithChallenge,
    /// The token is no good, and the challenge and the reply both repeat what was sent, as a server that explains too much
    /// does.
    Echo,
    /// An administrator has switched this protocol off.
    Policy,
    /// The mailbox's rights are missing. SMTP says `550 5.7.1`, which Exchange does not: it lets such a login succeed and
    /// refuses the message, which [`Act::Say`] at [`Moment::BodyRead`] does.
    Rights,
    /// The server cannot say now.
    Temporary,
}

/// The certificate a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Signed by nobody.
    SelfSigned,
    /// For another host.
    WrongName,
    /// For other hosts, of many and long names that would begin a line of a log and clear a terminal.
    HostileNames,
    /// No longer valid.
    Expired,
}

/// Something that goes wrong at a mail server.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This happens at that moment.
    At(Moment, Act),
    /// Logins are refused.
    RefuseLogin(Refusal),
    /// This keyword (`STARTTLS`, `STLS`, `PIPELINING`, `SASL-IR`, …) is neither offered nor taken. A count is not kept: it
    /// lasts until the faults are cleared.
    Withhold(&'static str),
    /// A message whose envelope or header names another sender than the mailbox that was logged in is refused, as Exchange
    /// does. A count is not kept: it lasts until the faults are cleared.
    RefuseOtherSenders,
    /// The handshake shows this certificate.
    Certificate(Certificate),
}

/// Something that goes wrong at the token endpoint.
#[derive(Debug, Clone)]
pub enum TokenFault {
    /// This is the answer.
    Answer(CannedAnswer),
    /// Microsoft's answer for this AADSTS number.
    Aadsts(u32),
    /// The client secret is said to be wrong, and repeated: as it is, and as the form spelled it.
    Echo,
    /// An answer with this `error` (RFC 6749 section 5.2). `slow_down` also lengthens the pauses of the device code that
    /// was asked about (RFC 8628 section 3.5).
    Error(&'static str),
    /// The connection ends before an answer.
    Close,
    /// The answer waits until the gate opens: a gate that never opens is an endpoint that hangs.
    Hold(Gate),
    /// The request is granted, a refresh token rotated, and the connection ends before the answer.
    LoseAnswer,
    /// The request is granted, and the answer waits until the gate opens.
    HoldAnswer(Gate),
    /// The request is granted, and the answer comes so much later.
    DelayAnswer(Duration),
    /// The answer comes one octet at a time.
    Drip(Duration),
    /// The answer's body goes on to this many octets.
    Padded(usize),
    /// A member of the answer has this value, written as JSON, or is missing.
    Member(&'static str, Option<&'static str>),
    /// The answer claims to be this type.
    ContentType(&'static str),
}

/// Holds a dialogue until it is opened, and tells when one has come to it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    open: watch::Sender<bool>,
    reached: watch::Sender<usize>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(GateState { open: watch::Sender::new(false), reached: watch::Sender::new(0) }))
    }

    /// Opens it, for good.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    /// Waits until this many dialogues have come to it.
    pub async fn reached(&self, count: usize) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.0.reached.subscribe().wait_for(|&reached| reached >= count).await;
    }

    /// Stands at the gate until it opens.
    pub(super) async fn pass(&self) {
        self.0.reached.send_modify(|reached| *reached += 1);
        let _ = self.0.open.subscribe().wait_for(|&open| open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// A fault and how often it still happens; `None`: until it is cleared.
#[derive(Debug)]
struct Planned<F> {
    fault: F,
    left: Option<usize>,
}

/// All that is planned.
#[derive(Debug, Default)]
pub(super) struct Plan {
    mail: Mutex<Vec<Planned<(Protocol, Fault)>>>,
    token: Mutex<Vec<Planned<TokenFault>>>,
}

impl Plan {
    pub(super) fn add(&self, protocol: Protocol, fault: Fault, times: Option<usize>) {
        lock(&self.mail).push(Planned { fault: (protocol, fault), left: times });
    }

    pub(super) fn add_token(&self, fault: TokenFault, times: Option<usize>) {
        lock(&self.token).push(Planned { fault, left: times });
    }

    pub(super) fn clear(&self) {
        lock(&self.mail).clear();
        lock(&self.token).clear();
    }

    /// What is to happen at this moment, in the order in which it was planned.
    pub(super) fn acts(&self, protocol: Protocol, now: Moment) -> Vec<Act> {
        take(&self.mail, |(at, fault)| match fault {
            Fault::At(moment, act) if *at == protocol && *moment == now => Some(act.clone()),
            _ => None,
        })
    }

    /// How this login is to be refused, if it is. One refusal is used up, not all that are planned.
    pub(super) fn refusal(&self, protocol: Protocol) -> Option<Refusal> {
        take_first(&self.mail, |(at, fault)| match fault {
            Fault::RefuseLogin(refusal) if *at == protocol => Some(*refusal),
            _ => None,
        })
    }

    /// Which certificate is shown in the next handshake, if not the right one.
    pub(super) fn certificate(&self, protocol: Protocol) -> Option<Certificate> {
        take_first(&self.mail, |(at, fault)| match fault {
            Fault::Certificate(certificate) if *at == protocol => Some(*certificate),
            _ => None,
        })
    }

    /// Whether a keyword is not offered.
    pub(super) fn withholds(&self, protocol: Protocol, keyword: &str) -> bool {
        lock(&self.mail).iter().any(|planned| match &planned.fault {
            (at, Fault::Withhold(withheld)) => *at == protocol && withheld.eq_ignore_ascii_case(keyword),
            _ => false,
        })
    }

    /// Whether a message must name its mailbox as its sender.
    pub(super) fn refuses_other_senders(&self) -> bool {
        lock(&self.mail)
            .iter()
            .any(|planned| matches!(planned.fault, (Protocol::Smtp, Fault::RefuseOtherSenders)))
    }

    /// Everything that happens to this token request.
    pub(super) fn token_faults(&self) -> Vec<TokenFault> {
        take(&self.token, |fault| Some(fault.clone()))
    }
}

/// Uses up one of each planned fault that `pick` picks.
fn take<F, T>(planned: &Mutex<Vec<Planned<F>>>, pick: impl Fn(&F) -> Option<T>) -> Vec<T> {
    let mut taken = Vec::new();
    lock(planned).retain_mut(|planned| match pick(&planned.fault) {
        Some(picked) => {
            taken.push(picked);
            planned.use_up()
        }
        None => true,
    });
    taken
}

/// Uses up one of the first planned fault that `pick` picks.
fn take_first<F, T>(planned: &Mutex<Vec<Planned<F>>>, pick: impl Fn(&F) -> Option<T>) -> Option<T> {
    let mut taken = None;
    lock(planned).retain_mut(|planned| {
        if taken.is_some() {
            return true;
        }
        taken = pick(&planned.fault);
        taken.is_none() || planned.use_up()
    });
    taken
}

impl<F> Planned<F> {
    /// Counts one use; whether there are more.
    fn use_up(&mut self) -> bool {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        self.left != Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_is_used_up_and_an_uncounted_one_is_not() {
        let plan = Plan::default();
        plan.add(Protocol::Smtp, Fault::RefuseLogin(Refusal::Temporary), Some(2));
        plan.add(Protocol::Smtp, Fault::RefuseLogin(Refusal::Token), None);
        let refusals: Vec<_> = (0..4).filter_map(|_| plan.refusal(Protocol::Smtp)).collect();
        assert_eq!(refusals, [Refusal::Temporary, Refusal::Temporary, Refusal::Token, Refusal::Token]);
        assert_eq!(plan.refusal(Protocol::Imap), None);
        plan.clear();
        assert_eq!(plan.refusal(Protocol::Smtp), None);
    }

    #[test]
    fn acts_come_in_the_order_they_were_planned() {
        let plan = Plan::default();
        plan.add(Protocol::Smtp, Fault::At(Moment::MailDue, Act::Say("451 wait".into())), Some(1));
        plan.add(Protocol::Smtp, Fault::At(Moment::RcptDue, Act::Close), Some(1));
        plan.add(Protocol::Smtp, Fault::At(Moment::MailDue, Act::Close), Some(1));
        let acts = plan.acts(Protocol::Smtp, Moment::MailDue);
        assert!(matches!(acts.as_slice(), [Act::Say(_), Act::Close]), "{acts:?}");
        assert!(plan.acts(Protocol::Smtp, Moment::MailDue).is_empty());
    }

    #[tokio::test]
    async fn a_gate_tells_who_stands_at_it_and_lets_all_pass_once_open() {
        let gate = Gate::new();
        let stands = gate.clone();
        let passing = tokio::spawn(async move { stands.pass().await });
        gate.reached(1).await;
        assert!(!passing.is_finished());
        gate.open();
        passing.await.unwrap();
        gate.pass().await;
    }
}
