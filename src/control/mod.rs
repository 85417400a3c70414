//! What commands may ask of a running gateway: the requests, the answers, and who may ask what.
//!
//! One request a connection: a line of JSON there, lines of JSON back, of which the last is the answer and those before
//! it tell of progress. [`Desk`] is what answers: the running gateway behind its socket, or, where none runs, the command
//! itself with the store opened.

#[cfg(unix)]
mod client;
#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod hold;
pub mod line;
#[cfg(unix)]
mod peer;
#[cfg(unix)]
mod server;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::config::Protocol;

#[cfg(unix)]
pub use client::{ask, listens, masters};
#[cfg(not(unix))]
pub use elsewhere::{Claim, Hold, Server, ask, claim, hold, listens, masters};
#[cfg(unix)]
pub use hold::{Hold, hold};
#[cfg(unix)]
pub use server::{Claim, Server, claim};

/// Where the control socket of a gateway is.
#[must_use]
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Why a gateway has no control socket.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is one already.
    #[error("another gateway runs with state_dir {}: stop it, or give this one a state_dir of its own", .0.display())]
    Taken(PathBuf),
    /// A command that found no gateway is at work, or a gateway is about to start or has just ended.
    #[error("another mailferry is at work with state_dir {}: wait until it has ended, and try again", .0.display())]
    Busy(PathBuf),
    /// Others could put their own socket there.
    #[error(
        "state_dir {0} can be written by other users (mode {mode:03o}): close it with: chmod go-w {0}; or set state_dir to a \
         folder of its own below it",
        .folder.display()
    )]
    Open {
        /// The state folder.
        folder: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It could not be made.
    #[error("the control file {} cannot be made: {error}. {}", .file.display(), advice(.error))]
    Unusable {
        /// Its file.
        file: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "state_dir must be a folder that the gateway's user can write in"
        }
        io::ErrorKind::AddrInUse | io::ErrorKind::AlreadyExists => "Something else is there: move it away",
        // What the standard library says of a path that does not fit into a socket's address.
        io::ErrorKind::InvalidInput => "Choose a state_dir with a shorter path",
        _ => "See that state_dir is a folder on a local disk, and that there is room on it",
    }
}

/// Why a running gateway could not be asked.
#[derive(Debug, Error)]
pub enum AskError {
    /// There is none.
    #[error("no gateway runs here")]
    NobodyListens,
    /// This user may not.
    #[error(
        "{} is closed to this user: run this as {masters}{}",
        .file.display(),
        .readers.map(|group| format!("; members of the group {group} may list accounts and logins")).unwrap_or_default()
    )]
    Denied {
        /// The socket.
        file: PathBuf,
        /// Who may, as in "run this as …".
        masters: String,
        /// The group that may look, where looking is all that is wanted.
        readers: Option<&'static str>,
    },
    /// The socket cannot be used.
    #[error("the control socket {} cannot be used: {error}. Try again, and if it stays so restart the gateway", .file.display())]
    Broken {
        /// The socket.
        file: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// Another user's program listens there.
    #[error(
        "at the control socket {} listens a program of {user}, whom state_dir does not belong to: nothing was asked. Stop it, \
         and give state_dir to the gateway's user",
        .file.display()
    )]
    Stranger {
        /// The socket.
        file: PathBuf,
        /// Whose program it is.
        user: String,
    },
    /// What is asked does not fit into a line.
    #[error("what is asked is longer than {} octets", line::MAX_REQUEST)]
    TooLong,
    /// What it says is no answer.
    #[error("what listens at the control socket gives no answer this version knows: restart the gateway")]
    Nonsense,
    /// It left without an answer.
    #[error("the gateway ended before it answered; its log says more. See with `mailferry accounts` what was done")]
    Lost,
    /// It says nothing.
    #[error("the gateway does not answer; its log says more")]
    Silent,
}

