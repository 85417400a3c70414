//! AUTHENTICATE as the server (RFC 3501 section 6.2.2): the lines of an exchange, and what is said when it fails.
//!
//! Knows neither the tag nor the wire.

use super::command::Mechanism;
use crate::proto::line::Line;
use crate::proto::sasl::exchange::{Exchange, ExchangeError, Progress};
use crate::proto::{Input, sasl};

/// How far the reading of an exchange came.
pub(super) enum Reading {
    /// The line has not ended.
    Incomplete(Exchange),
    /// A line was read; this is what it led to.
    Read(Progress),
    /// A line past twice its cap.
    Endless,
}

/// Begins with what stood on the AUTHENTICATE line (RFC 4959 section 3); `None` for a mechanism that is not offered.
pub(super) fn begin(mechanism: Mechanism, initial: Option<&Line>) -> Option<Progress> {
    let exchange = match mechanism {
        Mechanism::Plain => Exchange::PlainMessage,
        Mechanism::Login => Exchange::Username,
        Mechanism::Unknown => return None,
    };
    Some(exchange.begin(initial.map(|message| message.as_slice())))
}

/// Goes on with the next line.
pub(super) fn read(exchange: Exchange, input: &mut Input) -> Reading {
    let before = input.len();
    match input.other_line(2 * sasl::MAX_LINE) {
        Ok(None) => Reading::Incomplete(exchange),
        Ok(Some(_)) if before - input.len() > sasl::MAX_LINE => Reading::Read(Progress::Failed(ExchangeError::TooLong)),
        Ok(Some(line)) => Reading::Read(exchange.respond(&line)),
        Err(_) => Reading::Endless,
    }
}

/// Why an exchange came to nothing, for the reader.
pub(super) const fn why(error: ExchangeError) -> &'static str {
    match error {
        ExchangeError::Cancelled => "AUTHENTICATE cancelled",
        ExchangeError::Malformed => "Malformed SASL message",
        ExchangeError::TooLong => "SASL message too long",
    }
}
