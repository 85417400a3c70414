//! The XOAUTH2 response, read to the letter: Microsoft's and Google's one form, and no other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Who wants in, and with which token.
pub(super) struct Response {
    pub(super) user: String,
    pub(super) token: String,
}

/// Why a response is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Not canonical base64 with its padding (RFC 4648 sections 3.2 to 3.5).
    Base64,
    /// Not `user=` USER 0x01 `auth=Bearer ` TOKEN 0x01 0x01.
    Fields,
}

/// Reads a response as it travels.
pub(super) fn decode(response: &[u8]) -> Result<Response, Malformed> {
    let octets = STANDARD.decode(response).map_err(|_| Malformed::Base64)?;
    fields(&octets).ok_or(Malformed::Fields)
}

fn fields(octets: &[u8]) -> Option<Response> {
    let text = std::str::from_utf8(octets).ok()?;
    let (user, rest) = text.strip_prefix("user=")?.split_once('\x01')?;
    let token = rest.strip_prefix("auth=Bearer ")?.strip_suffix("\x01\x01")?;
    let user_fits = !user.is_empty() && user.chars().all(|char| !char.is_control());
    let token_fits = !token.is_empty() && token.bytes().all(|octet| matches!(octet, 0x21..=0x7e));
    (user_fits && token_fits).then(|| Response { user: user.into(), token: token.into() })
}

/// What a refused login is told before it is refused, by Dovecot and, but for the members' values, by Gmail.
pub(super) fn challenge() -> String {
    STANDARD.encode(r#"{"status":"401","schemes":"bearer","scope":"mail"}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(octets: &[u8]) -> Option<Malformed> {
        decode(STANDARD.encode(octets).as_bytes()).err()
    }

    #[test]
    fn microsofts_example_is_read() {
        let response = decode(
            b"dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==",
        )
        .ok()
        .unwrap();
        assert_eq!(response.user, "test@contoso.onmicrosoft.com");
        assert_eq!(response.token, "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA");
    }

    #[test]
    fn every_departure_from_the_form_is_refused() {
        for bad in [
            &b""[..],
            b"user=a\x01auth=Bearer t\x01",
            b"user=a\x01auth=Bearer t\x01\x01\x01",
            b"user=a\x01Bearer t\x01\x01",
            b"user=a\x01auth=bearer t\x01\x01",
            b"user=a\x01auth=Bearer  t\x01\x01",
            b"user=a\x01auth=Bearer \x01\x01",
            b"user=\x01auth=Bearer t\x01\x01",
            b"user=a\x01user=b\x01auth=Bearer t\x01\x01",
            b"user=a\x01host=h\x01auth=Bearer t\x01\x01",
            b"user=a\r\n\x01auth=Bearer t\x01\x01",
            b"user=a\x01auth=Bearer t\r\n\x01\x01",
        ] {
            assert_eq!(refused(bad), Some(Malformed::Fields), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        for bad in [&b"dXNlcg="[..], b"dXNlcg", b"dXNlch==", b"dXNl cg==", b"dXN-cg==", b"dXNlcg==\r", b"="] {
            assert_eq!(decode(bad).err(), Some(Malformed::Base64), "{}", bad.escape_ascii());
        }
    }
}
