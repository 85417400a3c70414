//! The program itself as a child process, with a configuration in a folder of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use mailferry::config::Protocol;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use super::STUCK;

/// The program, cut off from this machine's own configuration; `folder` is its working folder.
pub fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailferry"));
    isolated(&mut command, folder).args(arguments);
    command
}

/// As [`program`], with the limit of descriptors that `ulimit -n` sets.
pub fn program_with_descriptors(folder: &Path, descriptors: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
    isolated(&mut command, folder)
        .args(["-c", &script, env!("CARGO_BIN_EXE_mailferry")])
        .args(arguments);
    command
}

/// As [`program`], with sockets that were opened for it, as systemd hands them over: from descriptor 3 on. `pid` is what
/// `LISTEN_PID` is said to be, as the shell writes it. At most two sockets.
#[cfg(unix)]
pub fn program_with_sockets(
    folder: &Path,
    sockets: impl IntoIterator<Item = std::os::fd::OwnedFd>,
    pid: &str,
    arguments: &[&str],
) -> Command {
    let mut sockets = sockets.into_iter().map(Stdio::from);
    let (first, second) = (sockets.next(), sockets.next());
    assert!(sockets.next().is_none(), "too many sockets");
    let count = usize::from(first.is_some()) + usize::from(second.is_some());
    let mut command = Command::new("sh");
    let script =
        format!("exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_FDS={count} LISTEN_PID={pid}; exec \"$0\" \"$@\"");
    isolated(&mut command, folder)
        .args(["-c", &script, env!("CARGO_BIN_EXE_mailferry")])
        .args(arguments)
        .stdin(first.unwrap_or_else(Stdio::null))
        .stdout(second.unwrap_or_else(Stdio::null));
    command
}

/// As [`program`], run by this user, who need not be able to reach the one in the build's folder. Takes root.
#[cfg(unix)]
pub fn program_as(user: u32, folder: &Path, arguments: &[&str]) -> Command {
    use std::os::unix::process::CommandExt;
    let (built, within_reach) = (env!("CARGO_BIN_EXE_mailferry"), folder.join("mailferry"));
    if !within_reach.exists() && std::fs::hard_link(built, &within_reach).is_err() {
        // It is on another file system.
        std::fs::copy(built, &within_reach).unwrap();
    }
    let mut command = Command::new(within_reach);
    isolated(&mut command, folder).args(arguments).uid(user).gid(user);
    command
}

fn isolated<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", folder)
        .env_remove("MAILFERRY_CONFIG")
        .env_remove("STATE_DIRECTORY")
        // No browser is to open on the desktop of whoever runs the tests.
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

/// Runs a command to its end, beside the simulator that it may be talking to.
pub async fn finish(command: Command) -> Output {
    finish_with(command, Vec::new()).await
}

/// As [`finish`], with something to read on standard input.
pub async fn finish_with(mut command: Command, input: Vec<u8>) -> Output {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let running = tokio::task::spawn_blocking(move || {
        // A program that needs no input may be gone before it is written.
        let _ = stdin.write_all(&input);
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    timeout(STUCK, running).await.expect("the program does not end").unwrap()
}

/// A program that stays up. It is killed when this is dropped.
pub struct Running {
    child: Child,
    lines: UnboundedReceiver<String>,
    heard: Vec<String>,
}

impl Running {
    /// Starts it and listens to its standard error.
    pub fn start(command: Command) -> Self {
        Self::listening_to(command, |child| Box::new(child.stderr.take().unwrap()))
    }

    /// Starts it and listens to its standard output.
    pub fn start_for_output(command: Command) -> Self {
        Self::listening_to(command, |child| Box::new(child.stdout.take().unwrap()))
    }

    fn listening_to(mut command: Command, stream: fn(&mut Child) -> Box<dyn Read + Send>) -> Self {
        let mut child = command.spawn().unwrap();
        let stream = stream(&mut child);
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                // The test may have heard enough; the pipe is emptied all the same.
                let _ = sender.send(line);
            }
        });
        Self { child, lines, heard: Vec::new() }
    }

    /// The next line that holds `text`.
    pub async fn says(&mut self, text: &str) -> String {
        let before = self.heard.len();
        let found = async {
            while let Some(line) = self.lines.recv().await {
                self.heard.push(line.clone());
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the program ended without saying {text:?}, but: {}", self.heard[before..].join("\n"));
        };
        timeout(STUCK, found)
            .await
            .unwrap_or_else(|_| panic!("the program does not say {text:?}"))
    }

    /// Where the gateway listens, as its log says. To be asked in the order of the configuration.
    pub async fn listens(&mut self, protocol: Protocol) -> SocketAddr {
        let line = self.says(&format!("protocol={protocol} address=")).await;
        line.rsplit('=').next().unwrap().parse().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Writes a line to its standard input, which stays open.
    pub fn is_told(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits until it has ended by itself; what it has put out. Only of one whose standard error is listened to.
    pub async fn output(mut self) -> Output {
        let mut stream = self.child.stdout.take().unwrap();
        let (status, said) = self.ended_within().await;
        let mut stdout = Vec::new();
        stream.read_to_end(&mut stdout).unwrap();
        Output { status, stdout, stderr: said.into_bytes() }
    }

    /// Waits until it has ended by itself; its exit status.
    pub async fn ended(self) -> Option<i32> {
        self.ended_with_all().await.0
    }

    /// As [`ended`](Self::ended), and every line it has said from its start.
    pub async fn ended_with_all(mut self) -> (Option<i32>, String) {
        let (status, said) = self.ended_within().await;
        (status.code(), said)
    }

    async fn ended_within(&mut self) -> (ExitStatus, String) {
        // Standard error is closed at the end and not before.
        while let Some(line) = timeout(STUCK, self.lines.recv()).await.expect("the program does not end") {
            self.heard.push(line);
        }
        let status = self.child.wait().unwrap();
        (status, std::mem::take(&mut self.heard).join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
