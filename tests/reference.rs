//! Keeps `docs/reference.md` and the program true to each other: what one of them has, the other has too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mailferry::cli;
use mailferry::config::{Config, Environment};

const REFERENCE: &str = include_str!("../docs/reference.md");

type Names = BTreeSet<String>;

/// The text below each heading of the third level.
fn sections() -> BTreeMap<&'static str, &'static str> {
    let parts = REFERENCE.split("\n### ").skip(1);
    parts
        .map(|part| {
            let (heading, text) = part.split_once('\n').unwrap();
            (heading, text.split("\n## ").next().unwrap())
        })
        .collect()
}

/// The code spans of a text.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What the first column of a section's table names. `[app.NAME]` names `app`, `[[account.login]]` names `login`.
fn documented_keys(heading: &str) -> Names {
    let sections = sections();
    let section = sections.get(heading).unwrap_or_else(|| panic!("no section {heading}"));
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| format!("`{}", row.split(" | ").next().unwrap()));
    cells
        .flat_map(|cell| code_spans(&cell).map(last_name).collect::<Vec<_>>())
        .collect()
}

fn last_name(key: &str) -> String {
    key.trim_matches(['[', ']'])
        .trim_end_matches(".NAME")
        .rsplit('.')
        .next()
        .unwrap()
        .into()
}

/// The keys a table takes, as the fault about an unknown key in it lists them.
fn accepted_keys(text: &str) -> Names {
    let faults = Config::parse(text, Path::new("m.toml"), &Environment::of_variables([])).unwrap_err();
    let known = faults
        .iter()
        .find_map(|fault| fault.what.strip_prefix("unknown key; known here: "));
    known
        .unwrap_or_else(|| panic!("{text}: {faults}"))
        .split(", ")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    for (heading, table) in [
        ("The top of the file", "nonsense = 1"),
        ("`[log]`", "log = { nonsense = 1 }"),
        ("`[store]`", "store = { nonsense = 1 }"),
        ("`[limits]`", "limits = { nonsense = 1 }"),
        ("`idle_timeout`", "limits.idle_timeout = { nonsense = 1 }"),
        ("`failed_logins`", "limits.failed_logins = { nonsense = 1 }"),
        ("`[upstream]`", "upstream = { nonsense = 1 }"),
        ("`[[listener]]`", "listener = [{ nonsense = 1 }]"),
        ("`[app.NAME]`", "app.a = { nonsense = 1 }"),
        ("`client_certificate`", "app.a.client_certificate = { nonsense = 1 }"),
        ("`[[account]]`", "account = [{ nonsense = 1 }]"),
        ("`identity`", "account = [{ identity = { nonsense = 1 } }]"),
        ("`[[account.login]]`", "account = [{ login = [{ nonsense = 1 }] }]"),
        ("`[provider.NAME]`", "provider.a = { nonsense = 1 }"),
        ("Servers", "provider.a.smtp = { nonsense = 1 }"),
        ("Secrets", "app.a.client_secret = { nonsense = 1 }"),
    ] {
        assert_eq!(documented_keys(heading), accepted_keys(table), "{heading}");
    }
}

/// The options of a command, with their dashes.
fn options(command: &clap::Command) -> Names {
    let longs = command.get_arguments().filter_map(clap::Arg::get_long);
    longs
        .filter(|long| !matches!(*long, "help" | "version"))
        .map(|long| format!("--{long}"))
        .collect()
}

/// Every command that does something, by its whole name: `login add`, but not `login`.
fn commands<'a>(program: &'a clap::Command, above: &str, found: &mut BTreeMap<String, &'a clap::Command>) {
    for command in program.get_subcommands() {
        let name = format!("{above}{}", command.get_name());
        if command.has_subcommands() {
            assert_eq!(options(command), Names::new(), "{name}: options belong to what it leads to");
            commands(command, &format!("{name} "), found);
        } else {
            found.insert(name, command);
        }
    }
}

/// A command's name and arguments as its heading gives them: `mailferry login add ACCOUNT`.
fn usage(name: &str, command: &clap::Command) -> String {
    let arguments = command.get_positionals().map(|argument| {
        let name = argument.get_id().as_str().to_ascii_uppercase();
        if argument.is_required_set() { format!(" {name}") } else { format!(" [{}...]", name.trim_end_matches('S')) }
    });
    format!("`mailferry {name}{}`", arguments.collect::<String>())
}

