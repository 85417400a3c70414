//! What is said to arguments that are wrong: one line, with what was likely meant. And to who asks for help.

use std::io::{self, Write};

use anyhow::Context;
use clap::error::ErrorKind;

use super::Failure;

/// Prints the help that was asked for, or says what is wrong with the arguments.
pub(super) fn answer(error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let printed = error.print().and_then(|()| io::stdout().flush());
            Ok(printed.context("the help cannot be written to standard output")?)
        }
        // Who names no command is shown what there is.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to tell when standard error is gone too.
            _ = error.print();
            Err(Failure::Shown)
        }
        _ => {
            // What is not UTF-8 names no command.
            let arguments = std::env::args_os().skip(1).filter_map(|argument| argument.into_string().ok());
            Err(Failure::Usage(one_line(&error.render().to_string(), &command(arguments))))
        }
    }
}

/// The command that these arguments are for, as it is typed.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut command = &super::command();
    let mut words = command.get_name().to_owned();
    for argument in arguments {
        if let Some(found) = command.find_subcommand(&argument) {
            words = format!("{words} {}", found.get_name());
            command = found;
        }
    }
    words
}

/// What clap says in several lines, up to the usage, which the help shows.
fn one_line(said: &str, command: &str) -> String {
    let said = said.strip_prefix("error: ").unwrap_or(said);
    let mut line = String::new();
    for part in said.lines().map(str::trim) {
        if part.starts_with("Usage: ") || part.starts_with("For more information, ") {
            break;
        }
        let part = part.strip_prefix("tip: ").unwrap_or(part);
        if !line.is_empty() && !part.is_empty() {
            line += match line.ends_with(':') {
                true => " ",
                false => "; ",
            };
        }
        line += part;
    }
    format!("{line}; see {command} --help")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;
    use super::*;

    fn said(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from([&["mailferry"], arguments].concat()).unwrap_err();
        one_line(&error.render().to_string(), &command(arguments.iter().map(|&argument| argument.to_owned())))
    }

    #[test]
    fn what_is_wrong_and_what_was_meant_stand_on_one_line() {
        for (arguments, line) in [
            (
                &["check", "--ofline"][..],
                "unexpected argument '--ofline' found; a similar argument exists: '--offline'; see mailferry check --help",
            ),
            (&["chek"], "unrecognized subcommand 'chek'; a similar subcommand exists: 'check'; see mailferry --help"),
            (
                &["send-test", "a@b.example"],
                "the following required arguments were not provided: --to <ADDRESS>; see mailferry send-test --help",
            ),
            (
                &["--config", "m.toml", "login", "revoke", "scanner"],
                "invalid value 'scanner' for '<ID>': it must be the number that `mailferry login list` shows; see mailferry \
                 login revoke --help",
            ),
            (
                &["check", "--offline", "--wait"],
                "the argument '--offline' cannot be used with '--wait'; see mailferry check --help",
            ),
        ] {
            assert_eq!(said(arguments), line);
        }
    }
}
