//! The relay: copies octets both ways, unchanged, with back-pressure, until both sides have ended.
//!
//! A direction reads into its thread's scratch buffer and writes from there. Only what the writer does not take at once is
//! kept, and nothing more is read until it is gone; so an idle session holds no buffer, and a stalled peer at most one
//! scratch buffer's worth.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::drive::Side;
use crate::drain::Drain;
use crate::net::stream::{Stream, with_scratch};
use crate::proto::Input;

/// When less than this is free in the scratch buffer it is written out: a TLS record may need this much.
const ONE_RECORD: usize = 16 * 1024;

/// How long a session must have been silent to be closed by a drain.
const QUIET: Duration = Duration::from_secs(1);

/// How long a relay may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelayTimes {
    /// For any octet, either way.
    pub(crate) idle: Duration,
    /// For one side, after the other has ended.
    pub(crate) half_closed: Duration,
}

/// What a relay moved, and why it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// Octets from the downstream to the upstream.
    pub(crate) to_upstream: u64,
    /// Octets from the upstream to the downstream.
    pub(crate) to_downstream: u64,
    pub(crate) end: RelayEnd,
}

/// Why a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayEnd {
    /// The downstream closed first.
    Downstream,
    /// The upstream closed first.
    Upstream,
    /// Nobody said anything for too long.
    Idle,
    /// The gateway is shutting down and nothing was under way.
    Drained,
    /// The session may not go on.
    Revoked,
}

/// Relays between the two sides until it is over, or until `revoked` completes. Their left-over input goes first, in
/// order.
pub(crate) async fn relay(
    downstream: Side,
    upstream: Side,
    times: RelayTimes,
    drain: &Drain,
    revoked: impl Future<Output = ()>,
) -> Relayed {
    let (mut down, down_left) = (downstream.stream, downstream.input);
    let (mut up, up_left) = (upstream.stream, upstream.input);
    let mut to_upstream = Direction::new(down_left);
    let mut to_downstream = Direction::new(up_left);
    let mut clock = Clock::new(times);
    let mut ended = None;
    let copy = poll_fn(|cx| {
        let moved = to_upstream.moved + to_downstream.moved;
        let up_done = to_upstream.poll(cx, &mut down, &mut up);
        let down_done = to_downstream.poll(cx, &mut up, &mut down);
        let now = Instant::now();
        if to_upstream.moved + to_downstream.moved > moved {
            clock.last = now;
        }
        // A writer that takes no more means that its side is gone, whoever was reading. What that side had sent before
        // is still on its way, so the other direction goes on to its own end.
        let first = match (up_done, down_done) {
            (Poll::Ready(Done::Ended), _) | (_, Poll::Ready(Done::Broken)) => Some(RelayEnd::Downstream),
            (_, Poll::Ready(Done::Ended)) | (Poll::Ready(Done::Broken), _) => Some(RelayEnd::Upstream),
            (Poll::Pending, Poll::Pending) => None,
        };
        if let (None, Some(first)) = (ended, first) {
            ended = Some(first);
            clock.half_closed = Some(now);
        }
        match ended {
            Some(end) if up_done.is_ready() && down_done.is_ready() => Poll::Ready(end),
            _ => clock.poll(cx, drain).map(|overdue| ended.unwrap_or(overdue)),
        }
    });
    let mut copy = pin!(copy);
    let mut revoked = pin!(revoked);
    let end = loop {
        tokio::select! {
            biased;
            end = copy.as_mut() => break end,
            () = revoked.as_mut() => break RelayEnd::Revoked,
            // From here on the clock watches for a moment of silence.
            () = drain.began(), if !drain.has_begun() => {}
        }
    };
    Relayed { to_upstream: to_upstream.moved, to_downstream: to_downstream.moved, end }
}

/// How a direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Its reader came to an end, and the writer was told.
    Ended,
    /// Its writer takes no more.
    Broken,
}

/// One direction of a relay.
#[derive(Debug)]
struct Direction {
    /// What was read and not yet taken by the writer.
    spill: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
    reading: Reading,
    /// Octets handed to the writer.
    moved: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Open,
    /// The reader has ended; the writer is to be told once it has everything.
    Ended,
    Over(Done),
}

impl Direction {
    fn new(mut left_over: Input) -> Self {
        let mut spill = Vec::new();
        // What is relayed is not understood, and nobody is told of it.
        left_over.overheard_by(None);
        left_over.take_into(usize::MAX, &mut spill);
        Self { spill, taken: 0, reading: Reading::Open, moved: 0 }
    }

