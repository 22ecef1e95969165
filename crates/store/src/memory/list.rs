//! Jobs in pages, the newest first, and the search among them.

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;
use serde_json::Value;

use super::rows::Job;
use super::store::Store;
use super::tables::Tables;
use crate::{JobFilter, JobPage, Lists, PAGE_BYTES, Result};

/// Most jobs that a search reads.
const SEARCHED: u32 = 100_000;

fn searched(filter: &JobFilter) -> usize {
    filter.searched.unwrap_or(SEARCHED).max(1) as usize
}

impl Lists for Store {
    async fn list(&self, filter: &JobFilter) -> Result<JobPage> {
        self.read(|tables| {
            let mut found = tables.in_range(filter);
            if filter.is_search() {
                found.truncate(searched(filter));
                found.retain(|job| tables.is_found(job, filter));
            }
            let (mut jobs, mut bytes) = (Vec::new(), 0);
            for job in found {
                if jobs.len() >= filter.limit as usize || bytes >= PAGE_BYTES as usize {
                    return Ok(JobPage { jobs, more: true });
                }
                let summary = job.summary(tables.step_rows(&job.row.id));
                bytes += bytes_of(job);
                let steps = summary.steps.iter().map(|step| {
                    let result = step.result.as_ref().map_or(0, String::len);
                    200 + step.title.len() + step.status.len() + result
                });
                bytes += steps.sum::<usize>();
                jobs.push(summary);
            }
            Ok(JobPage { jobs, more: false })
        })
    }

    async fn newest_ids(&self, limit: u32) -> Result<Vec<JobId>> {
        self.read(|tables| {
            let jobs = tables.in_range(&JobFilter::default());
            let newest = jobs.into_iter().take(limit as usize);
            Ok(newest.map(|job| job.row.id.clone()).collect())
        })
    }

    async fn ids_beginning(&self, start: &str, limit: u32) -> Result<Vec<JobId>> {
        self.read(|tables| {
            let ids = tables.jobs.values().map(|job| &job.row.id);
            let mut found: Vec<JobId> = ids
                .filter(|id| id.as_str().starts_with(start))
                .cloned()
                .collect();
            found.sort_unstable();
            found.truncate(limit as usize);
            Ok(found)
        })
    }

    async fn search_end(&self, filter: &JobFilter) -> Result<Option<(UnixMillis, JobId)>> {
        self.read(|tables| {
            let jobs = tables.in_range(filter);
            let last = jobs
                .get(searched(filter) - 1)
                .filter(|_| filter.is_search());
            Ok(last.map(|job| place(job, filter)))
        })
    }
}

fn place(job: &Job, filter: &JobFilter) -> (UnixMillis, JobId) {
    filter.place_of(&job.row, job.finished_at)
}

fn json_of(job: &Job) -> Option<String> {
    serde_json::to_string(job.failure.as_ref()?).ok()
}

/// About as many bytes as it takes in JSON without its steps.
fn bytes_of(job: &Job) -> usize {
    let texts = [
        job.metadata.as_deref().map_or(0, str::len),
        json_of(job).map_or(0, |json| json.len()),
        job.row.progress.last_error.as_deref().map_or(0, str::len),
    ];
    500 + texts.iter().sum::<usize>()
}

impl Tables {
    /// The jobs of the wanted time, and of the state where the order has it, behind the last page, the last first.
    fn in_range(&self, filter: &JobFilter) -> Vec<&Job> {
        let (since, until) = filter.times();
        let wanted = self.jobs.values().filter(|job| {
            let (at, id) = place(job, filter);
            let is_ordered = match filter.is_of_ended() {
                true => job.row.state.is_final(),
                false => filter.state.is_none_or(|state| state == job.row.state),
            };
            is_ordered
                && since.is_none_or(|since| at >= since)
                && until.is_none_or(|until| at <= until)
                && filter.after.as_ref().is_none_or(|after| (at, id) < *after)
        });
        let mut jobs: Vec<&Job> = wanted.collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(place(job, filter)));
        jobs
    }

    fn is_found(&self, job: &Job, filter: &JobFilter) -> bool {
        let is_for = |name: &String| {
            let mut deliveries = self.deliveries_of_job(&job.row.id);
            job.row.webhook.as_ref() == Some(name)
                || deliveries.any(|each| each.webhook.as_str() == name)
        };
        let text = filter.text.as_ref().map(|text| text.to_ascii_lowercase());
        let kind = job.failure.as_ref().map(|failure| failure.kind);
        let at = job.row.created_at;
        filter.state.is_none_or(|state| state == job.row.state)
            && filter.since.is_none_or(|since| at >= since)
            && filter.until.is_none_or(|until| at <= until)
            && filter.webhook.as_ref().is_none_or(is_for)
            && text.is_none_or(|text| has(job, &text))
            && (filter.failure.is_none() || filter.failure == kind)
    }
}

/// Whether a text stands in it, ASCII letters in either case.
fn has(job: &Job, text: &str) -> bool {
    let contains = |within: &str| within.to_ascii_lowercase().contains(text);
    let metadata = job.metadata.as_deref();
    let parsed = metadata.filter(|json| json.contains('\\'));
    let parsed = parsed.and_then(|json| serde_json::from_str(json).ok());
    let failure = json_of(job).and_then(|json| serde_json::from_str(&json).ok());
    contains(job.row.id.as_str())
        || metadata.is_some_and(contains)
        || job.row.progress.last_error.as_deref().is_some_and(contains)
        || parsed.is_some_and(|value| is_in(&value, &contains))
        || matches!(failure, Some(Value::Object(parts)) if parts.values().any(|part| match part {
            Value::String(part) => contains(part),
            Value::Null => false,
            other => contains(&other.to_string()),
        }))
}

/// Whether a value or a key within is the one.
fn is_in(value: &Value, contains: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| is_in(item, contains)),
        Value::Object(items) => items
            .iter()
            .any(|(key, item)| contains(key) || is_in(item, contains)),
        Value::String(text) => contains(text),
        Value::Null => false,
        other => contains(&other.to_string()),
    }
}
