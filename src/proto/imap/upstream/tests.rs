//! Dialogues with providers, as they are and as they must not be.

use base64::prelude::*;
use proptest::prelude::*;

use super::*;
use crate::proto::MAX_SAID;
use crate::proto::play::{Ending, Played, cut, play, play_in_clear, play_login};
use crate::secret::AccessToken;

type Event = UpstreamEvent<Capabilities>;

/// `user=user@example.com`, token `token`: a vector worked out by hand.
const MESSAGE: &str = "dXNlcj11c2VyQGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRva2VuAQE=";

const OFFER: &str = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n";

/// The same in the clear, from a server that has TLS to offer.
const CLEAR_OFFER: &str = "* OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS LOGINDISABLED] ready\r\n";

const BEGIN_TLS: &str = "x91 OK Begin TLS negotiation now.\r\n";

fn machine(starttls: bool) -> Upstream {
    Upstream::new(Plan { starttls, tag: "x9".into() })
}

fn credential(user: &str, token: &str) -> Credential {
    Credential {
        user: user.into(),
        token: AccessToken::parse(token.into()).unwrap(),
        host: "mail.example".into(),
        port: 1,
    }
}

fn listen_in<'a>(starttls: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> Played<Event> {
    play_login(machine(starttls), pieces, &credential("user@example.com", "token"))
}

fn listen(sent: impl AsRef<[u8]>) -> Played<Event> {
    listen_in(false, [sent.as_ref()])
}

/// Where STARTTLS is demanded. Each element arrives when the machine has asked for it.
fn listen_from_clear(pieces: &[&str]) -> Played<Event> {
    listen_in(true, pieces.iter().map(|piece| piece.as_bytes()))
}

fn logged_in(list: &str) -> Event {
    UpstreamEvent::LoggedIn(Capabilities::parse(list.as_bytes()))
}

