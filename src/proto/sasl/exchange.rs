//! A downstream's SASL exchange (RFC 4422 section 3): PLAIN and LOGIN, from the mechanism's name to a login request.
//! It knows neither lines nor replies, so all three protocols share it, and it checks no password.

use zeroize::Zeroizing;

use super::plain::{self, Plain};
use super::{SaslError, decode_base64, login};
use crate::proto::{LoginRequest, MAX_CREDENTIAL, Mechanism};
use crate::secret::Password;

/// An exchange under way, by what it waits for.
#[derive(Debug)]
pub(crate) enum Exchange {
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

/// What a message led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The client is to be prompted.
    Prompting(Exchange),
    /// The client has said all there is to say.
    Complete(LoginRequest),
    /// The exchange is over without a login.
    Failed(ExchangeError),
}

/// Why an exchange came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExchangeError {
    /// The client answered a prompt with `*`.
    Cancelled,
    /// A message that is not base64, or not what the mechanism sends.
    Malformed,
    /// A message longer than any credentials.
    TooLong,
}

impl From<SaslError> for ExchangeError {
    fn from(error: SaslError) -> Self {
        match error {
            SaslError::Malformed => Self::Malformed,
            SaslError::TooLong => Self::TooLong,
        }
    }
}

impl Exchange {
    /// The exchange of a mechanism, whose name may be in any case; `None` for one that is not offered.
    pub(crate) const fn of(mechanism: &[u8]) -> Option<Self> {
        if mechanism.eq_ignore_ascii_case(b"PLAIN") {
            Some(Self::PlainMessage)
        } else if mechanism.eq_ignore_ascii_case(b"LOGIN") {
            Some(Self::Username)
        } else {
            None
        }
    }

    /// Begins with the initial response, if there is one. `=` stands for an empty one (RFC 4954 section 4); neither mechanism
    /// has a use for that, and devices that send it wait for the prompt.
    pub(crate) fn begin(self, initial_response: Option<&[u8]>) -> Progress {
        match initial_response {
            None | Some(b"=" | b"") => Progress::Prompting(self),
            Some(text) => self.take(text),
        }
    }

    /// The challenge that asks for the next message, in base64. LOGIN's are fixed: printers compare them.
    pub(crate) const fn prompt(&self) -> &'static str {
        match self {
            Self::PlainMessage => "",
            Self::Username => login::USERNAME_PROMPT,
            Self::Password { .. } => login::PASSWORD_PROMPT,
        }
    }

    /// Goes on with the client's answer to the prompt: a line, around which blanks are borne.
    pub(crate) fn respond(self, line: &[u8]) -> Progress {
        match line.trim_ascii() {
            b"*" => Progress::Failed(ExchangeError::Cancelled),
            text => self.take(text),
        }
    }

    fn take(self, text: &[u8]) -> Progress {
        let taken = match self {
            Self::PlainMessage => plain_request(text).map(Progress::Complete),
            Self::Username => {
                decode_base64(text, MAX_CREDENTIAL).map(|username| Progress::Prompting(Self::Password { username }))
            }
            Self::Password { username } => decode_base64(text, MAX_CREDENTIAL)
                .map(|password| Progress::Complete(login_request(username, password))),
        };
        taken.unwrap_or_else(|error| Progress::Failed(error.into()))
    }
}

fn plain_request(text: &[u8]) -> Result<LoginRequest, SaslError> {
    let Plain { authzid, authcid, password } = Plain::decode(&decode_base64(text, plain::MAX_MESSAGE)?)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sasl::encode_base64;

    fn finish(progress: Progress) -> Result<LoginRequest, ExchangeError> {
        match progress {
            Progress::Complete(request) => Ok(request),
            Progress::Failed(error) => Err(error),
            Progress::Prompting(exchange) => panic!("still prompts {:?}", exchange.prompt()),
        }
    }

    fn prompting(progress: Progress) -> Exchange {
        match progress {
            Progress::Prompting(exchange) => exchange,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn login_with_and_without_the_name_in_the_command() {
        let (name, secret) = (encode_base64(b"tim"), encode_base64(b"tanstaaf"));
        let asked = prompting(Exchange::of(b"login").unwrap().begin(None));
        assert_eq!(asked.prompt(), "VXNlcm5hbWU6");
        let asked = prompting(asked.respond(name.as_bytes()));
        let given = prompting(Exchange::of(b"LOGIN").unwrap().begin(Some(name.as_bytes())));
        for exchange in [asked, given] {
            assert_eq!(exchange.prompt(), "UGFzc3dvcmQ6");
            let request = finish(exchange.respond(secret.as_bytes())).unwrap();
            assert_eq!((request.username.as_slice(), request.password.expose()), (&b"tim"[..], &b"tanstaaf"[..]));
        }
    }

    #[test]
    fn an_empty_initial_response_is_none() {
        for mechanism in [&b"PLAIN"[..], b"LOGIN"] {
            for empty in [None, Some(&b"="[..]), Some(b"")] {
                let exchange = Exchange::of(mechanism).unwrap();
                let prompt = exchange.prompt();
                assert_eq!(prompting(exchange.begin(empty)).prompt(), prompt);
            }
        }
    }

    #[test]
    fn what_ends_it() {
        let long = encode_base64(&[b'x'; MAX_CREDENTIAL + 1]);
        for (line, error) in [
            (&b" * "[..], ExchangeError::Cancelled),
            (b"not base64", ExchangeError::Malformed),
            (long.as_bytes(), ExchangeError::TooLong),
        ] {
            assert_eq!(finish(Exchange::Username.respond(line)).unwrap_err(), error);
        }
        assert_eq!(finish(Exchange::PlainMessage.respond(b"dGlt")).unwrap_err(), ExchangeError::Malformed, "no NUL");
        assert!(Exchange::of(b"CRAM-MD5").is_none());
    }
}
