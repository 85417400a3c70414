//! From what the file says to what it means: names resolved, values checked, every fault reported.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use tracing_subscriber::EnvFilter;

use super::environment::{Environment, others_can_read};
use super::error::ConfigErrors;
use super::providers::Providers;
use super::raw::{RawConfig, RawLimits, RawLog, RawStore};
use super::report::Report;
use super::{Account, Budgets, Config, FailedLogins, Limits, Log, LogFormat, StoreConfig};
use super::{accounts, apps, listeners, proxy, secrets, shape, units, whole};

const HOUR: Duration = Duration::from_secs(3600);

impl Config {
    /// Reads a configuration from `text`, which is what `file` holds: relative paths start at its folder.
    ///
    /// # Errors
    /// When it is wrong: every fault that could be found, each with its place, its key and what would be right.
    pub fn parse(text: &str, file: &Path, environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut report = Report::new(file, text);
        let Some(raw) = shape::read(&mut report) else { return Err(report.into_errors()) };
        let folder = std::path::absolute(file)
            .ok()
            .and_then(|file| Some(file.parent()?.to_owned()))
            .unwrap_or_default();
        let mut resolver = Resolver { report, environment, folder };
        let config = resolver.config(raw, file);
        let warnings = resolver.report.finish()?;
        Ok(Self { warnings, ..config })
    }
}

/// What every step needs. A step that finds a fault reports it and goes on with a default, so that one reading finds
/// as many as it can; what came of it is thrown away at the end.
pub(super) struct Resolver<'a> {
    /// Where faults go.
    pub(super) report: Report<'a>,
    /// What surrounds the process.
    pub(super) environment: &'a Environment,
    /// Where relative paths start.
    folder: PathBuf,
}

