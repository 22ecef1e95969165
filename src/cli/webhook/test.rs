//! `webhook test`: one signed sample, shown as it goes and as it is answered.

use anyhow::{Context as _, anyhow, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::unknown;
use crate::cli::place_of;
use crate::cli::screen::Screen;
use crate::cli::style::Tone;
use crate::cli::text;
use crate::clock::{Clock, Jitter};
use crate::config::DatabaseSettings;
use crate::core::answer::{Answer, Cut};
use crate::core::delivery::{AttemptResult, Directive, WebhookName};
use crate::core::event::{Event, EventType};
use crate::core::sample::sample;
use crate::core::time::millis;
use crate::store::{Store, StoreError, TestAttempt};
use crate::webhook::{AttemptReport, Message, Sender, Shown, WebhookSettings};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "It is sent with the webhook's real settings and secrets, whatever its `events` says and whether or not it \
                  is disabled, once. Other types than webhook.test tell of a job test-sample with metadata {\"test\":true}. \
                  Values of your own headers and of the URL's query are shown as ***. Exit 0 if the answer is 2xx."
)]
pub(in crate::cli) struct Args {
    /// The webhook
    #[arg(value_name = "NAME")]
    name: String,
    /// The type of the sample
    #[arg(long = "type", value_name = "TYPE", default_value = EventType::Test.as_str(), value_parser = types())]
    kind: EventType,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn types() -> impl TypedValueParser<Value = EventType> {
    let names = EventType::ALL.map(EventType::as_str);
    PossibleValuesParser::new(names).try_map(|name| {
        EventType::from_name(&name).ok_or_else(|| format!("there is no type {name}"))
    })
}

#[derive(Serialize)]
struct Record<'a> {
    webhook: &'a str,
    event_id: &'a str,
    request: RequestRecord<'a>,
    status: Option<u16>,
    error: Option<String>,
    duration_ms: u64,
    answer: Option<&'a str>,
    answer_cut: Option<&'static str>,
    delivered: bool,
}

#[derive(Serialize)]
struct RequestRecord<'a> {
    line: &'a str,
    headers: &'a [(String, String)],
    body: &'a str,
}

/// Sends the sample.
pub(in crate::cli) async fn run(
    args: &Args,
    webhooks: &[WebhookSettings],
    database: &DatabaseSettings,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    let Some(webhook) = webhooks.iter().find(|each| each.name.as_str() == args.name) else {
        let names: Vec<WebhookName> = webhooks.iter().map(|each| each.name.clone()).collect();
        return Err(unknown(&args.name, &names));
    };
    let id = Jitter::system().id("test_");
    let event = sample(args.kind, &id, webhook.name.as_str(), clock.now())
        .ok_or_else(|| anyhow!("the sample cannot be made"))?;
    let sender = Sender::new(clock.clone(), webhooks).context("the request cannot be made")?;
    let message = Message {
        id: &event.id,
        body: event.body.clone().into_bytes().into(),
        attempt: 1,
        is_replay: false,
    };
    let (report, shown) = sender.send_and_show(webhook, &message).await?;
    let kept = keep(webhook, &event, &report, database, &clock).await;
    let mut screen = Screen::new(clock.now());
    let drawn = if args.json {
        screen.json(&record(webhook, &event, &report, &shown))
    } else {
        draw(&mut screen, &event, &report, &shown);
        Ok(())
    };
    drawn.and(screen.finish())?;
    if let Err(error) = kept {
        crate::cli::note(&format!("note: the attempt was not written down: {error}"));
    }
    match report.result {
        AttemptResult::Delivered { .. } => Ok(()),
        _ => bail!(
            "{} did not take the sample: {}",
            webhook.name,
            report.result.error().unwrap_or_default()
        ),
    }
}

/// Writes the attempt down where there is a database.
async fn keep(
    webhook: &WebhookSettings,
    event: &Event,
    report: &AttemptReport,
    database: &DatabaseSettings,
    clock: &Clock,
) -> Result<(), StoreError> {
    let store = Store::open(place_of(database), clock.clone()).await?;
    let answer = report.answer.as_ref();
    let attempt = TestAttempt {
        event_id: event.id.clone(),
        webhook: webhook.name.clone(),
        started_at: report.started_at,
        duration_ms: millis(report.duration),
        status: report.result.status(),
        error: report.result.error(),
        answer: answer.map(|answer| answer.text.clone()),
        answer_cut: cut_of(answer),
    };
    let kept = store.record_test(&attempt).await;
    store.leave().await;
    kept
}

fn cut_of(answer: Option<&Answer>) -> Option<&'static str> {
    answer.and_then(|answer| answer.cut).map(Cut::as_str)
}

fn record<'a>(
    webhook: &'a WebhookSettings,
    event: &'a Event,
    report: &'a AttemptReport,
    shown: &'a Shown,
) -> Record<'a> {
    let answer = report.answer.as_ref();
    Record {
        webhook: webhook.name.as_str(),
        event_id: &event.id,
        request: RequestRecord {
            line: &shown.line,
            headers: &shown.headers,
            body: &event.body,
        },
        status: report.result.status(),
        error: report.result.error(),
        duration_ms: millis(report.duration),
        answer: answer.map(|answer| answer.text.as_str()),
        answer_cut: cut_of(answer),
        delivered: matches!(report.result, AttemptResult::Delivered { .. }),
    }
}

fn draw(screen: &mut Screen, event: &Event, report: &AttemptReport, shown: &Shown) {
    let view = screen.view;
    screen.line(&view.paint(Tone::Strong, &shown.line));
    for (name, value) in &shown.headers {
        screen.line(&format!("{name}: {value}"));
    }
    screen.line("");
    screen.line(&event.body);
    screen.line("");
    let took = text::brief(report.duration);
    match report.result.status() {
        Some(status) => {
            let tone = match report.result {
                AttemptResult::Delivered { .. } => Tone::Good,
                _ => Tone::Bad,
            };
            screen.line(&format!(
                "{} after {took}",
                view.paint(tone, &status.to_string())
            ));
        }
        None => screen.line(&format!(
            "{} after {took}",
            view.paint(Tone::Bad, "no answer")
        )),
    }
    if let Some(answer) = &report.answer {
        screen.line(&answer.text);
        if let Some(cut) = answer.cut {
            let note = format!("… not all of it: {}", cut.as_str());
            screen.line(&view.paint(Tone::Dim, &note));
        }
    }
    screen.line(&view.paint(Tone::Dim, meaning(report)));
}

/// What such an answer would mean for an event.
fn meaning(report: &AttemptReport) -> &'static str {
    match (&report.result, report.directive) {
        (AttemptResult::Delivered { .. }, Some(Directive::Disable)) => {
            "an event would be delivered, and the webhook disabled, as it asks for"
        }
        (AttemptResult::Delivered { .. }, _) => "an event would be delivered",
        (AttemptResult::Gone, _) | (_, Some(Directive::Disable)) => "the webhook would be disabled",
        (_, Some(Directive::AbortMessage)) => "the event would be given up, and the next one sent",
        (AttemptResult::Throttled { .. }, None) => "the webhook would be left alone for so long",
        _ => "the event would be tried again by the schedule",
    }
}
