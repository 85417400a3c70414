//! The server's side, played whole, cut and by the octet.

use proptest::prelude::*;

use super::*;
use crate::proto::MAX_CREDENTIAL;
use crate::proto::play::{Ending, Played, cut, play};

fn downstream(auth: bool) -> Downstream {
    Downstream::new(Offer {
        hostname: "mailferry.local".into(),
        access: Access { password: auth, ..Access::NONE },
        after_starttls: None,
        capabilities: Vec::new(),
    })
}

/// Lets `tim` with `tanstaaf` in; the third refusal is the last.
fn judge() -> impl FnMut(&LoginRequest) -> Option<LoginAnswer<(), Refusal>> {
    let mut refused = 0;
    move |request| {
        if request.username == b"tim" && request.password.expose() == b"tanstaaf" {
            return Some(LoginAnswer::Accepted(()));
        }
        refused += 1;
        let reply = Refusal::new("AUTH", "User name or password wrong");
        Some(LoginAnswer::Refused { reply, last: refused == 3 })
    }
}

fn played(octets: &[u8]) -> Played<LoginRequest> {
    play(downstream(true), [octets], judge())
}

/// What is written behind the greeting.
fn replies(octets: &str) -> String {
    replies_of(&played(octets.as_bytes()))
}

fn replies_of(played: &Played<LoginRequest>) -> String {
    let text = played.text();
    text.strip_prefix("+OK mailferry.local mailferry POP3 ready\r\n")
        .expect("the greeting comes first")
        .into()
}

fn request(mechanism: Mechanism, username: &str, password: &str) -> LoginRequest {
    LoginRequest { mechanism, authzid: Vec::new(), username: username.into(), password: Password::new(password.into()) }
}

#[test]
fn user_and_pass_and_what_was_pipelined_behind_them() {
    let played = played(b"USER tim\r\nPASS tanstaaf\r\nSTAT\r\nQUIT\r\n");
    assert_eq!(replies_of(&played), "+OK Send the password\r\n+OK Logged in\r\n");
    assert_eq!(played.events, [request(Mechanism::Command, "tim", "tanstaaf")]);
    assert_eq!(played.ending, Some(Ending::Relay));
    assert_eq!(played.left, b"STAT\r\nQUIT\r\n");
}

#[test]
fn nothing_is_read_until_the_answer_has_come() {
    let mut machine = downstream(true);
    let (mut input, mut out) = (Input::new(), Vec::new());
    input.extend(b"USER tim\r\nPASS no\r\nQUIT\r\n");
    assert!(matches!(machine.advance(&mut input, &mut out), Ok(Step::Event(_))));
    assert_eq!(input.unused(), b"QUIT\r\n");
    assert_eq!(machine.advance(&mut input, &mut out), Ok(Step::NeedInput));
    assert_eq!(input.unused(), b"QUIT\r\n");
}

#[test]
fn every_way_to_log_in() {
    for (octets, mechanism) in [
        ("AUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n", Mechanism::Plain),
        ("auth plain AHRpbQB0YW5zdGFhZg\r\n", Mechanism::Plain),
        ("AUTH PLAIN\r\nAHRpbQB0YW5zdGFhZg==\r\n", Mechanism::Plain),
        ("AUTH PLAIN =\r\nAHRpbQB0YW5zdGFhZg==\r\n", Mechanism::Plain),
        ("AUTH LOGIN\r\ndGlt\r\ndGFuc3RhYWY=\r\n", Mechanism::Login),
        ("AUTH LOGIN dGlt\ndGFuc3RhYWY\n", Mechanism::Login),
        ("user tim\npass tanstaaf\n", Mechanism::Command),
        ("USER tim\r\nCAPA\r\nPASS tanstaaf\r\n", Mechanism::Command),
    ] {
        let played = played(octets.as_bytes());
        assert_eq!(played.events, [request(mechanism, "tim", "tanstaaf")], "{octets:?}");
        assert_eq!(played.ending, Some(Ending::Relay), "{octets:?}");
    }
}

#[test]
fn an_authorization_identity_is_handed_on() {
    let played = played(b"AUTH PLAIN VXJzZWwAS3VydAB4aXBqM3BsbXE=\r\n");
    assert_eq!(played.events[0].authzid, b"Ursel");
    assert_eq!(played.events[0].username, b"Kurt");
}

#[test]
fn the_prompts() {
    assert_eq!(replies("AUTH PLAIN\r\n"), "+ \r\n");
    assert_eq!(replies("AUTH LOGIN\r\ndGlt\r\n"), "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n");
    assert_eq!(replies("AUTH LOGIN dGlt\r\n"), "+ UGFzc3dvcmQ6\r\n");
    assert_eq!(replies("AUTH\r\n"), "+OK Mechanisms follow\r\nPLAIN\r\nLOGIN\r\n.\r\n");
}

