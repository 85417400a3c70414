//! Plays whole sessions, from the greeting to the close: a client and an upstream that say what the input says, when nothing
//! else moves.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use mailferry::config::Protocol;
use mailferry::drain::Drain;
use mailferry::net::memory::{Connection, Network};
use mailferry::proto::sasl::{decode_base64, encode_base64};
use mailferry::secret::AccessToken;
use mailferry::session::fuzzing::Scene;
use memchr::memmem::{self, Finder};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::dialogue::Dialogue;
use crate::flavour::{Flavour, PASSWORD};
use crate::wire::Wire;
use crate::witness::Witness;

/// What the token service gives, in this order.
const TOKENS: [&str; 2] = ["the-first-token-0f8a6c71d2", "the-second-token-93be55d04c"];

/// Nothing happens in this time but what waits for nothing: the clock stands still while anything moves.
const TICK: Duration = Duration::from_millis(1);

/// A session that nobody speaks to any more ends long before this.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// How often somebody speaks in one session, at most.
const MOST_EVENTS: usize = 256;

/// What an upstream says for the last line that it was told, as long as nobody has logged in: a server that explains too
/// much repeats the token.
const REPEAT: u8 = 0xfd;

/// The option to shut the gateway down.
const SHUTDOWN: u8 = 6;

/// What a peer does.
#[derive(Debug)]
enum Event {
    DownstreamSays(Vec<u8>),
    DownstreamEnds,
    /// One line: an upstream that says more than it was asked for is read before or behind the next command, as it happens,
    /// and that is no difference between two cuts of its octets.
    UpstreamSays(Vec<u8>),
    UpstreamEnds,
}

/// What anyone can see of a session.
#[derive(PartialEq)]
struct Seen {
    to_downstream: Vec<u8>,
    /// One for each time it was dialed.
    to_upstream: Vec<Vec<u8>>,
    login: Option<Mark>,
    ending: String,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to_downstream, to_upstream, login, ending } = self;
        writeln!(f, "{ending:?}, {login:?}\nto the client: {}", to_downstream.escape_ascii())?;
        to_upstream
            .iter()
            .try_for_each(|told| writeln!(f, "to the upstream: {}", told.escape_ascii()))
    }
}

/// How far the session had come when the client was let in.
#[derive(Debug, Clone, PartialEq)]
struct Mark {
    read_of_downstream: usize,
    read_of_upstream: usize,
    told_downstream: usize,
    told_upstream: usize,
}

/// Sees that a session keeps to what holds for all, and that it is the same however the octets of both sides are cut.
///
/// The client's parts and the upstream's come by turns; a side whose turn it is speaks when nothing else moves, the upstream
/// one line at a time, and what is said to nobody waits for the next dial. So no side races the other, and all is equal: the
/// octets both ways, and how it ends. A shutdown alone races the client: what it has sent, and was not read while its login
/// was under way, is answered before the goodbye or not.
///
/// Option 0: the client ends behind its last part; 1: and takes no more. 2 and 3: the same for the upstream. 4: there is no
/// token; 5: there is a second one. 6: the gateway is shut down once all is said.
///
/// # Panics
/// When it does not.
pub fn holds(flavour: u8, dialogue: &Dialogue) {
    let flavour = Flavour(flavour);
    // One by one is one of the input's own sizes, and costs as much as all else.
    let [whole, _, size] = dialogue.sizes();
    let (expected, seen) = (play(flavour, dialogue, whole), play(flavour, dialogue, size));
    if !dialogue.option(SHUTDOWN) {
        assert_eq!(seen, expected, "in pieces of {size}");
    }
}

fn play(flavour: Flavour, dialogue: &Dialogue, size: usize) -> Seen {
    thread_local! {
        static RUNTIME: Runtime = {
            let mut builder = Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().expect("a runtime")
        };
    }
    let world = World::new(dialogue, size);
    let ending = RUNTIME.with(|runtime| runtime.block_on(perform(flavour, dialogue, &world)));
    world.check(flavour, dialogue);
    let state = world.state();
    Seen {
        to_downstream: world.downstream.state().heard.clone(),
        to_upstream: state.upstreams.iter().map(|wire| wire.state().heard.clone()).collect(),
        login: state.login.clone(),
        ending,
    }
}

