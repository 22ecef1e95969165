//! `[database]`, `[polling]`, `[retention]` and `[log]`.

use std::path::PathBuf;
use std::time::Duration;

use strum::VariantNames as _;
use tracing_subscriber::EnvFilter;

use super::error::{did_you_mean, quoted};
use super::section::Section;
use super::{DatabaseSettings, LogFormat, LogSettings};
use crate::core::cadence::PollingPolicy;
use crate::core::retention::Retention;
use crate::core::text::nearest;

/// Shortest delay between two polls of a job.
const SHORTEST_DELAY: Duration = Duration::from_millis(10);

/// Longest delay and longest deadline.
const LONGEST_DELAY: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Largest factor between the delays of two polls.
const LARGEST_MULTIPLIER: f64 = 10.0;

/// Shortest age at which something is deleted.
const SHORTEST_AGE: Duration = Duration::from_secs(60 * 60);

/// Longest age: a hundred years.
const LONGEST_AGE: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// The age that means "never".
const FOREVER: Duration = Duration::MAX;

/// The ages, each at most as long as the one before.
const AGES: [&str; 3] = ["jobs", "events", "attempts"];

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

pub(super) fn database(section: &Section<'_>) -> DatabaseSettings {
    let url = section.text("url").unwrap_or("sqlite:unknown");
    let path = url.strip_prefix("sqlite:");
    let path = path.map(|path| path.strip_prefix("//").unwrap_or(path));
    // The URL is not repeated: that of another database may hold a password.
    let wrong = match path {
        None => Some("expected a URL that starts with sqlite:"),
        Some("") => Some("the path of the file is missing"),
        Some(":memory:") => Some("the jobs must outlive the daemon, so the database is a file"),
        Some(path) if path.contains('?') => Some("options after ? are not supported"),
        Some(path) if path.contains('\0') => Some("a path has no NUL"),
        Some(path) if path.ends_with('/') => Some("this is a folder, not a file"),
        Some(_) => None,
    };
    if let Some(wrong) = wrong {
        section.refuse_value("url", wrong);
    }
    DatabaseSettings {
        path: PathBuf::from(path.unwrap_or_default()),
        allow_network_filesystem: section.flag("allow_network_filesystem"),
        create: section.flag("create"),
    }
}

pub(super) fn polling(section: &Section<'_>) -> PollingPolicy {
    let delay = |key| section.duration(key, SHORTEST_DELAY..=LONGEST_DELAY);
    let mut policy = PollingPolicy {
        initial_delay: delay("initial_delay"),
        multiplier: section.number("multiplier", 1.0..=LARGEST_MULTIPLIER),
        max_delay: delay("max_delay"),
        jitter: section.number("jitter", 0.0..=1.0),
        error_max_delay: delay("error_max_delay"),
        queued_delay: delay("queued_delay"),
        not_found_grace: section.duration("not_found_grace", Duration::ZERO..=LONGEST_DELAY),
        deadline: section.duration("deadline", Duration::from_millis(1)..=LONGEST_DELAY),
    };
    if section.is_right() {
        put_in_order(section, &mut policy);
    }
    policy
}

/// Neither limit is shorter than the first delay. A default is adapted to what the user wrote.
fn put_in_order(section: &Section<'_>, policy: &mut PollingPolicy) {
    let initial = &mut policy.initial_delay;
    let limits = [
        ("max_delay", &mut policy.max_delay),
        ("error_max_delay", &mut policy.error_max_delay),
    ];
    let initial_is_written = section.is_written("initial_delay");
    for (key, limit) in &limits {
        if section.is_written(key) && !initial_is_written {
            *initial = (*initial).min(**limit);
        }
    }
    for (key, limit) in limits {
        if *limit < *initial && section.is_written(key) {
            let initial = humantime::format_duration(*initial);
            let wrong = format!("this is shorter than initial_delay, which is {initial}");
            section.refuse(key, wrong, "make it at least as long");
        }
        *limit = (*limit).max(*initial);
    }
}

/// A default is adapted to what the user wrote.
pub(super) fn retention(section: &Section<'_>) -> Retention {
    let mut ages = AGES.map(|key| match section.entries.get(key) {
        Some(entry) if entry.value.as_str().map(str::trim) == Some("forever") => FOREVER,
        _ => section.duration(key, SHORTEST_AGE..=LONGEST_AGE),
    });
    if section.is_right() {
        let mut before: Option<(&str, Duration)> = None;
        for (key, age) in AGES.into_iter().zip(&mut ages) {
            let longest = before.map_or(FOREVER, |(_, age)| age);
            if !section.is_written(key) {
                *age = longest.min(*age);
                continue;
            }
            if let Some((of, _)) = before.filter(|_| *age > longest) {
                let wrong = format!("this is longer than {of}, with which they are deleted");
                section.refuse(key, wrong, format!("make it at most as long as {of}"));
            }
            before = Some((key, *age));
        }
        let mut longest = Duration::ZERO;
        for (key, age) in AGES.into_iter().zip(&mut ages).rev() {
            if section.is_written(key) {
                longest = *age;
            } else {
                *age = longest.max(*age);
            }
        }
    }
    let [jobs, events, attempts] = ages.map(|age| (age < FOREVER).then_some(age));
    Retention {
        jobs,
        events,
        attempts,
    }
}

pub(super) fn log(section: &Section<'_>) -> LogSettings {
    let level = section.text("level").unwrap_or("info").trim();
    check_level(section, level);
    let format = section.text("format").unwrap_or("auto");
    LogSettings {
        level: level.to_owned(),
        format: format.parse().unwrap_or_else(|_| {
            let near = nearest(format, LogFormat::VARIANTS.iter().copied());
            let wrong = format!("{} is not a format", quoted(format));
            let remedy = did_you_mean(near, "the formats are auto, text, json and journald");
            section.refuse("format", wrong, remedy);
            LogFormat::Auto
        }),
    }
}

/// A level, or directives of tracing such as `info,jobtrackd::store=debug`.
fn check_level(section: &Section<'_>, text: &str) {
    // A single word that is not a level would be read as a module's name, and hardly anything would be logged.
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let words = text.split(',').map(str::trim);
    let mut lone = words.filter(|word| !word.contains(['=', '[', '{', '}', ']']));
    let (wrong, near) = match lone.find(|word| !is_level(word)) {
        Some(word) => {
            let wrong = format!("{} is not a level", quoted(word));
            (wrong, nearest(word, LEVELS))
        }
        None => match EnvFilter::builder().parse(text) {
            Ok(_) => return,
            Err(error) => (format!("{} cannot be used: {error}", quoted(text)), None),
        },
    };
    let otherwise =
        "write trace, debug, info, warn, error or off, or directives such as info,jobtrackd=debug";
    section.refuse("level", wrong, did_you_mean(near, otherwise));
}
