//! One connection, in the clear or under TLS, as one type; and how it is read without a buffer of its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::proto::Input;

/// A connection to a downstream or an upstream.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Under TLS, with us as its client or its server. Boxed: most connections of a loopback gateway are plain.
    Tls(Box<TlsStream<TcpStream>>),
    /// No socket at all.
    #[cfg(any(test, fuzzing))]
    Memory(Box<dyn super::memory::Connection>),
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
