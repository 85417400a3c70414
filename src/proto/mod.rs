//! The protocol machines: bytes in, steps out. Nothing here knows a socket, a clock or a log.
//!
//! A [`Machine`] is one side of one login dialogue. It is given what the peer sent, writes what the peer
//! shall be sent, and returns a [`Step`] that tells the driver what to do next. Time-outs, TLS and sockets are
//! the driver's (`session::drive`).

pub mod imap;
pub mod line;
mod mistakes;
pub mod pop3;
pub mod sasl;
pub mod smtp;

#[cfg(test)]
pub(crate) mod play;

use thiserror::Error;

use crate::secret::{AccessToken, Password};
pub use line::{Input, Overhears, Used};

/// What the driver has to do next. Whatever the machine has written to `out` is sent first, in every case.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// All complete input is used up; read more and call `advance` again.
    NeedInput,
    /// `out` has grown as far as it should; send it and call `advance` again. Nothing need be read.
    Flush,
    /// Start TLS, in the role this side has. Bytes that arrived before it must not be read as protocol.
    StartTls,
    /// Something the session has to decide on or learn. Where it asks for an answer, `Machine::answer` comes before
    /// the next `advance`.
    Event(E),
    /// The dialogue is over and succeeded; what is left in the input belongs to whoever reads next.
    Relay,
    /// The dialogue is over; close the connection.
    Close(CloseReason),
}

/// Why a machine ended its dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer said goodbye (QUIT, LOGOUT) and was answered.
    Quit,
    /// Three failed logins, three commands that no server knows, or ten malformed ones.
    TooManyErrors,
    /// A line went past twice its cap, or a literal could not be skipped safely.
    TooLong,
    /// The upstream refused us and was told goodbye; the event before says what it said.
    Refused,
    /// A message was too big, and the upstream has a part of it.
    TooBig,
    /// Bytes behind refused message data could have been read as commands, so the connection ends.
    RefusedData,
    /// A TLS handshake began where a command should have.
    TlsHello,
}

/// A peer broke the protocol so that going on would be unsafe. The text is ours: it holds nothing the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtoError {
    /// The legacy side did.
    #[error("the downstream broke the protocol: {0}")]
    DownstreamMisbehaved(&'static str),
    /// The provider's side did.
    #[error("the upstream broke the protocol: {0}")]
    UpstreamMisbehaved(&'static str),
}

/// What a machine says to octets behind the answer to STARTTLS or STLS: they came in the clear, and would be read as if
/// they had come over TLS (CVE-2021-38371).
pub const OCTETS_BEFORE_TLS: ProtoError =
    ProtoError::UpstreamMisbehaved("octets between the answer to STARTTLS and the handshake");

/// What a machine says to octets behind a client's STARTTLS or STLS that came with it: whoever put them there wants them
/// to be read as if they had come over TLS (CVE-2011-0411).
pub const OCTETS_BEHIND_STARTTLS: ProtoError = ProtoError::DownstreamMisbehaved("octets behind STARTTLS, in the clear");

/// How every TLS record of a handshake begins: no command of any protocol here does (RFC 8446 section 5.1).
pub const HANDSHAKE: [u8; 2] = [0x16, 0x03];

/// Whether what came where a command should begin is a TLS handshake.
fn is_tls_hello(begun: &[u8]) -> bool {
    begun.starts_with(&HANDSHAKE)
}

/// What a downstream may do before its login on the channel that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// A password is taken.
    pub password: bool,
    /// SMTP: mail is taken from who does not log in, if a login is for its address.
    pub by_address: bool,
}

impl Access {
    /// Nothing but to say goodbye, or to ask for TLS.
    pub const NONE: Self = Self { password: false, by_address: false };
    /// Logging in with a password.
    pub const PASSWORD: Self = Self { password: true, by_address: false };
}

/// One side of a login dialogue.
pub trait Machine {
    /// What the session is told of.
    type Event;
    /// What the session decides.
    type Answer;

    /// Uses as much of `input` as it can and appends what the peer shall be sent to `out`.
    ///
    /// Any split of the same bytes into several calls gives the same output and events (rule 1).
    ///
    /// # Errors
    /// When the peer broke the protocol so that the connection has to be dropped.
    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<Self::Event>, ProtoError>;

