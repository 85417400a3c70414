//! The control socket of a running gateway: who may ask is asked first, and nobody who speaks nonsense is heard for long.

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Group, Uid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::line::{self, Line, MAX_REQUEST};
use super::peer::{Doorman, READERS, Rights, name_of, root_or};
use super::{Answer, ControlError, Desk, Hold, Request, hold, socket};
use crate::drain::Drain;

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a line back may wait to be read.
const UNREAD: Duration = Duration::from_secs(10);

/// How many of those who may ask everything may ask at once.
const MOST: usize = 32;

/// How many others may ask at once: no number of them keeps out whoever has to end a login.
const MOST_READERS: usize = 8;

/// How long those who are being answered may still be answered when the gateway ends.
const CLOSING: Duration = Duration::from_secs(5);

/// The pause after a connection could not be accepted.
const AFTER_FAULT: Duration = Duration::from_millis(100);

/// The socket, before anybody is answered. Whoever connects waits. Dropped, it is removed.
#[derive(Debug)]
pub struct Claim {
    listener: StdListener,
    place: Place,
}

/// The socket's file, and that nobody else may have it.
#[derive(Debug)]
struct Place {
    file: PathBuf,
    /// So that of two that start at once one is told.
    _hold: Hold,
}

impl Drop for Place {
    fn drop(&mut self) {
        // A socket that stays is taken for what it is by the next one.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Takes the control socket in `state_dir`, which is made where it is missing.
///
/// # Errors
/// [`ControlError::Taken`] when another gateway has it, [`ControlError::Busy`] while a command works with the folder;
/// others when it cannot be made.
pub fn claim(state_dir: &Path) -> Result<Claim, ControlError> {
    let file = socket(state_dir);
    let failed = |error: io::Error| ControlError::Unusable { file: socket(state_dir), error };
    let hold = match hold(state_dir) {
        Err(ControlError::Busy(folder)) if StdStream::connect(&file).is_ok() => {
            return Err(ControlError::Taken(folder));
        }
        outcome => outcome?,
    };
    match StdStream::connect(&file) {
        Ok(_) => return Err(ControlError::Taken(state_dir.into())),
        // Left by one that was killed. What is no socket at all stays, and is told of.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused && is_socket(&file) => {
            std::fs::remove_file(&file).map_err(failed)?;
        }
        Err(_) => {}
    }
    let listener = StdListener::bind(&file).map_err(failed)?;
    let place = Place { file, _hold: hold };
    let owner = std::fs::metadata(state_dir).map_err(failed)?.uid();
    open_to_group(&place.file, owner).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    if let Ok(Some(group)) = Group::from_name(READERS)
        && let Err(error) = lchown(&place.file, None, Some(group.gid.as_raw()))
    {
        tracing::debug!("the group {READERS} cannot be let in to the control socket: {error}");
    }
    Ok(Claim { listener, place })
}

/// Lets the socket's owner and group in. In a folder of another user, who may have put a link in its place, never through
/// that link; in an own one nobody can, and older C libraries know only the plain way.
fn open_to_group(file: &Path, owner: u32) -> io::Result<()> {
    let mode = 0o660;
    if owner == Uid::effective().as_raw() {
        return std::fs::set_permissions(file, PermissionsExt::from_mode(mode));
    }
    let mode = Mode::from_bits_truncate(mode as _);
    Ok(fchmodat(AT_FDCWD, file, mode, FchmodatFlags::NoFollowSymlink)?)
}

fn is_socket(file: &Path) -> bool {
    std::fs::symlink_metadata(file).is_ok_and(|found| found.file_type().is_socket())
}

impl Claim {
    /// Lets `desk` answer whoever asks. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn serve(self, desk: Arc<dyn Desk>) -> Result<Server, ControlError> {
        self.serve_behind(Doorman::default(), desk)
    }

    fn serve_behind(self, doorman: Doorman, desk: Arc<dyn Desk>) -> Result<Server, ControlError> {
        let Self { listener, place } = self;
        let listener = UnixListener::from_std(listener)
            .map_err(|error| ControlError::Unusable { file: place.file.clone(), error })?;
        let drain = Drain::default();
        drain.spawn(accept_until(drain.clone(), listener, doorman, desk));
        Ok(Server { drain, _place: place })
    }
}

/// The socket that is being served. Dropped, it is removed and nobody is answered any more.
#[derive(Debug)]
pub struct Server {
    drain: Drain,
    _place: Place,
}

impl Server {
    /// Takes no more requests, finishes those under way, and removes the socket.
    pub async fn close(self) {
        self.drain.run(CLOSING).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.stop();
    }
}

