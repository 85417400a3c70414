//! Whether a login may send the message it announces: within its rate, and not held back after one refusal too many. What is
//! said to the device and in the log stands here.
//!
//! What one of the addresses does that share a login is its own fault: refusals are counted for each, and of the rate each
//! has a part.

use std::net::IpAddr;
use std::time::Duration;

use super::crowd::{Crowd, Seat};
use super::echo::without_echo;
use super::failure::MAX_WORDS;
use super::rates::{Counted, Exceeded, Rates};
use super::refusals::{Held, Probe, Refusals, Silenced, Stage};
use super::sender::Sender;
use super::words;
use crate::config::Rate;
use crate::login::throttle::Origin;
use crate::proto::smtp::reply::{Reply, ReplyLine};
use crate::proto::smtp::transaction::{EnvelopeCommand, EnvelopeRefusal, MessageReport};
use crate::telemetry::log::PeerText;

/// Where an address, or a login, has as many sessions as it may.
const TOO_MANY_SESSIONS: Reply =
    Reply::fixed(454, "4.7.0", "Too many sessions of this login at once, please try again later");

/// Who sends, for the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The session's number.
    pub(crate) session: u64,
    /// Whose it is.
    pub(crate) peer: IpAddr,
}

/// Leave to send one message. Dropped, it is given back: then it was not sent.
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit {
    counted: Option<Counted>,
    /// After a while in which it was held back, for as long as the permit lasts.
    _probe: Option<Probe>,
}

impl Permit {
    /// The message has been sent, or may have been: it counts.
    pub(crate) fn keep(&mut self) {
        if let Some(counted) = &mut self.counted {
            counted.keep();
        }
    }
}

/// Why a message may not go on now.
#[derive(Debug)]
pub(crate) struct NotNow {
    pub(crate) why: Why,
    /// What is said to its MAIL.
    pub(crate) reply: Reply,
}

/// What stands against a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// As many sessions as there may be are open.
    TooManySessions,
    /// As many messages as there may be have been sent.
    RateExceeded,
    /// The ones before were refused, and for a while no others are tried.
    HeldBack,
}

/// What all sessions know of what logins have sent.
#[derive(Debug, Default)]
pub(crate) struct Clearance {
    rates: Rates,
    refusals: Refusals,
    crowd: Crowd,
}

/// What a session that an address opens begins with.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// For as long as the session.
    pub(crate) seat: Seat,
    /// For its first message.
    pub(crate) permit: Permit,
}

impl Clearance {
    /// Whether `sender` may open a session by its address. It is asked before the upstream is touched: who has
    /// shown no password must not have logins there for nothing.
    ///
    /// # Errors
    /// [`NotNow`] if it may not.
    pub(crate) fn admit(&self, sender: &Sender, rate: Option<Rate>, caller: Caller) -> Result<Admitted, NotNow> {
        let full = NotNow { why: Why::TooManySessions, reply: TOO_MANY_SESSIONS };
        let seat = self.crowd.seat(sender, Origin::of(caller.peer)).ok_or(full)?;
        Ok(Admitted { seat, permit: self.ask(sender, rate, caller)? })
    }

    /// Whether a message of `sender` may go on to the upstream.
    ///
    /// # Errors
    /// [`NotNow`] if it may not.
    pub(crate) fn ask(&self, sender: &Sender, rate: Option<Rate>, caller: Caller) -> Result<Permit, NotNow> {
        let held_back = |held| NotNow { why: Why::HeldBack, reply: held_back(&held) };
        let probe = self.refusals.pass(sender).map_err(held_back)?;
        let Some(rate) = rate else { return Ok(Permit { counted: None, _probe: probe }) };
        match self.rates.take(sender, rate) {
            Ok(counted) => Ok(Permit { counted: Some(counted), _probe: probe }),
            Err(exceeded) => Err(NotNow { why: Why::RateExceeded, reply: too_many(rate, &exceeded, caller) }),
        }
    }

    /// A message has been sent for which there was no permit any more.
    pub(crate) fn count(&self, sender: &Sender, rate: Option<Rate>) {
        if let Some(rate) = rate {
            self.rates.count(sender, rate);
        }
    }

    /// What became of a message.
    pub(crate) fn message(&self, sender: &Sender, report: &MessageReport, caller: Caller) {
        if report.accepted {
            self.refusals.accepted(sender);
        } else {
            self.refused(sender, Stage::Message, &report.reply, caller);
        }
    }

    /// The upstream has refused a sender or a recipient.
    pub(crate) fn envelope_refused(&self, sender: &Sender, refusal: &EnvelopeRefusal, caller: Caller) {
        match refusal.command {
            EnvelopeCommand::Mail => self.refused(sender, Stage::Mail, &refusal.reply, caller),
            // The next message may be to another.
            EnvelopeCommand::Rcpt => {}
        }
    }

    fn refused(&self, sender: &Sender, stage: Stage, reply: &[u8], caller: Caller) {
        let Some(Silenced { whom, lasts }) = self.refusals.refused(sender, stage, reply) else { return };
        let (Sender { account, login, .. }, whose) = (&whom, whom.part());
        let Caller { session, peer } = caller;
        let cure = words::of_reply(reply)
            .map_or("Find out from the reply what is wrong with this device's messages, and correct it", |meaning| {
                meaning.cure
            });
        let (lasts, reply) = (in_words(lasts), PeerText(reply));
        tracing::error!(
            session, login, account, %peer, %reply,
            "the upstream refuses every message of {whose}, which would hold back the whole mailbox: they are refused here for \
             {lasts}, the account's others go on. {cure}"
        );
    }
}

