//! A network in memory: whole sessions without sockets, for the fuzzer and for what it has found.

use std::cell::RefCell;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task_local;

use super::stream::Stream;

/// One end of a connection.
pub trait Connection: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Connection for T {}

/// What comes of dialing an upstream, each time.
pub type Network = Box<dyn FnMut() -> io::Result<Box<dyn Connection>> + Send>;

task_local! {
    static NETWORK: RefCell<Network>;
}

/// Does `work` with this network in the place of the real one.
pub(crate) async fn within<T>(network: Network, work: impl Future<Output = T>) -> T {
    NETWORK.scope(RefCell::new(network), work).await
}

/// What dialing gives here; `None` where the network is the real one.
pub(super) fn dialed() -> Option<io::Result<Stream>> {
    let dialed = NETWORK.try_with(|network| network.borrow_mut()());
    Some(dialed.ok()?.map(Stream::Memory))
}
