//! What will end and has to be renewed by a person: secrets, certificates, sign-ins. Pure but for the files of certificates;
//! who is told, and when, is `upkeep`'s part.

use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{App, Proof};
use crate::store::SignIn;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How many days ahead it is said, and said again.
const STAGES: [u64; 4] = [1, 7, 14, 30];

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// What it is, as a sentence begins.
    pub what: String,
    /// When.
    pub at: SystemTime,
    /// What to do about it.
    pub cure: String,
}

impl Expiry {
    /// What of an app ends: the secret whose date the file gives, the certificate.
    #[must_use]
    pub fn of_app(app: &App) -> Option<Self> {
        let client = app.client()?;
        let name = &app.name;
        if let Some(day) = client.secret_expires {
            // Whatever the hour, it may be gone once that day has begun.
            let at = day.to_zoned(TimeZone::UTC).ok()?.timestamp().into();
            let what = format!("The client secret of the app {name}");
            let cure =
                "Make a new one at the provider, add it to client_secret, and set client_secret_expires to its date";
            return Some(Self { what, at, cure: cure.into() });
        }
        let Proof::Certificate { certificate, .. } = &client.proof else { return None };
        let what = format!("The certificate {} of the app {name}", certificate.display());
        let cure = "Make a new one, register it with the app, and put it in the file's place";
        Some(Self { what, at: end_of_certificate(certificate)?, cure: cure.into() })
    }

    /// When a sign-in of `app` ends if nobody uses it, or because the provider gave it a time.
    #[must_use]
    pub fn of_sign_in(app: &App, sign_in: &SignIn) -> Option<Self> {
        let unused = app
            .provider
            .sign_in_lives
            .and_then(|lives| sign_in.exercised.checked_add(lives));
        let at = [unused, sign_in.ends].into_iter().flatten().min()?;
        let account = &sign_in.account;
        let what = format!("The sign-in for {account}");
        Some(Self { what, at, cure: format!("Run `mailferry sign-in {account}`") })
    }

    /// Which warning is due at `now`: so many days are left, 0 where it is over. `None` while it is far away.
    #[must_use]
    pub fn stage(&self, now: SystemTime) -> Option<u64> {
        match self.at.duration_since(now) {
            Err(_) => Some(0),
            Ok(left) => STAGES
                .into_iter()
                .find(|days| left <= DAY * u32::try_from(*days).unwrap_or(u32::MAX)),
        }
    }

    /// The warning that is due at `now`, a whole sentence or two.
    #[must_use]
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let stage = self.stage(now)?;
        let Self { what, cure, .. } = self;
        let day = Timestamp::try_from(self.at).ok()?.strftime("%Y-%m-%d").to_string();
        let left = self.at.duration_since(now).unwrap_or_default();
        let days = left.as_secs().div_ceil(DAY.as_secs());
        Some(match (stage, days) {
            (0, _) => format!("{what} has ended on {day}. {cure}"),
            (_, 0 | 1) => format!("{what} ends on {day}, within a day. {cure}"),
            _ => format!("{what} ends on {day}, within {days} days. {cure}"),
        })
    }
}

/// The `notAfter` of the first certificate in a PEM file; `None` where there is none to be read, which is told when it is
/// used.
fn end_of_certificate(file: &Path) -> Option<SystemTime> {
    let der = CertificateDer::from_pem_file(file).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Timestamp::from_second(seconds).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * u32::try_from(day).unwrap()
    }

    #[test]
    fn it_is_said_in_four_stages_and_at_the_end() {
        let expiry = Expiry { what: "It".into(), at: at(100), cure: "Renew it".into() };
        let stages = [69, 70, 85, 86, 92, 93, 98, 99, 100, 101].map(|day| expiry.stage(at(day)));
        let (far, month, fortnight, week, day, over) = (None, Some(30), Some(14), Some(7), Some(1), Some(0));
        assert_eq!(stages, [far, month, month, fortnight, fortnight, week, week, day, day, over]);
        assert_eq!(expiry.warning(at(69)), None);
        assert_eq!(expiry.warning(at(86)).unwrap(), "It ends on 1970-04-11, within 14 days. Renew it");
        let later = at(90) + Duration::from_secs(1);
        assert_eq!(expiry.warning(later).unwrap(), "It ends on 1970-04-11, within 10 days. Renew it");
        assert_eq!(expiry.warning(at(99)).unwrap(), "It ends on 1970-04-11, within a day. Renew it");
        assert_eq!(expiry.warning(at(101)).unwrap(), "It has ended on 1970-04-11. Renew it");
    }

    #[test]
    fn a_certificates_end_is_read_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 17);
        std::fs::write(&file, parameters.self_signed(&key).unwrap().pem()).unwrap();
        let end = Timestamp::try_from(end_of_certificate(&file).unwrap()).unwrap();
        assert_eq!(end.to_string(), "2031-05-17T00:00:00Z");
        assert_eq!(end_of_certificate(&folder.path().join("none.pem")), None);
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(end_of_certificate(&file), None);
    }
}
