//! Dialogues with upstreams: the real ones, as they were seen, and hostile ones.

use proptest::prelude::*;

use super::*;
use crate::proto::play::{Ending, Played, cut, play, play_in_clear, play_login};
use crate::secret::AccessToken;

/// `user=user@example.com`, token `token`.
const RESPONSE: &str = "dXNlcj11c2VyQGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRva2VuAQE=";

const MICROSOFT: &str = "220 outlook.office365.com Microsoft ESMTP ready\r\n";
const MICROSOFT_CLEAR: &str = "250-h Hello [192.0.2.1]\r\n250-SIZE 157286400\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n";
const MICROSOFT_TLS: &str =
    "250-h Hello [192.0.2.1]\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-AUTH LOGIN XOAUTH2\r\n250 CHUNKING\r\n";

fn credential(user: &str) -> Credential {
    Credential {
        user: user.into(),
        token: AccessToken::parse("token".into()).unwrap(),
        host: "mail.example".into(),
        port: 1,
    }
}

fn upstream(starttls: bool) -> Upstream {
    Upstream::new(Plan { hostname: "gateway.example".into(), starttls })
}

/// Each element arrives when the machine has asked for it.
fn dialogue(starttls: bool, pieces: &[&str]) -> Played<UpstreamEvent<Extensions>> {
    let pieces = pieces.iter().map(|piece| piece.as_bytes());
    play_login(upstream(starttls), pieces, &credential("user@example.com"))
}

#[test]
fn nothing_is_said_before_the_credential_is_there() {
    let played = play(upstream(false), [MICROSOFT.as_bytes(), MICROSOFT_TLS.as_bytes(), b"334 \r\n"], |_| None);
    assert_eq!((played.text().as_str(), played.ending), ("EHLO gateway.example\r\n", None));
    assert_eq!(played.events, [UpstreamEvent::CredentialWanted]);
}

/// The refusal of a login whose last replies are `verdict`.
fn refused_with(verdict: &[&str]) -> UpstreamRefusal {
    let pieces = [&[MICROSOFT, MICROSOFT_TLS, "334 \r\n"], verdict].concat();
    refusal(dialogue(false, &pieces))
}

