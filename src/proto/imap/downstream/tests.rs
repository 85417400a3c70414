//! Dialogues with legacy programs, tame and hostile.

use base64::prelude::*;
use proptest::prelude::*;

use super::*;
use crate::proto::play::{Ending, Played, cut, play};
use crate::proto::{MAX_CREDENTIAL, sasl};
use crate::secret::Password;

const GREETING: &str =
    "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN IDLE UIDPLUS] mail.local mailferry ready\r\n";

fn machine(auth: bool) -> Downstream {
    Downstream::new(Offer {
        hostname: "mail.local".into(),
        access: Access { password: auth, ..Access::NONE },
        after_starttls: None,
        capabilities: vec!["IDLE".into(), "UIDPLUS".into()],
    })
}

fn upstream_capabilities() -> Capabilities {
    Capabilities::parse(b"IMAP4rev1 IDLE X-GM-EXT-1")
}

/// Lets `user` in with `pass`; the third refusal is the last.
fn judge() -> impl FnMut(&LoginRequest) -> Option<LoginAnswer<Capabilities, Refusal>> {
    let mut refused = 0;
    move |request| {
        if request.username == b"user" && request.password.expose() == b"pass" {
            return Some(LoginAnswer::Accepted(upstream_capabilities()));
        }
        refused += 1;
        let reply = Refusal { code: "AUTHENTICATIONFAILED", text: "Wrong user name or password".into() };
        Some(LoginAnswer::Refused { reply, last: refused == 3 })
    }
}

fn talk(sent: impl AsRef<[u8]>) -> Played<LoginRequest> {
    play(machine(true), [sent.as_ref()], judge())
}

/// What was written behind the greeting.
fn said(played: &Played<LoginRequest>) -> String {
    played
        .text()
        .strip_prefix(GREETING)
        .expect("the greeting comes first")
        .to_owned()
}

fn request(mechanism: Mechanism, authzid: &str, username: &[u8], password: &[u8]) -> LoginRequest {
    let password = Password::new(password.to_vec());
    LoginRequest { mechanism, authzid: authzid.into(), username: username.to_vec(), password }
}

#[test]
fn everything_before_login_is_answered_here() {
    let played = talk("a CAPABILITY\r\nb ID (\"name\" {5}\r\nimapc \"x\" NIL)\r\nc noop\nd LOGOUT\r\nrest");
    assert_eq!(
        said(&played),
        "* CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN IDLE UIDPLUS\r\n\
         a OK CAPABILITY completed\r\n\
         + OK\r\n\
         * ID (\"name\" \"mailferry\")\r\n\
         b OK ID completed\r\n\
         c OK NOOP completed\r\n\
         * BYE Logging out\r\n\
         d OK LOGOUT completed\r\n"
    );
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::Quit)));
}

#[test]
fn a_login_hands_on_what_the_upstream_can_do() {
    let played = talk("a LOGIN user pass\r\n");
    assert_eq!(said(&played), "a OK [CAPABILITY IMAP4rev1 IDLE X-GM-EXT-1] Logged in\r\n");
    assert_eq!(played.events, [request(Mechanism::Command, "", b"user", b"pass")]);
    assert_eq!(played.ending, Some(Ending::Relay));
}

#[test]
fn who_asked_for_capabilities_gets_the_new_ones_untagged_too() {
    let played = talk("a CAPABILITY\r\nb LOGIN user pass\r\n");
    assert!(said(&played).ends_with(
        "a OK CAPABILITY completed\r\n\
         * CAPABILITY IMAP4rev1 IDLE X-GM-EXT-1\r\n\
         b OK [CAPABILITY IMAP4rev1 IDLE X-GM-EXT-1] Logged in\r\n"
    ));
}

#[test]
fn no_list_is_better_than_an_empty_one() {
    let accept = |_: &LoginRequest| Some(LoginAnswer::Accepted(Capabilities::default()));
    let played = play(machine(true), [b"a CAPABILITY\r\nb LOGIN u p\r\n".as_slice()], accept);
    assert!(said(&played).ends_with("a OK CAPABILITY completed\r\nb OK Logged in\r\n"));
}

