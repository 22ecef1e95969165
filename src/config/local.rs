//! `[database]`, `[polling]` and `[log]`: how this daemon itself behaves.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::error::{did_you_mean, nearest, shown};
use super::section::Section;
use super::{DatabaseSettings, LogFormat, LogSettings};
use crate::core::cadence::PollingPolicy;

/// Shortest delay between two polls of a job.
const SHORTEST_DELAY: Duration = Duration::from_millis(10);

/// Longest delay and longest deadline.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Largest growth of the delay from one poll to the next.
const LARGEST_MULTIPLIER: f64 = 10.0;

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

const FORMATS: [(&str, LogFormat); 4] = [
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
    ("journald", LogFormat::Journald),
];

pub(super) fn database(section: &Section<'_>) -> Option<DatabaseSettings> {
    let example = "\"sqlite:///var/lib/jobtrackd/jobs.db\"";
    // Read before anything returns, so that a wrong type is always reported.
    let allow_network_filesystem = section.flag("allow_network_filesystem");
    let create = section.flag("create");
    let text = section.text("url", example)?;
    let such_as = format!("for example url = {example}");
    // Not repeated: the URL of another database may hold a password.
    let Some(path) = text.strip_prefix("sqlite:") else {
        section.refuse("url", "expected a URL that starts with sqlite:", such_as);
        return None;
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    let wrong = match path {
        "" => "the path of the file is missing",
        ":memory:" => "the jobs must outlive the daemon, so the database is a file",
        path if path.contains('?') => "options after ? are not supported",
        path if path.contains('\0') => "a path has no NUL",
        path if path.ends_with('/') => "this is a folder, not a file",
        path => {
            return Some(DatabaseSettings {
                path: PathBuf::from(path),
                allow_network_filesystem: allow_network_filesystem?,
                create: create?,
            });
        }
    };
    section.refuse("url", wrong, such_as);
    None
}

pub(super) fn polling(section: &Section<'_>) -> Option<PollingPolicy> {
    let delay = |key, example| section.duration(key, SHORTEST_DELAY..=LONGEST, example);
    let initial_delay = delay("initial_delay", "\"1s\"");
    let multiplier = section.number("multiplier", 1.0..=LARGEST_MULTIPLIER, "1.5");
    let max_delay = delay("max_delay", "\"30s\"");
    let jitter = section.number("jitter", 0.0..=1.0, "0.1");
    let error_max_delay = delay("error_max_delay", "\"5m\"");
    let queued_delay = delay("queued_delay", "\"2h\"");
    let not_found_grace = section.duration("not_found_grace", Duration::ZERO..=LONGEST, "\"2m\"");
    let deadline = section.duration("deadline", Duration::from_millis(1)..=LONGEST, "\"8d\"");

    let [initial_delay, max_delay, error_max_delay] =
        in_order(section, initial_delay?, max_delay?, error_max_delay?)?;
    Some(PollingPolicy {
        initial_delay,
        multiplier: multiplier?,
        max_delay,
        jitter: jitter?,
        error_max_delay,
        queued_delay: queued_delay?,
        not_found_grace: not_found_grace?,
        deadline: deadline?,
    })
}

/// Neither limit is shorter than the first delay. A default gives way to what the user wrote.
fn in_order(
    section: &Section<'_>,
    initial: Duration,
    max: Duration,
    error_max: Duration,
) -> Option<[Duration; 3]> {
    let limits = [("max_delay", max), ("error_max_delay", error_max)];
    let written = limits.iter().filter(|(key, _)| section.is_written(key));
    let initial = match section.is_written("initial_delay") {
        true => initial,
        false => written.fold(initial, |least, (_, limit)| least.min(*limit)),
    };
    let limits = limits.map(|(key, limit)| {
        if limit < initial && section.is_written(key) {
            let initial = humantime::format_duration(initial);
            let wrong = format!("this is shorter than initial_delay, which is {initial}");
            section.refuse(key, wrong, "make it at least as long");
            return None;
        }
        Some(limit.max(initial))
    });
    let [max, error_max] = limits;
    Some([initial, max?, error_max?])
}

pub(super) fn log(section: &Section<'_>) -> Option<LogSettings> {
    let level = section
        .text("level", "\"info\"")
        .and_then(|text| level(section, text));
    let format = section.text("format", "\"auto\"").and_then(|text| {
        let found = FORMATS.into_iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let near = nearest(text, FORMATS.map(|(name, _)| name));
            let wrong = format!("{} is no format", shown(text));
            let remedy = did_you_mean(near, "the formats are auto, text, json and journald");
            section.refuse("format", wrong, remedy);
        }
        found
    });
    Some(LogSettings {
        level: level?,
        format: format?.1,
    })
}

/// A level, or directives of tracing such as `info,jobtrackd::store=debug`.
fn level(section: &Section<'_>, text: &str) -> Option<String> {
    let text = text.trim();
    // A lone word that is no level would be taken for a module's name, and nearly everything would fall silent.
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let misspelt = text
        .split(',')
        .map(str::trim)
        .find(|word| !word.contains(['=', '[', '{', '}', ']']) && !is_level(word));
    let refuse = |wrong: String, near: Option<&str>| {
        let otherwise = "write trace, debug, info, warn, error or off, or directives such as info,jobtrackd=debug";
        section.refuse("level", wrong, did_you_mean(near, otherwise));
        None
    };
    if let Some(word) = misspelt {
        return refuse(
            format!("{} is no level", shown(word)),
            nearest(word, LEVELS),
        );
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => refuse(format!("{} cannot be used: {error}", shown(text)), None),
    }
}
