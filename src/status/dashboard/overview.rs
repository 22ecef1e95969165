//! The overview: is it well, what is stuck, what is to be done.

use std::time::Duration;

use maud::{Markup, html};

use super::chart::Chart;
use super::findings::{self, Finding};
use super::marks::{View, chip, health, job_link, took, webhook_link, word};
use super::page::{Page, Section, empty};
use super::usual::{CHALLENGES, Waiting};
use crate::core::job::{FailureKind, JobState};
use crate::record::webhook::HealthWord;
use crate::status::figures::Counted;
use crate::status::refusal::Refusal;
use crate::status::{Parts, Report};
use crate::store::{Counts, MOST_COUNTED};
use crate::telemetry::{DELAYS, Minute};
use crate::words::{Tone, count, steps};
use strum::IntoEnumIterator as _;

/// Webhooks that are shown; all are on their own page.
const WEBHOOKS: usize = 8;

/// The age of a count that is said.
const OLD: Duration = Duration::from_secs(60);

pub(super) async fn page(parts: &Parts, view: &View) -> Result<Page, Refusal> {
    let (counted, host) = tokio::join!(parts.figures.soon(parts), parts.host.findings());
    let counts = counted.as_ref().map(|counted| &*counted.counts);
    let report = parts.health.report();
    let found = findings::all(
        parts,
        counts,
        host.as_deref().map_or(&[], Vec::as_slice),
        view,
    );
    let usual = parts.dashboard.0.usual.now(parts).await;
    let minutes = parts.recent.minutes(view.now);
    let mut page = Page::new(Section::Overview, "Overview");
    page.part(
        "verdict",
        &verdict(&found, counts.is_some() && host.is_some(), &report, parts),
    );
    page.part("findings", &html! { @if !found.is_empty() {
        section aria-labelledby="h-findings" { h2 #h-findings { "What is wrong" } (findings::list(&found)) }
    } });
    page.part("jobs", &jobs(counted.as_ref(), &report));
    page.part("waiting", &waiting(&usual.waiting, view));
    page.part("hour", &hour(&minutes));
    page.part("failures", &failures(&minutes));
    page.part("kinds", &usual.slowest());
    page.part("webhooks", &webhooks(counts, view));
    Ok(page)
}

fn verdict(found: &[Finding], is_known: bool, report: &Report, parts: &Parts) -> Markup {
    let webhooks = parts.receivers.borrow().len() as u64;
    let followed = count(report.followed as u64, "job");
    let ready = count(webhooks, "webhook");
    let (tone, text) = match found {
        [] if !is_known => (
            Tone::Busy,
            "Jobs, deliveries and the host are being looked at".to_owned(),
        ),
        [] => (
            Tone::Good,
            format!("All is well: {followed} followed, {ready} configured"),
        ),
        [one] => (one.tone, one.text.clone()),
        [first, rest @ ..] => (
            first.tone,
            format!("{}, and {} more", first.text, rest.len()),
        ),
    };
    let mark = match tone {
        Tone::Good => "✓",
        Tone::Bad => "✗",
        _ => "!",
    };
    html! { p.verdict data-tone=(word(tone)) { span aria-hidden="true" { (mark) " " } (text) } }
}

fn jobs(counted: Option<&Counted>, report: &Report) -> Markup {
    let old = counted.map(|counted| counted.at.elapsed());
    let old = old.filter(|age| *age > OLD);
    let number = |state: JobState| {
        let found = counted?
            .counts
            .jobs
            .iter()
            .find(|(each, _)| *each == state)?
            .1;
        Some(match found >= u64::from(MOST_COUNTED) {
            true => "1,000,000 or more".to_owned(),
            false => grouped(found),
        })
    };
    html! {
        section aria-labelledby="h-jobs" {
            h2 #h-jobs { "Jobs" }
            ul.tiles {
                @for state in JobState::iter() {
                    li { a.tile href={ "/dashboard/jobs?state=" (state) } data-count=(state) {
                        (chip(steps::state_mark(state), state.as_str()))
                        span.number { (number(state).unwrap_or_else(|| "counting…".to_owned())) }
                    } }
                }
                li { div.tile { span.label { "Followed now" } span.number { (grouped(report.followed as u64)) } } }
                li { div.tile { span.label { "Polls in flight" } span.number { (report.in_flight) } } }
            }
            @if let Some(age) = old { p.dim { "Counted " (crate::words::ago(age)) "; they are being counted again." } }
        }
    }
}

/// A number with a comma at each thousand.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn waiting(waiting: &[Waiting], view: &View) -> Markup {
    html! { @if !waiting.is_empty() {
        section aria-labelledby="h-waiting" {
            h2 #h-waiting { "Waiting for an answer" }
            p.dim { "Among the latest " (CHALLENGES) " challenges." }
            ul.rows { @for each in waiting {
                li { (job_link(&each.id)) " " (each.step) ", since " (view.lasting(each.since)) }
            } }
        }
    } }
}