async fn perform(flavour: Flavour, dialogue: &Dialogue, world: &World) -> String {
    let stage = flavour.stage();
    let drain = Drain::default();
    let token = |text: &str| AccessToken::parse(text.into()).expect("a clean token");
    let tokens = match (dialogue.option(4), dialogue.option(5)) {
        (true, _) => vec![],
        (false, false) => vec![token(TOKENS[0])],
        (false, true) => TOKENS.map(token).into(),
    };
    let logged_in = {
        let (world, is_mail) = (world.clone(), flavour.protocol() == Protocol::Smtp);
        Box::new(move |of_downstream, of_upstream| world.logged_in(of_downstream, of_upstream, is_mail))
    };
    let scene = Scene {
        downstream: world.downstream.end(),
        network: world.network(flavour),
        tokens,
        logged_in,
        drain: drain.clone(),
    };
    let mut session = pin!(stage.play(scene));
    while !world.state().script.is_empty() {
        let can_go_on = world.next().is_some();
        tokio::select! {
            biased;
            ending = session.as_mut() => return ending,
            () = sleep(TICK), if can_go_on => world.goes_on(),
            () = world.dialed.notified(), if !can_go_on => {}
        }
    }
    if dialogue.option(SHUTDOWN) {
        // What is said last is heard before.
        tokio::select! {
            biased;
            ending = session.as_mut() => return ending,
            () = sleep(TICK) => {}
        }
        drain.run(Duration::ZERO).await;
    }
    timeout(FOREVER, session).await.expect("a session that ends")
}

/// Both peers, and what has become of them.
#[derive(Clone)]
struct World {
    downstream: Wire,
    dialed: Arc<Notify>,
    state: Arc<Mutex<State>>,
}

struct State {
    size: usize,
    script: VecDeque<Event>,
    /// Whether either side, once it has ended, takes no more either.
    breaks: [bool; 2],
    upstreams: Vec<Wire>,
    /// Nobody is there any more.
    is_upstream_over: bool,
    login: Option<Mark>,
}

