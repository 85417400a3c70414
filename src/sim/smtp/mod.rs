//! The SMTP server up to the login (RFC 5321, 3207, 4954): greeting, EHLO, STARTTLS, AUTH.

mod data;
mod mail;
mod path;
#[cfg(test)]
mod tests;
mod voice;

use super::Personality;
use super::faults::{Moment, Refusal};
use super::login::{self, Verdict};
use super::sasl::{Malformed, Mechanism};
use super::wire::{BadLine, Flow, Wire};
use mail::Transaction;
use voice::Voice;

/// RFC 5321 section 4.5.3.1.4, CRLF included; AUTH with an initial response is held to it too (RFC 4954 section 4).
const COMMAND_LIMIT: usize = 512;

/// MAIL and RCPT may be longer by what the extensions add (RFC 1870, 3461, 4954, 6531).
const MAIL_LIMIT: usize = 2048;

/// Serves one connection.
pub(super) async fn serve(wire: &mut Wire) -> Flow<()> {
    wire.pass(Moment::Accepted).await?;
    let voice = Voice::new(wire.shared.options.personality);
    if !wire.answered_otherwise(Moment::GreetingDue, "").await? {
        wire.say(&voice.greeting());
    }
    wire.pass(Moment::Greeted).await?;
    let mut session = Session { wire, voice, tls: false, greeted: false, account: None, transaction: None };
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
    voice: Voice,
    tls: bool,
    /// Whether EHLO or HELO came since the beginning or since STARTTLS.
    greeted: bool,
    account: Option<String>,
    transaction: Option<Transaction>,
}

