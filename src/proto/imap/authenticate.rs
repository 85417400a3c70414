//! AUTHENTICATE as the server (RFC 3501 section 6.2.2): the messages of SASL PLAIN and LOGIN, one line each.
//!
//! Knows neither the tag nor the wire: it says what to prompt and how the exchange ends.

use zeroize::Zeroizing;

use crate::proto::line::Line;
use crate::proto::sasl::plain::Plain;
use crate::proto::sasl::{self, SaslError};
use crate::proto::{Input, LoginRequest, MAX_CREDENTIAL, Mechanism};
use crate::secret::Password;

use super::command;

/// What the other side has yet to send.
pub(super) enum Exchange {
    Plain,
    LoginName,
    LoginPassword { username: Zeroizing<Vec<u8>> },
}

/// How far the exchange came.
pub(super) enum Progress {
    /// The line has not ended.
    Incomplete(Exchange),
    /// Send this challenge, in base64, and read on.
    Challenged(&'static str, Exchange),
    /// Everything has been said.
    Finished(LoginRequest),
    /// It came to nothing; why, for the reader.
    Failed(&'static str),
    /// A line past twice its cap.
    Endless,
}

impl Exchange {
    /// Begins with what stood on the AUTHENTICATE line (RFC 4959 section 3).
    pub(super) fn begin(mechanism: command::Mechanism, initial: Option<Line>) -> Progress {
        match (mechanism, initial) {
            // No message of PLAIN's is empty: who sends `=` there means that nothing has been sent yet.
            (command::Mechanism::Plain, Some(message)) if !message.is_empty() => Self::Plain.take(&message),
            (command::Mechanism::Plain, _) => Progress::Challenged("", Self::Plain),
            (command::Mechanism::Login, Some(username)) => Self::LoginName.take(&username),
            (command::Mechanism::Login, None) => Progress::Challenged(sasl::login::USERNAME_PROMPT, Self::LoginName),
            (command::Mechanism::Unknown, _) => Progress::Failed("Unknown mechanism: use PLAIN or LOGIN"),
        }
    }

    /// Goes on with the next line.
    pub(super) fn read(self, input: &mut Input) -> Progress {
        let before = input.len();
        match input.line(2 * sasl::MAX_LINE) {
            Ok(None) => Progress::Incomplete(self),
            // How the other side gives up.
            Ok(Some(line)) if line.as_slice() == b"*" => Progress::Failed("AUTHENTICATE cancelled"),
            Ok(Some(_)) if before - input.len() > sasl::MAX_LINE => failed(SaslError::TooLong),
            Ok(Some(line)) => self.take(&line),
            Err(_) => Progress::Endless,
        }
    }

    fn take(self, base64: &[u8]) -> Progress {
        let progress = match self {
            Self::Plain => read_plain(base64).map(Progress::Finished),
            Self::LoginName => sasl::decode_base64(base64, MAX_CREDENTIAL)
                .map(|username| Progress::Challenged(sasl::login::PASSWORD_PROMPT, Self::LoginPassword { username })),
            Self::LoginPassword { username } => sasl::decode_base64(base64, MAX_CREDENTIAL).map(|password| {
                Progress::Finished(LoginRequest {
                    mechanism: Mechanism::Login,
                    authzid: Vec::new(),
                    username: username.to_vec(),
                    password: Password::new(password.to_vec()),
                })
            }),
        };
        progress.unwrap_or_else(failed)
    }
}

/// RFC 4616 section 2.
fn read_plain(base64: &[u8]) -> Result<LoginRequest, SaslError> {
    // Three parts, and the NULs between them.
    const MAX_PLAIN: usize = 3 * MAX_CREDENTIAL + 2;
    let message = sasl::decode_base64(base64, MAX_PLAIN)?;
    let Plain { authzid, authcid, password } = sasl::plain::decode(&message)?;
    if [&authzid, &authcid, password.expose()]
        .iter()
        .any(|part| part.len() > MAX_CREDENTIAL)
    {
        return Err(SaslError::TooLong);
    }
    Ok(LoginRequest { mechanism: Mechanism::Plain, authzid, username: authcid, password })
}

const fn failed(error: SaslError) -> Progress {
    Progress::Failed(match error {
        SaslError::Malformed => "Malformed SASL message",
        SaslError::TooLong => "SASL message too long",
    })
}
