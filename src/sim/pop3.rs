//! The POP3 server (RFC 1939, 2449, 2595, 5034), with TLS from the first octet or by STLS.

use std::collections::HashSet;
use std::sync::Arc;

use super::Personality;
use super::faults::{Moment, Refusal};
use super::login::{self, Verdict};
use super::mailbox::{Folder, INBOX, Mailbox, Message};
use super::sasl::Mechanism;
use super::wire::{Flow, Wire};

/// RFC 2449 section 4, CRLF included.
const COMMAND_LIMIT: usize = 255;

/// Serves one connection.
pub(super) async fn serve(wire: &mut Wire) -> Flow<()> {
    wire.pass(Moment::Accepted).await?;
    let tls = !wire.shared.options.starttls;
    if tls {
        wire.start_tls().await?;
    }
    let personality = wire.shared.options.personality;
    if !wire.answered_otherwise(Moment::GreetingDue, "").await? {
        wire.say(match personality {
            Personality::Microsoft => "+OK The Microsoft Exchange POP3 service is ready. [UwBJAE0A]",
            Personality::Dovecot => "+OK Dovecot ready.",
            Personality::Gmail => "+OK Gpop ready for requests from 127.0.0.1 a640c23a62f3a",
        });
    }
    wire.pass(Moment::Greeted).await?;
    let mut session = Session { wire, personality, tls, open: None };
    while session.command().await? == Next::Command {}
    Ok(())
}

/// Whether the dialogue goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Command,
    Hangup,
}

struct Session<'a> {
    wire: &'a mut Wire,
    personality: Personality,
    tls: bool,
    /// `None` before the login.
    open: Option<Maildrop>,
}

/// A mailbox as it was when it was opened (RFC 1939 section 4), and what is to be deleted from it at QUIT.
struct Maildrop {
    mailbox: Arc<Mailbox>,
    messages: Vec<Message>,
    deleted: HashSet<usize>,
}

