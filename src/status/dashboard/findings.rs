//! What is wrong, and what to do about it: the reasons of `/readyz`, and what `doctor` would say of the webhooks and the host.

use std::time::Duration;

use maud::{Markup, html};

use super::marks::{View, webhook_link};
use crate::record::webhook::HealthWord;
use crate::status::{HostFinding, Parts};
use crate::store::{Counts, WebhookCounts};
use crate::words::{Tone, ago, count, outside};

/// An event that waits longer than this is late.
const LATE: Duration = Duration::from_secs(10 * 60);

/// A thing that is wrong.
pub(super) struct Finding {
    pub(super) tone: Tone,
    /// What is so, in a sentence.
    pub(super) text: String,
    /// What to do.
    pub(super) advice: Markup,
}

/// All that is wrong now, the worst first.
pub(super) fn all(
    parts: &Parts,
    counts: Option<&Counts>,
    host: &[HostFinding],
    view: &View,
) -> Vec<Finding> {
    let report = parts.health.report();
    let unready = report.problems.unready.into_iter();
    let mut findings: Vec<Finding> = unready
        .map(|text| Finding {
            tone: Tone::Bad,
            advice: html! { "The daemon does not do its work until this is over. Run " code { "jobtrackd doctor" } " on its host." },
            text,
        })
        .collect();
    let configured = parts.webhook_names();
    let webhooks = counts.map_or(&[][..], |counts| &counts.webhooks);
    let of_webhooks = webhooks
        .iter()
        .filter(|each| configured.contains(&each.name));
    findings.extend(of_webhooks.filter_map(|each| of_webhook(each, view)));
    let degraded = report.problems.degraded.into_iter();
    findings.extend(degraded.map(|text| Finding {
        tone: Tone::Warn,
        advice: advice_on(&text),
        text,
    }));
    if report.unknown_webhooks > 0 {
        let jobs = count(report.unknown_webhooks as u64, "followed job");
        findings.push(Finding {
            tone: Tone::Warn,
            text: format!("{jobs} with a webhook that is not configured"),
            advice: html! {
                "Their events wait. Write a section of that name, or run " code { "jobtrackd webhook move OLD NEW" } "."
            },
        });
    }
    findings.extend(host.iter().map(of_host));
    findings.sort_by_key(|finding| finding.tone != Tone::Bad);
    findings
}

fn advice_on(text: &str) -> Markup {
    match text.contains("not configured") {
        true => html! {
            "They are not sent. If the webhook has another name now, run " code { "jobtrackd webhook move OLD NEW" }
            "; if they are not wanted, give them up on its " a href="/dashboard/webhooks" { "page" } "."
        },
        false => {
            html! { "Jobs go on by themselves when it is over. To find the cause, run " code { "jobtrackd doctor" } "." }
        }
    }
}

/// What `doctor` says of the host. The command of an advice stands at its end.
fn of_host(found: &HostFinding) -> Finding {
    let (reason, command) = match found.advice.split_once("run: ") {
        Some((reason, command)) => (reason, Some(command)),
        None => (found.advice.as_str(), None),
    };
    Finding {
        tone: if found.is_problem {
            Tone::Bad
        } else {
            Tone::Warn
        },
        text: format!("Host: {}", found.text),
        advice: html! { (reason) @if let Some(command) = command { "run: " code { (command) } } },
    }
}

fn of_webhook(counts: &WebhookCounts, view: &View) -> Option<Finding> {
    let name = outside(counts.name.as_str(), 64);
    let page = webhook_link(counts.name.as_str());
    let late = counts
        .oldest_pending
        .map(|at| view.now.since(at))
        .filter(|age| *age > LATE);
    let finding = match HealthWord::of(&counts.health, view.now) {
        HealthWord::Disabled => {
            let reason = counts
                .health
                .disabled
                .as_ref()
                .map(|(_, reason)| outside(reason, 200));
            Finding {
                tone: Tone::Bad,
                text: format!("Webhook {name} is disabled: {}", reason.unwrap_or_default()),
                advice: html! { "Nothing is sent to it and its events are kept. Once its owner wants them, enable " (page) "." },
            }
        }
        HealthWord::Held => Finding {
            tone: Tone::Bad,
            text: format!(
                "Webhook {name} is held after {} in a row; {} wait",
                count(u64::from(counts.health.health.failures()), "failure"),
                count(counts.pending, "event")
            ),
            advice: html! { "It is probed until it answers again. See what it answers: " (page) "." },
        },
        _ if late.is_some() => Finding {
            tone: Tone::Warn,
            text: format!(
                "{} for webhook {name}, the oldest happened {}",
                count(counts.pending, "event"),
                ago(late.unwrap_or_default())
            ),
            advice: html! { "See what it answers: " (page) "." },
        },
        _ if counts.exhausted > 0 => Finding {
            tone: Tone::Warn,
            text: format!(
                "{} of the latest 10,000 given up for webhook {name}",
                count(counts.exhausted, "event")
            ),
            advice: html! { "They are kept. Once the receiver works again, replay them: " (page) "." },
        },
        _ => return None,
    };
    Some(finding)
}

/// The list of them.
pub(super) fn list(findings: &[Finding]) -> Markup {
    html! {
        ul.findings {
            @for finding in findings {
                li data-tone=(super::marks::word(finding.tone)) {
                    p.strong { span aria-hidden="true" { @if finding.tone == Tone::Bad { "✗ " } @else { "! " } } (finding.text) }
                    p.advice { (finding.advice) }
                }
            }
        }
    }
}
