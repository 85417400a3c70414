//! One session, from accept to close: the story, step by step. The protocols' own ways are in `protocol`.
//!
//! Greeting and capabilities are ours. The machine hands over the credentials; the password is verified before a token
//! or the upstream is touched; the upstream is logged in before the client is answered; then everything that belonged to
//! the login is dropped, and both connections go to the relay or, for SMTP, to the transaction.

mod alarm;
mod announced;
mod breaker;
mod chance;
mod clearance;
mod crowd;
pub(crate) mod drive;
mod echo;
mod entrance;
pub(crate) mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handshake;
pub mod limits;
mod mail;
mod nuisance;
mod panic;
mod permits;
mod probe;
mod protocol;
mod rates;
mod record;
mod refusals;
mod relay;
mod sender;
mod submit;
mod tally;
mod upstream;
mod warrant;
pub(crate) mod watch;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::TcpStream;
use tokio::sync::watch::Receiver;
use tokio::time::{sleep, timeout};

use self::announced::{tell_of_forbidden, tell_of_surplus};
pub(crate) use self::clearance::Clearance;
use self::drive::{Lost, Outcome, Patience, Side};
use self::entrance::enter;
use self::failure::{Failure, FailureKind, Goodbye};
use self::handshake::{start_tls, tell_of_hello};
use self::limits::{Place, SessionLimits};
pub(crate) use self::nuisance::Nuisances;
use self::panic::caught;
pub(crate) use self::probe::probe;
use self::protocol::{Asked, Imap, Pop3, Smtp, Speaks};
use self::record::{Ending, Record};
pub(crate) use self::submit::submit;
use self::upstream::Upstream;
pub(crate) use self::upstream::{Upstreams, unguessable_tag};
use self::warrant::Warrant;
use self::watch::Watched;
use self::watch::advice::Clue;
pub(crate) use self::watch::{Told, Watch, Watchers, tls_name};
use crate::config::{Account, Config, Listener, Protocol, holds};
use crate::drain::Drain;
use crate::login::Visit;
use crate::login::by_address::login_for;
use crate::login::directory::Directory;
use crate::login::uses::Uses;
use crate::login::verify::{Denied, Verified, Verifier};
use crate::net::stream::say_last;
use crate::net::tls::Doors;
use crate::oauth::credentials::Credentials;
use crate::proto::{Access, CloseReason, LoginAnswer, Machine};

/// How many logins one connection may fail.
const LOGIN_TRIES: u32 = 3;

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    /// Which accounts and logins there are now.
    pub(crate) directory: Receiver<Arc<Directory>>,
    pub(crate) uses: Arc<Uses>,
    pub(crate) verifier: Verifier,
    pub(crate) credentials: Arc<dyn Credentials>,
    pub(crate) upstreams: Upstreams,
    pub(crate) limits: Arc<SessionLimits>,
    pub(crate) nuisances: Nuisances,
    /// What logins have sent, and what became of it.
    pub(crate) clearance: Clearance,
    /// Who watches what devices try.
    pub(crate) watchers: Watchers,
    /// How listeners that speak TLS do.
    pub(crate) doors: Doors,
    pub(crate) drain: Drain,
}

/// Where one session comes from.
struct Arrival<'a> {
    shared: &'a Shared,
    listener: &'a Listener,
    visit: Visit,
    /// Whether anybody may log in here: a proxy that speaks for itself is greeted, and no more.
    may_log_in: bool,
}

impl Arrival<'_> {
    /// What may be done before a login on the channel there is, and on the one that STARTTLS would make. A proxy that speaks
    /// for itself has nothing to hide.
    fn access(&self) -> (Access, Option<Access>) {
        let Self { shared, listener, visit, may_log_in } = self;
        if !may_log_in {
            return (Access::NONE, None);
        }
        let clear = holds(&listener.plaintext_login, visit.peer);
        let offered = !visit.encrypted && shared.doors.of(listener).is_some();
        let access = |encrypted| Access { password: encrypted || clear, by_address: self.opens(encrypted) };
        (access(visit.encrypted), offered.then(|| access(true)))
    }

    /// Whether the address opens a login on such a channel. It is asked again when it is used.
    fn opens(&self, encrypted: bool) -> bool {
        let visit = Visit { encrypted, ..self.visit };
        visit.protocol == Protocol::Smtp
            && login_for(&self.shared.directory.borrow(), &visit, SystemTime::now()).is_some()
    }
}

