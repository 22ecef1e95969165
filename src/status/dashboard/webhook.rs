//! One webhook: its health, its backlog, its latest attempts, and what can be done.

use maud::{Markup, html};
use strum::IntoEnumIterator as _;

use super::job::delivery;
use super::marks::{View, at, health, took, webhook_path};
use super::overview::grouped;
use super::page::{Page, Section};
use crate::core::delivery::{DeliveryState, WebhookName};
use crate::core::event::EventType;
use crate::core::health::Health;
use crate::core::time::UnixMillis;
use crate::operator::webhooks::known;
use crate::record::webhook::HealthWord;
use crate::status::refusal::Refusal;
use crate::status::{Parts, Receiver};
use crate::store::{
    Attempt, Attempts as _, Deliveries as _, DeliveryFilter, DeliveryRow, WebhookCounts,
    WebhookHealth, Webhooks as _,
};
use crate::webhook::{WebhookSettings, redacted_url};
use crate::words::{brief, count, outside};

/// Attempts that are shown.
const ATTEMPTS: u32 = 20;

/// Latest events whose attempts are searched for them; a page that is watched does it every second.
const EVENTS: u32 = 1_000;

/// Deliveries that are shown.
const DELIVERIES: u32 = 20;

pub(super) async fn page(name: &WebhookName, parts: &Parts, view: &View) -> Result<Page, Refusal> {
    let unreadable = |error: &_| Refusal::unreadable(error);
    let receivers = parts.receivers.borrow().clone();
    known(name.as_str(), parts.webhook_names(), &parts.store)
        .await
        .map_err(|error| Refusal::new(axum::http::StatusCode::NOT_FOUND, format!("{error:#}")))?;
    let _reserved = parts.budget.page().await?;
    let state = parts.store.webhook_health(name).await;
    let state = state.map_err(|error| unreadable(&error))?;
    let counts = parts.figures.soon(parts).await;
    let counted = counts.as_ref().and_then(|counted| counted.of(name));
    let attempts = parts.store.latest_attempts(name, EVENTS, ATTEMPTS).await;
    let attempts = attempts.map_err(|error| unreadable(&error))?;
    let filter = |wanted| DeliveryFilter {
        state: Some(wanted),
        webhook: Some(name.as_str().to_owned()),
        limit: DELIVERIES,
        ..DeliveryFilter::default()
    };
    // A search goes through 10,000 events: not for what was counted as none a moment ago.
    let listed = async |wanted, many: Option<u64>| match many {
        Some(0) => Ok(Vec::new()),
        _ => {
            let page = parts.store.list_deliveries(&filter(wanted)).await;
            page.map(|page| page.deliveries)
                .map_err(|error| unreadable(&error))
        }
    };
    let waiting = match state.disabled {
        Some(_) => listed(DeliveryState::Disabled, None).await?,
        None => listed(DeliveryState::Pending, counted.map(|each| each.pending)).await?,
    };
    let exhausted = counted.map(|each| each.exhausted);
    let exhausted = listed(DeliveryState::Exhausted, exhausted).await?;
    let settings = receivers
        .iter()
        .find(|each| each.webhook.name == *name)
        .map(|each| &each.webhook);
    let title = outside(name.as_str(), 64);
    let mut page = Page::new(Section::Webhooks, format!("Webhook {title}"));
    page.heading =
        html! { p.crumb { a href="/dashboard/webhooks" { "Webhooks" } } h1 { "Webhook " (title) } };
    page.part("state", &facts(&state, settings, counted, view));
    page.part(
        "actions",
        &html! { @if view.may_act() { (actions(name, &state, &receivers, counted, view.now)) } },
    );
    page.part(
        "waiting",
        &deliveries("waiting", "Events that wait", &waiting, name, view),
    );
    page.part(
        "exhausted",
        &deliveries("exhausted", "Events given up", &exhausted, name, view),
    );
    page.part("attempts", &latest(&attempts));
    Ok(page)
}

