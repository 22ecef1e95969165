//! Reads one section into typed values. A problem is reported once and a placeholder is returned, since settings with
//! problems are never used.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use super::error::{Origin, Problems, quoted};
use super::schema::{Entries, Entry, described, example};

/// One section of the merged configuration.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    /// Its full name, as in `webhooks.billing`.
    pub(super) path: &'a str,
    pub(super) entries: &'a Entries,
    pub(super) problems: &'a Problems,
}

impl<'a> Section<'a> {
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn origin(&self, key: &str) -> &'a Origin {
        let entry = self.entries.get(key);
        entry.map_or(&Origin::Default, |entry| &entry.origin)
    }

    /// Whether the user wrote this value; a default is adapted to those.
    pub(super) fn is_written(&self, key: &str) -> bool {
        *self.origin(key) != Origin::Default
    }

    /// Whether no value was refused: only then can values be compared.
    pub(super) fn is_right(&self) -> bool {
        !self.problems.any_of(&format!("{}.", self.path))
    }

    /// Reports that the value of a key is wrong. Neither text may hold a secret.
    pub(super) fn refuse(&self, key: &str, wrong: impl Into<String>, remedy: impl Into<String>) {
        let path = format!("{}.{key}", self.path);
        self.problems.report(path, self.origin(key), wrong, remedy);
    }

    /// The same, with an example as the remedy.
    pub(super) fn refuse_value(&self, key: &str, wrong: impl Into<String>) {
        self.refuse(key, wrong, format!("for example {}", self.example(key)));
    }

    /// `key = value`
    pub(super) fn example(&self, key: &str) -> String {
        format!("{key} = {}", example(self.path, key))
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.read(key, "text in quotes", Value::as_str)
    }

    /// True if it is wrong, so that nothing is reported that it would permit.
    pub(super) fn flag(&self, key: &str) -> bool {
        let flag = self.read(key, "true or false without quotes", Value::as_bool);
        flag.unwrap_or(true)
    }

    pub(super) fn whole(&self, key: &str, range: RangeInclusive<u32>) -> u32 {
        let (low, high) = range.clone().into_inner();
        let number = self.read(key, "a whole number without quotes", Value::as_integer);
        let fits = |number: &u32| range.contains(number);
        match number.map(|number| u32::try_from(number).ok().filter(fits)) {
            Some(Some(number)) => return number,
            Some(None) => {
                self.refuse_value(key, format!("expected a whole number from {low} to {high}"));
            }
            None => {}
        }
        low
    }

    pub(super) fn number(&self, key: &str, range: RangeInclusive<f64>) -> f64 {
        let (low, high) = range.clone().into_inner();
        let number = self.read(key, "a number without quotes", |value| match value {
            Value::Integer(number) => Some(i32::try_from(*number).map_or(f64::INFINITY, f64::from)),
            value => value.as_float(),
        });
        match number {
            Some(number) if range.contains(&number) => return number,
            Some(_) => {
                self.refuse_value(key, format!("expected a number from {low:?} to {high:?}"));
            }
            None => {}
        }
        low
    }

    pub(super) fn duration(&self, key: &str, range: RangeInclusive<Duration>) -> Duration {
        let read = self.read(key, "a duration", |value| Some(duration(value, &range)));
        match read {
            Some(Ok(duration)) => return duration,
            Some(Err(wrong)) => self.refuse_value(key, wrong),
            None => {}
        }
        *range.start()
    }

    /// Several durations, at most `limit`, each within `range`.
    pub(super) fn durations(
        &self,
        key: &str,
        limit: usize,
        range: &RangeInclusive<Duration>,
    ) -> Vec<Duration> {
        let entries = self.entries(key, "a list of durations", limit);
        let read = entries.iter().zip(1..).filter_map(|(entry, number)| {
            let wrong = |wrong| self.refuse_value(key, format!("entry {number}: {wrong}"));
            duration(entry, range).map_err(wrong).ok()
        });
        read.collect()
    }

    /// Several texts, at most `limit`.
    pub(super) fn texts(&self, key: &str, limit: usize) -> Vec<&'a str> {
        let entries = self.entries(key, "a list of texts", limit).iter();
        let texts = entries
            .filter_map(|entry| self.taken(key, "a list of texts in quotes", entry, Value::as_str));
        texts.collect()
    }

    /// A list of words: texts, and numbers and truth values as they are written.
    pub(super) fn words(&self, key: &str, limit: usize) -> Vec<String> {
        let entries = self.entries(key, "a list of words", limit).iter();
        let word = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Boolean(flag) => Some(flag.to_string()),
            Value::Integer(number) => Some(number.to_string()),
            _ => None,
        };
        let words = entries.filter_map(|entry| self.taken(key, "a list of words", entry, word));
        words.collect()
    }

    /// Names with texts, at most `limit`, sorted by name.
    pub(super) fn table(&self, key: &str, limit: usize) -> Vec<(&'a str, &'a str)> {
        let what = "a table of texts in quotes";
        let Some(entries) = self.read(key, what, Value::as_table) else {
            return Vec::new();
        };
        self.check_count(key, entries.len(), limit);
        let texts = entries.iter().filter_map(|(name, value)| {
            Some((name.as_str(), self.taken(key, what, value, Value::as_str)?))
        });
        texts.collect()
    }

    fn entries(&self, key: &str, what: &str, limit: usize) -> &'a [Value] {
        let entries = self.read(key, what, Value::as_array);
        let entries = entries.map_or(&[][..], Vec::as_slice);
        self.check_count(key, entries.len(), limit);
        entries
    }

    fn check_count(&self, key: &str, count: usize, limit: usize) {
        if count > limit {
            let wrong = format!("{count} entries are too many");
            self.refuse(key, wrong, format!("write at most {limit}"));
        }
    }

    /// The value of a key, as converted by `take`.
    fn read<T>(&self, key: &str, what: &str, take: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        match self.entries.get(key) {
            Some(Entry { value, .. }) => self.taken(key, what, value, take),
            None => {
                let remedy = format!("write {}", self.example(key));
                self.refuse(key, "this key is missing", remedy);
                None
            }
        }
    }

    fn taken<T>(
        &self,
        key: &str,
        what: &str,
        value: &'a Value,
        take: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let taken = take(value);
        if taken.is_none() {
            let found = described(value);
            self.refuse_value(key, format!("expected {what}, not {found}"));
        }
        taken
    }
}

fn duration(value: &Value, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let text = match value {
        Value::String(text) => text.trim(),
        Value::Integer(_) | Value::Float(_) => "0",
        other => return Err(format!("expected a duration, not {}", described(other))),
    };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err("a bare number is not a duration: it needs a unit (ms, s, m, h, d)".to_owned());
    }
    let read = humantime::parse_duration(text)
        .map_err(|error| format!("{} is not a duration: {error}", quoted(text)))?;
    if range.contains(&read) {
        return Ok(read);
    }
    let [low, high] = [range.start(), range.end()].map(|end| bound(*end));
    Err(format!("expected a duration from {low} to {high}"))
}

/// As in the documents: 366 days are not "1year 18h".
fn bound(duration: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match duration.as_secs() {
        seconds if seconds >= DAY && seconds.is_multiple_of(DAY) => format!("{}d", seconds / DAY),
        _ => humantime::format_duration(duration).to_string(),
    }
}