impl World {
    fn new(dialogue: &Dialogue, size: usize) -> Self {
        let state = State {
            size,
            script: script(dialogue),
            breaks: [dialogue.option(1), dialogue.option(3)],
            upstreams: Vec::new(),
            is_upstream_over: false,
            login: None,
        };
        Self { downstream: Wire::new(size), dialed: Arc::default(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which event may come next: the first that somebody can hear. What the client does does not wait for an upstream.
    fn next(&self) -> Option<usize> {
        let state = self.state();
        let is_connected = state.upstreams.last().is_some_and(|wire| !wire.state().dropped);
        let is_downstreams = |event: &Event| matches!(event, Event::DownstreamSays(_) | Event::DownstreamEnds);
        state.script.iter().position(|event| is_connected || is_downstreams(event))
    }

    fn goes_on(&self) {
        let Some(event) = self.next().and_then(|at| self.state().script.remove(at)) else { return };
        let mut state = self.state();
        match (event, state.upstreams.last().cloned()) {
            (Event::DownstreamSays(octets), _) => self.downstream.say(&octets),
            (Event::DownstreamEnds, _) => self.downstream.finish(state.breaks[0]),
            (Event::UpstreamSays(line), Some(wire)) => {
                let line = if state.login.is_none() { repeating(&line, &wire.state().heard) } else { line };
                if let Some(witness) = &mut wire.state().witness {
                    witness.says_anything(&line);
                }
                wire.say(&line);
            }
            (Event::UpstreamEnds, Some(wire)) => {
                state.is_upstream_over = true;
                wire.finish(state.breaks[1]);
            }
            (Event::UpstreamSays(_) | Event::UpstreamEnds, None) => {}
        }
    }

    /// Where the upstream is dialed. Nobody is before the client has shown that it may log in.
    fn network(&self, flavour: Flavour) -> Network {
        let world = self.clone();
        Box::new(move || {
            if !flavour.is_by_address() {
                assert!(!flavour.takes_no_password(), "an upstream for a password in clear");
                assert!(has_given_password(world.downstream.state().read()), "an upstream before the password");
            }
            let mut state = world.state();
            if state.is_upstream_over {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let wire = Wire::new(state.size);
            state.upstreams.push(wire.clone());
            world.dialed.notify_one();
            Ok(wire.end() as Box<dyn Connection>)
        })
    }

    fn logged_in(&self, left_of_downstream: usize, left_of_upstream: usize, is_mail: bool) {
        let mut state = self.state();
        let upstream = state.upstreams.last().cloned().expect("no login without an upstream");
        let (mut upstream, downstream) = (upstream.state(), self.downstream.state());
        assert!(state.login.is_none(), "a second login");
        let read_of_upstream = upstream.read().len() - left_of_upstream;
        upstream.witness = is_mail.then(|| {
            let mut witness = Witness::default();
            witness.says_anything(upstream.said_since(read_of_upstream));
            witness
        });
        state.login = Some(Mark {
            read_of_downstream: downstream.read().len() - left_of_downstream,
            read_of_upstream,
            told_downstream: downstream.heard.len(),
            told_upstream: upstream.heard.len(),
        });
    }

    /// What holds for every session.
    fn check(&self, flavour: Flavour, dialogue: &Dialogue) {
        let state = self.state();
        let downstream = self.downstream.state();
        let [tokens, password] = &*SECRETS;
        if holds_any(&downstream.heard, tokens) {
            // The dialogue may hold it too, and then a relay passes it on.
            let says_it = |side: usize| {
                let said: Vec<_> = dialogue.parts.iter().skip(side).step_by(2).map(Vec::as_slice).collect();
                holds_any(&said.concat(), tokens)
            };
            assert!(says_it(0) || says_it(1), "the client was told the token");
        }
        for (at, upstream) in state.upstreams.iter().enumerate() {
            let upstream = upstream.state();
            let login = state.login.as_ref().filter(|_| at + 1 == state.upstreams.len());
            let before = login.map_or(&upstream.heard[..], |login| &upstream.heard[..login.told_upstream]);
            assert!(!holds_any(before, password), "the upstream was told the password");
            assert!(!flavour.demands_tls() || !holds_any(before, tokens), "the token in clear");
            let Some(login) = login else { continue };
            if let Some(witness) = &upstream.witness {
                assert!(upstream.broken || witness.has_whole_commands(), "half a command");
                let ends = ends_of_data(&downstream.read()[login.read_of_downstream..]);
                assert!(witness.messages() <= ends, "a message whose end nobody has sent");
            } else {
                let up = (&downstream.read()[login.read_of_downstream..], &upstream.heard[login.told_upstream..]);
                let down = (&upstream.read()[login.read_of_upstream..], &downstream.heard[login.told_downstream..]);
                relays(up, upstream.broken, "upstream");
                relays(down, downstream.broken, "downstream");
            }
        }
    }
}

/// What was read of one side has reached the other, in order, unchanged, and if that one took it, to the last octet.
fn relays((read, told): (&[u8], &[u8]), broken: bool, whither: &str) {
    assert!(read.starts_with(told), "something else went {whither}");
    assert!(broken || told.len() == read.len(), "{} octets did not go {whither}", read.len() - told.len());
}

/// A line with what the upstream was told last wherever it repeats that.
fn repeating(line: &[u8], told: &[u8]) -> Vec<u8> {
    let last = told.trim_ascii_end().rsplit(|octet| *octet == b'\n').next().unwrap_or_default();
    let mut parts = line.split(|octet| *octet == REPEAT);
    let mut repeated = parts.next().unwrap_or_default().to_vec();
    parts.for_each(|part| repeated.extend([last, part].concat()));
    repeated
}

fn script(dialogue: &Dialogue) -> VecDeque<Event> {
    let mut script = VecDeque::new();
    let last = dialogue.parts.len() - 1;
    for (at, part) in dialogue.parts.iter().enumerate() {
        let (is_upstreams, is_last) = (at % 2 == 1, at + 1 >= last);
        if is_upstreams {
            script.extend(
                part.split_inclusive(|octet| *octet == b'\n')
                    .map(|line| Event::UpstreamSays(line.to_vec())),
            );
        } else {
            script.push_back(Event::DownstreamSays(part.clone()));
        }
        script.truncate(MOST_EVENTS);
        match is_upstreams {
            false if is_last && dialogue.option(0) => script.push_back(Event::DownstreamEnds),
            true if is_last && dialogue.option(2) => script.push_back(Event::UpstreamEnds),
            _ => {}
        }
    }
    script
}

/// By a slow reading: whether somebody could take this for a login with the password.
fn has_given_password(said: &[u8]) -> bool {
    let in_base64 =
        |word: &[u8]| decode_base64(word, word.len()).is_ok_and(|decoded| memmem::find(&decoded, PASSWORD).is_some());
    let is_base64 = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
    memmem::find(said, PASSWORD).is_some() || said.split(|octet| !is_base64(octet)).any(in_base64)
}

/// The tokens and the password, in all their forms.
static SECRETS: LazyLock<[Vec<Finder<'static>>; 2]> = LazyLock::new(|| {
    let finders = |secret: &[u8]| {
        forms(secret)
            .into_iter()
            .map(|form| Finder::new(&form).into_owned())
            .collect::<Vec<_>>()
    };
    [TOKENS.iter().flat_map(|token| finders(token.as_bytes())).collect(), finders(PASSWORD)]
});

/// As it is, and as it looks in base64 wherever it stands.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let in_base64 = (0..3).map(|before| {
        let octets = [&b"\0\0"[..before], secret].concat();
        let text = encode_base64(&octets[..octets.len() - octets.len() % 3]);
        text.as_bytes()[before.min(1) * 4..].to_vec()
    });
    in_base64.chain([secret.to_vec()]).collect()
}

fn holds_any(octets: &[u8], words: &[Finder<'_>]) -> bool {
    words.iter().any(|word| word.find(octets).is_some())
}

/// How many dots stand alone on a line, whatever ends the lines.
fn ends_of_data(said: &[u8]) -> usize {
    let is_end = |at: &usize| said[at + 2..].starts_with(b"\n") || said[at + 2..].starts_with(b"\r\n");
    memmem::find_iter(said, b"\n.").filter(is_end).count()
}
