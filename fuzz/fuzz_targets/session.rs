#![no_main]
//! Whole sessions: a stranger's octets and an upstream's, from the greeting to the close. The first octet says how the
//! gateway is set up, the rest is a dialogue whose parts are the client's and the upstream's by turns.

use libfuzzer_sys::fuzz_target;
use mailferry_fuzz::dialogue::Dialogue;
use mailferry_fuzz::session::holds;

fuzz_target!(|data: &[u8]| {
    let Some((&flavour, written)) = data.split_first() else { return };
    let Some(dialogue) = Dialogue::read(written) else { return };
    holds(flavour, &dialogue);
});
