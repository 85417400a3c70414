//! Accepts connections for one server, can refuse them for a while, and ends them all when it is dropped.

use std::future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::control::Control;
use super::wire::{Flow, Wire};
use super::{Protocol, http, imap, pop3, smtp};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A port of 127.0.0.1 that is ours.
pub(super) struct Listening {
    address: SocketAddr,
    listener: TcpListener,
}

/// An order to listen or not, and where to say that it is done.
type Order = (bool, oneshot::Sender<()>);

/// Where a listener's orders come from.
pub(super) type Orders = mpsc::Receiver<Order>;

/// Where a listener's orders go to.
#[derive(Debug)]
pub(super) struct Door(mpsc::Sender<Order>);

impl Door {
    /// Opens or closes, and returns when it is done.
    pub(super) async fn set(&self, open: bool) {
        let (done, is_done) = oneshot::channel();
        // Both fail only when the simulator has been shut down, and then no door is open.
        if self.0.send((open, done)).await.is_ok() {
            let _ = is_done.await;
        }
    }
}

/// A door and the orders that come through it.
pub(super) fn door() -> (Door, Orders) {
    let (sender, receiver) = mpsc::channel(1);
    (Door(sender), receiver)
}

impl Listening {
    /// Takes a free port.
    pub(super) fn bind() -> io::Result<Self> {
        let listener = reserve((Ipv4Addr::LOCALHOST, 0).into())?.listen(BACKLOG)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub(super) async fn serve(self, protocol: Protocol, control: Control, mut orders: Orders) {
        let mut connections = JoinSet::new();
        let mut listener = Some(self.listener);
        // While nobody listens, the port stays ours, and whoever connects is refused.
        let mut reserved = None;
        loop {
            tokio::select! {
                accepted = accept(listener.as_ref()) => {
                    // An accept that fails (the peer has left, no descriptor is free) concerns that peer only.
                    if let Ok(socket) = accepted {
                        connections.spawn(converse(socket, protocol, control.clone()));
                    }
                }
                Some(_) = connections.join_next() => {}
                Some((open, done)) = orders.recv() => {
                    if open {
                        let socket: Option<TcpSocket> = reserved.take();
                        listener = listener.or_else(|| socket.and_then(|socket| socket.listen(BACKLOG).ok()));
                    } else if listener.take().is_some() {
                        reserved = reserve(self.address).ok();
                    }
                    let _ = done.send(());
                }
            }
        }
    }
}

/// A bound socket that does not listen.
fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // On Windows the option means something else, and is not needed.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(socket, _)| socket),
        None => future::pending().await,
    }
}

/// One connection from accept to close.
async fn converse(socket: TcpStream, protocol: Protocol, control: Control) {
    let mut wire = Wire::new(socket, protocol, control.shared().clone());
    // How a dialogue ended is in the record; there is nobody to tell.
    let _ended: Flow<()> = match protocol {
        Protocol::Smtp => smtp::serve(&mut wire).await,
        Protocol::Imap => imap::serve(&mut wire).await,
        Protocol::Pop3 => pop3::serve(&mut wire).await,
        Protocol::Http => http::serve(&mut wire).await,
    };
    wire.finish().await;
}