/// Admits or turns away a connection that has just been accepted. Where the peer is a proxy, whom it speaks for is judged
/// once that is known, and not the proxy.
pub(crate) fn admit(shared: &Arc<Shared>, listener: &Arc<Listener>, stream: TcpStream, peer: SocketAddr) {
    let address = peer.ip().to_canonical();
    let is_proxy = holds(&listener.proxy_protocol, address);
    if !is_proxy && !holds(&listener.allow, address) {
        tell_of_forbidden(shared, listener, address);
        shared.watchers.turned_away(listener, address, &Clue::NotAllowed);
        return;
    }
    let place = if is_proxy { shared.limits.take_for_proxy() } else { shared.limits.take(address) };
    let Some(place) = place else {
        tell_of_surplus(shared, listener, address);
        shared.watchers.turned_away(listener, address, &Clue::TooManySessions);
        // Tried once: whoever floods the gateway is not waited for.
        say_last(&stream, &Goodbye::SessionLimit.line(listener.protocol));
        return;
    };
    let task = serve(Arc::clone(shared), Arc::clone(listener), stream, address, place);
    shared.drain.spawn(task);
}

/// One session. Whatever happens in it ends here.
async fn serve(shared: Arc<Shared>, listener: Arc<Listener>, stream: TcpStream, peer: IpAddr, mut place: Place) {
    let mut record = Record::new(place.number(), peer);
    let watched = Watched { listener: &listener, directory: &shared.directory, session: record.session(), peer };
    record.tap = shared.watchers.tap(&watched);
    let session = async {
        match listener.protocol {
            Protocol::Smtp => run::<Smtp>(&shared, &listener, stream, &mut place, &mut record).await,
            Protocol::Imap => run::<Imap>(&shared, &listener, stream, &mut place, &mut record).await,
            Protocol::Pop3 => run::<Pop3>(&shared, &listener, stream, &mut place, &mut record).await,
        }
    };
    let ending = caught(Box::pin(session)).await.unwrap_or(Ending::Internal("a panic"));
    record.write(&listener, &ending);
}

async fn run<P: Speaks>(
    shared: &Shared,
    listener: &Listener,
    stream: TcpStream,
    place: &mut Place,
    record: &mut Record,
) -> Ending {
    // All boxed: a stranger does not pay for what comes after the login, and a session that has logged in, and may live
    // for days, not for what came before.
    let (downstream, arrival, patience) = match Box::pin(enter(shared, listener, stream, place, record)).await {
        Ok(entered) => entered,
        Err(ending) => return ending,
    };
    match Box::pin(log_in::<P>(arrival, downstream, patience, record)).await {
        Ok((downstream, upstream, warrant)) => Box::pin(P::carry(shared, downstream, upstream, warrant, record)).await,
        Err(ending) => ending,
    }
}