impl Session<'_> {
    /// Reads and answers one command.
    async fn command(&mut self) -> Flow<Next> {
        let line = match self.wire.line(MAIL_LIMIT).await? {
            Ok(line) => line,
            Err(BadLine::TooLong { .. }) => return Ok(self.say("500 5.5.2 Line too long")),
            Err(BadLine::StrayControl) => return Ok(self.say("500 5.5.2 Bare CR, bare LF or NUL in a command")),
        };
        let Ok(line) = String::from_utf8(line) else { return Ok(self.breach("500 5.5.2 Syntax error")) };
        let (verb, arguments) = line.split_once(' ').unwrap_or((&line, ""));
        let verb = verb.to_ascii_uppercase();
        let may_be_longer = matches!(verb.as_str(), "MAIL" | "RCPT");
        if line.len() + 2 > COMMAND_LIMIT && !may_be_longer {
            self.wire.violation("a command is longer than 512 octets");
            return Ok(self.say("500 5.5.2 Line too long"));
        }
        self.look_for_pipelining(&verb);
        match verb.as_str() {
            "EHLO" | "HELO" => self.hello(&verb, arguments).await,
            "STARTTLS" => self.start_tls(arguments).await,
            "AUTH" => self.auth(arguments).await,
            "QUIT" => Ok(self.quit()),
            "NOOP" | "RSET" | "VRFY" | "HELP" => self.small_command(&verb).await,
            "MAIL" | "RCPT" | "DATA" | "BDAT" => self.mail_command(&verb, arguments).await,
            _ => Ok(self.breach(&self.voice.unknown_verb(&verb))),
        }
    }

    /// RFC 2920 section 3.1 lets some commands be followed by others in one go, and only where that was offered.
    fn look_for_pipelining(&self, verb: &str) {
        if self.wire.unused().is_empty() || verb == "BDAT" {
            return;
        }
        let ends_a_group = matches!(verb, "EHLO" | "HELO" | "AUTH" | "DATA" | "VRFY" | "QUIT" | "NOOP");
        if ends_a_group {
            self.wire
                .violation(&format!("octets came behind {verb} before it was answered"));
        } else if self.withheld("PIPELINING") && verb != "STARTTLS" {
            self.wire.violation("commands were pipelined without leave");
        }
    }

    async fn hello(&mut self, verb: &str, name: &str) -> Flow<Next> {
        if name.is_empty() || name.contains(' ') {
            return Ok(self.breach("501 5.5.4 Invalid domain name"));
        }
        if self.wire.answered_otherwise(Moment::CapabilitiesDue, "").await? {
            return Ok(Next::Command);
        }
        self.wire.shared.record.note(|seen| seen.last_ehlo_name = Some(name.into()));
        self.greeted = true;
        self.transaction = None;
        if verb == "HELO" {
            let hello = self.voice.hello();
            self.say(&format!("250 {hello}"));
        } else {
            self.say_capabilities();
        }
        self.wire.pass(Moment::CapabilitiesSaid).await?;
        Ok(Next::Command)
    }

    fn say_capabilities(&mut self) {
        let all = self.voice.capabilities(self.tls, self.wire.shared.options.max_message);
        let all = all.into_iter().map(|line| login::offer(&self.wire.shared, &line, ""));
        let keyword = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let offered: Vec<_> = all.filter(|line| !self.withheld(&keyword(line))).collect();
        let hello = self.voice.hello();
        self.say(&format!("250-{hello}"));
        for (at, line) in offered.iter().enumerate() {
            let separator = if at + 1 == offered.len() { ' ' } else { '-' };
            self.say(&format!("250{separator}{line}"));
        }
    }

    async fn start_tls(&mut self, arguments: &str) -> Flow<Next> {
        if self.tls || self.withheld("STARTTLS") || !self.greeted {
            return Ok(self.breach("503 5.5.1 STARTTLS is not possible now"));
        }
        if !arguments.is_empty() {
            return Ok(self.breach("501 5.5.4 STARTTLS takes no parameter"));
        }
        if self.wire.answered_otherwise(Moment::StartTlsDue, "").await? {
            return Ok(Next::Command);
        }
        self.say(self.voice.start_tls());
        self.wire.pass(Moment::StartTlsAnswered).await?;
        self.wire.start_tls().await?;
        self.tls = true;
        // RFC 3207 section 4.2: both sides forget what they learnt in the clear.
        self.greeted = false;
        self.wire.pass(Moment::TlsReady).await?;
        Ok(Next::Command)
    }

    async fn auth(&mut self, arguments: &str) -> Flow<Next> {
        if !self.tls || !self.greeted {
            return Ok(self.breach("530 5.7.0 Must issue a STARTTLS command first"));
        }
        if self.account.is_some() {
            return Ok(self.breach("503 5.5.1 Already authenticated"));
        }
        let mut words = arguments.split(' ');
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next();
        if words.next().is_some() {
            return Ok(self.breach("501 5.5.4 AUTH takes a mechanism and at most one response"));
        }
        if self.wire.answered_otherwise(Moment::AuthDue, "").await? {
            return Ok(Next::Command);
        }
        match (mechanism.as_str(), login::mechanism(&self.wire.shared, &mechanism)) {
            (_, Some(mechanism)) if !self.withheld("AUTH") => self.with_token(mechanism, initial).await,
            ("LOGIN", _) if self.voice.personality() != Personality::Dovecot => self.auth_login().await,
            _ => Ok(self.breach("504 5.7.4 Unrecognized authentication type")),
        }
    }

    async fn with_token(&mut self, mechanism: Mechanism, initial: Option<&str>) -> Flow<Next> {
        let response = match initial {
            Some(response) => response.as_bytes().to_vec(),
            None => {
                self.say("334 ");
                match self
                    .wire
                    .credential_line(login::response_limit(self.voice.personality()))
                    .await?
                {
                    Ok(response) => response,
                    Err(_) => return Ok(self.say("500 5.5.2 Line too long")),
                }
            }
        };
        if self.wire.answered_otherwise(Moment::CredentialsRead, "").await? {
            return Ok(Next::Command);
        }
        if response == b"*" {
            let cancelled = self.voice.cancelled();
            return Ok(self.say(&cancelled));
        }
        match login::judge(&self.wire.shared, self.wire.protocol, mechanism, &response) {
            Verdict::Opened { user, .. } => {
                self.account = Some(user);
                let accepted = self.voice.logged_in();
                self.say(accepted);
                self.wire.pass(Moment::LoggedIn).await?;
            }
            Verdict::Refused(refusal) => self.refuse(mechanism, refusal, &response).await?,
            Verdict::Malformed(Malformed::Base64) => _ = self.say("501 5.5.2 Cannot decode the response"),
            Verdict::Malformed(Malformed::Fields) => {
                self.say(&format!("501 5.5.124 Invalid {} auth data", mechanism.name()));
            }
        }
        Ok(Next::Command)
    }

    async fn refuse(&mut self, mechanism: Mechanism, refusal: Refusal, response: &[u8]) -> Flow<()> {
        let personality = self.voice.personality();
        if login::challenges(personality, mechanism, refusal) {
            self.say(&format!("334 {}", login::challenge(personality, mechanism, refusal, response)));
            let answer = self.wire.line(COMMAND_LIMIT).await?.ok();
            if answer.as_deref() == Some(b"*") {
                self.say("501 5.5.2 Authentication aborted by client.");
                return Ok(());
            }
            login::check_dismissal(&self.wire.shared, self.wire.protocol, mechanism, answer.as_deref());
        }
        let refused = login::refused(refusal, self.voice.refused(refusal), response);
        self.say_lines(&refused);
        Ok(())
    }

    /// A user name and a password, taken and refused: basic authentication is over.
    async fn auth_login(&mut self) -> Flow<Next> {
        for prompt in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
            self.say(prompt);
            if self.wire.credential_line(COMMAND_LIMIT).await?.is_err() {
                return Ok(self.say("500 5.5.2 Line too long"));
            }
        }
        self.wire.violation("a password was sent where only a token opens");
        self.say_lines(&self.voice.basic_disabled());
        Ok(Next::Command)
    }

    async fn small_command(&mut self, verb: &str) -> Flow<Next> {
        if self.wire.answered_otherwise(Moment::CommandDue, "").await? {
            return Ok(Next::Command);
        }
        Ok(match verb {
            "RSET" => {
                self.transaction = None;
                self.say("250 2.0.0 Resetting")
            }
            "VRFY" => self.say("252 2.1.5 Cannot VRFY user"),
            "HELP" => self.say("214 2.0.0 This server is simulated"),
            _ => self.say("250 2.0.0 OK"),
        })
    }

    fn quit(&mut self) -> Next {
        self.say("221 2.0.0 Service closing transmission channel");
        Next::Hangup
    }

    /// A reply of one line or more.
    fn say_lines(&mut self, reply: &str) {
        for line in reply.split("\r\n") {
            self.say(line);
        }
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

    fn withheld(&self, keyword: &str) -> bool {
        self.wire.shared.plan.withholds(self.wire.protocol, keyword)
    }
}
