//! Assertions that mailferry signs itself (RFC 7523): an app's with its certificate, a service account's with its key.
//! Keys are read when they are needed and kept nowhere.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use memchr::memmem;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::credentials::TokenError;
use super::hints::{needs_person, shown, transient};
use crate::secret::SecretText;

/// How long an assertion lives. It is used at once and only once.
const LIFE: Duration = Duration::from_secs(9 * 60);

/// An assertion is dated back by so much: with a clock a little ahead it would be one from the future.
const BACKDATED: Duration = Duration::from_secs(60);

/// The algorithms a certificate's key signs with, in the order they are tried. Microsoft documents PS256; RS256 is what
/// everyone knows (RFC 7518 section 3.1).
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::PS256, Algorithm::RS256];

/// What PEM calls private keys that are not encrypted.
const PRIVATE_KEYS: [&str; 2] = ["-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----"];

/// RFC 7523 section 3. `scope` is Google's.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

impl<'a> Claims<'a> {
    fn new(iss: &'a str, sub: &'a str, audience: &'a Url, now: SystemTime) -> Result<Self, TokenError> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| transient("The operating system gives no random numbers"))?;
        let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let iat = seconds(now).saturating_sub(BACKDATED.as_secs());
        let exp = seconds(now).saturating_add(LIFE.as_secs());
        let jti = URL_SAFE_NO_PAD.encode(id);
        Ok(Self { iss, sub, aud: audience.as_str(), jti, iat, nbf: iat, exp, scope: None })
    }
}

/// What an app shows instead of a secret: `private_key_jwt`. `audience` is the token URL, `now` the wall clock.
pub(crate) fn of_client(
    client_id: &str,
    certificate: &Path,
    private_key: &Path,
    algorithm: Algorithm,
    audience: &Url,
    now: SystemTime,
) -> Result<SecretText, TokenError> {
    let cure = "Check client_certificate";
    let der = CertificateDer::from_pem_file(certificate)
        .map_err(|error| needs_person(format!("{} holds no certificate: {error}", certificate.display()), cure))?;
    let pem = std::fs::read_to_string(private_key)
        .map(Zeroizing::new)
        .map_err(|error| needs_person(format!("{} cannot be read: {error}", private_key.display()), cure))?;
    let unusable = |what| needs_person(format!("{} {what}", private_key.display()), cure);
    let key = rsa_key(&pem).map_err(unusable)?;
    let pair = RsaKeyPair::from_der(key.as_bytes()).map_err(|_| unusable("holds no RSA key of 2,048 bits or more"))?;
    // An RSA certificate carries its key just so (RFC 3279 section 2.3.1).
    if memmem::find(&der, pair.public_key().as_ref()).is_none() {
        let what = format!("{} is not the key of {}", private_key.display(), certificate.display());
        return Err(needs_person(what, cure));
    }
    let mut header = Header::new(algorithm);
    header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der)));
    signed(&header, &Claims::new(client_id, client_id, audience, now)?, &key).ok_or_else(|| unusable("cannot sign"))
}

/// The key file of a Google service account.
#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: String,
    private_key_id: String,
}

/// What a service account shows to act for `user`: Google's domain-wide delegation. `key_file` is the JSON that Google
/// gave out, `audience` the token URL, `now` the wall clock.
pub(crate) fn of_service_account(
    key_file: &SecretText,
    user: &str,
    scopes: &[String],
    audience: &Url,
    now: SystemTime,
) -> Result<SecretText, TokenError> {
    let cure = "Check service_account: it must be a service account's key as Google gave it out, JSON";
    // The parser's own words may show what it stumbled over.
    let account: ServiceAccount = serde_json::from_str(key_file.expose()).map_err(|error| {
        let what = "The service account's key lacks client_email, private_key or private_key_id, or is not JSON";
        needs_person(format!("{what} (line {}, column {})", error.line(), error.column()), cure)
    })?;
    let pem = Zeroizing::new(account.private_key);
    let unusable = |what| needs_person(format!("private_key of {} {what}", shown(&account.client_email)), cure);
    let key = rsa_key(&pem).map_err(unusable)?;
    let header = Header { kid: Some(account.private_key_id), ..Header::new(Algorithm::RS256) };
    let claims = Claims::new(&account.client_email, user, audience, now)?;
    signed(&header, &Claims { scope: Some(scopes.join(" ")), ..claims }, &key).ok_or_else(|| unusable("cannot sign"))
}

