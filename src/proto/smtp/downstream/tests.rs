//! Dialogues with legacy clients: the ones RFC 4954 shows, the ones devices have, and hostile ones.

use proptest::prelude::*;
use smtp_proto::{AUTH_LOGIN, AUTH_PLAIN, EXT_8BIT_MIME, EXT_CHUNKING, EXT_PIPELINING, EXT_SIZE, EhloResponse};

use super::*;
use crate::proto::play::{Ending, Played, cut, play};
use crate::proto::sasl::encode_base64;
use crate::proto::{MAX_CREDENTIAL, Mechanism};
use crate::secret::Password;

const GREETING: &str = "220 gw.example ESMTP mailferry ready\r\n";
/// `\0scanner\0secret`
const PLAIN: &str = "AHNjYW5uZXIAc2VjcmV0";
/// `scanner`
const USERNAME: &str = "c2Nhbm5lcg==";
/// `secret`
const PASSWORD: &str = "c2VjcmV0";
const LOGIN_FIRST_LINE: &str = "530 5.7.0 Authentication required\r\n";
const SYNTAX: &str = "501 5.5.2 The AUTH command or its response cannot be decoded\r\n";
const TOO_LONG: &str = "500 5.5.6 The line is too long\r\n";

fn downstream() -> Downstream {
    with_access(Access::PASSWORD)
}

fn with_access(access: Access) -> Downstream {
    Downstream::new(Offer {
        hostname: "gw.example".into(),
        access,
        after_starttls: None,
        extensions: vec!["DSN".into(), "CHUNKING".into()],
    })
}

type Answer = LoginAnswer<(), Reply>;

const ACCEPTED: Answer = LoginAnswer::Accepted(());

const fn refused(last: bool) -> Answer {
    LoginAnswer::Refused { reply: Reply::fixed(535, "5.7.8", "no"), last }
}

/// Everything the client sends comes at once, and every login gets `answer`.
fn with_answer(octets: &str, answer: Answer) -> Played<Event> {
    play(downstream(), [octets.as_bytes()], |_| Some(answer.clone()))
}

/// What is said to a client whose logins are refused, without the greeting.
fn said_to(octets: &str) -> String {
    let played = with_answer(octets, refused(false));
    played.text().strip_prefix(GREETING).unwrap().to_owned()
}

fn request(mechanism: Mechanism, authzid: &str, username: &str, password: &str) -> Event {
    Event::LoginRequested(LoginRequest {
        mechanism,
        authzid: authzid.into(),
        username: username.into(),
        password: Password::new(password.into()),
    })
}

#[track_caller]
fn assert_logs_in(octets: &str, mechanism: Mechanism) {
    let played = with_answer(octets, ACCEPTED);
    assert_eq!(played.events, [request(mechanism, "", "scanner", "secret")], "{octets:?}");
    assert!(played.text().ends_with("235 2.7.0 Authentication successful\r\n"), "{}", played.text());
    assert_eq!(played.ending, Some(Ending::Relay));
}

#[test]
fn ehlo_offers_what_another_implementation_understands() {
    let text = said_to("EHLO [192.168.1.21]\r\n");
    assert_eq!(
        text,
        "250-gw.example\r\n250-AUTH PLAIN LOGIN\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
         250-ENHANCEDSTATUSCODES\r\n250-SIZE\r\n250-DSN\r\n250 CHUNKING\r\n",
    );
    let theirs = EhloResponse::parse(&mut text.as_bytes().iter()).unwrap();
    assert_eq!(theirs.auth_mechanisms, AUTH_PLAIN | AUTH_LOGIN);
    let expected = EXT_PIPELINING | EXT_8BIT_MIME | EXT_SIZE | EXT_CHUNKING;
    assert_eq!(theirs.capabilities & expected, expected);
}

