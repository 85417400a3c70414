//! Takes out of an upstream's words what whoever sent the message may have put there: it repeats addresses in angle
//! brackets, and other things in quotation marks.

/// The words with what stands in `<>` or `""` left out. What is not closed goes on to the end.
pub(super) fn without_echo(words: &str) -> String {
    let (mut left, mut rest) = (String::new(), words);
    while let Some(at) = rest.find(['<', '"']) {
        let (before, echoed) = rest.split_at(at);
        left += before;
        left += if echoed.starts_with('<') { "<...>" } else { "\"...\"" };
        rest = &echoed[length(echoed)..];
    }
    left + rest
}

/// How long the address or the quotation is that `words` begin with, in octets. An address may have a quotation in it
/// (RFC 5321 section 4.1.2), and what closes it does not count there.
fn length(words: &str) -> usize {
    let is_address = words.starts_with('<');
    let (mut quoted, mut escaped) = (!is_address, false);
    for (at, one) in words.char_indices().skip(1) {
        match one {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if is_address => quoted = !quoted,
            '"' => return at + 1,
            '>' if !quoted => return at + 1,
            _ => {}
        }
    }
    words.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_quotations_go_whatever_is_in_them() {
        for (words, left) in [
            ("550 5.1.8 <spam@bad.example> Sender domain rejected", "550 5.1.8 <...> Sender domain rejected"),
            ("<a@b> may not send as <c@d>", "<...> may not send as <...>"),
            (r#"no <"a> virus \" > b"@x> here"#, "no <...> here"),
            (r#"the name "Old \" Scanner" is bad"#, r#"the name "..." is bad"#),
            ("cut <a@b", "cut <...>"),
            (r#"5" tall"#, r#"5"...""#),
            ("nothing > here", "nothing > here"),
            ("", ""),
        ] {
            assert_eq!(without_echo(words), left, "{words}");
        }
    }
}
