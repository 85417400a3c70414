//! The pages that say "there is a test for this" are right: every test that they name is there, and what is played for the
//! page on devices is on it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The tests that a page names, as in `smtp::hostile::a_line_without_end_ends_the_connection`; those beside the code
/// begin with `unit::`.
fn named(page: &str) -> BTreeSet<&str> {
    let is_name = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_')
    };
    let code = page.split('`').skip(1).step_by(2);
    code.filter(|code| code.split("::").count() >= 3 && code.split("::").all(is_name))
        .collect()
}

/// Every Rust file at or below a path without its ending: a module is a file, a folder, or both.
fn sources(module: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let file = module.with_extension("rs");
    if file.is_file() {
        found.push(file);
    }
    for entry in fs::read_dir(module).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The tests in a file, by the attribute before them.
fn tests_in(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let tests = text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1));
    tests
        .filter_map(|test| {
            let (_, rest) = test.split_once("fn ")?;
            Some(rest.split_once('(')?.0.to_owned())
        })
        .collect()
}

/// Whether there is such a test where its name says. A crate's only file, and its first, is its `main`.
fn exists(name: &str) -> bool {
    let (module, test) = name.rsplit_once("::").unwrap();
    let (folder, module) = match module.split_once("::").unwrap() {
        ("unit", module) => (root().join("src"), module.to_owned()),
        (only, "main") if root().join(format!("tests/{only}.rs")).is_file() => (root().join("tests"), only.to_owned()),
        (of_many, module) => (root().join("tests").join(of_many), module.to_owned()),
    };
    let path = module
        .split("::")
        .filter(|part| *part != "tests")
        .fold(folder, |path, part| path.join(part));
    sources(&path).iter().any(|file| tests_in(file).contains(test))
}

#[test]
fn every_test_that_a_page_names_is_there() {
    for (name, at_least) in [("devices.md", 30), ("threat-model.md", 60)] {
        let page = page(name);
        let named = named(&page);
        assert!(named.len() >= at_least, "{name} names {} tests only", named.len());
        let missing: Vec<_> = named.into_iter().filter(|test| !exists(test)).collect();
        assert_eq!(missing, Vec::<&str>::new(), "{name} names tests that are not there");
    }
    assert!(!exists("devices::auth::no_such_test") && !exists("unit::no_such_file::tests::no_such_test"));
}

#[test]
fn what_is_played_for_the_page_on_devices_is_on_it() {
    let page = page("devices.md");
    let named = named(&page);
    for module in ["auth", "body", "envelope", "sessions", "tls"] {
        let file = root().join(format!("tests/devices/{module}.rs"));
        for test in tests_in(&file) {
            let name = format!("devices::{module}::{test}");
            assert!(named.contains(name.as_str()), "{name} is not on the page");
        }
    }
}
