//! Secrets, and where the file says they are kept.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::raw::{RawKept, RawSecret, RawSecrets};
use super::resolve::Resolver;
use crate::secret::SecretText;

/// Where a secret is: read when it is needed, so that a file that has changed is seen.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// In the configuration or in the environment; it cannot change while the program runs.
    Fixed(SecretText),
    /// In a file.
    File(PathBuf),
    /// In the first of these that holds one.
    FirstOf(Vec<Self>),
}

impl SecretSource {
    /// The secret as it is now. A file's line end, which editors put there, is left out.
    ///
    /// # Errors
    /// With a sentence, when the file cannot be read or is empty.
    pub fn read(&self) -> Result<SecretText, String> {
        let secret = match self {
            Self::Fixed(secret) => secret.clone(),
            Self::File(file) => from_file(file)?,
            Self::FirstOf(sources) => {
                let mut fault = String::from("there is no place named where the secret could be");
                for source in sources {
                    match source.read() {
                        Ok(secret) => return Ok(secret),
                        Err(what) => fault = what,
                    }
                }
                return Err(fault);
            }
        };
        if secret.expose().is_empty() { Err("the secret is empty".into()) } else { Ok(secret) }
    }
}

/// The sources a key names, if there is a secret in at least one of them. Those that hold none now are warned of: they
/// may be where the next one will be put.
pub(super) fn sources(secrets: Spanned<RawSecrets>, resolver: &mut Resolver<'_>) -> Option<Vec<SecretSource>> {
    let at = secrets.span();
    let RawSecrets(raw) = secrets.into_inner();
    if raw.is_empty() {
        resolver.report.error(at, "must not be an empty list");
        return None;
    }
    let mut sources = Vec::with_capacity(raw.len());
    let mut faults = Vec::new();
    for raw in raw {
        match source(raw, resolver) {
            Ok(source) => {
                faults.extend(source.read().err());
                sources.push(source);
            }
            // What is written wrongly is wrong, whatever else the list holds.
            Err(what) => {
                resolver.report.error(at, what);
                return None;
            }
        }
    }
    match faults.first() {
        Some(what) if faults.len() == sources.len() => {
            resolver.report.error(at, what.clone());
            return None;
        }
        _ => faults.into_iter().for_each(|what| resolver.report.warn_at(at.clone(), &what)),
    }
    Some(sources)
}

/// The one source a key names, where a list means the first that holds a secret.
pub(super) fn single(secrets: Spanned<RawSecrets>, resolver: &mut Resolver<'_>) -> Option<SecretSource> {
    let mut sources = sources(secrets, resolver)?;
    match sources.len() {
        1 => sources.pop(),
        _ => Some(SecretSource::FirstOf(sources)),
    }
}

fn source(raw: RawSecret, resolver: &mut Resolver<'_>) -> Result<SecretSource, String> {
    let source = match raw {
        RawSecret::Text(text) => SecretSource::Fixed(text),
        RawSecret::Kept(RawKept { file: Some(file), env: None, credential: None }) => {
            SecretSource::File(resolver.path(Path::new(&file)))
        }
        RawSecret::Kept(RawKept { file: None, env: Some(name), credential: None }) => {
            SecretSource::Fixed(from_variable(&name, resolver)?)
        }
        RawSecret::Kept(RawKept { file: None, env: None, credential: Some(name) }) => {
            SecretSource::File(credential_file(&name, resolver)?)
        }
        RawSecret::Kept(_) => return Err("must have exactly one of file, env and credential".into()),
    };
    if let SecretSource::File(file) = &source {
        resolver.warn_if_others_can_read(file);
    }
    Ok(source)
}

fn from_file(file: &Path) -> Result<SecretText, String> {
    let mut text =
        std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let secret = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(secret);
    Ok(SecretText::new(text))
}

fn from_variable(name: &str, resolver: &Resolver<'_>) -> Result<SecretText, String> {
    let value = resolver
        .environment
        .variable(name)
        .ok_or_else(|| format!("the variable {name} is not set"))?;
    let text = value.into_string().map_err(|_| format!("the variable {name} is not UTF-8"))?;
    Ok(SecretText::new(text))
}

/// The file of a credential that systemd puts into a folder of the service (systemd.exec(5), LoadCredential=).
fn credential_file(name: &str, resolver: &Resolver<'_>) -> Result<PathBuf, String> {
    let folder = resolver.environment.variable("CREDENTIALS_DIRECTORY").map(PathBuf::from).ok_or(
        "systemd has passed no credentials to this process; set LoadCredential= in its unit, or use { file = \"...\" }",
    )?;
    if name.is_empty() || name.contains(['/', '\\']) || name == "." || name == ".." {
        return Err(format!("{name:?} is no credential's name; it must be the one given to LoadCredential="));
    }
    Ok(folder.join(name))
}
