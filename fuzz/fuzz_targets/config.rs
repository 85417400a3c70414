#![no_main]
//! A configuration file, whatever is in it: used, or refused with errors that each fill one line and name a place in it.

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mailferry::config::{Config, Environment};

fuzz_target!(|text: &str| {
    // Files that the configuration names are read, and these never end.
    if text.contains("/dev/") {
        return;
    }
    let environment = Environment::of_variables([("SECRET", "hunter2")]);
    let Err(errors) = Config::parse(text, Path::new("/nowhere/mailferry.toml"), &environment) else { return };
    assert!(errors.iter().next().is_some());
    for error in &errors {
        let line = error.to_string();
        assert!(!error.what.is_empty() && !line.chars().any(char::is_control), "{line:?}");
        if let Some(position) = error.position {
            assert!((1..=text.lines().count() + 1).contains(&position.line), "{position:?}");
        }
    }
});
