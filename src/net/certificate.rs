//! The certificate that a listener shows: read from its files, seen to fit its key, and read again when they change.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_STANDARD, Engine};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};
use zeroize::Zeroizing;

use crate::config::{CertificateFiles, holds_private_key, others_can_read};

/// Why a certificate cannot be shown.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file of it is not what it should be. The sentence says what to do.
    #[error("{}: {why}", file.display())]
    Unusable {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of it cannot be read, now at least.
    #[error("{}: {}", file.display(), unreadable(.error))]
    Unread {
        /// Which.
        file: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// None could be made.
    #[error("a certificate cannot be made: {0}")]
    NotMade(String),
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// SHA-256 of the whole certificate, as colons and upper-case hexadecimal: what devices and programs show.
    pub fingerprint: String,
    /// The DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// From when it holds.
    pub begins: SystemTime,
    /// Until when.
    pub ends: SystemTime,
}

impl Facts {
    /// Whether it is for this host: a name, or an address as a client writes it.
    #[must_use]
    pub fn cover(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().filter_map(name).collect(),
            _ => Vec::new(),
        };
        let octets = digest(&SHA256, certificate);
        let fingerprint: Vec<String> = octets.as_ref().iter().map(|octet| format!("{octet:02X}")).collect();
        let at = |time: x509_parser::time::ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        let validity = parsed.validity();
        let (begins, ends) = (at(validity.not_before), at(validity.not_after));
        Some(Self { fingerprint: fingerprint.join(":"), names, begins, ends })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from))
                .map(|address| address.to_string())
                .ok()
        }
        _ => None,
    }
}

/// A certificate that can be shown.
#[derive(Debug)]
struct Readable {
    key: Arc<CertifiedKey>,
    facts: Facts,
}

impl Readable {
    /// Reads the files and sees that they belong together.
    fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let (certificate, private_key) = (&files.certificate, &files.private_key);
        let chain = chain(certificate)?;
        let key = private_key_of(private_key)?;
        let unusable =
            |file: &Path, why: &str| CertificateError::Unusable { file: file.to_owned(), why: why.to_owned() };
        let Some(facts) = chain.first().and_then(Facts::of) else {
            return Err(unusable(certificate, "its first certificate is none of X.509; make or fetch it anew"));
        };
        // Before the key: no key is found to fit a certificate that is not understood.
        if let Some(version) = chain.first().and_then(old_version) {
            let why = format!(
                "the certificate is of X.509 version {version} and must be of version 3; make one with: openssl req -x509 \
                 -newkey rsa:2048 -nodes -days 3650 -subj /CN=NAME -addext subjectAltName=DNS:NAME -keyout FILE.key -out \
                 FILE.pem"
            );
            return Err(unusable(certificate, &why));
        }
        let provider: CryptoProvider = default_provider();
        let key = provider.key_provider.load_private_key(key).map_err(|error| {
            unusable(private_key, &format!("the private key cannot be used ({error}); RSA and ECDSA can"))
        })?;
        let fits = |chain: Vec<CertificateDer<'static>>| {
            let certified = CertifiedKey::new(chain, Arc::clone(&key));
            certified.keys_match().is_ok().then_some(certified)
        };
        if let Some(certified) = fits(chain.clone()) {
            return Ok(Self { key: Arc::new(certified), facts });
        }
        if chain.into_iter().any(|one| fits(vec![one]).is_some()) {
            return Err(unusable(
                certificate,
                "the server's own certificate is not the first; put it before those of its issuers",
            ));
        }
        let why = format!(
            "the private key is not that of the certificate in {}; name the two that were made together",
            certificate.display()
        );
        Err(unusable(private_key, &why))
    }
}

/// Reads the certificates of a file.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let unusable = |why: String| CertificateError::Unusable { file: file.to_owned(), why };
    let octets = octets(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        // DER begins with a SEQUENCE.
        Ok(_) if octets.starts_with(&[0x30]) => Err(unusable(
            "it is DER and must be PEM; convert it with: openssl x509 -inform der -in FILE -out FILE.pem".into(),
        )),
        Ok(_) => {
            Err(unusable("it holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE----- in it".into()))
        }
        Err(error) => Err(unusable(format!("it is no good PEM ({error}); make or fetch it anew"))),
    }
}

/// A certificate's version where that is before 3, which alone has names to be known by (RFC 5280 section 4.1.2.1).
fn old_version(certificate: &CertificateDer<'static>) -> Option<u32> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    (parsed.version() != X509Version::V3).then(|| parsed.version().0 + 1)
}

/// Reads the private key of a file.
fn private_key_of(file: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let unusable = |why: &str| CertificateError::Unusable { file: file.to_owned(), why: why.to_owned() };
    let octets = Zeroizing::new(octets(file)?);
    PrivateKeyDer::from_pem_slice(&octets).map_err(|_| {
        let holds = |text: &[u8]| octets.windows(text.len()).any(|window| window == text);
        unusable(if holds(b"ENCRYPTED") {
            "the private key is encrypted; store it without a pass phrase: openssl pkey -in FILE -out FILE.plain"
        } else if octets.starts_with(&[0x30]) {
            "it is DER and must be PEM; convert it with: openssl pkey -inform der -in FILE -out FILE.pem"
        } else if holds(b"BEGIN CERTIFICATE") {
            "it holds a certificate and no private key; name the file with the key"
        } else {
            "it holds no private key; it must be PEM, with -----BEGIN PRIVATE KEY----- in it"
        })
    })
}