#[test]
fn what_follows_a_login_is_left_for_the_relay() {
    for (login, rest) in [
        ("a LOGIN user pass\r\n", "b SELECT INBOX\r\nc FET"),
        ("a LOGIN {4+}\r\nuser {4+}\r\npass\r\n", "b"),
        ("a AUTHENTICATE PLAIN AHVzZXIAcGFzcw==\r\n", "b APPEND x {5}\r\n"),
        ("a AUTHENTICATE LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n", "\r\nb NOOP"),
    ] {
        let played = talk([login, rest].concat());
        assert_eq!(played.ending, Some(Ending::Relay), "{login}");
        assert_eq!(played.left, rest.as_bytes(), "{login}");
    }
}

#[test]
fn after_a_failed_login_pipelined_commands_fail_in_order() {
    let played = talk("a LOGIN user wrong\r\nb SELECT {5}\r\nINBOX\r\nc LOGIN user pass\r\nd NOOP\r\n");
    assert_eq!(
        said(&played),
        "a NO [AUTHENTICATIONFAILED] Wrong user name or password\r\n\
         + OK\r\n\
         b BAD Log in first\r\n\
         c OK [CAPABILITY IMAP4rev1 IDLE X-GM-EXT-1] Logged in\r\n"
    );
    assert_eq!(played.left, b"d NOOP\r\n");
}

#[test]
fn the_last_refusal_says_goodbye() {
    let played = talk("a LOGIN u 1\r\nb LOGIN u 2\r\nc LOGIN u 3\r\nd NOOP\r\n");
    assert!(
        said(&played)
            .ends_with("c NO [AUTHENTICATIONFAILED] Wrong user name or password\r\n* BYE Too many failed logins\r\n")
    );
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooManyErrors)));
    assert_eq!(played.events.len(), 3);
}

#[test]
fn a_refusal_cannot_break_its_line() {
    let refuse = |_: &LoginRequest| {
        let reply = Refusal { code: "", text: "no\r\nb OK \u{e9}".into() };
        Some(LoginAnswer::Refused { reply, last: false })
    };
    let played = play(machine(true), [b"a LOGIN u p\r\n".as_slice()], refuse);
    assert_eq!(said(&played), "a NO no??b OK ??\r\n");
}

#[test]
fn plain_comes_in_one_line_or_two() {
    for (sent, out) in [
        ("a AUTHENTICATE PLAIN Ym9zcwB1c2VyAHBhc3M=\r\n", ""),
        ("a authenticate plain\r\n Ym9zcwB1c2VyAHBhc3M= \r\n", "+ \r\n"),
        ("a AUTHENTICATE PLAIN =\r\nYm9zcwB1c2VyAHBhc3M=\n", "+ \r\n"),
    ] {
        let played = talk(sent);
        assert_eq!(played.events, [request(Mechanism::Plain, "boss", b"user", b"pass")], "{sent}");
        assert_eq!(said(&played), format!("{out}a OK [CAPABILITY IMAP4rev1 IDLE X-GM-EXT-1] Logged in\r\n"));
    }
}

#[test]
fn login_prompts_for_what_it_lacks() {
    const NAME: &str = "+ VXNlcm5hbWU6\r\n";
    const PASSWORD: &str = "+ UGFzc3dvcmQ6\r\n";
    for (sent, username, prompts) in [
        ("a AUTHENTICATE LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n", "user", [NAME, PASSWORD].concat()),
        ("a AUTHENTICATE login dXNlcg==\r\ncGFzcw==\r\n", "user", PASSWORD.into()),
        ("a AUTHENTICATE LOGIN =\r\ndXNlcg==\r\ncGFzcw==\r\n", "user", [NAME, PASSWORD].concat()),
    ] {
        let played = talk(sent);
        assert_eq!(played.events, [request(Mechanism::Login, "", username.as_bytes(), b"pass")], "{sent}");
        assert!(said(&played).starts_with(&format!("{prompts}a ")), "{sent}");
    }
}

