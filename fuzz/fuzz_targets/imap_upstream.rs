#![no_main]
//! What a provider's IMAP server, or whoever sits before it, sends while we log in.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::imap::upstream::{Plan, Upstream};
use mailferry_fuzz::dialogue::Dialogue;
use mailferry_fuzz::login::{credential, plays_alike};

fuzz_target!(|data: &[u8]| {
    let Some(dialogue) = Dialogue::read(data) else { return };
    let plan = Plan { credential: credential(), tag: "A".into() };
    plays_alike(&dialogue, || Upstream::new(plan.clone()), |_| None);
});
