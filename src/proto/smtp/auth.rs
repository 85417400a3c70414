//! AUTH as the server (RFC 4954 section 4): the command's arguments, and the replies an exchange can end in.

use super::command::words;
use super::reply::Reply;
use crate::proto::sasl::exchange::{Exchange, ExchangeError, Progress};

/// Begins with what follows `AUTH`: a mechanism and perhaps an initial response.
pub(super) fn begin(arguments: &[u8]) -> Result<Progress, Reply> {
    let mut words = words(arguments);
    let (Some(mechanism), initial_response, None) = (words.next(), words.next(), words.next()) else {
        return Err(BAD_SYNTAX);
    };
    let exchange = Exchange::of(mechanism).ok_or(UNKNOWN_MECHANISM)?;
    Ok(exchange.begin(initial_response))
}

/// How an exchange that came to nothing is answered.
pub(super) const fn reply(error: ExchangeError) -> Reply {
    match error {
        ExchangeError::Cancelled => CANCELLED,
        ExchangeError::Malformed => BAD_SYNTAX,
        ExchangeError::TooLong => LINE_TOO_LONG,
    }
}

/// A SASL line, or what it holds, is longer than anyone needs. Also said of commands.
pub(super) const LINE_TOO_LONG: Reply = Reply::fixed(500, "5.5.6", "The line is too long");
const BAD_SYNTAX: Reply = Reply::fixed(501, "5.5.2", "The AUTH command or its response cannot be decoded");
const CANCELLED: Reply = Reply::fixed(501, "5.7.0", "Authentication cancelled");
const UNKNOWN_MECHANISM: Reply = Reply::fixed(504, "5.5.4", "The mechanism is unknown: use PLAIN or LOGIN");
