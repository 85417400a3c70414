//! What a test may ask of the identity provider and change in it.

use std::io;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::authorize::{self, Answer, Refused};
use super::client::{ClientKind, Secret};
use super::device::Decision;
use super::identity::IdTokens;
use super::jwt::PublicKey;
use super::refresh::{Consent, Rotation};
use super::service_account::ServiceAccount;
use super::{Duty, Issuer};
use crate::sim::Control;
use crate::sim::http::{Method, Request};
use crate::sim::record::lock;

/// The app's registration.
impl Control {
    /// Takes this client secret too.
    pub fn add_client_secret(&self, secret: &str) {
        let mut registration = lock(&self.issuer().registration);
        registration.secrets.retain(|known| known.text != secret);
        registration.secrets.push(Secret { text: secret.into(), expired: false });
    }

    /// Lets a client secret be over: from now on it is answered with 7000222. One that never was is 7000215.
    pub fn expire_client_secret(&self, secret: &str) {
        let mut registration = lock(&self.issuer().registration);
        let known = registration.secrets.iter_mut().filter(|known| known.text == secret);
        known.for_each(|known| known.expired = true);
    }

    /// Takes this client secret and no other; the others are over.
    pub fn set_client_secret(&self, secret: &str) {
        let mut registration = lock(&self.issuer().registration);
        registration.secrets.retain(|known| known.text != secret);
        registration.secrets.iter_mut().for_each(|known| known.expired = true);
        registration.secrets.push(Secret { text: secret.into(), expired: false });
    }

    /// Whether the app has to prove itself in a person's grants. At first: public, but at Gmail.
    pub fn set_client_kind(&self, kind: ClientKind) {
        lock(&self.issuer().registration).kind = kind;
    }

    /// Takes assertions that are signed with the key of this certificate and name it (RFC 7523, `x5t#S256`), or with the
    /// other half of this public key (`BEGIN PUBLIC KEY`). RSA, in PEM.
    ///
    /// # Errors
    /// When the PEM holds neither.
    pub fn register_certificate(&self, pem: &str) -> io::Result<()> {
        let key = PublicKey::from_pem(pem)?;
        lock(&self.issuer().registration).certificates.push(key);
        Ok(())
    }

    /// Takes this text as the assertion of an outside issuer (a federated credential), or none any more.
    pub fn set_federated_assertion(&self, assertion: Option<&str>) {
        lock(&self.issuer().registration).federated = assertion.map(String::from);
    }

    /// Lets browsers be sent there. `http://localhost` is registered, and beyond Microsoft `http://127.0.0.1`; Microsoft
    /// and Gmail let a loopback address have any port.
    pub fn register_redirect(&self, uri: &str) {
        lock(&self.issuer().registration).redirects.push(uri.into());
    }

    /// Takes assertions of this service account, signed with the other half of this key (a certificate or a public key in
    /// PEM). More than one key may be registered.
    ///
    /// # Errors
    /// When the PEM holds neither.
    pub fn register_service_account(&self, email: &str, pem: &str) -> io::Result<()> {
        let key = PublicKey::from_pem(pem)?;
        lock(&self.issuer().service_accounts).push(ServiceAccount { email: email.into(), key });
        Ok(())
    }

    /// Sets its clock ahead of this machine's, or behind, in seconds: assertions are judged by it.
    pub fn set_clock_ahead(&self, seconds: i64) {
        lock(&self.issuer().habits).clock_ahead = seconds;
    }
}

/// People.
impl Control {
    /// Plays the browser that is sent to `url` and agrees as `user`: the URL that the browser is sent back to, code and
    /// state in it, or, for a request that the app is to hear is wrong, `error`. Any name will do for a user.
    ///
    /// # Errors
    /// What the person would read where the browser is sent nowhere: a wrong client, a redirect that is not registered.
    pub fn approve_authorization(&self, url: &str, user: &str) -> Result<String, String> {
        self.authorize(url, Answer::Agree(user))
    }

    /// Plays a browser whose user declines: the URL that it is sent back to.
    ///
    /// # Errors
    /// As [`Self::approve_authorization`].
    pub fn decline_authorization(&self, url: &str) -> Result<String, String> {
        self.authorize(url, Answer::Decline)
    }

    /// Lets every browser be signed in as this user already: the authorization endpoint sends it back without a page.
    pub fn keep_signed_in(&self, user: Option<&str>) {
        lock(&self.issuer().codes).signed_in = user.map(String::from);
    }

    /// The user codes of device sign-ins that wait for somebody to type them, the oldest first.
    #[must_use]
    pub fn device_codes(&self) -> Vec<String> {
        lock(&self.issuer().devices).waiting(Instant::now())
    }

    /// Types a user code and agrees as `user`; whether that code was waiting.
    pub fn approve_device(&self, user_code: &str, user: &str) -> bool {
        self.decide_device(user_code, Decision::Approve(user))
    }