#[test]
fn every_command_is_documented_and_every_documented_command_exists() {
    let program = cli::command();
    let mut built_in = BTreeMap::new();
    commands(&program, "", &mut built_in);
    let sections = sections();
    let documented: Names = sections
        .keys()
        .filter(|heading| heading.starts_with("`mailferry "))
        .map(|&h| h.into())
        .collect();
    assert_eq!(documented, built_in.iter().map(|(name, command)| usage(name, command)).collect());
    for (name, command) in built_in {
        let mentioned: Names = code_spans(sections[usage(&name, command).as_str()])
            .filter(|span| {
                span.strip_prefix("--")
                    .is_some_and(|name| name.starts_with(char::is_alphabetic))
            })
            .map(|span| span.split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(mentioned, options(command), "{name}");
    }
    assert_eq!(options(&program), Names::from(["--config".to_owned()]));
    assert!(REFERENCE.contains("| `--config PATH` |"));
}

/// What the pages about the grants show, made whole: a listener, and a login for each account.
fn whole(shown: &str) -> String {
    let mut text = format!("listener = [{{ protocol = \"smtp\", bind = \"127.0.0.1:0\" }}]\n{shown}\n");
    if !shown.contains("[[account]]") {
        let app = shown.split("[app.").nth(1).unwrap().split(']').next().unwrap();
        text += &format!("[[account]]\naddress = \"a@example.com\"\napp = \"{app}\"\n");
    }
    let hash = include_str!("common/cheap-hash.txt").trim();
    text + &format!("[[account.login]]\nusername = \"a\"\npassword_hash = \"{hash}\"\n")
}

#[test]
fn what_the_pages_show_are_right_configurations() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    for secret in ["contoso", "people", "workspace.json"] {
        std::fs::write(folder.path().join("secrets").join(secret), "hunter2\n").unwrap();
    }
    let mut tried = 0;
    for page in
        ["client-credentials", "authorization-code", "device-code", "service-account", "command", "refresh-token"]
    {
        let text = std::fs::read_to_string(pages.join(page).with_extension("md")).unwrap();
        let blocks = text.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap());
        // Some blocks show a single key, and some an account without its app.
        for block in blocks.filter(|block| block.starts_with("[app.") || block.contains("\ngrant ")) {
            let file = folder.path().join("mailferry.toml");
            let parsed = Config::parse(&whole(block), &file, &Environment::of_variables([]));
            assert!(parsed.is_ok(), "{page}: {}", parsed.unwrap_err());
            tried += 1;
        }
    }
    assert_eq!(tried, 6, "one for each page");
}

#[test]
fn what_is_shown_of_networks_is_right() {
    let shown = |page: &'static str| page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let listener = shown(include_str!("../docs/networks.md"));
    let devices = sections()["Devices that cannot log in"];
    let example = REFERENCE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let text = example.replace("[app.contoso]", &format!("{listener}[app.contoso]")) + shown(devices);
    let text = text.replace("{ file = \"secrets/contoso\" }", "\"hunter2\"");
    let config = Config::parse(&text, Path::new("mailferry.toml"), &Environment::of_variables([])).unwrap();
    assert_eq!((config.listeners.len(), config.accounts[0].logins.len()), (2, 2));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn the_recipe_for_old_tls_is_right_and_nothing_is_said_against_it() {
    let example = REFERENCE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let recipe = include_str!("../docs/old-tls.md").split("```toml\n").nth(1).unwrap();
    let recipe = recipe.split("```").next().unwrap();
    let text = example.replace("[app.contoso]", &format!("{recipe}\n[app.contoso]"));
    let text = text.replace("{ file = \"secrets/contoso\" }", "\"hunter2\"");
    let config = Config::parse(&text, Path::new("mailferry.toml"), &Environment::of_variables([])).unwrap();
    assert_eq!(config.listeners[1].name, "old-tls");
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn the_example_is_a_right_configuration() {
    let example = REFERENCE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    std::fs::write(folder.path().join("secrets/contoso"), "hunter2\n").unwrap();
    let file = folder.path().join("mailferry.toml");
    let config = Config::parse(example, &file, &Environment::of_variables([])).unwrap();
    assert!(config.logins.contains_key("scanner"));
}

#[test]
fn the_fault_it_shows_is_the_fault_there_is() {
    let shown = REFERENCE.split("```text\n").nth(1).unwrap().split("\n```").next().unwrap();
    let text = "\n[[listener]]\nprotocol = \"smtp\"\nbind = \"localhost:25\"\n";
    let faults = Config::parse(text, Path::new("mailferry.toml"), &Environment::of_variables([])).unwrap_err();
    assert_eq!(faults.iter().next().unwrap().to_string(), shown);
}
