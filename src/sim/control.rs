//! What a test or the demo may ask of a running simulator and change in it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::time::Instant;

use super::endpoint::{self, Issuer};
use super::faults::{Fault, Plan, TokenFault};
use super::listener::{Door, Orders, door};
use super::mailbox::{Flags, Folder, INBOX, Mailbox, Mailboxes, SENT};
use super::record::{Direction, Record, lock};
use super::sasl::Mechanism;
use super::tls::{Acceptors, Authority};
use super::token::Tokens;
use super::{Options, Protocol};

/// Everything the servers of one simulator share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) plan: Plan,
    pub(super) record: Record,
    pub(super) tokens: Tokens,
    pub(super) issuer: Issuer,
    /// What the mail servers offer.
    pub(super) mechanisms: Mutex<Vec<Mechanism>>,
    pub(super) mailboxes: Mailboxes,
    pub(super) acceptors: Acceptors,
    submissions: Mutex<Vec<Submission>>,
    doors: [Door; 4],
}

/// A message that SMTP accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The mailbox that was logged in.
    pub account: String,
    /// The reverse-path of MAIL, without its brackets.
    pub from: String,
    /// The forward-paths of RCPT, without their brackets.
    pub recipients: Vec<String>,
    /// The parameters of MAIL as they came.
    pub parameters: String,
    /// The message, without the transparency dots.
    pub octets: Vec<u8>,
}