#[test]
fn a_failed_exchange_ends_with_bad_and_the_session_goes_on() {
    let too_long = BASE64_STANDARD.encode([b"\0".as_slice(), &[b'x'; MAX_CREDENTIAL + 1], b"\0p"].concat());
    let name_too_long = BASE64_STANDARD.encode([b'x'; MAX_CREDENTIAL + 1]);
    let line_too_long = "x".repeat(sasl::MAX_LINE - 1);
    for (sent, reply) in [
        ("PLAIN\r\n*".into(), "AUTHENTICATE cancelled"),
        ("LOGIN\r\n*".into(), "AUTHENTICATE cancelled"),
        ("LOGIN dXNlcg==\r\n*".into(), "AUTHENTICATE cancelled"),
        ("PLAIN !!!".into(), "Malformed SASL message"),
        ("PLAIN\r\n".into(), "Malformed SASL message"),
        ("PLAIN dXNlcg==".into(), "Malformed SASL message"),
        ("LOGIN\r\n!!!".into(), "Malformed SASL message"),
        (format!("PLAIN {too_long}"), "SASL message too long"),
        (format!("LOGIN {name_too_long}"), "SASL message too long"),
        (format!("LOGIN dXNlcg==\r\n{name_too_long}"), "SASL message too long"),
        (format!("PLAIN\r\n{line_too_long}"), "SASL message too long"),
        ("CRAM-MD5".into(), "Unknown mechanism: use PLAIN or LOGIN"),
        ("XOAUTH2 dXNlcg==".into(), "Unknown mechanism: use PLAIN or LOGIN"),
    ] {
        let played = talk(format!("a AUTHENTICATE {sent}\r\nb NOOP\r\n"));
        let out = said(&played);
        assert!(out.ends_with(&format!("a BAD {reply}\r\nb OK NOOP completed\r\n")), "{sent}: {out}");
        assert_eq!((played.events.len(), played.ending), (0, None), "{sent}");
    }
}

#[test]
fn a_message_past_twice_its_cap_ends_the_session() {
    let played = talk(format!("a AUTHENTICATE PLAIN\r\n{}", "x".repeat(2 * sasl::MAX_LINE)));
    assert_eq!(said(&played), "+ \r\n* BYE Command too long\r\n");
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooLong)));
}

#[test]
fn where_no_password_may_be_taken_none_is() {
    let sent = "a CAPABILITY\r\nb LOGIN user pass\r\nc AUTHENTICATE PLAIN AHVzZXIAcGFzcw==\r\nd AUTHENTICATE X\r\n";
    let played = play(machine(false), [sent.as_bytes()], judge());
    assert_eq!(
        played.text(),
        "* OK [CAPABILITY IMAP4rev1 SASL-IR ID LOGINDISABLED IDLE UIDPLUS] mail.local mailferry ready\r\n\
         * CAPABILITY IMAP4rev1 SASL-IR ID LOGINDISABLED IDLE UIDPLUS\r\n\
         a OK CAPABILITY completed\r\n\
         b NO [PRIVACYREQUIRED] No password is taken on this connection\r\n\
         c NO [PRIVACYREQUIRED] No password is taken on this connection\r\n\
         d NO [PRIVACYREQUIRED] No password is taken on this connection\r\n"
    );
    assert_eq!(played.events, []);
}

#[test]
fn tags_come_back_as_they_are_and_bad_ones_do_not() {
    let long = "x".repeat(129);
    let played = talk(format!("]&-9 NOOP\r\n* NOOP\r\n{long} NOOP\r\n"));
    assert!(said(&played).starts_with("]&-9 OK NOOP completed\r\n* BAD "));
    assert!(!said(&played).contains("xxx"));
}

