//! Signed assertions (RFC 7515, 7519), read and verified by hand: nothing here is shared with who makes them.

use std::io;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde_json::{Map, Value};

/// How far in the future a clock that is a little ahead may have signed, in seconds.
const SKEW: i64 = 60;

/// A key whose other half signs.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    spki: Vec<u8>,
    /// SHA-256 of the certificate in base64url; `None` where the key came alone.
    thumbprint: Option<String>,
}

impl PublicKey {
    /// Reads a certificate, or a public key (`BEGIN PUBLIC KEY`), in PEM.
    pub(super) fn from_pem(pem: &str) -> io::Result<Self> {
        if let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) {
            let parsed = ParsedCertificate::try_from(&certificate).map_err(io::Error::other)?;
            let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &certificate));
            return Ok(Self { spki: parsed.subject_public_key_info().to_vec(), thumbprint: Some(thumbprint) });
        }
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other)?;
        Ok(Self { spki: spki.to_vec(), thumbprint: None })
    }
}

/// A JWT in its compact form, taken apart and not verified.
pub(super) struct Jwt<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// `None` where it is none.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let octets = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let object = |part: &str| serde_json::from_slice(&octets(part)?).ok();
        Some(Self { header: object(header)?, claims: object(claims)?, signed, signature: octets(signature)? })
    }

    /// A claim that is text.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    fn seconds(&self, claim: &str) -> Option<i64> {
        self.claims.get(claim)?.as_i64()
    }

    /// Whether `key` signed it, by one of these algorithms; where the key has a certificate, the header has to name it.
    pub(super) fn is_signed_by(&self, key: &PublicKey, algorithms: &[&str]) -> bool {
        let named = self.header.get("x5t#S256").and_then(Value::as_str);
        if key.thumbprint.is_some() && key.thumbprint.as_deref() != named {
            return false;
        }
        let algorithm = self.header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let parameters = match algorithm {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            _ => return false,
        };
        algorithms.contains(&algorithm)
            && UnparsedPublicKey::new(parameters, &key.spki)
                .verify(self.signed.as_bytes(), &self.signature)
                .is_ok()
    }

    /// Whether it is good at `now`, in seconds since 1970, and for no longer than `longest` seconds from when it was made;
    /// where it does not say when that was, from now.
    pub(super) fn is_timely(&self, now: i64, longest: i64) -> bool {
        let made = [self.seconds("iat"), self.seconds("nbf")].into_iter().flatten();
        if made.clone().any(|made| made > now + SKEW) {
            return false;
        }
        let made = made.min().unwrap_or(now);
        self.seconds("exp")
            .is_some_and(|expires| now < expires && expires <= made + longest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::Signer;
    use super::*;

    #[test]
    fn a_signature_is_verified_by_key_algorithm_and_thumbprint() {
        let (signer, other) = (Signer::new(), Signer::new());
        let certificate = PublicKey::from_pem(&signer.certificate).unwrap();
        let key = PublicKey::from_pem(&signer.public_key).unwrap();
        let both = &["RS256", "PS256"][..];
        for algorithm in ["RS256", "PS256"] {
            let text = signer.jwt(algorithm, &json!({ "iss": "me" }));
            let jwt = Jwt::read(&text).unwrap();
            assert!(jwt.is_signed_by(&certificate, both) && jwt.is_signed_by(&key, both), "{algorithm}");
            assert!(!jwt.is_signed_by(&key, &["none"]));
            assert!(!jwt.is_signed_by(&PublicKey::from_pem(&other.public_key).unwrap(), both));
            assert_eq!(jwt.text("iss"), Some("me"));
        }
        let unnamed = signer.signed(&json!({ "alg": "RS256" }), &json!({}));
        let unnamed = Jwt::read(&unnamed).unwrap();
        assert!(unnamed.is_signed_by(&key, both) && !unnamed.is_signed_by(&certificate, both));
        let forged = signer.jwt("RS256", &json!({})).replacen('.', ".e30", 1);
        assert!(Jwt::read(&forged).is_none_or(|jwt| !jwt.is_signed_by(&key, both)));
        for bad in ["", "a.b.c", "e30.e30", "e30.e30.=", "W10.e30.AA"] {
            assert!(Jwt::read(bad).is_none(), "{bad}");
        }
        assert!(PublicKey::from_pem("-----BEGIN NOTHING-----").is_err());
    }

    #[test]
    fn time_bounds_are_kept() {
        let timely = |claims: &Value| {
            let text = format!("e30.{}.AA", URL_SAFE_NO_PAD.encode(claims.to_string()));
            Jwt::read(&text).unwrap().is_timely(1_000, 600)
        };
        assert!(timely(&json!({ "exp": 1_600 })) && !timely(&json!({ "exp": 1_601 })));
        assert!(timely(&json!({ "exp": 1_001, "iat": 500 })) && !timely(&json!({ "exp": 1_000 })));
        assert!(timely(&json!({ "exp": 1_650, "iat": 1_060 })) && !timely(&json!({ "exp": 1_650, "iat": 1_061 })));
        assert!(!timely(&json!({ "exp": 1_700, "iat": 1_050, "nbf": 990 })));
        assert!(!timely(&json!({})) && !timely(&json!({ "exp": "1600" })));
    }
}
