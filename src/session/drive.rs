//! Drives a machine over a connection: bytes to the machine, its steps to the socket, until a deadline.

use std::time::Duration;
use std::{fmt, io};

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use super::watch::Tap;
use crate::net::stream::{Stream, read_into};
use crate::proto::{CloseReason, Input, Machine, ProtoError, Step};

/// How much is read at once before login, in octets. A stranger is worth no more memory than this.
const READ_BEFORE_LOGIN: usize = 4096;

/// How many turns a machine has before other sessions have theirs: a peer that never pauses must not hold a thread.
const TURNS: u32 = 16;

/// How long a closed connection is read on, so that the peer gets our last words before the kernel resets it.
const LINGER: Duration = Duration::from_secs(1);

/// How much is thrown away meanwhile, in octets.
const LINGER_OCTETS: usize = 256 * 1024;

/// One side of a session: its connection (in tests, anything that reads and writes), what came from it and is not used
/// yet, and what is to be sent to it.
pub(crate) struct Side<S = Stream> {
    pub(crate) stream: S,
    pub(crate) input: Input,
    /// Towards an upstream this is the token, and what could not be sent of it must not stay in memory either.
    pub(crate) out: Zeroizing<Vec<u8>>,
    /// Who watches the dialogue: a downstream's only.
    pub(crate) tap: Tap,
}

impl fmt::Debug for Side {
    /// Shows how much waits and not what: passwords on the way in, a token on the way out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, input, out, .. } = self;
        let over = if matches!(stream, Stream::Tls(_)) { "TLS" } else { "TCP" };
        write!(f, "Side({over}, {} octets in, {} octets out)", input.unused().len(), out.len())
    }
}

/// What a machine came to.
#[derive(Debug)]
pub(crate) enum Outcome<E> {
    Event(E),
    StartTls,
    Relay,
    Close(CloseReason),
}

/// The dialogue cannot go on.
#[derive(Debug, Error)]
pub(crate) enum Lost {
    #[error("the peer closed the connection")]
    Gone,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the peer took too long")]
    TooSlow,
    #[error(transparent)]
    Misbehaved(#[from] ProtoError),
}

/// Until when a peer may take. The time is over whether the peer is silent or busy.
#[derive(Debug)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    pub(crate) fn of(left: Duration) -> Self {
        Self(Some(Instant::now() + left))
    }

    /// For work that somebody else has put a limit on.
    pub(crate) const fn endless() -> Self {
        Self(None)
    }

    /// Does work of our own, for which the peer waits: the time that takes does not count.
    pub(crate) async fn suspended<T>(&mut self, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        if let Some(deadline) = &mut self.0 {
            *deadline += begun.elapsed();
        }
        done
    }

    /// Waits for work of the peer.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost> {
        let Some(deadline) = self.0 else { return Ok(work.await) };
        // A time-out looks at the work first: of a socket that always has something it would never come to the clock.
        if Instant::now() >= deadline {
            return Err(Lost::TooSlow);
        }
        timeout_at(deadline, work).await.map_err(|_| Lost::TooSlow)
    }
}

impl<S> Side<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, input: Input::new(), out: Zeroizing::default(), tap: Tap::default() }
    }
}

impl Side {
    /// Who watches the dialogue: told what is said, and what the machines make of what is heard.
    pub(crate) fn watched_by(&mut self, tap: &Tap) {
        self.tap = tap.clone();
        self.input.overheard_by(tap.ears());
    }

    /// Runs `machine` until it needs something other than input and output. What it has written is sent before this
    /// returns.
    pub(crate) async fn drive<M: Machine>(
        &mut self,
        machine: &mut M,
        patience: &Patience,
    ) -> Result<Outcome<M::Event>, Lost> {
        let mut turns = 0;
        loop {
            if turns == TURNS {
                turns = 0;
                yield_now().await;
            }
            turns += 1;
            let step = machine.advance(&mut self.input, &mut self.out);
            // Even to a peer that broke the protocol: the machine may have had to cancel something.
            self.flush(patience).await?;
            match step? {
                Step::NeedInput => self.read(patience).await?,
                Step::Flush => {}
                Step::StartTls => return Ok(Outcome::StartTls),
                Step::Event(event) => return Ok(Outcome::Event(event)),
                Step::Relay => return Ok(Outcome::Relay),
                Step::Close(reason) => return Ok(Outcome::Close(reason)),
            }
        }
    }

