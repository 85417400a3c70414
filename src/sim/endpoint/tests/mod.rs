//! The identity provider's dialogues, and the keys and forms that these tests share.

mod client_credentials;
mod refresh;
mod service_account;
mod sign_in;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::Value;
use url::form_urlencoded::Serializer;

use crate::sim::testing::{Client, token_request};
use crate::sim::{Protocol, Simulator};

/// Somebody who signs.
pub(super) struct Signer {
    key: RsaKeyPair,
    thumbprint: String,
    /// In PEM.
    pub(super) certificate: String,
    /// In PEM.
    pub(super) public_key: String,
}

impl Signer {
    pub(super) fn new() -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap();
        Self {
            key: RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap(),
            thumbprint: URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate.der())),
            certificate: certificate.pem(),
            public_key: pair.public_key_pem(),
        }
    }

    /// A JWT that names the certificate.
    pub(super) fn jwt(&self, algorithm: &str, claims: &Value) -> String {
        self.signed(&serde_json::json!({ "typ": "JWT", "alg": algorithm, "x5t#S256": self.thumbprint }), claims)
    }

    /// A JWT with this header.
    pub(super) fn signed(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let encoding = if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .try_into()
        .unwrap()
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

/// The path and the query of a URL.
fn target(url: &str) -> String {
    let (_, target) = url.trim_start_matches("http://").split_once('/').unwrap();
    format!("/{target}")
}

fn form(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Posts a form to a URL: the status and the answer.
async fn send(simulator: &Simulator, url: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let host = url.trim_start_matches("http://").split('/').next().unwrap();
    let request = token_request(&target(url), &form(fields)).replace("Host: localhost", &format!("Host: {host}"));
    let mut client = Client::open(simulator, Protocol::Http).await;
    client.send(request).await;
    let answer = client.rest().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (status(head), json(body))
}

/// Asks the token endpoint.
async fn ask(simulator: &Simulator, fields: &[(&str, &str)]) -> (u16, Value) {
    send(simulator, &simulator.token_url(), fields).await
}

/// What a browser gets from a URL: the head and the body.
async fn get(simulator: &Simulator, url: &str) -> (String, String) {
    let mut client = Client::open(simulator, Protocol::Http).await;
    client
        .send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", target(url)))
        .await;
    let answer = client.rest().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.into(), body.into())
}
