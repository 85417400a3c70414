//! A downstream's SASL exchange (RFC 4954 section 4): PLAIN and LOGIN, from the AUTH command to a login request.
//! It knows no line and no connection, and checks no password.

use zeroize::Zeroizing;

use super::command::words;
use super::reply::Reply;
use crate::proto::sasl::plain::{self, Plain};
use crate::proto::sasl::{self, SaslError, login};
use crate::proto::{LoginRequest, MAX_CREDENTIAL, Mechanism};
use crate::secret::Password;

/// What a line of an exchange led to.
pub(super) enum Progress {
    /// The client is to be prompted, and answers this.
    Prompting(Exchange),
    /// The client has said all there is to say.
    Complete(LoginRequest),
    /// The exchange is over without a login.
    Failed(Reply),
}

/// An exchange under way, by what it waits for.
pub(super) enum Exchange {
    /// PLAIN's only message (RFC 4616).
    PlainMessage,
    /// LOGIN's first message.
    Username,
    /// LOGIN's second message.
    Password {
        /// What the first message held.
        username: Zeroizing<Vec<u8>>,
    },
}

impl Exchange {
    /// Begins with what follows `AUTH`: a mechanism and perhaps an initial response.
    pub(super) fn begin(arguments: &[u8]) -> Progress {
        let mut words = words(arguments);
        let (Some(mechanism), initial_response, None) = (words.next(), words.next(), words.next()) else {
            return Progress::Failed(BAD_SYNTAX);
        };
        let exchange = if mechanism.eq_ignore_ascii_case(b"PLAIN") {
            Self::PlainMessage
        } else if mechanism.eq_ignore_ascii_case(b"LOGIN") {
            Self::Username
        } else {
            return Progress::Failed(UNKNOWN_MECHANISM);
        };
        match initial_response {
            // "=" is an empty initial response (RFC 4954 section 4). Neither mechanism has a use for one, and devices
            // that send it wait for the prompt.
            None | Some(b"=") => Progress::Prompting(exchange),
            Some(text) => exchange.take(text),
        }
    }

    /// The text of the 334 reply that asks for the next message. The prompts of LOGIN are fixed: printers compare them.
    pub(super) const fn prompt(&self) -> &'static str {
        match self {
            Self::PlainMessage => "",
            Self::Username => login::USERNAME_PROMPT,
            Self::Password { .. } => login::PASSWORD_PROMPT,
        }
    }

    /// Goes on with the client's answer to the prompt, a line without the blanks around it.
    pub(super) fn respond(self, line: &[u8]) -> Progress {
        if line == b"*" { Progress::Failed(CANCELLED) } else { self.take(line) }
    }

    fn take(self, text: &[u8]) -> Progress {
        let taken = match self {
            Self::PlainMessage => plain_request(text).map(Progress::Complete),
            Self::Username => sasl::decode_base64(text, MAX_CREDENTIAL)
                .map(|username| Progress::Prompting(Self::Password { username })),
            Self::Password { username } => sasl::decode_base64(text, MAX_CREDENTIAL)
                .map(|password| Progress::Complete(login_request(username, password))),
        };
        taken.unwrap_or_else(|error| {
            Progress::Failed(match error {
                SaslError::Malformed => BAD_SYNTAX,
                SaslError::TooLong => LINE_TOO_LONG,
            })
        })
    }
}

fn plain_request(text: &[u8]) -> Result<LoginRequest, SaslError> {
    let Plain { authzid, authcid, password } = Plain::decode(&sasl::decode_base64(text, plain::MAX_MESSAGE)?)?;
    Ok(LoginRequest { mechanism: Mechanism::Plain, authzid, username: authcid, password })
}

fn login_request(mut username: Zeroizing<Vec<u8>>, mut password: Zeroizing<Vec<u8>>) -> LoginRequest {
    LoginRequest {
        mechanism: Mechanism::Login,
        authzid: Vec::new(),
        username: std::mem::take(&mut *username),
        password: Password::new(std::mem::take(&mut *password)),
    }
}

/// A SASL line, or what it holds, is longer than anyone needs (RFC 4954 section 4). Also said of commands.
pub(super) const LINE_TOO_LONG: Reply = Reply::fixed(500, "5.5.6", "The line is too long");
const BAD_SYNTAX: Reply = Reply::fixed(501, "5.5.2", "The AUTH command or its response cannot be decoded");
const CANCELLED: Reply = Reply::fixed(501, "5.7.0", "Authentication cancelled");
const UNKNOWN_MECHANISM: Reply = Reply::fixed(504, "5.5.4", "The mechanism is unknown: use PLAIN or LOGIN");
