//! Cancelling many jobs: first how many, then all of those at once.

use std::collections::BTreeSet;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use maud::html;

use super::CANCEL_JOBS;
use super::form::{act, stored};
use super::jobs::JobsQuery;
use super::marks::{View, address};
use super::page::{Page, Section};
use super::place::{read, read_beside};
use crate::core::job::{JobId, JobState};
use crate::status::Parts;
use crate::status::access::Operator;
use crate::status::refusal::Refusal;
use crate::store::{JobFilter, Jobs as _, Lists as _};
use crate::words::count;

/// Most jobs that are cancelled at once.
const MOST: usize = 1000;

/// Jobs of a page that is read: all, and one that says there are more. Only their bytes may make it several pages.
const PAGE: u32 = MOST as u32 + 1;

/// Most jobs that a search reads.
const SEARCHED: u32 = 100_000;

/// The jobs that match and have not ended.
#[derive(Debug, Default)]
struct Found {
    /// Each once, though a job may leave one state for the other between two reads.
    ids: BTreeSet<JobId>,
    /// Whether there may be more.
    more: bool,
}

impl Found {
    /// Adds jobs; returns whether there is room for others.
    fn add(&mut self, ids: impl IntoIterator<Item = JobId>) -> bool {
        for id in ids {
            if self.ids.len() == MOST && !self.ids.contains(&id) {
                self.more = true;
                return false;
            }
            self.ids.insert(id);
        }
        true
    }
}

async fn matching(query: &JobsQuery, parts: &Parts) -> Result<Found, Refusal> {
    let wanted = query.filter(parts.clock.now())?;
    // In the order in which jobs go through them, so that none is missed.
    let states = [JobState::Pending, JobState::InProgress];
    let states = states
        .into_iter()
        .filter(|state| wanted.state.is_none_or(|wanted| wanted == *state));
    let mut found = Found::default();
    if wanted.is_of_ended() || query.is_contradictory() {
        return Ok(found);
    }
    let unreadable = |error| Refusal::unreadable(&error);
    for state in states {
        let mut filter = JobFilter {
            state: Some(state),
            after: None,
            searched: Some(SEARCHED),
            limit: PAGE,
            ..wanted.clone()
        };
        loop {
            let reserved = parts.budget.page().await?;
            let page = parts.store.list(&filter).await;
            let page = page.map_err(unreadable)?;
            let last = page.jobs.last().map(|job| filter.place(job));
            let has_room = found.add(page.jobs.into_iter().map(|job| job.row.id));
            drop(reserved);
            if !has_room {
                return Ok(found);
            }
            match last.filter(|_| page.more) {
                Some(last) => filter.after = Some(last),
                None => break,
            }
        }
        let stopped = parts.store.search_end(&filter).await;
        found.more |= stopped.map_err(unreadable)?.is_some();
    }
    Ok(found)
}

/// Says how many there are, and asks.
pub(super) async fn confirm(
    State(parts): State<Parts>,
    Extension(operator): Extension<Operator>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let view = View {
        now: parts.clock.now(),
        operator,
    };
    let query: JobsQuery = read(uri.query().unwrap_or_default())?;
    let found = matching(&query, &parts).await?;
    let mut page = Page::new(Section::Jobs, "Cancel jobs");
    page.is_live = false;
    let many = found.ids.len();
    // Those that are enqueued from now on were not counted.
    let mut confirmed = query.at_moment(view.now)?;
    confirmed.until.get_or_insert_with(|| view.now.rfc3339());
    page.part("confirm", &html! { section.confirm {
        @if many == 0 { p { "No job that matches is still followed." } } @else {
            p.headline { @if found.more { (count(many as u64, "job")) " will be cancelled; more may match." } @else { (count(many as u64, "job")) " will be cancelled." } }
            p { "They are no longer followed and fail as cancelled. The API is not asked to stop them." }
        }
        dl.facts { @for (name, value) in query.filters() { @if let Some(value) = value { dt { (name) } dd { (value) } } } }
        div.buttons {
            @if many > 0 && view.may_act() { form method="post" action=(CANCEL_JOBS) {
                @for (name, value) in confirmed.filters() { @if let Some(value) = value { input type="hidden" name=(name) value=(value); } }
                input type="hidden" name="jobs" value=(many);
                button.bad type="submit" { "Cancel " (count(many as u64, "job")) }
            } }
            a.button.quiet href=(query.address()) { "Back" }
        }
    } });
    super::answered(&parts, page.document("", None, &view)).await
}

/// Cancels those that match now, if they are no more than were confirmed.
pub(super) async fn cancel(
    State(parts): State<Parts>,
    Extension(who): Extension<Operator>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (confirmed, query): (_, JobsQuery) = read_beside("jobs", &body)?;
    let confirmed =
        confirmed.ok_or_else(|| Refusal::parameter("jobs is the number that was confirmed"))?;
    let target = address("jobs", &query.filters());
    let to = query.address();
    act(
        &parts,
        &who,
        ("cancel jobs", target),
        to,
        async move |parts: Parts| {
            let found = matching(&query, &parts).await;
            let found = found.map_err(|refusal| refusal.detail().to_owned())?;
            let jobs = found.ids.len() as u64;
            if jobs > confirmed {
                return Err(format!(
                    "{confirmed} were confirmed, and {jobs} match now; count them again"
                ));
            }
            let ids: Vec<JobId> = found.ids.into_iter().collect();
            let requested = parts.store.request_cancel_of_all(&ids).await;
            let requested = requested.map_err(stored)?.len() as u64;
            Ok(format!("{} will be cancelled", count(requested, "job")))
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_changes_its_state_between_two_reads_counts_once() {
        let id = |n: usize| JobId::parse(&n.to_string()).unwrap();
        let mut found = Found::default();
        assert!(found.add([id(1), id(2)]) && found.add([id(2), id(3)]));
        assert_eq!((found.ids.len(), found.more), (3, false));
        assert!(found.add((1..=MOST).map(id)), "as many as there may be");
        assert!(!found.add([id(1), id(MOST + 1)]));
        assert_eq!((found.ids.len(), found.more), (MOST, true));
    }
}
