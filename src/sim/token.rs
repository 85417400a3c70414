//! Access tokens: random, long, mortal, and known to nobody but the one who asked.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::record::lock;

/// The tokens given out and not yet revoked.
#[derive(Debug)]
pub(super) struct Tokens {
    lifetime: Duration,
    length: usize,
    issued: Mutex<HashMap<String, Instant>>,
}

impl Tokens {
    pub(super) fn new(lifetime: Duration, length: usize) -> Self {
        Self { lifetime, length: length.clamp(32, 16 * 1024), issued: Mutex::default() }
    }

    pub(super) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A new token that lives from `now` on.
    pub(super) fn issue(&self, now: Instant) -> io::Result<String> {
        let mut octets = vec![0; self.length];
        rand::fill(&mut octets).map_err(io::Error::other)?;
        let mut token = URL_SAFE_NO_PAD.encode(octets);
        token.truncate(self.length);
        let mut issued = lock(&self.issued);
        issued.retain(|_, expires| *expires > now);
        issued.insert(token.clone(), now + self.lifetime);
        Ok(token)
    }

    /// Whether a token is good at this time.
    pub(super) fn opens(&self, token: &str, now: Instant) -> bool {
        lock(&self.issued).get(token).is_some_and(|expires| *expires > now)
    }

    /// Every token that was given out, but those that had expired when a later one was.
    pub(super) fn issued(&self) -> Vec<String> {
        lock(&self.issued).keys().cloned().collect()
    }

    pub(super) fn revoke_all(&self) {
        lock(&self.issued).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_until_it_expires_or_is_revoked() {
        let tokens = Tokens::new(Duration::from_secs(60), 1_800);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let first = tokens.issue(begin).unwrap();
        assert_eq!(first.len(), 1_800);
        assert!(tokens.opens(&first, at(59)));
        assert!(!tokens.opens(&first[1..], begin));
        let second = tokens.issue(at(59)).unwrap();
        assert_ne!(first, second);
        assert!(!tokens.opens(&first, at(60)) && tokens.opens(&second, at(60)));
        assert_eq!(tokens.issued().len(), 2);
        tokens.revoke_all();
        assert!(!tokens.opens(&second, at(60)));
    }
}
