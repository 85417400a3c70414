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

/// The names in an id token; none where it cannot be read. Peer text.
///
/// Its signature is not looked at: it came from the token endpoint itself, over TLS (OpenID Connect Core section
/// 3.1.3.7, 6). `email` counts only where the provider says that it has verified it: Microsoft, which never says, lets a
/// tenant write there what it likes, such as the address of the person an administrator's second account belongs to.
#[must_use]
pub fn names(id_token: &SecretText) -> Vec<String> {
    let Some(claims) = claims(id_token.expose()) else { return Vec::new() };
    let verified = matches!(claims.get("email_verified"), Some(Value::Bool(true)))
        || claims.get("email_verified").and_then(Value::as_str) == Some("true");
    let mut names: Vec<String> = Vec::new();
    for claim in CLAIMS {
        let Some(name) = claims.get(claim).and_then(Value::as_str) else { continue };
        let counts = (1..=MAX_NAME).contains(&name.len()) && (claim != "email" || verified);
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

/// The one of `names` that is the mailbox `address`. Case does not matter; anything else does, since what a provider takes
/// for the same (dots, aliases) only a login can tell.
#[must_use]
pub fn own<'n>(names: &'n [String], address: &str) -> Option<&'n String> {
    names.iter().find(|name| name.eq_ignore_ascii_case(address))
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
        let all = json!({"unique_name": "d@x", "email": "c@x", "email_verified": true, "upn": "b@x", "preferred_username": "a@x", "sub": "s"});
        assert_eq!(names_in(&all), ["a@x", "b@x", "c@x", "d@x"]);
        assert_eq!(names_in(&json!({"preferred_username": "A@x", "email": "a@X"})), ["A@x"], "once is enough");
    }

    #[test]
    fn an_email_that_is_not_verified_does_not_count() {
        for (verified, counts) in [
            (json!(true), true),
            (json!("true"), true),
            (Value::Null, false),
            (json!(false), false),
            (json!("false"), false),
        ] {
            let claims = json!({"email": "a@x", "email_verified": verified});
            assert_eq!(names_in(&claims).len(), usize::from(counts), "{claims}");
        }
        assert!(names_in(&json!({"email": "a@x"})).is_empty(), "Microsoft says nothing, and verifies nothing");
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
        assert_eq!(own(&names, "scanner@example.com"), Some(&names[1]));
        assert_eq!(own(&names, "scan.ner@example.com"), None);
        assert_eq!(own(&[], "scanner@example.com"), None);
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
