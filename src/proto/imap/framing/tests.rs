//! Where commands end, whatever is in them; imap-codec agrees.

use imap_codec::fragmentizer::Fragmentizer;
use proptest::prelude::*;

use super::*;
use crate::proto::play::cut;

#[derive(Debug, PartialEq)]
enum Seen {
    Invited,
    Command(Vec<u8>),
    Excessive(Vec<u8>, Excess),
    Endless,
}

/// What is framed from these pieces, and what is left unread.
fn frame(pieces: &[&[u8]]) -> (Vec<Seen>, Vec<u8>) {
    let (mut framer, mut input, mut seen) = (Framer::default(), Input::new(), Vec::new());
    for (at, piece) in pieces.iter().enumerate() {
        input.extend(piece);
        loop {
            seen.push(match framer.next(&mut input) {
                Framed::Incomplete => break,
                Framed::LiteralAwaited => Seen::Invited,
                Framed::Command(octets) => Seen::Command(octets.to_vec()),
                Framed::Excessive { start, excess } => Seen::Excessive(start.to_vec(), excess),
                Framed::Endless => {
                    seen.push(Seen::Endless);
                    pieces[at + 1..].iter().for_each(|later| input.extend(later));
                    return (seen, input.unused().to_vec());
                }
            });
        }
    }
    (seen, input.unused().to_vec())
}

fn command(octets: &[u8]) -> Seen {
    Seen::Command(octets.to_vec())
}