#[test]
fn helo_is_answered_in_one_line_whatever_the_name() {
    for line in ["HELO medea", "HELO ", "HELO", "helo [IPV6:::1]", " HELO _ x", "HELO \u{ff}\0"] {
        assert_eq!(said_to(&format!("{line}\n")), "250 gw.example\r\n", "{line:?}");
    }
    for line in ["EHLO", "EHLO PhpStorm 9.0.3", "ehlo cabinet-maitre-.domain"] {
        assert!(said_to(&format!("{line}\r\n")).ends_with("\r\n250 CHUNKING\r\n"), "{line:?}");
    }
}

#[test]
fn plain_in_one_line_and_in_two_steps() {
    let hello = "EHLO x\r\n";
    assert_logs_in(&format!("{hello}AUTH PLAIN {PLAIN}\r\n"), Mechanism::Plain);
    assert_logs_in(&format!("{hello}auth plain  {PLAIN} \n"), Mechanism::Plain);
    for line in ["AUTH PLAIN", "AUTH PLAIN ", "AUTH PLAIN =", "\tAuth\tPlain"] {
        let octets = format!("{hello}{line}\r\n{PLAIN}\r\n");
        assert_logs_in(&octets, Mechanism::Plain);
        assert!(said_to(&octets).contains("\r\n334 \r\n535 5.7.8 no\r\n"), "{line:?}");
    }
}

#[test]
fn the_prompts_of_login_are_exact() {
    assert_eq!(
        said_to(&format!("AUTH LOGIN\r\n{USERNAME}\r\n{PASSWORD}\r\n")),
        "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n535 5.7.8 no\r\n",
    );
    assert_eq!(said_to(&format!("AUTH login {USERNAME}\r\n{PASSWORD}\r\n")), "334 UGFzc3dvcmQ6\r\n535 5.7.8 no\r\n");
}

/// Everything is sent at once, without a greeting read, an EHLO, or padding.
#[test]
fn login_works_for_the_client_that_does_not_wait() {
    for octets in [
        format!("EHLO x\r\nAUTH LOGIN\r\n{USERNAME}\r\n{PASSWORD}\r\n"),
        format!("HELO x\r\nAUTH LOGIN {USERNAME}\r\n{PASSWORD}\r\n"),
        format!("AUTH LOGIN\n{}\n{PASSWORD}\n", USERNAME.trim_end_matches('=')),
        format!("AUTH LOGIN =\r\n {USERNAME} \r\n{PASSWORD}\t\r\n"),
    ] {
        assert_logs_in(&octets, Mechanism::Login);
    }
}

/// Hostile case 7: the session checks the characters, so it must see them as they are.
#[test]
fn names_and_passwords_are_handed_over_raw() {
    let evil = "x\x01user=y\r\n";
    let plain = encode_base64(format!("z\u{fc}\0{evil}\0 p\r\n").as_bytes());
    let played = with_answer(&format!("AUTH PLAIN {}\r\n", *plain), refused(false));
    assert_eq!(played.events, [request(Mechanism::Plain, "z\u{fc}", evil, " p\r\n")]);
    let name = encode_base64(b"a\0b");
    let played = with_answer(&format!("AUTH LOGIN {}\r\n\r\n", *name), refused(false));
    assert_eq!(played.events, [request(Mechanism::Login, "", "a\0b", "")]);
}

#[test]
fn an_exchange_that_fails_leaves_the_connection_usable() {
    for (octets, expected) in [
        ("AUTH PLAIN\r\n*\r\n", "334 \r\n501 5.7.0 Authentication cancelled\r\n"),
        ("AUTH LOGIN\r\n * \r\n", "334 VXNlcm5hbWU6\r\n501 5.7.0 Authentication cancelled\r\n"),
        ("AUTH LOGIN eA==\r\n*\r\n", "334 UGFzc3dvcmQ6\r\n501 5.7.0 Authentication cancelled\r\n"),
        ("AUTH\r\n", SYNTAX),
        ("AUTH PLAIN a b\r\n", SYNTAX),
        ("AUTH PLAIN !!!!\r\n", SYNTAX),
        ("AUTH PLAIN A=BC\r\n", SYNTAX),
        ("AUTH PLAIN eA==\r\n", SYNTAX),
        ("AUTH LOGIN not-base64\r\n", SYNTAX),
        ("AUTH PLAIN\r\n\r\n", &format!("334 \r\n{SYNTAX}")),
        ("AUTH CRAM-MD5\r\n", "504 5.5.4 The mechanism is unknown: use PLAIN or LOGIN\r\n"),
        ("AUTH XOAUTH2 eA==\r\n", "504 5.5.4 The mechanism is unknown: use PLAIN or LOGIN\r\n"),
    ] {
        let then_log_in = format!("{octets}AUTH PLAIN {PLAIN}\r\n");
        assert_eq!(said_to(octets), expected, "{octets:?}");
        assert_logs_in(&then_log_in, Mechanism::Plain);
    }
}

