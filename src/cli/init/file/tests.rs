//! What `init` makes of answers, for every provider and way in: a configuration that is right.

use super::*;
use crate::cli::init::questions::Questions;
use crate::config::Grant;

fn answers(lines: &str) -> Answers {
    let (mut input, mut prompts) = (lines.as_bytes(), Vec::new());
    let answers = Answers::ask(&mut Questions::new(&mut input, &mut prompts, false)).unwrap();
    let questions = String::from_utf8(prompts).unwrap().matches(": ").count();
    assert!(questions <= 8 + 4, "{questions}");
    answers
}

fn environment() -> Environment {
    Environment::of_variables([])
}

#[test]
fn the_app_for_itself_at_microsoft() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailferry.toml");
    let answers = answers("scanner@contoso.com\n1\n1\n\nthe-app\nhunter2\n2\nScanner 3rd floor\n");
    let login = NewLogin::make(None, &answers.device).unwrap();
    let written = write(&file, &answers, &login, &environment()).unwrap();
    assert_eq!(written, [folder.path().join("secrets/scanner@contoso.com"), file.clone()]);
    let config = Config::load(Some(&file), &environment()).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(config.logins.contains_key("scanner-3rd-floor"));
    let client = config.accounts[0].app.client().unwrap();
    assert_eq!((client.tenant.as_deref(), client.id.as_str()), (Some("contoso.com"), "the-app"));
    assert_eq!(config.listeners.len(), 2);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hunter2") && !text.contains(&*login.password), "{text}");
    let told = answers.for_the_administrator().unwrap();
    assert!(told.contains("New-ServicePrincipal -AppId the-app") && told.contains("FullAccess"), "{told}");
    assert!(write(&file, &answers, &login, &environment()).is_err(), "nothing is overwritten");
}

#[test]
fn every_other_way_in_makes_a_right_file() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.json");
    std::fs::write(&key, "{}").unwrap();
    let service_account = format!("ann@example.com\n2\n2\n{}\n1\n\n", key.display());
    for (number, (lines, grant)) in [
        ("ann@contoso.com\n1\n2\n\nthe-app\n\n1\n\n", "authorization-code"),
        ("ann@contoso.com\n1\n3\nmy-tenant\nthe-app\n\n4\n日本\n", "device-code"),
        ("ann@gmail.com\n2\n1\nthe-app\nhunter2\n3\n\n", "authorization-code"),
        (service_account.as_str(), "service-account"),
        ("ann@outlook.com\n3\n2\nthe-app\n\n1\n\n", "device-code"),
        ("ann@yandex.com\n10\nthe-app\nhunter2\n1\n\n", "authorization-code"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = folder.path().join(format!("{number}/m.toml"));
        let answers = answers(lines);
        let login = NewLogin::make(None, &answers.device).unwrap();
        write(&file, &answers, &login, &environment()).unwrap_or_else(|failure| panic!("{lines}: {failure}"));
        let config = Config::load(Some(&file), &environment()).unwrap();
        assert_eq!(config.accounts[0].app.grant.name(), grant);
        assert!(!matches!(config.accounts[0].app.grant, Grant::Command(_)));
        assert!(config.logins.contains_key(&answers.username()), "{lines}");
    }
}

#[test]
fn a_file_that_would_not_be_right_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailferry.toml");
    // A tenant that is no tenant.
    let answers = answers("ann@contoso.com\n1\n1\na/b\nthe-app\nhunter2\n1\n\n");
    let login = NewLogin::make(None, &answers.device).unwrap();
    assert!(matches!(write(&file, &answers, &login, &environment()), Err(Failure::Configuration(_))));
    assert!(!file.exists() && !folder.path().join("secrets/ann@contoso.com").exists());
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_what_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/mailferry.toml");
    let answers = answers("ann@contoso.com\n1\n1\n\nthe-app\nhunter2\n1\n\n");
    let login = NewLogin::make(None, &answers.device).unwrap();
    for path in write(&file, &answers, &login, &environment()).unwrap() {
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700), "{}", path.display());
    }
}
