//! A session's own end of the wire to those who watch it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Watchers;
use super::advice::{Clue, Scene};
use super::dialogue::Dialogue;
use crate::config::{Account, Listener, ListenerTls};
use crate::login::Visit;
use crate::login::directory::Directory;
use crate::login::verify::{Misplaced, Obstacle, obstacle};
use crate::proto::{Overhears, Used};
use crate::session::failure::{Failure, FailureKind};
use crate::session::protocol::Asked;

/// What a session tells with; empty, and then nothing costs anything, in all that began while nobody watched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap(Option<Arc<Tapped>>);

/// Whom a tap is for.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    pub(crate) listener: &'a Arc<Listener>,
    /// The configured user names are in it: what is none of them is not shown.
    pub(crate) directory: &'a watch::Receiver<Arc<Directory>>,
    pub(crate) session: u64,
    pub(crate) peer: IpAddr,
}

#[derive(Debug)]
struct Tapped {
    watchers: Watchers,
    listener: Arc<Listener>,
    directory: watch::Receiver<Arc<Directory>>,
    session: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    peer: IpAddr,
    dialogue: Dialogue,
    under_tls: bool,
    /// A proxy speaks for nobody who may log in.
    is_for_nobody: bool,
    clues: Vec<Clue>,
}

impl Watchers {
    /// For a session that begins; its connection is told of.
    pub(crate) fn tap(&self, watched: &Watched<'_>) -> Tap {
        if !self.are_there() {
            return Tap::default();
        }
        let Watched { listener, directory, session, peer } = watched;
        let state = State {
            peer: *peer,
            dialogue: Dialogue::new(listener.protocol),
            under_tls: false,
            is_for_nobody: false,
            clues: Vec::new(),
        };
        let tap = Tap(Some(Arc::new(Tapped {
            watchers: self.clone(),
            listener: Arc::clone(listener),
            directory: (*directory).clone(),
            session: *session,
            state: Mutex::new(state),
        })));
        let Listener { name, protocol, tls, .. } = &***listener;
        tap.tell(|| format!("{peer} has connected to the listener {name} ({protocol}, tls = \"{}\")", tls_name(*tls)));
        tap
    }

    /// Of a connection that becomes no session: what happened, and what to do about it.
    pub(crate) fn turned_away(&self, listener: &Listener, peer: IpAddr, clue: &Clue) {
        if self.are_there() {
            let scene = Scene { listener, peer, under_tls: false };
            let what = format!("{peer} was turned away at the listener {}", listener.name);
            self.tell(None, peer, &what);
            self.tell(None, peer, &format!("** {}", clue.advice(&scene)));
        }
    }
}