#[test]
fn an_exchange_that_goes_wrong_leaves_the_session_usable() {
    for octets in [
        "AUTH PLAIN\r\n*\r\n",
        "AUTH LOGIN\r\n*\r\n",
        "AUTH LOGIN dGlt\r\n*\r\n",
        "AUTH PLAIN dGlt\r\n",
        "AUTH PLAIN A*\r\n",
        "AUTH PLAIN AHQA cA==\r\n",
        "AUTH PLAIN\r\n\r\n",
        "AUTH LOGIN d*\r\n",
        "AUTH LOGIN dGlt\r\n=d\r\n",
        "AUTH CRAM-MD5\r\n",
        "PASS tanstaaf\r\n",
        "USER\r\n",
    ] {
        let played = played(format!("{octets}QUIT\r\n").as_bytes());
        let replies = replies_of(&played);
        let last_two: Vec<&str> = replies.lines().rev().take(2).collect();
        assert!(last_two[1].starts_with("-ERR "), "{octets:?}: {replies}");
        assert_eq!(last_two[0], "+OK Bye", "{octets:?}");
        assert_eq!(played.events, [], "{octets:?}");
        assert_eq!(played.ending, Some(Ending::Close(CloseReason::Quit)), "{octets:?}");
    }
}

#[test]
fn a_credential_over_its_limit_is_refused_before_it_is_decoded() {
    let long = sasl::encode_base64(&[b'x'; MAX_CREDENTIAL + 1]);
    for octets in [format!("AUTH LOGIN {}\r\n", *long), format!("AUTH LOGIN dGlt\r\n{}\r\n", *long)] {
        assert!(replies(&octets).ends_with("-ERR User name or password too long\r\n"));
    }
}

#[test]
fn capabilities_tell_whether_a_password_may_be_sent() {
    let open = "+OK Capabilities follow\r\nUSER\r\nSASL PLAIN LOGIN\r\nTOP\r\nUIDL\r\n.\r\n";
    assert_eq!(replies("CAPA\r\n"), open);

    let refused = "-ERR [AUTH] Passwords are not taken on this connection\r\n";
    let closed = play(downstream(false), [&b"CAPA\r\nUSER tim\r\nPASS x\r\nAUTH PLAIN\r\nAUTH\r\n"[..]], judge());
    let expected = format!("+OK Capabilities follow\r\nTOP\r\nUIDL\r\n.\r\n{}", refused.repeat(4));
    assert_eq!(replies_of(&closed), expected);
    assert_eq!(closed.events, []);

    let offer = Offer {
        hostname: "h".into(),
        access: Access::NONE,
        after_starttls: None,
        capabilities: vec!["EXPIRE NEVER".into()],
    };
    let further = play(Downstream::new(offer), [&b"CAPA\r\n"[..]], judge());
    assert!(further.text().ends_with("\r\nUIDL\r\nEXPIRE NEVER\r\n.\r\n"), "{}", further.text());
}

#[test]
fn the_greeting_offers_no_apop() {
    let text = played(b"").text();
    assert!(text.starts_with("+OK ") && !text.contains('<'), "{text}");
}

#[test]
fn known_verbs_out_of_place_are_refused_for_ever_and_unknown_ones_three_times() {
    let known = "STAT\r\nLIST\r\nRETR 1\r\nDELE 1\r\nNOOP\r\nRSET\r\nTOP 1 0\r\nUIDL\r\nSTLS\r\nAPOP a b\r\n";
    let played = played(known.as_bytes());
    assert_eq!(played.ending, None);
    assert_eq!(replies_of(&played).matches("-ERR ").count(), 10);

    let played = self::played(b"EHLO a\r\nCAPA\r\nHELO a\r\n\r\nQUIT\r\n");
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooManyErrors)));
    assert!(played.out.ends_with(b"-ERR [SYS/TEMP] Too many unknown commands\r\n"));
    assert_eq!(played.left, b"QUIT\r\n");
}

#[test]
fn nine_malformed_commands_are_borne_and_the_tenth_closes() {
    let too_long = "x".repeat(MAX_COMMAND_LINE);
    for malformed in ["USER", "PASS", "AUTH CRAM-MD5", "AUTH PLAIN !!!", "AUTH PLAIN\r\n*", &too_long] {
        let malformed = format!("{malformed}\r\n");
        let borne = played(format!("{}QUIT\r\n", malformed.repeat(9)).as_bytes());
        assert_eq!(borne.ending, Some(Ending::Close(CloseReason::Quit)), "{malformed}");

        let between = "STAT\r\nEHLO a\r\nUSER tim\r\nPASS wrong\r\n";
        let octets = [&malformed.repeat(5), between, &malformed.repeat(5), "QUIT\r\n"].concat();
        let ended = played(octets.as_bytes());
        assert_eq!(ended.ending, Some(Ending::Close(CloseReason::TooManyErrors)), "{malformed}");
        assert!(ended.out.ends_with(b"-ERR [SYS/TEMP] Too many errors\r\n"), "{}", ended.text());
        assert_eq!(ended.left, b"QUIT\r\n", "{malformed}");
    }
}

