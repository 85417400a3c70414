//! A client's side of TLS, by who trusts one certificate.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, in_time};

/// A client under TLS.
pub type Secured = Client<TlsStream<TcpStream>>;

/// The certificate that a gateway in this folder has made.
pub fn own_certificate(folder: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join("state/certificate.pem")).unwrap()
}

/// Trusts this certificate and no other.
pub fn trusting(certificate: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The handshake, on a connection on which all that came has been read.
pub async fn secured(client: Client, host: &str, config: &Arc<ClientConfig>) -> io::Result<Secured> {
    assert_eq!(client.connection.buffer(), b"", "something came before the handshake");
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = in_time(connector.connect(name, client.connection.into_inner())).await?;
    Ok(Client { connection: BufReader::new(stream) })
}
