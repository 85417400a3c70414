//! Drives the SMTP transaction after login: two connections, one machine, back-pressure both ways.
//!
//! Nothing is read from a side while something it led to is still to be written, so memory stays bounded whatever either
//! peer does. Message data goes from the downstream's input straight to the upstream's socket.
//!
//! What the upstream says counts against the silence once it goes on to the downstream, a whole reply at a time: an
//! upstream that says single octets holds nobody. A downstream that has left is waited for by the clock.

use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::drive::Side;
use super::failure::Goodbye;
use super::protocol::Smtp;
use super::record::{Ending, Record};
use super::relay::RelayTimes;
use super::upstream::Upstream;
use super::warrant::Warrant;
use super::{Shared, chance};
use crate::config::Protocol;
use crate::net::stream::{SCRATCH, Stream, poll_read_into};
use crate::proto::ProtoError;
use crate::proto::smtp::transaction::{
    Denial, EnvelopeRefusal, Flow, MessageReport, Options, Pipes, Stamp, Transaction,
};

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
        account: upstream.account.address.clone(),
        max_message: upstream.account.max_message,
        rules: warrant.login().mail.clone(),
    });
    let times =
        RelayTimes { idle: shared.config.limits.idle(Protocol::Smtp), half_closed: shared.config.budgets.half_closed };
    let mut carrier = Carrier::new(transaction, downstream, upstream.side, times);
    let ending = carrier.run(shared, pin!(warrant.revoked()), record).await;
    if carrier.transaction.has_body_in_flight() {
        record.message_lost(&ending, &carrier.transaction.mails());
    }
    record.has_ended();
    record.to_upstream += carrier.to_upstream.moved;
    record.to_downstream += carrier.to_downstream.moved;
    // Boxed: what a session needs for its last second it does not hold all its life.
    Box::pin(carrier.finish()).await;
    ending
}

/// What a carrier came to.
enum Carried {
    Message(MessageReport),
    Envelope(EnvelopeRefusal),
    /// Something was refused here.
    Denied(Denial),
    /// The machine waits to be told whether a MAIL may pass.
    MailWanted,
    /// No message is announced or under way any more.
    Settled,
    /// A drain is on, and no message is under way.
    Quiet,
    /// It has waited for too long.
    Overdue,
    Ended(Ending),
}

/// Both connections and the machine between them.
struct Carrier<S = Stream> {
    transaction: Transaction,
    downstream: Side<S>,
    upstream: Side<S>,
    from_downstream: Listening,
    from_upstream: Listening,
    pipes: Pipes,
    to_downstream: Outgoing,
    to_upstream: Outgoing,
    /// How many octets of the downstream's input are to go upstream as they are, behind `to_upstream`.
    forward: usize,
    /// Whether a MAIL was asked for since it was last said that none is under way.
    has_asked: bool,
    clock: Clock,
}

/// How the machine stands to what one side has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listening {
    /// It may find something to use.
    HasToLook,
    /// It has used all that it can, and needs more.
    AwaitingMore,
}

/// Watches how long nothing moves, and how long a downstream that has left is still served.
struct Clock {
    times: RelayTimes,
    /// When the downstream last said something, or either side took something.
    last: Instant,
    /// When the downstream's end was read.
    left: Option<Instant>,
    alarm: Alarm,
}

