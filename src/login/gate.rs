//! The gate before argon2: so many computations at once, the rest in turns over addresses. Knows no password.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::throttle::Origin;

/// Those who wait in one queue, over all addresses.
const WAITING: usize = 1024;

/// Those who wait in one queue from one address beyond loopback.
const WAITING_PER_ADDRESS: usize = 64;

/// Too many are waiting already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Lets so many through at once.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Mutex<State>>);

/// The right to compute, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Gate);

#[derive(Debug)]
struct State {
    free: usize,
    next_ticket: u64,
    /// Pairs that have succeeded before go first and have places of their own: a flood of strangers, were it from the
    /// same address, must not keep the regulars out.
    proven: Queue,
    strangers: Queue,
}

/// One queue an address, served in turns.
#[derive(Debug, Default)]
struct Queue {
    turns: VecDeque<Origin>,
    waiting: HashMap<Origin, VecDeque<(u64, oneshot::Sender<Permit>)>>,
    count: usize,
}

impl Queue {
    fn push(&mut self, origin: Origin, ticket: u64, admit: oneshot::Sender<Permit>) {
        let line = self.waiting.entry(origin).or_default();
        if line.is_empty() {
            self.turns.push_back(origin);
        }
        line.push_back((ticket, admit));
        self.count += 1;
    }

    fn pop(&mut self) -> Option<oneshot::Sender<Permit>> {
        let origin = self.turns.pop_front()?;
        let line = self.waiting.get_mut(&origin)?;
        let (_, admit) = line.pop_front()?;
        self.count -= 1;
        if line.is_empty() {
            self.waiting.remove(&origin);
        } else {
            self.turns.push_back(origin);
        }
        Some(admit)
    }

    fn remove(&mut self, origin: Origin, ticket: u64) {
        let Some(line) = self.waiting.get_mut(&origin) else { return };
        let before = line.len();
        line.retain(|(waiting, _)| *waiting != ticket);
        self.count -= before - line.len();
        if line.is_empty() {
            self.waiting.remove(&origin);
            self.turns.retain(|turn| *turn != origin);
        }
    }

    fn is_full_for(&self, origin: Origin) -> bool {
        let from_here = self.waiting.get(&origin).map_or(0, VecDeque::len);
        self.count >= WAITING || (!origin.is_loopback() && from_here >= WAITING_PER_ADDRESS)
    }
}

impl Gate {
    /// A gate for `width` at once, at least one.
    pub(crate) fn new(width: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: width.max(1),
            next_ticket: 0,
            proven: Queue::default(),
            strangers: Queue::default(),
        })))
    }

    /// Waits for a turn. Dropping the future gives the place in the queue up.
    ///
    /// # Errors
    /// [`Full`] where too many wait already in the queue it belongs to, from this address or at all.
    pub(crate) async fn enter(&self, origin: Origin, proven: bool) -> Result<Permit, Full> {
        let (mut place, admitted) = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Permit(self.clone()));
            }
            if state.queue(proven).is_full_for(origin) {
                return Err(Full);
            }
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            let (admit, admitted) = oneshot::channel();
            state.queue(proven).push(origin, ticket, admit);
            (Place { gate: self, origin, proven, ticket, held: true }, admitted)
        };
        let permit = admitted.await;
        place.held = false;
        // The sender lives in the queue until it is used, and only a dropped `Place` takes it out unused.
        permit.map_err(|_| Full)
    }

    /// How many wait: those who succeeded before, and strangers.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> [usize; 2] {
        let state = self.state();
        [state.proven.count, state.strangers.count]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn queue(&mut self, proven: bool) -> &mut Queue {
        if proven { &mut self.proven } else { &mut self.strangers }
    }
}

