#![no_main]
//! What a token or device authorization endpoint, or whatever stands before it, answers. The parts are Retry-After, Content-Type and the body;
//! the status is made of the options.

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use mailferry::net::http::{HttpAnswer, RetryAfter};
use mailferry::oauth::answer::{self, device};

/// Statuses that mean something, and one that does not.
const STATUSES: [u16; 8] = [200, 201, 302, 400, 401, 429, 503, 999];

/// The longest line a person is shown: some peer text, escaped, with our words about it.
const MAX_LINE: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let [status, parts @ ..] = data else { return };
    let mut parts = parts.splitn(3, |octet| *octet == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let answer = HttpAnswer {
        status: STATUSES[usize::from(status % 8)],
        retry_after: RetryAfter::parse(&String::from_utf8_lossy(part())),
        content_type: String::from_utf8_lossy(part()).into_owned(),
        body: part().to_vec().into(),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    match device::read(&answer, now, &[]) {
        Ok(codes) => {
            assert!((1..=3600).contains(&codes.expires_in.as_secs()), "{:?}", codes.expires_in);
            assert!(!codes.user_code.chars().any(char::is_control), "{:?}", codes.user_code);
        }
        Err(refusal) => assert!(!refusal.to_string().chars().any(char::is_control), "{refusal}"),
    }
    match answer::read(&answer, now, &[]) {
        Ok(issued) => {
            assert!((200..300).contains(&answer.status));
            assert!((1..=7 * 24 * 3600).contains(&issued.lives.as_secs()), "{:?}", issued.lives);
        }
        Err(error) => {
            let line = error.to_string();
            assert!(line.len() <= MAX_LINE && !line.chars().any(char::is_control), "{line:?}");
        }
    }
});
