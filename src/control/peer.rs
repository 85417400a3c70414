//! Who sits at the other end of the control socket, and what they may ask.

use nix::unistd::{Gid, Group, Uid, User};
use tokio::net::unix::UCred;

use super::Request;

/// The group whose members may look.
pub(super) const READERS: &str = "mailferry";

/// What somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    All,
    /// What only looks.
    Reading,
    None,
}

impl Rights {
    /// Root and the user this process runs as may ask everything, members of the group may look. Asks the system's user
    /// database, which may take a while.
    pub(super) fn of(peer: UCred) -> Self {
        let (uid, gid) = (Uid::from_raw(peer.uid()), Gid::from_raw(peer.gid()));
        Self::decide(uid, Uid::effective(), || is_reader(uid, gid))
    }

    fn decide(peer: Uid, own: Uid, is_reader: impl FnOnce() -> bool) -> Self {
        if peer.is_root() || peer == own {
            Self::All
        } else if is_reader() {
            Self::Reading
        } else {
            Self::None
        }
    }

    pub(super) const fn allow(self, request: &Request) -> bool {
        match self {
            Self::All => true,
            Self::Reading => request.is_reading(),
            Self::None => false,
        }
    }
}

/// By the group of the process, the primary group of the user, or the group's list. Who cannot be looked up is none.
fn is_reader(uid: Uid, gid: Gid) -> bool {
    let Ok(Some(group)) = Group::from_name(READERS) else { return false };
    if gid == group.gid {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    user.gid == group.gid || group.mem.contains(&user.name)
}

/// The user this process runs as, by name where it has one: to tell others whom to run a command as.
pub(super) fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("user {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_own_user_may_ask_everything_and_readers_may_look() {
        let user = Uid::from_raw;
        let rights = |peer, reader| Rights::decide(user(peer), user(7), || reader);
        assert_eq!([rights(0, false), rights(7, false)], [Rights::All; 2]);
        assert_eq!([rights(8, true), rights(8, false)], [Rights::Reading, Rights::None]);
        let (look, change) = (Request::Logins, Request::RevokeLogin { id: 1 });
        let allowed =
            [Rights::All, Rights::Reading, Rights::None].map(|rights| [&look, &change].map(|r| rights.allow(r)));
        assert_eq!(allowed, [[true, true], [true, false], [false, false]]);
    }

    #[test]
    fn a_user_nobody_knows_is_no_reader() {
        assert!(!is_reader(Uid::from_raw(u32::MAX - 7), Gid::from_raw(u32::MAX - 7)));
    }
}
