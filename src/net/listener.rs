//! Listening sockets: bind or inherit, accept, and survive the moments when the kernel has nothing left to give.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long to wait after `accept` failed for want of descriptors or memory: without a pause the loop would spin, since
/// the connection that could not be accepted is still there.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds a listening socket. An IPv6 address takes IPv6 only, so that every bound address is one the configuration names.
///
/// # Errors
/// As the operating system says.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Without this a restart waits for the old connections' TIME_WAIT. On Windows it would mean something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The listening sockets that whoever started this process has opened for it (systemd's socket activation: `LISTEN_FDS`
/// and `LISTEN_PID`, sd_listen_fds(3)).
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<(SocketAddr, std::net::TcpListener)>);

impl Inherited {
    /// Takes them out of the environment, so that no program we start believes them to be its own.
    ///
    /// # Errors
    /// When one of them is no listening TCP socket.
    pub(crate) fn of_process() -> io::Result<Self> {
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..descriptors.len() {
            if let Some(socket) = descriptors.take_tcp_listener(index)? {
                // One that listens already goes on doing so; a connection (Accept=yes) cannot.
                SockRef::from(&socket).listen(BACKLOG)?;
                sockets.push((socket.local_addr()?, socket));
            }
        }
        Ok(Self(sockets))
    }

    /// The socket that listens at `address`, if there is one.
    ///
    /// # Errors
    /// As the operating system says.
    pub(crate) fn take(&mut self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        let Some(at) = self.0.iter().position(|(listens, _)| *listens == address) else { return Ok(None) };
        let (_, socket) = self.0.swap_remove(at);
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Some)
    }

    /// Where the first of those listens that nobody has taken.
    pub(crate) fn left(&self) -> Option<SocketAddr> {
        self.0.first().map(|(address, _)| *address)
    }
}

/// The next connection, with its small packets sent at once. Never fails: what goes wrong with one connection is its
/// own misfortune, and a lack of descriptors passes.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A peer that is gone already is found out by the first read.
                let _ = stream.set_nodelay(true);
                super::dial::set_keepalive(&stream);
                return (stream, peer);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again in {ACCEPT_PAUSE:?}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the connection died before it was accepted, which says nothing about the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
