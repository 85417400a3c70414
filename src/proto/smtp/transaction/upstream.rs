//! What the upstream answers: passed on in order, and watched for what became of each message.

use super::body::Body;
use super::owed::Asked;
use super::{
    BlindData, EnvelopeCommand, EnvelopeRefusal, Flow, MAX_REFUSED_RECIPIENTS, MessageReport, OpenMail, Pipes, State,
    Transaction, data_was_refused, ehlo, too_many_recipients,
};
use crate::proto::smtp::extensions::Extensions;
use crate::proto::smtp::reply::ReplyLine;
use crate::proto::{CloseReason, Input, ProtoError, said};

impl Transaction {
    /// Uses as much of what the upstream sent as it can. Replies pass whole: a half one is never shown.
    ///
    /// # Errors
    /// When the upstream says what is no reply, what nobody asked, or what leaves open whether message data may follow.
    /// `upstream_gone` then tells the downstream.
    pub fn from_upstream(&mut self, input: &mut Input, pipes: &mut Pipes) -> Result<Flow, ProtoError> {
        loop {
            if let Some(reason) = self.ending {
                return Ok(Flow::Close(reason));
            }
            if pipes.are_full_for_replies() {
                return Ok(Flow::Flush);
            }
            let Some(lines) = self.replies.read(input)? else {
                return Ok(Flow::NeedInput);
            };
            // What has no proper answer stays owed: what the downstream is told then depends on it.
            let accepted = self.owed.next().map(|asked| is_accepted(asked, code(&lines))).transpose()?;
            let told = match (accepted, self.owed.answered()) {
                (Some(accepted), Some(asked)) => self.pass_answer(asked, accepted, &lines, pipes),
                _ => self.pass_unasked(&lines, pipes)?.map(Flow::Message),
            };
            self.upstream_is_leaving = code(&lines) == 421;
            self.settle(pipes);
            if let Some(told) = told {
                return Ok(told);
            }
        }
    }

    fn pass_answer(&mut self, asked: Asked, accepted: bool, lines: &[ReplyLine], pipes: &mut Pipes) -> Option<Flow> {
        if let (Asked::Hello { with_extensions }, true) = (&asked, accepted) {
            self.pass_offer(*with_extensions, lines, pipes);
            return None;
        }
        // One reply to one chunk of the downstream, whatever it has become upstream.
        let is_silent = match asked {
            Asked::Chunk { whole, .. } => accepted && !whole,
            _ => asked.is_silent(),
        };
        if !is_silent {
            write(lines, &mut pipes.to_downstream);
        } else if code(lines) == 421 {
            // The upstream is about to close. What came behind this would be taken for the answer to another command.
            write(lines, &mut pipes.to_downstream);
            self.ending = Some(CloseReason::Refused);
        }
        if accepted {
            self.learn_accepted(asked, lines).map(Flow::Message)
        } else {
            self.learn_refused(asked, lines, pipes)
        }
    }

    /// The answer to EHLO. It also ends the transaction (RFC 5321 section 4.1.4).
    fn pass_offer(&mut self, with_extensions: bool, lines: &[ReplyLine], pipes: &mut Pipes) {
        self.open = None;
        self.a_command_was_taken();
        self.options.extensions = Extensions::parse(lines);
        let shown = if with_extensions { self.offer(lines) } else { ehlo::collapsed(lines) };
        write(&shown, &mut pipes.to_downstream);
    }

    /// What the downstream may use of what the upstream offers.
    fn offer(&self, lines: &[ReplyLine]) -> Vec<ReplyLine> {
        let upstreams = self.options.extensions.size();
        let size = self
            .options
            .max_message
            .filter(|size| upstreams.is_none_or(|upstreams| *size < upstreams));
        ehlo::filtered(lines, &self.options.masked, !self.holds_header(), size)
    }