impl Tap {
    /// Whether anybody may be watching.
    pub(crate) const fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of a step. The words are ours, or made harmless.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if let Some(tapped) = &self.0 {
            let mut state = tapped.state();
            let (lines, peer) = (state.dialogue.pause(), state.peer);
            drop(state);
            tapped.tell_all(peer, &lines);
            tapped.tell(peer, &format!("-- {}", what()));
        }
    }

    /// A PROXY header has said for whom the connection is, and whether that one speaks TLS to the proxy.
    pub(crate) fn is_for(&self, peer: IpAddr, under_tls: bool) {
        let Some(tapped) = &self.0 else { return };
        let before = {
            let mut state = tapped.state();
            state.under_tls = under_tls;
            std::mem::replace(&mut state.peer, peer)
        };
        if before != peer {
            let over = if under_tls { ", over TLS" } else { "" };
            self.tell(|| format!("the PROXY header of {before} says that this is {peer}{over}"));
        }
    }

    /// A PROXY header has named nobody who may log in: the proxy is greeted, and no more.
    pub(crate) fn is_for_nobody(&self) {
        let Some(tapped) = &self.0 else { return };
        let mut state = tapped.state();
        state.is_for_nobody = true;
        let peer = state.peer;
        drop(state);
        self.tell(|| format!("the PROXY header of {peer} names nobody who may log in"));
    }

    /// The TLS handshake with the device is done.
    pub(crate) fn is_under_tls(&self) {
        let Some(tapped) = &self.0 else { return };
        tapped.state().under_tls = true;
        self.tell(|| "TLS is on".into());
    }

    /// Who is told what the machines make of what the device has said.
    pub(crate) fn ears(&self) -> Option<Arc<dyn Overhears>> {
        self.0.clone().map(|tapped| tapped as Arc<dyn Overhears>)
    }

    /// The device has said something.
    pub(crate) fn heard(&self, octets: &[u8]) {
        if let Some(tapped) = &self.0 {
            tapped.show(|dialogue| dialogue.heard(octets));
        }
    }

    /// What the device is told.
    pub(crate) fn said(&self, octets: &[u8]) {
        if let Some(tapped) = &self.0 {
            tapped.show(|dialogue| dialogue.said(octets));
        }
    }

    /// Whether a user name is one that may be shown.
    pub(crate) fn name(&self, name: &[u8]) -> String {
        let known = self.0.as_ref().and_then(|tapped| {
            let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
            tapped.directory.borrow().logins.contains_key(&name).then_some(name)
        });
        // A password typed into the wrong field is no name that is known.
        known.unwrap_or_else(|| "a user name that no login has (not shown)".into())
    }

    /// A login was not accepted.
    pub(crate) fn failed(&self, listener: &Listener, asked: &Asked, failure: &Failure) {
        let Some(tapped) = &self.0 else { return };
        let request = match asked {
            Asked::Password(request) => request,
            Asked::Address => {
                self.tell(|| format!("mail without a login refused: {}", failure.detail));
                return self.learn(match failure.kind {
                    FailureKind::UnknownAddress => Clue::NoLogin,
                    _ => Clue::AddressFailed(failure.detail.clone()),
                });
            }
        };
        let name = self.name(&request.username);
        let mechanism = asked.mechanism(listener.protocol);
        self.tell(|| match failure.kind {
            // No more than the log: the reason, and no secret.
            FailureKind::Credentials | FailureKind::Misplaced | FailureKind::ImpossibleName => {
                format!("login as {name} ({mechanism}) refused: {}", failure.detail)
            }
            _ => format!("login as {name} ({mechanism}) failed: {}", failure.detail),
        });
        let directory = Arc::clone(&tapped.directory.borrow());
        let account = directory.logins.get(&name);
        let State { peer, under_tls, .. } = *tapped.state();
        let visit = Visit { peer, protocol: listener.protocol, encrypted: under_tls };
        self.learn(match (failure.kind, account) {
            (FailureKind::Throttled | FailureKind::Busy, _) => Clue::NotChecked(failure.detail.clone()),
            (FailureKind::Unavailable | FailureKind::NeedsPerson | FailureKind::MissingRights, _) => {
                Clue::LoginFailed(failure.detail.clone())
            }
            (_, None) => Clue::UnknownName,
            (FailureKind::Misplaced, Some(account)) => misplaced(account, name, failure),
            (FailureKind::ImpossibleName, Some(_)) => Clue::ActsAsAnother,
            (_, Some(account)) => wrong(account, name, &visit),
        });
    }

    /// Something from which advice follows.
    pub(crate) fn learn(&self, clue: Clue) {
        if let Some(tapped) = &self.0 {
            tapped.state().learn(clue);
        }
    }

    /// The session is over.
    pub(crate) fn ended(&self, ending: &dyn std::fmt::Display) {
        let Some(tapped) = &self.0 else { return };
        let mut state = tapped.state();
        let (lines, clues) = state.dialogue.ended();
        clues.into_iter().for_each(|clue| state.learn(clue));
        let State { peer, under_tls, is_for_nobody, .. } = *state;
        let mut clues = std::mem::take(&mut state.clues);
        if clues.is_empty() && !state.dialogue.was_heard() {
            clues.push(Clue::SaidNothing);
        }
        if clues.is_empty() && !is_for_nobody && state.dialogue.has_only_asked() {
            clues.push(Clue::OnlyAsked);
        }
        drop(state);
        tapped.tell_all(peer, &lines);
        tapped.tell(peer, &format!("-- the session has ended: {ending}"));
        let scene = Scene { listener: &tapped.listener, peer, under_tls };
        for clue in clues {
            tapped.tell(peer, &format!("** {}", clue.advice(&scene)));
        }
    }
}

