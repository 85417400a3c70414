#![no_main]
//! A line at the control socket, from whoever may connect: a request that reads back as it was written, or none.

use libfuzzer_sys::fuzz_target;
use mailferry::control::line::parse_request;

fuzz_target!(|line: &[u8]| {
    let Some(request) = parse_request(line) else { return };
    let Ok(written) = serde_json::to_vec(&request) else { panic!("what was read cannot be written") };
    let again = parse_request(&written).expect("what was written cannot be read");
    assert_eq!(serde_json::to_vec(&again).ok().as_ref(), Some(&written));
    let shown = format!("{request:?}");
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
});
