//! Sending events again: first how many, then all of those.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::form::{act, sentence};
use super::marks::{View, webhook_path};
use super::page::{Page, Section};
use super::place::{read, read_beside};
use crate::core::time::UnixMillis;
use crate::operator::replays;
use crate::status::Parts;
use crate::status::access::Operator;
use crate::status::refusal::Refusal;
use crate::store::{ReplayFilter, Replays as _};
use crate::words::{When, count, outside};

/// Most deliveries of one replay, as of the command without `--limit`.
const MOST: u64 = 10_000;

/// Most pages that a count reads; one of them goes through 10,000 events at most.
const PAGES: usize = 20;

/// What to send again.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    event: Option<String>,
    job: Option<String>,
    webhook: Option<String>,
    /// How long ago, or a time.
    since: Option<String>,
    until: Option<String>,
    failed_only: Option<String>,
}

impl Wanted {
    fn fields(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("event", self.event.as_deref()),
            ("job", self.job.as_deref()),
            ("webhook", self.webhook.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
            ("failed_only", self.failed_only.as_deref()),
        ]
    }

    fn filter(&self, now: UnixMillis) -> Result<ReplayFilter, String> {
        if self.event.is_none() && self.job.is_none() && self.since.is_none() {
            return Err("a webhook needs since, for example 2h".to_owned());
        }
        let since = self
            .since
            .as_deref()
            .map(|text| moment(text, now))
            .transpose()?;
        let until = self
            .until
            .as_deref()
            .map(|text| moment(text, now))
            .transpose()?;
        Ok(ReplayFilter {
            event: self.event.clone(),
            job: self.job.clone(),
            webhook: self.webhook.clone(),
            since,
            // What happens from now on is not sent twice.
            until: Some(until.unwrap_or(now)),
            kind: None,
            failed_only: self.failed_only.as_deref() == Some("true"),
            limit: MOST,
        })
    }

    fn back(&self) -> String {
        match (&self.job, &self.webhook) {
            (Some(job), _) => format!("/dashboard/jobs/{}", super::marks::encoded(job)),
            (None, Some(webhook)) => webhook_path(webhook),
            (None, None) => "/dashboard/events".to_owned(),
        }
    }
}

/// How long ago (`2h`), or a time (RFC 3339).
fn moment(text: &str, now: UnixMillis) -> Result<UnixMillis, String> {
    let read = text.parse::<When>().map(|when| when.before(now));
    read.map_err(|_| {
        format!(
            "{} is neither how long ago, such as 2h, nor a time such as 2026-11-22T15:04:05Z",
            outside(text, 40)
        )
    })
}

/// Counts what would be sent, and asks.
pub(super) async fn confirm(
    State(parts): State<Parts>,
    Extension(operator): Extension<Operator>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let view = View {
        now: parts.clock.now(),
        operator,
    };
    let wanted: Wanted = read(uri.query().unwrap_or_default())?;
    let filter = wanted.filter(view.now).map_err(Refusal::parameter)?;
    let scan = parts.budget.scan().await?;
    let tally = replays::counted(&filter, view.now, &parts.store, PAGES).await;
    let tally = tally.map_err(|error| Refusal::parameter(sentence(error)))?;
    drop(scan);
    let mut page = Page::new(Section::Events, "Replay events");
    page.is_live = false;
    page.part("confirm", &html! { section.confirm {
        p.headline { (tally.sentence("will be")) @if tally.more { "; there are more, and at most " (MOST) " are sent at once" } "." }
        @for note in tally.left_alone() { p data-tone="warn" { (note) } }
        @if !tally.by_kind.is_empty() { ul.rows { @for ((webhook, kind), many) in &tally.by_kind { li { (many) " × " (kind) " → " (outside(webhook.as_str(), 64)) } } } }
        dl.facts { @for (name, value) in wanted.fields() { @if let Some(value) = value { dt { (name) } dd { (value) } } } }
        div.buttons {
            @if tally.deliveries > 0 && view.may_act() { form method="post" action="/dashboard/replay" {
                @for (name, value) in wanted.fields() { @if let Some(value) = value.filter(|_| !["since", "until"].contains(&name)) { input type="hidden" name=(name) value=(value); } }
                @if let Some(since) = filter.since { input type="hidden" name="since" value=(since); }
                @if let Some(until) = filter.until { input type="hidden" name="until" value=(until); }
 input type="hidden" name="events" value=(tally.deliveries);
                button type="submit" { "Send " (count(tally.deliveries, "event")) " again" }
            } }
            a.button.quiet href=(wanted.back()) { "Back" }
        }
    } });
    super::answered(&parts, page.document("", None, &view)).await
}

/// Sends them, those of the time that was counted.
pub(super) async fn replay(
    State(parts): State<Parts>,
    Extension(who): Extension<Operator>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (confirmed, wanted): (_, Wanted) = read_beside("events", &body)?;
    let confirmed =
        confirmed.ok_or_else(|| Refusal::parameter("events is the number that was confirmed"))?;
    let filter = wanted.filter(parts.clock.now());
    let filter = filter.map_err(Refusal::parameter)?;
    let target = wanted
        .fields()
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    let target = target.collect::<Vec<_>>().join(", ");
    act(
        &parts,
        &who,
        ("replay", target),
        wanted.back(),
        async move |parts: Parts| {
            let scan = parts.budget.scan().await;
            let scan = scan.map_err(|refusal| refusal.detail().to_owned())?;
            let now = parts.clock.now();
            let counted = replays::counted(&filter, now, &parts.store, PAGES).await;
            let match_now = counted.map_err(sentence)?.deliveries;
            drop(scan);
            if match_now > confirmed {
                return Err(format!(
                    "{confirmed} were confirmed, and {match_now} match now; count them again"
                ));
            }
            let replay = parts.store.begin_replay(&filter).await;
            let replay = replay.map_err(super::form::stored)?;
            let tally = replays::sent(replay, &parts.store)
                .await
                .map_err(sentence)?;
            tally.verdict(0, true).map_err(sentence)?;
            Ok(tally.sentence("will be"))
        },
    )
    .await
}
