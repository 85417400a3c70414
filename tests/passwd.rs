//! `mailferry passwd` and the program's exit statuses, through the program itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use argon2::{Argon2, PasswordVerifier};

fn mailferry(arguments: &[&str], input: &[u8]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_mailferry"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that needs no input may be gone before it is written.
    _ = program.stdin.take().unwrap().write_all(input);
    program.wait_with_output().unwrap()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

fn fits(password: &[u8], hash: &str) -> bool {
    Argon2::default().verify_password(password, hash).is_ok()
}

#[test]
fn a_line_of_standard_input_becomes_a_hash() {
    let output = mailferry(&["passwd"], b"correct horse\n");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 1, "only what was asked for");
    assert!(fits(b"correct horse", lines[0]) && !fits(b"correct horse\n", lines[0]));
}

#[test]
fn a_generated_password_comes_before_its_hash() {
    let output = mailferry(&["passwd", "--generate"], b"");
    assert_eq!(output.status.code(), Some(0));
    let [password, hash] = text(&output.stdout).lines().collect::<Vec<_>>()[..] else { panic!("two lines") };
    assert_eq!(password.len(), 16);
    assert!(fits(password.as_bytes(), hash));
}

#[test]
fn failures_have_their_status_and_one_line() {
    let output = mailferry(&["passwd"], b"\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert_eq!(text(&output.stderr), "mailferry: the password is empty; give one line with a password\n");
    let output = mailferry(&["passwd"], b"correct horse\ncorrect horse\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains("there is more than one line"), "{}", text(&output.stderr));
    for bad in [&["passwd", "--generat"][..], &["nonsense"], &[]] {
        let output = mailferry(bad, b"");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{bad:?}");
        assert!(!output.stderr.is_empty(), "{bad:?}");
    }
    let output = mailferry(&["passwd", "--generat"], b"");
    assert_eq!(
        text(&output.stderr),
        "mailferry: unexpected argument '--generat' found; a similar argument exists: '--generate'; see mailferry passwd \
         --help\n"
    );
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_text_is_refused_in_one_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let output = Command::new(env!("CARGO_BIN_EXE_mailferry"))
        .args([OsStr::new("check"), OsStr::from_bytes(b"\xff")])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.starts_with("mailferry: ") && said.ends_with("; see mailferry check --help\n"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_version_is_told() {
    let output = mailferry(&["--version"], b"");
    let version = format!("mailferry {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), version.as_str()));
}