    fn learn_accepted(&mut self, asked: Asked, lines: &[ReplyLine]) -> Option<MessageReport> {
        match asked {
            Asked::Mail { number, sender } => {
                self.a_command_was_taken();
                self.open = Some(OpenMail { number, sender, recipients: 0, octets: 0 });
            }
            Asked::Rcpt => {
                if let Some(mail) = &mut self.open {
                    mail.recipients = mail.recipients.saturating_add(1);
                }
            }
            Asked::Rset => {
                self.a_command_was_taken();
                self.open = None;
            }
            // No answer that the downstream has read.
            Asked::OurReset => self.open = None,
            Asked::Data => {
                let lone_lf_ends = self.options.rules.lone_lf_ends_message;
                self.state = State::InMessage(Box::new(Body::new(lone_lf_ends, self.holds_header())));
            }
            Asked::EndOfData { octets } => return Some(self.conclude(true, octets, lines)),
            Asked::Chunk { octets, last, .. } => {
                let octets = self.count_chunk(octets)?;
                return last.then(|| self.conclude(true, octets, lines));
            }
            Asked::Quit => self.ending = Some(CloseReason::Quit),
            Asked::Hello { .. } | Asked::DroppedChunk | Asked::Other => {}
        }
        None
    }

    fn learn_refused(&mut self, asked: Asked, lines: &[ReplyLine], pipes: &mut Pipes) -> Option<Flow> {
        let report = match asked {
            Asked::Mail { sender, .. } => return Some(envelope_refused(EnvelopeCommand::Mail, sender, lines)),
            // Without a sender all recipients are refused, and of that the sender's refusal has told.
            Asked::Rcpt => {
                self.count_refused_recipient(lines, pipes);
                let sender = self.open.as_ref()?.sender.clone();
                return Some(envelope_refused(EnvelopeCommand::Rcpt, sender, lines));
            }
            Asked::Data => self.data_refused(lines, pipes),
            Asked::EndOfData { octets } => Some(self.conclude(false, octets, lines)),
            // RFC 3030 section 2: the message is void with its first refused chunk, whatever chunks follow.
            Asked::Chunk { octets, whole, message, .. } => {
                self.chunk_refused(message, whole);
                let octets = self.count_chunk(octets)?;
                Some(self.conclude(false, octets, lines))
            }
            // QUIT cannot be refused (RFC 5321 section 4.1.1.10): whatever was said, the downstream wants to go.
            Asked::Quit => {
                self.ending = Some(CloseReason::Quit);
                None
            }
            // RSET cannot be refused either (section 4.1.1.5). Where it is, the answer to the next MAIL tells the downstream.
            Asked::Rset | Asked::OurReset | Asked::Hello { .. } | Asked::DroppedChunk | Asked::Other => None,
        };
        report.map(Flow::Message)
    }

    /// One that may be taken later does not count. A message that went in one group with its recipients has its answer
    /// first.
    fn count_refused_recipient(&mut self, lines: &[ReplyLine], pipes: &mut Pipes) {
        self.refused_recipients += u32::from(code(lines) >= 500);
        let is_sent = self.owed.asked().any(|asked| matches!(asked, Asked::Chunk { .. }));
        if self.refused_recipients >= MAX_REFUSED_RECIPIENTS && !is_sent {
            too_many_recipients().write(&mut pipes.to_downstream);
            self.ending = Some(CloseReason::TooManyErrors);
        }
    }

    /// A DATA that got no 354. What was sent behind it is a message that nobody wants: it ends the session unread.
    fn data_refused(&mut self, lines: &[ReplyLine], pipes: &mut Pipes) -> Option<MessageReport> {
        if matches!(self.state, State::AwaitingGoAhead { held: true }) {
            data_was_refused().write(&mut pipes.to_downstream);
            self.ending = Some(CloseReason::RefusedData);
        } else {
            self.state = State::AwaitingCommand;
            self.blind_data = BlindData::Possible;
        }
        // The transaction stays open at the upstream until RSET, EHLO or its end; DATA is not taken again before, not even
        // behind a RCPT that mends it (RFC 5321 section 3.3 would allow it): what follows may be the message that was sent
        // blindly, in whose writer's hands each such line is one more way to have the rest read as commands, and who has
        // waited can do without.
        self.open.as_ref().map(|mail| report(mail, false, 0, lines))
    }

