//! Dialogues with providers over POP3, as they are and as they must not be.

use proptest::prelude::*;

use super::*;
use crate::proto::MAX_SAID;
use crate::proto::play::{Ending, Played, cut, play, play_in_clear, play_login};
use crate::secret::AccessToken;

const GREETING: &str = "+OK The Microsoft Exchange POP3 service is ready. [RgBSAA==]\r\n";
const MESSAGE: &str = "dXNlcj11c2VyQGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRva2VuAQE=";

const CLEAR: Plan = Plan { starttls: true };
const FIT: Plan = Plan { starttls: false };

fn credential(user: &str) -> Credential {
    Credential {
        user: user.into(),
        token: AccessToken::parse("token".into()).unwrap(),
        host: "mail.example".into(),
        port: 1,
    }
}

fn played(lines: &[&str]) -> Played<UpstreamEvent<()>> {
    play_login(Upstream::new(FIT), [lines.concat().as_bytes()], &credential("user@example.com"))
}

/// Where STLS is demanded. Each element arrives when the machine has asked for it.
fn played_from_clear(pieces: &[&str]) -> Played<UpstreamEvent<()>> {
    let pieces = pieces.iter().map(|piece| piece.as_bytes());
    play_login(Upstream::new(CLEAR), pieces, &credential("user@example.com"))
}

fn refusal(played: &Played<UpstreamEvent<()>>) -> &UpstreamRefusal {
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::Refused)));
    assert!(played.out.ends_with(b"QUIT\r\n"));
    let [UpstreamEvent::Refused(refusal)] = played.events.as_slice() else {
        panic!("{played:?}");
    };
    refusal
}

#[test]
fn microsoft_lets_us_in_and_what_follows_is_the_relays() {
    for go_ahead in ["+\r\n", "+ \r\n", "+ go ahead\r\n"] {
        let played = played(&[GREETING, go_ahead, "+OK User successfully authenticated.\r\n", "+OK 2 320\r\n"]);
        assert_eq!(played.text(), format!("AUTH XOAUTH2\r\n{MESSAGE}\r\n"));
        assert_eq!(played.events, [UpstreamEvent::LoggedIn(())]);
        assert_eq!(played.ending, Some(Ending::Relay));
        assert_eq!(played.left, b"+OK 2 320\r\n");
    }
}

#[test]
fn a_final_line_without_a_challenge_refuses_the_token() {
    let said = "-ERR Authentication failure: unknown user name or bad password.";
    let played = played(&[GREETING, "+ \r\n", said, "\r\n"]);
    let refusal = refusal(&played);
    assert_eq!((refusal.kind, refusal.stage), (RefusalKind::Token, "AUTH XOAUTH2"));
    assert_eq!((refusal.said.as_slice(), &refusal.challenge), (said.as_bytes(), &None));
}

