//! What a session does differently in each of the three protocols.

use super::drive::Side;
use super::failure::Failure;
use super::record::{Ending, Record};
use super::relay::{RelayTimes, relay};
use super::upstream::Upstream;
use super::warrant::Warrant;
use super::{Shared, mail};
use crate::config::Protocol;
use crate::proto::imap::capability::Capabilities;
use crate::proto::smtp::extensions::Extensions;
use crate::proto::smtp::reply::Reply;
use crate::proto::{
    Access, Credential, LoginAnswer, LoginRequest, Machine, Mechanism, UpstreamEvent, imap, pop3, smtp,
};

/// How a client asks to be let in.
#[derive(Debug)]
pub(crate) enum Asked {
    /// With a user name and a password.
    Password(LoginRequest),
    /// By its address alone.
    Address,
}

impl Asked {
    /// How, as the protocol says it.
    pub(crate) const fn mechanism(&self, protocol: Protocol) -> &'static str {
        let Self::Password(request) = self else { return "by address" };
        match (protocol, request.mechanism) {
            (Protocol::Imap, Mechanism::Plain) => "AUTHENTICATE PLAIN",
            (Protocol::Imap, Mechanism::Login) => "AUTHENTICATE LOGIN",
            (Protocol::Imap, Mechanism::Command) => "LOGIN",
            (Protocol::Pop3, Mechanism::Command) => "USER",
            (_, Mechanism::Plain) => "AUTH PLAIN",
            (_, Mechanism::Login | Mechanism::Command) => "AUTH LOGIN",
        }
    }
}

impl From<LoginRequest> for Asked {
    fn from(request: LoginRequest) -> Self {
        Self::Password(request)
    }
}

impl From<smtp::downstream::Event> for Asked {
    fn from(event: smtp::downstream::Event) -> Self {
        match event {
            smtp::downstream::Event::LoginRequested(request) => Self::Password(request),
            smtp::downstream::Event::ByAddress => Self::Address,
        }
    }
}

/// One of the three protocols, as a session needs it.
pub(crate) trait Speaks: Sized {
    const PROTOCOL: Protocol;
    /// What the client is told when it is logged in.
    type Welcome: Send;
    /// What it is told when it is not.
    type Refusal: Send;
    /// What the upstream told us at its login.
    type Learnt: Send;
    type Downstream: Machine<Event: Into<Asked>, Answer = LoginAnswer<Self::Welcome, Self::Refusal>> + Send;
    type Upstream: Machine<Event = UpstreamEvent<Self::Learnt>, Answer = Credential> + Send;

    /// The machine that greets the client, with what it may do on this channel, and once it has asked for TLS.
    fn downstream(shared: &Shared, access: Access, after_starttls: Option<Access>) -> Self::Downstream;
    /// The machine that logs in at the upstream. `starttls`: the server wants it, and the machine must ask for it.
    fn upstream(shared: &Shared, starttls: bool) -> Self::Upstream;
    /// What it told us, without these secrets that it was told, should it repeat them.
    fn without<S: AsRef<[u8]>>(learnt: Self::Learnt, _secrets: &[S]) -> Self::Learnt {
        learnt
    }
    fn welcome(learnt: &Self::Learnt) -> Self::Welcome;
    fn refusal(failure: &Failure) -> Self::Refusal;
    /// Everything after the login.
    fn carry(
        shared: &Shared,
        downstream: Side,
        upstream: Upstream<Self>,
        warrant: Warrant,
        record: &mut Record,
    ) -> impl Future<Output = Ending> + Send;
}

pub(crate) struct Smtp;

impl Speaks for Smtp {
    const PROTOCOL: Protocol = Protocol::Smtp;
    type Welcome = ();
    type Refusal = Reply;
    type Learnt = Extensions;
    type Downstream = smtp::downstream::Downstream;
    type Upstream = smtp::upstream::Upstream;

