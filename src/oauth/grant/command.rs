//! Tokens from a program of the user's: pizauth, oama and the like. It is run without a shell, for so long, and what it
//! prints is believed only as far as it looks like a token.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Issued;
use crate::oauth::answer::seconds;
use crate::oauth::credentials::{TokenError, TokenFault};
use crate::oauth::hints::{needs_person, shown, transient};
use crate::secret::AccessToken;
use crate::system;

/// How long a command may run.
const TIME: Duration = Duration::from_secs(30);

/// The most a command may print, in octets: twice the longest token.
const MAX_OUTPUT: usize = 32 * 1024;

/// The most of its standard error that is looked at, in octets.
const MAX_ERRORS: usize = 4 * 1024;

/// How long a token without a date is used. Programs of this kind refresh by themselves, ahead of the end: whoever asks
/// again within minutes is given a good one.
const ASSUMED_LIFE: Duration = Duration::from_secs(5 * 60);

/// The longest life that is believed.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a command printed, where it is JSON.
#[derive(Deserialize)]
struct Printed {
    access_token: String,
    expires_in: Option<Value>,
}

/// Runs the command and takes the token it prints.
pub(super) async fn fetch(command: &[String]) -> Result<Issued, TokenError> {
    run(command, TIME).await
}

async fn run(command: &[String], time: Duration) -> Result<Issued, TokenError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(needs_person("The command is empty", "Set command to a program and its arguments"));
    };
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    system::begin_group(&mut command);
    let child = command.spawn().map_err(|error| not_started(program, &error))?;
    let mut errors = Vec::new();
    let ran = timeout(time, watch(child, &mut errors)).await;
    let name = shown(program);
    match ran {
        Err(_elapsed) => {
            Err(said(&errors, transient(format!("The command {name} did not end within {} s", time.as_secs()))))
        }
        Ok(Err(Fault::Floods)) => {
            let what = format!("The command {name} prints more than any token is long");
            Err(said(&errors, needs_person(what, "It must print a token and nothing else")))
        }
        Ok(Err(Fault::Broken(error))) => {
            Err(said(&errors, transient(format!("The command {name} broke off: {error}"))))
        }
        Ok(Ok((status, _))) if !status.success() => Err(said(&errors, failed(&name, status))),
        Ok(Ok((_, output))) => token(&output).ok_or_else(|| {
            let what = format!("The command {name} ended well and printed no token");
            said(
                &errors,
                needs_person(what, "It must print a token on one line, or JSON with access_token and expires_in"),
            )
        }),
    }
}

enum Fault {
    Floods,
    Broken(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Ends a command with all it has started, unless it was waited for.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            system::end_group(leader);
        }
    }
}

/// Reads what a command prints until it has ended. Dropped before that, or at a fault, it kills the command.
async fn watch(mut child: Child, errors: &mut Vec<u8>) -> Result<(ExitStatus, Zeroizing<Vec<u8>>), Fault> {
    let mut group = Group(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (output, ()) = tokio::try_join!(all(stdout), beginning(stderr, errors))?;
    let status = child.wait().await?;
    group.0 = None;
    Ok((status, output))
}

/// All of a stream, which must not be longer than any token.
async fn all(stream: Option<impl AsyncRead + Unpin>) -> Result<Zeroizing<Vec<u8>>, Fault> {
    // All at once, so that no piece is left behind in memory when it grows.
    let mut output = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT + 1));
    let Some(mut stream) = stream else { return Ok(output) };
    while stream.read_buf(&mut *output).await? > 0 {
        if output.len() > MAX_OUTPUT {
            return Err(Fault::Floods);
        }
    }
    Ok(output)
}

/// The beginning of a stream. The rest is read as well, since a command that cannot print stops.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> Result<(), Fault> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut piece = [0; 1024];
    loop {
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            read => kept.extend_from_slice(&piece[..read.min(MAX_ERRORS - kept.len())]),
        }
    }
}

