//! Drives the SMTP transaction after login: two connections, one machine, back-pressure both ways.
//!
//! Nothing is read from a side while something it led to is still to be written, so memory stays bounded whatever either
//! peer does. Message data goes from the downstream's input straight to the upstream's socket.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::drive::Side;
use super::failure::Goodbye;
use super::protocol::Smtp;
use super::record::{Ending, Record};
use super::upstream::Upstream;
use super::warrant::Warrant;
use crate::config::Protocol;
use crate::net::stream::{SCRATCH, Stream, poll_read_into};
use crate::proto::ProtoError;
use crate::proto::smtp::transaction::{Flow, MessageReport, Options, Pipes, Transaction};

/// Carries the session's mail until one side ends it.
pub(crate) async fn carry(
    shared: &Shared,
    downstream: Side,
    upstream: Upstream<Smtp>,
    warrant: Warrant,
    record: &mut Record,
) -> Ending {
    let transaction = Transaction::new(Options {
        hostname: shared.config.hostname.clone(),
        extensions: upstream.learnt,
        masked: upstream.account.app.provider.smtp_masked.clone(),
    });
    let idle = shared.config.limits.idle(Protocol::Smtp);
    let mut carrier = Carrier::new(transaction, downstream, upstream.side);
    let mut revoked = pin!(warrant.revoked());
    let ending = loop {
        let due = carrier.last + idle;
        let step = tokio::select! {
            biased;
            step = poll_fn(|cx| carrier.poll(cx)) => step,
            () = revoked.as_mut() => break carrier.say_goodbye(Goodbye::Revoked, Ending::Revoked),
            () = shared.drain.began(), if !carrier.draining => {
                carrier.draining = true;
                continue;
            }
            () = sleep_until(due) => {
                if carrier.last + idle > Instant::now() {
                    continue;
                }
                break carrier.say_goodbye(Goodbye::Idle, Ending::Idle);
            }
        };
        match step {
            Carried::Message(report) => record.message(&report),
            Carried::Quiet => break carrier.say_goodbye(Goodbye::Draining, Ending::Drained),
            Carried::Ended(ending) => break ending,
        }
    };
    if carrier.transaction.has_body_in_flight() {
        record.message_lost(&ending);
    }
    record.to_upstream += carrier.to_upstream.moved;
    record.to_downstream += carrier.to_downstream.moved;
    // Boxed: what a session needs for its last second it does not hold all its life.
    Box::pin(carrier.finish()).await;
    ending
}

/// What a carrier came to.
enum Carried {
    Message(MessageReport),
    /// A drain is on, and no message is under way.
    Quiet,
    Ended(Ending),
}

/// Both connections and the machine between them.
struct Carrier {
    transaction: Transaction,
    downstream: Side,
    upstream: Side,
    pipes: Pipes,
    to_upstream: Outgoing,
    to_downstream: Outgoing,
    /// How many octets of the downstream's input are to go upstream as they are, behind `to_upstream`.
    forward: usize,
    /// The machine has used all of the downstream's input that it may use now.
    downstream_used: bool,
    upstream_used: bool,
    downstream_ended: bool,
    /// When the last octet moved.
    last: Instant,
    draining: bool,
}

/// How far a pipe has been written.
#[derive(Default)]
struct Outgoing {
    written: usize,
    moved: u64,
}

impl Carrier {
    fn new(transaction: Transaction, mut downstream: Side, mut upstream: Side) -> Self {
        let pipes = Pipes {
            to_upstream: std::mem::take(&mut upstream.out),
            to_downstream: std::mem::take(&mut downstream.out),
        };
        downstream.input.login_is_over();
        upstream.input.login_is_over();
        Self {
            transaction,
            downstream,
            upstream,
            pipes,
            to_upstream: Outgoing::default(),
            to_downstream: Outgoing::default(),
            forward: 0,
            downstream_used: false,
            upstream_used: false,
            downstream_ended: false,
            last: Instant::now(),
            draining: false,
        }
    }

