//! The IMAP server (RFC 3501): reading commands, TLS from the first octet or by STARTTLS, and what else may be said before
//! the login.

mod fetch;
mod folders;
mod parse;
mod search;
mod selected;
#[cfg(test)]
mod tests;
mod voice;

use std::sync::Arc;

use super::faults::{Moment, Refusal};
use super::login::{self, Verdict};
use super::mailbox::Mailbox;
use super::sasl::{Malformed, Mechanism};
use super::wire::{BadLine, Flow, Hangup, Wire};
use parse::{Arguments, LiteralMark};
use selected::Selected;
use voice::Voice;

/// Exchange's MaxCommandSize. What does not fit has to come in literals or on a line of its own.
const LINE_LIMIT: usize = 10_240;

/// The most literal octets in a command before the login.
const STRANGERS_LITERAL: usize = 4_096;

/// How a command ended: `OK`, `NO` or `BAD` and a text.
type Completion = String;

/// Serves one connection.
pub(super) async fn serve(wire: &mut Wire) -> Flow<()> {
    wire.pass(Moment::Accepted).await?;
    let tls = !wire.shared.options.starttls;
    if tls {
        wire.start_tls().await?;
    }
    let voice = Voice::new(wire.shared.options.personality);
    let mut session = Session { wire, voice, tls, state: State::NotAuthenticated };
    if !session.wire.answered_otherwise(Moment::GreetingDue, "").await? {
        let greeting = session.voice.greeting(&session.capabilities());
        session.wire.say(&greeting);
    }
    session.wire.pass(Moment::Greeted).await?;
    while !matches!(session.state, State::LoggedOut) {
        session.command().await?;
    }
    Ok(())
}

/// RFC 3501 section 3.
enum State {
    NotAuthenticated,
    Authenticated(Arc<Mailbox>),
    Selected(Selected),
    LoggedOut,
}

struct Session<'a> {
    wire: &'a mut Wire,
    voice: Voice,
    tls: bool,
    state: State,
}

