#![no_main]
//! What a stranger sends to the IMAP listener before login. Option 0: whether passwords are taken.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::imap::capability::Capabilities;
use mailferry::proto::imap::downstream::{Downstream, Offer, Refusal};
use mailferry_fuzz::dialogue::Dialogue;
use mailferry_fuzz::login::{plays_alike, verdict};

fuzz_target!(|data: &[u8]| {
    let Some(dialogue) = Dialogue::read(data) else { return };
    let offer =
        Offer { hostname: "gateway.example".into(), auth: dialogue.option(0), capabilities: vec!["IDLE".into()] };
    let refusal = || Refusal { code: "AUTHENTICATIONFAILED", text: "no".into() };
    plays_alike(
        &dialogue,
        || Downstream::new(offer.clone()),
        |before| Some(verdict(&dialogue, before, Capabilities::new(["IMAP4rev1"]), refusal())),
    );
});