/// The private key in a PEM text that may hold a certificate or remarks before it; or what is wrong with it.
fn rsa_key(pem: &str) -> Result<EncodingKey, &'static str> {
    match PRIVATE_KEYS.iter().find_map(|begin| pem.find(begin)) {
        Some(at) => {
            EncodingKey::from_rsa_pem(&pem.as_bytes()[at..]).map_err(|_| "holds a private key that is no RSA key")
        }
        None if pem.contains("ENCRYPTED") => Err("is encrypted; it must be a private key without a passphrase"),
        None => Err("holds no private key in PEM"),
    }
}

fn signed(header: &Header, claims: &Claims<'_>, key: &EncodingKey) -> Option<SecretText> {
    jsonwebtoken::encode(header, claims, key).ok().map(SecretText::new)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::PathBuf;

    use jsonwebtoken::{DecodingKey, Validation};
    use rcgen::{CertificateParams, KeyPair as CertificateKey, PKCS_RSA_SHA256};
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn audience() -> Url {
        "https://login.example.com/contoso/token".parse().unwrap()
    }

    /// A certificate and its key, in files.
    pub(crate) struct Pair {
        folder: TempDir,
        pub(crate) key: CertificateKey,
        der: Vec<u8>,
    }

    impl Pair {
        pub(crate) fn new() -> Self {
            let key = CertificateKey::generate_for(&PKCS_RSA_SHA256).unwrap();
            let certificate = CertificateParams::new(vec!["app".into()]).unwrap().self_signed(&key).unwrap();
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("app.pem"), certificate.pem()).unwrap();
            fs::write(folder.path().join("app.key"), key.serialize_pem()).unwrap();
            Self { folder, key, der: certificate.der().to_vec() }
        }

        pub(crate) fn certificate(&self) -> PathBuf {
            self.folder.path().join("app.pem")
        }

        pub(crate) fn private_key(&self) -> PathBuf {
            self.folder.path().join("app.key")
        }

        fn assertion(&self, algorithm: Algorithm) -> Result<SecretText, TokenError> {
            of_client("app id", &self.certificate(), &self.private_key(), algorithm, &audience(), now())
        }

        /// Header and claims of an assertion whose signature is this key's.
        fn verified(&self, assertion: &SecretText, algorithm: Algorithm) -> (Header, Value) {
            let mut validation = Validation::new(algorithm);
            (validation.validate_exp, validation.validate_aud) = (false, false);
            let public = DecodingKey::from_rsa_pem(self.key.public_key_pem().as_bytes()).unwrap();
            let token = jsonwebtoken::decode::<Value>(assertion.expose(), &public, &validation).unwrap();
            (token.header, token.claims)
        }
    }

    #[test]
    fn an_apps_assertion_is_what_rfc_7523_asks_for() {
        let pair = Pair::new();
        for algorithm in ALGORITHMS {
            let (header, claims) = pair.verified(&pair.assertion(algorithm).unwrap(), algorithm);
            assert_eq!(header.alg, algorithm);
            let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &pair.der));
            assert_eq!(header.x5t_s256, Some(thumbprint));
            assert_eq!((&claims["iss"], &claims["sub"]), (&"app id".into(), &"app id".into()));
            assert_eq!(claims["aud"], "https://login.example.com/contoso/token");
            let (iat, exp) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
            assert!(iat < NOW && NOW < exp && exp - iat <= 600, "{claims}");
            assert_eq!(claims["nbf"], claims["iat"]);
            assert!(claims.get("scope").is_none());
        }
    }

    #[test]
    fn no_two_assertions_have_one_id() {
        let pair = Pair::new();
        let id = || pair.verified(&pair.assertion(Algorithm::PS256).unwrap(), Algorithm::PS256).1["jti"].to_string();
        let (one, other) = (id(), id());
        assert_ne!(one, other);
        assert_eq!(one.len(), "\"\"".len() + 22, "16 octets");
    }

    #[test]
    fn a_file_may_hold_both_and_remarks() {
        let pair = Pair::new();
        let both = format!(
            "Bag Attributes\n{}{}",
            fs::read_to_string(pair.certificate()).unwrap(),
            fs::read_to_string(pair.private_key()).unwrap()
        );
        fs::write(pair.private_key(), &both).unwrap();
        fs::write(pair.certificate(), both).unwrap();
        pair.verified(&pair.assertion(Algorithm::RS256).unwrap(), Algorithm::RS256);
    }

    #[test]
    fn what_is_wrong_with_a_certificate_or_key_is_said() {
        let pair = Pair::new();
        let fault = |what: &str| {
            let Err(TokenError::NeedsPerson(fault)) = pair.assertion(Algorithm::PS256) else { panic!("{what}") };
            assert!(fault.what.contains(what), "{fault}");
            assert!(fault.hint.contains("client_certificate"), "{fault}");
        };
        fs::write(pair.private_key(), Pair::new().key.serialize_pem()).unwrap();
        fault("is not the key of");
        fs::write(pair.private_key(), CertificateKey::generate().unwrap().serialize_pem()).unwrap();
        fault("no RSA key");
        fs::write(pair.private_key(), "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n").unwrap();
        fault("without a passphrase");
        fs::write(pair.private_key(), "-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----\n").unwrap();
        fault("no RSA key");
        fs::write(pair.private_key(), "hunter2").unwrap();
        fault("no private key");
        fs::remove_file(pair.private_key()).unwrap();
        fault("cannot be read");
        fs::write(pair.certificate(), "rubbish").unwrap();
        fault("no certificate");
    }

    /// A service account's key file.
    pub(crate) fn key_file(pem: &str) -> SecretText {
        let file = serde_json::json!({
            "type": "service_account", "client_email": "ferry@project.iam.gserviceaccount.com",
            "private_key_id": "k1", "private_key": pem, "token_uri": "https://elsewhere.example.com/",
        });
        SecretText::new(file.to_string())
    }

    #[test]
    fn a_service_account_acts_for_a_user() {
        let pair = Pair::new();
        let scopes = ["https://mail.google.com/".to_owned(), "email".to_owned()];
        let file = key_file(&pair.key.serialize_pem());
        let assertion = of_service_account(&file, "user@example.com", &scopes, &audience(), now()).unwrap();
        let (header, claims) = pair.verified(&assertion, Algorithm::RS256);
        assert_eq!((header.kid.as_deref(), header.x5t_s256), (Some("k1"), None));
        assert_eq!(claims["iss"], "ferry@project.iam.gserviceaccount.com");
        assert_eq!(claims["sub"], "user@example.com");
        assert_eq!(claims["aud"], "https://login.example.com/contoso/token", "not what the file says");
        assert_eq!(claims["scope"], "https://mail.google.com/ email");
        assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 3600);
    }

    #[test]
    fn a_key_file_that_is_none_needs_a_person_and_stays_secret() {
        for bad in ["", "[]", "hunter2", r#"{"client_email":"hunter2"}"#, r#"{"private_key":["hunter2"]}"#] {
            let error = of_service_account(&SecretText::new(bad.into()), "u", &[], &audience(), now()).unwrap_err();
            assert!(matches!(error, TokenError::NeedsPerson(_)), "{bad}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let error = of_service_account(&key_file("hunter2"), "u", &[], &audience(), now()).unwrap_err();
        assert!(error.to_string().contains("no private key") && !error.to_string().contains("hunter2"), "{error}");
    }
}
