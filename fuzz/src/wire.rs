//! One connection in memory, whose peer says what a script has it say, in pieces, and remembers what it was told.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::witness::Witness;

/// More reads and writes than this could only be an endless loop: each moves an octet, ends something or waits.
const MOST_STEPS: usize = 1_000_000;

/// One side's connection; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Wire(Arc<Mutex<State>>);

/// What has become of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// In what pieces it is read and written, in octets.
    size: usize,
    /// What the peer has said, and how much of it was read.
    said: Vec<u8>,
    read: usize,
    /// What the peer was told.
    pub(crate) heard: Vec<u8>,
    /// Whether the peer says no more.
    pub(crate) ended: bool,
    /// Whether it takes no more.
    pub(crate) broken: bool,
    /// Whether it was told that no more comes.
    shut: bool,
    /// Whether the session has let go of it.
    pub(crate) dropped: bool,
    /// Hears what the peer is told, once it is mail.
    pub(crate) witness: Option<Witness>,
    reader: Option<Waker>,
    steps: usize,
}

/// The session's end of a [`Wire`].
#[derive(Debug)]
pub(crate) struct End(Wire);

impl Wire {
    pub(crate) fn new(size: usize) -> Self {
        Self(Arc::new(Mutex::new(State { size, ..State::default() })))
    }

    pub(crate) fn end(&self) -> Box<End> {
        Box::new(End(self.clone()))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer says this.
    pub(crate) fn say(&self, octets: &[u8]) {
        let mut state = self.state();
        state.said.extend_from_slice(octets);
        state.wake();
    }

    /// The peer says no more, and may take no more either.
    pub(crate) fn finish(&self, broken: bool) {
        let mut state = self.state();
        state.ended = true;
        state.broken = broken;
        state.wake();
    }
}

impl State {
    /// What was read of what the peer has said.
    pub(crate) fn read(&self) -> &[u8] {
        &self.said[..self.read]
    }

    /// What the peer has said behind so many octets, read or not.
    pub(crate) fn said_since(&self, octets: usize) -> &[u8] {
        &self.said[octets..]
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        assert!(self.steps < MOST_STEPS, "the session does not come to an end");
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.state();
        state.step();
        let unread = &state.said[state.read..];
        let count = unread.len().min(state.size).min(buf.remaining());
        if count > 0 {
            buf.put_slice(&unread[..count]);
            state.read += count;
        } else if !state.ended {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.state();
        state.step();
        assert!(!state.shut, "{} octets behind the end", octets.len());
        if state.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = &octets[..octets.len().min(state.size)];
        state.heard.extend_from_slice(taken);
        if let Some(witness) = &mut state.witness {
            witness.hears(taken);
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.state().shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.state().dropped = true;
    }
}
