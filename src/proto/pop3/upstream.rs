//! POP3 to a provider: greeting, STLS where it is demanded (RFC 2595 section 4), AUTH XOAUTH2 in two steps, outcome. It
//! never asks for capabilities: a provider reached over POP3 has what is needed or is of no use.

use std::mem;

use super::response::Response;
use crate::proto::line::Line;
use crate::proto::sasl::xoauth2;
use crate::proto::{
    CloseReason, Credential, Input, Machine, OCTETS_BEFORE_TLS, ProtoError, RefusalKind, Step, UpstreamEvent,
    UpstreamRefusal, said,
};

/// The longest line taken from an upstream, its end included, in octets. RFC 2449 section 4 says 512; a challenge of
/// JSON in base64 may be longer.
pub const MAX_RESPONSE_LINE: usize = 4096;

/// What is to be done at the provider.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Whether STLS is demanded. If not, the channel is fit for a token as it is.
    pub starttls: bool,
}

/// The machine. Every line leads to a later state, so the dialogue has five lines of the upstream at most.
#[derive(Debug)]
pub struct Upstream {
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitingGreeting {
        starttls: bool,
    },
    /// STLS was sent.
    AwaitingTls,
    /// The driver does the handshake. Nothing has been learnt before it that would have to be forgotten.
    Handshaking,
    /// AUTH was sent.
    AwaitingGoAhead,
    /// The session has been asked for the credential.
    AwaitingCredential,
    AwaitingOutcome,
    AwaitingRefusal {
        challenge: Vec<u8>,
    },
    LoggedIn,
    /// The session is still to be told.
    Refusing(UpstreamRefusal),
    /// The session knows; the upstream is still to be told goodbye.
    Refused,
    Ended,
}

/// The next state, and the step to return now, if any.
type Turn = (State, Option<Step<UpstreamEvent<()>>>);

impl Upstream {
    /// A machine that waits for the greeting.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { state: State::AwaitingGreeting { starttls: plan.starttls } }
    }
}

impl Machine for Upstream {
    type Event = UpstreamEvent<()>;
    type Answer = Credential;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<Self::Event>, ProtoError> {
        loop {
            // An error ends the dialogue, so it does not matter that it leaves the machine in this state.
            let (state, step) = match mem::replace(&mut self.state, State::Ended) {
                State::Handshaking => (say_auth(out), None),
                State::AwaitingCredential => (State::AwaitingCredential, Some(Step::NeedInput)),
                State::LoggedIn => (State::LoggedIn, Some(Step::Relay)),
                State::Refusing(refusal) => (State::Refused, Some(Step::Event(UpstreamEvent::Refused(refusal)))),
                State::Refused => {
                    // Its answer is not awaited: nothing it could say matters.
                    out.extend_from_slice(b"QUIT\r\n");
                    (State::Ended, Some(Step::Close(CloseReason::Refused)))
                }
                State::Ended => (State::Ended, Some(Step::Close(CloseReason::Refused))),
                waiting => match read_line(input)? {
                    Some(line) => waiting.on_line(&line, out)?,
                    None => (waiting, Some(Step::NeedInput)),
                },
            };
            if step == Some(Step::StartTls) && !input.is_empty() {
                return Err(OCTETS_BEFORE_TLS);
            }
            self.state = state;
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    fn answer(&mut self, credential: Credential, out: &mut Vec<u8>) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::AwaitingCredential => send_token(&credential, out),
            unasked => unasked,
        };
    }
}

fn read_line(input: &mut Input) -> Result<Option<Line>, ProtoError> {
    input
        .line(MAX_RESPONSE_LINE)
        .map_err(|_| ProtoError::UpstreamMisbehaved("a response line of more than 4096 octets"))
}

