#![no_main]
//! SMTP after login, between a downstream and an upstream that say what they like. Options 0 to 2: what the upstream
//! offers; option 3: whether it hangs up at the end.

use libfuzzer_sys::fuzz_target;
use mailferry_fuzz::dialogue::Dialogue;
use mailferry_fuzz::mail::{holds_whoever_talks, plays_alike};

fuzz_target!(|data: &[u8]| {
    let Some(dialogue) = Dialogue::read(data) else { return };
    holds_whoever_talks(&dialogue);
    plays_alike(&dialogue);
});
