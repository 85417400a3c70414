#![no_main]
//! What a stranger sends to the SMTP listener before login.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::LoginAnswer;
use mailferry::proto::smtp::downstream::{Downstream, Offer};
use mailferry::proto::smtp::reply::Reply;

fuzz_target!(|data: &[u8]| {
    let auth = data.len() % 8 != 7;
    let machine = || Downstream::new(Offer { hostname: "gateway.example".into(), auth, extensions: vec!["DSN".into()] });
    mailferry_fuzz::any_split_is_the_same(data, machine, |request| {
        // A password that begins with "y" opens, one that begins with "l" was the last try.
        Some(if request.password.expose().starts_with(b"y") {
            LoginAnswer::Accepted(())
        } else {
            LoginAnswer::Refused { reply: Reply::new(535, "5.7.8", "no"), last: request.password.expose().starts_with(b"l") }
        })
    });
});