impl Session<'_> {
    async fn command(&mut self) -> Flow<Next> {
        let Ok(line) = self.wire.line(COMMAND_LIMIT).await? else { return self.protocol_error() };
        let Ok(line) = String::from_utf8(line) else { return self.protocol_error() };
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        match (verb.to_ascii_uppercase().as_str(), argument, &self.open) {
            ("CAPA", "", _) => self.capabilities().await,
            ("STLS", "", None) => self.start_tls().await,
            ("AUTH", _, None) if !self.tls => {
                self.wire.violation("a login was tried in the clear");
                Ok(self.say("-ERR [SYS/PERM] STLS comes first."))
            }
            ("AUTH", _, None) => self.auth(argument).await,
            ("USER" | "PASS", _, None) => Ok(self.breach("-ERR Logon failure: unknown user name or bad password.")),
            ("QUIT", "", _) => Ok(self.quit()),
            (verb, _, Some(_)) => {
                if self.wire.answered_otherwise(Moment::CommandDue, "").await? {
                    return Ok(Next::Command);
                }
                Ok(self.transaction(verb, argument))
            }
            _ => Ok(self.breach("-ERR Command is not valid in this state.")),
        }
    }

    async fn capabilities(&mut self) -> Flow<Next> {
        if self.wire.answered_otherwise(Moment::CapabilitiesDue, "").await? {
            return Ok(Next::Command);
        }
        let lines: &[&str] = match (self.personality, self.tls) {
            (Personality::Microsoft, false) => &["TOP", "UIDL", "STLS"],
            (Personality::Microsoft, true) => &["TOP", "UIDL", "SASL PLAIN XOAUTH2", "USER"],
            (Personality::Dovecot, false) => {
                &["CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE", "STLS"]
            }
            (Personality::Dovecot, true) => {
                &["CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE", "SASL XOAUTH2"]
            }
            (Personality::Gmail, false) => &["RESP-CODES", "EXPIRE 0", "LOGIN-DELAY 300", "TOP", "UIDL", "STLS"],
            (Personality::Gmail, true) => {
                &["USER", "RESP-CODES", "EXPIRE 0", "LOGIN-DELAY 300", "TOP", "UIDL", "SASL PLAIN XOAUTH2 OAUTHBEARER"]
            }
        };
        self.say("+OK");
        for line in lines {
            let keyword = line.split(' ').next().unwrap_or_default();
            if !self.withheld(keyword) {
                let line = login::offer(&self.wire.shared, line, "");
                self.say(&line);
            }
        }
        self.say(".");
        self.wire.pass(Moment::CapabilitiesSaid).await?;
        Ok(Next::Command)
    }

    /// RFC 2595 section 4.
    async fn start_tls(&mut self) -> Flow<Next> {
        if self.tls || self.withheld("STLS") {
            return Ok(self.breach("-ERR Command is not valid in this state."));
        }
        if self.wire.answered_otherwise(Moment::StartTlsDue, "").await? {
            return Ok(Next::Command);
        }
        self.say("+OK Begin TLS negotiation now.");
        self.wire.pass(Moment::StartTlsAnswered).await?;
        self.wire.start_tls().await?;
        self.tls = true;
        self.wire.pass(Moment::TlsReady).await?;
        Ok(Next::Command)
    }

    fn withheld(&self, keyword: &str) -> bool {
        self.wire.shared.plan.withholds(self.wire.protocol, keyword)
    }

    async fn auth(&mut self, argument: &str) -> Flow<Next> {
        if self.wire.answered_otherwise(Moment::AuthDue, "").await? {
            return Ok(Next::Command);
        }
        let (name, initial) = argument.split_once(' ').map_or((argument, None), |(name, ir)| (name, Some(ir)));
        let Some(mechanism) = login::mechanism(&self.wire.shared, name) else {
            // Who has not asked for CAPA finds out this way (RFC 5034 section 4).
            return Ok(self.say("-ERR Authentication mechanism is not supported."));
        };
        let response = match (initial, self.personality) {
            (Some(_), Personality::Microsoft) => return self.protocol_error(),
            (Some(initial), Personality::Dovecot | Personality::Gmail) => initial.as_bytes().to_vec(),
            (None, _) => {
                self.say("+ ");
                match self.wire.credential_line(login::response_limit(self.personality)).await? {
                    Ok(response) => response,
                    Err(_) => return self.protocol_error(),
                }
            }
        };
        if self.wire.answered_otherwise(Moment::CredentialsRead, "").await? {
            return Ok(Next::Command);
        }
        if response == b"*" {
            return Ok(self.say("-ERR Authentication aborted by client."));
        }
        match login::judge(&self.wire.shared, self.wire.protocol, mechanism, &response) {
            Verdict::Opened { mailbox, .. } => {
                let messages = mailbox.folder(INBOX, |inbox| inbox.messages.clone()).unwrap_or_default();
                self.open = Some(Maildrop { mailbox, messages, deleted: HashSet::new() });
                self.say(match self.personality {
                    Personality::Microsoft => "+OK User successfully authenticated.",
                    Personality::Dovecot => "+OK Logged in.",
                    Personality::Gmail => "+OK Welcome.",
                });
                self.wire.pass(Moment::LoggedIn).await?;
            }
            Verdict::Refused(refusal) => self.refuse(mechanism, refusal, &response).await?,
            Verdict::Malformed(_) => self.refuse(mechanism, Refusal::Token, &response).await?,
        }
        Ok(Next::Command)
    }

    async fn refuse(&mut self, mechanism: Mechanism, refusal: Refusal, response: &[u8]) -> Flow<()> {
        if login::challenges(self.personality, mechanism, refusal) {
            self.say(&format!("+ {}", login::challenge(self.personality, mechanism, refusal, response)));
            let answer = self.wire.line(COMMAND_LIMIT).await?.ok();
            if answer.as_deref() == Some(b"*") {
                self.say("-ERR Authentication aborted by client.");
                return Ok(());
            }
            login::check_dismissal(&self.wire.shared, self.wire.protocol, mechanism, answer.as_deref());
        }
        let words = match (refusal, self.personality) {
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Microsoft) => {
                "-ERR Authentication failure: unknown user name or bad password."
            }
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Dovecot) => {
                "-ERR [AUTH] Authentication failed."
            }
            (Refusal::Token | Refusal::TokenWithChallenge | Refusal::Echo, Personality::Gmail) => {
                "-ERR [AUTH] Username and password not accepted."
            }
            (Refusal::Policy, _) => "-ERR [SYS/PERM] POP3 is disabled for this mailbox.",
            (Refusal::Rights, _) => "-ERR [SYS/PERM] No rights on this mailbox.",
            (Refusal::Temporary, _) => "-ERR [SYS/TEMP] Temporary authentication failure.",
        };
        self.say(&login::refused(refusal, words, response));
        Ok(())
    }

    /// A command on an open maildrop.
    fn transaction(&mut self, verb: &str, argument: &str) -> Next {
        let Some(maildrop) = &mut self.open else { return Next::Command };
        let numbers: Option<Vec<usize>> = match argument {
            "" => Some(Vec::new()),
            some => some.split(' ').map(|number| number.parse().ok()).collect(),
        };
        let answer = match (verb, numbers.as_deref()) {
            ("NOOP", Some([])) => Some(line("+OK")),
            ("STAT", Some([])) => {
                let (count, octets) = maildrop
                    .present()
                    .fold((0, 0), |(n, sum), (_, m)| (n + 1, sum + m.octets.len()));
                Some(line(format!("+OK {count} {octets}")))
            }
            ("RSET", Some([])) => {
                maildrop.deleted.clear();
                Some(line("+OK"))
            }
            ("LIST", Some([])) => Some(maildrop.listing(|message| message.octets.len().to_string())),
            ("LIST", Some(&[number])) => maildrop.get(number).map(|m| line(format!("+OK {number} {}", m.octets.len()))),
            ("UIDL", Some([])) => Some(maildrop.listing(unique_id)),
            ("UIDL", Some(&[number])) => maildrop.get(number).map(|m| line(format!("+OK {number} {}", unique_id(m)))),
            ("DELE", Some(&[number])) => maildrop.get(number).is_some().then(|| {
                maildrop.deleted.insert(number);
                line("+OK")
            }),
            ("RETR", Some(&[number])) => maildrop.get(number).map(|message| retrieved(&message.octets)),
            ("TOP", Some(&[number, lines])) => {
                maildrop.get(number).map(|message| retrieved(top(&message.octets, lines)))
            }
            _ => return self.breach("-ERR Protocol error."),
        };
        match answer {
            Some((first, rest)) => {
                self.say(&first);
                self.wire.put(&rest);
                Next::Command
            }
            None => self.say("-ERR The specified message is out of range."),
        }
    }

    /// RFC 1939 section 6: what was marked is deleted only now.
    fn quit(&mut self) -> Next {
        if let Some(maildrop) = self.open.take() {
            let gone: HashSet<u32> = maildrop
                .deleted
                .iter()
                .map(|number| maildrop.messages[number - 1].uid)
                .collect();
            let delete = |inbox: &mut Folder| inbox.messages.retain(|message| !gone.contains(&message.uid));
            maildrop.mailbox.folder(INBOX, delete);
            maildrop.mailbox.ring();
        }
        self.say(match self.personality {
            Personality::Microsoft => "+OK Microsoft Exchange Server POP3 server signing off.",
            Personality::Dovecot => "+OK Logging out.",
            Personality::Gmail => "+OK Farewell.",
        });
        Next::Hangup
    }

    fn protocol_error(&mut self) -> Flow<Next> {
        self.breach("-ERR Protocol error. Connection is closed. 10");
        Ok(Next::Hangup)
    }

    fn say(&mut self, line: &str) -> Next {
        self.wire.say(line);
        Next::Command
    }

    /// Answers a command that a client in order does not send.
    fn breach(&mut self, reply: &str) -> Next {
        self.wire.violation(&format!("answered with {reply}"));
        self.say(reply)
    }
}

