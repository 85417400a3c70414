//! Asks a running gateway, as a command does.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::line::{self, Line, MAX_ANSWER};
use super::peer::{READERS, may_be_gateway, name_of, root_or};
use super::{Answer, AskError, Request, socket};

/// How long a gateway may think before it says another line: a login at each upstream, and a message sent.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Whether a gateway listens at the control socket in `state_dir`.
///
/// # Errors
/// When that cannot be known, above all since this user may not ask.
pub async fn listens(state_dir: &Path) -> Result<bool, AskError> {
    // What is going to be asked is not known: it may be a list.
    match connect(state_dir, true).await {
        Ok(_) => Ok(true),
        Err(AskError::NobodyListens) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks the gateway whose control socket is in `state_dir`. `on_progress` is told how it goes.
///
/// # Errors
/// See [`AskError`].
pub async fn ask(state_dir: &Path, request: &Request, mut on_progress: impl FnMut(&str)) -> Result<Answer, AskError> {
    let is_reading = request.is_reading();
    let request = line::write_request(request).ok_or(AskError::TooLong)?;
    let mut stream = BufReader::new(connect(state_dir, is_reading).await?);
    // A gateway that refuses may have said so and closed before it has read all.
    let _ = timeout(PATIENCE, stream.write_all(&request)).await;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut stream).take(MAX_ANSWER as u64 + 1);
        match timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await {
            Err(_) => return Err(AskError::Silent),
            Ok(Err(_) | Ok(0)) => return Err(AskError::Lost),
            Ok(Ok(_)) => {}
        }
        let whole = line.strip_suffix(b"\n").ok_or(if line.len() > MAX_ANSWER {
            AskError::Nonsense
        } else {
            AskError::Lost
        })?;
        match line::parse(whole).ok_or(AskError::Nonsense)? {
            Line::Progress(words) => on_progress(&words),
            Line::Answer(answer) => return Ok(answer),
        }
    }
}

/// `is_reading`: who may only look may ask this.
async fn connect(state_dir: &Path, is_reading: bool) -> Result<UnixStream, AskError> {
    let file = socket(state_dir);
    let stream = match UnixStream::connect(&file).await {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NobodyListens,
                ErrorKind::PermissionDenied => {
                    let readers = is_reading.then_some(READERS);
                    AskError::Denied { masters: masters(state_dir), readers, file }
                }
                _ => AskError::Broken { file, error },
            });
        }
    };
    // What is asked may be a refresh token: it goes to nobody else.
    let listener = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => return Err(AskError::Broken { file, error }),
    };
    let owner = std::fs::metadata(state_dir).ok().map(|found| found.uid());
    if !may_be_gateway(listener, Uid::effective().as_raw(), owner) {
        return Err(AskError::Stranger { file, user: name_of(listener) });
    }
    Ok(stream)
}

/// Who may ask the gateway of `state_dir` everything, as far as the files tell: what stands behind "run this as".
#[must_use]
pub fn masters(state_dir: &Path) -> String {
    let found: io::Result<_> = std::fs::metadata(socket(state_dir)).or_else(|_| std::fs::metadata(state_dir));
    root_or(found.ok().map(|found| name_of(found.uid())).as_deref())
}
