//! OAUTHBEARER (RFC 7628): the message that logs us in where an upstream offers no XOAUTH2.

use zeroize::Zeroizing;

use super::encode_base64;
use crate::secret::AccessToken;

/// The message, base64-encoded on one line: `n,a=<user>,^Ahost=<host>^Aport=<port>^Aauth=Bearer <token>^A^A` (section
/// 3.1). `host` and `port` are where the connection goes.
///
/// `None` for a user that is empty or holds a control character, as in XOAUTH2, and for a host that is or does.
#[must_use]
pub fn encode(user: &str, token: &AccessToken, host: &str, port: u16) -> Option<Zeroizing<String>> {
    if [user, host]
        .iter()
        .any(|text| text.is_empty() || text.chars().any(char::is_control))
    {
        return None;
    }
    // RFC 5801 section 4: a comma would end the user. The equals sign goes first, or it would be escaped twice.
    let user = user.replace('=', "=3D").replace(',', "=2C");
    let port = port.to_string();
    let parts = ["n,a=", &user, ",\x01host=", host, "\x01port=", &port, "\x01auth=Bearer ", token.expose(), "\x01\x01"];
    // Sized up front: a buffer that grew would leave pieces of the token behind.
    let mut message = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| message.push_str(part));
    Some(encode_base64(message.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::sasl::{MAX_LINE, decode_base64};
    use crate::secret::MAX_ACCESS_TOKEN;

    fn token(text: &str) -> AccessToken {
        AccessToken::parse(text.into()).unwrap()
    }

    fn message(user: &str) -> String {
        let encoded = encode(user, &token("token"), "mail.example.com", 993).unwrap();
        String::from_utf8(decode_base64(encoded.as_bytes(), usize::MAX).unwrap().to_vec()).unwrap()
    }

    /// Reads a message by the grammar of RFC 7628 section 3.1 and RFC 5801 section 4; user, host, port, token.
    fn decode(message: &[u8]) -> Option<(String, String, u16, String)> {
        let text = String::from_utf8(decode_base64(message, usize::MAX).ok()?.to_vec()).ok()?;
        let mut fields = text.strip_suffix("\x01\x01")?.split('\x01');
        let header = fields.next()?.strip_prefix("n,a=")?.strip_suffix(',')?;
        let (mut host, mut port, mut token) = (None, None, None);
        for field in fields {
            match field.split_once('=')? {
                ("host", value) if host.is_none() => host = Some(value.to_owned()),
                ("port", value) if port.is_none() => port = Some(value.parse().ok()?),
                ("auth", value) if token.is_none() => token = Some(value.strip_prefix("Bearer ")?.to_owned()),
                _ => return None,
            }
        }
        let mut user = String::new();
        let mut rest = header;
        while let Some(at) = rest.find([',', '=']) {
            user.push_str(&rest[..at]);
            user.push(match rest.get(at..at + 3)? {
                "=2C" => ',',
                "=3D" => '=',
                _ => return None,
            });
            rest = &rest[at + 3..];
        }
        Some((user + rest, host?, port?, token?))
    }

    #[test]
    fn the_first_example_of_the_rfc() {
        let token = token("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let message = encode("user@example.com", &token, "server.example.com", 143).unwrap();
        // RFC 7628 section 4.1.
        assert_eq!(
            message.as_str(),
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
        );
    }

    #[test]
    fn a_comma_does_not_end_the_user() {
        assert_eq!(
            message("a,b=2C,a=root"),
            "n,a=a=2Cb=3D2C=2Ca=3Droot,\x01host=mail.example.com\x01port=993\x01auth=Bearer token\x01\x01"
        );
    }

    #[test]
    fn a_user_or_a_host_cannot_open_another_field() {
        for bad in ["", "x@example.com\x01auth=Bearer evil", "a\r\nb", "a\0b", "a\x7fb", "a\u{85}b"] {
            assert!(encode(bad, &token("token"), "mail.example.com", 993).is_none(), "{bad:?}");
            assert!(encode("user@example.com", &token("token"), bad, 993).is_none(), "{bad:?}");
        }
        assert!(encode("j\u{fc}rgen@example.com", &token("token"), "mail.example.com", 993).is_some());
    }

    #[test]
    fn a_microsoft_token_fits_one_sasl_line_and_the_buffer_never_grows() {
        let message = encode(&"u".repeat(30), &token(&"t".repeat(9100)), &"h".repeat(253), 65_535).unwrap();
        assert!(message.len() + 2 <= MAX_LINE);
        let longest = encode("user@example.com", &token(&"t".repeat(MAX_ACCESS_TOKEN)), "mail.example.com", 1).unwrap();
        assert_eq!(longest.capacity(), longest.len());
    }

    proptest! {
        #[test]
        fn what_we_encode_decodes(
            user in "[^\\p{Cc}]{1,40}|[,=2C3D]{1,12}", text in "[!-~]{1,60}", host in "[a-z.-]{1,30}", port: u16,
        ) {
            let message = encode(&user, &token(&text), &host, port).unwrap();
            prop_assert_eq!(decode(message.as_bytes()), Some((user, host, port, text)));
        }
    }
}
