//! The OAUTHBEARER response, read to the letter (RFC 7628 section 3.1) and in the one order in which clients write it:
//! the user, `host`, `port`, `auth`.

use super::xoauth2::Response;

/// Reads `n,a=USER,` 0x01 `host=HOST` 0x01 `port=PORT` 0x01 `auth=Bearer TOKEN` 0x01 0x01; `None` where it is not that.
pub(super) fn fields(octets: &[u8]) -> Option<Response> {
    let text = std::str::from_utf8(octets).ok()?;
    let (user, rest) = text.strip_prefix("n,a=")?.split_once(",\x01")?;
    let (host, rest) = rest.strip_prefix("host=")?.split_once('\x01')?;
    let (port, rest) = rest.strip_prefix("port=")?.split_once('\x01')?;
    let token = rest.strip_prefix("auth=Bearer ")?.strip_suffix("\x01\x01")?;
    let host_fits = !host.is_empty() && host.bytes().all(|octet| matches!(octet, 0x21..=0x7e));
    let port_fits = port
        .parse::<u16>()
        .is_ok_and(|number| number != 0 && number.to_string() == port);
    let token_fits = !token.is_empty() && token.bytes().all(|octet| matches!(octet, 0x21..=0x7e));
    let user = saslname(user).filter(|_| host_fits && port_fits && token_fits)?;
    Some(Response { user, token: token.into() })
}

/// RFC 5801 section 4: a comma is written `=2C`, an equals sign `=3D`, and neither stands for itself.
fn saslname(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("=2C") {
            name.push(',');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("=3D") {
            name.push('=');
            rest = after;
        } else if matches!(char, ',' | '=') || char.is_control() {
            return None;
        } else {
            name.push(char);
            rest = &rest[char.len_utf8()..];
        }
    }
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_example_is_read() {
        // Section 4.1, first message.
        let example = "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        let response = fields(example.as_bytes()).unwrap();
        assert_eq!((response.user.as_str(), &response.token[..8]), ("user@example.com", "vF9dft4q"));
        let escaped = fields(b"n,a=a=2Cb=3Dc,\x01host=h\x01port=993\x01auth=Bearer t\x01\x01").unwrap();
        assert_eq!(escaped.user, "a,b=c");
    }

    #[test]
    fn every_departure_from_the_form_is_refused() {
        for bad in [
            "",
            "n,a=u,\x01host=h\x01port=1\x01auth=Bearer t\x01",
            "n,a=u,\x01host=h\x01port=1\x01auth=bearer t\x01\x01",
            "n,a=u,\x01host=h\x01port=1\x01auth=Bearer  t\x01\x01",
            "n,a=u,\x01host=h\x01port=1\x01auth=Bearer \x01\x01",
            "n,a=u,\x01host=h\x01port=0\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01host=h\x01port=+1\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01host=h\x01port=65536\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01host=\x01port=1\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01port=1\x01host=h\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01auth=Bearer t\x01\x01",
            "n,a=,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01",
            "n,,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01",
            "y,a=u,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01",
            "n,a=u=2c,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01",
            "n,a=u=,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01",
            "n,a=a,b,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01host=h\x01port=1\x01auth=Bearer t\x01x=y\x01\x01",
            "user=u\x01auth=Bearer t\x01\x01",
        ] {
            assert!(fields(bad.as_bytes()).is_none(), "{}", bad.escape_default());
        }
    }
}