#[test]
fn a_refused_login_needs_its_user_again_and_the_last_one_closes() {
    let no = "-ERR [AUTH] User name or password wrong\r\n";
    let send = "+OK Send the password\r\n";
    let expected = format!("{send}{no}-ERR USER comes first\r\n{send}{no}{no}");
    let played = played(b"USER tim\r\nPASS a\r\nPASS b\r\nUSER tim\r\nPASS c\r\nAUTH PLAIN AHQAcA==\r\nQUIT\r\n");
    assert_eq!(replies_of(&played), expected);
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooManyErrors)));
}

#[test]
fn a_long_line_is_skipped_and_a_longer_one_closes() {
    let at_cap = format!("USER {}\r\n", "x".repeat(MAX_COMMAND_LINE - 7));
    assert_eq!(replies(&at_cap), "+OK Send the password\r\n");
    let over = format!("USER {}\r\nQUIT\r\n", "x".repeat(MAX_COMMAND_LINE - 6));
    assert_eq!(replies(&over), "-ERR Line too long\r\n+OK Bye\r\n");
    let far_over = format!("USER {}\r\nQUIT\r\n", "x".repeat(2 * MAX_COMMAND_LINE));
    let played = played(far_over.as_bytes());
    assert_eq!(replies_of(&played), "-ERR Line too long\r\n");
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooLong)));
}

#[test]
fn a_sasl_line_may_be_longer_and_has_its_own_cap() {
    let fits = format!("auth PLAIN {}\r\n", "A".repeat(sasl::MAX_LINE - 13));
    assert_eq!(replies(&fits), "-ERR User name or password too long\r\n");
    for start in ["AUTH PLAIN ", "AUTH PLAIN\r\n", "AUTH LOGIN dGlt\r\n"] {
        let over = format!("{start}{}\r\nQUIT\r\n", "A".repeat(sasl::MAX_LINE));
        assert!(replies(&over).ends_with("-ERR Line too long\r\n+OK Bye\r\n"), "{start}");
        let far_over = played(format!("{start}{}", "A".repeat(2 * sasl::MAX_LINE)).as_bytes());
        assert_eq!(far_over.ending, Some(Ending::Close(CloseReason::TooLong)), "{start}");
    }
}

