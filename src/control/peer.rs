//! Who sits at the other end of the control socket, and what they may ask.

use std::sync::Arc;

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
    pub(super) const fn allow(self, request: &Request) -> bool {
        match self {
            Self::All => true,
            Self::Reading => request.is_reading(),
            Self::None => false,
        }
    }
}

/// A question about a peer.
type Test = Arc<dyn Fn(UCred) -> bool + Send + Sync>;

/// Knows who may ask what.
#[derive(Clone)]
pub(super) struct Doorman {
    /// Whether somebody may ask everything. Answers at once.
    pub(super) is_master: Test,
    /// Whether somebody may look. Asks the system's user database, which may take a while.
    pub(super) is_reader: Test,
}

impl Default for Doorman {
    /// Root and the user this process runs as may ask everything, members of the group may look.
    fn default() -> Self {
        Self {
            is_master: Arc::new(|peer| is_master(Uid::from_raw(peer.uid()), Uid::effective())),
            is_reader: Arc::new(|peer| is_reader(Uid::from_raw(peer.uid()), Gid::from_raw(peer.gid()))),
        }
    }
}

fn is_master(peer: Uid, own: Uid) -> bool {
    peer.is_root() || peer == own
}

/// Whether what `peer` runs may be told what a command has to say: root's, the own user's, or that of whom the state
/// folder belongs to.
pub(super) fn may_be_gateway(peer: u32, own: u32, owner: Option<u32>) -> bool {
    peer == 0 || peer == own || Some(peer) == owner
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

/// Whom to run a command as that the gateway of `user` answers.
pub(super) fn root_or(user: Option<&str>) -> String {
    match user {
        Some(user) if user != "root" => format!("root or as {user}"),
        _ => "root".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_named_once() {
        assert_eq!([Some("mailferry"), Some("root"), None].map(root_or), ["root or as mailferry", "root", "root"]);
    }

    #[test]
    fn a_gateway_is_roots_or_ones_own_or_the_folders_owners() {
        assert_eq!([0, 7, 8, 9].map(|peer| may_be_gateway(peer, 7, Some(8))), [true, true, true, false]);
        assert!(!may_be_gateway(8, 7, None));
    }

    #[test]
    fn root_and_the_own_user_may_ask_everything_and_readers_may_look() {
        let user = Uid::from_raw;
        assert_eq!([0, 7, 8].map(|peer| is_master(user(peer), user(7))), [true, true, false]);
        let (look, change) = (Request::Logins, Request::RevokeLogin { id: 1 });
        let allowed =
            [Rights::All, Rights::Reading, Rights::None].map(|rights| [&look, &change].map(|r| rights.allow(r)));
        assert_eq!(allowed, [[true, true], [true, false], [false, false]]);
        assert!(!Rights::Reading.allow(&Request::Watch { from: None }), "what devices say is not for everybody");
    }

    #[test]
    fn a_user_nobody_knows_is_no_reader() {
        assert!(!is_reader(Uid::from_raw(u32::MAX - 7), Gid::from_raw(u32::MAX - 7)));
    }
}