fn refusal(mut played: Played<Event>) -> UpstreamRefusal {
    assert_eq!(played.events.len(), 1);
    assert_eq!(played.ending, Some(Ending::Close(CloseReason::Refused)));
    match played.events.remove(0) {
        UpstreamEvent::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn microsoft_says_nothing_by_itself() {
    let played = listen(
        "* OK The Microsoft Exchange IMAP4 service is ready. [RgBSADIAUAAyADgAMQA=]\r\n\
         * CAPABILITY IMAP4 IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED SASL-IR UIDPLUS MOVE ID IDLE LITERAL+\r\n\
         x91 OK CAPABILITY completed.\r\n\
         x92 OK AUTHENTICATE completed.\r\n\
         * CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE CLIENTACCESSRULES IDLE LITERAL+\r\n\
         x93 OK CAPABILITY completed.\r\n\
         * 3 EXISTS\r\nhalf a li",
    );
    assert_eq!(played.text(), format!("x91 CAPABILITY\r\nx92 AUTHENTICATE XOAUTH2 {MESSAGE}\r\nx93 CAPABILITY\r\n"));
    assert_eq!(played.events, [logged_in("IMAP4 IMAP4rev1 SASL-IR UIDPLUS MOVE CLIENTACCESSRULES IDLE LITERAL+")]);
    assert_eq!(played.ending, Some(Ending::Relay));
    assert_eq!(played.left, b"* 3 EXISTS\r\nhalf a li");
}

#[test]
fn gmail_lists_untagged_before_the_completion() {
    let played = listen(
        "* OK Gimap ready for requests from 192.0.2.1 abc\r\n\
         * CAPABILITY IMAP4rev1 IDLE XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN AUTH=OAUTHBEARER\r\n\
         x91 OK Thats all she wrote! abc\r\n\
         * CAPABILITY IMAP4rev1 UNSELECT IDLE COMPRESS=DEFLATE UTF8=ACCEPT LITERAL- APPENDLIMIT=35651584\r\n\
         x92 OK user@example.com authenticated (Success)\r\n",
    );
    assert_eq!(played.text(), format!("x91 CAPABILITY\r\nx92 AUTHENTICATE XOAUTH2 {MESSAGE}\r\n"));
    let list = "IMAP4rev1 UNSELECT IDLE COMPRESS=DEFLATE UTF8=ACCEPT LITERAL- APPENDLIMIT=35651584";
    assert_eq!(played.events, [logged_in(list)]);
    assert_eq!(played.ending, Some(Ending::Relay));
}

#[test]
fn dovecot_lists_in_response_codes() {
    let played = listen(
        "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ LOGINDISABLED AUTH=XOAUTH2] ready.\r\n\
         x91 OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE UNAUTHENTICATE] Logged in\r\n",
    );
    assert_eq!(played.text(), format!("x91 AUTHENTICATE XOAUTH2 {MESSAGE}\r\n"));
    assert_eq!(played.events, [logged_in("IMAP4rev1 SASL-IR ID ENABLE IDLE")]);
}

#[test]
fn without_initial_response_the_credential_waits_to_be_asked_for() {
    let greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready\r\n";
    assert_eq!(listen(greeting).text(), "x91 AUTHENTICATE XOAUTH2\r\n");
    for invitation in ["+", "+ ", "+ go ahead"] {
        let played = listen(format!("{greeting}{invitation}\r\nx91 OK [CAPABILITY IMAP4rev1] hi\r\n"));
        assert_eq!(played.text(), format!("x91 AUTHENTICATE XOAUTH2\r\n{MESSAGE}\r\n"), "{invitation:?}");
        assert_eq!(played.ending, Some(Ending::Relay));
    }
}

#[test]
fn a_long_token_goes_in_a_line_of_its_own() {
    // What stands around the token: the command, "user=user@example.com", and the separators; in base64 it grows by a third.
    let fits = (MAX_INITIAL_RESPONSE_LINE - "x91 AUTHENTICATE XOAUTH2 \r\n".len()) / 4 * 3 - MESSAGE.len() / 4 * 3;
    let greeted = |length: usize| {
        play_login(machine(false), [OFFER.as_bytes()], &credential("user@example.com", &"t".repeat(length))).out
    };
    let one_line = greeted(fits);
    assert!(one_line.len() <= MAX_INITIAL_RESPONSE_LINE && one_line.len() > MAX_INITIAL_RESPONSE_LINE - 16);
    assert_eq!(greeted(fits + 16), b"x91 AUTHENTICATE XOAUTH2\r\n");
}

#[test]
fn a_failure_challenge_is_kept_and_answered_with_an_empty_line() {
    let json = r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#;
    let challenge = BASE64_STANDARD.encode(json);
    let played = listen(format!("{OFFER}+ {challenge}\r\nx91 NO SASL authentication failed\r\n"));
    assert_eq!(played.text(), format!("x91 AUTHENTICATE XOAUTH2 {MESSAGE}\r\n\r\nx92 LOGOUT\r\n"));
    assert_eq!(
        refusal(played),
        UpstreamRefusal {
            kind: RefusalKind::Token,
            stage: "AUTHENTICATE XOAUTH2",
            said: b"NO SASL authentication failed".to_vec(),
            challenge: Some(json.into()),
        }
    );
}

#[test]
fn a_second_challenge_is_cancelled_and_ends_it() {
    let played = listen(format!("{OFFER}+ e30=\r\n+ e30=\r\nx91 OK hi\r\n"));
    assert!(played.text().ends_with("\r\n\r\n*\r\n"));
    assert_eq!(played.ending, Some(Ending::Error(ProtoError::UpstreamMisbehaved("a second challenge"))));
}

#[test]
fn whose_fault_a_refusal_is_says_its_code() {
    use RefusalKind::{Policy, Rights, Token, Transient};
    for (said, kind) in [
        ("NO AUTHENTICATE failed.", Token),
        ("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", Token),
        ("NO [EXPIRED] token", Token),
        ("NO [authorizationfailed] not yours", Rights),
        ("NO [NOPERM] x", Rights),
        ("NO [CONTACTADMIN] x", Policy),
        ("NO [PRIVACYREQUIRED] x", Policy),
        ("NO [WEBALERT https://accounts.google.com/x] Web login required.", Policy),
        ("NO [REFERRAL imap://user@evil.example/] follow me", Policy),
        ("NO [UNAVAILABLE] Temporary authentication failure. [vm:date]", Transient),
        ("NO [INUSE] x", Transient),
        ("NO [LIMIT] x", Transient),
        ("BAD [SERVERBUG] x", Transient),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", Transient),
        ("BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds", Transient),
        ("BAD Command Error. 12", Transient),
    ] {
        let played = listen(format!("{OFFER}x91 {said}\r\n"));
        assert!(played.text().ends_with("x92 LOGOUT\r\n"));
        let refusal = refusal(played);
        assert_eq!((refusal.kind, refusal.said.as_slice()), (kind, said.as_bytes()), "{said}");
    }
    let after_challenge = listen(format!("{OFFER}+ e30=\r\nx91 NO [ALERT] Invalid credentials (Failure)\r\n"));
    assert_eq!(refusal(after_challenge).kind, Token);
}

#[test]
fn a_no_before_the_credential_is_not_about_the_token() {
    let greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready\r\n";
    for (said, kind) in [
        ("NO no such mechanism", RefusalKind::Unsupported),
        ("BAD Request is throttled.", RefusalKind::Transient),
        ("NO [UNAVAILABLE] later", RefusalKind::Transient),
    ] {
        let played = listen(format!("{greeting}x91 {said}\r\n"));
        assert!(!played.text().contains(MESSAGE));
        assert_eq!(refusal(played).kind, kind, "{said}");
    }
    let refused = refusal(listen("* OK hi\r\nx91 NO not now\r\n"));
    assert_eq!((refused.kind, refused.stage), (RefusalKind::Transient, "CAPABILITY"));
}

/// `user=user@example.com`, token `token`, host `mail.example`, port 1.
const BEARER: &str = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9bWFpbC5leGFtcGxlAXBvcnQ9MQFhdXRoPUJlYXJlciB0b2tlbgEB";

#[test]
fn who_offers_oauthbearer_only_gets_that() {
    for (offer, sent) in [
        (
            "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] hi\r\n",
            format!("x91 AUTHENTICATE OAUTHBEARER {BEARER}\r\n"),
        ),
        (
            "* OK [CAPABILITY IMAP4rev1 auth=oauthbearer] hi\r\n+ \r\n",
            format!("x91 AUTHENTICATE OAUTHBEARER\r\n{BEARER}\r\n"),
        ),
    ] {
        let accepted = listen(format!("{offer}x91 OK [CAPABILITY IMAP4rev1] hi\r\n"));
        assert_eq!((accepted.text(), accepted.ending), (sent.clone(), Some(Ending::Relay)));
        let refused = listen(format!("{offer}+ e30=\r\nx91 NO no\r\n"));
        assert_eq!(refused.text(), format!("{sent}AQ==\r\nx92 LOGOUT\r\n"));
        let refusal = refusal(refused);
        assert_eq!((refusal.kind, refusal.stage), (RefusalKind::Token, "AUTHENTICATE OAUTHBEARER"));
    }
}

#[test]
fn without_a_mechanism_for_tokens_no_credential_is_sent() {
    for sent in [
        "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n",
        "* OK hi\r\n* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2X\r\nx91 OK done\r\n",
        "* OK hi\r\nx91 OK no list\r\n",
    ] {
        let played = listen(sent);
        assert!(!played.text().contains("AUTHENTICATE"), "{sent}");
        let refusal = refusal(played);
        assert_eq!((refusal.kind, refusal.stage), (RefusalKind::Unsupported, "CAPABILITY"), "{sent}");
    }
}

#[test]
fn a_user_that_could_break_the_message_is_not_sent() {
    let played = play_login(machine(false), [OFFER.as_bytes()], &credential("a\x01user=b", "token"));
    assert_eq!(played.text(), "x91 LOGOUT\r\n");
    assert_eq!(refusal(played).kind, RefusalKind::Policy);
}

#[test]
fn goodbye_at_any_time_is_an_outage() {
    for (before, stage) in [
        ("", "greeting"),
        ("* OK hi\r\n", "CAPABILITY"),
        (OFFER, "AUTHENTICATE XOAUTH2"),
        ("* OK [CAPABILITY AUTH=XOAUTH2 SASL-IR] hi\r\nx91 OK hi\r\n", "after login"),
    ] {
        let played = listen(format!("{before}* BYE [ALERT] Connection is closed. 13\r\n"));
        assert!(!played.text().contains("LOGOUT"));
        let refusal = refusal(played);
        assert_eq!((refusal.kind, refusal.stage), (RefusalKind::Transient, stage));
        assert_eq!(refusal.said, b"BYE [ALERT] Connection is closed. 13");
    }
}

/// Row 5, and what else no upstream may do.
#[test]
fn an_upstream_that_misbehaves_is_left() {
    let endless = format!("{OFFER}{}", "* OK still working\r\n".repeat(1000));
    let endless_lists = format!("{OFFER}{}", "* CAPABILITY IMAP4rev1\r\n".repeat(1000));
    let endless_literal = format!("{OFFER}* 1 FETCH (BODY[] {{4294967295}}\r\n");
    let endless_line = format!("{OFFER}* OK {}", "x".repeat(1_000_000));
    for sent in [
        "* PREAUTH [CAPABILITY IMAP4rev1] welcome back\r\n",
        "* NO busy\r\n",
        "* BAD busy\r\n",
        "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR\r\n* OK hi\r\n",
        "+ hi\r\n",
        "a OK hi\r\n",
        "x90 OK hi\r\n",
        "220 smtp.example.com ESMTP\r\n",
        "+OK POP3 ready\r\n",
        "\0* OK hi\r\n",
        "\u{e9}\u{e9} OK hi\r\n",
        "* OK hi\r\nx92 OK not yet\r\n",
        "* OK hi\r\n+ more\r\n",
        "* OK hi\r\n* PREAUTH in the middle\r\n",
        "* OK [CAPABILITY AUTH=XOAUTH2] hi\r\nx91 OK without a credential\r\n",
        "* OK [CAPABILITY AUTH=XOAUTH2 SASL-IR] hi\r\na1 OK another's\r\n",
        "* OK [CAPABILITY AUTH=XOAUTH2 SASL-IR] hi\r\nx91 OK hi\r\n+ more\r\n",
        &endless,
        &endless_lists,
        &endless_literal,
        &endless_line,
    ] {
        let played = listen(sent);
        assert!(matches!(played.ending, Some(Ending::Error(ProtoError::UpstreamMisbehaved(_)))), "{sent:.60}");
        assert_eq!(played.events, [], "{sent:.60}");
    }
}

#[test]
fn untagged_data_during_login_means_nothing() {
    let played = listen(format!(
        "{OFFER}* ID (\"name\" {{13}}\r\nx91 NO evil\r\n)\r\n* OK [ALERT] hello\r\n* NO x\r\n* X-YZ\r\n\
         x91 OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n"
    ));
    assert_eq!(played.events, [logged_in("IMAP4rev1 IDLE")]);
}

#[test]
fn a_login_stands_though_the_question_after_it_is_refused() {
    for answer in ["BAD User is authenticated but not connected.", "NO no", "OK nothing to list"] {
        let played = listen(format!("{OFFER}x91 OK hi\r\nx92 {answer}\r\n* BYE later"));
        assert_eq!(played.events, [logged_in("")], "{answer}");
        assert_eq!(played.left, b"* BYE later");
    }
}

#[test]
fn what_was_said_is_cut() {
    let played = listen(format!("{OFFER}x91 NO {}\r\n", "x".repeat(2000)));
    assert_eq!(refusal(played).said.len(), MAX_SAID);
}

#[test]
fn no_token_is_shown() {
    let shown = format!("{:?}", credential("user", "hunter2"));
    assert!(shown.contains("[redacted]") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn nothing_is_said_before_the_credential_is_there() {
    let played = play(machine(false), [OFFER.as_bytes(), b"x91 OK too soon\r\n"], |_| None);
    assert_eq!((played.text().as_str(), played.ending), ("", None));
    assert_eq!(played.events, [UpstreamEvent::CredentialWanted]);
}

#[test]
fn starttls_comes_first_where_it_is_demanded_and_what_was_heard_in_the_clear_is_forgotten() {
    let offer = "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nx92 OK done\r\n";
    for begin in [BEGIN_TLS, "x91 OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] begin\r\n"] {
        let played = listen_from_clear(&[CLEAR_OFFER, begin, offer, "+ \r\n", "x93 OK [CAPABILITY IMAP4rev1] hi\r\n"]);
        // SASL-IR is not offered any more.
        assert_eq!(
            played.text(),
            format!("x91 STARTTLS\r\nx92 CAPABILITY\r\nx93 AUTHENTICATE XOAUTH2\r\n{MESSAGE}\r\n")
        );
        assert_eq!((played.events, played.ending), (vec![logged_in("IMAP4rev1")], Some(Ending::Relay)));
    }
    let played = listen_from_clear(&[CLEAR_OFFER, BEGIN_TLS, "* CAPABILITY IMAP4rev1\r\nx92 OK done\r\n"]);
    assert_eq!(played.text(), "x91 STARTTLS\r\nx92 CAPABILITY\r\nx93 LOGOUT\r\n");
    assert_eq!(refusal(played).kind, RefusalKind::Unsupported);
}

#[test]
fn whether_there_is_starttls_is_asked_where_it_is_not_told() {
    let offer = "* CAPABILITY IMAP4 IMAP4rev1 LOGINDISABLED starttls UIDPLUS\r\nx91 OK CAPABILITY completed.\r\n";
    let tls_offer = "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\nx93 OK done\r\n";
    let played = listen_from_clear(&["* OK hi\r\n", offer, "x92 OK begin\r\n", tls_offer]);
    assert_eq!(
        played.text(),
        format!("x91 CAPABILITY\r\nx92 STARTTLS\r\nx93 CAPABILITY\r\nx94 AUTHENTICATE XOAUTH2 {MESSAGE}\r\n")
    );
}

/// Hostile case 3.
#[test]
fn without_starttls_no_token_is_sent() {
    use RefusalKind::{Policy, Transient, Unsupported};
    let answered = |answer: &'static str| vec![CLEAR_OFFER, answer];
    for (pieces, kind, stage) in [
        (vec![OFFER], Unsupported, "STARTTLS"),
        (vec!["* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n"], Unsupported, "STARTTLS"),
        (vec!["* OK hi\r\n", "* CAPABILITY SASL-IR AUTH=XOAUTH2\r\nx91 OK done\r\n"], Unsupported, "STARTTLS"),
        (vec!["* OK hi\r\n", "x91 OK no list\r\n"], Unsupported, "STARTTLS"),
        (vec!["* OK hi\r\n", "x91 NO [AUTHENTICATIONFAILED] no\r\n"], Transient, "CAPABILITY"),
        (answered("x91 NO TLS is not configured\r\n"), Unsupported, "STARTTLS"),
        (answered("x91 NO [UNAVAILABLE] TLS is not available now\r\n"), Transient, "STARTTLS"),
        (answered("x91 NO [CONTACTADMIN] no\r\n"), Policy, "STARTTLS"),
        (answered("x91 BAD Command Error. 12\r\n"), Transient, "STARTTLS"),
        // Whoever answers in the clear says nothing about the token or its mailbox.
        (answered("x91 NO [AUTHENTICATIONFAILED] no\r\n"), Transient, "STARTTLS"),
        (answered("x91 NO [AUTHORIZATIONFAILED] no\r\n"), Transient, "STARTTLS"),
        (answered("* BYE Connection is closed. 13\r\n"), Transient, "STARTTLS"),
    ] {
        let played = listen_from_clear(&pieces);
        assert!(!played.text().contains("AUTHENTICATE") && !played.text().contains(MESSAGE), "{}", played.text());
        let refusal = refusal(played);
        assert_eq!((refusal.kind, refusal.stage), (kind, stage), "{pieces:?}");
    }
    for pieces in [
        vec!["* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome back\r\n"],
        answered("* PREAUTH welcome back\r\n"),
        answered("+ go on\r\n"),
        answered("x90 OK not this one\r\n"),
        answered("x92 OK not yet\r\n"),
        answered("220 2.0.0 ready\r\n"),
    ] {
        let played = listen_from_clear(&pieces);
        assert!(matches!(played.ending, Some(Ending::Error(_))), "{pieces:?}");
        assert!(["", "x91 STARTTLS\r\n"].contains(&played.text().as_str()), "{}", played.text());
        assert_eq!(played.events, [], "{pieces:?}");
    }
}

/// Hostile case 2: CVE-2021-38371.
#[test]
fn octets_between_the_answer_to_starttls_and_the_handshake_end_it() {
    let offer = "* CAPABILITY SASL-IR AUTH=XOAUTH2\r\nx92 OK done\r\n";
    for behind in [offer, "* OK hi\r\n", "\r\n", "*"] {
        let played = listen_from_clear(&[CLEAR_OFFER, &format!("{BEGIN_TLS}{behind}"), offer]);
        assert_eq!(played.ending, Some(Ending::Error(OCTETS_BEFORE_TLS)), "{behind:?}");
        assert_eq!((played.text().as_str(), played.events), ("x91 STARTTLS\r\n", vec![]), "{behind:?}");
    }
}

/// What providers send, in any order.
fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n",
            "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n",
            "* CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER\r\n",
            "* OK [CAPABILITY IMAP4rev1 IDLE] x\r\n",
            "* LIST {5}\r\nx91 O)\r\n",
            "x91 OK hi\r\n",
            "x92 OK [CAPABILITY IMAP4rev1] hi\r\n",
            "x92 NO [AUTHENTICATIONFAILED] no\n",
            "x93 OK done\r\n",
            "+ e30=\r\n",
            "+\r\n",
            "* BYE\r\n",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
    ];
    let greeting = prop::sample::select(vec![
        "* OK hi\r\n",
        OFFER,
        CLEAR_OFFER,
        "* OK [CAPABILITY AUTH=XOAUTH2] hi\r\n",
        "* OK [CAPABILITY AUTH=OAUTHBEARER] hi\r\n",
        "",
    ]);
    (greeting, proptest::collection::vec(piece, 0..12))
        .prop_map(|(greeting, pieces)| [greeting.as_bytes(), &pieces.concat()].concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_dialogue(
        sent in dialogue(),
        sizes in proptest::collection::vec(1usize..40, 0..40),
    ) {
        prop_assert_eq!(listen_in(false, cut(&sent, &sizes)), listen(&sent));
        prop_assert_eq!(listen_in(false, sent.chunks(1)), listen(&sent));
    }

    /// What comes in the clear, up to the answer to STARTTLS, and what comes over TLS may each be cut anywhere.
    #[test]
    fn any_split_gives_the_same_dialogue_over_starttls(
        noise in prop::sample::select(vec!["", "* OK still here\r\n", "* CAPABILITY X\r\n", "* LIST {5}\r\nx91 O)\r\n"]),
        sent in dialogue(),
        sizes in proptest::collection::vec(1usize..40, 0..40),
    ) {
        let clear = [CLEAR_OFFER, noise, BEGIN_TLS].concat().into_bytes();
        let whole = listen_in(true, [clear.as_slice(), &sent]);
        prop_assert!(whole.text().starts_with("x91 STARTTLS\r\nx92 CAPABILITY\r\n"));
        prop_assert_eq!(listen_in(true, cut(&clear, &sizes).into_iter().chain(cut(&sent, &sizes))), whole);
    }

    #[test]
    fn in_the_clear_no_credential_is_asked_for_whatever_the_server_says(
        sent in dialogue(),
        sizes in proptest::collection::vec(1usize..40, 0..40),
    ) {
        let (out, events) = play_in_clear(machine(true), cut(&sent, &sizes));
        prop_assert!(!events.contains(&UpstreamEvent::CredentialWanted), "{:?}", events);
        prop_assert!(!String::from_utf8_lossy(&out).contains("AUTHENTICATE"));
    }

    #[test]
    fn no_octets_break_it_and_it_says_little(sent in proptest::collection::vec(any::<u8>(), 0..500)) {
        for before in ["", OFFER] {
            let played = listen([before.as_bytes(), &sent].concat());
            prop_assert!(played.out.len() < 300, "{}", played.text());
        }
    }
}
