//! One connection, in the clear or under TLS, as one type; and how it is read without a buffer of its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::proto::Input;

/// How many octets of a client's are read before its handshake is done. One of TLS 1.3 with the largest keys there are sends
/// about 2,000; what it says of itself beside them is as much again at most.
pub(crate) const HANDSHAKE_OCTETS: usize = 16 * 1024;

/// A connection to a downstream or an upstream.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Under TLS, with us as its client or its server. Boxed: most connections of a loopback gateway are plain.
    Tls(Box<TlsStream<Metered>>),
    /// No socket at all.
    #[cfg(any(test, fuzzing))]
    Memory(Box<dyn super::memory::Connection>),
}

/// A connection of which no more than so many octets are read. TLS joins the pieces of a handshake's messages, of which a
/// stranger may announce far more than a real one has: what is not read is not kept.
#[derive(Debug)]
pub struct Metered {
    stream: TcpStream,
    /// How many octets may still be read; `None`: as many as come.
    left: Option<usize>,
}

/// More came before the end of the handshake than may come.
#[derive(Debug, Error)]
#[error("more than {} octets in a handshake", HANDSHAKE_OCTETS)]
pub(crate) struct HandshakeTooLong;

impl Metered {
    /// For a handshake with a client: no more than [`HANDSHAKE_OCTETS`] are read until it is [lifted](Self::lift).
    pub(crate) fn for_handshake(stream: TcpStream) -> Self {
        Self { stream, left: Some(HANDSHAKE_OCTETS) }
    }

    /// All that comes is read.
    pub(crate) fn lift(&mut self) {
        self.left = None;
    }

    /// The connection itself.
    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
    }
}

impl From<TcpStream> for Metered {
    fn from(stream: TcpStream) -> Self {
        Self { stream, left: None }
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, left } = self.get_mut();
        let Some(left) = left else { return Pin::new(stream).poll_read(cx, buf) };
        if *left == 0 {
            return Poll::Ready(Err(io::Error::other(HandshakeTooLong)));
        }
        let most = buf.remaining().min(*left);
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(most));
        let polled = Pin::new(stream).poll_read(cx, &mut piece);
        let count = piece.filled().len();
        buf.advance(count);
        *left -= count;
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Says `words` to a connection that is about to be dropped, if its kernel takes them at once. tokio's own `try_write`
/// waits for a readiness that a connection just accepted does not have yet.
pub(crate) fn say_last(stream: &TcpStream, words: &[u8]) {
    let _ = SockRef::from(stream).send(words);
}

/// How much of a peer's octets one turn moves. Measured: below 32 KiB the system calls show, above 64 KiB nothing is won.
pub(crate) const SCRATCH: usize = 64 * 1024;

thread_local! {
    /// Every session of a thread reads through this one buffer, so an idle session holds none.
    static SCRATCH_OF_THREAD: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Lends this thread's scratch buffer. It must not be asked for again inside `work`.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH_OF_THREAD.with_borrow_mut(|scratch| work(scratch))
}

/// Reads at most `most` octets to the end of `input`. Zero is the end of the stream; a TCP connection that was torn
/// down, or a TLS one that ended without its goodbye, counts as ended too.
pub(crate) fn poll_read_into(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    input: &mut Input,
    most: usize,
) -> Poll<usize> {
    with_scratch(|scratch| {
        let most = most.min(scratch.len());
        let mut buffer = ReadBuf::new(&mut scratch[..most]);
        match Pin::new(stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                input.extend(buffer.filled());
                Poll::Ready(buffer.filled().len())
            }
            Poll::Ready(Err(_)) => Poll::Ready(0),
            Poll::Pending => Poll::Pending,
        }
    })
}

/// As [`poll_read_into`], awaited.
pub(crate) async fn read_into(stream: &mut Stream, input: &mut Input, most: usize) -> usize {
    poll_fn(|cx| poll_read_into(stream, cx, input, most)).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_metered_is_read_no_further_until_it_is_lifted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut metered = Metered::for_handshake(listener.accept().await.unwrap().0);
        peer.write_all(&[b'x'; HANDSHAKE_OCTETS + 100]).await.unwrap();
        drop(peer);
        let mut read = Vec::new();
        let error = metered.read_to_end(&mut read).await.unwrap_err();
        assert!(error.get_ref().unwrap().is::<HandshakeTooLong>(), "{error}");
        assert_eq!(read.len(), HANDSHAKE_OCTETS);
        metered.lift();
        metered.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), HANDSHAKE_OCTETS + 100);
    }
}
