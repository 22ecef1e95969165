//! `webhook test`: sends one signed sample, and shows the request and the answer.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

use strum::IntoEnumIterator as _;

use crate::cli::options;
use crate::cli::screen::{Screen, Tone, View};
use crate::cli::session::database_file;
use crate::cli::text;
use crate::cli::unknown::{names_of, unknown_webhook};
use crate::clock::{Clock, Jitter};
use crate::config::DatabaseSettings;
use crate::core::answer::Cut;
use crate::core::delivery::{AttemptResult, Directive, Trigger};
use crate::core::event::EventType;
use crate::core::sample::sample;
use crate::record::command::{RequestRecord, TestRecord};
use crate::sockets::Sockets;
use crate::store::{Attempt, Attempts as _, Store, StoreError};
use crate::webhook::{AttemptReport, Message, Sender, WebhookSettings};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("../help/webhook-test.txt").trim_end())]
pub(super) struct Args {
    /// The webhook
    #[arg(value_name = "NAME")]
    name: String,
    /// The type of the sample
    #[arg(long = "type", value_name = "TYPE", default_value = EventType::Test.as_str(), value_parser = options::words(EventType::iter(), EventType::as_str))]
    kind: EventType,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Sends the sample.
pub(super) async fn run(
    args: &Args,
    webhooks: &[WebhookSettings],
    database: &DatabaseSettings,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    let Some(webhook) = webhooks.iter().find(|each| each.name.as_str() == args.name) else {
        return Err(unknown_webhook(&args.name, &names_of(webhooks)));
    };
    let id = Jitter::system().id("test_");
    let event = sample(args.kind, &id, webhook.name.as_str(), clock.now())
        .ok_or_else(|| anyhow!("the sample cannot be made"))?;
    let sender = Sender::new(clock.clone(), webhooks, Sockets::default())
        .context("the request cannot be made")?;
    let message = Message {
        id: &event.id,
        body: event.body.clone().into_bytes().into(),
        attempt: 1,
        is_replay: false,
    };
    let (report, shown) = sender.send_and_print(webhook, &message).await?;
    let attempt = report.attempt(&event.id, &webhook.name, 1, Trigger::Test);
    let recorded = record_test(&attempt, database, &clock).await;
    let mut screen = Screen::new(clock.now());
    let record = TestRecord {
        webhook: webhook.name.as_str(),
        event_id: &event.id,
        request: RequestRecord {
            line: &shown.line,
            headers: &shown.headers,
            body: &event.body,
        },
        status: attempt.status,
        error: attempt.error.clone(),
        duration_ms: attempt.duration_ms,
        answer: attempt.answer.as_deref(),
        answer_cut: attempt.answer_cut.map(Cut::as_str),
        delivered: matches!(report.result, AttemptResult::Delivered { .. }),
    };
    let printed = screen.answer(args.json, &record, |view| {
        lines(&record, meaning(&report), view)
    });
    printed.and(screen.finish())?;
    if let Err(error) = recorded {
        screen.note(&format!("the attempt was not recorded: {error}"));
    }
    match attempt.error {
        None => Ok(()),
        Some(error) => bail!("{} did not take the sample: {error}", webhook.name),
    }
}

/// Records the attempt where there is a database.
async fn record_test(
    attempt: &Attempt,
    database: &DatabaseSettings,
    clock: &Clock,
) -> Result<(), StoreError> {
    let store = Store::open(database_file(database), clock.clone()).await?;
    let recorded = store.record_test(attempt).await;
    store.leave().await;
    recorded
}

fn lines(record: &TestRecord<'_>, meaning: &str, view: &View) -> Vec<String> {
    let status = record.status.map(|status| status.to_string());
    let status = status.as_deref().unwrap_or("no answer");
    let tone = if record.delivered {
        Tone::Good
    } else {
        Tone::Bad
    };
    let took = text::brief(Duration::from_millis(record.duration_ms));
    let request = &record.request;
    let mut lines = vec![view.paint(Tone::Strong, request.line)];
    let headers = request.headers.iter();
    lines.extend(headers.map(|(name, value)| format!("{name}: {value}")));
    lines.extend([String::new(), request.body.to_owned(), String::new()]);
    lines.push(format!("{} after {took}", view.paint(tone, status)));
    lines.extend(record.answer.map(str::to_owned));
    let cut = record
        .answer_cut
        .map(|cut| format!("… not all of it: {cut}"));
    lines.extend(cut.map(|note| view.dim(&note)));
    lines.push(view.dim(meaning));
    lines
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
        (AttemptResult::Throttled { .. }, None) => "the webhook would be paused for that long",
        _ => "the event would be tried again by the schedule",
    }
}
