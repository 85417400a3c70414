//! The carrier between two peers that take and say only what the test lets them: it never spins, and nothing waits in vain.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::advance;

use super::super::Clearance;
use super::super::protocol::Asked;
use super::super::tests::{Panicking, shared};
use super::*;
use crate::config::{Account, Rate};
use crate::proto::CloseReason;
use crate::proto::smtp::extensions::Extensions;
use crate::proto::smtp::reply::ReplyLine;

/// How often one poll may turn to one peer. A carrier that spins does it for ever; none of these tests needs a tenth.
const MOST_CALLS: usize = 1000;

const IDLE: Duration = Duration::from_secs(600);

const HALF_CLOSED: Duration = Duration::from_secs(60);

const SECOND: Duration = Duration::from_secs(1);

/// A peer without a socket.
#[derive(Default)]
struct Peer {
    /// What it says and nobody has read.
    says: Vec<u8>,
    /// Whether it says nothing after that.
    has_left: bool,
    /// How many octets it still takes.
    takes: usize,
    heard: Vec<u8>,
    /// Since the test last looked.
    calls: usize,
}

impl Peer {
    fn called(&mut self) {
        self.calls += 1;
        assert!(self.calls < MOST_CALLS, "the carrier spins");
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.called();
        let count = self.says.len().min(buffer.remaining());
        if count == 0 && !self.has_left {
            return Poll::Pending;
        }
        buffer.put_slice(&self.says.drain(..count).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.called();
        let count = self.takes.min(octets.len());
        if count == 0 {
            return Poll::Pending;
        }
        self.takes -= count;
        self.heard.extend_from_slice(&octets[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn offer() -> Options {
    let line = |text: &str| ReplyLine { code: 250, last: false, text: text.into() };
    let offer = ["mail.example", "PIPELINING", "CHUNKING", "DSN"].map(line);
    Options { extensions: Extensions::parse(&offer), ..Options::default() }
}

fn carrier() -> Carrier<Peer> {
    carrier_of(offer())
}

fn carrier_of(options: Options) -> Carrier<Peer> {
    let times = RelayTimes { idle: IDLE, half_closed: HALF_CLOSED };
    Carrier::new(Transaction::new(options), Side::new(Peer::default()), Side::new(Peer::default()), times)
}

/// A carrier between peers that take everything.
fn open_carrier() -> Carrier<Peer> {
    open_carrier_of(offer())
}

fn open_carrier_of(options: Options) -> Carrier<Peer> {
    let mut carrier = carrier_of(options);
    carrier.upstream.stream.takes = usize::MAX;
    carrier.downstream.stream.takes = usize::MAX;
    carrier
}

impl Carrier<Peer> {
    fn downstream_says(&mut self, octets: &[u8]) {
        self.downstream.stream.says.extend_from_slice(octets);
    }

    fn upstream_says(&mut self, octets: &[u8]) {
        self.upstream.stream.says.extend_from_slice(octets);
    }

    /// Polls once, as a task that was woken does.
    fn wake(&mut self) -> Poll<Carried> {
        self.downstream.stream.calls = 0;
        self.upstream.stream.calls = 0;
        loop {
            match self.poll(&mut Context::from_waker(Waker::noop()), false) {
                Poll::Ready(Carried::MailWanted) => self.transaction.admit(Ok(stamp(1))),
                Poll::Ready(Carried::Settled) => {}
                carried => return carried,
            }
        }
    }

    /// Polls until it waits, for a session that may not send everything.
    fn carries(&mut self, record: &mut Record, clearance: &Clearance) {
        loop {
            self.downstream.stream.calls = 0;
            self.upstream.stream.calls = 0;
            match self.poll(&mut Context::from_waker(Waker::noop()), false) {
                Poll::Pending => return,
                Poll::Ready(Carried::Message(report)) => record.message(&report, clearance),
                Poll::Ready(Carried::Envelope(refusal)) => record.envelope_refused(&refusal, clearance),
                Poll::Ready(Carried::Settled) => record.settled(),
                Poll::Ready(Carried::MailWanted) => {
                    let verdict = record.ask(clearance, &self.transaction.mails());
                    self.transaction.admit(verdict.map(stamp));
                }
                Poll::Ready(_) => panic!("it ends"),
            }
        }
    }

    #[track_caller]
    fn waits(&mut self) {
        assert!(self.wake().is_pending());
    }

    #[track_caller]
    fn is_overdue(&mut self) {
        assert!(matches!(self.wake(), Poll::Ready(Carried::Overdue)));
    }

    /// The upstream says this, an octet every ten seconds. The carrier waits at each of them but the last, which is for
    /// the test.
    async fn upstream_dribbles(&mut self, octets: &[u8]) {
        for (at, octet) in octets.iter().enumerate() {
            if at > 0 {
                self.waits();
            }
            advance(10 * SECOND).await;
            self.upstream_says(&[*octet]);
        }
    }
}

/// As many recipients as may be without an answer, in more than 8 KiB.
fn recipients() -> Vec<u8> {
    let recipients: Vec<u8> = (10..74)
        .flat_map(|number| format!("RCPT TO:<{number}@example.com> ORCPT=rfc822;{}\r\n", "x".repeat(120)).into_bytes())
        .collect();
    assert!(recipients.len() > 8 * 1024);
    recipients
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_nothing_and_says_one_octet_is_waited_for() {
    let mut carrier = carrier();
    carrier.downstream_says(&recipients());
    carrier.waits();
    assert!(carrier.pipes.to_upstream.len() >= 4096, "the pipe is full");
    carrier.upstream_says(b"5");
    carrier.waits();
    assert_eq!(carrier.upstream.stream.says, b"", "it is read all the same");
    advance(IDLE - SECOND).await;
    carrier.upstream_says(b"03 5.5.1 MAIL first\r\n");
    carrier.downstream.stream.takes = usize::MAX;
    carrier.waits();
    assert_eq!(carrier.downstream.stream.heard, b"503 5.5.1 MAIL first\r\n", "it may have to be read before it reads");
    carrier.upstream.stream.takes = usize::MAX;
    carrier.waits();
    assert!(carrier.upstream.stream.heard == recipients(), "nothing is lost for having waited");
}

#[tokio::test(start_paused = true)]
async fn a_downstream_that_takes_nothing_is_waited_for() {
    let mut carrier = carrier();
    carrier.upstream.stream.takes = usize::MAX;
    carrier.downstream_says(&recipients());
    carrier.waits();
    let replies = format!("250 2.1.5 {}\r\n", "y".repeat(500)).repeat(64);
    carrier.upstream_says(replies.as_bytes());
    carrier.waits();
    assert!(carrier.pipes.to_downstream.len() >= 4096, "the pipe is full");
    carrier.downstream_says(&recipients());
    carrier.upstream_says(b"2");
    carrier.waits();
    assert!(carrier.pipes.to_downstream.len() < 8192 && carrier.pipes.to_upstream.is_empty(), "and no more is made");
    carrier.downstream.stream.takes = usize::MAX;
    carrier.waits();
    assert!(carrier.downstream.stream.heard == replies.as_bytes());
    assert!(carrier.upstream.stream.heard == recipients().repeat(2));
}

#[tokio::test(start_paused = true)]
async fn message_data_that_the_upstream_does_not_take_is_waited_with() {
    let mut carrier = carrier();
    carrier.downstream_says(&[b"BDAT 100000\r\n".as_slice(), &[b'x'; 100_000]].concat());
    carrier.waits();
    for octet in b"452" {
        carrier.upstream_says(&[*octet]);
        carrier.upstream.stream.takes = 10;
        carrier.waits();
    }
    assert!(carrier.upstream.stream.heard == [b"BDAT 65536\r\n".as_slice(), &[b'x'; 18]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_ours_does_not_land_in_a_chunk() {
    let mut carrier = carrier();
    carrier.downstream.stream.takes = usize::MAX;
    carrier.upstream.stream.takes = 100_000;
    carrier.downstream_says(&[b"BDAT 131072 LAST\r\n".as_slice(), &[b'x'; 131_072]].concat());
    carrier.waits();
    // It does not wait for the end of what it does not want.
    carrier.upstream_says(b"452 4.3.1 full\r\n503 5.5.1 what\r\n");
    carrier.waits();
    assert_eq!(carrier.downstream.stream.heard, b"452 4.3.1 full\r\n");
    carrier.upstream.stream.takes = usize::MAX;
    carrier.waits();
    let piece = |command: &[u8]| [command, &[b'x'; 65_536]].concat();
    let pieces = [&piece(b"BDAT 65536\r\n")[..], &piece(b"BDAT 65536 LAST\r\n"), b"RSET\r\n"];
    assert!(carrier.upstream.stream.heard == pieces.concat());
    carrier.downstream.stream.has_left = true;
    assert!(
        matches!(carrier.wake(), Poll::Ready(Carried::Ended(Ending::DownstreamEnded))),
        "nothing more is to be told"
    );
}

#[tokio::test(start_paused = true)]
async fn peers_that_take_nothing_are_not_waited_for_for_ever() {
    let mut carrier = carrier();
    carrier.downstream_says(&recipients());
    carrier.waits();
    carrier.upstream_says(b"5");
    advance(IDLE - SECOND).await;
    carrier.waits();
    carrier.upstream_says(b"0");
    advance(SECOND).await;
    carrier.is_overdue();
}

#[tokio::test(start_paused = true)]
async fn a_reply_counts_once_it_is_whole() {
    let mut carrier = open_carrier();
    carrier.downstream_says(b"NOOP\r\n");
    carrier.waits();
    // Nine and a half minutes for each reply.
    for _ in 0..2 {
        carrier
            .upstream_dribbles(&[b"250 ".as_slice(), &[b'x'; 51], b"\r\n"].concat())
            .await;
        carrier.waits();
        assert!(std::mem::take(&mut carrier.downstream.stream.heard).ends_with(b"x\r\n"));
        carrier.downstream_says(b"NOOP\r\n");
        carrier.waits();
    }
    carrier
        .upstream_dribbles(&[b"250-".as_slice(), &[b'x'; 24], b"\r\n250-", &[b'y'; 26]].concat())
        .await;
    carrier.is_overdue();
}

#[tokio::test(start_paused = true)]
async fn a_downstream_that_has_left_is_not_served_for_ever() {
    let mut carrier = open_carrier();
    carrier.downstream_says(&b"RSET\r\n".repeat(40));
    carrier.downstream.stream.has_left = true;
    carrier.waits();
    // Whole replies, to more commands than a minute has time for.
    for _ in 0..6 {
        advance(9 * SECOND).await;
        carrier.upstream_says(b"250 2.0.0 Ok\r\n");
        carrier.waits();
    }
    advance(6 * SECOND).await;
    carrier.upstream_says(b"250 2.0.0 Ok\r\n");
    carrier.is_overdue();
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_downstream_that_has_left_has_its_time() {
    for answered in [true, false] {
        let mut carrier = open_carrier();
        carrier.downstream_says(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
        carrier.waits();
        carrier.downstream_says(b"Subject: last words\r\n.\r\nRSET\r\n");
        carrier.downstream.stream.has_left = true;
        carrier.waits();
        advance(HALF_CLOSED - SECOND).await;
        carrier.upstream_says(b"250 Ok\r\n250 Ok\r\n354 go\r\n");
        carrier.waits();
        assert!(carrier.upstream.stream.heard.ends_with(b"\r\n.\r\nRSET\r\n"));
        advance(IDLE - HALF_CLOSED).await;
        carrier.upstream_says(b"2");
        carrier.waits();
        if answered {
            carrier.upstream_says(b"50 queued\r\n");
            assert!(matches!(carrier.wake(), Poll::Ready(Carried::Message(report)) if report.accepted));
        } else {
            advance(SECOND).await;
        }
        carrier.is_overdue();
        assert_eq!(carrier.transaction.has_body_in_flight(), !answered);
    }
}

#[tokio::test(start_paused = true)]
async fn the_clock_rings_by_itself_for_a_downstream_that_has_left() {
    let mut carrier = open_carrier();
    carrier.downstream_says(b"RSET\r\n");
    carrier.waits();
    let begun = Instant::now();
    let mut looks = 0;
    let carried = poll_fn(|cx| {
        let carried = carrier.poll(cx, false);
        looks += 1;
        if looks == 1 {
            // It leaves while the clock is set for the silence.
            carrier.downstream.stream.has_left = true;
            cx.waker().wake_by_ref();
        }
        carried
    })
    .await;
    assert!(matches!(carried, Carried::Overdue));
    assert_eq!(begun.elapsed(), HALF_CLOSED);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_big_ends_the_session_once_that_is_said() {
    let mut carrier = open_carrier_of(Options { max_message: Some(10), ..offer() });
    carrier.downstream_says(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    carrier.waits();
    carrier.upstream_says(b"250 Ok\r\n250 Ok\r\n354 go\r\n");
    carrier.waits();
    carrier.downstream_says(b"Subject: too much\r\n.\r\n");
    assert!(matches!(carrier.wake(), Poll::Ready(Carried::Denied(_))));
    assert!(matches!(carrier.wake(), Poll::Ready(Carried::Ended(Ending::Closed(CloseReason::TooBig)))));
    assert!(carrier.pipes.to_downstream.starts_with(b"552 5.3.4 Message too big\r\n421 "));
}

/// A session of a login that may send six messages an hour.
fn limited() -> Record {
    let shared = shared(Arc::new(Panicking), 1);
    let mut account = Account::clone(&shared.directory.borrow().accounts[0]);
    account.logins[0].mail.rate = Some(Rate { messages: 6, within: Duration::from_secs(3600) });
    let mut record = Record::new(1, [192, 168, 7, 20].into());
    record.known(&Arc::new(account), 0, &Asked::Address);
    record
}

/// So many messages that wait for no reply.
fn ahead(count: usize) -> Vec<u8> {
    b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1 LAST\r\nx".repeat(count)
}

fn count(of: &str, octets: &mut Vec<u8>) -> usize {
    String::from_utf8(std::mem::take(octets)).unwrap().matches(of).count()
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_no_reply_count_once_each() {
    let (mut carrier, mut record, clearance) = (open_carrier(), limited(), Clearance::default());
    carrier.downstream_says(&ahead(4));
    carrier.carries(&mut record, &clearance);
    assert_eq!(count("BDAT", &mut carrier.upstream.stream.heard), 4);
    // The second one comes to nothing.
    let (taken, refused) = (b"250 Ok\r\n".repeat(3), b"550 5.1.0 no\r\n503 no\r\n503 no\r\n");
    carrier.upstream_says(&[&taken[..], refused, &taken, &taken].concat());
    carrier.carries(&mut record, &clearance);
    assert_eq!(count("250 Ok", &mut carrier.downstream.stream.heard), 9);
    carrier.downstream_says(&ahead(4));
    carrier.carries(&mut record, &clearance);
    assert_eq!(count("BDAT", &mut carrier.upstream.stream.heard), 3, "six in all");
    carrier.upstream_says(&taken.repeat(3));
    carrier.carries(&mut record, &clearance);
    assert_eq!(count("450 4.7.1", &mut carrier.downstream.stream.heard), 1);
}

#[tokio::test(start_paused = true)]
async fn of_who_is_held_back_no_second_message_goes_ahead_of_the_reply_to_the_first() {
    let (mut carrier, mut record, clearance) = (open_carrier(), limited(), Clearance::default());
    for _ in 0..5 {
        carrier.downstream_says(&ahead(1));
        carrier.carries(&mut record, &clearance);
        carrier.upstream_says(b"250 Ok\r\n250 Ok\r\n554 5.2.252 SendAsDenied\r\n");
        carrier.carries(&mut record, &clearance);
    }
    // The while is over, and not yet forgotten; nor do the first five count any more.
    advance(Duration::from_secs(3661)).await;
    carrier.upstream.stream.heard.clear();
    carrier.downstream_says(&ahead(3));
    carrier.carries(&mut record, &clearance);
    assert_eq!(count("BDAT", &mut carrier.upstream.stream.heard), 1);
}

#[tokio::test(start_paused = true)]
async fn messages_without_an_answer_count_and_what_came_to_nothing_does_not() {
    let clearance = Clearance::default();
    for passing in [4, 3] {
        let (mut carrier, mut record) = (open_carrier(), limited());
        carrier.downstream_says(&ahead(4));
        carrier.carries(&mut record, &clearance);
        assert_eq!(count("BDAT", &mut carrier.upstream.stream.heard), passing, "of six, three of the first session");
        carrier.upstream_says(b"550 5.1.0 no\r\n503 no\r\n503 no\r\n");
        carrier.carries(&mut record, &clearance);
        record.message_lost(&Ending::UpstreamEnded, &carrier.transaction.mails());
        record.has_ended();
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_holds_no_place_that_another_needs() {
    // All of a message that is refused at once, one that is taken back, and one that may still come.
    let refused = (ahead(1), &b"550 5.1.0 no\r\n503 no\r\n503 no\r\n"[..]);
    let taken_back = (b"MAIL FROM:<a@b>\r\nRSET\r\n".to_vec(), &b"250 Ok\r\n250 Ok\r\n"[..]);
    let open = (b"MAIL FROM:<a@b>\r\n".to_vec(), &b"250 Ok\r\n"[..]);
    for ((says, hears), passing) in [(refused, 6), (taken_back, 6), (open, 5)] {
        let clearance = Clearance::default();
        let (mut waiting, mut first) = (open_carrier(), limited());
        waiting.downstream_says(&says);
        waiting.carries(&mut first, &clearance);
        waiting.upstream_says(hears);
        waiting.carries(&mut first, &clearance);
        let (mut other, mut record) = (open_carrier(), limited());
        other.downstream_says(&ahead(7));
        other.carries(&mut record, &clearance);
        assert_eq!(count("BDAT", &mut other.upstream.stream.heard), passing, "of six");
    }
}