impl Resolver<'_> {
    fn config(&mut self, raw: RawConfig, file: &Path) -> Config {
        let defaults = Limits::default();
        let drain = self.duration(raw.drain_timeout.as_ref(), Duration::from_secs(90), Duration::ZERO..=HOUR);
        let (listeners, places) = listeners::resolve(raw.listener, self);
        let providers = Providers::resolve(raw.provider, self);
        let apps = apps::resolve(raw.app, &providers, self);
        let accounts = accounts::resolve(raw.account, &apps, &providers, self);
        // There is no right configuration without a password hash in it.
        self.warn_if_others_can_read(file);
        let state_dir = self.state_dir(raw.state_dir.map(|folder| folder.into_inner().into()));
        let config = Config {
            store: self.store(raw.store, &state_dir),
            proxy: raw.upstream.proxy.and_then(|proxy| proxy::resolve(proxy, self)),
            state_dir,
            file: file.to_owned(),
            hostname: self.hostname(raw.hostname),
            drain_timeout: drain,
            log: self.log(&raw.log),
            limits: self.limits(&raw.limits, &defaults),
            budgets: Budgets::default(),
            listeners,
            logins: index(&accounts),
            accounts,
            apps: apps.into_iter().filter_map(|(name, app)| Some((name, app?))).collect(),
            warnings: Vec::new(),
        };
        if self.report.is_clean() {
            whole::check(&config, &places, &mut self.report);
        }
        config
    }

    /// The key, `$STATE_DIRECTORY` (of several, as systemd joins them, the first), `$XDG_STATE_HOME/mailferry`, or
    /// `state` beside the file.
    fn state_dir(&self, named: Option<PathBuf>) -> PathBuf {
        let of_systemd = || {
            let folders = self.environment.variable("STATE_DIRECTORY")?;
            std::env::split_paths(&folders).next().filter(|folder| folder.is_absolute())
        };
        let of_user = || Some(self.environment.folder("XDG_STATE_HOME")?.join("mailferry"));
        let state = named.or_else(of_systemd).or_else(of_user).unwrap_or_else(|| "state".into());
        self.path(&state)
    }

    /// `[store]`: both keys default to files in `state_dir`.
    fn store(&mut self, raw: RawStore, state_dir: &Path) -> StoreConfig {
        const RIGHT: &str = "it must be \"sqlite:\" and a path, as in \"sqlite:/var/lib/mailferry/mailferry.db\"";
        let default = || state_dir.join("mailferry.db");
        let database = raw.url.map_or_else(&default, |url| {
            let at = url.span();
            let text = secrets::single(url, self).and_then(|url| url.read().ok());
            let path = text.as_ref().and_then(|text| text.expose().strip_prefix("sqlite:"));
            match path.map(|path| path.strip_prefix("//").unwrap_or(path)) {
                Some(path) if !path.is_empty() && !path.contains(['?', '\0']) => self.path(Path::new(path)),
                _ => {
                    // What could not be read has been reported.
                    if text.is_some() {
                        self.report
                            .error(at, format!("this version keeps its store in SQLite; {RIGHT}"));
                    }
                    default()
                }
            }
        });
        let keys = raw.key.and_then(|key| secrets::sources(key, self));
        StoreConfig { database, keys }
    }

    fn hostname(&mut self, named: Option<Spanned<String>>) -> String {
        const RIGHT: &str = "letters, digits, hyphens and dots, as in \"mailferry.local\"";
        match named {
            Some(name) if units::is_host_name(name.get_ref()) => return name.into_inner(),
            Some(name) => self.report.error(name.span(), format!("no host name; it must be {RIGHT}")),
            None => match self.environment.machine.clone().filter(|name| units::is_host_name(name)) {
                Some(name) => return name,
                None => self
                    .report
                    .error_in_file("hostname", format!("this machine has no usable name; set {RIGHT}")),
            },
        }
        String::new()
    }

    fn log(&mut self, raw: &RawLog) -> Log {
        let filter = raw.level.as_ref().map_or("info", |level| level.get_ref());
        if let Some(level) = &raw.level
            && !is_log_filter(filter)
        {
            let right =
                "it must be error, warn, info, debug, trace, or a tracing filter as in \"info,mailferry=debug\"";
            self.report.error(level.span(), format!("no log level; {right}"));
        }
        Log { filter: filter.into(), format: raw.format.unwrap_or(LogFormat::Text) }
    }

    fn limits(&mut self, raw: &RawLimits, defaults: &Limits) -> Limits {
        const SOME_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
        const MANY: RangeInclusive<i64> = 1..=1_000_000;
        let (idle, failed) = (&raw.idle_timeout, &raw.failed_logins);
        Limits {
            sessions: self.number(raw.sessions.as_ref(), defaults.sessions, MANY),
            sessions_per_address: self.number(raw.sessions_per_address.as_ref(), defaults.sessions_per_address, MANY),
            login_timeout: self.duration(
                raw.login_timeout.as_ref(),
                defaults.login_timeout,
                Duration::from_secs(1)..=HOUR,
            ),
            idle_smtp: self.duration(idle.smtp.as_ref(), defaults.idle_smtp, SOME_TIME),
            idle_imap: self.duration(idle.imap.as_ref(), defaults.idle_imap, SOME_TIME),
            idle_pop3: self.duration(idle.pop3.as_ref(), defaults.idle_pop3, SOME_TIME),
            failed_logins: FailedLogins {
                count: self.number(failed.count.as_ref(), defaults.failed_logins.count, 1..=super::MOST_COUNTED.into()),
                within: self.duration(failed.within.as_ref(), defaults.failed_logins.within, SOME_TIME),
                block: self.duration(failed.block.as_ref(), defaults.failed_logins.block, SOME_TIME),
            },
        }
    }

    /// A duration within bounds, or the default.
    fn duration(
        &mut self,
        value: Option<&Spanned<String>>,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(value) = value else { return default };
        match units::duration(value.get_ref()) {
            Some(duration) if bounds.contains(&duration) => return duration,
            Some(_) => {
                let (least, most) = (units::show_duration(*bounds.start()), units::show_duration(*bounds.end()));
                self.report.error(value.span(), format!("must be {least} to {most}"));
            }
            None => self
                .report
                .error(value.span(), format!("no duration; it must be {}", units::DURATION)),
        }
        default
    }

    /// A number within bounds, or the default.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        value: Option<&Spanned<i64>>,
        default: T,
        bounds: RangeInclusive<i64>,
    ) -> T {
        let Some(value) = value else { return default };
        match T::try_from(*value.get_ref()) {
            Ok(number) if bounds.contains(value.get_ref()) => number,
            _ => {
                self.report
                    .error(value.span(), format!("must be {} to {}", bounds.start(), bounds.end()));
                default
            }
        }
    }

    /// A list of networks. `empty` is what is said of an empty one; without it, it may be empty.
    pub(super) fn networks(&mut self, list: Spanned<Vec<Spanned<String>>>, empty: Option<&str>) -> Vec<ipnet::IpNet> {
        if let Some(what) = empty.filter(|_| list.get_ref().is_empty()) {
            self.report.error(list.span(), what);
        }
        let mut networks = Vec::with_capacity(list.get_ref().len());
        for text in list.into_inner() {
            match units::network(text.get_ref()) {
                Some(network) => networks.push(network),
                None => self
                    .report
                    .error(text.span(), format!("no network; it must be {}", units::NETWORK)),
            }
        }
        networks
    }

    /// A path of the file, as one that does not depend on the working folder.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Warns of a file with a secret in it that anyone on this machine can read.
    pub(super) fn warn_if_others_can_read(&mut self, file: &Path) {
        if std::fs::metadata(file).is_ok_and(|metadata| others_can_read(&metadata)) {
            let file = file.display();
            self.report
                .warn(format!("{file} holds secrets and every user of this machine can read it; chmod o= {file}"));
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 8192,
            sessions_per_address: 256,
            login_timeout: Duration::from_secs(60),
            idle_smtp: Duration::from_secs(10 * 60),
            idle_imap: Duration::from_secs(35 * 60),
            idle_pop3: Duration::from_secs(10 * 60),
            failed_logins: FailedLogins {
                count: 10,
                within: Duration::from_secs(5 * 60),
                block: Duration::from_secs(15 * 60),
            },
        }
    }
}

/// `EnvFilter` takes any single word for the name of a module to be traced: `inof` would silently log nothing.
fn is_log_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_word = !text.contains(['=', ',', '[']);
    if is_word { LEVELS.contains(&text) } else { EnvFilter::builder().parse(text).is_ok() }
}

fn index(accounts: &[Arc<Account>]) -> HashMap<String, Arc<Account>> {
    let logins = accounts
        .iter()
        .flat_map(|account| account.logins.iter().map(move |login| (login, account)));
    logins
        .map(|(login, account)| (login.username.clone(), Arc::clone(account)))
        .collect()
}