    /// Moves what can be moved. Every turn of the loop uses something up, or the sockets' wakers are set.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Carried> {
        loop {
            let mut progress = false;
            match self.poll_write_upstream(cx) {
                Poll::Ready(Ok(wrote)) => progress |= wrote,
                Poll::Ready(Err(_)) => return Poll::Ready(self.upstream_gone("the connection broke")),
                Poll::Pending => {}
            }
            match self
                .to_downstream
                .poll_write(cx, &mut self.downstream.stream, &mut self.pipes.to_downstream)
            {
                Poll::Ready(Ok(wrote)) => progress |= wrote,
                Poll::Ready(Err(_)) => return Poll::Ready(Carried::Ended(Ending::DownstreamEnded)),
                Poll::Pending => {}
            }
            // The upstream first: its answers decide what the downstream's next octets mean.
            if self.pipes.to_downstream.is_empty() {
                if !self.upstream_used {
                    match self.transaction.from_upstream(&mut self.upstream.input, &mut self.pipes) {
                        Ok(flow) => {
                            progress = true;
                            // An answer may have made room for more commands.
                            self.downstream_used = false;
                            if let Some(carried) = self.follow(flow, true) {
                                return Poll::Ready(carried);
                            }
                        }
                        Err(error) => return Poll::Ready(self.misbehaved(error)),
                    }
                } else if let Poll::Ready(count) =
                    poll_read_into(&mut self.upstream.stream, cx, &mut self.upstream.input, SCRATCH)
                {
                    if count == 0 {
                        return Poll::Ready(self.upstream_gone("it closed the connection"));
                    }
                    self.upstream_used = false;
                    progress = true;
                }
            }
            if self.pipes.to_upstream.is_empty()
                && self.forward == 0
                && self.pipes.to_downstream.is_empty()
                && self.transaction.wants_downstream(self.downstream.input.len())
            {
                if !self.downstream_used {
                    match self.transaction.from_downstream(&mut self.downstream.input, &mut self.pipes) {
                        Ok(flow) => {
                            progress = true;
                            if let Some(carried) = self.follow(flow, false) {
                                return Poll::Ready(carried);
                            }
                        }
                        Err(error) => return Poll::Ready(self.misbehaved(error)),
                    }
                } else if !self.downstream_ended {
                    let Side { stream, input, .. } = &mut self.downstream;
                    if let Poll::Ready(count) = poll_read_into(stream, cx, input, SCRATCH) {
                        self.downstream_ended = count == 0;
                        self.downstream_used = false;
                        progress = true;
                    }
                }
            }
            if progress {
                self.last = Instant::now();
                continue;
            }
            if self.downstream_ended && self.downstream_used && !self.transaction.awaits_upstream() {
                return Poll::Ready(Carried::Ended(Ending::DownstreamEnded));
            }
            // What waits holds no buffer.
            self.downstream.input.release();
            self.upstream.input.release();
            if self.draining && self.transaction.is_between_messages() && self.downstream.input.is_empty() {
                return Poll::Ready(Carried::Quiet);
            }
            return Poll::Pending;
        }
    }

    /// Does what the machine asks for; `Some` ends this poll.
    fn follow(&mut self, flow: Flow, of_upstream: bool) -> Option<Carried> {
        match flow {
            Flow::NeedInput if of_upstream => self.upstream_used = true,
            Flow::NeedInput => self.downstream_used = true,
            Flow::Flush => {}
            Flow::Forward { octets } => self.forward = octets,
            Flow::Message(report) => return Some(Carried::Message(report)),
            Flow::Close(reason) => return Some(Carried::Ended(Ending::Closed(reason))),
        }
        None
    }

    /// Writes what the machine wrote, then the message data behind it.
    fn poll_write_upstream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let stream = &mut self.upstream.stream;
        let mut wrote = match self.to_upstream.poll_write(cx, stream, &mut self.pipes.to_upstream) {
            Poll::Ready(Ok(wrote)) => wrote,
            other => return other,
        };
        while self.forward > 0 {
            let data = &self.downstream.input.unused()[..self.forward];
            match Pin::new(&mut *stream).poll_write(cx, data) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.downstream.input.skip(count);
                    self.forward -= count;
                    self.to_upstream.moved += count as u64;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Ready(Ok(wrote)),
            }
        }
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(wrote)),
        }
    }

    fn upstream_gone(&mut self, what: &'static str) -> Carried {
        self.transaction.upstream_gone(&mut self.pipes);
        Carried::Ended(Ending::UpstreamLost(what))
    }

    fn misbehaved(&mut self, error: ProtoError) -> Carried {
        self.transaction.upstream_gone(&mut self.pipes);
        Carried::Ended(Ending::Misbehaved(error))
    }

    fn say_goodbye(&mut self, goodbye: Goodbye, ending: Ending) -> Ending {
        self.pipes.to_downstream.extend_from_slice(&goodbye.line(Protocol::Smtp));
        ending
    }

    /// Sends the last words and closes both connections.
    async fn finish(self) {
        let Self { downstream, mut upstream, mut pipes, to_downstream, to_upstream, forward, .. } = self;
        pipes.to_downstream.drain(..to_downstream.written);
        pipes.to_upstream.drain(..to_upstream.written);
        // Half a message must not end like a whole one: then the upstream gets nothing more.
        if forward == 0 {
            upstream.out = pipes.to_upstream;
        }
        tokio::join!(downstream.close(&pipes.to_downstream), upstream.close(b""));
    }
}

impl Outgoing {
    /// Writes as much of `pipe` as the stream takes, and flushes once it is empty. Ready with whether anything moved.
    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream, pipe: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while self.written < pipe.len() {
            match Pin::new(&mut *stream).poll_write(cx, &pipe[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.moved += count as u64;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return if wrote { Poll::Ready(Ok(true)) } else { Poll::Pending },
            }
        }
        if self.written > 0 {
            self.written = 0;
            // Freed, not cleared: an idle session holds no buffer.
            *pipe = Vec::new();
        }
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(wrote)),
        }
    }
}
