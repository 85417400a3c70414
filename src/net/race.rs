//! Happy eyeballs (RFC 8305): in which order the addresses of a name are tried, which connects first, and which are dead.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// How long an address has for itself before the next one is tried beside it (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long an address that did not answer is tried last.
const DEAD_FOR: Duration = Duration::from_secs(30);

/// How long an address was waited for, at least, before it is blamed for the time that is up.
const FAIR_WAIT: Duration = Duration::from_secs(1);

/// How many dead addresses are remembered. A provider has a handful; a resolver that lies must not fill the memory.
const MAX_DEAD: usize = 256;

/// The addresses that did not answer of late, and when that was.
#[derive(Debug)]
pub(super) struct DeadAddresses(Mutex<BTreeMap<SocketAddr, Instant>>);

impl DeadAddresses {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The same addresses, the dead ones last. Their order is kept otherwise.
    fn last(&self, addresses: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        let mut died = self.died();
        died.retain(|_, at| now.duration_since(*at) < DEAD_FOR);
        let (dead, mut living): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| died.contains_key(address));
        living.extend(dead);
        living
    }

    fn bury(&self, address: SocketAddr, now: Instant) {
        let mut died = self.died();
        if died.len() >= MAX_DEAD && !died.contains_key(&address) {
            let oldest = died.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address);
            oldest.map(|oldest| died.remove(&oldest));
        }
        died.insert(address, now);
    }

    fn revive(&self, address: SocketAddr) {
        self.died().remove(&address);
    }

    fn died(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same addresses, each once, the two families in turn, beginning with the resolver's first (RFC 8305 section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == begins_with_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return order;
        }
        for address in pair.into_iter().flatten() {
            if !order.contains(&address) {
                order.push(address);
            }
        }
    }
}

/// One address that is being tried.
struct Attempt<F> {
    address: SocketAddr,
    begun: Instant,
    connecting: Pin<Box<F>>,
}

/// Tries `addresses` with `connect`, the next one when the last has had [`ATTEMPT_DELAY`] or one has failed. The first to
/// connect wins, and the others are dropped.
///
/// # Errors
/// The last address's error when none connects; [`io::ErrorKind::TimedOut`] when none has by `until`.
pub(super) async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    dead: &DeadAddresses,
    until: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut waiting = dead.last(interleaved(addresses), Instant::now()).into_iter();
    let mut under_way: Vec<Attempt<F>> = Vec::new();
    let mut last_error = io::Error::other("there is no address");
    let mut next_at = Instant::now();
    loop {
        let now = Instant::now();
        if now >= until {
            for attempt in under_way
                .iter()
                .filter(|attempt| now.duration_since(attempt.begun) >= FAIR_WAIT)
            {
                dead.bury(attempt.address, now);
            }
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time"));
        }
        if now >= next_at {
            match waiting.next() {
                Some(address) => {
                    under_way.push(Attempt { address, begun: now, connecting: Box::pin(connect(address)) });
                    next_at = now + ATTEMPT_DELAY;
                }
                None if under_way.is_empty() => return Err(last_error),
                None => next_at = until,
            }
        }
        let first = poll_fn(|cx| poll_first(&mut under_way, cx));
        match timeout_at(next_at.min(until), first).await {
            Ok((address, Ok(connected))) => {
                dead.revive(address);
                return Ok(connected);
            }
            Ok((address, Err(error))) => {
                if is_the_addresss(&error) {
                    dead.bury(address, Instant::now());
                }
                last_error = error;
                next_at = Instant::now();
            }
            // The next one's turn, or the end.
            Err(_) => {}
        }
    }
}

/// The first attempt that has come to something; it is under way no longer.
fn poll_first<T, F: Future<Output = io::Result<T>>>(
    under_way: &mut Vec<Attempt<F>>,
    cx: &mut Context<'_>,
) -> Poll<(SocketAddr, io::Result<T>)> {
    for at in 0..under_way.len() {
        if let Poll::Ready(connected) = under_way[at].connecting.as_mut().poll(cx) {
            return Poll::Ready((under_way.swap_remove(at).address, connected));
        }
    }
    Poll::Pending
}

