//! TLS with a client: when it asks, and what is said in the log when it comes to nothing. A device shows its owner nothing
//! but "failed", so the log names the cure.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, Error, PeerIncompatible};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Arrival;
use super::drive::{Patience, Side};
use super::nuisance::Nuisance;
use super::record::{Ending, Record};
use super::watch::advice::Clue;
use crate::config::ListenerTls;
use crate::net::stream::{HandshakeTooLong, Stream};
use crate::net::tls;
use crate::proto::OCTETS_BEHIND_STARTTLS;
use crate::telemetry::log::PeerText;

/// How long a handshake may take, of the time to log in: an old device's own arithmetic takes seconds, and who has begun
/// one and says no more takes up memory.
const LONGEST: Duration = Duration::from_secs(10);

/// STARTTLS. What came in the clear before the handshake could have been put there by anybody on the way, and ends the
/// connection (CVE-2011-0411): nothing of it may be answered inside TLS.
pub(super) async fn start_tls(
    arrival: &mut Arrival<'_>,
    side: Side,
    patience: &Patience,
    record: &Record,
) -> Result<Side, Ending> {
    if !side.input.is_empty() {
        return Err(Ending::Misbehaved(OCTETS_BEHIND_STARTTLS));
    }
    let Stream::Plain(stream) = side.stream else { return Err(Ending::Internal("STARTTLS inside TLS")) };
    secure(arrival, stream, patience, record).await
}

/// The handshake. Once it is done, the visit is an encrypted one.
pub(super) async fn secure(
    arrival: &mut Arrival<'_>,
    stream: TcpStream,
    patience: &Patience,
    record: &Record,
) -> Result<Side, Ending> {
    let shared = arrival.shared;
    let Some(config) = shared.doors.of(arrival.listener) else {
        return Err(Ending::Internal("TLS without a certificate"));
    };
    let accepted = tokio::select! {
        biased;
        accepted = patience.wait(timeout(LONGEST, tls::accept(stream, config))) => accepted,
        () = shared.drain.began() => return Err(Ending::Drained),
    };
    match accepted {
        Ok(Ok(Ok(stream))) => {
            arrival.visit.encrypted = true;
            record.tap.is_under_tls();
            Ok(Side::new(stream))
        }
        Ok(Ok(Err((error, stream)))) => {
            let why = tell_of_failure(arrival, &error, record);
            // The alert that says why to the client is on its way: what it still sends must not overtake it.
            Side::new(Stream::Plain(stream)).close(b"").await;
            Err(Ending::NoTls(why))
        }
        Ok(Err(elapsed)) => Err(Ending::NoTls(tell_of_failure(arrival, &elapsed.into(), record))),
        Err(_) => Err(Ending::LoginDeadline),
    }
}

/// Tells of a handshake that failed, with what to do where that can be known.
fn tell_of_failure(arrival: &Arrival<'_>, error: &io::Error, record: &Record) -> &'static str {
    let (listener, peer, session) = (arrival.listener, arrival.visit.peer, record.session());
    let (why, cure) = meaning(error);
    let detail = error.to_string();
    record.tap.learn(Clue::TlsFailed { why, cure });
    arrival.shared.nuisances.tell(listener, Nuisance::FailedHandshake(why), peer, || {
        let detail = PeerText(detail.as_bytes());
        tracing::info!(session, listener = listener.name, %peer, %detail, "connection closed: the TLS handshake failed: {why}. {cure}");
    });
    why
}

/// Why a handshake failed, and what to do about it.
fn meaning(error: &io::Error) -> (&'static str, &'static str) {
    use AlertDescription as Alert;
    const NEWER: &str = "Switch TLS 1.2 on in the device, or update it; where it has none, put a proxy that speaks the \
                         old TLS before the gateway (docs/old-tls.md), or let it log in without TLS from a network of \
                         its own (plaintext_login)";
    const TRUST: &str = "Install the certificate that `mailferry cert` prints in the device, see that it connects to a name \
                         or address in it, or switch the device's check of certificates off";
    if error.kind() == io::ErrorKind::TimedOut {
        return (
            "it took more than 10 seconds",
            "A device that is too slow for TLS may log in without it from a network of its own (plaintext_login)",
        );
    }
    if error.get_ref().is_some_and(|inner| inner.is::<HandshakeTooLong>()) {
        return ("the client sent more than any handshake has", "No device is known to; find out what connects here");
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::PeerIncompatible(incompatible)) => match incompatible {
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // The list is missed before the version is looked at: no TLS 1.1 has it.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
                ("the client speaks TLS 1.1 or older, or a TLS 1.2 without its list of signature algorithms; the gateway \
                  speaks TLS 1.2 and 1.3 only", NEWER)
            }
            _ => ("the client knows none of the gateway's ways to encrypt, all of them forward secret", NEWER),
        },
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => (
            "what the client sent is no TLS handshake",
            "Switch TLS (SSL) on in the device, or set tls = \"auto\" for this listener, which takes both",
        ),
        Some(Error::AlertReceived(alert)) => match alert {
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired => ("the client does not trust the certificate", TRUST),
            Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
                ("the client refused what the gateway chose", NEWER)
            }
            _ => ("the client gave up", TRUST),
        },
        _ => (
            "the connection ended in the middle of it",
            "A client that does not trust the certificate, or does not know TLS, may do that too",
        ),
    }
}

/// Tells of a handshake that came where a command belongs, with the setting that would have been right.
pub(super) fn tell_of_hello(arrival: &Arrival<'_>, record: &Record) {
    let (listener, peer, session) = (arrival.listener, arrival.visit.peer, record.session());
    let cure = match listener.tls {
        _ if arrival.visit.encrypted => {
            "The connection is under TLS already: have it done once, by the device or by a proxy"
        }
        ListenerTls::None => "Set tls = \"auto\" for this listener, or switch TLS (SSL) off in the device",
        ListenerTls::StartTls => "Set tls = \"auto\" for this listener, or choose STARTTLS in the device",
        // It came too late to be taken for one.
        ListenerTls::Auto => "Choose STARTTLS in the device, or give it a listener of its own with tls = \"implicit\"",
        ListenerTls::Implicit => "See that only one side begins TLS",
    };
    arrival.shared.nuisances.tell(listener, Nuisance::TlsHello, peer, || {
        tracing::info!(
            session, listener = listener.name, %peer,
            "connection closed: the client began a TLS handshake where the gateway expects a command. {cure}"
        );
    });
}