#[test]
fn a_challenge_is_kept_and_answered_with_an_empty_line() {
    let challenge = "+ eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiJtYWlsIn0=\r\n";
    let played = played(&["+OK Dovecot ready.\r\n", "+ \r\n", challenge, "-ERR [AUTH] Authentication failed.\r\n"]);
    assert_eq!(played.text(), format!("AUTH XOAUTH2\r\n{MESSAGE}\r\n\r\nQUIT\r\n"));
    let refusal = refusal(&played);
    assert_eq!(refusal.kind, RefusalKind::Token);
    assert_eq!(refusal.challenge.as_deref(), Some(&br#"{"status":"401","schemes":"bearer","scope":"mail"}"#[..]));
}

#[test]
fn a_challenge_may_be_empty() {
    let played = played(&["+OK\r\n", "+ \r\n", "+ \r\n", "-ERR [AUTH] no\r\n"]);
    assert_eq!(refusal(&played).challenge.as_deref(), Some(&b""[..]));
}

#[test]
fn a_second_challenge_is_cancelled() {
    let played = played(&["+OK\r\n", "+\r\n", "+ e30=\r\n", "+ e30=\r\n"]);
    assert!(played.out.ends_with(b"\r\n\r\n*\r\n"), "{}", played.text());
    assert!(matches!(played.ending, Some(Ending::Error(ProtoError::UpstreamMisbehaved(_)))));
    assert_eq!(played.events, []);
}

/// `user=user@example.com`, token `token`, host `mail.example`, port 1.
const BEARER: &str = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9bWFpbC5leGFtcGxlAXBvcnQ9MQFhdXRoPUJlYXJlciB0b2tlbgEB";

#[test]
fn who_does_not_know_xoauth2_is_asked_for_oauthbearer() {
    let unknown = "-ERR Unrecognized authentication type\r\n";
    let accepted = played(&[GREETING, unknown, "+ \r\n", "+OK Logged in.\r\n"]);
    assert_eq!(accepted.text(), format!("AUTH XOAUTH2\r\nAUTH OAUTHBEARER\r\n{BEARER}\r\n"));
    assert_eq!((accepted.events, accepted.ending), (vec![UpstreamEvent::LoggedIn(())], Some(Ending::Relay)));
    let refused = played(&[GREETING, unknown, "+ \r\n", "+ e30=\r\n", "-ERR [AUTH] no\r\n"]);
    assert!(refused.text().ends_with(&format!("{BEARER}\r\nAQ==\r\nQUIT\r\n")), "{}", refused.text());
    assert_eq!((refusal(&refused).kind, refusal(&refused).stage), (RefusalKind::Token, "AUTH OAUTHBEARER"));
}

#[test]
fn the_code_says_whose_fault_it_is() {
    use RefusalKind::{Policy, Token, Transient, Unsupported};
    for (code, greeting, before, after) in [
        ("", Transient, Unsupported, Token),
        ("[AUTH] ", Transient, Unsupported, Token),
        ("[UTF8] ", Transient, Unsupported, Token),
        ("[SYS/TEMP] ", Transient, Transient, Transient),
        ("[sys/temp] ", Transient, Transient, Transient),
        ("[IN-USE] ", Transient, Transient, Transient),
        ("[LOGIN-DELAY] ", Transient, Transient, Transient),
        ("[SYS/PERM] ", Policy, Policy, Policy),
    ] {
        let err = format!("-ERR {code}no\r\n");
        let at_greeting = played(&[&err]);
        assert_eq!((refusal(&at_greeting).kind, refusal(&at_greeting).stage), (greeting, "greeting"), "{code}");
        let before_the_token = played(&["+OK\r\n", &err, &err]);
        assert_eq!(refusal(&before_the_token).kind, before, "{code}");
        let asked_again = before_the_token.text().contains("AUTH OAUTHBEARER\r\n");
        assert_eq!(asked_again, before == Unsupported, "only a mechanism that is missing has another for it: {code}");
        assert_eq!(refusal(&played(&["+OK\r\n", "+\r\n", &err])).kind, after, "{code}");
        assert_eq!(refusal(&played(&["+OK\r\n", "+\r\n", "+ e30=\r\n", &err])).kind, after, "{code}");
    }
}

#[test]
fn a_response_out_of_place_ends_the_dialogue() {
    for lines in [
        &["+ \r\n"][..],
        &["* OK IMAP4 ready\r\n"],
        &["+OK\r\n", "+OK\r\n"],
        &["+OK\r\n", "+\r\n", "hello\r\n"],
        &["+OK\r\n", "+\r\n", "+ e30=\r\n", "+OK in after all\r\n"],
    ] {
        let played = played(lines);
        assert!(matches!(played.ending, Some(Ending::Error(ProtoError::UpstreamMisbehaved(_)))), "{lines:?}");
        assert_eq!(played.events, [], "{lines:?}");
    }
}

#[test]
fn an_endless_line_ends_the_dialogue_and_long_words_are_cut() {
    assert!(matches!(played(&[&"+".repeat(MAX_RESPONSE_LINE)]).ending, Some(Ending::Error(_))));
    let long = format!("-ERR {}\r\n", "x".repeat(4000));
    assert_eq!(refusal(&played(&[&long])).said.len(), MAX_SAID);
}

#[test]
fn a_user_that_would_switch_identity_is_never_sent() {
    let played = play_login(Upstream::new(FIT), [&b"+OK\r\n+\r\n"[..]], &credential("a\x01user=b"));
    assert_eq!(played.text(), "AUTH XOAUTH2\r\n*\r\nQUIT\r\n");
    assert_eq!(refusal(&played).kind, RefusalKind::Policy);
}

#[test]
fn the_go_ahead_is_answered_when_the_credential_is_there() {
    let played = play(Upstream::new(FIT), [&b"+OK\r\n+\r\n"[..], b"+OK too soon\r\n"], |_| None);
    assert_eq!((played.text().as_str(), played.ending), ("AUTH XOAUTH2\r\n", None));
    assert_eq!(played.events, [UpstreamEvent::CredentialWanted]);
}

#[test]
fn stls_comes_first_where_it_is_demanded() {
    for ready in ["+OK Begin TLS negotiation now.\r\n", "+ok\n"] {
        let played = played_from_clear(&[GREETING, ready, "+ \r\n", "+OK Logged in.\r\n"]);
        assert_eq!(played.text(), format!("STLS\r\nAUTH XOAUTH2\r\n{MESSAGE}\r\n"));
        assert_eq!((played.events, played.ending), (vec![UpstreamEvent::LoggedIn(())], Some(Ending::Relay)));
    }
}

/// Hostile case 3.
#[test]
fn without_stls_no_token_is_sent() {
    use RefusalKind::{Policy, Transient, Unsupported};
    for (pieces, kind, stage) in [
        (&["-ERR not now\r\n"][..], Transient, "greeting"),
        (&[GREETING, "-ERR Command is not valid in this state.\r\n"], Unsupported, "STLS"),
        (&[GREETING, "-ERR [AUTH] no\r\n"], Unsupported, "STLS"),
        (&[GREETING, "-ERR [SYS/TEMP] TLS is not available now\r\n"], Transient, "STLS"),
        (&[GREETING, "-ERR [SYS/PERM] no\r\n"], Policy, "STLS"),
    ] {
        let played = played_from_clear(pieces);
        assert!(["QUIT\r\n", "STLS\r\nQUIT\r\n"].contains(&played.text().as_str()), "{}", played.text());
        assert_eq!((refusal(&played).kind, refusal(&played).stage), (kind, stage), "{pieces:?}");
    }
    for answer in ["+ go on\r\n", "* OK\r\n", "+OKAY\r\n"] {
        let played = played_from_clear(&[GREETING, answer, "+ \r\n"]);
        assert!(matches!(played.ending, Some(Ending::Error(_))), "{answer}");
        assert_eq!((played.text().as_str(), played.events), ("STLS\r\n", vec![]), "{answer}");
    }
}

/// Hostile case 2: CVE-2021-38371.
#[test]
fn octets_between_the_answer_to_stls_and_the_handshake_end_it() {
    for behind in ["+ \r\n", "+OK\r\n", "\r\n", "+"] {
        let played = played_from_clear(&[GREETING, &format!("+OK begin\r\n{behind}"), "+ \r\n"]);
        assert_eq!(played.ending, Some(Ending::Error(OCTETS_BEFORE_TLS)), "{behind:?}");
        assert_eq!((played.text().as_str(), played.events), ("STLS\r\n", vec![]), "{behind:?}");
    }
}

fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("+OK\r\n".to_owned()),
        Just("+ \r\n".to_owned()),
        Just("+ e30=\r\n".to_owned()),
        Just("-ERR [AUTH] no\r\n".to_owned()),
        "[ -~]{0,20}\n",
    ];
    let lines = proptest::collection::vec(line, 0..6).prop_map(|lines| lines.concat().into_bytes());
    prop_oneof![4 => lines, 1 => proptest::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn any_split_gives_the_same(octets in dialogue(), sizes in proptest::collection::vec(1usize..9, 0..40)) {
        let credential = credential("u@example.com");
        let whole = play_login(Upstream::new(FIT), [octets.as_slice()], &credential);
        prop_assert!(whole.out.len() < 256, "{}", whole.text());
        prop_assert_eq!(play_login(Upstream::new(FIT), cut(&octets, &sizes), &credential), whole);
    }

    /// What comes in the clear, up to the answer to STLS, and what comes over TLS may each be cut anywhere.
    #[test]
    fn any_split_gives_the_same_over_stls(
        octets in dialogue(),
        sizes in proptest::collection::vec(1usize..9, 0..40),
    ) {
        let credential = credential("u@example.com");
        let clear = b"+OK\r\n+OK begin\r\n";
        let whole = play_login(Upstream::new(CLEAR), [&clear[..], &octets], &credential);
        prop_assert!(whole.text().starts_with("STLS\r\nAUTH XOAUTH2\r\n"));
        let pieces = cut(clear, &sizes).into_iter().chain(cut(&octets, &sizes));
        prop_assert_eq!(play_login(Upstream::new(CLEAR), pieces, &credential), whole);
    }

    #[test]
    fn in_the_clear_no_credential_is_asked_for_whatever_the_server_says(
        octets in dialogue(),
        sizes in proptest::collection::vec(1usize..9, 0..40),
    ) {
        let (out, events) = play_in_clear(Upstream::new(CLEAR), cut(&octets, &sizes));
        prop_assert!(!events.contains(&UpstreamEvent::CredentialWanted), "{:?}", events);
        prop_assert!(!String::from_utf8_lossy(&out).contains("AUTH"));
    }
}