#[test]
fn verbs_of_the_standard_are_refused_for_ever_and_others_three_times() {
    let played = talk("a SELECT x\r\nb STARTTLS\r\nc FETCH 1 FLAGS\r\nd IDLE\r\ne LOGIN\r\n");
    assert!(said(&played).contains("b BAD STARTTLS is not offered here\r\nc BAD Log in first\r\n"));
    assert_eq!(played.ending, None);

    let played = talk("POST / HTTP/1.1\r\nHost: localhost\r\n\r\na LOGIN user pass\r\n");
    assert_eq!(
        said(&played),
        "POST BAD Unknown command\r\n\
         Host: BAD Unknown command\r\n\
         * BAD A command begins with a tag and a verb\r\n\
         * BYE Too many unknown commands\r\n"
    );
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooManyErrors)));
    assert_eq!(played.events, []);
}

#[test]
fn nine_malformed_commands_are_borne_and_the_tenth_ends_the_session() {
    let too_long = format!("a NOOP {}", "x".repeat(8 * 1024));
    let not_read = format!("a LOGIN {{5000+}}\r\n{}", "x".repeat(5000));
    for malformed in [
        "a AUTHENTICATE {0+}\n{0+}\n",
        "a AUTHENTICATE CRAM-MD5",
        "a AUTHENTICATE PLAIN !!!",
        "a AUTHENTICATE PLAIN\r\n*",
        "a LOGIN user",
        "a NOOP x",
        "a LOGIN {5000}",
        &not_read,
        &too_long,
    ] {
        let malformed = format!("{malformed}\r\n");
        let login = "b LOGIN user pass\r\nrest";
        let borne = talk([malformed.repeat(9), login.into()].concat());
        assert_eq!(borne.ending, Some(Ending::Relay), "{malformed}");

        // Neither commands that are none of the kind nor a wrong password set the count back.
        let between = "c NOOP\r\nd SELECT x\r\ne XYZZY\r\nf LOGIN user wrong\r\n";
        let ended = talk([&malformed.repeat(5), between, &malformed.repeat(5), login].concat());
        assert_eq!(ended.ending, Some(Ending::Close(CloseReason::TooManyErrors)), "{malformed}");
        assert!(said(&ended).ends_with("\r\n* BYE Too many errors\r\n"), "{}", said(&ended));
        assert_eq!(ended.left, login.as_bytes(), "{malformed}");
    }
}

/// Row 7: whatever a name holds, it reaches the session whole and once; row 8: and bounded.
#[test]
fn hostile_names_reach_the_session_as_they_are() {
    let name = b"x@example.com\x01user=victim@example.com\x01auth=Bearer evil\x01\x01\r\nb LOGIN user pass\r\n\0";
    let announced = format!("a LOGIN {{{}+}}\r\n", name.len());
    let played = talk([announced.as_bytes(), name, b" wrong\r\n"].concat());
    assert_eq!(played.events, [request(Mechanism::Command, "", name, b"wrong")]);

    let plain = BASE64_STANDARD.encode(b"\0a\r\nb\x01\0wrong");
    let played = talk(format!("a AUTHENTICATE PLAIN {plain}\r\n"));
    assert_eq!(played.events, [request(Mechanism::Plain, "", b"a\r\nb\x01", b"wrong")]);

    let played = talk(format!("a LOGIN \"{}\" p\r\nb NOOP\r\n", "[../x]".repeat(200)));
    assert_eq!(said(&played), "a BAD User name or password too long\r\nb OK NOOP completed\r\n");
}

/// Row 9.
#[test]
fn literal_bombs_do_no_harm() {
    for (bomb, reply) in [
        ("{4294967295}", "a NO [TOOBIG] Literal too long\r\n"),
        ("{18446744073709551616}", "a NO [TOOBIG] Literal too long\r\n"),
        ("{99999999999999999999}", "a NO [TOOBIG] Literal too long\r\n"),
        ("{-1}", "a BAD LOGIN takes a user name and a password\r\n"),
        ("{1", "a BAD LOGIN takes a user name and a password\r\n"),
    ] {
        let played = talk(format!("a LOGIN {bomb}\r\nb NOOP\r\n"));
        assert_eq!(said(&played), format!("{reply}b OK NOOP completed\r\n"), "{bomb}");
    }
    for bomb in ["{99999999999999999999+}", "{4294967295+}", "{17000+}"] {
        let played = talk(format!("a LOGIN {bomb}\r\nb LOGIN user pass\r\n"));
        assert_eq!(said(&played), "* BYE Command too long\r\n", "{bomb}");
        assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooLong)));
    }
}