#[test]
fn a_burst_is_answered_in_pieces() {
    let mut machine = downstream(true);
    let (mut input, mut out) = (Input::new(), Vec::new());
    input.extend("NOOP\r\n".repeat(5000).as_bytes());
    let mut replies = 0;
    loop {
        let step = machine.advance(&mut input, &mut out).unwrap();
        assert!(out.len() < FLUSH_AT + 200, "{}", out.len());
        replies += out.iter().filter(|octet| **octet == b'\n').count();
        out.clear();
        match step {
            Step::Flush => {}
            Step::NeedInput => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(replies, 5001);
}

#[test]
fn debug_shows_no_password() {
    let mut machine = downstream(true);
    let mut input = Input::new();
    input.extend(b"AUTH LOGIN dGlt\r\n");
    machine.advance(&mut input, &mut Vec::new()).unwrap();
    input.extend(b"aHVudGVyMg==\r\n");
    let step = machine.advance(&mut input, &mut Vec::new()).unwrap();
    let shown = format!("{machine:?} {step:?}");
    assert!(shown.contains("[redacted]") && !shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
}

fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("USER tim".to_owned()),
        Just("PASS tanstaaf".to_owned()),
        Just("PASS wrong".to_owned()),
        Just("AUTH PLAIN".to_owned()),
        Just("AUTH LOGIN".to_owned()),
        Just("dGlt".to_owned()),
        Just("dGFuc3RhYWY=".to_owned()),
        Just("AHRpbQB0YW5zdGFhZg==".to_owned()),
        Just("*".to_owned()),
        Just("CAPA".to_owned()),
        Just("QUIT".to_owned()),
        "[ -~]{0,12}",
        (1000usize..2200).prop_map(|length| "x".repeat(length)),
    ];
    let line = (line, prop_oneof![Just("\r\n"), Just("\n")]).prop_map(|(line, end)| line + end);
    let lines = proptest::collection::vec(line, 0..10).prop_map(|lines| lines.concat().into_bytes());
    prop_oneof![4 => lines, 1 => proptest::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #[test]
    fn any_split_gives_the_same(octets in dialogue(), sizes in proptest::collection::vec(1usize..300, 0..60)) {
        let whole = played(&octets);
        // A reply is at most one line longer than the shortest command, CAPA's list apart.
        prop_assert!(whole.out.len() <= 100 * (octets.len() + 1));
        prop_assert_eq!(play(downstream(true), cut(&octets, &sizes), judge()), whole);
    }

    #[test]
    fn octet_by_octet_gives_the_same(octets in dialogue()) {
        prop_assert_eq!(play(downstream(true), octets.chunks(1), judge()), played(&octets));
    }
}

/// Takes passwords over TLS alone.
fn stls() -> Downstream {
    let (access, after_starttls) = (Access::NONE, Some(Access::PASSWORD));
    Downstream::new(Offer { hostname: "mailferry.local".into(), access, after_starttls, capabilities: Vec::new() })
}

#[test]
fn stls_changes_what_may_be_done_and_forgets_what_was_said() {
    let pieces = [b"CAPA\r\nUSER x\r\nstls\r\n".as_slice(), b"CAPA\r\nSTLS\r\nUSER tim\r\nPASS tanstaaf\r\n"];
    let played = play(stls(), pieces, judge());
    assert_eq!(
        replies_of(&played),
        "+OK Capabilities follow\r\nSTLS\r\nTOP\r\nUIDL\r\n.\r\n\
         -ERR [AUTH] Passwords are not taken on this connection\r\n\
         +OK Begin TLS\r\n\
         +OK Capabilities follow\r\nUSER\r\nSASL PLAIN LOGIN\r\nTOP\r\nUIDL\r\n.\r\n\
         -ERR Not offered\r\n\
         +OK Send the password\r\n\
         +OK Logged in\r\n"
    );
    assert_eq!(played.events, [request(Mechanism::Command, "tim", "tanstaaf")]);
    let machine = Downstream::new(Offer { access: Access::PASSWORD, ..stls().offer });
    let played = play(machine, [b"USER tim\r\nSTLS\r\n".as_slice(), b"PASS tanstaaf\r\n"], judge());
    assert!(played.text().ends_with("+OK Begin TLS\r\n-ERR USER comes first\r\n"), "{}", played.text());
}

#[test]
fn stls_is_a_command_of_its_own() {
    let played = play(stls(), [b"STLS now\r\n".as_slice()], judge());
    assert_eq!(replies_of(&played), "-ERR An argument too many\r\n");
    // While a login goes on it is a message, and no good one.
    let machine = Downstream::new(Offer { access: Access::PASSWORD, ..stls().offer });
    let played = play(machine, [b"AUTH LOGIN\r\nSTLS!\r\nSTLS\r\n".as_slice()], judge());
    assert!(replies_of(&played).starts_with("+ VXNlcm5hbWU6\r\n-ERR Malformed"), "{}", replies_of(&played));
}

/// Hostile case 1.
#[test]
fn what_comes_with_stls_is_never_obeyed() {
    for behind in ["CAPA\r\n", "QUIT\r\n", "\n", "x", "\0"] {
        for before in ["", "CAPA\r\n"] {
            let sent = format!("{before}STLS\r\n{behind}");
            let played = play(stls(), [sent.as_bytes(), b"CAPA\r\n"], judge());
            assert_eq!(played.ending, Some(Ending::Error(OCTETS_BEHIND_STARTTLS)), "{sent:?}");
            assert!(played.text().ends_with("+OK Begin TLS\r\n"), "{}", played.text());
        }
    }
}

#[test]
fn a_handshake_in_place_of_a_command_is_told_from_one() {
    for machine in [downstream(true), downstream(false), stls()] {
        let sent = b"USER\r\n\x16\x03\x01\x02\0\x01\0\x01\xfc";
        let played = play(machine, sent.chunks(1), judge());
        assert_eq!(played.ending, Some(Ending::Close(CloseReason::TlsHello)));
        assert!(played.text().ends_with("\r\n") && replies_of(&played).matches("-ERR").count() == 1);
    }
    let within = played(b"AUTH LOGIN\r\n\x16\x03\x01\r\n");
    assert_eq!(within.ending, None);
}

proptest! {
    /// Rule 2: wherever the octets are cut, those that came before the handshake are used up before it, or end the dialogue.
    #[test]
    fn nothing_that_came_in_the_clear_is_left_for_tls(
        before in dialogue(),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
        sizes in proptest::collection::vec(1usize..80, 0..60),
    ) {
        let octets = [&before[..], b"\r\nSTLS\r\n", &behind].concat();
        play(stls(), cut(&octets, &sizes), judge());
    }
}
