//! Jobs in pages, filtered by what stands in the address.

use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator as _;

use super::marks::{View, address, job_link, job_state};
use super::page::{Page, Section, command, empty};
use super::{CANCEL_JOBS, ENQUEUE};
use crate::core::job::{FailureKind, JobId, JobState};
use crate::core::time::UnixMillis;
use crate::status::Parts;
use crate::status::cursor::JobCursor;
use crate::status::refusal::Refusal;
use crate::store::{JobFilter, JobPage, JobSummary, Jobs as _, Lists as _};
use crate::words::steps;
use crate::words::{Tone, When, outside};

/// Jobs of a page.
const PAGE: u32 = 50;

/// Most jobs that a search reads for one page, so that every page comes at once.
const SEARCHED: u32 = 2000;

/// Most ids that begin with the text.
const NAMESAKES: u32 = 10;

/// Pages that one can go back by a link.
const TRAIL: usize = 8;

const PATH: &str = "/dashboard/jobs";

/// The filters and the place in the list, as the address has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    pub(super) state: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) webhook: Option<String>,
    pub(super) text: Option<String>,
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    pub(super) ended_since: Option<String>,
    pub(super) ended_until: Option<String>,
    after: Option<String>,
    /// The places before this one, comma-separated; `-` is the first page.
    trail: Option<String>,
}

