//! TLS, 1.2 and 1.3. Towards upstreams: always verified against the system's roots and a provider's own. Towards
//! downstreams: with a listener's certificate.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ResolvesServerCert;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::Shown;
use super::stream::{Metered, Stream};
use crate::config::{CertificateFiles, Listener, ListenerTls};

/// A stalled peer must not make rustls hold more than this of what we want to send, in octets.
const SEND_BUFFER: usize = 32 * 1024;

/// The configuration for everything dialed at one provider; shared, so that TLS sessions are resumed.
///
/// # Errors
/// When neither the system nor `extra_roots` holds a root certificate.
pub fn client_config(extra_roots: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra_roots.iter().cloned(), Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        // "Dangerous" is rustls's word for any verifier that is not its own; this one is the operating system's.
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Makes a plain connection a TLS one, after checking that its certificate is for `host`.
///
/// # Errors
/// When the handshake fails or the certificate is not to be trusted.
pub(crate) async fn start(stream: TcpStream, host: &str, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream.into()).await?;
    stream.get_mut().1.set_buffer_limit(Some(SEND_BUFFER));
    Ok(Stream::Tls(Box::new(stream.into())))
}

/// How a listener that speaks TLS does: with `shown` for every name a client may ask for, and for those that ask for none,
/// as old devices do. Sessions are resumed: a printer's processor takes seconds for a whole handshake.
///
/// # Errors
/// When the system gives no random numbers.
fn server_config(shown: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Makes a plain connection a TLS one, as its server.
///
/// # Errors
/// When the handshake fails, or takes more than [`HANDSHAKE_OCTETS`](super::stream::HANDSHAKE_OCTETS) of the client's; the
/// connection is given back then, on which the client has been told why.
pub(crate) async fn accept(stream: TcpStream, config: &Arc<ServerConfig>) -> Result<Stream, (io::Error, TcpStream)> {
    let accepting = TlsAcceptor::from(Arc::clone(config)).accept(Metered::for_handshake(stream));
    let accepted = accepting.into_fallible().await;
    let mut stream = accepted.map_err(|(error, metered)| (error, metered.into_inner()))?;
    let (metered, session) = stream.get_mut();
    metered.lift();
    session.set_buffer_limit(Some(SEND_BUFFER));
    Ok(Stream::Tls(Box::new(stream.into())))
}

/// How listeners that speak TLS do, by the certificate they show.
#[derive(Debug, Default)]
pub(crate) struct Doors(Vec<Door>);

/// What a certificate's listeners do, and what it is.
#[derive(Debug)]
struct Door {
    /// As the listener has it: `None` is the certificate made in `state_dir`.
    files: Option<CertificateFiles>,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

impl Doors {
    /// Adds that of every listener with these `files`.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(crate) fn add(&mut self, files: Option<CertificateFiles>, shown: Shown) -> Result<(), rustls::Error> {
        let shown = Arc::new(shown);
        let config = server_config(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>)?;
        self.0.push(Door { files, shown, config });
        Ok(())
    }

    /// How `listener` speaks TLS; `None` where it does not.
    pub(crate) fn of(&self, listener: &Listener) -> Option<&Arc<ServerConfig>> {
        let mut doors = self.0.iter().filter(|_| listener.tls != ListenerTls::None);
        doors.find(|door| door.files == listener.certificate).map(|door| &door.config)
    }

    /// Each certificate that is shown now, and whether it was made by the gateway.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&Arc<Shown>, bool)> {
        self.0.iter().map(|door| (&door.shown, door.files.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use rustls::server::ClientHello;
    use rustls::sign::CertifiedKey;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::super::stream::{HANDSHAKE_OCTETS, HandshakeTooLong};
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl ResolvesServerCert for Nothing {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            None
        }
    }

    /// What becomes of the first `count` octets of a ClientHello of 65,000, in records of 4096, when there are no more.
    async fn begun(count: usize) -> io::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut message = vec![0; 15 * 4096];
        message[..4].copy_from_slice(&[1, 0, 0xfd, 0xe8]);
        let records: Vec<u8> = message
            .chunks(4096)
            .flat_map(|piece| [&[0x16, 3, 1, 0x10, 0][..], piece].concat())
            .take(count)
            .collect();
        client.write_all(&records).await.unwrap();
        client.shutdown().await.unwrap();
        let config = server_config(Arc::new(Nothing)).unwrap();
        let (error, _) = accept(listener.accept().await.unwrap().0, &config).await.unwrap_err();
        error
    }

    #[tokio::test]
    async fn of_a_handshake_no_more_is_read_than_one_has() {
        let is_too_long = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<HandshakeTooLong>());
        let error = begun(HANDSHAKE_OCTETS - 1).await;
        assert!(!is_too_long(&error), "{error}");
        let error = begun(HANDSHAKE_OCTETS).await;
        assert!(is_too_long(&error), "{error}");
    }
}
