#![no_main]
//! What a provider's IMAP server, or whoever sits before it, sends while we log in.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::Credential;
use mailferry::proto::imap::upstream::{Plan, Upstream};
use mailferry::secret::AccessToken;

fn credential() -> Credential {
    Credential { user: "scanner@contoso.example".into(), token: AccessToken::parse("token".into()).unwrap() }
}

fuzz_target!(|data: &[u8]| {
    mailferry_fuzz::any_split_is_the_same(data, || Upstream::new(Plan { credential: credential(), tag: "f0".into() }), |_| None);
});