    fn poll(&mut self, cx: &mut Context<'_>, reader: &mut Stream, writer: &mut Stream) -> Poll<Done> {
        loop {
            if let Reading::Over(done) = self.reading {
                return Poll::Ready(done);
            }
            match ready!(self.poll_turn(cx, reader, writer)) {
                Ok(()) => {}
                Err(_) => self.reading = Reading::Over(Done::Broken),
            }
        }
    }

    /// One turn: what was kept, then what there is to read. An error is the writer's; the reader's are its end.
    fn poll_turn(&mut self, cx: &mut Context<'_>, reader: &mut Stream, writer: &mut Stream) -> Poll<io::Result<()>> {
        while self.taken < self.spill.len() {
            let count = ready!(Pin::new(&mut *writer).poll_write(cx, &self.spill[self.taken..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.taken += count;
            self.moved += count as u64;
        }
        // Freed, not cleared: the next stall may never come.
        self.spill = Vec::new();
        self.taken = 0;
        if self.reading == Reading::Ended {
            // A writer that cannot be told any more has ended by itself.
            let _ = ready!(Pin::new(&mut *writer).poll_shutdown(cx));
            self.reading = Reading::Over(Done::Ended);
            return Poll::Ready(Ok(()));
        }
        with_scratch(|scratch| self.poll_copy(cx, reader, writer, scratch))
    }

    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Stream,
        writer: &mut Stream,
        scratch: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let mut filled = 0;
        let mut starved = false;
        // A TLS stream gives one record at a time; several of them are written at once.
        while scratch.len() - filled >= ONE_RECORD {
            let mut buffer = ReadBuf::new(&mut scratch[filled..]);
            match Pin::new(&mut *reader).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => filled += buffer.filled().len(),
                Poll::Ready(_) => {
                    self.reading = Reading::Ended;
                    break;
                }
                Poll::Pending => {
                    starved = true;
                    break;
                }
            }
        }
        let mut written = 0;
        while written < filled {
            match Pin::new(&mut *writer).poll_write(cx, &scratch[written..filled]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.spill.extend_from_slice(&scratch[written..filled]);
                    break;
                }
            }
        }
        self.moved += written as u64;
        if !self.spill.is_empty() {
            return Poll::Pending;
        }
        if starved {
            // TLS keeps records back until it is flushed. While it cannot, its own waker calls again.
            let _ = Pin::new(writer).poll_flush(cx)?;
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// Watches the silence of a relay.
#[derive(Debug)]
struct Clock {
    times: RelayTimes,
    /// When the last octet moved.
    last: Instant,
    /// When one side ended.
    half_closed: Option<Instant>,
    alarm: Alarm,
}

impl Clock {
    fn new(times: RelayTimes) -> Self {
        Self { times, last: Instant::now(), half_closed: None, alarm: Alarm::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>, drain: &Drain) -> Poll<RelayEnd> {
        let (due, end) = if drain.has_begun() {
            (self.last + QUIET, RelayEnd::Drained)
        } else if let Some(ended) = self.half_closed {
            (ended + self.times.half_closed, RelayEnd::Idle)
        } else {
            (self.last + self.times.idle, RelayEnd::Idle)
        };
        self.alarm.poll(cx, due).map(|()| end)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    const PATIENT: RelayTimes = RelayTimes { idle: Duration::from_secs(600), half_closed: Duration::from_secs(600) };

    /// A connection's two ends: the gateway's and the peer's.
    async fn connection(left_over: &[u8]) -> (Side, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut side = Side::new(Stream::Plain(listener.accept().await.unwrap().0));
        side.input.extend(left_over);
        (side, peer)
    }

    fn pattern(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|at| ((at * 31 + seed) % 251) as u8).collect()
    }

    #[tokio::test]
    async fn both_ways_at_once_left_over_first_and_nothing_changed() {
        let (down, client) = connection(b"left from the client ").await;
        let (up, server) = connection(b"left from the server ").await;
        let relaying = tokio::spawn(async move { relay(down, up, PATIENT, &Drain::default(), pending()).await });
        let (mut client_in, mut client_out) = client.into_split();
        let (mut server_in, mut server_out) = server.into_split();
        let (upwards, downwards) = (pattern(3_000_000, 1), pattern(2_000_000, 2));
        let (up_copy, down_copy) = (upwards.clone(), downwards.clone());
        let writers = tokio::spawn(async move {
            tokio::join!(
                async {
                    client_out.write_all(&up_copy).await.unwrap();
                    client_out.shutdown().await.unwrap();
                },
                async {
                    server_out.write_all(&down_copy).await.unwrap();
                    server_out.shutdown().await.unwrap();
                }
            );
        });
        let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
        tokio::join!(async { server_in.read_to_end(&mut at_server).await.unwrap() }, async {
            client_in.read_to_end(&mut at_client).await.unwrap()
        });
        writers.await.unwrap();
        assert!(at_server == [b"left from the client ".as_slice(), &upwards].concat());
        assert!(at_client == [b"left from the server ".as_slice(), &downwards].concat());
        let relayed = relaying.await.unwrap();
        assert_eq!(relayed.to_upstream, at_server.len() as u64);
        assert_eq!(relayed.to_downstream, at_client.len() as u64);
    }

    #[tokio::test]
    async fn a_side_that_has_ended_still_gets_what_the_other_says() {
        let (down, mut client) = connection(b"").await;
        let (up, mut server) = connection(b"").await;
        let relaying = tokio::spawn(async move { relay(down, up, PATIENT, &Drain::default(), pending()).await });
        client.write_all(b"QUIT\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"QUIT\r\n");
        server.write_all(b"+OK bye\r\n").await.unwrap();
        drop(server);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"+OK bye\r\n");
        assert_eq!(relaying.await.unwrap().end, RelayEnd::Downstream);
    }

    #[tokio::test]
    async fn silence_ends_it() {
        let (down, mut client) = connection(b"").await;
        let (up, _server) = connection(b"").await;
        let times = RelayTimes { idle: Duration::from_millis(1), ..PATIENT };
        assert_eq!(relay(down, up, times, &Drain::default(), pending()).await.end, RelayEnd::Idle);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the client is hung up on");
    }

    #[tokio::test]
    async fn one_side_alone_is_not_kept_for_ever() {
        let (down, mut client) = connection(b"").await;
        let (up, server) = connection(b"").await;
        let times = RelayTimes { half_closed: Duration::from_millis(1), ..PATIENT };
        drop(server);
        assert_eq!(relay(down, up, times, &Drain::default(), pending()).await.end, RelayEnd::Upstream);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_drain_ends_a_quiet_session() {
        let (down, _client) = connection(b"").await;
        let (up, _server) = connection(b"").await;
        let drain = Drain::default();
        let told = drain.clone();
        let relaying = tokio::spawn(async move { relay(down, up, PATIENT, &told, pending()).await });
        drain.run(Duration::ZERO).await;
        assert_eq!(relaying.await.unwrap().end, RelayEnd::Drained);
    }

    #[tokio::test]
    async fn a_revocation_ends_it_whatever_moves_and_also_in_a_drain() {
        for draining in [false, true] {
            let (down, mut client) = connection(b"").await;
            let (up, mut server) = connection(b"").await;
            let drain = Drain::default();
            let (told, (revoke, revoked)) = (drain.clone(), tokio::sync::oneshot::channel::<()>());
            let relaying = tokio::spawn(async move {
                let revoked = async { revoked.await.unwrap() };
                relay(down, up, PATIENT, &told, revoked).await
            });
            let talking = tokio::spawn(async move { while client.write_all(b"more\r\n").await.is_ok() {} });
            let mut heard = [0; 6];
            server.read_exact(&mut heard).await.unwrap();
            if draining {
                drain.run(Duration::ZERO).await;
            }
            revoke.send(()).unwrap();
            // What is on its way is read, so that the relay always has something to do.
            let reading =
                tokio::spawn(async move { while server.read(&mut heard).await.is_ok_and(|read| read > 0) {} });
            let relayed = timeout(Duration::from_secs(60), relaying).await.expect("it goes on").unwrap();
            assert_eq!(relayed.end, RelayEnd::Revoked);
            assert!(relayed.to_upstream >= 6, "what was moved is told");
            talking.await.unwrap();
            reading.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_stalled_reader_costs_one_scratch_buffer_at_most() {
        let (mut down, mut client) = connection(b"").await;
        let (mut up, _stalled) = connection(b"").await;
        let writing = tokio::spawn(async move {
            // Ends with an error when the relay is dropped.
            let _ = client.write_all(&pattern(64 * 1024 * 1024, 3)).await;
        });
        let mut direction = Direction::new(Input::new());
        let filled = poll_fn(|cx| {
            let _ = direction.poll(cx, &mut down.stream, &mut up.stream);
            // The kernel's buffers take some megabytes; then the writer stalls and something is kept.
            if direction.spill.is_empty() { Poll::Pending } else { Poll::Ready(direction.spill.len()) }
        })
        .await;
        assert!((1..=64 * 1024).contains(&filled), "{filled}");
        writing.abort();
    }
}