/// Row 22.
#[test]
fn the_literal_of_a_refused_command_is_no_command() {
    let swallowed = "b LOGIN user pass\r\n".repeat(100);
    let octets = swallowed.len();
    for verb in ["APPEND x", "LOGIN", "XYZZY", "NOOP"] {
        let played = talk(format!("a {verb} {{{octets}+}}\r\n{swallowed}\r\nc NOOP\r\n"));
        assert_eq!(said(&played), "a NO [TOOBIG] Literal too long\r\nc OK NOOP completed\r\n", "{verb}");
        assert_eq!(played.events, []);
    }
    let played = talk("a APPEND x {19+}\r\nb LOGIN user pass\r\n {19+}\r\nb LOGIN user pass\r\n\r\nc NOOP\r\n");
    assert_eq!(said(&played), "a BAD Log in first\r\nc OK NOOP completed\r\n");
}

/// Row 10, as far as octets go.
#[test]
fn a_line_without_end_is_not_waited_for() {
    let played = talk("x".repeat(20_000));
    assert_eq!(said(&played), "* BYE Command too long\r\n");
    let played = talk(format!("a NOOP {}\r\nb NOOP\r\n", "x".repeat(10_000)));
    assert_eq!(said(&played), "a BAD Command too long\r\nb OK NOOP completed\r\n");
}

#[test]
fn replies_to_a_flood_are_sent_before_more_of_it_is_read() {
    let (mut machine, mut input) = (machine(true), Input::new());
    input.extend(&b"a NOOP\r\n".repeat(2000));
    let mut answered = 0;
    loop {
        let mut out = Vec::new();
        let step = machine.advance(&mut input, &mut out);
        assert!(out.len() < FLUSH_AT + 200, "{}", out.len());
        answered += out.windows(4).filter(|window| window == b"a OK").count();
        match step {
            Ok(Step::Flush) => {}
            Ok(Step::NeedInput) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, 2000);
}

/// Things legacy programs and attackers send, in any order.
fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "a CAPABILITY\r\n",
        "b NOOP\n",
        "c ID (\"name\" {3}\r\nfoo)\r\n",
        "c ID NIL\r\n",
        "d LOGIN user wrong\r\n",
        "d LOGIN \"us\\\\er\" {3+}\r\nx\ry\r\n",
        "d LOGIN {5000+}\r\n",
        "d LOGIN {99999999999999999999}\r\n",
        "e AUTHENTICATE PLAIN AHVzZXIAd3Jvbmc=\r\n",
        "e AUTHENTICATE PLAIN\r\n",
        "e AUTHENTICATE LOGIN =\r\n",
        "dXNlcg==\r\n",
        "*\r\n",
        "f SELECT {4}\r\n",
        "g XYZZY\r\n",
        "\r\n",
        "h LOGOUT\r\n",
        "i LOGIN user pass\r\n",
    ]);
    let piece = prop_oneof![
        8 => known.prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => (1usize..40_000).prop_map(|length| vec![b'z'; length]),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_dialogue(
        sent in dialogue(),
        sizes in proptest::collection::vec(1usize..60, 0..60),
    ) {
        prop_assert_eq!(play(machine(true), cut(&sent, &sizes), judge()), talk(&sent));
    }

    #[test]
    fn octets_one_by_one_give_the_same_dialogue(sent in dialogue()) {
        let sent = &sent[..sent.len().min(2000)];
        prop_assert_eq!(play(machine(true), sent.chunks(1), judge()), talk(sent));
    }

    #[test]
    fn no_octets_break_it_and_little_is_said_to_them(sent in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let played = talk(&sent);
        // The shortest line that is answered with more than it holds is an empty one.
        prop_assert!(played.out.len() < GREETING.len() + 100 * (sent.len() + 1));
    }
}

