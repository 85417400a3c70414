//! Drives a machine over a connection: bytes to the machine, its steps to the socket, under a limit of patience.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};
use zeroize::Zeroize;

use crate::net::stream::{Stream, read_into};
use crate::proto::{CloseReason, Input, Machine, ProtoError, Step};

/// How much is read at once before login, in octets. A stranger is worth no more memory than this.
const READ_BEFORE_LOGIN: usize = 4096;

/// How long a closed connection is read on, so that the peer gets our last words before the kernel resets it.
const LINGER: Duration = Duration::from_secs(1);

/// How much is thrown away meanwhile, in octets.
const LINGER_OCTETS: usize = 256 * 1024;

/// One side of a session: its connection (in tests, anything that reads and writes), what came from it and is not used
/// yet, and what is to be sent to it.
#[derive(Debug)]
pub(crate) struct Side<S = Stream> {
    pub(crate) stream: S,
    pub(crate) input: Input,
    pub(crate) out: Vec<u8>,
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

/// How long a peer may still keep us waiting in all. Our own work does not count against it.
#[derive(Debug)]
pub(crate) struct Patience(Option<Duration>);

impl Patience {
    pub(crate) const fn of(left: Duration) -> Self {
        Self(Some(left))
    }

    /// For work that somebody else has put a limit on.
    pub(crate) const fn endless() -> Self {
        Self(None)
    }

    async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Lost> {
        let Some(left) = self.0 else { return Ok(work.await) };
        let begun = Instant::now();
        let done = timeout(left, work).await.map_err(|_| Lost::TooSlow);
        self.0 = Some(left.saturating_sub(begun.elapsed()));
        done
    }
}

impl<S> Side<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, input: Input::new(), out: Vec::new() }
    }
}

impl Side {
    /// Runs `machine` until it needs something other than input and output. What it has written is sent before this
    /// returns.
    pub(crate) async fn drive<M: Machine>(
        &mut self,
        machine: &mut M,
        patience: &mut Patience,
    ) -> Result<Outcome<M::Event>, Lost> {
        loop {
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
    pub(crate) async fn flush(&mut self, patience: &mut Patience) -> Result<(), Lost> {
        if self.out.is_empty() {
            return Ok(());
        }
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
        // Towards an upstream this was the token. And nothing that a burst of replies needed is kept.
        out.zeroize();
        *out = Vec::new();
        Ok(())
    }

    /// Waits for more from the peer.
    pub(crate) async fn read(&mut self, patience: &mut Patience) -> Result<(), Lost> {
        match patience
            .wait(read_into(&mut self.stream, &mut self.input, READ_BEFORE_LOGIN))
            .await?
        {
            0 => Err(Lost::Gone),
            _ => Ok(()),
        }
    }

    /// Says `last_words` and closes. What the peer still sends is read and dropped for a moment: closing a socket with
    /// unread input resets it, and the reset would overtake the words.
    pub(crate) async fn close(mut self, last_words: &[u8]) {
        self.out.extend_from_slice(last_words);
        let _ = timeout(LINGER, async {
            let Self { stream, input, out } = &mut self;
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
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_was_too_slow_gets_each_octet_once_and_then_the_last_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut side = Side::new(Stream::Plain(listener.accept().await.unwrap().0));
        // More than the kernel takes of it while the peer reads nothing.
        let said: Vec<u8> = (0..16 * 1024 * 1024).map(|at| (at % 251) as u8).collect();
        side.out.extend_from_slice(&said);
        let flushed = side.flush(&mut Patience::of(Duration::from_millis(10))).await;
        assert!(matches!(flushed, Err(Lost::TooSlow)), "{flushed:?}");
        let mut heard = Vec::new();
        let (read, ()) = tokio::join!(peer.read_to_end(&mut heard), side.close(b"bye"));
        read.unwrap();
        assert!(heard == [&said[..], b"bye"].concat());
    }
}