/// Whether an error says something about the address, and not about us: where no descriptor is free, every address fails.
fn is_the_addresss(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | TimedOut)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;

    /// What an address does, and after how many milliseconds. One that is not named is a black hole.
    type Network = HashMap<SocketAddr, (u64, Result<(), io::ErrorKind>)>;

    fn v4(number: u8) -> SocketAddr {
        ([192, 0, 2, number], 993).into()
    }

    fn v6(number: u16) -> SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, number], 993).into()
    }

    /// A race on a network; who won, or the error's kind, and who was tried after how many milliseconds.
    async fn run(
        addresses: &[SocketAddr],
        dead: &DeadAddresses,
        network: &Network,
    ) -> (Result<SocketAddr, io::ErrorKind>, Vec<(u64, SocketAddr)>) {
        let begun = Instant::now();
        let tried = Mutex::new(Vec::new());
        let connect = |address: SocketAddr| {
            let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap();
            tried.lock().unwrap().push((elapsed, address));
            let fate = network.get(&address).copied();
            async move {
                let Some((after, fate)) = fate else { return std::future::pending().await };
                sleep(Duration::from_millis(after)).await;
                fate.map(|()| address).map_err(io::Error::from)
            }
        };
        let until = begun + Duration::from_secs(5);
        let won = race(addresses.to_vec(), dead, until, connect).await;
        (won.map_err(|error| error.kind()), tried.into_inner().unwrap())
    }

    #[test]
    fn the_families_take_turns_and_the_resolvers_first_begins() {
        let mixed = vec![v6(1), v6(2), v6(3), v4(1), v4(2), v6(1)];
        assert_eq!(interleaved(mixed), [v6(1), v4(1), v6(2), v4(2), v6(3)]);
        assert_eq!(interleaved(vec![v4(1), v4(2), v6(1)]), [v4(1), v6(1), v4(2)]);
        assert_eq!(interleaved(vec![]), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_says_nothing_costs_its_delay_and_is_not_blamed() {
        let (dead, network) = (DeadAddresses::new(), Network::from([(v4(1), (30, Ok(())))]));
        let begun = Instant::now();
        let (won, tried) = run(&[v6(1), v6(2), v4(1)], &dead, &network).await;
        assert_eq!((won, tried), (Ok(v4(1)), vec![(0, v6(1)), (250, v4(1))]));
        assert_eq!(begun.elapsed().as_millis(), 280);
        assert!(dead.died().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_only_slow_still_wins() {
        let network = Network::from([(v4(1), (400, Ok(()))), (v4(2), (200, Ok(())))]);
        let (won, tried) = run(&[v4(1), v4(2), v4(3)], &DeadAddresses::new(), &network).await;
        assert_eq!((won, tried), (Ok(v4(1)), vec![(0, v4(1)), (250, v4(2))]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_lets_the_next_begin_at_once_and_is_tried_last_for_a_while() {
        let refused = Err(io::ErrorKind::ConnectionRefused);
        let network = Network::from([(v4(1), (10, refused)), (v4(2), (10, Ok(())))]);
        let dead = DeadAddresses::new();
        let both = [v4(1), v4(2)];
        assert_eq!(run(&both, &dead, &network).await, (Ok(v4(2)), vec![(0, v4(1)), (10, v4(2))]));
        assert_eq!(run(&both, &dead, &network).await, (Ok(v4(2)), vec![(0, v4(2))]));
        sleep(DEAD_FOR).await;
        assert_eq!(run(&both, &dead, &network).await.1[0], (0, v4(1)));
        // Alone, it is tried all the same, and living once it answers.
        let network = Network::from([(v4(1), (10, Ok(())))]);
        assert_eq!(run(&both[..1], &dead, &network).await, (Ok(v4(1)), vec![(0, v4(1))]));
        assert_eq!(run(&both, &dead, &network).await.1[0], (0, v4(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn when_nobody_answers_those_are_blamed_that_had_a_fair_chance() {
        let dead = DeadAddresses::new();
        let all: Vec<_> = (1..=30).map(v4).collect();
        let begun = Instant::now();
        let (won, tried) = run(&all, &dead, &Network::new()).await;
        assert_eq!((won, begun.elapsed().as_secs()), (Err(io::ErrorKind::TimedOut), 5));
        assert_eq!(tried.len(), 20, "one every 250 ms");
        assert_eq!(dead.died().len(), 17, "{dead:?}");
        let refused = Err(io::ErrorKind::ConnectionRefused);
        let network = Network::from([(v4(1), (1, refused)), (v4(2), (1, refused))]);
        let (won, _) = run(&all[..2], &DeadAddresses::new(), &network).await;
        assert_eq!(won, Err(io::ErrorKind::ConnectionRefused));
        assert!(run(&[], &dead, &network).await.0.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_our_own_fault_is_not_the_addresss() {
        let dead = DeadAddresses::new();
        let network = Network::from([(v4(1), (1, Err(io::ErrorKind::AddrNotAvailable)))]);
        assert_eq!(run(&[v4(1)], &dead, &network).await.0, Err(io::ErrorKind::AddrNotAvailable));
        assert!(dead.died().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_losers_are_dropped() {
        let held = Arc::new(());
        let connect = |address: SocketAddr| {
            let holds = Arc::clone(&held);
            async move {
                let _holds = holds;
                if address == v4(1) {
                    std::future::pending::<()>().await;
                }
                Ok(address)
            }
        };
        let until = Instant::now() + Duration::from_secs(5);
        let won = race(vec![v4(1), v4(2)], &DeadAddresses::new(), until, connect).await;
        assert_eq!((won.unwrap(), Arc::strong_count(&held)), (v4(2), 1));
    }

    #[test]
    fn the_dead_are_remembered_up_to_a_number() {
        let (dead, now) = (DeadAddresses::new(), Instant::now());
        for number in 0..=u16::try_from(MAX_DEAD).unwrap() {
            dead.bury(v6(number), now + Duration::from_millis(number.into()));
        }
        assert_eq!(dead.died().len(), MAX_DEAD);
        assert!(!dead.died().contains_key(&v6(0)), "the oldest goes");
    }
}