impl JobsQuery {
    /// The filters alone.
    pub(super) fn filters(&self) -> [(&'static str, Option<String>); 8] {
        [
            ("state", self.state.clone()),
            ("failure", self.failure.clone()),
            ("webhook", self.webhook.clone()),
            ("text", self.text.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
            ("ended_since", self.ended_since.clone()),
            ("ended_until", self.ended_until.clone()),
        ]
    }

    fn is_of_ended(&self) -> bool {
        self.ended_since.is_some() || self.ended_until.is_some()
    }

    fn is_filtered(&self) -> bool {
        self.filters().iter().any(|(_, value)| value.is_some())
    }

    fn at(&self, after: Option<String>, trail: Option<String>) -> String {
        let mut all = self.filters().to_vec();
        all.extend([("after", after), ("trail", trail)]);
        address(PATH, &all)
    }

    pub(super) fn address(&self) -> String {
        self.at(self.after.clone(), self.trail.clone())
    }

    /// Whether no job can match: only failed ones have a failure.
    pub(super) fn is_contradictory(&self) -> bool {
        let is_failed = |state: &str| state == JobState::Failed.as_str();
        self.failure.is_some() && !self.state.as_deref().is_none_or(is_failed)
    }

    /// Whether jobs that are still followed can match.
    fn may_be_followed(&self) -> bool {
        let is_followed =
            |state: &str| state.parse().is_ok_and(|state: JobState| !state.is_final());
        !self.is_of_ended()
            && self.failure.is_none()
            && self.state.as_deref().is_none_or(is_followed)
    }

    /// The same with durations as the times that they mean now.
    pub(super) fn at_moment(&self, now: UnixMillis) -> Result<Self, Refusal> {
        let text = |name, text: &Option<String>| {
            let at = moment(name, text.as_deref(), now)?;
            Ok::<_, Refusal>(at.map(UnixMillis::rfc3339))
        };
        Ok(Self {
            since: text("since", &self.since)?,
            until: text("until", &self.until)?,
            ended_since: text("ended_since", &self.ended_since)?,
            ended_until: text("ended_until", &self.ended_until)?,
            ..self.clone()
        })
    }

    /// What the store lists.
    pub(super) fn filter(&self, now: UnixMillis) -> Result<JobFilter, Refusal> {
        let state = self.state.as_deref().map(str::parse).transpose();
        let state = state
            .map_err(|_| Refusal::parameter("state is pending, in-progress, success or failed"))?;
        let failure = self.failure.as_deref().map(kind).transpose()?;
        let after = self.after.clone().map(JobCursor::try_from).transpose();
        let after = after.map_err(Refusal::parameter)?;
        Ok(JobFilter {
            // Only failed jobs have a failure, and an index knows them.
            state: failure.map(|_| JobState::Failed).or(state),
            failure,
            webhook: self.webhook.clone(),
            text: self.text.clone(),
            since: moment("since", self.since.as_deref(), now)?,
            until: moment("until", self.until.as_deref(), now)?,
            ended_since: moment("ended_since", self.ended_since.as_deref(), now)?,
            ended_until: moment("ended_until", self.ended_until.as_deref(), now)?,
            after: after.map(|JobCursor(at, id)| (at, id)),
            searched: Some(SEARCHED),
            limit: PAGE,
        })
    }

    fn next(&self, cursor: &JobCursor) -> String {
        let here = self.after.clone().unwrap_or_else(|| "-".to_owned());
        let mut trail: Vec<String> = self.trail();
        trail.push(here);
        let from = trail.len().saturating_sub(TRAIL);
        self.at(Some(cursor.text()), Some(trail[from..].join(",")))
    }

    fn trail(&self) -> Vec<String> {
        let trail = self.trail.as_deref().unwrap_or_default().split(',');
        trail
            .filter(|each| !each.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn previous(&self) -> Option<String> {
        let mut trail = self.trail();
        let last = trail.pop()?;
        let after = (last != "-").then_some(last);
        Some(self.at(after, Some(trail.join(","))))
    }
}

fn kind(text: &str) -> Result<FailureKind, Refusal> {
    let mut kinds = FailureKind::iter();
    let found = kinds.find(|kind| kind.as_str() == text);
    found.ok_or_else(|| {
        Refusal::parameter("failure is step, not_found, rejected, expired or cancelled")
    })
}

/// A moment: how long ago, as commands take it, or as RFC 3339, in UTC and to the minute if nothing else is said.
fn moment(name: &str, text: Option<&str>, now: UnixMillis) -> Result<Option<UnixMillis>, Refusal> {
    let Some(text) = text else {
        return Ok(None);
    };
    let ends = ["", "Z", ":00Z"].map(|end| format!("{text}{end}"));
    let mut read = ends.iter().filter_map(|text| text.parse::<When>().ok());
    read.next()
        .map(|when| Some(when.before(now)))
        .ok_or_else(|| {
            let detail =
                format!("{name} is how long ago, such as 2h, or a time such as 2026-11-22T15:04Z");
            Refusal::parameter(detail)
        })
}

pub(super) async fn page(query: &JobsQuery, parts: &Parts, view: &View) -> Result<Page, Refusal> {
    let filter = query.filter(view.now)?;
    let _reserved = parts.budget.page().await?;
    let unreadable = |error| Refusal::unreadable(&error);
    let (mut found, mut stopped) = (JobPage::default(), None);
    if !query.is_contradictory() {
        found = parts.store.list(&filter).await.map_err(unreadable)?;
        if !found.more {
            stopped = parts.store.search_end(&filter).await.map_err(unreadable)?;
        }
    }
    let namesakes = namesakes(query, parts).await?;
    let mut page = Page::new(Section::Jobs, "Jobs");
    // Replacing a form takes nothing from whoever fills it: the script leaves fields alone.
    page.part("filter", &filters(query, parts));
    let next = found.jobs.last().filter(|_| found.more);
    let next = next.map(|job| filter.place(job));
    let next = next.map(|(at, id)| JobCursor(at, id));
    page.part(
        "jobs",
        &list(
            query,
            &found,
            &namesakes,
            (next.as_ref(), stopped.as_ref()),
            view,
        ),
    );
    page.part("acting", &acting(query, view));
    Ok(page)
}

/// Jobs whose id begins with the text, wherever they are in the list, if nothing else is asked for.
async fn namesakes(query: &JobsQuery, parts: &Parts) -> Result<Vec<JobSummary>, Refusal> {
    let mut others = query
        .filters()
        .into_iter()
        .filter(|(name, _)| *name != "text");
    let is_alone = query.after.is_none() && others.all(|(_, value)| value.is_none());
    let text = query.text.as_deref().filter(|_| is_alone);
    let Some(start) = text.and_then(|text| JobId::parse(text).ok()) else {
        return Ok(Vec::new());
    };
    let unreadable = |error| Refusal::unreadable(&error);
    let ids = parts.store.ids_beginning(start.as_str(), NAMESAKES).await;
    let mut jobs = Vec::new();
    for id in ids.map_err(unreadable)? {
        jobs.extend(parts.store.summary(&id).await.map_err(unreadable)?);
    }
    Ok(jobs)
}

fn filters(query: &JobsQuery, parts: &Parts) -> Markup {
    let receivers = parts.receivers.borrow();
    let names: Vec<&str> = receivers
        .iter()
        .map(|each| each.webhook.name.as_str())
        .collect();
    let unlisted = query
        .webhook
        .as_deref()
        .filter(|name| !names.contains(name));
    let option = |value: &str, chosen: &Option<String>| {
        html! {
            option value=(value) selected[chosen.as_deref() == Some(value)] { (value) }
        }
    };
    let time = |name: &str, label: &str, value: Option<&str>| {
        html! { div.field { label for={ "filter-" (name) } { (label) }
        input id={ "filter-" (name) } type="text" name=(name) placeholder="2h, 2026-11-22T15:04Z" size="18" value=[value]; } }
    };
    html! {
        form.filter method="get" action=(PATH) role="search" aria-label="Filter jobs" {
            div.field { label for="filter-state" { "State" } select #filter-state name="state" {
                option value="" { "any" }
                @for state in JobState::iter() { (option(state.as_str(), &query.state)) }
            } }
            div.field { label for="filter-failure" { "Failure" } select #filter-failure name="failure" {
                option value="" { "any" }
                @for kind in FailureKind::iter() { (option(kind.as_str(), &query.failure)) }
            } }
            div.field { label for="filter-webhook" { "Webhook" } select #filter-webhook name="webhook" {
                option value="" { "any" }
                @for name in names.iter().copied().chain(unlisted) { (option(name, &query.webhook)) }
            } }
            (time("since", "Enqueued since", query.since.as_deref())) (time("until", "Enqueued until", query.until.as_deref()))
            (time("ended_since", "Ended since", query.ended_since.as_deref())) (time("ended_until", "Ended until", query.ended_until.as_deref()))
            div.field.wide { label for="filter-text" { "Text in id, metadata, error or failure" }
                input #filter-text type="search" name="text" maxlength="200" value=[query.text.as_deref()]; }
            div.field.buttons { button type="submit" { "Filter" } @if query.is_filtered() { a.button.quiet href=(PATH) { "Clear" } } }
        }
    }
}

fn list(
    query: &JobsQuery,
    found: &JobPage,
    namesakes: &[JobSummary],
    (next, stopped): (Option<&JobCursor>, Option<&(UnixMillis, JobId)>),
    view: &View,
) -> Markup {
    let first: Vec<&JobSummary> = namesakes
        .iter()
        .filter(|each| found.jobs.iter().all(|job| job.row.id != each.row.id))
        .collect();
    let searched = stopped.map(|(at, id)| JobCursor(*at, id.clone()));
    html! {
        @if first.is_empty() && found.jobs.is_empty() { (nothing(query, searched.is_some())) } @else {
            div.scroll { table.cards {
                caption.hidden { "Jobs, the latest " @if query.is_of_ended() { "ended" } @else { "enqueued" } " first" }
                thead { tr {
                    @for name in ["Job", "State", "Steps", "Webhook", "Enqueued"] { th scope="col" { (name) } }
                    th.number scope="col" { "Polls" } th scope="col" { "Next poll or end" } th scope="col" { "Error" }
                } }
                tbody { @for job in first.into_iter().chain(&found.jobs) { (row(job, view)) } }
            } }
        }
        nav.pages aria-label="Pages of the list" {
            @if query.after.is_some() { a.button.quiet href=(query.at(None, None)) { "Newest" } }
            @if let Some(previous) = query.previous() { a.button.quiet rel="prev" href=(previous) { "Previous" } }
            @if let Some(next) = next { a.button.quiet rel="next" href=(query.next(next)) { "Next" } }
            @if let Some((searched, (at, _))) = searched.as_ref().zip(stopped) {
                p.dim { "Searched back to " (super::marks::at(*at)) "." }
                a.button.quiet rel="next" href=(query.next(searched)) { "Search further" }
            }
        }
    }
}

fn nothing(query: &JobsQuery, goes_on: bool) -> Markup {
    match (query.is_filtered(), goes_on) {
        (_, true) => empty(
            "No job of these matches.",
            &html! { "Older ones were not searched yet." },
        ),
        (true, false) => empty(
            "No job matches.",
            &html! { a href=(PATH) { "Show all jobs" } },
        ),
        (false, false) => empty(
            "No jobs yet.",
            &html! { "Enqueue one below, with any program that can write the database, or with " (command("jobtrackd enqueue ID")) },
        ),
    }
}

fn row(job: &JobSummary, view: &View) -> Markup {
    let row = &job.row;
    let (done, all) = steps::done_of(job);
    let error = match (&job.failure, &row.progress.last_error) {
        (Some(failure), _) => Some((steps::failure_line(failure), Tone::Bad)),
        (None, Some(error)) if row.progress.consecutive_errors > 0 => {
            Some((error.clone(), Tone::Warn))
        }
        _ => None,
    };
    html! {
        tr data-job=(row.id) {
            td data-label="Job" { (job_link(&row.id)) }
            td data-label="State" { (job_state(row.state)) }
            td data-label="Steps" { (done) "/" (all) @if let Some((step, state)) = steps::current(job) {
                " " span.dim { (outside(&steps::title(&step.title), 40)) } " " (super::marks::step_state(state, &steps::status(step)))
            } }
            td data-label="Webhook" { @match &row.webhook { Some(name) => (outside(name, 64)), None => span.dim { "all" } } }
            td data-label="Enqueued" { (view.ago(row.created_at)) }
            td.number data-label="Polls" { (row.progress.polls) }
            @match job.finished_at {
                Some(end) => td.dim data-label="Ended" { span.aside { "ended " } (view.ago(end)) }
                None => td data-label="Next poll" { (next_poll(job, view)) }
            }
            td.error data-label="Error" { @if let Some((error, tone)) = error { span data-tone=(super::marks::word(tone)) { (outside(&error, 120)) } } }
        }
    }
}

fn next_poll(job: &JobSummary, view: &View) -> Markup {
    let row = &job.row;
    match row.next_poll_at.max(row.not_before) {
        _ if row.cancel_requested => html! { "cancelling" },
        Some(at) => view.ahead(at, "due"),
        None => html! { "due" },
    }
}

fn acting(query: &JobsQuery, view: &View) -> Markup {
    html! { @if view.may_act() {
        @if query.is_filtered() && query.may_be_followed() {
            form method="get" action=(CANCEL_JOBS) {
                @for (name, value) in query.filters() { @if let Some(value) = value { input type="hidden" name=(name) value=(value); } }
                button.quiet type="submit" { "Cancel jobs that match…" }
            }
        }
        details #enqueue {
            summary.button.quiet { "Enqueue a job…" }
            form.stack method="post" action=(ENQUEUE) {
                div.field { label for="new-id" { "Id at the API" } input #new-id type="text" name="id" required maxlength="200" pattern="[A-Za-z0-9._~\\-]+" autocomplete="off"; }
                div.field { label for="new-url" { "Where to poll, when not at the usual path" } input #new-url type="text" name="url" maxlength="2048" autocomplete="off"; }
                div.field { label for="new-webhook" { "Only this webhook" } input #new-webhook type="text" name="webhook" maxlength="64" autocomplete="off"; }
                div.field { label for="new-metadata" { "Metadata, a JSON object" } textarea #new-metadata name="metadata" rows="2" maxlength="16384" {} }
                div.field { label for="new-priority" { "Priority" } input #new-priority type="text" name="priority" inputmode="numeric" size="6"; }
                div.field.buttons { button type="submit" { "Enqueue" } }
            }
        }
    } }
}
