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

/// Such an age.
const NEVER: Duration = Duration::MAX;

/// The ages, each at most as long as the one before.
const KEYS: [&str; 3] = ["jobs", "events", "attempts"];

/// The ages. `None` when something is wrong, which is reported. A default gives way to what the user wrote.
pub(super) fn retention(section: &Section<'_>) -> Option<Retention> {
    let [Some(jobs), Some(events), Some(attempts)] = KEYS.map(|key| age(section, key)) else {
        return None;
    };
    let mut ages = [jobs, events, attempts];
    let mut before: Option<(&str, Duration)> = None;
    for (key, age) in KEYS.into_iter().zip(&mut ages) {
        if !section.is_written(key) {
            *age = before.map_or(*age, |(_, whole)| whole.min(*age));
            continue;
        }
        if let Some((of, whole)) = before
            && *age > whole
        {
            let wrong = format!("this is longer than {of}, with which they are deleted");
            section.refuse(key, wrong, format!("make it at most as long as {of}"));
            return None;
        }
        before = Some((key, *age));
    }
    let mut behind = Duration::ZERO;
    for (key, age) in KEYS.into_iter().zip(&mut ages).rev() {
        if section.is_written(key) {
            behind = *age;
        } else {
            *age = behind.max(*age);
        }
    }
    let [jobs, events, attempts] = ages.map(|age| (age < NEVER).then_some(age));
    Some(Retention {
        jobs,
        events,
        attempts,
    })
}

/// An age; that of what is never deleted is the longest.
fn age(section: &Section<'_>, key: &str) -> Option<Duration> {
    if section.is_text(key, FOREVER) {
        return Some(NEVER);
    }
    let example = "\"30d\", or \"forever\"";
    section.duration(key, SHORTEST..=LONGEST, example)
}
