//! A certificate of our own, for who has none: one that a device can be told to trust, or that it takes unseen.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, SanType, date_time_ymd,
};
use zeroize::Zeroizing;

use super::certificate::CertificateError;

/// How long it holds. Whoever trusts it does so by its fingerprint, device by device and by hand, so its end is a day on
/// which all of them stop at once: ten years are more than a device lives.
const LIVES: Duration = Duration::from_secs(3653 * 24 * 3600);

/// How far a device's clock may be behind on the day it is made.
const SLACK: Duration = Duration::from_secs(2 * 24 * 3600);

/// The longest common name (RFC 5280, appendix A.1), in octets.
const MAX_COMMON_NAME: usize = 64;

/// What its key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// RSA with 2048 bits, which devices of every age know.
    #[default]
    Rsa,
    /// ECDSA on the curve P-256: smaller and faster, and unknown to old devices.
    P256,
}

/// Makes a private key, as PEM.
///
/// # Errors
/// When the system gives no random numbers.
pub fn make_key(kind: KeyKind) -> Result<Zeroizing<String>, CertificateError> {
    let made = KeyPair::generate_for(match kind {
        KeyKind::Rsa => &PKCS_RSA_SHA256,
        KeyKind::P256 => &PKCS_ECDSA_P256_SHA256,
    });
    Ok(Zeroizing::new(made.map_err(not_made)?.serialize_pem()))
}

/// Makes a certificate for `key` (PEM) and the `hosts`, names and addresses, as PEM. It certifies no others: were it an
/// authority, its key could vouch for any server to the devices that trust it.
///
/// # Errors
/// When the key cannot be used.
pub fn make_certificate(key: &str, hosts: &[String], now: SystemTime) -> Result<String, CertificateError> {
    let key = KeyPair::from_pem(key).map_err(not_made)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(not_made)?;
    params.subject_alt_names = hosts.iter().filter_map(|host| alternative_name(host)).collect();
    let name = hosts.iter().find(|host| host.len() <= MAX_COMMON_NAME);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name.map_or("mailferry", String::as_str));
    params.is_ca = IsCa::ExplicitNoCa;
    // The latter for clients that look for it with RSA, as they did when RSA encrypted the session's key.
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = date_time_ymd(1970, 1, 1) + since.saturating_sub(SLACK);
    params.not_after = date_time_ymd(1970, 1, 1) + since + LIVES;
    Ok(params.self_signed(&key).map_err(not_made)?.pem())
}

/// `None` where a host can be neither: it could not be connected to by that name either.
fn alternative_name(host: &str) -> Option<SanType> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(SanType::IpAddress(address));
    }
    host.try_into().ok().map(SanType::DnsName)
}

fn not_made(error: rcgen::Error) -> CertificateError {
    CertificateError::NotMade(error.to_string())
}