    /// Types a user code and declines; whether that code was waiting.
    pub fn decline_device(&self, user_code: &str) -> bool {
        self.decide_device(user_code, Decision::Decline)
    }

    /// Lets a user code's time be over; whether that code was waiting.
    pub fn expire_device(&self, user_code: &str) -> bool {
        self.decide_device(user_code, Decision::Forget)
    }

    /// How long the device codes to come have to pause between two questions, and live; whole seconds are announced. At
    /// first 5 and 900 seconds.
    pub fn set_device_times(&self, interval: Duration, lifetime: Duration) {
        let mut devices = lock(&self.issuer().devices);
        devices.interval = interval;
        devices.lifetime = lifetime;
    }

    /// Lets a user's tokens open a mailbox that is not theirs: at Microsoft by IMAP and POP3 only.
    pub fn share_mailbox(&self, mailbox: &str, user: &str) {
        lock(&self.issuer().habits).lent.push((mailbox.into(), user.into()));
    }

    /// What id_tokens say from now on.
    pub fn set_id_tokens(&self, said: IdTokens) {
        lock(&self.issuer().habits).id_tokens = said;
    }
}

/// Tokens.
impl Control {
    /// What becomes of a refresh token that was used. At first: lenient at Microsoft, never rotated at Gmail, strict at
    /// the others.
    pub fn set_rotation(&self, rotation: Rotation) {
        lock(&self.issuer().habits).rotation = rotation;
    }

    /// How long the access tokens to come live; `expires_in` says it in whole seconds.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.shared().tokens.set_lifetime(lifetime);
    }

    /// A refresh token from elsewhere: as if `user` had agreed to these scopes somewhere else.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn add_refresh_token(&self, user: &str, scopes: &[&str]) -> io::Result<String> {
        let scopes = scopes.iter().map(|&scope| scope.into()).collect();
        let mut sign_ins = lock(&self.issuer().sign_ins);
        let sign_in = sign_ins.begin(Consent { user: user.into(), scopes, offline: true });
        sign_ins.add(sign_in)
    }

    /// A user's refresh tokens that were neither rotated nor revoked, over all sign-ins: what a gateway should hold.
    #[must_use]
    pub fn refresh_tokens(&self, user: &str) -> Vec<String> {
        lock(&self.issuer().sign_ins).current(user)
    }

    /// Makes one refresh token worthless, and nothing else; whether there was such a one.
    pub fn revoke_refresh_token(&self, token: &str) -> bool {
        lock(&self.issuer().sign_ins).revoke(token)
    }

    /// Ends every sign-in of a user, with all tokens that came of it, as a new password does. Sessions that are logged in
    /// stay so.
    pub fn revoke_sign_ins(&self, user: &str) {
        let ended = lock(&self.issuer().sign_ins).end_all(Some(user));
        self.shared().tokens.revoke(&ended);
    }

    /// Makes every token there is worthless, access and refresh. Sessions that are logged in stay so.
    pub fn revoke_all(&self) {
        lock(&self.issuer().sign_ins).end_all(None);
        self.shared().tokens.revoke_all();
    }

    /// How many token requests have come with this `grant_type`, whatever their answer.
    #[must_use]
    pub fn token_requests_by(&self, grant_type: &str) -> usize {
        let seen = self.shared().record.seen();
        seen.token_requests_by.get(grant_type).copied().unwrap_or(0)
    }

    /// How often a refresh token was used that had been rotated before. A gateway in order leaves this at 0.
    #[must_use]
    pub fn reused_refresh_tokens(&self) -> usize {
        self.shared().record.seen().reused_refresh_tokens
    }

    /// How many token requests were answered `invalid_grant`, planned faults included.
    #[must_use]
    pub fn invalid_grants(&self) -> usize {
        self.shared().record.seen().invalid_grants
    }

    /// Everything given out that a log must not hold: access, refresh and id tokens, codes, device codes.
    #[must_use]
    pub fn issued_secrets(&self) -> Vec<String> {
        let mut issued = self.issuer().issued();
        issued.extend(self.issued_tokens());
        issued
    }

    fn issuer(&self) -> &Issuer {
        &self.shared().issuer
    }

    fn decide_device(&self, user_code: &str, decision: Decision<'_>) -> bool {
        self.issuer().decide_device(&self.shared().record, user_code, decision)
    }

    fn authorize(&self, url: &str, answer: Answer<'_>) -> Result<String, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let request = Request {
            method: Method::Get,
            path: url.path().into(),
            host: url.authority().into(),
            basic: None,
            form: url.query_pairs().into_owned().collect(),
        };
        let personality = self.shared().options.personality;
        if Duty::of(&request, personality) != Some(Duty::Authorize) {
            return Err(format!("{} is not the authorization endpoint", request.url()));
        }
        match authorize::decide(self.shared(), &request, answer) {
            Ok(target) | Err(Refused::There(target)) => Ok(target),
            Err(Refused::Here(denial)) => Err(denial.description(personality)),
        }
    }
}
