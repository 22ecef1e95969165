//! A job: where it stands, what it waits for, all that happened to it, and what can be done.

use std::borrow::Cow;

use maud::{Markup, html};

use super::marks::{View, at, delivery_state, job_state, webhook_link};
use super::page::{Page, Section, command};
use super::usual::Read;
use super::{axis, history};
use crate::core::delivery::DeliveryState;
use crate::core::job::{Failure, FailureKind, JobId};
use crate::core::retention::Stage;
use crate::core::snapshot::StepClass;
use crate::mfa::{MOST_ANSWERS, mark};
use crate::status::Parts;
use crate::status::refusal::Refusal;
use crate::store::{DeliveryRow, JobDetail, JobRow, Jobs as _, StepRow};
use crate::words::steps::{self, StepState};
use crate::words::{TEXT_LIMIT, outside, raw};

/// Most bytes of the remote job that are shown.
const SHOWN: usize = 256 << 10;

/// Most deliveries that are listed: the latest.
const DELIVERIES: usize = 100;

pub(super) async fn page(id: &JobId, parts: &Parts, view: &View) -> Result<Page, Refusal> {
    let _reserved = parts.budget.job().await?;
    let detail = parts.store.detail(id).await;
    let detail = detail.map_err(|error| Refusal::unreadable(&error))?;
    let detail = detail.ok_or_else(Refusal::no_such_job)?;
    let usual = parts.dashboard.0.usual.now(parts).await;
    let polls = parts.recent.polls_of(id);
    let job = &detail.summary;
    let mut page = Page::new(Section::Jobs, format!("Job {id}"));
    page.heading =
        html! { p.crumb { a href="/dashboard/jobs" { "Jobs" } } h1 { "Job " span.id { (id) } } };
    page.part("state", &state(&detail, &usual, view));
    page.part("challenge", &challenge(&detail, view));
    page.part(
        "failure",
        &html! { @if let Some(failure) = &job.failure { (failed(failure)) } },
    );
    page.part(
        "actions",
        &html! { @if view.may_act() { (actions(&job.row, !detail.deliveries.is_empty())) } },
    );
    page.part("axis", &axis::draw(&detail, &polls, &usual, view));
    page.part("deliveries", &deliveries(&detail, view));
    page.part("history", &history::list(&detail, &polls));
    page.part("texts", &texts(&detail));
    page.part("commands", &commands(&detail));
    Ok(page)
}

fn state(detail: &JobDetail, usual: &Read, view: &View) -> Markup {
    let job = &detail.summary;
    let row = &job.row;
    let (done, all) = steps::done_of(job);
    html! {
        section.state aria-label="State" {
            p.headline { (job_state(row.state)) " " (done) " of " (crate::words::count(all as u64, "step")) " done"
                @if !row.state.is_final() { @if let Some((step, state)) = steps::current(job) { ", at " strong { (steps::title(&step.title)) } (usually(usual, step, state)) } } }
            dl.facts {
                @match job.finished_at {
                    Some(end) => { dt { "Age at its end" } dd { (super::marks::took(crate::core::time::millis(end.since(row.created_at)))) } dt { "Ended" } dd { (view.ago(end)) } }
                    None => { dt { "Age" } dd { (view.lasting(row.created_at)) } dt { "Next poll" } dd { (next_poll(row, view)) } }
                }
                dt { "Enqueued" } dd { (at(row.created_at)) }
                dt { "Polls" } dd { (row.progress.polls) @if let Some(last) = row.progress.last_polled_at { ", the last " (view.ago(last)) } }
                @if let Some(error) = &row.progress.last_error {
                    dt { "Last error" } dd data-tone=(if row.progress.consecutive_errors > 0 { "warn" } else { "dim" }) {
                        (outside(error, TEXT_LIMIT)) @if row.progress.consecutive_errors > 1 { " (" (row.progress.consecutive_errors) " in a row)" } }
                }
                dt { "Deadline" } dd { @match row.deadline_at { Some(deadline) if row.state.is_final() => (at(deadline)), Some(deadline) => (view.ahead(deadline, "passed")), None => "by polling.deadline" } }
                dt { "Webhook" } dd { @match &row.webhook { Some(name) => (webhook_link(name)), None => "all that subscribe" } }
                @if row.priority != 0 { dt { "Priority" } dd { (row.priority) } }
                @if let Some(url) = &row.url { dt { "Polled at" } dd { code { (outside(url, TEXT_LIMIT)) } } }
                @match detail.pruned {
                    Some(Stage::Attempts) => { dt { "Deleted" } dd { "its attempts, at their age (retention.attempts)" } }
                    Some(Stage::Events) => { dt { "Deleted" } dd { "its events and attempts, at their age (retention.events)" } }
                    Some(Stage::Jobs) | None => {}
                }
            }
        }
    }
}

