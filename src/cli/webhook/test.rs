//! `webhook test`: sends one signed sample, and shows the request and the answer.

use anyhow::{Context as _, anyhow, bail};

use strum::IntoEnumIterator as _;

use crate::cli::options;
use crate::cli::screen::{Screen, View};
use crate::cli::session::database_file;
use crate::cli::style::Tone;
use crate::cli::text;
use crate::cli::unknown::{names_of, unknown_webhook};
use crate::clock::{Clock, Jitter};
use crate::config::DatabaseSettings;
use crate::core::answer::Cut;
use crate::core::delivery::{AttemptResult, Directive, Trigger};
use crate::core::event::{Event, EventType};
use crate::core::sample::sample;
use crate::record::command::{RequestRecord, TestRecord};
use crate::sockets::Sockets;
use crate::store::{Attempt, Store, StoreError};
use crate::webhook::{AttemptReport, Message, PrintedRequest, Sender, WebhookSettings};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "It is sent once, with the webhook's real settings and secrets, whatever its `events` and whether or not it \
                  is disabled. Types other than webhook.test are about a job test-sample with metadata {\"test\":true}. \
                  Values of your own headers and of the URL's query are shown as ***. Exit 0 if the answer is 2xx."
)]
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
    let record = record(&attempt, &event, &report, &shown);
    let printed = screen.answer(args.json, &record, |view| {
        lines(&event, &report, &shown, view)
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

fn record<'a>(
    attempt: &'a Attempt,
    event: &'a Event,
    report: &AttemptReport,
    shown: &'a PrintedRequest,
) -> TestRecord<'a> {
    TestRecord {
        webhook: attempt.webhook.as_str(),
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
        delivered: is_delivered(report),
    }
}

fn is_delivered(report: &AttemptReport) -> bool {
    matches!(report.result, AttemptResult::Delivered { .. })
}

fn lines(
    event: &Event,
    report: &AttemptReport,
    shown: &PrintedRequest,
    view: &View,
) -> Vec<String> {
    let status = report.result.status();
    let status = status.map_or("no answer".to_owned(), |status| status.to_string());
    let tone = if is_delivered(report) {
        Tone::Good
    } else {
        Tone::Bad
    };
    let took = text::brief(report.duration);
    let headers = shown.headers.iter();
    let mut lines = vec![view.paint(Tone::Strong, &shown.line)];
    lines.extend(headers.map(|(name, value)| format!("{name}: {value}")));
    lines.extend([String::new(), event.body.clone(), String::new()]);
    lines.push(format!("{} after {took}", view.paint(tone, &status)));
    if let Some(answer) = &report.answer {
        lines.push(answer.text.clone());
        let cut = answer
            .cut
            .map(|cut| format!("… not all of it: {}", cut.as_str()));
        lines.extend(cut.map(|note| view.dim(&note)));
    }
    lines.push(view.dim(meaning(report)));
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
