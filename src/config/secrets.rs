//! Secrets, and where the file says they are kept.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::raw::{RawKept, RawSecret};
use super::resolve::Resolver;
use crate::secret::SecretText;

/// Where a secret is: read when it is needed, so that a file that has changed is seen.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// In the configuration or in the environment; it cannot change while the program runs.
    Fixed(SecretText),
    /// In a file.
    File(PathBuf),
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
        };
        if secret.expose().is_empty() { Err("the secret is empty".into()) } else { Ok(secret) }
    }
}

/// The source a key names, if there is a secret in it.
pub(super) fn source(secret: Spanned<RawSecret>, resolver: &mut Resolver<'_>) -> Option<SecretSource> {
    let at = secret.span();
    let source = match secret.into_inner() {
        RawSecret::Text(text) => Ok(SecretSource::Fixed(text)),
        RawSecret::Kept(RawKept { file: Some(file), env: None, credential: None }) => {
            Ok(SecretSource::File(resolver.path(Path::new(&file))))
        }
        RawSecret::Kept(RawKept { file: None, env: Some(name), credential: None }) => {
            from_variable(&name, resolver).map(SecretSource::Fixed)
        }
        RawSecret::Kept(RawKept { file: None, env: None, credential: Some(name) }) => {
            credential_file(&name, resolver).map(SecretSource::File)
        }
        RawSecret::Kept(_) => Err("must have exactly one of file, env and credential".into()),
    };
    if let Ok(SecretSource::File(file)) = &source {
        resolver.warn_if_others_can_read(file);
    }
    let checked = source.and_then(|source| source.read().map(|_| source));
    if let Err(what) = &checked {
        resolver.report.error(at, what);
    }
    checked.ok()
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
