//! Refresh tokens: each belongs to one sign-in, and what becomes of one that was used is a habit (RFC 9700 section 4.14).

use std::collections::HashMap;
use std::io;

use super::answer::Denial;
use crate::sim::token::random_text;

/// How long a refresh token is, in octets: long enough to be shortened in the dialogue.
const LENGTH: usize = 900;

/// What becomes of a refresh token that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It stays the one, and no other is given: Google.
    Never,
    /// Another is given, and the old one stays good: Microsoft.
    Lenient,
    /// Another is given, and the old one is dead. Using it again ends the whole sign-in, with every token that came of it.
    Strict,
}

/// What a person agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Consent {
    pub(super) user: String,
    pub(super) scopes: Vec<String>,
    /// Whether it holds while the person is away: a refresh token is given.
    pub(super) offline: bool,
}

#[derive(Debug)]
struct SignIn {
    consent: Consent,
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
struct RefreshToken {
    sign_in: usize,
    rotated: bool,
    revoked: bool,
}

/// Every sign-in there was, and the refresh tokens that came of them.
#[derive(Debug, Default)]
pub(super) struct SignIns {
    sign_ins: Vec<SignIn>,
    tokens: HashMap<String, RefreshToken>,
}

/// What a refresh token stands for.
#[derive(Debug)]
pub(super) struct Spent {
    pub(super) sign_in: usize,
    /// `None`: it is dead, for this reason.
    pub(super) consent: Result<Consent, Denial>,
    /// Whether it had been rotated before: a client in order never uses such a one.
    pub(super) reused: bool,
}

impl SignIns {
    /// A new sign-in; its number.
    pub(super) fn begin(&mut self, consent: Consent) -> usize {
        self.sign_ins.push(SignIn { consent, ended: false });
        self.sign_ins.len() - 1
    }

    /// Another refresh token of a sign-in.
    pub(super) fn add(&mut self, sign_in: usize) -> io::Result<String> {
        let token = random_text(LENGTH)?;
        self.tokens
            .insert(token.clone(), RefreshToken { sign_in, rotated: false, revoked: false });
        Ok(token)
    }

    /// Looks a refresh token up, and ends its sign-in where it was used once too often; `None` where there never was one.
    pub(super) fn spend(&mut self, token: &str, rotation: Rotation) -> Option<Spent> {
        let RefreshToken { sign_in, rotated: reused, revoked } = *self.tokens.get(token)?;
        let entry = &mut self.sign_ins[sign_in];
        let consent = if entry.ended || revoked {
            Err(Denial::new(50173, "The grant has been expired or revoked, and a fresh sign-in is needed."))
        } else if reused && rotation == Rotation::Strict {
            entry.ended = true;
            Err(Denial::new(
                70000,
                "The refresh token was used before. Everything that came of the sign-in is revoked.",
            ))
        } else {
            Ok(entry.consent.clone())
        };
        Some(Spent { sign_in, consent, reused })
    }

    /// Gives the successor of a refresh token that was good; `None` where it stays the one.
    pub(super) fn rotate(&mut self, token: &str, rotation: Rotation) -> io::Result<Option<String>> {
        let Some(old) = self.tokens.get_mut(token).filter(|_| rotation != Rotation::Never) else { return Ok(None) };
        old.rotated = true;
        let sign_in = old.sign_in;
        self.add(sign_in).map(Some)
    }

    /// Whether a sign-in still holds.
    pub(super) fn holds(&self, sign_in: usize) -> bool {
        self.sign_ins.get(sign_in).is_some_and(|entry| !entry.ended)
    }

    /// Ends one sign-in.
    pub(super) fn end(&mut self, sign_in: usize) {
        if let Some(entry) = self.sign_ins.get_mut(sign_in) {
            entry.ended = true;
        }
    }

    /// Ends a user's sign-ins, or everybody's; their numbers.
    pub(super) fn end_all(&mut self, user: Option<&str>) -> Vec<usize> {
        let mut ended = Vec::new();
        for (number, entry) in self.sign_ins.iter_mut().enumerate() {
            if user.is_none_or(|user| entry.consent.user.eq_ignore_ascii_case(user)) {
                entry.ended = true;
                ended.push(number);
            }
        }
        ended
    }

    /// Makes one refresh token worthless and leaves the sign-in's others as they are; whether there was such a one.
    pub(super) fn revoke(&mut self, token: &str) -> bool {
        self.tokens.get_mut(token).map(|token| token.revoked = true).is_some()
    }

    /// The refresh tokens that were given out, good or not.
    pub(super) fn issued(&self) -> impl Iterator<Item = &String> {
        self.tokens.keys()
    }

    /// A user's refresh tokens that a client in order may still use: neither revoked nor rotated.
    pub(super) fn current(&self, user: &str) -> Vec<String> {
        let is_current = |token: &RefreshToken| {
            let entry = &self.sign_ins[token.sign_in];
            !entry.ended && !token.revoked && !token.rotated && entry.consent.user.eq_ignore_ascii_case(user)
        };
        let current = self.tokens.iter().filter(|(_, token)| is_current(token));
        current.map(|(text, _)| text.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sign-in and its first refresh token.
    fn begun() -> (SignIns, String) {
        let mut sign_ins = SignIns::default();
        let number = sign_ins.begin(Consent { user: "ann".into(), scopes: Vec::new(), offline: true });
        let token = sign_ins.add(number).unwrap();
        (sign_ins, token)
    }

    #[test]
    fn strict_rotation_ends_the_sign_in_with_the_second_use() {
        let (mut sign_ins, first) = begun();
        let spend = |sign_ins: &mut SignIns, token: &str| sign_ins.spend(token, Rotation::Strict).unwrap();
        assert!(spend(&mut sign_ins, &first).consent.is_ok());
        let second = sign_ins.rotate(&first, Rotation::Strict).unwrap().unwrap();
        assert_eq!(sign_ins.current("ANN"), std::slice::from_ref(&second));
        let again = spend(&mut sign_ins, &first);
        assert!(again.reused && again.consent.is_err());
        let successor = spend(&mut sign_ins, &second);
        assert!(!successor.reused && successor.consent.is_err());
        assert!(!sign_ins.holds(again.sign_in) && sign_ins.current("ann").is_empty());
    }

    #[test]
    fn lenient_rotation_keeps_the_old_one_and_never_gives_no_other() {
        let (mut sign_ins, first) = begun();
        let second = sign_ins.rotate(&first, Rotation::Lenient).unwrap().unwrap();
        let again = sign_ins.spend(&first, Rotation::Lenient).unwrap();
        assert!(again.reused && again.consent.is_ok());
        assert_eq!(sign_ins.rotate(&second, Rotation::Never).unwrap(), None);
        assert!(!sign_ins.spend(&second, Rotation::Never).unwrap().reused);
        assert!(sign_ins.revoke(&second) && !sign_ins.revoke("other"));
        assert!(sign_ins.spend(&second, Rotation::Lenient).unwrap().consent.is_err());
        assert!(sign_ins.spend(&first, Rotation::Lenient).unwrap().consent.is_ok());
        assert!(sign_ins.end_all(Some("bob")).is_empty());
        assert_eq!(sign_ins.end_all(Some("Ann")), [0]);
        assert!(sign_ins.spend(&first, Rotation::Lenient).unwrap().consent.is_err());
        assert!(sign_ins.spend("other", Rotation::Lenient).is_none());
    }
}
