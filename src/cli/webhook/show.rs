//! `webhook show`: one webhook, and what it has been told lately.

use std::time::Duration;

use serde::Serialize;

use super::known;
use super::list::{place, types};
use super::standing::{Standing, words};
use crate::cli::columns::{self, Cell};
use crate::cli::screen::{Screen, View};
use crate::cli::style::Tone;
use crate::cli::text;
use crate::core::answer::Cut;
use crate::core::delivery::WebhookName;
use crate::store::{Attempt, Store, WebhookCounts, WebhookHealth};
use crate::webhook::WebhookSettings;

/// Attempts that are shown.
const ATTEMPTS: u32 = 10;

/// Longest error and answer that are shown, in characters.
const TEXT_CHARS: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The webhook
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    settings: Option<SettingsRecord<'a>>,
    #[serde(flatten)]
    standing: Standing<'a>,
    attempts: Vec<AttemptRecord<'a>>,
}

#[derive(Serialize)]
struct SettingsRecord<'a> {
    url: Option<String>,
    events: Vec<&'static str>,
    timeout_ms: u64,
    max_in_flight: usize,
    retry_ms: Vec<u64>,
    allow_private: bool,
    headers: Vec<&'a str>,
    fallback: Option<&'a str>,
}

#[derive(Serialize)]
struct AttemptRecord<'a> {
    event_id: &'a str,
    number: u32,
    started_at: String,
    duration_ms: u64,
    status: Option<u16>,
    error: Option<&'a str>,
    trigger: &'a str,
    answer: Option<&'a str>,
    answer_cut: Option<&'a str>,
}

pub(super) async fn run(
    args: &Args,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let name = known(&args.name, webhooks, store).await?;
    let settings = webhooks.iter().find(|each| each.name == name);
    let health = store.webhook_health(&name).await?;
    let figures = store.counts(std::slice::from_ref(&name)).await?;
    let figures = figures.webhooks.first();
    let attempts = store.latest_attempts(&name, ATTEMPTS).await?;
    let view = screen.view;
    if args.json {
        return screen.json(&Record {
            name: name.as_str(),
            settings: settings.map(SettingsRecord::of),
            standing: Standing::of(&health, figures, &view),
            attempts: attempts.iter().map(AttemptRecord::of).collect(),
        });
    }
    screen.text(&draw(&name, settings, &health, figures, &view));
    if attempts.is_empty() {
        screen.line(&view.paint(
            Tone::Dim,
            "no attempts among those of the latest 10,000 events",
        ));
    } else {
        let headings = [
            "WHEN", "EVENT", "ATTEMPT", "TRIGGER", "TOOK", "STATUS", "SAID",
        ];
        let rows: Vec<Vec<Cell>> = attempts.iter().map(|each| cells(each, &view)).collect();
        screen.text(&columns::table(&headings, &rows, &view));
    }
    Ok(())
}

fn draw(
    name: &WebhookName,
    settings: Option<&WebhookSettings>,
    health: &WebhookHealth,
    figures: Option<&WebhookCounts>,
    view: &View,
) -> String {
    let (state, more, tone) = words(health, view);
    let mut lines = vec![format!(
        "{}  {} {}",
        view.paint(Tone::Strong, &text::outside(name.as_str(), 64)),
        view.paint(tone, state),
        view.paint(Tone::Dim, &more)
    )];
    let mut push =
        |key: &str, value: String| lines.push(format!("  {}{value}", text::pad(key, 16)));
    match settings {
        None => push("not configured", "nothing is sent to it".to_owned()),
        Some(settings) => {
            let url = settings.url.as_ref().map(place);
            push("url", url.unwrap_or_else(|| "in a file".to_owned()));
            push("events", types(settings).join(", "));
            let limits = format!(
                "{} a request, {} at once",
                text::brief(settings.timeout),
                settings.max_in_flight
            );
            push("limits", limits);
            let retry: Vec<String> = settings.retry.iter().copied().map(text::brief).collect();
            push("retry", retry.join(", "));
            let headers: Vec<&str> = settings.headers.iter().map(|each| each.name()).collect();
            if !headers.is_empty() {
                push("own headers", headers.join(", "));
            }
            if let Some(fallback) = &settings.fallback {
                push("fallback", fallback.to_string());
            }
        }
    }
    if let Some(figures) = figures {
        let oldest = figures.oldest_pending.map_or(String::new(), |at| {
            format!(", the oldest {}", text::ago(view.now.since(at)))
        });
        push("pending", format!("{}{oldest}", figures.pending));
        if figures.exhausted + figures.disabled > 0 {
            let more = format!(
                "{} given up, {} disabled, of the latest 10,000 events",
                figures.exhausted, figures.disabled
            );
            push("not told", more);
        }
    }
    lines.join("\n") + "\n\n"
}

fn cells(attempt: &Attempt, view: &View) -> Vec<Cell> {
    let took = Duration::from_millis(attempt.duration_ms);
    let (said, tone) = match (&attempt.error, &attempt.answer) {
        (Some(error), Some(answer)) if !answer.is_empty() => {
            (format!("{error}: {answer}"), Tone::Warn)
        }
        (Some(error), _) => (error.clone(), Tone::Warn),
        (None, Some(answer)) => (answer.clone(), Tone::Dim),
        (None, None) => (String::new(), Tone::Plain),
    };
    let plain = |text: String| (text, Tone::Plain);
    vec![
        plain(text::ago(view.now.since(attempt.started_at))),
        plain(attempt.event_id.clone()),
        plain(format!("#{}", attempt.number)),
        plain(attempt.trigger.as_str().to_owned()),
        plain(text::brief(took)),
        plain(
            attempt
                .status
                .map_or("-".to_owned(), |status| status.to_string()),
        ),
        (text::outside(&said, TEXT_CHARS), tone),
    ]
}

impl<'a> SettingsRecord<'a> {
    fn of(settings: &'a WebhookSettings) -> Self {
        let millis = crate::core::time::millis;
        Self {
            url: settings.url.as_ref().map(place),
            events: types(settings),
            timeout_ms: millis(settings.timeout),
            max_in_flight: settings.max_in_flight,
            retry_ms: settings.retry.iter().copied().map(millis).collect(),
            allow_private: settings.allow_private,
            headers: settings.headers.iter().map(|each| each.name()).collect(),
            fallback: settings.fallback.as_ref().map(WebhookName::as_str),
        }
    }
}

impl<'a> AttemptRecord<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        Self {
            event_id: &attempt.event_id,
            number: attempt.number,
            started_at: attempt.started_at.rfc3339(),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error.as_deref(),
            trigger: attempt.trigger.as_str(),
            answer: attempt.answer.as_deref(),
            answer_cut: attempt.answer_cut.map(Cut::as_str),
        }
    }
}