/// A handle on a running simulator; copies share it.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Lets a fault happen until the faults are cleared.
    pub fn fail(&self, protocol: Protocol, fault: Fault) {
        self.shared.plan.add(protocol, fault, None);
    }

    /// Lets a fault happen this many times. Faults planned earlier are used up first.
    pub fn fail_next(&self, protocol: Protocol, times: usize, fault: Fault) {
        self.shared.plan.add(protocol, fault, Some(times));
    }

    /// Lets every token request go wrong until the faults are cleared.
    pub fn fail_tokens(&self, fault: TokenFault) {
        self.shared.plan.add_token(fault, None);
    }

    /// Lets this many token requests go wrong.
    pub fn fail_next_tokens(&self, times: usize, fault: TokenFault) {
        self.shared.plan.add_token(fault, Some(times));
    }

    /// Forgets everything that was to go wrong. What a dialogue has already met stays.
    pub fn clear_faults(&self) {
        self.shared.plan.clear();
    }

    /// Lets the mail servers offer and take these mechanisms and no others. At first XOAUTH2, and at Gmail both.
    pub fn offer_mechanisms(&self, mechanisms: &[Mechanism]) {
        *lock(&self.shared.mechanisms) = mechanisms.to_vec();
    }

    /// Stops a server's listening, so that connections are refused while the port stays reserved. Connections that are
    /// there stay.
    pub async fn close_door(&self, protocol: Protocol) {
        self.shared.doors[protocol as usize].set(false).await;
    }

    /// Lets a server listen again.
    pub async fn open_door(&self, protocol: Protocol) {
        self.shared.doors[protocol as usize].set(true).await;
    }

    /// How many token requests have come, whatever their answer.
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.shared.record.seen().token_requests
    }

    /// How many connections a server has accepted.
    #[must_use]
    pub fn connections(&self, protocol: Protocol) -> usize {
        self.shared.record.seen().counts[protocol as usize].connections
    }

    /// How many connections a server has open.
    #[must_use]
    pub fn open_connections(&self, protocol: Protocol) -> usize {
        self.shared.record.seen().counts[protocol as usize].open
    }

    /// How many logins succeeded.
    #[must_use]
    pub fn logins_ok(&self, protocol: Protocol) -> usize {
        self.shared.record.seen().counts[protocol as usize].logins_ok
    }

    /// How many logins were refused, for whatever reason.
    #[must_use]
    pub fn logins_refused(&self, protocol: Protocol) -> usize {
        self.shared.record.seen().counts[protocol as usize].logins_refused
    }

    /// How many TLS handshakes went on with an earlier connection's session.
    #[must_use]
    pub fn resumed(&self, protocol: Protocol) -> usize {
        self.shared.record.seen().counts[protocol as usize].resumed
    }

    /// How many octets a server has read, inside TLS where there is TLS.
    #[must_use]
    pub fn received(&self, protocol: Protocol) -> u64 {
        self.shared.record.seen().counts[protocol as usize].received
    }

    /// The messages in a mailbox's INBOX exactly as they arrived, without SMTP's dots; none where there is no such
    /// mailbox.
    #[must_use]
    pub fn messages(&self, mailbox: &str) -> Vec<Vec<u8>> {
        let Some(mailbox) = self.shared.mailboxes.get(mailbox) else { return Vec::new() };
        let inbox = |folder: &mut Folder| folder.messages.iter().map(|message| message.octets.to_vec()).collect();
        mailbox.folder(INBOX, inbox).unwrap_or_default()
    }

    /// Puts a message into a mailbox's INBOX; whether there is such a mailbox.
    pub fn deliver(&self, mailbox: &str, octets: &[u8]) -> bool {
        let Some(mailbox) = self.shared.mailboxes.get(mailbox) else { return false };
        let uid = mailbox.add(INBOX, octets, Flags::default(), SystemTime::now());
        self.shared.record.ring();
        uid.is_some()
    }

    /// Every message that SMTP accepted, whoever it was for, in order.
    #[must_use]
    pub fn submissions(&self) -> Vec<Submission> {
        lock(&self.shared.submissions).clone()
    }

    /// What each DATA phase received, octet by octet with dots and the end of data, in order; what came of one that was
    /// cut off, too. BDAT is not in it.
    #[must_use]
    pub fn raw_smtp(&self) -> Vec<Vec<u8>> {
        self.shared.record.seen().raw_smtp.clone()
    }

    /// The name in the last EHLO.
    #[must_use]
    pub fn last_ehlo_name(&self) -> Option<String> {
        self.shared.record.seen().last_ehlo_name.clone()
    }

    /// Where a client broke a grammar or an order of commands, one printable sentence each. A gateway in order leaves
    /// this empty.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.record.seen().violations.clone()
    }

    /// Every line said, in order, printable, with tokens and other long words shortened; message data is one line. The
    /// newest 20,000.
    #[must_use]
    pub fn dialogue(&self) -> Vec<(Protocol, Direction, String)> {
        self.shared.record.seen().dialogue()
    }

    /// The tokens given out and not revoked: what a log must not hold.
    #[must_use]
    pub fn issued_tokens(&self) -> Vec<String> {
        self.shared.tokens.issued()
    }

    /// Makes every token given out so far worthless. Sessions that are logged in stay so.
    pub fn revoke_all_tokens(&self) {
        self.shared.tokens.revoke_all();
    }

    /// Waits until a condition on this handle holds; it is looked at again whenever something happens.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut bell = self.shared.record.bell();
        while !holds(self) {
            if bell.changed().await.is_err() {
                return;
            }
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(options: Options, authority: &Authority) -> io::Result<(Self, [Orders; 4])> {
        let [smtp, imap, pop3, http] = [(); 4].map(|()| door());
        let shared = Self {
            plan: Plan::default(),
            record: Record::new(),
            tokens: Tokens::new(options.token_lifetime, options.token_length),
            issuer: Issuer::new(&options),
            mechanisms: Mutex::new(Mechanism::offered_by(options.personality)),
            mailboxes: Mailboxes::new(&options.mailboxes),
            acceptors: Acceptors::new(authority)?,
            submissions: Mutex::default(),
            doors: [smtp.0, imap.0, pop3.0, http.0],
            options,
        };
        Ok((shared, [smtp.1, imap.1, pop3.1, http.1]))
    }

    /// The mailbox that a user and a token open over a protocol; `None` where they do not.
    pub(super) fn opened_by(&self, user: &str, token: &str, protocol: Protocol) -> Option<&Arc<Mailbox>> {
        let access = self.tokens.access(token, Instant::now())?;
        self.mailboxes
            .get(user)
            .filter(|_| endpoint::opens(self, &access, user, protocol))
    }

    /// Delivers what SMTP accepted: a copy for the sender, and one for every recipient who lives here.
    /// The result is the message's number, from 1.
    pub(super) fn accept(&self, submission: Submission) -> usize {
        let now = SystemTime::now();
        let deliver = |address: &str, folder, flags| {
            if let Some(mailbox) = self.mailboxes.get(address) {
                mailbox.add(folder, &submission.octets, flags, now);
            }
        };
        deliver(&submission.account, SENT, Flags::SEEN);
        for recipient in &submission.recipients {
            deliver(recipient, INBOX, Flags::default());
        }
        let number = {
            let mut submissions = lock(&self.submissions);
            submissions.push(submission);
            submissions.len()
        };
        self.record.ring();
        number
    }
}
