#![no_main]
//! MAIL and RCPT, read and written again: one line of clean text that reads back as the same.

use libfuzzer_sys::fuzz_target;
use mailferry::proto::smtp::envelope::{Envelope, MAX_ADDRESS, Side};

fuzz_target!(|data: &[u8]| {
    for side in [Side::Sender, Side::Recipient] {
        let Ok(envelope) = Envelope::parse(side, data) else { continue };
        assert!(envelope.path.as_bytes().len() <= MAX_ADDRESS);
        let mut written = Vec::new();
        envelope.write(&mut written);
        let line = written.strip_suffix(b"\r\n").expect("a line ends with CRLF");
        let text = std::str::from_utf8(line).expect("an envelope is text");
        assert!(!text.chars().any(char::is_control), "{text:?}");
        let arguments = text.strip_prefix(side.verb()).expect("the verb comes first");
        assert_eq!(Envelope::parse(side, arguments.as_bytes()), Ok(envelope));
    }
});
