//! What only the operating system can give: descriptors.

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