    /// How much of the open mail has come in chunks, with this one; `None` if there is no mail that it could belong to.
    fn count_chunk(&mut self, octets: u64) -> Option<u64> {
        let mail = self.open.as_mut()?;
        mail.octets = mail.octets.saturating_add(octets);
        Some(mail.octets)
    }

    /// The end of a mail transaction.
    fn conclude(&mut self, accepted: bool, octets: u64, lines: &[ReplyLine]) -> MessageReport {
        let mail =
            self.open
                .take()
                .unwrap_or_else(|| OpenMail { number: 0, sender: Vec::new(), recipients: 0, octets });
        report(&mail, accepted, octets, lines)
    }

    /// A reply without a question. A 421 may come at any time (RFC 5321 section 3.8); a refusal in the middle of a
    /// message is worth telling, but what follows it can then no longer be told from commands.
    fn pass_unasked(&mut self, lines: &[ReplyLine], pipes: &mut Pipes) -> Result<Option<MessageReport>, ProtoError> {
        let in_message = match self.state {
            State::InMessage(ref body) => Some(body.octets),
            _ => None,
        };
        if matches!(self.state, State::SwallowingMessage { .. }) && code(lines) >= 400 {
            self.upstream_gone(pipes);
            return Ok(None);
        }
        if code(lines) != 421 && (in_message.is_none() || code(lines) < 400) {
            return Err(ProtoError::UpstreamMisbehaved("a reply that nobody had asked for"));
        }
        write(lines, &mut pipes.to_downstream);
        self.ending = Some(if in_message.is_some() { CloseReason::RefusedData } else { CloseReason::Refused });
        Ok(in_message.map(|octets| self.conclude(false, octets, lines)))
    }
}

/// Whether the upstream did as asked. Only DATA has an answer that asks for more; passed on elsewhere, it would make the
/// downstream send what nobody expects.
fn is_accepted(asked: &Asked, code: u16) -> Result<bool, ProtoError> {
    match (asked, code) {
        (Asked::Data, 354) => Ok(true),
        (Asked::Data, 200..300) => {
            Err(ProtoError::UpstreamMisbehaved("DATA was answered as if the message had been sent"))
        }
        (_, 200..300) => Ok(true),
        (_, 300..400) => Err(ProtoError::UpstreamMisbehaved("a reply that asks for more, where nothing follows")),
        _ => Ok(false),
    }
}

/// The code of a whole reply; its lines all have the same.
fn code(lines: &[ReplyLine]) -> u16 {
    lines.last().map_or(0, |line| line.code)
}

fn report(mail: &OpenMail, accepted: bool, octets: u64, lines: &[ReplyLine]) -> MessageReport {
    let (sender, reply) = (mail.sender.clone(), last_line(lines));
    MessageReport { mail: mail.number, accepted, sender, recipients: mail.recipients, octets, reply }
}

fn envelope_refused(command: EnvelopeCommand, sender: Vec<u8>, lines: &[ReplyLine]) -> Flow {
    Flow::Envelope(EnvelopeRefusal { command, sender, reply: last_line(lines) })
}

/// The last line of a reply, for the log.
fn last_line(lines: &[ReplyLine]) -> Vec<u8> {
    let line = lines
        .last()
        .map_or_else(Vec::new, |line| [line.code.to_string().as_bytes(), b" ", &line.text].concat());
    said(&line)
}

fn write(lines: &[ReplyLine], out: &mut Vec<u8>) {
    for line in lines {
        out.extend_from_slice(line.code.to_string().as_bytes());
        out.push(if line.last { b' ' } else { b'-' });
        out.extend_from_slice(&line.text);
        out.extend_from_slice(b"\r\n");
    }
}