impl Maildrop {
    /// The messages not marked as deleted, with their numbers.
    fn present(&self) -> impl Iterator<Item = (usize, &Message)> {
        let numbered = self.messages.iter().enumerate().map(|(at, message)| (at + 1, message));
        numbered.filter(|(number, _)| !self.deleted.contains(number))
    }

    fn get(&self, number: usize) -> Option<&Message> {
        self.present().find(|&(this, _)| this == number).map(|(_, message)| message)
    }

    fn listing(&self, show: impl Fn(&Message) -> String) -> Answer {
        let lines: String = self
            .present()
            .map(|(number, message)| format!("{number} {}\r\n", show(message)))
            .collect();
        ("+OK".into(), format!("{lines}.\r\n").into_bytes())
    }
}

/// A first line, and what follows it.
type Answer = (String, Vec<u8>);

fn line(text: impl Into<String>) -> Answer {
    (text.into(), Vec::new())
}

fn unique_id(message: &Message) -> String {
    format!("SIM{:08X}", message.uid)
}

/// A message as a multi-line answer, with a dot more where a line begins with one (RFC 1939 section 3).
fn retrieved(octets: &[u8]) -> Answer {
    let mut data = Vec::with_capacity(octets.len() + 5);
    let mut line_begins = true;
    for &octet in octets {
        if line_begins && octet == b'.' {
            data.push(b'.');
        }
        data.push(octet);
        line_begins = data.ends_with(b"\r\n");
    }
    if !line_begins {
        data.extend_from_slice(b"\r\n");
    }
    data.extend_from_slice(b".\r\n");
    (format!("+OK {} octets", octets.len()), data)
}