#[test]
fn credentials_are_bounded() {
    let fits = "x".repeat(MAX_CREDENTIAL);
    let over = "x".repeat(MAX_CREDENTIAL + 1);
    for (name, password, taken) in [(&fits, &fits, true), (&over, &fits, false), (&fits, &over, false)] {
        let plain = encode_base64(format!("\0{name}\0{password}").as_bytes());
        let by_plain = with_answer(&format!("AUTH PLAIN {}\r\n", *plain), ACCEPTED);
        let [name, password] = [name, password].map(|text| encode_base64(text.as_bytes()));
        let by_login = with_answer(&format!("AUTH LOGIN\r\n{}\r\n{}\r\n", *name, *password), ACCEPTED);
        for played in [by_plain, by_login] {
            assert_eq!(played.events.len(), usize::from(taken));
            assert_eq!(played.text().contains(TOO_LONG), !taken, "{}", played.text());
        }
    }
}

#[test]
fn what_needs_no_login_is_answered() {
    for (line, code) in [
        ("NOOP", "250 2.0.0 "),
        ("noop x y", "250 2.0.0 "),
        ("RSET", "250 2.0.0 "),
        ("VRFY root", "252 2.0.0 "),
        ("HELP", "214 2.0.0 "),
        ("STARTTLS", "502 5.5.1 "),
        ("MAIL FROM:<a@b>", "530 5.7.0 "),
        ("RCPT TO:<a@b>", "530 5.7.0 "),
        ("EXPN list", "530 5.7.0 "),
    ] {
        let text = said_to(&format!("{line}\r\n"));
        assert!(text.starts_with(code) && text.lines().count() == 1, "{line}: {text}");
    }
    let played = with_answer("QUIT\r\nNOOP\r\n", ACCEPTED);
    assert_eq!(played.text(), format!("{GREETING}221 2.0.0 Goodbye\r\n"));
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::Quit)));
}

/// A message behind a refused DATA or BDAT is never read as commands: this one would log in.
#[test]
fn refused_data_ends_the_connection() {
    for command in ["DATA", "BDAT 40 LAST", "bdat x"] {
        let played = with_answer(&format!("MAIL FROM:<a@b>\r\n{command}\r\nAUTH PLAIN {PLAIN}\r\n"), ACCEPTED);
        assert_eq!(played.events, [], "{command}");
        assert_eq!(played.ending, Some(Ending::Close(CloseReason::RefusedData)), "{command}");
        assert!(
            played.text().ends_with(&format!(
                "{LOGIN_FIRST_LINE}{LOGIN_FIRST_LINE}421 4.7.0 No message is taken before login, closing\r\n"
            )),
            "{}",
            played.text()
        );
    }
}

#[test]
fn the_third_unknown_command_ends_the_connection() {
    // A device whose AUTH failed goes on with what it would have answered to the prompts.
    let played = with_answer("AUTH CRAM-MD5\r\nZTQ5ZjM5\r\nNOOP\r\nbWF0\r\nSTARTTLS\r\n\r\nNOOP\r\n", ACCEPTED);
    let text = played.text();
    assert_eq!(text.matches("502 5.5.2 The command is unknown\r\n").count(), 2, "{text}");
    assert!(text.ends_with("421 4.7.0 Too many errors, closing\r\n"), "{text}");
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooManyErrors)));
    assert_eq!(played.left, b"NOOP\r\n");
}