/// What is said where a message is beyond the rate. The log has it once.
fn too_many(rate: Rate, exceeded: &Exceeded, caller: Caller) -> Reply {
    let &Exceeded { ref whom, most, wait, first } = exceeded;
    let (Sender { account, login, .. }, who) = (whom, whom.part());
    let Caller { session, peer } = caller;
    // The window moves in steps, one of which is beyond it: that the next may be due after more than all of the window would
    // only puzzle.
    let (within, wait) = (in_words(rate.within), in_words(wait.min(rate.within)));
    if first {
        tracing::warn!(
            session, login, account, %peer,
            "message refused: {who} may send {most} messages in {within}; the next one passes in about {wait}. If the device has to \
             send more, raise rate of this login"
        );
    }
    let (initial, rest) = who.split_at(1);
    let who = initial.to_ascii_uppercase() + rest;
    Reply::new(450, "4.7.1", format!("{who} may send {most} messages in {within}, the next one in about {wait}"))
}

/// The upstream's own words, and that they are not new. What it repeated of another device's message is not told to this one.
fn held_back(held: &Held) -> Reply {
    let (code, words) = ReplyLine::parse(&held.reply).map_or((550, Vec::new()), |line| (line.code, line.text));
    let mut text = without_echo(&String::from_utf8_lossy(&words));
    text.truncate(text.floor_char_boundary(MAX_WORDS));
    text += &format!(" (said before, and not asked again for {})", in_words(held.left));
    // The enhanced status is among the words.
    Reply::new(code, "", text)
}

/// A time, for people: in the largest unit that does not hide half of it.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Logged;

    const CALLER: Caller = Caller { session: 7, peer: IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 7, 20)) };

    fn sender() -> Sender {
        Sender::whole("scanner@contoso.example", "scanner")
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_rate_it_is_said_what_the_rate_is_and_when_it_goes_on() {
        let clearance = Clearance::default();
        let rate = Some(Rate { messages: 1, within: Duration::from_secs(3600) });
        clearance.ask(&sender(), rate, CALLER).unwrap().keep();
        let NotNow { why, reply } = clearance.ask(&sender(), rate, CALLER).unwrap_err();
        assert_eq!(why, Why::RateExceeded);
        assert_eq!((reply.code, reply.enhanced), (450, "4.7.1"));
        assert_eq!(reply.text, "This login may send 1 messages in 60 min, the next one in about 60 min");
        assert!(clearance.ask(&sender(), None, CALLER).is_ok(), "where there is no rate, nothing is counted");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_logged_of_a_message_has_the_number_of_its_session() {
        let (logged, _guard) = Logged::start();
        let (clearance, rate) = (Clearance::default(), Some(Rate { messages: 1, within: Duration::from_secs(3600) }));
        clearance.ask(&sender(), rate, CALLER).unwrap().keep();
        assert!(clearance.ask(&sender(), rate, CALLER).is_err());
        for _ in 0..5 {
            clearance.refused(&sender(), Stage::Message, b"554 5.2.252 SendAsDenied", CALLER);
        }
        let lines = logged.lines();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("session=7")), "{lines:?}");
        assert!(lines[0].contains("passes in about 60 min") && lines[1].contains("refuses every message"), "{lines:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_held_back_hears_the_upstreams_words_again() {
        let clearance = Clearance::default();
        let words = "SendAsDenied; ".repeat(60);
        for _ in 0..5 {
            assert!(clearance.ask(&sender(), None, CALLER).is_ok());
            let said = format!("554 5.2.252 {words}");
            clearance.refused(&sender(), Stage::Message, said.as_bytes(), CALLER);
        }
        let mut line = Vec::new();
        let NotNow { why, reply } = clearance.ask(&sender(), None, CALLER).unwrap_err();
        assert_eq!(why, Why::HeldBack);
        reply.write(&mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(line.starts_with("554 5.2.252 SendAsDenied; SendAsDenied; "), "{line}");
        assert!(line.ends_with(" (said before, and not asked again for 15 min)\r\n") && line.len() <= 512, "{line}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_of_a_login_silences_no_other_and_its_words_are_not_repeated() {
        let clearance = Clearance::default();
        let at = |last: u8| {
            let peer = IpAddr::from([192, 168, 7, last]);
            (Sender { origin: Some(Origin::of(peer)), ..sender() }, Caller { peer, ..CALLER })
        };
        let (bad, caller) = at(66);
        for _ in 0..5 {
            let said = b"550 5.1.8 <\"call 555\"@bad.example> Sender \"x\" rejected";
            clearance.refused(&bad, Stage::Mail, said, caller);
        }
        let NotNow { reply, .. } = clearance.ask(&bad, None, caller).unwrap_err();
        assert_eq!(reply.text, "5.1.8 <...> Sender \"...\" rejected (said before, and not asked again for 15 min)");
        let (good, caller) = at(20);
        assert!(clearance.ask(&good, None, caller).is_ok());
        let rate = Some(Rate { messages: 4, within: Duration::from_secs(3600) });
        for _ in 0..2 {
            clearance.ask(&good, rate, caller).unwrap().keep();
        }
        let text = clearance.ask(&good, rate, caller).unwrap_err().reply.text;
        assert!(text.starts_with("One address of this login may send 2 messages in 60 min"), "{text}");
    }

    #[test]
    fn times_for_people() {
        for (seconds, shown) in [(1, "1 s"), (90, "90 s"), (125, "3 min"), (3600, "60 min"), (86_400, "24 h")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), shown);
        }
    }
}
