//! The carrier between two peers that take and say only what the test lets them: it never spins, and nothing waits in vain.

use std::task::Waker;

use tokio::io::ReadBuf;

use super::*;
use crate::proto::smtp::extensions::Extensions;
use crate::proto::smtp::reply::ReplyLine;

/// How often one poll may turn to one peer. A carrier that spins does it for ever; none of these tests needs a tenth.
const MOST_CALLS: usize = 1000;

/// A peer without a socket.
#[derive(Default)]
struct Peer {
    /// What it says and nobody has read.
    says: Vec<u8>,
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
        if count == 0 {
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

fn carrier() -> Carrier<Peer> {
    let line = |text: &str| ReplyLine { code: 250, last: false, text: text.into() };
    let offer = ["mail.example", "PIPELINING", "CHUNKING", "DSN"].map(line);
    let options = Options { extensions: Extensions::parse(&offer), ..Options::default() };
    Carrier::new(Transaction::new(options), Side::new(Peer::default()), Side::new(Peer::default()))
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
        self.poll(&mut Context::from_waker(Waker::noop()), false)
    }

    fn waits(&mut self) {
        assert!(self.wake().is_pending());
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

#[test]
fn an_upstream_that_takes_nothing_and_says_one_octet_is_waited_for() {
    let mut carrier = carrier();
    carrier.downstream_says(&recipients());
    carrier.waits();
    assert!(carrier.pipes.to_upstream.len() >= 4096, "the pipe is full");
    carrier.upstream_says(b"5");
    carrier.waits();
    assert_eq!(carrier.upstream.stream.says, b"", "it is read all the same");
    carrier.upstream_says(b"03 5.5.1 MAIL first\r\n");
    carrier.downstream.stream.takes = usize::MAX;
    carrier.waits();
    assert_eq!(carrier.downstream.stream.heard, b"503 5.5.1 MAIL first\r\n", "it may have to be read before it reads");
    carrier.upstream.stream.takes = usize::MAX;
    carrier.waits();
    assert!(carrier.upstream.stream.heard == recipients(), "nothing is lost for having waited");
}

#[test]
fn a_downstream_that_takes_nothing_is_waited_for() {
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

#[test]
fn message_data_that_the_upstream_does_not_take_is_waited_with() {
    let mut carrier = carrier();
    carrier.downstream_says(&[b"BDAT 100000\r\n".as_slice(), &[b'x'; 100_000]].concat());
    carrier.waits();
    for octet in b"452" {
        carrier.upstream_says(&[*octet]);
        carrier.upstream.stream.takes = 10;
        carrier.waits();
    }
    assert!(carrier.upstream.stream.heard == [b"BDAT 100000\r\n".as_slice(), &[b'x'; 17]].concat());
}
