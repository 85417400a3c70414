//! The XOAUTH2 response, read to the letter: Microsoft's and Google's one form, and no other.

/// Who wants in, and with which token.
pub(super) struct Response {
    pub(super) user: String,
    pub(super) token: String,
}

/// Reads `user=` USER 0x01 `auth=Bearer ` TOKEN 0x01 0x01; `None` where it is not that.
pub(super) fn fields(octets: &[u8]) -> Option<Response> {
    let text = std::str::from_utf8(octets).ok()?;
    let (user, rest) = text.strip_prefix("user=")?.split_once('\x01')?;
    let token = rest.strip_prefix("auth=Bearer ")?.strip_suffix("\x01\x01")?;
    let user_fits = !user.is_empty() && user.chars().all(|char| !char.is_control());
    let token_fits = !token.is_empty() && token.bytes().all(|octet| matches!(octet, 0x21..=0x7e));
    (user_fits && token_fits).then(|| Response { user: user.into(), token: token.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(fields(bad).is_none(), "{}", bad.escape_ascii());
        }
    }
}