impl State {
    fn on_line(self, line: &[u8], out: &mut Vec<u8>) -> Result<Turn, ProtoError> {
        let response = Response::parse(line)?;
        match (self, response) {
            (Self::AwaitingGreeting { starttls: true }, Response::Ok) => {
                out.extend_from_slice(b"STLS\r\n");
                Ok((Self::AwaitingTls, None))
            }
            (Self::AwaitingGreeting { starttls: false }, Response::Ok) => Ok((say_auth(out), None)),
            (Self::AwaitingGreeting { .. }, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Transient), "greeting", line, None))
            }
            (Self::AwaitingTls, Response::Ok) => Ok((Self::Handshaking, Some(Step::StartTls))),
            (Self::AwaitingTls, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Unsupported), "STLS", line, None))
            }
            (Self::AwaitingGoAhead, Response::Continue(_)) => {
                Ok((Self::AwaitingCredential, Some(Step::Event(UpstreamEvent::CredentialWanted))))
            }
            (Self::AwaitingGoAhead, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Unsupported), AUTH, line, None))
            }
            (Self::AwaitingOutcome, Response::Ok) => {
                Ok((Self::LoggedIn, Some(Step::Event(UpstreamEvent::LoggedIn(())))))
            }
            (Self::AwaitingOutcome, Response::Continue(challenge)) => {
                // The challenge says why it failed; only our empty line brings the -ERR.
                out.extend_from_slice(b"\r\n");
                Ok((Self::AwaitingRefusal { challenge: xoauth2::decode_challenge(challenge) }, None))
            }
            (Self::AwaitingOutcome, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Token), AUTH, line, None))
            }
            (Self::AwaitingRefusal { challenge }, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Token), AUTH, line, Some(challenge)))
            }
            (Self::AwaitingRefusal { .. }, Response::Continue(_)) => {
                out.extend_from_slice(b"*\r\n");
                Err(ProtoError::UpstreamMisbehaved("a second challenge after XOAUTH2 had failed"))
            }
            _ => Err(ProtoError::UpstreamMisbehaved("a POP3 response out of place")),
        }
    }
}

/// The command, and in the log the stage of the dialogue.
const AUTH: &str = "AUTH XOAUTH2";

/// Never with an initial response: Microsoft closes the connection at a line this long.
fn say_auth(out: &mut Vec<u8>) -> State {
    out.extend_from_slice(AUTH.as_bytes());
    out.extend_from_slice(b"\r\n");
    State::AwaitingGoAhead
}

fn send_token(Credential { user, token }: &Credential, out: &mut Vec<u8>) -> State {
    let Some(message) = xoauth2::encode(user, token) else {
        out.extend_from_slice(b"*\r\n");
        let why = b"not tried: the mailbox's address is empty or holds a control character";
        return State::Refusing(refusal(RefusalKind::Policy, AUTH, why, None));
    };
    // At once, so that no growth of the buffer leaves a copy of the token behind.
    out.reserve(message.len() + 2);
    out.extend_from_slice(message.as_bytes());
    out.extend_from_slice(b"\r\n");
    State::AwaitingOutcome
}

fn refusal(kind: RefusalKind, stage: &'static str, line: &[u8], challenge: Option<Vec<u8>>) -> UpstreamRefusal {
    UpstreamRefusal { kind, stage, said: said(line), challenge }
}

fn refused(kind: RefusalKind, stage: &'static str, line: &[u8], challenge: Option<Vec<u8>>) -> Turn {
    (State::Refusing(refusal(kind, stage, line, challenge)), None)
}

/// Whose fault a refusal is: the code says it (RFC 2449 section 8.1, RFC 3206), or else the point it came at. `AUTH` is
/// no word of its own here: before the token was sent it cannot mean the token, after it nothing else is meant.
fn kind(code: Option<&[u8]>, otherwise: RefusalKind) -> RefusalKind {
    match code.map(<[u8]>::to_ascii_uppercase).as_deref() {
        Some(b"SYS/TEMP" | b"IN-USE" | b"LOGIN-DELAY") => RefusalKind::Transient,
        Some(b"SYS/PERM") => RefusalKind::Policy,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
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
        Credential { user: user.into(), token: AccessToken::parse("token".into()).unwrap() }
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
            assert_eq!(refusal(&played(&["+OK\r\n", &err])).kind, before, "{code}");
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
            prop_assert!(whole.out.len() < 200);
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
}