/// What is asked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The accounts and how they are.
    Accounts,
    /// The logins and when they were used.
    Logins,
    /// The steps of `mailferry check` that dial, for one account: token, then each protocol. Tells of each step.
    Check {
        /// The account's address.
        account: String,
    },
    /// Takes in a sign-in that a command has obtained.
    SignIn(SignInRequest),
    /// Forgets a sign-in.
    SignOut {
        /// The account's address.
        account: String,
    },
    /// Makes an account with a login for it, or neither. Of one that a command made, it changes the app.
    AddAccount {
        /// The name of an `[app.NAME]`.
        app: String,
        /// The login, and the account's address in it.
        login: AddLogin,
    },
    /// Makes a login.
    AddLogin(AddLogin),
    /// Ends a login and its sessions.
    RevokeLogin {
        /// Its number.
        id: i64,
    },
    /// Gives a login another password.
    RotateLogin {
        /// Its number.
        id: i64,
        /// The new password's hash.
        password_hash: String,
        /// How long the old one is still taken, in seconds.
        grace: u64,
    },
    /// Sends a message through the account.
    SendTest {
        /// The account's address.
        account: String,
        /// To whom.
        to: String,
    },
    /// What devices try, live: each step is told as progress, until whoever asks leaves.
    Watch {
        /// Only those at this address or in this network, as `192.168.7.0/24`.
        from: Option<String>,
    },
}

impl Request {
    /// Whether it goes on until whoever asks leaves.
    #[must_use]
    pub const fn is_endless(&self) -> bool {
        matches!(self, Self::Watch { .. })
    }

    /// Whether it only looks.
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        matches!(self, Self::Accounts | Self::Logins)
    }
}

impl fmt::Debug for Request {
    /// Leaves out what is secret, and hashes, which can be guessed at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts => f.write_str("Accounts"),
            Self::Logins => f.write_str("Logins"),
            Self::Check { account } => write!(f, "Check({account:?})"),
            Self::SignIn(sign_in) => sign_in.fmt(f),
            Self::SignOut { account } => write!(f, "SignOut({account:?})"),
            Self::AddAccount { app, login } => write!(f, "AddAccount({app:?}, {login:?})"),
            Self::AddLogin(login) => login.fmt(f),
            Self::RevokeLogin { id } => write!(f, "RevokeLogin({id})"),
            Self::RotateLogin { id, grace, .. } => write!(f, "RotateLogin({id}, {grace} s)"),
            Self::SendTest { account, to } => write!(f, "SendTest({account:?}, {to:?})"),
            Self::Watch { from } => write!(f, "Watch({from:?})"),
        }
    }
}

/// A sign-in that a command has obtained from the provider.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    /// The account's address.
    pub account: String,
    /// What it is a sign-in of, as [`SignInId`](crate::store::SignInId) writes it: provider, app and mailbox.
    pub id: String,
    /// What further tokens are fetched with.
    pub refresh_token: String,
    /// How long these can be fetched, in seconds, where the provider gave it a time.
    pub refresh_lives: Option<u64>,
    /// The token that came along; without one, one is fetched.
    pub access_token: Option<String>,
    /// How long that lives, in seconds.
    pub lives: u64,
    /// The names in the id token: none where there was no id token.
    pub names: Vec<String>,
    /// Who runs the command: a user of this machine.
    pub by: String,
}

impl fmt::Debug for SignInRequest {
    /// Leaves the tokens out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, names, by, .. } = self;
        write!(f, "SignInRequest({account:?}, {names:?}, by {by:?})")
    }
}

/// A login to be made.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddLogin {
    /// The address of the account it opens.
    pub account: String,
    /// The user name; where it is absent, the address.
    pub username: Option<String>,
    /// What it is for, in words.
    pub device: String,
    /// A PHC string, argon2id.
    pub password_hash: String,
    /// What it may speak; empty: all three.
    pub protocols: Vec<Protocol>,
    /// From where, as `192.168.7.0/24`; empty: whatever the listener allows.
    pub networks: Vec<String>,
}

