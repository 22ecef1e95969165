//! What may be inserted into `jobs`: the rules that the SQLite schema has as triggers.

use jobtrackd_core::enqueue::EARLIEST;
use jobtrackd_core::job::JobId;
use serde_json::value::RawValue;

use crate::NewJob;

/// Longest metadata, in bytes.
const METADATA: usize = 16_384;

/// Most levels of metadata, the object itself included.
const LEVELS: usize = 32;

/// Longest URL, in bytes.
const URL: usize = 2048;

/// Longest name of a webhook, in bytes.
const WEBHOOK: usize = 200;

/// The rule that a row breaks, if it breaks one.
pub(super) fn refusal(job: &NewJob) -> Option<&'static str> {
    let metadata = job.metadata.as_deref();
    let (webhook, url) = (job.webhook.as_deref(), job.url.as_deref());
    let is_early = |at: Option<_>| at.is_some_and(|at| at < EARLIEST);
    let rules = [
        (
            JobId::parse(&job.id).is_ok(),
            "jobs.id must be 1 to 200 characters of A-Z a-z 0-9 . _ ~ - and not only dots",
        ),
        (
            metadata.is_none_or(is_small_object),
            "jobs.metadata must be a JSON object of at most 16 KiB (16384 bytes)",
        ),
        (
            metadata.is_none_or(|text| levels(text) <= LEVELS),
            "jobs.metadata must be nested at most 32 levels deep",
        ),
        (
            url.is_none_or(is_url),
            "jobs.url must be a path that starts with one / or an http(s) URL, of at most 2048 visible ASCII characters, \
             without dot segments, fragment, user or backslash",
        ),
        (
            webhook.is_none_or(|name| name.len() <= WEBHOOK),
            "jobs.webhook must be the name of a webhook, of at most 200 bytes",
        ),
        (
            webhook != Some(""),
            "jobs.webhook must be NULL (all webhooks that subscribe) or the name of one, not empty",
        ),
        (
            !is_early(job.deadline_at),
            "jobs.deadline_at must be in Unix milliseconds; this is before 2001, as seconds would be",
        ),
        (
            !is_early(job.not_before),
            "jobs.not_before must be in Unix milliseconds; this is before 2001, as seconds would be",
        ),
    ];
    let broken = rules.into_iter().find(|(is_kept, _)| !is_kept);
    broken.map(|(_, rule)| rule)
}

fn is_small_object(text: &str) -> bool {
    let parsed = serde_json::from_str::<&RawValue>(text);
    text.len() <= METADATA && parsed.is_ok_and(|json| json.get().starts_with('{'))
}

/// The deepest nesting of JSON.
fn levels(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match (in_text, byte) {
            _ if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The origin depends on the configuration and is checked by the daemon; everything else is checked here.
fn is_url(url: &str) -> bool {
    let is_visible = url.bytes().all(|byte| byte.is_ascii_graphic());
    if url.len() > URL || !is_visible || url.contains(['#', '\\']) {
        return false;
    }
    let before_query = url.split('?').next().unwrap_or_default();
    let path = before_query.replace("%2e", ".").replace("%2E", ".") + "/";
    if path.contains("/./") || path.contains("/../") {
        return false;
    }
    if url.starts_with('/') {
        return !url.starts_with("//");
    }
    let scheme = |scheme: &str| {
        let start = url.get(..scheme.len())?;
        let rest = url.get(scheme.len()..)?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let authority = scheme("https://").or_else(|| scheme("http://"));
    let authority = authority.and_then(|rest| rest.split(['/', '?']).next());
    authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('@'))
}