async fn accept_until(drain: Drain, listener: UnixListener, doorman: Doorman, desk: Arc<dyn Desk>) {
    let (masters, readers) = (Arc::new(Semaphore::new(MOST)), Arc::new(Semaphore::new(MOST_READERS)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.began() => return,
            accepted = listener.accept() => accepted,
        };
        let known = accepted.and_then(|(stream, _)| stream.peer_cred().map(|peer| (stream, peer)));
        match known {
            Ok((stream, peer)) => {
                let is_master = (doorman.is_master)(peer);
                let places = if is_master { &masters } else { &readers };
                match Arc::clone(places).try_acquire_owned() {
                    Ok(place) if is_master => drain.spawn(serve(stream, Rights::All, Arc::clone(&desk), place)),
                    Ok(place) => drain.spawn(let_look(stream, peer, doorman.clone(), Arc::clone(&desk), place)),
                    Err(_) => turn_away(
                        stream,
                        Answer::failed("too many commands are asking this gateway at once; try again in a moment"),
                    ),
                }
            }
            Err(error) => {
                tracing::warn!("a command could not be let in at the control socket: {error}");
                tokio::time::sleep(AFTER_FAULT).await;
            }
        }
    }
}

/// Tried once: who comes in such numbers, or may not come, is not waited for.
fn turn_away(stream: UnixStream, answer: Answer) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&line::write(&Line::Answer(answer)));
    }
}

/// One connection of somebody who may look at most. Who may not is refused unheard, and has no place any more then.
async fn let_look(stream: UnixStream, peer: UCred, doorman: Doorman, desk: Arc<dyn Desk>, place: OwnedSemaphorePermit) {
    // The user database may be on another machine. The place goes along, so that no more than these wait for it.
    let asked = tokio::task::spawn_blocking(move || (doorman.is_reader)(peer).then_some(place));
    match timeout(PATIENCE, asked).await {
        Ok(Ok(Some(place))) => serve(stream, Rights::Reading, desk, place).await,
        _ => turn_away(stream, refused(Rights::None)),
    }
}

/// One connection.
async fn serve(stream: UnixStream, rights: Rights, desk: Arc<dyn Desk>, _place: OwnedSemaphorePermit) {
    converse(stream, rights, &*desk).await;
}

async fn converse(stream: UnixStream, rights: Rights, desk: &dyn Desk) {
    let mut stream = BufReader::new(stream);
    let answer = match timeout(PATIENCE, read(&mut stream)).await {
        Ok(Heard::Nothing) => return,
        Ok(Heard::Request(request)) if rights.allow(&request) => {
            tracing::debug!(?request, "asked at the control socket");
            return answer(stream.into_inner(), desk, request).await;
        }
        Ok(Heard::Request(_)) => refused(rights),
        Ok(Heard::Nonsense) => Answer::failed(
            "the gateway that runs does not understand this; if it is of another version than the command, restart it",
        ),
        Err(_) => Answer::failed("no whole request came in time; try again"),
    };
    // Whoever has left has no use for it.
    let _ = say(stream.get_mut(), &Line::Answer(answer)).await;
}

fn refused(rights: Rights) -> Answer {
    let own = name_of(nix::unistd::geteuid().as_raw());
    Answer::failed(match rights {
        Rights::Reading => format!(
            "members of the group {READERS} may list accounts and logins, and nothing else: run this as {}",
            root_or(Some(&own))
        ),
        _ => format!(
            "only {} may ask this gateway, and members of the group {READERS} for lists",
            if own == "root" { own } else { format!("root and {own}") }
        ),
    })
}

/// What came of listening for a request.
enum Heard {
    Request(Request),
    Nonsense,
    /// Not an octet: somebody wanted to know whether anybody listens.
    Nothing,
}

async fn read(stream: &mut BufReader<UnixStream>) -> Heard {
    // Of its full size at once, so that nothing secret is left behind where it grew.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_REQUEST));
    let most = MAX_REQUEST as u64;
    match stream.take(most).read_until(b'\n', &mut line).await {
        Ok(0) => Heard::Nothing,
        // Half a line may be the beginning of another request.
        Ok(_) => match line.strip_suffix(b"\n").and_then(line::parse_request) {
            Some(request) => Heard::Request(request),
            None => Heard::Nonsense,
        },
        Err(_) => Heard::Nothing,
    }
}

/// Does what is asked to its end, even when who asked has left: half a change helps nobody. What has no end of its own
/// ends then.
async fn answer(mut stream: UnixStream, desk: &dyn Desk, request: Request) {
    let (progress, mut told) = mpsc::channel(16);
    let is_endless = request.is_endless();
    let mut answer = desk.handle(request, progress);
    let mut listening = true;
    let (mut asker, mut stream) = stream.split();
    let mut more = [0];
    let answer = loop {
        tokio::select! {
            biased;
            Some(words) = told.recv(), if listening => {
                listening = say(&mut stream, &Line::Progress(words)).await.is_ok();
                if !listening {
                    told.close();
                }
            }
            // Nobody has anything more to say: what comes is the end.
            _ = asker.read(&mut more), if listening && is_endless => {
                listening = false;
                told.close();
            }
            answer = &mut answer => break answer,
        }
    };
    while let Ok(words) = told.try_recv() {
        listening = listening && say(&mut stream, &Line::Progress(words)).await.is_ok();
    }
    if listening {
        // As above.
        let _ = say(&mut stream, &Line::Answer(answer)).await;
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), line: &Line) -> io::Result<()> {
    timeout(UNREAD, stream.write_all(&line::write(line))).await?
}

#[cfg(test)]
mod tests;
