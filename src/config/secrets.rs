//! Secrets, fetched from where the file says they are kept.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::raw::{RawKept, RawSecret};
use super::resolve::Resolver;
use crate::secret::SecretText;

/// The secret, if it is there.
pub(super) fn fetch(secret: Spanned<RawSecret>, resolver: &mut Resolver<'_>) -> Option<SecretText> {
    let at = secret.span();
    let fetched = match secret.into_inner() {
        RawSecret::Text(text) => Ok(text),
        RawSecret::Kept(RawKept { file: Some(file), env: None, credential: None }) => {
            from_file(&resolver.path(Path::new(&file)), resolver)
        }
        RawSecret::Kept(RawKept { file: None, env: Some(name), credential: None }) => from_variable(&name, resolver),
        RawSecret::Kept(RawKept { file: None, env: None, credential: Some(name) }) => from_credential(&name, resolver),
        RawSecret::Kept(_) => Err("must have exactly one of file, env and credential".into()),
    };
    match fetched {
        Ok(text) if !text.expose().is_empty() => Some(text),
        Ok(_) => fault(at, "the secret is empty", resolver),
        Err(what) => fault(at, what, resolver),
    }
}

fn fault(at: Range<usize>, what: impl Into<String>, resolver: &mut Resolver<'_>) -> Option<SecretText> {
    resolver.report.error(at, what);
    None
}

/// A file's text without the line end that editors put behind it.
fn from_file(file: &Path, resolver: &mut Resolver<'_>) -> Result<SecretText, String> {
    let mut text =
        std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    resolver.warn_if_others_can_read(file);
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

/// A credential that systemd puts into a folder of the service (systemd.exec(5), LoadCredential=).
fn from_credential(name: &str, resolver: &mut Resolver<'_>) -> Result<SecretText, String> {
    let folder = resolver.environment.variable("CREDENTIALS_DIRECTORY").map(PathBuf::from).ok_or(
        "systemd has passed no credentials to this process; set LoadCredential= in its unit, or use { file = \"...\" }",
    )?;
    if name.is_empty() || name.contains(['/', '\\']) || name == "." || name == ".." {
        return Err(format!("{name:?} is no credential's name; it must be the one given to LoadCredential="));
    }
    from_file(&folder.join(name), resolver)
}