/// Takes passwords over TLS alone.
fn starttls() -> Downstream {
    let (access, after_starttls) = (Access::NONE, Some(Access::PASSWORD));
    Downstream::new(Offer { hostname: "mail.local".into(), access, after_starttls, capabilities: vec!["IDLE".into()] })
}

#[test]
fn starttls_changes_what_may_be_done_and_forgets_what_was_said() {
    let pieces = [
        b"a CAPABILITY\r\nb LOGIN u p\r\nc starttls\r\n".as_slice(),
        b"d STARTTLS\r\ne LOGIN user pass\r\n".as_slice(),
    ];
    let played = play(starttls(), pieces, |_| Some(LoginAnswer::Accepted(upstream_capabilities())));
    let text = played.text();
    let expected = "* OK [CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS LOGINDISABLED IDLE] mail.local mailferry ready\r\n\
         * CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS LOGINDISABLED IDLE\r\n\
         a OK CAPABILITY completed\r\n\
         b NO [PRIVACYREQUIRED] No password is taken on this connection\r\n\
         c OK Begin TLS\r\n\
         d BAD STARTTLS is not offered here\r\n\
         e OK [CAPABILITY ";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(played.events, [request(Mechanism::Command, "", b"user", b"pass")]);
    let played = play(starttls(), [b"c STARTTLS\r\n".as_slice(), b"d CAPABILITY\r\n"], |_| None);
    assert!(
        played
            .text()
            .contains("* CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN IDLE\r\n")
    );
}

#[test]
fn starttls_is_a_command_of_its_own() {
    let played = play(starttls(), [b"a STARTTLS now\r\n".as_slice()], |_| None);
    assert!(played.text().contains("\r\na BAD "), "{}", played.text());
    // While a login goes on it is a message, and no good one.
    let machine = Downstream::new(Offer { access: Access::PASSWORD, ..starttls().offer });
    let played = play(machine, [b"a AUTHENTICATE LOGIN\r\nb STARTTLS\r\n".as_slice()], |_| None);
    assert!(!played.text().contains("Begin TLS"), "{}", played.text());
}

/// Hostile case 1.
#[test]
fn what_comes_with_starttls_is_never_obeyed() {
    for behind in ["b NOOP\r\n", "b LOGOUT\r\n", "\n", "x", "\0"] {
        for before in ["", "z NOOP\r\n", "z ID ({2+}\r\nab NIL)\r\n"] {
            let sent = format!("{before}a STARTTLS\r\n{behind}");
            let played = play(starttls(), [sent.as_bytes(), b"c NOOP\r\n"], |_| None);
            assert_eq!(played.ending, Some(Ending::Error(OCTETS_BEHIND_STARTTLS)), "{sent:?}");
            assert!(played.text().ends_with("a OK Begin TLS\r\n"), "{}", played.text());
        }
    }
}

#[test]
fn a_handshake_in_place_of_a_command_is_told_from_one() {
    for machine in [machine(true), machine(false), starttls()] {
        let sent = b"a NOOP\r\n\x16\x03\x01\x02\0\x01\0\x01\xfc";
        let played = play(machine, sent.chunks(1), |_| None);
        assert_eq!(played.ending, Some(Ending::Close(CloseReason::TlsHello)));
        assert!(played.text().ends_with("a OK NOOP completed\r\n"), "{}", played.text());
    }
    let within = talk(b"a ID ({2+}\r\nab NIL {4+}\r\n\x16\x03\x01x\r\n)\r\n".as_slice());
    assert_eq!(within.ending, None);
    let within = talk(b"a NOOP {2}\r\n\x16\x03\r\n".as_slice());
    assert_eq!(within.ending, None, "a literal may hold anything");
}

proptest! {
    /// Rule 2: wherever the octets are cut, those that came before the handshake are used up before it, or end the dialogue.
    #[test]
    fn nothing_that_came_in_the_clear_is_left_for_tls(
        before in dialogue(),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
        sizes in proptest::collection::vec(1usize..80, 0..60),
    ) {
        let octets = [&before[..], b"\r\ns STARTTLS\r\n", &behind].concat();
        play(starttls(), cut(&octets, &sizes), judge());
    }
}