/// From the greeting to the accepted login: the client's side of it.
async fn log_in<P: Speaks>(
    mut arrival: Arrival<'_>,
    mut downstream: Side,
    mut patience: Patience,
    record: &mut Record,
) -> Result<(Side, Upstream<P>, Warrant), Ending> {
    let (shared, listener) = (arrival.shared, arrival.listener);
    let (access, after_starttls) = arrival.access();
    downstream.watched_by(&record.tap);
    let mut machine = P::downstream(shared, access, after_starttls);
    let mut failures = 0;
    let mut opened = None;
    loop {
        let outcome = tokio::select! {
            biased;
            outcome = downstream.drive(&mut machine, &patience) => outcome,
            () = shared.drain.began() => {
                downstream.close(&Goodbye::Draining.line(P::PROTOCOL)).await;
                return Err(Ending::Drained);
            }
        };
        match outcome {
            Ok(Outcome::Event(event)) => {
                let asked = event.into();
                match patience.suspended(attempt::<P>(&arrival, &asked, record)).await {
                    Ok((upstream, warrant)) => {
                        machine.answer(LoginAnswer::Accepted(P::welcome(&upstream.learnt)), &mut downstream.out);
                        shared
                            .uses
                            .note(&upstream.account, warrant.login(), SystemTime::now(), arrival.visit.peer);
                        opened = Some((upstream, warrant));
                    }
                    Err(failure) => {
                        failures += 1;
                        record.failed(&shared.nuisances, listener, &asked, &failure);
                        let refused =
                            LoginAnswer::Refused { reply: P::refusal(&failure), last: failures == LOGIN_TRIES };
                        machine.answer(refused, &mut downstream.out);
                    }
                }
            }
            Ok(Outcome::Relay) => {
                // The machines relay only after they were told "accepted"; anything else would be a fault of ours.
                let (upstream, warrant) = opened.ok_or(Ending::Internal("a relay without a login"))?;
                return Ok((downstream, upstream, warrant));
            }
            Ok(Outcome::StartTls) => {
                downstream = Box::pin(start_tls(&mut arrival, downstream, &patience, record)).await?;
                downstream.watched_by(&record.tap);
            }
            Ok(Outcome::Close(reason)) => {
                if reason == CloseReason::TlsHello {
                    tell_of_hello(&arrival, record);
                }
                downstream.close(b"").await;
                return Err(Ending::Closed(reason));
            }
            Err(Lost::TooSlow) => {
                downstream.close(&Goodbye::LoginDeadline.line(P::PROTOCOL)).await;
                return Err(Ending::LoginDeadline);
            }
            Err(lost) => return Err(Ending::DownstreamLost(lost)),
        }
    }
}

/// From credentials to an upstream that has let us in, within the login's budget.
async fn attempt<P: Speaks>(
    arrival: &Arrival<'_>,
    asked: &Asked,
    record: &mut Record,
) -> Result<(Upstream<P>, Warrant), Failure> {
    let budget = arrival.shared.config.budgets.login;
    let work = caught(Box::pin(verify_and_open::<P>(arrival, asked, record)));
    match timeout(budget, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic::Panicked)) => Err(Failure::unavailable("an internal error")),
        Err(_) => Err(Failure::unavailable(format!("no answer within {budget:?}"))),
    }
}

async fn verify_and_open<P: Speaks>(
    arrival: &Arrival<'_>,
    asked: &Asked,
    record: &mut Record,
) -> Result<(Upstream<P>, Warrant), Failure> {
    let Arrival { shared, listener, .. } = arrival;
    // Of the two the receiver is the older: what changes while this goes on is seen by the warrant.
    let changes = shared.directory.clone();
    let directory = Arc::clone(&changes.borrow());
    let verified = verify(arrival, &directory, asked).await?;
    drop(directory);
    let account: &Arc<Account> = &verified.account;
    record.known(account, verified.login, asked);
    let provider = &account.app.provider;
    // Of a password the verifier says so, in the time of a wrong one.
    let Some(server) = provider.server(P::PROTOCOL) else {
        let detail = format!(
            "the provider {} has no {} server; listener {} cannot serve it",
            provider.name,
            P::PROTOCOL,
            listener.name
        );
        return Err(Failure::new(FailureKind::Misplaced, detail));
    };
    if matches!(asked, Asked::Address) {
        record.admit(&shared.clearance)?;
    }
    let upstream = upstream::log_in::<P>(shared, account, server, Some(record)).await?;
    record.logged_in(&server.host);
    Ok((upstream, Warrant::of(&verified, P::PROTOCOL, changes)))
}

/// Which login is asked for, if it may be used. By address nothing is guessed, and so nothing is throttled.
async fn verify(arrival: &Arrival<'_>, directory: &Directory, asked: &Asked) -> Result<Verified, Failure> {
    let Arrival { shared, visit, .. } = arrival;
    let request = match asked {
        Asked::Password(request) => request,
        Asked::Address => {
            let login = login_for(directory, visit, SystemTime::now());
            return login.ok_or_else(|| Failure::new(FailureKind::UnknownAddress, "no login is for this address now"));
        }
    };
    match shared.verifier.verify(directory, visit, request).await {
        Err(denied @ (Denied::Impossible | Denied::Throttled | Denied::Busy)) => {
            // No throttle counts these, so each such login waits: here, where it holds no place in any line.
            sleep(shared.config.budgets.unchecked_login).await;
            Err(denied.into())
        }
        verified => Ok(verified?),
    }
}

#[cfg(test)]
mod tests;
