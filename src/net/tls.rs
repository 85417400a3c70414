//! TLS towards upstreams: TLS 1.2 and 1.3, always verified against the system's roots and a provider's own.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::stream::Stream;

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
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    stream.get_mut().1.set_buffer_limit(Some(SEND_BUFFER));
    Ok(Stream::Tls(Box::new(stream)))
}
