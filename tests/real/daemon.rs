//! A server process for as long as its value lives: output to a file, SIGTERM at the end, the log shown with a failure.

use std::collections::HashSet;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long what a daemon is known to have done may take to be in its log.
const TO_PRINT: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(10);
/// As much of a log as a failed test shows.
const SHOWN_LINES: usize = 80;

pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program`. It is told to end when the thread that started it does, even if that thread was killed.
    pub(crate) fn spawn(name: &'static str, folder: &Path, program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program).args(arguments);
        Self::spawn_command(name, folder, command)
    }

    /// Starts `program` as a user without rights, for programs that do not want to be root.
    pub(crate) fn spawn_as_nobody(name: &'static str, folder: &Path, program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--pdeathsig", "TERM", "--"]);
        command.arg(program).args(arguments);
        Self::spawn_command(name, folder, command)
    }

    fn spawn_command(name: &'static str, folder: &Path, mut command: Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        // For appending: Dovecot opens its /dev/stderr anew.
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log in the test's own folder");
        let errors = output.try_clone().expect("a second handle of the log");
        command.current_dir(folder).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, child, log }
    }

    /// Waits until each of `ports` is connected to. `false` if the process ended instead: a port was not free after all.
    pub(crate) fn answers_on(&mut self, ports: &[u16]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.child.try_wait().expect("the state of a child").is_some() {
                return false;
            }
            if ports
                .iter()
                .all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok())
            {
                return true;
            }
            assert!(Instant::now() < deadline, "{} does not answer on {ports:?}", self.name);
            thread::sleep(GLANCE);
        }
    }

    /// What the process has printed so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until it has printed a line with all of `words`. `false` if it does not.
    pub(crate) fn logs(&self, words: &[&str]) -> bool {
        let deadline = Instant::now() + TO_PRINT;
        loop {
            if self.log().lines().any(|line| words.iter().all(|word| line.contains(word))) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(GLANCE);
        }
    }

    fn stop(&mut self) {
        // A process that has ended keeps its number until it is waited for, so this cannot meet another one.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !is_about_tls(line)).collect();
        // Seen only where the test fails: the test runner keeps the output of the others to itself.
        println!("--- {}: the end of its log ---", self.name);
        for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
            println!("{line}");
        }
    }
}

/// The gateway logs all there is, and its TLS library's handshakes, of hundreds of lines each, would hide the rest.
fn is_about_tls(line: &str) -> bool {
    line.contains(" rustls::") || line.starts_with([' ', '}', ']', ')'])
}

/// Ports that are free now and that no other test of this process was given.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().expect("no test panics while it holds this lock");
    // All are held until the last is found, so that they differ.
    let mut held = Vec::new();
    std::array::from_fn(|_| {
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("the address just bound").port();
            held.push(listener);
            if given.insert(port) {
                return port;
            }
        }
    })
}

/// Runs `start` until it finds its ports still free.
pub(crate) fn with_free_ports<const N: usize, T>(mut start: impl FnMut([u16; N]) -> Option<T>) -> T {
    (0..5)
        .find_map(|_| start(free_ports()))
        .expect("ports that stay free until the daemon binds them")
}
