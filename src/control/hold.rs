//! That only one process at a time works with a state folder: a lock on a file in it that others cannot even open.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::Uid;

use super::ControlError;

/// The right to open the store in a state folder. Given back when dropped, or when the process dies.
#[derive(Debug)]
pub struct Hold {
    /// Not every file system knows such locks.
    _lock: Option<File>,
}

/// Takes the right to work with what is in `state_dir`, which is made where it is missing.
///
/// # Errors
/// [`ControlError::Busy`] while another process has it; others when the folder is open to others or cannot be used.
pub fn hold(state_dir: &Path) -> Result<Hold, ControlError> {
    let file = state_dir.join("control.lock");
    let failed = |error: io::Error| ControlError::Unusable { file: file.clone(), error };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(failed)?;
    let folder = fs::metadata(state_dir).map_err(failed)?;
    let mode = folder.mode() & 0o7777;
    // Whoever can write there can put another socket in the place of the gateway's.
    if mode & 0o022 != 0 {
        return Err(ControlError::Open { folder: state_dir.into(), mode });
    }
    let lock = open(&file, &folder).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(Hold { _lock: Some(lock) }),
        Err(TryLockError::WouldBlock) => Err(ControlError::Busy(state_dir.into())),
        Err(TryLockError::Error(_)) => Ok(Hold { _lock: None }),
    }
}

/// The file, which belongs to whom `folder` does and is closed to all others. Never what a link leads to.
fn open(file: &Path, folder: &Metadata) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().create_new(true).open(file) {
        Ok(made) => {
            if Uid::effective().is_root() && folder.uid() != 0 {
                fchown(&made, Some(folder.uid()), Some(folder.gid()))?;
            }
            return Ok(made);
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // Should it be a pipe, nobody is waited for.
    let found = options
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(file)?;
    let metadata = found.metadata()?;
    if !metadata.is_file() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is open to other users; remove it"));
    }
    Ok(found)
}
