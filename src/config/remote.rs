//! `[upstream]` and `[webhooks.NAME]`: whom we ask and whom we tell.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use url::Url;

use super::error::{did_you_mean, nearest, shown};
use super::origin::{self, Query, Written};
use super::request;
use super::secret::{Reading, Secrets};
use super::section::{Section, all};
use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::upstream::{Auth, UpstreamSettings};
use crate::webhook::{Verdict, WebhookSettings, holds_secrets, judge_host};
use strum::IntoEnumIterator;

/// Most polls in flight at once.
const UPSTREAM_IN_FLIGHT: u32 = 4096;

/// Most requests in flight to one webhook.
const WEBHOOK_IN_FLIGHT: u32 = 256;

/// Largest request budget, per second.
const REQUESTS_PER_SECOND: u32 = 100_000;

/// Shortest and longest limit for one request.
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10 * 60);

/// Bounds of what a `Retry-After` of the API can come to.
const MAX_RETRY_AFTER: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// Most entries of `retry`.
const RETRIES: usize = 50;

/// Longest entry of `retry`.
const RETRY_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Most entries of `events`.
const EVENTS: usize = 32;

/// Longest `api_version` and `scope`, in bytes.
const WORD_BYTES: usize = 64;

const WEBHOOK_URL: &str = "\"https://example.com/hooks/jobs\"";

const AUTHS: [&str; 3] = ["basiq", "bearer", "none"];

/// Where the API is.
pub(super) fn base_url(section: &Section<'_>) -> Option<Url> {
    // Read before anything returns, so that a wrong type is always reported.
    let allow_http = section.flag("allow_http");
    let example = "\"https://au-api.basiq.io\"";
    let written = Written {
        key: "base_url",
        place: "",
        text: section.text("base_url", example)?,
        allow_http,
    };
    origin::url(section, &written, example, Query::Refused)
}

/// The upstream. `None` when something is wrong, which is reported, or when secrets are not read.
pub(super) fn upstream(
    section: &Section<'_>,
    base_url: Option<Url>,
    secrets: &Secrets<'_>,
) -> Option<UpstreamSettings> {
    let auth = auth(section, secrets);
    let timeout = section.duration("timeout", TIMEOUT, "\"15s\"");
    let max_retry_after = section.duration("max_retry_after", MAX_RETRY_AFTER, "\"1h\"");
    let max_in_flight = section.whole("max_in_flight", 1..=UPSTREAM_IN_FLIGHT, "256");
    let requests_per_second = section.whole("requests_per_second", 0..=REQUESTS_PER_SECOND, "20");
    Some(UpstreamSettings {
        base_url: base_url?,
        auth: auth?,
        timeout: timeout?,
        max_retry_after: max_retry_after?,
        max_in_flight: usize::try_from(max_in_flight?).ok()?,
        requests_per_second: NonZeroU32::new(requests_per_second?),
    })
}

/// A webhook. `None` as with [`upstream`]. `listen` is our own status address, `known` the names of all webhooks.
pub(super) fn webhook(
    section: &Section<'_>,
    name: &str,
    listen: Option<SocketAddr>,
    known: &[&str],
    secrets: &Secrets<'_>,
) -> Option<WebhookSettings> {
    let allow_private = section.flag("allow_private");
    let url = webhook_url(section, (name, known), (allow_private, listen), secrets);
    let keys = secrets.signing_keys(section, name);
    let events = events(section);
    let timeout = section.duration("timeout", TIMEOUT, "\"15s\"");
    let max_in_flight = section.whole("max_in_flight", 1..=WEBHOOK_IN_FLIGHT, "8");
    let retry = section.durations(
        "retry",
        RETRIES,
        Duration::ZERO..=RETRY_DELAY,
        "[\"5s\", \"5m\", \"2h\"]",
    );
    let headers = request::headers(section, (name, known), secrets);
    let trust = request::trust(section, secrets);
    let fallback = fallback(section, name, known);
    Some(WebhookSettings {
        name: WebhookName::new(name),
        url: url?,
        keys: keys?,
        events: events?,
        timeout: timeout?,
        max_in_flight: usize::try_from(max_in_flight?).ok()?,
        retry: retry?,
        allow_private: allow_private?,
        headers: headers?,
        trust: trust?,
        fallback: fallback?,
    })
}

fn auth(section: &Section<'_>, secrets: &Secrets<'_>) -> Option<Auth> {
    let api_version = word(section, "api_version", "\"3.0\"");
    let scope = word(section, "scope", "\"SERVER_ACCESS\"");
    match section.text("auth", "\"basiq\"")? {
        "basiq" => Some(Auth::Basiq {
            api_key: secrets.api_key(section)?,
            api_version: api_version?,
            scope: scope?,
        }),
        "bearer" => Some(Auth::Bearer {
            token: secrets.api_key(section)?,
        }),
        "none" => {
            for key in ["api_key", "api_key_file"] {
                if section.has(key) {
                    let warning = format!("upstream.{key}: not used, because auth is none");
                    section.problems().warn(warning);
                }
            }
            Some(Auth::None)
        }
        // Not repeated: somebody may have put the key here.
        other => {
            let remedy = did_you_mean(nearest(other, AUTHS), "the other keys give the API key");
            section.refuse("auth", "expected basiq, bearer or none", remedy);
            None
        }
    }
}

