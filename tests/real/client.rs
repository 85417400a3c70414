//! A run of somebody else's mail client: its arguments, its input, its end.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// No client may take longer, in seconds; a hanging one is a failure and not a hanging test.
const AT_MOST: &str = "120";

/// Runs `program` to its end.
pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Ended {
    finish(bounded(program).args(arguments).stdin(Stdio::null()))
}

/// Runs `program` to its end, with a file as its standard input.
pub(crate) fn run_with_input<A: AsRef<std::ffi::OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    input: &Path,
) -> Ended {
    finish(
        bounded(program)
            .args(arguments)
            .stdin(File::open(input).expect("the input of a client")),
    )
}

/// Runs one of the scripts in `tests/real/python`.
pub(crate) fn python<A: AsRef<std::ffi::OsStr>>(script: &str, arguments: impl IntoIterator<Item = A>) -> Ended {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/python").join(script);
    finish(bounded("python3").arg(script).args(arguments).stdin(Stdio::null()))
}

/// Runs one of the scripts in `tests/real/node`.
pub(crate) fn node<A: AsRef<std::ffi::OsStr>>(script: &str, arguments: impl IntoIterator<Item = A>) -> Ended {
    finish(node_command(script).args(arguments).stdin(Stdio::null()))
}

/// How a client ended, and what it said.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: String,
}

impl Ended {
    /// What it printed, provided that it was content.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Vec<u8> {
        assert!(self.status.success(), "{self}");
        self.output
    }

    /// That it ended with this status, which in each client has a meaning of its own.
    #[track_caller]
    pub(crate) fn exited_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// That it said this, to whichever of its two outputs.
    #[track_caller]
    pub(crate) fn said(self, words: &str) -> Self {
        assert!(self.to_string().contains(words), "no {words:?} in what it said. {self}");
        self
    }

    /// That it failed, for the certificate.
    #[track_caller]
    pub(crate) fn complained_of_a_certificate(&self) {
        assert!(!self.status.success(), "{self}");
        assert!(self.to_string().to_lowercase().contains("certificate"), "{self}");
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}", self.status, String::from_utf8_lossy(&self.output), self.errors)
    }
}

/// A client that is still running.
pub(crate) struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Starts one of the scripts in `tests/real/node`.
    pub(crate) fn node<A: AsRef<std::ffi::OsStr>>(script: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = node_command(script);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        Self { child, output }
    }

    /// The next line it prints; empty at its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line of text");
        line.trim_end().to_owned()
    }

    /// What else it prints until its end.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).expect("the output of a client");
        let status = self.child.wait().expect("the end of a client");
        assert!(status.success(), "{status}");
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a failed test leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn node_command(script: &str) -> Command {
    let mut command = bounded("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/node").join(script));
    // Installed there, outside the sources, by .ci/run.
    command.env("NODE_PATH", concat!(env!("CARGO_TARGET_TMPDIR"), "/node/node_modules"));
    command
}

pub(crate) fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", AT_MOST, program]);
    // A home of somebody's must not matter, nor a locale.
    command.env("HOME", env!("CARGO_TARGET_TMPDIR")).env("LC_ALL", "C.UTF-8");
    command
}

fn finish(command: &mut Command) -> Ended {
    let output = command.output().expect("timeout is part of every system");
    Ended { status: output.status, output: output.stdout, errors: String::from_utf8_lossy(&output.stderr).into_owned() }
}
