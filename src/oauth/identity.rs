//! Who signed in: the names in an id token, and whether one of them is the mailbox's. It guards against mistakes, such as
//! a browser that is still somebody else's; what opens a mailbox is decided by the provider, each time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::secret::SecretText;

/// The longest name that is taken for one, in octets (RFC 5321 section 4.5.3.1.3).
const MAX_NAME: usize = 254;

/// The claims that may name the mailbox, the most telling first (OpenID Connect Core section 5.1; `upn` and
/// `unique_name` are Microsoft's).
const CLAIMS: [&str; 4] = ["preferred_username", "upn", "email", "unique_name"];

/// What the names say about a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// One of them is the mailbox's address.
    Same,
    /// None is: somebody else signed in, or the same person by another name.
    Other(Vec<String>),
    /// There are no names.
    Unknown,
}

/// The names in an id token; none where it cannot be read. Peer text.
///
/// Its signature is not looked at: it came from the token endpoint itself, over TLS (OpenID Connect Core section
/// 3.1.3.7, 6). `email` counts unless the provider says that it has not verified it: Microsoft, which never says, lets a
/// tenant write there what it likes, but a person can only sign in as somebody they are, and the worst that a wrong name
/// brings about is a sign-in that opens no mailbox.
#[must_use]
pub fn names(id_token: &SecretText) -> Vec<String> {
    let Some(claims) = claims(id_token.expose()) else { return Vec::new() };
    let unverified = matches!(claims.get("email_verified"), Some(Value::Bool(false)))
        || claims.get("email_verified").and_then(Value::as_str) == Some("false");
    let mut names: Vec<String> = Vec::new();
    for claim in CLAIMS {
        let Some(name) = claims.get(claim).and_then(Value::as_str) else { continue };
        let counts = (1..=MAX_NAME).contains(&name.len()) && !(claim == "email" && unverified);
        if counts && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The payload (RFC 7519 section 7.2).
fn claims(id_token: &str) -> Option<Map<String, Value>> {
    let mut parts = id_token.split('.');
    let (_header, payload) = (parts.next()?, parts.next()?);
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Whether one of `names` is the mailbox `address`. Case does not matter; anything else does, since what a provider takes
/// for the same (dots, aliases) only a login can tell.
#[must_use]
pub fn compare(names: &[String], address: &str) -> Identity {
    if names.is_empty() {
        Identity::Unknown
    } else if names.iter().any(|name| name.eq_ignore_ascii_case(address)) {
        Identity::Same
    } else {
        Identity::Other(names.to_vec())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// An id token with these claims, signed by nobody.
    pub(crate) fn id_token(claims: &Value) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn names_in(claims: &Value) -> Vec<String> {
        names(&SecretText::new(id_token(claims)))
    }

    #[test]
    fn every_claim_that_names_a_mailbox_is_read() {
        let all = json!({"unique_name": "d@x", "email": "c@x", "upn": "b@x", "preferred_username": "a@x", "sub": "s"});
        assert_eq!(names_in(&all), ["a@x", "b@x", "c@x", "d@x"]);
        assert_eq!(names_in(&json!({"preferred_username": "A@x", "email": "a@X"})), ["A@x"], "once is enough");
    }

    #[test]
    fn an_email_that_is_not_verified_does_not_count() {
        for (verified, counts) in [
            (json!(true), true),
            (json!("true"), true),
            (Value::Null, true),
            (json!(false), false),
            (json!("false"), false),
        ] {
            let claims = json!({"email": "a@x", "email_verified": verified});
            assert_eq!(names_in(&claims).len(), usize::from(counts), "{claims}");
        }
        assert_eq!(names_in(&json!({"email": "a@x"})), ["a@x"]);
    }

    #[test]
    fn what_is_no_id_token_names_nobody() {
        let long = json!({"email": "x".repeat(300), "upn": "", "preferred_username": 5});
        assert_eq!(names_in(&long), Vec::<String>::new());
        for odd in ["", ".", "a.b", "a.!!.c", "a.W10.c", "a.IiI.c", "EwB_opaque"] {
            assert_eq!(names(&SecretText::new(odd.into())), Vec::<String>::new(), "{odd}");
        }
    }

    #[test]
    fn a_name_is_the_mailboxs_in_any_case() {
        let names = ["other@example.com".to_owned(), "Scanner@Example.com".to_owned()];
        assert_eq!(compare(&names, "scanner@example.com"), Identity::Same);
        assert_eq!(compare(&names, "scan.ner@example.com"), Identity::Other(names.to_vec()));
        assert_eq!(compare(&[], "scanner@example.com"), Identity::Unknown);
    }

    proptest! {
        #[test]
        fn no_id_token_breaks_the_reader(text in ".*\\..*\\..*", payload in "\\{\"(email|upn)\":.*\\}") {
            for text in [text, format!("a.{}.c", URL_SAFE_NO_PAD.encode(payload))] {
                let names = names(&SecretText::new(text));
                prop_assert!(names.len() <= CLAIMS.len() && names.iter().all(|name| name.len() <= MAX_NAME));
            }
        }
    }
}
