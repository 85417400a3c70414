//! What a name nobody has is checked against, so that the time does not tell that nobody has it. Knows no password.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};

/// What argon2id costs where no configured hash says otherwise: the parameters `mailferry passwd` uses.
const COMMON_COST: &str = "$argon2id$v=19$m=19456,t=2,p=1";

/// Lists of hashes that nothing fits: one for each configured name, as many and as dear as the name's own.
pub(crate) struct Decoys {
    /// Made of the configured hashes, which nobody outside knows: the same after a restart. A name whose time changed
    /// then would be one that nobody has.
    key: hmac::Key,
    /// Never empty.
    lists: Vec<Arc<[String]>>,
}

impl Decoys {
    /// The decoys for logins of these names and password hashes.
    pub(crate) fn of<'a>(logins: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut secret = digest::Context::new(&digest::SHA256);
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, hash) in logins {
            secret.update(hash.as_bytes());
            if let Some(cost) = cost(hash) {
                names.entry(name).or_default().push(cost);
            }
        }
        if names.is_empty() {
            names.insert("", vec![COMMON_COST]);
        }
        let mut made: HashMap<Vec<&str>, Arc<[String]>> = HashMap::new();
        let lists = names.into_values().map(|costs| {
            let list = made
                .entry(costs)
                .or_insert_with_key(|costs| costs.iter().map(|cost| decoy(cost)).collect());
            Arc::clone(list)
        });
        let lists = lists.collect();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.finish().as_ref()), lists }
    }

    /// The list for `name`: always the same one, and over many names each as often as the configured names have it.
    pub(crate) fn for_name(&self, name: &str) -> Arc<[String]> {
        let tag = hmac::sign(&self.key, name.as_bytes());
        let number = tag
            .as_ref()
            .iter()
            .take(size_of::<usize>())
            .fold(0_usize, |number, octet| number << 8 | usize::from(*octet));
        Arc::clone(&self.lists[number % self.lists.len()])
    }
}

/// A hash nothing fits.
fn decoy(cost: &str) -> String {
    format!("{cost}$bm8gc3VjaCBsb2dpbiEhIQ${}", "A".repeat(43))
}

/// What a PHC string says before its salt and hash.
fn cost(hash: &str) -> Option<&str> {
    let (rest, _) = hash.rsplit_once('$')?;
    rest.rsplit_once('$').map(|(cost, _)| cost)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{self, PasswordVerifier};
    use argon2::{Argon2, PasswordHash};

    use super::*;

    const CHEAP: &str = "$argon2id$v=19$m=8,t=1,p=1";
    const DEAR: &str = "$argon2id$v=19$m=16,t=2,p=1";

    fn hash(cost: &str) -> String {
        format!("{cost}$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg")
    }

    /// What the list for `name` costs, where there are names of these costs.
    fn costs(logins: &[(&str, &str)], name: &str) -> Vec<String> {
        let hashes: Vec<_> = logins.iter().map(|(name, cost)| (*name, hash(cost))).collect();
        let decoys = Decoys::of(hashes.iter().map(|(name, hash)| (*name, &**hash)));
        decoys
            .for_name(name)
            .iter()
            .map(|decoy| cost(decoy).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn unknown_names_cost_what_known_ones_do_and_as_often() {
        let logins = [
            ("once", CHEAP),
            ("thrice", CHEAP),
            ("dear", DEAR),
            ("thrice", DEAR),
            ("thrice", CHEAP),
            ("once too", CHEAP),
        ];
        let mut seen = HashMap::new();
        for number in 0..4000 {
            *seen.entry(costs(&logins, &format!("name{number}"))).or_insert(0) += 1;
        }
        let expected: [(&[&str], _); 3] =
            [(&[CHEAP], 1800..2200), (&[DEAR], 850..1150), (&[CHEAP, DEAR, CHEAP], 850..1150)];
        assert_eq!(seen.len(), expected.len(), "{seen:?}");
        for (costs, range) in expected {
            let costs: Vec<_> = costs.iter().map(|cost| (*cost).to_owned()).collect();
            assert!(range.contains(&seen[&costs]), "{seen:?}");
        }
    }

    #[test]
    fn a_name_costs_the_same_every_time() {
        let logins = [("once", CHEAP), ("twice", CHEAP), ("twice", CHEAP)];
        for number in 0..100 {
            let name = format!("name{number}");
            assert_eq!(costs(&logins, &name), costs(&logins, &name), "{name}");
        }
    }

    #[test]
    fn without_logins_a_decoy_costs_the_default() {
        assert_eq!(costs(&[], "name"), [COMMON_COST]);
    }

    #[test]
    fn nothing_fits_a_decoy_and_it_can_be_computed() {
        let decoy = decoy(CHEAP);
        let hash = PasswordHash::new(&decoy).unwrap();
        for password in [b"".as_slice(), b"x"] {
            let checked = Argon2::default().verify_password(password, &hash);
            assert_eq!(checked, Err(password_hash::Error::PasswordInvalid));
        }
    }
}