#[test]
fn nine_malformed_commands_are_borne_and_the_tenth_ends_the_connection() {
    let too_long = format!("NOOP {}", "x".repeat(MAX_COMMAND));
    for malformed in ["AUTH", "AUTH CRAM-MD5", "AUTH PLAIN !!!", "AUTH PLAIN\r\n*", "AUTH PLAIN a b", &too_long] {
        let malformed = format!("{malformed}\r\n");
        let borne = with_answer(&format!("{}QUIT\r\n", malformed.repeat(9)), ACCEPTED);
        assert_eq!(borne.ending, Some(Ending::Close(CloseReason::Quit)), "{malformed}");

        let between = format!("NOOP\r\nMAIL FROM:<a@b>\r\nXYZZY\r\nAUTH PLAIN {PLAIN}\r\n");
        let octets = [&malformed.repeat(5), &between[..], &malformed.repeat(5), "QUIT\r\n"].concat();
        let ended = with_answer(&octets, refused(false));
        assert_eq!(ended.ending, Some(Ending::Close(CloseReason::TooManyErrors)), "{malformed}");
        assert!(ended.text().ends_with("\r\n421 4.7.0 Too many errors, closing\r\n"), "{}", ended.text());
        assert_eq!(ended.left, b"QUIT\r\n", "{malformed}");
    }
}

/// Hostile case 11: what a client pipelines behind AUTH waits for the answer, and goes to whoever it is for.
#[test]
fn what_follows_auth_waits_for_the_answer() {
    let mail = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
    let octets = format!("EHLO x\r\nAUTH PLAIN {PLAIN}\r\n{mail}");

    let accepted = with_answer(&octets, ACCEPTED);
    assert_eq!(accepted.left, mail.as_bytes());
    assert_eq!(accepted.ending, Some(Ending::Relay));
    assert!(accepted.text().ends_with("235 2.7.0 Authentication successful\r\n"));

    let undecided = play(downstream(), [octets.as_bytes()], |_| None);
    assert_eq!(undecided.left, mail.as_bytes());
    assert_eq!(undecided.ending, None);

    let refusal = with_answer(&octets, refused(false));
    assert!(
        refusal
            .text()
            .ends_with(&format!("535 5.7.8 no\r\n{LOGIN_FIRST_LINE}{LOGIN_FIRST_LINE}"))
    );
    assert_eq!(refusal.ending, None);

    let last = with_answer(&octets, refused(true));
    assert!(last.text().ends_with("535 5.7.8 no\r\n421 4.7.0 Too many errors, closing\r\n"));
    assert_eq!(last.ending, Some(Ending::Close(CloseReason::TooManyErrors)));
    assert_eq!(last.left, mail.as_bytes());
}

#[test]
fn on_a_clear_channel_that_is_not_allowed_no_password_is_asked_for() {
    let machine = || {
        Downstream::new(Offer { hostname: "gw".into(), access: Access::NONE, after_starttls: None, extensions: vec![] })
    };
    for line in ["AUTH PLAIN", "AUTH LOGIN", "AUTH", "AUTH X y z"] {
        let played = play(machine(), [format!("{line}\r\n").as_bytes()], |_| Some(ACCEPTED));
        assert!(played.text().contains("\r\n538 5.7.11 "), "{}", played.text());
        assert_eq!(played.events, []);
    }
    let played = play(machine(), [b"EHLO x\r\n".as_slice()], |_| None);
    assert!(!played.text().contains("AUTH") && played.text().ends_with("\r\n250 SIZE\r\n"), "{}", played.text());
}