fn facts(
    state: &WebhookHealth,
    settings: Option<&WebhookSettings>,
    counted: Option<&WebhookCounts>,
    view: &View,
) -> Markup {
    let word = HealthWord::of(state, view.now);
    html! { section aria-label="State" {
        p.headline { (health(word)) " " (detail(state, view)) }
        dl.facts {
            @match settings {
                None => { dt { "Settings" } dd data-tone="warn" { "It is not configured; nothing is sent to it." } }
                Some(settings) => {
                    dt { "Address" } dd { @match &settings.url { Some(url) => code { (outside(&redacted_url(url), 200)) }, None => "in a file" } }
                    dt { "Events" } dd { (settings.events.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")) }
                    dt { "Limits" } dd { (brief(settings.timeout)) " a request, " (settings.max_in_flight) " at once" }
                    dt { "Retries" } dd { "after " (settings.retry.iter().copied().map(brief).collect::<Vec<_>>().join(", ")) }
                    @if let Some(fallback) = &settings.fallback { dt { "Fallback" } dd { (fallback) } }
                }
            }
            @if let Some(counted) = counted {
                dt { "Pending" } dd { (grouped(counted.pending)) @if let Some(oldest) = counted.oldest_pending { ", the oldest " (view.ago(oldest)) } }
                @if counted.exhausted + counted.disabled > 0 { dt { "Not delivered" } dd { (grouped(counted.exhausted)) " given up, " (grouped(counted.disabled)) " disabled, of the latest 10,000 events" } }
            }
        }
    } }
}

fn detail(state: &WebhookHealth, view: &View) -> Markup {
    let paused = state.paused_until.filter(|until| *until > view.now);
    html! { @match (&state.disabled, paused, &state.health) {
        (Some((since, reason)), ..) => { (view.ago(*since)) ": " (outside(reason, 200)) }
        (None, Some(until), _) => { "it asked for a pause, which ends " (view.ahead(until, "now")) }
        (.., Health::Held(hold)) => { "for " (view.lasting(hold.since)) ", " (count(u64::from(hold.failures), "failure")) " in a row; next probe "
            @match hold.probe_at { Some(at) => (view.ahead(at, "now")), None => "as soon as an event waits" } }
        (.., Health::Ramping { allowed, .. }) => { (count(u64::from(*allowed), "request")) " at once so far" }
        (.., Health::Ready(failing)) => { @if failing.failures > 0 { (count(u64::from(failing.failures), "failure")) " in a row" } }
    } }
}

fn actions(
    name: &WebhookName,
    state: &WebhookHealth,
    receivers: &[Receiver],
    counted: Option<&WebhookCounts>,
    now: UnixMillis,
) -> Markup {
    let waiting = counted.map(|counted| counted.pending + counted.disabled);
    let waiting = waiting.map_or("its events".to_owned(), |waiting| count(waiting, "event"));
    let path = webhook_path(name.as_str());
    let names = receivers.iter().map(|each| &each.webhook.name);
    let (own, others): (Vec<_>, Vec<_>) = names.partition(|each| *each == name);
    let is_configured = !own.is_empty();
    let is_paused = state.paused_until.is_some_and(|until| until > now);
    let is_ready = state.disabled.is_none() && state.health.hold().is_none() && !is_paused;
    html! { div.buttons {
        @if !is_ready { form method="post" action={ (path) "/enable" } { button #enable type="submit" { @if state.disabled.is_some() { "Enable" } @else { "End its hold or pause" } } } }
        @if is_configured { form.inline method="post" action={ (path) "/test" } {
            label.hidden for="test-type" { "Type of the sample" }
            select #test-type name="type" { @for kind in EventType::iter().filter(|kind| *kind == EventType::Test).chain(EventType::iter().filter(|kind| *kind != EventType::Test)) { option { (kind) } } }
            button type="submit" { "Send a sample" } } }
        @if state.disabled.is_none() { details #disable { summary.button.quiet { "Disable…" }
            form.stack method="post" action={ (path) "/disable" } {
                p { "Nothing is sent to it until it is enabled; " (waiting) " and those to come wait." }
                div.field { label for="reason" { "Reason, shown with the webhook" } input #reason type="text" name="reason" maxlength="200"; }
                button.bad type="submit" { "Disable" } } } }
        details #replay { summary.button.quiet { "Replay…" }
            form.stack method="get" action="/dashboard/replay" {
                input type="hidden" name="webhook" value=(name);
                div.field { label for="replay-since" { "Events since: how long ago, or a time" } input #replay-since type="text" name="since" required value="2h"; }
                label.check { input type="checkbox" name="failed_only" value="true" checked; " Only those given up" }
                button type="submit" { "Count them" } } }
        @if !others.is_empty() { details #move { summary.button.quiet { "Move…" }
            form.stack method="post" action={ (path) "/move" } {
                p { "Another webhook takes its place: it gets what waits, " (waiting) ", and the running jobs that name this one." }
                div.field { label for="move-to" { "To" } select #move-to name="to" required { @for other in others { option { (other) } } } }
                button type="submit" { "Move its events" } } } }
        details #give-up { summary.button.quiet { "Give up all…" }
            form.stack method="post" action="/dashboard/give-up" {
                p { "Everything that waits for this webhook, " (waiting) ", is given up and not sent. It is kept and can be replayed." }
                input type="hidden" name="webhook" value=(name); input type="hidden" name="to" value=(path);
                button.bad type="submit" { "Give up everything that waits" } } }
    } }
}

fn deliveries(
    id: &str,
    title: &str,
    rows: &[DeliveryRow],
    name: &WebhookName,
    view: &View,
) -> Markup {
    html! { @if !rows.is_empty() {
        section aria-labelledby={ "h-" (id) } {
            h2 id={ "h-" (id) } { (title) }
            div.scroll { table.cards {
                thead { tr { @for heading in ["Event", "Webhook", "State"] { th scope="col" { (heading) } } th.number scope="col" { "Attempts" }
                    th scope="col" { "Next" } th scope="col" { "Last answer" } @if view.may_act() { th scope="col" { span.hidden { "Actions" } } } } }
                tbody { @for row in rows { (delivery(row, &webhook_path(name.as_str()), view)) } }
            } }
            p.dim { "The newest " (rows.len()) " among the latest 10,000 events." }
        }
    } }
}

fn latest(attempts: &[Attempt]) -> Markup {
    html! { section aria-labelledby="h-attempts" {
        h2 #h-attempts { "Latest attempts" }
        @if attempts.is_empty() { p.dim { "None among those of the latest 1,000 events." } } @else { div.scroll { table.cards {
            thead { tr { th scope="col" { "When" } th scope="col" { "Event" } th.number scope="col" { "Number" } th scope="col" { "Trigger" }
                th.number scope="col" { "Took" } th.number scope="col" { "Status" } th scope="col" { "Answer" } } }
            tbody { @for each in attempts { tr {
                td data-label="When" { (at(each.started_at)) }
                td data-label="Event" { code { (each.event_id) } }
                td.number data-label="Number" { (each.number) }
                td data-label="Trigger" { (each.trigger.as_str()) }
                td.number data-label="Took" { (took(each.duration_ms)) }
                td.number data-label="Status" { @match each.status { Some(status) => (status), None => "–" } }
                td.error data-label="Answer" data-tone=(if each.error.is_some() { "warn" } else { "dim" }) { (said(each)) }
            } } }
        } } }
    } }
}

fn said(attempt: &Attempt) -> String {
    let answer = attempt.answer.as_deref().unwrap_or_default();
    let said = match attempt.error.as_deref() {
        Some(error) if answer.is_empty() => error.to_owned(),
        Some(error) => format!("{error}: {answer}"),
        None => answer.to_owned(),
    };
    outside(&said, 200)
}