fn usually(usual: &Read, step: &StepRow, state: StepState) -> Markup {
    let is_open = !matches!(
        state,
        StepState::Waiting | StepState::Missing | StepState::Failed
    );
    html! { @if let Some((median, _)) = usual.of_step(&step.title).filter(|_| is_open) { span.dim { ", which usually takes " (super::marks::took(median)) } } }
}

/// When it is polled next, and why then.
fn next_poll(row: &JobRow, view: &View) -> Markup {
    let due = row.next_poll_at.max(row.not_before);
    let waits_for_start = row
        .not_before
        .is_some_and(|at| at > view.now && Some(at) == due);
    let reason = match row {
        _ if row.cancel_requested => return html! { "none: it is being cancelled" },
        _ if row.poll_requested => "requested",
        _ if waits_for_start => "not_before",
        row if row.progress.polls == 0 => "it was not polled yet",
        row if row.progress.queued => "the API has queued a step",
        row if row.progress.consecutive_errors > 0 => "after an error",
        row if row.progress.limited => "it changed too often",
        row if row.progress.quiet_polls > 0 => "nothing has changed for a while",
        _ => "it has just changed",
    };
    html! { @match due { Some(at) => (view.ahead(at, "due")), None => "due" } span.dim { " (" (reason) ")" } }
}

fn actions(row: &JobRow, has_events: bool) -> Markup {
    let path = format!("/dashboard/jobs/{}", row.id);
    html! {
        div.buttons {
            @if !row.state.is_final() {
                form method="post" action={ (path) "/poll" } { button #poll-now type="submit" { "Poll now" } }
                details #cancel { summary.button.quiet { "Cancel…" }
                    form.stack method="post" action={ (path) "/cancel" } {
                        p { "The job is no longer followed and fails as cancelled. The API is not asked to stop it." }
                        button.bad type="submit" disabled[row.cancel_requested] { "Cancel this job" }
                    }
                }
            }
            @if has_events { form method="get" action="/dashboard/replay" {
                input type="hidden" name="job" value=(row.id);
                button.quiet type="submit" { "Replay its events…" }
            } }
        }
    }
}

fn challenge(detail: &JobDetail, view: &View) -> Markup {
    let job = &detail.summary;
    let mut waiting = job
        .steps
        .iter()
        .filter(|step| step.class == StepClass::Waiting && !job.row.state.is_final());
    let Some(step) = waiting.next() else {
        return html! {};
    };
    let Some(recorded) = &step.challenge else {
        return html! {};
    };
    let Ok(challenge) = recorded.challenge() else {
        return html! {};
    };
    let inputs: Vec<String> = challenge
        .inputs()
        .into_iter()
        .take(MOST_ANSWERS)
        .filter_map(raw)
        .collect();
    let fields = if inputs.is_empty() {
        vec!["Answer, if any".to_owned()]
    } else {
        inputs
    };
    html! {
        section.challenge aria-labelledby="h-challenge" {
            h2 #h-challenge { "Needs an answer: " (steps::title(&step.title)) }
            @if let Some(method) = raw(&challenge.method) { p { strong { (method) } } }
            @if challenge.description.get() != challenge.method.get() { @if let Some(text) = raw(&challenge.description) { p { (text) } } }
            @if let Some(at) = recorded.expires_at { p { "Expires " (view.ahead(at, "– it has expired")) } }
            @if view.may_act() {
                @let mark = mark(step, recorded);
                form #{ "answer-" (mark) } .stack method="post" action={ "/dashboard/jobs/" (job.row.id) "/answer" } autocomplete="off" data-secret {
                    input type="hidden" name="challenge" value=(mark);
                    @for (number, field) in (1..).zip(&fields) {
                        div.field { label for={ "answer-" (number) } { (field) }
                            input id={ "answer-" (number) } name="answer" type="text" autocomplete="one-time-code" maxlength="4096" spellcheck="false"; }
                    }
                    label.check { input type="checkbox" name="late" value="true"; " Send it even if it has expired by our clock" }
                    div.buttons { button type="submit" { "Send to the API" } }
                    p.dim { "The answer is sent to the API and kept nowhere." }
                }
            }
        }
    }
}

fn failed(failure: &Failure) -> Markup {
    let facts = [
        ("Code", &failure.code),
        ("Title", &failure.title),
        ("Detail", &failure.detail),
    ];
    html! {
        section.failure aria-labelledby="h-failure" {
            h2 #h-failure { "Failed: " (failure.kind.as_str()) }
            dl.facts {
                @if let (FailureKind::Step, Some(step)) = (failure.kind, &failure.step) { dt { "Step" } dd { (steps::title(step)) } }
                @for (name, value) in facts { @if let Some(text) = raw(value.raw()) { dt { (name) } dd { (text) } } }
            }
        }
    }
}

