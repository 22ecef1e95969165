//! The configuration: written → merged → validated.
//!
//! Built-in defaults, the file and the environment are merged by the `config` crate after everything unknown in them
//! was reported; then each section is read into the small struct of the module that needs it. All problems are found
//! in one go, none of them repeats a secret, and nothing is taken that is only nearly right.

mod error;

mod sources;

mod environment;

mod schema;

mod section;

mod origin;

mod secret;

mod remote;
mod request;

mod retention;

mod local;

mod status;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::config::{Map, Value, ValueKind};
use url::Url;

pub use self::error::{ConfigError, Problem};
pub use self::sources::Sources;

use self::error::Problems;
use self::schema::WEBHOOKS;
use self::secret::{Reading, Secrets};
use self::section::Section;
use crate::core::cadence::PollingPolicy;
use crate::core::enqueue::EnqueueRules;
use crate::core::retention::Retention;
use crate::status::{Listen, StatusSettings};
use crate::upstream::UpstreamSettings;
use crate::webhook::WebhookSettings;

/// Everything the daemon was told, validated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the jobs are.
    pub database: DatabaseSettings,
    /// The API that is polled.
    pub upstream: UpstreamSettings,
    /// When it is polled.
    pub polling: PollingPolicy,
    /// How long what is over is kept.
    pub retention: Retention,
    /// Whom to tell, in the order of their names.
    pub webhooks: Vec<WebhookSettings>,
    /// Where the status server listens, and whom it answers.
    pub status: StatusSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// What is usable but unwise, one line each, such as a secret that everybody can read.
    pub warnings: Vec<String>,
    /// The files that secrets were read from.
    pub secret_files: Vec<SecretFile>,
}

/// A file that a secret was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// The key it is for: `upstream.api_key_file`.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// Whether it is a credential of the service manager rather than a file the configuration names.
    pub credential: bool,
}

/// The `[database]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// The SQLite file; a relative path starts in the working directory.
    pub path: PathBuf,
    /// Whether it may lie on a network file system, at its owner's risk.
    pub allow_network_filesystem: bool,
    /// Whether the daemon makes a new one where there is none.
    pub create: bool,
}

/// The `[log]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level or directives of `tracing_subscriber::EnvFilter`, known to parse.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, journald under systemd, else JSON.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
    /// Structured fields to systemd's journal.
    Journald,
}

/// Loads everything, secrets included.
///
/// # Errors
/// Every problem found, see [`ConfigError`].
pub fn load(sources: &Sources) -> Result<Settings, ConfigError> {
    let problems = Problems::default();
    match validated(sources, Wanted::All, &problems) {
        Some(Validated {
            all: Some(mut settings),
            ..
        }) if problems.is_empty() => {
            (settings.warnings, settings.secret_files) = problems.into_found();
            Ok(settings)
        }
        _ => Err(problems.into_error(sources.file.clone())),
    }
}

/// Loads where the database is, for commands that need nothing else: the whole configuration must be right, but
/// secrets need not be there and are not read.
///
/// # Errors
/// Every problem found, see [`ConfigError`].
pub fn load_database(sources: &Sources) -> Result<DatabaseSettings, ConfigError> {
    let problems = Problems::default();
    match validated(sources, Wanted::None, &problems) {
        Some(Validated { database, .. }) if problems.is_empty() => Ok(database),
        _ => Err(problems.into_error(sources.file.clone())),
    }
}

/// Loads what a command needs that talks to the API: likewise, with the API's secret and no other.
///
/// # Errors
/// Every problem found, see [`ConfigError`].
pub fn load_upstream(
    sources: &Sources,
) -> Result<(DatabaseSettings, UpstreamSettings), ConfigError> {
    let problems = Problems::default();
    match validated(sources, Wanted::Upstream, &problems) {
        Some(Validated {
            database,
            upstream: Some(upstream),
            ..
        }) if problems.is_empty() => Ok((database, upstream)),
        _ => Err(problems.into_error(sources.file.clone())),
    }
}

/// Loads what a command needs that steers webhooks: likewise, with the secrets of webhooks where they are to be signed
/// for, and no other. Without `secrets` their `keys` are empty, and they are good for being looked at only.
///
/// # Errors
/// Every problem found, see [`ConfigError`].
pub fn load_webhooks(
    sources: &Sources,
    secrets: bool,
) -> Result<(DatabaseSettings, Vec<WebhookSettings>), ConfigError> {
    let problems = Problems::default();
    let wanted = if secrets {
        Wanted::Webhooks
    } else {
        Wanted::None
    };
    match validated(sources, wanted, &problems) {
        Some(Validated {
            database,
            webhooks: Some(webhooks),
            ..
        }) if problems.is_empty() => Ok((database, webhooks)),
        _ => Err(problems.into_error(sources.file.clone())),
    }
}

