//! Finds the configuration file and reads it.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Config;
use super::environment::Environment;
use super::error::{ConfigError, ConfigErrors};

impl Config {
    /// Reads the file at `path`, which is `--config`. Without one, the file that `$MAILFERRY_CONFIG` names, else the
    /// first that is there of `./mailferry.toml` (not for root), `$XDG_CONFIG_HOME/mailferry/mailferry.toml` and
    /// `/etc/mailferry/mailferry.toml`.
    ///
    /// # Errors
    /// When there is no file, when it cannot be read, and when it is wrong: every fault in it that could be found.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigErrors> {
        let named = path
            .map(PathBuf::from)
            .or_else(|| environment.variable("MAILFERRY_CONFIG").map(PathBuf::from));
        let file = match named {
            Some(named) => named,
            None => find(environment)?,
        };
        let text = read(&file)?;
        Self::parse(&text, &file, environment)
    }
}

/// Where the file is looked for when nobody names it, in this order.
fn places(environment: &Environment) -> Vec<PathBuf> {
    let here = (!environment.root).then(|| environment.working_folder.join("mailferry.toml"));
    // The XDG Base Directory Specification: ~/.config stands in for the variable.
    let user = environment
        .folder("XDG_CONFIG_HOME")
        .or_else(|| Some(environment.folder("HOME")?.join(".config")));
    let user = user.map(|folder| folder.join("mailferry/mailferry.toml"));
    here.into_iter()
        .chain(user)
        .chain([PathBuf::from("/etc/mailferry/mailferry.toml")])
        .collect()
}

fn find(environment: &Environment) -> Result<PathBuf, ConfigErrors> {
    let places = places(environment);
    // A place that cannot be looked into counts as found: reading it then says why, instead of passing it over.
    if let Some(found) = places.iter().find(|place| place.try_exists().unwrap_or(true)) {
        return Ok(found.clone());
    }
    let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    let what = format!("no configuration at {}; write one there, or name it with --config", looked.join(", "));
    Err(ConfigError { file: PathBuf::new(), position: None, key: String::new(), what }.into())
}

fn read(file: &Path) -> Result<Zeroizing<String>, ConfigErrors> {
    std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
        let what = format!("cannot be read: {error}");
        ConfigError { file: file.into(), position: None, key: String::new(), what }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places_of(environment: &Environment) -> Vec<String> {
        places(environment).iter().map(|place| place.display().to_string()).collect()
    }

    #[test]
    fn the_places_come_in_their_order() {
        let mut environment = Environment::of_variables([("XDG_CONFIG_HOME", "/x"), ("HOME", "/home/u")]);
        environment.working_folder = "/here".into();
        let all = ["/here/mailferry.toml", "/x/mailferry/mailferry.toml", "/etc/mailferry/mailferry.toml"];
        assert_eq!(places_of(&environment), all);
        environment.root = true;
        assert_eq!(places_of(&environment), all[1..], "root must not pick up a file that lies about");
    }

    #[test]
    fn without_the_variable_it_is_the_folder_the_specification_names() {
        let mut environment = Environment::of_variables([("XDG_CONFIG_HOME", "relative"), ("HOME", "/home/u")]);
        environment.root = true;
        assert_eq!(places_of(&environment)[0], "/home/u/.config/mailferry/mailferry.toml");
    }
}
