//! The certificates that listeners show: those the configuration names, and one of our own in `state_dir` for the others.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::{CertificateFiles, Config, Listener, ListenerTls, holds};
use crate::control;
use crate::net::certificate::CertificateError;
pub use crate::net::certificate::Shown;
pub use crate::net::self_signed::KeyKind;
use crate::net::self_signed::{make_certificate, make_key};
use crate::net::tls::Doors;
use crate::oauth::expiry::Expiry;
use crate::store::{StoreError, check_private_file, discard_file, keep_file, make_folder, replace_file};
use crate::system;

/// Why listeners have no certificate to show.
#[derive(Debug, Error)]
pub enum NoCertificate {
    /// It cannot be shown, or not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// That of our own cannot be shown.
    #[error("{0}. `mailferry cert --new` makes another with its key")]
    Own(CertificateError),
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// That of our own is another user's.
    #[error("{} is closed to this user: run this as {masters}", folder.display())]
    Closed {
        /// The folder that it is in.
        folder: PathBuf,
        /// Who may look into it, as in "run this as …".
        masters: String,
    },
    /// One of the two files of our own certificate cannot be read again.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The system gives no random numbers.
    #[error("TLS cannot be prepared: {0}")]
    Tls(#[from] rustls::Error),
}

/// Where the certificate is that is made for who names none, and its key.
#[must_use]
pub fn own_files(state_dir: &Path) -> CertificateFiles {
    CertificateFiles { certificate: state_dir.join("certificate.pem"), private_key: state_dir.join("certificate.key") }
}

/// The certificate of our own, made now if there is none.
///
/// # Errors
/// When it cannot be made, kept or shown.
pub fn own(config: &Config, kind: KeyKind) -> Result<Shown, NoCertificate> {
    let files = own_files(&config.state_dir);
    check_private_file(&files.private_key)?;
    if !is_there(config, &files.certificate)? {
        make_folder(&config.state_dir)?;
        // The key first: whoever comes between finds it, and makes a certificate for it that is as good.
        keep_file(&files.private_key, &config.state_dir, make_key(kind)?.as_bytes())?;
        let key = Zeroizing::new(read(&files.private_key)?);
        let certificate = make_certificate(&key, &hosts(config), SystemTime::now())?;
        if keep_file(&files.certificate, &config.state_dir, certificate.as_bytes())? {
            let file = files.certificate.display();
            tracing::info!(%file, "made a certificate, since none is configured");
        }
    }
    open_own(config, files)
}

/// Whether a file of our own certificate is there.
fn is_there(config: &Config, file: &Path) -> Result<bool, NoCertificate> {
    file.try_exists().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => closed(config),
        _ => NoCertificate::Unreadable { file: file.to_owned(), error },
    })
}

