//! Access tokens: random, long, mortal, and good for what they were asked for. Their clock is tokio's, so that a test
//! that moves it ages them too.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::record::lock;

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// An app's own: every mailbox, over every protocol.
    App,
    /// A person's.
    User {
        /// Whose mailbox it opens.
        name: String,
        /// Over what.
        scopes: Vec<String>,
        /// The sign-in it came from, where it is one: it ends when that is revoked.
        sign_in: Option<usize>,
    },
}

#[derive(Debug)]
struct Issued {
    access: Access,
    expires: Instant,
}

/// The tokens given out and not yet revoked.
#[derive(Debug)]
pub(super) struct Tokens {
    lifetime: Mutex<Duration>,
    length: usize,
    issued: Mutex<HashMap<String, Issued>>,
}

impl Tokens {
    pub(super) fn new(lifetime: Duration, length: usize) -> Self {
        Self { lifetime: Mutex::new(lifetime), length: length.clamp(32, 16 * 1024), issued: Mutex::default() }
    }

    pub(super) fn lifetime(&self) -> Duration {
        *lock(&self.lifetime)
    }

    /// Lets the tokens that are yet to come live so long.
    pub(super) fn set_lifetime(&self, lifetime: Duration) {
        *lock(&self.lifetime) = lifetime;
    }

    /// A new token that lives from `now` on.
    pub(super) fn issue(&self, access: Access, now: Instant) -> io::Result<String> {
        let token = random_text(self.length)?;
        let expires = now + self.lifetime();
        let mut issued = lock(&self.issued);
        issued.retain(|_, token| token.expires > now);
        issued.insert(token.clone(), Issued { access, expires });
        Ok(token)
    }

    /// What a token is good for at this time; `None` where it is no token, or not any more.
    pub(super) fn access(&self, token: &str, now: Instant) -> Option<Access> {
        let issued = lock(&self.issued);
        let good = issued.get(token).filter(|token| token.expires > now);
        good.map(|token| token.access.clone())
    }

    /// Every token that was given out, but those that had expired when a later one was.
    pub(super) fn issued(&self) -> Vec<String> {
        lock(&self.issued).keys().cloned().collect()
    }

    pub(super) fn revoke_all(&self) {
        lock(&self.issued).clear();
    }

    /// Ends the tokens that came from one of these sign-ins.
    pub(super) fn revoke(&self, sign_ins: &[usize]) {
        let ends = |access: &Access| match access {
            Access::User { sign_in: Some(sign_in), .. } => sign_ins.contains(sign_in),
            _ => false,
        };
        lock(&self.issued).retain(|_, token| !ends(&token.access));
    }
}

/// So many characters of base64url that nobody can guess.
pub(super) fn random_text(length: usize) -> io::Result<String> {
    let mut octets = vec![0; length];
    rand::fill(&mut octets).map_err(io::Error::other)?;
    let mut text = URL_SAFE_NO_PAD.encode(octets);
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_until_it_expires_or_is_revoked() {
        let tokens = Tokens::new(Duration::from_secs(60), 1_800);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let opens = |token: &str, now| tokens.access(token, now) == Some(Access::App);
        let first = tokens.issue(Access::App, begin).unwrap();
        assert_eq!(first.len(), 1_800);
        assert!(opens(&first, at(59)));
        assert!(!opens(&first[1..], begin));
        let second = tokens.issue(Access::App, at(59)).unwrap();
        assert_ne!(first, second);
        assert!(!opens(&first, at(60)) && opens(&second, at(60)));
        assert_eq!(tokens.issued().len(), 2);
        tokens.revoke_all();
        assert!(!opens(&second, at(60)));
    }

    #[test]
    fn the_lifetime_is_changed_for_what_comes_and_a_sign_in_takes_its_tokens_with_it() {
        let tokens = Tokens::new(Duration::from_secs(60), 64);
        let begin = Instant::now();
        let access = |sign_in| Access::User { name: "ann".into(), scopes: Vec::new(), sign_in };
        let long = tokens.issue(access(Some(1)), begin).unwrap();
        tokens.set_lifetime(Duration::from_secs(1));
        let short = tokens.issue(access(Some(2)), begin).unwrap();
        let unbound = tokens.issue(access(None), begin).unwrap();
        tokens.revoke(&[2, 3]);
        assert_eq!(tokens.access(&short, begin), None);
        assert_eq!(tokens.access(&unbound, begin), Some(access(None)));
        let later = begin + Duration::from_secs(1);
        assert!(tokens.access(&unbound, later).is_none() && tokens.access(&long, later) == Some(access(Some(1))));
    }
}