#[test]
fn only_a_number_in_braces_at_the_end_announces_a_literal() {
    let announced = |octets, waits| Some(Announcement { octets, waits });
    for (line, expected) in [
        ("a LOGIN {5}", announced(Some(5), true)),
        ("a LOGIN {5+}", announced(Some(5), false)),
        ("a LOGIN u~{0}", announced(Some(0), true)),
        ("{0007}", announced(Some(7), true)),
        ("{4294967295}", announced(Some(4_294_967_295), true)),
        ("{18446744073709551615}", announced(Some(u64::MAX), true)),
        ("{18446744073709551616}", announced(None, true)),
        ("{99999999999999999999+}", announced(None, false)),
        ("{-1}", None),
        ("{1", None),
        ("1}", None),
        ("{}", None),
        ("{+}", None),
        ("{1++}", None),
        ("{ 1}", None),
        ("{1} ", None),
        ("{0x10}", None),
        ("", None),
    ] {
        assert_eq!(Announcement::at_the_end_of(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn a_literal_is_counted_and_never_read() {
    let (seen, left) = frame(&[b"a LOGIN {14}\r\nb LOGOUT\r\nc {5} {2+}\nxy\r\nd NOOP\r\ne NO"]);
    assert_eq!(seen, [Seen::Invited, command(b"a LOGIN {14}\r\nb LOGOUT\r\nc {5} {2+}\r\nxy"), command(b"d NOOP"),]);
    assert_eq!(left, b"e NO");
}

#[test]
fn a_literal_over_its_cap_is_not_invited_and_not_read() {
    let start = format!("a LOGIN {{{}}}", MAX_LITERAL + 1);
    let (seen, _) = frame(&[start.as_bytes(), b"\r\nb NOOP\r\n"]);
    assert_eq!(seen, [Seen::Excessive(start.into(), Excess::Literal), command(b"b NOOP")]);

    let start = format!("a SELECT {{{}+}}", 6 * MAX_LITERAL);
    let literal = b"b LOGOUT\r\n".repeat(1000);
    let (seen, _) = frame(&[start.as_bytes(), b"\r\n", &literal[..6 * MAX_LITERAL], b" {3+}\r\nabc\r\nc NOOP\r\n"]);
    assert_eq!(seen, [Seen::Excessive(start.into(), Excess::Literal), command(b"c NOOP")]);
}

#[test]
fn what_cannot_be_skipped_safely_ends_the_session() {
    for bomb in ["{20000+}", "{4294967295+}", "{18446744073709551616+}", "{99999999999999999999+}"] {
        let (seen, left) = frame(&[b"a LOGIN ", bomb.as_bytes(), b"\r\nb LOGOUT\r\n"]);
        assert_eq!(seen, [Seen::Endless], "{bomb}");
        assert_eq!(left, b"b LOGOUT\r\n");
    }
}

#[test]
fn a_command_has_only_so_many_literals() {
    let invited = |count| (0..count).map(|_| Seen::Invited);
    let fits = [b"a ID (".as_slice(), &b"{1}\r\nx ".repeat(MAX_LITERALS), b")\r\n"].concat();
    let (seen, left) = frame(&[&fits]);
    let whole = command(fits.strip_suffix(b"\r\n").unwrap());
    assert_eq!(seen, invited(MAX_LITERALS).chain([whole]).collect::<Vec<_>>());
    assert_eq!(left, b"");

    let (seen, _) = frame(&[b"a ID (", &b"{1}\r\nx ".repeat(MAX_LITERALS), b"{1}\r\nb NOOP\r\n"]);
    let (awaited, rest) = seen.split_at(MAX_LITERALS);
    assert!(awaited.iter().all(|seen| *seen == Seen::Invited), "{awaited:?}");
    let [Seen::Excessive(start, Excess::Literals), after] = rest else { panic!("{rest:?}") };
    assert!(start.starts_with(b"a ID ({1}\r\nx "));
    // Not invited, the literal does not come.
    assert_eq!(*after, command(b"b NOOP"));

    // Those that nobody invites are skipped, up to twice the cap.
    let (seen, _) = frame(&[b"a ID (", &b"{1+}\r\nx".repeat(MAX_LITERALS + 1), b")\r\nb NOOP\r\n"]);
    assert!(matches!(&seen[..], [Seen::Excessive(_, Excess::Literals), after] if *after == command(b"b NOOP")));
    let (seen, _) = frame(&[b"a ID ({1+}\r\n", &b"x {1+}\r\n".repeat(5000)]);
    assert_eq!(seen, [Seen::Endless]);

    // No mechanism's name is a literal, and no SASL message.
    let (seen, _) = frame(&[b"a AUTHENTICATE {5+}\r\nPLAIN\r\nb NOOP\r\n"]);
    assert_eq!(seen, [Seen::Excessive(b"a AUTHENTICATE {5+}".into(), Excess::Literals), command(b"b NOOP")]);
}

/// Copying what is there already for each literal would cost the square of their number, and leave copies of passwords.
#[test]
fn a_command_stays_where_it_is_however_many_literals_it_has() {
    let place = |framer: &Framer| match framer {
        Framer::AwaitingLiteral { partial, .. } | Framer::AwaitingLine(partial) => {
            (partial.kept.as_ptr(), partial.kept.capacity())
        }
        Framer::SkippingLiteral { .. } => panic!("nothing here is too much"),
    };
    let (mut framer, mut input) = (Framer::default(), Input::new());
    input.extend(b"a ID ({9}\n");
    assert!(matches!(framer.next(&mut input), Framed::LiteralAwaited));
    let first = place(&framer);
    for _ in 1..MAX_LITERALS {
        // As long as all of them can be.
        let text = "x".repeat(MAX_COMMAND / MAX_LITERALS - 14);
        input.extend(format!("123456789 {text}{{9}}\n").as_bytes());
        assert!(matches!(framer.next(&mut input), Framed::LiteralAwaited));
        assert_eq!(place(&framer), first);
    }
    input.extend(b"123456789 ");
    assert!(matches!(framer.next(&mut input), Framed::Incomplete));
    assert_eq!(place(&framer), first);
    input.extend(b")\n");
    let Framed::Command(whole) = framer.next(&mut input) else { panic!("the command is whole") };
    assert_eq!((whole.as_ptr(), whole.capacity()), first);
    assert!(whole.len() > MAX_COMMAND * 9 / 10, "{}", whole.len());
}

#[test]
fn a_line_over_its_cap_is_skipped_and_one_past_twice_of_it_ends_the_session() {
    let line = |verb: &str, length: usize| format!("a {verb} {}\r\n", "x".repeat(length - verb.len() - 5));
    let excessive = |line: &str| Seen::Excessive(line.trim_end().into(), Excess::Length);

    let fits = line("LOGIN", MAX_COMMAND);
    assert_eq!(frame(&[fits.as_bytes()]).0, [command(fits.trim_end().as_bytes())]);
    let long = line("LOGIN", 2 * MAX_COMMAND);
    assert_eq!(frame(&[long.as_bytes(), b"b NOOP\r\n"]).0, [excessive(&long), command(b"b NOOP")]);
    let endless = line("LOGIN", 2 * MAX_COMMAND + 1);
    assert_eq!(frame(&[endless.as_bytes()]).0, [Seen::Endless]);

    let fits = line("authenticate", sasl::MAX_LINE);
    assert_eq!(frame(&[fits.as_bytes()]).0, [command(fits.trim_end().as_bytes())]);
    let long = line("AUTHENTICATE", 2 * sasl::MAX_LINE);
    assert_eq!(frame(&[long.as_bytes(), b"b NOOP\r\n"]).0, [excessive(&long), command(b"b NOOP")]);
    let endless = line("AUTHENTICATE", 2 * sasl::MAX_LINE + 1);
    assert_eq!(frame(&[endless.as_bytes()]).0, [Seen::Endless]);
}

#[test]
fn the_literal_a_skipped_line_announces_is_skipped_too() {
    let long = format!("a X {} {{8+}}\r\nb LOGOUT\r\nc NOOP\r\n", "x".repeat(MAX_COMMAND));
    assert_eq!(frame(&[long.as_bytes()]).0[1..], [command(b"c NOOP")]);
}

/// Lines as they come, with literals of both kinds, some over the caps, some only claimed.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => "[ -~]{0,12}".prop_map(String::into_bytes),
        4 => Just(b"\r\n".to_vec()),
        1 => Just(b"\n".to_vec()),
        3 => (proptest::collection::vec(any::<u8>(), 0..20), "[+]?").prop_map(|(octets, sign)| {
            [format!("{{{}{sign}}}\r\n", octets.len()).as_bytes(), &octets].concat()
        }),
        1 => (0usize..30_000, "[+]?").prop_map(|(claimed, sign)| format!("{{{claimed}{sign}}}\r\n").into_bytes()),
        1 => (1usize..20_000).prop_map(|length| vec![b'y'; length]),
        1 => Just(b"a AUTHENTICATE PLAIN ".to_vec()),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_commands(
        octets in stream(),
        sizes in proptest::collection::vec(1usize..2000, 0..40),
    ) {
        prop_assert_eq!(frame(&cut(&octets, &sizes)), frame(&[&octets]));
    }

    #[test]
    fn commands_within_the_caps_end_where_another_implementation_ends_them(
        pieces in proptest::collection::vec(
            ("[ -z|~]{0,12}", proptest::option::of((proptest::collection::vec(any::<u8>(), 0..20), "[+]?"))),
            1..30,
        ),
    ) {
        let mut octets = Vec::new();
        for (text, literal) in pieces {
            octets.extend_from_slice(text.as_bytes());
            if let Some((literal, sign)) = literal {
                octets.extend_from_slice(format!("{{{}{sign}}}\r\n", literal.len()).as_bytes());
                octets.extend_from_slice(&literal);
            } else {
                octets.extend_from_slice(b"\r\n");
            }
        }
        let mut theirs = Vec::new();
        let mut fragmentizer = Fragmentizer::without_max_message_size();
        fragmentizer.enqueue_bytes(&octets);
        while fragmentizer.progress().is_some() {
            if fragmentizer.is_message_complete() {
                let message = fragmentizer.message_bytes();
                theirs.push(message.strip_suffix(b"\r\n").unwrap_or(message).to_vec());
            }
        }
        let ours: Vec<_> = frame(&[&octets]).0.into_iter().filter(|seen| *seen != Seen::Invited).collect();
        prop_assert_eq!(ours, theirs.into_iter().map(Seen::Command).collect::<Vec<_>>());
    }
}