/// A text that is sent in a header or a form.
fn word(section: &Section<'_>, key: &str, example: &str) -> Option<String> {
    let text = section.text(key, example)?;
    if (1..=WORD_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(text.to_owned());
    }
    let wrong = format!("expected 1 to {WORD_BYTES} ASCII characters without spaces");
    section.refuse(key, wrong, format!("for example {key} = {example}"));
    None
}

/// Where a webhook is. `Some(None)` where that stands in a file, and secrets are not read.
fn webhook_url(
    section: &Section<'_>,
    name: (&str, &[&str]),
    (allow_private, listen): (Option<bool>, Option<SocketAddr>),
    secrets: &Secrets<'_>,
) -> Option<Option<Url>> {
    // Read before anything returns, so that a wrong type is always reported.
    let allow_http = section.flag("allow_http");
    let Some(given) = secrets.url(section, name, WEBHOOK_URL) else {
        return (secrets.reading == Reading::Skip).then_some(None);
    };
    let written = Written {
        key: given.key,
        place: &given.place,
        text: given.text.trim(),
        allow_http,
    };
    let url = origin::url(section, &written, WEBHOOK_URL, Query::Allowed)?;
    if given.key == "url" && holds_secrets(&url) {
        secrets.warn_of_file(section, given.key);
    }
    may_be_told(section, given.key, &url, allow_private, listen).then_some(Some(url))
}

/// Whether a webhook's URL names an address that may be told; names are looked at when they are resolved.
fn may_be_told(
    section: &Section<'_>,
    key: &str,
    url: &Url,
    allow_private: Option<bool>,
    listen: Option<SocketAddr>,
) -> bool {
    let Some(host) = url.host() else { return false };
    if listen.is_some_and(|listen| origin::reaches(url, listen)) {
        let remedy = "name the receiver's own address, or change status.listen";
        section.refuse(key, "this is the daemon's own status address", remedy);
    } else if judge_host(&host) == Some(Verdict::Never) {
        let remedy = "these serve machines' credentials and are never told anything";
        section.refuse(key, "this is a link-local or metadata address", remedy);
    } else if allow_private == Some(false) && judge_host(&host) == Some(Verdict::Private) {
        let remedy = format!(
            "set allow_private = true in [{}] if that is meant",
            section.path()
        );
        section.refuse(key, "this is a loopback or private address", remedy);
    } else {
        return true;
    }
    false
}

/// The webhook that is told in this one's place. `Some(None)` when the key is not given.
fn fallback(section: &Section<'_>, name: &str, known: &[&str]) -> Option<Option<WebhookName>> {
    if !section.has("fallback") {
        return Some(None);
    }
    let given = section.text("fallback", "\"another-webhook\"")?;
    if given != name && known.contains(&given) {
        return Some(Some(WebhookName::new(given)));
    }
    let others = || known.iter().copied().filter(|known| *known != name);
    let wrong = if given == name {
        "a webhook cannot stand in for itself".to_owned()
    } else {
        format!("there is no webhook {}", shown(given))
    };
    let remedy = did_you_mean(
        nearest(given, others()),
        "name the section of another webhook, without webhooks. in front",
    );
    section.refuse("fallback", wrong, remedy);
    None
}

fn events(section: &Section<'_>) -> Option<Vec<EventType>> {
    let example = "[\"job.completed\", \"job.failed\"]";
    let names = section.texts("events", EVENTS, example)?;
    match names.as_slice() {
        [] => {
            let remedy = "leave the key out for the default, or write [\"*\"] for all";
            section.refuse("events", "the list is empty", remedy);
            None
        }
        ["*"] => Some(EventType::iter().collect()),
        names if names.contains(&"*") => {
            section.refuse("events", "\"*\" stands alone", "write events = [\"*\"]");
            None
        }
        names => {
            let read = names.iter().map(|name| event(section, name)).collect();
            let mut events = all(read)?;
            events.sort_unstable();
            events.dedup();
            Some(events)
        }
    }
}

fn event(section: &Section<'_>, name: &str) -> Option<EventType> {
    let event = name.parse().ok();
    if event.is_none() {
        let known: Vec<&str> = EventType::iter().map(EventType::as_str).collect();
        let otherwise = format!("the events are {}", known.join(", "));
        let remedy = did_you_mean(nearest(name, known.iter().copied()), &otherwise);
        let wrong = format!("there is no event {}", shown(name));
        section.refuse("events", wrong, remedy);
    }
    event
}
