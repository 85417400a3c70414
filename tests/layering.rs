//! Which way things depend: fails when a file uses a module or a crate that its folder may not (see ARCHITECTURE.md).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// What the files below a path may use. The first row that fits a file decides.
struct Layer {
    path: &'static str,
    /// Modules of this crate, as in `net::http`; a prefix allows what is below it. A folder may always use itself.
    modules: &'static [&'static str],
    /// Crates. `*` allows any that no other row keeps to itself.
    crates: &'static [&'static str],
}

/// Crates that exactly one place knows, so that a change of theirs stays there.
const KEPT: [(&str, &str); 3] =
    [("reqwest", "src/net/http.rs"), ("oauth2", "src/oauth/endpoint.rs"), ("anyhow", "src/cli/")];

const LAYERS: &[Layer] = &[
    Layer { path: "src/main.rs", modules: &[], crates: &["mailferry", "tokio", "clap", "std"] },
    Layer { path: "src/lib.rs", modules: &[], crates: &[] },
    Layer {
        path: "src/cli/",
        modules: &[
            "app",
            "config",
            "control",
            "login",
            "net::redirect",
            "oauth::credentials",
            "oauth::sign_in",
            "proto",
            "secret",
            "sim",
            "telemetry",
        ],
        crates: &["*"],
    },
    Layer {
        path: "src/app/",
        modules: &[
            "config",
            "control",
            "drain",
            "login",
            "net",
            "oauth",
            "secret",
            "session",
            "store",
            "system",
            "telemetry",
        ],
        crates: &["tokio", "thiserror", "tracing", "rustls", "jiff", "zeroize"],
    },
    Layer {
        path: "src/session/",
        modules: &[
            "config",
            "drain",
            "login",
            "message",
            "net::dial",
            "net::memory",
            "net::proxy_header",
            "net::stream",
            "net::tls",
            "oauth::credentials",
            "proto",
            "secret",
            "telemetry",
        ],
        crates: &["tokio", "rustls", "ipnet", "thiserror", "tracing", "aws_lc_rs", "zeroize"],
    },
    Layer {
        path: "src/proto/smtp/transaction/",
        modules: &["config::MailRules", "config::Recipients", "config::SenderRule", "message", "proto"],
        crates: &[],
    },
    Layer {
        path: "src/proto/",
        modules: &["message", "secret"],
        crates: &["memchr", "base64", "zeroize", "thiserror"],
    },
    Layer { path: "src/message/", modules: &["secret"], crates: &["base64", "jiff", "mail_parser", "memchr"] },
    Layer {
        path: "src/net/http.rs",
        modules: &["config::ConnectProxy", "secret"],
        crates: &["reqwest", "rustls", "thiserror", "tokio", "tokio_util", "url", "jiff", "zeroize"],
    },
    Layer {
        path: "src/net/",
        modules: &["config", "proto::Input", "secret", "telemetry::log::PeerText"],
        crates: &[
            "tokio",
            "tokio_rustls",
            "rustls",
            "rustls_pki_types",
            "rustls_platform_verifier",
            "aws_lc_rs",
            "rcgen",
            "x509_parser",
            "zeroize",
            "socket2",
            "thiserror",
            "tracing",
            "url",
            "httparse",
            "base64",
            "listenfd",
        ],
    },
    Layer {
        path: "src/login/",
        modules: &["config", "proto::LoginRequest", "proto::Mechanism", "secret", "store", "telemetry"],
        crates: &["tokio", "argon2", "password_hash", "aws_lc_rs", "subtle", "thiserror", "tracing", "zeroize"],
    },
    Layer {
        path: "src/oauth/",
        modules: &["config", "net::http", "secret", "store", "system", "telemetry"],
        crates: &[
            "tokio",
            "tokio_util",
            "oauth2",
            "serde",
            "serde_json",
            "thiserror",
            "tracing",
            "url",
            "aws_lc_rs",
            "base64",
            "jsonwebtoken",
            "memchr",
            "rustls",
            "rustls_pki_types",
            "zeroize",
            "jiff",
            "httparse",
            "x509_parser",
        ],
    },
    Layer {
        path: "src/config/",
        modules: &["secret"],
        crates: &[
            "argon2",
            "ipnet",
            "password_hash",
            "rustix",
            "rustls_pki_types",
            "serde",
            "thiserror",
            "toml",
            "tracing_subscriber",
            "url",
            "zeroize",
            "jiff",
        ],
    },
    Layer {
        path: "src/sim/",
        modules: &["proto::line"],
        crates: &[
            "tokio",
            "tokio_rustls",
            "rustls",
            "rustls_pki_types",
            "rcgen",
            "base64",
            "mail_parser",
            "serde_json",
            "aws_lc_rs",
            "url",
        ],
    },
    Layer {
        path: "src/store/",
        modules: &["config", "secret"],
        crates: &["aws_lc_rs", "base64", "ipnet", "rustix", "sqlx", "thiserror", "tokio", "zeroize"],
    },
    Layer {
        path: "src/control/",
        modules: &["config", "drain"],
        crates: &["jiff", "nix", "serde", "serde_json", "thiserror", "tokio", "tracing", "zeroize"],
    },
    Layer { path: "src/telemetry/", modules: &["config"], crates: &["tracing", "tracing_subscriber"] },
    Layer { path: "src/system.rs", modules: &[], crates: &["nix", "rustix", "tokio"] },
    Layer { path: "src/drain.rs", modules: &[], crates: &["tokio", "tokio_util"] },
    Layer { path: "src/secret.rs", modules: &[], crates: &["secrecy", "subtle", "zeroize"] },
];

