//! The configuration: read, merged, validated.
//!
//! Built-in defaults, the file and the environment are merged after everything unknown in them was reported; then each
//! section is read into the small struct of the module that needs it. All problems are reported together, none of them
//! repeats a secret, and no value is corrected silently.

mod error;

mod schema;

mod environment;

mod sources;

mod section;

mod secret;

mod url;

mod local;

mod status;

mod auth;

mod dialect;

mod upstream;

mod webhook;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use self::error::{ConfigError, Problem};
pub use self::sources::Sources;

use self::error::Problems;
use self::schema::{Entries, Sections};
use self::secret::Secrets;
use self::section::Section;
use self::webhook::Webhook;
use crate::core::cadence::PollingPolicy;
use crate::core::enqueue::EnqueueRules;
use crate::core::retention::Retention;
use crate::status::{Listen, StatusSettings};
use crate::upstream::UpstreamSettings;
use crate::webhook::WebhookSettings;

/// The whole configuration, validated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the jobs are.
    pub database: DatabaseSettings,
    /// The API that is polled.
    pub upstream: UpstreamSettings,
    /// When it is polled.
    pub polling: PollingPolicy,
    /// How long ended jobs, events and attempts are kept.
    pub retention: Retention,
    /// The receivers of events, in the order of their names.
    pub webhooks: Vec<WebhookSettings>,
    /// Where the status server listens, and which requests it takes.
    pub status: StatusSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Warnings about what is usable but unwise, one line each, such as a secret that all users can read.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
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

/// Which secrets are read; the others need not be there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// The API's.
    pub api_key: bool,
    /// Those of webhooks. Without them their `keys` are empty, and nothing can be sent to them.
    pub of_webhooks: bool,
    /// The status server's.
    pub status_token: bool,
}

/// Loads everything, secrets included.
///
/// # Errors
/// Every problem found, see [`ConfigError`].
pub fn load(sources: &Sources) -> Result<Settings, ConfigError> {
    let all = Wanted {
        api_key: true,
        of_webhooks: true,
        status_token: true,
    };
    load_with(sources, all)
}

/// Loads where the database is, for commands that need nothing else: the whole configuration must be right, but
/// secrets need not be there and are not read.
///
/// # Errors
/// Every problem found, see [`ConfigError`].
pub fn load_database(sources: &Sources) -> Result<DatabaseSettings, ConfigError> {
    load_with(sources, Wanted::default()).map(|settings| settings.database)
}

/// Loads everything with these secrets alone: the whole configuration must be right, but no other secret is read.
///
/// # Errors
/// Every problem found, see [`ConfigError`].
pub fn load_with(sources: &Sources, wanted: Wanted) -> Result<Settings, ConfigError> {
    let problems = Problems::default();
    let merged = sources::merged(sources, &problems);
    let settings = merged.and_then(|merged| settings(&merged, sources, wanted, &problems));
    match settings {
        Some(mut settings) if problems.is_empty() => {
            (settings.warnings, settings.secret_files) = problems.into_found();
            Ok(settings)
        }
        _ => Err(problems.into_error(sources.file.clone())),
    }
}

impl Settings {
    /// What jobs are checked against before they are inserted.
    #[must_use]
    pub fn enqueue_rules(&self) -> EnqueueRules {
        EnqueueRules {
            webhooks: self.webhooks.iter().map(|each| each.name.clone()).collect(),
            deadline: self.polling.deadline,
        }
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
        let is_open = !local && !new.status.needs_token();
        let kept = || self.status.token.clone().filter(|_| is_open);
        let tokens = match is_open {
            true => self.status.tokens.clone(),
            false => new.status.tokens,
        };
        Self {
            database: self.database.clone(),
            status: StatusSettings {
                listen: self.status.listen.clone(),
                token: new.status.token.or_else(kept),
                tokens,
                dashboard: new.status.dashboard,
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
fn settings(
    merged: &Sections,
    sources: &Sources,
    wanted: Wanted,
    problems: &Problems,
) -> Option<Settings> {
    const NONE: &Entries = &Entries::new();
    let section = |path| Section {
        path,
        entries: merged.get(path).unwrap_or(NONE),
        problems,
    };
    let secrets = |path, wanted| Secrets {
        section: section(path),
        sources,
        wanted,
    };
    let database = local::database(&section("database"));
    let json = section("upstream.json");
    let upstream = upstream::upstream(&secrets("upstream", wanted.api_key), &json);
    let polling = local::polling(&section("polling"));
    let retention = local::retention(&section("retention"));
    let tokens = merged.keys().filter_map(|path| {
        let name = schema::token_of(path)?;
        Some((name, secrets(path.as_str(), wanted.status_token)))
    });
    let tokens: Vec<(&str, Secrets<'_>)> = tokens.collect();
    let status = status::status(&secrets("status", wanted.status_token), &tokens);
    let log = local::log(&section("log"));
    let names: Vec<&str> = merged
        .keys()
        .filter_map(|path| schema::webhook_of(path))
        .collect();
    let webhooks = merged.keys().filter_map(|path| {
        let webhook = Webhook {
            name: schema::webhook_of(path)?,
            names: &names,
            listen: status.listen.as_ref().and_then(Listen::tcp),
            secrets: secrets(path.as_str(), wanted.of_webhooks),
        };
        Some(webhook.settings())
    });
    let webhooks = webhooks.collect();
    Some(Settings {
        database,
        upstream: upstream?,
        polling,
        retention,
        webhooks,
        status,
        log,
        warnings: Vec::new(),
        secret_files: Vec::new(),
    })
}