/// The token in what a command printed.
fn token(output: &[u8]) -> Option<Issued> {
    let text = std::str::from_utf8(output).ok()?.trim();
    let (token, lives) = if text.starts_with('{') {
        let printed: Printed = serde_json::from_str(text).ok()?;
        (printed.access_token, seconds(printed.expires_in.as_ref(), ASSUMED_LIFE, LONGEST_LIFE))
    } else {
        (text.to_owned(), ASSUMED_LIFE)
    };
    let token = AccessToken::parse(token)?;
    Some(Issued { token, lives, refresh_token: None, refresh_lives: None, id_token: None })
}

fn not_started(program: &str, error: &io::Error) -> TokenError {
    let what = format!("The command {} cannot be run: {error}", shown(program));
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            needs_person(what, "Check command, and that the user mailferry runs as may run it")
        }
        _ => transient(what),
    }
}

/// Whether a failed command will work later, only it knows: a refresh over a dead network ends like a missing consent.
fn failed(name: &str, status: ExitStatus) -> TokenError {
    TokenError::Transient(TokenFault {
        code: None,
        what: format!("The command {name} failed ({status})"),
        hint: "It is tried again by itself; if it goes on, run it by hand as the user mailferry runs as".into(),
        said: None,
        retry_after: None,
    })
}

