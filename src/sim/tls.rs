//! The simulator's own certificate authority, and the certificates, right and wrong, that its servers show.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::faults::Certificate;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The root that clients of the simulator are told to trust.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> io::Result<Self> {
        let mut params = params(Vec::new(), "mailferry simulator root", DAY * 365)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        CertifiedIssuer::self_signed(params, key).map(Self).map_err(io::Error::other)
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's acceptor for the right certificate, or for a wrong one.
    fn acceptor(&self, wrong: Option<Certificate>) -> io::Result<TlsAcceptor> {
        let hostile: Vec<_> = (0..20)
            .map(|number| format!("{number}\nINFO \x1b[2J.{}", "x".repeat(60)))
            .collect();
        let hosts = match wrong {
            Some(Certificate::WrongName) => vec!["elsewhere.example"],
            Some(Certificate::HostileNames) => hostile.iter().map(String::as_str).collect(),
            _ => vec!["localhost"],
        };
        let mut names = Vec::new();
        for host in &hosts {
            names.push(SanType::DnsName((*host).try_into().map_err(io::Error::other)?));
        }
        if hosts == ["localhost"] {
            names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        }
        let lives = if wrong == Some(Certificate::Expired) { Duration::ZERO } else { DAY * 365 };
        let mut params = params(names, hosts[0], lives)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = match wrong {
            Some(Certificate::SelfSigned) => params.self_signed(&key),
            _ => params.signed_by(&key, &self.0),
        };
        let certificate = certificate.map_err(io::Error::other)?;
        acceptor(certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }
}

/// The acceptors of one simulator.
pub(super) struct Acceptors {
    right: TlsAcceptor,
    self_signed: TlsAcceptor,
    wrong_name: TlsAcceptor,
    hostile_names: TlsAcceptor,
    expired: TlsAcceptor,
}

impl Acceptors {
    pub(super) fn new(authority: &Authority) -> io::Result<Self> {
        Ok(Self {
            right: authority.acceptor(None)?,
            self_signed: authority.acceptor(Some(Certificate::SelfSigned))?,
            wrong_name: authority.acceptor(Some(Certificate::WrongName))?,
            hostile_names: authority.acceptor(Some(Certificate::HostileNames))?,
            expired: authority.acceptor(Some(Certificate::Expired))?,
        })
    }

    pub(super) fn get(&self, wrong: Option<Certificate>) -> TlsAcceptor {
        match wrong {
            None => self.right.clone(),
            Some(Certificate::SelfSigned) => self.self_signed.clone(),
            Some(Certificate::WrongName) => self.wrong_name.clone(),
            Some(Certificate::HostileNames) => self.hostile_names.clone(),
            Some(Certificate::Expired) => self.expired.clone(),
        }
    }
}

/// What every certificate here has in common: valid since the day before yesterday, and for `lives` from yesterday on.
fn params(names: Vec<SanType>, common_name: &str, lives: Duration) -> io::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
    params.subject_alt_names = names;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY * 2);
    params.not_after = date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY) + lives;
    Ok(params)
}

fn acceptor(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> io::Result<TlsAcceptor> {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
