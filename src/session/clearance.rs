//! Whether a login may send the message it announces: within its rate, and not held back after one refusal too many. What is
//! said to the device and in the log stands here.

use std::net::IpAddr;
use std::time::Duration;

use super::rates::{Exceeded, Rates};
use super::refusals::{Held, Refusals, Stage};
use super::words;
use crate::config::Rate;
use crate::proto::smtp::reply::{Reply, ReplyLine};
use crate::proto::smtp::transaction::{EnvelopeCommand, EnvelopeRefusal, MessageReport};
use crate::telemetry::log::PeerText;

/// How long the words of a reply may be, in octets, so that its line stays below SMTP's 512.
const MAX_WORDS: usize = 400;

/// Who sends: one login of one account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sender {
    /// The account's address.
    pub(crate) account: String,
    /// The login's user name.
    pub(crate) login: String,
}

/// What all sessions know of what logins have sent.
#[derive(Debug, Default)]
pub(crate) struct Clearance {
    rates: Rates,
    refusals: Refusals,
}

impl Clearance {
    /// Whether a message of `sender`, at `peer`, may go on to the upstream.
    ///
    /// # Errors
    /// What is said to its MAIL if it may not.
    pub(crate) fn ask(&self, sender: &Sender, rate: Option<Rate>, peer: IpAddr) -> Result<(), Reply> {
        if let Some(held) = self.refusals.held(sender) {
            return Err(held_back(&held));
        }
        let Some(rate) = rate else { return Ok(()) };
        self.rates.take(sender, rate).map_err(|Exceeded { wait, first }| {
            let (Sender { account, login }, Rate { messages, within }) = (sender, rate);
            let (within, wait) = (in_words(within), in_words(wait));
            if first {
                tracing::warn!(
                    login, account, %peer,
                    "message refused: this login may send {messages} messages in {within}; the next one passes in {wait}. If the \
                     device has to send more, raise rate of this login"
                );
            }
            let text = format!("This login may send {messages} messages in {within}, the next one in {wait}");
            Reply::new(450, "4.7.1", text)
        })
    }

    /// What became of a message.
    pub(crate) fn message(&self, sender: &Sender, report: &MessageReport, peer: IpAddr) {
        if report.accepted {
            self.refusals.accepted(sender);
        } else {
            self.refused(sender, Stage::Message, &report.reply, peer);
        }
    }

    /// The upstream has refused a sender or a recipient.
    pub(crate) fn envelope_refused(&self, sender: &Sender, refusal: &EnvelopeRefusal, peer: IpAddr) {
        match refusal.command {
            EnvelopeCommand::Mail => self.refused(sender, Stage::Mail, &refusal.reply, peer),
            // The next message may be to another.
            EnvelopeCommand::Rcpt => {}
        }
    }

    fn refused(&self, sender: &Sender, stage: Stage, reply: &[u8], peer: IpAddr) {
        let Some(lasts) = self.refusals.refused(sender, stage, reply) else { return };
        let Sender { account, login } = sender;
        let cure = words::of_reply(reply)
            .map_or("Find out from the reply what is wrong with this device's messages, and correct it", |meaning| {
                meaning.cure
            });
        let (lasts, reply) = (in_words(lasts), PeerText(reply));
        tracing::error!(
            login, account, %peer, %reply,
            "the upstream refuses every message of this login, which would hold back the whole mailbox: the login is refused \
             here for {lasts}, the account's others go on. {cure}"
        );
    }
}

/// The upstream's own words, and that they are not new.
fn held_back(held: &Held) -> Reply {
    let (code, words) = ReplyLine::parse(&held.reply).map_or((550, Vec::new()), |line| (line.code, line.text));
    let mut text = String::from_utf8_lossy(&words).into_owned();
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

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 7, 20));

    fn sender() -> Sender {
        Sender { account: "scanner@contoso.example".into(), login: "scanner".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_rate_it_is_said_what_the_rate_is_and_when_it_goes_on() {
        let clearance = Clearance::default();
        let rate = Some(Rate { messages: 1, within: Duration::from_secs(3600) });
        assert_eq!(clearance.ask(&sender(), rate, PEER), Ok(()));
        let reply = clearance.ask(&sender(), rate, PEER).unwrap_err();
        assert_eq!((reply.code, reply.enhanced), (450, "4.7.1"));
        assert_eq!(reply.text, "This login may send 1 messages in 60 min, the next one in 61 min");
        assert_eq!(clearance.ask(&sender(), None, PEER), Ok(()), "where there is no rate, nothing is counted");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_held_back_hears_the_upstreams_words_again() {
        let clearance = Clearance::default();
        let words = "SendAsDenied; ".repeat(60);
        for _ in 0..5 {
            assert_eq!(clearance.ask(&sender(), None, PEER), Ok(()));
            let said = format!("554 5.2.252 {words}");
            clearance.refused(&sender(), Stage::Message, said.as_bytes(), PEER);
        }
        let mut line = Vec::new();
        clearance.ask(&sender(), None, PEER).unwrap_err().write(&mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(line.starts_with("554 5.2.252 SendAsDenied; SendAsDenied; "), "{line}");
        assert!(line.ends_with(" (said before, and not asked again for 15 min)\r\n") && line.len() <= 512, "{line}");
    }

    #[test]
    fn times_for_people() {
        for (seconds, shown) in [(1, "1 s"), (90, "90 s"), (125, "3 min"), (3600, "60 min"), (86_400, "24 h")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), shown);
        }
    }
}
