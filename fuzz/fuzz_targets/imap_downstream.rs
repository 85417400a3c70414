#![no_main]
//! What a stranger sends to the IMAP listener before login.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::LoginAnswer;
use mailferry::proto::imap::downstream::{Downstream, Offer};
use mailferry::proto::imap::capability::Capabilities;
use mailferry::proto::imap::downstream::Refusal;

fuzz_target!(|data: &[u8]| {
    let auth = data.len() % 8 != 7;
    let machine = || Downstream::new(Offer { hostname: "gateway.example".into(), auth, capabilities: vec!["IDLE".into()] });
    mailferry_fuzz::any_split_is_the_same(data, machine, |request| {
        // A password that begins with "y" opens, one that begins with "l" was the last try.
        Some(if request.password.expose().starts_with(b"y") {
            LoginAnswer::Accepted(Capabilities::default())
        } else {
            LoginAnswer::Refused { reply: Refusal { code: "AUTHENTICATIONFAILED", text: "no".into() }, last: request.password.expose().starts_with(b"l") }
        })
    });
});