fn deliveries(detail: &JobDetail, view: &View) -> Markup {
    let all = &detail.deliveries;
    let hidden = all.len().saturating_sub(DELIVERIES);
    html! { @if !all.is_empty() {
        section aria-labelledby="h-deliveries" {
            h2 #h-deliveries { "Deliveries" }
            @if hidden > 0 { p.dim { (hidden) " earlier are not listed." } }
            div.scroll { table.cards {
                thead { tr { @for name in ["Event", "Webhook", "State"] { th scope="col" { (name) } } th.number scope="col" { "Attempts" }
                    th scope="col" { "Next" } th scope="col" { "Last answer" } @if view.may_act() { th scope="col" { span.hidden { "Actions" } } } } }
                tbody { @for each in all.iter().skip(hidden) { (delivery(each, &format!("/dashboard/jobs/{}", detail.summary.row.id), view)) } }
            } }
        }
    } }
}

/// A delivery as a row of a table; `to` is where an action returns.
pub(super) fn delivery(row: &DeliveryRow, to: &str, view: &View) -> Markup {
    let waits = matches!(row.state, DeliveryState::Pending | DeliveryState::Disabled);
    let what = format!(
        "#{} {} to {}",
        row.sequence,
        row.kind,
        outside(row.webhook.as_str(), 64)
    );
    html! { tr data-event={ (row.event_id) " " (row.webhook) } {
        td data-label="Event" { "#" (row.sequence) " " (row.kind) }
        td data-label="Webhook" { (webhook_link(row.webhook.as_str())) }
        td data-label="State" { (delivery_state(row.state, row.last_error.is_some())) @if row.expired_at.is_some() { " expired" } }
        td.number data-label="Attempts" { (row.attempts) }
        td data-label="Next" { @match (row.state, row.next_attempt_at) {
            (DeliveryState::Pending, Some(at)) => (view.ahead(at, "due")),
            (DeliveryState::Pending, None) => "after an earlier one",
            _ => {}
        } }
        td.error data-label="Last answer" { @match (&row.last_error, row.last_status) {
            (Some(error), _) => (outside(error, 200)),
            (None, Some(status)) => (status),
            (None, None) => {}
        } }
        @if view.may_act() { td data-label="" { div.buttons {
            @if waits { form method="post" action="/dashboard/give-up" {
                input type="hidden" name="event" value=(row.event_id); input type="hidden" name="webhook" value=(row.webhook); input type="hidden" name="to" value=(to);
                button.quiet type="submit" data-confirm="Stop sending this event to this webhook?" aria-label={ "Give up " (what) } { "Give up" } } }
            form method="get" action="/dashboard/replay" {
                input type="hidden" name="event" value=(row.event_id); input type="hidden" name="webhook" value=(row.webhook);
                button.quiet type="submit" aria-label={ "Replay " (what) } { "Replay…" } }
        } } }
    } }
}

fn texts(detail: &JobDetail) -> Markup {
    let job = &detail.summary;
    html! {
        @if let Some(metadata) = &job.metadata {
            section aria-labelledby="h-metadata" { h2 #h-metadata { "Metadata" } pre tabindex="0" { (pretty(metadata)) } }
        }
        @if let Some(resource) = &detail.resource {
            details #remote { summary { "The remote job as last seen (" (crate::words::size(resource.len() as u64)) ")" }
                @if resource.len() > SHOWN { p.dim { "The beginning; all of it: " a href={ "/dashboard/jobs/" (job.row.id) "/json" } { "JSON" } } }
                pre tabindex="0" { (pretty(resource)) } }
        }
    }
}

/// JSON with line breaks, where it is short enough with them; else as it came.
fn pretty(json: &str) -> Cow<'_, str> {
    if json.len() > SHOWN {
        return json
            .get(..json.floor_char_boundary(SHOWN))
            .unwrap_or_default()
            .into();
    }
    indented(json).map_or(json.into(), Cow::Owned)
}

/// Indentation of what is deep may be many times its text: beyond [`SHOWN`] there is none.
fn indented(json: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let mut room = vec![0; SHOWN];
    let mut rest = &mut room[..];
    serde_json::to_writer_pretty(&mut rest, &value).ok()?;
    let left = rest.len();
    room.truncate(SHOWN - left);
    String::from_utf8(room).ok()
}

fn commands(detail: &JobDetail) -> Markup {
    let row = &detail.summary.row;
    html! {
        section aria-labelledby="h-commands" {
            h2 #h-commands { "At the shell" }
            (command(&format!("jobtrackd show {}", row.id)))
            (command(&format!("jobtrackd replay --job {}", row.id)))
            @if !row.state.is_final() { (command(&format!("jobtrackd cancel {}", row.id))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_line_breaks_unless_they_would_make_it_too_long() {
        assert_eq!(pretty(r#"{"a":[1]}"#), "{\n  \"a\": [\n    1\n  ]\n}");
        let deep = format!(
            "{}{}{}",
            "[".repeat(100),
            "0,".repeat(9000) + "0",
            "]".repeat(100)
        );
        assert_eq!(pretty(&deep), deep);
        let long = format!("\"{}\"", "ä".repeat(SHOWN));
        assert_eq!(pretty(&long).len(), SHOWN - 1, "cut between characters");
    }
}
