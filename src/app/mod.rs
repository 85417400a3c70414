//! The composition root: a configuration in; listeners, logins, tokens and sessions out; and their orderly end.

pub mod certificate;
mod desk;
pub mod office;
mod own_addresses;
mod parts;
mod registry;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::Instant;

use self::certificate::{NoCertificate, open_doors};
use self::desk::FrontDesk;
pub use self::parts::sign_in;
use self::parts::{Parts, open_store};
use crate::config::{Config, Listener};
use crate::control::{self, ControlError};
use crate::drain::Drain;
use crate::login::verify::NoRandomness;
use crate::net::listener::{self, Inherited};
use crate::oauth::credentials::TokenError;
use crate::session::{Shared, admit};
use crate::store::{StoreError, make_folder};

/// A running gateway. Dropping it stops it at once; [`Gateway::drain`] lets its sessions finish.
pub struct Gateway {
    parts: Parts,
    bound: Vec<Bound>,
    accepting: Drain,
    control: Option<control::Server>,
}

/// A listening socket.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The listener it belongs to.
    pub listener: Arc<Listener>,
    /// Where it really listens: the port is known even where the configuration says 0.
    pub address: SocketAddr,
}

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listening socket could not be had.
    #[error("cannot listen on {address} (listener {listener}): {error}. {}", bind_hint(.error))]
    Bind {
        /// The listener's name.
        listener: String,
        /// Where it should have listened.
        address: SocketAddr,
        /// What the operating system said.
        error: io::Error,
    },
    /// What was opened for us is no listening socket.
    #[error(
        "the sockets that this process was started with (LISTEN_FDS) cannot be used: {0}. Open them with ListenStream= and Accept=no"
    )]
    Inherited(io::Error),
    /// What was opened for us belongs to no listener.
    #[error(
        "this process was started with a socket that listens on {0} (LISTEN_FDS), and no listener has that address: bind a \
         [[listener]] to it, or take it out of the socket unit"
    )]
    Unclaimed(SocketAddr),
    /// There is nothing to verify upstreams with.
    #[error(
        "no root certificates to verify upstreams with: {0}. Install the system's CA certificates (Debian: ca-certificates)"
    )]
    Tls(#[from] rustls::Error),
    /// The operating system gives no random numbers.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The HTTP client for token endpoints could not be built.
    #[error("cannot prepare requests to token endpoints: {0}")]
    Http(#[from] crate::net::http::HttpError),
    /// The store cannot be opened or read.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// A listener has no certificate to show.
    #[error("a listener cannot speak TLS")]
    Certificate(#[from] NoCertificate),
    /// Commands could not reach the gateway.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Nobody can sign in for the account.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// How long a gateway or a command waits for another that is about to leave the state folder, or to be reached there.
const OTHERS: Duration = Duration::from_secs(5);

/// The pause before the state folder is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// Takes the control socket; a command that is at work there is waited for.
async fn claim(state_dir: &Path) -> Result<control::Claim, StartError> {
    make_folder(state_dir)?;
    let until = Instant::now() + OTHERS;
    loop {
        match control::claim(state_dir) {
            Err(ControlError::Busy(_)) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
            outcome => return Ok(outcome?),
        }
    }
}

fn bind_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "Something else is running there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => {
            "A port below 1024 needs a right of its own: give it with systemd (AmbientCapabilities=CAP_NET_BIND_SERVICE, or \
             a socket unit), with `setcap cap_net_bind_service=+ep` on the program, or to everybody with `sysctl \
             net.ipv4.ip_unprivileged_port_start=25`; or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "The address is not one of this machine's",
        _ => "Check the address and the port",
    }
}

impl Gateway {
    /// Opens the store, binds every listener and begins to serve.
    ///
    /// # Errors
    /// When another gateway runs with the same state, the store cannot be opened, a socket cannot be bound or TLS cannot be
    /// verified; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut inherited = Inherited::of_process().map_err(StartError::Inherited)?;
        let config = Arc::new(config);
        // First of all: two gateways with one state would be in each other's way everywhere.
        let claim = claim(&config.state_dir).await?;
        let store = open_store(&config).await?;
        let doors = open_doors(&config)?;
        own_addresses::warn(&config);
        let parts = Parts::assemble(Arc::clone(&config), store, doors).await?;
        // Stops what the parts have begun, should a socket not be had.
        let mut gateway = Self { parts, bound: Vec::new(), accepting: Drain::default(), control: None };
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            for address in &listener.bind {
                sockets.push((Arc::clone(listener), bind(listener, *address, &mut inherited)?));
            }
        }
        if let Some(address) = inherited.left() {
            return Err(StartError::Unclaimed(address));
        }
        let Self { parts, bound, accepting, control } = &mut gateway;
        parts.begin_upkeep();
        *control = Some(claim.serve(Arc::new(FrontDesk::new(parts.clone())))?);
        for (listener, (socket, address)) in sockets {
            tracing::info!(listener = listener.name, protocol = %listener.protocol, %address, "listening");
            bound.push(Bound { listener: Arc::clone(&listener), address });
            accepting.spawn(accept_until(accepting.clone(), Arc::clone(&parts.shared), listener, socket));
        }
        Ok(gateway)
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.parts.shared.limits.taken()
    }

    /// How many argon2 computations there have been.
    #[must_use]
    pub fn password_computations(&self) -> u64 {
        self.parts.shared.verifier.computations()
    }

    /// Stops accepting, lets sessions finish within the configured time, and stops the rest. Says how many those were.
    /// Commands are answered until all is over.
    pub async fn drain(mut self) -> usize {
        let shared = &self.parts.shared;
        let patience = shared.config.drain_timeout;
        let running = shared.drain.running();
        tracing::info!(sessions = running, ?patience, "shutting down: no new connections; sessions may finish");
        self.accepting.run(Duration::ZERO).await;
        let stopped = shared.drain.run(patience).await;
        if stopped > 0 {
            tracing::warn!(sessions = stopped, "stopped sessions that had not finished in time");
        }
        self.parts.close().await;
        if let Some(control) = self.control.take() {
            control.close().await;
        }
        stopped
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.stop();
        self.parts.stop();
    }
}

/// A socket that listens there: one that was opened for us, or one of our own.
fn bind(
    listener: &Listener,
    address: SocketAddr,
    inherited: &mut Inherited,
) -> Result<(TcpListener, SocketAddr), StartError> {
    inherited
        .take(address)
        .and_then(|socket| socket.map_or_else(|| listener::bind(address), Ok))
        .and_then(|socket| socket.local_addr().map(|address| (socket, address)))
        .map_err(|error| StartError::Bind { listener: listener.name.clone(), address, error })
}

async fn accept_until(accepting: Drain, shared: Arc<Shared>, listener: Arc<Listener>, socket: TcpListener) {
    loop {
        tokio::select! {
            biased;
            () = accepting.began() => return,
            (stream, peer) = listener::accept(&socket) => admit(&shared, &listener, stream, peer),
        }
    }
}