    fn downstream(shared: &Shared, access: Access, after_starttls: Option<Access>) -> Self::Downstream {
        smtp::downstream::Downstream::new(smtp::downstream::Offer {
            hostname: shared.config.hostname.clone(),
            access,
            after_starttls,
            extensions: shared.directory.borrow().common_smtp_extensions(),
        })
    }

    fn upstream(shared: &Shared, starttls: bool) -> Self::Upstream {
        smtp::upstream::Upstream::new(smtp::upstream::Plan { hostname: shared.config.hostname.clone(), starttls })
    }

    fn welcome(_: &Extensions) {}

    fn refusal(failure: &Failure) -> Reply {
        failure.smtp()
    }

    // No async function around another: each would hold both connections once more.
    fn carry(
        shared: &Shared,
        downstream: Side,
        upstream: Upstream<Self>,
        warrant: Warrant,
        record: &mut Record,
    ) -> impl Future<Output = Ending> + Send {
        mail::carry(shared, downstream, upstream, warrant, record)
    }
}

pub(crate) struct Imap;

impl Speaks for Imap {
    const PROTOCOL: Protocol = Protocol::Imap;
    type Welcome = Capabilities;
    type Refusal = imap::downstream::Refusal;
    type Learnt = Capabilities;
    type Downstream = imap::downstream::Downstream;
    type Upstream = imap::upstream::Upstream;

    fn downstream(shared: &Shared, access: Access, after_starttls: Option<Access>) -> Self::Downstream {
        imap::downstream::Downstream::new(imap::downstream::Offer {
            hostname: shared.config.hostname.clone(),
            access,
            after_starttls,
            capabilities: shared.directory.borrow().common_imap_capabilities(),
        })
    }

    fn upstream(_: &Shared, starttls: bool) -> Self::Upstream {
        imap::upstream::Upstream::new(imap::upstream::Plan { starttls, tag: super::upstream::unguessable_tag() })
    }

    fn without<S: AsRef<[u8]>>(learnt: Capabilities, secrets: &[S]) -> Capabilities {
        learnt.without(secrets)
    }

    fn welcome(learnt: &Capabilities) -> Capabilities {
        learnt.clone()
    }

    fn refusal(failure: &Failure) -> imap::downstream::Refusal {
        failure.imap()
    }

    async fn carry(
        shared: &Shared,
        downstream: Side,
        upstream: Upstream<Self>,
        warrant: Warrant,
        record: &mut Record,
    ) -> Ending {
        let times = times(shared, Self::PROTOCOL);
        let relayed = relay(downstream, upstream.side, times, &shared.drain, warrant.revoked()).await;
        record.relayed(&relayed)
    }
}

pub(crate) struct Pop3;

impl Speaks for Pop3 {
    const PROTOCOL: Protocol = Protocol::Pop3;
    type Welcome = ();
    type Refusal = pop3::response::Refusal;
    type Learnt = ();
    type Downstream = pop3::downstream::Downstream;
    type Upstream = pop3::upstream::Upstream;

    fn downstream(shared: &Shared, access: Access, after_starttls: Option<Access>) -> Self::Downstream {
        pop3::downstream::Downstream::new(pop3::downstream::Offer {
            hostname: shared.config.hostname.clone(),
            access,
            after_starttls,
            capabilities: Vec::new(),
        })
    }

    fn upstream(_: &Shared, starttls: bool) -> Self::Upstream {
        pop3::upstream::Upstream::new(pop3::upstream::Plan { starttls })
    }

    fn welcome((): &()) {}

    fn refusal(failure: &Failure) -> pop3::response::Refusal {
        failure.pop3()
    }

    async fn carry(
        shared: &Shared,
        downstream: Side,
        upstream: Upstream<Self>,
        warrant: Warrant,
        record: &mut Record,
    ) -> Ending {
        let times = times(shared, Self::PROTOCOL);
        let relayed = relay(downstream, upstream.side, times, &shared.drain, warrant.revoked()).await;
        record.relayed(&relayed)
    }
}

fn times(shared: &Shared, protocol: Protocol) -> RelayTimes {
    RelayTimes { idle: shared.config.limits.idle(protocol), half_closed: shared.config.budgets.half_closed }
}
