//! Typed reading of one section. What is wrong is reported once, and reads as `None`.

use std::ops::RangeInclusive;
use std::time::Duration;

use ::config::{Map, Value, ValueKind};

use super::error::{Problem, Problems, shown};
use super::schema::{described, from_environment};

/// One section of the merged configuration.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    path: &'a str,
    values: &'a Map<String, Value>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// `path` is the section's full name, as in `webhooks.billing`.
    pub(super) fn new(
        path: &'a str,
        values: &'a Map<String, Value>,
        problems: &'a Problems,
    ) -> Self {
        Self {
            path,
            values,
            problems,
        }
    }

    pub(super) fn path(&self) -> &'a str {
        self.path
    }

    pub(super) fn problems(&self) -> &'a Problems {
        self.problems
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Where a value comes from: a file's path, an environment variable, or nothing for a default.
    pub(super) fn origin(&self, key: &str) -> Option<&'a str> {
        self.values.get(key).and_then(Value::origin)
    }

    /// Whether the user wrote this value; a default gives way to those.
    pub(super) fn is_written(&self, key: &str) -> bool {
        self.origin(key).is_some()
    }

    /// Reports that the value of a key is wrong. Neither text may hold a secret.
    pub(super) fn refuse(&self, key: &str, wrong: impl Into<String>, remedy: impl Into<String>) {
        self.problems.add(Problem {
            key: format!("{}.{key}", self.path),
            origin: self.values.get(key).and_then(from_environment),
            wrong: wrong.into(),
            remedy: remedy.into(),
        });
    }

    pub(super) fn text(&self, key: &str, example: &str) -> Option<&'a str> {
        match self.kind(key, example)? {
            ValueKind::String(text) => Some(text),
            other => self.wrong_type(key, "text in quotes", example, other),
        }
    }

    /// Whether a value is this text.
    pub(super) fn is_text(&self, key: &str, text: &str) -> bool {
        matches!(self.values.get(key).map(|value| &value.kind), Some(ValueKind::String(given)) if given.trim() == text)
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.kind(key, "false")? {
            ValueKind::Boolean(flag) => Some(*flag),
            other => self.wrong_type(key, "true or false without quotes", "false", other),
        }
    }

    pub(super) fn whole(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
        example: &str,
    ) -> Option<u32> {
        let number = match self.kind(key, example)? {
            ValueKind::I64(number) => u32::try_from(*number).ok(),
            other => return self.wrong_type(key, "a whole number without quotes", example, other),
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = range.into_inner();
            self.refuse(
                key,
                format!("expected a whole number from {low} to {high}"),
                format!("for example {key} = {example}"),
            );
        }
        number
    }

    pub(super) fn number(
        &self,
        key: &str,
        range: RangeInclusive<f64>,
        example: &str,
    ) -> Option<f64> {
        let number = match self.kind(key, example)? {
            ValueKind::Float(number) => *number,
            ValueKind::I64(number) => i32::try_from(*number).map_or(f64::INFINITY, f64::from),
            other => return self.wrong_type(key, "a number without quotes", example, other),
        };
        if range.contains(&number) {
            return Some(number);
        }
        let (low, high) = range.into_inner();
        self.refuse(
            key,
            format!("expected a number from {low:?} to {high:?}"),
            format!("for example {key} = {example}"),
        );
        None
    }

    pub(super) fn duration(
        &self,
        key: &str,
        range: RangeInclusive<Duration>,
        example: &str,
    ) -> Option<Duration> {
        let read = duration(self.kind(key, example)?, range);
        read.map_err(|wrong| self.refuse(key, wrong, format!("for example {key} = {example}")))
            .ok()
    }

    /// Several durations, at most `limit`, each within `range`.
    pub(super) fn durations(
        &self,
        key: &str,
        limit: usize,
        range: RangeInclusive<Duration>,
        example: &str,
    ) -> Option<Vec<Duration>> {
        let entries = self.entries(key, "a list of durations", limit, example)?;
        let read = entries.iter().enumerate().map(|(index, entry)| {
            let read = duration(&entry.kind, range.clone());
            read.map_err(|wrong| {
                let wrong = format!("entry {}: {wrong}", index + 1);
                self.refuse(key, wrong, format!("for example {key} = {example}"));
            })
            .ok()
        });
        all(read.collect())
    }

    /// Several texts, at most `limit`.
    pub(super) fn texts(&self, key: &str, limit: usize, example: &str) -> Option<Vec<&'a str>> {
        let entries = self.entries(key, "a list of texts", limit, example)?;
        let read = entries.iter().map(|entry| match &entry.kind {
            ValueKind::String(text) => Some(text.as_str()),
            other => self.wrong_type(key, "a list of texts in quotes", example, other),
        });
        all(read.collect())
    }

    /// Names with texts, at most `limit`, sorted by name.
    pub(super) fn table(
        &self,
        key: &str,
        limit: usize,
        example: &str,
    ) -> Option<Vec<(&'a str, &'a str)>> {
        let what = "a table of texts in quotes";
        let entries = match self.kind(key, example)? {
            ValueKind::Table(entries) if entries.len() <= limit => entries,
            ValueKind::Table(entries) => {
                let wrong = format!("{} entries are too many", entries.len());
                self.refuse(key, wrong, format!("write at most {limit}"));
                return None;
            }
            other => return self.wrong_type(key, what, example, other),
        };
        let read = entries.iter().map(|(name, value)| match &value.kind {
            ValueKind::String(text) => Some((name.as_str(), text.as_str())),
            other => self.wrong_type(key, what, example, other),
        });
        let mut read = all(read.collect())?;
        read.sort_unstable();
        Some(read)
    }

    fn entries(&self, key: &str, what: &str, limit: usize, example: &str) -> Option<&'a [Value]> {
        match self.kind(key, example)? {
            ValueKind::Array(entries) if entries.len() <= limit => Some(entries),
            ValueKind::Array(entries) => {
                let wrong = format!("{} entries are too many", entries.len());
                self.refuse(key, wrong, format!("write at most {limit}"));
                None
            }
            other => self.wrong_type(key, what, example, other),
        }
    }

    fn kind(&self, key: &str, example: &str) -> Option<&'a ValueKind> {
        let value = self.values.get(key);
        if value.is_none() {
            self.refuse(
                key,
                "this key is missing",
                format!("write {key} = {example}"),
            );
        }
        value.map(|value| &value.kind)
    }

    fn wrong_type<T>(&self, key: &str, what: &str, example: &str, found: &ValueKind) -> Option<T> {
        self.refuse(
            key,
            format!("expected {what}, not {}", described(found)),
            format!("for example {key} = {example}"),
        );
        None
    }
}

/// All values, or `None` when any is missing; unlike `collect`, after every one was looked at.
pub(super) fn all<T>(read: Vec<Option<T>>) -> Option<Vec<T>> {
    read.into_iter().collect()
}

fn duration(kind: &ValueKind, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let text = match kind {
        ValueKind::String(text) => text.trim(),
        ValueKind::I64(_) | ValueKind::Float(_) => return Err(bare_number()),
        other => return Err(format!("expected a duration, not {}", described(other))),
    };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(bare_number());
    }
    let read = humantime::parse_duration(text)
        .map_err(|error| format!("{} is no duration: {error}", shown(text)))?;
    if range.contains(&read) {
        return Ok(read);
    }
    let [low, high] = [range.start(), range.end()].map(|end| bound(*end));
    Err(format!("expected a duration from {low} to {high}"))
}

/// As the documents write it: 366 days are not "1year 18h".
fn bound(duration: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match duration.as_secs() {
        seconds if seconds >= DAY && seconds.is_multiple_of(DAY) => format!("{}d", seconds / DAY),
        _ => humantime::format_duration(duration).to_string(),
    }
}

fn bare_number() -> String {
    "a bare number is no duration: it needs a unit (ms, s, m, h, d)".to_owned()
}
