#![no_main]
//! What a provider's SMTP server, or whoever sits before it, sends while we log in. Option 0: whether STARTTLS is
//! demanded.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::smtp::upstream::{Plan, Upstream};
use mailferry_fuzz::dialogue::Dialogue;
use mailferry_fuzz::login::logs_in_alike;

fuzz_target!(|data: &[u8]| {
    let Some(dialogue) = Dialogue::read(data) else { return };
    let starttls = dialogue.option(0);
    let plan = Plan { hostname: "gateway.example".into(), starttls };
    logs_in_alike(&dialogue, starttls, || Upstream::new(plan.clone()));
});
