//! `[retention]`: how long what is over is kept.

use std::time::Duration;

use super::section::Section;
use crate::core::retention::Retention;

/// Shortest age.
const SHORTEST: Duration = Duration::from_secs(60 * 60);

/// Longest age: a hundred years.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// Stands for no age at all.
const FOREVER: &str = "forever";

/// The ages. `None` when something is wrong, which is reported.
pub(super) fn retention(section: &Section<'_>) -> Option<Retention> {
    let [jobs, events, attempts] = ["jobs", "events", "attempts"].map(|key| age(section, key));
    let (jobs, events, attempts) = (jobs?, events?, attempts?);
    for (key, age, of, whole) in [
        ("events", events, "jobs", jobs),
        ("attempts", attempts, "events", events),
    ] {
        let outlives = match (age, whole) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(age), Some(whole)) => age > whole,
        };
        if outlives {
            let wrong = format!("this is longer than {of}, with which they are deleted");
            section.refuse(key, wrong, format!("make it at most as long as {of}"));
            return None;
        }
    }
    Some(Retention {
        jobs,
        events,
        attempts,
    })
}

/// An age; `Some(None)` is for ever.
fn age(section: &Section<'_>, key: &str) -> Option<Option<Duration>> {
    if section.is_text(key, FOREVER) {
        return Some(None);
    }
    let example = "\"30d\", or \"forever\"";
    section.duration(key, SHORTEST..=LONGEST, example).map(Some)
}
