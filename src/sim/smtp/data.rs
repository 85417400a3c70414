//! The end of DATA and the dots in it (RFC 5321 sections 4.1.1.4 and 4.5.2). CRLF.CRLF ends a message and nothing else.

/// Where in the data the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineBegin,
    Text,
    /// Behind a CR that may be half of a CRLF.
    Cr,
    /// Behind a dot that began a line and is not part of the message.
    Dot,
    /// Behind such a dot and a CR, which is not part of the message if an LF follows.
    DotCr,
}

/// Takes the dots out of a message as it comes and knows where it ends.
#[derive(Debug)]
pub(super) struct Transparency {
    at: At,
}

impl Transparency {
    /// The data begins behind the CRLF of the DATA command.
    pub(super) const fn new() -> Self {
        Self { at: At::LineBegin }
    }

    /// Reads `octets` up to the end of data and appends what belongs to the message. `Some`: that many octets were read,
    /// and the data is over.
    pub(super) fn read(&mut self, octets: &[u8], message: &mut Vec<u8>) -> Option<usize> {
        for (index, &octet) in octets.iter().enumerate() {
            if self.at == At::DotCr {
                if octet == b'\n' {
                    return Some(index + 1);
                }
                message.push(b'\r');
                self.at = At::Cr;
            }
            self.at = match (self.at, octet) {
                (At::LineBegin, b'.') => At::Dot,
                (At::Dot, b'\r') => At::DotCr,
                (At::Cr, b'\n') => At::LineBegin,
                (_, b'\r') => At::Cr,
                _ => At::Text,
            };
            if !matches!(self.at, At::Dot | At::DotCr) {
                message.push(octet);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(data: &[u8]) -> (Option<usize>, Vec<u8>) {
        let mut message = Vec::new();
        let end = Transparency::new().read(data, &mut message);
        (end, message)
    }

    #[test]
    fn an_empty_message_and_a_plain_one_end() {
        assert_eq!(read(b".\r\nQUIT\r\n"), (Some(3), vec![]));
        assert_eq!(read(b"a\r\n.\r\nQUIT"), (Some(6), b"a\r\n".to_vec()));
    }

    #[test]
    fn one_leading_dot_goes_and_no_other() {
        assert_eq!(read(b"..a\r\n.b.\r\n...\r\n.\r\n").1, b".a\r\nb.\r\n..\r\n");
        assert_eq!(read(b".\rx\r\n.\r\n").1, b"\rx\r\n");
    }

    #[test]
    fn no_other_line_ends_make_an_end_of_data() {
        for smuggled in
            ["\n.\n", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\n.\r", "\r.\r", "\r\n\0.\r\n", "\r\n.\r\r\n"]
        {
            let data = format!("a{smuggled}MAIL FROM:<x@y>\r\n");
            assert_eq!(read(data.as_bytes()).0, None, "{smuggled:?}");
        }
    }

    /// Puts the dots in, as a client does.
    fn stuffed(message: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        for (index, &octet) in message.iter().enumerate() {
            if octet == b'.' && (index == 0 || message[..index].ends_with(b"\r\n")) {
                data.push(b'.');
            }
            data.push(octet);
        }
        data.extend_from_slice(if message.is_empty() || message.ends_with(b"\r\n") { b".\r\n" } else { b"\r\n.\r\n" });
        data
    }

    proptest! {
        #[test]
        fn a_stuffed_message_comes_out_as_it_was(
            octets in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..60),
            step in 1usize..9,
        ) {
            let mut message = octets;
            if !message.is_empty() {
                message.extend_from_slice(b"\r\n");
            }
            let data = stuffed(&message);
            let mut transparency = Transparency::new();
            let mut out = Vec::new();
            let mut used = 0;
            for chunk in data.chunks(step) {
                match transparency.read(chunk, &mut out) {
                    Some(end) => { used += end; break; }
                    None => used += chunk.len(),
                }
            }
            prop_assert_eq!(out, message);
            prop_assert_eq!(used, data.len());
        }
    }
}
