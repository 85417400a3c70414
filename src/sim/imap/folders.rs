//! IMAP after the login (RFC 3501 section 6.3): folders, APPEND (RFC 4315), IDLE (RFC 2177), NAMESPACE (RFC 2342).

use std::sync::Arc;
use std::time::SystemTime;

use super::parse::Arguments;
use super::selected::Selected;
use super::{Completion, LINE_LIMIT, Session, State};
use crate::sim::Personality;
use crate::sim::mailbox::{FLAGS, Flags, Folder, INBOX, Mailbox};
use crate::sim::wire::Flow;

pub(super) const BAD_ARGUMENTS: &str = "BAD Command Argument Error. 11";
const NO_FOLDER: &str = "NO The specified folder doesn't exist.";

impl Session<'_> {
    /// A command after the login.
    pub(super) async fn users_command(&mut self, verb: &str, mut arguments: Arguments<'_>) -> Flow<Completion> {
        let Some(mailbox) = self.mailbox() else { return Ok("BAD Command received in Invalid state.".into()) };
        let completion = match verb {
            "SELECT" | "EXAMINE" => self.select(&mailbox, verb == "EXAMINE", arguments),
            "LIST" | "LSUB" => self.list(&mailbox, verb, arguments),
            "STATUS" => self.status(&mailbox, arguments),
            "APPEND" => append(&mailbox, &mut arguments),
            "NAMESPACE" if arguments.is_at_end() => {
                self.wire.say("* NAMESPACE ((\"\" \"/\")) NIL NIL");
                Some("OK NAMESPACE completed.".into())
            }
            "SUBSCRIBE" | "UNSUBSCRIBE" => one_folder(&mut arguments).map(|name| {
                mailbox
                    .folder(&name, |_| format!("OK {verb} completed."))
                    .unwrap_or_else(|| NO_FOLDER.into())
            }),
            "CREATE" | "DELETE" => one_folder(&mut arguments).map(|_| format!("NO [CANNOT] {verb} is not simulated.")),
            "IDLE" if arguments.is_at_end() => Some(self.idle(&mailbox).await?),
            _ => self.selected_command(verb, arguments),
        };
        // RFC 3501 section 5.2: while these run, sequence numbers must not change.
        if !matches!(verb, "FETCH" | "STORE" | "SEARCH") {
            self.announce();
        }
        Ok(completion.unwrap_or_else(|| BAD_ARGUMENTS.into()))
    }

    fn mailbox(&self) -> Option<Arc<Mailbox>> {
        match &self.state {
            State::Authenticated(mailbox) => Some(mailbox.clone()),
            State::Selected(selected) => Some(selected.mailbox.clone()),
            State::NotAuthenticated | State::LoggedOut => None,
        }
    }

    fn select(&mut self, mailbox: &Arc<Mailbox>, read_only: bool, mut arguments: Arguments<'_>) -> Option<Completion> {
        let name = one_folder(&mut arguments)?;
        // RFC 3501 section 6.3.1: a SELECT that fails leaves nothing selected.
        self.state = State::Authenticated(mailbox.clone());
        let Some(selected) = Selected::new(mailbox, &name, read_only) else { return Some(NO_FOLDER.into()) };
        let flags = FLAGS.join(" ");
        let (unseen, uid_next) = selected.first_unseen_and_uid_next();
        self.wire.say(&format!("* {} EXISTS", selected.view.len()));
        self.wire.say("* 0 RECENT");
        self.wire.say(&format!("* FLAGS ({flags})"));
        self.wire
            .say(&format!("* OK [PERMANENTFLAGS ({})] Permanent flags", if read_only { "" } else { &flags }));
        if let Some(unseen) = unseen {
            self.wire.say(&format!("* OK [UNSEEN {unseen}] Is the first unseen message"));
        }
        self.wire
            .say(&format!("* OK [UIDVALIDITY {}] UIDVALIDITY value", Folder::UID_VALIDITY));
        self.wire
            .say(&format!("* OK [UIDNEXT {uid_next}] The next unique identifier value"));
        self.state = State::Selected(selected);
        Some(if read_only { "OK [READ-ONLY] EXAMINE completed." } else { "OK [READ-WRITE] SELECT completed." }.into())
    }

    fn list(&mut self, mailbox: &Mailbox, verb: &str, mut arguments: Arguments<'_>) -> Option<Completion> {
        arguments.space()?;
        let reference = arguments.astring()?;
        arguments.space()?;
        let pattern = arguments.list_mailbox().filter(|_| arguments.is_at_end())?;
        let completed = Some(format!("OK {verb} completed."));
        // RFC 3501 section 6.3.8: an empty pattern asks for the separator.
        if pattern.is_empty() {
            self.wire.say(&format!("* {verb} (\\Noselect) \"/\" \"\""));
            return completed;
        }
        let pattern = format!("{reference}{pattern}");
        let names: Vec<_> = mailbox.folders().iter().map(|folder| folder.name).collect();
        for name in names.into_iter().filter(|name| matches(&pattern, name)) {
            let shown = if name == INBOX { name.into() } else { format!("\"{name}\"") };
            self.wire.say(&format!("* {verb} (\\HasNoChildren) \"/\" {shown}"));
        }
        completed
    }

    fn status(&mut self, mailbox: &Mailbox, mut arguments: Arguments<'_>) -> Option<Completion> {
        arguments.space()?;
        let name = arguments.astring()?;
        arguments.space()?;
        let items = arguments.list(|item| item.word(|octet| octet.is_ascii_alphabetic()))?;
        if items.is_empty() || !arguments.is_at_end() {
            return None;
        }
        let values = mailbox.folder(&name, |folder| {
            items
                .iter()
                .map(|item| status_item(folder, &item.to_ascii_uppercase()))
                .collect::<Option<Vec<_>>>()
        });
        let Some(values) = values else { return Some(NO_FOLDER.into()) };
        self.wire.say(&format!("* STATUS \"{name}\" ({})", values?.join(" ")));
        Some("OK STATUS completed.".into())
    }

    /// Stands by until DONE, and tells of every change as it happens.
    async fn idle(&mut self, mailbox: &Mailbox) -> Flow<Completion> {
        let mut changes = mailbox.watch();
        self.wire.say(match self.voice.personality() {
            Personality::Microsoft => "+ IDLE accepted, awaiting DONE command.",
            Personality::Dovecot | Personality::Gmail => "+ idling",
        });
        while !self.wire.unused().contains(&b'\n') {
            self.announce();
            self.wire.flush().await?;
            tokio::select! {
                // The mailbox is ours to watch as long as we hold it.
                _ = changes.changed() => {}
                read = self.wire.read() => read?,
            }
        }
        let done = self.wire.line(LINE_LIMIT).await?;
        let is_done = done.is_ok_and(|line| line.eq_ignore_ascii_case(b"DONE"));
        Ok(if is_done { "OK IDLE completed." } else { "BAD Expected DONE." }.into())
    }
}