#[track_caller]
fn refusal(played: Played<UpstreamEvent<Extensions>>) -> UpstreamRefusal {
    assert!(played.text().ends_with("\r\nQUIT\r\n"), "{}", played.text());
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::Refused)));
    let mut events = played.events;
    match (events.pop(), events.pop()) {
        (Some(UpstreamEvent::Refused(refusal)), None) => refusal,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_misbehaved(played: &Played<UpstreamEvent<Extensions>>) {
    assert!(matches!(played.ending, Some(Ending::Error(UpstreamMisbehaved(_)))), "{played:?}");
    assert_eq!(played.events, []);
}

#[test]
fn microsoft_over_implicit_tls() {
    let played = dialogue(false, &[MICROSOFT, MICROSOFT_TLS, "334 \r\n", "235 2.7.0 Authentication successful\r\n"]);
    assert_eq!(played.text(), format!("EHLO gateway.example\r\nAUTH XOAUTH2\r\n{RESPONSE}\r\n"));
    assert_eq!(played.ending, Some(Ending::Relay));
    let [UpstreamEvent::LoggedIn(extensions)] = played.events.as_slice() else { panic!("{:?}", played.events) };
    assert!(extensions.has("PIPELINING") && extensions.has("CHUNKING"));
    assert_eq!(extensions.size(), Some(157_286_400));
}

#[test]
fn microsoft_over_starttls_forgets_what_it_heard_in_the_clear() {
    let pieces =
        [MICROSOFT, MICROSOFT_CLEAR, "220 2.0.0 SMTP server ready\r\n", MICROSOFT_TLS, "334\r\n", "235 ok\r\n"];
    let played = dialogue(true, &pieces);
    assert_eq!(
        played.text(),
        format!("EHLO gateway.example\r\nSTARTTLS\r\nEHLO gateway.example\r\nAUTH XOAUTH2\r\n{RESPONSE}\r\n"),
    );
    let [UpstreamEvent::LoggedIn(extensions)] = played.events.as_slice() else { panic!("{:?}", played.events) };
    assert!(extensions.has("PIPELINING") && !extensions.has("SMTPUTF8"));
}

#[test]
fn what_follows_the_login_is_left_to_the_relay() {
    let verdict = "235-2.7.0 fine\r\n235 2.7.0 go\r\n421 4.3.2 bye\r\n";
    let played = dialogue(false, &["220-hello\r\n220 there\r\n", MICROSOFT_TLS, "334 go on\r\n", verdict]);
    assert_eq!(played.ending, Some(Ending::Relay));
    assert_eq!(played.left, b"421 4.3.2 bye\r\n");
}

#[test]
fn both_forms_of_auth_offer_xoauth2() {
    for line in ["250 AUTH XOAUTH2", "250 auth=plain xoauth2", "250-AUTH=LOGIN\r\n250 AUTH LOGIN XOAUTH2"] {
        let played = dialogue(false, &["220 h\r\n", &format!("250-h\r\n{line}\r\n")]);
        assert!(played.text().ends_with("AUTH XOAUTH2\r\n"), "{line}");
    }
}

/// `user=user@example.com`, token `token`, host `mail.example`, port 1.
const BEARER: &str = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9bWFpbC5leGFtcGxlAXBvcnQ9MQFhdXRoPUJlYXJlciB0b2tlbgEB";

#[test]
fn who_offers_oauthbearer_only_gets_that() {
    let offer = "250-h\r\n250 AUTH PLAIN oauthbearer\r\n";
    let accepted = dialogue(false, &["220 h\r\n", offer, "334 \r\n", "235 2.7.0 ok\r\n"]);
    assert_eq!(accepted.text(), format!("EHLO gateway.example\r\nAUTH OAUTHBEARER\r\n{BEARER}\r\n"));
    assert_eq!(accepted.ending, Some(Ending::Relay));
    let refused = dialogue(false, &["220 h\r\n", offer, "334 \r\n", "334 e30=\r\n", "535 5.7.8 no\r\n"]);
    assert!(refused.text().ends_with(&format!("{BEARER}\r\nAQ==\r\nQUIT\r\n")), "{}", refused.text());
    let refusal = refusal(refused);
    assert_eq!((refusal.kind, refusal.stage), (RefusalKind::Token, "AUTH OAUTHBEARER"));
    assert_eq!(refusal.challenge.unwrap(), b"{}");
}

#[test]
fn without_a_mechanism_for_tokens_no_token_is_sent() {
    let refusal = refusal(dialogue(false, &["220 h\r\n", "250-h\r\n250-AUTH PLAIN XOAUTH2X\r\n250 DSN\r\n"]));
    assert_eq!(refusal.kind, RefusalKind::Unsupported);
    assert_eq!(refusal.stage, "AUTH XOAUTH2");
    assert_eq!(refusal.said, b"250 h AUTH PLAIN XOAUTH2X DSN");
}

#[test]
fn a_name_that_could_switch_identity_is_never_sent() {
    let name = credential("x@example.com\x01user=user@example.com");
    let played = play_login(upstream(false), [MICROSOFT.as_bytes(), MICROSOFT_TLS.as_bytes()], &name);
    assert_eq!(played.text(), "EHLO gateway.example\r\nQUIT\r\n");
    assert_eq!(refusal(played).kind, RefusalKind::Policy);
}

/// Hostile case 3: the keyword is stripped, the command refused, or EHLO unknown. The token stays here.
#[test]
fn without_starttls_no_token_is_sent() {
    let clear_with_auth = "250-h\r\n250 AUTH XOAUTH2\r\n";
    for (pieces, kind, stage) in [
        (&["220 h\r\n", clear_with_auth] as &[&str], RefusalKind::Unsupported, "STARTTLS"),
        (&["220 h\r\n", "250 STARTTLS\r\n"], RefusalKind::Unsupported, "STARTTLS"),
        (&["220 h\r\n", "502 5.5.2 what\r\n"], RefusalKind::Unsupported, "EHLO"),
        (&["220 h\r\n", "550 5.7.1 not you\r\n"], RefusalKind::Policy, "EHLO"),
        (&["220 h\r\n", "421 4.3.2 not now\r\n"], RefusalKind::Transient, "EHLO"),
        (&["220 h\r\n", MICROSOFT_CLEAR, "454 4.7.0 TLS not available\r\n"], RefusalKind::Transient, "STARTTLS"),
        (&["220 h\r\n", MICROSOFT_CLEAR, "502 5.5.1 no\r\n"], RefusalKind::Unsupported, "STARTTLS"),
        (&["421 4.3.2 Service not active\r\n"], RefusalKind::Transient, "greeting"),
        (&["554-5.7.1 go\r\n554 5.7.1 away\r\n"], RefusalKind::Policy, "greeting"),
    ] {
        let played = dialogue(true, pieces);
        assert!(!played.text().contains("AUTH") && !played.text().contains(RESPONSE), "{}", played.text());
        // A refused greeting has no line before QUIT.
        let text = format!("\r\n{}", played.text());
        let refusal = refusal(Played { out: text.into(), ..played });
        assert_eq!((refusal.kind, refusal.stage), (kind, stage), "{pieces:?}");
    }
}

/// Hostile case 2: CVE-2021-38371, CVE-2021-22947.
#[test]
fn octets_between_the_220_and_the_handshake_end_it() {
    for behind in ["250-h\r\n250 AUTH XOAUTH2\r\n", "\r\n", "2"] {
        let ready = format!("220 2.0.0 ready\r\n{behind}");
        let played = dialogue(true, &[MICROSOFT, MICROSOFT_CLEAR, &ready, MICROSOFT_TLS]);
        assert_misbehaved(&played);
        assert_eq!(played.text(), "EHLO gateway.example\r\nSTARTTLS\r\n");
    }
}

#[test]
fn a_failure_challenge_is_answered_by_an_empty_line_and_kept() {
    let challenge = "334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiJtYWlsIn0=\r\n";
    let verdict =
        "535-5.7.1 Username and Password not accepted. Learn more at\r\n535 5.7.1 https://support.example\r\n";
    let played = dialogue(false, &["220 h\r\n", MICROSOFT_TLS, "334 \r\n", challenge, verdict]);
    assert!(played.text().ends_with(&format!("\r\n{RESPONSE}\r\n\r\nQUIT\r\n")), "{}", played.text());
    let refusal = refusal(played);
    assert_eq!(refusal.kind, RefusalKind::Token);
    assert_eq!(
        refusal.said,
        b"535 5.7.1 Username and Password not accepted. Learn more at 5.7.1 https://support.example"
    );
    assert_eq!(refusal.challenge.unwrap(), br#"{"status":"401","schemes":"bearer","scope":"mail"}"#);
}

#[test]
fn a_refused_login_is_classified_by_its_codes() {
    for (verdict, kind) in [
        ("535 5.7.3 Authentication unsuccessful [SN2PR00CA0018.namprd00.prod.outlook.com]", RefusalKind::Token),
        ("535 5.7.8 Authentication failed.", RefusalKind::Token),
        ("535 5.7.1 Username and Password not accepted.", RefusalKind::Token),
        ("535 Incorrect authentication data", RefusalKind::Token),
        ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled", RefusalKind::Policy),
        ("550 5.7.30 Basic authentication is not supported for Client Submission.", RefusalKind::Policy),
        ("534 5.7.9 Application-specific password required", RefusalKind::Policy),
        ("530 5.7.57 Client not authenticated to send mail.", RefusalKind::Policy),
        ("501 5.5.124 Invalid XOAUTH2 auth data", RefusalKind::Policy),
        ("504 5.7.4 Unrecognized authentication type", RefusalKind::Unsupported),
        ("454 4.7.0 Temporary authentication failure", RefusalKind::Transient),
        ("451 4.7.0 Temporary server error. Please try again later. PRX4", RefusalKind::Transient),
        ("432 4.3.2 Concurrent connections limit exceeded.", RefusalKind::Transient),
        ("421 4.3.2 Service not active", RefusalKind::Transient),
    ] {
        let line = format!("{verdict}\r\n");
        let at_the_verdict = refused_with(&[&line]);
        assert_eq!((at_the_verdict.kind, at_the_verdict.stage), (kind, "AUTH XOAUTH2"), "{verdict}");
        assert_eq!(at_the_verdict.said, verdict.as_bytes());
        assert_eq!(at_the_verdict.challenge, None);
        let at_the_prompt = refusal(dialogue(false, &[MICROSOFT, MICROSOFT_TLS, &line]));
        assert_eq!(at_the_prompt.kind, kind, "{verdict}");
        assert_eq!(refused_with(&["334 e30=\r\n", &line]).kind, kind, "{verdict}");
    }
}

#[test]
fn what_is_kept_of_a_refusal_is_bounded() {
    let line = format!("535-5.7.3 {}\r\n", "x".repeat(4000));
    let refusal = refused_with(&[&format!("334 {}\r\n", "YWFh".repeat(1000)), &line, "535 5.7.3 end\r\n"]);
    assert_eq!(refusal.said.len(), crate::proto::MAX_SAID);
    assert_eq!(refusal.challenge.unwrap().len(), crate::proto::MAX_SAID);
}

/// Hostile case 5, and replies that the dialogue has no place for.
#[test]
fn an_upstream_that_makes_no_sense_is_dropped() {
    let to_prompt = [MICROSOFT, MICROSOFT_TLS];
    let to_verdict = [MICROSOFT, MICROSOFT_TLS, "334 \r\n"];
    for pieces in [
        &["* PREAUTH ready\r\n"] as &[&str],
        &["+OK POP3\r\n"],
        &["\u{0}220 h\r\n"],
        &["\u{ff}\r\n"],
        &["\r\n"],
        &["250 h\r\n"],
        &["354 h\r\n"],
        &["220-h\r\n250 h\r\n"],
        &["220 h\r\n", "220 h\r\n"],
        &["220 h\r\n", "334 \r\n"],
        &["220 h\r\n", &"250-more\r\n".repeat(200)],
        &["220 h\r\n", &"2".repeat(5000)],
        &[to_prompt.as_slice(), &["235 2.7.0 already\r\n"]].concat(),
        &[to_prompt.as_slice(), &["250 ok\r\n"]].concat(),
        &[to_verdict.as_slice(), &["250 ok\r\n"]].concat(),
        &[to_verdict.as_slice(), &["334 e30=\r\n", "334 e30=\r\n"]].concat(),
        &[to_verdict.as_slice(), &["334 e30=\r\n", "235 ok\r\n"]].concat(),
    ] {
        assert_misbehaved(&dialogue(false, pieces));
    }
    for answer in ["250 ok\r\n", "354 ok\r\n"] {
        assert_misbehaved(&dialogue(true, &[MICROSOFT, MICROSOFT_CLEAR, answer]));
    }
}

/// A server's side that may go anywhere, but mostly stays near the dialogue.
fn server() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        6 => proptest::sample::select(vec![
            MICROSOFT, MICROSOFT_TLS, MICROSOFT_CLEAR, "250-h\r\n250 AUTH OAUTHBEARER\r\n", "334 \r\n", "334 e30=\r\n", "235 2.7.0 ok\r\n",
            "535 5.7.3 no\r\n", "535-5.7.1 no\r\n535 5.7.1 never\r\n", "454 4.7.0 later\r\n", "220 2.0.0 ready\n",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        1 => "[2-5][0-9]{2}[ -][ -~]{0,20}\r?\n".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let begun = prop_oneof![
        3 => Just([MICROSOFT, MICROSOFT_TLS, "334 \r\n"].concat()),
        1 => Just([MICROSOFT, MICROSOFT_TLS].concat()),
        1 => Just([MICROSOFT, "250-h\r\n250 AUTH OAUTHBEARER\r\n334 \r\n"].concat()),
        1 => Just(String::new()),
    ];
    (begun, proptest::collection::vec(line, 0..6))
        .prop_map(|(begun, lines)| [begun.into_bytes(), lines.concat()].concat())
}

proptest! {
    /// Rule 1. STARTTLS is left out: there, what has arrived when it is answered makes the difference on purpose.
    #[test]
    fn any_split_gives_the_same_dialogue(octets in server(), sizes in proptest::collection::vec(1usize..40, 0..30)) {
        let credential = credential("user@example.com");
        let whole = play_login(upstream(false), [octets.as_slice()], &credential);
        prop_assert_eq!(&play_login(upstream(false), cut(&octets, &sizes), &credential), &whole);
        prop_assert!(whole.out.len() < 256, "{}", whole.text());
    }

    #[test]
    fn in_the_clear_no_credential_is_asked_for_whatever_the_server_says(
        pieces in proptest::collection::vec(server(), 0..4),
    ) {
        let (out, events) = play_in_clear(upstream(true), pieces.iter().map(Vec::as_slice));
        prop_assert!(!events.contains(&UpstreamEvent::CredentialWanted), "{:?}", events);
        prop_assert!(!String::from_utf8_lossy(&out).contains("AUTH"));
    }
}
