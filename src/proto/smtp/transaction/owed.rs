//! The replies the downstream is owed, in the order of its commands: the upstream's, and ours between them.

use std::collections::VecDeque;

use crate::proto::CloseReason;
use crate::proto::smtp::reply::Reply;

/// How many replies may be outstanding; a downstream that pipelines further is not read until one has come.
pub(super) const MAX_OWED: usize = 64;

/// A reply of the upstream, by what was asked.
#[derive(Debug)]
pub(super) enum Asked {
    /// MAIL of this number, with this reverse-path.
    Mail {
        number: u64,
        sender: Vec<u8>,
    },
    Rcpt,
    Rset,
    /// RSET that the downstream knows nothing of.
    OurReset,
    /// The answer is 354 or a refusal.
    Data,
    /// The final answer to a message of this size.
    EndOfData {
        octets: u64,
    },
    /// BDAT. `whole`: with it a chunk of the downstream has gone, so that its answer is the downstream's.
    Chunk {
        octets: u64,
        whole: bool,
        last: bool,
        /// Of which message of the session.
        message: u64,
        /// Whether it is the last, and pieces of its chunk before it have no answer yet. Where one of them is refused, what
        /// comes next has to be a RSET of ours.
        ends_group: bool,
    },
    /// BDAT for a chunk that the downstream has its answer to.
    DroppedChunk,
    /// EHLO, which the downstream may have called HELO.
    Hello {
        with_extensions: bool,
    },
    Quit,
    /// VRFY, EXPN, NOOP, HELP: changes nothing.
    Other,
}

impl Asked {
    pub(super) const fn is_about_message_data(&self) -> bool {
        matches!(self, Self::Data | Self::EndOfData { .. } | Self::Chunk { .. })
    }

    /// Whether the downstream gets no answer to it. Only that the upstream is about to close is told at any time.
    pub(super) const fn is_silent(&self) -> bool {
        matches!(self, Self::DroppedChunk | Self::OurReset)
    }

    /// Whether nothing may be sent behind it before its answer (RFC 2920 section 3.1; of chunks it is a rule of ours).
    const fn ends_its_group(&self) -> bool {
        matches!(
            self,
            Self::Data | Self::Hello { .. } | Self::Quit | Self::Other | Self::Chunk { ends_group: true, .. }
        )
    }
}

#[derive(Debug)]
enum Entry {
    Upstreams(Asked),
    Ours(Reply),
    Farewell(Reply, CloseReason),
}

/// The queue. What stands at its front is the upstream's to say, whenever [`Owed::say_ours`] was called last.
#[derive(Debug, Default)]
pub(super) struct Owed {
    entries: VecDeque<Entry>,
}

impl Owed {
    pub(super) fn upstreams(&mut self, asked: Asked) {
        self.entries.push_back(Entry::Upstreams(asked));
    }

    pub(super) fn ours(&mut self, reply: Reply) {
        self.entries.push_back(Entry::Ours(reply));
    }

    /// A last reply, after which the session ends.
    pub(super) fn farewell(&mut self, reply: Reply, reason: CloseReason) {
        self.entries.push_back(Entry::Farewell(reply, reason));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether one of them is for the downstream.
    pub(super) fn is_awaited(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| !matches!(entry, Entry::Upstreams(asked) if asked.is_silent()))
    }

    /// Whether another command may follow those that wait.
    pub(super) fn takes_more(&self) -> bool {
        self.entries.len() < MAX_OWED
            && !matches!(self.entries.back(), Some(Entry::Upstreams(asked)) if asked.ends_its_group())
    }

    /// The front of the queue is about the rest of a chunk that was refused: what is said to it is not for the downstream.
    /// Says whether all of that chunk has been sent.
    pub(super) fn drop_chunk(&mut self) -> bool {
        for entry in &mut self.entries {
            let &mut Entry::Upstreams(Asked::Chunk { whole, .. }) = entry else { return false };
            *entry = Entry::Upstreams(Asked::DroppedChunk);
            if whole {
                return true;
            }
        }
        false
    }

    /// The same for the back of the queue, where pieces of a chunk stand that is not all sent.
    pub(super) fn drop_last_chunk(&mut self) {
        for entry in self.entries.iter_mut().rev() {
            let Entry::Upstreams(Asked::Chunk { whole: false, .. }) = entry else { return };
            *entry = Entry::Upstreams(Asked::DroppedChunk);
        }
    }

    /// Whether a piece has no answer yet that is not the end of its chunk.
    pub(super) fn awaits_pieces(&self) -> bool {
        self.asked().any(|asked| matches!(asked, Asked::Chunk { whole: false, .. }))
    }

    /// What the upstream is still to answer, in order.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Asked> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Upstreams(asked) => Some(asked),
            Entry::Ours(_) | Entry::Farewell(..) => None,
        })
    }

    /// What the upstream's next reply answers, still owed; `None` if it was not asked for anything.
    pub(super) fn next(&self) -> Option<&Asked> {
        match self.entries.front()? {
            Entry::Upstreams(asked) => Some(asked),
            Entry::Ours(_) | Entry::Farewell(..) => None,
        }
    }

    /// Takes what [`next`](Self::next) has shown: it is answered.
    pub(super) fn answered(&mut self) -> Option<Asked> {
        match self.entries.pop_front()? {
            Entry::Upstreams(asked) => Some(asked),
            ours => {
                self.entries.push_front(ours);
                None
            }
        }
    }

    /// Writes our own replies until one of the upstream's is due; says whether the session ended with them.
    pub(super) fn say_ours(&mut self, out: &mut Vec<u8>) -> Option<CloseReason> {
        loop {
            match self.entries.pop_front()? {
                Entry::Ours(reply) => reply.write(out),
                Entry::Farewell(reply, reason) => {
                    reply.write(out);
                    return Some(reason);
                }
                upstreams @ Entry::Upstreams(_) => {
                    self.entries.push_front(upstreams);
                    return None;
                }
            }
        }
    }
}
