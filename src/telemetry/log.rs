//! The log: set up once, to standard error; and how text that peers sent is shown in it.

use std::fmt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// Starts the log. A second call changes nothing.
///
/// # Errors
/// When the filter is not one.
pub fn start(log: &Log) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error here means that a log is running already, which tests and embedders may have set up.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// What a peer sent, for a log line or a reply: printable ASCII as it is, everything else escaped.
#[derive(Clone, Copy)]
pub struct PeerText<'a>(pub &'a [u8]);

impl fmt::Display for PeerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0 {
            match octet {
                b'\\' => f.write_str("\\\\")?,
                0x20..=0x7e => write!(f, "{}", char::from(*octet))?,
                _ => write!(f, "{}", octet.escape_ascii())?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PeerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The most that is shown of a name a peer gave itself, in octets.
const NAME_SHOWN: usize = 64;

/// The name a peer gave itself, as [`PeerText`]: of a long one the beginning, and how long it is.
#[derive(Clone, Copy)]
pub struct PeerName<'a>(pub &'a [u8]);

impl fmt::Display for PeerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(NAME_SHOWN)];
        write!(f, "{}", PeerText(shown))?;
        if shown.len() < self.0.len() {
            write!(f, "... ({} octets)", self.0.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_text_cannot_begin_a_line_or_colour_a_terminal() {
        let shown = PeerText(b"a\r\nINFO fake \x1b[31m\xe9\\").to_string();
        assert_eq!(shown, "a\\r\\nINFO fake \\x1b[31m\\xe9\\\\");
    }

    #[test]
    fn a_long_name_is_shown_by_its_beginning() {
        assert_eq!(PeerName(b"scanner\n").to_string(), "scanner\\n");
        assert_eq!(PeerName(&[b'n'; 64]).to_string(), "n".repeat(64));
        let shown = PeerName(&[0xff; 1024]).to_string();
        assert_eq!(shown, "\\xff".repeat(64) + "... (1024 octets)");
    }
}