/// Hostile case 10. A cap counts the line's end.
#[test]
fn a_line_over_its_cap_is_skipped_and_one_far_over_it_ends_the_connection() {
    for (before, start, cap) in [
        ("", "NOOP ", MAX_COMMAND),
        ("", "AUTH PLAIN ", sasl::MAX_LINE),
        ("", " auth\tlogin ", sasl::MAX_LINE),
        ("AUTH LOGIN\r\n", "", sasl::MAX_LINE),
    ] {
        let unended = |length: usize| format!("{before}{start}{}", "A".repeat(length - start.len()));
        for length in [cap + 1, 2 * cap] {
            let played = with_answer(&format!("{}\r\nRSET\r\n", unended(length - 2)), ACCEPTED);
            assert!(played.text().ends_with(&format!("{TOO_LONG}250 2.0.0 Ok\r\n")), "{start:?}: {}", played.text());
        }
        let endless = with_answer(&unended(2 * cap), ACCEPTED);
        assert!(endless.text().ends_with("421 4.7.0 The line is far too long, closing\r\n"), "{}", endless.text());
        assert_eq!(endless.ending, Some(Ending::Close(CloseReason::TooLong)));
    }
}

#[test]
fn a_line_at_its_cap_is_read() {
    assert_eq!(said_to(&format!("NOOP {}\r\n", "x".repeat(MAX_COMMAND - 7))), "250 2.0.0 Ok\r\n");
    // Base64 of this length could hold a PLAIN message that is not too long: what is wrong with it is its alphabet.
    let response = "!".repeat(2 * MAX_COMMAND);
    assert_eq!(said_to(&format!("AUTH PLAIN {response}\r\n")), SYNTAX);
    let filler = " ".repeat(sasl::MAX_LINE - response.len() - "AUTH PLAIN \r\n".len());
    assert_eq!(said_to(&format!("AUTH PLAIN {filler}{response}\r\n")), SYNTAX);
    assert_eq!(said_to(&format!("AUTH PLAIN\r\n{filler}{response}\r\n")), format!("334 \r\n{SYNTAX}"));
}

#[test]
fn replies_are_flushed_before_they_pile_up() {
    let mut machine = downstream();
    let mut input = Input::new();
    input.extend("EHLO x\r\n".repeat(1000).as_bytes());
    let mut answered = 0;
    loop {
        let mut out = Vec::new();
        let step = machine.advance(&mut input, &mut out).unwrap();
        assert!(out.len() < FLUSH_AT + 512, "{}", out.len());
        answered += String::from_utf8(out).unwrap().matches("250 CHUNKING").count();
        match step {
            Step::Flush => {}
            Step::NeedInput => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, 1000);
}

/// A client's side that may go anywhere, but mostly stays near the grammar.
fn client() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => proptest::sample::select(vec![
            "EHLO x", "HELO", "AUTH PLAIN", "auth login", "AUTH LOGIN c2Nhbm5lcg", "AUTH PLAIN AHNjYW5uZXIAc2VjcmV0",
            "AHNjYW5uZXIAc2VjcmV0", "c2VjcmV0", "*", "NOOP", "RSET", "MAIL FROM:<a@b>", "STARTTLS", "VRFY x", "AUTH X",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::sample::select(vec!["QUIT", "DATA", "BDAT 5 LAST"]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => (MAX_COMMAND - 5..2 * MAX_COMMAND + 5).prop_map(|length| vec![b'A'; length]),
    ];
    let end = proptest::sample::select(vec!["\r\n", "\n", "\r\n", ""]);
    proptest::collection::vec((line, end), 0..16).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| [line, end.as_bytes().to_vec()].concat())
            .collect()
    })
}

proptest! {
    /// Rule 1.
    #[test]
    fn any_split_gives_the_same_dialogue(
        octets in client(),
        sizes in proptest::collection::vec(1usize..80, 0..60),
        accepted in any::<bool>(),
        by_address in any::<bool>(),
    ) {
        let machine = || with_access(Access { password: true, by_address });
        let answers = || {
            let mut logins = 0;
            move |_: &Event| {
                logins += 1;
                Some(if accepted && logins == 2 { ACCEPTED } else { refused(logins == 3) })
            }
        };
        let whole = play(machine(), [octets.as_slice()], answers());
        prop_assert_eq!(&play(machine(), cut(&octets, &sizes), answers()), &whole);
        let single: Vec<usize> = vec![1; octets.len()];
        prop_assert_eq!(&play(machine(), cut(&octets, &single), answers()), &whole);
    }

    /// Whatever a client sends, each of its lines makes at most one reply and one last word.
    #[test]
    fn output_is_bounded_by_input(octets in client()) {
        let lines = octets.iter().filter(|octet| **octet == b'\n').count();
        let played = play(downstream(), [octets.as_slice()], |_| Some(refused(false)));
        let replies = played.text().lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).count();
        prop_assert!(replies <= lines + 2, "{} replies to {} lines", replies, lines);
    }
}

