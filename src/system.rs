//! What only the operating system can give: descriptors, the machine's addresses, the end of a whole group of processes.

use std::net::IpAddr;

/// Descriptors kept free for listeners, the resolver, the token endpoint and the log.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Raises the descriptor limit as far as it goes, and says how many sessions of two descriptors each fit into it.
/// `None` where there is no limit, or no way to know.
#[cfg(unix)]
#[must_use]
pub fn raise_descriptor_limit() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }?;
    usize::try_from(descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 2).ok()
}

/// As on Unix; other systems have no such limit.
#[cfg(not(unix))]
#[must_use]
pub fn raise_descriptor_limit() -> Option<usize> {
    None
}

/// Has a command lead a group of processes, with all that it starts, so that they can be ended together.
#[cfg(unix)]
pub fn begin_group(command: &mut tokio::process::Command) {
    command.process_group(0);
}

/// Other systems have no such groups.
#[cfg(not(unix))]
pub const fn begin_group(_command: &mut tokio::process::Command) {}

/// Kills a group of processes. `leader` is the id of the process that leads it and has not been waited for yet.
#[cfg(unix)]
pub fn end_group(leader: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(leader) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

/// Other systems have no such groups.
#[cfg(not(unix))]
pub const fn end_group(_leader: u32) {}

/// Every address this machine has now, but for those that mean another thing on each of its interfaces. Empty where that
/// cannot be known.
#[cfg(unix)]
#[must_use]
pub fn addresses() -> Vec<IpAddr> {
    use nix::sys::socket::SockaddrStorage;
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let address = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|known| IpAddr::from(known.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|known| IpAddr::from(known.ip())))
    };
    let mut known: Vec<IpAddr> = interfaces.filter_map(|interface| interface.address.and_then(address)).collect();
    known.retain(|known| match known {
        IpAddr::V4(known) => !known.is_link_local(),
        IpAddr::V6(known) => !known.is_unicast_link_local(),
    });
    known
}

/// As on Unix; the standard library does not tell elsewhere.
#[cfg(not(unix))]
#[must_use]
pub const fn addresses() -> Vec<IpAddr> {
    Vec::new()
}
