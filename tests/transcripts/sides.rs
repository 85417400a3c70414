//! The machines a transcript can name: how to make one, what its events and answers look like in words.

use mailferry::proto::imap::capability::Capabilities;
use mailferry::proto::smtp::extensions::Extensions;
use mailferry::proto::smtp::reply::Reply;
use mailferry::proto::{
    Access, Credential, LoginAnswer, LoginRequest, Machine, Mechanism, UpstreamEvent, imap, pop3, smtp,
};
use mailferry::secret::AccessToken;

use crate::script::{Script, escape};

/// Every machine there is.
pub(crate) const MACHINES: [&str; 6] =
    ["smtp-downstream", "smtp-upstream", "imap-downstream", "imap-upstream", "pop3-downstream", "pop3-upstream"];

/// A machine that can be played from a transcript.
pub(crate) trait Side: Machine {
    /// Whether the transcript answers its events.
    const ASKS: bool;

    /// An event, line by line.
    fn tell(event: &Self::Event) -> Vec<String>;

    /// An answer from its line.
    fn read_answer(words: &str) -> Self::Answer;

    /// The answer to an event that has only one, which the header gives.
    fn given_answer(_: &Self::Event, _: &Script) -> Option<Self::Answer> {
        None
    }
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
    let access = || Access { password: script.flag("auth", "yes"), by_address: script.flag("by-address", "no") };
    let after_starttls = || script.flag("starttls", "no").then_some(Access::PASSWORD);
    let starttls = || script.flag("starttls", "no");
    match script.machine.as_str() {
        "smtp-downstream" => {
            use smtp::downstream::{Downstream, Offer};
            script.knows_only(&["hostname", "auth", "by-address", "starttls", "extensions"]);
            let extensions = || script.list("extensions");
            visitor.visit(|| {
                Downstream::new(Offer {
                    hostname: hostname(),
                    access: access(),
                    after_starttls: after_starttls(),
                    extensions: extensions(),
                })
            })
        }
        "smtp-upstream" => {
            use smtp::upstream::{Plan, Upstream};
            script.knows_only(&["hostname", "starttls", "user", "token", "host", "port"]);
            visitor.visit(|| Upstream::new(Plan { hostname: hostname(), starttls: starttls() }))
        }
        "imap-downstream" => {
            use imap::downstream::{Downstream, Offer};
            script.knows_only(&["hostname", "auth", "starttls", "capabilities"]);
            let capabilities = || script.list("capabilities");
            visitor.visit(|| {
                Downstream::new(Offer {
                    hostname: hostname(),
                    access: access(),
                    after_starttls: after_starttls(),
                    capabilities: capabilities(),
                })
            })
        }
        "imap-upstream" => {
            use imap::upstream::{Plan, Upstream};
            script.knows_only(&["starttls", "tag", "user", "token", "host", "port"]);
            let tag = || script.value("tag", "A").to_owned();
            visitor.visit(|| Upstream::new(Plan { starttls: starttls(), tag: tag() }))
        }
        "pop3-downstream" => {
            use pop3::downstream::{Downstream, Offer};
            script.knows_only(&["hostname", "auth", "starttls", "capabilities"]);
            let capabilities = || script.list("capabilities");
            visitor.visit(|| {
                Downstream::new(Offer {
                    hostname: hostname(),
                    access: access(),
                    after_starttls: after_starttls(),
                    capabilities: capabilities(),
                })
            })
        }
        "pop3-upstream" => {
            use pop3::upstream::{Plan, Upstream};
            script.knows_only(&["starttls", "user", "token", "host", "port"]);
            visitor.visit(|| Upstream::new(Plan { starttls: starttls() }))
        }
        other => panic!("no machine: {other:?}"),
    }
}

impl Side for smtp::downstream::Downstream {
    const ASKS: bool = true;

    fn tell(event: &smtp::downstream::Event) -> Vec<String> {
        match event {
            smtp::downstream::Event::LoginRequested(request) => tell_request(request),
            smtp::downstream::Event::ByAddress => vec!["mail by address".into()],
        }
    }

    /// A refusal is written `535 5.7.8 text`.
    fn read_answer(words: &str) -> LoginAnswer<(), Reply> {
        read_login_answer(
            words,
            |_| (),
            |reply| {
                let mut parts = reply.splitn(3, ' ');
                let (Some(Ok(code)), Some(enhanced), Some(text)) =
                    (parts.next().map(str::parse), parts.next(), parts.next())
                else {
                    panic!("no SMTP reply: {reply:?}");
                };
                Reply::new(code, leak(enhanced), text.to_owned())
            },
        )
    }
}

