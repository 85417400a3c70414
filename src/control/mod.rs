//! What commands may ask of a running gateway: the requests, the answers, and who may ask what.
//!
//! One request a connection: a line of JSON there, lines of JSON back, of which the last is the answer and those before
//! it tell of progress. [`Desk`] is what answers: the running gateway behind its socket, or, where none runs, the command
//! itself with the store opened.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::config::Protocol;

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// Makes an account, or changes the app of one that a command made.
    AddAccount {
        /// Its address.
        address: String,
        /// The name of an `[app.NAME]`.
        app: String,
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
}

impl Request {
    /// Whether it only looks.
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        matches!(self, Self::Accounts | Self::Logins)
    }
}

/// A sign-in that a command has obtained from the provider.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    /// The account's address.
    pub account: String,
    /// What further tokens are fetched with.
    pub refresh_token: String,
    /// The token that came along; without one, one is fetched.
    pub access_token: Option<String>,
    /// How long that lives, in seconds.
    pub lives: u64,
    /// The names in the id token: none where there was no id token.
    pub names: Vec<String>,
    /// Who runs the command: a user of this machine.
    pub by: String,
}

impl std::fmt::Debug for SignInRequest {
    /// Leaves the tokens out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

impl std::fmt::Debug for AddLogin {
    /// Leaves the hash out: it can be guessed at.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    /// To [`Request::AddLogin`] and [`Request::RotateLogin`]: the new login's number.
    Login {
        /// The number.
        id: i64,
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