fn hour(minutes: &[Minute]) -> Markup {
    let sum = |of: fn(&Minute) -> u32| minutes.iter().map(|each| u64::from(of(each))).sum::<u64>();
    let bars = |good: fn(&Minute) -> u32, bad: fn(&Minute) -> u32| -> Vec<(u64, u64)> {
        let pairs = minutes
            .iter()
            .map(|each| (u64::from(good(each)), u64::from(bad(each))));
        pairs.collect()
    };
    let highest = |bars: &[(u64, u64)]| {
        let highest = bars.iter().map(|(good, bad)| good + bad).max();
        format!("{} a minute", grouped(highest.unwrap_or(0)))
    };
    let failures = |each: &Minute| each.failures.iter().sum::<u32>();
    let polls = bars(|each| each.polls, |each| each.failed_polls);
    let ends = bars(|each| each.successes, failures);
    let sent = bars(|each| each.delivered, |each| each.failed_attempts);
    let (median, most) = (delay(minutes, 50), delay(minutes, 95));
    let late: Vec<(u64, u64)> = minutes
        .iter()
        .map(|each| delay(std::slice::from_ref(each), 95).map_or((0, 0), |bound| (bound, 0)))
        .collect();
    let worst = late.iter().map(|(bound, _)| *bound).max().unwrap_or(0);
    let charts = [
        Chart {
            id: "chart-polls",
            title: "Polls",
            figure: html! { strong { (grouped(sum(|each| each.polls))) } " good, " (grouped(sum(|each| each.failed_polls))) " failed" },
            highest: highest(&polls),
            bars: polls,
        },
        Chart {
            id: "chart-ends",
            title: "Ends",
            figure: html! { strong { (grouped(sum(|each| each.successes))) } " success, " (grouped(sum(failures))) " failed" },
            highest: highest(&ends),
            bars: ends,
        },
        Chart {
            id: "chart-delay",
            title: "Detection delay",
            figure: html! {
                @if let (Some(median), Some(most)) = (median, most) {
                    "half " strong { (within(median)) } ", 95 % " strong { (within(most)) }
                } @else { "no change with a time of the API" }
            },
            highest: if worst > 0 {
                within(worst)
            } else {
                "–".to_owned()
            },
            bars: late,
        },
        Chart {
            id: "chart-deliveries",
            title: "Deliveries",
            figure: html! { strong { (grouped(sum(|each| each.delivered))) } " delivered, " (grouped(sum(|each| each.failed_attempts))) " attempts failed" },
            highest: highest(&sent),
            bars: sent,
        },
    ];
    html! {
        section aria-labelledby="h-hour" {
            h2 #h-hour { "The last hour" }
            div.charts { @for chart in charts { (chart.draw()) } }
        }
    }
}

/// Delays above the last bound are known to be longer, and no more.
fn within(bound: u64) -> String {
    let last = DELAYS.last().copied().unwrap_or(0);
    match bound > last {
        true => format!("after {} or more", took(last)),
        false => format!("within {}", took(bound)),
    }
}

/// The bound, in milliseconds, within which this share of the changes was detected, in percent; more than the last bound for
/// those above it.
fn delay(minutes: &[Minute], percent: u64) -> Option<u64> {
    let mut classes = [0_u64; DELAYS.len() + 1];
    for minute in minutes {
        for (sum, one) in classes.iter_mut().zip(minute.delays) {
            *sum += u64::from(one);
        }
    }
    let all: u64 = classes.iter().sum();
    let wanted = (all * percent).div_ceil(100);
    let mut below = 0;
    let class = classes.iter().position(|count| {
        below += count;
        below >= wanted
    })?;
    let highest = DELAYS.last().copied().unwrap_or(0);
    (all > 0).then(|| DELAYS.get(class).copied().unwrap_or(highest + 1))
}

fn failures(minutes: &[Minute]) -> Markup {
    let of = |kind: FailureKind| {
        minutes
            .iter()
            .map(|each| u64::from(each.failures[kind as usize]))
            .sum::<u64>()
    };
    let kinds: Vec<(FailureKind, u64)> = FailureKind::iter()
        .map(|kind| (kind, of(kind)))
        .filter(|(_, many)| *many > 0)
        .collect();
    html! { @if !kinds.is_empty() {
        section aria-labelledby="h-failures" {
            h2 #h-failures { "Failures of the last hour" }
            ul.tiles { @for (kind, many) in kinds {
                li { a.tile href={ "/dashboard/jobs?state=failed&failure=" (kind.as_str()) "&ended_since=1h" } {
                    span.label { (kind.as_str()) } span.number { (grouped(many)) }
                } }
            } }
        }
    } }
}

fn webhooks(counts: Option<&Counts>, view: &View) -> Markup {
    let mut all: Vec<_> = counts.map_or(Vec::new(), |counts| counts.webhooks.iter().collect());
    all.sort_by_key(|each| {
        (
            HealthWord::of(&each.health, view.now) == HealthWord::Ready,
            std::cmp::Reverse(each.pending),
        )
    });
    html! {
        section aria-labelledby="h-webhooks" {
            h2 #h-webhooks { "Webhooks" }
            @if all.is_empty() {
                @if counts.is_some() {
                    (empty("No webhook is configured.", &html! { "Events are kept and sent nowhere. Write a " code { "[webhooks.NAME]" } " section and reload." }))
                } @else { p.dim { "counting…" } }
            } @else {
                ul.rows { @for each in all.iter().take(WEBHOOKS) {
                    li { (webhook_link(each.name.as_str())) " " (health(HealthWord::of(&each.health, view.now)))
                        span.dim { " " (grouped(each.pending)) " pending" }
                        @if each.exhausted > 0 { span.dim { ", " (grouped(each.exhausted)) " given up" } } }
                } }
                @if all.len() > WEBHOOKS { p { a href="/dashboard/webhooks" { "All " (all.len()) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_changes_was_detected_within_a_bound() {
        let mut minute = Minute::default();
        assert_eq!(delay(&[minute], 50), None);
        minute.delays[2] = 94;
        minute.delays[12] = 6;
        assert_eq!(delay(&[minute], 50), Some(500));
        assert_eq!(delay(&[minute, minute], 95), Some(900_001));
    }

    #[test]
    fn numbers_have_a_comma_at_each_thousand() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), shown);
        }
    }
}