/// Loads what a command needs that takes jobs: likewise, with no secret. The URL is `upstream.base_url`.
///
/// # Errors
/// Every problem found, see [`ConfigError`].
pub fn load_enqueue(
    sources: &Sources,
) -> Result<(DatabaseSettings, Url, EnqueueRules), ConfigError> {
    let problems = Problems::default();
    match validated(sources, Wanted::None, &problems) {
        Some(Validated {
            database,
            base_url: Some(base_url),
            polling: Some(polling),
            webhooks: Some(webhooks),
            ..
        }) if problems.is_empty() => Ok((database, base_url, enqueue_rules(&polling, &webhooks))),
        _ => Err(problems.into_error(sources.file.clone())),
    }
}

/// Whose secrets are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    Upstream,
    Webhooks,
    None,
}

/// What is right. What is missing was reported, or depends on secrets that nobody wants.
struct Validated {
    database: DatabaseSettings,
    base_url: Option<Url>,
    upstream: Option<UpstreamSettings>,
    polling: Option<PollingPolicy>,
    webhooks: Option<Vec<WebhookSettings>>,
    all: Option<Settings>,
}

fn enqueue_rules(polling: &PollingPolicy, webhooks: &[WebhookSettings]) -> EnqueueRules {
    EnqueueRules {
        webhooks: webhooks.iter().map(|each| each.name.clone()).collect(),
        deadline: polling.deadline,
    }
}

impl Settings {
    /// What jobs are checked against before they are inserted.
    #[must_use]
    pub fn enqueue_rules(&self) -> EnqueueRules {
        enqueue_rules(&self.polling, &self.webhooks)
    }

    /// The changed keys that a reload cannot bring into force.
    #[must_use]
    pub fn restart_needed(&self, new: &Self) -> Vec<&'static str> {
        [
            ("database.url", self.database.path != new.database.path),
            (
                "database.allow_network_filesystem",
                self.database.allow_network_filesystem != new.database.allow_network_filesystem,
            ),
            ("status.listen", self.status.listen != new.status.listen),
            ("log.format", self.log.format != new.log.format),
        ]
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
    }

    /// These settings after a reload: the new ones, except for those that need a restart.
    #[must_use]
    pub fn renewed(&self, new: Self) -> Self {
        // Settings for a local address may do without a token. The old address stays, and with it its token.
        let local = self.status.listen.as_ref().is_none_or(Listen::is_local);
        let kept = || self.status.token.clone().filter(|_| !local);
        Self {
            database: self.database.clone(),
            status: StatusSettings {
                listen: self.status.listen.clone(),
                token: new.status.token.or_else(kept),
                hosts: new.status.hosts,
            },
            log: LogSettings {
                level: new.log.level,
                format: self.log.format,
            },
            ..new
        }
    }
}

/// Reads every section, whatever is wrong with the others.
fn validated(sources: &Sources, wanted: Wanted, problems: &Problems) -> Option<Validated> {
    let merged = sources::merged(sources, problems)?;
    let empty = Map::new();
    let section = |name| Section::new(name, table(&merged, name).unwrap_or(&empty), problems);
    let secrets = |read| {
        let reading = if read { Reading::Read } else { Reading::Skip };
        Secrets { sources, reading }
    };

    let database = local::database(&section("database"));
    let asking = matches!(wanted, Wanted::All | Wanted::Upstream);
    let base_url = remote::base_url(&section("upstream"));
    let upstream = remote::upstream(&section("upstream"), base_url.clone(), &secrets(asking));
    let polling = local::polling(&section("polling"));
    let retention = retention::retention(&section("retention"));
    let listen = status::listen(&section("status"));
    let needed = secrets(wanted == Wanted::All);
    let status = status::status(&section("status"), listen.as_ref(), &needed);
    let log = local::log(&section("log"));

    let listen = listen.flatten().as_ref().and_then(Listen::tcp);
    let by_name: BTreeMap<&String, &Value> =
        table(&merged, WEBHOOKS).into_iter().flatten().collect();
    let known: Vec<&str> = by_name.keys().map(|name| name.as_str()).collect();
    let webhooks = by_name
        .into_iter()
        .filter_map(|(name, value)| match &value.kind {
            ValueKind::Table(values) => {
                let path = format!("{WEBHOOKS}.{name}");
                let section = Section::new(&path, values, problems);
                let secrets = secrets(matches!(wanted, Wanted::All | Wanted::Webhooks));
                Some(remote::webhook(&section, name, listen, &known, &secrets))
            }
            _ => None,
        });
    let webhooks = section::all(webhooks.collect());

    let database = database?;
    let all = |upstream, webhooks: Option<Vec<WebhookSettings>>, database| {
        Some(Settings {
            database,
            upstream: upstream?,
            polling: polling?,
            retention: retention?,
            webhooks: webhooks?,
            status: status?,
            log: log?,
            warnings: Vec::new(),
            secret_files: Vec::new(),
        })
    };
    Some(Validated {
        all: all(upstream.clone(), webhooks.clone(), database.clone()),
        base_url,
        upstream,
        polling,
        webhooks,
        database,
    })
}

fn table<'a>(values: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    match &values.get(name)?.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}
