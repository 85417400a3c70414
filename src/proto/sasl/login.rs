//! SASL LOGIN (draft-murchison-sasl-login): two prompts, each answered by base64 of the words themselves.

/// Asks for the user name: `Username:`. Devices compare it octet for octet and hang up at any other spelling.
pub const USERNAME_PROMPT: &str = "VXNlcm5hbWU6";

/// Asks for the password: `Password:`.
pub const PASSWORD_PROMPT: &str = "UGFzc3dvcmQ6";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sasl::encode_base64;

    #[test]
    fn the_prompts_are_what_devices_know() {
        assert_eq!(USERNAME_PROMPT, encode_base64(b"Username:").as_str());
        assert_eq!(PASSWORD_PROMPT, encode_base64(b"Password:").as_str());
    }
}