/// The fault, with what the command said on its standard error.
fn said(errors: &[u8], error: TokenError) -> TokenError {
    let text = String::from_utf8_lossy(errors);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = Some(shown(&lines.join(" | "))).filter(|said| !said.is_empty());
    match error {
        TokenError::Transient(fault) => TokenError::Transient(TokenFault { said, ..fault }),
        TokenError::NeedsPerson(fault) => TokenError::NeedsPerson(TokenFault { said, ..fault }),
        TokenError::Refused(fault) => TokenError::Refused(TokenFault { said, ..fault }),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use proptest::prelude::*;
    use tokio::task::spawn_blocking;

    use super::*;

    /// Runs a shell script.
    async fn script(script: &str) -> Result<Issued, TokenError> {
        fetch(&["sh".into(), "-c".into(), script.into(), "script".into(), "arg".into()]).await
    }

    async fn gives(text: &str) -> (String, u64) {
        let issued = script(text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        (issued.token.expose().to_owned(), issued.lives.as_secs())
    }

    #[tokio::test]
    async fn a_line_is_a_token_for_some_minutes() {
        assert_eq!(gives("echo t0ken").await, ("t0ken".into(), 300));
        assert_eq!(gives("printf ' t0ken\\r\\n\\n'").await, ("t0ken".into(), 300));
        assert_eq!(gives("echo $1").await, ("arg".into(), 300), "the arguments are passed");
        assert_eq!(gives("cat; echo t; echo warning: old >&2").await, ("t".into(), 300), "no input, no fault");
    }

    #[tokio::test]
    async fn json_tells_the_life_too() {
        assert_eq!(gives(r#"echo '{"access_token":"t","expires_in":3599}'"#).await, ("t".into(), 3599));
        assert_eq!(gives(r#"echo '{"access_token":"t","expires_in":"60","x":[]}'"#).await, ("t".into(), 60));
        for odd in ["null", "-1", "\"soon\"", "0"] {
            let json = format!(r#"echo '{{"access_token":"t","expires_in":{odd}}}'"#);
            assert_eq!(gives(&json).await, ("t".into(), 300), "{odd}");
        }
        assert_eq!(gives(r#"echo '{"access_token":"t"}'"#).await.1, 300);
    }

    #[tokio::test]
    async fn rubbish_is_no_token_and_is_not_shown() {
        for rubbish in [
            "true",
            "echo",
            "echo hunter2 hunter2",
            "printf 'hunter2\\nhunter2\\n'",
            "printf 'hunter2\\001'",
            "printf '\\377hunter2'",
            "echo '{\"access_token\":\"hunter2 \"}'",
            "echo '{\"access_token\":5,\"hunter2\":1}'",
            "echo '{\"token\":\"hunter2\"}'",
            "echo '{hunter2'",
            "head -c 17000 /dev/zero | tr '\\0' h",
        ] {
            let error = script(rubbish).await.unwrap_err();
            assert!(matches!(error, TokenError::NeedsPerson(_)), "{rubbish}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_failure_tells_status_and_errors() {
        let error = script("echo hunter2; echo; echo 'no token for user' >&2; echo 'run\tpizauth' >&2; exit 3");
        let error = error.await.unwrap_err();
        assert!(matches!(error, TokenError::Transient(_)), "only the command knows whether it will work later");
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("no token for user | run\\u{9}pizauth"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let killed = script("kill -9 $$").await.unwrap_err();
        assert!(killed.to_string().contains("signal: 9"), "{killed}");
    }

    #[tokio::test]
    async fn a_flood_is_cut_off() {
        let error = script("exec yes hunter2").await.unwrap_err();
        assert!(matches!(&error, TokenError::NeedsPerson(fault) if fault.what.contains("more than")), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let errors = script("head -c 1000000 /dev/zero | tr '\\0' e >&2; exit 1").await.unwrap_err();
        assert!(errors.to_string().len() < 600, "{errors}");
    }

    #[tokio::test]
    async fn a_missing_program_needs_a_person() {
        for command in [vec![], vec!["/nonexistent/mailferry-test".to_owned()], vec!["/".to_owned()]] {
            let error = fetch(&command).await.unwrap_err();
            assert!(matches!(error, TokenError::NeedsPerson(_)), "{command:?}: {error}");
        }
    }

    /// A script that says when it runs, starts another process, and hangs. Both hold the pipe open.
    async fn hanging(folder: &tempfile::TempDir) -> (Vec<String>, tokio::task::JoinHandle<File>) {
        let pipe = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().await.unwrap();
        assert!(made.success());
        let hang = "exec 9>\"$0\"; echo waiting >&2; echo >&9; sleep 600 & sleep 600";
        let command = vec!["sh".into(), "-c".into(), hang.into(), pipe.to_str().unwrap().to_owned()];
        let running = spawn_blocking(move || {
            let mut pipe = File::open(pipe).unwrap();
            pipe.read_exact(&mut [0]).unwrap();
            pipe
        });
        (command, running)
    }

    /// Returns when nobody holds the pipe any more.
    async fn all_gone(mut pipe: File) {
        spawn_blocking(move || pipe.read_to_end(&mut Vec::new()).unwrap())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let (command, running) = hanging(&folder).await;
        let ran = tokio::spawn(async move { fetch(&command).await });
        let pipe = running.await.unwrap();
        tokio::time::pause();
        tokio::time::advance(TIME).await;
        let error = ran.await.unwrap().unwrap_err();
        assert!(matches!(error, TokenError::Transient(_)), "{error}");
        assert!(error.to_string().contains("within 30 s") && error.to_string().contains("waiting"), "{error}");
        all_gone(pipe).await;
    }

    #[tokio::test]
    async fn whoever_gives_up_ends_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let (command, running) = hanging(&folder).await;
        let ran = tokio::spawn(async move { fetch(&command).await });
        let pipe = running.await.unwrap();
        ran.abort();
        all_gone(pipe).await;
    }

    proptest! {
        #[test]
        fn no_output_breaks_the_reader(output in prop::collection::vec(any::<u8>(), 0..200), json in "\\{\"access_token\":.*\\}") {
            for output in [output.as_slice(), json.as_bytes()] {
                if let Some(issued) = token(output) {
                    prop_assert!(issued.lives >= Duration::from_secs(1) && issued.lives <= LONGEST_LIFE);
                }
            }
        }
    }
}
