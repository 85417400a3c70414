//! What makes two sessions differ that go the same way: octets that nobody can guess, and the time. While fuzzing they stand
//! still, so that what was found can be played again.

use std::time::SystemTime;

/// Octets that nobody can guess.
pub(super) fn octets<const COUNT: usize>() -> [u8; COUNT] {
    let mut octets = [0; COUNT];
    if !cfg!(fuzzing) {
        // The only error is a system without randomness, on which TLS could not have started either.
        let _ = aws_lc_rs::rand::fill(&mut octets);
    }
    octets
}

/// The time that messages are stamped with.
pub(super) fn now() -> SystemTime {
    if cfg!(fuzzing) { SystemTime::UNIX_EPOCH } else { SystemTime::now() }
}
