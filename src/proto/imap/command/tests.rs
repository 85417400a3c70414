//! Commands as senders write them, and as imap-codec reads them.

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::auth::AuthMechanism;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::core::{AString, Tag as TheirTag};
use proptest::prelude::*;

use super::*;
use crate::proto::sasl;

fn verb(octets: impl AsRef<[u8]>) -> Verb {
    Command::parse(octets.as_ref()).unwrap().verb
}

fn login(username: &[u8], password: &[u8]) -> Verb {
    Verb::Login { username: username.to_vec(), password: Password::new(password.to_vec()) }
}

#[test]
fn login_takes_every_form_of_string_in_any_mix() {
    for octets in [
        "a LOGIN user pass",
        "a login \"user\" pass",
        "a LOGIN user \"pass\"",
        "a LOGIN {4}\r\nuser {4}\r\npass",
        "a LOGIN {4+}\r\nuser \"pass\"",
        "a LOGIN \"user\" {4+}\r\npass",
        "a LOGIN user {4}\r\npass",
        "a  LOGIN  user  pass  ",
    ] {
        assert_eq!(verb(octets), login(b"user", b"pass"), "{octets:?}");
    }
}

#[test]
fn every_octet_arrives() {
    assert_eq!(verb(r#"a LOGIN "a\\b\"c" "" "#), login(br#"a\b"c"#, b""));
    assert_eq!(verb(b"a LOGIN {7}\r\nx\r\ny\0\x01\xff {0}\r\n"), login(b"x\r\ny\0\x01\xff", b""));
    assert_eq!(verb(b"a LOGIN \"\xc3\xa9\x01\" \xfcber{%*\\]"), login(b"\xc3\xa9\x01", b"\xfcber{%*\\]"));
}

#[test]
fn what_is_no_login_is_malformed() {
    for octets in [
        "a LOGIN",
        "a LOGIN user",
        "a LOGIN user pass more",
        "a LOGIN \"user pass",
        "a LOGIN \"us\\er\" pass",
        "a LOGIN \"user\"pass",
        "a LOGIN user \"pa\rss\"",
        "a LOGIN user \"pa\0ss\"",
        "a LOGIN user pa\rss",
        "a LOGIN {-1} pass",
        "a LOGIN user {1",
        "a LOGIN user ~{4}\r\npass",
        "a LOGIN user p{4}\r\npass",
        "a LOGIN {4}\r\nuser{4}\r\npass",
        "a LOGIN {9}\r\nuser",
        "a LOGIN user {4}x\r\npass",
        "a LOGIN {x{4}\r\nuser pass",
    ] {
        assert!(matches!(verb(octets), Verb::Malformed(_)), "{octets:?}");
    }
}

#[test]
fn a_credential_is_bounded() {
    let longest = "x".repeat(MAX_CREDENTIAL);
    let octets = format!("a LOGIN \"{longest}\" {longest}");
    assert_eq!(verb(octets), login(longest.as_bytes(), longest.as_bytes()));
    for octets in [format!("a LOGIN {longest}x pass"), format!("a LOGIN user \"{longest}x\"")] {
        assert_eq!(verb(octets), Verb::Malformed("User name or password too long"));
    }
}

#[test]
fn authenticate_may_bring_its_first_message() {
    let authenticate = |mechanism, initial: Option<&[u8]>| Verb::Authenticate {
        mechanism,
        initial: initial.map(|initial| Line::new(initial.to_vec())),
    };
    for (octets, expected) in [
        ("a AUTHENTICATE PLAIN", authenticate(Mechanism::Plain, None)),
        ("a authenticate plain =", authenticate(Mechanism::Plain, Some(b""))),
        ("a AUTHENTICATE Login dXNlcg==", authenticate(Mechanism::Login, Some(b"dXNlcg=="))),
        ("a AUTHENTICATE XOAUTH2 dXNlcg", authenticate(Mechanism::Unknown, Some(b"dXNlcg"))),
        ("a AUTHENTICATE", Verb::Malformed("Wrong arguments")),
        ("a AUTHENTICATE PLAIN x y", Verb::Malformed("Wrong arguments")),
        ("a AUTHENTICATE PLAIN {4}\r\ndXNl", Verb::Malformed("Wrong arguments")),
    ] {
        assert_eq!(verb(octets), expected, "{octets:?}");
    }
}

#[test]
fn verbs_are_told_apart() {
    for (octets, expected) in [
        ("a capability ", Verb::Capability),
        ("a NOOP", Verb::Noop),
        ("a LOGOUT now", Verb::Malformed("Wrong arguments")),
        ("a LogOut", Verb::Logout),
        ("a ID NIL", Verb::Id),
        ("a ID (\"name\" {3}\r\nfoo)", Verb::Id),
        ("a STARTTLS", Verb::StartTls),
        ("a UNSUBSCRIBE x", Verb::NotNow),
        ("a UID FETCH 1 FLAGS", Verb::NotNow),
        ("GET / HTTP/1.1", Verb::Unknown),
        ("a LOGINX u p", Verb::Unknown),
    ] {
        assert_eq!(verb(octets), expected, "{octets:?}");
    }
    for octets in ["", " ", "a", "a ", "* NOOP", "+ NOOP", "a+b NOOP", "\u{e9} NOOP", " a NOOP", "a\tNOOP", "a {1}"] {
        assert_eq!(Command::parse(octets.as_bytes()), None, "{octets:?}");
    }
}

#[test]
fn a_tag_is_bounded() {
    let longest = "x".repeat(MAX_TAG);
    assert_eq!(Command::parse(format!("{longest} NOOP").as_bytes()).unwrap().tag.to_string(), longest);
    assert_eq!(Command::parse(format!("{longest}x NOOP").as_bytes()), None);
}

#[test]
fn no_password_is_shown() {
    let command = Command::parse(b"a LOGIN user hunter2").unwrap();
    assert!(!format!("{command:?}").contains("hunter2"));
}

fn value(astring: &AString<'_>) -> Vec<u8> {
    astring.as_ref().to_vec()
}

/// A string in one of the forms a sender may choose.
fn astring() -> impl Strategy<Value = Vec<u8>> {
    let quoted = r"[\x01-\x09\x0b\x0c\x0e-\x7f]{0,12}"
        .prop_map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes());
    let literal = (proptest::collection::vec(1u8.., 0..12), "[+]?")
        .prop_map(|(octets, sign)| [format!("{{{}{sign}}}\r\n", octets.len()).as_bytes(), &octets].concat());
    prop_oneof!["[!#$&'+-Z^-z|}~\\]\\[]{1,12}".prop_map(String::into_bytes), quoted, literal]
}

proptest! {
    #[test]
    fn tags_are_those_of_another_implementation(octets in r"[!-~]{0,6}[ -~\x00\xff]{0,2}") {
        let ours = Tag::cut_from(octets.as_bytes()).is_some_and(|(_, rest)| rest.is_empty());
        prop_assert_eq!(ours, TheirTag::try_from(octets.as_str()).is_ok());
    }

    #[test]
    fn a_login_reads_as_in_another_implementation(username in astring(), password in astring()) {
        let line = [b"A1 LOGIN ".as_slice(), &username, b" ", &password].concat();
        let whole = [&line, b"\r\n".as_slice()].concat();
        let (_, theirs) = CommandCodec::default().decode(&whole).unwrap();
        let CommandBody::Login { username, password } = theirs.body else { panic!("{:?}", theirs.body) };
        prop_assert_eq!(verb(line), login(&value(&username), &value(password.declassify())));
    }

    #[test]
    fn what_another_implementation_takes_is_taken(
        octets in "(a|B2|\\]) (LOGIN|login)( [\"{}0-9+a-c~\\\\\r\n%(*]{0,9}){0,3}",
    ) {
        let whole = format!("{octets}\r\n");
        if let Ok((b"", theirs)) = CommandCodec::default().decode(whole.as_bytes()) {
            let CommandBody::Login { username, password } = theirs.body else { panic!("{:?}", theirs.body) };
            prop_assert_eq!(verb(octets), login(&value(&username), &value(password.declassify())));
        }
    }

    #[test]
    fn an_authenticate_reads_as_in_another_implementation(
        mechanism in "PLAIN|plain|LOGIN|XOAUTH2|X-[A-Z]{1,5}",
        message in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30)),
    ) {
        use base64::prelude::*;
        let initial = message.as_ref().map(|message| match message.as_slice() {
            [] => " =".into(),
            message => format!(" {}", BASE64_STANDARD.encode(message)),
        });
        let line = format!("A1 AUTHENTICATE {mechanism}{}", initial.unwrap_or_default());
        let whole = format!("{line}\r\n");
        let (_, theirs) = CommandCodec::default().decode(whole.as_bytes()).unwrap();
        let CommandBody::Authenticate { mechanism: their_mechanism, initial_response } = theirs.body else {
            panic!("{:?}", theirs.body)
        };
        let Verb::Authenticate { mechanism, initial } = verb(line) else { panic!("no AUTHENTICATE") };
        let expected = match their_mechanism {
            AuthMechanism::Plain => Mechanism::Plain,
            AuthMechanism::Login => Mechanism::Login,
            _ => Mechanism::Unknown,
        };
        prop_assert_eq!(mechanism, expected);
        let initial = initial.map(|initial| sasl::decode_base64(&initial, 100).unwrap().to_vec());
        prop_assert_eq!(initial, initial_response.map(|theirs| theirs.declassify().to_vec()));
    }

    #[test]
    fn nothing_panics(octets in proptest::collection::vec(any::<u8>(), 0..80), login in "a LOGIN [ -~\r\n]{0,30}") {
        let _ = Command::parse(&octets);
        let _ = Command::parse(login.as_bytes());
        let _ = Command::parse(&[login.as_bytes(), &octets].concat());
    }
}
