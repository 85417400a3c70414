#![no_main]
//! What a stranger sends to the SMTP listener before login. Option 0: whether passwords are taken; 3: whether TLS is
//! offered; 4: whether mail is taken by address.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::smtp::downstream::{Downstream, Offer};
use mailferry::proto::smtp::reply::Reply;
use mailferry::proto::Access;
use mailferry_fuzz::dialogue::Dialogue;
use mailferry_fuzz::login::{plays_alike, verdict};

fuzz_target!(|data: &[u8]| {
    let Some(dialogue) = Dialogue::read(data) else { return };
    let access = Access { password: dialogue.option(0), by_address: dialogue.option(4) };
    let after_starttls = dialogue.option(3).then_some(Access::PASSWORD);
    let offer =
        Offer { hostname: "gateway.example".into(), access, after_starttls, extensions: vec!["DSN".into()] };
    plays_alike(
        &dialogue,
        || Downstream::new(offer.clone()),
        |before| Some(verdict(&dialogue, before, (), Reply::new(535, "5.7.8", "no"))),
    );
});
