//! Finds the configuration file and reads it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Config;
use super::environment::{Environment, others_can_change};
use super::error::{ConfigError, ConfigErrors};

impl Config {
    /// Reads the file at `path`, which is `--config`. Without one, the file that `$MAILFERRY_CONFIG` names, else the
    /// first that is there of `./mailferry.toml` (not for root), `$XDG_CONFIG_HOME/mailferry/mailferry.toml` and
    /// `/etc/mailferry/mailferry.toml`.
    ///
    /// # Errors
    /// When there is no file, when it cannot be read, when it lies in the working folder and others could have written
    /// it, and when it is wrong: every fault in it that could be found.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigErrors> {
        let named = path
            .map(PathBuf::from)
            .or_else(|| environment.variable("MAILFERRY_CONFIG").map(PathBuf::from));
        let place = match named {
            Some(file) => Place { file, is_working_folder: false },
            None => find(environment)?,
        };
        let text = read(&place)?;
        Self::parse(&text, &place.file, environment)
    }
}

/// Where a configuration is read.
#[derive(Clone)]
struct Place {
    file: PathBuf,
    /// Nobody has named the file: it lies where the process happens to be, and anybody may have put it there.
    is_working_folder: bool,
}

/// Where the file is looked for when nobody names it, in this order.
fn places(environment: &Environment) -> Vec<Place> {
    let here = (!environment.root).then(|| environment.working_folder.join("mailferry.toml"));
    let here = here.map(|file| Place { file, is_working_folder: true });
    // The XDG Base Directory Specification: ~/.config stands in for the variable.
    let user = environment
        .folder("XDG_CONFIG_HOME")
        .or_else(|| Some(environment.folder("HOME")?.join(".config")));
    let user = user.map(|folder| folder.join("mailferry/mailferry.toml"));
    let others = user.into_iter().chain([PathBuf::from("/etc/mailferry/mailferry.toml")]);
    here.into_iter()
        .chain(others.map(|file| Place { file, is_working_folder: false }))
        .collect()
}

fn find(environment: &Environment) -> Result<Place, ConfigErrors> {
    let places = places(environment);
    // A place that cannot be looked into counts as found: reading it then says why, instead of passing it over.
    if let Some(found) = places.iter().find(|place| place.file.try_exists().unwrap_or(true)) {
        return Ok(found.clone());
    }
    let looked: Vec<_> = places.iter().map(|place| place.file.display().to_string()).collect();
    let what =
        format!("no configuration at {}; make one with `mailferry init`, or name one with --config", looked.join(", "));
    Err(ConfigError { file: PathBuf::new(), position: None, key: String::new(), what }.into())
}

fn read(place: &Place) -> Result<Zeroizing<String>, ConfigErrors> {
    let fault = |what| ConfigError { file: place.file.clone(), position: None, key: String::new(), what };
    let unreadable = |error: io::Error| fault(format!("cannot be read: {error}"));
    let mut file = File::open(&place.file).map_err(unreadable)?;
    // Asked of the file that is open: at its path may lie another by now.
    if place.is_working_folder && others_can_change(&file.metadata().map_err(unreadable)?) {
        let what = "lies in the working folder, and its owner or its mode lets other users write to it; \
                    to use it nevertheless: --config ./mailferry.toml";
        return Err(fault(what.to_owned()).into());
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places_of(environment: &Environment) -> Vec<String> {
        places(environment)
            .iter()
            .map(|place| place.file.display().to_string())
            .collect()
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

    /// The complaint about a file in the working folder with this mode, found or named; each lacks what it needs.
    #[cfg(unix)]
    fn complaint(mode: u32, named: bool) -> String {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mailferry.toml");
        std::fs::write(&file, "hostname = 5").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let mut environment = Environment::of_variables([]);
        environment.working_folder = folder.path().into();
        let complaint = Config::load(named.then_some(&*file), &environment).unwrap_err().to_string();
        assert!(complaint.starts_with(&file.display().to_string()), "{complaint}");
        complaint
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_write_is_read_only_where_it_is_named() {
        for mode in [0o664, 0o646, 0o622] {
            let found = complaint(mode, false);
            assert!(found.contains("--config ./mailferry.toml") && !found.contains("hostname"), "{found}");
            assert!(complaint(mode, true).contains("hostname"), "{mode:o}");
        }
        assert!(complaint(0o644, false).contains("hostname"));
    }
}