fn open_own(config: &Config, files: CertificateFiles) -> Result<Shown, NoCertificate> {
    Shown::open(files).map_err(|error| match error {
        CertificateError::Unread { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => closed(config),
        error => NoCertificate::Own(error),
    })
}

fn closed(config: &Config) -> NoCertificate {
    let folder = config.state_dir.clone();
    NoCertificate::Closed { masters: control::masters(&folder), folder }
}

/// A new certificate of our own in the place of the old one, which is kept beside it with `.old` behind its name. Its key
/// is not: who got hold of it could still pretend to be this gateway to devices that trust the old one.
///
/// # Errors
/// When it cannot be made, kept or shown.
pub fn renew(config: &Config, kind: KeyKind) -> Result<Shown, NoCertificate> {
    let files = own_files(&config.state_dir);
    make_folder(&config.state_dir)?;
    let key = make_key(kind)?;
    let certificate = make_certificate(&key, &hosts(config), SystemTime::now())?;
    // Between the two a gateway that looks goes on with what it has: they do not belong together.
    for (file, content) in [(&files.private_key, key.as_bytes()), (&files.certificate, certificate.as_bytes())] {
        replace_file(file, &old(file), &config.state_dir, content)?;
    }
    // Not before both are in place: stopped between them, a gateway would have no whole pair left.
    discard_file(&old(&files.private_key), &config.state_dir)?;
    Ok(Shown::open(files)?)
}

/// What a file is called once another has its name.
#[must_use]
pub fn old(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// Whether a listener shows the certificate of our own.
#[must_use]
pub fn is_own_shown(config: &Config) -> bool {
    wanted(config).contains(&None)
}

/// Whether a listener shows any at all.
#[must_use]
pub fn is_any_shown(config: &Config) -> bool {
    !wanted(config).is_empty()
}

/// Every certificate that a listener shows, or our own where none speaks TLS.
///
/// # Errors
/// As [`own`].
pub fn shown(config: &Config, kind: KeyKind) -> Result<Vec<Shown>, NoCertificate> {
    let mut wanted = wanted(config);
    if wanted.is_empty() {
        wanted.push(None);
    }
    wanted.into_iter().map(|files| open(config, files, kind)).collect()
}

/// What there is to say about certificates, a sentence or two each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why one cannot be shown, or why whoever checks it refuses it today.
    pub faults: Vec<String>,
    /// What will be a fault, or is one to some.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// Judges every certificate that a listener shows. One of our own that is not there yet is made when it is needed, and
    /// one that this user may not see is no fault.
    #[must_use]
    pub fn of_all(config: &Config, now: SystemTime) -> Self {
        let mut verdict = Self::default();
        for files in wanted(config) {
            let found = match files {
                Some(files) => Shown::open(files).map(Some).map_err(NoCertificate::from),
                None => own_if_there(config),
            };
            match found {
                Ok(Some(shown)) => verdict.judge(config, &shown, now),
                Ok(None) => {}
                Err(error @ NoCertificate::Closed { .. }) => verdict.warnings.push(error.to_string()),
                Err(error) => verdict.faults.push(error.to_string()),
            }
        }
        verdict
    }

    /// Judges one that can be shown.
    pub fn judge(&mut self, config: &Config, shown: &Shown, now: SystemTime) {
        let expiry = expiry(shown, shown.files() == &own_files(&config.state_dir));
        match expiry.stage(now) {
            Some(0) => self.faults.extend(expiry.warning(now)),
            _ => self.warnings.extend(expiry.warning(now)),
        }
        self.faults.extend(premature(shown, now));
        self.warnings.extend(nameless(shown));
    }
}

fn own_if_there(config: &Config) -> Result<Option<Shown>, NoCertificate> {
    let files = own_files(&config.state_dir);
    if !is_there(config, &files.certificate)? {
        return Ok(None);
    }
    check_private_file(&files.private_key)?;
    open_own(config, files).map(Some)
}

/// Said of a certificate that is of the future.
fn premature(shown: &Shown, now: SystemTime) -> Option<String> {
    let begins = shown.facts().begins;
    if now >= begins {
        return None;
    }
    let (file, begins) = (shown.files().certificate.display(), Timestamp::try_from(begins).ok()?);
    Some(format!(
        "The certificate {file} of the listeners is not valid before {}, and whoever checks it refuses it. See that this \
         machine's clock is right",
        begins.strftime("%Y-%m-%d %H:%M UTC")
    ))
}

/// Said of a certificate that is for nobody (RFC 9525 section 2: the common name counts for nothing).
fn nameless(shown: &Shown) -> Option<String> {
    let file = shown.files().certificate.display();
    shown.facts().names.is_empty().then(|| {
        format!(
            "The certificate {file} of the listeners is for no name and no address, and whoever checks that refuses it. \
             Make one with subjectAltName"
        )
    })
}

/// How the listeners speak TLS. What is wrong with a certificate that can be shown all the same is said in the log, but for
/// its end, which [`expiries`] is for.
///
/// # Errors
/// As [`own`].
pub(super) fn open_doors(config: &Config) -> Result<Doors, NoCertificate> {
    let mut doors = Doors::default();
    for files in wanted(config) {
        let is_own = files.is_none();
        let shown = open(config, files.clone(), KeyKind::default())?;
        let (facts, file) = (shown.facts(), shown.files().certificate.display());
        tracing::info!(%file, fingerprint = facts.fingerprint, "listeners show this certificate");
        for warning in premature(&shown, SystemTime::now()).into_iter().chain(nameless(&shown)) {
            tracing::warn!("{warning}");
        }
        if is_own {
            let missing: Vec<String> = hosts(config).into_iter().filter(|host| !facts.cover(host)).collect();
            if !missing.is_empty() {
                let missing = missing.join(" ");
                tracing::info!(
                    %file, missing,
                    "the certificate is not for every name and address that clients may connect to; it stays, since devices \
                     may trust it. If one of these is used: `mailferry cert --new`, and install the new one in the devices"
                );
            }
        }
        doors.add(files, shown)?;
    }
    Ok(doors)
}

/// When the certificates end that are shown now.
pub(super) fn expiries(doors: &Doors) -> Vec<Expiry> {
    doors.shown().map(|(shown, is_own)| expiry(shown, is_own)).collect()
}

fn expiry(shown: &Shown, is_own: bool) -> Expiry {
    let cure = if is_own {
        "Run `mailferry cert --new`, and install the new certificate in the devices that trust the old one"
    } else {
        "Put a new one in the file's place; it is shown at once"
    };
    let what = format!("The certificate {} of the listeners", shown.files().certificate.display());
    Expiry { what, at: shown.facts().ends, cure: cure.into() }
}

/// The certificates that the listeners name, each once; `None` is our own.
fn wanted(config: &Config) -> Vec<Option<CertificateFiles>> {
    let mut wanted = Vec::new();
    for listener in config.listeners.iter().filter(|listener| listener.tls != ListenerTls::None) {
        if !wanted.contains(&listener.certificate) {
            wanted.push(listener.certificate.clone());
        }
    }
    wanted
}

fn open(config: &Config, files: Option<CertificateFiles>, kind: KeyKind) -> Result<Shown, NoCertificate> {
    match files {
        Some(files) => Ok(Shown::open(files)?),
        None => own(config, kind),
    }
}

/// What clients may connect to: this machine's name, and every address that is bound. Where that is any address, those that
/// the machine has now in networks that may connect: the others are none of the clients' business.
fn hosts(config: &Config) -> Vec<String> {
    hosts_among(config, &system::addresses())
}

/// As [`hosts`], on a machine with these addresses.
fn hosts_among(config: &Config, addresses: &[IpAddr]) -> Vec<String> {
    let mut hosts = vec![config.hostname.clone(), "localhost".into(), "127.0.0.1".into(), "::1".into()];
    let speaks_tls = |listener: &&Arc<Listener>| listener.tls != ListenerTls::None;
    let any = !config.listeners.iter().any(|listener| speaks_tls(&listener));
    for listener in config.listeners.iter().filter(|listener| any || speaks_tls(listener)) {
        for bind in &listener.bind {
            let address = bind.ip();
            if address.is_unspecified() {
                let reached = |known: &&IpAddr| {
                    known.is_ipv4() == address.is_ipv4() && (known.is_loopback() || holds(&listener.allow, **known))
                };
                hosts.extend(addresses.iter().filter(reached).map(ToString::to_string));
            } else {
                hosts.push(address.to_string());
            }
        }
    }
    let mut seen = HashSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    hosts
}

fn read(file: &Path) -> Result<String, NoCertificate> {
    std::fs::read_to_string(file).map_err(|error| NoCertificate::Unreadable { file: file.to_owned(), error })
}

#[cfg(test)]
mod tests;
