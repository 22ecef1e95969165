//! The latest events of all jobs.

use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator as _;

use super::marks::{View, address, job_link};
use super::page::{Page, Section, empty};
use crate::core::event::EventType;
use crate::status::Parts;
use crate::status::refusal::Refusal;
use crate::store::{Events as _, LatestEvents, LatestPage};

/// Events of a page.
const PAGE: u32 = 50;

const PATH: &str = "/dashboard/events";

/// The filter and the place in the list, as the address has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    r#type: Option<String>,
    before: Option<i64>,
}

impl EventsQuery {
    fn at(&self, before: Option<i64>) -> String {
        let before = before.map(|before| before.to_string());
        address(PATH, &[("type", self.r#type.clone()), ("before", before)])
    }

    pub(super) fn address(&self) -> String {
        self.at(self.before)
    }
}

pub(super) async fn page(query: &EventsQuery, parts: &Parts, view: &View) -> Result<Page, Refusal> {
    let kind = query.r#type.as_deref().map(str::parse).transpose();
    let kind =
        kind.map_err(|_| Refusal::parameter("type is the type of an event, such as job.failed"))?;
    let wanted = LatestEvents {
        before: query.before,
        kind,
        limit: PAGE,
    };
    let _reserved = parts.budget.page().await?;
    let found = parts.store.latest_events(&wanted).await;
    let found = found.map_err(|error| Refusal::unreadable(&error))?;
    let mut page = Page::new(Section::Events, "Events");
    page.part("filter", &filter(query));
    page.part("events", &list(query, &found, view));
    // Older pages do not change.
    page.is_live = query.before.is_none();
    Ok(page)
}

fn filter(query: &EventsQuery) -> Markup {
    html! { form.filter method="get" action=(PATH) role="search" aria-label="Filter events" {
        div.field { label for="filter-type" { "Type" } select #filter-type name="type" {
            option value="" { "any" }
            @for kind in EventType::iter().filter(|kind| *kind != EventType::Test) {
                option value=(kind) selected[query.r#type.as_deref() == Some(kind.as_str())] { (kind) }
            }
        } }
        div.field.buttons { button type="submit" { "Filter" } @if query.r#type.is_some() { a.button.quiet href=(PATH) { "Clear" } } }
    } }
}

fn list(query: &EventsQuery, found: &LatestPage, view: &View) -> Markup {
    html! {
        @if found.events.is_empty() {
            (empty("No events here.", &html! { "An event is recorded when a job ends, a user has to answer, a step is delayed or changes. " a href="/dashboard/jobs" { "Jobs" } }))
        } @else { div.scroll { table.cards {
            thead { tr { th scope="col" { "When" } th scope="col" { "Event" } th scope="col" { "Job" } th scope="col" { "About" } th scope="col" { "Id" } } }
            tbody { @for event in &found.events { tr data-event=(event.id) {
                td data-label="When" { (view.ago(event.created_at)) }
                td data-label="Event" { (event.kind) " " span.dim { "#" (event.sequence) } }
                td data-label="Job" { (job_link(&event.job_id)) }
                td data-label="About" { @if let Some(detail) = &event.detail { (crate::words::outside(detail, 200)) } }
                td data-label="Id" { code.dim { (event.id) } }
            } } }
        } } }
        nav.pages aria-label="Pages of the list" {
            @if query.before.is_some() { a.button.quiet href=(query.at(None)) { "Newest" } }
            @if let Some(before) = found.stopped { a.button.quiet rel="next" href=(query.at(Some(before))) { "Older" } }
        }
    }
}