impl Overhears for Tapped {
    fn used(&self, used: Used<'_>) {
        let directory = Arc::clone(&self.directory.borrow());
        let is_configured = |name: &str| directory.logins.contains_key(&name.to_ascii_lowercase());
        self.show(|dialogue| (dialogue.used(used, &is_configured), Vec::new()));
    }
}

impl Tapped {
    fn show(&self, listen: impl FnOnce(&mut Dialogue) -> (Vec<String>, Vec<Clue>)) {
        let mut state = self.state();
        let (lines, clues) = listen(&mut state.dialogue);
        clues.into_iter().for_each(|clue| state.learn(clue));
        let peer = state.peer;
        drop(state);
        self.tell_all(peer, &lines);
    }

    fn tell_all(&self, peer: IpAddr, lines: &[String]) {
        lines.iter().for_each(|line| self.tell(peer, line));
    }

    fn tell(&self, peer: IpAddr, what: &str) {
        self.watchers.tell(Some(self.session), peer, what);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn learn(&mut self, clue: Clue) {
        // Whatever it lacks for a login, the proxy can have none.
        let clue = if self.is_for_nobody && clue.is_about_login() { Clue::ProxyNamesNobody } else { clue };
        // Whoever tried a password means to log in: mail behind its refusal says nothing of a device that cannot.
        if clue == Clue::NoLogin && self.clues.iter().any(Clue::is_about_password) {
            return;
        }
        match clue {
            // What went wrong before it did not matter.
            Clue::LoggedIn => self.clues.retain(|clue| !clue.is_about_login()),
            Clue::MessageAccepted => self.clues.clear(),
            _ => {}
        }
        if matches!(clue, Clue::LoggedIn | Clue::MessageAccepted) {
            self.dialogue.is_trusted();
        }
        if clue != Clue::LoggedIn && !self.clues.contains(&clue) {
            self.clues.push(clue);
        }
    }
}

/// As the file says it.
pub(crate) const fn tls_name(tls: ListenerTls) -> &'static str {
    match tls {
        ListenerTls::None => "none",
        ListenerTls::StartTls => "starttls",
        ListenerTls::Implicit => "implicit",
        ListenerTls::Auto => "auto",
    }
}

/// Why a login whose password is right was not let in.
fn misplaced(account: &Account, login: String, failure: &Failure) -> Clue {
    let Some(Misplaced { login: at, obstacle }) = failure.misplaced else {
        return Clue::Unserved(failure.detail.clone());
    };
    // The list may have changed since.
    let found = account.logins.get(at).filter(|found| found.username == login);
    let protocols = found.map(|found| found.protocols.clone()).unwrap_or_default();
    let networks = found.and_then(|found| found.networks.clone()).unwrap_or_default();
    match obstacle {
        Obstacle::Ended => Clue::Replaced { login },
        Obstacle::Protocol => Clue::WrongProtocol { login, protocols },
        Obstacle::Network => Clue::WrongNetwork { login, networks },
        Obstacle::Tls => Clue::TlsRequired { login },
        Obstacle::Unserved => Clue::Unserved(failure.detail.clone()),
    }
}

/// Why a name that is known was not let in with a wrong password.
fn wrong(account: &Account, login: String, visit: &Visit) -> Clue {
    let logins = account.logins.iter().filter(|named| named.username == login);
    let mut obstacles = logins
        .filter(|login| login.password_hash().is_some())
        .map(|login| obstacle(account, login, visit));
    let Some(first) = obstacles.next() else {
        // To add its network would let in without a password whoever is there.
        return Clue::NoPassword { login };
    };
    let besides = first.filter(|_| obstacles.all(|obstacle| obstacle.is_some()));
    Clue::WrongPassword { login, besides }
}
