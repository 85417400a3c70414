//! The mailboxes: folders of messages in memory, and a bell in each that rings when it changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::watch;

use super::record::lock;

/// The folder that mail is delivered to.
pub(super) const INBOX: &str = "INBOX";
/// The folder that Exchange keeps a copy of everything submitted in.
pub(super) const SENT: &str = "Sent Items";

/// The system flags (RFC 3501 section 2.3.2); keywords are not kept.
pub(super) const FLAGS: [&str; 5] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

/// A set of [`FLAGS`], one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const DELETED: Self = Self(1 << 2);
    pub(super) const SEEN: Self = Self(1 << 3);

    /// The flag of this name, without case.
    pub(super) fn named(name: &str) -> Option<Self> {
        FLAGS
            .iter()
            .position(|flag| flag.eq_ignore_ascii_case(name))
            .map(|bit| Self(1 << bit))
    }

    pub(super) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// As IMAP lists them, without the parentheses.
    pub(super) fn list(self) -> String {
        let set = FLAGS.iter().enumerate().filter(|(bit, _)| self.0 & 1 << bit != 0);
        set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
    }
}

/// One message, exactly as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) uid: u32,
    pub(super) octets: Arc<[u8]>,
    pub(super) flags: Flags,
    pub(super) arrived: SystemTime,
}

/// A folder. Unique identifiers only grow, and sequence numbers are positions.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) name: &'static str,
    pub(super) uid_next: u32,
    pub(super) messages: Vec<Message>,
}

impl Folder {
    /// Any number that is not 0 serves: nothing here outlives the process.
    pub(super) const UID_VALIDITY: u32 = 14;

    const fn new(name: &'static str) -> Self {
        Self { name, uid_next: 1, messages: Vec::new() }
    }

    fn add(&mut self, octets: Arc<[u8]>, flags: Flags, arrived: SystemTime) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.messages.push(Message { uid, octets, flags, arrived });
        uid
    }

    pub(super) fn position(&self, uid: u32) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |message| message.uid).ok()
    }
}

/// All folders of one address.
#[derive(Debug)]
pub(super) struct Mailbox {
    folders: Mutex<[Folder; 2]>,
    changed: watch::Sender<()>,
}

impl Mailbox {
    fn new() -> Self {
        Self { folders: Mutex::new([Folder::new(INBOX), Folder::new(SENT)]), changed: watch::Sender::new(()) }
    }

    pub(super) fn folders(&self) -> MutexGuard<'_, [Folder; 2]> {
        lock(&self.folders)
    }

    /// Reads or changes one folder; `None` where there is none of that name (RFC 3501: only INBOX is without case).
    pub(super) fn folder<T>(&self, name: &str, use_it: impl FnOnce(&mut Folder) -> T) -> Option<T> {
        let mut folders = self.folders();
        let named = |folder: &&mut Folder| match folder.name {
            INBOX => name.eq_ignore_ascii_case(INBOX),
            other => name == other,
        };
        folders.iter_mut().find(named).map(use_it)
    }

    /// Adds a message to a folder; its unique identifier, or `None` where there is no such folder.
    pub(super) fn add(&self, folder: &str, octets: &[u8], flags: Flags, arrived: SystemTime) -> Option<u32> {
        let uid = self.folder(folder, |folder| folder.add(octets.into(), flags, arrived));
        self.ring();
        uid
    }

    /// Tells everyone who watches this mailbox to look again.
    pub(super) fn ring(&self) {
        self.changed.send_replace(());
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// The mailboxes of a provider, by address without case.
#[derive(Debug)]
pub(super) struct Mailboxes(HashMap<String, Arc<Mailbox>>);

impl Mailboxes {
    pub(super) fn new(addresses: &[String]) -> Self {
        Self(
            addresses
                .iter()
                .map(|address| (address.to_ascii_lowercase(), Arc::new(Mailbox::new())))
                .collect(),
        )
    }

    pub(super) fn get(&self, address: &str) -> Option<&Arc<Mailbox>> {
        self.0.get(&address.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_no_case_and_folders_but_inbox_do() {
        let mailboxes = Mailboxes::new(&["Ann@Example.COM".into()]);
        let mailbox = mailboxes.get("aNN@example.com").unwrap();
        assert_eq!(mailbox.add("inbox", b"one", Flags::SEEN, SystemTime::now()), Some(1));
        assert_eq!(mailbox.add("sent items", b"one", Flags::SEEN, SystemTime::now()), None);
        assert_eq!(mailbox.folder(INBOX, |inbox| inbox.position(1)), Some(Some(0)));
        assert!(mailboxes.get("bob@example.com").is_none());
    }

    #[test]
    fn flags_are_listed_by_name() {
        let flags = Flags::default().with(Flags::SEEN).with(Flags::named("\\ANSWERED").unwrap());
        assert_eq!(flags.list(), "\\Answered \\Seen");
        assert_eq!(flags.without(Flags::SEEN).list(), "\\Answered");
        assert!(Flags::named("\\Recent").is_none());
    }
}