/// Takes passwords over TLS alone.
fn starttls() -> Downstream {
    let access = Access::NONE;
    Downstream::new(Offer { access, after_starttls: Some(Access::PASSWORD), hostname: "gw".into(), extensions: vec![] })
}

const READY: &str = "220 2.0.0 Ready to start TLS\r\n";

#[test]
fn starttls_changes_what_may_be_done_and_forgets_what_was_said() {
    let login = format!("ehlo x\r\nSTARTTLS\r\nAUTH PLAIN {PLAIN}\r\n");
    let pieces = [b"EHLO x\r\nAUTH PLAIN\r\nSTARTTLS\r\n".as_slice(), login.as_bytes()];
    let played = play(starttls(), pieces, |_| Some(ACCEPTED));
    let basic = "250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE\r\n";
    let expected = [
        "220 gw ESMTP mailferry ready\r\n250-gw\r\n250-STARTTLS\r\n",
        basic,
        "538 5.7.11 A password is not taken over a connection without encryption\r\n",
        READY,
        "250-gw\r\n250-AUTH PLAIN LOGIN\r\n",
        basic,
        "502 5.5.1 STARTTLS is not offered here\r\n235 2.7.0 Authentication successful\r\n",
    ];
    assert_eq!(played.text(), expected.concat());
    assert_eq!(played.events, [request(Mechanism::Plain, "", "scanner", "secret")]);
}

#[test]
fn starttls_is_a_command_of_its_own() {
    let played = play(starttls(), [b"STARTTLS now\r\n".as_slice()], |_| None);
    assert!(played.text().ends_with("\r\n501 5.5.4 STARTTLS has no argument\r\n"), "{}", played.text());
    // While a login goes on it is a response, and no good one.
    let machine = Downstream::new(Offer { access: Access::PASSWORD, ..starttls().offer });
    let played = play(machine, [b"AUTH LOGIN\r\nSTARTTLS\r\n".as_slice()], |_| None);
    assert!(!played.text().contains(READY), "{}", played.text());
}

/// Hostile case 1.
#[test]
fn what_comes_with_starttls_is_never_obeyed() {
    for behind in ["EHLO x\r\n", "QUIT\r\n", "\n", "x", "\0"] {
        for before in ["", "EHLO x\r\n"] {
            let sent = format!("{before}STARTTLS\r\n{behind}");
            let played = play(starttls(), [sent.as_bytes(), b"NOOP\r\n"], |_| None);
            assert_eq!(played.ending, Some(Ending::Error(OCTETS_BEHIND_STARTTLS)), "{sent:?}");
            assert!(played.text().ends_with(READY), "{}", played.text());
        }
    }
}

#[test]
fn a_handshake_in_place_of_a_command_is_told_from_one() {
    for machine in [downstream, starttls] {
        for before in ["", "EHLO x\r\nNOOP\r\n"] {
            let sent = [before.as_bytes(), b"\x16\x03\x01\x02\0\x01\0\x01\xfc"].concat();
            for pieces in [vec![&sent[..]], sent.chunks(1).collect()] {
                let played = play(machine(), pieces, |_| None);
                assert_eq!(played.ending, Some(Ending::Close(CloseReason::TlsHello)));
                assert!(!played.text().contains("\n50"), "{}", played.text());
            }
        }
    }
    let within = play(downstream(), [b"AUTH LOGIN\r\n\x16\x03\x01\r\n".as_slice()], |_| None);
    assert!(within.text().ends_with(SYNTAX), "{}", within.text());
}