/// A space, a folder's name and nothing more.
fn one_folder(arguments: &mut Arguments<'_>) -> Option<String> {
    arguments.space()?;
    arguments.astring().filter(|_| arguments.is_at_end())
}

fn status_item(folder: &Folder, item: &str) -> Option<String> {
    let value = match item {
        "MESSAGES" => folder.messages.len(),
        "RECENT" => 0,
        "UIDNEXT" => folder.uid_next as usize,
        "UIDVALIDITY" => Folder::UID_VALIDITY as usize,
        "UNSEEN" => folder
            .messages
            .iter()
            .filter(|message| !message.flags.contains(Flags::SEEN))
            .count(),
        _ => return None,
    };
    Some(format!("{item} {value}"))
}

/// `APPEND folder [(flags)] ["date"] literal`. A date has to be one, but the message counts as new.
fn append(mailbox: &Mailbox, arguments: &mut Arguments<'_>) -> Option<Completion> {
    arguments.space()?;
    let name = arguments.astring()?;
    arguments.space()?;
    let mut flags = Flags::default();
    if let Some(named) = arguments.list(Arguments::flag) {
        flags = named.iter().filter_map(|name| Flags::named(name)).fold(flags, Flags::with);
        arguments.space()?;
    }
    if let Some(date) = arguments.quoted() {
        (date.len() == "01-Jan-1970 00:00:00 +0000".len()).then_some(())?;
        arguments.space()?;
    }
    let message = arguments.literal().filter(|_| arguments.is_at_end())?;
    Some(match mailbox.add(&name, message, flags, SystemTime::now()) {
        Some(uid) => format!("OK [APPENDUID {} {uid}] APPEND completed.", Folder::UID_VALIDITY),
        None => "NO [TRYCREATE] The specified folder doesn't exist.".into(),
    })
}

/// Whether a folder's name fits a pattern of LIST. There are no levels here, so `%` and `*` are the same.
fn matches(pattern: &str, name: &str) -> bool {
    if name == INBOX { fits(&pattern.to_ascii_uppercase(), name) } else { fits(pattern, name) }
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once(['*', '%']) else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    let mut suffixes = rest.char_indices().map(|(at, _)| &rest[at..]).chain([""]);
    suffixes.any(|suffix| fits(tail, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::mailbox::SENT;

    #[test]
    fn patterns_fit_as_list_has_it() {
        for pattern in ["*", "%", "inbox", "IN*", "*box*", "i%x"] {
            assert!(matches(pattern, INBOX), "{pattern}");
        }
        for pattern in ["Sent Items", "S*", "*Items", "*%"] {
            assert!(matches(pattern, SENT), "{pattern}");
        }
        for pattern in ["", "Sent", "sent items", "INBOX", "*x"] {
            assert!(!matches(pattern, SENT), "{pattern}");
        }
    }
}
