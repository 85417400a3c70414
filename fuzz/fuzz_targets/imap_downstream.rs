#![no_main]
//! What a stranger sends to the IMAP listener before login. Option 0: whether passwords are taken; 3: whether TLS is
//! offered.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::imap::capability::Capabilities;
use mailferry::proto::imap::downstream::{Downstream, Offer, Refusal};
use mailferry::proto::Access;
use mailferry_fuzz::dialogue::Dialogue;
use mailferry_fuzz::login::{plays_alike, verdict};

fuzz_target!(|data: &[u8]| {
    let Some(dialogue) = Dialogue::read(data) else { return };
    let access = Access { password: dialogue.option(0), ..Access::NONE };
    let after_starttls = dialogue.option(3).then_some(Access::PASSWORD);
    let offer =
        Offer { hostname: "gateway.example".into(), access, after_starttls, capabilities: vec!["IDLE".into()] };
    let refusal = || Refusal { code: "AUTHENTICATIONFAILED", text: "no".into() };
    plays_alike(
        &dialogue,
        || Downstream::new(offer.clone()),
        |before| Some(verdict(&dialogue, before, Capabilities::new(["IMAP4rev1"]), refusal())),
    );
});