fn octets(file: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(file).map_err(|error| CertificateError::Unread { file: file.to_owned(), error })
}

fn unreadable(error: &io::Error) -> String {
    let cure = match error.kind() {
        io::ErrorKind::NotFound => "see that the path is right",
        io::ErrorKind::PermissionDenied => "let the user that the gateway runs as read it",
        _ => "see that it is a file on a disk that works",
    };
    format!("it cannot be read ({error}); {cure}")
}

/// What is known of the files.
#[derive(Debug)]
struct Known {
    /// What they were when they were last read.
    stamps: [Option<Stamp>; 2],
    /// That they could not be read then. Descriptors may have run out or a disk may have failed, of which the stamps will
    /// tell nothing when it is over: so they are tried again.
    unread: bool,
}

/// By what it is known that a file is another, or may be read now: when it was written, how long it is, which it is on its
/// disk, and when its owner or mode changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<SystemTime>, u64, Inode);

/// The file's number, and the second and nanosecond of its last change of any kind.
type Inode = (u64, i64, i64);

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let found = fs::metadata(file).ok()?;
        Some(Self(found.modified().ok(), found.len(), inode(&found)))
    }

    fn of_both(files: &CertificateFiles) -> [Option<Self>; 2] {
        [Self::of(&files.certificate), Self::of(&files.private_key)]
    }
}

#[cfg(unix)]
fn inode(found: &Metadata) -> Inode {
    use std::os::unix::fs::MetadataExt;
    (found.ino(), found.ctime(), found.ctime_nsec())
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Inode {
    (0, 0, 0)
}

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A certificate as it is shown in handshakes. These take what was read last: a disk that hangs holds none of them up.
/// Sessions that are open know nothing of a change.
pub struct Shown {
    files: CertificateFiles,
    /// Held while they are looked at.
    known: Mutex<Known>,
    /// Held for as long as it takes to take a copy, or to put another in its place.
    now: Mutex<Arc<Readable>>,
}

impl Shown {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When they cannot be shown; why, and what to do.
    pub fn open(files: CertificateFiles) -> Result<Self, CertificateError> {
        // Taken first: what changes while they are read is seen at the next look.
        let stamps = Stamp::of_both(&files);
        let certificate = Readable::read(&files)?;
        let known = Known { stamps, unread: false };
        Ok(Self { files, known: Mutex::new(known), now: Mutex::new(Arc::new(certificate)) })
    }

    /// Where it is.
    #[must_use]
    pub const fn files(&self) -> &CertificateFiles {
        &self.files
    }

    /// What the certificate that is shown now says of itself.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.now().facts.clone()
    }

    /// The certificate that is shown now and those of its issuers, as PEM, and nothing else that the file holds.
    #[must_use]
    pub fn pem(&self) -> String {
        self.now().key.cert.iter().map(pem).collect()
    }

    /// Looks at the files every second, for as long as it is polled, and shows what they hold from then on.
    pub(crate) async fn keep_true(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let shown = Arc::clone(&self);
            // That a look has failed has been said; it has no other way to.
            let _ = tokio::task::spawn_blocking(move || shown.look()).await;
        }
    }

    /// Reads the files again if they have changed, or could not be read the last time. Where what they hold now cannot be
    /// shown, what was shown before still is, and that is said once.
    fn look(&self) {
        self.look_with(Readable::read);
    }

    fn look_with(&self, read: impl FnOnce(&CertificateFiles) -> Result<Readable, CertificateError>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = Stamp::of_both(&self.files);
        let changed = known.stamps != stamps;
        if !changed && !known.unread {
            return;
        }
        let outcome = read(&self.files);
        let unread = matches!(outcome, Err(CertificateError::Unread { .. }));
        let said = !changed && unread;
        *known = Known { stamps, unread };
        match outcome {
            Ok(certificate) => {
                let (file, facts) = (self.files.certificate.display(), &certificate.facts);
                tracing::info!(%file, fingerprint = facts.fingerprint, "the certificate has changed and is shown from now on");
                self.warn_if_others_can_read();
                *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
            }
            Err(_) if said => {}
            Err(error) => {
                tracing::warn!(
                    "the certificate has changed and cannot be shown, so the one from before still is: {error}"
                );
            }
        }
    }

    /// Programs that renew certificates do not always close the new key as the old one was.
    fn warn_if_others_can_read(&self) {
        let CertificateFiles { certificate, private_key } = &self.files;
        let open = |file: &Path| fs::metadata(file).is_ok_and(|found| others_can_read(&found));
        let beside = Some(certificate).filter(|file| *file != private_key && holds_private_key(file));
        for file in [Some(private_key), beside].into_iter().flatten().filter(|file| open(file)) {
            let file = file.display();
            tracing::warn!("{file} holds a private key and every user of this machine can read it; chmod o= {file}");
        }
    }

    fn now(&self) -> Arc<Readable> {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A certificate in PEM (RFC 7468 section 5).
fn pem(certificate: &CertificateDer<'_>) -> String {
    const WIDTH: usize = 64;
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut text = BASE64_STANDARD.encode(certificate);
    while !text.is_empty() {
        let rest = text.split_off(text.len().min(WIDTH));
        pem.push_str(&text);
        pem.push('\n');
        text = rest;
    }
    pem + "-----END CERTIFICATE-----\n"
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({})", self.files.certificate.display())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now().key))
    }
}

#[cfg(test)]
mod tests;