/// How far a pipe has been written.
#[derive(Default)]
struct Outgoing {
    written: usize,
    moved: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carrier<S> {
    fn new(transaction: Transaction, mut downstream: Side<S>, mut upstream: Side<S>, times: RelayTimes) -> Self {
        let pipes = Pipes {
            to_upstream: std::mem::take(&mut *upstream.out),
            to_downstream: std::mem::take(&mut *downstream.out),
        };
        downstream.input.login_is_over();
        upstream.input.login_is_over();
        Self {
            transaction,
            downstream,
            upstream,
            from_downstream: Listening::HasToLook,
            from_upstream: Listening::HasToLook,
            pipes,
            to_downstream: Outgoing::default(),
            to_upstream: Outgoing::default(),
            forward: 0,
            has_asked: false,
            clock: Clock { times, last: Instant::now(), left: None, alarm: Alarm::default() },
        }
    }

    /// Carries until the session ends; a goodbye of ours then stands in the pipe.
    async fn run(
        &mut self,
        shared: &Shared,
        mut revoked: Pin<&mut impl Future<Output = ()>>,
        record: &mut Record,
    ) -> Ending {
        let Shared { drain, clearance, .. } = shared;
        loop {
            tokio::select! {
                biased;
                carried = poll_fn(|cx| self.poll(cx, drain.has_begun())) => match carried {
                    Carried::Message(report) => record.message(&report, clearance),
                    Carried::Envelope(refusal) => record.envelope_refused(&refusal, clearance),
                    Carried::Denied(denial) => record.denied(&denial),
                    Carried::MailWanted => {
                        let verdict = record.ask(clearance, &self.transaction.mails());
                        self.transaction.admit(verdict.map(stamp));
                    }
                    Carried::Settled => record.settled(),
                    Carried::Quiet => return self.say_goodbye(Goodbye::Draining, Ending::Drained),
                    Carried::Overdue => return self.say_goodbye(Goodbye::Idle, Ending::Idle),
                    Carried::Ended(ending) => return ending,
                },
                () = revoked.as_mut() => return self.say_goodbye(Goodbye::Revoked, Ending::Revoked),
                // From here on a moment between two messages ends it.
                () = drain.began(), if !drain.has_begun() => {}
            }
        }
    }

    /// Moves what can be moved. Every turn uses something up, or the sockets' wakers are set.
    fn poll(&mut self, cx: &mut Context<'_>, draining: bool) -> Poll<Carried> {
        loop {
            match self.turn(cx) {
                Continue(true) => {}
                Continue(false) => return self.rest(cx, draining),
                Break(carried) => return Poll::Ready(carried),
            }
        }
    }

    /// One turn; whether anything has moved.
    fn turn(&mut self, cx: &mut Context<'_>) -> ControlFlow<Carried, bool> {
        if let Some(reason) = self.transaction.ending() {
            return Break(Carried::Ended(Ending::Closed(reason)));
        }
        let Ok(mut moved) = self.write_upstream(cx) else {
            return Break(self.upstream_gone("the connection broke"));
        };
        let Self { downstream, pipes, .. } = self;
        match self.to_downstream.write(cx, &mut downstream.stream, &mut pipes.to_downstream) {
            Ok(wrote) => moved |= wrote,
            Err(_) => return Break(Carried::Ended(Ending::DownstreamEnded)),
        }
        if moved {
            self.clock.last = Instant::now();
        }
        // The upstream first: its answers decide what the downstream's next octets mean.
        if self.pipes.to_downstream.is_empty() {
            moved |= match self.from_upstream {
                Listening::HasToLook => self.use_upstream()?,
                Listening::AwaitingMore => self.read_upstream(cx)?,
            };
        }
        let is_clear = self.pipes.are_empty() && self.forward == 0;
        if is_clear && self.transaction.wants_downstream(self.downstream.input.len()) {
            moved |= match self.from_downstream {
                Listening::HasToLook => self.use_downstream()?,
                Listening::AwaitingMore => self.read_downstream(cx),
            };
        }
        Continue(moved)
    }

    /// Nothing can be moved now.
    fn rest(&mut self, cx: &mut Context<'_>, draining: bool) -> Poll<Carried> {
        let is_heard_out = self.clock.left.is_some() && self.from_downstream == Listening::AwaitingMore;
        if is_heard_out && !self.transaction.awaits_upstream() {
            return Poll::Ready(Carried::Ended(Ending::DownstreamEnded));
        }
        // A session that waits holds no place that another could have.
        if self.has_asked && self.transaction.is_between_messages() {
            self.has_asked = false;
            return Poll::Ready(Carried::Settled);
        }
        // What waits holds no buffer.
        self.downstream.input.release();
        self.upstream.input.release();
        if draining && self.transaction.is_between_messages() && self.downstream.input.is_empty() {
            return Poll::Ready(Carried::Quiet);
        }
        self.clock
            .poll(cx, self.transaction.has_body_in_flight())
            .map(|()| Carried::Overdue)
    }

    /// Writes what the machine wrote, then the message data behind it; whether any of it went.
    fn write_upstream(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let stream = &mut self.upstream.stream;
        let mut wrote = self.to_upstream.write(cx, stream, &mut self.pipes.to_upstream)?;
        if self.forward > 0 && self.pipes.to_upstream.is_empty() {
            let data = &self.downstream.input.unused()[..self.forward];
            let count = write_some(cx, stream, data)?;
            self.downstream.input.skip(count);
            self.forward -= count;
            self.to_upstream.moved += count as u64;
            wrote |= count > 0;
        }
        Ok(wrote)
    }

    fn read_upstream(&mut self, cx: &mut Context<'_>) -> ControlFlow<Carried, bool> {
        match poll_read_into(&mut self.upstream.stream, cx, &mut self.upstream.input, SCRATCH) {
            Poll::Ready(0) => return Break(self.upstream_gone("it closed the connection")),
            Poll::Ready(_) => self.from_upstream = Listening::HasToLook,
            Poll::Pending => return Continue(false),
        }
        Continue(true)
    }

    fn read_downstream(&mut self, cx: &mut Context<'_>) -> bool {
        if self.clock.left.is_some() {
            return false;
        }
        let known = self.downstream.input.len();
        match poll_read_into(&mut self.downstream.stream, cx, &mut self.downstream.input, SCRATCH) {
            Poll::Ready(0) => self.clock.left = Some(Instant::now()),
            Poll::Ready(_) => {
                self.downstream.tap.heard(&self.downstream.input.unused()[known..]);
                self.clock.last = Instant::now();
                self.from_downstream = Listening::HasToLook;
            }
            Poll::Pending => return false,
        }
        true
    }

    /// Lets the machine use what the upstream has said; whether it did, or wrote something.
    fn use_upstream(&mut self) -> ControlFlow<Carried, bool> {
        let flow = match self.transaction.from_upstream(&mut self.upstream.input, &mut self.pipes) {
            Ok(flow) => flow,
            Err(error) => return Break(self.misbehaved(error)),
        };
        self.downstream.tap.said(&self.pipes.to_downstream);
        // An answer may have made room for more commands.
        self.from_downstream = Listening::HasToLook;
        // A machine that waits for its pipe and has not written to it waits for a socket.
        let moved = flow != Flow::Flush || !self.pipes.to_downstream.is_empty();
        self.from_upstream = self.follow(flow)?;
        Continue(moved)
    }

    /// As [`use_upstream`](Self::use_upstream), for the downstream.
    fn use_downstream(&mut self) -> ControlFlow<Carried, bool> {
        let flow = match self.transaction.from_downstream(&mut self.downstream.input, &mut self.pipes) {
            Ok(flow) => flow,
            Err(error) => return Break(self.misbehaved(error)),
        };
        self.downstream.tap.said(&self.pipes.to_downstream);
        let moved = flow != Flow::Flush || !self.pipes.are_empty();
        self.from_downstream = self.follow(flow)?;
        Continue(moved)
    }

    /// Does what the machine asks for; how it then stands to the side it was asked about.
    fn follow(&mut self, flow: Flow) -> ControlFlow<Carried, Listening> {
        match flow {
            Flow::NeedInput => return Continue(Listening::AwaitingMore),
            Flow::Flush => {}
            Flow::Forward { octets } => self.forward = octets,
            Flow::Message(report) => return Break(Carried::Message(report)),
            Flow::Envelope(refusal) => return Break(Carried::Envelope(refusal)),
            Flow::Denied(denial) => return Break(Carried::Denied(denial)),
            Flow::MailWanted => {
                self.has_asked = true;
                return Break(Carried::MailWanted);
            }
            Flow::Close(reason) => return Break(Carried::Ended(Ending::Closed(reason))),
        }
        Continue(Listening::HasToLook)
    }

    fn upstream_gone(&mut self, what: &'static str) -> Carried {
        self.lose_upstream();
        Carried::Ended(Ending::UpstreamLost(what))
    }

    fn misbehaved(&mut self, error: ProtoError) -> Carried {
        self.lose_upstream();
        Carried::Ended(Ending::Misbehaved(error))
    }

    fn lose_upstream(&mut self) {
        let before = self.pipes.to_downstream.len();
        self.transaction.upstream_gone(&mut self.pipes);
        self.downstream.tap.said(&self.pipes.to_downstream[before..]);
    }

    fn say_goodbye(&mut self, goodbye: Goodbye, ending: Ending) -> Ending {
        let line = goodbye.line(Protocol::Smtp);
        self.downstream.tap.said(&line);
        self.pipes.to_downstream.extend_from_slice(&line);
        ending
    }
}

impl Carrier {
    /// Sends the last words and closes both connections.
    async fn finish(self) {
        let Self { mut downstream, mut upstream, mut pipes, to_downstream, to_upstream, forward, .. } = self;
        pipes.to_downstream.drain(..to_downstream.written);
        pipes.to_upstream.drain(..to_upstream.written);
        // Half a message must not end like a whole one: then the upstream gets nothing more.
        if forward == 0 {
            *upstream.out = pipes.to_upstream;
        }
        // Who watches was told of it when it was put into the pipe.
        *downstream.out = pipes.to_downstream;
        tokio::join!(downstream.close(b""), upstream.close(b""));
    }
}

/// For the MAIL of this number, which may pass now.
fn stamp(number: u64) -> Stamp {
    Stamp { number, now: chance::now(), unguessable: u128::from_be_bytes(chance::octets()) }
}

impl Clock {
    /// Ready once it has been too long. A downstream that has left has its time however much still moves; a message that
    /// is under way has as long as one that is waited for.
    fn poll(&mut self, cx: &mut Context<'_>, message_is_under_way: bool) -> Poll<()> {
        let RelayTimes { idle, half_closed } = self.times;
        let silent = self.last + idle;
        let due = self.left.map_or(silent, |left| {
            let most = if message_is_under_way { half_closed.max(idle) } else { half_closed };
            silent.min(left + most)
        });
        self.alarm.poll(cx, due)
    }
}

impl Outgoing {
    /// Writes as much of `pipe` as the stream takes, and frees it once it is empty; whether anything went.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
        pipe: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let count = write_some(cx, stream, &pipe[self.written..])?;
        self.written += count;
        self.moved += count as u64;
        if self.written == pipe.len() {
            self.written = 0;
            // Freed, not cleared: an idle session holds no buffer.
            *pipe = Vec::new();
        }
        Ok(count > 0)
    }
}

/// Writes as much as the stream takes, and flushes once that is everything; how many octets went. What it does not take,
/// or keeps back, its waker calls again for.
fn write_some(cx: &mut Context<'_>, stream: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < octets.len() {
        let error = match Pin::new(&mut *stream).poll_write(cx, &octets[written..]) {
            Poll::Ready(Ok(0)) => io::ErrorKind::WriteZero.into(),
            Poll::Ready(Ok(count)) => {
                written += count;
                continue;
            }
            Poll::Ready(Err(error)) => error,
            Poll::Pending => return Ok(written),
        };
        // What went before it went; a broken stream will say so again.
        return if written > 0 { Ok(written) } else { Err(error) };
    }
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(error)) => Err(error),
        _ => Ok(written),
    }
}

#[cfg(test)]
mod tests;
