//! Where the legacy side connects, and what it speaks there.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The three protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Submission, RFC 6409.
    Smtp,
    /// RFC 3501 and 9051.
    Imap,
    /// RFC 1939.
    Pop3,
}

impl Protocol {
    /// All three, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::Smtp, Self::Imap, Self::Pop3];

    /// The name in the configuration and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `[[listener]]`.
#[derive(Debug)]
pub struct Listener {
    /// Shown in logs.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it listens. Port 0 takes any free port.
    pub bind: Vec<SocketAddr>,
    /// Who may connect.
    pub allow: Vec<IpNet>,
    /// From where a password is taken without TLS.
    pub plaintext_login: Vec<IpNet>,
    /// How connections are protected.
    pub tls: ListenerTls,
    /// What it shows under TLS; `None`: the certificate made in `state_dir`.
    pub certificate: Option<CertificateFiles>,
    /// Peers that may, and must, say with a PROXY header whom they speak for.
    pub proxy_protocol: Vec<IpNet>,
}

/// `[[listener]] tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerTls {
    /// Not at all.
    None,
    /// Whoever asks for it with STARTTLS or STLS.
    StartTls,
    /// From the first octet.
    Implicit,
    /// From the first octet where that begins a handshake, else as [`StartTls`](Self::StartTls).
    Auto,
}

/// A certificate chain and its private key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the listener's own certificate first.
    pub certificate: PathBuf,
    /// The key of the first certificate.
    pub private_key: PathBuf,
}
