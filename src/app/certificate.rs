//! The certificates that listeners show: those the configuration names, and one of our own in `state_dir` for the others.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::{CertificateFiles, Config, Listener, ListenerTls, holds};
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
    if !files.certificate.exists() {
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
    Shown::open(files).map_err(NoCertificate::Own)
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

/// Why certificates that the configuration names cannot be shown. One of our own is made when it is needed.
#[must_use]
pub fn faults(config: &Config) -> Vec<NoCertificate> {
    let named = wanted(config).into_iter().flatten();
    named
        .filter_map(|files| Shown::open(files).err())
        .map(NoCertificate::from)
        .collect()
}

/// How the listeners speak TLS. What is wrong with a certificate that can be shown all the same is said in the log.
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
        if let Some(why) = facts.untimely(SystemTime::now()) {
            tracing::warn!(%file, "the certificate will be refused by whoever checks it: {why}");
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
    let of = |(shown, is_own): (&Arc<Shown>, bool)| {
        let cure = if is_own {
            "Run `mailferry cert --new`, and install the new certificate in the devices that trust the old one"
        } else {
            "Put a new one in the file's place; it is shown at once"
        };
        let what = format!("The certificate {} of the listeners", shown.files().certificate.display());
        Expiry { what, at: shown.facts().ends, cure: cure.into() }
    };
    doors.shown().map(of).collect()
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
