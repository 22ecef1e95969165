//! `[upstream]`: the API that is polled.

use std::num::NonZeroU32;
use std::time::Duration;

use super::error::did_you_mean;
use super::secret::Secrets;
use super::section::Section;
use super::url::{TIMEOUT, Written, url};
use crate::core::text::nearest;
use crate::upstream::{Auth, UpstreamSettings};

/// Most polls in flight at once.
const IN_FLIGHT: u32 = 4096;

/// Largest request budget, per second.
const REQUESTS_PER_SECOND: u32 = 100_000;

/// Bounds of `max_retry_after`.
const MAX_RETRY_AFTER: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// Longest `api_version` and `scope`, in bytes.
const WORD_BYTES: usize = 64;

const AUTHS: [&str; 3] = ["basiq", "bearer", "none"];

/// `None` when the URL is wrong, which is reported.
pub(super) fn upstream(secrets: &Secrets<'_>) -> Option<UpstreamSettings> {
    let section = &secrets.section;
    let written = section.text("base_url").map(|text| Written {
        key: "base_url",
        file: "",
        text,
        allow_http: section.flag("allow_http"),
    });
    let base_url = written.and_then(|written| url(section, &written));
    if base_url.as_ref().is_some_and(|url| url.query().is_some()) {
        section.refuse("base_url", "a URL here has no query (?…)", "leave it out");
    }
    let auth = auth(secrets);
    let timeout = section.duration("timeout", TIMEOUT);
    let max_retry_after = section.duration("max_retry_after", MAX_RETRY_AFTER);
    let max_in_flight = section.whole("max_in_flight", 1..=IN_FLIGHT);
    let requests_per_second = section.whole("requests_per_second", 0..=REQUESTS_PER_SECOND);
    Some(UpstreamSettings {
        base_url: base_url?,
        auth,
        timeout,
        max_retry_after,
        max_in_flight: max_in_flight as usize,
        requests_per_second: NonZeroU32::new(requests_per_second),
    })
}

fn auth(secrets: &Secrets<'_>) -> Auth {
    let section = &secrets.section;
    let [api_version, scope] = ["api_version", "scope"].map(|key| word(section, key));
    let api_key = || secrets.api_key().unwrap_or_else(|| String::new().into());
    match section.text("auth") {
        Some("basiq") => Auth::Basiq {
            api_key: api_key(),
            api_version,
            scope,
        },
        Some("bearer") => Auth::Bearer { token: api_key() },
        Some("none") => {
            let unused = ["api_key", "api_key_file"];
            for key in unused.into_iter().filter(|key| section.has(key)) {
                let warning = format!("upstream.{key}: not used, because auth is none");
                section.problems.warn(warning);
            }
            Auth::None
        }
        // Not repeated: it may be the key.
        Some(other) => {
            let remedy = did_you_mean(nearest(other, AUTHS), "the other keys give the API key");
            section.refuse("auth", "expected basiq, bearer or none", remedy);
            Auth::None
        }
        None => Auth::None,
    }
}

/// A text that is sent in a header or a form.
fn word(section: &Section<'_>, key: &str) -> String {
    let text = section.text(key).unwrap_or("unknown");
    if !(1..=WORD_BYTES).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let wrong = format!("expected 1 to {WORD_BYTES} ASCII characters without spaces");
        section.refuse_value(key, wrong);
    }
    text.to_owned()
}
