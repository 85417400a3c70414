//! The composition root: a configuration in; listeners, logins, tokens and sessions out; and their orderly end.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::net::TcpListener;

use crate::config::{Account, Config, Listener, Protocol};
use crate::drain::Drain;
use crate::login::verify::{NoRandomness, Verifier};
use crate::net::http::{HttpClient, HttpTimeouts};
use crate::net::listener;
use crate::oauth::credentials::TokenError;
use crate::oauth::grant::{HttpFetch, WallClock};
use crate::oauth::service::TokenService;
use crate::session::limits::SessionLimits;
use crate::session::{Nuisances, Shared, Upstreams, admit, probe};
use crate::store::memory::MemoryStore;
use crate::system;

/// A running gateway. Dropping it stops it at once; [`Gateway::drain`] lets its sessions finish.
pub struct Gateway {
    shared: Arc<Shared>,
    bound: Vec<Bound>,
    accepting: Drain,
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
}

fn bind_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "Something else is running there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need a right of their own: choose another port",
        io::ErrorKind::AddrNotAvailable => "The address is not one of this machine's",
        _ => "Check the address and the port",
    }
}

impl Gateway {
    /// Binds every listener and begins to serve. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When a socket cannot be bound or TLS cannot be verified; nothing is left running then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let shared = assemble(config)?;
        let config = Arc::clone(&shared.config);
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            for address in &listener.bind {
                sockets.push((Arc::clone(listener), bind(listener, *address)?));
            }
        }
        let accepting = Drain::default();
        let mut bound = Vec::new();
        for (listener, (socket, address)) in sockets {
            tracing::info!(listener = listener.name, protocol = %listener.protocol, %address, "listening");
            bound.push(Bound { listener: Arc::clone(&listener), address });
            accepting.spawn(accept_until(accepting.clone(), Arc::clone(&shared), listener, socket));
        }
        Ok(Self { shared, bound, accepting })
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.limits.taken()
    }

    /// How many argon2 computations there have been.
    #[must_use]
    pub fn password_computations(&self) -> u64 {
        self.shared.verifier.computations()
    }

    /// Stops accepting, lets sessions finish within the configured time, and stops the rest. Says how many those were.
    pub async fn drain(self) -> usize {
        let patience = self.shared.config.drain_timeout;
        let running = self.shared.drain.running();
        tracing::info!(sessions = running, ?patience, "shutting down: no new connections; sessions may finish");
        self.accepting.run(Duration::ZERO).await;
        let stopped = self.shared.drain.run(patience).await;
        if stopped > 0 {
            tracing::warn!(sessions = stopped, "stopped sessions that had not finished in time");
        }
        stopped
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.stop();
        self.shared.drain.stop();
    }
}

/// The gateway's upstream half without its listeners: what `mailferry check` asks.
pub struct Checker {
    shared: Arc<Shared>,
}

impl Checker {
    /// Prepares everything that a login needs, and dials nobody.
    ///
    /// # Errors
    /// When TLS cannot be verified.
    pub fn new(config: Config) -> Result<Self, StartError> {
        Ok(Self { shared: assemble(config)? })
    }

    /// Gets a token for `account`, as a login would.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn token(&self, account: &Arc<Account>) -> Result<(), TokenError> {
        self.shared
            .credentials
            .credential(account, Protocol::Smtp, None)
            .await
            .map(drop)
    }

    /// Logs `account` in upstream over `protocol` and asks one thing; what the upstream answered, fit to be shown.
    ///
    /// # Errors
    /// With what went wrong and what to do about it.
    pub async fn probe(&self, account: &Arc<Account>, protocol: Protocol) -> Result<String, String> {
        probe(&self.shared, account, protocol).await.map_err(|failure| failure.detail)
    }
}

/// Puts together what all sessions share.
fn assemble(config: Config) -> Result<Arc<Shared>, StartError> {
    let config = Arc::new(config);
    let upstreams = Upstreams::new(&config)?;
    let tokens = token_service(&config, &upstreams)?;
    let sessions = affordable_sessions(config.limits.sessions);
    let shared = Arc::new(Shared {
        verifier: Verifier::new(&config)?,
        credentials: Arc::new(tokens),
        upstreams,
        limits: Arc::new(SessionLimits::new(sessions, config.limits.sessions_per_address)),
        nuisances: Nuisances::default(),
        drain: Drain::default(),
        config,
    });
    Ok(shared)
}

/// The token service, with an HTTP client for each provider that trusts what its mail servers' clients trust.
fn token_service(config: &Config, upstreams: &Upstreams) -> Result<TokenService, StartError> {
    let budget = config.budgets.token;
    // A login waits for its budget only; a slow answer still serves the next one.
    let timeouts = HttpTimeouts { connect: budget, total: 3 * budget };
    let mut clients = HashMap::new();
    for (provider, tls) in upstreams.iter() {
        clients.insert(provider.to_owned(), HttpClient::new(tls, timeouts)?);
    }
    let wall: WallClock = Arc::new(SystemTime::now);
    let fetch = HttpFetch::new(clients, Arc::clone(&wall), Arc::new(MemoryStore::default()));
    Ok(TokenService::new(Arc::new(fetch), budget, wall))
}

fn bind(listener: &Listener, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    listener::bind(address)
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

/// As many sessions as configured, or as the descriptor limit allows.
fn affordable_sessions(configured: usize) -> usize {
    match system::raise_descriptor_limit() {
        Some(affordable) if affordable < configured => {
            tracing::warn!(
                configured,
                affordable,
                "the descriptor limit allows fewer sessions than [limits] sessions; raise it (systemd: LimitNOFILE=)"
            );
            affordable
        }
        _ => configured,
    }
}