impl Side for imap::downstream::Downstream {
    const ASKS: bool = true;

    fn tell(event: &LoginRequest) -> Vec<String> {
        tell_request(event)
    }

    /// What the upstream can do stands behind `accept`.
    fn read_answer(words: &str) -> LoginAnswer<Capabilities, imap::downstream::Refusal> {
        read_login_answer(
            words,
            |list| Capabilities::parse(list.as_bytes()),
            |reply| {
                let (code, text) = read_coded(reply);
                imap::downstream::Refusal { code, text: text.into() }
            },
        )
    }
}

impl Side for pop3::downstream::Downstream {
    const ASKS: bool = true;

    fn tell(event: &LoginRequest) -> Vec<String> {
        tell_request(event)
    }

    fn read_answer(words: &str) -> LoginAnswer<(), pop3::response::Refusal> {
        read_login_answer(
            words,
            |_| (),
            |reply| {
                let (code, text) = read_coded(reply);
                pop3::response::Refusal::new(code, text)
            },
        )
    }
}

impl Side for smtp::upstream::Upstream {
    const ASKS: bool = false;

    fn tell(event: &UpstreamEvent<Extensions>) -> Vec<String> {
        tell_outcome(event, |extensions| {
            const KNOWN: [&str; 7] =
                ["8BITMIME", "BINARYMIME", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", "PIPELINING", "SMTPUTF8"];
            let offered: Vec<&str> = KNOWN.into_iter().filter(|keyword| extensions.has(keyword)).collect();
            let size = extensions.size().map(|size| format!("SIZE {size}"));
            vec![format!(
                "extensions: {}",
                offered.into_iter().map(str::to_owned).chain(size).collect::<Vec<_>>().join(" ")
            )]
        })
    }

    fn read_answer(_: &str) -> Credential {
        panic!("the header gives the credential")
    }

    fn given_answer(event: &UpstreamEvent<Extensions>, script: &Script) -> Option<Credential> {
        credential(event, script)
    }
}

impl Side for imap::upstream::Upstream {
    const ASKS: bool = false;

    fn tell(event: &UpstreamEvent<Capabilities>) -> Vec<String> {
        tell_outcome(event, |capabilities| vec![format!("capabilities: {capabilities}")])
    }

    fn read_answer(_: &str) -> Credential {
        panic!("the header gives the credential")
    }

    fn given_answer(event: &UpstreamEvent<Capabilities>, script: &Script) -> Option<Credential> {
        credential(event, script)
    }
}

impl Side for pop3::upstream::Upstream {
    const ASKS: bool = false;

    fn tell(event: &UpstreamEvent<()>) -> Vec<String> {
        tell_outcome(event, |()| vec![])
    }

    fn read_answer(_: &str) -> Credential {
        panic!("the header gives the credential")
    }

    fn given_answer(event: &UpstreamEvent<()>, script: &Script) -> Option<Credential> {
        credential(event, script)
    }
}

/// The credential of the header, whenever one is wanted.
fn credential<C>(event: &UpstreamEvent<C>, script: &Script) -> Option<Credential> {
    let UpstreamEvent::CredentialWanted = event else { return None };
    let token = script.value("token", "token");
    let Some(token) = AccessToken::parse(token.to_owned()) else { panic!("no token: {token:?}") };
    let value = |key, default| script.value(key, default).to_owned();
    let port = value("port", "143");
    let Ok(port) = port.parse() else { panic!("no port: {port:?}") };
    Some(Credential { user: value("user", "user@example.com"), token, host: value("host", "server.example.com"), port })
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
        UpstreamEvent::CredentialWanted => vec!["credential wanted".into()],
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

/// `accept`, `accept: WHAT`, `refuse: REPLY` or `refuse, last: REPLY`.
fn read_login_answer<A, R>(words: &str, accepted: impl Fn(&str) -> A, reply: impl Fn(&str) -> R) -> LoginAnswer<A, R> {
    match words.split_once(": ").unwrap_or((words, "")) {
        ("accept", what) => LoginAnswer::Accepted(accepted(what)),
        ("refuse", text) => LoginAnswer::Refused { reply: reply(text), last: false },
        ("refuse, last", text) => LoginAnswer::Refused { reply: reply(text), last: true },
        _ => panic!("no answer: {words:?}"),
    }
}

/// `[CODE] text`.
fn read_coded(reply: &str) -> (&'static str, String) {
    let Some((code, text)) = reply.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else {
        panic!("no reply with a code: {reply:?}");
    };
    (leak(code), text.to_owned())
}

/// Replies hold codes from the program's own text; a test may let a few bytes go.
fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}
