//! Looking up a server's addresses: each name once at a time, however many wait for it, and only so many names at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::lookup_host;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::dial::kind_of;

/// A host and a port.
type Name = (String, u16);

/// What a look-up came to, once it has ended.
type Found = Option<Result<Vec<SocketAddr>, Arc<io::Error>>>;

/// The look-ups under way.
#[derive(Debug)]
pub(super) struct LookUps {
    places: Semaphore,
    under_way: Mutex<BTreeMap<Name, watch::Receiver<Found>>>,
}

impl LookUps {
    /// At most `most` names at once.
    pub(super) const fn new(most: usize) -> Self {
        Self { places: Semaphore::const_new(most), under_way: Mutex::new(BTreeMap::new()) }
    }

    /// The addresses of `host`, with `port`, in the resolver's order.
    ///
    /// # Errors
    /// The resolver's.
    pub(super) async fn addresses(&'static self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let resolve =
            |(host, port): Name| async move { lookup_host((host.as_str(), port)).await.map(Iterator::collect) };
        self.look_up((host.to_owned(), port), resolve).await
    }

    /// Joins the look-up of this very name, or begins it. The resolver blocks a thread and cannot be called off, so the
    /// look-up goes on in a task of its own when nobody waits for it any more, and holds its place until it ends.
    async fn look_up<F>(&'static self, name: Name, resolve: impl FnOnce(Name) -> F) -> io::Result<Vec<SocketAddr>>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let joined = self.under_way().get(&name).cloned();
        let mut found = match joined {
            Some(found) => found,
            None => {
                // Waited for here and not in the task: who gives up leaves no look-up behind.
                let place = self.places.acquire().await.map_err(io::Error::other)?;
                self.begin(name, place, resolve)
            }
        };
        let ended = found.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        match &*ended {
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err(error)) => Err(io::Error::new(kind_of(error), Arc::clone(error))),
            None => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    fn begin<F>(
        &'static self,
        name: Name,
        place: SemaphorePermit<'static>,
        resolve: impl FnOnce(Name) -> F,
    ) -> watch::Receiver<Found>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let (sender, found) = watch::channel(None);
        let mut under_way = self.under_way();
        if let Some(begun) = under_way.get(&name) {
            // By another who waited for a place.
            return begun.clone();
        }
        under_way.insert(name.clone(), found.clone());
        // Before anything that may drop what is listed.
        drop(under_way);
        let listed = Listed { look_ups: self, name: name.clone() };
        let resolving = resolve(name);
        tokio::spawn(async move {
            let _place = place;
            let result = resolving.await.map_err(Arc::new);
            // Whoever comes from now on has it looked up anew.
            drop(listed);
            sender.send_replace(Some(result));
        });
        found
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<Name, watch::Receiver<Found>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look-up on the list. Whatever ends it, it takes itself off.
struct Listed {
    look_ups: &'static LookUps,
    name: Name,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.look_ups.under_way().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    /// A resolver that is slow until it is let go.
    struct Slow {
        look_ups: LookUps,
        asked: Mutex<Vec<String>>,
        gate: Semaphore,
    }

    impl Slow {
        const fn new(most: usize) -> Self {
            Self { look_ups: LookUps::new(most), asked: Mutex::new(Vec::new()), gate: Semaphore::const_new(0) }
        }

        /// Asks for `host` as a login would; `.test` is not slow, and nobody knows `.invalid`.
        async fn ask(&'static self, host: &str) -> JoinHandle<io::Result<Vec<SocketAddr>>> {
            let name = (host.to_owned(), 993);
            let asking = tokio::spawn(self.look_ups.look_up(name, move |(host, port)| async move {
                self.asked.lock().unwrap().push(host.clone());
                if !host.ends_with(".test") {
                    let _ = self.gate.acquire().await.unwrap();
                }
                let unknown = || io::Error::new(io::ErrorKind::NotFound, "nobody knows it");
                (!host.ends_with(".invalid"))
                    .then(|| vec![([192, 0, 2, 1], port).into()])
                    .ok_or_else(unknown)
            }));
            for _ in 0..5 {
                yield_now().await;
            }
            asking
        }

        fn asked(&self) -> Vec<String> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    #[tokio::test]
    async fn a_slow_name_is_looked_up_once_and_keeps_no_other_waiting() {
        static SLOW: Slow = Slow::new(2);
        let mut waiting = Vec::new();
        for _ in 0..10 {
            waiting.push(SLOW.ask("slow.example").await);
        }
        assert_eq!(SLOW.asked(), ["slow.example"]);
        let address = vec![([192, 0, 2, 1], 993).into()];
        assert_eq!(SLOW.ask("quick.test").await.await.unwrap().unwrap(), address);
        SLOW.gate.add_permits(10);
        for asking in waiting {
            assert_eq!(asking.await.unwrap().unwrap(), address);
        }
        SLOW.asked();
        SLOW.ask("slow.example").await.await.unwrap().unwrap();
        assert_eq!(SLOW.asked(), ["slow.example"], "what was found is not kept");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_no_look_up_behind() {
        static SLOW: Slow = Slow::new(1);
        let first = SLOW.ask("slow.example").await;
        for host in ["a.example", "b.example", "a.example"] {
            SLOW.ask(host).await.abort();
        }
        let later = SLOW.ask("c.example").await;
        assert_eq!(SLOW.asked(), ["slow.example"]);
        // One under way holds its place, whoever still waits for it.
        first.abort();
        yield_now().await;
        assert_eq!(SLOW.look_ups.places.available_permits(), 0);
        SLOW.gate.add_permits(10);
        later.await.unwrap().unwrap();
        assert_eq!(SLOW.asked(), ["c.example"]);
    }

    #[tokio::test]
    async fn those_who_waited_for_a_place_share_the_look_up_too() {
        static SLOW: Slow = Slow::new(2);
        let first = [SLOW.ask("slow.example").await, SLOW.ask("slower.example").await];
        let waiting = [SLOW.ask("a.invalid").await, SLOW.ask("a.invalid").await];
        assert_eq!(SLOW.asked(), ["slow.example", "slower.example"]);
        SLOW.gate.add_permits(10);
        for asking in first {
            asking.await.unwrap().unwrap();
        }
        for asking in waiting {
            let error = asking.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::NotFound, "nobody knows it".into()));
        }
        assert_eq!(SLOW.asked(), ["a.invalid"]);
        assert!(SLOW.look_ups.under_way().is_empty());
    }
}
