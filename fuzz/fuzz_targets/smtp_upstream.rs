#![no_main]
//! What a provider's SMTP server, or whoever sits before it, sends while we log in.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::Credential;
use mailferry::proto::smtp::upstream::{Plan, Upstream};
use mailferry::secret::AccessToken;

fn credential() -> Credential {
    Credential { user: "scanner@contoso.example".into(), token: AccessToken::parse("token".into()).unwrap() }
}

fuzz_target!(|data: &[u8]| {
    mailferry_fuzz::any_split_is_the_same(data, || Upstream::new(Plan { hostname: "gateway.example".into(), starttls: data.len() % 2 == 1, credential: credential() }), |_| None);
});