/// The header, the empty line and so many lines of the body.
fn top(octets: &[u8], lines: usize) -> &[u8] {
    let ends = |from: usize| {
        octets[from..]
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .map(|at| from + at + 2)
    };
    let header = octets
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .map_or(octets.len(), |at| at + 4);
    let end = (0..lines).try_fold(header, |from, _| ends(from));
    &octets[..end.unwrap_or(octets.len())]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANN, Client, in_clear, logged_in, simulator, token, xoauth2};
    use super::super::{Fault, Protocol};
    use super::*;

    #[tokio::test]
    async fn exchange_closes_on_a_response_in_the_command() {
        let exchange = simulator(Personality::Microsoft).await;
        let response = xoauth2(ANN, &token(&exchange).await);
        for sent in ["AUTH XOAUTH2 dXNlcg==\r\n".into(), format!("AUTH XOAUTH2 {response}\r\n")] {
            let mut pop3 = Client::open(&exchange, Protocol::Pop3).await;
            pop3.until("+OK The Microsoft Exchange POP3 service is ready.").await;
            pop3.send(sent).await;
            assert_eq!(pop3.rest().await, "-ERR Protocol error. Connection is closed. 10\r\n");
        }
        assert_eq!(exchange.control().logins_ok(Protocol::Pop3), 0);
    }

    #[tokio::test]
    async fn stls_comes_before_any_login() {
        let dovecot = in_clear(Personality::Dovecot).await;
        let mut pop3 = Client::connect(dovecot.pop3()).await;
        pop3.until("+OK Dovecot ready.").await;
        let capabilities = pop3.ask("CAPA\r\n", ".").await;
        assert!(capabilities.contains("\r\nSTLS\r\n") && !capabilities.contains("SASL"), "{capabilities}");
        pop3.ask("STLS\r\n", "+OK").await;
        let mut pop3 = pop3.tls(&dovecot).await.unwrap();
        let capabilities = pop3.ask("CAPA\r\n", ".").await;
        assert!(!capabilities.contains("STLS") && capabilities.contains("SASL XOAUTH2"), "{capabilities}");
        pop3.ask("AUTH XOAUTH2\r\n", "+ ").await;
        pop3.ask(format!("{}\r\n", xoauth2(ANN, &token(&dovecot).await)), "+OK").await;
        assert_eq!(dovecot.control().violations(), Vec::<String>::new());
        pop3.ask("STLS\r\n", "-ERR").await;

        let mut pop3 = Client::connect(dovecot.pop3()).await;
        pop3.until("+OK").await;
        pop3.ask("AUTH XOAUTH2\r\n", "-ERR [SYS/PERM]").await;
        assert!(
            dovecot
                .control()
                .violations()
                .contains(&"Pop3: a login was tried in the clear".into())
        );
        dovecot.control().fail(Protocol::Pop3, Fault::Withhold("STLS"));
        assert!(!pop3.ask("CAPA\r\n", ".").await.contains("STLS"));
        pop3.ask("STLS\r\n", "-ERR").await;
    }

    #[tokio::test]
    async fn capabilities_and_states() {
        let exchange = simulator(Personality::Microsoft).await;
        let mut pop3 = Client::open(&exchange, Protocol::Pop3).await;
        pop3.until("+OK").await;
        assert_eq!(pop3.ask("CAPA\r\n", ".").await, "+OK\r\nTOP\r\nUIDL\r\nSASL PLAIN XOAUTH2\r\nUSER\r\n.\r\n");
        pop3.ask("STAT\r\n", "-ERR Command is not valid in this state.").await;
        pop3.ask("STLS\r\n", "-ERR Command is not valid in this state.").await;
        pop3.ask("AUTH PLAIN\r\n", "-ERR").await;
        pop3.ask("AUTH XOAUTH2\r\n", "+ ").await;
        pop3.ask("*\r\n", "-ERR").await;
        pop3.ask("QUIT\r\n", "+OK").await;
        assert_eq!(pop3.rest().await, "");
    }

    #[tokio::test]
    async fn a_maildrop_is_read_and_emptied_at_quit() {
        let exchange = simulator(Personality::Microsoft).await;
        let control = exchange.control();
        assert!(control.deliver(ANN, b"A: b\r\n\r\n.x\r\ny\r\n") && control.deliver(ANN, b"two\r\n"));
        let mut pop3 = logged_in(&exchange, Protocol::Pop3).await;
        assert_eq!(pop3.ask("STAT\r\n", "").await, "+OK 2 20\r\n");
        assert_eq!(pop3.ask("LIST\r\n", ".").await, "+OK\r\n1 15\r\n2 5\r\n.\r\n");
        assert_eq!(pop3.ask("UIDL 2\r\n", "").await, "+OK 2 SIM00000002\r\n");
        assert_eq!(pop3.ask("TOP 1 1\r\n", ".\r").await, "+OK 12 octets\r\nA: b\r\n\r\n..x\r\n.\r\n");
        pop3.ask("DELE 1\r\n", "+OK").await;
        pop3.ask("RETR 1\r\n", "-ERR").await;
        assert_eq!(pop3.ask("STAT\r\n", "").await, "+OK 1 5\r\n");
        pop3.ask("RSET\r\n", "+OK").await;
        pop3.ask("DELE 2\r\n", "+OK").await;
        assert_eq!(control.messages(ANN).len(), 2);
        pop3.ask("QUIT\r\n", "+OK").await;
        assert_eq!(pop3.rest().await, "");
        assert_eq!(control.messages(ANN), [b"A: b\r\n\r\n.x\r\ny\r\n"]);
        assert_eq!(control.violations(), Vec::<String>::new());
    }

    #[test]
    fn a_message_is_stuffed_and_ended() {
        assert_eq!(
            retrieved(b".a\r\n..\r\nx.\n.b"),
            ("+OK 13 octets".into(), b"..a\r\n...\r\nx.\n.b\r\n.\r\n".to_vec())
        );
        assert_eq!(retrieved(b"").1, b".\r\n");
    }

    #[test]
    fn top_takes_lines_of_the_body() {
        let message = b"A: b\r\n\r\none\r\ntwo\r\nthree";
        assert_eq!(top(message, 0), b"A: b\r\n\r\n");
        assert_eq!(top(message, 1), b"A: b\r\n\r\none\r\n");
        assert_eq!(top(message, 9), message);
    }
}
