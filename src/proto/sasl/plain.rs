//! SASL PLAIN (RFC 4616): one message of three parts.

use zeroize::Zeroizing;

use super::SaslError;
use crate::proto::MAX_CREDENTIAL;
use crate::secret::Password;

/// The longest PLAIN message that can be right, in octets.
pub const MAX_MESSAGE: usize = 3 * MAX_CREDENTIAL + 2;

/// A PLAIN message. The parts are exactly what was sent, not yet checked in any way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// Whom the client wants to act as; mostly empty.
    pub authzid: Vec<u8>,
    /// Who the client is.
    pub authcid: Vec<u8>,
    /// The password of `authcid`.
    pub password: Password,
}

impl Plain {
    /// Decodes `[authzid] NUL authcid NUL passwd` (RFC 4616 section 2).
    ///
    /// # Errors
    /// [`SaslError::Malformed`] unless there are exactly two NULs; [`SaslError::TooLong`] when a part has more than
    /// [`MAX_CREDENTIAL`] octets.
    pub fn decode(octets: &[u8]) -> Result<Self, SaslError> {
        let mut parts = octets.split(|octet| *octet == 0);
        let (Some(authzid), Some(authcid), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SaslError::Malformed);
        };
        if [authzid, authcid, password].iter().any(|part| part.len() > MAX_CREDENTIAL) {
            return Err(SaslError::TooLong);
        }
        Ok(Self { authzid: authzid.to_vec(), authcid: authcid.to_vec(), password: Password::new(password.to_vec()) })
    }

    /// The message before base64, as a client sends it.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let password = self.password.expose();
        let mut octets = Vec::with_capacity(self.authzid.len() + self.authcid.len() + password.len() + 2);
        octets.extend_from_slice(&self.authzid);
        octets.push(0);
        octets.extend_from_slice(&self.authcid);
        octets.push(0);
        octets.extend_from_slice(password);
        Zeroizing::new(octets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(authzid: &[u8], authcid: &[u8], password: &[u8]) -> Plain {
        Plain { authzid: authzid.to_vec(), authcid: authcid.to_vec(), password: Password::new(password.to_vec()) }
    }

    #[test]
    fn rfc_4616_section_4() {
        assert_eq!(Plain::decode(b"\0tim\0tanstaaftanstaaf"), Ok(plain(b"", b"tim", b"tanstaaftanstaaf")));
        assert_eq!(Plain::decode(b"Ursel\0Kurt\0xipj3plmq"), Ok(plain(b"Ursel", b"Kurt", b"xipj3plmq")));
    }

    #[test]
    fn anything_but_two_nuls_is_malformed() {
        for bad in ["", "tim", "tim\0secret", "\0tim\0sec\0ret", "\0\0\0"] {
            assert_eq!(Plain::decode(bad.as_bytes()), Err(SaslError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn each_part_has_its_limit() {
        let fits = vec![b'x'; MAX_CREDENTIAL];
        let over = vec![b'x'; MAX_CREDENTIAL + 1];
        let longest = plain(&fits, &fits, &fits).encode();
        assert_eq!(longest.len(), MAX_MESSAGE);
        assert!(Plain::decode(&longest).is_ok());
        for message in [plain(&over, b"", b""), plain(b"", &over, b""), plain(b"", b"", &over)] {
            assert_eq!(Plain::decode(&message.encode()), Err(SaslError::TooLong));
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", plain(b"", b"tim", b"hunter2"));
        assert!(shown.contains("[redacted]"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_we_encode_decodes(
            authzid in proptest::collection::vec(1u8.., 0..40),
            authcid in proptest::collection::vec(1u8.., 0..40),
            password in proptest::collection::vec(1u8.., 0..40),
        ) {
            let message = plain(&authzid, &authcid, &password);
            prop_assert_eq!(Plain::decode(&message.encode()), Ok(message));
        }
    }
}