#[test]
fn nothing_uses_what_its_layer_may_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dependencies = dependencies(&fs::read_to_string(root.join("Cargo.toml")).unwrap());
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    assert!(files.len() > 30, "the walk found too little to mean anything");
    let mut faults = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        let code = code_of(&fs::read_to_string(&file).unwrap());
        faults.extend(faults_of(&name, &code, &dependencies));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_forbidden_use_is_found() {
    let dependencies = ["tokio".to_owned(), "reqwest".to_owned(), "memchr".to_owned()];
    let code = code_of(
        "use tokio::io; // crate::sim\nuse crate::session::Shared;\nuse memchr::memchr;\n#[cfg(test)]\nmod tests { use crate::sim::X; }",
    );
    let faults = faults_of("src/proto/line.rs", &code, &dependencies);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults_of("src/session/mod.rs", "use reqwest::Client;", &dependencies).len(), 1);
    assert_eq!(faults_of("src/strange.rs", "", &dependencies), ["src/strange.rs: no layer is named for it"]);
}

fn faults_of(name: &str, code: &str, dependencies: &[String]) -> Vec<String> {
    let Some(layer) = LAYERS.iter().find(|layer| name.starts_with(layer.path)) else {
        return vec![format!("{name}: no layer is named for it")];
    };
    let mut faults = Vec::new();
    let own = layer
        .path
        .trim_start_matches("src/")
        .trim_end_matches('/')
        .trim_end_matches(".rs")
        .replace('/', "::");
    for module in paths_after(code, "crate::") {
        let is_below = |allowed: &str| module == allowed || module.starts_with(&format!("{allowed}::"));
        if !is_below(&own) && !layer.modules.iter().any(|allowed| is_below(allowed)) {
            faults.push(format!("{name}: may not use crate::{module}"));
        }
    }
    for dependency in dependencies {
        if !mentions(code, dependency) {
            continue;
        }
        let kept = KEPT.iter().find(|(kept, _)| kept == dependency);
        let allowed = match kept {
            Some((_, place)) => name.starts_with(place),
            None => layer.crates.contains(&"*") || layer.crates.contains(&dependency.as_str()),
        };
        if !allowed {
            faults.push(format!("{name}: may not use the crate {dependency}"));
        }
    }
    faults
}

/// The code of a file, without comments and without its unit tests, which may use anything.
fn code_of(text: &str) -> String {
    let code = text
        .split("#[cfg(test)]\n")
        .filter(|part| !part.trim_start_matches("pub(crate) ").starts_with("mod ") || part.starts_with("mod tests;"));
    let code = code.collect::<String>();
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path that follows `start`, a group `{a, b::c}` taken apart: `use crate::{a, b::c}` gives `a` and `b::c`.
fn paths_after(code: &str, start: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(start) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|character| character.is_alphanumeric() || character == '_') {
            continue;
        }
        expand(&code[at + start.len()..], String::new(), &mut paths);
    }
    paths
}

/// Reads one path, or one group of paths, at the start of `code`.
fn expand(code: &str, prefix: String, paths: &mut Vec<String>) {
    let end = code
        .find(|character: char| !(character.is_alphanumeric() || "_:".contains(character)))
        .unwrap_or(code.len());
    let path = format!("{prefix}{}", &code[..end]);
    match code[end..].strip_prefix('{') {
        Some(group) if path.is_empty() || path.ends_with("::") => {
            for part in parts_of(group) {
                expand(part.trim(), path.clone(), paths);
            }
        }
        _ => paths.push(path.trim_end_matches(':').to_owned()),
    }
}

/// The parts of a group whose opening brace has been read.
fn parts_of(group: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Whether a crate is named at the start of a path.
fn mentions(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || "_:".contains(character))
    })
}

/// The names of the dependencies, as code writes them.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (inside, line.split_once('=')) {
            names.push(name.trim().replace('-', "_"));
        }
    }
    assert!(names.iter().any(|name| name == "tokio"), "no dependencies found");
    names
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !is_test(&path) {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
            files.push(path);
        }
    }
}

/// A file or folder of unit tests, which may use anything.
fn is_test(path: &Path) -> bool {
    ["tests", "testing", "play"].contains(&path.file_stem().unwrap().to_str().unwrap())
}
