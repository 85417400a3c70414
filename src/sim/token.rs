//! Access tokens: random, long, mortal, and known to nobody but the one who asked.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
// tokio's clock and not the system's: a test that stops the time ages the tokens with it.
use tokio::time::Instant;

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

    /// A new token.
    pub(super) fn issue(&self) -> io::Result<String> {
        let mut octets = vec![0; self.length];
        rand::fill(&mut octets).map_err(io::Error::other)?;
        let mut token = URL_SAFE_NO_PAD.encode(octets);
        token.truncate(self.length);
        let now = Instant::now();
        let mut issued = lock(&self.issued);
        issued.retain(|_, expires| *expires > now);
        issued.insert(token.clone(), now + self.lifetime);
        Ok(token)
    }

    /// Whether a token is good now.
    pub(super) fn opens(&self, token: &str) -> bool {
        lock(&self.issued).get(token).is_some_and(|expires| *expires > Instant::now())
    }

    pub(super) fn revoke_all(&self) {
        lock(&self.issued).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_opens_until_it_expires_or_is_revoked() {
        let tokens = Tokens::new(Duration::from_secs(60), 1_800);
        let first = tokens.issue().unwrap();
        assert_eq!(first.len(), 1_800);
        assert!(tokens.opens(&first));
        assert!(!tokens.opens(&first[1..]));
        tokio::time::advance(Duration::from_secs(59)).await;
        let second = tokens.issue().unwrap();
        assert_ne!(first, second);
        assert!(tokens.opens(&first));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!tokens.opens(&first) && tokens.opens(&second));
        tokens.revoke_all();
        assert!(!tokens.opens(&second));
    }
}
