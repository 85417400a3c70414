//! Commands on a selected folder (RFC 3501 section 6.4): what the client believes is in it, and changes to it.

use std::sync::Arc;

use super::parse::{Arguments, SequenceSet};
use super::{Completion, Session, State, fetch, search};
use crate::sim::mailbox::{Flags, Mailbox, Message};

/// A selected folder.
pub(super) struct Selected {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) folder: String,
    /// The unique identifiers the client knows of: a message's sequence number is its place here, from 1.
    pub(super) view: Vec<u32>,
    pub(super) read_only: bool,
}

/// What numbers a command speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Sequence,
    Uid,
}

impl Selected {
    /// `None` where there is no such folder.
    pub(super) fn new(mailbox: &Arc<Mailbox>, name: &str, read_only: bool) -> Option<Self> {
        let view = mailbox.folder(name, |folder| folder.messages.iter().map(|message| message.uid).collect())?;
        Some(Self { mailbox: mailbox.clone(), folder: name.into(), view, read_only })
    }

    /// The sequence number of the first message that is not seen, and the next unique identifier.
    pub(super) fn first_unseen_and_uid_next(&self) -> (Option<usize>, u32) {
        let look = |folder: &mut crate::sim::mailbox::Folder| {
            let unseen = folder.messages.iter().position(|message| !message.flags.contains(Flags::SEEN));
            (unseen.map(|at| at + 1), folder.uid_next)
        };
        self.mailbox.folder(&self.folder, look).unwrap_or((None, 1))
    }

    /// The messages of a set that are still there, with their sequence numbers.
    pub(super) fn pick(&self, set: &SequenceSet, by: By) -> Vec<(usize, u32)> {
        let count = u32::try_from(self.view.len()).unwrap_or(u32::MAX);
        let last_uid = self.view.last().copied().unwrap_or(0);
        let numbered = (1..=count).zip(&self.view).map(|(number, &uid)| (number, uid));
        let within = numbered.filter(|&(number, uid)| match by {
            By::Sequence => set.contains(number, count),
            By::Uid => set.contains(uid, last_uid),
        });
        within.map(|(number, uid)| (number as usize, uid)).collect()
    }

    /// Reads or changes a message; `None` where it is gone.
    pub(super) fn message<T>(&self, uid: u32, use_it: impl FnOnce(&mut Message) -> T) -> Option<T> {
        let found =
            |folder: &mut crate::sim::mailbox::Folder| folder.position(uid).map(|at| use_it(&mut folder.messages[at]));
        self.mailbox.folder(&self.folder, found).flatten()
    }

    /// Removes what is marked as deleted, as far as it is in `within`.
    fn expunge(&self, within: Option<&[u32]>) {
        let is_meant = |uid| within.is_none_or(|uids| uids.contains(&uid));
        self.mailbox.folder(&self.folder, |folder| {
            folder
                .messages
                .retain(|message| !(message.flags.contains(Flags::DELETED) && is_meant(message.uid)));
        });
        self.mailbox.ring();
    }
}

impl Session<'_> {
    /// A command that needs a selected folder; `None` where its arguments are wrong.
    pub(super) fn selected_command(&mut self, verb: &str, mut arguments: Arguments<'_>) -> Option<Completion> {
        let State::Selected(selected) = &mut self.state else {
            return Some("BAD Command received in Invalid state.".into());
        };
        let (by, name) = verb.strip_prefix("UID ").map_or((By::Sequence, verb), |name| (By::Uid, name));
        match (name, by) {
            ("FETCH", _) => fetch::fetch(self.wire, selected, by, &mut arguments)?,
            ("STORE", _) if selected.read_only => return Some("NO [READ-ONLY] The folder is read-only.".into()),
            ("STORE", _) => self.store(by, &mut arguments)?,
            ("SEARCH", _) => {
                let found = search::search(selected, by, &mut arguments)?;
                self.wire.say(&format!("* SEARCH{found}"));
            }
            ("EXPUNGE", By::Uid) => {
                arguments.space()?;
                let set = arguments.sequence_set().filter(|_| arguments.is_at_end())?;
                let uids: Vec<_> = selected.pick(&set, by).into_iter().map(|(_, uid)| uid).collect();
                selected.expunge(Some(&uids));
            }
            ("COPY", _) => return copy(selected, by, &mut arguments),
            _ if by == By::Uid || !arguments.is_at_end() => return None,
            ("CHECK", _) => {}
            ("EXPUNGE", _) => selected.expunge(None),
            ("CLOSE" | "UNSELECT", _) => {
                if name == "CLOSE" && !selected.read_only {
                    selected.expunge(None);
                }
                self.state = State::Authenticated(selected.mailbox.clone());
            }
            _ => return None,
        }
        Some(format!("OK {name} completed."))
    }

    /// `STORE set [+|-]FLAGS[.SILENT] flags`.
    fn store(&mut self, by: By, arguments: &mut Arguments<'_>) -> Option<()> {
        let State::Selected(selected) = &self.state else { return None };
        arguments.space()?;
        let set = arguments.sequence_set()?;
        arguments.space()?;
        let change: fn(Flags, Flags) -> Flags = match (arguments.take("+"), arguments.take("-")) {
            (Some(()), None) => Flags::with,
            (None, Some(())) => Flags::without,
            (None, None) => |_, new| new,
            _ => return None,
        };
        arguments.take("FLAGS")?;
        let silent = arguments.take(".SILENT").is_some();
        arguments.space()?;
        let names = arguments.list(Arguments::flag).filter(|_| arguments.is_at_end())?;
        let named = names
            .iter()
            .filter_map(|name| Flags::named(name))
            .fold(Flags::default(), Flags::with);
        for (number, uid) in selected.pick(&set, by) {
            let changed = selected.message(uid, |message| {
                message.flags = change(message.flags, named);
                message.flags.list()
            });
            let Some(flags) = changed.filter(|_| !silent) else { continue };
            self.wire.say(&match by {
                By::Sequence => format!("* {number} FETCH (FLAGS ({flags}))"),
                By::Uid => format!("* {number} FETCH (UID {uid} FLAGS ({flags}))"),
            });
        }
        Some(())
    }

    /// Tells the client what has changed in its folder: first what is gone, from the end, then how many there are.
    pub(super) fn announce(&mut self) {
        let State::Selected(selected) = &mut self.state else { return };
        let now = selected
            .mailbox
            .folder(&selected.folder, |folder| folder.messages.iter().map(|message| message.uid).collect::<Vec<_>>());
        let now = now.unwrap_or_default();
        for at in (0..selected.view.len()).rev() {
            if now.binary_search(&selected.view[at]).is_err() {
                selected.view.remove(at);
                self.wire.say(&format!("* {} EXPUNGE", at + 1));
            }
        }
        if now.len() > selected.view.len() {
            self.wire.say(&format!("* {} EXISTS", now.len()));
            selected.view = now;
        }
    }
}

/// `COPY set folder`.
fn copy(selected: &Selected, by: By, arguments: &mut Arguments<'_>) -> Option<Completion> {
    arguments.space()?;
    let set = arguments.sequence_set()?;
    arguments.space()?;
    let target = arguments.astring().filter(|_| arguments.is_at_end())?;
    if selected.mailbox.folder(&target, |_| ()).is_none() {
        return Some("NO [TRYCREATE] The specified folder doesn't exist.".into());
    }
    for (_, uid) in selected.pick(&set, by) {
        if let Some(message) = selected.message(uid, |message| message.clone()) {
            selected.mailbox.add(&target, &message.octets, message.flags, message.arrived);
        }
    }
    Some("OK COPY completed.".into())
}