impl fmt::Debug for AddLogin {
    /// Leaves the hash out: it can be guessed at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, username, device, .. } = self;
        write!(f, "AddLogin({account:?}, {username:?}, {device:?})")
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Accounts`].
    Accounts(Vec<AccountStatus>),
    /// To [`Request::Logins`].
    Logins(Vec<LoginStatus>),
    /// To [`Request::Check`]: what went wrong.
    Checked {
        /// How many steps went wrong.
        wrong: u32,
        /// Whether waiting may mend them: rights that spread, faults that pass.
        waiting_may_help: bool,
    },
    /// To [`Request::AddAccount`], [`Request::AddLogin`] and [`Request::RotateLogin`]: the new login.
    Login {
        /// Its number.
        id: i64,
        /// Its user name.
        username: String,
    },
    /// To everything else: what was done, one sentence.
    Done(String),
    /// It was not done.
    Failed {
        /// Whether the request was at fault, not the world.
        usage: bool,
        /// What happened and what to do, fit to be shown.
        what: String,
    },
}

impl Answer {
    /// The world is at fault.
    #[must_use]
    pub fn failed(what: impl Into<String>) -> Self {
        Self::Failed { usage: false, what: what.into() }
    }

    /// The request is at fault.
    #[must_use]
    pub fn misused(what: impl Into<String>) -> Self {
        Self::Failed { usage: true, what: what.into() }
    }
}

/// How an account is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// The mailbox.
    pub address: String,
    /// The app that opens it.
    pub app: String,
    /// Its provider.
    pub provider: String,
    /// Its grant, as it is called in the file.
    pub grant: String,
    /// Whether it is written in the file; else a command made it.
    pub from_the_file: bool,
    /// In one word.
    pub state: AccountState,
    /// What is wrong and what to do, where something is.
    pub detail: Option<String>,
    /// Who signed in, where somebody has to.
    pub sign_in: Option<SignInStatus>,
    /// When the token there is ends.
    pub token_ends: Option<Timestamp>,
    /// What will end soon: secrets, certificates, sign-ins.
    pub warnings: Vec<String>,
}

/// How an account is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountState {
    /// There is a good token.
    Ready,
    /// Nobody has used it yet.
    Unused,
    /// The token endpoint cannot be had at the moment.
    Waiting,
    /// Nobody is signed in.
    SignedOut,
    /// A person has to do something.
    NeedsPerson,
}

/// A sign-in, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignInStatus {
    /// The name the provider knows the person by, where it tells.
    pub name: Option<String>,
    /// Who ran the command.
    pub by: String,
    /// The app it was given to.
    pub client_id: String,
    /// When.
    pub at: Timestamp,
    /// When its refresh token was last used.
    pub exercised: Timestamp,
}

/// A login, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoginStatus {
    /// Its number; `None` for one of the file.
    pub id: Option<i64>,
    /// The mailbox it opens.
    pub account: String,
    /// The user name.
    pub username: String,
    /// What it is for, in words.
    pub device: String,
    /// What it may speak.
    pub protocols: Vec<Protocol>,
    /// From where; empty where the listener decides alone.
    pub networks: Vec<String>,
    /// When it ends, where its password was replaced.
    pub ends: Option<Timestamp>,
    /// When it was last used.
    pub used: Option<Timestamp>,
    /// From where it was last used.
    pub from: Option<IpAddr>,
    /// Whether nobody has used it for 90 days.
    pub unseen: bool,
}

/// An answer, some time from now.
pub type AnswerFuture<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Where lines that tell of progress go. Whoever does not listen any more is not told.
pub type Progress = mpsc::Sender<String>;

/// Answers requests.
pub trait Desk: Send + Sync {
    /// Does what is asked, and says on `progress` how it goes.
    fn handle(&self, request: Request, progress: Progress) -> AnswerFuture<'_>;
}
