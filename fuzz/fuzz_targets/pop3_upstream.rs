#![no_main]
//! What a provider's POP3 server, or whoever sits before it, sends while we log in. Option 0: whether STLS is
//! demanded.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::pop3::upstream::{Plan, Upstream};
use mailferry_fuzz::dialogue::Dialogue;
use mailferry_fuzz::login::logs_in_alike;

fuzz_target!(|data: &[u8]| {
    let Some(dialogue) = Dialogue::read(data) else { return };
    let starttls = dialogue.option(0);
    let plan = Plan { starttls };
    logs_in_alike(&dialogue, starttls, || Upstream::new(plan));
});
