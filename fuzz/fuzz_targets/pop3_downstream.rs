#![no_main]
//! What a stranger sends to the POP3 listener before login.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::LoginAnswer;
use mailferry::proto::pop3::downstream::{Downstream, Offer};
use mailferry::proto::pop3::response::Refusal;

fuzz_target!(|data: &[u8]| {
    let auth = data.len() % 8 != 7;
    let machine = || Downstream::new(Offer { hostname: "gateway.example".into(), auth, capabilities: Vec::new() });
    mailferry_fuzz::any_split_is_the_same(data, machine, |request| {
        // A password that begins with "y" opens, one that begins with "l" was the last try.
        Some(if request.password.expose().starts_with(b"y") {
            LoginAnswer::Accepted(())
        } else {
            LoginAnswer::Refused { reply: Refusal { code: "AUTH", text: "no".into() }, last: request.password.expose().starts_with(b"l") }
        })
    });
});
