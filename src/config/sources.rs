//! Where a configuration comes from, and how its sources become one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml::Table;

use super::environment;
use super::error::{Origin, Problems};
use super::schema::{self, ANY_TOKEN, ANY_WEBHOOK, Sections};

/// The file that is read when none is named, if it exists.
const DEFAULT_FILE: &str = "/etc/jobtrackd/jobtrackd.toml";

/// Largest configuration file, in bytes.
const FILE_BYTES: u64 = 1024 * 1024;

/// Where the configuration comes from. Nothing else is read when it is loaded.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file, which must exist.
    pub file: Option<PathBuf>,
    /// The environment; variables that are not ours are ignored.
    pub environment: BTreeMap<String, String>,
    /// The folder of systemd's credentials.
    pub credentials_directory: Option<PathBuf>,
}

impl Sources {
    /// Those of this process: the file named on the command line, else the one in /etc if it exists; the environment; and
    /// the credentials of the service manager.
    #[must_use]
    pub fn from_process(config_flag: Option<PathBuf>) -> Self {
        // If it cannot be checked whether the file exists, loading it reports why.
        let there = || Path::new(DEFAULT_FILE).try_exists().unwrap_or(true);
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os();
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
        Self {
            file: config_flag.or_else(|| there().then(|| PathBuf::from(DEFAULT_FILE))),
            environment: variables
                .map(|(name, value)| (lossy(name), lossy(value)))
                .collect(),
            credentials_directory: credentials
                .filter(|folder| !folder.is_empty())
                .map(PathBuf::from),
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

/// The environment over the file over the defaults. Unknown keys in any of them are reported and left out. `None` when the
/// file cannot be read or parsed, which is reported: other problems would be misleading then.
pub(super) fn merged(sources: &Sources, problems: &Problems) -> Option<Sections> {
    let file = match &sources.file {
        Some(path) => {
            let origin = Origin::File(path.clone());
            schema::sections(parse(path, &origin, problems)?, &origin, problems)
        }
        None => Sections::new(),
    };
    let names = |of: fn(&str) -> Option<&str>| file.keys().filter_map(|path| of(path)).collect();
    let (webhooks, tokens): (Vec<&str>, Vec<&str>) =
        (names(schema::webhook_of), names(schema::token_of));
    let environment = environment::read(&sources.environment, &webhooks, &tokens, problems);
    let mut merged = schema::defaults(problems);
    let of_every_webhook = merged.remove(ANY_WEBHOOK).unwrap_or_default();
    let of_every_token = merged.remove(ANY_TOKEN).unwrap_or_default();
    for (path, entries) in file.into_iter().chain(environment) {
        let of_section = match schema::token_of(&path) {
            Some(_) => &of_every_token,
            None => &of_every_webhook,
        };
        merged
            .entry(path)
            .or_insert_with(|| of_section.clone())
            .extend(entries);
    }
    Some(merged)
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

fn parse(path: &Path, origin: &Origin, problems: &Problems) -> Option<Table> {
    let text = read_text(path, FILE_BYTES).map_err(|wrong| {
        let remedy = "name another file with --config, or make it readable";
        problems.report("the file", origin, wrong, remedy);
    });
    let text = text.ok()?;
    let read = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let (line, column) = before
            .split('\n')
            .zip(1..)
            .last()
            .map_or((1, 1), |(rest, line)| (line, rest.chars().count() + 1));
        let message = match error.message() {
            // The only TOML value that cannot be read; the library repeats it, and it may be a secret.
            text if text.starts_with("invalid type:") => "a number is too large",
            text => text.lines().next().unwrap_or_default(),
        };
        problems.report(
            format!("line {line}, column {column}"),
            origin,
            format!("this is not TOML: {message}"),
            "text is written in double quotes",
        );
    });
    read.ok()
}
