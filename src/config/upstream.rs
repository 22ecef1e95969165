//! `[upstream]`: the API that is polled.

use std::num::NonZeroU32;
use std::time::Duration;

use super::auth::auth;
use super::secret::Secrets;
use super::section::Section;
use super::url::{TIMEOUT, Written, url};
use crate::upstream::UpstreamSettings;

/// Most polls in flight at once.
const IN_FLIGHT: u32 = 4096;

/// Largest request budget, per second.
const REQUESTS_PER_SECOND: u32 = 100_000;

/// Bounds of `max_retry_after`.
const MAX_RETRY_AFTER: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// `None` when a URL, `auth` or the dialect is wrong, which is reported.
pub(super) fn upstream(secrets: &Secrets<'_>, json: &Section<'_>) -> Option<UpstreamSettings> {
    let section = &secrets.section;
    let allow_http = section.flag("allow_http");
    let written = section.text("base_url").map(|text| Written {
        key: "base_url",
        file: "",
        text,
        allow_http,
    });
    let base_url = written.and_then(|written| url(section, &written));
    if base_url.as_ref().is_some_and(|url| url.query().is_some()) {
        section.refuse("base_url", "a URL here has no query (?…)", "leave it out");
    }
    let dialect = super::dialect::dialect(section, json);
    let auth = auth(secrets, allow_http);
    let timeout = section.duration("timeout", TIMEOUT);
    let max_retry_after = section.duration("max_retry_after", MAX_RETRY_AFTER);
    let max_in_flight = section.whole("max_in_flight", 1..=IN_FLIGHT);
    let requests_per_second = section.whole("requests_per_second", 0..=REQUESTS_PER_SECOND);
    let (dialect, job_path) = dialect?;
    Some(UpstreamSettings {
        base_url: base_url?,
        dialect,
        job_path,
        auth: auth?,
        timeout,
        max_retry_after,
        max_in_flight: max_in_flight as usize,
        requests_per_second: NonZeroU32::new(requests_per_second),
    })
}
