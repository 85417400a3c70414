//! Secrets at rest: AES-256-GCM under keys that are not in the database. Knows nothing of where either is kept.
//!
//! A sealed secret is a version octet (1), the key's id (the first four octets of its SHA-256), the nonce (12 random
//! octets), and the ciphertext with its tag. What it belongs to is associated data: elsewhere it does not open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use thiserror::Error;
use zeroize::Zeroizing;

/// A key: 32 octets, in a place of their own so that moving them leaves no copy.
pub(super) type KeyOctets = Box<Zeroizing<[u8; 32]>>;

/// Version and key id.
pub(super) const HEADER: usize = 5;

const VERSION: u8 = 1;

/// Why a sealed secret did not open, or none could be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum SealError {
    /// No key here has the id it was sealed with.
    #[error("it was sealed with another key")]
    OtherKey,
    /// It is not what was sealed for this place.
    #[error("it is damaged")]
    Damaged,
    /// The cipher failed.
    #[error("the cipher failed")]
    Cipher,
}

/// What a sealed secret belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The column.
    pub(super) column: &'static str,
    /// The row.
    pub(super) row: &'a str,
}

impl Place<'_> {
    fn associated_data(self) -> Aad<Vec<u8>> {
        // No column has a NUL in its name, so no two places have the same data.
        Aad::from([self.column.as_bytes(), self.row.as_bytes()].join(&0))
    }
}

/// The keys: the first seals, all open.
pub(super) struct Seal {
    first: Key,
    others: Vec<Key>,
}

struct Key {
    id: [u8; 4],
    cipher: RandomizedNonceKey,
}

impl Seal {
    /// Seals with `first`; opens with that and `others`.
    ///
    /// # Errors
    /// [`SealError::Cipher`] where the cipher takes no key.
    pub(super) fn new(first: &KeyOctets, others: &[KeyOctets]) -> Result<Self, SealError> {
        let others = others.iter().map(Key::new).collect::<Result<_, _>>()?;
        Ok(Self { first: Key::new(first)?, others })
    }

    /// Seals a secret for its place; twice the same gives two different things.
    ///
    /// # Errors
    /// [`SealError::Cipher`] where the system has no random octets.
    pub(super) fn seal(&self, place: Place<'_>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut text = Zeroizing::new(Vec::with_capacity(secret.len() + AES_256_GCM.tag_len()));
        text.extend_from_slice(secret);
        let nonce = self
            .first
            .cipher
            .seal_in_place_append_tag(place.associated_data(), &mut *text)
            .map_err(|_| SealError::Cipher)?;
        Ok([&self.header(), nonce.as_ref().as_slice(), &text].concat())
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// See [`SealError`].
    pub(super) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (header, rest) = sealed.split_first_chunk::<HEADER>().ok_or(SealError::Damaged)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Damaged)?;
        if header[0] != VERSION {
            return Err(SealError::Damaged);
        }
        let mut keys = self.keys().filter(|key| header[1..] == key.id).peekable();
        if keys.peek().is_none() {
            return Err(SealError::OtherKey);
        }
        keys.find_map(|key| key.open(place, nonce, text)).ok_or(SealError::Damaged)
    }

    /// How all that is sealed now begins: tells it from what an earlier key sealed.
    pub(super) fn header(&self) -> [u8; HEADER] {
        let [a, b, c, d] = self.first.id;
        [VERSION, a, b, c, d]
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal([redacted])")
    }
}

impl Key {
    fn new(octets: &KeyOctets) -> Result<Self, SealError> {
        let hash = digest(&SHA256, octets.as_slice());
        let id = *hash.as_ref().first_chunk().ok_or(SealError::Cipher)?;
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, octets.as_slice()).map_err(|_| SealError::Cipher)?;
        Ok(Self { id, cipher })
    }

    fn open(&self, place: Place<'_>, nonce: &[u8; NONCE_LEN], text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.cipher.open_in_place(nonce, place.associated_data(), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Place<'_> = Place { column: "refresh_token", row: "one" };

    fn key(octet: u8) -> KeyOctets {
        Box::new(Zeroizing::new([octet; 32]))
    }

    fn seal(first: u8, others: &[u8]) -> Seal {
        Seal::new(&key(first), &others.iter().map(|octet| key(*octet)).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_is_sealed_says_how_and_with_which_key() {
        let sealed = seal(7, &[]).seal(HERE, b"secret").unwrap();
        assert_eq!(sealed[0], 1);
        assert_eq!(sealed[1..5], digest(&SHA256, &[7; 32]).as_ref()[..4]);
        assert_eq!(sealed.len(), 5 + 12 + 6 + 16);
    }

    #[test]
    fn twice_the_same_secret_looks_different() {
        let seal = seal(7, &[]);
        assert_ne!(seal.seal(HERE, b"secret").unwrap()[5..], seal.seal(HERE, b"secret").unwrap()[5..]);
    }

    #[test]
    fn it_opens_only_where_it_belongs() {
        let seal = seal(7, &[]);
        let sealed = seal.seal(HERE, b"secret").unwrap();
        assert_eq!(seal.open(HERE, &sealed).unwrap().as_slice(), b"secret");
        for place in [Place { row: "two", ..HERE }, Place { column: "checked", ..HERE }] {
            assert_eq!(seal.open(place, &sealed), Err(SealError::Damaged), "{place:?}");
        }
    }

    #[test]
    fn an_earlier_key_opens_and_the_first_seals() {
        let sealed = seal(7, &[]).seal(HERE, b"secret").unwrap();
        let both = seal(8, &[7]);
        assert_eq!(both.open(HERE, &sealed).unwrap().as_slice(), b"secret");
        let again = both.seal(HERE, b"secret").unwrap();
        assert_eq!(again[..HEADER], both.header());
        assert_eq!(seal(7, &[]).open(HERE, &again), Err(SealError::OtherKey));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", seal(7, &[8]));
        assert_eq!(shown, "Seal([redacted])");
    }

    proptest! {
        #[test]
        fn any_change_or_cut_is_noticed(secret: Vec<u8>, at: prop::sample::Index, change in 1u8..) {
            let seal = seal(7, &[]);
            let mut sealed = seal.seal(HERE, &secret).unwrap();
            prop_assert_eq!(seal.open(HERE, &sealed).unwrap().to_vec(), secret);
            let at = at.index(sealed.len());
            prop_assert!(seal.open(HERE, &sealed[..at]).is_err());
            sealed[at] ^= change;
            prop_assert!(seal.open(HERE, &sealed).is_err());
        }
    }
}
