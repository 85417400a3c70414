//! The machines a transcript can name: how to make one, what its events and answers look like in words.

use std::convert::Infallible;

use mailferry::proto::pop3::response::Refusal;
use mailferry::proto::{Credential, LoginAnswer, LoginRequest, Machine, Mechanism, UpstreamEvent, pop3};
use mailferry::secret::AccessToken;

use crate::script::{Script, escape};

/// Every machine there is.
pub(crate) const MACHINES: [&str; 2] = ["pop3-downstream", "pop3-upstream"];

/// A machine that can be played from a transcript.
pub(crate) trait Side: Machine {
    /// Whether its events ask for an answer.
    const ASKS: bool;

    /// An event, line by line.
    fn tell(event: &Self::Event) -> Vec<String>;

    /// An answer from its line.
    fn read_answer(words: &str) -> Self::Answer;
}

/// Something to be done with a machine, whichever it is.
pub(crate) trait Visitor {
    type Output;

    /// `new` makes the machine afresh each time.
    fn visit<M: Side>(self, new: impl Fn() -> M) -> Self::Output;
}

/// Makes the machine that a transcript names.
pub(crate) fn with_machine<V: Visitor>(script: &Script, visitor: V) -> V::Output {
    let hostname = || script.value("hostname", "mailferry.local").to_owned();
    let auth = || match script.value("auth", "yes") {
        "yes" => true,
        "no" => false,
        other => panic!("auth is yes or no, not {other:?}"),
    };
    let credential = || {
        let token = AccessToken::parse(script.value("token", "token").to_owned());
        Credential { user: script.value("user", "user@example.com").to_owned(), token: token.expect("no token") }
    };
    match script.machine.as_str() {
        "pop3-downstream" => {
            use pop3::downstream::{Downstream, Offer};
            script.knows_only(&["hostname", "auth", "capabilities"]);
            let capabilities = || script.list("capabilities");
            visitor
                .visit(|| Downstream::new(Offer { hostname: hostname(), auth: auth(), capabilities: capabilities() }))
        }
        "pop3-upstream" => {
            use pop3::upstream::{Plan, Upstream};
            script.knows_only(&["user", "token"]);
            visitor.visit(|| Upstream::new(Plan { credential: credential() }))
        }
        other => panic!("no machine: {other:?}"),
    }
}

impl Side for pop3::downstream::Downstream {
    const ASKS: bool = true;

    fn tell(event: &LoginRequest) -> Vec<String> {
        tell_request(event)
    }

    fn read_answer(words: &str) -> LoginAnswer<(), Refusal> {
        login_answer(words, |reply| {
            let (code, text) = reply.strip_prefix('[').and_then(|rest| rest.split_once("] ")).expect("no code");
            Refusal::new(leak(code), text.to_owned())
        })
    }
}

impl Side for pop3::upstream::Upstream {
    const ASKS: bool = false;

    fn tell(event: &UpstreamEvent<()>) -> Vec<String> {
        tell_outcome(event, |()| vec![])
    }

    fn read_answer(_: &str) -> Infallible {
        panic!("an upstream asks nothing")
    }
}

fn tell_request(request: &LoginRequest) -> Vec<String> {
    let mechanism = match request.mechanism {
        Mechanism::Plain => "PLAIN",
        Mechanism::Login => "LOGIN",
        Mechanism::Command => "command",
    };
    let mut lines = vec![format!("login requested: {mechanism}")];
    if !request.authzid.is_empty() {
        lines.push(format!("authzid: {}", escape(&request.authzid)));
    }
    lines.push(format!("username: {}", escape(&request.username)));
    lines.push(format!("password: {}", escape(request.password.expose())));
    lines
}

fn tell_outcome<C>(event: &UpstreamEvent<C>, learnt: impl Fn(&C) -> Vec<String>) -> Vec<String> {
    match event {
        UpstreamEvent::LoggedIn(what) => [vec!["logged in".to_owned()], learnt(what)].concat(),
        UpstreamEvent::Refused(refusal) => {
            let mut lines = vec![format!("refused: {:?}, {}", refusal.kind, refusal.stage)];
            lines.push(format!("said: {}", escape(&refusal.said)));
            lines.extend(
                refusal
                    .challenge
                    .iter()
                    .map(|challenge| format!("challenge: {}", escape(challenge))),
            );
            lines
        }
    }
}

/// `accept`, `refuse: REPLY` or `refuse, last: REPLY`.
fn login_answer<R>(words: &str, reply: impl Fn(&str) -> R) -> LoginAnswer<(), R> {
    if words == "accept" {
        return LoginAnswer::Accepted(());
    }
    let (refuse, text) = words.split_once(": ").expect("no answer");
    let last = match refuse {
        "refuse" => false,
        "refuse, last" => true,
        other => panic!("no answer: {other:?}"),
    };
    LoginAnswer::Refused { reply: reply(text), last }
}

/// Replies hold codes from the program's own text; a test may let a few bytes go.
fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}
