//! Where a configuration comes from, and how its sources become one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::num::{ParseFloatError, ParseIntError};
use std::path::{Path, PathBuf};

use ::config::{Config, FileFormat, Format as _, Map, Source, Value, ValueKind};

use super::environment;
use super::error::{Problem, Problems};
use super::schema::{self, WEBHOOKS};

/// The built-in defaults, in the language of the file.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "/etc/jobtrackd/jobtrackd.toml";

/// Largest configuration file, in bytes.
const FILE_BYTES: u64 = 1024 * 1024;

/// The webhook of the defaults that stands for every webhook; no real one can have this name.
pub(super) const ANY_WEBHOOK: &str = "*";

/// Where the configuration comes from. Nothing else is looked at when it is loaded.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file, which must be there.
    pub file: Option<PathBuf>,
    /// The environment; variables that are none of ours are ignored.
    pub environment: BTreeMap<String, String>,
    /// The folder of systemd's credentials.
    pub credentials_directory: Option<PathBuf>,
}

impl Sources {
    /// What this process was started with: the file named on the command line, else the one in /etc if it is there;
    /// its environment; and the credentials of the service manager.
    #[must_use]
    pub fn from_process(config_flag: Option<PathBuf>) -> Self {
        // A file that cannot even be looked for is named here, so that loading it says why.
        let there = || Path::new(DEFAULT_FILE).try_exists().unwrap_or(true);
        let file = config_flag.or_else(|| there().then(|| PathBuf::from(DEFAULT_FILE)));
        let environment = std::env::vars_os()
            .map(|(name, value)| (lossy(&name), lossy(&value)))
            .collect();
        let credentials_directory = std::env::var_os("CREDENTIALS_DIRECTORY")
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from);
        Self {
            file,
            environment,
            credentials_directory,
        }
    }
}

impl fmt::Debug for Sources {
    /// The values of the environment may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("credentials_directory", &self.credentials_directory)
            .finish_non_exhaustive()
    }
}

/// All sources as one table. What is unknown in any of them is reported and left out. `None` when the file cannot be
/// read or parsed, which is reported: what else is wrong then says nothing.
pub(super) fn merged(sources: &Sources, problems: &Problems) -> Option<Map<String, Value>> {
    let file = match &sources.file {
        Some(path) => from_file(path)
            .map_err(|problem| problems.add(problem))
            .ok()?,
        None => Map::new(),
    };
    let file = schema::known(file, problems);
    let environment = environment::read(&sources.environment, &webhook_names([&file]), problems);
    let environment = schema::known(environment, problems);

    let names = webhook_names([&file, &environment]);
    let merged = defaults(&names).and_then(|defaults| {
        Config::builder()
            .add_source(Layer(defaults))
            .add_source(Layer(file))
            .add_source(Layer(environment))
            .build()
            .map_err(|_| "the sources do not merge".to_owned())
    });
    match merged.map(|merged| merged.cache.kind) {
        Ok(ValueKind::Table(table)) => Some(table),
        Ok(_) => None,
        Err(wrong) => {
            problems.add(about_file("the built-in defaults", wrong, ""));
            None
        }
    }
}

/// Reads at most `limit` bytes of UTF-8 text. The error is one line without any of the content.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > limit {
        return Err(format!("{} is larger than {limit} bytes", path.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

/// The origin of values from a file.
pub(super) fn file_origin(path: &Path) -> String {
    path.display().to_string()
}

/// One source, ready to be merged.
#[derive(Clone)]
struct Layer(Map<String, Value>);

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layer(***)")
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// The built-in defaults, with those of a webhook under each of these names.
fn defaults(webhooks: &BTreeSet<String>) -> Result<Map<String, Value>, String> {
    let mut defaults = FileFormat::Toml
        .parse(None, DEFAULTS)
        .map_err(|error| error.to_string())?;
    if let Some(ValueKind::Table(hooks)) = defaults.get_mut(WEBHOOKS).map(|value| &mut value.kind)
        && let Some(any) = hooks.remove(ANY_WEBHOOK)
    {
        hooks.extend(webhooks.iter().map(|name| (name.clone(), any.clone())));
    }
    Ok(defaults)
}

fn webhook_names<const N: usize>(sources: [&Map<String, Value>; N]) -> BTreeSet<String> {
    sources
        .into_iter()
        .filter_map(|source| match &source.get(WEBHOOKS)?.kind {
            ValueKind::Table(webhooks) => Some(webhooks.keys().cloned()),
            _ => None,
        })
        .flatten()
        .collect()
}

fn from_file(path: &Path) -> Result<Map<String, Value>, Problem> {
    let text = read_text(path, FILE_BYTES).map_err(|wrong| {
        let remedy = "name another file with --config, or make it readable";
        about_file("the file", wrong, remedy)
    })?;
    FileFormat::Toml
        .parse(Some(&file_origin(path)), &text)
        .map_err(|error| syntax_problem(error.as_ref()))
}

fn about_file(key: &str, wrong: String, remedy: &str) -> Problem {
    Problem {
        key: key.to_owned(),
        origin: None,
        wrong,
        remedy: remedy.to_owned(),
    }
}

/// The parser's message without the line it quotes, which may hold a secret. Its text is `TOML parse error at line 3,
/// column 7`, three lines that show the place, and the message.
fn syntax_problem(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Problem {
    let text = error.to_string();
    let position = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("TOML parse error at "));
    let message = text.split('\n').nth(4).map(str::trim);
    match (position, message) {
        (Some(position), Some(message)) if is_position(position) => {
            let wrong = format!("this is not TOML: {message}");
            about_file(position, wrong, "text stands in double quotes")
        }
        _ if error.is::<ParseIntError>() || error.is::<ParseFloatError>() => about_file(
            "the file",
            format!("this is not TOML: {text}"),
            "write smaller numbers",
        ),
        _ => about_file("the file", "this is not TOML".to_owned(), ""),
    }
}

fn is_position(text: &str) -> bool {
    text.strip_prefix("line ")
        .and_then(|rest| rest.split_once(", column "))
        .is_some_and(|(line, column)| line.parse::<u64>().is_ok() && column.parse::<u64>().is_ok())
}

fn lossy(text: &std::ffi::OsStr) -> String {
    text.to_string_lossy().into_owned()
}