/// A client that need not log in.
const EITHER: Access = Access { password: true, by_address: true };

#[test]
fn who_need_not_log_in_is_asked_for_at_its_first_mail_which_goes_to_the_transaction() {
    for mail in ["MAIL FROM:<a@b.example> SIZE=5", "mail from:<>", " \tMail x", "MAIL FROM:<a@b>\r"] {
        let octets = format!("EHLO x\r\nNOOP\r\n{mail}\nRCPT TO:<c@d.example>\r\nDATA\r\n");
        for access in [EITHER, Access { password: false, by_address: true }] {
            let played = play(with_access(access), [octets.as_bytes()], |_| Some(ACCEPTED));
            assert_eq!(played.events, [Event::ByAddress], "{mail:?}");
            assert!(
                played.text().ends_with("\r\n250 CHUNKING\r\n250 2.0.0 Ok\r\n"),
                "no words of ours: {}",
                played.text()
            );
            assert_eq!(played.ending, Some(Ending::Relay));
            assert_eq!(played.left, format!("{mail}\nRCPT TO:<c@d.example>\r\nDATA\r\n").as_bytes());
        }
    }
    let whole = "MAIL FROM:<a@b.example>";
    assert_eq!(play(with_access(EITHER), [whole.as_bytes()], |_| Some(ACCEPTED)).events, [], "the line has not ended");
    assert_eq!(play(downstream(), [format!("{whole}\r\n").as_bytes()], |_| Some(ACCEPTED)).events, []);
}

#[test]
fn mail_by_address_that_is_refused_is_dropped_and_the_session_goes_on() {
    let octets = format!("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nAUTH PLAIN {PLAIN}\r\n");
    let mut answers = vec![ACCEPTED, refused(false)];
    let played = play(with_access(EITHER), [octets.as_bytes()], |_| answers.pop());
    assert_eq!(played.events, [Event::ByAddress, request(Mechanism::Plain, "", "scanner", "secret")]);
    let said = format!("{GREETING}535 5.7.8 no\r\n{LOGIN_FIRST_LINE}235 2.7.0 Authentication successful\r\n");
    assert_eq!((played.text(), played.ending), (said, Some(Ending::Relay)));
    let played = play(with_access(EITHER), [octets.as_bytes()], |_| Some(refused(true)));
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::TooManyErrors)));
    assert!(played.text().ends_with("421 4.7.0 Too many errors, closing\r\n"), "{}", played.text());
}

#[test]
fn a_wrong_password_takes_nothing_from_who_need_not_log_in() {
    let octets = format!("AUTH PLAIN {PLAIN}\r\nMAIL FROM:<a@b>\r\n");
    let mut answers = vec![ACCEPTED, refused(false)];
    let played = play(with_access(EITHER), [octets.as_bytes()], |_| answers.pop());
    assert_eq!((played.events.len(), played.events.last()), (2, Some(&Event::ByAddress)));
    assert_eq!((played.text(), played.left), (format!("{GREETING}535 5.7.8 no\r\n"), b"MAIL FROM:<a@b>\r\n".to_vec()));
}

#[test]
fn message_data_before_an_admission_is_never_read_as_commands() {
    let octets = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nMAIL FROM:<e@f>\r\n";
    let played = play(with_access(EITHER), [octets.as_bytes()], |_| Some(refused(false)));
    assert_eq!((played.events.len(), played.ending), (1, Some(Ending::Close(CloseReason::RefusedData))));
}

proptest! {
    /// Rule 2: wherever the octets are cut, those that came before the handshake are used up before it, or end the dialogue.
    #[test]
    fn nothing_that_came_in_the_clear_is_left_for_tls(
        before in client(),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
        sizes in proptest::collection::vec(1usize..80, 0..60),
    ) {
        let octets = [&before[..], b"\r\nSTARTTLS\r\n", &behind].concat();
        play(starttls(), cut(&octets, &sizes), |_| Some(refused(false)));
    }
}
