//! The files and folders of a store: for one user's eyes, made whole or not at all, and never another's than whom the
//! state folder belongs to. Knows nothing of what is in them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

use super::StoreError;

/// Permission bits that a file of the store may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Private {
    /// None for the group and others: files made here.
    Alone = 0o077,
    /// None for others. Whoever hands out secrets may show them with a group: systemd does, Kubernetes too.
    FromOthers = 0o007,
}

/// Makes a folder and those above it that are missing, each for its owner alone and of the owner of the one above.
///
/// # Errors
/// [`StoreError::Unavailable`] where that cannot be.
pub fn make_folder(folder: &Path) -> Result<(), StoreError> {
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => return may_write(folder, &found),
        Ok(_) => {
            let sentence = format!("{} is no folder: set state_dir to one", folder.display());
            return Err(StoreError::Unavailable(sentence));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("be looked at", folder, &error)),
    }
    let above = folder
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    make_folder(above)?;
    let made = private_folder(folder).and_then(|()| own_folder(folder, &fs::metadata(above)?));
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(cannot("be made", folder, &error)),
        _ => sync_folder(above),
    }
}

/// Refuses what belongs to another user than this process runs as, unless that is root: files made beside it would be
/// closed to whom they are for. What root owns may be shared with whoever can write there (a volume of Kubernetes).
///
/// # Errors
/// `Unavailable`, naming the user.
#[cfg(unix)]
pub(super) fn may_write(path: &Path, found: &Metadata) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid();
    if user.is_root() || [user.as_raw(), 0].contains(&found.uid()) {
        return Ok(());
    }
    let (path, owner, user) = (path.display(), found.uid(), user.as_raw());
    let sentence = format!("{path} belongs to user {owner} and this is user {user}: run this as user {owner} or root");
    Err(StoreError::Unavailable(sentence))
}

/// As on Unix; here the folder's inherited rights decide.
#[cfg(not(unix))]
pub(super) fn may_write(_: &Path, _: &Metadata) -> Result<(), StoreError> {
    Ok(())
}

/// Refuses a file that more users can read or write than may.
///
/// # Errors
/// `Unusable`, with the command that mends it.
#[cfg(unix)]
pub(super) fn check_private(file: &Path, found: &Metadata, private: Private) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = found.permissions().mode() & 0o777;
    if mode & private as u32 == 0 {
        return Ok(());
    }
    let file = file.display();
    let right = match private {
        Private::Alone => "600",
        Private::FromOthers => "o-rwx",
    };
    let sentence = format!("{file} is open to other users (mode {mode:03o}): close it with: chmod {right} {file}");
    Err(StoreError::Unusable(sentence))
}

/// As on Unix; what the standard library knows of a file does not tell.
#[cfg(not(unix))]
pub(super) fn check_private(_: &Path, _: &Metadata, _: Private) -> Result<(), StoreError> {
    Ok(())
}

/// A file that is being written under another name, to appear under its own when it is whole. Dropped, it vanishes.
#[derive(Debug)]
pub(super) struct Draft {
    file: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// An empty draft of `file`, which belongs to whom `state_dir` does.
    ///
    /// # Errors
    /// `Unavailable` where that cannot be.
    pub(super) fn of(file: &Path, state_dir: &Path) -> Result<(Self, File), StoreError> {
        let failed = |error: io::Error| cannot("be made", file, &error);
        let mut path = file.as_os_str().to_owned();
        path.push(format!(".{}.new", random_name()?));
        let path = PathBuf::from(path);
        let made = private_file(&path).map_err(failed)?;
        let draft = Self { file: file.to_owned(), path };
        fs::metadata(state_dir)
            .and_then(|owner| own_file(&made, &owner))
            .map_err(failed)?;
        Ok((draft, made))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, for good once this returns. `false` where there is a file of that name, which stays.
    ///
    /// # Errors
    /// `Unavailable` where that cannot be.
    pub(super) fn publish(self) -> Result<bool, StoreError> {
        match fs::hard_link(&self.path, &self.file) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(cannot("be made", &self.file, &error)),
        }
        sync_folder(self.file.parent().unwrap_or_else(|| Path::new(".")))?;
        Ok(true)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A name that is left over harms nobody.
        let _ = fs::remove_file(&self.path);
    }
}