    /// Sends what is waiting to be sent. Whoever gives it up half-way leaves in `out` what is still to be sent.
    pub(crate) async fn flush(&mut self, patience: &Patience) -> Result<(), Lost> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.tap.said(&self.out);
        let Self { stream, out, .. } = self;
        patience
            .wait(async {
                while !out.is_empty() {
                    match stream.write(out).await? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        count => drop(out.drain(..count)),
                    }
                }
                stream.flush().await
            })
            .await??;
        // Nothing that a burst of replies needed is kept.
        *out = Zeroizing::default();
        Ok(())
    }

    /// Waits for more from the peer.
    pub(crate) async fn read(&mut self, patience: &Patience) -> Result<(), Lost> {
        let known = self.input.len();
        match patience
            .wait(read_into(&mut self.stream, &mut self.input, READ_BEFORE_LOGIN))
            .await?
        {
            0 => Err(Lost::Gone),
            _ => {
                self.tap.heard(&self.input.unused()[known..]);
                Ok(())
            }
        }
    }

    /// Says `last_words` and closes. What the peer still sends is read and dropped for a moment: closing a socket with
    /// unread input resets it, and the reset would overtake the words.
    pub(crate) async fn close(mut self, last_words: &[u8]) {
        self.tap.said(last_words);
        self.out.extend_from_slice(last_words);
        let _ = timeout(LINGER, async {
            let Self { stream, input, out, .. } = &mut self;
            stream.write_all(out).await?;
            stream.shutdown().await?;
            let mut left = LINGER_OCTETS;
            while left > 0 {
                input.clear();
                match read_into(stream, input, left).await {
                    0 => break,
                    count => left -= count,
                }
            }
            io::Result::Ok(())
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{advance, sleep};

    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// Both ends of a connection.
    async fn connection() -> (TcpStream, Side) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (peer, Side::new(Stream::Plain(listener.accept().await.unwrap().0)))
    }

    #[tokio::test]
    async fn what_waits_is_not_shown_and_wiped_whatever_becomes_of_it() {
        fn is_wiped(_: &impl ZeroizeOnDrop) {}
        let (_peer, mut side) = connection().await;
        side.input.extend(b"PASS hunter2");
        side.out.extend_from_slice(b"dXNlcj1h");
        is_wiped(&side.out);
        assert_eq!(format!("{side:?}"), "Side(TCP, 12 octets in, 8 octets out)");
        side.flush(&Patience::endless()).await.unwrap();
        assert_eq!(side.out.capacity(), 0, "an idle side holds no buffer");
    }

    #[tokio::test]
    async fn a_peer_that_was_too_slow_gets_each_octet_once_and_then_the_last_words() {
        let (mut peer, mut side) = connection().await;
        // More than the kernel takes of it while the peer reads nothing.
        let said: Vec<u8> = (0..16 * 1024 * 1024).map(|at| (at % 251) as u8).collect();
        side.out.extend_from_slice(&said);
        let flushed = side.flush(&Patience::of(Duration::from_millis(10))).await;
        assert!(matches!(flushed, Err(Lost::TooSlow)), "{flushed:?}");
        let mut heard = Vec::new();
        let (read, ()) = tokio::join!(peer.read_to_end(&mut heard), side.close(b"bye"));
        read.unwrap();
        assert!(heard == [&said[..], b"bye"].concat());
    }

    /// Takes a second for whatever it is sent.
    struct Dawdler(u32);

    impl Machine for Dawdler {
        type Event = ();
        type Answer = ();

        fn advance(&mut self, input: &mut Input, _: &mut Vec<u8>) -> Result<Step<()>, ProtoError> {
            if !input.is_empty() {
                input.clear();
                self.0 += 1;
                // The clock is set at the first poll.
                let _ = pin!(advance(Duration::from_secs(1))).poll(&mut Context::from_waker(Waker::noop()));
            }
            Ok(Step::NeedInput)
        }

        fn answer(&mut self, (): (), _: &mut Vec<u8>) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_never_waited_for_meets_the_deadline_too() {
        let (mut peer, mut side) = connection().await;
        let begun = Instant::now();
        let (mut dawdler, patience) = (Dawdler(0), Patience::of(Duration::from_secs(10)));
        let flooding = async {
            // There is always more to read, and after a minute of it the end.
            let _ = peer.write_all(&[b'x'; 60 * READ_BEFORE_LOGIN]).await;
            drop(peer);
        };
        let (driven, ()) = tokio::join!(side.drive(&mut dawdler, &patience), flooding);
        assert!(matches!(driven, Err(Lost::TooSlow)), "{driven:?}");
        assert_eq!((dawdler.0, begun.elapsed()), (10, Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_gateway_takes_itself_does_not_count() {
        let mut patience = Patience::of(Duration::from_secs(10));
        patience.wait(sleep(Duration::from_secs(4))).await.unwrap();
        patience.suspended(sleep(Duration::from_secs(3600))).await;
        patience.wait(sleep(Duration::from_secs(5))).await.unwrap();
        assert!(matches!(patience.wait(sleep(Duration::from_secs(2))).await, Err(Lost::TooSlow)));
        assert!(matches!(patience.wait(async {}).await, Err(Lost::TooSlow)), "the time is over");
    }

    /// Has always something to do that needs nobody.
    struct Busy(u32);

    impl Machine for Busy {
        type Event = ();
        type Answer = ();

        fn advance(&mut self, _: &mut Input, _: &mut Vec<u8>) -> Result<Step<()>, ProtoError> {
            self.0 += 1;
            assert!(self.0 <= TURNS, "nobody else has a turn");
            Ok(Step::Flush)
        }

        fn answer(&mut self, (): (), _: &mut Vec<u8>) {}
    }

    #[tokio::test]
    async fn a_busy_session_lets_others_have_their_turns() {
        let (_peer, mut side) = connection().await;
        let (mut busy, patience) = (Busy(0), Patience::endless());
        tokio::select! {
            biased;
            driven = side.drive(&mut busy, &patience) => panic!("{driven:?}"),
            () = async {} => {}
        }
    }
}
