#![no_main]
//! A configuration file, whatever is in it: errors, never a panic, and every error fits one line.

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mailferry::config::{Config, Environment};

fuzz_target!(|text: &str| {
    if let Err(errors) = Config::parse(text, Path::new("mailferry.toml"), &Environment::of_variables([])) {
        for line in errors.to_string().lines() {
            assert!(!line.is_empty());
        }
    }
});
