//! POP3 to a provider: greeting, AUTH XOAUTH2 in two steps, outcome. It never asks for capabilities: a provider reached
//! over POP3 has XOAUTH2 or is of no use.

use std::convert::Infallible;
use std::mem;

use super::response::Response;
use crate::proto::sasl::xoauth2;
use crate::proto::{
    CloseReason, Credential, Input, Machine, ProtoError, RefusalKind, Step, UpstreamEvent, UpstreamRefusal, said,
};

/// The longest line taken from an upstream, its end included, in octets. RFC 2449 section 4 says 512; a challenge of
/// JSON in base64 may be longer.
pub const MAX_RESPONSE_LINE: usize = 4096;

/// What is to be done at the provider.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whom to log in.
    pub credential: Credential,
}

/// The machine. Every line leads to a later state, so the dialogue has four lines of the upstream at most.
#[derive(Debug)]
pub struct Upstream {
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitingGreeting {
        credential: Credential,
    },
    AwaitingGoAhead {
        credential: Credential,
    },
    AwaitingOutcome,
    AwaitingRefusal {
        challenge: Vec<u8>,
    },
    LoggedIn,
    /// The session knows; the upstream is still to be told goodbye.
    Refused,
    Ended,
}

type Outcome = (State, Option<UpstreamEvent<()>>);

impl Upstream {
    /// A machine that waits for the greeting.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { state: State::AwaitingGreeting { credential: plan.credential } }
    }
}

impl Machine for Upstream {
    type Event = UpstreamEvent<()>;
    type Answer = Infallible;

    fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step<Self::Event>, ProtoError> {
        loop {
            match self.state {
                State::LoggedIn => return Ok(Step::Relay),
                State::Refused => {
                    // Its answer is not awaited: nothing it could say matters.
                    out.extend_from_slice(b"QUIT\r\n");
                    self.state = State::Ended;
                    return Ok(Step::Close(CloseReason::Refused));
                }
                State::Ended => return Ok(Step::Close(CloseReason::Refused)),
                _ => {}
            }
            let line = input
                .line(MAX_RESPONSE_LINE)
                .map_err(|_| ProtoError::UpstreamMisbehaved("a response line of more than 4096 octets"))?;
            let Some(line) = line else { return Ok(Step::NeedInput) };
            // An error ends the dialogue, so it does not matter that it leaves the machine in this state.
            let state = mem::replace(&mut self.state, State::Ended);
            let (state, event) = state.on_line(&line, out)?;
            self.state = state;
            if let Some(event) = event {
                return Ok(Step::Event(event));
            }
        }
    }

    fn answer(&mut self, answer: Infallible, _: &mut Vec<u8>) {
        match answer {}
    }
}

impl State {
    fn on_line(self, line: &[u8], out: &mut Vec<u8>) -> Result<Outcome, ProtoError> {
        let response = Response::parse(line)?;
        match (self, response) {
            (Self::AwaitingGreeting { credential }, Response::Ok) => {
                // Never with an initial response: Microsoft closes the connection at a line this long.
                out.extend_from_slice(b"AUTH XOAUTH2\r\n");
                Ok((Self::AwaitingGoAhead { credential }, None))
            }
            (Self::AwaitingGreeting { .. }, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Transient), "greeting", line, None))
            }
            (Self::AwaitingGoAhead { credential }, Response::Continue(_)) => Ok(send_token(&credential, out)),
            (Self::AwaitingGoAhead { .. }, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Unsupported), STAGE, line, None))
            }
            (Self::AwaitingOutcome, Response::Ok) => Ok((Self::LoggedIn, Some(UpstreamEvent::LoggedIn(())))),
            (Self::AwaitingOutcome, Response::Continue(challenge)) => {
                // The challenge says why it failed; only our empty line brings the -ERR.
                out.extend_from_slice(b"\r\n");
                Ok((Self::AwaitingRefusal { challenge: xoauth2::decode_challenge(challenge) }, None))
            }
            (Self::AwaitingOutcome, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Token), STAGE, line, None))
            }
            (Self::AwaitingRefusal { challenge }, Response::Err { code }) => {
                Ok(refused(kind(code, RefusalKind::Token), STAGE, line, Some(challenge)))
            }
            (Self::AwaitingRefusal { .. }, Response::Continue(_)) => {
                out.extend_from_slice(b"*\r\n");
                Err(ProtoError::UpstreamMisbehaved("a second challenge after XOAUTH2 had failed"))
            }
            _ => Err(ProtoError::UpstreamMisbehaved("a POP3 response out of place")),
        }
    }
}

const STAGE: &str = "AUTH XOAUTH2";

fn send_token(credential: &Credential, out: &mut Vec<u8>) -> Outcome {
    let Some(message) = xoauth2::encode(&credential.user, &credential.token) else {
        out.extend_from_slice(b"*\r\n");
        let why = b"not tried: the mailbox's address is empty or holds a control character";
        return refused(RefusalKind::Policy, STAGE, why, None);
    };
    // At once, so that no growth of the buffer leaves a copy of the token behind.
    out.reserve(message.len() + 2);
    out.extend_from_slice(message.as_bytes());
    out.extend_from_slice(b"\r\n");
    (State::AwaitingOutcome, None)
}

fn refused(kind: RefusalKind, stage: &'static str, line: &[u8], challenge: Option<Vec<u8>>) -> Outcome {
    let refusal = UpstreamRefusal { kind, stage, said: said(line), challenge };
    (State::Refused, Some(UpstreamEvent::Refused(refusal)))
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
    use crate::proto::play::{Ending, Played, cut, play};
    use crate::secret::AccessToken;

    const GREETING: &str = "+OK The Microsoft Exchange POP3 service is ready. [RgBSAA==]\r\n";
    const MESSAGE: &str = "dXNlcj11c2VyQGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRva2VuAQE=";

    fn upstream(user: &str) -> Upstream {
        let token = AccessToken::parse("token".into()).unwrap();
        Upstream::new(Plan { credential: Credential { user: user.into(), token } })
    }

    fn played(lines: &[&str]) -> Played<UpstreamEvent<()>> {
        let octets = lines.concat().into_bytes();
        play(upstream("user@example.com"), [octets.as_slice()], |_| None)
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
        let played = play(upstream("a\x01user=b"), [&b"+OK\r\n+\r\n"[..]], |_| None);
        assert_eq!(played.text(), "AUTH XOAUTH2\r\n*\r\nQUIT\r\n");
        assert_eq!(refusal(&played).kind, RefusalKind::Policy);
    }

    #[test]
    fn debug_shows_no_token() {
        let token = AccessToken::parse("hunter2".into()).unwrap();
        let mut machine = Upstream::new(Plan { credential: Credential { user: "user@example.com".into(), token } });
        let mut input = Input::new();
        input.extend(b"+OK\r\n");
        machine.advance(&mut input, &mut Vec::new()).unwrap();
        let shown = format!("{machine:?}");
        assert!(shown.contains("[redacted]") && !shown.contains("hunter2"), "{shown}");
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
            let whole = play(upstream("u@example.com"), [octets.as_slice()], |_| None);
            prop_assert!(whole.out.len() < 200);
            prop_assert_eq!(play(upstream("u@example.com"), cut(&octets, &sizes), |_| None), whole);
        }
    }
}
