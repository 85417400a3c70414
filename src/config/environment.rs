//! What a configuration takes from the process around it. Tests put their own in its place.

use std::ffi::OsString;
use std::fmt;
use std::fs::Metadata;
use std::path::PathBuf;

/// Looks a variable up.
type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// The process's surroundings.
pub struct Environment {
    variable: Box<Lookup>,
    /// Where relative paths on the command line start.
    pub working_folder: PathBuf,
    /// Whether the process runs as root.
    pub root: bool,
    /// The machine's name.
    pub machine: Option<String>,
}

impl Environment {
    /// The surroundings of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            variable: Box::new(|name| std::env::var_os(name)),
            working_folder: std::env::current_dir().unwrap_or_default(),
            root: is_root(),
            machine: machine_name(),
        }
    }

    /// Surroundings that hold these variables and nothing else, on a machine named `localhost`.
    #[must_use]
    pub fn of_variables<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables = variables.map(|(name, value)| (name.to_owned(), OsString::from(value)));
        let lookup = move |name: &str| {
            variables
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        Self {
            variable: Box::new(lookup),
            working_folder: PathBuf::new(),
            root: false,
            machine: Some("localhost".into()),
        }
    }

    /// A variable. One that is set to nothing counts as not set.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// A variable that names a folder by an absolute path; any other value counts as not set, as the XDG Base
    /// Directory Specification wants it.
    pub(super) fn folder(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

impl fmt::Debug for Environment {
    /// Leaves the variables out: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { working_folder, root, machine, .. } = self;
        write!(f, "Environment({}, root: {root}, machine: {machine:?})", working_folder.display())
    }
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

#[cfg(unix)]
fn machine_name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
}

#[cfg(not(unix))]
fn machine_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

/// Whether users that are neither the file's owner nor in its group can read it.
#[cfg(unix)]
pub(crate) fn others_can_read(file: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o004 != 0
}

/// Whether users that are neither the file's owner nor in its group can change it.
#[cfg(unix)]
pub(super) fn others_can_write(file: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o002 != 0
}

/// Whether other users can change it: not to be told from what the standard library knows of the file.
#[cfg(not(unix))]
pub(super) fn others_can_write(_: &Metadata) -> bool {
    false
}

/// Whether somebody who is neither this process's user nor root can change the file, now or after a chmod of their own.
#[cfg(unix)]
pub(super) fn others_can_change(file: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    is_in_other_hands(file.uid(), file.mode(), rustix::process::geteuid().as_raw())
}

#[cfg(unix)]
const fn is_in_other_hands(owner: u32, mode: u32, user: u32) -> bool {
    (owner != user && owner != 0) || mode & 0o022 != 0
}

/// Whether other users can change it: not to be told from what the standard library knows of the file.
#[cfg(not(unix))]
pub(super) fn others_can_change(_: &Metadata) -> bool {
    false
}

/// Whether other users can read it: not to be told from what the standard library knows of the file.
#[cfg(not(unix))]
pub(crate) fn others_can_read(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::is_in_other_hands;

    #[test]
    fn a_file_is_in_good_hands_where_its_user_or_root_alone_can_write_to_it() {
        let (root, user, other) = (0, 1000, 1001);
        for (owner, mode, process) in
            [(user, 0o644, user), (user, 0o400, user), (root, 0o644, user), (root, 0o600, root)]
        {
            assert!(!is_in_other_hands(owner, mode, process), "{owner} {mode:o} {process}");
        }
        for (owner, mode, process) in
            [(other, 0o600, user), (user, 0o600, root), (user, 0o664, user), (root, 0o646, user), (user, 0o622, user)]
        {
            assert!(is_in_other_hands(owner, mode, process), "{owner} {mode:o} {process}");
        }
    }
}
