//! XOAUTH2, as Google and Microsoft document it: the message that logs us in upstream.

use zeroize::Zeroizing;

use super::encode_base64;
use crate::secret::AccessToken;

/// The message, base64-encoded on one line: `user=<user>^Aauth=Bearer <token>^A^A`.
///
/// `None` for a user that is empty or holds a control character: `^A` separates the message's fields, so
/// `a^Auser=b` would log in as somebody else (Dovecot takes the last `user=`).
#[must_use]
pub fn encode(user: &str, token: &AccessToken) -> Option<Zeroizing<String>> {
    if user.is_empty() || user.chars().any(char::is_control) {
        return None;
    }
    let parts = ["user=", user, "\x01auth=Bearer ", token.expose(), "\x01\x01"];
    // Sized up front: a buffer that grew would leave pieces of the token behind.
    let mut message = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| message.push_str(part));
    Some(encode_base64(message.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::sasl::decode_base64;
    use crate::secret::MAX_ACCESS_TOKEN;

    fn token(text: &str) -> AccessToken {
        AccessToken::parse(text.into()).unwrap()
    }

    #[test]
    fn the_vector_of_microsofts_page() {
        let message = encode("test@contoso.onmicrosoft.com", &token("EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA"));
        assert_eq!(
            message.unwrap().as_str(),
            "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==",
        );
    }

    #[test]
    fn the_small_vector() {
        let message = encode("user@example.com", &token("token")).unwrap();
        assert_eq!(message.as_str(), "dXNlcj11c2VyQGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRva2VuAQE=");
    }

    #[test]
    fn a_user_cannot_switch_identity() {
        for bad in ["", "x@example.com\x01user=user@example.com", "a\r\nb", "a\0b", "a\x7fb", "a\u{85}b"] {
            assert!(encode(bad, &token("token")).is_none(), "{bad:?}");
        }
        assert!(encode("j\u{fc}rgen@example.com", &token("token")).is_some());
    }

    #[test]
    fn a_microsoft_token_fits_one_sasl_line() {
        // The largest size the provider page lists: a 30-octet login and a token of 9,100.
        let message = encode(&"u".repeat(30), &token(&"t".repeat(9100))).unwrap();
        assert_eq!(message.len(), 12_200);
        assert!(message.len() + 2 <= super::super::MAX_LINE);
        let longest = encode("user@example.com", &token(&"t".repeat(MAX_ACCESS_TOKEN))).unwrap();
        assert_eq!(longest.capacity(), longest.len());
    }

    /// Reads a message as Google describes it; user and token.
    fn decode(message: &[u8]) -> Option<(String, String)> {
        let text = String::from_utf8(decode_base64(message, usize::MAX).ok()?.to_vec()).ok()?;
        let mut fields = text.strip_suffix("\x01\x01")?.split('\x01');
        let user = fields.next()?.strip_prefix("user=")?.to_owned();
        let token = fields.next()?.strip_prefix("auth=Bearer ")?.to_owned();
        fields.next().is_none().then_some((user, token))
    }

    proptest! {
        #[test]
        fn what_we_encode_decodes(user in "[^\\p{Cc}]{1,40}", text in "[!-~]{1,60}") {
            let message = encode(&user, &token(&text)).unwrap();
            prop_assert_eq!(decode(message.as_bytes()), Some((user, text)));
        }
    }
}