    /// Answers the event that `advance` returned last.
    fn answer(&mut self, answer: Self::Answer, out: &mut Vec<u8>);
}

/// How much a machine writes before it asks for a [`Step::Flush`], in octets: a peer that pipelines thousands of
/// commands and reads no reply must not make us hold the replies.
pub const FLUSH_AT: usize = 4096;

/// What a downstream machine asks the session to decide: may this one log in?
#[derive(Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// How the password came.
    pub mechanism: Mechanism,
    /// SASL PLAIN's authorization identity; empty where none was given.
    pub authzid: Vec<u8>,
    /// The user name exactly as sent, at most [`MAX_CREDENTIAL`] octets, not yet checked in any way.
    pub username: Vec<u8>,
    /// The password exactly as sent, at most [`MAX_CREDENTIAL`] octets.
    pub password: Password,
}

/// The longest user name or password taken from a downstream, in octets.
pub const MAX_CREDENTIAL: usize = 1024;

/// How a downstream sent its user name and password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// SASL PLAIN (RFC 4616).
    Plain,
    /// SASL LOGIN (never standardised; draft-murchison-sasl-login).
    Login,
    /// The protocol's own command: IMAP LOGIN, POP3 USER and PASS.
    Command,
}

/// The session's answer to a [`LoginRequest`]. `A` is what a protocol says on success, `R` its refusal.
#[derive(Debug, Clone)]
pub enum LoginAnswer<A, R> {
    /// The upstream has accepted us: say so.
    Accepted(A),
    /// Not now or not ever: say this.
    Refused {
        /// The reply, in the protocol's own terms.
        reply: R,
        /// Whether this was the last try; the machine then says goodbye and closes.
        last: bool,
    },
}

/// Whom an upstream machine logs in as, and where. It has none until it asks ([`UpstreamEvent::CredentialWanted`]).
#[derive(Debug, Clone)]
pub struct Credential {
    /// The mailbox: `user=` of XOAUTH2.
    pub user: String,
    /// The token that opens it.
    pub token: AccessToken,
    /// The name of the server that it is for, which OAUTHBEARER says to the server.
    pub host: String,
    /// Its port, likewise.
    pub port: u16,
}

/// What a dialogue with an upstream comes to. `C` is what the protocol learnt on success.
#[derive(Debug, PartialEq, Eq)]
pub enum UpstreamEvent<C> {
    /// The upstream is ready for our login. The answer is the [`Credential`], from whoever knows the channel: a machine
    /// that has not asked for TLS where TLS is demanded cannot send what it was never given.
    CredentialWanted,
    /// We are logged in; the next step is [`Step::Relay`].
    LoggedIn(C),
    /// We are not; the next step is [`Step::Close`].
    Refused(UpstreamRefusal),
}

/// What an upstream said when it would not let us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRefusal {
    /// Whose fault it is, from the codes in the reply and nothing else.
    pub kind: RefusalKind,
    /// Where in the dialogue, as a phrase: "greeting", "STARTTLS", "AUTH XOAUTH2", "AUTHENTICATE OAUTHBEARER".
    pub stage: &'static str,
    /// The upstream's words, one line, cut at 512 octets. Peer text: escape it wherever it is shown.
    pub said: Vec<u8>,
    /// What a failure challenge held after base64 (JSON), cut at 512 octets. Peer text.
    pub challenge: Option<Vec<u8>>,
}

/// Whose fault an upstream's refusal is (see the catalogue of Microsoft's and others' replies).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The token or the user in it: a fresh token may help, once.
    Token,
    /// The mailbox's rights: no token helps until a person grants them.
    Rights,
    /// A policy or switch at the provider: no token helps until a person changes it.
    Policy,
    /// The upstream cannot serve anyone right now.
    Transient,
    /// The upstream lacks what we need: no mechanism that takes a token, no STARTTLS.
    Unsupported,
}

/// The longest peer text kept for a log line, in octets.
pub const MAX_SAID: usize = 512;

/// Cuts peer text to [`MAX_SAID`] octets.
#[must_use]
pub fn said(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(MAX_SAID)].to_vec()
}
