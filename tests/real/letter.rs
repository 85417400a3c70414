//! The message that the tests send and read, and its comparison.

/// A message with what is easily broken: dots, a lone dot, an empty line, octets beyond ASCII, a line of 998.
pub(crate) fn letter() -> Vec<u8> {
    let long = "long ".repeat(199) + "998";
    format!(
        "From: Scanner <user@example.com>\r\nTo: Office <office@example.net>\r\nSubject: Scan\r\n\
         Date: Sat, 21 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         .begins with a dot\r\n.\r\n..\r\n\r\nGr\u{fc}\u{df}e \u{20ac}\r\n{long}\r\nMAIL FROM:<x@example.org>\r\nlast\r\n"
    )
    .into_bytes()
}

/// The lines of a message as smtp-sink writes them.
pub(crate) fn with_lf(message: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(message).replace("\r\n", "\n").into_bytes()
}

#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8]) {
    assert!(
        found == expected,
        "found:\n{}\nexpected:\n{}",
        String::from_utf8_lossy(found),
        String::from_utf8_lossy(expected)
    );
}