/// A place in the queue, given up when the one who waits goes away.
struct Place<'a> {
    gate: &'a Gate,
    origin: Origin,
    proven: bool,
    ticket: u64,
    held: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.held {
            self.gate.state().queue(self.proven).remove(self.origin, self.ticket);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            let next = state.proven.pop().or_else(|| state.strangers.pop());
            if next.is_none() {
                state.free += 1;
            }
            next
        };
        if let Some(admit) = next {
            // Where the one who waited has just gone, the permit comes back, is dropped, and finds the next.
            drop(admit.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Entering<'a> = Pin<Box<dyn Future<Output = Result<Permit, Full>> + 'a>>;

    fn origin(last: u8) -> Origin {
        Origin::of([192, 0, 2, last].into())
    }

    fn poll(entering: &mut Entering<'_>) -> Poll<Result<Permit, Full>> {
        entering.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Queues one future for each (address, proven) behind a held permit, then lets them in one by one.
    fn order_of(waiting: &[(u8, bool)]) -> Vec<(u8, bool)> {
        let gate = Gate::new(1);
        let mut first: Entering<'_> = Box::pin(gate.enter(origin(0), false));
        let Poll::Ready(Ok(mut permit)) = poll(&mut first) else { panic!("an open gate lets in") };
        let mut queued: Vec<((u8, bool), Entering<'_>)> = waiting
            .iter()
            .map(|(last, proven)| ((*last, *proven), Box::pin(gate.enter(origin(*last), *proven)) as Entering<'_>))
            .collect();
        for (_, entering) in &mut queued {
            assert!(poll(entering).is_pending());
        }
        let mut order = Vec::new();
        while !queued.is_empty() {
            drop(permit);
            let mut admitted = None;
            queued.retain_mut(|(who, entering)| match poll(entering) {
                Poll::Ready(Ok(one)) => {
                    assert!(admitted.is_none(), "two were let in at once");
                    order.push(*who);
                    admitted = Some(one);
                    false
                }
                Poll::Ready(Err(Full)) => panic!("the queue was not full"),
                Poll::Pending => true,
            });
            permit = admitted.expect("the next is let in");
        }
        order
    }

    #[test]
    fn addresses_take_turns() {
        let order = order_of(&[(1, false), (1, false), (1, false), (2, false), (3, false)]);
        assert_eq!(order, [(1, false), (2, false), (3, false), (1, false), (1, false)]);
    }

    #[test]
    fn those_who_succeeded_before_go_first() {
        let order = order_of(&[(1, false), (1, false), (2, true), (3, true)]);
        assert_eq!(order, [(2, true), (3, true), (1, false), (1, false)]);
    }

    #[test]
    fn one_address_cannot_fill_the_queue() {
        let gate = Gate::new(1);
        let mut first: Entering<'_> = Box::pin(gate.enter(origin(0), false));
        let _permit = poll(&mut first);
        let mut waiting: Vec<Entering<'_>> = (0..WAITING_PER_ADDRESS)
            .map(|_| Box::pin(gate.enter(origin(1), false)) as Entering<'_>)
            .collect();
        assert!(waiting.iter_mut().all(|entering| poll(entering).is_pending()));
        let mut one_more: Entering<'_> = Box::pin(gate.enter(origin(1), false));
        assert!(matches!(poll(&mut one_more), Poll::Ready(Err(Full))));
        let mut neighbour: Entering<'_> = Box::pin(gate.enter(origin(2), false));
        assert!(poll(&mut neighbour).is_pending());

        waiting.pop();
        let mut after_one_left: Entering<'_> = Box::pin(gate.enter(origin(1), false));
        assert!(poll(&mut after_one_left).is_pending());
    }

    #[test]
    fn the_queue_has_an_end_even_on_loopback() {
        let gate = Gate::new(1);
        let here = Origin::of([127, 0, 0, 1].into());
        let mut first: Entering<'_> = Box::pin(gate.enter(here, false));
        let _permit = poll(&mut first);
        let mut waiting: Vec<Entering<'_>> = (0..WAITING)
            .map(|_| Box::pin(gate.enter(here, false)) as Entering<'_>)
            .collect();
        assert!(waiting.iter_mut().all(|entering| poll(entering).is_pending()));
        let mut one_more: Entering<'_> = Box::pin(gate.enter(here, false));
        assert!(matches!(poll(&mut one_more), Poll::Ready(Err(Full))));
    }

    #[test]
    fn strangers_take_no_place_of_those_who_succeeded_before() {
        for (from, places) in [([127, 0, 0, 1], WAITING), ([192, 0, 2, 1], WAITING_PER_ADDRESS)] {
            let from = Origin::of(from.into());
            let gate = Gate::new(1);
            let mut first: Entering<'_> = Box::pin(gate.enter(origin(9), false));
            let _permit = poll(&mut first);
            let mut waiting = Vec::new();
            for proven in [false, true] {
                for place in 0..places {
                    let mut entering: Entering<'_> = Box::pin(gate.enter(from, proven));
                    assert!(poll(&mut entering).is_pending(), "{place}, {proven}");
                    waiting.push(entering);
                }
                let mut one_more: Entering<'_> = Box::pin(gate.enter(from, proven));
                assert!(matches!(poll(&mut one_more), Poll::Ready(Err(Full))), "{proven}");
            }
        }
    }

    #[test]
    fn a_permit_sent_to_one_who_left_goes_on_to_the_next() {
        let gate = Gate::new(1);
        let mut first: Entering<'_> = Box::pin(gate.enter(origin(0), false));
        let permit = poll(&mut first);
        let mut leaving: Entering<'_> = Box::pin(gate.enter(origin(1), false));
        let mut staying: Entering<'_> = Box::pin(gate.enter(origin(2), false));
        assert!(poll(&mut leaving).is_pending() && poll(&mut staying).is_pending());
        drop(permit);
        drop(leaving);
        assert!(matches!(poll(&mut staying), Poll::Ready(Ok(_))));
        assert_eq!(gate.state().free, 1, "the permit was given back");
    }
}