/// Keeps `content` in a file of `state_dir`, for its owner's eyes, whole or not at all. `false` where there is a file of that
/// name, which stays.
///
/// # Errors
/// `Unavailable` where that cannot be.
pub fn keep_file(file: &Path, state_dir: &Path, content: &[u8]) -> Result<bool, StoreError> {
    written(file, state_dir, content)?.publish()
}

/// As [`keep_file`], in the place of a file that may be there, which is then called `old`.
///
/// # Errors
/// `Unavailable` where that cannot be.
pub fn replace_file(file: &Path, old: &Path, state_dir: &Path, content: &[u8]) -> Result<(), StoreError> {
    let draft = written(file, state_dir, content)?;
    let failed = |error: io::Error| cannot("be replaced", file, &error);
    // That either is missing is no fault.
    for done in [fs::remove_file(old), fs::hard_link(file, old)] {
        match done {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    fs::rename(&draft.path, file).map_err(failed)?;
    sync_folder(state_dir)
}

/// Takes a file of `state_dir` away for good once this returns. That there is none is no fault.
///
/// # Errors
/// `Unavailable` where that cannot be.
pub fn discard_file(file: &Path, state_dir: &Path) -> Result<(), StoreError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot("be removed", file, &error)),
        Ok(()) => sync_folder(state_dir),
    }
}

/// Refuses a file made here, if it is there, that more users than its owner can read or write.
///
/// # Errors
/// `Unusable`, with the command that mends it.
pub fn check_private_file(file: &Path) -> Result<(), StoreError> {
    match fs::metadata(file) {
        Ok(found) => check_private(file, &found, Private::Alone),
        // Whoever opens it says what is wrong.
        Err(_) => Ok(()),
    }
}

/// A draft of `file` with this in it.
fn written(file: &Path, state_dir: &Path, content: &[u8]) -> Result<Draft, StoreError> {
    use io::Write;
    let (draft, mut made) = Draft::of(file, state_dir)?;
    made.write_all(content)
        .and_then(|()| made.sync_all())
        .map_err(|error| cannot("be written", draft.path(), &error))?;
    Ok(draft)
}

/// A name that nobody else has.
///
/// # Errors
/// `Unavailable` where the system has no random octets.
pub(super) fn random_name() -> Result<String, StoreError> {
    let mut octets = [0; 8];
    rand::fill(&mut octets).map_err(|_| StoreError::Unavailable("the system gives no random octets".into()))?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// The sentence for a file or folder with which something cannot be done.
pub(super) fn cannot(what: &str, path: &Path, error: &io::Error) -> StoreError {
    let cure = match error.kind() {
        ErrorKind::PermissionDenied => "run this as the user that the gateway runs as, or as root",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on that disk",
        ErrorKind::ReadOnlyFilesystem => "name a folder that can be written as state_dir",
        ErrorKind::NotFound => "see that the folder it is to be in is there",
        _ => "see that its folder is on a local disk and can be written",
    };
    StoreError::Unavailable(format!("{} cannot {what} ({error}): {cure}", path.display()))
}

#[cfg(unix)]
fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Gives a new file to the owner of another, as root can and must.
#[cfg(unix)]
fn own_file(made: &File, owner: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    if !rustix::process::geteuid().is_root() || made.metadata()?.uid() == owner.uid() {
        return Ok(());
    }
    fchown(made, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(not(unix))]
fn own_file(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Gives a new folder to the owner of the one above. Not through a link that the latter may have put in its place.
#[cfg(unix)]
fn own_folder(made: &Path, owner: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, lchown};
    if !rustix::process::geteuid().is_root() || fs::symlink_metadata(made)?.uid() == owner.uid() {
        return Ok(());
    }
    lchown(made, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(not(unix))]
fn own_folder(_: &Path, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Makes a new name last (fsync(2): that of a file says nothing of its name).
#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)
        .and_then(|open| open.sync_all())
        .map_err(|error| cannot("be written", folder, &error))
}

/// As on Unix; elsewhere a folder is no file that could be synced.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), StoreError> {
    Ok(())
}