impl Session<'_> {
    /// Reads and answers one command.
    async fn command(&mut self) -> Flow<()> {
        let Some(octets) = self.read_command().await? else { return Ok(()) };
        let mut arguments = Arguments::new(&octets);
        let Some((tag, verb)) = arguments.tag().and_then(|tag| Some((tag, arguments.verb()?))) else {
            self.wire.violation("a command has no tag or no verb");
            self.wire.say("* BAD Command Error. 10");
            return Ok(());
        };
        let is_common = matches!(verb.as_str(), "CAPABILITY" | "ID" | "NOOP" | "LOGOUT");
        let completion = if matches!(self.state, State::NotAuthenticated) {
            if is_common {
                self.common_command(&tag, &verb, arguments).await?
            } else {
                self.strangers_command(&tag, &verb, arguments).await?
            }
        } else if self.wire.answered_otherwise(Moment::CommandDue, &tag).await? {
            None
        } else if is_common {
            self.common_command(&tag, &verb, arguments).await?
        } else {
            Some(self.users_command(&verb, arguments).await?)
        };
        if let Some(completion) = completion {
            self.complete(&tag, &completion);
        }
        Ok(())
    }

    /// A whole command with its literals in place; `None` when it has been refused already.
    async fn read_command(&mut self) -> Flow<Option<Vec<u8>>> {
        let mut command = Vec::new();
        let bound = match self.state {
            State::NotAuthenticated => STRANGERS_LITERAL,
            _ => self.wire.shared.options.max_message,
        };
        let mut literals = 0;
        loop {
            match self.wire.line(LINE_LIMIT).await? {
                Ok(line) => command.extend_from_slice(&line),
                Err(BadLine::TooLong { beginning }) => {
                    command.extend_from_slice(&beginning);
                    return Ok(self.refuse_line(&command, "BAD Command Error. 12"));
                }
                Err(BadLine::StrayControl) => return Ok(self.refuse_line(&command, "BAD Command Error. 11")),
            }
            let Some(mark) = LiteralMark::at_end_of(&command) else { return Ok(Some(command)) };
            literals += mark.length;
            if literals > bound {
                if !mark.synchronizing {
                    // Its octets are on the way and must not be read as commands.
                    self.wire.say("* BYE Connection is closed. 13");
                    return Err(Hangup);
                }
                return Ok(self.refuse_line(&command, "NO [TOOBIG] The literal is too long"));
            }
            if mark.synchronizing {
                self.wire.say("+ Ready for additional command text.");
            }
            command.extend_from_slice(b"\r\n");
            let literal = self.wire.octets(mark.length).await?;
            self.wire.note_data(&format!("(a literal of {} octets)", literal.len()));
            command.extend_from_slice(&literal);
        }
    }

    fn refuse_line<T>(&mut self, command: &[u8], completion: &str) -> Option<T> {
        let tag = Arguments::new(command).tag().unwrap_or_else(|| "*".into());
        self.complete(&tag, completion);
        None
    }

    /// Ends a command; a `BAD` is the client's fault and noted.
    fn complete(&mut self, tag: &str, completion: &str) {
        if completion.starts_with("BAD") {
            self.wire.violation(&format!("answered with {completion}"));
        }
        self.wire.say(&format!("{tag} {completion}"));
    }

    /// A command before the login; `None` when it has been answered already.
    async fn strangers_command(&mut self, tag: &str, verb: &str, arguments: Arguments<'_>) -> Flow<Option<Completion>> {
        match verb {
            "STARTTLS" => self.start_tls(tag, arguments).await,
            "AUTHENTICATE" if !self.tls => {
                self.wire.violation("a login was tried in the clear");
                Ok(Some("NO [PRIVACYREQUIRED] STARTTLS comes first.".into()))
            }
            "AUTHENTICATE" => self.authenticate(tag, arguments).await,
            "LOGIN" => {
                self.wire.violation("a password was sent where only a token opens");
                Ok(Some("NO LOGIN failed.".into()))
            }
            _ => Ok(Some("BAD Command received in Invalid state.".into())),
        }
    }

    /// RFC 3501 section 6.2.1.
    async fn start_tls(&mut self, tag: &str, arguments: Arguments<'_>) -> Flow<Option<Completion>> {
        if self.tls || self.withheld("STARTTLS") {
            return Ok(Some("BAD Command received in Invalid state.".into()));
        }
        if !arguments.is_at_end() {
            return Ok(Some("BAD Command Argument Error. 11".into()));
        }
        if self.wire.answered_otherwise(Moment::StartTlsDue, tag).await? {
            return Ok(None);
        }
        self.complete(tag, "OK Begin TLS negotiation now.");
        self.wire.pass(Moment::StartTlsAnswered).await?;
        self.wire.start_tls().await?;
        self.tls = true;
        self.wire.pass(Moment::TlsReady).await?;
        Ok(None)
    }

    /// A command of any state (RFC 3501 section 6.1, RFC 2971).
    async fn common_command(
        &mut self,
        tag: &str,
        verb: &str,
        mut arguments: Arguments<'_>,
    ) -> Flow<Option<Completion>> {
        let well_formed = if verb == "ID" { arguments.id_parameters() } else { Some(()) };
        if well_formed.is_none() || !arguments.is_at_end() {
            return Ok(Some("BAD Command Argument Error. 11".into()));
        }
        match verb {
            "CAPABILITY" => {
                if self.wire.answered_otherwise(Moment::CapabilitiesDue, tag).await? {
                    return Ok(None);
                }
                let capabilities = self.capabilities();
                self.wire.say(&format!("* CAPABILITY {capabilities}"));
                self.complete(tag, "OK CAPABILITY completed.");
                self.wire.pass(Moment::CapabilitiesSaid).await?;
                Ok(None)
            }
            "ID" => {
                self.wire.say(self.voice.id());
                Ok(Some("OK ID completed.".into()))
            }
            "NOOP" => {
                self.announce();
                Ok(Some("OK NOOP completed.".into()))
            }
            _ => {
                self.wire.say(self.voice.bye());
                self.state = State::LoggedOut;
                Ok(Some("OK LOGOUT completed.".into()))
            }
        }
    }

    fn capabilities(&self) -> String {
        let all = self.voice.capabilities(matches!(self.state, State::NotAuthenticated), self.tls);
        let all = login::offer(&self.wire.shared, all, "AUTH=");
        let offered = all.split(' ').filter(|word| !self.withheld(word));
        offered.collect::<Vec<_>>().join(" ")
    }

    fn withheld(&self, keyword: &str) -> bool {
        self.wire.shared.plan.withholds(self.wire.protocol, keyword)
    }

    async fn authenticate(&mut self, tag: &str, mut arguments: Arguments<'_>) -> Flow<Option<Completion>> {
        let Some(name) = arguments.space_and_atom() else {
            return Ok(Some("BAD Command Argument Error. 11".into()));
        };
        let offered = login::mechanism(&self.wire.shared, &name);
        let Some(mechanism) = offered.filter(|offered| !self.withheld(&format!("AUTH={}", offered.name()))) else {
            return Ok(Some("NO Unsupported authentication mechanism.".into()));
        };
        let initial = match arguments.space_and_rest() {
            Some(_) if self.withheld("SASL-IR") => return Ok(Some("BAD Command Argument Error. 12".into())),
            initial => initial.map(<[u8]>::to_vec),
        };
        if self.wire.answered_otherwise(Moment::AuthDue, tag).await? {
            return Ok(None);
        }
        let limit = login::response_limit(self.voice.personality());
        let response = match initial {
            Some(initial) if initial.len() + 2 > limit => return Err(self.hang_up_on_long_response()),
            Some(initial) => initial,
            None => {
                self.wire.say("+ ");
                match self.wire.credential_line(limit).await? {
                    Ok(response) => response,
                    Err(_) => return Err(self.hang_up_on_long_response()),
                }
            }
        };
        if self.wire.answered_otherwise(Moment::CredentialsRead, tag).await? {
            return Ok(None);
        }
        if response == b"*" {
            return Ok(Some("BAD Authentication aborted by client.".into()));
        }
        match login::judge(&self.wire.shared, self.wire.protocol, mechanism, &response) {
            Verdict::Opened { user, mailbox } => {
                self.state = State::Authenticated(mailbox);
                let capabilities = self.capabilities();
                if let Some(unasked) = self.voice.capabilities_after_login(&capabilities) {
                    self.wire.say(&unasked);
                }
                let accepted = self.voice.logged_in(&capabilities, &user);
                self.complete(tag, &accepted);
                self.wire.pass(Moment::LoggedIn).await?;
                Ok(None)
            }
            Verdict::Refused(refusal) => self.refuse(mechanism, refusal, &response).await.map(Some),
            Verdict::Malformed(Malformed::Base64) => Ok(Some("BAD Invalid base64 data in the response".into())),
            Verdict::Malformed(Malformed::Fields) => self.refuse(mechanism, Refusal::Token, &response).await.map(Some),
        }
    }

    fn hang_up_on_long_response(&mut self) -> Hangup {
        self.wire.violation("a response with a token is longer than the server takes");
        self.wire.say("* BYE Authentication response is too long");
        Hangup
    }

    async fn refuse(&mut self, mechanism: Mechanism, refusal: Refusal, response: &[u8]) -> Flow<Completion> {
        let personality = self.voice.personality();
        if login::challenges(personality, mechanism, refusal) {
            self.wire
                .say(&format!("+ {}", login::challenge(personality, mechanism, refusal, response)));
            let answer = self.wire.line(LINE_LIMIT).await?.ok();
            if answer.as_deref() == Some(b"*") {
                return Ok("BAD Authentication aborted by client.".into());
            }
            login::check_dismissal(&self.wire.shared, self.wire.protocol, mechanism, answer.as_deref());
        }
        Ok(login::refused(refusal, self.voice.refused(refusal), response))
    }
}
